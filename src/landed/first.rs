//! The commit of the range at which something became so that can be asked of a tree.

use std::collections::{BTreeSet, HashMap};

use bstr::BString;
use gix_hash::ObjectId;

use crate::store::{Odb, StoreError};
use crate::trunk::{Range, Upstream};

/// A question about a tree.
pub(super) type Holds<'a> = dyn Fn(&ObjectId) -> Result<bool, StoreError> + 'a;

/// The commit of the range from which on `holds` is true to its end, along first parents and then inside the merge
/// that brought it, and that merge. None where it is not true at the end, or was true before the range. Only commits that touch one of
/// `paths` can change the answer, and only about them it is asked, from the end on.
pub(super) fn first<'a>(
    odb: &Odb,
    range: &'a Range,
    paths: &BTreeSet<BString>,
    holds: &Holds<'_>,
) -> Result<Option<(&'a Upstream, Option<&'a Upstream>)>, StoreError> {
    let line: Vec<&Upstream> = range.first_parent.iter().map(|at| &range.commits[*at]).collect();
    let Some(tip) = line.last() else { return Ok(None) };
    if !holds(&tip.commit.tree)? {
        return Ok(None);
    }
    let Some(commit) = along(odb, &line, paths, holds)? else { return Ok(None) };
    let mut places: Option<HashMap<ObjectId, &Upstream>> = None;
    let mut at = commit;
    while let [_, second, ..] = at.commit.parents[..] {
        let places = places.get_or_insert_with(|| range.commits.iter().map(|u| (u.id, u)).collect());
        let next = |u: &&'a Upstream| u.commit.parents.first().and_then(|p| places.get(p)).copied();
        let mut inside: Vec<&Upstream> = std::iter::successors(places.get(&second).copied(), next).collect();
        inside.reverse();
        // What the branch does not have at its end, the merge itself brought.
        if inside.is_empty() || !holds(&inside[inside.len() - 1].commit.tree)? {
            break;
        }
        match along(odb, &inside, paths, holds)? {
            Some(commit) => at = commit,
            None => break,
        }
    }
    Ok(Some((at, (at.id != commit.id).then_some(commit))))
}

/// The commit of `line` from which on it holds to the line's end, where it does.
fn along<'a>(
    odb: &Odb,
    line: &[&'a Upstream],
    paths: &BTreeSet<BString>,
    holds: &Holds<'_>,
) -> Result<Option<&'a Upstream>, StoreError> {
    for upstream in line.iter().rev() {
        if upstream.touches(odb, paths)? && !holds(&upstream.before(odb)?)? {
            return Ok(Some(upstream));
        }
    }
    Ok(None)
}
