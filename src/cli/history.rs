//! `git carry log` and `undo`: what was done to the queue, and how to take it back.

use std::path::Path;

use super::error::CliError;
use super::guarded;
use super::ui::{DIM, Ui, clean, cut, fitted, painted, short, table};
use crate::night::history::{Entry, log, undo};
use crate::night::{NightError, Site};
use crate::workspace::Workspace;

/// Show what was done to the queue: nights, edits, resolutions, each a commit of the workspace.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// How many, the newest first.
    #[arg(short = 'n', long, default_value_t = 20)]
    count: usize,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Take the last change of the queue back, by a commit that puts the files as they were before it.
///
/// What was published stays published; the next run replays the queue as it then is.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// Take this one of `git carry log` back, and all that came after it.
    commit: Option<String>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn show(ui: &Ui, from: &Path, args: LogArgs) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let entries = log(&Site::open(&workspace, project)?, args.count)?;
    if ui.json {
        ui.document(&serde_json::json!({ "version": 1, "project": project.name, "log": entries }))?;
        return Ok(0);
    }
    let mut rows = table(&["commit", "day", "by", "what"]);
    for Entry { commit, date, author, subject, .. } in &entries {
        let day = date.get(..10).unwrap_or("-").to_owned();
        rows.add_row([short(commit).to_owned(), day, cut(&clean(author), 24), clean(subject)]);
    }
    match rows.row_count() {
        0 => ui.line("nothing was done to the queue yet"),
        _ => ui.line(&fitted(rows, &[])),
    }
    Ok(0)
}

pub fn take_back(ui: &Ui, from: &Path, args: UndoArgs) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "undo")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let undone = undo(&site, args.commit.as_deref())?;
    if ui.json {
        ui.document(&serde_json::json!({ "version": 1, "project": project.name, "undone": undone.entries,
            "workspace_commits": undone.commits }))?;
        return Ok(0);
    }
    for entry in &undone.entries {
        ui.line(&format!("taken back: {}  {}", clean(&entry.subject), painted(short(&entry.commit), DIM)));
    }
    ui.line("next  git carry rebase replays the queue as it is now; git carry undo takes this back as well");
    Ok(0)
}
