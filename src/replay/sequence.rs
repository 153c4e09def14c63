//! The replay of a queue: every patch in its order, never stopping, each with what became of it.

use std::collections::BTreeSet;

use bstr::BString;
use gix_hash::ObjectId;

use super::merge::merge_trees;
use super::{Conflict, Merged};
use crate::store::{ObjectError, Objects};
use crate::trunk::delta;

/// A patch as the engine sees it: the trees before and after it in the stack on the recorded base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The patch's name.
    pub name: String,
    /// The tree it applies to.
    pub before: ObjectId,
    /// The tree it gives.
    pub after: ObjectId,
    /// Whether it goes on the stack.
    pub role: Role,
}

/// What a step is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It goes on the stack.
    Carry,
    /// The queue says to leave it out; what needs it is blocked.
    Held,
    /// Trunk has it; what needs it finds it there.
    Landed,
}

/// What became of one patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is in the stack. `before` and `after` are its trees there.
    Applied {
        /// The stack's tree before it.
        before: ObjectId,
        /// The stack's tree after it.
        after: ObjectId,
    },
    /// It was not put on the stack, as its [`Role`] says.
    Skipped,
    /// It conflicts with trunk.
    Conflict(Vec<Conflict>),
    /// It conflicts, and did so on its own base as soon as the patches named here were left out.
    Blocked {
        /// The patches it needs that are not in the stack, in the queue's order.
        needs: Vec<String>,
        /// Where it conflicts.
        conflicts: Vec<Conflict>,
    },
}

/// The replay of a whole queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// One outcome a step, in order.
    pub placed: Vec<Placed>,
    /// The final tree: trunk's, with all that applied.
    pub tree: ObjectId,
}

/// Replays `steps` on the tree `tip`. A step that conflicts is left out and the rest go on without it.
pub fn replay(objects: &dyn Objects, steps: &[Step], tip: &ObjectId) -> Result<Replay, ObjectError> {
    let mut tree = *tip;
    let mut placed = Vec::with_capacity(steps.len());
    let mut left_out: Vec<usize> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match step.role {
            Role::Carry => {}
            Role::Held => {
                left_out.push(at);
                placed.push(Placed::Skipped);
                continue;
            }
            Role::Landed => {
                placed.push(Placed::Skipped);
                continue;
            }
        }
        placed.push(match merge_trees(objects, &step.before, &tree, &step.after)? {
            Merged::Clean(after) => {
                let before = std::mem::replace(&mut tree, after);
                Placed::Applied { before, after }
            }
            Merged::Conflicts(conflicts) => {
                let needs = missing(objects, steps, &left_out, at)?;
                left_out.push(at);
                if needs.is_empty() {
                    Placed::Conflict(conflicts)
                } else {
                    let needs = needs.into_iter().map(|i| steps[i].name.clone()).collect();
                    Placed::Blocked { needs, conflicts }
                }
            }
        });
    }
    Ok(Replay { placed, tree })
}

/// Which of the `left_out` steps the step `at` needs: it applied on its own base with them and does not
/// without. Empty if it applies there without all of them, so that trunk is what it conflicts with.
fn missing(
    objects: &dyn Objects,
    steps: &[Step],
    left_out: &[usize],
    at: usize,
) -> Result<Vec<usize>, ObjectError> {
    let paths = touched(objects, &steps[at])?;
    let mut sharing = Vec::new();
    for i in left_out {
        if !touched(objects, &steps[*i])?.is_disjoint(&paths) {
            sharing.push(*i);
        }
    }
    if sharing.is_empty() || applies_without(objects, steps, &sharing, at, &paths)? {
        return Ok(Vec::new());
    }
    let mut needs = Vec::new();
    for i in &sharing {
        if !applies_without(objects, steps, &[*i], at, &paths)? {
            needs.push(*i);
        }
    }
    // No single one is missed, but all together are.
    Ok(if needs.is_empty() { sharing } else { needs })
}

/// Does the step `at` apply on its own base when the steps `without` (sorted) are left out? Only the
/// steps between that touch `paths` are replayed: a merge of a path sees that path alone.
fn applies_without(
    objects: &dyn Objects,
    steps: &[Step],
    without: &[usize],
    at: usize,
    paths: &BTreeSet<BString>,
) -> Result<bool, ObjectError> {
    let Some(first) = without.first() else { return Ok(true) };
    let mut tree = steps[*first].before;
    for (i, step) in steps.iter().enumerate().take(at).skip(first + 1) {
        if without.contains(&i) || touched(objects, step)?.is_disjoint(paths) {
            continue;
        }
        // A step that itself needs a missing one is missing too.
        if let Merged::Clean(next) = merge_trees(objects, &step.before, &tree, &step.after)? {
            tree = next;
        }
    }
    let step = &steps[at];
    Ok(matches!(merge_trees(objects, &step.before, &tree, &step.after)?, Merged::Clean(_)))
}

/// The paths that a step changes.
fn touched(objects: &dyn Objects, step: &Step) -> Result<BTreeSet<BString>, ObjectError> {
    Ok(delta::changes(objects, &step.before, &step.after)?.into_iter().map(|c| c.path).collect())
}
