//! Proves a build by the configured checks; where one fails, finds the patch or the upstream commit that broke it.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use gix_hash::ObjectId;

use super::stacks::alone;
use super::{Events, NightError, Site};
use crate::build::manifest::{BrokenBy, CheckRecord};
use crate::check::{Cache, Ended, Ran, Stop, first_bad};
use crate::graph::Edge;
use crate::store::{Odb, Repo, StoreError, WorkTree};
use crate::trunk::read_range;
use crate::workspace::{Check, CheckOn};

/// A build to prove: what stands on what.
pub struct Subject<'a> {
    /// The trunk commit.
    pub tip: ObjectId,
    /// The trunk commit of the build before, if there is one.
    pub from: Option<ObjectId>,
    /// The stack, from the bottom: each patch's name and its commit.
    pub stack: &'a [(String, ObjectId)],
    /// The build's own commit.
    pub commit: ObjectId,
    /// Which patch of the stack needs which; asked for where a check runs on each stack.
    pub edges: &'a dyn Fn() -> Result<Vec<Edge>, NightError>,
}

/// What the checks said.
pub struct Proved {
    /// Each check.
    pub records: Vec<CheckRecord>,
    /// The patch that a required check fails with, and what to say of it.
    pub broken: Option<(String, String)>,
}

/// One run to make: of which check, and on which commit.
type Task = (usize, ObjectId);

struct Prover<'a> {
    site: &'a Site<'a>,
    odb: &'a Odb,
    cache: Cache,
    how: Proving,
    /// What was run by this one: of which check, and on which tree.
    ran: RefCell<BTreeSet<(usize, ObjectId)>>,
    events: &'a dyn Events,
}

/// How checks are run.
#[derive(Debug, Clone, Default)]
pub struct Proving {
    /// So many at once; 0 is one for each core.
    pub jobs: usize,
    /// Those that failed on the same tree before are run again: they may have failed by chance.
    pub again: bool,
    /// Raised when they are of no use any more.
    pub stop: Stop,
}

/// Runs the project's checks.
pub fn prove(
    site: &Site<'_>,
    odb: &Odb,
    subject: &Subject<'_>,
    how: Proving,
    events: &dyn Events,
) -> Result<Proved, NightError> {
    let cache = cache(site).until(&how.stop);
    let prover = Prover { site, odb, cache, how, ran: RefCell::default(), events };
    let checks = &site.project.checks;
    let mut tasks: Vec<Task> = (0..checks.len()).map(|at| (at, subject.commit)).collect();
    for (at, _) in checks.iter().enumerate().filter(|(_, c)| c.on == CheckOn::EachPatch) {
        let below = subject.stack.iter().map(|(_, id)| *id).filter(|id| *id != subject.commit);
        tasks.extend(below.map(|id| (at, id)));
    }
    let mut stacks = Vec::new();
    if checks.iter().any(|c| c.on == CheckOn::EachStack) {
        stacks = alone(odb, &subject.tip, subject.stack, &(subject.edges)()?, events)?;
        let tops: Vec<ObjectId> = stacks.iter().filter_map(|s| Some(s.last()?.1)).collect();
        for (at, _) in checks.iter().enumerate().filter(|(_, c)| c.on == CheckOn::EachStack) {
            tasks.extend(tops.iter().filter(|id| **id != subject.commit).map(|id| (at, *id)));
        }
    }
    let ran = prover.run_all(&tasks)?;
    let of = |task: &Task| ran.iter().find(|(t, _)| t == task).map(|(_, ran)| ran.clone());
    let mut proved = Proved { records: Vec::new(), broken: None };
    for (at, check) in checks.iter().enumerate() {
        let Some(mut result) = of(&(at, subject.commit)) else { continue };
        let mut broken_by = None;
        if check.on == CheckOn::EachPatch {
            let bad = subject.stack.iter().find_map(|(name, id)| {
                let ran = of(&(at, *id)).filter(|ran| ran.ended != Ended::Passed)?;
                Some((name.clone(), *id, ran))
            });
            if let Some((name, id, ran)) = bad {
                broken_by =
                    Some(BrokenBy { patch: Some(name), commit: id.to_string(), subject: String::new() });
                result = ran;
            }
        }
        if check.on == CheckOn::EachStack {
            let bad = stacks.iter().find_map(|stack| {
                let (_, top) = stack.last()?;
                let ran = of(&(at, *top)).filter(|ran| ran.ended != Ended::Passed)?;
                Some((Subject { stack, commit: *top, ..*subject }, ran))
            });
            if let Some((alone, ran)) = bad {
                broken_by = prover.culprit(at, check, &alone)?;
                result = ran;
            }
        }
        if broken_by.is_none() && matches!(result.ended, Ended::Failed | Ended::TimedOut) {
            broken_by = prover.culprit(at, check, subject)?;
        }
        if let Some(by) = &mut broken_by {
            by.subject = prover.subject_of(&by.commit)?;
        }
        if check.required
            && proved.broken.is_none()
            && let Some(patch) = broken_by.as_ref().and_then(|by| by.patch.clone())
        {
            let (name, output) = (&check.name, result.output.display());
            let why = format!("the check '{name}' fails with it: {} (its output: {output})", said(&result));
            proved.broken = Some((patch, why));
        }
        proved.records.push(record(check, &result, broken_by));
    }
    Ok(proved)
}

