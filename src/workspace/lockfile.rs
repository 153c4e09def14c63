//! `carry.lock`: what the last replay recorded, per project and patch.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::{Bearing, LandedLock, Proposal};

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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The format, 1.
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
    pub since: String,
    /// That commit's date, in RFC 3339: how long the outcome lasts.
    pub since_date: String,
    /// For a held patch: the day on which a run first met it as held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<String>,
    /// For a patch that is not in the stack: where it last applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Good>,
    /// For a patch that conflicts with trunk: the upstream commit at which that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Culprit>,
    /// For a patch that evolved: the revised version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evolved: Option<Evolved>,
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
    #[error("{file} has version {version}; this tool reads version 1")]
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

impl Lock {
    /// Reads a lock; an empty file is an empty lock. `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, LockError> {
        if text.trim().is_empty() {
            return Ok(Self { version: 1, ..Self::default() });
        }
        let marker =
            |l: &str| l.starts_with("<<<<<<<") || l.starts_with("=======") || l.starts_with(">>>>>>>");
        if let Some(at) = text.lines().position(marker) {
            return Err(LockError::Markers { file: file.into(), line: at + 1 });
        }
        let lock: Self = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start);
            let line = text.get(..at).map_or(1, |head| head.matches('\n').count() + 1);
            LockError::Syntax { file: file.into(), line, what: e.message().to_owned() }
        })?;
        if lock.version != 1 {
            return Err(LockError::Version { file: file.into(), version: lock.version });
        }
        Ok(lock)
    }

    /// The file's text, the same for the same content.
    pub fn render(&self) -> Result<String, toml::ser::Error> {
        Ok(format!("{HEAD}{}", toml::to_string(self)?))
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
        fn patch()(name in word(), digest in word(), tree in proptest::option::of(word()), since in word(),
            good in proptest::option::of((word(), word(), word()))) -> PatchLock {
            PatchLock { name, digest, tree, outcome: Outcome::Blocked, since: since.clone(), since_date: since, held_since: None, culprit: None, evolved: None, proposed: Vec::new(), fixes: Vec::new(),
                good: good.map(|(base, before, after)| Good { base, before, after }) }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(base in word(), deploy in proptest::option::of(word()),
            patches in proptest::collection::vec(patch(), 0..4)) {
            let mut lock = Lock { version: 1, ..Lock::default() };
            lock.projects.insert("p".into(), ProjectLock { base, deploy, queue: None, patches, landed: Vec::new() });
            let text = lock.render().expect("it can be written");
            prop_assert_eq!(Lock::parse("carry.lock", &text).expect("it can be read"), lock);
        }
    }

    #[test]
    fn damage_is_told_by_its_line() {
        let err = Lock::parse("carry.lock", "version = 1\n<<<<<<< HEAD\n").expect_err("markers");
        assert_eq!(err, LockError::Markers { file: "carry.lock".into(), line: 2 });
        assert!(matches!(Lock::parse("l", "version = 7\n"), Err(LockError::Version { version: 7, .. })));
        assert!(matches!(Lock::parse("l", "version = 1\nx = 2\n"), Err(LockError::Syntax { line: 2, .. })));
    }
}
