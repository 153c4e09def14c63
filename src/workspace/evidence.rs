//! How it is known that upstream has a patch, and what people decided where it is not certain.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it is known that upstream has a patch, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Its header says which upstream commit has it (`Applied-Upstream`, `Upstream-Status: Backport`, `Origin`), or the
    /// forge that it was sent to does, and trunk has that commit.
    Declared,
    /// The `Change-Id` of both footers is the same.
    ChangeId,
    /// A `(cherry picked from commit …)` line of either names the other.
    CherryPicked,
    /// The diffs have the same `git patch-id`.
    PatchId,
    /// Trunk has every line that it adds where it adds it, and none that it removes: it can be taken off trunk again.
    ReverseApplies,
    /// The patch changes nothing any more, and this commit is where it became so.
    BecameEmpty,
    /// The upstream commit is a revised version of it.
    Revised,
    /// The upstream commit has it with other changes: several patches in one.
    Squashed,
    /// Several upstream commits have it together.
    Split,
}

/// How much it is worth.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Both sides say so, or are the same change.
    Certain,
    /// Trunk's own lines show it.
    #[default]
    Strong,
    /// Much speaks for it; a person decides.
    Weak,
}

impl Rung {
    /// How much it is worth.
    pub fn confidence(self) -> Confidence {
        match self {
            Self::Declared | Self::ChangeId | Self::CherryPicked | Self::PatchId => Confidence::Certain,
            Self::ReverseApplies | Self::BecameEmpty => Confidence::Strong,
            Self::Revised | Self::Squashed | Self::Split => Confidence::Weak,
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::ChangeId => "change-id",
            Self::CherryPicked => "cherry-picked",
            Self::PatchId => "patch-id",
            Self::ReverseApplies => "reverse-applies",
            Self::BecameEmpty => "became-empty",
            Self::Revised => "revised",
            Self::Squashed => "squashed",
            Self::Split => "split",
        }
    }
}

/// The upstream commit that has a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// How it is known.
    pub rung: Rung,
    /// How much it is worth.
    #[serde(default)]
    pub confidence: Confidence,
    /// The upstream commit's id; of several, the last.
    pub commit: String,
    /// The others, oldest first, where several have it together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Its author.
    pub author: String,
    /// Its author's date, in RFC 3339.
    pub date: String,
    /// Its first line.
    pub subject: String,
    /// What the changed lines of both have in common, in per cent, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likeness: Option<u8>,
    /// What is the same on both sides, for a person to check: the Change-Id, the patch-id, the line that names the
    /// other, how many lines.
    pub proof: String,
}

impl Evidence {
    /// Does it rest on this upstream commit?
    pub fn rests_on(&self, commit: &str) -> bool {
        self.commit == commit || self.with.iter().any(|c| c == commit)
    }
}

/// What a person said of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Upstream has the patch: it leaves the queue with the next replay.
    Confirmed,
    /// It has not: this commit is never proposed for the patch again.
    Rejected,
}

/// Evidence that does not settle it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// What a person said; none: nobody did yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What speaks for it.
    pub evidence: Evidence,
}

/// An upstream commit that bears on a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bearing {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// Its author's name.
    pub author: String,
    /// The commit that it names: the one that it reverts, or mends.
    pub names: String,
}

/// A patch that left the queue, as upstream has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LandedLock {
    /// Its name.
    pub name: String,
    /// Its file, in the folder of the patches.
    pub file: String,
    /// SHA-256 of the file, as it was last in the queue.
    pub digest: String,
    /// The patch that stood before it; none: it was the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The upstream commit that has it.
    pub evidence: Evidence,
    /// The upstream commit that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<Bearing>,
}
