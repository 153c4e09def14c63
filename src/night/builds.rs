//! The builds that a project's store keeps: each one's manifest and its signature, to the byte.

use gix_hash::ObjectId;

use super::publish::manifest_ref;
use super::sign::signature_ref;
use super::stage::{StageError, Stages};
use super::{NightError, Site};
use crate::build::build_id;
use crate::build::manifest::Manifest;
use crate::store::{Objects as _, StoreError};
use crate::workspace::LATEST;

/// A build as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its manifest.
    pub manifest: Manifest,
    /// The manifest's bytes.
    pub bytes: Vec<u8>,
    /// The manifest's signature, if it is signed.
    pub signature: Option<Vec<u8>>,
}

/// The commit that a build, a stage that runs one, or anything else of the store is called by.
pub fn commit_named(site: &Site<'_>, name: &str) -> Result<ObjectId, NightError> {
    match run_by(site, name)? {
        Some(commit) => Ok(commit),
        None => site.commit(name),
    }
}

/// The commit of the build that the stage of this name runs, as it is known here; none if no stage is called so.
fn run_by(site: &Site<'_>, name: &str) -> Result<Option<ObjectId>, NightError> {
    if !site.project.stages.iter().any(|s| s.name == name) {
        return Ok(None);
    }
    match Stages::here(site).and_then(|stages| stages.target(name)) {
        Ok(target) => Ok(Some(target.commit)),
        Err(StageError::Night(e)) => Err(e),
        Err(_) => Err(NightError::NoBuild {
            project: site.project.name.clone(),
            build: Some(name.to_owned()),
            several: Vec::new(),
        }),
    }
}

/// A build by its id or the first digits of it, or by a stage that runs it; without one, the last.
pub fn recorded(site: &Site<'_>, build: Option<&str>) -> Result<Recorded, NightError> {
    let project = &site.project.name;
    let by_stage = build.map(|name| run_by(site, name)).transpose()?.flatten().map(|id| id.to_string());
    let build = by_stage.as_deref().or(build).filter(|name| *name != LATEST);
    let none = |several: Vec<String>| NightError::NoBuild {
        project: project.clone(),
        build: build.map(str::to_owned),
        several,
    };
    let wanted = match build {
        Some(build) => build.get(..12).unwrap_or(build).to_owned(),
        None => {
            let deploy = site.workspace.lock.projects.get(project).and_then(|l| l.deploy.as_ref());
            let id = deploy.and_then(|d| ObjectId::from_hex(d.as_bytes()).ok());
            id.as_ref().map(build_id).ok_or_else(|| none(Vec::new()))?
        }
    };
    let id_in = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let all = site.store.references(&[&manifest_ref(project, "")])?;
    let mut fitting =
        all.into_iter().map(|(name, blob)| (id_in(&name), blob)).filter(|(id, _)| id.starts_with(&wanted));
    let (first, second) = (fitting.next().filter(|_| !wanted.is_empty()), fitting.next());
    let (id, blob) = first.ok_or_else(|| none(Vec::new()))?;
    if let Some((other, _)) = second {
        return Err(none(vec![id, other]));
    }
    let odb = site.store.odb()?;
    let read = |id: &ObjectId| odb.blob(id).map(|data| data.to_vec()).map_err(StoreError::from);
    let bytes = read(&blob)?;
    let signature = site.store.reference(&signature_ref(project, &id))?;
    let signature = signature.map(|id| read(&id)).transpose()?;
    let manifest = Manifest::parse(&bytes)
        .map_err(|e| NightError::Format { what: "the recorded manifest", reason: e.to_string() })?;
    Ok(Recorded { manifest, bytes, signature })
}
