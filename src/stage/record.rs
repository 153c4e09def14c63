//! What is kept of promotions and approvals, and what a stage's records say of the past.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::gate::Gate;
use crate::risk::Severity;

/// The version of the records' form. A reader accepts unknown keys of the version it knows.
pub const VERSION: u32 = 1;

/// What a record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A build came to the stage.
    Promote,
    /// A build that ran there before came back.
    Rollback,
}

/// A migration that code without it cannot live with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Contract {
    /// The database.
    pub db: String,
    /// The migration's identity in its tool.
    pub revision: String,
}

/// A migration that has to wait for stages which run a build without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The migration.
    #[serde(flatten)]
    pub contract: Contract,
    /// The stages.
    pub on: Vec<String>,
}

/// One step of a stage from a build to another: `promotion.json` of a commit on the stage's ref.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// The version of this form.
    pub version: u32,
    /// The project.
    pub project: String,
    /// The stage.
    pub stage: String,
    /// What was done.
    pub action: Action,
    /// The build that the stage runs from here on: the first 12 digits of its commit.
    pub build: String,
    /// Its commit.
    pub commit: String,
    /// The commit of the build that ran there before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
    /// Name and mail address of who did it.
    pub who: [String; 2],
    /// When, in RFC 3339.
    pub when: String,
    /// Why, in the words of who did it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Why it was done in spite of gates that were not met.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none", default)]
    pub overridden: Option<String>,
    /// The gates, as they were then.
    pub gates: Vec<Gate>,
    /// The worst that the move asked; none for a stage that ran nothing before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub risk: Option<Severity>,
    /// The migrations that have to wait for other stages of the group.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub waits: Vec<Waiting>,
    /// The migrations that may run from here on, as nothing in the group runs without them any more.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub frees: Vec<Contract>,
}

/// One person's word for a build on a stage: `approval.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The version of this form.
    pub version: u32,
    /// The project.
    pub project: String,
    /// The stage.
    pub stage: String,
    /// The build.
    pub build: String,
    /// Its commit.
    pub commit: String,
    /// Name and mail address of who gave it.
    pub who: [String; 2],
    /// When, in RFC 3339.
    pub when: String,
    /// Why, in the words of who gave it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl Promotion {
    /// The moment; the start of time for a record that does not say it.
    pub fn at(&self) -> Timestamp {
        self.when.parse().unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// How long the build `commit` ran in a stage in all, up to `now`. `past` are the stage's records, the newest first.
pub fn ran(past: &[Promotion], commit: &str, now: Timestamp) -> Duration {
    let mut end = now;
    let mut sum = Duration::ZERO;
    for record in past {
        let start = record.at();
        if record.commit == commit {
            sum += Duration::try_from(end.duration_since(start)).unwrap_or_default();
        }
        end = start;
    }
    sum
}

/// The record with which the build `commit` was taken back from a stage, unless it came again later.
pub fn taken_back<'p>(past: &'p [Promotion], commit: &str) -> Option<&'p Promotion> {
    let last = past.iter().take_while(|r| r.commit != commit);
    last.last().filter(|r| r.action == Action::Rollback && r.before.as_deref() == Some(commit))
}

/// What ran before the build that a stage runs came there for the first time: where a roll-back goes.
pub fn ran_before(past: &[Promotion]) -> Option<&str> {
    let now = &past.first()?.commit;
    past.iter().find(|r| r.commit == *now && r.action == Action::Promote)?.before.as_deref()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of the build `commit` at `hour`.
    pub fn record(action: Action, commit: &str, before: Option<&str>, hour: i64) -> Promotion {
        Promotion {
            version: VERSION,
            project: "p".into(),
            stage: "s".into(),
            action,
            build: commit.into(),
            commit: commit.into(),
            before: before.map(str::to_owned),
            who: ["A".into(), "a@b".into()],
            when: Timestamp::from_second(hour * 3600).expect("a moment").to_string(),
            reason: None,
            overridden: None,
            gates: Vec::new(),
            risk: None,
            waits: Vec::new(),
            frees: Vec::new(),
        }
    }

    #[test]
    fn the_time_that_a_build_ran_is_the_sum_of_its_stays() {
        let past = [
            record(Action::Promote, "b", Some("a"), 10),
            record(Action::Rollback, "a", Some("b"), 7),
            record(Action::Promote, "b", Some("a"), 4),
            record(Action::Promote, "a", None, 0),
        ];
        let now = Timestamp::from_second(12 * 3600).expect("a moment");
        let hours = |commit: &str| ran(&past, commit, now).as_secs() / 3600;
        assert_eq!((hours("a"), hours("b"), hours("c")), (4 + 3, 3 + 2, 0));
        // A clock that went back makes no time.
        assert_eq!(ran(&past[..1], "b", Timestamp::UNIX_EPOCH), Duration::ZERO);
    }

    #[test]
    fn a_build_that_was_taken_back_is_told_until_it_comes_again() {
        let mut past = vec![
            record(Action::Promote, "c", Some("a"), 6),
            record(Action::Rollback, "a", Some("b"), 5),
            record(Action::Promote, "b", Some("a"), 4),
            record(Action::Promote, "a", None, 0),
        ];
        assert_eq!(taken_back(&past, "b").map(|r| r.commit.as_str()), Some("a"));
        assert_eq!(taken_back(&past, "c"), None);
        assert_eq!(taken_back(&past, "a"), None);
        past.insert(0, record(Action::Promote, "b", Some("c"), 7));
        assert_eq!(taken_back(&past, "b"), None);
    }

    #[test]
    fn rolling_back_twice_goes_further_back() {
        let past = [
            record(Action::Rollback, "b", Some("c"), 3),
            record(Action::Promote, "c", Some("b"), 2),
            record(Action::Promote, "b", Some("a"), 1),
            record(Action::Promote, "a", None, 0),
        ];
        assert_eq!(ran_before(&past[1..]), Some("b"));
        assert_eq!(ran_before(&past), Some("a"));
        assert_eq!(ran_before(&past[3..]), None);
        assert_eq!(ran_before(&[]), None);
    }
}
