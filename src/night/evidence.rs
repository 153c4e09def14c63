//! What is known of patches that upstream may have: what the trunk's new commits say, what was recorded before, and
//! what people decided.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::PatchReport;
use crate::landed::Evidence;
use crate::trunk::Range;
use crate::workspace::{Bearing, Decision, Evolved, Outcome, PatchLock, ProjectLock, Proposal};

/// The upstream commits that a person said do not have the patch.
pub fn rejected(was: Option<&PatchLock>) -> BTreeSet<String> {
    let all = was.iter().flat_map(|w| &w.proposed);
    let rejected = all.filter(|p| p.decision == Some(Decision::Rejected));
    rejected.flat_map(|p| p.evidence.with.iter().chain([&p.evidence.commit])).cloned().collect()
}

/// The patches of which a person said that upstream has them.
pub fn confirmed(lock: Option<&ProjectLock>) -> BTreeMap<String, Evidence> {
    let of = |p: &PatchLock| {
        let said = p.proposed.iter().find(|p| p.decision == Some(Decision::Confirmed))?;
        Some((p.name.clone(), said.evidence.clone()))
    };
    lock.iter().flat_map(|l| &l.patches).filter_map(of).collect()
}

/// Notes on a report what is proposed of its patch: what was recorded, unless upstream took it back, and what is new.
pub fn note(
    report: &mut PatchReport,
    was: Option<&PatchLock>,
    new: Option<&Evidence>,
    fixes: Vec<Bearing>,
    undone: &BTreeSet<String>,
) {
    let mut all: Vec<Proposal> = was.map(|w| w.proposed.clone()).unwrap_or_default();
    all.retain(|p| p.decision == Some(Decision::Rejected) || !undone.iter().any(|c| p.evidence.rests_on(c)));
    if let Some(evidence) = new.filter(|e| !all.iter().any(|p| p.evidence.commit == e.commit)) {
        all.push(Proposal { decision: None, evidence: evidence.clone() });
    }
    report.proposed = all;
    report.fixes = was.map(|w| w.fixes.clone()).unwrap_or_default();
    report.fixes.extend(fixes);
    // A patch that conflicts with a revised version of itself is called so.
    let open = report.proposed.iter().filter(|p| p.decision.is_none());
    let revised = open.max_by_key(|p| p.evidence.likeness);
    let conflicts = report.outcome == Outcome::Conflict && !report.conflicts.is_empty();
    if conflicts && report.evolved.is_none() {
        report.evolved = revised.map(|p| evolved(&p.evidence).into());
    }
    let denied = rejected(was);
    report.evolved = report.evolved.take().filter(|e| !denied.contains(&e.commit));
    if report.outcome == Outcome::Conflict && report.evolved.is_some() {
        report.outcome = Outcome::Evolved;
    }
}

fn evolved(evidence: &Evidence) -> Evolved {
    Evolved {
        commit: evidence.commit.clone(),
        subject: evidence.subject.clone(),
        author: evidence.author.clone(),
        date: evidence.date.clone(),
        likeness: evidence.likeness.unwrap_or_default(),
    }
}

/// The ids of the commits that the range takes back.
pub fn undone(range: &Range) -> BTreeSet<String> {
    range.reverted().iter().map(ToString::to_string).collect()
}
