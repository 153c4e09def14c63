//! What differs between two builds: which patches came, went, landed, or changed; from their manifests alone.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::manifest::{CheckRecord, Manifest, PatchRecord};
use super::upstream::UpstreamRange;
use crate::check::Ended;
use crate::landed::Evidence;
use crate::risk::Transition;
use crate::workspace::Outcome;

/// The version of the form of a [`ManifestDiff`].
pub const VERSION: u32 = 1;

/// What differs between two builds of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestDiff {
    /// The version of this form.
    pub version: u32,
    /// The project.
    pub project: String,
    /// The build that is moved from.
    pub from: BuildName,
    /// The build that is moved to.
    pub to: BuildName,
    /// The upstream commits that the move takes in; none where a trunk commit is not in the store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub taken_in: Option<UpstreamRange>,
    /// The upstream commits that the move gives up: a way back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub given_up: Option<UpstreamRange>,
    /// The patches that differ, in the order of the queue moved to; those that went come last.
    pub patches: Vec<PatchDiff>,
    /// How many patches are the same in both.
    pub same: usize,
    /// The checks that ended otherwise, or stand in one of both alone.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub checks: Vec<CheckDiff>,
    /// What the move asks; none where a commit is not in the store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub risk: Option<Transition>,
}

/// A build, as a comparison names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildName {
    /// Its id.
    pub build: String,
    /// Its commit.
    pub commit: String,
    /// Its trunk commit.
    pub trunk: String,
    /// That commit's date, in RFC 3339.
    pub date: String,
    /// `git describe` of it, where a tag reaches it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub describe: Option<String>,
}

/// A patch that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PatchDiff {
    /// Its name.
    pub name: String,
    /// The first line of its message.
    pub subject: String,
    /// Name and mail address of its author.
    pub author: [String; 2],
    /// How it differs.
    pub what: PatchMove,
    /// What had become of it in the build moved from; none where the queue had not got it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Outcome>,
    /// What became of it in the build moved to; none where the queue has not got it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<Outcome>,
    /// Its commits in both builds.
    pub commits: [Option<String>; 2],
    /// The upstream commit that has it, for one that landed, or that is carried again on a way back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evidence: Option<Box<Evidence>>,
    /// `git range-diff` of both commits, for one that changed; none where a commit is not in the store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub range_diff: Option<String>,
}

/// How a patch differs between two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatchMove {
    /// The build moved to has it, and the queue moved from had not.
    Added,
    /// The build moved to has it again: it was left out of the other, or upstream had it there.
    Back,
    /// Both have it, with other changes.
    Changed,
    /// Both have it with the same changes; their context differs.
    Context,
    /// Upstream has it.
    Landed,
    /// It fell out of the build, and stands in the queue.
    LeftOut,
    /// It left the queue, and nothing says that upstream has it.
    Dropped,
}

impl PatchMove {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Back => "back",
            Self::Changed => "changed",
            Self::Context => "context",
            Self::Landed => "landed",
            Self::LeftOut => "left out",
            Self::Dropped => "dropped",
        }
    }
}

/// A check that ended otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckDiff {
    /// Its name.
    pub name: String,
    /// How it ended in the build moved from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Ended>,
    /// How it ended in the build moved to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<Ended>,
}

impl ManifestDiff {
    /// The JSON Schema of the form.
    pub fn schema() -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(&schemars::schema_for!(ManifestDiff))? + "\n")
    }
}

impl BuildName {
    /// The build of a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            build: manifest.deploy.build.clone(),
            commit: manifest.deploy.commit.clone(),
            trunk: manifest.trunk.commit.clone(),
            date: manifest.trunk.date.clone(),
            describe: manifest.trunk.describe.clone(),
        }
    }
}

