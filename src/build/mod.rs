//! In: the patches that applied, with their trees, and the trunk tip. Out: the stack's commits, the manifest, its
//! signature and exports, and the build as files. Never: a decision about a patch, a ref.

pub mod artifact;
mod cyclonedx;
pub mod diff;
pub mod manifest;
pub mod signature;
mod stack;
mod upstream;
pub use diff::{ManifestDiff, PatchMove, compare};
pub mod statement;
mod verify;

pub use cyclonedx::{ExportError, cyclonedx};
pub use stack::{Layer, join_message, stack};
pub use upstream::{UpstreamCommit, UpstreamRange};
pub use verify::{Verdict, VerifyError, verify};
