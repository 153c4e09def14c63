//! Identity by the diff: equal `git patch-id --stable`. Only commits that touch the very paths of a patch are tried.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use gix_hash::ObjectId;

use super::{Candidate, Evidence, Rung, paths};
use crate::store::{Odb, Repo, StoreError};
use crate::trunk::Upstream;

pub(super) fn find(
    repo: &Repo,
    odb: &Odb,
    patches: &[&Candidate<'_>],
    standing: &[&Upstream],
) -> Result<BTreeMap<String, Evidence>, StoreError> {
    let mut wanted: BTreeMap<BTreeSet<BString>, Vec<usize>> = BTreeMap::new();
    for (at, patch) in patches.iter().enumerate() {
        let touched = paths(odb, &patch.trees)?;
        if !touched.is_empty() {
            wanted.entry(touched).or_default().push(at);
        }
    }
    let mut tried: Vec<(&Upstream, (ObjectId, ObjectId))> = Vec::new();
    let mut open: BTreeSet<usize> = BTreeSet::new();
    for upstream in standing.iter().filter(|u| u.commit.parents.len() < 2) {
        if let Some(at) = wanted.get(&upstream.paths(odb)?) {
            tried.push((upstream, (upstream.before(odb)?, upstream.commit.tree)));
            open.extend(at);
        }
    }
    let mut found = BTreeMap::new();
    if tried.is_empty() {
        return Ok(found);
    }
    odb.flush()?;
    let pairs: Vec<_> = tried.iter().map(|(_, pair)| *pair).collect();
    let theirs = repo.patch_ids(&repo.diffs(&pairs, 1)?)?;
    let pairs: Vec<_> = open.iter().map(|at| patches[*at].trees).collect();
    let ours = repo.patch_ids(&repo.diffs(&pairs, 1)?)?;
    for (at, id) in open.iter().zip(ours) {
        let Some(id) = id else { continue };
        if let Some(n) = theirs.iter().position(|t| t.as_ref() == Some(&id)) {
            found.insert(patches[*at].name.to_owned(), Evidence::new(Rung::PatchId, tried[n].0, id));
        }
    }
    Ok(found)
}
