//! What is due: units without a result, long ones first, in shares within an engine's ceiling.

use std::collections::BTreeMap;

use gix_hash::ObjectId;
use serde::Serialize;

use super::FleetError;
use super::claim::{read, read_result};
use super::look::{home, look, sites};
use super::records::{Claim, REFUSED, Record};
use super::unit::{LeftOut, Unit, units};
use crate::night::{beat, each};
use crate::workspace::Workspace;

/// So many units are looked at at once: the time goes into waiting for remotes.
pub(super) const AT_ONCE: usize = 8;

/// How many shares an engine takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// No engine is named.
    None,
    /// Jobs of a matrix of GitHub Actions.
    GithubMatrix,
    /// `parallel` of GitLab CI.
    Gitlab,
    /// `MaxArraySize` of Slurm, as it comes: array indexes are below it.
    Slurm,
    /// Completions of an indexed Job of Kubernetes.
    Kubernetes,
}

impl Ceiling {
    /// The number, if there is one.
    pub fn most(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::GithubMatrix => Some(256),
            Self::Gitlab => Some(200),
            Self::Slurm => Some(1001),
            Self::Kubernetes => Some(100_000),
        }
    }
}

/// Why a unit is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No worker has done it yet.
    New,
    /// Trunk is at another commit.
    Trunk,
    /// The queue, its settings or the tool changed.
    Queue,
    /// The last attempt failed.
    Failed,
    /// Nothing was published, and it is to be tried again.
    Refused,
}

/// A unit that is due.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Due {
    /// Its name.
    pub unit: String,
    /// Its projects.
    pub projects: Vec<String>,
    /// Its key.
    pub key: String,
    /// Why.
    pub why: Why,
    /// How long it will take, in seconds, by how long it took: the median of the last times; none if it never did.
    pub seconds: Option<f64>,
    /// Its share, from 1.
    pub shard: usize,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// The units that are due, the longest first.
    pub due: Vec<Due>,
    /// How many shares they are in.
    pub shards: usize,
    /// Units that have a result.
    pub done: Vec<String>,
    /// Units that a worker is at.
    pub claimed: Vec<Claim>,
    /// Units that cannot be looked at, and why.
    pub failed: Vec<(String, FleetError)>,
    /// Projects that no worker takes.
    pub left_out: Vec<LeftOut>,
}

/// What became of a look at a unit.
enum Seen {
    Due(Due),
    Done(String),
    Claimed(Claim),
}

/// Plans the units of a workspace, in `shards` shares, or as many as the ceiling allows. With `again`, those of which nothing
/// was published are due, too.
pub fn plan(workspace: &Workspace, shards: Option<usize>, ceiling: Ceiling, again: bool) -> Plan {
    let (units, left_out) = units(workspace);
    let mut plan = Plan { left_out, ..Plan::default() };
    for (unit, seen) in units.iter().zip(each(&units, AT_ONCE, |unit| seen(workspace, unit, again))) {
        match seen {
            Ok(Seen::Due(due)) => plan.due.push(due),
            Ok(Seen::Done(name)) => plan.done.push(name),
            Ok(Seen::Claimed(claim)) => plan.claimed.push(claim),
            Err(e) => plan.failed.push((unit.name.clone(), e)),
        }
    }
    let most = ceiling.most().unwrap_or(usize::MAX);
    let wanted = shards.unwrap_or(if ceiling == Ceiling::None { 1 } else { plan.due.len() });
    plan.shards = wanted.min(most).min(plan.due.len()).max(1);
    share(&mut plan.due, plan.shards);
    plan
}

