//! The gates before a stage: each says whether it is met, and why.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::{Promotion, Waiting, ran, taken_back};
use crate::risk::Severity;
use crate::workspace::{HoldOn, SIGNED, Stage};

/// What a gate asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// No patch that is required is left out.
    Required,
    /// A check has passed on the build.
    Check,
    /// The build is signed by one who may.
    Signed,
    /// It was in the stage before.
    Order,
    /// It ran there long enough.
    Soak,
    /// It is not older than what the stage runs.
    Forward,
    /// The move asks no more than the stage takes.
    Risk,
    /// It can run beside what other stages of the group run.
    Skew,
    /// Enough people have approved.
    Approvals,
    /// A build to go back to has run there.
    Known,
    /// No migration stands between that the older code cannot live with.
    Contract,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// What it asks.
    pub gate: GateKind,
    /// Of what: the check.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub about: Option<String>,
    /// Is it met?
    pub met: bool,
    /// Why, or why not.
    pub why: String,
    /// Was it passed without being met, by a person's word?
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub overridden: bool,
}

/// What a check said of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Has it passed?
    pub passed: bool,
    /// What to say of it.
    pub said: String,
}

/// What the signature of a build's manifest is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// It is by one who may sign.
    Good {
        /// Who.
        by: String,
    },
    /// There is none.
    No,
    /// It counts for nothing.
    Bad {
        /// Why.
        why: String,
    },
}

/// What of a build gates ask about, wherever it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFacts {
    /// The checks that were run on it.
    pub checks: Vec<Checked>,
    /// Its signature.
    pub signed: Signed,
    /// The required patches that are not in it, each with its outcome.
    pub left_out: Vec<(String, String)>,
}

impl GateKind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Check => "check",
            Self::Signed => "signed",
            Self::Order => "order",
            Self::Soak => "soak",
            Self::Forward => "forward",
            Self::Risk => "risk",
            Self::Skew => "skew",
            Self::Approvals => "approvals",
            Self::Known => "known",
            Self::Contract => "contract",
        }
    }

    /// All of them, for the command line.
    pub const ALL: [Self; 11] = [
        Self::Required,
        Self::Check,
        Self::Signed,
        Self::Order,
        Self::Soak,
        Self::Forward,
        Self::Risk,
        Self::Skew,
        Self::Approvals,
        Self::Known,
        Self::Contract,
    ];
}

impl Gate {
    /// A gate.
    pub fn new(gate: GateKind, met: bool, why: impl Into<String>) -> Self {
        Self { gate, about: None, met, why: why.into(), overridden: false }
    }

    /// Does it let the build through?
    pub fn open(&self) -> bool {
        self.met || self.overridden
    }

    /// `risk`, `check unit`.
    pub fn name(&self) -> String {
        match &self.about {
            Some(about) => format!("{} {about}", self.gate.word()),
            None => self.gate.word().to_owned(),
        }
    }
}

/// The gates that depend on the build alone: what is required is in it, these checks have passed, and, if asked for, it
/// is signed. `requires` is that of a stage in carry.toml.
pub fn of_build(requires: &[String], facts: &BuildFacts) -> Vec<Gate> {
    let mut gates = Vec::new();
    let out: Vec<String> =
        facts.left_out.iter().map(|(name, outcome)| format!("{name} ({outcome})")).collect();
    gates.push(match out.is_empty() {
        true => Gate::new(GateKind::Required, true, "every required patch is in the build"),
        false => Gate::new(GateKind::Required, false, format!("not in the build: {}", out.join(", "))),
    });
    for wanted in requires {
        if wanted == SIGNED {
            let (met, why) = match &facts.signed {
                Signed::Good { by } => (true, format!("signed by {by}")),
                Signed::No => (false, "the build is not signed".to_owned()),
                Signed::Bad { why } => (false, why.clone()),
            };
            gates.push(Gate::new(GateKind::Signed, met, why));
            continue;
        }
        let check = facts.checks.iter().find(|c| c.name == *wanted);
        let mut gate = match check {
            Some(check) => Gate::new(GateKind::Check, check.passed, check.said.clone()),
            None => Gate::new(GateKind::Check, false, "it was not run on this build"),
        };
        gate.about = Some(wanted.clone());
        gates.push(gate);
    }
    gates
}

