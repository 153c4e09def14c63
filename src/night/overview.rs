//! What all stages run, what comes next for each, and what the stages of a group mean to each other now.

use std::collections::BTreeMap;

use gix_hash::ObjectId;
use serde::Serialize;

use super::promote::judge;
use super::stage::{SignedBy, StageError, Stages, Target};
use crate::stage::gate::Gate;
use crate::stage::skew::{self, Live, Skew};
use crate::stage::{Action, Contract};
use crate::trunk;
use crate::workspace::Stage;

/// One stage as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub stage: String,
    /// The stage before it.
    pub after: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// What it runs; none: nothing yet.
    pub runs: Option<Running>,
    /// What comes next; none if there is nothing newer before it.
    pub next: Option<Next>,
}

/// What a stage runs.
#[derive(Debug, Clone, Serialize)]
pub struct Running {
    /// The build.
    pub build: String,
    /// Its commit.
    pub commit: String,
    /// The trunk commit that it stands on.
    pub trunk: String,
    /// Since when, in RFC 3339.
    pub since: String,
    /// Name and mail address of who brought it.
    pub by: [String; 2],
    /// How it came.
    pub action: Action,
    /// Why it came although gates were not met.
    #[serde(rename = "override")]
    pub overridden: Option<String>,
    /// What the signature of the record is worth.
    pub signed: SignedBy,
    /// How many trunk commits it lacks of the fetched trunk tip.
    pub behind_trunk: Option<usize>,
    /// How many builds were made after it, up to the last one.
    pub behind_builds: Option<usize>,
}

/// What comes next for a stage.
#[derive(Debug, Clone, Serialize)]
pub struct Next {
    /// The build.
    pub build: String,
    /// May it come?
    pub allowed: bool,
    /// The gates that are not met.
    pub waits_for: Vec<Gate>,
}

/// All stages, and the groups whose stages run different builds, or in which migrations have become free.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// The last build that is recorded here.
    pub latest: Option<String>,
    /// The stages, in the configuration's order.
    pub stages: Vec<Row>,
    /// Groups whose stages run different builds.
    pub skew: Vec<Skew>,
    /// The migrations that the stages' last moves made free to run, by group or stage.
    pub free: Vec<Free>,
}

/// Migrations that may run.
#[derive(Debug, Clone, Serialize)]
pub struct Free {
    /// The group, or a stage that is in none.
    pub place: String,
    /// The migrations.
    pub migrations: Vec<Contract>,
}

/// All stages as they are now.
pub fn overview(stages: &Stages<'_>) -> Result<Overview, StageError> {
    let latest = stages.latest()?;
    let tip = trunk::known(&stages.site.store)?;
    let heads: Vec<ObjectId> =
        stages.site.project.stages.iter().filter_map(|s| Some(stages.kept(&s.name).first()?.id)).collect();
    let signatures = stages.signatures(&heads)?;
    let mut rows = Vec::new();
    for stage in &stages.site.project.stages {
        let current = stages.runs(&stage.name).map(|id| stages.build(&id)).transpose()?;
        let mut runs = None;
        if let (Some(current), Some(kept)) = (&current, stages.kept(&stage.name).first()) {
            let trunk = ObjectId::from_hex(current.manifest.trunk.commit.as_bytes()).ok();
            let behind_trunk = match (tip, trunk) {
                (Some(tip), Some(trunk)) => Some(stages.site.store.count(&trunk, &tip)?),
                _ => None,
            };
            runs = Some(Running {
                build: current.build.clone(),
                commit: current.commit.to_string(),
                trunk: current.manifest.trunk.commit.clone(),
                since: kept.record.when.clone(),
                by: kept.record.who.clone(),
                action: kept.record.action,
                overridden: kept.record.overridden.clone(),
                signed: signatures.get(&kept.id).cloned().unwrap_or(SignedBy::Nobody),
                behind_trunk,
                behind_builds: latest.as_ref().map(|l| behind(stages, l, current)).transpose()?.flatten(),
            });
        }
        let candidate = match &stage.after {
            None => latest.clone(),
            Some(after) => stages.runs(after).map(|id| stages.build(&id)).transpose()?,
        };
        let mut next = None;
        if let Some(candidate) = candidate.filter(|c| current.as_ref().is_none_or(|r| r.commit != c.commit)) {
            let backwards = match &current {
                Some(current) => stages.older(&candidate, current)?,
                None => false,
            };
            if !backwards {
                let verdict = judge(stages, stage, &candidate)?;
                let waits_for: Vec<Gate> = verdict.gates.into_iter().filter(|g| !g.met).collect();
                next = Some(Next { build: candidate.build, allowed: waits_for.is_empty(), waits_for });
            }
        }
        rows.push(Row {
            stage: stage.name.clone(),
            after: stage.after.clone(),
            group: stage.group.clone(),
            runs,
            next,
        });
    }
    let (skew, free) = groups(stages)?;
    Ok(Overview { latest: latest.map(|l| l.build), stages: rows, skew, free })
}

