//! Where a project's things are: its store, the workspace's own repository, and what must hold before a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::NightError;
use super::turn::still;
use super::workspace_move::{INDEX_LOCK, wait_for_index};
use crate::queue::{Queue, QueueError, Readings};
use crate::store::git::Git;
use crate::store::{Drivers, Plain, Repo, Unchanged, end_quarantines, sweep, unlock};
use crate::trunk::{self, differences::Differences};
use crate::workspace::{CONFIG, LOCK, Project, Workspace};

/// A project with its store opened.
#[derive(Debug)]
pub struct Site<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The project.
    pub project: &'a Project,
    /// The project's bare store.
    pub store: Repo,
    /// The workspace's own repository, by the git program.
    pub git: Git,
    /// The tool's folder inside the workspace's git directory.
    pub folder: PathBuf,
    /// The git directory of the workspace's own work tree.
    pub git_dir: PathBuf,
    /// The workspace's root inside its repository: empty, or ending in a slash.
    pub prefix: String,
    plain: OnceLock<Option<Plain>>,
}

/// Where the workspace's repository keeps things.
#[derive(Debug, Clone)]
pub(super) struct Home {
    common_dir: PathBuf,
    git_dir: PathBuf,
    prefix: String,
}

/// What git said of the places that were asked for: it stays so for a run.
static ASKED: Mutex<BTreeMap<PathBuf, Home>> = Mutex::new(BTreeMap::new());

impl Home {
    pub(super) fn of(root: &Path) -> Result<Self, NightError> {
        let known = ASKED.lock().ok().and_then(|asked| asked.get(root).cloned());
        if let Some(home) = known.filter(|home| home.git_dir.is_dir()) {
            return Ok(home);
        }
        let home = Self::ask(root)?;
        if let Ok(mut asked) = ASKED.lock() {
            asked.insert(root.to_owned(), home.clone());
        }
        Ok(home)
    }

    /// Where the workspace is a repository's own work tree, git would say just this (`gitrepository-layout(5)`).
    fn plain(root: &Path) -> Option<Self> {
        let git_dir = root.canonicalize().ok()?.join(".git");
        let is_one = !git_dir.is_symlink()
            && git_dir.join("HEAD").is_file()
            && git_dir.join("objects").is_dir()
            && git_dir.join("refs").is_dir()
            && !git_dir.join("commondir").exists();
        is_one.then(|| Self { common_dir: git_dir.clone(), git_dir, prefix: String::new() })
    }

    /// The tool's folder inside the git directory.
    pub(super) fn folder(&self) -> PathBuf {
        self.common_dir.join("carry")
    }

    /// The workspace's root inside its repository.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The repository, where git need not be asked for every little thing; `root` is the workspace's.
    pub(super) fn plain_at(&self, root: &Path) -> Option<Plain> {
        let levels = self.prefix.matches('/').count();
        let root = root.canonicalize().ok()?;
        Plain::of(&self.git_dir, &self.common_dir, root.ancestors().nth(levels)?)
    }

    fn ask(root: &Path) -> Result<Self, NightError> {
        if let Some(home) = Self::plain(root) {
            return Ok(home);
        }
        let call =
            Git::at(root).call(["rev-parse", "--path-format=absolute", "--git-common-dir", "--git-dir"]);
        let missing = || NightError::NoRepository { root: root.to_owned() };
        let out = call.arg("--show-prefix").output().map_err(|_| missing())?;
        let mut lines = out.lines().map(|line| line.to_os_str_lossy().into_owned());
        let mut next = || lines.next().ok_or_else(missing);
        let (common_dir, git_dir) = (PathBuf::from(next()?), PathBuf::from(next()?));
        // At the repository's root git prints an empty line.
        let prefix = lines.next().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { common_dir, git_dir, prefix })
    }
}

