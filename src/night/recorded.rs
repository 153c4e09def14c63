//! What a build is recorded as: the project's part of the lock, and the manifest.

use std::collections::BTreeMap;

use gix_hash::ObjectId;

use super::leave::Left;
use super::policy::today;
use super::promote::gates_of;
use super::{Site, TrunkMove};
use crate::build::UpstreamRange;
use crate::build::build_id;
use crate::build::manifest::{
    self, ArtifactRecord, Base, BrokenBy, CheckRecord, DeployRecord, Manifest, PatchRecord, Tool, Trunk,
    VerdictRecord,
};
use crate::check::Ended;
use crate::graph::Edge;
use crate::risk::Transition;
use crate::trunk::{Range, full_name};
use crate::workspace::{Good, History, LandedLock, Outcome, PatchLock, Project, ProjectLock};

/// So many patches that left the queue are known by the lock, the last; the workspace's history has them all.
const KNOWN: usize = 200;

/// What lock and manifest say of a build alike.
pub(super) struct Ground<'a> {
    /// Where.
    pub site: &'a Site<'a>,
    /// What was recorded before.
    pub before: Option<&'a ProjectLock>,
    /// The trunk commit that it stands on.
    pub tip: &'a ObjectId,
    /// When that was committed, in RFC 3339.
    pub tip_date: String,
    /// How trunk moved.
    pub trunk: &'a TrunkMove,
    /// The base that the queue was recorded on.
    pub base: Option<ObjectId>,
    /// The commits from there on.
    pub range: &'a Range,
    /// The build's commit.
    pub commit: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
}

/// What was found out of a build.
pub(super) struct Proofs {
    /// Is it to go out, and why not?
    pub verdict: VerdictRecord,
    /// Its checks.
    pub checks: Vec<CheckRecord>,
    /// The files made of it.
    pub artifacts: Vec<ArtifactRecord>,
}

