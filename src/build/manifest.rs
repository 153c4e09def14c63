//! The manifest: what exactly is in a build. Stable key order, no wall-clock time.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::landed::Evidence;
use crate::queue::Metadata;
use crate::workspace::Outcome;

/// The version of the manifest's form. A reader accepts unknown keys of the version it knows.
pub const VERSION: u32 = 1;

/// What is in a build, what became of every patch, and whether it may go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The version of this form.
    pub version: u32,
    /// The project's name in the workspace.
    pub project: String,
    /// The tool that made the build.
    pub tool: Tool,
    /// The trunk that the build stands on.
    pub trunk: Trunk,
    /// The base of the queue before and after this run.
    pub base: Base,
    /// The build itself.
    pub deploy: DeployRecord,
    /// Every patch of the queue, in its order.
    pub patches: Vec<PatchRecord>,
    /// The checks that were run on the build.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub checks: Vec<CheckRecord>,
    /// The files that were made of the build.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub artifacts: Vec<ArtifactRecord>,
    /// Whether the build may go out.
    pub verdict: VerdictRecord,
    /// What the move from the build before this one asks; none for a first build.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub risk: Option<crate::risk::Transition>,
    /// What upstream did since the base before; none where trunk did not move.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upstream: Option<super::UpstreamRange>,
    /// Which patch of the build needs which, and why.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub edges: Vec<crate::graph::Edge>,
    /// What the gates of each stage say of the build, as far as the build alone answers them. A signature is made over
    /// this, and order, time and approvals come later: `git carry stage check` asks all.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub gates: Vec<StageGates>,
}

/// The gates before a stage that a build alone answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageGates {
    /// The stage.
    pub stage: String,
    /// Are all of them met?
    pub met: bool,
    /// Each of them; `risk` is that of the move from the build before.
    pub gates: Vec<crate::stage::Gate>,
}

/// The tool that made a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The trunk that a build stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trunk {
    /// Its address, without secrets.
    pub address: String,
    /// The branch, by its full name.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// The commit's date, in RFC 3339.
    pub date: String,
    /// `git describe` of the commit, where a tag reaches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub describe: Option<String>,
}

/// The trunk commits to which the recorded queue applies exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Base {
    /// Before the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// After the run: the trunk commit of this build.
    pub after: String,
}

/// The build as commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeployRecord {
    /// The build's id: the first 12 digits of its commit.
    pub build: String,
    /// The deploy branch, by its full name.
    pub branch: String,
    /// The commit on it.
    pub commit: String,
    /// That commit's tree.
    pub tree: String,
    /// `rewrite` or `fast-forward`.
    pub history: String,
    /// Name and mail address of the stack's committer.
    pub committer: [String; 2],
    /// The deploy commit before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// One patch of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PatchRecord {
    /// Its name.
    pub name: String,
    /// Its file, from the project's patch folder.
    pub file: String,
    /// SHA-256 of the file.
    pub digest: String,
    /// `git patch-id --stable` of its diff; none for a patch without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_id: Option<String>,
    /// The first line of its message.
    pub subject: String,
    /// Name and mail address of its author.
    pub author: [String; 2],
    /// What its header says.
    pub metadata: Arc<Metadata>,
    /// What became of it.
    pub outcome: Outcome,
    /// The trunk commit with which this outcome began.
    pub since: String,
    /// Its commit in the build; none when it is not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The stack's tree with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// The upstream commit that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
    /// Where it conflicts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub conflicts: Vec<ConflictRecord>,
    /// The upstream commit at which a root conflict began.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub culprit: Option<Box<crate::workspace::Culprit>>,
    /// The upstream commit that is a revised version of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evolved: Option<Box<crate::workspace::Evolved>>,
    /// The recorded answer that settled its conflict.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resolution: Option<Box<crate::resolution::Used>>,
    /// The patches that it needs and that are not in the build.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub needs: Vec<String>,
    /// Whether it still says what it said; none if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<Box<crate::replay::loss::Loss>>,
    /// What else a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One path at which a patch conflicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConflictRecord {
    /// The path; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Where the file stood before, if one side moved it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// What kind of conflict it is.
    pub kind: crate::replay::ConflictKind,
}

/// What a check said of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckRecord {
    /// Its name.
    pub name: String,
    /// The command: a program and its arguments.
    pub run: Vec<String>,
    /// On what it runs: `build`, `each-patch`, or `each-stack`.
    pub on: String,
    /// Is the build worth nothing if it fails?
    pub required: bool,
    /// How it ended.
    pub ended: crate::check::Ended,
    /// Its exit code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<i32>,
    /// How long it took when it was run on this tree, in milliseconds.
    pub milliseconds: u64,
    /// What to say of it, if it did not pass.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub said: String,
    /// The file with its output, on the machine that ran it; none if it passed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<String>,
    /// What it fails with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub broken_by: Option<BrokenBy>,
}

/// The commit at which a check began to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokenBy {
    /// The patch, if it is one; else it is upstream's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patch: Option<String>,
    /// The commit.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
}

/// A file that was made of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactRecord {
    /// `tarball` or `bundle`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of it.
    pub sha256: String,
}

/// Whether a build may go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictRecord {
    /// May it?
    pub publishable: bool,
    /// Why not, or what a person should look at.
    pub reasons: Vec<String>,
}

impl Manifest {
    /// The manifest's text: JSON, indented, one last line end.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads a manifest.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The JSON Schema of the form.
    pub fn schema() -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(&schemars::schema_for!(Manifest))? + "\n")
    }
}
