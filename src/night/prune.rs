//! How much of the past a project keeps: old builds go, by the refs that hold them, and what is left is packed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bstr::BStr;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use super::journal::Push;
use super::publish::{build_ref, manifest_ref, remote_refs};
use super::sign::signature_ref;
use super::turn::still;
use super::{Events, NightError, Site};
use crate::build::build_id;
use crate::store::git::without_secrets;
use crate::store::tree::entry_at;
use crate::store::{Objects as _, Odb, RefUpdate, tidy};

/// How to prune.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Only say what would go.
    pub dry_run: bool,
    /// Do not ask the remote what its stages run, and change nothing there.
    pub offline: bool,
    /// Let go at once of what nothing refers to any more, instead of after git's two weeks.
    pub now: bool,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// The builds, the newest first.
    pub builds: Vec<String>,
    /// The refs that went at the deploy remote.
    pub at_remote: Vec<String>,
    /// How many results of checks.
    pub checks: usize,
}

/// How long what a check said is remembered, at least.
const CHECKS: Duration = Duration::from_secs(60 * 60 * 24 * 60);

/// Takes old builds away, so that `keep` of `[project.X.history]` stay: never the newest, never one that a stage runs, here
/// or at the remote. Then packs the store, if there is reason to. Without `keep` nothing goes.
pub fn prune_history(site: &Site<'_>, how: How, events: &dyn Events) -> Result<Pruned, NightError> {
    let mut pruned = Pruned::default();
    if let Some(keep) = site.project.history.builds {
        let mut builds = by_age(site)?;
        let old = builds.split_off(keep.min(builds.len()));
        let staged = if old.is_empty() { None } else { staged(site, how.offline, events)? };
        if let Some(staged) = staged {
            pruned.builds = old.into_iter().filter(|build| !staged.contains(build)).collect();
        }
        let project = &site.project.name;
        let names: Vec<String> = pruned
            .builds
            .iter()
            .flat_map(|b| [build_ref(project, b), manifest_ref(project, b), signature_ref(project, b)])
            .collect();
        // At the remote first: what is cut off in between is tried again, as the store still knows of it.
        if site.project.history.remote && !how.offline && !names.is_empty() {
            pruned.at_remote = at_remote(site, &names, how.dry_run)?;
        }
        if !names.is_empty() && !how.dry_run {
            let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
            let there = site.store.exactly(&wanted)?;
            let gone = names.iter().zip(there).filter_map(|(name, id)| {
                Some(RefUpdate { name: name.clone(), old: Some(id?.to_string()), new: None })
            });
            site.store.update(&gone.collect::<Vec<_>>(), "carry: prune")?;
        }
        pruned.checks = checks(&site.folder.join("checks"), SystemTime::now(), how.dry_run);
    }
    if !how.dry_run {
        tidy(site.store.git(), how.now)?;
    }
    Ok(pruned)
}

/// Packs the workspace's own repository, if there is reason to. Nobody else of this run may be at work in it.
pub fn tidy_workspace(site: &Site<'_>) -> Result<(), NightError> {
    let _still = still();
    Ok(tidy(&site.git, false)?)
}

/// Deletes refs at the deploy remote, all or none, each only if it is what it was a moment ago.
fn at_remote(site: &Site<'_>, names: &[String], dry_run: bool) -> Result<Vec<String>, NightError> {
    let Some(address) = site.deploy_address() else { return Ok(Vec::new()) };
    let there = remote_refs(site, &address, names)?;
    let refs: Vec<RefUpdate> =
        there.into_iter().map(|(name, id)| RefUpdate { name, old: Some(id), new: None }).collect();
    let gone = refs.iter().map(|r| r.name.clone()).collect();
    if !refs.is_empty() && !dry_run {
        Push { address, refs }.push(&site.store)?;
    }
    Ok(gone)
}

/// What the order of builds is told by.
#[derive(Deserialize)]
struct Dated {
    trunk: Trunk,
    deploy: Deploy,
}

#[derive(Deserialize)]
struct Trunk {
    date: String,
}

#[derive(Deserialize)]
struct Deploy {
    #[serde(default)]
    previous: Option<String>,
}