/// Takes away what git left locked when a run was killed with all that it had started, and the files that the run did not
/// finish. The caller holds the workspace's guard, so that nobody is at work in the stores.
pub fn clean_up(workspace: &Workspace) -> Result<(), NightError> {
    let Home { common_dir, git_dir, .. } = Home::of(&workspace.root)?;
    for name in workspace.config.projects.keys() {
        let store = common_dir.join("carry").join(format!("{name}.git"));
        unlock(&store, true, &[]);
        end_quarantines(&store);
    }
    for folder in ["carry", "carry/forge", "carry/notify"] {
        sweep(&common_dir.join(folder));
    }
    // Of the workspace's own repository only what a run locks.
    unlock(&common_dir, false, &[INDEX_LOCK, "HEAD.lock"].map(|name| git_dir.join(name)));
    Ok(())
}

impl<'a> Site<'a> {
    /// The tool's folder for the workspace at `root`: `carry` inside its git directory.
    pub fn folder_of(root: &Path) -> Result<PathBuf, NightError> {
        Ok(Home::of(root)?.common_dir.join("carry"))
    }

    /// Opens the project's store, and makes it if need be.
    pub fn open(workspace: &'a Workspace, project: &'a Project) -> Result<Self, NightError> {
        let Home { common_dir, git_dir, prefix } = Home::of(&workspace.root)?;
        let folder = common_dir.join("carry");
        let lent = project.reference.as_ref().map(|r| workspace.root.join(r));
        let base = workspace.lock.projects.get(&project.name).map(|lock| lock.base.as_str());
        let place = folder.join(format!("{}.git", project.name));
        let store = Repo::open_or_create(&place, lent.as_deref(), base)?;
        let mut generated = globset::GlobSetBuilder::new();
        // What is no pattern was refused when the configuration was read.
        let globs =
            project.regenerate.iter().flat_map(|r| &r.paths).filter_map(|p| globset::Glob::new(p).ok());
        for glob in globs {
            generated.add(glob);
        }
        let drivers = Drivers::of(&workspace.root, generated.build().unwrap_or_default());
        let store = store.with_drivers(drivers);
        let git = Git::at(&workspace.root);
        let plain = OnceLock::new();
        Ok(Self { workspace, project, store, git, folder, git_dir, prefix, plain })
    }

    /// The workspace's own repository, where git need not be asked for every little thing.
    pub fn plain(&self) -> Option<&Plain> {
        let look = || {
            let (git_dir, prefix) = (self.git_dir.clone(), self.prefix.clone());
            let home = Home { common_dir: self.folder.parent()?.to_owned(), git_dir, prefix };
            home.plain_at(&self.workspace.root)
        };
        self.plain.get_or_init(look).as_ref()
    }

    /// The address of the trunk; a relative path starts at the workspace's root.
    pub fn upstream_address(&self) -> String {
        resolve_address(&self.workspace.root, &self.project.upstream)
    }

    /// The address of the deploy remote.
    pub fn deploy_address(&self) -> Option<String> {
        self.project.deploy.remote.as_deref().map(|remote| resolve_address(&self.workspace.root, remote))
    }

    /// The commit that `rev` names in the project's store. The trunk branch's own name is the fetched trunk tip.
    pub fn commit(&self, rev: &str) -> Result<ObjectId, NightError> {
        // `main~3` is said of the trunk branch, too.
        let end = rev.find(['~', '^', '@']).filter(|at| *at > 0).unwrap_or(rev.len());
        let (name, step) = rev.split_at(end);
        let known = match trunk::full_name(name) == trunk::full_name(&self.project.branch) {
            true => trunk::known(&self.store)?,
            false => None,
        };
        let found = match known {
            Some(tip) if step.is_empty() => Some(tip),
            Some(tip) => self.store.commit_of(&format!("{tip}{step}"))?,
            None => self.store.commit_of(rev)?,
        };
        found.ok_or_else(|| NightError::NoCommit { rev: rev.to_owned() })
    }

    /// The queue, with all its faults if it has some.
    pub fn queue(&self) -> Result<Queue, NightError> {
        self.of_load(load(&self.workspace.patches(self.project), self.readings_file(), None))
    }

    /// The same, but patch files that are what they were are read when their text is asked for. Whoever makes something of
    /// their text has to ask whether it could be read ([`Queue::lost`]).
    pub fn queue_unread(&self) -> Result<Queue, NightError> {
        let folder = format!("{}{}", self.prefix, self.project.patches);
        let unchanged = self.plain().and_then(|plain| plain.unchanged(&folder)).map(Arc::new);
        self.of_load(load(&self.workspace.patches(self.project), self.readings_file(), unchanged.as_ref()))
    }

