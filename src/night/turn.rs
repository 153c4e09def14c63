//! Whose turn it is to change the workspace, and where its branch is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bstr::ByteSlice;

use super::{NightError, Site};
use crate::store::git::Git;
use crate::store::{AskedTip, Tip};

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
    /// With what is known of it.
    pub tip: Tip,
    turns: u64,
}

impl Head {
    /// Asks git.
    pub fn ask(site: &Site<'_>) -> Result<Self, NightError> {
        Self::asked(site)?.answer()
    }

    /// Begins to ask git, of what a run commits to as well.
    pub fn asked(site: &Site<'_>) -> Result<Asked, NightError> {
        let turns = TURNS.load(Ordering::Acquire);
        let folder = format!("{}{}", site.prefix, site.project.patches);
        // Its parents, too.
        let mut folders: Vec<String> =
            folder.match_indices('/').map(|(at, _)| folder[..at].to_owned()).collect();
        folders.push(folder);
        let call = match site.plain().and_then(|plain| plain.tip(&folders)) {
            Some(tip) => Call::Read(tip),
            None => Call::Asked(Tip::asked(&site.git, &folders)?),
        };
        Ok(Asked { call, turns })
    }

    /// Its id; none on a branch without one.
    pub fn commit(&self) -> Option<String> {
        self.tip.commit()
    }
}

/// The head, or git is asked for it.
pub struct Asked {
    call: Call,
    turns: u64,
}

enum Call {
    Read(Tip),
    Asked(AskedTip),
}

impl Asked {
    /// What it is.
    pub fn answer(self) -> Result<Head, NightError> {
        let tip = match self.call {
            Call::Read(tip) => tip,
            Call::Asked(asked) => asked.answer()?,
        };
        Ok(Head { tip, turns: self.turns })
    }
}

/// The commit that the workspace's branch is at; none on a branch without one.
pub fn head(git: &Git) -> Result<Option<String>, NightError> {
    let answer = git.call(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).answer()?;
    let id = answer.stdout.trim().to_str_lossy().into_owned();
    Ok((answer.code == Some(0)).then_some(id))
}
