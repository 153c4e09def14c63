//! `git carry rebase`: the replay alone: no fetch, no push.

use std::path::Path;

use super::error::CliError;
use super::ui::Ui;
use super::{guarded, report};
use crate::night::{self, NightError, Options};
use crate::workspace::Workspace;

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
    let options = Options {
        offline: true,
        onto: args.onto,
        dry_run: args.dry_run,
        jobs: args.jobs,
        ..Options::default()
    };
    let (workspace, _guard) = if args.dry_run {
        (Workspace::find(from).map_err(NightError::from)?, None)
    } else {
        let (workspace, guard) = guarded(ui, from, "rebase")?;
        (workspace, Some(guard))
    };
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let night = night::run(&workspace, project, &options, ui)?;
    report::print(ui, &night)?;
    Ok(night.exit_code())
}