/// Runs the checks on a build that is here, by its id, or on any commit.
pub fn prove_build(
    site: &Site<'_>,
    build: &str,
    how: Proving,
    events: &dyn Events,
) -> Result<(ObjectId, Vec<CheckRecord>), NightError> {
    let commit = site.commit(build)?;
    let odb = site.store.odb()?;
    let manifest = super::publish::manifest_of(site, &commit)?;
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok();
    let patches = manifest.iter().flat_map(|m| &m.patches);
    let stack: Vec<(String, ObjectId)> =
        patches.filter_map(|p| Some((p.name.clone(), id(p.commit.as_ref()?)?))).collect();
    let tip = manifest.as_ref().and_then(|m| id(&m.trunk.commit)).unwrap_or(commit);
    let from = manifest.as_ref().and_then(|m| id(m.base.before.as_ref()?));
    let edges = || Ok(manifest.as_ref().map(|m| m.edges.clone()).unwrap_or_default());
    let subject = Subject { tip, from, stack: &stack, commit, edges: &edges };
    Ok((commit, prove(site, &odb, &subject, how, events)?.records))
}

/// How a run ended, in words.
fn said(ran: &Ran) -> String {
    let last = if ran.last_line.is_empty() { String::new() } else { format!(": {}", ran.last_line) };
    match (ran.ended, ran.code) {
        (Ended::Passed, _) => "passed".to_owned(),
        (Ended::TimedOut, _) => "it took too long".to_owned(),
        (Ended::NotStarted, _) => format!("it could not be started{last}"),
        (Ended::Failed, Some(code)) => format!("exit code {code}{last}"),
        (Ended::Failed, None) => format!("ended by a signal{last}"),
    }
}

/// What was run on this machine before.
fn cache(site: &Site<'_>) -> Cache {
    Cache::at(&site.folder.join("checks"))
}

/// What the project's checks said of a build's tree before, as far as it is remembered here.
pub(super) fn remembered(site: &Site<'_>, tree: &str) -> Vec<CheckRecord> {
    let Ok(tree) = ObjectId::from_hex(tree.as_bytes()) else { return Vec::new() };
    let cache = cache(site);
    let of = |check: &Check| Some(record(check, &cache.get(check, &tree)?, None));
    site.project.checks.iter().filter_map(of).collect()
}

fn record(check: &Check, ran: &Ran, broken_by: Option<BrokenBy>) -> CheckRecord {
    CheckRecord {
        name: check.name.clone(),
        run: check.run.clone(),
        on: check.on.word().to_owned(),
        required: check.required,
        ended: ran.ended,
        code: ran.code,
        milliseconds: ran.milliseconds,
        said: if ran.ended == Ended::Passed { String::new() } else { said(ran) },
        output: (ran.ended != Ended::Passed).then(|| ran.output.to_string_lossy().into_owned()),
        broken_by,
    }
}

