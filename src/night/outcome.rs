//! The replay of a project's queue on a trunk tip, and what became of each patch.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use gix_hash::ObjectId;
use serde::Serialize;

use super::again::Again;
use super::causes::causes;
use super::early::Early;
use super::early_edges::EarlyEdges;
use super::evidence::{confirmed, note, rejected, undone};
use super::given::Given;
use super::judge::Context;
use super::landing::{Beside, Landing};
use super::sent::merged;
use super::settle::Answers;
use super::{NightError, Site};
use crate::build::manifest::ConflictRecord;
use crate::landed::{self, Candidate, Evidence, Found};
use crate::queue::{Patch, Queue};
use crate::replay::loss::Loss;
use crate::replay::prepare::{Prepared, Source, prepare};
use crate::replay::sequence::{Placed, Role, Settle, Step};
use crate::replay::{Both, ConflictKind};
use crate::resolution::Used;
use crate::store::{Objects, Odb, Place, StoreError, begin_in};
use crate::trunk::delta::Change;
use crate::trunk::differences::Differences;
use crate::trunk::{Range, read_range};
use crate::workspace::{
    Bearing, Culprit, Evolved, LandedLock, Outcome, PatchLock, ProjectLock, Proposal, Required,
};

/// What became of one patch, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatchReport {
    /// Its name.
    pub name: String,
    /// The first line of its message.
    pub subject: String,
    /// Who answers for it: its `Carry-Owner`, or its author.
    pub owner: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What the lock recorded before.
    pub before: Option<Outcome>,
    /// Is the build worth nothing without it?
    pub required: bool,
    /// The upstream commit that has it.
    pub evidence: Option<Box<Evidence>>,
    /// Where it conflicts.
    pub conflicts: Vec<ConflictRecord>,
    /// The upstream commit at which a root conflict began.
    pub culprit: Option<Box<Culprit>>,
    /// The upstream commit that is a revised version of it.
    pub evolved: Option<Box<Evolved>>,
    /// Upstream commits that may have it, and what people said of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proposed: Vec<Proposal>,
    /// Upstream commits that mend the one it was picked from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Bearing>,
    /// The recorded answer that settled its conflict.
    pub resolution: Option<Box<Used>>,
    /// The patches that it needs and that are not in the stack.
    pub needs: Vec<String>,
    /// Whether it still says what it said.
    pub loss: Option<Box<Loss>>,
    /// What else a person should know.
    pub note: Option<String>,
}

impl PatchReport {
    /// The proposals that nobody decided on yet, while it is in the queue.
    pub fn open(&self) -> impl Iterator<Item = &Proposal> {
        let landed = self.outcome == Outcome::Landed;
        self.proposed.iter().filter(move |p| p.decision.is_none() && !landed)
    }
}

/// The newest trunk commit before the first that breaks a patch of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Furthest {
    /// Its id.
    pub commit: String,
    /// How many commits it takes in.
    pub commits: usize,
    /// Of how many.
    pub of: usize,
}

/// The trees before and after a patch, and what differs between them.
pub type Moved = ([ObjectId; 2], Arc<[Change]>);

/// One patch of a plan.
#[derive(Debug, Clone)]
pub struct PlannedPatch {
    /// What to tell of it.
    pub report: PatchReport,
    /// SHA-256 of its file as read.
    pub digest: String,
    /// The stack's trees before and after it; none if it is not in the stack.
    pub applied: Option<(ObjectId, ObjectId)>,
    /// Does the stack have each file that it changes just as its own base has it?
    pub as_it_is: bool,
    /// The files that both it and the stack changed, where that is known.
    pub both: Option<Arc<[Both]>>,
    /// What it changes in the stack, where that is known.
    pub changes: Option<Arc<[Change]>>,
    /// The trees with which it applied to its own base, if it did.
    pub own: Option<(ObjectId, ObjectId)>,
}

impl PlannedPatch {
    /// Its trees that the next run moves, and what differs between them, as far as that is known.
    pub fn moved(&self, known: &Differences) -> Option<Moved> {
        let (before, after) = self.applied.or(self.own)?;
        let known = || known.get(&before, &after).map(Arc::from);
        Some(([before, after], self.changes.clone().or_else(known)?))
    }
}

