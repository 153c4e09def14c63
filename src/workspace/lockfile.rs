//! `carry.lock`: what the last replay recorded, per project and patch.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::{Bearing, LandedLock, Proposal};
use super::pieces;

/// What became of a patch in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It applies; its text is the same but for offsets.
    Clean,
    /// It applies by three-way merge; its text changed.
    Refreshed,
    /// It conflicts, and an answer that was recorded for this very conflict settled it.
    Resolved,
    /// Upstream has it, with evidence.
    Landed,
    /// Upstream has a revised version of it, and it conflicts with that.
    Evolved,
    /// It conflicts with trunk.
    Conflict,
    /// It needs a patch that is not in the stack.
    Blocked,
    /// A required check fails with it, and passes without it.
    Broken,
    /// The queue says to leave it out.
    Held,
}

impl Outcome {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Refreshed => "refreshed",
            Self::Resolved => "resolved",
            Self::Landed => "landed",
            Self::Evolved => "evolved",
            Self::Conflict => "conflict",
            Self::Blocked => "blocked",
            Self::Broken => "broken",
            Self::Held => "held",
        }
    }

    /// Is the patch left out of the stack, and its change missing from the build?
    pub fn left_out(self) -> bool {
        matches!(self, Self::Conflict | Self::Evolved | Self::Blocked | Self::Broken | Self::Held)
    }

    /// Does it conflict with trunk itself, so that a person has to mend it?
    pub fn is_root(self) -> bool {
        matches!(self, Self::Conflict | Self::Evolved)
    }

    /// All of them, the best first.
    pub const ALL: [Self; 9] = [
        Self::Clean,
        Self::Refreshed,
        Self::Resolved,
        Self::Landed,
        Self::Evolved,
        Self::Conflict,
        Self::Blocked,
        Self::Broken,
        Self::Held,
    ];
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The format: 2, or 1, in which each patch says `since` itself.
    pub version: u32,
    /// The projects, by name.
    #[serde(default, rename = "project", skip_serializing_if = "BTreeMap::is_empty")]
    pub projects: BTreeMap<String, ProjectLock>,
}

/// What was recorded of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectLock {
    /// The trunk commit to which the recorded queue applies exactly.
    pub base: String,
    /// The deploy branch's commit as last published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<String>,
    /// The commit of the queue's own branch at the deploy remote (`refs/carry/queue/<project>`) that the workspace took in
    /// last; none where no fleet's night was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// In the file alone, where it is said once for all patches that do not say otherwise: since which trunk commit their
    /// outcome lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// That commit's date, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_date: Option<String>,
    /// The patches, in the queue's order.
    #[serde(default, rename = "patch", skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<PatchLock>,
    /// The patches that left the queue as upstream has them, oldest first.
    #[serde(default, rename = "landed", skip_serializing_if = "Vec::is_empty")]
    pub landed: Vec<LandedLock>,
}

/// What was recorded of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchLock {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// The tree it gave; none when it is not in the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The trunk commit with which this outcome began.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// That commit's date, in RFC 3339: how long the outcome lasts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since_date: String,
    /// For a held patch: the day on which a run first met it as held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<String>,
    /// For a patch that is not in the stack: where it last applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Box<Good>>,
    /// For a patch that conflicts with trunk: the upstream commit at which that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Box<Culprit>>,
    /// For a patch that evolved: the revised version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evolved: Option<Box<Evolved>>,
    /// Upstream commits that may have it, and what people said of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposed: Vec<Proposal>,
    /// Upstream commits that mend the one it was picked from (`Fixes:`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Bearing>,
}

/// The upstream commit that broke a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Culprit {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// Its author's name.
    pub author: String,
    /// Its author's mail address.
    pub mail: String,
    /// Its author's date, in RFC 3339.
    pub date: String,
    /// The merge by which trunk took it in, if it came by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<String>,
    /// Earlier commits that broke the patch too, and whose break trunk mended before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mended: Vec<String>,
}

/// The upstream commit that is a revised version of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evolved {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// Its author's name.
    pub author: String,
    /// Its author's date, in RFC 3339.
    pub date: String,
    /// What the changed lines of both have in common, in per cent.
    pub likeness: u8,
}

/// Where a patch last applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Good {
    /// The trunk commit under the stack that held it.
    pub base: String,
    /// The stack's tree before it.
    pub before: String,
    /// The stack's tree after it.
    pub after: String,
}

/// A lock that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Git left its conflict markers in it.
    #[error("{file}, line {line}: the file holds git's conflict markers")]
    Markers {
        /// The file.
        file: String,
        /// The first marker's line.
        line: usize,
    },
    /// Another version of the tool wrote it.
    #[error("{file} has version {version}; this tool reads version {}", FORMAT)]
    Version {
        /// The file.
        file: String,
        /// What it says.
        version: u32,
    },
    /// It is damaged.
    #[error("{file}, line {line}: {what}")]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

const HEAD: &str = "# Written by git carry: what the last replay recorded. People do not edit it; to start a project\n\
    # anew, delete its [project.…] part and import again.\n";

/// The newest format.
const FORMAT: u32 = 2;

/// One without projects.
impl Default for Lock {
    fn default() -> Self {
        Self { version: FORMAT, projects: BTreeMap::new() }
    }
}

impl ProjectLock {
    /// Most patches have their outcome since the same commit: it is said once. A lock of a thousand patches is a third shorter by
    /// that, in each commit.
    fn fold(&mut self) {
        let mut counts: BTreeMap<[&str; 2], usize> = BTreeMap::new();
        for patch in &self.patches {
            *counts.entry([&patch.since, &patch.since_date]).or_default() += 1;
        }
        let most =
            counts.into_iter().max_by_key(|(_, count)| *count).map(|(since, _)| since.map(str::to_owned));
        let Some([since, date]) = most else { return };
        for patch in self.patches.iter_mut().filter(|p| p.since == since && p.since_date == date) {
            patch.since.clear();
            patch.since_date.clear();
        }
        (self.since, self.since_date) = (Some(since), Some(date));
    }

