//! Work trees of a store, made and read through the `git` program: where a person mends a patch.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::git::{Call, Git, GitError};
use super::{Repo, StoreError};

/// Settings of the user's that must not act on a work tree of ours: hooks, and what changes line ends.
const QUIET: [&str; 8] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.autocrlf=false",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "rerere.enabled=false",
];

/// Held while a store's settings are written.
static SETTING: Mutex<()> = Mutex::new(());

/// A work tree of a store.
#[derive(Debug, Clone)]
pub struct WorkTree {
    path: PathBuf,
    git: Git,
}

/// How often a setting is tried, and how long is waited between.
const TRIES: usize = 50;
/// How often a work tree is.
const ATTEMPTS: usize = 5;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Sets a value of the store's configuration, unless it is set. Another worker may hold the file for a moment.
fn set(repo: &Repo, key: &str, value: &str) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let now = repo.git().call(["config", "--local", "--get", key]).answer()?;
        if now.stdout.trim() == value.as_bytes() || repo.git().call(["config", key, value]).output().is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    repo.git().call(["config", key, value]).output()?;
    Ok(())
}

/// A path whose merge is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmerged {
    /// The path.
    pub path: BString,
    /// Mode and blob of git's stages 1 (base), 2 (the stack) and 3 (the patch).
    pub stages: [Option<(String, ObjectId)>; 3],
}

