//! `git carry init`: a workspace, or one more project in it.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::Ui;
use crate::night::{FileChange, NightError, Site, write};
use crate::store::git::Git;
use crate::workspace::schedule::{Scheduler, fleet_job, job, next_step};
use crate::workspace::{
    CONFIG, Config, Guard, LOCK, Lock, Workspace, WorkspaceError, add_project, carry_toml,
};

/// Make a workspace here, or add a project to the one that is here.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's name.
    #[arg(long, required_unless_present = "schedule", requires_all = ["upstream", "branch"])]
    pub project: Option<String>,
    /// Where the trunk comes from: anything that git fetch takes.
    #[arg(long, value_name = "ADDRESS", requires = "project")]
    pub upstream: Option<String>,
    /// The branch to follow.
    #[arg(long, requires = "project")]
    pub branch: Option<String>,
    /// Where the deploy branch is pushed to; without one it stays in the project's store.
    #[arg(long, value_name = "ADDRESS")]
    pub remote: Option<String>,
    /// Write a job that runs the nights; without a project, for the workspace that is here.
    #[arg(long, value_name = "WHAT", value_enum)]
    schedule: Option<Kind>,
    /// The job spreads the nights over many workers (git carry fleet).
    #[arg(long, requires = "schedule")]
    fleet: bool,
}

/// What runs the nights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A line of a crontab.
    Cron,
    /// A service and a timer of systemd.
    Systemd,
    /// A workflow of GitHub Actions.
    GithubActions,
    /// A job of GitLab CI.
    GitlabCi,
    /// A pipeline of Jenkins.
    Jenkins,
    /// An array of Slurm, with --fleet.
    Slurm,
    /// An indexed Job of Kubernetes, with --fleet.
    Kubernetes,
}

/// A project to follow.
pub struct Follow<'a> {
    /// Its name.
    pub project: &'a str,
    /// Where the trunk comes from.
    pub upstream: &'a str,
    /// The branch to follow.
    pub branch: &'a str,
    /// Where the deploy branch is pushed to.
    pub remote: Option<&'a str>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let follow = match (&args.project, &args.upstream, &args.branch) {
        (Some(project), Some(upstream), Some(branch)) => {
            Some(Follow { project, upstream, branch, remote: args.remote.as_deref() })
        }
        _ => None,
    };
    let root = match &follow {
        Some(follow) => make(from, follow)?,
        None => Workspace::find(from).map_err(NightError::from)?.root,
    };
    let job = args.schedule.map(|kind| schedule_in(&root, kind, args.fleet)).transpose()?;
    if ui.json {
        let files = job.iter().flat_map(|(files, _)| files).collect::<Vec<_>>();
        let document = serde_json::json!({
            "version": 1, "workspace": root, "project": args.project, "job": files,
        });
        ui.document(&document)?;
        return Ok(0);
    }
    if let Some(follow) = &follow {
        let settings = root.join(CONFIG);
        ui.line(&format!(
            "Project '{}' follows {}. Its settings: {}",
            follow.project,
            follow.branch,
            settings.display()
        ));
    }
    if let Some((files, next)) = &job {
        ui.line(&format!("A job for the nights was written: {}", files.join(", ")));
        ui.line(&format!("Next: {next}"));
    }
    if follow.is_some() {
        ui.line("Next: take its queue in, for instance");
        ui.line("  git carry import --fork ADDRESS --tip BRANCH");
        ui.line("  git carry import --patches FOLDER");
    }
    Ok(0)
}

