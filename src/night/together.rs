//! Projects of one run, side by side: how many of them work at once, and what patches that span projects say of each
//! other. `Depends-On: <project>/<patch>` ties two patches: they are in their builds both, or neither is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::outcome::Planned;
use crate::queue::{Patch, Queue, Readings};
use crate::workspace::{Outcome, Workspace};

/// A patch of a project, written `project/patch`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The project.
    pub project: String,
    /// The patch.
    pub patch: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.patch)
    }
}

/// Two patches of different projects, the first of which names the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    from: Member,
    to: Member,
}

/// How a patch stands in its project's stack.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// In it.
    In,
    /// Upstream has it: it wants nothing of its partners, nor they of it.
    Upstream,
    /// Left out, and why.
    Out(String),
}

/// What a project has said.
#[derive(Debug, Clone, Default)]
struct Said {
    /// Of its patches with partners.
    stands: BTreeMap<String, Stand>,
    /// Does it wait for the others' answer?
    waits: bool,
    /// The answer: its patches that have to go, each with the partner that is out and why.
    answer: BTreeMap<String, Partner>,
}

/// The partner for which a patch is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// Which.
    pub member: Member,
    /// Why it is out.
    pub why: String,
}

#[derive(Debug, Default)]
struct State {
    /// How many more projects may work.
    free: usize,
    /// The projects of this run that have partners and have not ended, with what they said.
    live: BTreeMap<String, Said>,
    /// What those said that have ended well.
    ended: BTreeMap<String, BTreeMap<String, Stand>>,
    /// How many times answers were given.
    round: u64,
    /// Had nobody to change anything, the last time?
    agreed: bool,
}

/// The projects of one run.
#[derive(Debug)]
pub struct Together {
    links: Vec<Link>,
    /// How the last runs left the patches with partners.
    recorded: BTreeMap<Member, Stand>,
    state: Mutex<State>,
    changed: Condvar,
}

/// So much of a patch file is looked at for a line that names a partner.
const HEAD: u64 = 64 << 10;

impl Together {
    /// The `projects` of a workspace that run together, at most `at_once` of them at work.
    pub fn new(workspace: &Workspace, projects: &[String], at_once: usize) -> Self {
        let links = links(workspace);
        let mut recorded = BTreeMap::new();
        for member in links.iter().flat_map(|l| [&l.from, &l.to]) {
            recorded.insert(member.clone(), stand_of(workspace, member));
        }
        let tied = |name: &&String| links.iter().any(|l| l.from.project == **name || l.to.project == **name);
        let live = projects.iter().filter(tied).map(|name| (name.clone(), Said::default())).collect();
        let state = Mutex::new(State { free: at_once.max(1), live, ..State::default() });
        Self { links, recorded, state, changed: Condvar::new() }
    }

    /// Patches that depend on each other in a ring, each ring once.
    pub fn rings(&self) -> Vec<Vec<Member>> {
        let graph: DiGraphMap<&Member, ()> = self.links.iter().map(|l| (&l.from, &l.to)).collect();
        let mut rings: Vec<Vec<Member>> = tarjan_scc(&graph)
            .into_iter()
            .filter(|ring| ring.len() > 1)
            .map(|ring| ring.into_iter().cloned().collect())
            .collect();
        rings.iter_mut().for_each(|ring| ring.sort());
        rings.sort();
        rings
    }

