//! A work tree for tests of what is done in one without git.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::git::Git;
use super::{FileStat, Plain};

/// A repository with a work tree, in a folder of its own.
pub struct Tree {
    /// Its folder.
    pub dir: tempfile::TempDir,
    /// Git, at work in it.
    pub git: Git,
}

impl Tree {
    /// One with these files, committed some seconds ago.
    pub fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let git = Git::at(dir.path());
        git.call(["init", "-q", "--template=", "."]).output().expect("a repository");
        let tree = Self { dir, git };
        files.iter().for_each(|file| tree.write(file, "one\n"));
        tree.git(&["add", "."]);
        // The folders of the index are known.
        tree.git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "one"]);
        tree.settled();
        tree
    }

    /// What git says; it must succeed.
    pub fn git(&self, args: &[&str]) -> String {
        self.git.call(args).line().expect("git does it")
    }

    /// Where a file is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Writes a file, and makes its folders.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    /// What the system says of a file.
    pub fn stat(&self, file: &str) -> FileStat {
        FileStat::of(&File::open(self.path(file)).expect("it is there")).expect("it is told")
    }

    /// The repository, whatever the user has set.
    pub fn plain(&self) -> Option<Plain> {
        let git_dir = self.path(".git");
        Plain::by_itself(&git_dir, &git_dir, self.dir.path())
    }

    /// Each file and the index have the time that they would have some seconds later.
    pub fn settled(&self) {
        let files = self.git(&["ls-files"]);
        files.lines().for_each(|file| self.aged(file, 60));
        self.git(&["update-index", "-q", "--refresh"]);
        self.aged(".git/index", 30);
    }

    /// The file was changed so many seconds ago.
    pub fn aged(&self, file: &str, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        let file = File::options().append(true).open(self.path(file)).expect("it opens");
        file.set_modified(time).expect("its time is set");
    }
}
