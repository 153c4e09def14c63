//! What can be wrong with a queue, with the data that a message needs.

use bstr::BString;

/// A fault in a queue: which file, which line, what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {reason}", if *.line == 0 { String::new() } else { format!(", line {}", .line) })]
pub struct QueueError {
    /// The file that is at fault, relative to the queue's folder (for an apply: the path in the tree).
    pub file: BString,
    /// The line in that file, from 1; 0 when the fault is not at a line.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
}

impl QueueError {
    /// A fault at `line` (0: no line) of `file`.
    pub fn new(file: impl Into<BString>, line: usize, reason: Reason) -> Self {
        QueueError { file: file.into(), line, reason }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A patch name in `series` is absolute, leaves the folder, or holds bytes no name may hold.
    #[error("'{0}' is not a name for a patch in this folder")]
    BadName(BString),
    /// `series` names one file, or two files with one stem.
    #[error("'{0}' is named twice")]
    Duplicate(BString),
    /// An option after a patch name that git-carry does not take (`-R`, `-F0`, …).
    #[error("option '{0}' is not supported")]
    Option(BString),
    /// `series` does not name this patch.
    #[error("'{0}' is not in the series")]
    NotInSeries(BString),
    /// A `*.patch` or `*.diff` file that `series` does not name.
    #[error("the series does not name this file")]
    Unlisted,
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(String),
    /// A path in a diff is absolute, leaves the tree, or is git's own folder on some system.
    #[error("path '{0}' is refused: it leaves the tree, or some system takes it for git's own folder")]
    BadPath(BString),
    /// A subject's tag is none of OpenShift's.
    #[error(
        "unknown tag '{0}' in its first line; there are: UPSTREAM: <carry>:, UPSTREAM: <drop>:, UPSTREAM: NUMBER:, UPSTREAM: revert:"
    )]
    Tag(String),
    /// The diff is malformed.
    #[error("malformed diff: {0}")]
    Diff(&'static str),
    /// A mail that ends where its header or its message does not end.
    #[error(
        "no diff, and no end of its message: the file was cut off (a patch that is to be empty ends in a line '---')"
    )]
    CutOff,
    /// A binary part of a diff cannot be decoded.
    #[error("malformed binary diff: {0}")]
    Binary(&'static str),
    /// The content that a binary change starts from is not the one it was made for.
    #[error("binary content differs from what the patch expects")]
    BinaryBase,
    /// A hunk does not apply: its context is nowhere in the content.
    #[error("hunk {hunk}: context differs")]
    Context {
        /// The hunk's number, from 1.
        hunk: usize,
    },
    /// The patch adds a file that has content already.
    #[error("the file is there already")]
    Exists,
    /// The patch deletes a file but leaves lines of it.
    #[error("the deletion leaves content behind")]
    NotEmptied,
    /// The mail's encoding cannot be decoded.
    #[error("malformed mail: {0}")]
    Mail(&'static str),
}
