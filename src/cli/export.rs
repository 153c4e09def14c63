//! `git carry export`: the queue's files, to the byte, into another folder.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::{Ui, clean, count};
use crate::night::{NightError, Site, closure_files};
use crate::workspace::Workspace;

/// Write the queue's series and patches, to the byte, into a folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; it must be new or empty.
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// Only this patch with all that it needs, written anew so that `git am` takes them on the bare base.
    #[arg(long, value_name = "PATCH")]
    closure: Option<String>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let queue = site.queue()?;
    if std::fs::read_dir(&args.to).is_ok_and(|mut entries| entries.next().is_some()) {
        let what = format!("'{}' is not empty", args.to.display());
        return Err(CliError::Usage { what, hint: Some("name a new folder".into()) });
    }
    let put = |file: &str, bytes: &[u8]| -> Result<(), CliError> {
        let path = args.to.join(file);
        let folder = path.parent().unwrap_or(&args.to);
        std::fs::create_dir_all(folder).map_err(CliError::io(folder))?;
        std::fs::write(&path, bytes).map_err(CliError::io(&path))
    };
    let files: Vec<(String, Vec<u8>)> = match &args.closure {
        None => queue.patches.iter().map(|p| (p.file.clone(), p.bytes().to_vec())).collect(),
        Some(name) => match closure_files(&site, &queue, name)? {
            Some(files) => files,
            None => {
                let what = format!("'{}' is no patch of the stack", clean(name));
                return Err(CliError::Missing {
                    what,
                    hint: Some("git carry graph shows those that are".into()),
                });
            }
        },
    };
    let series = match &args.closure {
        None => queue.series.to_bytes(),
        Some(_) => files.iter().flat_map(|(file, _)| format!("{file}\n").into_bytes()).collect(),
    };
    put("series", &series)?;
    for (file, bytes) in &files {
        put(file, bytes)?;
    }
    if ui.json {
        ui.document(&serde_json::json!({ "version": 1, "project": project.name, "patches": files.len() }))?;
    } else {
        ui.line(&format!("{} written to {}", count(files.len(), "patch", "patches"), args.to.display()));
    }
    Ok(0)
}
