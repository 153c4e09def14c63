//! What a patch does, file by file.

use bstr::BString;
use gix_hash::ObjectId;

use super::binary::BinaryPatch;

/// What a patch does to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It changes the content or the mode.
    Modify,
    /// It adds the file.
    Add,
    /// It deletes the file.
    Delete,
    /// It moves the file (and may change it).
    Rename,
    /// It copies the file (and may change the copy).
    Copy,
}

/// One file's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The path before; `None` for an addition.
    pub old_path: Option<BString>,
    /// The path after; `None` for a deletion.
    pub new_path: Option<BString>,
    /// The mode before, where the diff says it (`0o100644`, …).
    pub old_mode: Option<u32>,
    /// The mode after, where the diff says it.
    pub new_mode: Option<u32>,
    /// What happens to the file.
    pub kind: ChangeKind,
    /// The full blob id before, where the diff gives all its digits (all zero: no file).
    pub old_id: Option<ObjectId>,
    /// The full blob id after, where the diff gives all its digits (all zero: no file).
    pub new_id: Option<ObjectId>,
    /// The change of the content.
    pub content: Content,
    /// The line of the patch at which the change starts, from 1.
    pub line: usize,
}

impl FileChange {
    /// The path after the change, or before it when the file goes.
    pub fn path(&self) -> &BString {
        static EMPTY: BString = BString::new(Vec::new());
        self.new_path.as_ref().or(self.old_path.as_ref()).unwrap_or(&EMPTY)
    }

    /// The paths before and after the change: twice the same for one in its place.
    pub fn paths(&self) -> impl Iterator<Item = &BString> {
        [&self.old_path, &self.new_path].into_iter().flatten()
    }
}

/// How the content changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// By hunks of lines; none when the content stays.
    Text(Vec<Hunk>),
    /// As a whole.
    Binary {
        /// From old to new.
        forward: BinaryPatch,
        /// From new to old, where the patch gives it.
        reverse: Option<BinaryPatch>,
    },
    /// The diff says that binary files differ, and gives no data.
    BinaryOmitted,
}

/// A run of changed lines with its context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// First line in the old file (from 1; the line before it when `old_len` is 0).
    pub old_start: usize,
    /// How many lines of the old file.
    pub old_len: usize,
    /// First line in the new file, likewise.
    pub new_start: usize,
    /// How many lines of the new file.
    pub new_len: usize,
    /// The lines.
    pub lines: Vec<HunkLine>,
    /// The line of the patch that holds the `@@`, from 1.
    pub line: usize,
}

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HunkLine {
    /// On which side it stands.
    pub kind: LineKind,
    /// Its exact bytes with the line end; none at the end of a file without one.
    pub bytes: BString,
}

/// On which side a hunk's line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineKind {
    /// Both.
    Context,
    /// The new file.
    Add,
    /// The old file.
    Remove,
}
