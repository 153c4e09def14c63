//! The builds that led to the last one, as far as a report needs them, and what they say of each patch's fate.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gix_hash::ObjectId;
use serde::Deserialize;

use super::publish::manifest_ref;
use super::{NightError, Site};
use crate::landed::Evidence;
use crate::report::model::{Change, Changes, Cost, Landed, Mended, Point};
use crate::report::words::days;
use crate::store::{Objects as _, StoreError};
use crate::trunk::LineCounts;
use crate::workspace::Outcome;

/// A build of the past: those parts of its manifest that history is told by.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Past {
    pub trunk: PastTrunk,
    pub deploy: PastDeploy,
    pub patches: Vec<PastPatch>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PastTrunk {
    pub commit: String,
    pub date: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PastDeploy {
    pub build: String,
    pub tree: String,
    #[serde(default)]
    pub previous: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PastPatch {
    pub name: String,
    pub subject: String,
    pub outcome: Outcome,
    #[serde(default)]
    pub commit: Option<String>,
    #[serde(default)]
    pub evidence: Option<Box<Evidence>>,
}

impl Past {
    /// What became of a patch in it; none: it was not in the queue.
    pub fn outcome(&self, name: &str) -> Option<Outcome> {
        self.patches.iter().find(|p| p.name == name).map(|p| p.outcome)
    }
}

/// The builds that led to the one of `last`, itself among them, the oldest first, at most `most`; and whether there are
/// older ones. A build whose manifest is not here ends the row.
pub(super) fn builds(site: &Site<'_>, last: &ObjectId, most: usize) -> Result<(Vec<Past>, bool), NightError> {
    let prefix = manifest_ref(&site.project.name, "");
    let blobs: HashMap<String, ObjectId> = site.store.references(&[&prefix])?.into_iter().collect();
    let odb = site.store.odb()?;
    let mut found: Vec<Past> = Vec::new();
    let mut met = BTreeSet::from([*last]);
    let mut at = Some(*last);
    while let Some(commit) = at {
        let Some(blob) = blobs.get(&format!("{prefix}{}", commit.to_hex_with_len(12))) else { break };
        if found.len() == most {
            return Ok((reversed(found), true));
        }
        let bytes = odb.blob(blob).map_err(StoreError::from)?;
        let past: Past = serde_json::from_slice(&bytes)
            .map_err(|e| NightError::Format { what: "a recorded manifest", reason: e.to_string() })?;
        let previous = past.deploy.previous.as_deref().and_then(|id| ObjectId::from_hex(id.as_bytes()).ok());
        // No build follows itself.
        at = previous.filter(|id| met.insert(*id));
        found.push(past);
    }
    Ok((reversed(found), false))
}

fn reversed(mut builds: Vec<Past>) -> Vec<Past> {
    builds.reverse();
    builds
}

/// Is a patch with this outcome missing in the build against the queue's will?
pub(super) fn is_out(outcome: Outcome) -> bool {
    outcome.left_out() && outcome != Outcome::Held
}

/// The counts of each build.
pub(super) fn points(site: &Site<'_>, builds: &[Past]) -> Result<Vec<Point>, NightError> {
    let odb = site.store.odb()?;
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| odb.has(id));
    let mut counts = LineCounts::default();
    let mut lines = Vec::with_capacity(builds.len());
    for past in builds {
        lines.push(match (id(&past.trunk.commit), id(&past.deploy.tree)) {
            (Some(trunk), Some(tree)) => {
                let trunk = odb.commit(&trunk).map_err(StoreError::from)?.tree;
                counts.between(&odb, &trunk, &tree).map_err(StoreError::from)?
            }
            _ => [0, 0],
        });
    }
    let point = |(past, lines): (&Past, [usize; 2])| {
        let of = |wanted: &dyn Fn(&PastPatch) -> bool| past.patches.iter().filter(|p| wanted(p)).count();
        Point {
            build: past.deploy.build.clone(),
            date: past.trunk.date.clone(),
            queue: of(&|p| p.outcome != Outcome::Landed),
            carried: of(&|p| p.commit.is_some()),
            roots: of(&|p| p.outcome.is_root()),
            blocked: of(&|p| matches!(p.outcome, Outcome::Blocked | Outcome::Broken)),
            lines,
        }
    };
    Ok(builds.iter().zip(lines).map(point).collect())
}

/// The root conflicts that ended, the newest first, and the median of their days.
pub(super) fn mended(builds: &[Past]) -> (Vec<Mended>, Option<f64>) {
    let mut open: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ended = Vec::new();
    for past in builds {
        let date = past.trunk.date.as_str();
        let known: HashMap<&str, Outcome> =
            past.patches.iter().map(|p| (p.name.as_str(), p.outcome)).collect();
        let over: Vec<&str> =
            open.keys().filter(|name| !known.get(**name).is_some_and(|o| o.is_root())).copied().collect();
        for patch in over {
            let Some(from) = open.remove(patch) else { continue };
            let Some(days) = days(from, date) else { continue };
            ended.push(Mended {
                patch: patch.to_owned(),
                from: from.to_owned(),
                until: date.to_owned(),
                days: days.max(0.0),
                became: known.get(patch).copied(),
            });
        }
        for patch in past.patches.iter().filter(|p| p.outcome.is_root()) {
            open.entry(&patch.name).or_insert(date);
        }
    }
    ended.reverse();
    let mut lengths: Vec<f64> = ended.iter().map(|m| m.days).collect();
    lengths.sort_by(f64::total_cmp);
    let median = match lengths.len() {
        0 => None,
        n if n % 2 == 1 => Some(lengths[n / 2]),
        n => Some((lengths[n / 2 - 1] + lengths[n / 2]) / 2.0),
    };
    (ended, median)
}

/// What upstream took, the newest first: each patch at the first build that found it.
pub(super) fn landed(builds: &[Past]) -> Vec<Landed> {
    let mut found: Vec<Landed> = Vec::new();
    for past in builds {
        for patch in past.patches.iter().filter(|p| p.outcome == Outcome::Landed) {
            if found.iter().any(|known| known.patch == patch.name) {
                continue;
            }
            let evidence = patch.evidence.as_ref();
            let how = evidence.and_then(|e| serde_json::to_value(e.rung).ok());
            found.push(Landed {
                patch: patch.name.clone(),
                found: past.trunk.date.clone(),
                commit: evidence.map(|e| e.commit.clone()),
                subject: evidence.map_or_else(|| patch.subject.clone(), |e| e.subject.clone()),
                author: evidence.map(|e| e.author.clone()).unwrap_or_default(),
                how: how.and_then(|h| h.as_str().map(str::to_owned)).unwrap_or_default(),
            });
        }
    }
    found.reverse();
    found
}

/// What each patch has cost.
pub(super) fn costs(builds: &[Past]) -> HashMap<String, Cost> {
    let mut costs: HashMap<String, Cost> = HashMap::new();
    for patch in builds.iter().flat_map(|past| &past.patches) {
        let cost = costs.entry(patch.name.clone()).or_default();
        cost.builds += 1;
        cost.out += usize::from(is_out(patch.outcome));
        cost.refreshed += usize::from(patch.outcome == Outcome::Refreshed);
        cost.resolved += usize::from(patch.outcome == Outcome::Resolved);
    }
    costs
}

/// How the patches of `after` fare otherwise than in `before`.
pub(super) fn changes(before: &Past, after: &Past) -> Changes {
    let mut out = Changes {
        build: before.deploy.build.clone(),
        date: before.trunk.date.clone(),
        new: Vec::new(),
        still: Vec::new(),
        fixed: Vec::new(),
        landed: Vec::new(),
        joined: Vec::new(),
        left: Vec::new(),
    };
    for patch in &after.patches {
        let was = before.outcome(&patch.name);
        let change = Change { patch: patch.name.clone(), was, is: Some(patch.outcome) };
        if was.is_none() {
            out.joined.push(patch.name.clone());
        }
        match (was.is_some_and(is_out), is_out(patch.outcome)) {
            (true, true) => out.still.push(change),
            (false, true) => out.new.push(change),
            _ if patch.outcome == Outcome::Landed && was != Some(Outcome::Landed) => out.landed.push(change),
            (true, false) if patch.commit.is_some() => out.fixed.push(change),
            _ => {}
        }
    }
    for patch in before.patches.iter().filter(|p| p.outcome != Outcome::Landed) {
        if after.outcome(&patch.name).is_none() {
            out.left.push(patch.name.clone());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(day: u8, patches: &[(&str, Outcome)]) -> Past {
        let patch = |(name, outcome): &(&str, Outcome)| PastPatch {
            name: (*name).to_owned(),
            subject: String::new(),
            outcome: *outcome,
            commit: (!outcome.left_out() && *outcome != Outcome::Landed).then(String::new),
            evidence: None,
        };
        Past {
            trunk: PastTrunk { commit: String::new(), date: format!("2026-09-{day:02}T00:00:00Z") },
            deploy: PastDeploy { build: format!("b{day}"), tree: String::new(), previous: None },
            patches: patches.iter().map(patch).collect(),
        }
    }

    #[test]
    fn a_conflict_lasts_from_its_first_build_to_the_first_without_it_each_time_anew() {
        use Outcome::{Clean, Conflict, Evolved, Landed};
        let builds = [
            past(1, &[("a", Clean), ("b", Conflict)]),
            past(2, &[("a", Conflict), ("b", Evolved)]),
            past(5, &[("a", Clean), ("b", Landed)]),
            past(6, &[("a", Conflict)]),
            past(7, &[]),
        ];
        let (ended, median) = mended(&builds);
        let told: Vec<(&str, f64, Option<Outcome>)> =
            ended.iter().map(|m| (m.patch.as_str(), m.days, m.became)).collect();
        assert_eq!(told, [("a", 1.0, None), ("b", 4.0, Some(Landed)), ("a", 3.0, Some(Clean))]);
        assert_eq!(median, Some(3.0));
        assert_eq!(mended(&builds[..2]), (Vec::new(), None), "none of them has ended");
    }

    #[test]
    fn what_is_new_still_and_fixed_is_told_from_what_landed_came_and_went() {
        use Outcome::{Blocked, Clean, Conflict, Held, Landed};
        let before = past(1, &[("a", Clean), ("b", Conflict), ("c", Blocked), ("d", Clean), ("e", Clean)]);
        let after = past(
            2,
            &[("a", Conflict), ("b", Clean), ("c", Conflict), ("d", Landed), ("f", Blocked), ("g", Held)],
        );
        let told = changes(&before, &after);
        let names = |all: &[Change]| all.iter().map(|c| c.patch.clone()).collect::<Vec<_>>();
        assert_eq!(names(&told.new), ["a", "f"]);
        assert_eq!(names(&told.still), ["c"]);
        assert_eq!(names(&told.fixed), ["b"]);
        assert_eq!(names(&told.landed), ["d"]);
        assert_eq!((told.joined, told.left), (vec!["f".into(), "g".into()], vec!["e".into()]));
    }

    #[test]
    fn a_patch_costs_the_builds_that_it_was_out_of_or_made_anew_for() {
        use Outcome::{Blocked, Clean, Conflict, Held, Refreshed, Resolved};
        let all = [Clean, Conflict, Blocked, Held, Refreshed, Resolved];
        let builds: Vec<Past> = all.iter().map(|o| past(1, &[("a", *o)])).collect();
        assert_eq!(costs(&builds)["a"], Cost { builds: 6, out: 2, refreshed: 1, resolved: 1 });
    }
}
