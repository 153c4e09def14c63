//! Which projects are one piece of work, and which worker's share it is.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::night::together::ties;
use crate::workspace::{Set, Workspace};

/// A piece of work: one project, or projects that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name, as it stands in refs: the set's, the project's, or those of all joined by `+`.
    pub name: String,
    /// The projects, by name.
    pub projects: Vec<String>,
    /// The sets in it. With any, its builds go out together or not at all.
    pub sets: Vec<Set>,
}

/// A project that no worker takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The project.
    pub project: String,
    /// Why.
    pub why: String,
}

/// The units of a workspace, by name, and what is in none.
pub fn units(workspace: &Workspace) -> (Vec<Unit>, Vec<LeftOut>) {
    let mut left_out = Vec::new();
    // Each project with the least name of those that it hangs together with.
    let mut of: BTreeMap<&str, &str> = BTreeMap::new();
    let config = &workspace.config;
    // A set waits for each of its projects.
    let stopped = |name: &str| {
        let set = config.sets.iter().find(|set| set.projects.iter().any(|p| p == name))?;
        let paused = |p: &&String| config.projects.get(*p).is_some_and(|p| p.paused.is_some());
        Some((set, set.projects.iter().find(paused)?))
    };
    for (name, project) in &config.projects {
        let why = match (&project.paused, &project.deploy.remote) {
            (Some(reason), _) => format!("it is paused: {reason}"),
            (_, None) => "it deploys to no remote, where a worker's results would be".to_owned(),
            _ => match stopped(name) {
                Some((set, paused)) => {
                    format!("the set '{}' waits for '{paused}', which is paused", set.name)
                }
                None => {
                    of.insert(name, name);
                    continue;
                }
            },
        };
        left_out.push(LeftOut { project: name.clone(), why });
    }
    let of_sets = config.sets.iter().flat_map(|set| set.projects.iter().zip(set.projects.iter().skip(1)));
    let tied = ties(workspace);
    for (a, b) in tied.iter().map(|(a, b)| (a, b)).chain(of_sets) {
        let (Some(x), Some(y)) = (of.get(a.as_str()).copied(), of.get(b.as_str()).copied()) else { continue };
        let (least, other) = (x.min(y), x.max(y));
        of.values_mut().filter(|at| **at == other).for_each(|at| *at = least);
    }
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, least) in of {
        groups.entry(least).or_default().insert(name);
    }
    let unit = |names: &BTreeSet<&str>| {
        let projects: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let here = |set: &&Set| set.projects.iter().any(|p| names.contains(p.as_str()));
        let sets: Vec<Set> = config.sets.iter().filter(here).cloned().collect();
        let called: Vec<&str> = match sets.is_empty() {
            true => names.iter().copied().collect(),
            false => sets.iter().map(|set| set.name.as_str()).collect(),
        };
        Unit { name: called.join("+"), projects, sets }
    };
    (groups.values().map(unit).collect(), left_out)
}

/// One of so many shares of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// The share `index` (from 0) of `of`, if there is such a one.
    pub fn new(index: usize, of: usize) -> Option<Self> {
        (index < of).then_some(Self { index, of })
    }

    /// `3/12` is the third of twelve.
    pub fn parse(text: &str) -> Option<Self> {
        let (index, of) = text.split_once('/')?;
        Self::new(index.trim().parse::<usize>().ok()?.checked_sub(1)?, of.trim().parse().ok()?)
    }

    /// Which share an engine's own variables name; `of` where the engine does not say how many there are. The inner error
    /// is what is missing or wrong.
    pub fn of_engine(
        variable: &dyn Fn(&str) -> Option<String>,
        of: Option<usize>,
    ) -> Option<Result<Self, String>> {
        // The engine's index, the number of the first, how many there are, and the step between them.
        const ENGINES: [(&str, First, &str); 5] = [
            ("SLURM_ARRAY_TASK_ID", First::In("SLURM_ARRAY_TASK_MIN"), "SLURM_ARRAY_TASK_COUNT"),
            ("JOB_COMPLETION_INDEX", First::Is(0), ""),
            ("BUILDKITE_PARALLEL_JOB", First::Is(0), "BUILDKITE_PARALLEL_JOB_COUNT"),
            ("CIRCLE_NODE_INDEX", First::Is(0), "CIRCLE_NODE_TOTAL"),
            ("CI_NODE_INDEX", First::Is(1), "CI_NODE_TOTAL"),
        ];
        let number = |name: &str| -> Option<Result<usize, String>> {
            let text = variable(name).filter(|text| !text.is_empty())?;
            Some(text.trim().parse().map_err(|_| format!("{name} is '{text}', and no number")))
        };
        let (name, first, count) = ENGINES.into_iter().find(|(name, ..)| number(name).is_some())?;
        let told = || -> Result<Self, String> {
            let index = number(name).unwrap_or(Ok(0))?;
            let first = match first {
                First::Is(first) => first,
                First::In(name) => number(name).unwrap_or(Ok(0))?,
            };
            let step = match name {
                "SLURM_ARRAY_TASK_ID" => number("SLURM_ARRAY_TASK_STEP").unwrap_or(Ok(1))?.max(1),
                _ => 1,
            };
            let of = match (of, number(count)) {
                (Some(of), _) => of,
                (None, Some(of)) => of?,
                (None, None) => {
                    return Err(format!("{name} says which share this is, and nothing says of how many"));
                }
            };
            let at = index.checked_sub(first).map(|at| at / step);
            at.and_then(|at| Self::new(at, of)).ok_or_else(|| {
                format!("{name} is {index}, which is none of {of} shares that begin at {first}")
            })
        };
        Some(told())
    }

    /// Is the unit of this name in it? The same on every machine, whatever other units there are.
    pub fn has(&self, unit: &str) -> bool {
        let digest = Sha256::digest(unit.as_bytes());
        let number = digest.iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        number % self.of as u64 == self.index as u64
    }
}

