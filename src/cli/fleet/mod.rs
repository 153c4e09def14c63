//! `git carry fleet`: many projects on many machines, by any scheduler.

mod gather;
mod plan;
mod work;

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;

use super::error::CliError;
use super::guarded;
use super::ui::{Ui, clean};
use crate::fleet::{FleetError, LeftOut, Told};
use crate::night::{NightError, Site, pending};
use crate::workspace::{Guard, Outcome, Workspace};

/// Spread the nights of many projects over many workers: any scheduler runs them, and all they know of each other is in git.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::PlanArgs),
    Run(work::RunArgs),
    Report(gather::ReportArgs),
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    match args.command {
        Command::Plan(args) => plan::plan(ui, from, &args),
        Command::Run(args) => work::work(ui, from, &args),
        Command::Report(args) => gather::gather(ui, from, &args),
    }
}

/// The workspace for a command that leaves it as it is. Runs that were cut off are finished or set aside first.
fn beside(ui: &Ui, from: &Path, what: &str) -> Result<(Workspace, Guard), CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let folder = Site::folder_of(&workspace.root)?;
    if workspace.config.projects.values().any(|p| pending(&folder, &p.name)) {
        drop(guarded(ui, from, what)?);
    }
    let guard = Guard::beside(&folder, what)?;
    Ok((Workspace::load(&workspace.root).map_err(NightError::from)?, guard))
}

fn left_out(ui: &Ui, all: &[LeftOut]) {
    for LeftOut { project, why } in all {
        ui.aside(&format!("{project} is in no unit: {}", clean(why)));
    }
}

fn failed(ui: &Ui, unit: &str, e: &FleetError) {
    ui.error(&format!("{unit}: {}", clean(&e.to_string())));
    if let Some(hint) = hint(unit, e) {
        ui.error(&format!("  {hint}"));
    }
}

/// What to do next.
pub fn hint(unit: &str, e: &FleetError) -> Option<String> {
    match e {
        FleetError::Diverged { .. } => Some(
            "take the change back (git revert), bring in what nights left (git carry fleet report --record), and make it again"
                .into(),
        ),
        FleetError::Record { name, .. } => {
            Some(format!("look at it, and take it away if nobody needs it: git push REMOTE :{name}"))
        }
        FleetError::NoTrunk { .. } => Some("set 'branch' in carry.toml".into()),
        FleetError::Night(_) => Some(format!("to see all of it: git carry fleet run --unit {unit}")),
    }
}

/// So many reasons of a unit are told in its line.
const REASONS: usize = 2;

/// What patches came to, and why a person should look.
fn told(projects: &[Told]) -> String {
    let patches = |word: &str| projects.iter().filter_map(|p| p.outcomes.get(word)).sum::<usize>();
    let counts = Outcome::ALL.iter().map(|o| (patches(o.word()), o.word())).filter(|(n, _)| *n > 0);
    let counts: Vec<String> = counts.map(|(n, word)| format!("{n} {word}")).collect();
    let mut reasons: Vec<String> = projects.iter().flat_map(|p| &p.reasons).map(|r| clean(r)).collect();
    // The page and the forms for programs have them all.
    let more = reasons.len().saturating_sub(REASONS);
    reasons.truncate(REASONS);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    [counts.join(", "), reasons.join("; ")]
        .into_iter()
        .filter(|t| !t.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn took(seconds: f64) -> String {
    let length = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    match length.as_secs() {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min", length.as_secs() / 60),
        _ => format!("{} h {} min", length.as_secs() / 3600, length.as_secs() / 60 % 60),
    }
}