fn seen(workspace: &Workspace, unit: &Unit, again: bool) -> Result<Seen, FleetError> {
    let sites = sites(workspace, unit)?;
    let _guards = super::run::guards(&sites)?;
    let home = home(&sites)?;
    let look = look(&sites, unit)?;
    let Some(first) = sites.first() else { return Ok(Seen::Done(unit.name.clone())) };
    let mut refused = false;
    if let Some(id) = look.refs.results.get(&look.key) {
        refused = again && read_result(first, &unit.name, &look.key, *id)?.word() == REFUSED;
        if !refused {
            return Ok(Seen::Done(unit.name.clone()));
        }
    }
    let mut failed = false;
    if let Some(id) = look.refs.claim
        && let Some(claim) = read(first, &home, &unit.name, id)?
    {
        if claim.until > beat::now() {
            return Ok(Seen::Claimed(claim));
        }
        failed = claim.failed.is_some();
    }
    let newest = newest(&look.refs.results, |key, id| read_result(first, &unit.name, key, id).ok());
    let moved = |record: &Record| {
        let mut pairs = record.projects.iter().zip(&look.members);
        pairs.any(|(told, member)| ObjectId::from_hex(told.trunk.as_bytes()).ok() != Some(member.trunk))
    };
    let why = match &newest {
        _ if failed => Why::Failed,
        _ if refused => Why::Refused,
        None => Why::New,
        Some(record) if moved(record) => Why::Trunk,
        Some(_) => Why::Queue,
    };
    Ok(Seen::Due(Due {
        unit: unit.name.clone(),
        projects: unit.projects.clone(),
        key: look.key,
        why,
        seconds: newest.and_then(|record| usual(&record)),
        shard: 0,
    }))
}

/// The newest of a unit's results.
pub fn newest(
    results: &BTreeMap<String, ObjectId>,
    read: impl Fn(&str, ObjectId) -> Option<Record>,
) -> Option<Record> {
    results.iter().filter_map(|(key, id)| read(key, *id)).max_by_key(|record| record.at)
}

/// How long a unit takes: the median of the times that had something to do.
fn usual(record: &Record) -> Option<f64> {
    let worked = record.projects.iter().any(|p| p.done != "quiet");
    let mut all: Vec<f64> = worked.then_some(record.seconds).into_iter().chain(record.past.clone()).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// Puts the longest first, and each into the share that has least to do. What never ran counts as the middle of the others.
fn share(due: &mut [Due], shards: usize) {
    let mut known: Vec<f64> = due.iter().filter_map(|d| d.seconds).collect();
    known.sort_by(f64::total_cmp);
    let middle = known.get(known.len() / 2).copied().unwrap_or(1.0);
    let length = |d: &Due| d.seconds.unwrap_or(middle);
    due.sort_by(|a, b| length(b).total_cmp(&length(a)).then_with(|| a.unit.cmp(&b.unit)));
    let mut loads = vec![0.0_f64; shards];
    for one in due {
        let least = loads.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
        loads[least] += length(one);
        one.shard = least + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(unit: &str, seconds: Option<f64>) -> Due {
        Due {
            unit: unit.into(),
            projects: vec![unit.into()],
            key: String::new(),
            why: Why::New,
            seconds,
            shard: 0,
        }
    }

    #[test]
    fn long_units_come_first_and_shares_have_about_as_much_to_do() {
        let mut all = vec![
            due("short", Some(1.0)),
            due("long", Some(9.0)),
            due("new", None),
            due("middle", Some(4.0)),
            due("other", Some(5.0)),
        ];
        share(&mut all, 2);
        let order: Vec<(&str, usize)> = all.iter().map(|d| (d.unit.as_str(), d.shard)).collect();
        // `new` counts as five.
        assert_eq!(order, [("long", 1), ("new", 2), ("other", 2), ("middle", 1), ("short", 2)]);
    }

    #[test]
    fn work_side_by_side_comes_back_in_its_order() {
        let units: Vec<Unit> =
            (0..50).map(|n| Unit { name: format!("u{n}"), projects: Vec::new(), sets: Vec::new() }).collect();
        let made = each(&units, AT_ONCE, |unit| unit.name.clone());
        assert_eq!(made, units.iter().map(|u| u.name.clone()).collect::<Vec<_>>());
    }
}
