//! By whom builds are signed, and who may: what the configuration and the environment say.

use std::path::PathBuf;

use super::{NightError, Site};
use crate::build::manifest::Manifest;
use crate::build::signature::{self, SignatureError, Trust};
use crate::store::RefUpdate;
use crate::workspace::SIGNING_KEY;

/// The ref that keeps the signature of a build's manifest.
pub fn signature_ref(project: &str, build: &str) -> String {
    format!("refs/carry/signature/{project}/{build}")
}

/// The key's file, if there is a key. One that is not there is an error, before any work is done.
pub fn signing_key(site: &Site<'_>) -> Result<Option<PathBuf>, NightError> {
    let named = std::env::var(SIGNING_KEY).ok().filter(|key| !key.is_empty());
    let key = named.or_else(|| site.workspace.config.signing.key.clone()).map(|key| place(site, &key));
    if let Some(path) = &key {
        let source = std::fs::metadata(path).err();
        source.map_or(Ok(()), |source| Err(SignatureError::Key { path: path.clone(), source }))?;
    }
    Ok(key)
}

/// Who may sign.
pub fn trust(site: &Site<'_>) -> Trust {
    let signing = &site.workspace.config.signing;
    let file = |name: &Option<String>| name.as_deref().map(|name| place(site, name));
    Trust { allowed: file(&signing.allowed_signers), revoked: file(&signing.revoked), as_of: None }
}

/// Signs a manifest that goes out, if there is a key. Returns the signature, and the ref that keeps it; without one, that ref goes, as
/// a signature of another manifest of the same build says nothing of this one.
pub fn sign(
    site: &Site<'_>,
    manifest: &Manifest,
    goes_out: bool,
) -> Result<(Option<Vec<u8>>, RefUpdate), NightError> {
    let made = match signing_key(site)?.filter(|_| goes_out) {
        Some(key) => Some(signature::sign(&key, signature::MANIFEST, super::rendered(manifest)?.as_bytes())?),
        None => None,
    };
    let blob = made.as_ref().map(|bytes| site.store.write_blob(bytes)).transpose()?;
    let name = signature_ref(&manifest.project, &manifest.deploy.build);
    Ok((made, RefUpdate { name, old: None, new: blob.map(|id| id.to_string()) }))
}

/// A file that the configuration names: `~/` is the home folder; a relative path starts at the workspace.
fn place(site: &Site<'_>, name: &str) -> PathBuf {
    match (name.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => site.workspace.root.join(name),
    }
}