impl Prover<'_> {
    /// Which patch, or which upstream commit, a failing check began with.
    fn culprit(
        &self,
        at: usize,
        check: &Check,
        subject: &Subject<'_>,
    ) -> Result<Option<BrokenBy>, NightError> {
        self.events.step(&format!("check {}: looking for what broke it", check.name));
        let fails = |id: ObjectId| -> Result<bool, NightError> {
            Ok(self.run_all(&[(at, id)])?.first().is_some_and(|(_, ran)| ran.ended != Ended::Passed))
        };
        if !fails(subject.tip)? {
            let stack = subject.stack;
            let found = first_bad(stack.len(), |n| fails(stack[n].1))?;
            let by = stack.get(found).map(|(name, id)| BrokenBy {
                patch: Some(name.clone()),
                commit: id.to_string(),
                subject: String::new(),
            });
            return Ok(by);
        }
        // Trunk itself: the range that this night took in, if trunk was well before it.
        let Some(from) = subject.from.filter(|from| *from != subject.tip) else { return Ok(None) };
        if fails(from)? {
            return Ok(None);
        }
        let range = read_range(&self.site.store, self.odb, &from, &subject.tip)?;
        let line: Vec<ObjectId> = range.first_parent.iter().map(|n| range.commits[*n].id).collect();
        let found = first_bad(line.len(), |n| fails(line[n]))?;
        let by = line.get(found).map(|id| BrokenBy {
            patch: None,
            commit: id.to_string(),
            subject: String::new(),
        });
        Ok(by)
    }

    fn subject_of(&self, commit: &str) -> Result<String, NightError> {
        match ObjectId::from_hex(commit.as_bytes()) {
            Ok(id) => Ok(self.odb.commit(&id).map_err(StoreError::from)?.subject()),
            Err(_) => Ok(String::new()),
        }
    }

    /// Runs what was not run before, each worker in a work tree of its own.
    fn run_all(&self, tasks: &[Task]) -> Result<Vec<(Task, Ran)>, NightError> {
        let checks = &self.site.project.checks;
        let mut done = Vec::new();
        let mut open = VecDeque::new();
        for task in tasks {
            let tree = self.odb.commit(&task.1).map_err(StoreError::from)?.tree;
            match self.cache.get(&checks[task.0], &tree).filter(|ran| self.holds(ran, task.0, tree)) {
                Some(ran) => done.push((*task, ran)),
                None => open.push_back((*task, tree)),
            }
        }
        let jobs = match self.how.jobs {
            0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
            jobs => jobs,
        };
        let workers = jobs.min(open.len());
        if workers == 0 {
            return Ok(done);
        }
        let (open, results) = (Mutex::new(open), Mutex::new(Vec::new()));
        let (tell, told) = channel();
        let project = &self.site.project.name;
        let outcome = thread::scope(|threads| {
            let mut handles = Vec::new();
            for n in 0..workers {
                let place = self.site.folder.join("work").join(format!("{project}.check-{n}"));
                let (open, results, tell, cache) = (&open, &results, tell.clone(), &self.cache);
                let store = self.site.store.path();
                handles.push(threads.spawn(move || {
                    let worker = Worker { store, place: &place, cache, checks, project, tell };
                    worker.work(open, results)
                }));
            }
            drop(tell);
            for line in told {
                self.events.step(&line);
            }
            let ended =
                handles.into_iter().map(|h| h.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            ended.collect::<Result<Vec<()>, NightError>>()
        });
        outcome?;
        let results = results.into_inner().unwrap_or_default();
        for (task, _) in &results {
            self.ran.borrow_mut().insert((task.0, self.odb.commit(&task.1).map_err(StoreError::from)?.tree));
        }
        done.extend(results);
        Ok(done)
    }

    /// Does what a check said of a tree still count?
    fn holds(&self, said: &Ran, check: usize, tree: ObjectId) -> bool {
        !self.how.again || said.ended == Ended::Passed || self.ran.borrow().contains(&(check, tree))
    }
}

struct Worker<'w> {
    store: &'w std::path::Path,
    place: &'w std::path::Path,
    cache: &'w Cache,
    checks: &'w [Check],
    project: &'w str,
    tell: Sender<String>,
}

impl Worker<'_> {
    fn work(
        &self,
        open: &Mutex<VecDeque<(Task, ObjectId)>>,
        results: &Mutex<Vec<(Task, Ran)>>,
    ) -> Result<(), NightError> {
        let repo = Repo::at(self.store)?;
        let mut tree: Option<WorkTree> = None;
        loop {
            let next = open.lock().ok().and_then(|mut open| open.pop_front());
            let Some((task, id)) = next else { break };
            let (at, commit) = task;
            let check = &self.checks[at];
            let work = match tree.take() {
                Some(work) => {
                    work.move_to(&commit)?;
                    work
                }
                None => {
                    // What a killed run left there is nobody's.
                    WorkTree::at(self.place).remove(&repo)?;
                    WorkTree::add(&repo, self.place, &commit)?
                }
            };
            let short = commit.to_hex_with_len(12);
            let _ = self.tell.send(format!("check {} on {short}", check.name));
            let vars = [
                ("CARRY_PROJECT", self.project.to_owned()),
                ("CARRY_COMMIT", commit.to_string()),
                ("CARRY_TREE", id.to_string()),
            ];
            let ran = self
                .cache
                .run(check, &id, work.path(), &vars)
                .map_err(|source| NightError::Io { path: self.place.to_owned(), source })?;
            tree = Some(work);
            if let Ok(mut results) = results.lock() {
                results.push((task, ran));
            }
        }
        if let Some(work) = tree {
            work.remove(&repo)?;
        }
        Ok(())
    }
}
