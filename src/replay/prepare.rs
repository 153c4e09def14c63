//! The trees before and after each patch, on the recorded base: what the replay moves.
//!
//! Sought in this order: what the lock recorded for the same bytes of the patch file; a strict apply to the base
//! stack (no fuzz); the trees with which a left-out patch last applied; the blobs that its `index` lines name, as
//! `git am -3` does. A pair of trees need not chain with its neighbours, as each is merged on its own.

use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;

use super::Merged;
use super::merge::merge_trees;
use crate::queue::{Patch, PlaceError, Queue, apply_to_tree, recorded_blobs};
use crate::store::{ObjectError, Objects};
use crate::workspace::{PatchLock, ProjectLock};

/// Where a patch's trees were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The lock recorded them.
    Lock,
    /// The patch applies to the base stack, strictly.
    Applied,
    /// It is left out; these are the trees with which it last applied.
    LastGood,
    /// The blobs that its `index` lines name.
    Blobs,
}

/// A patch's trees on its base, or why there are none.
#[derive(Debug)]
pub struct Prepared {
    /// The trees before and after it, and where they were found; or why it does not apply.
    pub trees: Result<(ObjectId, ObjectId, Source), PlaceError>,
}

/// The trees of every patch of `queue`, in its order. `base` is the tree of the recorded base.
pub fn prepare(
    objects: &dyn Objects,
    queue: &Queue,
    lock: Option<&ProjectLock>,
    base: &ObjectId,
) -> Result<Vec<Prepared>, ObjectError> {
    let recorded = recorded(objects, lock, base);
    let left_out: HashMap<&str, &PatchLock> =
        lock.map(|l| l.patches.iter().map(|p| (p.name.as_str(), p)).collect()).unwrap_or_default();
    let mut stack = *base;
    let mut out = Vec::with_capacity(queue.patches.len());
    for patch in &queue.patches {
        let locked = left_out.get(patch.name()).filter(|p| p.digest == patch.digest);
        let trees = match recorded.get(patch.name()).filter(|_| locked.is_some()) {
            Some((before, after)) => Ok((*before, *after, Source::Lock)),
            None => find(objects, patch, locked.copied(), &stack)?,
        };
        if let Ok((before, after, _)) = &trees
            && patch.hold.is_none()
            && locked.is_none_or(|p| p.tree.is_some() || !p.outcome.left_out())
        {
            // A patch whose neighbours changed may fail here; it then fails on the trunk as well, which says so.
            if *before == stack {
                stack = *after;
            } else if let Merged::Clean(next) = merge_trees(objects, before, &stack, after)? {
                stack = next;
            }
        }
        out.push(Prepared { trees });
    }
    Ok(out)
}

/// The (before, after) of each patch that the lock says is in the stack and whose trees are in the store.
fn recorded<'a>(
    objects: &dyn Objects,
    lock: Option<&'a ProjectLock>,
    base: &ObjectId,
) -> HashMap<&'a str, (ObjectId, ObjectId)> {
    let Some(lock) = lock else { return HashMap::new() };
    let mut pairs = HashMap::with_capacity(lock.patches.len());
    let mut stack = Some(*base);
    for patch in &lock.patches {
        let Some(hex) = &patch.tree else { continue };
        let after = ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| objects.has(id));
        if let (Some(before), Some(after)) = (stack, after) {
            pairs.insert(patch.name.as_str(), (before, after));
        }
        stack = after;
    }
    pairs
}

fn find(
    objects: &dyn Objects,
    patch: &Patch,
    locked: Option<&PatchLock>,
    stack: &ObjectId,
) -> Result<Result<(ObjectId, ObjectId, Source), PlaceError>, ObjectError> {
    if let Some(good) = locked.and_then(|p| p.good.as_ref()) {
        let tree = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| objects.has(id));
        if let (Some(before), Some(after)) = (tree(&good.before), tree(&good.after)) {
            return Ok(Ok((before, after, Source::LastGood)));
        }
    }
    let problem = match apply_to_tree(objects, stack, patch.changes()) {
        Ok(after) => return Ok(Ok((*stack, after, Source::Applied))),
        Err(PlaceError::Object(e)) => return Err(e),
        Err(problem) => problem,
    };
    match recorded_blobs(objects, patch.changes()) {
        Ok(Some((before, after))) => Ok(Ok((before, after, Source::Blobs))),
        Ok(None) => Ok(Err(problem)),
        Err(PlaceError::Object(e)) => Err(e),
        Err(_) => Ok(Err(problem)),
    }
}