/// What a replay of the queue gives.
pub struct Planned {
    /// The store's objects, with the new ones in memory.
    pub odb: Odb,
    /// The queue as read.
    pub queue: Arc<Queue>,
    /// The base it was recorded on; none for a queue that was never replayed.
    pub base: Option<ObjectId>,
    /// How many commits the trunk moved.
    pub commits: usize,
    /// These commits.
    pub range: Range,
    /// If a patch of the stack fell out: how far trunk could move with the whole stack.
    pub furthest: Option<Furthest>,
    /// How git describes the commit replayed onto.
    pub describe: Option<String>,
    /// Every patch, in the queue's order.
    pub patches: Vec<PlannedPatch>,
    /// The patches that left the queue as upstream had them, with what this trunk says of them.
    pub landed: Vec<LandedLock>,
    /// The stack's tree.
    pub tree: ObjectId,
    /// What was known of the trees that were moved.
    pub differences: Differences,
    /// Diffs of patches that are to be written anew, as git makes them.
    pub early: Early,
    /// Which of them needs which, if it comes as it seems.
    pub edges: Option<EarlyEdges>,
}

impl Planned {
    /// What to tell of every patch.
    pub fn reports(&self) -> Vec<PatchReport> {
        self.patches.iter().map(|p| p.report.clone()).collect()
    }

    /// Does it say what the lock already records?
    pub fn is_quiet(&self, lock: &ProjectLock, tip: &ObjectId) -> bool {
        let tip = tip.to_string();
        lock.deploy.is_some()
            && lock.base == tip
            && lock.patches.len() == self.patches.len()
            && lock.patches.iter().zip(&self.patches).all(|(was, is)| {
                was.name == is.report.name
                    && was.digest == is.digest
                    && was.tree == is.applied.map(|(_, after)| after.to_string())
                    && was.outcome.left_out() == is.report.outcome.left_out()
            })
    }
}

/// A queue that is to be replayed.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Where.
    pub site: &'a Site<'a>,
    /// What was recorded.
    pub lock: Option<&'a ProjectLock>,
    /// The queue.
    pub queue: &'a Arc<Queue>,
    /// The recorded answers.
    pub answers: &'a Answers<'a>,
    /// Is it to be built? What the build takes is begun as early as may be then.
    pub is_built: bool,
}

impl Plan<'_> {
    /// Replays the queue on `tip`.
    pub fn on(&self, tip: &ObjectId) -> Result<Planned, NightError> {
        plan(self, tip)
    }
}

