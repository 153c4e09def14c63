//! A patch that can be taken off trunk's own lines: trunk has what it adds where it adds it, and nothing of what it
//! removes.

use std::collections::BTreeMap;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::edits::Edit;
use super::first::first;
use super::{Candidate, Evidence, Rung, told};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::tree::entry_at;
use crate::store::{Objects as _, Odb, Scratch, StoreError};
use crate::trunk::Range;

/// The evidence that trunk has the patch's lines at the end of the range, and did not before it.
///
/// The patch is taken off by a three-way merge whose base is the tree after it; what goes by that must be, file by
/// file and line by line, what the patch brings.
pub(super) fn find(
    odb: &Odb,
    patch: &Candidate<'_>,
    edits: &[Edit<'_>],
    range: &Range,
) -> Result<Option<Evidence>, StoreError> {
    let [start, ..] = &range.commits[..] else { return Ok(None) };
    let Some(tip) = range.first_parent.last().map(|at| &range.commits[*at]) else { return Ok(None) };
    let (before, after) = patch.trees;
    let Some(own) = net(edits) else { return Ok(None) };
    if !holds_all(odb, &tip.commit.tree, &own)? {
        return Ok(None);
    }
    let scratch = Scratch::over(odb);
    let comes_off = |tree: &ObjectId| -> Result<bool, StoreError> {
        let Merged::Clean(without) = merge_trees(&scratch, &after, tree, &before)? else { return Ok(false) };
        if without == *tree {
            return Ok(false);
        }
        Ok(net(&Edit::between(&scratch, &without, tree)?).is_some_and(|net| net == own))
    };
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

/// Has the tree every line that is added, in its file? Without that nothing can come off, and a look at the file tells it for
/// much less than a merge does.
fn holds_all(odb: &Odb, tree: &ObjectId, own: &Net) -> Result<bool, StoreError> {
    for (path, lines) in own {
        let mut added: Vec<&Vec<u8>> = lines.iter().filter(|(_, n)| **n > 0).map(|(line, _)| line).collect();
        if added.is_empty() {
            continue;
        }
        let Some(entry) = entry_at(odb, tree, path.as_bstr())?.filter(|e| e.is_file()) else {
            return Ok(false);
        };
        let file = odb.blob(&entry.id)?;
        // The longest is the one that a file has least by chance.
        added.sort_by_key(|line| std::cmp::Reverse(line.len()));
        if !added.iter().all(|line| file.contains_str(line)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// For each file how often each line comes, less how often it goes.
type Net = BTreeMap<BString, BTreeMap<Vec<u8>, i64>>;

/// None for a change of anything but text, and for one that only moves lines.
fn net(edits: &[Edit<'_>]) -> Option<Net> {
    let mut net = Net::new();
    for edit in edits {
        let lines = edit.lines.as_ref().filter(|_| !edit.moded)?;
        let known = net.entry(edit.path.clone()).or_default();
        for (line, step) in lines {
            match known.get_mut(&**line) {
                Some(n) => *n += i64::from(*step),
                None => drop(known.insert(line.to_vec(), i64::from(*step))),
            }
        }
        known.retain(|_, n| *n != 0);
        if known.is_empty() {
            return None;
        }
    }
    Some(net).filter(|net| !net.is_empty())
}
