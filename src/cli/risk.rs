//! `git carry risk`: what the move from one build to another asks of the people who run it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use gix_hash::ObjectId;

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, clean, cut, fitted, painted, short, table};
use crate::night::{
    NightError, RiskError, Site, assess_move, commit_named, patches_of, recorded_manifest, rules_for,
};
use crate::risk::plan::{Mode, Plan};
use crate::risk::{Assessment, Finding, Severity, Transition};
use crate::store::{Odb, Repo, StoreError};
use crate::workspace::{RiskRules, Workspace};

/// What a move from one build to another asks: migrations, restarts, versions that meet, options, dependencies.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What runs: a build, a stage, a commit, a ref; without it, the build before the last one.
    #[arg(value_name = "FROM")]
    from: Option<String>,
    /// What is to run; without it, the last build.
    #[arg(value_name = "TO")]
    to: Option<String>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
    /// Look at this repository, without a workspace.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Rule packs to use, instead of those that the files ask for.
    #[arg(long = "pack", value_name = "NAME")]
    packs: Vec<String>,
    /// A file with rules of your own; they come last.
    #[arg(long = "rules", value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Show what is only to know, too.
    #[arg(long)]
    all: bool,
    /// End with exit code 4 if anything is worse than this.
    #[arg(long, value_name = "LEVEL", value_parser = ["info", "warn"])]
    ceiling: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let transition = match &args.repository {
        Some(path) => of_repository(&from.join(path), from, &args)?,
        None => of_workspace(from, &args)?,
    };
    if ui.json {
        let mut document = serde_json::to_value(&transition)?;
        document["version"] = 1.into();
        ui.document(&document)?;
    } else {
        show(ui, &transition, args.all);
    }
    let ceiling = match args.ceiling.as_deref() {
        Some("info") => Severity::Info,
        Some(_) => Severity::Warn,
        None => Severity::Stop,
    };
    Ok(if transition.assessment.level > ceiling { 4 } else { 0 })
}

/// The rules of the command line over those of the configuration.
fn chosen(args: &Args, from: &Path, config: &RiskRules) -> RiskRules {
    let packs = if args.packs.is_empty() { config.packs.clone() } else { Some(args.packs.clone()) };
    let own = args.rules.iter().map(|file| from.join(file).to_string_lossy().into_owned());
    RiskRules { packs, rules: config.rules.iter().cloned().chain(own).collect() }
}

fn night(error: impl Into<NightError>) -> CliError {
    CliError::Night(error.into())
}

fn of_repository(path: &Path, from: &Path, args: &Args) -> Result<Transition, CliError> {
    let repo = Repo::at(path).map_err(night)?;
    let (Some(old), Some(new)) = (&args.from, &args.to) else {
        return Err(CliError::Usage {
            what: "of a repository without a workspace, both ends must be named".into(),
            hint: Some("git carry risk --repository DIR FROM TO".into()),
        });
    };
    let commit = |rev: &str| -> Result<ObjectId, CliError> {
        let found = repo.commit_of(rev).map_err(night)?;
        found.ok_or_else(|| night(NightError::NoCommit { rev: rev.to_owned() }))
    };
    let (old, new) = (commit(old)?, commit(new)?);
    let odb = repo.odb().map_err(night)?;
    finish(&repo, &odb, &chosen(args, from, &RiskRules::default()), from, [&old, &new], &BTreeMap::new())
}

fn of_workspace(from: &Path, args: &Args) -> Result<Transition, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let lock = workspace.lock.projects.get(&project.name);
    let last = lock.map(|l| recorded_manifest(&site, l)).transpose()?.flatten();
    let missing = |what: &str| CliError::Missing {
        what: format!("{what} of '{}' is recorded here", project.name),
        hint: Some("name both ends: git carry risk FROM TO (builds, commits, refs, the trunk's name)".into()),
    };
    let new = match &args.to {
        Some(rev) => commit_named(&site, rev)?,
        None => site.commit(&last.as_ref().ok_or_else(|| missing("no build"))?.deploy.commit)?,
    };
    let old = match &args.from {
        Some(rev) => commit_named(&site, rev)?,
        None => {
            let previous = last.as_ref().and_then(|m| m.deploy.previous.as_deref());
            site.commit(previous.ok_or_else(|| missing("no build before the last one"))?)?
        }
    };
    let mut patches = patches_of(&site, &old)?;
    patches.extend(patches_of(&site, &new)?);
    let odb = site.store.odb().map_err(night)?;
    let config = chosen(args, from, &project.risk);
    finish(&site.store, &odb, &config, &workspace.root, [&old, &new], &patches)
}

fn finish(
    repo: &Repo,
    odb: &Odb,
    config: &RiskRules,
    root: &Path,
    ends: [&ObjectId; 2],
    patches: &BTreeMap<ObjectId, String>,
) -> Result<Transition, CliError> {
    let tree = odb.commit(ends[1]).map_err(StoreError::from).map_err(night)?.tree;
    let rules = rules_for(odb, &tree, config, root).map_err(|e: RiskError| night(e))?;
    assess_move(repo, odb, &rules, ends, patches).map_err(night)
}

/// A severity's word in its colour.
pub fn severity(severity: Severity) -> String {
    let colour = match severity {
        Severity::Off => AnsiColor::Green,
        Severity::Info => AnsiColor::Cyan,
        Severity::Warn => AnsiColor::Yellow,
        Severity::Stop => AnsiColor::Red,
    };
    painted(severity.word(), Style::new().bold().fg_color(Some(colour.into())))
}

