//! How far a build may go, and taking it there: the gates of a stage asked about a build, promotions, roll-backs and
//! approvals, and what the stages of a group mean to each other now.

use std::collections::BTreeMap;
use std::rc::Rc;

use gix_hash::ObjectId;
use serde::Serialize;

use super::NightError;
use super::builds::recorded;
use super::sign::trust;
use super::stage::{Kept, SignedBy, StageError, Stages, Target, id};
use crate::build::manifest::Manifest;
use crate::build::signature::{self, Standing};
use crate::check::{Cache, Ended};
use crate::risk::{Severity, Transition};
use crate::stage::gate::{self, Checked, Gate, GateKind, Signed};
use crate::stage::record::ran_before;
use crate::stage::skew::{self, Live, Skew};
use crate::stage::{Action, Approval, BuildFacts, Contract, Promotion, VERSION, Waiting, of_build};
use crate::trunk;
use crate::workspace::{Required, SIGNED, Stage};

/// What the gates of a stage say of a build.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The stage.
    pub stage: String,
    /// What would be done.
    pub action: Action,
    /// The build.
    pub build: String,
    /// Its commit.
    pub commit: ObjectId,
    /// The commit of the build that the stage runs.
    pub runs: Option<ObjectId>,
    /// The gates.
    pub gates: Vec<Gate>,
    /// What the move asks; none where nothing runs yet, or nothing moves.
    pub transition: Option<Rc<Transition>>,
    /// The migrations that would wait for other stages.
    pub waits: Vec<Waiting>,
    /// The migrations that may run once the stage has moved.
    pub frees: Vec<Contract>,
}

impl Verdict {
    /// Does the stage run the build already?
    pub fn already(&self) -> bool {
        self.runs == Some(self.commit)
    }

    /// May it go there?
    pub fn allowed(&self) -> bool {
        self.gates.iter().all(Gate::open)
    }
}

/// A person's word that comes with a move.
#[derive(Debug, Clone, Default)]
pub struct Word {
    /// Why.
    pub reason: Option<String>,
    /// Why it is done although gates are not met.
    pub overridden: Option<String>,
    /// The gates that may be passed so; none named: all.
    pub gates: Vec<GateKind>,
}

impl Word {
    fn apply(&self, verdict: &mut Verdict) {
        if self.overridden.is_none() {
            return;
        }
        for gate in verdict.gates.iter_mut().filter(|g| !g.met) {
            gate.overridden = self.gates.is_empty() || self.gates.contains(&gate.gate);
        }
    }
}

/// May the build come to the stage?
pub fn judge(stages: &Stages<'_>, stage: &Stage, target: &Target) -> Result<Verdict, StageError> {
    let runs = stages.runs(&stage.name);
    let commit = target.commit.to_string();
    let mut gates = of_build(&stage.requires, &facts(stages, stage, target)?);
    if let Some(after) = &stage.after {
        gates.extend(gate::of_order(stage, &stages.past(after), &commit, stages.now));
    }
    let mut verdict = Verdict {
        stage: stage.name.clone(),
        action: Action::Promote,
        build: target.build.clone(),
        commit: target.commit,
        runs,
        gates: Vec::new(),
        transition: None,
        waits: Vec::new(),
        frees: Vec::new(),
    };
    if let Some(runs) = runs.filter(|runs| *runs != target.commit) {
        let current = stages.build(&runs)?;
        if stages.older(target, &current)? {
            let why = format!("it is older than {}, which runs there: that is a roll-back", current.build);
            gates.push(Gate::new(GateKind::Forward, false, why));
        }
        let transition = stages.between(&runs, &target.commit)?;
        gates.push(gate::of_risk(stage, Some(transition.assessment.level), &told(&transition)));
        let (waits, frees) = skew::split(skew::contracts(&transition), &lacking(stages, stage, target)?);
        (verdict.waits, verdict.frees, verdict.transition) = (waits, frees, Some(transition));
    } else {
        gates.push(gate::of_risk(stage, runs.map(|_| Severity::Off), ""));
    }
    if let Some(group) = &stage.group {
        let mut apart = Vec::new();
        for other in stages.beside(stage) {
            let Some(live) = stages.runs(&other.name).filter(|live| *live != target.commit) else { continue };
            let live = stages.build(&live)?;
            let ends = match stages.older(target, &live)? {
                true => [target.commit, live.commit],
                false => [live.commit, target.commit],
            };
            let why = skew::apart(&*stages.between(&ends[0], &ends[1])?);
            apart.extend(why.into_iter().map(|why| (other.name.clone(), why)));
        }
        gates.push(gate::of_skew(group, &apart));
    }
    let (people, others) = approvers(stages, stage, target)?;
    gates.extend(gate::of_approvals(stage, &people, &others));
    verdict.gates = gates;
    Ok(verdict)
}

