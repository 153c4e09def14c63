//! Calls of git that have begun and wait for what they are to read: git takes its time to start, which passes beside other
//! work.

use std::process::{Child, ChildStdin};

use super::git::{GitError, Started, ended_well, feed};
use super::{RefUpdate, Repo, StoreError};

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

/// A call that is to move refs of a repository.
pub struct RefMove {
    call: Waiting,
    hash: gix_hash::Kind,
}

impl Repo {
    /// Begins a call that is to move refs; `why` is what their log says.
    pub fn ref_move(&self, why: &str) -> Result<RefMove, StoreError> {
        // Branches have a log; what never changes needs none, and there are many of those.
        let args = ["-c", "core.logAllRefUpdates=true", "update-ref", "--stdin", "-z", "-m", why];
        Ok(RefMove { call: self.git().call(args).begin()?, hash: self.hash() })
    }

    /// Moves refs, all or none, each only if it still has its old value.
    pub fn update(&self, updates: &[RefUpdate], why: &str) -> Result<(), StoreError> {
        self.ref_move(why)?.make(updates)
    }
}

impl RefMove {
    /// Moves refs, all or none, each only if it still has its old value.
    pub fn make(self, updates: &[RefUpdate]) -> Result<(), StoreError> {
        let mut input = Vec::from(*b"start\0");
        let null = self.hash.null().to_string();
        for u in updates {
            let old = u.old.as_deref().unwrap_or(&null);
            match &u.new {
                Some(new) => input.extend_from_slice(format!("update {}\0{new}\0{old}\0", u.name).as_bytes()),
                None => input.extend_from_slice(format!("delete {}\0{old}\0", u.name).as_bytes()),
            }
        }
        input.extend_from_slice(b"prepare\0commit\0");
        self.call.output(input)?;
        Ok(())
    }
}
