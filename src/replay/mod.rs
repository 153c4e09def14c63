//! In: trees, blobs and the queue's before/after trees. Out: trees and one outcome a patch.
//! Never: a work tree, an index, a ref, a file, the terminal.

pub mod content;
pub mod loss;
pub mod merge;
pub mod origins;
pub mod prepare;
mod rename;
pub mod sequence;

use bstr::BString;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

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
