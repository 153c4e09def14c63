//! `git carry show PATCH`: one patch, with what happened to it.

use std::path::Path;

use super::error::CliError;
use super::report::{record_report, what};
use super::ui::{BOLD, Ui, clean, count, outcome, painted, short};
use crate::build::manifest::{Manifest, PatchRecord};
use crate::night::{NightError, Site, kind_in_words, recorded_manifest};
use crate::queue::Patch;
use crate::workspace::{Outcome, PatchLock, Workspace};

/// Show one patch, with what happened to it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The patch's name.
    patch: String,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let queue = site.queue()?;
    let Some(patch) = queue.get(&args.patch) else {
        return Err(CliError::no_patch(&project.name, &args.patch, queue.patches.iter().map(Patch::name)));
    };
    let lock = workspace.lock.projects.get(&project.name);
    let locked = lock.and_then(|l| l.patches.iter().find(|p| p.name == patch.name()));
    let manifest: Option<Manifest> = lock.map(|l| recorded_manifest(&site, l)).transpose()?.flatten();
    let record = manifest.as_ref().and_then(|m| m.patches.iter().find(|p| p.name == patch.name()));
    let files: Vec<String> = patch.changes().iter().map(|c| c.path().to_string()).collect();
    if ui.json {
        let document = serde_json::json!({
            "version": 1, "project": project.name, "name": patch.name(), "file": patch.file,
            "subject": patch.subject(), "author": patch.header.author.name.to_string(), "metadata": patch.metadata,
            "held": patch.hold, "files": files, "outcome": locked.map(|l| l.outcome),
            "since": locked.map(|l| &l.since), "since_date": locked.map(|l| &l.since_date), "record": record,
        });
        ui.document(&document)?;
        return Ok(0);
    }
    print(ui, patch, locked, record, &files);
    ui.line(&format!("\n  file    {}/{}", project.patches, clean(&patch.file)));
    Ok(0)
}

fn print(ui: &Ui, patch: &Patch, locked: Option<&PatchLock>, record: Option<&PatchRecord>, files: &[String]) {
    let author = &patch.header.author;
    ui.line(&painted(&clean(patch.name()), BOLD));
    ui.line(&format!("  {}", clean(&patch.subject())));
    ui.line(&format!("  author  {} <{}>", clean(&author.name.to_string()), clean(&author.email.to_string())));
    let metadata = &patch.metadata;
    let told = [
        ("owner", &metadata.owner),
        ("reason", &metadata.reason),
        ("sent", &metadata.forwarded),
        ("origin", &metadata.origin),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            ui.line(&format!("  {name:<7} {}", clean(value)));
        }
    }
    ui.line(&format!("  changes {}: {}", count(files.len(), "file", "files"), clean(&files.join(", "))));
    let Some(locked) = locked else {
        ui.line("  outcome not replayed yet");
        return;
    };
    let edited = if locked.digest == patch.digest { "" } else { " (edited since)" };
    let day = locked.since_date.get(..10).unwrap_or("-");
    ui.line(&format!(
        "\n  outcome {}{edited}, since trunk {} of {day}",
        outcome(locked.outcome),
        short(&locked.since)
    ));
    let Some(record) = record else { return };
    let report = record_report(record);
    let what = what(&report);
    if !what.is_empty() && what != report.subject {
        ui.line(&format!("          {}", clean(&what)));
    }
    for c in &record.conflicts {
        ui.line(&format!("          {}: {}", clean(&c.path), kind_in_words(c.kind)));
    }
    if let Some(commit) = &record.commit {
        ui.line(&format!("  commit  {} in the last build", short(commit)));
    }
    match record.outcome {
        Outcome::Conflict | Outcome::Evolved => {
            let name = clean(&record.name);
            ui.line(&format!("\n  next    git carry why {name}; then: git carry resolve {name}"));
        }
        Outcome::Blocked => {
            ui.line(&format!("\n  next    git carry show {}", clean(&record.needs.join(" "))))
        }
        _ => {}
    }
}
