//! In: trees, blobs and the queue's before/after trees. Out: trees and one outcome a patch.
//! Never: a work tree, an index, a ref, a file, the terminal.

pub mod content;
pub mod delta;
pub mod merge;
pub mod sequence;
pub mod tree;

use std::rc::Rc;

use bstr::BString;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

/// Where the engine reads and leaves objects. Implemented by [`crate::store::Objects`].
///
/// New objects stay in memory until the caller decides to keep them.
pub trait Objects {
    /// The content of the tree `id`, in git's raw tree format.
    fn tree(&self, id: &ObjectId) -> Result<Rc<[u8]>, ObjectError>;
    /// The content of the blob `id`.
    fn blob(&self, id: &ObjectId) -> Result<Rc<[u8]>, ObjectError>;
    /// Keeps a tree (git's raw tree format) in memory and returns its id.
    fn put_tree(&self, raw: Vec<u8>) -> ObjectId;
    /// Keeps a blob in memory and returns its id.
    fn put_blob(&self, data: Vec<u8>) -> ObjectId;
}

/// An object that could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("object {id} cannot be read: {reason}")]
pub struct ObjectError {
    /// The object asked for.
    pub id: ObjectId,
    /// What the store said.
    pub reason: String,
}

/// What a conflict at one path is, in the terms of `git merge-tree`'s messages.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// Both sides changed the same lines (or both changed a binary file).
    Content,
    /// A binary file was changed on both sides.
    Binary,
    /// Both sides added a different file at one path.
    AddAdd,
    /// The patch changes a file that trunk deleted.
    DeletedInTrunk,
    /// The patch deletes a file that trunk changed.
    DeletedByPatch,
    /// A rename on one side meets a deletion or another rename on the other.
    Rename,
    /// A file stands where the other side has a folder.
    FileDirectory,
    /// Both sides changed the type or mode of one path differently.
    Mode,
    /// A submodule was moved on both sides.
    Submodule,
    /// The patch adds a file to a folder that trunk renamed.
    DirectoryRename,
}

/// One path at which a patch conflicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The path, in the patch's own naming (bytes: git paths need not be UTF-8).
    pub path: BString,
    /// What kind of conflict it is.
    pub kind: ConflictKind,
}

/// What a three-way merge of trees gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// No conflict: the merged tree.
    Clean(ObjectId),
    /// At least one conflict, sorted by path.
    Conflicts(Vec<Conflict>),
}
