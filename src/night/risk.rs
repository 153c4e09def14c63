//! What the move from one build to another asks: rules by the configuration, origins by the builds' patches.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bstr::BStr;
use gix_hash::ObjectId;

use super::publish::manifest_of;
use super::{NightError, Site};
use crate::risk::pack::{PackError, Rules, detected};
use crate::risk::{Transition, assess, origin, plan};
use crate::store::tree::entry_at;
use crate::store::{Odb, Repo, StoreError};
use crate::workspace::RiskRules;

/// Rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RiskError {
    /// A pack is not there, or is none.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A file of rules cannot be read.
    #[error("the rules in '{}' cannot be read: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The rules for a tree: the packs that are named, or those that its files ask for; and a workspace's own, which are
/// files below `root`.
pub fn rules_for(
    odb: &Odb,
    tree: &ObjectId,
    config: &RiskRules,
    root: &std::path::Path,
) -> Result<Rules, RiskError> {
    let has = |path: &str| entry_at(odb, tree, BStr::new(path)).is_ok_and(|entry| entry.is_some());
    let packs = config.packs.clone().unwrap_or_else(|| detected(has));
    let mut own = Vec::new();
    for file in &config.rules {
        let path = root.join(file);
        let text = std::fs::read_to_string(&path).map_err(|source| RiskError::File { path, source })?;
        own.push((file.clone(), text));
    }
    Ok(Rules::load(&packs, &own)?)
}

/// What the move from the commit `old` to the commit `new` asks.
pub fn assess_move(
    repo: &Repo,
    odb: &Odb,
    rules: &Rules,
    [old, new]: [&ObjectId; 2],
    patches: &BTreeMap<ObjectId, String>,
) -> Result<Transition, StoreError> {
    let (before, after) = (odb.commit(old)?.tree, odb.commit(new)?.tree);
    let mut assessment = assess(odb, before, after, rules)?;
    let patch_of = |id: &ObjectId| patches.get(id).cloned();
    origin::attribute(repo, odb, rules, [old, new], &mut assessment.findings, &patch_of)?;
    assessment.findings.extend(origin::messages(repo, odb, rules, [old, new], &patch_of)?);
    assessment.settle();
    let plan = plan::of(&assessment, rules);
    Ok(Transition { from: old.to_string(), to: new.to_string(), assessment, plan })
}

/// The patches of a build, by their commits; none if its manifest is not here.
pub fn patches_of(site: &Site<'_>, commit: &ObjectId) -> Result<BTreeMap<ObjectId, String>, NightError> {
    let Some(manifest) = manifest_of(site, commit)? else { return Ok(BTreeMap::new()) };
    let of = |p: crate::build::manifest::PatchRecord| {
        Some((ObjectId::from_hex(p.commit?.as_bytes()).ok()?, p.name))
    };
    Ok(manifest.patches.into_iter().filter_map(of).collect())
}

/// What the move from the previous build to the one that is being made asks; nothing if that build is not here.
pub fn from_previous(
    site: &Site<'_>,
    odb: &Odb,
    previous: &str,
    new: &ObjectId,
    mut patches: BTreeMap<ObjectId, String>,
) -> Result<Option<Transition>, NightError> {
    let Ok(old) = ObjectId::from_hex(previous.as_bytes()) else { return Ok(None) };
    if !odb.has(&old) || old == *new {
        return Ok(None);
    }
    patches.extend(patches_of(site, &old)?);
    let tree = odb.commit(new).map_err(StoreError::from)?.tree;
    let rules = rules_for(odb, &tree, &site.project.risk, &site.workspace.root)?;
    Ok(Some(assess_move(&site.store, odb, &rules, [&old, new], &patches)?))
}