/// May the stage go back to the build? Without one, to what ran before.
pub fn judge_back(stages: &Stages<'_>, stage: &Stage, to: Option<&Target>) -> Result<Verdict, StageError> {
    let past = stages.past(&stage.name);
    let nothing = |what: &str| StageError::Nothing { what: format!("the stage '{}' {what}", stage.name) };
    let runs = stages.runs(&stage.name).ok_or_else(|| nothing("runs nothing yet"))?;
    let before = ran_before(&past).and_then(|hex| ObjectId::from_hex(hex.as_bytes()).ok());
    let target = match to {
        Some(target) => target.clone(),
        None => stages.build(&before.ok_or_else(|| nothing("ran nothing before"))?)?,
    };
    let commit = target.commit.to_string();
    let mut gates = Vec::new();
    let been = past.iter().any(|r| r.commit == commit);
    let why = if been { "it ran there before" } else { "it never ran there" };
    gates.push(Gate::new(GateKind::Known, been, why));
    // What stands between the two, in the order in which it was taken.
    let forward = stages.between(&target.commit, &runs)?;
    let group: Vec<&str> =
        stages.beside(stage).iter().map(|s| s.name.as_str()).chain([stage.name.as_str()]).collect();
    let freed: Vec<Contract> = group.iter().flat_map(|s| stages.past(s)).flat_map(|r| r.frees).collect();
    let (mut may_have_run, mut waiting) = (Vec::new(), Vec::new());
    for contract in skew::contracts(&forward) {
        if freed.contains(&contract) {
            may_have_run.push(format!("{} ({})", contract.revision, contract.db));
        } else {
            waiting.push(Waiting { contract, on: Vec::new() });
        }
    }
    gates.push(gate::of_contract(&may_have_run, &waiting));
    let transition = match target.commit == runs {
        true => None,
        false => Some(stages.between(&runs, &target.commit)?),
    };
    Ok(Verdict {
        stage: stage.name.clone(),
        action: Action::Rollback,
        build: target.build,
        commit: target.commit,
        runs: Some(runs),
        gates,
        transition,
        waits: Vec::new(),
        frees: Vec::new(),
    })
}

/// Carries a verdict out, if it allows that, with a person's word. Returns the record's commit; none if nothing was done.
pub fn carry_out(
    stages: &Stages<'_>,
    verdict: &mut Verdict,
    word: &Word,
) -> Result<Option<ObjectId>, StageError> {
    word.apply(verdict);
    if verdict.already() || !verdict.allowed() {
        return Ok(None);
    }
    let passed = verdict.gates.iter().any(|g| g.overridden);
    let promotion = Promotion {
        version: VERSION,
        project: stages.site.project.name.clone(),
        stage: verdict.stage.clone(),
        action: verdict.action,
        build: verdict.build.clone(),
        commit: verdict.commit.to_string(),
        before: verdict.runs.map(|id| id.to_string()),
        who: stages.who()?,
        when: stages.now.to_string(),
        // A word that no gate needed is still why.
        reason: word.reason.clone().or_else(|| word.overridden.clone().filter(|_| !passed)),
        overridden: word.overridden.clone().filter(|_| passed),
        gates: verdict.gates.clone(),
        risk: verdict.transition.as_ref().map(|t| t.assessment.level),
        waits: verdict.waits.clone(),
        frees: verdict.frees.clone(),
    };
    stages.keep(&promotion).map(Some)
}

