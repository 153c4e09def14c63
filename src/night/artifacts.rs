//! The files that a night leaves of its build: made before it is published, put in place after, taken away by policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gix_hash::ObjectId;

use super::builds::Recorded;
use super::prune::staged;
use super::publish::{build_ref, manifest_of};
use super::{Events, NightError, Site};
use crate::build::artifact::{SUMS, Source, make, seal, weigh};
use crate::build::build_id;
use crate::build::manifest::{ArtifactRecord, Manifest};
use crate::store::HALF;
use crate::workspace::ArtifactKind;

/// The files of one build, not yet in their place.
pub struct Pack {
    folder: PathBuf,
    half: PathBuf,
    stem: String,
    /// The files.
    pub records: Vec<ArtifactRecord>,
}

/// Where the project's artifacts go if nothing else is said.
pub fn folder(site: &Site<'_>) -> PathBuf {
    match site.project.artifacts.as_ref().and_then(|a| a.folder.as_ref()) {
        Some(folder) => site.workspace.root.join(folder),
        None => site.folder.join("artifacts").join(&site.project.name),
    }
}

impl Pack {
    /// Makes the files of a build, beside their place in `folder`. A bundle leaves out what a clone of `previous` has, if
    /// that is here.
    pub fn make(
        site: &Site<'_>,
        commit: &ObjectId,
        previous: Option<&str>,
        kinds: &[ArtifactKind],
        folder: &Path,
    ) -> Result<Self, NightError> {
        let build = build_id(commit);
        let odb = site.store.odb()?;
        let previous = previous.and_then(|id| ObjectId::from_hex(id.as_bytes()).ok());
        let previous = previous.filter(|id| id != commit && odb.has(id));
        let name = build_ref(&site.project.name, &build);
        let source =
            Source { project: &site.project.name, build: &build, name: &name, commit: *commit, previous };
        let stem = source.stem();
        let half = folder.join(format!("{HALF}{stem}"));
        remove(&half)?;
        std::fs::create_dir_all(&half).map_err(io(&half))?;
        let scratch = tempfile::Builder::new()
            .prefix("artifacts")
            .tempdir_in(&site.folder)
            .map_err(io(&site.folder))?;
        let records = make(&site.store, &source, kinds, &half, scratch.path())?;
        Ok(Self { folder: folder.to_owned(), half, stem, records })
    }

    /// Puts the manifest and its signature beside the files.
    pub fn seal(&self, manifest: &str, signature: Option<&[u8]>) -> Result<(), NightError> {
        Ok(seal(&self.half, &self.stem, manifest.as_bytes(), signature)?)
    }

    /// Puts the whole in its place, instead of what was there. Returns the place.
    pub fn put(self) -> Result<PathBuf, NightError> {
        let place = self.folder.join(&self.stem);
        put(&self.half, &place)?;
        // As people are to read it: without the way from the workspace to it.
        Ok(place.canonicalize().unwrap_or(place))
    }

    /// Takes the files away again.
    pub fn discard(self) -> Result<(), NightError> {
        remove(&self.half)
    }
}

/// A build's files, in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The place.
    pub folder: PathBuf,
    /// The files.
    pub records: Vec<ArtifactRecord>,
    /// Was it made now?
    pub made: bool,
    /// Those whose bytes are not the ones that the manifest lists.
    pub other: Vec<String>,
}

/// Makes the files of a build that is recorded, unless those that its manifest lists are there already.
pub fn pack(
    site: &Site<'_>,
    build: &Recorded,
    kinds: &[ArtifactKind],
    to: &Path,
) -> Result<Packed, NightError> {
    let Manifest { deploy, artifacts: listed, .. } = &build.manifest;
    let all = kinds.iter().all(|kind| listed.iter().any(|l| l.kind == kind.word()));
    let place = to.join(format!("{}-{}", site.project.name, deploy.build));
    let there =
        |l: &ArtifactRecord| weigh(&place.join(&l.name)).is_ok_and(|w| w == (l.size, l.sha256.clone()));
    if all && place.join(SUMS).is_file() && listed.iter().all(there) {
        return Ok(Packed { folder: place, records: listed.clone(), made: false, other: Vec::new() });
    }
    let id = ObjectId::from_hex(deploy.commit.as_bytes());
    let commit = id.map_err(|_| NightError::NoCommit { rev: deploy.commit.clone() })?;
    let pack = Pack::make(site, &commit, deploy.previous.as_deref(), kinds, to)?;
    seal(&pack.half, &pack.stem, &build.bytes, build.signature.as_deref())?;
    let records = pack.records.clone();
    let differs = |r: &&ArtifactRecord| listed.iter().any(|l| l.name == r.name && l.sha256 != r.sha256);
    let other = records.iter().filter(differs).map(|r| r.name.clone()).collect();
    Ok(Packed { folder: pack.put()?, records, made: true, other })
}

