//! In: what is known of each patch: what it needs, what it has cost, what upstream did beside it. Out: which to send
//! first, with every number and where it comes from. Never: a store, the network, a decision for a person.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::workspace::Weights;

/// What is known of one patch.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// The first line of its message.
    pub subject: String,
    /// Whose it is.
    pub owner: String,
    /// All that it needs, near and far, in the queue's order, without itself.
    pub closure: Vec<String>,
    /// Why it cannot be sent now; none: it is ready.
    pub obstacles: Vec<Obstacle>,
    /// Builds of the window in which it was a root conflict.
    pub conflicts: usize,
    /// Days of the window on which it was a root conflict.
    pub waiting: f64,
    /// Builds of the window for which it was made anew, by merge or by a recorded answer.
    pub refreshed: usize,
    /// Upstream commits of the window that changed the lines that it touches or stands beside, the newest first.
    pub churn: Vec<String>,
    /// The patches that need it, near and far.
    pub dependents: Vec<String>,
    /// For how many years it has been carried.
    pub years: f64,
    /// The lines that it adds and takes away.
    pub lines: usize,
    /// Paths of tests that it, or what it needs, touches.
    pub tests: Vec<String>,
    /// Is it signed off?
    pub signed_off: bool,
    /// What its header says of having been sent.
    pub sent: Option<String>,
}

/// Why a patch cannot be sent now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "obstacle")]
pub enum Obstacle {
    /// A header says that it, or one that it needs, is not for upstream.
    Never {
        /// The patch that says so.
        patch: String,
        /// In its own words.
        says: String,
    },
    /// It, or one that it needs, is not in the stack.
    Out {
        /// The patch.
        patch: String,
        /// Its outcome, in a word.
        outcome: String,
    },
    /// It does not apply to the bare trunk tip with what it needs.
    Conflicts {
        /// The patch of the closure that does not.
        patch: String,
        /// Where.
        paths: Vec<String>,
    },
    /// A check of its stack fails.
    Check {
        /// The check's name.
        name: String,
    },
    /// Upstream has it, or may have it.
    Upstream {
        /// The upstream commit.
        commit: String,
    },
}

/// One number of a patch, and what it counts for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The weight's key in carry.toml.
    pub key: &'static str,
    /// The number.
    pub value: f64,
    /// What is counted, in words.
    pub what: &'static str,
    /// Where it comes from.
    pub from: &'static str,
    /// The points for each.
    pub weight: f64,
    /// What it adds to the rank, or takes off.
    pub points: f64,
}

/// A patch, ranked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// What is known of it.
    #[serde(flatten)]
    pub facts: Facts,
    /// Can it be sent now?
    pub ready: bool,
    /// All points together: the most first.
    pub points: f64,
    /// How they come about.
    pub parts: Vec<Part>,
}

/// What sending some removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Saving {
    /// The patches to send.
    pub send: Vec<String>,
    /// All that goes with them, themselves among it.
    pub with: Vec<String>,
    /// The root conflicts of the window that were theirs.
    pub conflicts: usize,
    /// Of so many.
    pub of: usize,
}

/// Ranks patches: those that are ready first, each by its points.
pub fn rank(facts: Vec<Facts>, weights: &Weights) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = facts
        .into_iter()
        .map(|facts| {
            let parts = parts(&facts, weights);
            let points = parts.iter().map(|p| p.points).sum();
            Candidate { ready: facts.obstacles.is_empty(), points, parts, facts }
        })
        .collect();
    all.sort_by(|a, b| b.ready.cmp(&a.ready).then(b.points.total_cmp(&a.points)));
    all
}

#[allow(clippy::cast_precision_loss, reason = "these are small counts")]
fn parts(facts: &Facts, w: &Weights) -> Vec<Part> {
    let builds = "the outcomes in the manifests of the last quarter's builds";
    let header = "its header";
    let graph = "the graph of the stack";
    let part = |key, value: f64, what, from, weight: f64, sign: f64| Part {
        key,
        value,
        what,
        from,
        weight,
        // No minus before nothing.
        points: if value == 0.0 { 0.0 } else { sign * value * weight },
    };
    let one = |is: bool| if is { 1.0 } else { 0.0 };
    vec![
        part("conflict", facts.conflicts as f64, "builds in conflict", builds, w.conflict, 1.0),
        part("waiting", facts.waiting, "days in conflict", builds, w.waiting, 1.0),
        part("refreshed", facts.refreshed as f64, "builds it was made anew for", builds, w.refreshed, 1.0),
        part(
            "churn",
            facts.churn.len() as f64,
            "upstream commits on its lines",
            "git blame of the lines it touches, and three beside, over the last quarter",
            w.churn,
            1.0,
        ),
        part("dependent", facts.dependents.len() as f64, "patches that need it", graph, w.dependent, 1.0),
        part("year", facts.years, "years carried", "its author's date", w.year, 1.0),
        part(
            "hundred_lines",
            (facts.lines.min(1000)) as f64 / 100.0,
            "hundreds of lines, ten at most",
            "its diff",
            w.hundred_lines,
            1.0,
        ),
        part("closure", facts.closure.len() as f64, "patches to send with it", graph, w.closure, -1.0),
        part("untested", one(facts.tests.is_empty()), "no test comes with it", "its paths", w.untested, -1.0),
        part("unsigned", one(!facts.signed_off), "not signed off", header, w.unsigned, -1.0),
    ]
}

