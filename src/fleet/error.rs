//! Why a unit could not be done.

use crate::night::{NightError, troubles};
use crate::store::git::GitError;
use crate::store::{ObjectError, StoreError};

/// Why a unit could not be done; nothing went out then.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// People and a night changed the same files of a queue, each in their own way.
    #[error("the queue of '{project}' was changed by people and by a night, and both do not go together: {}", .files.join(", "))]
    Diverged {
        /// The project.
        project: String,
        /// The files, from the workspace's root.
        files: Vec<String>,
    },
    /// A claim or a result at the remote cannot be read.
    #[error("'{name}' at the deploy remote cannot be read: {reason}")]
    Record {
        /// The ref.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The upstream has no such branch.
    #[error("the upstream of '{project}' has no branch '{branch}'")]
    NoTrunk {
        /// The project.
        project: String,
        /// The branch's full name.
        branch: String,
    },
    /// The night could not go on.
    #[error(transparent)]
    Night(#[from] NightError),
}

impl FleetError {
    /// The exit code that it asks for (see the guide).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Diverged { .. } => 4,
            Self::Record { .. } | Self::NoTrunk { .. } => 1,
            Self::Night(e) => e.exit_code(),
        }
    }

    /// What is to be mended, in a word.
    pub fn about(&self) -> &'static str {
        match self {
            Self::Diverged { .. } => "queue",
            Self::Record { .. } => "record",
            Self::NoTrunk { .. } => "upstream",
            Self::Night(e) => troubles::class(e),
        }
    }
}

impl From<GitError> for FleetError {
    fn from(e: GitError) -> Self {
        Self::Night(e.into())
    }
}

impl From<StoreError> for FleetError {
    fn from(e: StoreError) -> Self {
        Self::Night(e.into())
    }
}

impl From<ObjectError> for FleetError {
    fn from(e: ObjectError) -> Self {
        Self::Night(e.into())
    }
}
