//! Which commits of the range touch the paths of patches: looked up once, for every rung that asks.

use std::collections::{BTreeSet, HashMap};

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use crate::store::tree::{Entry, entry_at};
use crate::store::{Objects as _, Odb, StoreError, stretches_on_all_cores};
use crate::trunk::compare::Compare;
use crate::trunk::delta::Touched;
use crate::trunk::{Range, Upstream};

/// So many commits at least are looked at one after the other: their trees have much in common.
const STRETCH: usize = 64;

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
    let trees: HashMap<ObjectId, ObjectId> = range.commits.iter().map(|u| (u.id, u.commit.tree)).collect();
    let single = |at: &usize| {
        let upstream = &range.commits[*at];
        upstream.commit.parents.len() <= 1 && standing(upstream)
    };
    let asked: Vec<usize> = (0..range.commits.len()).filter(single).collect();
    let look = |odb: &Odb, stretch: &[usize]| in_stretch(odb, range, stretch, &trees, wanted);
    let mut out = Vec::new();
    for found in stretches_on_all_cores(odb, &asked, STRETCH, &look) {
        out.extend(found?);
    }
    if odb.is_partial() {
        bring(odb, range, &out)?;
    }
    Ok(out)
}

/// Those of a stretch of the range, in its order. `trees` are those of the range's commits.
fn in_stretch(
    odb: &Odb,
    range: &Range,
    stretch: &[usize],
    trees: &HashMap<ObjectId, ObjectId>,
    wanted: &BTreeSet<BString>,
) -> Result<Vec<Touches>, StoreError> {
    let before_of = |upstream: &Upstream| {
        let known = upstream.commit.parents.first().and_then(|p| trees.get(p)).copied();
        known.map_or_else(|| upstream.before(odb), Ok)
    };
    let (mut out, mut compared) = (Vec::new(), Compare::of(odb));
    let newest_first = match stretch.last().map(|at| &range.commits[*at]) {
        Some(last) => compared.is_stored_back(&before_of(last)?, &last.commit.tree),
        None => true,
    };
    let mut look = |at: usize| -> Result<(), StoreError> {
        let upstream = &range.commits[at];
        let before = before_of(upstream)?;
        let touched = compared.touched(&before, &upstream.commit.tree, wanted)?;
        if !touched.paths.is_empty() {
            out.push(Touches { at, before, touched });
        }
        Ok(())
    };
    match newest_first {
        true => stretch.iter().rev().try_for_each(|at| look(*at))?,
        false => stretch.iter().try_for_each(|at| look(*at))?,
    }
    out.sort_by_key(|touches| touches.at);
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
