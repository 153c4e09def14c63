//! In: ids, names and bytes. Out: git's objects and refs. The only module that knows git's object database.
//! Never: a decision about a patch.

mod chain;
mod clean;
mod commit;
mod cores;
mod delta;
mod deltas;
mod diffs;
mod drivers;
mod folder;
mod fresh;
mod generations;
pub mod git;
pub mod grow;
mod index;
mod kept;
#[cfg(test)]
pub mod lab;
mod locks;
mod loose;
mod mails;
mod moves;
mod odb;
mod pack;
mod package;
mod plain;
mod promised;
mod recent;
mod refs;
mod repo;
mod scratch;
mod threads;
mod tip;
pub mod tree;
mod unchanged;
mod upkeep;
mod version;
mod waiting;
mod walk;
mod whole;
mod words;
mod worktree;

use std::path::PathBuf;
use std::sync::Arc;

use gix_hash::ObjectId;

pub use chain::{Chain, NewCommit, chain};
pub use commit::{Commit, Signature};
pub use cores::{drop_later, long_on_all_cores, on_all_cores, share, stretches_on_all_cores};
pub use delta::{common_end, common_start};
pub use diffs::{Quarantine, end_quarantines};
pub use drivers::{Driven, Drivers};
pub use fresh::Unwritten;
pub use index::{FileStat, HeldIndex, NewEntry};
pub use kept::{keep, kept};
pub use locks::unlock;
pub use mails::{Mails, adds_recipients, filled_cover, message_id, send_mails, send_words};
pub use odb::{Odb, Place};
pub use package::BundleHead;
pub use plain::Plain;
pub use promised::UPSTREAM;
pub use repo::{Ranged, RefUpdate, Repo, SILENCE, listing};
pub use scratch::Scratch;
pub use threads::{begin, begin_in, cores, make_room};
pub use tip::{AskedTip, Tip};
pub use unchanged::{Unchanged, blob_id};
pub use upkeep::{gather_packs, is_sound, pack_refs, tidy};
pub use version::GitVersion;
pub use waiting::Waiting;
pub use whole::{HALF, sweep, write_for_good, write_whole};
pub use worktree::{Unmerged, WorkTree};

/// Where objects are read and left. The steps of the flow see git's objects through this alone.
///
/// New objects stay in memory until the caller decides to keep them.
pub trait Objects {
    /// Which ids they have.
    fn hash(&self) -> gix_hash::Kind;
    /// The content of the tree `id`, in git's raw tree format.
    fn tree(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError>;
    /// The content of the blob `id`.
    fn blob(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError>;
    /// Keeps a tree (git's raw tree format) in memory and returns its id. `like` is one that it was made from.
    fn put_tree(&self, raw: Vec<u8>, like: Option<&ObjectId>) -> Result<ObjectId, ObjectError>;
    /// Keeps a blob in memory and returns its id. `like` is one that it was made from.
    fn put_blob(&self, data: Vec<u8>, like: Option<&ObjectId>) -> Result<ObjectId, ObjectError>;
    /// Keeps a blob whose id was worked out elsewhere, as [`Objects::put_blob`] does.
    fn put_made(&self, id: ObjectId, data: Vec<u8>, like: Option<&ObjectId>) -> Result<(), ObjectError>;
    /// How the tree `new` differs from the tree `old`, where both are as long and that is known without reading them.
    fn over(&self, old: &ObjectId, new: &ObjectId) -> Option<Over> {
        let _ = (old, new);
        None
    }
    /// Where what is written can be read on another thread, too.
    fn place(&self) -> Option<Place> {
        None
    }
    /// May blobs be left out that come when they are read? They are none that [`Objects::has`] knows of.
    fn is_partial(&self) -> bool {
        false
    }
    /// Brings those of these blobs that are left out here, all at once: for who knows what it will read. Fails if one of them
    /// cannot be had now.
    fn bring(&self, ids: &[ObjectId]) -> Result<(), ObjectError> {
        let _ = ids;
        Ok(())
    }
    /// Is the object here, of whatever kind?
    fn has(&self, id: &ObjectId) -> bool;
    /// Keeps trees that grew step by step. `marks` has, for each step, how many objects there were after it without
    /// its trees; they are taken in where their step ends, and counted in `marks`.
    fn adopt(&self, trees: grow::Trees, marks: &mut [usize]) -> Result<(), ObjectError>;
    /// How many objects are kept in memory, for [`Odb::rewind`].
    fn mark(&self) -> usize;
    /// Writes what is kept in memory, where git is to see it.
    fn write_out(&self) -> Result<(), ObjectError>;
    /// How files are merged that are not merged by lines.
    fn drivers(&self) -> Option<&Drivers> {
        None
    }
    /// What was worked out of two objects, if it was and is remembered.
    fn recall(&self, pair: &[ObjectId; 2]) -> Option<u64> {
        let _ = pair;
        None
    }
    /// Remembers what was worked out of two objects, for as long as this is open.
    fn remember(&self, pair: [ObjectId; 2], number: u64) {
        let _ = (pair, number);
    }
    /// Which git's merge is to be given.
    fn as_of(&self) -> GitVersion {
        GitVersion::NEWEST
    }
}

/// A tree that is another one with bytes written over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// Do they make the old one of the new, and not the new one of the old?
    pub back: bool,
    /// The places that differ, in order, with the bytes that come there.
    pub bytes: Vec<(usize, Vec<u8>)>,
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
    /// A file and a folder would stand in one place.
    #[error("'{path}' would be a file and a folder at once in the commit: move what stands there away")]
    Clash {
        /// Where.
        path: bstr::BString,
    },
    /// A call of the git program did not work.
    #[error(transparent)]
    Git(#[from] git::GitError),
    /// An object could not be read or made.
    #[error(transparent)]
    Object(#[from] ObjectError),
}