/// Was the build in the stage before, and long enough? `past` are the records of that stage, the newest first.
pub fn of_order(stage: &Stage, past: &[Promotion], commit: &str, now: Timestamp) -> Vec<Gate> {
    let Some(after) = &stage.after else { return Vec::new() };
    let been = past.iter().any(|r| r.commit == commit);
    let order = match (been, taken_back(past, commit)) {
        (false, _) => Gate::new(GateKind::Order, false, format!("it was never in '{after}'")),
        (true, Some(back)) => {
            let why = back.reason.as_deref().or(back.overridden.as_deref());
            let why = why.map(|w| format!(": {w}")).unwrap_or_default();
            let day = back.when.get(..10).unwrap_or_default();
            let told = format!("'{after}' was rolled back from it on {day} by {}{why}", back.who[0]);
            Gate::new(GateKind::Order, false, told)
        }
        (true, None) => Gate::new(GateKind::Order, true, format!("it was in '{after}'")),
    };
    let mut gates = vec![order];
    if !stage.soak.is_zero() {
        let time = ran(past, commit, now);
        let (has, wants) = (length(time), length(stage.soak));
        gates.push(match time.checked_sub(stage.soak) {
            Some(_) => Gate::new(GateKind::Soak, true, format!("it ran {has} in '{after}', of {wants}")),
            None => {
                let left = length(stage.soak.saturating_sub(time));
                let why = format!("it ran {has} in '{after}', of {wants}: {left} more");
                Gate::new(GateKind::Soak, false, why)
            }
        });
    }
    gates
}

/// Is the move no worse than the stage takes? `level` is none where nothing runs there yet.
pub fn of_risk(stage: &Stage, level: Option<Severity>, findings: &str) -> Gate {
    let Some(level) = level else {
        return Gate::new(GateKind::Risk, true, "nothing runs there yet: there is no move");
    };
    let held = match stage.hold_on {
        HoldOn::Stop => level >= Severity::Stop,
        HoldOn::Warn => level >= Severity::Warn,
        HoldOn::Never => false,
    };
    let why = match level {
        Severity::Off => "the move asks nothing".to_owned(),
        _ => format!("the move asks {findings}"),
    };
    Gate::new(GateKind::Risk, !held, why)
}

/// Have enough people approved? `people` are those whose word counts, each once; `others` says whose does not.
pub fn of_approvals(stage: &Stage, people: &[String], others: &[String]) -> Option<Gate> {
    if stage.approvals == 0 {
        return None;
    }
    let (has, wants) = (people.len(), stage.approvals);
    let by = if people.is_empty() { String::new() } else { format!(": {}", people.join(", ")) };
    let not = match others.is_empty() {
        true => String::new(),
        false => format!("; not signed by one who may, and not counted: {}", others.join(", ")),
    };
    Some(Gate::new(GateKind::Approvals, has >= wants, format!("{has} of {wants}{by}{not}")))
}

/// Can it run beside what others of the group run? `apart` names stages and why not.
pub fn of_skew(group: &str, apart: &[(String, String)]) -> Gate {
    if apart.is_empty() {
        return Gate::new(GateKind::Skew, true, format!("it can run beside the rest of '{group}'"));
    }
    let each: Vec<String> = apart.iter().map(|(stage, why)| format!("beside '{stage}': {why}")).collect();
    Gate::new(GateKind::Skew, false, each.join("; "))
}

/// Did nothing run that the older code cannot live with? `may_have_run` are such migrations that were free to run;
/// `waiting` those that were not.
pub fn of_contract(may_have_run: &[String], waiting: &[Waiting]) -> Gate {
    if !may_have_run.is_empty() {
        let why = format!(
            "the older code cannot live with what may have run since: {}; undo that first, or override if it did not run",
            may_have_run.join(", ")
        );
        return Gate::new(GateKind::Contract, false, why);
    }
    let why = match waiting.is_empty() {
        true => "no migration stands between that the older code cannot live with".to_owned(),
        false => {
            let names: Vec<&str> = waiting.iter().map(|w| w.contract.revision.as_str()).collect();
            format!("held back until now, and so not run: {}", names.join(", "))
        }
    };
    Gate::new(GateKind::Contract, true, why)
}

