//! How the builds of a unit go out: one push a remote, with the queues' branches and the result, and the claim goes with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gix_hash::ObjectId;
use serde_json::json;

use super::FleetError;
use super::claim::{read_result, there};
use super::hold::Held;
use super::look::{Look, Member, Start, key};
use super::queue::one_file;
use super::records::{Record, Told, VERSION, claim_ref, queue_ref, result_ref, set_ref, worse};
use super::unit::Unit;
use crate::night::together::Together;
use crate::night::{self, Going, Night, NightError, Outlet, Push, Site, beat, manifest_ref, troubles};
use crate::store::{RefUpdate, Repo};
use crate::trunk;
use crate::workspace::{Identity, ProjectLock};

/// So many results of a unit stay at the remote, for clones that are behind and for how long it took before.
const KEPT: usize = 4;
/// So many durations go on from result to result.
const PAST: usize = 10;

/// The way out of a unit's builds.
#[derive(Debug)]
pub struct Departure {
    unit: Unit,
    home: String,
    claim: Arc<Held>,
    holder: String,
    began: Instant,
    members: BTreeMap<String, Member>,
    stores: BTreeMap<String, Repo>,
    results: BTreeMap<String, ObjectId>,
    sets: BTreeMap<String, ObjectId>,
    identity: Identity,
    past: Vec<Record>,
    together: Option<Arc<Together>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: BTreeMap<String, Arrived>,
    over: Option<Over>,
}

/// What a project of the unit came with.
#[derive(Debug)]
enum Arrived {
    /// A build.
    Build(Box<Ready>),
    /// Nothing that goes out.
    Nothing(Box<Stays>),
    /// An error: the unit has no result.
    Error,
}

#[derive(Debug)]
struct Stays {
    told: Told,
    trunk: Option<ObjectId>,
}

#[derive(Debug)]
struct Ready {
    push: Push,
    told: Told,
    tree: ObjectId,
    trunk: Option<ObjectId>,
    lock: ProjectLock,
}

/// How it ended.
#[derive(Debug, Clone)]
enum Over {
    /// All is out, or there was nothing; with the result, if all projects came to an end. And why the builds stay, if
    /// they do: another project of the set has none.
    Out(Option<Box<Record>>, Option<String>),
    /// Nothing went out, or not all.
    Not(String),
}

