//! One unit by one worker: look, claim, look again, the nights, and out; or another has it, or has done it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gix_hash::ObjectId;
use jiff::Timestamp;

use super::FleetError;
use super::claim::{give_back, read, read_result, take};
use super::depart::{Departure, claimed_by};
use super::hold::Held;
use super::look::{Look, UnitRefs, home, look, refs_of, sites};
use super::mirror::with_mirrors;
use super::queue::{State, with_states};
use super::records::{Claim, Failed, REFUSED, Record, VERSION, to_the_second, until};
use super::unit::Unit;
use crate::night::together::Together;
use crate::night::{self, Events, How as Pruning, Night, NightError, Options, Outlet, Site, beat, beside};
use crate::store::unlock;
use crate::workspace::{Guard, GuardError, Workspace};

/// How a worker works.
#[derive(Debug, Clone)]
pub struct How {
    /// Who it is.
    pub holder: Holder,
    /// For how long it claims a unit.
    pub claim_for: Duration,
    /// Take a trunk that was force-pushed.
    pub accept_rewritten_trunk: bool,
    /// The folder of this host's mirrors; none: each store downloads for itself.
    pub mirrors: Option<PathBuf>,
    /// Units of which nothing was published before this moment are done again.
    pub again: Option<Timestamp>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder(String);

impl Holder {
    /// This process. `job` is what an engine calls it.
    pub fn here(job: Option<&str>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "a host" } else { host.trim() };
        let job = job.map(|job| format!(", {job}")).unwrap_or_default();
        // Two claims of one second by processes of one number on hosts of one name are two all the same.
        let mut word = [0; 8];
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), Instant::now());
        word.copy_from_slice(&seed.to_be_bytes());
        let word: String = word.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("process {} on {host}{job} ({word})", std::process::id()))
    }

    /// In words.
    pub fn words(&self) -> &str {
        &self.0
    }
}

/// What became of a unit by this worker.
#[derive(Debug)]
pub enum Fate {
    /// It did it.
    Done(Box<Record>),
    /// It was done already.
    Already(Box<Record>),
    /// Another worker is at it.
    Claimed(Box<Claim>),
    /// Another process is at it in this very clone, or others have it in turn.
    Busy,
    /// It was held up for so long that another worker took over: nothing of its own went out.
    Lost,
    /// It could not do it.
    Failed(Box<FleetError>),
}

/// So often a unit is looked at that others claim and give back meanwhile.
const LOOKS: usize = 5;
/// So long a store is waited for in which another process only looks.
const BUSY: Duration = Duration::from_secs(3);

/// Does a unit, if it is due and nobody else is at it.
pub fn run_unit(workspace: &Workspace, unit: &Unit, how: &How, events: &dyn Events) -> Fate {
    attempt(workspace, unit, how, events).unwrap_or_else(|e| Fate::Failed(Box::new(e)))
}

fn attempt(workspace: &Workspace, unit: &Unit, how: &How, events: &dyn Events) -> Result<Fate, FleetError> {
    let began = Instant::now();
    let mirrored = how.mirrors.as_ref().map(|folder| with_mirrors(workspace, unit, folder, events));
    let workspace = mirrored.as_ref().unwrap_or(workspace);
    let sites = sites(workspace, unit)?;
    let Some(first) = sites.first() else { return Ok(Fate::Busy) };
    let home = home(&sites)?;
    let Some(_guards) = guards(&sites)? else { return Ok(Fate::Busy) };
    events.step(&format!("{}: looking at what stands at the remotes", unit.name));
    let (mut seen, held) = match claim(first, &sites, unit, how, &home)? {
        Claiming::Ours(seen, claim, id) => (*seen, Arc::new(Held::of(*claim, id, how.claim_for))),
        Claiming::Not(fate) => return Ok(fate),
    };
    let work = || claimed(workspace, unit, how, &sites, (&home, &held, began), &mut seen, events);
    match held.during(first, &home, work) {
        Ok(fate) => Ok(fate),
        Err(e) => {
            let (claim, ours) = held.now();
            if held.lost.is_raised()
                || claimed_by(first, &home, &unit.name).is_ok_and(|there| there != Some(ours))
            {
                return Ok(Fate::Lost);
            }
            let failed = Failed { why: e.to_string(), about: e.about().to_owned(), exit_code: e.exit_code() };
            let failed = Claim { until: to_the_second(beat::now()), failed: Some(failed), ..claim };
            if let Err(e) = give_back(first, &home, &unit.name, ours, Some(&failed)) {
                events.note(&format!(
                    "{}: the claim could not be given back, and ends by itself: {e}",
                    unit.name
                ));
            }
            Err(e)
        }
    }
}

