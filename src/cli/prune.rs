//! `git carry prune`: old builds go, as carry.toml says.

use std::path::Path;

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, Ui, clean, count, painted};
use crate::night::{Events as _, How, NightError, Pruned, Site, prune_history, tidy_workspace};
use crate::workspace::Project;

/// Take old builds away, as 'keep' in [project.X.history] says, and pack what is left.
///
/// The newest build stays, and so does what a stage runs. At the deploy remote nothing goes, unless `remote = true` says so.
/// Each night does the same. Without 'keep' nothing goes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One project; without it, all.
    #[arg(long)]
    project: Option<String>,
    /// Show what would go.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask the remote what its stages run, and change nothing there.
    #[arg(long)]
    offline: bool,
    /// Free the room at once, instead of after git's two weeks. What was undone or set aside meanwhile is lost.
    #[arg(long)]
    now: bool,
}

pub fn run(ui: &Ui, from: &Path, args: &Args) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "prune")?;
    let projects: Vec<&Project> = match &args.project {
        Some(name) => vec![workspace.project(Some(name)).map_err(NightError::from)?],
        None => workspace.config.projects.values().collect(),
    };
    let how = How { dry_run: args.dry_run, offline: args.offline, now: args.now };
    let mut told = Vec::new();
    for project in &projects {
        let site = Site::open(&workspace, project)?;
        ui.step(&format!("looking at the builds of {}", project.name));
        let pruned = prune_history(&site, how, ui)?;
        if ui.json {
            told.push(serde_json::json!({
                "version": 1, "project": project.name, "dry_run": args.dry_run, "builds": pruned.builds,
                "at_remote": pruned.at_remote, "checks": pruned.checks,
            }));
        } else {
            print(ui, project, &pruned, args.dry_run);
        }
    }
    if let Some(project) = projects.first().filter(|_| !args.dry_run) {
        tidy_workspace(&Site::open(&workspace, project)?)?;
    }
    if ui.json {
        ui.document(&told)?;
    }
    Ok(0)
}

fn print(ui: &Ui, project: &Project, pruned: &Pruned, dry_run: bool) {
    let name = painted(&clean(&project.name), BOLD);
    let Some(keep) = project.history.builds else {
        ui.line(&format!(
            "{name}  all builds are kept; to keep 90: keep = 90 in [project.{}.history]",
            project.name
        ));
        return;
    };
    match summary(pruned, dry_run) {
        Some(what) => ui.line(&format!("{name}  {what}")),
        None => ui.line(&format!(
            "{name}  nothing is old enough to go: {} may stay",
            count(keep, "build", "builds")
        )),
    }
}

/// What went, in a line; none if nothing did.
pub fn summary(pruned: &Pruned, dry_run: bool) -> Option<String> {
    let mut parts = Vec::new();
    if !pruned.builds.is_empty() {
        parts.push(count(pruned.builds.len(), "build", "builds"));
    }
    if !pruned.at_remote.is_empty() {
        parts.push(format!("{} at the remote", count(pruned.at_remote.len(), "ref", "refs")));
    }
    if pruned.checks > 0 {
        parts.push(count(pruned.checks, "result of a check", "results of checks"));
    }
    let word = if dry_run { "would go" } else { "taken away" };
    (!parts.is_empty()).then(|| format!("{word}: {}", parts.join(", ")))
}
