//! In: the patches that applied, with their trees, and the trunk tip. Out: the stack's commits, the manifest, its
//! signature and exports, and the build as files. Never: a decision about a patch, a ref.

pub mod artifact;
mod cyclonedx;
pub mod diff;
pub mod manifest;
pub mod signature;
mod stack;
pub mod statement;
mod upstream;
mod verify;

pub use cyclonedx::{ExportError, cyclonedx};
pub use diff::{ManifestDiff, PatchMove, compare};
pub use stack::{Layer, join_message, stack};
pub use upstream::{UpstreamCommit, UpstreamRange};
pub use verify::{Verdict, VerifyError, verify};

/// A build's id: the first 12 digits of its commit.
pub fn build_id(commit: &gix_hash::ObjectId) -> String {
    commit.to_hex_with_len(12).to_string()
}
