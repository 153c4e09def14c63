//! In: the patches that applied, with their trees, and the trunk tip. Out: the stack's commits and the manifest.
//! Never: a decision about a patch, a ref.

pub mod manifest;
mod stack;
mod verify;

pub use stack::{Layer, join_message, stack};
pub use verify::{Verdict, VerifyError, verify};
