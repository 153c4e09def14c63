//! In: the patches with their trees, and the trunk's range. Out: for each patch that upstream has, the commit and
//! the evidence. Only commits contained in the followed trunk are looked at. Never: a change of the queue.

mod emptied;
mod evolved;
mod footers;
mod patch_id;

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use gix_hash::ObjectId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::queue::Metadata;
use crate::store::{Odb, Repo, StoreError};
use crate::trunk::{Range, Upstream, delta};

pub use emptied::emptied;
pub use evolved::evolved;

/// How it is known that upstream has a patch, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The `Change-Id` of both footers is the same.
    ChangeId,
    /// A `(cherry picked from commit …)` line of either names the other.
    CherryPicked,
    /// The diffs have the same `git patch-id`.
    PatchId,
    /// The patch changes nothing any more, and this commit is where it became so.
    BecameEmpty,
}

/// The upstream commit that has a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// How it is known.
    pub rung: Rung,
    /// The upstream commit's id.
    pub commit: String,
    /// Its author.
    pub author: String,
    /// Its author's date, in RFC 3339.
    pub date: String,
    /// Its first line.
    pub subject: String,
    /// What is the same on both sides: the Change-Id, the patch-id, the line that names the other.
    pub proof: String,
}

/// A patch as this step sees it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// The trees before and after it.
    pub trees: (ObjectId, ObjectId),
    /// The paths that it touches.
    pub paths: BTreeSet<BString>,
    /// What its header says.
    pub metadata: &'a Metadata,
}

/// The patches that the range has, by their declared or textual identity. Their trees must be written.
pub fn find(
    repo: &Repo,
    odb: &Odb,
    patches: &[Candidate<'_>],
    range: &Range,
) -> Result<BTreeMap<String, Evidence>, StoreError> {
    if range.commits.is_empty() || patches.is_empty() {
        return Ok(BTreeMap::new());
    }
    let reverted = range.reverted();
    let standing = |u: &Upstream| !reverted.contains(&u.id);
    let declared = footers::find(patches, range, &standing);
    let open = |patch: &Candidate<'_>| !declared.contains_key(patch.name);
    let alike = patch_id::alike(odb, patches, &open, range, &standing)?;
    let mut found = patch_id::compare(repo, odb, patches, range, &alike)?;
    found.extend(declared);
    Ok(found)
}

/// The paths between two trees.
fn paths(odb: &Odb, trees: &(ObjectId, ObjectId)) -> Result<BTreeSet<BString>, StoreError> {
    Ok(delta::changes(odb, &trees.0, &trees.1)?.into_iter().map(|c| c.path).collect())
}

impl Evidence {
    fn new(rung: Rung, upstream: &Upstream, proof: String) -> Self {
        let author = &upstream.commit.author;
        let date = jiff::Timestamp::from_second(author.seconds).unwrap_or_default();
        Self {
            rung,
            commit: upstream.id.to_string(),
            author: author.name.to_string(),
            date: date.to_string(),
            subject: upstream.commit.subject(),
            proof,
        }
    }
}