/// Says what a person's word would change, and changes nothing.
pub fn try_out(verdict: &mut Verdict, word: &Word) {
    word.apply(verdict);
}

/// What came of an approval.
#[derive(Debug, Clone)]
pub struct Approved {
    /// The approval.
    pub approval: Approval,
    /// Was it there before?
    pub already: bool,
    /// Does it count? Where the signers are known, only if it is signed by one of them.
    pub counts: bool,
}

/// Gives one's word for a build on a stage.
pub fn approve(
    stages: &Stages<'_>,
    stage: &Stage,
    target: &Target,
    reason: Option<String>,
) -> Result<Approved, StageError> {
    let who = stages.who()?;
    let counts = |ids: &[ObjectId]| -> Result<bool, StageError> {
        let all = stages.signatures(ids)?;
        Ok(!stages.signers_are_known() || all.values().any(|by| matches!(by, SignedBy::Allowed(_))))
    };
    let same = |kept: &&Kept<Approval>| kept.record.who[1].eq_ignore_ascii_case(&who[1]);
    let known = stages.approvals(target, &stage.name)?;
    // What does not count may be given again, signed.
    if let Some(kept) = known.iter().find(same)
        && counts(&[kept.id])?
    {
        return Ok(Approved { approval: kept.record.clone(), already: true, counts: true });
    }
    let approval = Approval {
        version: VERSION,
        project: stages.site.project.name.clone(),
        stage: stage.name.clone(),
        build: target.build.clone(),
        commit: target.commit.to_string(),
        who,
        when: stages.now.to_string(),
        reason,
    };
    let made = stages.keep_approval(&approval)?;
    Ok(Approved { approval, already: false, counts: counts(&[made])? })
}

/// What of the build gates ask about.
fn facts(stages: &Stages<'_>, stage: &Stage, target: &Target) -> Result<BuildFacts, StageError> {
    let site = stages.site;
    let manifest = &target.manifest;
    let mut checks: Vec<Checked> = manifest
        .checks
        .iter()
        .map(|c| {
            let passed = c.ended == Ended::Passed;
            let said = if passed { "passed when it was built".to_owned() } else { c.said.clone() };
            Checked { name: c.name.clone(), passed, said }
        })
        .collect();
    // A check that came later may have been run by hand.
    let cache = Cache::at(&site.folder.join("checks"));
    let later = site.project.checks.iter().filter(|c| stage.requires.contains(&c.name));
    for check in later.filter(|c| manifest.checks.iter().all(|m| m.name != c.name)) {
        let tree = ObjectId::from_hex(manifest.deploy.tree.as_bytes()).ok();
        if let Some(ran) = tree.and_then(|tree| cache.get(check, &tree)) {
            let passed = ran.ended == Ended::Passed;
            let said = if passed { "passed on this machine" } else { "failed on this machine" };
            checks.push(Checked { name: check.name.clone(), passed, said: said.into() });
        }
    }
    Ok(BuildFacts {
        checks,
        signed: match stage.requires.iter().any(|r| r == SIGNED) {
            true => signed(stages, target)?,
            false => Signed::No,
        },
        left_out: left_out(manifest, site.project.policy.required),
    })
}

/// The required patches that a build has not, each with its outcome.
pub fn left_out(manifest: &Manifest, policy: Required) -> Vec<(String, String)> {
    let wanted = |p: &&crate::build::manifest::PatchRecord| p.metadata.required || policy == Required::All;
    let out = manifest.patches.iter().filter(wanted).filter(|p| p.outcome.left_out());
    out.map(|p| (p.name.clone(), p.outcome.word().to_owned())).collect()
}

