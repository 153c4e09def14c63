//! What stages of one group mean to each other while they run different builds: which versions meet, what keeps them
//! together, which migrations have to wait, and the steps after which all run one build again.
//!
//! Stages of a group share databases and messages, as the cells of a region do. So a migration that some code cannot
//! live with waits until no stage runs that code; a side that is held back (pinned) is held at the oldest build's
//! version; and a third build may come only if it can run beside the slowest one.

use serde::Serialize;

use super::record::{Contract, Waiting};
use crate::risk::plan::{Do, Mode};
use crate::risk::{Finding, Severity, Transition};

/// A build that runs in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Live {
    /// The build.
    pub build: String,
    /// The stages that run it, in the configuration's order.
    pub stages: Vec<String>,
}

/// Versions of one thing that meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meeting {
    /// What kind of version it is, as the finding says.
    pub kind: String,
    /// Of what.
    pub name: String,
    /// On the older build.
    pub old: String,
    /// On the newer one.
    pub new: String,
    /// How bad it is.
    pub severity: Severity,
}

/// What keeps both sides at one version while they meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pinned {
    /// The option.
    pub option: String,
    /// The oldest version that runs.
    pub value: String,
    /// Of what.
    pub name: String,
}

/// One step to one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it does: `pin`, `promote`, `unpin`, `contract`.
    #[serde(rename = "do")]
    pub action: &'static str,
    /// In words.
    pub what: String,
    /// The commands that do it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
}

/// What a group's stages mean to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skew {
    /// The group.
    pub group: String,
    /// The builds that run, the oldest first.
    pub live: Vec<Live>,
    /// The versions that meet.
    pub meet: Vec<Meeting>,
    /// What has to be pinned meanwhile.
    pub pins: Vec<Pinned>,
    /// Why some of the builds must not run beside each other at all.
    pub apart: Vec<String>,
    /// The migrations that have to wait, and for whom.
    pub waits: Vec<Waiting>,
    /// What brings all stages to the newest of the builds.
    pub steps: Vec<Step>,
}

/// The migrations of a move that old code cannot live with, or that stand behind such a one in a chain that runs in one
/// line.
pub fn contracts(transition: &Transition) -> Vec<Contract> {
    let steps = transition.plan.steps.iter().filter(|s| s.action == Do::Contract);
    let each = |step: &crate::risk::plan::Step| {
        let db = step.db.clone().unwrap_or_default();
        step.revisions
            .iter()
            .map(move |r| Contract { db: db.clone(), revision: r.clone() })
            .collect::<Vec<_>>()
    };
    steps.flat_map(each).collect()
}

/// Which of a stage's migrations wait for others of its group, and which are free once it has moved. `others` are the
/// other stages that run something else than its new build, with the migrations that they still lack of it.
pub fn split(own: Vec<Contract>, others: &[(String, Vec<Contract>)]) -> (Vec<Waiting>, Vec<Contract>) {
    let (mut waits, mut free) = (Vec::new(), Vec::new());
    for contract in own {
        let lack = others.iter().filter(|(_, lacks)| lacks.contains(&contract));
        let on: Vec<String> = lack.map(|(stage, _)| stage.clone()).collect();
        match on.is_empty() {
            true => free.push(contract),
            false => waits.push(Waiting { contract, on }),
        }
    }
    (waits, free)
}

/// Why the two builds of a move must not run beside each other: an interface of another major version, something that
/// goes over the wire in another form under the same version, a service older than the new build takes, or a migration that the
/// new build needs and that stands behind one which the old build cannot live with.
pub fn apart(transition: &Transition) -> Vec<String> {
    let mut why = Vec::new();
    let findings = &transition.assessment.findings;
    for f in findings.iter().filter(|f| f.severity == Severity::Stop) {
        let (old, new) = (f.old.as_deref().unwrap_or("-"), f.new.as_deref().unwrap_or("-"));
        match f.kind.as_str() {
            "rpc.version" => why.push(format!("{} {old} and {new} do not talk to each other", f.name)),
            "object.version.unmarked" => {
                why.push(format!("{} has two forms under one version", f.name));
            }
            "service.min_supported" if !is_old_enough(findings, f) => {
                why.push(format!("{}: services from {new} on are taken, and older ones run", f.name));
            }
            _ => {}
        }
    }
    if transition.plan.mode == Mode::Via {
        let stops = transition.plan.stops.join(", ");
        why.push(format!("{stops} is needed, and stands behind what the older code cannot live with"));
    }
    why
}

/// Does the old build's own service version satisfy what the new one takes at least?
fn is_old_enough(findings: &[Finding], least: &Finding) -> bool {
    let version = findings.iter().find(|f| f.kind == "service.version" && f.name == least.name);
    // Where the version did not move, both builds have the new one's, which takes itself.
    let Some(version) = version else { return true };
    match (version.old.as_deref().and_then(number), least.new.as_deref().and_then(number)) {
        (Some(has), Some(wants)) => has >= wants,
        _ => false,
    }
}