    /// Begins a project's run, when there is room.
    pub fn begin(&self, project: &str) -> Lane<'_> {
        let mut state = self.locked();
        while state.free == 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.free -= 1;
        Lane { together: self, project: project.to_owned(), well: false }
    }

    /// The projects that a project waits for before it goes out.
    pub fn partners(&self, project: &str) -> Vec<String> {
        let state = self.locked();
        let other = |l: &Link| match (l.from.project == project, l.to.project == project) {
            (true, _) => Some(l.to.project.clone()),
            (_, true) => Some(l.from.project.clone()),
            _ => None,
        };
        let all: BTreeSet<String> = self.links.iter().filter_map(other).collect();
        all.into_iter().filter(|name| state.live.contains_key(name)).collect()
    }

    /// Says how a project's patches stand, and waits until those tied to it have said so too. Gives the patches that
    /// have to go as a partner is out; with none, all are agreed. What is asked again must not have fewer patches out.
    pub fn settle(&self, project: &str, planned: &Planned) -> BTreeMap<String, Partner> {
        self.say(project, |patch| {
            let report = planned.patches.iter().map(|p| &p.report).find(|r| r.name == patch)?;
            Some(match report.outcome {
                Outcome::Landed => Stand::Upstream,
                out if out.left_out() => Stand::Out(out.word().to_owned()),
                _ => Stand::In,
            })
        })
    }

    fn say(&self, project: &str, stands: impl Fn(&str) -> Option<Stand>) -> BTreeMap<String, Partner> {
        let mine = self.links.iter().flat_map(|l| [&l.from, &l.to]).filter(|m| m.project == project);
        let mut said = BTreeMap::new();
        for member in mine {
            // One that left the queue may be upstream; the lock knows.
            let upstream = self.recorded.get(member) == Some(&Stand::Upstream);
            let gone = || if upstream { Stand::Upstream } else { no_such(project) };
            said.insert(member.patch.clone(), stands(&member.patch).unwrap_or_else(gone));
        }
        if said.is_empty() {
            return BTreeMap::new();
        }
        let mut state = self.locked();
        let Some(entry) = state.live.get_mut(project) else {
            // Its own run, without the others.
            state.ended.insert(project.to_owned(), said);
            return self.answer(&state, project);
        };
        entry.stands = said;
        loop {
            if let Some(entry) = state.live.get_mut(project) {
                entry.waits = true;
            }
            // Whoever waits leaves room for those that are waited for.
            state.free += 1;
            let round = state.round;
            self.give_answers(&mut state);
            self.changed.notify_all();
            while state.round == round || state.free == 0 {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.free -= 1;
            let answer = state.live.get_mut(project).map(|said| std::mem::take(&mut said.answer));
            let answer = answer.unwrap_or_default();
            if !answer.is_empty() || state.agreed {
                return answer;
            }
        }
    }

    /// Gives everyone an answer, if everyone waits.
    fn give_answers(&self, state: &mut State) {
        if state.live.is_empty() || !state.live.values().all(|said| said.waits) {
            return;
        }
        let names: Vec<String> = state.live.keys().cloned().collect();
        let answers: Vec<BTreeMap<String, Partner>> =
            names.iter().map(|name| self.answer(state, name)).collect();
        state.agreed = answers.iter().all(BTreeMap::is_empty);
        for (said, answer) in state.live.values_mut().zip(answers) {
            said.waits = false;
            said.answer = answer;
        }
        state.round += 1;
    }

    /// The patches of a project that are in its stack and have a partner that is out.
    fn answer(&self, state: &State, project: &str) -> BTreeMap<String, Partner> {
        let stand = |member: &Member| -> Stand {
            let live = state.live.get(&member.project).map(|said| &said.stands);
            let said = live.filter(|s| !s.is_empty()).or_else(|| state.ended.get(&member.project));
            let stand = said.and_then(|stands| stands.get(&member.patch)).or(self.recorded.get(member));
            stand.cloned().unwrap_or(Stand::In)
        };
        let mut out = BTreeMap::new();
        for (own, other) in self.links.iter().flat_map(|l| [(&l.from, &l.to), (&l.to, &l.from)]) {
            if own.project == project
                && stand(own) == Stand::In
                && let Stand::Out(why) = stand(other)
            {
                out.entry(own.patch.clone()).or_insert(Partner { member: other.clone(), why });
            }
        }
        out
    }

    /// A project goes out, and has no more to say: what it said of its patches holds, and nobody waits for it.
    pub fn leave(&self, project: &str) {
        let mut state = self.locked();
        if let Some(said) = state.live.remove(project) {
            state.ended.insert(project.to_owned(), said.stands);
        }
        self.give_answers(&mut state);
        self.changed.notify_all();
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A project's place in a run. When it is dropped, the others need not wait for it any more.
#[derive(Debug)]
pub struct Lane<'a> {
    together: &'a Together,
    project: String,
    well: bool,
}

impl Lane<'_> {
    /// The run has ended well: what the project said of its patches holds. Without this, what was recorded holds.
    pub fn ended_well(mut self) {
        self.well = true;
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let mut state = self.together.locked();
        state.free += 1;
        if let Some(said) = state.live.remove(&self.project)
            && self.well
        {
            state.ended.insert(self.project.clone(), said.stands);
        }
        self.together.give_answers(&mut state);
        self.together.changed.notify_all();
    }
}

/// How the lock has a patch.
fn stand_of(workspace: &Workspace, member: &Member) -> Stand {
    let Some(lock) = workspace.lock.projects.get(&member.project).filter(|lock| lock.deploy.is_some()) else {
        return Stand::Out(format!("{} has no build yet", member.project));
    };
    match lock.patches.iter().find(|p| p.name == member.patch) {
        Some(patch) if patch.outcome.left_out() => Stand::Out(patch.outcome.word().to_owned()),
        Some(patch) if patch.outcome == Outcome::Landed => Stand::Upstream,
        Some(_) => Stand::In,
        None if lock.landed.iter().any(|l| l.name == member.patch && l.reverted.is_none()) => Stand::Upstream,
        None => no_such(&member.project),
    }
}

fn no_such(project: &str) -> Stand {
    Stand::Out(format!("the queue of {project} has no such patch"))
}

/// The pairs of projects that have patches which name one of the other.
pub fn ties(workspace: &Workspace) -> Vec<(String, String)> {
    links(workspace).into_iter().map(|l| (l.from.project, l.to.project)).collect()
}

/// All that the queues of a workspace say of patches of other projects. A queue that cannot be read says nothing here;
/// its own run tells.
fn links(workspace: &Workspace) -> Vec<Link> {
    let projects = &workspace.config.projects;
    if projects.len() < 2 {
        return Vec::new();
    }
    let mut links = Vec::new();
    for project in projects.values() {
        let folder = workspace.patches(project);
        if !names_another(&folder) {
            continue;
        }
        let Ok(queue) = Queue::load(&folder, &Readings::default(), None) else { continue };
        let named = |patch: &Patch| -> Vec<Link> {
            let from = Member { project: project.name.clone(), patch: patch.name().to_owned() };
            let to = |value: &String| {
                let (other, name) = value.split_once('/')?;
                let known = other != project.name && projects.contains_key(other) && !name.is_empty();
                known.then(|| Member { project: other.to_owned(), patch: name.to_owned() })
            };
            let all = patch.metadata.depends_on.iter().filter_map(to);
            all.map(|to| Link { from: from.clone(), to }).collect()
        };
        links.extend(queue.patches.iter().flat_map(named));
    }
    links
}

/// May a patch in the folder name one of another project? A look at the files' heads, as most queues have none.
fn names_another(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| std::fs::File::open(entry.path()).ok()).any(|file| {
        let mut head = Vec::new();
        let read = file.take(HEAD).read_to_end(&mut head);
        head.make_ascii_lowercase();
        read.is_ok() && bstr::ByteSlice::contains_str(&head[..], "depends-on:")
    })
}
