//! The commit of the range at which something became so that can be asked of a tree.

use std::collections::BTreeSet;

use bstr::BString;
use gix_hash::ObjectId;

use crate::store::{Odb, Repo, StoreError};
use crate::trunk::{Range, Upstream};

/// A question about a tree.
pub(super) type Holds<'a> = dyn Fn(&ObjectId) -> Result<bool, StoreError> + 'a;

/// The commit of the range from which on `holds` is true to its end, along first parents and then inside the merge
/// that brought it, and that merge. Only commits that touch one of `paths` are asked.
pub(super) fn first<'a>(
    repo: &Repo,
    odb: &Odb,
    range: &'a Range,
    paths: &BTreeSet<BString>,
    holds: &Holds<'_>,
) -> Result<Option<(&'a Upstream, Option<&'a Upstream>)>, StoreError> {
    let line: Vec<&Upstream> = range.first_parent.iter().map(|at| &range.commits[*at]).collect();
    let Some(commit) = along(odb, &line, paths, holds)? else { return Ok(None) };
    let mut at = commit;
    while let [first_parent, second, ..] = at.commit.parents[..] {
        let inside = repo.range(Some(&first_parent), &second)?;
        let inside: Vec<&Upstream> =
            inside.iter().filter_map(|r| range.commits.iter().find(|u| u.id == r.id)).collect();
        match along(odb, &inside, paths, holds)? {
            Some(commit) => at = commit,
            None => break,
        }
    }
    Ok(Some((at, (at.id != commit.id).then_some(commit))))
}

/// The first of `line` from which on it holds, to the line's end.
fn along<'a>(
    odb: &Odb,
    line: &[&'a Upstream],
    paths: &BTreeSet<BString>,
    holds: &Holds<'_>,
) -> Result<Option<&'a Upstream>, StoreError> {
    let mut since = None;
    let mut previous = None;
    for upstream in line {
        // Only a commit that touches the paths can change the answer.
        if previous.is_some() && !upstream.touches(odb, paths)? {
            continue;
        }
        let now = holds(&upstream.commit.tree)?;
        if now && previous != Some(true) {
            since = Some(*upstream);
        } else if !now {
            since = None;
        }
        previous = Some(now);
    }
    Ok(since)
}
