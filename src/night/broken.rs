//! Patches that a run leaves out though they apply: a required check fails with them (they are tried again on the next trunk
//! commit), or a partner in another project is out.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix_hash::ObjectId;

use super::outcome::{Plan, Planned};
use super::together::{Partner, Together};
use super::{Events, NightError};
use crate::queue::{Patch, Queue};
use crate::workspace::{Outcome, PatchLock, ProjectLock};

/// Patches that a check failed with, and why.
pub type Broken = BTreeMap<String, String>;

/// The patches that broke a check and are as they were then.
pub fn still_broken(lock: Option<&ProjectLock>, queue: &Queue) -> Broken {
    let is = |locked: &&PatchLock| {
        let same = |p: &Patch| p.name() == locked.name && p.digest == locked.digest;
        locked.outcome == Outcome::Broken && queue.patches.iter().any(same)
    };
    let why = || "a required check failed with it on this trunk commit".to_owned();
    lock.iter().flat_map(|l| &l.patches).filter(is).map(|p| (p.name.clone(), why())).collect()
}

/// Those of them that are known to be so on this trunk commit: on another they are tried again.
pub fn broken_at(lock: Option<&ProjectLock>, tip: &ObjectId, broken: &Broken) -> Broken {
    let same = lock.is_some_and(|l| l.base == *tip);
    if same { broken.clone() } else { Broken::new() }
}

/// A plan in which some patches are left out: those that break a check, and those whose partner is out.
pub fn plan_without(
    plan: &Plan<'_>,
    tip: &ObjectId,
    broken: &Broken,
    partners: &BTreeMap<String, Partner>,
) -> Result<Planned, NightError> {
    if broken.is_empty() && partners.is_empty() {
        return plan.on(tip);
    }
    let mut without = Queue::clone(plan.queue);
    for patch in without.patches.iter_mut().filter(|p| p.hold.is_none()) {
        let name = patch.name();
        let why = broken.get(name).cloned();
        let why = why.or_else(|| partners.get(name).map(|p| format!("{} is left out: {}", p.member, p.why)));
        patch.hold = why;
    }
    let mut planned = Plan { queue: &Arc::new(without), ..*plan }.on(tip)?;
    planned.queue = plan.queue.clone();
    for planned in planned.patches.iter_mut().filter(|p| p.report.outcome == Outcome::Held) {
        let report = &mut planned.report;
        if broken.contains_key(&report.name) {
            report.outcome = Outcome::Broken;
        } else if let Some(partner) = partners.get(&report.name) {
            report.outcome = Outcome::Blocked;
            report.needs = vec![partner.member.to_string()];
        }
    }
    Ok(planned)
}

/// What it takes to plan again when a partner in another project is out.
pub struct Agree<'a> {
    /// The plan without partners.
    pub plan: &'a Plan<'a>,
    /// The trunk commit.
    pub tip: ObjectId,
    /// The projects of the run.
    pub together: &'a Together,
    /// Who listens.
    pub events: &'a dyn Events,
}

impl Agree<'_> {
    /// The plan, with patches left out until no partner of one that is in is out.
    pub fn with_partners(
        &self,
        mut planned: Planned,
        broken: &Broken,
        partners: &mut BTreeMap<String, Partner>,
    ) -> Result<Planned, NightError> {
        let project = &self.plan.site.project.name;
        let others = self.together.partners(project);
        if !others.is_empty() {
            self.events
                .step(&format!("waiting for {}, with which patches go out together", others.join(", ")));
        }
        loop {
            let more = self.together.settle(project, &planned);
            if more.is_empty() {
                return Ok(planned);
            }
            partners.extend(more);
            planned = plan_without(self.plan, &self.tip, broken, partners)?;
        }
    }
}