/// Compares two builds. `between` are the builds that lead from one to the other, in any order: a patch that landed
/// left the queue with the build that says so. What needs the store (ranges, range-diffs, risk) is not filled in.
pub fn compare(from: &Manifest, to: &Manifest, between: &[Manifest]) -> ManifestDiff {
    let old: BTreeMap<&str, &PatchRecord> = from.patches.iter().map(|p| (p.name.as_str(), p)).collect();
    let new: BTreeMap<&str, &PatchRecord> = to.patches.iter().map(|p| (p.name.as_str(), p)).collect();
    let mut patches = Vec::new();
    let mut same = 0;
    let landed = |name: &str| {
        let records = between.iter().flat_map(|m| &m.patches).filter(|p| p.name == name);
        records.filter_map(|p| p.evidence.clone()).next()
    };
    for record in &to.patches {
        let was = old.get(record.name.as_str()).copied();
        let Some(mut what) = differs(was, Some(record)) else {
            same += usize::from(record.commit.is_some());
            continue;
        };
        let mut diff = differing(record, what, was, Some(record));
        // On a way back, what upstream has and had not got then is the patch's again.
        if what == PatchMove::Added && diff.evidence.is_none() {
            diff.evidence = landed(&record.name);
            what = if diff.evidence.is_some() { PatchMove::Back } else { what };
        }
        patches.push(PatchDiff { what, ..diff });
    }
    let gone = from.patches.iter().filter(|p| p.commit.is_some() && !new.contains_key(p.name.as_str()));
    for record in gone {
        let evidence = landed(&record.name);
        let what = if evidence.is_some() { PatchMove::Landed } else { PatchMove::Dropped };
        patches.push(PatchDiff { evidence, ..differing(record, what, Some(record), None) });
    }
    ManifestDiff {
        version: VERSION,
        project: to.project.clone(),
        from: BuildName::of(from),
        to: BuildName::of(to),
        taken_in: None,
        given_up: None,
        patches,
        same,
        checks: checks(&from.checks, &to.checks),
        risk: None,
    }
}

/// How a patch differs, if it does; one that is in neither build does not.
fn differs(old: Option<&PatchRecord>, new: Option<&PatchRecord>) -> Option<PatchMove> {
    let built = |p: Option<&PatchRecord>| p.is_some_and(|p| p.commit.is_some());
    match (built(old), built(new)) {
        (false, true) if old.is_some() => Some(PatchMove::Back),
        (false, true) => Some(PatchMove::Added),
        (true, false) if new.is_some_and(|p| p.outcome == Outcome::Landed) => Some(PatchMove::Landed),
        (true, false) if new.is_some() => Some(PatchMove::LeftOut),
        (true, false) => Some(PatchMove::Dropped),
        (true, true) => {
            let says = |p: &PatchRecord| (p.patch_id.clone(), p.subject.clone(), p.author.clone());
            (old.map(says) != new.map(says)).then_some(PatchMove::Changed)
        }
        (false, false) => None,
    }
}

fn differing(
    record: &PatchRecord,
    what: PatchMove,
    old: Option<&PatchRecord>,
    new: Option<&PatchRecord>,
) -> PatchDiff {
    let commit = |p: Option<&PatchRecord>| p.and_then(|p| p.commit.clone());
    PatchDiff {
        name: record.name.clone(),
        subject: record.subject.clone(),
        author: record.author.clone(),
        what,
        before: old.map(|p| p.outcome),
        after: new.map(|p| p.outcome),
        commits: [commit(old), commit(new)],
        evidence: new.and_then(|p| p.evidence.clone()),
        range_diff: None,
    }
}

fn checks(old: &[CheckRecord], new: &[CheckRecord]) -> Vec<CheckDiff> {
    let mut names: Vec<&str> = new.iter().map(|c| c.name.as_str()).collect();
    names.extend(old.iter().map(|c| c.name.as_str()).filter(|n| !new.iter().any(|c| c.name == *n)));
    let of = |all: &[CheckRecord], name: &str| all.iter().find(|c| c.name == name).map(|c| c.ended);
    let diff = |name: &str| CheckDiff { name: name.to_owned(), before: of(old, name), after: of(new, name) };
    names.into_iter().map(diff).filter(|c| c.before != c.after).collect()
}
