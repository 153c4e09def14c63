//! `git carry candidates`: which patches to send upstream first, and why.

use std::path::Path;

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, clean, count, cut, fitted, name_of, painted, short, table};
use crate::candidate::{Candidate, Facts, Obstacle};
use crate::night::candidates::{Ranked, ranked};
use crate::night::{NightError, Site};
use crate::workspace::Workspace;

/// Show which patches to send upstream first: what carrying each one costs against what sending it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show where each number of this patch comes from.
    #[arg(long, value_name = "PATCH")]
    explain: Option<String>,
    /// Show those that cannot be sent now as well.
    #[arg(long)]
    all: bool,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// So many are shown of each kind, unless all are asked for.
const SHOWN: usize = 15;

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let all = ranked(&site, ui)?;
    ui.clear();
    if let Some(name) = &args.explain {
        let name = crate::queue::stem(name);
        let Some(candidate) = all.candidates.iter().find(|c| c.facts.name == name) else {
            let names = all.candidates.iter().map(|c| c.facts.name.as_str());
            return Err(CliError::no_patch(&project.name, name, names));
        };
        if ui.json {
            let document = serde_json::json!({
                "version": 1, "project": project.name, "trunk": all.trunk, "since": all.since,
                "builds": all.builds, "candidate": candidate,
            });
            ui.document(&document)?;
        } else {
            explain(ui, &all, candidate);
        }
        return Ok(0);
    }
    if ui.json {
        ui.document(&serde_json::json!({ "version": 1, "project": project.name, "candidates": all }))?;
        return Ok(0);
    }
    list(ui, &project.name, &all, args.all);
    Ok(0)
}

fn list(ui: &Ui, project: &str, all: &Ranked, everything: bool) {
    let (ready, rest): (Vec<_>, Vec<_>) = all.candidates.iter().partition(|c| c.ready);
    let days = all.since.get(..10).unwrap_or("-");
    ui.prose(&format!(
        "{}  {} of {} ready to send; costs of {} since {days}",
        painted(project, BOLD),
        ready.len(),
        count(all.candidates.len(), "patch", "patches"),
        count(all.builds, "build", "builds")
    ));
    let mut rows = table(&["patch", "points", "with", "owner", "why"]);
    let shown = if everything { ready.len() } else { SHOWN };
    for c in ready.iter().take(shown) {
        let with = match c.facts.closure.len() {
            0 => "-".to_owned(),
            n => format!("+{n}"),
        };
        let points = format!("{:.1}", c.points);
        rows.add_row([clean(&c.facts.name), points, with, name_of(&c.facts.owner), clean(&why(c))]);
    }
    if rows.row_count() > 0 {
        ui.line(&fitted(rows, &[3, 2]));
    }
    if ready.len() > shown {
        ui.prose(&painted(&format!("  and {} more: --all", ready.len() - shown), DIM));
    }
    if !rest.is_empty() {
        ui.prose(&painted(&format!("\nnot now: {}", rest.len()), BOLD));
        let mut rows = table(&["patch", "points", "owner", "what stands in the way"]);
        let shown = if everything { rest.len() } else { SHOWN };
        for c in rest.iter().take(shown) {
            let what = c.facts.obstacles.first().map(|o| obstacle(o, &c.facts.name)).unwrap_or_default();
            let points = format!("{:.1}", c.points);
            rows.add_row([clean(&c.facts.name), points, name_of(&c.facts.owner), clean(&what)]);
        }
        ui.line(&fitted(rows, &[2]));
        if rest.len() > shown {
            ui.prose(&painted(&format!("  and {} more: --all", rest.len() - shown), DIM));
        }
    }
    ui.line("");
    if let Some(s) = &all.saving {
        let part = s.conflicts * 100 / s.of.max(1);
        let others = s.with.len().saturating_sub(s.send.len());
        let along = match others {
            0 => String::new(),
            n => format!(" (and {} that they need)", count(n, "patch", "patches")),
        };
        ui.prose(&format!(
            "Sending {}{along} removes {part} % of the last quarter's conflicts: {} of {}.",
            clean(&s.send.join(", ")),
            s.conflicts,
            count(s.of, "root conflict", "root conflicts")
        ));
    }
    if let Some(first) = ready.first() {
        ui.prose(&format!("next  git carry candidates --explain {}", clean(&first.facts.name)));
    }
}

