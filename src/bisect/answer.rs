//! What came of a search, for people and programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::search::Said;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Bisected {
    /// How many trunk commits lie between the builds, along first parents.
    pub trunk_commits: usize,
    /// In how many patches their queues differ.
    pub queue_changes: usize,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The points on both sides of the answer.
    pub deciding: Option<[Probe; 2]>,
    /// What was tried, in order; each tree once.
    pub probes: Vec<Probe>,
    /// Did the command say something else of a deciding tree when it was run again? None: it was not.
    pub flaky: Option<bool>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// The older build is bad already.
    OldIsBad,
    /// The newer build is good.
    NewIsGood,
    /// The command cannot tell at an end that must be known.
    Untold {
        /// At which.
        at: String,
    },
    /// Upstream's work, by the queue of the older build on it.
    Trunk {
        /// The commit; several where those between cannot be told.
        commits: Vec<Upstream>,
        /// Is it bad without any patch? None: it cannot be told.
        alone: Option<bool>,
        /// The patch with which it is bad, if it is not alone.
        patch: Option<Patch>,
        /// Is trunk without patches bad before it already, and was it the queue that mended that?
        mended: bool,
        /// The patches that stop applying with it.
        fallen: Vec<String>,
    },
    /// A change of the queue.
    Queue {
        /// The change; several where those between cannot be told.
        changes: Vec<Changed>,
        /// Is it bad on the older build's trunk, too? None: there is no other trunk, or it cannot be told.
        alone: Option<bool>,
        /// The upstream commit with which it is bad, if it is not alone.
        commits: Vec<Upstream>,
        /// The patches that stop applying with it.
        fallen: Vec<String>,
    },
}

/// One upstream commit.
#[derive(Debug, Clone, Serialize)]
pub struct Upstream {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// Name and mail address of its author.
    pub author: [String; 2],
    /// Its author's date, in RFC 3339.
    pub date: String,
    /// The merge by which trunk took it in, if it came by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<String>,
}

/// One patch.
#[derive(Debug, Clone, Serialize)]
pub struct Patch {
    /// Its name.
    pub name: String,
    /// The first line of its message.
    pub subject: String,
    /// Who answers for it.
    pub owner: String,
    /// Its commit in the build that has it.
    pub commit: String,
}

/// One change of a queue.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// `added`, `dropped` or `changed`.
    pub what: &'static str,
    /// The patch.
    #[serde(flatten)]
    pub patch: Patch,
}

/// One point that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// What it is.
    pub what: String,
    /// Its tree.
    pub tree: String,
    /// What the command said.
    pub said: Said,
    /// Its exit code.
    pub code: Option<i32>,
    /// The last line of its output.
    pub last_line: String,
    /// Was it known from before?
    pub remembered: bool,
    /// The patches that did not apply there.
    pub left_out: Vec<String>,
    /// The file with the command's output.
    pub output: String,
}

/// The patches that were left out at points that were tried, each with at how many.
pub fn left_out(probes: &[Probe]) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    for name in probes.iter().flat_map(|p| &p.left_out) {
        *all.entry(name.as_str()).or_insert(0) += 1;
    }
    all
}
