//! `git carry pause` and `resume`: no nights for a project, for a while and for a reason.

use std::path::Path;

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, Ui, clean, painted};
use crate::night::{FileChange, NightError, Site, write};
use crate::workspace::{CONFIG, WorkspaceError, set_paused};

/// Let no night touch a project until it is resumed.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// The project; it may be left out where the workspace holds one.
    project: Option<String>,
    /// Why; everyone reads it.
    #[arg(short, long)]
    reason: String,
}

/// Let the nights of a paused project go on.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The project; it may be left out where the workspace holds one.
    project: Option<String>,
}

pub fn pause(ui: &Ui, from: &Path, args: &PauseArgs) -> Result<u8, CliError> {
    if args.reason.trim().is_empty() {
        let hint = Some("say why: --reason 'release freeze until Monday'".into());
        return Err(CliError::Usage { what: "a pause needs a reason".into(), hint });
    }
    change(ui, from, args.project.as_deref(), Some(args.reason.trim()))
}

pub fn resume(ui: &Ui, from: &Path, args: &ResumeArgs) -> Result<u8, CliError> {
    change(ui, from, args.project.as_deref(), None)
}

fn change(ui: &Ui, from: &Path, project: Option<&str>, reason: Option<&str>) -> Result<u8, CliError> {
    let verb = if reason.is_some() { "pause" } else { "resume" };
    let (workspace, _guard) = guarded(ui, from, verb)?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let name = &project.name;
    if reason.is_none() && project.paused.is_none() {
        return Err(CliError::Missing { what: format!("'{name}' is not paused"), hint: None });
    }
    let site = Site::open(&workspace, project)?;
    site.preflight()?;
    let path = workspace.root.join(CONFIG);
    let text = std::fs::read_to_string(&path).map_err(CliError::io(&path))?;
    let edited = set_paused(&text, name, reason).map_err(|e| NightError::from(WorkspaceError::from(e)))?;
    let why = reason.map(|r| format!("\n{r}\n")).unwrap_or_default();
    let files = vec![FileChange { path: CONFIG.into(), bytes: Some(edited.into_bytes()) }];
    let commits = write(&site, Vec::new(), &[(format!("carry: {name}: {verb}\n{why}"), files)])?;
    if ui.json {
        let document = serde_json::json!({
            "version": 1, "project": name, "paused": reason, "workspace_commits": commits,
        });
        ui.document(&document)?;
    } else if let Some(reason) = reason {
        ui.line(&format!("{} is paused: {}", painted(name, BOLD), clean(reason)));
        ui.line(&format!(
            "next  git carry resume {name}, and push the workspace, so that other machines know"
        ));
    } else {
        ui.line(&format!("{} goes on with the next night", painted(name, BOLD)));
    }
    Ok(0)
}