/// The numbers that speak loudest for a patch, in words.
fn why(c: &Candidate) -> String {
    let f = &c.facts;
    let mut said = Vec::new();
    if let Some(sent) = &f.sent {
        said.push(format!("sent: {}", cut(sent, 40)));
    }
    if f.conflicts > 0 {
        said.push(format!("in conflict with {}", count(f.conflicts, "build", "builds")));
    }
    if f.refreshed > 0 {
        said.push(format!("made anew for {}", count(f.refreshed, "build", "builds")));
    }
    if !f.churn.is_empty() {
        said.push(format!("{} on its lines", count(f.churn.len(), "upstream commit", "upstream commits")));
    }
    if !f.dependents.is_empty() {
        said.push(format!("{} it", count(f.dependents.len(), "patch needs", "patches need")));
    }
    if f.years >= 1.0 {
        said.push(format!("{:.0} years old", f.years));
    }
    if f.tests.is_empty() {
        said.push("no tests".into());
    }
    if said.is_empty() { cut(&f.subject, 60) } else { said.join(", ") }
}

/// What stands in the way of the patch `of`.
fn obstacle(o: &Obstacle, of: &str) -> String {
    let who = |patch: &str| if patch == of { "it".to_owned() } else { patch.to_owned() };
    match o {
        Obstacle::Never { patch, says } => format!("{} says: {says}", who(patch)),
        Obstacle::Out { patch, outcome } => format!("{} is not in the stack: {outcome}", who(patch)),
        Obstacle::Conflicts { patch, paths } => {
            format!("{} conflicts on the bare trunk: {}", who(patch), paths.join(", "))
        }
        Obstacle::Check { name } => format!("the check {name} fails with it"),
        Obstacle::Upstream { commit } => format!("upstream may have it: {}", short(commit)),
    }
}

fn explain(ui: &Ui, all: &Ranked, c: &Candidate) {
    let f: &Facts = &c.facts;
    let state = if c.ready { "ready to send" } else { "not now" };
    ui.prose(&format!("{}  {:.1} points, {state}", painted(&clean(&f.name), BOLD), c.points));
    ui.prose(&format!("  {}, {}", clean(&f.subject), name_of(&f.owner)));
    for o in &f.obstacles {
        ui.prose(&format!("  {}", clean(&obstacle(o, &f.name))));
    }
    let mut rows = table(&["weight in carry.toml", "number", "points", "what", "from"]);
    for p in &c.parts {
        // A share of a year or of a hundred lines, or a count.
        let number =
            if p.value.fract() == 0.0 { format!("{:.0}", p.value) } else { format!("{:.2}", p.value) };
        let key = format!("{} = {}", p.key, p.weight);
        rows.add_row([key, number, format!("{:+.1}", p.points), p.what.into(), p.from.into()]);
    }
    ui.line(&format!("\n{}", fitted(rows, &[])));
    let list = |what: &str, all: &[String]| {
        if !all.is_empty() {
            ui.prose(&format!("\n{what}"));
            all.iter().for_each(|one| ui.prose(&format!("  {}", clean(one))));
        }
    };
    list("it is sent with", &f.closure);
    list("these need it", &f.dependents);
    list("tests that come with it", &f.tests);
    list("upstream commits on its lines", &f.churn);
    ui.prose(&format!(
        "\n{} since {}, on trunk {}",
        count(all.builds, "build", "builds"),
        all.since.get(..10).unwrap_or("-"),
        short(&all.trunk)
    ));
    if c.ready {
        ui.prose(&format!("next  git carry upstream {}", clean(&f.name)));
    }
}
