//! In: ids, names and bytes. Out: git's objects and refs. The only module that knows git's object database.
//! Never: a decision about a patch.

mod commit;
mod drivers;
pub mod git;
mod odb;
mod pack;
mod package;
mod repo;
mod scratch;
pub mod tree;
mod version;
mod worktree;

use std::path::PathBuf;
use std::rc::Rc;

use gix_hash::ObjectId;

pub use commit::{Commit, Signature};
pub use drivers::{Driven, Drivers};
pub use odb::Odb;
pub use package::BundleHead;
pub use repo::{Ranged, RefUpdate, Repo, SILENCE};
pub use scratch::Scratch;
pub use version::GitVersion;
pub use worktree::{Unmerged, WorkTree};

/// Where objects are read and left. The steps of the flow see git's objects through this alone.
///
/// New objects stay in memory until the caller decides to keep them.
pub trait Objects {
    /// The content of the tree `id`, in git's raw tree format.
    fn tree(&self, id: &ObjectId) -> Result<Rc<Vec<u8>>, ObjectError>;
    /// The content of the blob `id`.
    fn blob(&self, id: &ObjectId) -> Result<Rc<Vec<u8>>, ObjectError>;
    /// Keeps a tree (git's raw tree format) in memory and returns its id. `like` is one that it was made from.
    fn put_tree(&self, raw: Vec<u8>, like: Option<&ObjectId>) -> Result<ObjectId, ObjectError>;
    /// Keeps a blob in memory and returns its id. `like` is one that it was made from.
    fn put_blob(&self, data: Vec<u8>, like: Option<&ObjectId>) -> Result<ObjectId, ObjectError>;
    /// How many objects are kept in memory, for [`Odb::rewind`].
    fn mark(&self) -> usize;
    /// Writes what is kept in memory, where git is to see it.
    fn write_out(&self) -> Result<(), ObjectError>;
    /// How files are merged that are not merged by lines.
    fn drivers(&self) -> Option<&Drivers> {
        None
    }
    /// Which git's merge is to be given.
    fn as_of(&self) -> GitVersion {
        GitVersion::NEWEST
    }
}

/// An object that could not be read or made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("object {id}: {reason}")]
pub struct ObjectError {
    /// The object asked for (the null id for one that could not be made).
    pub id: ObjectId,
    /// What the store said.
    pub reason: String,
}

/// What can go wrong between the tool and git's objects.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The repository is not there, or is not one.
    #[error("'{path}' cannot be opened as a git repository: {reason}")]
    Open {
        /// Where it was looked for.
        path: PathBuf,
        /// What git said.
        reason: String,
    },
    /// New objects could not be written.
    #[error("new objects cannot be written to '{path}': {reason}")]
    Write {
        /// The repository.
        path: PathBuf,
        /// What git or the system said.
        reason: String,
    },
    /// A call of the git program did not work.
    #[error(transparent)]
    Git(#[from] git::GitError),
    /// An object could not be read or made.
    #[error(transparent)]
    Object(#[from] ObjectError),
}
