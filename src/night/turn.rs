//! Whose turn it is to change the workspace, and where its branch is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bstr::ByteSlice;

use super::NightError;
use crate::store::git::{Answer, Git, Started};

/// Projects may run side by side, but they share the workspace's branch and its lock: one transaction at a time.
static TURN: Mutex<()> = Mutex::new(());
/// How many turns this process has had.
static TURNS: AtomicU64 = AtomicU64::new(0);
/// Held while the workspace's files and index are looked at or written.
static FILES: Mutex<()> = Mutex::new(());

/// The right to change the workspace, until it is dropped.
pub struct Turn(#[allow(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

/// Waits until no other project of this process changes the workspace.
pub fn turn() -> Turn {
    // A project that panicked has left its journal, and the next run looks at that.
    Turn(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Turn {
    /// May another project have changed the workspace since?
    pub fn is_late(&self, head: &Head) -> bool {
        head.turns != TURNS.load(Ordering::Acquire)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Before the lock goes: whoever asked where the branch is while this turn lasted has to ask again.
        TURNS.fetch_add(1, Ordering::Release);
    }
}

/// Keeps the workspace's files and index as they are, until it is dropped.
pub fn still() -> MutexGuard<'static, ()> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The commit that the workspace's branch was at, and when that was asked.
#[derive(Debug, Clone)]
pub struct Head {
    /// None on a branch without one.
    pub commit: Option<String>,
    turns: u64,
}

impl Head {
    /// Asks git.
    pub fn ask(git: &Git) -> Result<Self, NightError> {
        Self::asked(git)?.answer()
    }

    /// Begins to ask git.
    pub fn asked(git: &Git) -> Result<Asked, NightError> {
        let turns = TURNS.load(Ordering::Acquire);
        Ok(Asked { call: git.call(ASK_HEAD).start()?, turns })
    }
}

/// Git is asked for the head.
pub struct Asked {
    call: Started,
    turns: u64,
}

impl Asked {
    /// What it says.
    pub fn answer(self) -> Result<Head, NightError> {
        Ok(Head { commit: commit_of(&self.call.answer()?), turns: self.turns })
    }
}

/// The commit that the workspace's branch is at; none on a branch without one.
pub fn head(git: &Git) -> Result<Option<String>, NightError> {
    Ok(commit_of(&git.call(ASK_HEAD).answer()?))
}

const ASK_HEAD: [&str; 4] = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];

fn commit_of(answer: &Answer) -> Option<String> {
    let id = answer.stdout.trim().to_str_lossy().into_owned();
    (answer.code == Some(0)).then_some(id)
}
