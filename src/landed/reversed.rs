//! A patch that can be taken off trunk's own lines: trunk has what it adds where it adds it, and nothing of what it
//! removes.

use std::collections::BTreeMap;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::first::first;
use super::lines::sides;
use super::{Candidate, Evidence, Rung, told};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::{Objects, Odb, Scratch, StoreError};
use crate::trunk::{Range, delta};

/// The evidence that trunk has the patch's lines at the end of the range, and did not before it.
///
/// The patch is taken off by a three-way merge whose base is the tree after it; what goes by that must be, file by
/// file and line by line, what the patch brings.
pub(super) fn find(odb: &Odb, patch: &Candidate<'_>, range: &Range) -> Result<Option<Evidence>, StoreError> {
    let (before, after) = patch.trees;
    let Some(own) = net(odb, &before, &after)? else { return Ok(None) };
    let scratch = Scratch::over(odb);
    let comes_off = |tree: &ObjectId| -> Result<bool, StoreError> {
        let Merged::Clean(without) = merge_trees(&scratch, &after, tree, &before)? else { return Ok(false) };
        if without == *tree {
            return Ok(false);
        }
        Ok(net(&scratch, &without, tree)?.is_some_and(|net| net == own))
    };
    let [start, ..] = &range.commits[..] else { return Ok(None) };
    let Some(tip) = range.first_parent.last().map(|at| &range.commits[*at]) else { return Ok(None) };
    let base = range.first_parent.first().map_or(start, |at| &range.commits[*at]).before(odb)?;
    if !comes_off(&tip.commit.tree)? || comes_off(&base)? {
        return Ok(None);
    }
    let Some((at, merge)) = first(odb, range, &patch.paths, &comes_off)? else { return Ok(None) };
    let (mut come, mut gone) = (0, 0);
    for n in own.values().flat_map(BTreeMap::values) {
        if *n > 0 { come += n } else { gone -= n }
    }
    let by = merge.map(|m| format!("; it came by the merge {}", m.id)).unwrap_or_default();
    let proof = format!(
        "from it on trunk has all {come} lines that the patch adds where it adds them, and none of the {gone} that it removes{by}"
    );
    Ok(Some(told(Rung::ReverseApplies, at, proof)))
}

/// For each file how often each line comes, less how often it goes.
type Net = BTreeMap<BString, BTreeMap<Vec<u8>, i64>>;

/// None for a change of anything but text, and for one that only moves lines.
fn net(objects: &dyn Objects, before: &ObjectId, after: &ObjectId) -> Result<Option<Net>, StoreError> {
    let mut net = Net::new();
    for change in delta::changes(objects, before, after)? {
        let Some((old, new)) = sides(objects, &change)? else { return Ok(None) };
        if change.old.zip(change.new).is_some_and(|(old, new)| old.mode != new.mode) {
            return Ok(None);
        }
        let lines = net.entry(change.path).or_default();
        for (side, step) in [(old, -1), (new, 1)] {
            for line in side.lines_with_terminator() {
                *lines.entry(line.to_vec()).or_insert(0) += step;
            }
        }
        lines.retain(|_, n| *n != 0);
        if lines.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(net).filter(|net| !net.is_empty()))
}
