//! Where a fork's queue starts: by a marker that forks really use, never by a guess.

use gix_hash::ObjectId;

use super::ForkError;
use crate::store::{Odb, Repo};

/// What told the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// A person named it.
    Given,
    /// Git for Windows' commit "Start the merging-rebase to …".
    MergingRebase(ObjectId),
    /// A merge whose tree is that of a parent that the trunk contains (rebasebot, git-upstream, fast-forward builds).
    SameTree(ObjectId),
}

/// The base of a fork's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBase {
    /// The upstream commit under the queue.
    pub base: ObjectId,
    /// The commit whose ancestors are none of the queue's: the marker, or the base.
    pub exclude: ObjectId,
    /// What told it.
    pub marker: Marker,
}

/// How far back along first parents a marker is looked for.
const DEPTH: usize = 20_000;

/// Finds the base of `tip`. `given` is a person's word; `trunk` the trunk tip, where it is known.
pub fn find_base(
    repo: &Repo,
    odb: &Odb,
    tip: &ObjectId,
    given: Option<&ObjectId>,
    trunk: Option<&ObjectId>,
) -> Result<FoundBase, ForkError> {
    if let Some(base) = given {
        if !repo.is_ancestor(base, tip)? {
            return Err(ForkError::NotAncestor { base: *base, tip: *tip });
        }
        return Ok(FoundBase { base: *base, exclude: *base, marker: Marker::Given });
    }
    let mut at = *tip;
    for _ in 0..DEPTH {
        let commit = odb.commit(&at)?;
        if commit.parents.len() > 1 {
            let mut same = Vec::new();
            for parent in &commit.parents {
                if odb.commit(parent)?.tree == commit.tree {
                    same.push(*parent);
                }
            }
            if let (true, Some(base)) =
                (commit.subject().starts_with("Start the merging-rebase to"), same.first())
            {
                return Ok(FoundBase { base: *base, exclude: at, marker: Marker::MergingRebase(at) });
            }
            if let Some(trunk) = trunk {
                for base in same {
                    if repo.is_ancestor(&base, trunk)? {
                        return Ok(FoundBase { base, exclude: at, marker: Marker::SameTree(at) });
                    }
                }
            }
        }
        match commit.parents.first() {
            Some(parent) => at = *parent,
            None => break,
        }
    }
    let merge_base = match trunk {
        Some(trunk) => repo.merge_base(trunk, tip)?,
        None => None,
    };
    Err(ForkError::NoMarker { merge_base })
}
