//! `git carry bisect`: the first patch or upstream commit with which a command fails, between two builds.

use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, clean, count, cut, painted, short};
use crate::bisect::{Bisected, Changed, Outcome, Patch, Probe, Said, Upstream, left_out};
use crate::night::bisect::bisect;
use crate::night::stage::{Stages, Target};
use crate::night::{NightError, Site};
use crate::workspace::{Check, CheckOn, Guard, Workspace};

/// Find the first patch or upstream commit with which a command fails, between two builds. Each point between them is tried in a work
/// tree of its own; what was tried on the same tree is not run again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The older build, which is good: the first digits of its id, `latest`, or a stage that runs it.
    #[arg(value_name = "GOOD")]
    good: String,
    /// The newer build, which is bad.
    #[arg(value_name = "BAD")]
    bad: String,
    /// A check of carry.toml to run.
    #[arg(long, value_name = "NAME", conflicts_with = "run", required_unless_present = "run")]
    check: Option<String>,
    /// How long one run may take; what takes longer is bad.
    #[arg(long, value_name = "LENGTH", default_value = "1h", value_parser = length)]
    timeout: Duration,
    /// What the command gets of the environment besides PATH: a name, or NAME=value.
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    /// Run the command a second time on the two trees that decide, to see whether it says the same.
    #[arg(long)]
    twice: bool,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
    /// The command, to the end of the line: exit code 0 is good, 125 says nothing of this tree, any other is bad.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    run: Vec<String>,
}

fn length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no length of time, as 30m is");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(length).ok().filter(|d| !d.is_zero()).ok_or_else(wrong)
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    // It may take hours, and changes nothing: nights go on beside it, and only another search has to wait.
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let _guard = Guard::acquire(&Site::folder_of(&workspace.root)?.join("bisect"), "bisect")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let stages = match project.stages.is_empty() {
        true => Stages::here(&site)?,
        false => Stages::open(&site, false, false, ui)?,
    };
    let (good, bad) = (stages.target(&args.good)?, stages.target(&args.bad)?);
    let check = match &args.check {
        Some(name) => project.checks.iter().find(|c| c.name == *name).cloned().ok_or_else(|| {
            let names: Vec<&str> = project.checks.iter().map(|c| c.name.as_str()).collect();
            CliError::Usage {
                what: format!("no check of '{}' is called '{}'", project.name, clean(name)),
                hint: Some(format!("there are: {}", names.join(", "))),
            }
        })?,
        None => Check {
            name: "bisect".into(),
            run: args.run.clone(),
            on: CheckOn::Build,
            timeout: args.timeout,
            required: true,
            env: args.env.clone(),
        },
    };
    let found = bisect(&site, &good, &bad, &check, args.twice, ui)?;
    let found = found.ok_or_else(|| CliError::Usage {
        what: format!("the trunk of {} does not lead to that of {}", good.build, bad.build),
        hint: Some(format!("name the older build first: git carry bisect {} {} …", args.bad, args.good)),
    })?;
    if ui.json {
        let mut document = serde_json::to_value(&found)?;
        document["version"] = 1.into();
        document["project"] = project.name.clone().into();
        (document["good"], document["bad"]) = (good.build.clone().into(), bad.build.clone().into());
        ui.document(&document)?;
    }
    let wrong = |what: String, hint: &str| Err(CliError::Usage { what, hint: Some(hint.to_owned()) });
    match &found.outcome {
        Outcome::OldIsBad => wrong(
            format!("the older build {} is bad already: {}", good.build, last(found.probes.first())),
            "name an older build that is good",
        ),
        Outcome::NewIsGood => wrong(
            format!("the newer build {} is good: there is nothing to find", bad.build),
            "does the command see it?",
        ),
        Outcome::Untold { at } => wrong(
            format!("it cannot be told (exit code 125) on {at}"),
            "name other builds, or a command that can tell",
        ),
        _ => {
            if !ui.json {
                show(ui, &found, [&good, &bad]);
            }
            Ok(0)
        }
    }
}

fn last(probe: Option<&Probe>) -> String {
    probe.map_or_else(String::new, |p| clean(&format!("{}: {}", code(p), p.last_line)))
}

fn code(probe: &Probe) -> String {
    match (probe.said, probe.code) {
        (Said::Good, _) => "exit code 0".into(),
        (_, Some(code)) => format!("exit code {code}"),
        (_, None) => "ended by a signal, or after too long".into(),
    }
}

/// The first few of many names.
fn some<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", clean(&names[..names.len().min(MOST)].join(", ")))
}

/// So many names are shown.
const MOST: usize = 4;

fn red() -> Style {
    Style::new().bold().fg_color(Some(AnsiColor::Red.into()))
}

