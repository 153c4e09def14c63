//! In: a fork's branch, in the project's store. Out: the commit its queue starts from, and its local commits as
//! patches in an order that applies, whose last tree is the fork's. Never: a file of the workspace, a ref.

mod base;
mod linear;

use gix_hash::ObjectId;

pub use base::{FoundBase, Marker, find_base};
pub use linear::{Local, linear};

use crate::queue::{Date, Header, Identity, Patch, PlaceError, QueueError, apply_to_tree, render};
use crate::store::{Commit, ObjectError, Odb, Repo, StoreError};

/// Why a fork cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// The base is no ancestor of the tip.
    #[error("the base {base} is no ancestor of the fork's tip {tip}")]
    NotAncestor {
        /// The base.
        base: ObjectId,
        /// The tip.
        tip: ObjectId,
    },
    /// There is no marker in the fork's history.
    #[error("nothing in the fork's history marks where its queue starts")]
    NoMarker {
        /// The best common ancestor with the trunk: a guess that a person may confirm.
        merge_base: Option<ObjectId>,
    },
    /// A patch file does not give back the commit that it was made of.
    #[error("commit {commit} cannot be kept as a patch: {why}")]
    Lossy {
        /// The commit.
        commit: ObjectId,
        /// What is lost.
        why: String,
    },
    /// The stack's last tree is not the fork's.
    #[error("the patches give the tree {stack}, and the fork has {fork}")]
    OtherTree {
        /// The stack's.
        stack: ObjectId,
        /// The fork's.
        fork: ObjectId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ObjectError> for ForkError {
    fn from(e: ObjectError) -> Self {
        Self::Store(e.into())
    }
}

/// A commit's author, date and message as a patch's header.
pub fn header(commit: &Commit) -> Header {
    let author = &commit.author;
    Header {
        author: Identity { name: author.name.clone(), email: author.email.clone() },
        date: Date { seconds: author.seconds, offset_minutes: author.offset_minutes },
        message: commit.message.clone(),
    }
}

/// The patch file of each local commit, each read back and held against its commit.
pub fn patch_files(repo: &Repo, odb: &Odb, locals: &[Local]) -> Result<Vec<Vec<u8>>, ForkError> {
    odb.flush()?;
    let pairs: Vec<_> = locals.iter().map(|l| (l.before, l.after)).collect();
    let mut files = Vec::with_capacity(locals.len());
    for (local, diff) in locals.iter().zip(repo.diffs(&pairs, 1)?) {
        let lossy = |why: String| ForkError::Lossy { commit: local.commit, why };
        let file = render(&local.header, &diff);
        let back = Patch::parse("patch", file.clone(), 1).map_err(|e: QueueError| lossy(e.to_string()))?;
        if back.header != local.header {
            return Err(lossy("author, date or message would change".into()));
        }
        let tree = apply_to_tree(odb, &local.before, back.changes())
            .map_err(|e: PlaceError| lossy(e.to_string()))?;
        if tree != local.after {
            return Err(lossy("its tree would change".into()));
        }
        files.push(file);
    }
    Ok(files)
}
