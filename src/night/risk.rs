//! What the move from one build to another asks: rules by the configuration, origins by the builds' patches.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bstr::BStr;
use gix_hash::ObjectId;

use super::publish::manifest_of;
use super::{NightError, Site};
use crate::build::manifest::{Manifest, PatchRecord};
use crate::risk::pack::{PackError, Rules, detected};
use crate::risk::{Transition, assess, origin, plan};
use crate::store::tree::entry_at;
use crate::store::{Odb, Repo, StoreError};
use crate::trunk::Upstream;
use crate::workspace::{History, RiskRules};

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
    builds: [&ObjectId; 2],
    patches: &BTreeMap<ObjectId, String>,
) -> Result<Transition, StoreError> {
    assess_known(repo, odb, rules, builds, None, patches)
}

/// The same, where the commits that `new` has and `old` has not may be known.
fn assess_known(
    repo: &Repo,
    odb: &Odb,
    rules: &Rules,
    [old, new]: [&ObjectId; 2],
    brought: Option<Vec<Upstream>>,
    patches: &BTreeMap<ObjectId, String>,
) -> Result<Transition, StoreError> {
    let (before, after) = (odb.commit(old)?.tree, odb.commit(new)?.tree);
    let mut assessment = assess(odb, before, after, rules)?;
    let patch_of = |id: &ObjectId| patches.get(id).cloned();
    origin::attribute(repo, odb, rules, [old, new], &mut assessment.findings, &patch_of)?;
    assessment.findings.extend(origin::messages(repo, odb, rules, [old, new], brought, &patch_of)?);
    assessment.settle();
    let plan = plan::of(&assessment, rules);
    Ok(Transition { from: old.to_string(), to: new.to_string(), assessment, plan })
}

/// The patches of a build, by their commits; none if its manifest is not here.
pub fn patches_of(site: &Site<'_>, commit: &ObjectId) -> Result<BTreeMap<ObjectId, String>, NightError> {
    Ok(manifest_of(site, commit)?.map_or_else(BTreeMap::new, |manifest| by_commit(&manifest)))
}

fn by_commit(manifest: &Manifest) -> BTreeMap<ObjectId, String> {
    let of =
        |p: &PatchRecord| Some((ObjectId::from_hex(p.commit.as_ref()?.as_bytes()).ok()?, p.name.clone()));
    manifest.patches.iter().filter_map(of).collect()
}

/// What is known of the build that is being made.
pub struct Next<'a> {
    /// Its commit.
    pub commit: ObjectId,
    /// Its patches from the bottom: each one's name and its commit.
    pub patches: &'a [(String, ObjectId)],
    /// The trunk commit that the queue stood on before.
    pub base: Option<ObjectId>,
    /// The commits from there to the one that it stands on.
    pub range: &'a [Upstream],
}

/// What the move from the previous build to the one that is being made asks; nothing if that build is not here.
/// `before` is its manifest.
pub fn from_previous(
    site: &Site<'_>,
    odb: &Odb,
    previous: &str,
    before: Option<&Manifest>,
    next: &Next<'_>,
) -> Result<Option<Transition>, NightError> {
    let Ok(old) = ObjectId::from_hex(previous.as_bytes()) else { return Ok(None) };
    if !odb.has(&old) || old == next.commit {
        return Ok(None);
    }
    let gone = before.map(by_commit).unwrap_or_default();
    let brought = brought(site, odb, before, &gone, next)?;
    let mut patches = gone;
    patches.extend(next.patches.iter().map(|(name, id)| (*id, name.clone())));
    let tree = odb.commit(&next.commit).map_err(StoreError::from)?.tree;
    let rules = rules_for(odb, &tree, &site.project.risk, &site.workspace.root)?;
    Ok(Some(assess_known(&site.store, odb, &rules, [&old, &next.commit], brought, &patches)?))
}

/// The commits that the next build has and the one before has not, if both are stacks on the ends of the range that was
/// read already: its commits, and the next build's own.
fn brought(
    site: &Site<'_>,
    odb: &Odb,
    before: Option<&Manifest>,
    gone: &BTreeMap<ObjectId, String>,
    next: &Next<'_>,
) -> Result<Option<Vec<Upstream>>, NightError> {
    let stands = before.and_then(|b| ObjectId::from_hex(b.trunk.commit.as_bytes()).ok());
    let stood_on = |base: ObjectId| stands == Some(base);
    if site.project.deploy.history != History::Rewrite || !next.base.is_some_and(stood_on) {
        return Ok(None);
    }
    let mut all: Vec<Upstream> = next.range.iter().filter(|u| !gone.contains_key(&u.id)).cloned().collect();
    for (_, id) in next.patches.iter().filter(|(_, id)| !gone.contains_key(id)) {
        all.push(Upstream { id: *id, commit: odb.commit(id).map_err(StoreError::from)? });
    }
    Ok(Some(all))
}