impl WorkTree {
    /// Makes a work tree of `repo` at `path`, with `commit` checked out and no branch.
    pub fn add(repo: &Repo, path: &Path, commit: &ObjectId) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| StoreError::Write { path: folder.to_owned(), reason: e.to_string() })?;
        }
        // Work trees are made on many threads, and git refuses to set what another call is setting.
        let one_at_a_time = SETTING.lock().unwrap_or_else(PoisonError::into_inner);
        // People run git there themselves: these hold for their calls, too.
        for (key, value) in
            [("core.autocrlf", "false"), ("merge.conflictStyle", "zdiff3"), ("rerere.enabled", "false")]
        {
            set(repo, key, value)?;
        }
        repo.git().call(["worktree", "prune"]).output()?;
        drop(one_at_a_time);
        // Git takes the folder of all work trees away with the last of them, and another worker may do so just now.
        for left in (0..ATTEMPTS).rev() {
            let call = repo.git().call(QUIET).args(["worktree", "add", "--quiet", "--detach", "--force"]);
            match call.arg(path).arg(commit.to_string()).output() {
                Err(e) if left == 0 => return Err(e.into()),
                Err(_) => std::thread::sleep(PAUSE),
                Ok(_) => break,
            }
        }
        Ok(Self::at(path))
    }

    /// The work tree at `path`.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), git: Git::at(path) }
    }

    /// Checks another commit out, and takes away all that was left there.
    pub fn move_to(&self, commit: &ObjectId) -> Result<(), StoreError> {
        self.call(&["checkout", "--quiet", "--force", "--detach"]).arg(commit.to_string()).output()?;
        self.call(&["clean", "--quiet", "-ffdx"]).output()?;
        Ok(())
    }

    /// Takes it away, with all that is in it.
    pub fn remove(&self, repo: &Repo) -> Result<(), StoreError> {
        let answer =
            repo.git().call(["worktree", "remove", "--force", "--force"]).arg(&self.path).answer()?;
        if answer.code != Some(0) && self.path.exists() {
            std::fs::remove_dir_all(&self.path)
                .map_err(|e| StoreError::Write { path: self.path.clone(), reason: e.to_string() })?;
        }
        repo.git().call(["worktree", "prune"]).output()?;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn call<'a>(&self, args: &[&str]) -> Call<'a> {
        self.git.call(QUIET).args(args)
    }

    /// Picks `commit` onto what is checked out, as `git cherry-pick` does. Did it apply?
    pub fn pick(&self, commit: &ObjectId, identity: (&str, &str)) -> Result<bool, StoreError> {
        let call = self.call(&["-c", "merge.conflictStyle=zdiff3", "cherry-pick", "--allow-empty"]);
        let call = call.args(["--keep-redundant-commits", &commit.to_string()]);
        let call = call.env("GIT_COMMITTER_NAME", identity.0).env("GIT_COMMITTER_EMAIL", identity.1);
        let answer = call.env("GIT_EDITOR", "true").answer()?;
        if answer.code == Some(0) || !self.unmerged()?.is_empty() {
            return Ok(answer.code == Some(0));
        }
        let command = format!("cherry-pick {commit}");
        Err(GitError::Failed { command, code: answer.code, stderr: answer.stderr }.into())
    }

    /// Applies as many hunks of a diff as fit; the rest lies beside the files as `*.rej`. Did all fit?
    pub fn apply_what_fits(&self, diff: &[u8], strip: usize) -> Result<bool, StoreError> {
        let call = self.call(&["apply", "--reject", "--whitespace=nowarn", &format!("-p{strip}"), "-"]);
        Ok(call.stdin(diff).answer()?.code == Some(0))
    }

    /// The commit that is checked out.
    pub fn head(&self) -> Result<ObjectId, StoreError> {
        let id = self.call(&["rev-parse", "HEAD"]).line()?;
        let bad = || GitError::Answer { command: "rev-parse HEAD".into(), answer: id.clone() };
        Ok(ObjectId::from_hex(id.as_bytes()).map_err(|_| bad())?)
    }

    /// A file of the work tree's own git directory, for a note.
    pub fn note(&self, name: &str) -> Result<PathBuf, StoreError> {
        let place = self.call(&["rev-parse", "--path-format=absolute", "--git-path", name]).line()?;
        Ok(PathBuf::from(place))
    }

    /// The paths whose merge is not finished, sorted.
    pub fn unmerged(&self) -> Result<Vec<Unmerged>, StoreError> {
        let out = self.call(&["ls-files", "--unmerged", "-z"]).output()?;
        let mut all: Vec<Unmerged> = Vec::new();
        for entry in out.split_str("\0").filter(|e| !e.is_empty()) {
            // `<mode> <id> <stage>\t<path>` (`git help ls-files`, "OUTPUT").
            let Some((head, path)) = entry.split_once_str("\t") else { continue };
            let words: Vec<&[u8]> = head.split_str(" ").collect();
            let [mode, id, stage] = words[..] else { continue };
            let (Ok(id), Some(stage)) = (ObjectId::from_hex(id), stage.first()) else { continue };
            if all.last().is_none_or(|last| last.path != path) {
                all.push(Unmerged { path: path.into(), stages: [None, None, None] });
            }
            let slot = usize::from(stage.saturating_sub(b'1')).min(2);
            if let Some(last) = all.last_mut() {
                last.stages[slot] = Some((mode.to_str_lossy().into_owned(), id));
            }
        }
        Ok(all)
    }

    /// Files that git does not know there, and does not ignore.
    pub fn untracked(&self) -> Result<Vec<String>, StoreError> {
        let out = self.call(&["ls-files", "--others", "--exclude-standard", "-z"]).output()?;
        let names = out.split_str("\0").filter(|n| !n.is_empty());
        Ok(names.map(|n| n.to_str_lossy().into_owned()).collect())
    }

    /// Takes one side of an unfinished merge of a path: stage 2 is the stack's, 3 the patch's. A side without the
    /// file takes it away.
    pub fn take(&self, unmerged: &Unmerged, stage: usize) -> Result<(), StoreError> {
        use std::ffi::OsString;
        let path: OsString = unmerged.path.to_os_str_lossy().into_owned();
        let side = if stage == 2 { "--ours" } else { "--theirs" };
        if unmerged.stages[stage - 1].is_some() {
            self.call(&["checkout", "--quiet", side, "--"]).arg(&path).output()?;
            self.call(&["add", "--"]).arg(&path).output()?;
        } else {
            self.call(&["rm", "--quiet", "--force", "--ignore-unmatch", "--"]).arg(&path).output()?;
        }
        Ok(())
    }

    /// The state of all files as a commit on top of `parents`, without a change of the index.
    pub fn snapshot(&self, message: &str, parents: &[ObjectId]) -> Result<ObjectId, StoreError> {
        let dir = tempfile::tempdir()
            .map_err(|e| StoreError::Write { path: self.path.clone(), reason: e.to_string() })?;
        let index = dir.path().join("index");
        let call = |args: &[&str]| self.call(args).env("GIT_INDEX_FILE", &index);
        call(&["read-tree", "HEAD"]).output()?;
        call(&["add", "--all", "--", ":/"]).output()?;
        let tree = call(&["write-tree"]).line()?;
        let mut commit = self.call(&["commit-tree", &tree, "-F", "-"]).stdin(message);
        for parent in parents {
            commit = commit.args(["-p", &parent.to_string()]);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            commit = commit.env(&format!("GIT_{role}_NAME"), "git-carry");
            commit = commit.env(&format!("GIT_{role}_EMAIL"), "git-carry@localhost");
        }
        let id = commit.line()?;
        let bad = || GitError::Answer { command: "commit-tree".into(), answer: id.clone() };
        Ok(ObjectId::from_hex(id.as_bytes()).map_err(|_| bad())?)
    }

    /// Makes all files as in a commit, without a change of the index: what is unfinished stays so.
    pub fn restore(&self, commit: &ObjectId) -> Result<(), StoreError> {
        let source = format!("--source={commit}");
        self.call(&["restore", &source, "--worktree", "--", ":/"]).output()?;
        Ok(())
    }

    /// Takes what stands at `paths` into the index, and writes it as a tree; other changes are left out.
    pub fn tree_of(&self, paths: &[BString]) -> Result<ObjectId, StoreError> {
        let list: Vec<u8> = paths.iter().flat_map(|p| [p.as_slice(), b"\0"].concat()).collect();
        let call = self.call(&["--literal-pathspecs", "add", "--all", "--force"]);
        call.args(["--pathspec-from-file=-", "--pathspec-file-nul"]).stdin(list).output()?;
        self.written()
    }

    /// Takes all changes of known files into the index, and writes it as a tree.
    pub fn tree(&self) -> Result<ObjectId, StoreError> {
        self.call(&["add", "--update", "--", ":/"]).output()?;
        self.written()
    }

    fn written(&self) -> Result<ObjectId, StoreError> {
        let id = self.call(&["write-tree"]).line()?;
        let bad = || GitError::Answer { command: "write-tree".into(), answer: id.clone() };
        Ok(ObjectId::from_hex(id.as_bytes()).map_err(|_| bad())?)
    }
}
