//! A repository in which nothing unusual is set and nobody listens. What git would do there with a few refs, with an index or
//! with the files of a work tree comes to the same here, and no program has to start for it. Whatever is not sure is left to git.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use super::git::program;
use super::repo;

/// Settings by which git does more than what is done here, does it otherwise or elsewhere, and those that bring in others (`git
/// help config`). A file of settings in which one of these words stands is not looked at any closer.
const UNUSUAL: [&[u8]; 7] =
    [b"hook", b"include", b"sharedrepository", b"fsync", b"refstorage", b"compatobjectformat", b"worktree"];

/// Whether there is a log of what a branch was. `git init` writes it down.
const LOGGED: &[u8] = b"logallrefupdates";

/// By these variables settings come in besides those of files.
const BESIDES: [&str; 2] = ["GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"];

/// A plain repository, with a work tree or bare.
#[derive(Debug, Clone)]
pub struct Plain {
    /// The work tree's git directory.
    pub(super) git_dir: PathBuf,
    /// The repository's.
    pub(super) common_dir: PathBuf,
    /// The top of the work tree; of a bare repository, itself.
    pub(super) top: PathBuf,
    /// Which ids it has.
    pub(super) hash: gix_hash::Kind,
}

impl Plain {
    /// The repository with these directories, where it is plain.
    pub fn of(git_dir: &Path, common_dir: &Path, top: &Path) -> Option<Self> {
        let is_plain = BESIDES.iter().all(|name| std::env::var_os(name).is_none())
            && of_the_user().iter().chain(&of_the_system()).all(|file| is_usual(file));
        if is_plain { Self::by_itself(git_dir, common_dir, top) } else { None }
    }

    /// The same, whatever is set elsewhere.
    pub(super) fn by_itself(git_dir: &Path, common_dir: &Path, top: &Path) -> Option<Self> {
        let settings = [common_dir.join("config"), git_dir.join("config.worktree")];
        let is_plain = [git_dir, common_dir, top].iter().all(|folder| is_own(folder))
            && !common_dir.join("reftable").exists()
            && settings.iter().all(|file| is_usual(file));
        let hash = repo::hash(common_dir);
        let [git_dir, common_dir, top] = [git_dir, common_dir, top].map(Path::to_owned);
        is_plain.then_some(Self { git_dir, common_dir, top, hash })
    }

    /// Which ids the repository has.
    pub fn hash(&self) -> gix_hash::Kind {
        self.hash
    }

    /// Is a program called at this event (`githooks(5)`)?
    pub(super) fn is_heard(&self, hook: &str) -> bool {
        self.common_dir.join("hooks").join(hook).symlink_metadata().is_ok()
    }
}

/// Git does nothing in what is another user's, unless it is told to (`git help config`, `safe.directory`).
#[cfg(unix)]
fn is_own(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    folder.metadata().is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn is_own(_: &Path) -> bool {
    false
}

/// Where the user's settings are (`git help config`, "FILES").
fn of_the_user() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name);
    let folder = |name: &str| set(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(file) = set("GIT_CONFIG_GLOBAL") {
        return named(file);
    }
    let home = folder("HOME");
    let more = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    home.map(|home| home.join(".gitconfig"))
        .into_iter()
        .chain(more.map(|more| more.join("git/config")))
        .collect()
}

/// Where the system's are: that depends on how git was built, and so on where it lies.
fn of_the_system() -> Vec<PathBuf> {
    if let Some(file) = std::env::var_os("GIT_CONFIG_SYSTEM") {
        return named(file);
    }
    let program = program().canonicalize().ok();
    let prefix = program.as_deref().and_then(Path::parent).and_then(Path::parent);
    let system = prefix.map(|prefix| prefix.join("etc/gitconfig"));
    [PathBuf::from("/etc/gitconfig")].into_iter().chain(system).collect()
}

fn named(file: OsString) -> Vec<PathBuf> {
    if file.is_empty() { Vec::new() } else { vec![file.into()] }
}

/// A file of settings, or none where one may be.
fn is_usual(file: &Path) -> bool {
    let text = match std::fs::read(file) {
        Ok(text) => text.to_ascii_lowercase(),
        Err(e) => return matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    let is_logged = |line: &[u8]| {
        let value = line.split_once_str("=").map(|(_, value)| value.trim());
        line.find(LOGGED).is_none() || value == Some(b"true")
    };
    UNUSUAL.iter().all(|word| text.find(word).is_none()) && text.lines().all(is_logged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::git::Git;

    #[test]
    fn a_new_repository_is_plain_and_whatever_is_set_or_kept_otherwise_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let (top, git) = (dir.path(), Git::at(dir.path()));
        git.call(["init", "-q", "--template=", "."]).output().expect("a repository");
        let git_dir = top.join(".git");
        let is_plain = || Plain::by_itself(&git_dir, &git_dir, top).is_some();
        assert!(is_plain());
        let unusual = [
            ("core.hooksPath", "/some/where"),
            ("core.sharedRepository", "group"),
            ("core.fsync", "all"),
            ("core.worktree", "/some/where"),
            ("extensions.compatObjectFormat", "sha256"),
            ("core.logAllRefUpdates", "always"),
            ("include.path", "other"),
            ("includeIf.onbranch:main.path", "other"),
        ];
        for (key, value) in unusual {
            let before = std::fs::read(git_dir.join("config")).expect("read");
            git.call(["config", key, value]).output().expect("set");
            assert!(!is_plain(), "{key}");
            std::fs::write(git_dir.join("config"), before).expect("written");
        }
        git.call(["config", "user.name", "Somebody"]).output().expect("set");
        assert!(is_plain());
        std::fs::write(git_dir.join("config.worktree"), "[core]\n\tHooksPath = /x\n").expect("written");
        assert!(!is_plain());
        std::fs::remove_file(git_dir.join("config.worktree")).expect("gone");
        // Nobody but the superuser may give a folder away.
        #[cfg(unix)]
        if std::os::unix::fs::chown(&git_dir, Some(1), None).is_ok() {
            assert!(!is_plain(), "another's");
            let me = rustix::process::geteuid().as_raw();
            std::os::unix::fs::chown(&git_dir, Some(me), None).expect("given back");
        }
        // What cannot be read may say anything.
        std::fs::create_dir(git_dir.join("config.worktree")).expect("a folder");
        assert!(!is_plain());
        std::fs::remove_dir(git_dir.join("config.worktree")).expect("gone");
        std::fs::create_dir(git_dir.join("reftable")).expect("a folder");
        assert!(!is_plain());
    }
}
