//! Patches that a required check fails with: they are left out, and tried again on the next trunk commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix_hash::ObjectId;

use super::outcome::{self, Planned};
use super::settle::Answers;
use super::{NightError, Site};
use crate::queue::{Patch, Queue};
use crate::workspace::{Outcome, PatchLock, ProjectLock};

/// Patches that a check failed with, and why.
pub type Broken = BTreeMap<String, String>;

/// The patches that broke a check and are as they were then.
pub fn still_broken(lock: Option<&ProjectLock>, queue: &Queue) -> Broken {
    let is = |locked: &&PatchLock| {
        let same = |p: &Patch| p.name() == locked.name && p.digest == locked.digest;
        locked.outcome == Outcome::Broken && queue.patches.iter().any(same)
    };
    let why = || "a required check failed with it on this trunk commit".to_owned();
    lock.iter().flat_map(|l| &l.patches).filter(is).map(|p| (p.name.clone(), why())).collect()
}

/// Those of them that are known to be so on this trunk commit: on another they are tried again.
pub fn broken_at(lock: Option<&ProjectLock>, tip: &ObjectId, broken: &Broken) -> Broken {
    let same = lock.is_some_and(|l| l.base == *tip);
    if same { broken.clone() } else { Broken::new() }
}

/// A plan in which some patches are left out, as they break a check.
pub fn plan_without(
    site: &Site<'_>,
    lock: Option<&ProjectLock>,
    tip: &ObjectId,
    queue: &Arc<Queue>,
    answers: &Answers<'_>,
    broken: &Broken,
) -> Result<Planned, NightError> {
    if broken.is_empty() {
        return outcome::plan(site, lock, tip, queue, answers);
    }
    let mut without = Queue::clone(queue);
    for patch in &mut without.patches {
        if let Some(why) = broken.get(patch.name()).filter(|_| patch.hold.is_none()) {
            patch.hold = Some(why.clone());
        }
    }
    let mut planned = outcome::plan(site, lock, tip, &Arc::new(without), answers)?;
    planned.queue = queue.clone();
    for planned in planned.patches.iter_mut().filter(|p| p.report.outcome == Outcome::Held) {
        if broken.contains_key(&planned.report.name) {
            planned.report.outcome = Outcome::Broken;
        }
    }
    Ok(planned)
}
