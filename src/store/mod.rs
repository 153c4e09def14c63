//! In: ids, names and bytes. Out: git's objects. The only module that knows git's object database.
//! Never: a decision about a patch.

mod objects;
mod pack;

pub use objects::Objects;

/// What can go wrong between the tool and git's objects.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The repository is not there, or is not one.
    #[error("'{path}' cannot be opened as a git repository: {reason}")]
    Open {
        /// Where it was looked for.
        path: std::path::PathBuf,
        /// What git said.
        reason: String,
    },
    /// New objects could not be written.
    #[error("new objects cannot be written to '{path}': {reason}")]
    Write {
        /// The repository.
        path: std::path::PathBuf,
        /// What git or the system said.
        reason: String,
    },
}
