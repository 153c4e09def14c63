//! In: trees, blobs and the queue's before/after trees. Out: trees and one outcome a patch.
//! Never: a work tree, an index, a ref, a file, the terminal.

mod attributes;
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

use crate::store::tree::Entry;

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
    /// Both sides changed a file that a command makes, and the command did not make it anew.
    Generated,
}

/// One path at which a patch conflicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The path at which it stands (bytes: git paths need not be UTF-8).
    pub path: BString,
    /// Where the file stood before, if one side moved it to `path`.
    pub from: Option<BString>,
    /// What kind of conflict it is.
    pub kind: ConflictKind,
    /// What stands there on each side, wherever a rename brought it from: git's stages 1 to 3.
    pub sides: Sides<Option<Entry>>,
}

/// The three sides of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides<T> {
    /// Before the patch.
    pub base: T,
    /// The stack so far.
    pub ours: T,
    /// After the patch.
    pub theirs: T,
}

impl<T: PartialEq + Copy> Sides<T> {
    /// The side that wins because the other did not change, or both changed alike.
    pub fn settled(&self) -> Option<T> {
        if self.ours == self.theirs || self.base == self.theirs {
            Some(self.ours)
        } else if self.base == self.ours {
            Some(self.theirs)
        } else {
            None
        }
    }

    /// Each side through `f`.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> Sides<U> {
        Sides { base: f(self.base), ours: f(self.ours), theirs: f(self.theirs) }
    }
}

/// What is to be known of a merge without a conflict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Did every file that the patch changes stand just as on the patch's own base?
    pub as_it_is: bool,
    /// Files that a command makes and that both sides changed, sorted: as in `ours`, to be made anew.
    pub generated: Vec<BString>,
}

/// What a three-way merge of trees gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// No conflict: the merged tree.
    Clean(ObjectId),
    /// At least one conflict, sorted by path.
    Conflicts(Vec<Conflict>),
}
