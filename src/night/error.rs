//! Why a night could not go on; nothing has changed then.

use std::path::PathBuf;

use crate::build::artifact::ArtifactError;
use crate::build::signature::SignatureError;
use crate::queue::QueueError;
use crate::store::git::GitError;
use crate::store::{ObjectError, StoreError};
use crate::trunk::FetchError;
use crate::workspace::WorkspaceError;

/// Why a night could not go on.
#[derive(Debug, thiserror::Error)]
pub enum NightError {
    /// The workspace is in no git repository.
    #[error("'{}' is not in a git repository", .root.display())]
    NoRepository {
        /// The workspace's root.
        root: PathBuf,
    },
    /// Files that the run would write have changes that are not committed.
    #[error("the workspace has changes that are not committed")]
    Dirty {
        /// The files, from the workspace's root.
        files: Vec<String>,
    },
    /// Files that the run would write were changed while it ran.
    #[error("what this run would write was changed while it ran; nothing was published")]
    Meanwhile {
        /// The files, from the workspace's root.
        files: Vec<String>,
    },
    /// Files that a run which was cut off has yet to write were changed since.
    #[error(
        "the last run was cut off, and what it has yet to write was changed since; nothing was written over"
    )]
    Since {
        /// The files, from the workspace's root.
        files: Vec<String>,
    },
    /// Another operation of git is not finished in the workspace.
    #[error("a {operation} is in progress in the workspace")]
    InProgress {
        /// Which.
        operation: &'static str,
    },
    /// Another git holds the index of the workspace.
    #[error("another git is at work in the workspace: '{}' is there", .lock.display())]
    IndexLocked {
        /// The file by which it holds it.
        lock: PathBuf,
    },
    /// The rules by which a move is looked at cannot be used.
    #[error(transparent)]
    Risk(#[from] super::risk::RiskError),
    /// The queue has faults.
    #[error("the queue of '{project}' has {} {}", .faults.len(), if .faults.len() == 1 { "fault" } else { "faults" })]
    Queue {
        /// The project.
        project: String,
        /// Its folder.
        folder: String,
        /// All of them.
        faults: Vec<QueueError>,
    },
    /// The revision is not in the project's store.
    #[error("'{rev}' is no commit of the project's store")]
    NoCommit {
        /// What was asked for.
        rev: String,
    },
    /// No such build is in the project's store, or more than one.
    #[error("{}", no_build(.project, .build.as_deref(), .several))]
    NoBuild {
        /// The project.
        project: String,
        /// What was asked for; none: the last one.
        build: Option<String>,
        /// Those that it may be.
        several: Vec<String>,
    },
    /// The recorded base is not in the project's store.
    #[error("the recorded base {base} is not in the project's store")]
    NoBase {
        /// Its id.
        base: String,
    },
    /// The trunk could not be brought in.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The deploy branch is not what the last run left.
    #[error("'{branch}' at '{remote}' was moved by someone else: it is at {}, and {} was expected",
        .found.as_deref().unwrap_or("nothing"), .expected.as_deref().unwrap_or("nothing"))]
    Moved {
        /// The remote's address, without secrets.
        remote: String,
        /// The branch's full name.
        branch: String,
        /// What it should have been.
        expected: Option<String>,
        /// What it is.
        found: Option<String>,
    },
    /// The project deploys to no remote.
    #[error("'{project}' deploys to no remote")]
    NoRemote {
        /// The project.
        project: String,
    },
    /// The run is of no use any more.
    #[error("the run of '{project}' was ended before its time: nothing of it goes out")]
    Stopped {
        /// The project.
        project: String,
    },
    /// Projects that go out together do not go out.
    #[error("nothing of '{unit}' goes out, as its projects go together: {why}")]
    Together {
        /// All of them, as a fleet calls them.
        unit: String,
        /// Why.
        why: String,
    },
    /// The remote did not take the build.
    #[error("'{remote}' did not take the build: {source}")]
    Push {
        /// The remote's address, without secrets.
        remote: String,
        /// What git said.
        source: GitError,
    },
    /// The connection to the remote broke in a push.
    #[error("'{remote}' did not say that it took the build: {source}")]
    Unanswered {
        /// The remote's address, without secrets.
        remote: String,
        /// What git said.
        source: GitError,
    },
    /// A run that was cut off cannot be finished or undone yet.
    #[error("a run was cut off, and whether '{remote}' has its build cannot be asked: {source}")]
    Unfinished {
        /// The remote's address, without secrets.
        remote: String,
        /// What git said.
        source: GitError,
    },
    /// A rewritten patch file does not give what it was made from.
    #[error("patch '{name}' written anew does not give its own tree; nothing was changed")]
    RoundTrip {
        /// The patch.
        name: String,
    },
    /// A command that was asked for cannot be run.
    #[error("'{command}' cannot be started: {reason}")]
    Command {
        /// The command.
        command: String,
        /// What the system said.
        reason: String,
    },
    /// A hook failed.
    #[error("the hook '{command}' ({event}) failed: {why}")]
    Hook {
        /// For which event it ran.
        event: &'static str,
        /// The command.
        command: String,
        /// How it ended, and what it said last.
        why: String,
        /// The file with its output.
        output: PathBuf,
    },
    /// The project's store is damaged, by which something else failed.
    #[error("the store of '{project}' is damaged: {source}")]
    Damaged {
        /// The project.
        project: String,
        /// Its store.
        store: PathBuf,
        /// What failed.
        source: Box<NightError>,
    },
    /// The journal of a run that was cut off is damaged.
    #[error("the journal of the last run, {}, cannot be read: {reason}", .path.display())]
    Journal {
        /// Its file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something cannot be written as text.
    #[error("{what} cannot be written: {reason}")]
    Format {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A file of the workspace cannot be read or written.
    #[error("'{}': {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The build cannot be signed, or a signature not be looked at.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The build's files cannot be made.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The workspace's own files are wrong.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NightError {
    /// The exit code that it asks for (see the guide).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoRepository { .. }
            | Self::Dirty { .. }
            | Self::Meanwhile { .. }
            | Self::Since { .. }
            | Self::InProgress { .. }
            | Self::IndexLocked { .. }
            | Self::Queue { .. }
            | Self::NoCommit { .. }
            | Self::NoRemote { .. }
            | Self::Risk(_)
            | Self::Command { .. }
            | Self::Workspace(_) => 2,
            Self::Moved { .. }
            | Self::Push { .. }
            | Self::Unanswered { .. }
            | Self::Hook { .. }
            | Self::Together { .. } => 4,
            _ => 1,
        }
    }
}

fn no_build(project: &str, build: Option<&str>, several: &[String]) -> String {
    match build {
        None => format!("no build of '{project}' is recorded here"),
        Some(build) if several.is_empty() => format!("no build '{build}' of '{project}' is here"),
        Some(build) => format!("build '{build}' of '{project}' may be {}", several.join(" or ")),
    }
}

impl From<GitError> for NightError {
    fn from(e: GitError) -> Self {
        Self::Store(e.into())
    }
}

impl From<ObjectError> for NightError {
    fn from(e: ObjectError) -> Self {
        Self::Store(e.into())
    }
}
