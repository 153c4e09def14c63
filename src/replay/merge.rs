//! The three-way merge of trees: by the plain walk where that is enough, else with renames.

use bstr::BString;
use gix_hash::ObjectId;

use super::ort::{self, Names, Whole};
use super::walk::{Walked, walk};
use super::{Conflict, Merged, Message, Notes, Sides};
use crate::store::tree::write_empty;
use crate::store::{ObjectError, Objects};

/// Merges what changed from the tree `base` to the tree `theirs` into the tree `ours`.
///
/// For a patch, `base` and `theirs` are the trees before and after it, and `ours` is the stack so far: what
/// `git cherry-pick` does, without an index or a work tree.
pub fn merge_trees(
    objects: &dyn Objects,
    base: &ObjectId,
    ours: &ObjectId,
    theirs: &ObjectId,
) -> Result<Merged, ObjectError> {
    Ok(merge_noting(objects, base, ours, theirs)?.0)
}

/// The same, with what is to be known of a merge without a conflict.
pub fn merge_noting(
    objects: &dyn Objects,
    base: &ObjectId,
    ours: &ObjectId,
    theirs: &ObjectId,
) -> Result<(Merged, Notes), ObjectError> {
    let sides = Sides { base: *base, ours: *ours, theirs: *theirs };
    let Walked { tree, added_to_gone, as_it_is, mut generated, .. } = walk(objects, sides)?;
    if let Some(tree) = tree.filter(|_| !added_to_gone) {
        generated.sort();
        return Ok((Merged::Clean(there(objects, tree)?), Notes { as_it_is, generated }));
    }
    let whole = ort::merge(objects, sides, &Names::default(), false)?;
    if !whole.conflicts.is_empty() {
        return Ok((Merged::Conflicts(whole.conflicts), Notes::default()));
    }
    let mut generated = whole.generated;
    generated.sort();
    let notes = Notes { as_it_is: as_it_is && tree == Some(whole.tree), generated };
    Ok((Merged::Clean(there(objects, whole.tree)?), notes))
}

/// A merge that goes as far as it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The tree with all that merges; where it conflicts, it is as in `ours`.
    pub tree: ObjectId,
    /// Where it conflicts, sorted by path: git's paths and stages.
    pub conflicts: Vec<Conflict>,
    /// What git says of the conflicts.
    pub messages: Vec<Message>,
    /// The files whose contents were merged line by line, without a conflict.
    pub merged: Vec<BString>,
}

/// Merges as [`merge_trees`] does, and makes the tree in spite of conflicts.
pub fn attempt(
    objects: &dyn Objects,
    base: &ObjectId,
    ours: &ObjectId,
    theirs: &ObjectId,
) -> Result<Attempt, ObjectError> {
    let sides = Sides { base: *base, ours: *ours, theirs: *theirs };
    whole(objects, ort::merge(objects, sides, &Names::default(), false)?)
}

/// The same, but files that conflict stand in the tree with git's conflict marks, as `git merge-tree --write-tree`
/// leaves them; `names` label the sides.
pub fn attempt_marked(
    objects: &dyn Objects,
    base: &ObjectId,
    ours: &ObjectId,
    theirs: &ObjectId,
    names: &Names,
) -> Result<Attempt, ObjectError> {
    let sides = Sides { base: *base, ours: *ours, theirs: *theirs };
    whole(objects, ort::merge(objects, sides, names, true)?)
}

fn whole(objects: &dyn Objects, whole: Whole) -> Result<Attempt, ObjectError> {
    let Whole { tree, conflicts, messages, by_lines, .. } = whole;
    Ok(Attempt { tree: there(objects, tree)?, conflicts, messages, merged: by_lines })
}

fn there(objects: &dyn Objects, tree: Option<ObjectId>) -> Result<ObjectId, ObjectError> {
    match tree {
        Some(tree) => Ok(tree),
        None => write_empty(objects),
    }
}