impl Departure {
    /// Of a unit that is claimed.
    pub fn new(
        sites: &[Site<'_>],
        unit: &Unit,
        look: &Look,
        home: String,
        (claim, holder, began): (Arc<Held>, String, Instant),
        together: Option<Arc<Together>>,
    ) -> Self {
        let plain = || Identity { name: "git-carry".into(), email: "git-carry@localhost".into() };
        let identity = sites.first().map_or_else(plain, |site| site.workspace.config.identity.clone());
        let names = || sites.iter().map(|site| site.project.name.clone());
        let mut past: Vec<Record> = Vec::new();
        if let Some(first) = sites.first() {
            let read = |(key, id): (&String, &ObjectId)| read_result(first, &unit.name, key, *id).ok();
            past = look.refs.results.iter().filter_map(read).collect();
            past.sort_by_key(|record| std::cmp::Reverse(record.at));
        }
        Self {
            unit: unit.clone(),
            home,
            claim,
            holder,
            began,
            members: names().zip(look.members.iter().cloned()).collect(),
            stores: names().zip(sites.iter().map(|site| site.store.clone())).collect(),
            results: look.refs.results.clone(),
            sets: look.refs.sets.clone(),
            identity,
            past,
            together,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// A project's place among the others: when it is dropped, nobody waits for the project any more.
    pub fn place<'a>(&'a self, project: &'a str) -> Place<'a> {
        Place { departure: self, project }
    }

    /// Says how a project's night ended. One whose build went out, or should have, has said so itself.
    pub fn ended(&self, site: &Site<'_>, night: Result<&Night, &NightError>) {
        let name = &site.project.name;
        let mut state = self.locked();
        if state.arrived.contains_key(name) {
            return;
        }
        let arrived = match night {
            Ok(night) => {
                let trunk = trunk::known(&site.store).ok().flatten();
                let queue = self.members.get(name).and_then(|m| m.state.tip);
                let (seen, _) = night::found(site.workspace, site.project, night, beat::now());
                let told = Told::of(night, seen, queue.map(|id| id.to_string()));
                Arrived::Nothing(Box::new(Stays { told, trunk }))
            }
            Err(_) => Arrived::Error,
        };
        state.arrived.insert(name.clone(), arrived);
        // What goes wrong is told by `outcome`.
        let _ = self.when_all_are_there(state);
    }

    /// The result, after all projects have ended; the inner error says why it is not out.
    pub fn outcome(&self) -> Result<Option<Record>, String> {
        match &self.locked().over {
            Some(Over::Out(record, _)) => Ok(record.as_deref().cloned()),
            Some(Over::Not(why)) => Err(why.clone()),
            None => Ok(None),
        }
    }

    /// What the lock says of a project whose build went out.
    pub fn lock(&self, project: &str) -> Option<ProjectLock> {
        match self.locked().arrived.get(project) {
            Some(Arrived::Build(ready)) => Some(ready.lock.clone()),
            _ => None,
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last that arrives lets all go; the others wait for it.
    fn when_all_are_there(&self, mut state: MutexGuard<'_, State>) -> Result<(), NightError> {
        if state.arrived.len() == self.members.len() {
            let stay = self.why_builds_stay(&state.arrived);
            let gone = self.go(&state.arrived, stay.as_deref());
            state.over = Some(match &gone {
                Ok(record) => Over::Out(record.clone().map(Box::new), stay),
                Err(e) => Over::Not(e.to_string()),
            });
            self.changed.notify_all();
            gone?;
        }
        loop {
            match &state.over {
                Some(Over::Out(_, None)) => return Ok(()),
                Some(Over::Out(_, Some(why)) | Over::Not(why)) => {
                    return Err(NightError::Together { unit: self.unit.name.clone(), why: why.clone() });
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Why no build of a set goes out though there may be some: one of its projects has none.
    fn why_builds_stay(&self, arrived: &BTreeMap<String, Arrived>) -> Option<String> {
        if self.unit.sets.is_empty() {
            return None;
        }
        arrived.iter().find_map(|(name, arrived)| match arrived {
            Arrived::Error => Some(format!("the night of '{name}' failed")),
            Arrived::Nothing(stays) if stays.told.done == "refused" => {
                Some(format!("'{name}' is not published: {}", stays.told.reasons.join("; ")))
            }
            _ => None,
        })
    }

    /// Pushes what has arrived, or of builds that `stay` the result alone. The unit's own remote is the last: its result
    /// says that all is out.
    fn go(
        &self,
        arrived: &BTreeMap<String, Arrived>,
        stay: Option<&str>,
    ) -> Result<Option<Record>, NightError> {
        let claim = self.claim.last();
        if self.claim.lost.is_raised() {
            return Err(NightError::Stopped { project: self.unit.name.clone() });
        }
        let mut pushes: BTreeMap<&str, (Vec<&str>, Vec<RefUpdate>)> = BTreeMap::new();
        for (name, arrived) in arrived {
            if let (Arrived::Build(ready), None) = (arrived, stay) {
                let (of, refs) = pushes.entry(&ready.push.address).or_default();
                of.push(name);
                refs.extend(ready.push.refs.iter().cloned());
            }
        }
        let record = self.record(arrived, stay);
        let (mut of, mut refs) = pushes.remove(self.home.as_str()).unwrap_or_default();
        for (address, (of, refs)) in pushes {
            self.push(address, &of, refs)?;
        }
        let first = self.unit.projects.first().and_then(|name| Some((name, self.stores.get(name)?)));
        let (Some(record), Some((first, store))) = (record, first) else {
            if !refs.is_empty() {
                self.push(&self.home, &of, refs)?;
            }
            return Ok(None);
        };
        // The result lies in its store.
        of.retain(|name| *name != first.as_str());
        of.insert(0, first);
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|e| NightError::Format { what: "the result", reason: e.to_string() })?;
        let blob = store.write_blob(&text)?;
        refs.extend(self.result_refs(&record, &blob.to_string()));
        if stay.is_none() {
            refs.extend(self.set_refs(&record)?);
        }
        let name = claim_ref(&self.unit.name);
        refs.push(RefUpdate { name, old: Some(claim.to_string()), new: None });
        let Err(refused) = self.push(&self.home, &of, refs) else { return Ok(Some(record)) };
        // A connection may break after the server has done all of it.
        let witness = record.keys.first().map(|key| result_ref(&self.unit.name, key));
        match witness.map(|name| store.listed(&self.home, &[name])) {
            Some(Ok(there)) if there.iter().any(|(_, id)| *id == blob) => Ok(Some(record)),
            _ => Err(refused),
        }
    }

    /// The manifests of the unit's sets: each a commit of `set.json` on top of the one before, which names each project's
    /// build.
    fn set_refs(&self, record: &Record) -> Result<Vec<RefUpdate>, NightError> {
        let mut refs = Vec::new();
        for set in &self.unit.sets {
            let told = record.projects.iter().filter(|p| set.projects.contains(&p.project));
            let build = |p: &Told| {
                let manifest = p.build.as_deref().map(|build| manifest_ref(&p.project, build));
                let what =
                    json!({ "build": p.build, "commit": p.commit, "trunk": p.trunk, "manifest": manifest });
                (p.project.clone(), what)
            };
            let projects: serde_json::Map<String, serde_json::Value> = told.map(build).collect();
            let there = self.sets.get(&set.name).copied();
            // What is as it was is no new state of the set.
            if there.is_some() && record.projects.iter().all(|p| p.done == "quiet") {
                continue;
            }
            let document = json!({ "version": VERSION, "set": set.name, "projects": projects });
            let message = format!("carry: the set {}: {}\n", set.name, set.projects.join(", "));
            let text = format!("{document:#}\n").into_bytes();
            let commit = self.set_commit(text, there, message)?;
            refs.push(RefUpdate {
                name: set_ref(&set.name),
                old: there.map(|id| id.to_string()),
                new: Some(commit.to_string()),
            });
        }
        Ok(refs)
    }

    /// Makes a commit of `set.json` in the store of the unit's first project.
    fn set_commit(
        &self,
        text: Vec<u8>,
        before: Option<ObjectId>,
        message: String,
    ) -> Result<ObjectId, NightError> {
        let store = self.unit.projects.first().and_then(|name| self.stores.get(name));
        let missing = || NightError::NoRemote { project: self.unit.name.clone() };
        one_file(store.ok_or_else(missing)?, &self.identity, ("set.json", text), before, message).map_err(
            |e| match e {
                FleetError::Night(e) => e,
                other => NightError::Format { what: "the set's manifest", reason: other.to_string() },
            },
        )
    }

    fn push(&self, address: &str, of: &[&str], refs: Vec<RefUpdate>) -> Result<(), NightError> {
        let mut stores = of.iter().filter_map(|name| self.stores.get(*name));
        let Some(first) = stores.next() else { return Ok(()) };
        let others: Vec<&Repo> = stores.collect();
        Push { address: address.to_owned(), refs }.push_of(first, &others)
    }

    /// The result, if every project came to an end.
    fn record(&self, arrived: &BTreeMap<String, Arrived>, stay: Option<&str>) -> Option<Record> {
        let (mut before, mut after, mut projects) = (Vec::new(), Vec::new(), Vec::new());
        for name in &self.unit.projects {
            let member = self.members.get(name)?;
            let (told, trunk, tree) = match arrived.get(name)? {
                Arrived::Build(ready) => match stay {
                    None => (ready.told.clone(), ready.trunk, ready.tree),
                    Some(why) => (held(&ready.told, member, why), ready.trunk, member.state.tree),
                },
                Arrived::Nothing(stays) => (stays.told.clone(), stays.trunk, member.state.tree),
                Arrived::Error => return None,
            };
            let trunk = trunk.unwrap_or(member.trunk);
            let start = |tree| Start { project: name, trunk, tree, settings: &member.settings };
            before.push(start(member.state.tree));
            after.push(start(tree));
            projects.push(told);
        }
        let mut keys = vec![key(before.into_iter()), key(after.into_iter())];
        keys.dedup();
        let last = self.past.first();
        let worked = |record: &Record| record.projects.iter().any(|p| p.done != "quiet");
        let mut past: Vec<f64> = last.filter(|r| worked(r)).map(|r| r.seconds).into_iter().collect();
        past.extend(last.iter().flat_map(|r| &r.past));
        past.truncate(PAST);
        Some(Record {
            version: VERSION,
            unit: self.unit.name.clone(),
            keys,
            holder: self.holder.clone(),
            at: beat::now(),
            seconds: (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            past,
            exit_code: projects.iter().fold(0, |worst, p| worse(worst, p.exit_code)),
            projects,
        })
    }

    /// The new result under its keys, and old ones that go.
    fn result_refs(&self, record: &Record, blob: &str) -> Vec<RefUpdate> {
        let unit = &self.unit.name;
        let there = |key: &str| self.results.get(key).map(ToString::to_string);
        let new = record.keys.iter().map(|key| RefUpdate {
            name: result_ref(unit, key),
            old: there(key),
            new: Some(blob.to_owned()),
        });
        let stays = |key: &String| {
            record.keys.contains(key) || self.past.iter().take(KEPT - 1).any(|r| r.keys.contains(key))
        };
        let gone = self.results.iter().filter(|(key, _)| !stays(key)).map(|(key, id)| RefUpdate {
            name: result_ref(unit, key),
            old: Some(id.to_string()),
            new: None,
        });
        new.chain(gone).collect()
    }
}

/// See [`Departure::place`].
#[derive(Debug)]
pub struct Place<'a> {
    departure: &'a Departure,
    project: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.departure.locked();
        if !state.arrived.contains_key(self.project) {
            state.arrived.insert(self.project.to_owned(), Arrived::Error);
            // What goes wrong is told by `outcome`.
            let _ = self.departure.when_all_are_there(state);
        }
    }
}

/// What is told of a project whose build stays.
fn held(told: &Told, member: &Member, why: &str) -> Told {
    Told {
        done: "held".into(),
        exit_code: 4,
        build: None,
        commit: None,
        queue: member.state.tip.map(|id| id.to_string()),
        reasons: vec![why.to_owned()],
        seen: told.seen.clone().map(|seen| troubles::stays(seen, why)),
        ..told.clone()
    }
}

impl Outlet for Departure {
    fn put(&self, site: &Site<'_>, going: Going) -> Result<(), NightError> {
        let Going { night, mut push, commits, lock } = going;
        let name = &site.project.name;
        let Some(member) = self.members.get(name) else {
            return Err(NightError::NoRemote { project: name.clone() });
        };
        let advanced = member.state.advance(site, &commits, &lock);
        let (tip, tree) = match advanced {
            Ok(advanced) => advanced,
            Err(FleetError::Night(e)) => return Err(e),
            Err(e) => {
                return Err(NightError::Format { what: "the queue's own branch", reason: e.to_string() });
            }
        };
        push.refs.push(RefUpdate {
            name: queue_ref(name),
            old: member.state.tip.map(|id| id.to_string()),
            new: Some(tip.to_string()),
        });
        let trunk = trunk::known(&site.store)?;
        let mut after = site.workspace.clone();
        Arc::make_mut(&mut after.lock).projects.insert(name.clone(), lock.clone());
        // Who answers for which patch may not be known; that is told where the night ends.
        let (seen, _) = night::found(&after, site.project, &night, beat::now());
        let told = Told::of(&night, seen, Some(tip.to_string()));
        if let Some(together) = &self.together {
            together.leave(name);
        }
        let mut state = self.locked();
        let ready = Ready { push, told, tree, trunk, lock };
        state.arrived.insert(name.clone(), Arrived::Build(Box::new(ready)));
        self.when_all_are_there(state)
    }
}

/// Who has the claim of a unit now; none if nobody.
pub fn claimed_by(site: &Site<'_>, home: &str, unit: &str) -> Result<Option<ObjectId>, FleetError> {
    there(site, home, &claim_ref(unit))
}