/// The number of a version: `69`, or that in `Epoxy (68)`.
fn number(text: &str) -> Option<u64> {
    let inner = text.rsplit_once('(').map_or(text, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim().parse().ok()
}

/// What the stages of a group mean to each other. `live` are the builds, the oldest first; `between` gives what the move
/// from one of them to a later one asks, by their places.
pub fn skew<'t>(
    group: &str,
    live: Vec<Live>,
    between: impl Fn(usize, usize) -> Option<&'t Transition>,
) -> Skew {
    let mut out = Skew {
        group: group.to_owned(),
        live,
        meet: Vec::new(),
        pins: Vec::new(),
        apart: Vec::new(),
        waits: Vec::new(),
        steps: Vec::new(),
    };
    let Some(newest) = out.live.len().checked_sub(1).filter(|n| *n > 0) else { return out };
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    // From the oldest on: the first version that is found of something is the oldest that runs.
    for older in 0..newest {
        for newer in older + 1..=newest {
            let Some(transition) = between(older, newer) else { continue };
            let names = [&out.live[older].build, &out.live[newer].build];
            out.apart.extend(
                apart(transition).into_iter().map(|why| format!("{} and {}: {why}", names[0], names[1])),
            );
            for f in &transition.assessment.findings {
                note(f, &mut out.meet, &mut out.pins);
            }
        }
        let Some(transition) = between(older, newest) else { continue };
        for contract in contracts(transition) {
            let stages = &out.live[older].stages;
            match out.waits.iter_mut().find(|w| w.contract == contract) {
                Some(known) => known.on.extend(stages.iter().cloned()),
                None => out.waits.push(Waiting { contract, on: stages.clone() }),
            }
        }
        for step in transition.plan.steps.iter().filter(|s| s.action == Do::Contract) {
            let db = step.db.clone().unwrap_or_default();
            if !commands.iter().any(|(name, _)| *name == db) {
                commands.push((db, step.run.clone()));
            }
        }
    }
    close(&mut out, newest, commands);
    out
}

fn note(f: &Finding, meet: &mut Vec<Meeting>, pins: &mut Vec<Pinned>) {
    if let Some(pin) = &f.pin
        && !pins.iter().any(|p| p.option == pin.option)
    {
        pins.push(Pinned { option: pin.option.clone(), value: pin.value.clone(), name: f.name.clone() });
    }
    let (Some(old), Some(new)) = (&f.old, &f.new) else { return };
    let versions =
        f.kind.ends_with(".version") || f.kind.ends_with(".min_supported") || f.kind == "api.microversion";
    let known = meet.iter_mut().find(|m| m.kind == f.kind && m.name == f.name);
    match known {
        _ if !versions => {}
        // The oldest side is noted first; the newest is that of the last pair.
        Some(known) => (known.new, known.severity) = (new.clone(), known.severity.max(f.severity)),
        None => meet.push(Meeting {
            kind: f.kind.clone(),
            name: f.name.clone(),
            old: old.clone(),
            new: new.clone(),
            severity: f.severity,
        }),
    }
}

