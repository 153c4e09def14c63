//! Calls of git that have begun and wait for what they are to read: git takes its time to start, which passes beside other
//! work.

use std::process::{Child, ChildStdin};

use super::git::{GitError, Started, ended_well, feed};

/// A call that waits for its input. One that gets none changes nothing, and takes away what it has locked.
pub struct Waiting {
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    command: String,
}

impl Waiting {
    /// A call that was begun: the program, and its arguments for a message.
    pub(super) fn of(mut child: Child, command: String) -> Self {
        let stdin = child.stdin.take();
        Self { child: Some(child), stdin, command }
    }

    /// What the call writes when it has read `input`; any exit code other than 0 is an error.
    pub fn output(mut self, input: impl Into<Vec<u8>>) -> Result<Vec<u8>, GitError> {
        let gone = || GitError::Missing(std::io::ErrorKind::NotFound.into());
        let child = self.child.take().ok_or_else(gone)?;
        feed(self.stdin.take(), input.into());
        ended_well(std::mem::take(&mut self.command), Started::of(child).answer()?)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::git::Git;

    #[test]
    fn a_call_that_gets_nothing_to_read_changes_nothing_and_leaves_no_lock() {
        let dir = tempfile::tempdir().expect("a folder");
        let git = Git::at(dir.path());
        git.call(["init", "-q", "--object-format=sha1", "."]).output().expect("a repository");
        std::fs::write(dir.path().join("a"), "a").expect("written");
        git.call(["add", "a"]).output().expect("added");
        let index = || std::fs::read(dir.path().join(".git/index")).expect("an index");
        let (before, lock) = (index(), dir.path().join(".git/index.lock"));
        let call = git.call(["update-index", "-z", "--index-info"]).begin().expect("it begins");
        let waited = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            lock.exists()
        });
        assert!(waited, "git holds the index while it waits");
        drop(call);
        assert!(!lock.exists() && index() == before);
        let call = git.call(["update-index", "-z", "--index-info"]).begin().expect("it begins");
        let gone = format!("0 {}\ta\0", "0".repeat(40));
        call.output(gone).expect("it is told what to do");
        assert!(git.call(["ls-files"]).line().expect("listed").is_empty());
        let call = git.call(["update-index", "-z", "--index-info"]).begin().expect("it begins");
        let err = call.output("no line of it\0").expect_err("it says so");
        assert!(
            matches!(&err, GitError::Failed { command, .. } if command == "update-index -z --index-info"),
            "{err}"
        );
    }
}