fn upstream(ui: &Ui, c: &Upstream) {
    let day = c.date.get(..10).unwrap_or("-");
    let who = format!("{} <{}>, {day}", c.author[0], c.author[1]);
    ui.line(&format!("  {} {}", short(&c.commit), clean(&cut(&c.subject, 80))));
    ui.line(&format!("    {}", painted(&clean(&who), DIM)));
    if let Some(merge) = &c.merge {
        ui.line(&painted(&format!("    trunk took it in by the merge {}", short(merge)), DIM));
    }
}

fn patch(ui: &Ui, what: &str, p: &Patch) {
    ui.line(&format!("  {what}patch {}  {}", painted(&clean(&p.name), BOLD), clean(&cut(&p.subject, 70))));
    ui.line(&format!("    {}", painted(&clean(&p.owner), DIM)));
}

fn show(ui: &Ui, found: &Bisected, [good, bad]: [&Target; 2]) {
    ui.line(&format!(
        "{} {} \u{2192} {}   {}, {}\n",
        painted("bisect", BOLD),
        good.build,
        bad.build,
        count(found.trunk_commits, "trunk commit", "trunk commits"),
        count(found.queue_changes, "change of the queue", "changes of the queue"),
    ));
    let many = |n: usize| if n == 1 { "" } else { ", one of these (those between cannot be told)" };
    let mut next = Vec::new();
    let fallen = match &found.outcome {
        Outcome::Trunk { commits, alone, patch: with, mended, fallen } => {
            ui.line(&format!("{}{}", painted("first bad: upstream's commit", red()), many(commits.len())));
            commits.iter().for_each(|c| upstream(ui, c));
            match (alone, with) {
                _ if *mended => {
                    ui.line("without patches it is bad before that, too: the queue mended it, and does so no more");
                }
                (Some(true), _) => ui.line("it is bad without any patch, too: it is upstream's"),
                (Some(false), Some(p)) => {
                    ui.line("without patches it is good; it is bad together with");
                    patch(ui, "", p);
                    next.push(format!("git carry edit {}", clean(&p.name)));
                }
                _ => ui.line("whether it is bad without patches cannot be told"),
            }
            if let Some(before) = commits.first() {
                let taken = before.merge.as_ref().unwrap_or(&before.commit);
                next.push(format!("git carry rebase --onto {}^   # trunk without it", short(taken)));
            }
            fallen
        }
        Outcome::Queue { changes, alone, commits, fallen } => {
            ui.line(&format!(
                "{}{}",
                painted("first bad: a change of the queue", red()),
                many(changes.len())
            ));
            for Changed { what, patch: p } in changes {
                patch(ui, &format!("{what}: "), p);
            }
            match alone {
                Some(true) => ui.line("it is bad on the older build's trunk, too"),
                Some(false) => {
                    ui.line("on the older build's trunk it is good; it is bad together with upstream's");
                    commits.iter().for_each(|c| upstream(ui, c));
                }
                None if found.trunk_commits > 0 => ui.line("whether trunk has a part in it cannot be told"),
                None => {}
            }
            for Changed { what, patch: p } in changes.iter().take(1) {
                let name = clean(&p.name);
                next.push(match *what {
                    "dropped" => "git carry log   # why it went; git carry undo takes that back".to_owned(),
                    _ => format!("git carry edit {name}   # or: git carry hold {name} --reason …"),
                });
            }
            fallen
        }
        _ => return,
    };
    if !fallen.is_empty() {
        ui.line(&format!(
            "with it, patches do not apply any more, which may be all that is wrong: {}",
            some(fallen.iter().map(String::as_str))
        ));
    }
    if let Some([before, with]) = &found.deciding {
        ui.line(&format!("\n  good  {}  {}", short(&before.tree), painted(&clean(&before.what), DIM)));
        ui.line(&format!("  bad   {}  {}", short(&with.tree), painted(&clean(&with.what), DIM)));
        ui.line(&format!("        {}", clean(&format!("{}: {}", code(with), cut(&with.last_line, 100)))));
        ui.line(&painted(&format!("        {}", clean(&with.output)), DIM));
    }
    match found.flaky {
        Some(true) => {
            ui.line(&painted("run again, the command said something else: do not trust this answer", red()))
        }
        Some(false) => ui.line("run again on both, the command said the same"),
        None => {}
    }
    let out = left_out(&found.probes);
    if !out.is_empty() {
        let many = count(out.len(), "patch did not apply everywhere", "patches did not apply everywhere");
        ui.line(&format!("{many} (--json tells where): {}", some(out.into_keys())));
    }
    let ran = found.probes.iter().filter(|p| !p.remembered).count();
    let known = found.probes.len() - ran;
    let known = if known > 0 { format!(", {known} remembered from before") } else { String::new() };
    ui.line(&format!("\n{}{known}", count(ran, "run of the command", "runs of the command")));
    for command in next {
        ui.line(&command);
    }
}