/// The steps to the newest build.
fn close(out: &mut Skew, newest: usize, commands: Vec<(String, Vec<String>)>) {
    let mut steps = Vec::new();
    let mut add = |action, what: String, run: Vec<String>| steps.push(Step { action, what, run });
    for pin in &out.pins {
        let what = format!(
            "{} = {} in all of '{}', while versions of {} meet",
            pin.option, pin.value, out.group, pin.name
        );
        add("pin", what, Vec::new());
    }
    let target = &out.live[newest].build;
    for live in &out.live[..newest] {
        for stage in &live.stages {
            let run = vec![
                format!("git carry risk {} {target}", live.build),
                format!("git carry stage promote {target} {stage}"),
            ];
            add("promote", format!("move '{stage}' from {} to {target}", live.build), run);
        }
    }
    for pin in &out.pins {
        add("unpin", format!("take {} = {} away again", pin.option, pin.value), Vec::new());
    }
    for (db, run) in commands {
        let names: Vec<&str> =
            out.waits.iter().filter(|w| w.contract.db == db).map(|w| w.contract.revision.as_str()).collect();
        add("contract", format!("migrate the database {db} by {}", names.join(", ")), run);
    }
    out.steps = steps;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::risk::Assessment;
    use crate::risk::plan::Plan;
    use crate::risk::restart::Restarts;
    use crate::risk::rule::{Pin, Scope};

    fn transition(findings: Vec<Finding>, contracts: &[&str]) -> Transition {
        let restarts = Restarts { mapped: true, ..Restarts::default() };
        let step = crate::risk::plan::Step {
            id: "s1".into(),
            action: Do::Contract,
            what: "migrate".into(),
            scope: Scope::Cell,
            services: Vec::new(),
            db: Some("main".into()),
            revisions: contracts.iter().map(|c| (*c).to_owned()).collect(),
            run: vec!["manage db sync".into()],
            live: false,
            after: Vec::new(),
        };
        let steps = if contracts.is_empty() { Vec::new() } else { vec![step] };
        Transition {
            from: "a".into(),
            to: "b".into(),
            assessment: Assessment { level: Severity::Off, packs: Vec::new(), findings, restarts },
            plan: Plan { mode: Mode::Rolling, steps, point_of_no_return: None, stops: Vec::new() },
        }
    }

    fn version(kind: &str, severity: Severity, old: &str, new: &str) -> Finding {
        Finding::new(kind, severity, "r", "f").about("nova").from_to(Some(old.into()), Some(new.into()))
    }

    fn live(all: &[(&str, &[&str])]) -> Vec<Live> {
        let one = |(build, stages): &(&str, &[&str])| Live {
            build: (*build).to_owned(),
            stages: stages.iter().map(|s| (*s).to_owned()).collect(),
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn pins_are_those_of_the_oldest_build_and_migrations_wait_for_all_that_lack_them() {
        let rpc = |old: &str, new: &str| {
            let mut f = version("rpc.version", Severity::Warn, old, new);
            f.pin = Some(Pin { option: "compute".into(), value: old.into() });
            f
        };
        let ab = transition(vec![rpc("6.1", "6.2")], &["r1"]);
        let bc = transition(vec![rpc("6.2", "6.3")], &["r2"]);
        let ac = transition(vec![rpc("6.1", "6.3")], &["r1", "r2"]);
        let live = live(&[("A", &["cell-3"]), ("B", &["cell-2"]), ("C", &["cell-1"])]);
        let found = skew("region", live, |x, y| match (x, y) {
            (0, 1) => Some(&ab),
            (1, 2) => Some(&bc),
            _ => Some(&ac),
        });
        let pins: Vec<&str> = found.pins.iter().map(|p| p.value.as_str()).collect();
        assert_eq!(pins, ["6.1"]);
        assert_eq!((found.meet[0].old.as_str(), found.meet[0].new.as_str()), ("6.1", "6.3"));
        let waits: Vec<(&str, String)> =
            found.waits.iter().map(|w| (w.contract.revision.as_str(), w.on.join(","))).collect();
        assert_eq!(waits, [("r1", "cell-3".to_owned()), ("r2", "cell-3,cell-2".to_owned())]);
        let steps: Vec<&str> = found.steps.iter().map(|s| s.action).collect();
        assert_eq!(steps, ["pin", "promote", "promote", "unpin", "contract"]);
        assert_eq!(found.steps[4].what, "migrate the database main by r1, r2");
        assert_eq!(found.steps[4].run, ["manage db sync"]);
    }

    #[test]
    fn one_build_is_no_skew() {
        let found = skew("region", live(&[("A", &["cell-1", "cell-2"])]), |_, _| None);
        assert!(found.steps.is_empty() && found.waits.is_empty() && found.pins.is_empty());
    }

    #[test]
    fn builds_that_do_not_understand_each_other_are_told() {
        let least = |old: &str| {
            transition(
                vec![
                    version("service.min_supported", Severity::Stop, "Caracal (66)", "Epoxy (68)"),
                    version("service.version", Severity::Warn, old, "70"),
                ],
                &[],
            )
        };
        assert!(apart(&least("69")).is_empty(), "69 is at least 68");
        assert_eq!(apart(&least("67")).len(), 1);
        let major = transition(vec![version("rpc.version", Severity::Stop, "5.1", "6.0")], &[]);
        assert_eq!(apart(&major), ["nova 5.1 and 6.0 do not talk to each other"]);
        let minor = transition(vec![version("rpc.version", Severity::Warn, "5.1", "5.2")], &[]);
        assert!(apart(&minor).is_empty());
        let mut via = transition(Vec::new(), &["r1", "r2"]);
        (via.plan.mode, via.plan.stops) = (Mode::Via, vec!["r2".into()]);
        assert!(apart(&via)[0].starts_with("r2 is needed"));
    }

    proptest! {
        /// However cells move from build to build, each migration becomes free exactly once, and not before every cell
        /// has it.
        #[test]
        fn a_migration_is_free_once_and_only_when_nobody_lacks_it(
            builds in 2_usize..5,
            moves in proptest::collection::vec((0_usize..4, 1_usize..3), 1..30),
        ) {
            // The build n has the migrations m1 to mn; a move from x to y brings those between.
            let between = |x: usize, y: usize| -> Vec<Contract> {
                (x + 1..=y).map(|n| Contract { db: "main".into(), revision: format!("m{n}") }).collect()
            };
            let mut cells = [0_usize; 4];
            let mut freed: Vec<Contract> = Vec::new();
            for (cell, by) in moves {
                let to = (cells[cell] + by).min(builds);
                let own = between(cells[cell], to);
                let others: Vec<(String, Vec<Contract>)> = (0..4)
                    .filter(|n| *n != cell)
                    .map(|n| (format!("cell-{n}"), between(cells[n], to)))
                    .collect();
                let (waits, free) = split(own.clone(), &others);
                prop_assert_eq!(waits.len() + free.len(), own.len());
                cells[cell] = to;
                let slowest = *cells.iter().min().expect("four");
                for f in free {
                    prop_assert!(!freed.contains(&f), "twice");
                    prop_assert!(between(0, slowest).contains(&f), "too early");
                    freed.push(f);
                }
                prop_assert_eq!(freed.len(), slowest);
            }
        }
    }
}
