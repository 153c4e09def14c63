//! What a run is asked, who listens to it, and what it tells.

use std::sync::Arc;

use gix_hash::ObjectId;
use serde::Serialize;

use super::draft::Draft;
use super::outcome::{Furthest, PatchReport};
use super::queue_ahead::QueueAhead;
use super::together::Together;
use super::{FileChange, NightError, Push, Site, follow, policy, tags};
use crate::build::manifest::Manifest;
use crate::check::Stop;
use crate::forecast::Outlook;
use crate::workspace::{LandedLock, Outcome, ProjectLock};

/// Who listens to a run.
pub trait Events {
    /// A step begins.
    fn step(&self, what: &str);
    /// A line of git's own progress.
    fn git(&self, line: &str);
    /// Something that a person should know, and that stops nothing.
    fn note(&self, what: &str);
}

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Do not fetch, and do not push.
    pub offline: bool,
    /// Replay onto this commit instead of the trunk tip.
    pub onto: Option<String>,
    /// Work everything out and change nothing.
    pub dry_run: bool,
    /// Take a trunk that was force-pushed.
    pub accept_rewritten_trunk: bool,
    /// Where the trunk is at the upstream, if that was asked just now.
    pub trunk_seen: Option<ObjectId>,
    /// The commit that the deploy branch may have at the remote besides the recorded one.
    pub replace_deploy: Option<String>,
    /// A change of the queue that goes with the run.
    pub draft: Option<Draft>,
    /// How many checks may run at once; 0 is one for each core.
    pub jobs: usize,
    /// Checks that failed on the same tree before are run again.
    pub again: bool,
    /// The projects that run with this one; none: it runs alone, and how the others stand is what the lock says.
    pub together: Option<Arc<Together>>,
    /// Where the build goes out to, if the workspace is to stay as it is.
    pub outlet: Option<Arc<dyn Outlet>>,
    /// The queue, where it is being read already.
    pub queue: Option<Arc<QueueAhead>>,
    /// Raised when the run is of no use any more: it ends at the next step, and nothing goes out.
    pub stop: Stop,
}

/// Where a build goes out together with what its run would have written to the workspace, which stays as it is.
pub trait Outlet: std::fmt::Debug + Send + Sync {
    /// Puts it out, whole or not at all.
    fn put(&self, site: &Site<'_>, going: Going) -> Result<(), NightError>;
}

/// A build on its way out.
#[derive(Debug)]
pub struct Going {
    /// The night, as it is told of once all is out.
    pub night: Night,
    /// The refs of the build, each with what it must be at the deploy remote now.
    pub push: Push,
    /// The changes of the queue's files that belong to it, without the lock: messages and files.
    pub commits: Vec<(String, Vec<FileChange>)>,
    /// The project's part of the lock.
    pub lock: ProjectLock,
}

/// How the trunk moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrunkMove {
    /// The address, without secrets.
    pub address: String,
    /// The branch.
    pub branch: String,
    /// The base before.
    pub from: Option<String>,
    /// The commit replayed onto.
    pub to: String,
    /// How many commits lie between.
    pub commits: usize,
    /// `git describe` of the commit replayed onto.
    pub describe: Option<String>,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// Nothing was new.
    Quiet,
    /// A build was published.
    Published,
    /// It was a dry run.
    DryRun,
    /// The verdict forbids it; nothing was changed.
    Refused,
}

/// One run on one project.
#[derive(Debug, Clone, Serialize)]
pub struct Night {
    /// The form's version.
    pub version: u32,
    /// The project.
    pub project: String,
    /// What was done.
    pub done: Done,
    /// How the trunk moved.
    pub trunk: TrunkMove,
    /// If the trunk tip makes patches of the stack fall out: how far trunk can move with all of them.
    pub furthest: Option<Furthest>,
    /// Every patch.
    pub patches: Vec<PatchReport>,
    /// Patches that left the queue as upstream had them, and that upstream took back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<LandedLock>,
    /// Changes of upstream's that are carried before they are merged, and that were taken at a newer revision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub followed: Vec<follow::Followed>,
    /// Patches that left the queue for their tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<tags::Dropped>,
    /// What of the project's policy is not kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<policy::Breach>,
    /// Upstream work that will break patches once trunk takes it in; what was looked at says `forecast` in carry.toml.
    pub forecast: Vec<Outlook>,
    /// The build; none on a quiet night of a queue that was never built.
    pub manifest: Option<Manifest>,
    /// Where the build went.
    pub remote: Option<String>,
    /// The commits in the workspace, oldest first.
    pub workspace_commits: Vec<String>,
    /// What it left as files, if carry.toml asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Left>,
    /// The fingerprint of the key that signed the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// The files that a run left, and those that it took away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Where the build's files are.
    pub folder: std::path::PathBuf,
    /// The builds whose files were taken away.
    pub pruned: Vec<String>,
}

impl Night {
    /// The exit code that the run asks for (see the guide).
    pub fn exit_code(&self) -> u8 {
        if self.done == Done::Refused || self.done != Done::DryRun && self.policy.iter().any(|b| b.gate) {
            return 4;
        }
        let wants_person = |p: &PatchReport| {
            let out = p.outcome.is_root() || matches!(p.outcome, Outcome::Blocked | Outcome::Broken);
            out || p.open().next().is_some()
        };
        if self.patches.iter().any(wants_person) || !self.undone.is_empty() || !self.policy.is_empty() {
            3
        } else {
            0
        }
    }
}