    /// Tells each patch what is said once for all. The name of a patch of which nothing says it, if there is one.
    fn unfold(&mut self) -> Result<(), String> {
        let (since, date) = (self.since.take(), self.since_date.take());
        for patch in self.patches.iter_mut().filter(|p| p.since.is_empty() || p.since_date.is_empty()) {
            let says_neither = patch.since.is_empty() && patch.since_date.is_empty();
            let (Some(since), Some(date), true) = (&since, &date, says_neither) else {
                return Err(patch.name.clone());
            };
            (patch.since, patch.since_date) = (since.clone(), date.clone());
        }
        Ok(())
    }
}

impl Lock {
    /// Reads a lock; an empty file is an empty lock. `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, LockError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let marker =
            |l: &str| l.starts_with("<<<<<<<") || l.starts_with("=======") || l.starts_with(">>>>>>>");
        if let Some(at) = text.lines().position(marker) {
            return Err(LockError::Markers { file: file.into(), line: at + 1 });
        }
        let whole = || {
            toml::from_str(text).map_err(|e: toml::de::Error| {
                let at = e.span().map_or(0, |s| s.start);
                let line = text.get(..at).map_or(1, |head| head.matches('\n').count() + 1);
                LockError::Syntax { file: file.into(), line, what: e.message().to_owned() }
            })
        };
        let mut lock = pieces::parse(text).map_or_else(whole, Ok)?;
        if !(1..=FORMAT).contains(&lock.version) {
            return Err(LockError::Version { file: file.into(), version: lock.version });
        }
        for project in lock.projects.values_mut() {
            project.unfold().map_err(|name| {
                let line =
                    text.lines().position(|line| line == format!("name = {name:?}")).map_or(1, |at| at + 1);
                let what = format!("nothing says since when the outcome of patch '{name}' lasts");
                LockError::Syntax { file: file.into(), line, what }
            })?;
        }
        Ok(lock)
    }

    /// The file's text, the same for the same content.
    pub fn render(self) -> Result<String, toml::ser::Error> {
        let mut lock = Self { version: FORMAT, ..self };
        lock.projects.values_mut().for_each(ProjectLock::fold);
        Ok(format!("{HEAD}{}", toml::to_string(&lock)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = String> {
        "[ -~é]{0,12}"
    }

    prop_compose! {
        fn patch()(name in word(), digest in word(), tree in proptest::option::of(word()), since in "[a-z]{1,2}",
            good in proptest::option::of((word(), word(), word()))) -> PatchLock {
            PatchLock { name, digest, tree, outcome: Outcome::Blocked, since: since.clone(), since_date: since, held_since: None, culprit: None, evolved: None, proposed: Vec::new(), fixes: Vec::new(),
                good: good.map(|(base, before, after)| Good { base, before, after }.into()) }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(base in word(), deploy in proptest::option::of(word()),
            patches in proptest::collection::vec(patch(), 0..4)) {
            let mut lock = Lock::default();
            lock.projects.insert("p".into(), ProjectLock { base, deploy, patches, ..ProjectLock::default() });
            let text = lock.clone().render().expect("it can be written");
            prop_assert_eq!(Lock::parse("carry.lock", &text).expect("it can be read"), lock);
        }
    }

    #[test]
    fn since_when_an_outcome_lasts_is_said_once_for_most() {
        let patch = |name: &str, since: &str| {
            let lines = format!("name = \"{name}\"\ndigest = \"d\"\noutcome = \"clean\"\n{since}");
            format!("\n[[project.p.patch]]\n{lines}")
        };
        let (old, new) = ("since = \"old\"\nsince_date = \"1\"\n", "since = \"new\"\nsince_date = \"2\"\n");
        let patches = [patch("a", old), patch("b", new), patch("c", old)].concat();
        let first = format!("version = 1\n\n[project.p]\nbase = \"b\"\n{patches}");
        let lock = Lock::parse("l", &first).expect("the first format");
        let text = lock.clone().render().expect("it can be written");
        let patches = [patch("a", ""), patch("b", new), patch("c", "")].concat();
        let short = format!("{HEAD}version = 2\n\n[project.p]\nbase = \"b\"\n{old}{patches}");
        assert_eq!(text, short);
        assert_eq!(Lock::parse("l", &text).expect("the second").projects, lock.projects);
        let half = Lock::parse("l", &text.replace("since_date = \"2\"\n", "")).expect_err("its date is gone");
        assert!(matches!(half, LockError::Syntax { line: 16, .. }), "{half}");
        let err = Lock::parse("l", &short.replace(&format!("\"b\"\n{old}"), "\"b\"\n"))
            .expect_err("nothing says it");
        let what = "nothing says since when the outcome of patch 'a' lasts".to_owned();
        assert_eq!(err, LockError::Syntax { file: "l".into(), line: 9, what });
    }

    #[test]
    fn damage_is_told_by_its_line() {
        let err = Lock::parse("carry.lock", "version = 1\n<<<<<<< HEAD\n").expect_err("markers");
        assert_eq!(err, LockError::Markers { file: "carry.lock".into(), line: 2 });
        assert!(matches!(Lock::parse("l", "version = 7\n"), Err(LockError::Version { version: 7, .. })));
        assert!(matches!(Lock::parse("l", "version = 1\nx = 2\n"), Err(LockError::Syntax { line: 2, .. })));
    }
}
