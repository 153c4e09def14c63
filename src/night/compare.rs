//! What differs between two builds, with what only the store knows: upstream's commits, range-diffs, the risk.

use std::collections::BTreeSet;

use gix_hash::ObjectId;

use super::publish::manifest_of;
use super::{NightError, Site, assess_move, patches_of, rules_for};
use crate::build::manifest::Manifest;
use crate::build::{ManifestDiff, PatchMove, UpstreamRange, compare};
use crate::queue::{parse_diff, same_change};
use crate::store::{Odb, StoreError};
use crate::trunk::read_range;

/// So many builds are followed back from one to another at most; a year of nights and more.
const BUILDS: usize = 1_000;

/// Compares two builds of the project. Either may be the older one.
pub fn compare_builds(site: &Site<'_>, from: &Manifest, to: &Manifest) -> Result<ManifestDiff, NightError> {
    let mut between = led_to(site, to, &from.deploy.commit)?;
    if between.is_empty() {
        between = led_to(site, from, &to.deploy.commit)?;
    }
    let mut diff = compare(from, to, &between);
    let odb = site.store.odb()?;
    let here = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| odb.has(id));
    if let (Some(old), Some(new)) = (here(&from.trunk.commit), here(&to.trunk.commit)) {
        diff.taken_in = upstream(site, &odb, &old, &new)?;
        diff.given_up = upstream(site, &odb, &new, &old)?;
    }
    for patch in diff.patches.iter_mut().filter(|p| p.what == PatchMove::Changed) {
        let [Some(old), Some(new)] = &patch.commits else { continue };
        let (Some(old), Some(new)) = (here(old), here(new)) else { continue };
        if only_context(site, &odb, &old, &new)? {
            patch.what = PatchMove::Context;
        } else {
            patch.range_diff = site.store.range_diff(&old, &new)?;
        }
    }
    if let (Some(old), Some(new)) = (here(&from.deploy.commit), here(&to.deploy.commit))
        && old != new
    {
        let mut patches = patches_of(site, &old)?;
        patches.extend(patches_of(site, &new)?);
        let tree = odb.commit(&new).map_err(StoreError::from)?.tree;
        let rules = rules_for(&odb, &tree, &site.project.risk, &site.workspace.root)?;
        diff.risk = Some(assess_move(&site.store, &odb, &rules, [&old, &new], &patches)?);
    }
    Ok(diff)
}

/// The builds that led to `last`, itself among them, back to the one whose commit is `first`; none if it is not met.
fn led_to(site: &Site<'_>, last: &Manifest, first: &str) -> Result<Vec<Manifest>, NightError> {
    let mut chain = vec![last.clone()];
    let mut met = BTreeSet::new();
    while chain.len() <= BUILDS {
        let Some(previous) = chain.last().and_then(|m| m.deploy.previous.clone()) else { break };
        if previous == first {
            return Ok(chain);
        }
        let id = ObjectId::from_hex(previous.as_bytes()).ok().filter(|id| met.insert(*id));
        let Some(manifest) = id.map(|id| manifest_of(site, &id)).transpose()?.flatten() else { break };
        chain.push(manifest);
    }
    Ok(Vec::new())
}

/// The commits of `to` that `from` has not; none for an empty range.
fn upstream(
    site: &Site<'_>,
    odb: &Odb,
    from: &ObjectId,
    to: &ObjectId,
) -> Result<Option<UpstreamRange>, NightError> {
    let range = read_range(&site.store, odb, from, to)?;
    Ok((!range.commits.is_empty()).then(|| UpstreamRange::of(from, to, &range.commits)))
}

/// Do two commits say the same, and change the same lines, in another context?
fn only_context(site: &Site<'_>, odb: &Odb, old: &ObjectId, new: &ObjectId) -> Result<bool, NightError> {
    let (a, b) = (odb.commit(old)?, odb.commit(new)?);
    if a.message != b.message || a.author.name != b.author.name || a.author.email != b.author.email {
        return Ok(false);
    }
    let mut pairs = Vec::new();
    for commit in [&a, &b] {
        let Some(parent) = commit.parents.first() else { return Ok(false) };
        pairs.push((odb.commit(parent)?.tree, commit.tree));
    }
    let diffs = site.store.diffs(&pairs, 1)?;
    let changes = |n: usize| parse_diff(b"build", diffs.get(n).map_or(&[][..], |d| d), 1, 1).ok();
    Ok(matches!((changes(0), changes(1)), (Some(a), Some(b)) if same_change(&a, &b)))
}
