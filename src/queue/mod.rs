//! In: a folder of patch files and its `series`, or the bytes of one patch or mailbox.
//! Out: patches as values (author, message, metadata, file changes), patch files as bytes, and the tree that a patch
//! makes of another. Never: a ref, the network, the terminal; it writes no file.

mod apply;
mod binary;
mod change;
mod change_sum;
mod diff;
mod error;
mod header;
pub mod import;
mod load;
mod metadata;
mod patch;
mod patch_id;
mod path;
mod place;
mod readings;
mod series;
mod text;
mod trailers;

pub use apply::{apply, apply_hunks};
pub use binary::{BinaryPatch, apply_delta};
pub use change::{ChangeKind, Content, FileChange, Hunk, HunkLine, LineKind};
pub use change_sum::change_sum;
pub use diff::parse_diff;
pub use error::{QueueError, Reason};
pub use header::{Date, Header, Identity};
pub use load::Queue;
pub use metadata::{HeaderFields, Metadata, SubjectTag, read_metadata};
pub use patch::{Patch, digest, file_name, render};
pub use patch_id::patch_id;
pub use path::checked_as as checked_path;
pub use place::{PlaceError, apply_to_tree, recorded_blobs, same_change};
pub use readings::{Readings, keep_readings};
pub use series::{Entry, Item, Series, stem};
pub use trailers::{add_trailer, set_trailer, without_trailers};