    /// What reading the queue came to.
    pub(super) fn of_load(&self, loaded: Result<Queue, Vec<QueueError>>) -> Result<Queue, NightError> {
        loaded.map_err(|faults| NightError::Queue {
            project: self.project.name.clone(),
            folder: self.project.patches.clone(),
            faults,
        })
    }

    /// Where it is kept what was read of its patch files.
    pub fn readings_file(&self) -> PathBuf {
        readings_file(&self.folder, &self.project.name)
    }

    /// What its patches changed when they were replayed last, as far as that is known here.
    pub fn differences(&self) -> Differences {
        Differences::at(self.differences_file())
    }

    /// Where that is kept.
    pub fn differences_file(&self) -> PathBuf {
        self.folder.join(format!("{}.differences", self.project.name))
    }

    /// Where it is kept what conflicts on a trunk that has not moved.
    pub fn conflicts_file(&self) -> PathBuf {
        self.folder.join(format!("{}.conflicts", self.project.name))
    }

    /// No operation of git that a person has begun waits for its end: what it stands on must not move.
    pub fn nothing_begun(&self) -> Result<(), NightError> {
        let operations = [
            ("rebase-merge", "rebase"),
            ("rebase-apply", "rebase"),
            ("MERGE_HEAD", "merge"),
            ("CHERRY_PICK_HEAD", "cherry-pick"),
            ("REVERT_HEAD", "revert"),
            ("BISECT_LOG", "bisect"),
        ];
        for (file, operation) in operations {
            if self.git_dir.join(file).exists() {
                return Err(NightError::InProgress { operation });
            }
        }
        Ok(())
    }

    /// What must hold before a run writes: nothing half-done, nothing uncommitted where it will write.
    pub fn preflight(&self) -> Result<(), NightError> {
        self.preflight_of(None)
    }

    /// The same, after some files were seen to be unchanged.
    pub(super) fn preflight_of(&self, seen: Option<&Unchanged>) -> Result<(), NightError> {
        // Another project of this run may be writing what is its own.
        let _still = still();
        self.nothing_begun()?;
        wait_for_index(&self.git_dir)?;
        let places = [CONFIG, LOCK, &self.project.patches, &super::settle::place(self)];
        let from_top = places.map(|place| format!("{}{place}", self.prefix));
        if self.plain().is_some_and(|plain| plain.is_clean(&from_top, seen).is_some()) {
            return Ok(());
        }
        let out = self
            .git
            .call(["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--"])
            .args(places)
            .output()?;
        let files: Vec<String> = out
            .split_str("\0")
            .filter(|entry| entry.len() > 3)
            .map(|entry| entry[3..].to_str_lossy().into_owned())
            .collect();
        if files.is_empty() { Ok(()) } else { Err(NightError::Dirty { files }) }
    }
}

/// Where it is kept what was read of a project's patch files; `folder` is the tool's.
pub(super) fn readings_file(folder: &Path, project: &str) -> PathBuf {
    folder.join(format!("{project}.patches"))
}

/// The queue in a folder, with what was read of it before.
pub(super) fn load(
    folder: &Path,
    readings: PathBuf,
    unchanged: Option<&Arc<Unchanged>>,
) -> Result<Queue, Vec<QueueError>> {
    Queue::load(folder, &Readings::at(readings), unchanged)
}

/// An address as git is to be told it: a relative path starts at `root`, as it does for people who read carry.toml.
pub fn resolve_address(root: &Path, address: &str) -> String {
    let is_path = !address.contains("://") && !is_scp(address);
    if is_path { root.join(address).to_string_lossy().into_owned() } else { address.to_owned() }
}

/// `host:path`, the short form of ssh addresses (`git help fetch`, "GIT URLS").
fn is_scp(address: &str) -> bool {
    let colon = address.find(':');
    let slash = address.find('/').unwrap_or(address.len());
    colon.is_some_and(|colon| colon < slash)
}