/// A length of time for people: its two largest parts.
pub fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let at = parts.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let (unit, word) = parts[at];
    let mut text = format!("{} {word}", seconds / unit);
    if let Some((smaller, word)) = parts.get(at + 1)
        && seconds % unit >= *smaller
    {
        text.push_str(&format!(" {} {word}", seconds % unit / smaller));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::Action;
    use super::super::record::tests::record;
    use super::*;

    fn stage() -> Stage {
        Stage {
            name: "prod".into(),
            after: Some("test".into()),
            requires: vec!["unit".into(), SIGNED.into()],
            soak: Duration::from_secs(3600),
            hold_on: HoldOn::Stop,
            approvals: 2,
            group: None,
        }
    }

    #[test]
    fn what_a_build_lacks_is_named() {
        let facts = BuildFacts {
            checks: vec![Checked { name: "unit".into(), passed: false, said: "exit code 1".into() }],
            signed: Signed::No,
            left_out: vec![("fix".into(), "held".into())],
        };
        let told: Vec<String> = of_build(&stage().requires, &facts)
            .iter()
            .map(|g| format!("{} {} {}", g.name(), g.met, g.why))
            .collect();
        let expected = [
            "required false not in the build: fix (held)",
            "check unit false exit code 1",
            "signed false the build is not signed",
        ];
        assert_eq!(told, expected);
        let good = BuildFacts {
            checks: vec![Checked { name: "unit".into(), passed: true, said: "passed".into() }],
            signed: Signed::Good { by: "a@b".into() },
            left_out: Vec::new(),
        };
        assert!(of_build(&stage().requires, &good).iter().all(|g| g.met));
        let none = BuildFacts { checks: Vec::new(), ..good };
        assert!(!of_build(&["unit".to_owned()], &none)[1].met, "a check that was not run has not passed");
    }

    #[test]
    fn a_build_that_was_taken_back_does_not_go_further() {
        let now = Timestamp::from_second(100 * 3600).expect("a moment");
        let mut past =
            vec![record(Action::Promote, "b", Some("a"), 1), record(Action::Promote, "a", None, 0)];
        assert!(of_order(&stage(), &past, "b", now).iter().all(|g| g.met));
        assert!(!of_order(&stage(), &past, "c", now)[0].met);
        past.insert(0, record(Action::Rollback, "a", Some("b"), 50));
        let gate = &of_order(&stage(), &past, "b", now)[0];
        assert!(!gate.met && gate.why.contains("rolled back from it on 1970-01-03 by A"), "{}", gate.why);
    }

    proptest! {
        #[test]
        fn soak_is_met_exactly_when_the_time_is_over(ran in 0_i64..10_000, soak in 1_u64..10_000) {
            let mut stage = stage();
            stage.soak = Duration::from_secs(soak);
            let mut one = record(Action::Promote, "b", None, 0);
            one.when = Timestamp::from_second(1_000_000).expect("a moment").to_string();
            let now = Timestamp::from_second(1_000_000 + ran).expect("a moment");
            let gates = of_order(&stage, &[one], "b", now);
            prop_assert_eq!(gates[1].met, ran >= soak as i64, "{}", gates[1].why);
        }

        #[test]
        fn a_move_is_held_from_the_level_on_that_the_stage_names(level in 0_usize..4, hold in 0_usize..3) {
            let levels = [Severity::Off, Severity::Info, Severity::Warn, Severity::Stop];
            let holds = [HoldOn::Stop, HoldOn::Warn, HoldOn::Never];
            let stage = Stage { hold_on: holds[hold], ..stage() };
            let gate = of_risk(&stage, Some(levels[level]), "x");
            let first_held = [3, 2, 4][hold];
            prop_assert_eq!(gate.met, level < first_held);
        }
    }

    #[test]
    fn lengths_are_told_by_their_two_largest_parts() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 m"),
            (3_661, "1 h 1 m"),
            (86_400, "1 d"),
            (200_000, "2 d 7 h"),
        ];
        for (seconds, told) in cases {
            assert_eq!(length(Duration::from_secs(seconds)), told);
        }
    }
}
