//! In: the command line. Out: an exit code. The only place that prints or reads the terminal; one file a command.

mod bisect;
mod build;
mod candidates;
mod check;
mod compare;
mod demo;
mod doctor;
mod document;
mod edit;
mod error;
mod export;
mod exports;
mod fleet;
mod followed;
mod forecast;
mod graph;
mod help;
mod history;
mod hold;
mod import;
mod init;
mod landed;
mod manifest;
mod nightly;
mod notify;
mod pause;
mod prune;
mod rebase;
mod report;
mod resolutions;
mod resolve;
mod risk;
mod sent;
mod show;
mod stage;
mod stages_shown;
mod status;
mod ui;
mod upstream;
mod verify;
mod why;
mod wrap;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{FromArgMatches as _, Parser, Subcommand};

use crate::night::{Events, NightError, Site, clean_up, pending, recover};
use crate::workspace::{Config, Guard, Workspace};
use error::CliError;
pub use help::completed;
use ui::Ui;

/// Carry a queue of local patches on an upstream trunk that never stops moving.
#[derive(Debug, Parser)]
#[command(name = "git-carry", bin_name = "git carry", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Work on the workspace that this folder is in.
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Say no more than the result.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Import(import::Args),
    Export(export::Args),
    Status(status::Args),
    Show(show::Args),
    Rebase(rebase::Args),
    Nightly(nightly::Args),
    Fleet(fleet::Args),
    Manifest(manifest::Args),
    Build(build::Args),
    Check(check::Args),
    Graph(graph::Args),
    Why(why::Args),
    Forecast(forecast::Args),
    Candidates(candidates::Args),
    Risk(risk::Args),
    Stage(stage::Args),
    Upstream(upstream::Args),
    Bisect(bisect::Args),
    Resolve(resolve::Args),
    Resolutions(resolutions::Args),
    Edit(edit::EditArgs),
    Refresh(edit::RefreshArgs),
    Add(edit::AddArgs),
    Drop(edit::DropArgs),
    Move(edit::MoveArgs),
    Rename(edit::RenameArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Landed(landed::Args),
    Hold(hold::HoldArgs),
    Unhold(hold::UnholdArgs),
    Report(document::Args),
    Log(history::LogArgs),
    Undo(history::UndoArgs),
    Notify(notify::Args),
    Prune(prune::Args),
    Doctor(doctor::Args),
    Demo(demo::Args),
    Man(help::ManArgs),
    /// Print a shell's completions, for git-carry and for git carry: patches, builds, stages and projects among them.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line; the exit code is 0, or 1 to 4 as the guide tells.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let matches = help::command().try_get_matches_from(args);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(e) => {
            // A closed pipe is nobody's mistake.
            let _ = e.print();
            return u8::try_from(e.exit_code()).unwrap_or(2);
        }
    };
    let ui = Ui::new(cli.json, cli.quiet);
    let from = cli.directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let from = from.canonicalize().unwrap_or(from);
    let result = match cli.command {
        Command::Init(args) => init::run(&ui, &from, args),
        Command::Import(args) => import::run(&ui, &from, args),
        Command::Export(args) => export::run(&ui, &from, args),
        Command::Status(args) => status::run(&ui, &from, args),
        Command::Show(args) => show::run(&ui, &from, args),
        Command::Rebase(args) => rebase::run(&ui, &from, args),
        Command::Nightly(args) => nightly::run(&ui, &from, args),
        Command::Fleet(args) => fleet::run(&ui, &from, args),
        Command::Manifest(args) => manifest::run(&ui, &from, args),
        Command::Build(args) => build::run(&ui, &from, args),
        Command::Check(args) => check::run(&ui, &from, args),
        Command::Graph(args) => graph::run(&ui, &from, args),
        Command::Why(args) => why::run(&ui, &from, args),
        Command::Candidates(args) => candidates::run(&ui, &from, args),
        Command::Forecast(args) => forecast::run(&ui, &from, args),
        Command::Risk(args) => risk::run(&ui, &from, args),
        Command::Bisect(args) => bisect::run(&ui, &from, args),
        Command::Stage(args) => stage::run(&ui, &from, args),
        Command::Upstream(args) => upstream::run(&ui, &from, &args),
        Command::Resolve(args) => resolve::run(&ui, &from, args),
        Command::Resolutions(args) => resolutions::run(&ui, &from, args),
        Command::Edit(args) => edit::edit(&ui, &from, args),
        Command::Refresh(args) => edit::refresh(&ui, &from, args),
        Command::Add(args) => edit::add(&ui, &from, args),
        Command::Drop(args) => edit::drop(&ui, &from, args),
        Command::Move(args) => edit::relocate(&ui, &from, args),
        Command::Rename(args) => edit::rename(&ui, &from, args),
        Command::Report(args) => document::run(&ui, &from, args),
        Command::Log(args) => history::show(&ui, &from, args),
        Command::Undo(args) => history::take_back(&ui, &from, args),
        Command::Prune(args) => prune::run(&ui, &from, &args),
        Command::Pause(args) => pause::pause(&ui, &from, &args),
        Command::Resume(args) => pause::resume(&ui, &from, &args),
        Command::Landed(args) => landed::run(&ui, &from, args),
        Command::Hold(args) => hold::hold(&ui, &from, args),
        Command::Unhold(args) => hold::unhold(&ui, &from, args),
        Command::Notify(args) => notify::run(&ui, &from, &args),
        Command::Doctor(args) => doctor::run(&ui, &from, &args),
        Command::Demo(args) => demo::run(&ui, args),
        Command::Man(args) => help::man(&ui, &args),
        Command::Completions { shell } => help::completions(&ui, shell),
    };
    match result {
        Ok(code) => code,
        Err(e) => e.print(&ui),
    }
}

