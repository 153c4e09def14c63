//! What stands in refs at the deploy remote: claims and results, and what the refs are called.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::night::Night;
use crate::notify::Seen;

/// The version of both forms. A reader accepts unknown keys of the version it knows.
pub const VERSION: u32 = 1;

/// Who is at a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The form's version.
    pub version: u32,
    /// The unit.
    pub unit: String,
    /// Its key when the claim was made.
    pub key: String,
    /// The worker: host, process and a word that no other has.
    pub holder: String,
    /// When it was made.
    pub since: Timestamp,
    /// Until when nobody else takes the unit, by anyone's clock.
    pub until: Timestamp,
    /// What ended the last attempt, if one failed; then the claim holds nobody off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Why.
    pub why: String,
    /// What is to be mended, in a word, so that another wording is not another trouble.
    #[serde(default)]
    pub about: String,
    /// The exit code that it asked for.
    pub exit_code: u8,
}

/// What came of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The form's version.
    pub version: u32,
    /// The unit.
    pub unit: String,
    /// The keys that it is the result of: what the night started from, and what it left.
    pub keys: Vec<String>,
    /// The worker.
    pub holder: String,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How long earlier ones took that had something to do, the newest first.
    #[serde(default)]
    pub past: Vec<f64>,
    /// The exit code that it asks for: the worst of its projects'.
    pub exit_code: u8,
    /// Each project.
    pub projects: Vec<Told>,
}

/// The word for a result by which nothing is published, or not all of a set.
pub const REFUSED: &str = "refused";

impl Record {
    /// What came of it, in a word.
    pub fn word(&self) -> &'static str {
        let any = |word: &str| self.projects.iter().any(|p| p.done == word);
        match (any("refused") || any("held"), any("published")) {
            (true, _) => REFUSED,
            (false, true) => "published",
            (false, false) => "nothing new",
        }
    }
}

/// What came of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its name.
    pub project: String,
    /// `published`, `quiet`, `refused`, or `held`: there is a build, and another project of the set has none.
    pub done: String,
    /// The exit code that its night asks for.
    pub exit_code: u8,
    /// The trunk commit that it was replayed onto.
    pub trunk: String,
    /// The build, if there is one.
    pub build: Option<String>,
    /// The build's commit.
    pub commit: Option<String>,
    /// The commit of the queue's own branch that it left.
    pub queue: Option<String>,
    /// How many patches came to which outcome.
    pub outcomes: BTreeMap<String, usize>,
    /// Why nothing was published, or what a person should look at.
    pub reasons: Vec<String>,
    /// What the night found, for those who are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

impl Told {
    /// Of a night. `queue` is the commit of the queue's own branch.
    pub fn of(night: &Night, seen: Seen, queue: Option<String>) -> Self {
        let mut outcomes = BTreeMap::new();
        for patch in &night.patches {
            *outcomes.entry(patch.outcome.word().to_owned()).or_default() += 1;
        }
        let deploy = night.manifest.as_ref().map(|m| &m.deploy);
        let done = match night.done {
            crate::night::Done::Published => "published",
            crate::night::Done::Quiet => "quiet",
            crate::night::Done::DryRun => "dry-run",
            crate::night::Done::Refused => "refused",
        };
        Self {
            project: night.project.clone(),
            done: done.to_owned(),
            exit_code: night.exit_code(),
            trunk: night.trunk.to.clone(),
            build: deploy.map(|d| d.build.clone()),
            commit: deploy.map(|d| d.commit.clone()),
            queue,
            outcomes,
            reasons: night.manifest.as_ref().map_or_else(Vec::new, |m| m.verdict.reasons.clone()),
            seen: Some(seen),
        }
    }
}

/// The ref that says who is at a unit.
pub fn claim_ref(unit: &str) -> String {
    format!("refs/carry/claim/{unit}")
}

/// Where the results of a unit are.
pub fn results_of(unit: &str) -> String {
    format!("refs/carry/result/{unit}/")
}

/// The ref of a unit's result.
pub fn result_ref(unit: &str, key: &str) -> String {
    format!("{}{key}", results_of(unit))
}

/// The queue's own branch.
pub fn queue_ref(project: &str) -> String {
    format!("refs/carry/queue/{project}")
}

/// The ref of a set's manifest.
pub fn set_ref(set: &str) -> String {
    format!("refs/carry/set/{set}")
}

/// The worse of two exit codes: a tool that failed, wrong usage, nothing published, something wants a person.
pub fn worse(a: u8, b: u8) -> u8 {
    let rank = |code: &u8| [0, 3, 4, 2, 1].iter().position(|c| c == code);
    [a, b].into_iter().max_by_key(rank).unwrap_or(a)
}

/// The end of a claim: never before its time, for what a record rounds off.
pub(super) fn until(now: Timestamp, length: Duration) -> Timestamp {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    let end = now.saturating_add(length).and_then(|end| end.saturating_add(SignedDuration::from_millis(999)));
    end.map_or(now, to_the_second)
}

/// A moment as a record keeps it.
pub(super) fn to_the_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}
