//! How far a build may go, and taking it there: the gates of a stage asked about a build, promotions, roll-backs and
//! approvals.

use std::collections::BTreeMap;
use std::rc::Rc;

use gix_hash::ObjectId;

use super::NightError;
use super::builds::recorded;
use super::sign::trust;
use super::stage::{Kept, SignedBy, StageError, Stages, Target, id};
use crate::build::manifest::{Manifest, StageGates};
use crate::build::signature::{self, Standing};
use crate::check::{Cache, Ended};
use crate::risk::{Severity, Transition};
use crate::stage::gate::{self, Checked, Gate, GateKind, Signed};
use crate::stage::record::ran_before;
use crate::stage::skew;
use crate::stage::{Action, Approval, BuildFacts, Contract, Promotion, VERSION, Waiting, of_build};
use crate::workspace::{Project, Required, SIGNED, Stage};

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
    let mut checks = checked(manifest);
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

/// What the checks said when the build was made.
fn checked(manifest: &Manifest) -> Vec<Checked> {
    let check = |c: &crate::build::manifest::CheckRecord| {
        let passed = c.ended == Ended::Passed;
        let said = if passed { "passed when it was built".to_owned() } else { c.said.clone() };
        Checked { name: c.name.clone(), passed, said }
    };
    manifest.checks.iter().map(check).collect()
}

/// What the gates of each stage say of a build that is being made, as far as the build alone answers them.
pub(super) fn gates_of(project: &Project, manifest: &Manifest) -> Vec<StageGates> {
    let facts = BuildFacts {
        checks: checked(manifest),
        signed: Signed::No,
        left_out: left_out(manifest, project.policy.required),
    };
    let of = |stage: &Stage| {
        let requires: Vec<String> = stage.requires.iter().filter(|r| *r != SIGNED).cloned().collect();
        let mut gates = of_build(&requires, &facts);
        if let Some(risk) = &manifest.risk {
            gates.push(gate::of_risk(stage, Some(risk.assessment.level), &told(risk)));
        }
        StageGates { stage: stage.name.clone(), met: gates.iter().all(|g| g.met), gates }
    };
    project.stages.iter().map(of).collect()
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
