//! A patch that changes nothing any more: which commit of the range made it so.

use gix_hash::ObjectId;

use super::first::first;
use super::{Evidence, Rung, paths, told};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::{Odb, Scratch, StoreError};
use crate::trunk::Range;

/// The commit of the range after which merging the patch's trees changes nothing, along first parents and then
/// inside the merge that brought it. None if there is no such commit: then it is not upstream that has it.
pub fn emptied(
    odb: &Odb,
    trees: &(ObjectId, ObjectId),
    range: &Range,
) -> Result<Option<Evidence>, StoreError> {
    let scratch = Scratch::over(odb);
    let empty =
        |tree: &ObjectId| Ok(merge_trees(&scratch, &trees.0, tree, &trees.1)? == Merged::Clean(*tree));
    let Some((at, merge)) = first(odb, range, &paths(odb, trees)?, &empty)? else { return Ok(None) };
    let proof = match merge {
        None => "the patch changes nothing after it".to_owned(),
        Some(merge) => format!("the patch changes nothing after it; it came by the merge {}", merge.id),
    };
    Ok(Some(told(Rung::BecameEmpty, at, proof)))
}