impl Ground<'_> {
    /// The build that was deployed before.
    fn previous(&self) -> Option<String> {
        self.before.and_then(|lock| lock.deploy.clone())
    }

    /// What the lock says of each patch.
    pub fn records(&self, left: &[Left<'_>]) -> Vec<PatchLock> {
        let before: BTreeMap<&str, &PatchLock> =
            self.before.iter().flat_map(|l| &l.patches).map(|p| (p.name.as_str(), p)).collect();
        let base = self.before.map_or_else(|| self.tip.to_string(), |l| l.base.clone());
        let record =
            |l: &Left<'_>| record(l, before.get(l.patch.name()).copied(), &base, self.tip, &self.tip_date);
        left.iter().map(record).collect()
    }

    /// The project's part of the lock, and the records of those that leave the queue. `landed` are those that left it before.
    pub fn lock(
        &self,
        left: &[Left<'_>],
        records: Vec<PatchLock>,
        mut landed: Vec<LandedLock>,
        pushed: bool,
    ) -> (ProjectLock, Vec<PatchLock>) {
        landed.extend(gone(left));
        landed.drain(..landed.len().saturating_sub(KNOWN));
        let (mut kept, mut leaving) = (records, Vec::new());
        if left.iter().any(|l| l.dropped) {
            let all = std::mem::take(&mut kept).into_iter().zip(left);
            all.for_each(|(record, l)| if l.dropped { leaving.push(record) } else { kept.push(record) });
        }
        let lock = ProjectLock {
            base: self.tip.to_string(),
            // Only what is published is recorded as deployed: the lease of the next push is held against it.
            deploy: if pushed { Some(self.commit.to_string()) } else { self.previous() },
            queue: self.before.and_then(|l| l.queue.clone()),
            patches: kept,
            landed,
            ..ProjectLock::default()
        };
        (lock, leaving)
    }

    /// The manifest, without what the patches and the move ask for ([`complete`]). `commits` are those of the patches that are
    /// in the build.
    pub fn manifest(
        &self,
        left: &[Left<'_>],
        (lock, leaving): (&ProjectLock, &[PatchLock]),
        commits: &[(String, ObjectId)],
        proofs: Proofs,
    ) -> Manifest {
        let Self { site, tip, trunk, base, range, commit, tree, .. } = self;
        let (project, identity) = (site.project, &site.workspace.config.identity);
        let Proofs { verdict, checks, artifacts } = proofs;
        let commits = commits.iter().map(|(name, id)| (name.as_str(), id)).collect();
        let (mut kept, mut leaving) = (lock.patches.iter(), leaving.iter());
        let mut next = |l: &Left<'_>| if l.dropped { leaving.next() } else { kept.next() };
        let patches = left.iter().filter_map(|l| Some(patch_record(l, next(l)?, &commits))).collect();
        Manifest {
            version: manifest::VERSION,
            project: project.name.clone(),
            tool: Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
            trunk: Trunk {
                address: trunk.address.clone(),
                branch: trunk.branch.clone(),
                commit: tip.to_string(),
                date: self.tip_date.clone(),
                describe: trunk.describe.clone(),
            },
            base: Base { before: base.map(|b| b.to_string()), after: tip.to_string() },
            deploy: DeployRecord {
                build: build_id(commit),
                branch: full_name(&project.deploy.branch),
                commit: commit.to_string(),
                tree: tree.to_string(),
                history: match project.deploy.history {
                    History::Rewrite => "rewrite".into(),
                    History::FastForward => "fast-forward".into(),
                },
                committer: [identity.name.clone(), identity.email.clone()],
                previous: self.previous(),
            },
            verdict,
            checks,
            artifacts,
            risk: None,
            upstream: (!range.commits.is_empty())
                .then(|| UpstreamRange::of(&base.unwrap_or(**tip), tip, &range.commits)),
            edges: Vec::new(),
            gates: Vec::new(),
            patches,
        }
    }
}

/// The manifest with what was found out beside it: which patch needs which, what the move asks of who deploys it, and what the
/// stages say to both.
pub(super) fn complete(
    manifest: Manifest,
    project: &Project,
    (edges, risk): (Vec<Edge>, Option<Transition>),
) -> Manifest {
    let manifest = Manifest { edges, risk, ..manifest };
    Manifest { gates: gates_of(project, &manifest), ..manifest }
}

/// The patches that leave the queue as upstream has them, each with the one before it.
fn gone(left: &[Left<'_>]) -> Vec<LandedLock> {
    let before = [None].into_iter().chain(left.iter().map(|l| Some(l.patch.name().to_owned())));
    let gone = |(l, after): (&Left<'_>, Option<String>)| {
        Some(LandedLock {
            name: l.patch.name().to_owned(),
            file: l.patch.file.clone(),
            digest: l.patch.digest.clone(),
            after,
            evidence: *l.planned.report.evidence.clone()?,
            reverted: None,
        })
    };
    left.iter().zip(before).filter(|(l, _)| l.dropped).filter_map(gone).collect()
}

/// What the lock says of a patch; `was` is what it said, and `base` the commit that the queue stood on.
fn record(left: &Left<'_>, was: Option<&PatchLock>, base: &str, tip: &ObjectId, tip_date: &str) -> PatchLock {
    let name = left.patch.name();
    let outcome = left.planned.report.outcome;
    let in_stack = |o: Outcome| matches!(o, Outcome::Clean | Outcome::Refreshed | Outcome::Resolved);
    let goes_on = was.filter(|w| w.outcome == outcome || in_stack(w.outcome) && in_stack(outcome));
    let digest = left.rewritten.as_ref().map_or(&left.patch.digest, |(anew, _)| &anew.digest);
    let good = match left.planned.applied {
        Some(_) => None,
        None => was.and_then(|w| w.good.clone()).or_else(|| {
            let (before, after) = left.planned.own?;
            let base = base.to_owned();
            Some(Good { base, before: before.to_string(), after: after.to_string() }.into())
        }),
    };
    PatchLock {
        name: name.to_owned(),
        digest: digest.clone(),
        tree: left.planned.applied.map(|(_, after)| after.to_string()),
        outcome,
        since: goes_on.map_or_else(|| tip.to_string(), |w| w.since.clone()),
        since_date: goes_on.map_or_else(|| tip_date.to_owned(), |w| w.since_date.clone()),
        held_since: (outcome == Outcome::Held)
            .then(|| goes_on.and_then(|w| w.held_since.clone()).unwrap_or_else(|| today().to_string())),
        good,
        culprit: left.planned.report.culprit.clone(),
        evolved: left.planned.report.evolved.clone(),
        proposed: left.planned.report.proposed.clone(),
        fixes: left.planned.report.fixes.clone(),
    }
}

/// What the manifest says of a patch.
fn patch_record(left: &Left<'_>, lock: &PatchLock, commits: &BTreeMap<&str, &ObjectId>) -> PatchRecord {
    let report = &left.planned.report;
    let author = &left.patch.header.author;
    PatchRecord {
        name: report.name.clone(),
        file: left.patch.file.clone(),
        digest: lock.digest.clone(),
        patch_id: left.patch_id.map(|id| id.to_string()),
        subject: report.subject.clone(),
        author: [author.name.to_string(), author.email.to_string()],
        metadata: left.patch.metadata.clone(),
        outcome: report.outcome,
        since: lock.since.clone(),
        commit: commits.get(report.name.as_str()).map(ToString::to_string),
        tree: lock.tree.clone(),
        evidence: report.evidence.clone(),
        conflicts: report.conflicts.clone(),
        culprit: report.culprit.clone(),
        evolved: report.evolved.clone(),
        resolution: report.resolution.clone(),
        needs: report.needs.clone(),
        loss: left.loss.clone(),
        note: report.note.clone(),
    }
}

/// Is a build of this to go out, and what speaks against it?
pub(super) fn verdict(left: &[Left<'_>], checks: &[CheckRecord]) -> VerdictRecord {
    let mut reasons = Vec::new();
    let mut publishable = true;
    for l in left {
        let report = &l.planned.report;
        let what = match report.outcome {
            Outcome::Conflict | Outcome::Evolved => "conflicts".to_owned(),
            Outcome::Blocked => format!("needs {}, which is left out", report.needs.join(", ")),
            Outcome::Broken => report.note.clone().unwrap_or_else(|| "breaks a check".into()),
            _ => continue,
        };
        if report.required {
            publishable = false;
            reasons.push(format!("required patch '{}' {what}", report.name));
        } else {
            reasons.push(format!("patch '{}' {what}", report.name));
        }
    }
    for check in checks.iter().filter(|c| c.ended != Ended::Passed) {
        let who = match &check.broken_by {
            Some(BrokenBy { patch: Some(patch), .. }) => format!(", since patch '{patch}'"),
            Some(by) => {
                format!(", since upstream's {} {}", by.commit.get(..12).unwrap_or_default(), by.subject)
            }
            None => String::new(),
        };
        publishable &= !check.required;
        let kind = if check.required { "required check" } else { "check" };
        reasons.push(format!("{kind} '{}' fails{who}: {}", check.name, check.said));
    }
    VerdictRecord { publishable, reasons }
}