/// So many patches are named together.
const TOGETHER: usize = 3;

/// The few ready patches whose sending, with what they need, removes most of the window's root conflicts. `conflicts` has
/// how many each patch had, those that left the queue among them. None if it would remove none.
pub fn saving(ranked: &[Candidate], conflicts: &[(String, usize)]) -> Option<Saving> {
    let of: usize = conflicts.iter().map(|(_, n)| n).sum();
    let had = |name: &str| conflicts.iter().find(|(known, _)| known == name).map_or(0, |(_, n)| *n);
    let (mut send, mut with, mut removed) = (Vec::new(), BTreeSet::new(), 0);
    while send.len() < TOGETHER {
        let gain = |c: &&Candidate| -> usize {
            let all = c.facts.closure.iter().chain([&c.facts.name]);
            all.filter(|name| !with.contains(*name)).map(|name| had(name)).sum()
        };
        // Of equals the first ranked.
        let best = ranked.iter().filter(|c| c.ready).rev().max_by_key(gain).filter(|c| gain(c) > 0);
        let Some(best) = best else { break };
        removed += gain(&best);
        send.push(best.facts.name.clone());
        with.extend(best.facts.closure.iter().cloned());
        with.insert(best.facts.name.clone());
    }
    (removed > 0).then(|| Saving { send, with: with.into_iter().collect(), conflicts: removed, of })
}

/// Does a path look like one of a test? By the names that most languages' tools look for.
pub fn is_test(path: &str) -> bool {
    let mut parts = path.split('/').map(str::to_ascii_lowercase);
    let file = parts.next_back().unwrap_or_default();
    let stem = file.split('.').next().unwrap_or_default();
    let word =
        |text: &str| matches!(text, "t" | "test" | "tests" | "testing" | "spec" | "specs" | "__tests__");
    parts.any(|folder| word(&folder))
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_spec")
        || file.contains(".test.")
        || file.contains(".spec.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, conflicts: usize, closure: &[&str]) -> Facts {
        let closure = closure.iter().map(|c| (*c).to_owned()).collect();
        let tests = vec!["tests/a".into()];
        Facts { name: name.into(), conflicts, closure, tests, signed_off: true, ..Facts::default() }
    }

    #[test]
    fn what_is_ready_comes_first_then_what_costs_most_for_the_least_work() {
        let mut stuck = facts("stuck", 9, &[]);
        stuck.obstacles.push(Obstacle::Check { name: "unit".into() });
        let all = vec![stuck, facts("cheap", 0, &[]), facts("costly", 2, &[]), facts("deep", 2, &["cheap"])];
        let ranked = rank(all, &Weights::default());
        let names: Vec<&str> = ranked.iter().map(|c| c.facts.name.as_str()).collect();
        assert_eq!(names, ["costly", "deep", "cheap", "stuck"]);
        assert!((ranked[0].points - 6.0).abs() < 1e-9 && (ranked[1].points - 4.5).abs() < 1e-9);
    }

    #[test]
    fn the_points_are_the_sum_of_their_parts_and_a_weight_of_nothing_leaves_one_out() {
        let mut f = facts("x", 1, &["y"]);
        (f.waiting, f.years, f.lines, f.tests) = (2.5, 0.5, 250, Vec::new());
        let weights = Weights { conflict: 0.0, ..Weights::default() };
        let ranked = rank(vec![f], &weights);
        let sum: f64 = ranked[0].parts.iter().map(|p| p.points).sum();
        assert!((ranked[0].points - sum).abs() < 1e-9);
        assert!((sum - (2.5 + 0.125 + 1.25 - 1.5 - 2.0)).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn a_saving_counts_a_shared_closure_once_and_says_of_how_many() {
        let ranked =
            rank(vec![facts("a", 4, &[]), facts("b", 1, &["a"]), facts("c", 0, &[])], &Weights::default());
        let had = [("a", 4), ("b", 1), ("gone", 5)].map(|(n, c)| (n.to_owned(), c));
        let saving = saving(&ranked, &had).expect("it removes some");
        assert_eq!(saving.send, ["b"], "b takes a along");
        assert_eq!((saving.conflicts, saving.of), (5, 10));
        assert_eq!(super::saving(&ranked, &[("gone".into(), 5)]), None);
    }

    #[test]
    fn paths_of_tests_are_known_by_their_names() {
        for path in ["t/t1234-x.sh", "nova/tests/unit/a.py", "src/a_test.go", "web/a.spec.ts", "test_a.py"] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/latest.rs", "docs/contest.md", "src/attest/mod.rs"] {
            assert!(!is_test(path), "{path}");
        }
    }
}