/// Finishes or takes away what a run that was cut off left half-done: a build that is published gets its files.
pub fn settle(site: &Site<'_>) -> Result<(), NightError> {
    let folder = folder(site);
    for name in names(&folder) {
        let Some(stem) = name.strip_prefix(HALF) else { continue };
        let Some(build) = build_in(site, stem) else { continue };
        let half = folder.join(&name);
        if half.join(SUMS).is_file() && published(site, build)? {
            put(&half, &folder.join(stem))?;
        } else {
            remove(&half)?;
        }
    }
    Ok(())
}

/// Takes the files of old builds away, so that those of `keep` builds stay: never of the newest, never of one that a
/// stage runs. Returns the builds, the oldest last. With `dry_run` nothing goes.
pub fn prune(
    site: &Site<'_>,
    folder: &Path,
    keep: usize,
    (dry_run, offline): (bool, bool),
    events: &dyn Events,
) -> Result<Vec<String>, NightError> {
    let mut there = by_age(site, folder)?;
    if there.len() <= keep {
        return Ok(Vec::new());
    }
    let old = there.split_off(keep.max(1));
    let Some(staged) = staged(site, offline, events)? else { return Ok(Vec::new()) };
    let gone: Vec<String> = old.into_iter().filter(|build| !staged.contains(build)).collect();
    for build in gone.iter().filter(|_| !dry_run) {
        remove(&folder.join(format!("{}-{build}", site.project.name)))?;
    }
    Ok(gone)
}

/// The builds of this project with files in `folder`, the newest first: along the line of builds that the manifests
/// tell, then by the date of their trunk. What this store does not know is nobody's to take away.
fn by_age(site: &Site<'_>, folder: &Path) -> Result<Vec<String>, NightError> {
    let mut open: BTreeSet<String> = BTreeSet::new();
    for name in names(folder) {
        let Some(build) = build_in(site, &name) else { continue };
        if folder.join(&name).join(SUMS).is_file() && published(site, build)? {
            open.insert(build.to_owned());
        }
    }
    let recorded = site.workspace.lock.projects.get(&site.project.name).and_then(|l| l.deploy.clone());
    let mut next = recorded;
    let mut aged = Vec::new();
    let mut seen = BTreeSet::new();
    while let Some(id) = next.take().and_then(|id| ObjectId::from_hex(id.as_bytes()).ok())
        && !open.is_empty()
        && seen.insert(id)
    {
        if open.remove(&build_id(&id)) {
            aged.push(build_id(&id));
        }
        next = manifest_of(site, &id)?.and_then(|m| m.deploy.previous);
    }
    let mut others = Vec::new();
    for build in open {
        let commit = site.store.reference(&build_ref(&site.project.name, &build))?;
        let manifest = commit.map(|id| manifest_of(site, &id)).transpose()?.flatten();
        others.push((manifest.map(|m| m.trunk.date), build));
    }
    others.sort_by(|a, b| b.cmp(a));
    aged.extend(others.into_iter().map(|(_, build)| build));
    Ok(aged)
}

/// The build that a folder called `<project>-<build>` is of.
fn build_in<'n>(site: &Site<'_>, name: &'n str) -> Option<&'n str> {
    let build = name.strip_prefix(&site.project.name)?.strip_prefix('-')?;
    (build.len() == 12 && build.bytes().all(|b| b.is_ascii_hexdigit())).then_some(build)
}

fn published(site: &Site<'_>, build: &str) -> Result<bool, NightError> {
    Ok(site.store.reference(&build_ref(&site.project.name, build))?.is_some())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn put(half: &Path, place: &Path) -> Result<(), NightError> {
    remove(place)?;
    std::fs::rename(half, place).map_err(io(place))
}

fn remove(folder: &Path) -> Result<(), NightError> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(folder)(e)),
        _ => Ok(()),
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> NightError {
    let path = path.to_owned();
    move |source| NightError::Io { path, source }
}
