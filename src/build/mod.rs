//! In: the patches that applied, with their trees, and the trunk tip. Out: the stack's commits and the manifest.
//! Never: a decision about a patch, a ref.

pub mod diff;
pub mod manifest;
mod stack;
mod upstream;
mod verify;

pub use diff::{ManifestDiff, PatchMove, compare};
pub use stack::{Layer, join_message, stack};
pub use upstream::{UpstreamCommit, UpstreamRange};
pub use verify::{Verdict, VerifyError, verify};
