//! Which commits of the range touch the paths of patches: looked up once, for every rung that asks.

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use crate::store::tree::{Entry, entry_at};
use crate::store::{Objects as _, Odb, StoreError};
use crate::trunk::compare::Compare;
use crate::trunk::delta::Touched;
use crate::trunk::{Range, Upstream};

/// A commit that is no merge, and touches paths that were asked about.
pub(super) struct Touches {
    /// Its place in the range.
    pub at: usize,
    /// The tree before it.
    pub before: ObjectId,
    /// The paths, and whether it touches others.
    pub touched: Touched,
}

/// The standing commits of the range that touch some of `wanted`, in its order.
pub(super) fn touches(
    odb: &Odb,
    range: &Range,
    wanted: &BTreeSet<BString>,
    standing: &dyn Fn(&Upstream) -> bool,
) -> Result<Vec<Touches>, StoreError> {
    let trees: BTreeMap<ObjectId, ObjectId> = range.commits.iter().map(|u| (u.id, u.commit.tree)).collect();
    let before_of = |upstream: &Upstream| {
        let known = upstream.commit.parents.first().and_then(|p| trees.get(p)).copied();
        known.map_or_else(|| upstream.before(odb), Ok)
    };
    let (mut out, mut compared) = (Vec::new(), Compare::of(odb));
    let single = |upstream: &&Upstream| upstream.commit.parents.len() == 1;
    let newest_first = match range.commits.iter().rfind(single) {
        Some(last) => compared.is_stored_back(&before_of(last)?, &last.commit.tree),
        None => true,
    };
    let mut order: Vec<usize> = (0..range.commits.len()).collect();
    if newest_first {
        order.reverse();
    }
    for at in order {
        let upstream = &range.commits[at];
        if upstream.commit.parents.len() > 1 || !standing(upstream) {
            continue;
        }
        let before = before_of(upstream)?;
        let touched = compared.touched(&before, &upstream.commit.tree, wanted)?;
        if !touched.paths.is_empty() {
            out.push(Touches { at, before, touched });
        }
    }
    out.sort_by_key(|touches| touches.at);
    if odb.is_partial() {
        bring(odb, range, &out)?;
    }
    Ok(out)
}

/// Brings what the rungs will read and is left out here, in one go.
fn bring(odb: &Odb, range: &Range, touches: &[Touches]) -> Result<(), StoreError> {
    let mut ids = Vec::new();
    for Touches { at, before, touched } in touches {
        for tree in [before, &range.commits[*at].commit.tree] {
            for path in &touched.paths {
                let entry = entry_at(odb, tree, path.as_bstr())?;
                ids.extend(entry.filter(Entry::is_file).map(|entry| entry.id));
            }
        }
    }
    Ok(odb.bring(&ids)?)
}
