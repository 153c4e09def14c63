//! Identity by the diff: equal `git patch-id --stable`. Only commits that touch the very paths of a patch are tried.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use gix_hash::ObjectId;

use super::{Candidate, Evidence, Rung};
use crate::queue::patch_id;
use crate::store::{Odb, Repo, StoreError};
use crate::trunk::{Range, Upstream, delta};

/// The commits of the range that touch the very paths of open patches, with those patches.
pub(super) fn alike(
    odb: &Odb,
    patches: &[Candidate<'_>],
    open: &dyn Fn(&Candidate<'_>) -> bool,
    range: &Range,
    standing: &dyn Fn(&Upstream) -> bool,
) -> Result<Vec<(usize, Vec<usize>)>, StoreError> {
    let mut by_paths: BTreeMap<&BTreeSet<BString>, Vec<usize>> = BTreeMap::new();
    for (at, patch) in patches.iter().enumerate().filter(|(_, p)| !p.paths.is_empty() && open(p)) {
        by_paths.entry(&patch.paths).or_default().push(at);
    }
    let wanted: BTreeSet<BString> = by_paths.keys().flat_map(|paths| paths.iter().cloned()).collect();
    let trees: BTreeMap<ObjectId, ObjectId> = range.commits.iter().map(|u| (u.id, u.commit.tree)).collect();
    let mut alike = Vec::new();
    for (at, upstream) in range.commits.iter().enumerate() {
        if upstream.commit.parents.len() > 1 || !standing(upstream) {
            continue;
        }
        let known = upstream.commit.parents.first().and_then(|p| trees.get(p)).copied();
        let before = known.map_or_else(|| upstream.before(odb), Ok)?;
        let paths = delta::paths_among(odb, &before, &upstream.commit.tree, &wanted)?;
        if let Some(patches) = paths.as_ref().and_then(|paths| by_paths.get(paths)) {
            alike.push((at, patches.clone()));
        }
    }
    Ok(alike)
}

/// Which of them are the same change?
pub(super) fn compare(
    repo: &Repo,
    odb: &Odb,
    patches: &[Candidate<'_>],
    range: &Range,
    alike: &[(usize, Vec<usize>)],
) -> Result<BTreeMap<String, Evidence>, StoreError> {
    let mut found = BTreeMap::new();
    if alike.is_empty() {
        return Ok(found);
    }
    let ours: BTreeSet<usize> = alike.iter().flat_map(|(_, patches)| patches.iter().copied()).collect();
    let mut pairs: Vec<(ObjectId, ObjectId)> = ours.iter().map(|at| patches[*at].trees).collect();
    for (at, _) in alike {
        let upstream = &range.commits[*at];
        pairs.push((upstream.before(odb)?, upstream.commit.tree));
    }
    let mut ids = repo.diffs(&pairs, 1)?.into_iter().map(|diff| patch_id(&diff));
    let ours: BTreeMap<usize, Option<ObjectId>> = ours.into_iter().zip(ids.by_ref()).collect();
    for ((at, patches_alike), id) in alike.iter().zip(ids) {
        let Some(id) = id else { continue };
        for patch in patches_alike.iter().filter(|p| ours.get(p) == Some(&Some(id))) {
            let name = patches[*patch].name.to_owned();
            let upstream = &range.commits[*at];
            found.entry(name).or_insert_with(|| Evidence::new(Rung::PatchId, upstream, id.to_string()));
        }
    }
    Ok(found)
}