/// How many builds were made after `build`, up to `latest`; none where that cannot be told.
fn behind(stages: &Stages<'_>, latest: &Target, build: &Target) -> Result<Option<usize>, StageError> {
    let mut at = Some(latest.clone());
    for count in 0..10_000 {
        let Some(now) = at else { return Ok(None) };
        if now.commit == build.commit {
            return Ok(Some(count));
        }
        let previous = now.manifest.deploy.previous.as_deref();
        at = match previous.and_then(|hex| ObjectId::from_hex(hex.as_bytes()).ok()) {
            Some(id) => stages.build(&id).ok(),
            None => None,
        };
    }
    Ok(None)
}

/// The groups whose stages run different builds, and the migrations that may run now.
fn groups(stages: &Stages<'_>) -> Result<(Vec<Skew>, Vec<Free>), StageError> {
    let mut places: Vec<(String, Vec<&Stage>)> = Vec::new();
    for stage in &stages.site.project.stages {
        let place = stage.group.as_ref().unwrap_or(&stage.name);
        match places.iter_mut().find(|(name, all)| name == place && all[0].group.is_some()) {
            Some((_, all)) => all.push(stage),
            None => places.push((place.clone(), vec![stage])),
        }
    }
    let (mut skews, mut free) = (Vec::new(), Vec::new());
    for (place, all) in places {
        let mut builds: Vec<(Target, Vec<String>)> = Vec::new();
        let mut migrations: Vec<Contract> = Vec::new();
        for stage in all {
            let Some(record) = stages.kept(&stage.name).first() else { continue };
            migrations.extend(record.record.frees.iter().cloned());
            let Some(commit) = stages.runs(&stage.name) else { continue };
            match builds.iter_mut().find(|(b, _)| b.commit == commit) {
                Some((_, names)) => names.push(stage.name.clone()),
                None => builds.push((stages.build(&commit)?, vec![stage.name.clone()])),
            }
        }
        if !migrations.is_empty() {
            migrations.sort();
            migrations.dedup();
            free.push(Free { place: place.clone(), migrations });
        }
        if builds.len() > 1 {
            skews.push(between_builds(stages, &place, builds)?);
        }
    }
    Ok((skews, free))
}

fn between_builds(
    stages: &Stages<'_>,
    group: &str,
    builds: Vec<(Target, Vec<String>)>,
) -> Result<Skew, StageError> {
    // The oldest first. There are few: each is put where it belongs.
    let mut sorted: Vec<(Target, Vec<String>)> = Vec::new();
    for build in builds {
        let mut place = sorted.len();
        for (n, known) in sorted.iter().enumerate() {
            if stages.older(&build.0, &known.0)? {
                place = n;
                break;
            }
        }
        sorted.insert(place, build);
    }
    let mut moves = BTreeMap::new();
    for older in 0..sorted.len() {
        for newer in older + 1..sorted.len() {
            moves.insert((older, newer), stages.between(&sorted[older].0.commit, &sorted[newer].0.commit)?);
        }
    }
    let live = sorted.into_iter().map(|(b, stages)| Live { build: b.build, stages }).collect();
    Ok(skew::skew(group, live, |a, b| moves.get(&(a, b)).map(|t| &**t)))
}
