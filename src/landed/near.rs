//! The upstream commits that touch what patches touch, with the lines that they change: what the weak rungs look at.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;

use super::Candidate;
use super::lines::Lines;
use crate::store::{Odb, StoreError};
use crate::trunk::{Range, Upstream, delta};

/// An upstream commit, and the patches with which it shares a path.
pub(super) struct Near<'a> {
    /// The commit.
    pub upstream: &'a Upstream,
    /// What it changes.
    pub lines: Lines,
    /// The places of the patches.
    pub patches: Vec<usize>,
}

/// The standing commits of the range that are near one of `patches`, in its order, and the patches' own lines. A commit
/// that was rejected for a patch is not near it.
pub(super) fn near<'a>(
    odb: &Odb,
    patches: &[&Candidate<'_>],
    range: &'a Range,
    standing: &dyn Fn(&Upstream) -> bool,
) -> Result<(Vec<Near<'a>>, Vec<Lines>), StoreError> {
    let mut by_path: BTreeMap<&BString, Vec<usize>> = BTreeMap::new();
    for (at, patch) in patches.iter().enumerate() {
        patch.paths.iter().for_each(|path| by_path.entry(path).or_default().push(at));
    }
    let wanted: BTreeSet<BString> = by_path.keys().map(|path| (*path).clone()).collect();
    if wanted.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut out = Vec::new();
    for upstream in range.commits.iter().filter(|u| u.commit.parents.len() == 1 && standing(u)) {
        let (before, after) = (upstream.before(odb)?, upstream.commit.tree);
        let touched = delta::touched(odb, &before, &after, &wanted)?;
        let id = upstream.id.to_string();
        let of = touched.iter().filter_map(|path| by_path.get(path)).flatten().copied();
        let of: BTreeSet<usize> = of.filter(|at| !patches[*at].rejected.contains(&id)).collect();
        if !of.is_empty() {
            let lines = Lines::of(odb, &before, &after)?;
            out.push(Near { upstream, lines, patches: of.into_iter().collect() });
        }
    }
    let own = patches.iter().map(|p| Lines::of(odb, &p.trees.0, &p.trees.1)).collect::<Result<_, _>>()?;
    Ok((out, own))
}
