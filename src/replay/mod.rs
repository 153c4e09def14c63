//! In: trees, blobs and the queue's before/after trees. Out: trees and one outcome a patch.
//! Never: a work tree, an index, a ref, a file, the terminal.

mod ahead;
mod attributes;
pub mod content;
pub mod lines;
pub mod loss;
mod made;
pub mod merge;
mod misses;
pub mod needs;
mod open;
mod origins;
mod ort;
pub mod prepare;
pub mod sequence;
mod splice;
mod walk;

use bstr::BString;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use crate::store::tree::Entry;

pub use ort::Names;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// What git says of a conflict: `git merge-tree --messages -z` gives the same, in the same terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// What it is about.
    pub kind: MessageKind,
    /// The paths that it names, the one under which git lists it first.
    pub paths: Vec<BString>,
}

/// The kinds of conflict that git tells apart (`git help merge-tree`, "INFORMATIONAL MESSAGES").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// Both sides changed one file.
    Contents,
    /// Both sides changed a binary file.
    Binary,
    /// A file moved out of a folder's way: its new path, its old one.
    FileDirectory,
    /// Two things of different types: the path, and where they were moved.
    DistinctModes,
    /// One side changed a file that the other deleted.
    ModifyDelete,
    /// Each side renamed a file differently: the old path, ours, theirs.
    RenameRename,
    /// A renamed file conflicts, and another one stands at its new path: the new path, the old one.
    RenameCollides,
    /// One side renamed a file that the other deleted: the new path, the old one.
    RenameDelete,
    /// A file's folder was renamed on the other side: where it may belong, where it stood.
    DirectoryRenameSuggested,
    /// The same, but something stands there: the place, and the files.
    DirectoryRenameInWay,
    /// The same, but more than one file belongs there: the place, and the files.
    DirectoryRenameCollision,
    /// The files of a folder went to several, and to none of them the most.
    DirectoryRenameSplit,
    /// Both sides moved a submodule, of which nothing is checked out.
    SubmoduleNotInitialized,
}

impl MessageKind {
    /// As git names it.
    pub fn in_git(self) -> &'static str {
        match self {
            Self::Contents => "CONFLICT (contents)",
            Self::Binary => "CONFLICT (binary)",
            Self::FileDirectory => "CONFLICT (file/directory)",
            Self::DistinctModes => "CONFLICT (distinct modes)",
            Self::ModifyDelete => "CONFLICT (modify/delete)",
            Self::RenameRename => "CONFLICT (rename/rename)",
            Self::RenameCollides => "CONFLICT (rename involved in collision)",
            Self::RenameDelete => "CONFLICT (rename/delete)",
            Self::DirectoryRenameSuggested => "CONFLICT (directory rename suggested)",
            Self::DirectoryRenameInWay => "CONFLICT (file in way of directory rename)",
            Self::DirectoryRenameCollision => "CONFLICT(directory rename collision)",
            Self::DirectoryRenameSplit => "CONFLICT(directory rename unclear split)",
            Self::SubmoduleNotInitialized => "CONFLICT (submodule not initialized)",
        }
    }

    /// Is it a conflict even where no path stays open? Of folders it is. Git lets a merge pass in which the marks of an
    /// inner conflict end up in a file that then merges; here that is a conflict too.
    fn is_enough(self) -> bool {
        use MessageKind as M;
        matches!(
            self,
            M::RenameCollides
                | M::DirectoryRenameInWay
                | M::DirectoryRenameCollision
                | M::DirectoryRenameSplit
        )
    }
}

/// The three sides of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// A file that both a patch and the stack changed, or that both have anew alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Both {
    /// Its path.
    pub path: BString,
    /// What stood there before the patch, on its own base.
    pub base: Option<Entry>,
    /// What stood there in the stack.
    pub ours: Entry,
    /// What stands there now.
    pub merged: Entry,
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
