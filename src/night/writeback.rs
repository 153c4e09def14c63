//! What a replay leaves behind: patch files written anew, the series, the lock, the manifest. Objects may be written for
//! it, and nothing refers to them yet.

use std::sync::Arc;

use gix_hash::ObjectId;

use super::commits::{Made, files, make_with_lock};
use super::early_edges::EarlyEdges;
use super::edges::{self, InBuild};
use super::leave::{Left, leave};
use super::outcome::{Moved, PatchReport, Planned, PlannedPatch};
use super::policy::{self, Breach};
use super::publish::{manifest_ref, recorded_manifest};
use super::recorded::{Ground, Proofs, complete, verdict};
use super::risk::{Next, from_previous};
use super::turn::{Asked, Head};
use super::{NightError, Site, TrunkMove, hooks};
use crate::build::manifest::{ArtifactRecord, CheckRecord, Manifest};
use crate::build::{Layer, build_id, stack};
use crate::graph::Edge;
use crate::queue::{Patch, Queue, Series};
use crate::replay::loss::Loss;
use crate::risk::Transition;
use crate::store::{Objects as _, Place, RefUpdate, Unwritten, begin, begin_in, drop_later};
use crate::workspace::{History, HookEvent, ProjectLock};

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
    pub differences: Vec<Moved>,
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
    /// What of it is not written yet.
    pub unwritten: Option<Unwritten>,
}

/// Makes the build's commits. New objects are written as one pack that nothing refers to: now, if somebody is to look at them
/// before [`build`] does.
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
    let patches = applied.iter().map(|(p, _)| p.report.name.clone()).zip(ids).collect();
    let is_looked_at = !project.checks.is_empty() || project.artifacts.is_some();
    let unwritten = if is_looked_at { odb.flush().map(|_| None)? } else { Some(odb.hand_over()) };
    Ok(Stacked { patches, commit, unwritten })
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
    let Planned { odb, queue, base, patches, tree, range, landed, differences, early, edges, .. } = planned;
    let Stacked { patches: commits, commit, unwritten } = stacked;

    let next = Next { commit, patches: &commits, base, range: &range.commits };
    // The pack, what is left of each patch, which patch needs which, what the move asks, and the workspace's commits: none of
    // these needs another, but the commits the second, and that the pack where git has to look at it.
    let (manifest, blob, head, made, changes, locked, left) = std::thread::scope(|threads| {
        let (view, planned, texts) = (odb.place(), patches.as_slice(), queue.patches.as_slice());
        let next = &next;
        let unwritten = unwritten.as_ref();
        let written = move || Ok::<_, NightError>(unwritten.map(Unwritten::write).transpose().map(drop)?);
        begin_in(threads, written);
        let found =
            begin_in(threads, move || found(site, lock, (planned, texts, edges), (view, &written), next));
        // Most often nothing else goes out meanwhile. What cannot be made now is made when it is due, and told then; and what a
        // hook may yet stop leaves nothing behind.
        let may_be_made = fate.written && !hooks::is_awaited(project, HookEvent::BeforePublish);
        let left = leave(site, &odb, (planned, texts), early, &written)?;
        let head = fate.head.answer()?;
        let series = series_after(site, &queue.series, &left)?;
        let seconds = odb.commit(tip)?.committer.seconds;
        let tip_date = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string();
        let ground = Ground { site, before: lock, tip, tip_date, trunk, base, range: &range, commit, tree };
        let records = ground.records(&left);
        let mut verdict = verdict(&left, &checks);
        policy::forbid(&mut verdict, fate.breaches);
        let (locked, leaving) = ground.lock(&left, records, landed, fate.pushed);
        let locked = Arc::new(locked);
        let changes = files(site, &left, &queue.series.to_bytes(), &series.to_bytes(), trunk);
        let made = {
            let (head, changes, locked) = (head.clone(), changes.clone(), locked.clone());
            move || Ok(make_with_lock(site, &head, changes, ProjectLock::clone(&locked)).ok())
        };
        let made = (may_be_made && verdict.publishable).then(|| begin_in(threads, made));
        let proofs = Proofs { verdict, checks, artifacts };
        let manifest = ground.manifest(&left, (&locked, &leaving), &commits, proofs);
        let manifest = complete(manifest, project, joined(found)?);
        let rendered = manifest
            .render()
            .map_err(|e| NightError::Format { what: "the manifest", reason: e.to_string() })?;
        // The disk is waited for beside what is left to do.
        let store = site.store.clone();
        let blob = begin(move || store.write_blob(rendered.as_bytes()));
        let made = made.map(joined).transpose()?.flatten();
        let locked = Arc::unwrap_or_clone(locked);
        written()?;
        let left: Vec<(Option<Box<Loss>>, Option<Patch>)> =
            left.into_iter().map(|l| (l.loss, l.rewritten.map(|(anew, _)| anew))).collect();
        Ok::<_, NightError>((manifest, blob, head, made, changes, locked, left))
    })?;
    let (mut reports, mut moved) = (Vec::with_capacity(left.len()), Vec::with_capacity(left.len()));
    let mut rewritten = Vec::new();
    for (patch, (loss, anew)) in patches.into_iter().zip(left) {
        moved.extend(patch.moved(&differences));
        reports.push(PatchReport { loss, ..patch.report });
        rewritten.extend(anew);
    }
    let blob = blob.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let refs = vec![RefUpdate {
        name: manifest_ref(&project.name, &build_id(&commit)),
        old: None,
        new: Some(blob.to_string()),
    }];
    // Thousands of objects, and what was known of them.
    drop_later((odb, differences));
    let (tip, commits, lock, differences) = (*tip, changes, locked, moved);
    let built =
        Built { reports, tip, commit, head, made, commits, lock, refs, differences, queue, rewritten };
    Ok((built, manifest))
}

/// Which patch of a build needs which, and what the move to it asks of who deploys it. Sees the build's objects by `view`, and
/// asks git only when they are `written`.
fn found(
    site: &Site<'_>,
    lock: Option<&ProjectLock>,
    (planned, texts, early): (&[PlannedPatch], &[Patch], Option<EarlyEdges>),
    (view, written): (Option<Place>, &(dyn Fn() -> Result<(), NightError> + Sync)),
    next: &Next<'_>,
) -> Result<(Vec<Edge>, Option<Transition>), NightError> {
    let open = |view: Option<Place>| view.map_or_else(|| site.store.odb(), |view| Ok(view.open()));
    let last = match early.as_ref().and_then(EarlyEdges::last) {
        Some(last) => last?,
        None => lock.map(|l| recorded_manifest(site, l)).transpose()?.flatten().map(Arc::new),
    };
    let odb = open(view)?;
    std::thread::scope(|threads| {
        let (view, last) = (odb.place(), last.as_deref());
        let risk = begin_in(threads, move || match lock.and_then(|l| l.deploy.as_deref()) {
            Some(previous) => {
                written()?;
                from_previous(site, &open(view)?, previous, last, next)
            }
            None => Ok(None),
        });
        let stand = InBuild::all(planned);
        let edges = match early.and_then(|early| early.of(&stand)) {
            Some(edges) => edges?,
            None => edges::edges(&odb, &stand, texts, last)?,
        };
        Ok((edges, joined(risk)?))
    })
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