/// What the signature of a build's manifest is worth.
fn signed(stages: &Stages<'_>, target: &Target) -> Result<Signed, StageError> {
    let recorded = recorded(stages.site, Some(&target.build))?;
    let Some(signature) = recorded.signature else { return Ok(Signed::No) };
    let why = match signature::check(&signature, signature::MANIFEST, &recorded.bytes, &trust(stages.site))
        .map_err(NightError::from)?
    {
        Standing::Good { .. } if id(&recorded.manifest.deploy.commit) != Some(target.commit) => {
            "what is signed is the manifest of another commit".to_owned()
        }
        Standing::Good { signer, .. } => return Ok(Signed::Good { by: signer }),
        Standing::Unknown { .. } => "it is signed, and nobody is named who may: allowed_signers".to_owned(),
        Standing::Damaged => "its signature is damaged".to_owned(),
        Standing::Namespace { found } => format!("its signature was made for something else: {found}"),
        Standing::Altered { key } => format!("it is not what {key} signed"),
        Standing::NotAllowed { key } => format!("it is signed by {key}, who may not"),
        Standing::NotNow { key } => format!("it is signed by {key}, who may not sign this, or not now"),
        Standing::Revoked { key } => format!("it is signed by {key}, which is revoked"),
    };
    Ok(Signed::Bad { why })
}

/// The other stages of the group that run something else, with the migrations of the build that they still lack.
fn lacking(
    stages: &Stages<'_>,
    stage: &Stage,
    target: &Target,
) -> Result<Vec<(String, Vec<Contract>)>, StageError> {
    let mut all = Vec::new();
    for other in stages.beside(stage) {
        if let Some(live) = stages.runs(&other.name).filter(|live| *live != target.commit) {
            let lacks = skew::contracts(&*stages.between(&live, &target.commit)?);
            all.push((other.name.clone(), lacks));
        }
    }
    Ok(all)
}

/// Whose approvals count, each person once, and whose do not.
fn approvers(
    stages: &Stages<'_>,
    stage: &Stage,
    target: &Target,
) -> Result<(Vec<String>, Vec<String>), StageError> {
    if stage.approvals == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let all = stages.approvals(target, &stage.name)?;
    let name = |kept: &Kept<Approval>| kept.record.who[0].clone();
    if !stages.signers_are_known() {
        let people: BTreeMap<String, String> =
            all.iter().map(|kept| (kept.record.who[1].to_lowercase(), name(kept))).collect();
        return Ok((people.into_values().collect(), Vec::new()));
    }
    let ids: Vec<ObjectId> = all.iter().map(|k| k.id).collect();
    let signatures = stages.signatures(&ids)?;
    // Two names with one key are one person.
    let (mut people, mut others): (BTreeMap<String, String>, Vec<String>) = (BTreeMap::new(), Vec::new());
    for kept in &all {
        match signatures.get(&kept.id) {
            Some(SignedBy::Allowed(by)) => drop(people.insert(by.clone(), name(kept))),
            _ => others.push(name(kept)),
        }
    }
    Ok((people.into_values().collect(), others))
}

/// The findings of a move in a few words: how many, and the worst.
fn told(transition: &Transition) -> String {
    let a = &transition.assessment;
    let of = [Severity::Stop, Severity::Warn, Severity::Info].into_iter();
    let counts: Vec<String> =
        of.filter(|s| a.count(*s) > 0).map(|s| format!("{} {}", a.count(s), s.word())).collect();
    let worst = a.findings.iter().take_while(|f| f.severity == a.level && f.severity >= Severity::Warn);
    let mut names: Vec<String> = Vec::new();
    for f in worst {
        let about = match &f.migration {
            Some(m) => {
                let ops = m.ops.iter().find(|op| op.phase == m.phase);
                format!(
                    "{}: {}",
                    m.revision,
                    ops.map(crate::risk::migration::Op::in_words).unwrap_or_default()
                )
            }
            None => f.name.clone(),
        };
        let name = format!("{} {about}", f.kind);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(2);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.truncate(2);
    let names = if names.is_empty() { String::new() } else { format!(" ({}{more})", names.join(", ")) };
    format!("{}{names}", counts.join(", "))
}

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