/// `2 stop, 1 warn, 5 info`.
pub fn counts(assessment: &Assessment) -> String {
    let of = [Severity::Stop, Severity::Warn, Severity::Info];
    let parts = of.iter().filter(|s| assessment.count(**s) > 0);
    let parts: Vec<String> = parts.map(|s| format!("{} {}", assessment.count(*s), severity(*s))).collect();
    if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") }
}

/// A finding in words.
pub fn words(finding: &Finding) -> String {
    clean(&finding.in_words())
}

/// Prints a move.
pub fn show(ui: &Ui, transition: &Transition, all: bool) {
    let assessment = &transition.assessment;
    ui.line(&format!(
        "{} {} \u{2192} {}   {}",
        painted("risk", BOLD),
        short(&transition.from),
        short(&transition.to),
        counts(assessment)
    ));
    let packs: Vec<&str> = assessment.packs.iter().map(|p| p.name.as_str()).collect();
    ui.line(&format!("{}\n", painted(&format!("rules: {}", packs.join(", ")), DIM)));
    let least = if all { Severity::Info } else { Severity::Warn };
    let mut rows = table(&["", "kind", "what", "where", "brought by"]);
    for finding in together(assessment.findings.iter().filter(|f| f.severity >= least)) {
        let finding = &finding;
        let line = finding.line.map(|l| format!(":{l}")).unwrap_or_default();
        rows.add_row([
            severity(finding.severity),
            clean(&finding.kind),
            cut(&words(finding), 110),
            if finding.path.is_empty() {
                "message".to_owned()
            } else {
                clean(&format!("{}{line}", finding.path))
            },
            brought_by(finding),
        ]);
    }
    if rows.row_count() > 0 {
        ui.line(&format!("{}\n", fitted(rows, &[])));
    }
    let hidden = assessment.count(Severity::Info);
    if !all && hidden > 0 {
        ui.line(&painted(&format!("{hidden} more to know: git carry risk --all\n"), DIM));
    }
    restarts(ui, assessment);
    plan(ui, &transition.plan);
}

/// Findings that say the same of several names in one file, brought by one commit, as one.
fn together<'f>(findings: impl Iterator<Item = &'f Finding>) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = |a: &Finding| {
            (&a.kind, a.severity, &a.path, &a.text, &a.origin, a.confidence)
                == (
                    &finding.kind,
                    finding.severity,
                    &finding.path,
                    &finding.text,
                    &finding.origin,
                    finding.confidence,
                )
                && a.migration.is_none()
                && finding.new.is_none()
                && !a.name.is_empty()
        };
        match out.last_mut().filter(|last| same(last)) {
            Some(last) => {
                last.name = format!("{}, {}", last.name, finding.name);
                (last.old, last.line) = (None, last.line.min(finding.line));
            }
            None => out.push(finding.clone()),
        }
    }
    out
}

fn brought_by(finding: &Finding) -> String {
    let Some(origin) = &finding.origin else { return "-".to_owned() };
    let who = match &origin.patch {
        Some(patch) => format!("patch {patch}"),
        None => format!("{} {}", short(&origin.commit), origin.author[0]),
    };
    let gone = if origin.dropped { ", which is gone" } else { "" };
    cut(&clean(&format!("{who}{gone}")), 40)
}

fn restarts(ui: &Ui, assessment: &Assessment) {
    let restarts = &assessment.restarts;
    let heading = painted("restart", BOLD);
    let named = match restarts.named.is_empty() {
        true => String::new(),
        false => format!(": {}", restarts.named.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    if !restarts.mapped && restarts.services.iter().any(|name| name == "*") {
        ui.line(&format!("{heading}  everything{}", clean(&named)));
        ui.line(&painted("         no rule says which path belongs to which service", DIM));
    } else if restarts.services.is_empty() {
        ui.line(&format!("{heading}  nothing"));
    } else {
        let because = |name: &String| restarts.because.get(name).map_or("", String::as_str);
        for name in &restarts.services {
            let shown = if name == "*" { format!("every service{named}") } else { name.clone() };
            ui.line(&format!("{heading}  {}  {}", clean(&shown), painted(&clean(because(name)), DIM)));
        }
    }
    if !restarts.untouched.is_empty() && !restarts.services.is_empty() {
        ui.line(&format!("{}     {}", painted("keep", BOLD), clean(&restarts.untouched.join(", "))));
    }
}

fn plan(ui: &Ui, plan: &Plan) {
    if plan.mode == Mode::Nothing {
        return;
    }
    ui.line(&format!("\n{}", painted("plan", BOLD)));
    for (at, step) in plan.steps.iter().enumerate() {
        let scope = match step.scope {
            crate::risk::rule::Scope::Region => "",
            crate::risk::rule::Scope::Cell => "  in each cell",
            crate::risk::rule::Scope::Host => "  on each host",
        };
        ui.line(&format!("{:>3}. {}{}", at + 1, clean(&step.what), painted(scope, DIM)));
        for command in &step.run {
            ui.line(&format!("     {}", painted(&format!("$ {}", clean(command)), DIM)));
        }
        if plan.point_of_no_return.as_ref() == Some(&step.id) {
            ui.line(&format!("     {}", painted("from here on the old build's code cannot come back", DIM)));
        }
    }
    for stop in &plan.stops {
        ui.line(&format!(
            "     {} before {} nothing of the old build may run: move in two steps, with the contract between them",
            severity(Severity::Stop),
            clean(stop)
        ));
    }
}
