//! What a project's policy asks of its queue, and what of that is not kept today.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::outcome::PlannedPatch;
use super::{Options, Site};
use crate::build::manifest::VerdictRecord;
use crate::queue::{Patch, Queue};
use crate::report::words::{count, quoted};
use crate::workspace::{Outcome, PatchLock, Policy, Project, ProjectLock};

/// A rule of `[project.X.policy]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `max_patches`
    MaxPatches,
    /// `Carry-Expires` of a patch.
    Expires,
    /// `max_hold_age`
    MaxHoldAge,
    /// `require_owner`
    RequireOwner,
    /// `require_reason`
    RequireReason,
}

/// A rule that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Which.
    pub rule: Rule,
    /// The patch; none: it is about the queue.
    pub patch: Option<String>,
    /// Who answers for the patch.
    pub owner: Option<String>,
    /// What is wrong, of the patch or the queue: `has been held for 40 days, and 30 are allowed`.
    pub what: String,
    /// What to do.
    pub next: String,
    /// Is nothing published before?
    pub gate: bool,
}

impl Breach {
    /// The whole in a line.
    pub fn sentence(&self) -> String {
        match &self.patch {
            Some(patch) => format!("patch '{patch}' {}", self.what),
            None => format!("the queue {}", self.what),
        }
    }
}

/// The day by the clock, in UTC: the same on every machine.
pub fn today() -> Date {
    TimeZone::UTC.to_datetime(super::beat::now()).date()
}

/// What of a project's policy is not kept on a day. `lock` is the project's; the `landed` patches leave the queue,
/// and are not looked at.
pub fn breaches(
    project: &Project,
    queue: &Queue,
    lock: Option<&ProjectLock>,
    landed: &[&str],
    today: Date,
) -> Vec<Breach> {
    let policy = &project.policy;
    let gone = |p: &&Patch| landed.contains(&p.name());
    let patches: Vec<&Patch> = queue.patches.iter().filter(|p| !gone(p)).collect();
    let mut all = Vec::new();
    if let Some(most) = policy.max_patches.filter(|most| patches.len() > *most) {
        let what = format!("has {}, and {most} are allowed", count(patches.len(), "patch", "patches"));
        let here = format!(" --project {}", quoted(&project.name));
        let next = format!("git carry candidates{here} names those to send upstream first");
        all.push(Breach { rule: Rule::MaxPatches, patch: None, owner: None, what, next, gate: policy.gate });
    }
    let locked: BTreeMap<&str, &PatchLock> =
        lock.iter().flat_map(|l| &l.patches).map(|p| (p.name.as_str(), p)).collect();
    for patch in patches {
        let locked = locked.get(patch.name()).copied();
        let name = quoted(patch.name());
        let owner = patch.metadata.owner.clone().unwrap_or_else(|| patch.header.author.name.to_string());
        for (rule, what, next) in of_patch(policy, patch, locked, today, &name) {
            let (patch, owner) = (Some(patch.name().to_owned()), Some(owner.clone()));
            all.push(Breach { rule, patch, owner, what, next, gate: policy.gate });
        }
    }
    all.sort_by_key(|b| b.rule);
    all
}

/// The same for a run, which knows what has landed. It is no matter of single changes of the queue, and stops none.
pub(super) fn of_run(
    site: &Site<'_>,
    queue: &Queue,
    lock: Option<&ProjectLock>,
    planned: &[PlannedPatch],
    options: &Options,
) -> Vec<Breach> {
    if options.offline && options.draft.is_some() {
        return Vec::new();
    }
    let landed = planned.iter().map(|p| &p.report).filter(|r| r.outcome == Outcome::Landed);
    let landed: Vec<&str> = landed.map(|r| r.name.as_str()).collect();
    let mut all = breaches(site.project, queue, lock, &landed, today());
    all.iter_mut().for_each(|b| b.gate &= !options.offline);
    all
}

/// A build with these breaches goes out only if none of them is a gate.
pub(super) fn forbid(verdict: &mut VerdictRecord, breaches: &[Breach]) {
    for breach in breaches.iter().filter(|b| b.gate) {
        verdict.publishable = false;
        verdict.reasons.push(format!("policy: {}", breach.sentence()));
    }
}

/// What a patch does not keep: the rule, what is wrong, and what to do.
fn of_patch(
    policy: &Policy,
    patch: &Patch,
    locked: Option<&PatchLock>,
    today: Date,
    name: &str,
) -> Vec<(Rule, String, String)> {
    let mut all = Vec::new();
    let line = |trailer: &str| format!("git carry edit {name}, with a line in its message: {trailer}");
    if let Some(text) = &patch.metadata.expires {
        match text.parse::<Date>() {
            Ok(last) if last < today => {
                let what = format!("expired on {last}, {} ago", days(last, today));
                let next = format!("git carry drop {name}, or {}", line("Carry-Expires: YEAR-MONTH-DAY"));
                all.push((Rule::Expires, what, next));
            }
            Ok(_) => {}
            Err(_) => {
                let what = format!("has a Carry-Expires that is no date: '{text}'");
                all.push((Rule::Expires, what, line("Carry-Expires: YEAR-MONTH-DAY")));
            }
        }
    }
    if let (Some(most), Some(_)) = (policy.max_hold_age, &patch.hold) {
        let since = locked.filter(|l| l.outcome == Outcome::Held).and_then(|l| {
            let day = l.held_since.as_deref().or_else(|| l.since_date.get(..10))?;
            day.parse::<Date>().ok()
        });
        let allowed = most.as_secs() / (24 * 60 * 60);
        if let Some(since) = since
            && u64::try_from((today - since).get_days()).unwrap_or(0) > allowed
        {
            let what = format!("has been held for {}, and {allowed} are allowed", days(since, today));
            all.push((Rule::MaxHoldAge, what, format!("git carry unhold {name}, or git carry drop {name}")));
        }
    }
    if policy.require_owner && patch.metadata.owner.is_none() {
        let what = "names nobody who answers for it".to_owned();
        all.push((Rule::RequireOwner, what, line("Carry-Owner: NAME <MAIL>")));
    }
    let held_for = patch.hold.as_deref().is_some_and(|why| !why.trim().is_empty());
    if policy.require_reason && patch.metadata.reason.is_none() && !held_for {
        let what = "does not say why it is carried".to_owned();
        all.push((Rule::RequireReason, what, line("Carry-Reason: TEXT")));
    }
    all
}

/// The days between two dates, in words.
fn days(from: Date, to: Date) -> String {
    let days = (to - from).get_days();
    count(usize::try_from(days).unwrap_or(0), "day", "days")
}