/// The number of an engine's first task.
enum First {
    Is(usize),
    In(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(vars: &[(&str, &str)], of: Option<usize>) -> Option<Result<(usize, usize), String>> {
        let vars: BTreeMap<String, String> =
            vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let told = Shard::of_engine(&|name| vars.get(name).cloned(), of)?;
        Some(told.map(|shard| (shard.index, shard.of)))
    }

    #[test]
    fn each_engine_s_own_numbers_name_a_share() {
        let slurm = |id| {
            engine(
                &[
                    ("SLURM_ARRAY_TASK_ID", id),
                    ("SLURM_ARRAY_TASK_COUNT", "3"),
                    ("SLURM_ARRAY_TASK_MIN", "10"),
                    ("SLURM_ARRAY_TASK_STEP", "5"),
                ],
                None,
            )
        };
        assert_eq!(["10", "15", "20"].map(slurm), [0, 1, 2].map(|at| Some(Ok((at, 3)))));
        assert_eq!(engine(&[("JOB_COMPLETION_INDEX", "7")], Some(8)), Some(Ok((7, 8))));
        assert!(engine(&[("JOB_COMPLETION_INDEX", "7")], None).is_some_and(|told| told.is_err()));
        assert_eq!(engine(&[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "4")], None), Some(Ok((0, 4))));
        assert_eq!(engine(&[("CIRCLE_NODE_INDEX", "3"), ("CIRCLE_NODE_TOTAL", "4")], None), Some(Ok((3, 4))));
        let buildkite = [("BUILDKITE_PARALLEL_JOB", "0"), ("BUILDKITE_PARALLEL_JOB_COUNT", "2")];
        assert_eq!(engine(&buildkite, None), Some(Ok((0, 2))));
        assert!(engine(&[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "4")], None).is_some_and(|t| t.is_err()));
        assert!(engine(&[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "4")], None).is_some_and(|t| t.is_err()));
        assert_eq!(engine(&[("CI_NODE_INDEX", "")], None), None);
    }

    #[test]
    fn every_unit_is_in_one_share_and_shares_are_about_as_large() {
        let shards: Vec<Shard> = (0..7).filter_map(|n| Shard::new(n, 7)).collect();
        let mut sizes = [0; 7];
        for n in 0..1000 {
            let name = format!("project-{n}");
            let of: Vec<&Shard> = shards.iter().filter(|s| s.has(&name)).collect();
            assert_eq!(of.len(), 1, "{name}");
            sizes[of[0].index] += 1;
        }
        assert!(sizes.iter().all(|size| (100..190).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_share_is_written_from_one() {
        assert_eq!(Shard::parse("1/2"), Shard::new(0, 2));
        assert_eq!(Shard::parse("2/2"), Shard::new(1, 2));
        for wrong in ["0/2", "3/2", "1", "x/2", "1/0", "-1/2"] {
            assert_eq!(Shard::parse(wrong), None, "{wrong}");
        }
    }
}
