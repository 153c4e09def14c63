//! `git carry fleet`: many projects on many machines, by any scheduler.

mod gather;
mod plan;
mod work;

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;

use super::error::{CliError, clean_lines, night};
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

/// Says of a unit what happened, where, and what to do next, as a command of one project does.
fn failed(ui: &Ui, unit: &str, e: &FleetError) {
    let (more, hint) = told_of(e);
    ui.error(&format!("{unit}: {}", clean_lines(&e.to_string())));
    for line in more {
        ui.error(&format!("  {}", clean(&line)));
    }
    let hint = hint.unwrap_or_else(|| format!("when that is mended: git carry fleet run --unit {unit}"));
    ui.error(&format!("hint: {}", clean_lines(&hint)));
}

fn told_of(e: &FleetError) -> (Vec<String>, Option<String>) {
    let hint = match e {
        FleetError::Diverged { .. } => {
            "take the change back (git revert), bring in what nights left (git carry fleet report --record), and make it again"
                .to_owned()
        }
        FleetError::Record { name, .. } => {
            format!("look at it, and take it away if nobody needs it: git push REMOTE :{name}")
        }
        FleetError::NoTrunk { .. } => "set 'branch' in carry.toml".to_owned(),
        FleetError::Night(e) => return night(e),
    };
    (Vec::new(), Some(hint))
}

/// The first line of what happened: a row of a table has one.
fn in_short(what: &str) -> String {
    clean(what.lines().next().unwrap_or_default())
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
