//! `git carry hold` and `unhold`: leave a patch out for a while, and take it up again.

use std::path::Path;

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, Ui, clean, count, painted};
use crate::night::{FileChange, NightError, Site, queue_graph, write};
use crate::queue::{Patch, Series};

/// Leave a patch out of the stack, from the next replay on.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    /// The patch's name.
    patch: String,
    /// Why; it stands in the series for others to read.
    #[arg(short, long, default_value = "")]
    reason: String,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Take a held patch up again, from the next replay on.
#[derive(Debug, clap::Args)]
pub struct UnholdArgs {
    /// The patch's name.
    patch: String,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn hold(ui: &Ui, from: &Path, args: HoldArgs) -> Result<u8, CliError> {
    change(ui, from, args.project.as_deref(), &args.patch, Some(&args.reason))
}

pub fn unhold(ui: &Ui, from: &Path, args: UnholdArgs) -> Result<u8, CliError> {
    change(ui, from, args.project.as_deref(), &args.patch, None)
}

pub fn change(
    ui: &Ui,
    from: &Path,
    project: Option<&str>,
    name: &str,
    reason: Option<&str>,
) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "hold")?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    site.preflight()?;
    let queue = site.queue()?;
    let missing = |what: String, hint: Option<String>| Err(CliError::Missing { what, hint });
    let Some(patch) = queue.get(name) else {
        return Err(CliError::no_patch(&project.name, name, queue.patches.iter().map(Patch::name)));
    };
    match (reason, &patch.hold) {
        (Some(_), Some(_)) => return missing(format!("'{}' is held already", patch.name()), None),
        (None, None) => return missing(format!("'{}' is not held", patch.name()), None),
        (None, Some(_)) if patch.metadata.hold.is_some() => {
            let what = format!("the header of '{}' holds it", patch.name());
            return missing(what, Some(format!("take the Carry-Hold line out of {}", patch.file)));
        }
        _ => {}
    }
    let along: Vec<String> = match reason {
        Some(_) => {
            let (graph, _) = queue_graph(&site, &queue)?;
            graph.dependents(patch.name()).into_iter().map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let mut series: Series = queue.series.clone();
    let fault = |fault| NightError::Queue {
        project: project.name.clone(),
        folder: project.patches.clone(),
        faults: vec![fault],
    };
    series.set_hold(&patch.file, reason).map_err(fault)?;
    let verb = if reason.is_some() { "hold" } else { "unhold" };
    let why = reason.map(str::trim).filter(|r| !r.is_empty()).map(|r| format!("\n{r}\n")).unwrap_or_default();
    let message = format!("carry: {}: {verb} {}\n{why}", project.name, patch.name());
    let path = format!("{}/series", project.patches);
    let files = vec![FileChange { path, bytes: Some(series.to_bytes()) }];
    let commits = write(&site, Vec::new(), &[(message, files)])?;
    if ui.json {
        let held = reason.is_some();
        let document = serde_json::json!({
            "version": 1, "project": project.name, "patch": patch.name(), "held": held, "takes_along": along,
            "workspace_commits": commits,
        });
        ui.document(&document)?;
        return Ok(0);
    }
    let does = if reason.is_some() { "is held" } else { "is taken up again" };
    ui.line(&format!("{} {does} from the next replay on", painted(&clean(patch.name()), BOLD)));
    if !along.is_empty() {
        let many =
            count(along.len(), "patch needs it and will be blocked", "patches need it and will be blocked");
        ui.line(&format!("  {many}: {}", clean(&along.join(", "))));
    }
    ui.line("next  git carry rebase, or the nightly run; git carry undo takes it back");
    Ok(0)
}
