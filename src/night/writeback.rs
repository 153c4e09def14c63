//! What a replay leaves behind: patch files written anew, the series, the lock, the manifest. Objects may be written for
//! it, and nothing refers to them yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix_hash::ObjectId;

use super::commits::{Made, files, make_with_lock};
use super::leave::{Left, leave};
use super::outcome::{PatchReport, Planned, PlannedPatch};
use super::policy::{self, Breach, today};
use super::promote::gates_of;
use super::publish::{deploy_ref, manifest_ref, recorded_manifest};
use super::risk::{Next, from_previous};
use super::turn::{Asked, Head};
use super::{NightError, Site, TrunkMove, edges, hooks};
use crate::build::manifest::{
    self, ArtifactRecord, Base, BrokenBy, CheckRecord, DeployRecord, Manifest, PatchRecord, Tool, Trunk,
    VerdictRecord,
};
use crate::build::{Layer, UpstreamRange, stack};
use crate::check::Ended;
use crate::queue::{Patch, Queue, Series};
use crate::replay::loss::Loss;
use crate::store::{Objects as _, Place, RefUpdate};
use crate::trunk::delta::Change;
use crate::workspace::{Good, History, HookEvent, LandedLock, Outcome, PatchLock, ProjectLock};

/// So many patches that left the queue are known by the lock, the last; the workspace's history has them all.
const KNOWN: usize = 200;

/// One file of the workspace to write, or to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// From the workspace's root, with `/` between components.
    pub path: String,
    /// The new bytes; none: the file goes.
    pub bytes: Option<Vec<u8>>,
}

/// A build, ready to be published.
pub struct Built {
    /// What to tell of every patch.
    pub reports: Vec<PatchReport>,
    /// The trunk commit it stands on.
    pub tip: ObjectId,
    /// Its commit.
    pub commit: ObjectId,
    /// The commit that the workspace's branch is at.
    pub head: Head,
    /// The workspace's commits on it, if they are made already.
    pub made: Option<Made>,
    /// The workspace's commits to make: message and files. The lock goes with the last.
    pub commits: Vec<(String, Vec<FileChange>)>,
    /// The project's part of the lock.
    pub lock: ProjectLock,
    /// The refs that the store gets besides the deploy branch.
    pub refs: Vec<RefUpdate>,
    /// What differs between the trees that the next run moves.
    pub differences: Vec<([ObjectId; 2], Vec<Change>)>,
    /// The queue as it was read.
    pub queue: Arc<Queue>,
    /// Its patches that are written anew.
    pub rewritten: Vec<Patch>,
}

/// The commits of a build.
pub struct Stacked {
    /// The patches that are in it, from the bottom: each one's name and its commit.
    pub patches: Vec<(String, ObjectId)>,
    /// The build's commit.
    pub commit: ObjectId,
}

/// Makes the build's commits. New objects are written as one pack that nothing refers to.
pub fn stacked(
    site: &Site<'_>,
    lock: Option<&ProjectLock>,
    tip: &ObjectId,
    planned: &Planned,
) -> Result<Stacked, NightError> {
    let project = site.project;
    let Planned { odb, queue, patches, .. } = planned;
    let applied: Vec<(&PlannedPatch, &Patch)> =
        patches.iter().zip(&queue.patches).filter(|(p, _)| p.applied.is_some()).collect();
    let layers: Vec<Layer<'_>> = applied
        .iter()
        .filter_map(|(p, patch)| Some(Layer { header: &patch.header, tree: p.applied?.1 }))
        .collect();
    let join = match project.deploy.history {
        History::Rewrite => None,
        History::FastForward => lock.and_then(|l| ObjectId::from_hex(l.deploy.as_ref()?.as_bytes()).ok()),
    };
    let identity = &site.workspace.config.identity;
    let (bottom, ids) = stack(odb, identity, &project.name, tip, join.as_ref(), &layers)?;
    let commit = *ids.last().unwrap_or(&bottom);
    odb.flush()?;
    Ok(Stacked { patches: applied.iter().map(|(p, _)| p.report.name.clone()).zip(ids).collect(), commit })
}

