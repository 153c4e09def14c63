//! `git carry import`: a fork's branch, a patch folder or a mailbox becomes the queue.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, Ui, clean, count, painted, short};
use crate::night::{NightError, Site, TakenFrom, take_in};
use crate::queue::import;

/// Take a queue in, without loss: from a fork's branch, a patch folder or a mailbox.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("from").required(true))]
pub struct Args {
    /// The fork: anything that git fetch takes.
    #[arg(long, value_name = "ADDRESS", group = "from", requires = "tip")]
    fork: Option<String>,
    /// The fork's branch or tag.
    #[arg(long, value_name = "REF")]
    tip: Option<String>,
    /// A quilt or Debian folder (with a series), or a folder of format-patch files.
    #[arg(long, value_name = "FOLDER", group = "from")]
    patches: Option<PathBuf>,
    /// A mailbox of patches.
    #[arg(long, value_name = "FILE", group = "from")]
    mbox: Option<PathBuf>,
    /// The upstream commit under the queue.
    #[arg(long, value_name = "COMMIT")]
    base: Option<String>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
    /// Do not fetch the trunk first.
    #[arg(long)]
    offline: bool,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "import")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let faults = |folder: &Path| {
        let folder = folder.display().to_string();
        move |faults| NightError::Queue { project: project.name.clone(), folder, faults }
    };
    let base = args.base;
    let source = match (args.fork, args.tip, args.patches, args.mbox) {
        (Some(address), Some(tip), ..) => TakenFrom::Fork { address, tip, base },
        (_, _, Some(folder), _) => {
            TakenFrom::Files { import: import::folder(&folder).map_err(faults(&folder))?, base }
        }
        (_, _, _, Some(file)) => {
            let bytes = std::fs::read(&file).map_err(CliError::io(&file))?;
            TakenFrom::Files { import: import::mbox(&bytes).map_err(faults(&file))?, base }
        }
        _ => {
            let what = "nothing to take in is named".to_owned();
            return Err(CliError::Usage {
                what,
                hint: Some("--fork ADDRESS --tip REF, --patches FOLDER or --mbox FILE".into()),
            });
        }
    };
    let taken = take_in(&site, source, args.offline, ui)?;
    if ui.json {
        ui.document(&taken)?;
        return Ok(0);
    }
    let head = format!("{}: {} taken in", taken.project, count(taken.patches, "patch", "patches"));
    ui.line(&painted(&head, BOLD));
    ui.line(&format!("  base  {} ({})", short(&taken.base), taken.base_by));
    match taken.same_tree_as_fork {
        Some(true) => ui.line(&format!("  tree  {}, the same as the fork's", short(&taken.tree))),
        Some(false) => ui.line(&format!("  tree  {}, NOT the fork's", short(&taken.tree))),
        None => ui.line(&format!("  tree  {}", short(&taken.tree))),
    }
    for note in &taken.notes {
        ui.line(&format!("  note  {}", clean(note)));
    }
    ui.line("Next: git carry nightly");
    Ok(0)
}
