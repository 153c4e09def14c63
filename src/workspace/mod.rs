//! In: the workspace's folder. Out: its configuration, its lock, and the right to be the only run in it.
//! Never: a patch, a repository, the terminal.

mod artifacts;
mod candidates;
mod checks;
mod config;
mod edit;
mod evidence;
mod forge;
mod guard;
mod history;
mod hooks;
mod lockfile;
mod notify;
mod pieces;
mod policy;
mod reader;
mod rules;
pub mod schedule;
mod sets;
mod stages;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use artifacts::{ArtifactKind, Artifacts};
pub use candidates::Weights;
pub use checks::{Check, CheckOn};
pub use config::{
    Config, ConfigError, Deploy, Fault, History, Identity, Project, Regenerate, RiskRules, Signing,
};
pub use edit::set_paused;
pub use evidence::{Bearing, Confidence, Decision, Evidence, LandedLock, Proposal, Rung};
pub use forge::{Forge, ForgeKind, GITHUB};
pub use guard::{Guard, GuardError};
pub use history::Keep;
pub use hooks::{Hook, HookEvent};
pub use lockfile::{Culprit, Evolved, Good, Lock, LockError, Outcome, PatchLock, ProjectLock};
pub use notify::{Repository, Sink, Way, authority};
pub use policy::{Advance, Landed, Policy, Required, Tags};
pub use reader::{length, nearest};
pub use sets::Set;
pub use stages::{HoldOn, LATEST, SIGNED, Stage};
pub use template::{add_project, carry_toml};

/// The configuration's file name.
pub const CONFIG: &str = "carry.toml";
/// The environment variable that names the key by which what goes out is signed, before the configuration.
pub const SIGNING_KEY: &str = "GIT_CARRY_SIGNING_KEY";
/// The lock's file name.
pub const LOCK: &str = "carry.lock";

/// A queue repository.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its root.
    pub root: PathBuf,
    /// What it follows.
    pub config: Config,
    /// What the last replay recorded.
    pub lock: Arc<Lock>,
    /// The projects whose patches and answers lie in another folder than the root, as a fleet's worker has them.
    pub apart: BTreeMap<String, PathBuf>,
}

/// A workspace that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is none here.
    #[error("no {CONFIG} in '{}' or above", .from.display())]
    NotFound {
        /// Where it was looked for.
        from: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("'{}': {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The lock is damaged.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no such project.
    #[error("no project is called '{name}'")]
    NoProject {
        /// What was asked for.
        name: String,
        /// Those that there are.
        has: Vec<String>,
        /// The nearest of them.
        nearest: Option<String>,
    },
    /// There are many projects, and one must be named.
    #[error("the workspace holds {} projects", .has.len())]
    Which {
        /// Their names.
        has: Vec<String>,
    },
}

/// The lock that was parsed last, and its text: a night loads the workspace after each step, and often it is what it was.
static PARSED: Mutex<Option<(String, Arc<Lock>)>> = Mutex::new(None);

fn parsed(text: String) -> Result<Arc<Lock>, LockError> {
    let mut last = PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, lock)) = last.as_ref().filter(|(known, _)| *known == text) {
        return Ok(lock.clone());
    }
    let lock = Arc::new(Lock::parse(LOCK, &text)?);
    *last = Some((text, lock.clone()));
    Ok(lock)
}

fn read(root: &Path, name: &str) -> Result<String, WorkspaceError> {
    let path = root.join(name);
    std::fs::read_to_string(&path).map_err(|source| WorkspaceError::Io { path, source })
}

impl Workspace {
    /// The workspace that `from` is in.
    pub fn find(from: &Path) -> Result<Self, WorkspaceError> {
        Self::load(Self::root_of(from)?)
    }

    /// The root of the workspace that `from` is in.
    pub fn root_of(from: &Path) -> Result<&Path, WorkspaceError> {
        let root = from.ancestors().find(|dir| dir.join(CONFIG).is_file());
        root.ok_or_else(|| WorkspaceError::NotFound { from: from.to_owned() })
    }

    /// The workspace at `root`.
    pub fn load(root: &Path) -> Result<Self, WorkspaceError> {
        Self::load_beside(root, |_| ())
    }

    /// The same; `begin` is called as soon as the configuration is known, as the lock may take its time.
    pub fn load_beside(root: &Path, begin: impl FnOnce(&Config)) -> Result<Self, WorkspaceError> {
        let config = Config::parse(CONFIG, &read(root, CONFIG)?)?;
        begin(&config);
        Ok(Self { root: root.to_owned(), config, lock: Self::lock_at(root)?, apart: BTreeMap::new() })
    }

    /// What the lock of the workspace at `root` says now.
    pub fn lock_at(root: &Path) -> Result<Arc<Lock>, WorkspaceError> {
        let text = match read(root, LOCK) {
            Err(WorkspaceError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                String::new()
            }
            other => other?,
        };
        Ok(parsed(text)?)
    }

    /// The project `name`, or the only one.
    pub fn project(&self, name: Option<&str>) -> Result<&Project, WorkspaceError> {
        self.config.project(name)
    }

    /// Where the project's patches are.
    pub fn patches(&self, project: &Project) -> PathBuf {
        self.base(project).join(&project.patches)
    }

    /// Where the project's answers to conflicts are.
    pub fn resolutions(&self, project: &Project) -> PathBuf {
        self.base(project).join(project.resolutions())
    }

    fn base(&self, project: &Project) -> &Path {
        self.apart.get(&project.name).unwrap_or(&self.root)
    }
}

impl Config {
    /// The project `name`, or the only one.
    pub fn project(&self, name: Option<&str>) -> Result<&Project, WorkspaceError> {
        let has = || self.projects.keys().cloned().collect::<Vec<_>>();
        match name {
            Some(name) => self.projects.get(name).ok_or_else(|| {
                let all = has();
                let keys: Vec<&str> = all.iter().map(String::as_str).collect();
                let nearest = nearest(name, &keys).map(str::to_owned);
                WorkspaceError::NoProject { name: name.to_owned(), has: all, nearest }
            }),
            None => {
                let mut all = self.projects.values();
                match (all.next(), all.next()) {
                    (Some(only), None) => Ok(only),
                    _ => Err(WorkspaceError::Which { has: has() }),
                }
            }
        }
    }
}