fn plan(
    &Plan { site, lock, queue, answers, is_built }: &Plan<'_>,
    tip: &ObjectId,
) -> Result<Planned, NightError> {
    let queue = Arc::clone(queue);
    let odb = site.store.odb()?;
    let base = match lock {
        None => None,
        Some(lock) => {
            let missing = || NightError::NoBase { base: lock.base.clone() };
            let id = ObjectId::from_hex(lock.base.as_bytes()).map_err(|_| missing())?;
            Some(Some(id).filter(|id| odb.has(id)).ok_or_else(missing)?)
        }
    };
    let from = base.unwrap_or(*tip);
    let prepared = prepare(&odb, &queue, lock, &odb.commit(&from)?.tree)?;
    let locked: HashMap<&str, &PatchLock> =
        lock.map(|l| l.patches.iter().map(|p| (p.name.as_str(), p)).collect()).unwrap_or_default();
    let kept = |patch: &Patch| {
        let before = locked.get(patch.name()).filter(|p| p.digest == patch.digest);
        before.is_some_and(|p| p.outcome == Outcome::Landed)
    };
    let (mut steps, mut places) = (Vec::new(), Vec::new());
    for (at, (patch, prepared)) in queue.patches.iter().zip(&prepared).enumerate() {
        let Ok((before, after, _)) = prepared.trees else { continue };
        let role = match &patch.hold {
            Some(_) => Role::Held,
            None if kept(patch) => Role::Landed,
            None => Role::Carry,
        };
        places.push(at);
        steps.push(Step { name: patch.name().to_owned(), before, after, role });
    }
    let mut evidence = confirmed(lock);
    leave_out(&mut steps, &evidence);
    let candidates = candidates(&queue, &prepared, &locked, &merged(site, &queue));
    let tip_tree = odb.commit(tip)?.tree;
    let differences = site.differences();
    // git makes the diffs that are compared, and it sees what is written.
    odb.flush()?;
    // What upstream has is seldom much: the queue is replayed as if it had nothing while that is looked up.
    let landing = Landing::of(&steps);
    let again = Again::of(site, &odb, answers, &steps, &tip_tree);
    let known = again.as_ref().and_then(|again| again.known(&steps, &tip_tree));
    let is_known = known.is_some();
    let (replayed, describe) = std::thread::scope(|threads| {
        let view = odb.place();
        let (candidates, landing) = (&candidates, &landing);
        let search = begin_in(threads, move || search(site, view, &from, tip, candidates, landing));
        let describe = begin_in(threads, || site.store.describe(tip));
        let settle = Some(answers as &dyn Settle);
        let beside = Beside { odb: &odb, tip: tip_tree, differences: &differences, settle, landing, known };
        let replayed = beside.replay(&mut steps, |replayed| {
            let given: Vec<Option<Given>> = places
                .iter()
                .zip(&replayed.placed)
                .map(|(at, placed)| Given::of(&odb, &queue.patches[*at], &prepared[*at], placed))
                .collect();
            let (early, edges) = match is_built {
                true => (
                    Early::ask(site, &odb, &replayed.placed, &given),
                    Some(EarlyEdges::look(site, lock, (&odb, &queue), (&places, &replayed.placed, &given))),
                ),
                false => (Early::default(), None),
            };
            let known = search.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (known, given, (early, edges))
        });
        (replayed, describe.join().unwrap_or_default())
    });
    let (replayed, (known, given, (early, edges))) = replayed?;
    let (range, found) = known?;
    if let Some(again) = again.filter(|_| !is_known && found.settled.is_empty()) {
        again.keep(&odb, &steps, &replayed.placed, &tip_tree);
    }
    evidence.extend(found.settled);
    // A patch that was left out before stands on an older base: its culprit is the one found then.
    let is_new = |at: &usize| !matches!(prepared[places[*at]].trees, Ok((_, _, Source::LastGood)));
    let roots = replayed.placed.iter().enumerate().filter(|(_, p)| matches!(p, Placed::Conflict(_)));
    let roots: Vec<usize> = roots.map(|(at, _)| at).filter(is_new).collect();
    let mut causes = causes(&site.store, &odb, &range, &steps, &replayed.placed, &roots, &differences)?;
    let mut placed: Vec<(Option<Placed>, Option<Given>)> =
        queue.patches.iter().map(|_| (None, None)).collect();
    for ((at, became), given) in places.into_iter().zip(replayed.placed).zip(given) {
        placed[at] = (Some(became), given);
    }

    let (mut fixes, undone) = (landed::fixes(&candidates, &range), undone(&range));
    let mut patches = Vec::with_capacity(queue.patches.len());
    for ((patch, prepared), (placed, was_given)) in queue.patches.iter().zip(&prepared).zip(placed) {
        let own = prepared.trees.as_ref().ok().map(|(before, after, _)| (*before, *after));
        let was = locked.get(patch.name()).copied();
        let context = Context { odb: &odb, range: &range, patch, prepared, answers, given: was_given, was };
        let report = report(site, patch, was.map(|p| p.outcome));
        let as_it_is = matches!(placed, Some(Placed::Applied { as_it_is: true, .. }));
        let (both, changes) = match &placed {
            Some(Placed::Applied { both, changes, .. }) => (both.clone(), changes.clone()),
            _ => (None, None),
        };
        let (mut report, applied) = context.judge(report, placed, evidence.get(patch.name()))?;
        if report.outcome == Outcome::Conflict {
            let known = || was.filter(|w| w.outcome.is_root()).and_then(|w| w.culprit.clone());
            report.culprit = causes.culprits.remove(patch.name()).map(Box::new).or_else(known);
            report.evolved = was.and_then(|w| w.evolved.clone());
        }
        let fixes = fixes.remove(patch.name()).unwrap_or_default();
        note(&mut report, was, found.proposed.get(patch.name()), fixes, &undone);
        let digest = patch.digest.clone();
        patches.push(PlannedPatch { report, digest, applied, as_it_is, both, changes, own });
    }
    let mut landed = lock.map(|l| l.landed.clone()).unwrap_or_default();
    landed::note_undone(&mut landed, &range);
    let commits = range.commits.len();
    let furthest = match causes.first_break {
        None => None,
        Some(place) => {
            let at = place.checked_sub(1).map(|before| &range.commits[range.first_parent[before]]);
            let commit = at.map_or(from, |upstream| upstream.id);
            let safe = site.store.count(&from, &commit)?;
            Some(Furthest { commit: commit.to_string(), commits: safe, of: commits })
        }
    };
    let tree = replayed.tree;
    Ok(Planned {
        odb,
        queue,
        base,
        commits,
        range,
        furthest,
        describe,
        patches,
        landed,
        tree,
        differences,
        early,
        edges,
    })
}