/// What came of the wish to have a unit.
enum Claiming {
    /// It is ours: what was seen, the claim and its id.
    Ours(Box<Look>, Box<Claim>, ObjectId),
    /// It is not.
    Not(Fate),
}

/// Claims a unit that is due and that nobody is at.
fn claim(
    first: &Site<'_>,
    sites: &[Site<'_>],
    unit: &Unit,
    how: &How,
    home: &str,
) -> Result<Claiming, FleetError> {
    for _ in 0..LOOKS {
        let seen = look(sites, unit)?;
        let now = beat::now();
        if let Some(record) = done(first, unit, &seen, how)? {
            // What failed since is mended, as all is as it was when it was done. Where it cannot be said, the next says it.
            if let Some(id) = seen.refs.claim
                && read(first, home, &unit.name, id)?.is_some_and(|claim| claim.until <= now)
            {
                let _ = give_back(first, home, &unit.name, id, None);
            }
            return Ok(Claiming::Not(Fate::Already(Box::new(record))));
        }
        if let Some(id) = seen.refs.claim
            && let Some(claim) = read(first, home, &unit.name, id)?
            && claim.until > now
        {
            return Ok(Claiming::Not(Fate::Claimed(Box::new(claim))));
        }
        let claim = Claim {
            version: VERSION,
            unit: unit.name.clone(),
            key: seen.key.clone(),
            holder: how.holder.words().to_owned(),
            since: to_the_second(now),
            until: until(now, how.claim_for),
            failed: None,
        };
        if let Some(id) = take(first, home, &claim, seen.refs.claim)? {
            return Ok(Claiming::Ours(Box::new(seen), Box::new(claim), id));
        }
        // Somebody was faster: at it, or through with it by now.
    }
    Ok(Claiming::Not(Fate::Busy))
}

/// The rest, with the claim in hand.
fn claimed(
    workspace: &Workspace,
    unit: &Unit,
    how: &How,
    sites: &[Site<'_>],
    (home, held, began): (&str, &Arc<Held>, Instant),
    seen: &mut Look,
    events: &dyn Events,
) -> Result<Fate, FleetError> {
    let Some(first) = sites.first() else { return Ok(Fate::Busy) };
    // Between the look and the claim another worker may have done it all.
    let refs = refs_of(sites, unit)?;
    if refs != (UnitRefs { claim: Some(held.now().1), ..seen.refs.clone() }) {
        *seen = look(sites, unit)?;
        if let Some(record) = done(first, unit, seen, how)? {
            give_back(first, home, &unit.name, held.last(), None)?;
            return Ok(Fate::Already(Box::new(record)));
        }
    }
    let folder = &first.folder;
    let place = |project: &str| -> PathBuf { folder.join("fleet").join(project) };
    let states: Vec<(&Site<'_>, &State)> = sites.iter().zip(seen.members.iter().map(|m| &m.state)).collect();
    let with_states = with_states(workspace, &states, place)?;
    for site in sites {
        // Its files are read by most nights; where some are left out, they come in one go.
        let base = with_states.lock.projects.get(&site.project.name).map(|lock| lock.base.as_bytes());
        let base = base.and_then(|base| ObjectId::from_hex(base).ok());
        if let Some(base) = base.filter(|base| site.store.odb().is_ok_and(|odb| odb.has(base))) {
            site.store.complete(&[base]).map_err(NightError::from)?;
        }
    }
    let worker = (held.clone(), how.holder.words().to_owned(), began);
    // All of them at once: they wait for each other before they go out.
    let count = unit.projects.len();
    let together = (count > 1).then(|| Arc::new(Together::new(&with_states, &unit.projects, count)));
    let departure = Arc::new(Departure::new(sites, unit, seen, home.to_owned(), worker, together.clone()));
    let outlet: Arc<dyn Outlet> = departure.clone();
    let options = Options {
        accept_rewritten_trunk: how.accept_rewritten_trunk,
        again: how.again.is_some(),
        together,
        outlet: Some(outlet),
        stop: held.lost.clone(),
        ..Options::default()
    };
    let trunks: BTreeMap<&str, ObjectId> =
        unit.projects.iter().map(String::as_str).zip(seen.members.iter().map(|m| m.trunk)).collect();
    let work = |name: &str, events: &dyn Events| {
        let options = Options { trunk_seen: trunks.get(name).copied(), ..options.clone() };
        one(&with_states, name, &options, &departure, events)
    };
    let nights: Vec<Option<Result<Night, NightError>>> = match &unit.projects[..] {
        [only] => vec![Some(work(only, events))],
        all => beside(events, all, all.len(), &work),
    };
    let mut failed = None;
    for (night, name) in nights.into_iter().zip(&unit.projects) {
        match night {
            Some(Ok(_)) => {}
            // What ended the others is the cause; that they had to stay is none.
            Some(Err(e @ NightError::Together { .. })) => failed = failed.or(Some(e)),
            Some(Err(e)) => failed = Some(e),
            None => {
                let reason = format!("the run of '{name}' ended by a fault of git-carry itself");
                failed = failed.or(Some(NightError::Format { what: "the night", reason }));
            }
        }
    }
    match (departure.outcome(), failed) {
        // That a set's builds stay is a result, too.
        (Ok(Some(record)), None | Some(NightError::Together { .. })) => {
            after(&with_states, unit, &departure, &record, events);
            Ok(Fate::Done(Box::new(record)))
        }
        (_, Some(e)) => Err(e.into()),
        (Err(reason), None) => Err(NightError::Format { what: "the result", reason }.into()),
        (Ok(None), None) => {
            Err(NightError::Format { what: "the result", reason: "no night came to an end".into() }.into())
        }
    }
}

/// One project's night.
fn one(
    workspace: &Workspace,
    name: &str,
    options: &Options,
    departure: &Departure,
    events: &dyn Events,
) -> Result<Night, NightError> {
    let _place = departure.place(name);
    let project = workspace.project(Some(name))?;
    let site = Site::open(workspace, project)?;
    let lane = options.together.as_ref().map(|together| together.begin(name));
    let night = night::begin(workspace, project, events)
        .and_then(|_| night::run(workspace, project, options, events));
    match (&night, lane) {
        (Ok(_), Some(lane)) => lane.ended_well(),
        (_, lane) => drop(lane),
    }
    departure.ended(&site, night.as_ref());
    // Nobody is told here: what each was told stands where the fleet is gathered.
    night::end(workspace, project, night.as_ref(), true, beat::now(), events);
    night
}

/// What may go wrong when all is out: it is told, and tried again the next time.
fn after(workspace: &Workspace, unit: &Unit, departure: &Departure, record: &Record, events: &dyn Events) {
    for name in &unit.projects {
        let published = record.projects.iter().any(|p| p.project == *name && p.done == "published");
        let Some(lock) = departure.lock(name).filter(|_| published) else { continue };
        let mut now = workspace.clone();
        Arc::make_mut(&mut now.lock).projects.insert(name.clone(), lock);
        let pruned = now.project(Some(name)).map_err(NightError::from).and_then(|project| {
            let site = Site::open(&now, project)?;
            night::prune_history(&site, Pruning::default(), events)
        });
        if let Err(e) = pruned {
            events.note(&format!("{name}: old builds could not be taken away: {e}"));
        }
    }
}

/// The unit's result, if there is one of this key that holds.
fn done(first: &Site<'_>, unit: &Unit, seen: &Look, how: &How) -> Result<Option<Record>, FleetError> {
    let id = seen.refs.results.get(&seen.key);
    let record = id.map(|id| read_result(first, &unit.name, &seen.key, *id)).transpose()?;
    // What another worker has tried since then is not tried once more.
    let holds =
        |record: &Record| record.word() != REFUSED || how.again.is_none_or(|since| record.at >= since);
    Ok(record.filter(holds))
}

/// The stores of a unit's projects, for this process alone; none if another is at work there.
pub(super) fn guards(sites: &[Site<'_>]) -> Result<Option<Vec<Guard>>, FleetError> {
    let mut guards = Vec::with_capacity(sites.len());
    let began = Instant::now();
    for site in sites {
        loop {
            match Guard::acquire(site.store.path(), "fleet run") {
                Ok(guard) => {
                    if guard.took_over.is_some() {
                        unlock(site.store.path(), true, &[]);
                    }
                    break guards.push(guard);
                }
                Err(GuardError::Busy { .. }) if began.elapsed() < BUSY => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(GuardError::Busy { .. }) => return Ok(None),
                Err(GuardError::Io { path, source }) => return Err(NightError::Io { path, source }.into()),
            }
        }
    }
    Ok(Some(guards))
}
