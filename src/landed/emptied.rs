//! A patch that changes nothing any more: which commit of the range made it so.

use gix_hash::ObjectId;

use super::{Evidence, Rung, paths};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::{Odb, Repo, Scratch, StoreError};
use crate::trunk::{Range, Upstream};

/// The commit of the range after which merging the patch's trees changes nothing, along first parents and then
/// inside the merge that brought it. None if there is no such commit: then it is not upstream that has it.
pub fn emptied(
    repo: &Repo,
    odb: &Odb,
    trees: &(ObjectId, ObjectId),
    range: &Range,
) -> Result<Option<Evidence>, StoreError> {
    let line: Vec<&Upstream> = range.first_parent.iter().map(|at| &range.commits[*at]).collect();
    let Some(commit) = first(odb, trees, &line)? else { return Ok(None) };
    let mut at = commit;
    while let [first_parent, second, ..] = at.commit.parents[..] {
        let inside = repo.range(Some(&first_parent), &second)?;
        let inside: Vec<&Upstream> =
            inside.iter().filter_map(|r| range.commits.iter().find(|u| u.id == r.id)).collect();
        match first(odb, trees, &inside)? {
            Some(commit) => at = commit,
            None => break,
        }
    }
    let proof = if at.id == commit.id {
        "the patch changes nothing after it".to_owned()
    } else {
        format!("the patch changes nothing after it; it came by the merge {}", commit.id)
    };
    Ok(Some(Evidence::new(Rung::BecameEmpty, at, proof)))
}

/// The first of `line` after which the patch is empty, and stays so to the line's end.
fn first<'a>(
    odb: &Odb,
    trees: &(ObjectId, ObjectId),
    line: &[&'a Upstream],
) -> Result<Option<&'a Upstream>, StoreError> {
    let touched = paths(odb, trees)?;
    let scratch = Scratch::over(odb);
    let mut since = None;
    let mut previous = None;
    for upstream in line {
        // Only a commit that touches the patch's paths can change the answer.
        if previous.is_some() && upstream.paths(odb)?.is_disjoint(&touched) {
            continue;
        }
        let merged = merge_trees(&scratch, &trees.0, &upstream.commit.tree, &trees.1)?;
        let empty = merged == Merged::Clean(upstream.commit.tree);
        if empty && previous != Some(true) {
            since = Some(*upstream);
        } else if !empty {
            since = None;
        }
        previous = Some(empty);
    }
    Ok(since)
}
