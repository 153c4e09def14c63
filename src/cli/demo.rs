//! `git carry demo`: a few nights of an example, with the real code.

use std::path::PathBuf;

use super::error::CliError;
use super::ui::Ui;

/// Show several nights of an example project in a fresh folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; it must be new or empty. Without it, a temporary one.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn run(_ui: &Ui, _args: Args) -> Result<u8, CliError> {
    Ok(0)
}