/// What is to become of a build.
pub struct Fate<'a> {
    /// Does it go to the deploy remote, or stay where there is none?
    pub pushed: bool,
    /// What the queue does not keep.
    pub breaches: &'a [Breach],
    /// Are the workspace's commits made of its own files and lock alone, by this run?
    pub written: bool,
    /// The commit that the workspace's branch is at, as git says it.
    pub head: Asked,
}

/// Works out the files, the lock and the manifest of a build whose commits are made, what was said of it, and the files
/// that it left.
pub fn build(
    site: &Site<'_>,
    lock: Option<&ProjectLock>,
    tip: &ObjectId,
    trunk: &TrunkMove,
    planned: Planned,
    (stacked, checks, artifacts): (Stacked, Vec<CheckRecord>, Vec<ArtifactRecord>),
    fate: Fate<'_>,
) -> Result<(Built, Manifest), NightError> {
    let project = site.project;
    let identity = &site.workspace.config.identity;
    let Planned { odb, queue, base, patches, tree, range, mut landed, differences, .. } = planned;
    let previous = lock.and_then(|l| l.deploy.clone());
    let Stacked { patches: commits, commit } = stacked;

    let next = Next { commit, patches: &commits, base, range: &range.commits };
    // What is left of each patch, which patch needs which, what the move asks, and the workspace's commits: none of these
    // needs another, but the commits the first.
    let (manifest, refs, head, made, changes, locked, left) = std::thread::scope(|threads| {
        let (view, next, from) = (odb.place(), &next, previous.clone());
        let (planned, queue) = (patches.as_slice(), queue.as_ref());
        let open = |view: Option<Place>| view.map_or_else(|| site.store.odb(), |view| Ok(view.open()));
        let found = threads.spawn(move || {
            let last = Arc::new(lock.map(|l| recorded_manifest(site, l)).transpose()?.flatten());
            let (odb, known) = (open(view)?, Arc::clone(&last));
            let view = odb.place();
            let risk = threads.spawn(move || match from {
                Some(previous) => from_previous(site, &open(view)?, &previous, (*known).as_ref(), next),
                None => Ok(None),
            });
            let edges = edges::edges(&odb, planned, &queue.patches, (*last).as_ref())?;
            Ok((edges, joined(risk)?))
        });
        let left = leave(site, &odb, planned, &queue.patches)?;
        let head = fate.head.answer()?;
        let series = series_after(site, &queue.series, &left)?;
        let seconds = odb.commit(tip)?.committer.seconds;
        let tip_date = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string();
        let before: BTreeMap<&str, &PatchLock> =
            lock.iter().flat_map(|l| &l.patches).map(|p| (p.name.as_str(), p)).collect();
        let base_before = lock.map_or_else(|| tip.to_string(), |l| l.base.clone());
        let record =
            |l: &Left<'_>| record(l, before.get(l.patch.name()).copied(), &base_before, tip, &tip_date);
        let records: Vec<PatchLock> = left.iter().map(record).collect();
        let mut verdict = verdict(&left, &checks);
        policy::forbid(&mut verdict, fate.breaches);
        landed.extend(gone(&left));
        landed.drain(..landed.len().saturating_sub(KNOWN));
        let kept = records.iter().zip(&left).filter(|(_, l)| !l.dropped).map(|(r, _)| r.clone()).collect();
        // Only what is published is recorded as deployed: the lease of the next push is held against it.
        let deployed = if fate.pushed { Some(commit.to_string()) } else { previous.clone() };
        let locked = ProjectLock {
            base: tip.to_string(),
            deploy: deployed,
            queue: lock.and_then(|l| l.queue.clone()),
            patches: kept,
            landed,
            ..ProjectLock::default()
        };
        let changes = files(site, &left, &queue.series.to_bytes(), &series.to_bytes(), trunk);
        // Most often nothing else goes out meanwhile. What cannot be made now is made when it is due, and told then; and what a
        // hook may yet stop leaves nothing behind.
        let is_due = fate.written && verdict.publishable;
        let may_stop = hooks::is_awaited(project, HookEvent::BeforePublish);
        let made = {
            let (head, changes, locked) = (head.clone(), changes.clone(), locked.clone());
            move || Ok(make_with_lock(site, &head, changes, locked).ok())
        };
        let made = (is_due && !may_stop).then(|| threads.spawn(made));
        let (edges, risk) = joined(found)?;
        let commits = commits.iter().map(|(name, id)| (name.as_str(), id)).collect();
        let mut manifest = Manifest {
            version: manifest::VERSION,
            project: project.name.clone(),
            tool: Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
            trunk: Trunk {
                address: trunk.address.clone(),
                branch: trunk.branch.clone(),
                commit: tip.to_string(),
                date: tip_date,
                describe: trunk.describe.clone(),
            },
            base: Base { before: base.map(|b| b.to_string()), after: tip.to_string() },
            deploy: DeployRecord {
                build: build_id(&commit),
                branch: deploy_ref(project),
                commit: commit.to_string(),
                tree: tree.to_string(),
                history: match project.deploy.history {
                    History::Rewrite => "rewrite".into(),
                    History::FastForward => "fast-forward".into(),
                },
                committer: [identity.name.clone(), identity.email.clone()],
                previous,
            },
            verdict,
            checks,
            artifacts,
            risk,
            upstream: (!range.commits.is_empty())
                .then(|| UpstreamRange::of(&base.unwrap_or(*tip), tip, &range.commits)),
            edges,
            gates: Vec::new(),
            patches: left.iter().zip(&records).map(|(l, r)| patch_record(l, r, &commits)).collect(),
        };
        manifest.gates = gates_of(project, &manifest);
        let rendered = manifest
            .render()
            .map_err(|e| NightError::Format { what: "the manifest", reason: e.to_string() })?;
        let blob = site.store.write_blob(rendered.as_bytes())?;
        let refs = vec![RefUpdate {
            name: manifest_ref(&project.name, &build_id(&commit)),
            old: None,
            new: Some(blob.to_string()),
        }];
        let made = made.map(joined).transpose()?.flatten();
        let left: Vec<(Option<Loss>, Option<Patch>)> =
            left.into_iter().map(|l| (l.loss, l.rewritten.map(|(anew, _)| anew))).collect();
        Ok::<_, NightError>((manifest, refs, head, made, changes, locked, left))
    })?;
    let (mut reports, mut moved) = (Vec::with_capacity(left.len()), Vec::with_capacity(left.len()));
    let mut rewritten = Vec::new();
    for (patch, (loss, anew)) in patches.into_iter().zip(left) {
        moved.extend(patch.moved(&differences));
        reports.push(PatchReport { loss, ..patch.report });
        rewritten.extend(anew);
    }
    // Thousands of objects and what was known of them take their time to go, and nobody waits for that.
    std::thread::spawn(move || drop((odb, differences)));
    let (tip, commits, lock, differences) = (*tip, changes, locked, moved);
    let built =
        Built { reports, tip, commit, head, made, commits, lock, refs, differences, queue, rewritten };
    Ok((built, manifest))
}

/// The series without the patches that leave the queue.
fn series_after(site: &Site<'_>, series: &Series, left: &[Left<'_>]) -> Result<Series, NightError> {
    let mut series = series.clone();
    for gone in left.iter().filter(|l| l.dropped) {
        series.remove(&gone.patch.file).map_err(|fault| NightError::Queue {
            project: site.project.name.clone(),
            folder: site.project.patches.clone(),
            faults: vec![fault],
        })?;
    }
    Ok(series)
}

/// What a thread came to; a panic in it goes on here.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, NightError>>) -> Result<T, NightError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A build's id: the first 12 digits of its commit.
pub fn build_id(commit: &ObjectId) -> String {
    commit.to_hex_with_len(12).to_string()
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
            evidence: l.planned.report.evidence.clone()?,
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
            Some(Good { base, before: before.to_string(), after: after.to_string() })
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

fn verdict(left: &[Left<'_>], checks: &[CheckRecord]) -> VerdictRecord {
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