/// What upstream has does not go on the stack.
fn leave_out(steps: &mut [Step], evidence: &BTreeMap<String, Evidence>) {
    for step in steps.iter_mut().filter(|s| s.role == Role::Carry && evidence.contains_key(&s.name)) {
        step.role = Role::Landed;
    }
}

/// The patches that are looked for in the range, with the paths that they touch.
fn candidates<'a>(
    queue: &'a Queue,
    prepared: &[Prepared],
    locked: &HashMap<&str, &PatchLock>,
    merged: &BTreeMap<String, (String, String)>,
) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for (patch, prepared) in queue.patches.iter().zip(prepared) {
        if let (Ok((before, after, _)), None) = (&prepared.trees, &patch.hold) {
            let trees = (*before, *after);
            candidates.push(Candidate {
                name: patch.name(),
                trees,
                text: Some(patch),
                paths: patch.paths.iter().cloned().collect(),
                metadata: &patch.metadata,
                subject: patch.subject(),
                mail: patch.header.author.email.clone(),
                rejected: rejected(locked.get(patch.name()).copied()),
                merged: merged.get(patch.name()).cloned(),
            });
        }
    }
    candidates
}

/// The range, and the patches that it has, which are told as they are found. Sees what is written, with a view of its own.
fn search(
    site: &Site<'_>,
    view: Option<Place>,
    from: &ObjectId,
    tip: &ObjectId,
    candidates: &[Candidate<'_>],
    landing: &Landing,
) -> Result<(Range, Found), StoreError> {
    let odb = match view {
        Some(view) => view.open(),
        None => site.store.odb()?,
    };
    let range = read_range(&site.store, &odb, from, tip)?;
    let found = landed::find(&site.store, &odb, candidates, from, &range, &|settled| landing.tell(settled))?;
    Ok((range, found))
}

fn report(site: &Site<'_>, patch: &Patch, before: Option<Outcome>) -> PatchReport {
    let owner = patch.metadata.owner.clone().unwrap_or_else(|| patch.header.author.name.to_string());
    PatchReport {
        name: patch.name().to_owned(),
        subject: patch.subject(),
        owner,
        outcome: Outcome::Clean,
        before,
        required: patch.metadata.required || site.project.policy.required == Required::All,
        evidence: None,
        conflicts: Vec::new(),
        culprit: None,
        evolved: None,
        proposed: Vec::new(),
        fixes: Vec::new(),
        resolution: None,
        needs: Vec::new(),
        loss: None,
        note: None,
    }
}

/// A kind of conflict in words.
pub fn kind_in_words(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::Content => "both changed the same lines",
        ConflictKind::Binary => "both changed a binary file",
        ConflictKind::AddAdd => "both added the file",
        ConflictKind::DeletedInTrunk => "trunk deleted the file",
        ConflictKind::DeletedByPatch => "the patch deletes a file that trunk changed",
        ConflictKind::Rename => "the file was moved",
        ConflictKind::FileDirectory => "a file where the other has a folder",
        ConflictKind::Mode => "both changed the file's type or mode",
        ConflictKind::Submodule => "both moved the submodule",
        ConflictKind::DirectoryRename => "the folder was moved",
        ConflictKind::Generated => "both changed a generated file, and it was not made anew",
    }
}
