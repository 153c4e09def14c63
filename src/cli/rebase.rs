//! `git carry rebase`: the replay alone: no fetch, no push.

use std::path::Path;
use std::sync::Arc;

use super::error::CliError;
use super::ui::Ui;
use super::{guarded_beside, report};
use crate::night::{self, NightError, Options, QueueAhead};
use crate::store::drop_later;
use crate::workspace::{Config, Workspace};

/// Replay the queue on the fetched trunk tip, or on another commit; write the queue back; push nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Replay onto this commit instead.
    #[arg(long, value_name = "REV")]
    onto: Option<String>,
    /// Work everything out and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
    /// How many checks may run at once; without it, one for each core.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    jobs: usize,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let mut ahead = None;
    let mut begin = |root: &Path, config: &Config| {
        ahead = config.project(args.project.as_deref()).ok().and_then(|p| QueueAhead::begin(root, p).ok());
    };
    let (workspace, _guard) = if args.dry_run {
        let root = Workspace::root_of(from).map_err(NightError::from)?;
        let workspace = Workspace::load_beside(root, |config| begin(root, config));
        (workspace.map_err(NightError::from)?, None)
    } else {
        let (workspace, guard) = guarded_beside(ui, from, "rebase", begin)?;
        (workspace, Some(guard))
    };
    let options = Options {
        offline: true,
        onto: args.onto,
        dry_run: args.dry_run,
        jobs: args.jobs,
        queue: ahead.map(Arc::new),
        ..Options::default()
    };
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let night = night::run(&workspace, project, &options, ui)?;
    report::print(ui, &night)?;
    let code = night.exit_code();
    drop_later((night, workspace));
    Ok(code)
}