/// The store's builds, the newest first: along the line that the manifests tell, then by the date of their trunk. The one
/// that the lock names is the first.
fn by_age(site: &Site<'_>) -> Result<Vec<String>, NightError> {
    let project = &site.project.name;
    let (builds, manifests) = (build_ref(project, ""), manifest_ref(project, ""));
    let refs = site.store.references(&[&builds, &manifests])?;
    let stem = |name: &str, prefix: &str| name.strip_prefix(prefix).map(str::to_owned);
    let mut open: BTreeSet<String> = refs.iter().filter_map(|(name, _)| stem(name, &builds)).collect();
    let blobs: BTreeMap<String, ObjectId> =
        refs.iter().filter_map(|(name, id)| Some((stem(name, &manifests)?, *id))).collect();
    let odb = site.store.odb()?;
    let dated =
        |build: &str| -> Option<Dated> { serde_json::from_slice(&odb.blob(blobs.get(build)?).ok()?).ok() };
    let recorded = site.workspace.lock.projects.get(project).and_then(|l| l.deploy.clone());
    let mut next = recorded;
    let mut aged = Vec::new();
    while let Some(id) = next.take().and_then(|id| ObjectId::from_hex(id.as_bytes()).ok()) {
        let build = build_id(&id);
        if !open.remove(&build) {
            break;
        }
        next = dated(&build).and_then(|d| d.deploy.previous);
        aged.push(build);
    }
    let mut others: Vec<(Option<String>, String)> =
        open.into_iter().map(|build| (dated(&build).map(|d| d.trunk.date), build)).collect();
    others.sort_by(|a, b| b.cmp(a));
    aged.extend(others.into_iter().map(|(_, build)| build));
    Ok(aged)
}

/// Forgets what checks said long ago, each in a folder `<tree>/<command>`. What cannot be taken away stays, for the next
/// time.
fn checks(folder: &Path, now: SystemTime, dry_run: bool) -> usize {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let is_old = |path: &Path| {
        let time = std::fs::metadata(path.join("result.json")).and_then(|m| m.modified());
        time.ok().and_then(|at| now.duration_since(at).ok()).is_some_and(|age| age > CHECKS)
    };
    let mut gone = 0;
    for tree in entries(folder) {
        let old: Vec<PathBuf> = entries(&tree).filter(|path| is_old(path)).collect();
        gone += old.iter().filter(|path| dry_run || std::fs::remove_dir_all(path).is_ok()).count();
        if !dry_run && !old.is_empty() {
            // It goes only if it is empty.
            let _ = std::fs::remove_dir(&tree);
        }
    }
    gone
}

/// The builds that stages run, here and at the remote. None, and a note, if that cannot be known.
pub(super) fn staged(
    site: &Site<'_>,
    offline: bool,
    events: &dyn Events,
) -> Result<Option<BTreeSet<String>>, NightError> {
    let project = &site.project.name;
    let [here, far] = ["stage", "far-stage"].map(|kind| format!("refs/carry/{kind}/{project}/"));
    if let Some(address) = site.deploy_address().filter(|_| !offline) {
        let call = site.store.fetching(&["--no-tags", "--prune"], &address).arg(format!("+{here}*:{far}*"));
        if let Err(e) = call.output() {
            let address = without_secrets(&address);
            events.note(&format!(
                "nothing old is taken away, as what stages run is not known: '{address}': {e}"
            ));
            return Ok(None);
        }
    }
    let odb = site.store.odb()?;
    let mut builds = BTreeSet::new();
    for (name, commit) in site.store.references(&[&here, &far])? {
        match promoted(&odb, &commit) {
            Some(build) => drop(builds.insert(build)),
            None => {
                events.note(&format!("nothing old is taken away, as '{name}' does not tell what it runs"));
                return Ok(None);
            }
        }
    }
    Ok(Some(builds))
}

/// The build that a stage's newest commit says it runs.
fn promoted(odb: &Odb, commit: &ObjectId) -> Option<String> {
    let tree = odb.commit(commit).ok()?.tree;
    let entry = entry_at(odb, &tree, BStr::new("promotion.json")).ok()??;
    let promotion: serde_json::Value = serde_json::from_slice(&odb.blob(&entry.id).ok()?).ok()?;
    Some(promotion.get("build")?.as_str()?.get(..12)?.to_owned())
}
