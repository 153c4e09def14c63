//! A manifest held against the patches and the trunk, by building again: each patch applied strictly, in order.

use gix_hash::ObjectId;

use super::manifest::Manifest;
use super::stack::{Layer, stack};
use crate::queue::{Patch, PlaceError, apply_to_tree};
use crate::store::{ObjectError, Odb};
use crate::workspace::Identity;

/// What building again gave.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// The commit it gave.
    pub commit: String,
    /// The tree it gave.
    pub tree: String,
    /// Is the commit the manifest's?
    pub same_commit: bool,
    /// Is the tree the manifest's?
    pub same_tree: bool,
    /// Each patch of the stack: its name, and the commit and tree that it gave.
    pub layers: Vec<(String, String, String)>,
}

/// Why it cannot be built again.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// An id in the manifest is none.
    #[error("the manifest's {what} '{value}' is no object id")]
    Id {
        /// Which.
        what: &'static str,
        /// What it says.
        value: String,
    },
    /// A patch file that the manifest names is not there, or is another one.
    #[error("patch '{name}' with the digest {digest} is not at hand")]
    Patch {
        /// Its name.
        name: String,
        /// Its SHA-256 in the manifest.
        digest: String,
    },
    /// A patch does not apply.
    #[error("patch '{name}' does not apply: {source}")]
    Apply {
        /// Its name.
        name: String,
        /// Why.
        source: PlaceError,
    },
    /// An object is missing.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// Builds the manifest's stack again. `patches` gives the patch of a record, if it is at hand.
pub fn verify(
    odb: &Odb,
    manifest: &Manifest,
    patches: impl Fn(&str, &str) -> Option<Patch>,
) -> Result<Verdict, VerifyError> {
    let id = |what: &'static str, hex: &str| {
        ObjectId::from_hex(hex.as_bytes()).map_err(|_| VerifyError::Id { what, value: hex.to_owned() })
    };
    let tip = id("trunk commit", &manifest.trunk.commit)?;
    let mut tree = odb.commit(&tip)?.tree;
    let mut layers = Vec::new();
    for record in manifest.patches.iter().filter(|p| p.commit.is_some()) {
        let missing = || VerifyError::Patch { name: record.name.clone(), digest: record.digest.clone() };
        let patch = patches(&record.file, &record.digest).ok_or_else(missing)?;
        tree = apply_to_tree(odb, &tree, patch.changes())
            .map_err(|source| VerifyError::Apply { name: record.name.clone(), source })?;
        layers.push((patch, tree));
    }
    let join = match (manifest.deploy.history.as_str(), &manifest.deploy.previous) {
        ("fast-forward", Some(previous)) => Some(id("previous deploy commit", previous)?),
        _ => None,
    };
    let [name, email] = manifest.deploy.committer.clone();
    let stacked: Vec<Layer<'_>> =
        layers.iter().map(|(p, tree)| Layer { header: &p.header, tree: *tree }).collect();
    let (bottom, ids) =
        stack(odb, &Identity { name, email }, &manifest.project, &tip, join.as_ref(), &stacked)?;
    let names = manifest.patches.iter().filter(|p| p.commit.is_some()).map(|p| p.name.clone());
    let gave = ids.iter().zip(&layers).map(|(id, (_, tree))| (id.to_string(), tree.to_string()));
    let layers = names.zip(gave).map(|(name, (commit, tree))| (name, commit, tree)).collect();
    let commit = ids.last().unwrap_or(&bottom).to_string();
    let tree = tree.to_string();
    let (same_commit, same_tree) = (commit == manifest.deploy.commit, tree == manifest.deploy.tree);
    Ok(Verdict { commit, tree, same_commit, same_tree, layers })
}