/// The workspace, guarded, with the runs that were cut off finished or set aside.
fn guarded(ui: &Ui, from: &Path, what: &str) -> Result<(Workspace, Guard), CliError> {
    guarded_beside(ui, from, what, |_, _| ())
}

/// The same; `begin` is called with the root and the configuration before the lock is read, if no run was cut off.
fn guarded_beside(
    ui: &Ui,
    from: &Path,
    what: &str,
    begin: impl FnOnce(&Path, &Config),
) -> Result<(Workspace, Guard), CliError> {
    let (workspace, guard, mut unsettled) = guarded_for_many(ui, from, what, begin)?;
    match unsettled.pop_first() {
        Some((_, e)) => Err(e.into()),
        None => Ok((workspace, guard)),
    }
}

/// The workspace that a guard holds, without what a killed run left in it.
fn loaded(ui: &Ui, root: &Path, guard: &Guard, begin: impl FnOnce(&Config)) -> Result<Workspace, NightError> {
    let workspace = Workspace::load_beside(root, begin)?;
    if let Some(holder) = &guard.took_over {
        ui.note(&format!("a run ended without giving the workspace back: {holder}"));
        clean_up(&workspace)?;
    }
    Ok(workspace)
}

/// The projects whose run was cut off, and where that cannot be settled now.
type Unsettled = BTreeMap<String, NightError>;

/// The same for a command that goes on with the other projects where the run of one cannot be settled now.
fn guarded_for_many(
    ui: &Ui,
    from: &Path,
    what: &str,
    begin: impl FnOnce(&Path, &Config),
) -> Result<(Workspace, Guard, Unsettled), CliError> {
    let root = Workspace::root_of(from).map_err(NightError::from)?;
    let folder = Site::folder_of(root)?;
    let guard = Guard::acquire(&folder, what)?;
    let is_settled = |config: &Config| !config.projects.keys().any(|name| pending(&folder, name));
    let begin = |config: &Config| {
        if is_settled(config) {
            begin(root, config);
        }
    };
    let mut workspace = match loaded(ui, root, &guard, begin) {
        Ok(workspace) => workspace,
        Err(e) => {
            guard.give_up();
            return Err(e.into());
        }
    };
    let (mut recovered, mut unsettled) = (false, Unsettled::new());
    for project in workspace.config.projects.values().filter(|p| pending(&folder, &p.name)) {
        match Site::open(&workspace, project).and_then(|site| recover(&site)) {
            Ok(Some(what)) => {
                ui.note(&format!("{}: {}", project.name, what.in_words()));
                recovered = true;
            }
            Ok(None) => {}
            Err(e) => {
                unsettled.insert(project.name.clone(), e);
            }
        }
    }
    if recovered {
        workspace = Workspace::load(&workspace.root).map_err(NightError::from)?;
    }
    Ok((workspace, guard, unsettled))
}
