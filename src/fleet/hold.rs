//! A claim in hand: it is made to last longer while its unit is at work, so that only who is gone loses it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gix_hash::ObjectId;

use super::claim::take;
use super::records::{Claim, until};
use crate::check::Stop;
use crate::night::{Site, beat};

/// A server that cannot be asked is asked again so many times before the claim's time is over.
const AGAIN: u32 = 8;

/// The claim of a unit that this worker is at.
#[derive(Debug)]
pub struct Held {
    state: Mutex<State>,
    changed: Condvar,
    length: Duration,
    /// Raised when the claim is another's.
    pub lost: Stop,
}

#[derive(Debug)]
struct State {
    claim: Claim,
    id: ObjectId,
    /// It is on its way out with the unit, or the work is over.
    over: bool,
}

impl Held {
    /// A claim that was just made for so long.
    pub fn of(claim: Claim, id: ObjectId, length: Duration) -> Self {
        let state = Mutex::new(State { claim, id, over: false });
        Self { state, changed: Condvar::new(), length, lost: Stop::default() }
    }

    /// As it stands at the remote now.
    pub fn now(&self) -> (Claim, ObjectId) {
        let state = self.locked();
        (state.claim.clone(), state.id)
    }

    /// Its id for the push that takes it away: it is not renewed any more, so that half of its time at least is left.
    pub fn last(&self) -> ObjectId {
        let mut state = self.locked();
        state.over = true;
        self.changed.notify_all();
        state.id
    }

    /// Works, and renews the claim meanwhile at the remote `home`.
    pub fn during<T>(&self, site: &Site<'_>, home: &str, work: impl FnOnce() -> T) -> T {
        struct Over<'a>(&'a Held);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.last();
            }
        }
        std::thread::scope(|threads| {
            threads.spawn(|| self.renew(site, home));
            let _over = Over(self);
            work()
        })
    }

    /// Every time that half of its time is over, until it is let go or lost. The push is made with the state in hand: who
    /// wants to let it go waits for it.
    fn renew(&self, site: &Site<'_>, home: &str) {
        let mut wait = self.length / 2;
        let mut state = self.locked();
        loop {
            let waited = self.changed.wait_timeout_while(state, wait, |state| !state.over);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.over {
                return;
            }
            let claim = Claim { until: until(beat::now(), self.length), ..state.claim.clone() };
            match take(site, home, &claim, Some(state.id)) {
                Ok(Some(id)) => {
                    (state.claim, state.id) = (claim, id);
                    wait = self.length / 2;
                }
                Ok(None) => return self.lost.raise(),
                // It may be there again before the claim ends.
                Err(_) => wait = self.length / 2 / AGAIN,
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