/// Writes a job that runs the nights, and commits it: its files, and what a person does next. A file that is there and
/// says something else is left alone.
fn schedule_in(root: &Path, kind: Kind, fleet: bool) -> Result<(Vec<&'static str>, &'static str), CliError> {
    let scheduler = match kind {
        Kind::Cron => Scheduler::Cron,
        Kind::Systemd => Scheduler::Systemd,
        Kind::GithubActions => Scheduler::GithubActions,
        Kind::GitlabCi => Scheduler::GitlabCi,
        Kind::Jenkins => Scheduler::Jenkins,
        Kind::Slurm => Scheduler::Slurm,
        Kind::Kubernetes => Scheduler::Kubernetes,
    };
    let usage = |what: &str, hint: &str| CliError::Usage { what: what.into(), hint: Some(hint.into()) };
    let files = match (fleet, kind) {
        (false, Kind::Slurm | Kind::Kubernetes) => {
            return Err(usage(
                "one machine's nights need no array",
                "for a fleet: git carry init --fleet --schedule …",
            ));
        }
        (false, _) => job(scheduler, root),
        (true, _) => fleet_job(scheduler).ok_or_else(|| {
            usage(
                "that runs on one machine, and a fleet on many",
                "several workers on one machine: seq 4 | xargs -P 4 -I{} git carry fleet run --shard {}/4",
            )
        })?,
    };
    for (path, text) in &files {
        let file = root.join(path);
        if std::fs::read_to_string(&file).is_ok_and(|there| there != *text) {
            return Err(CliError::Usage {
                what: format!("'{}' is there and says something else", file.display()),
                hint: Some("move it away, run this again, and bring both together by hand".into()),
            });
        }
    }
    let workspace = Workspace::load(root).map_err(NightError::from)?;
    let _guard = Guard::acquire(&Site::folder_of(root)?, "init")?;
    let first = workspace.config.projects.keys().next().map(String::as_str);
    let site = Site::open(&workspace, workspace.project(first).map_err(NightError::from)?)?;
    if !site.prefix.is_empty() && !matches!(kind, Kind::Cron | Kind::Systemd) {
        return Err(CliError::Usage {
            what: format!(
                "this workspace is the folder '{}' of a repository, and CI looks at its top",
                site.prefix
            ),
            hint: Some("make the workspace a repository of its own, or write the job by hand".into()),
        });
    }
    let names = files.iter().map(|(path, _)| *path).collect();
    let changes = files
        .into_iter()
        .map(|(path, text)| FileChange { path: path.into(), bytes: Some(text.into_bytes()) });
    write(&site, Vec::new(), &[("carry: a job for the nights\n".to_owned(), changes.collect())])?;
    Ok((names, next_step(scheduler)))
}

/// Makes the workspace or adds the project, and commits that. Returns the workspace's root.
pub fn make(from: &Path, args: &Follow<'_>) -> Result<PathBuf, CliError> {
    let root = match Workspace::find(from) {
        Ok(workspace) => workspace.root,
        Err(WorkspaceError::NotFound { .. }) => from.to_owned(),
        Err(e) => return Err(NightError::from(e).into()),
    };
    let path = root.join(CONFIG);
    let (remote, text) = (args.remote, std::fs::read_to_string(&path));
    let text = match text {
        Ok(text) => add_project(&text, args.project, args.upstream, args.branch, remote),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Ok(carry_toml(args.project, args.upstream, args.branch, remote))
        }
        Err(e) => return Err(CliError::io(&path)(e)),
    };
    let wrong = |e| NightError::from(WorkspaceError::Config(e));
    let text = text.map_err(wrong)?;
    let config = Config::parse(CONFIG, &text).map_err(wrong)?;

    if Site::folder_of(&root).is_err() {
        Git::at(&root).call(["init", "-q"]).output().map_err(NightError::from)?;
    }
    let _guard = Guard::acquire(&Site::folder_of(&root)?, "init")?;
    let lock_text = std::fs::read_to_string(root.join(LOCK)).unwrap_or_default();
    let lock = Lock::parse(LOCK, &lock_text).map_err(|e| NightError::from(WorkspaceError::from(e)))?;
    let workspace =
        Workspace { root: root.clone(), config, lock: lock.into(), apart: std::collections::BTreeMap::new() };
    let project = workspace.project(Some(args.project)).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    site.preflight()?;
    let files = [
        (CONFIG.to_owned(), text),
        (format!("{}/series", project.patches), String::new()),
        // A patch is bytes: no line end of it is git's to change.
        (
            format!("{}/.gitattributes", project.patches),
            "*.patch -text\n*.diff -text\nseries -text\n".to_owned(),
        ),
    ];
    let files = files.map(|(path, text)| FileChange { path, bytes: Some(text.into_bytes()) });
    let message = format!("carry: {}: follow {}\n", project.name, args.branch);
    write(&site, Vec::new(), &[(message, files.to_vec())])?;
    Ok(root)
}
