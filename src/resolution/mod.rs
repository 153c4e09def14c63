//! In: a patch's conflict, and the answers that people gave to conflicts. Out: the tree that an answer gives, or
//! nothing. Never: an answer to any conflict but the very one that it was given to.
//!
//! An answer is keyed by the patch, and by path and three sides of every conflict of its merge. What else its author
//! changed is keyed by what the merge had put there. One side that differs, and it is not used.

mod form;
pub mod rerere;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::queue::digest;
use crate::replay::merge::Attempt;
use crate::replay::{Conflict, ConflictKind, Sides};
use crate::store::tree::{Entry, MODE_COMMIT, edit, entry_at, write_empty};
use crate::store::{ObjectError, Objects};
use crate::trunk::delta;

pub use form::{RECORD, RecordError, load};

/// A recorded answer to the conflicts of one merge of one patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The patch's name.
    pub patch: String,
    /// When it was recorded, in RFC 3339.
    pub recorded: String,
    /// Who gave it: name and mail address.
    pub by: String,
    /// The trunk commit on which it was given.
    pub trunk: String,
    /// Where it was taken from, if not from `git carry resolve`.
    pub origin: Option<String>,
    /// The answer to each conflict, sorted by path.
    pub conflicts: Vec<Answer>,
    /// What else was changed, sorted by path.
    pub also: Vec<Change>,
}

/// The answer to one conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The path.
    pub path: BString,
    /// What kind of conflict it was.
    pub kind: ConflictKind,
    /// Its three sides.
    pub sides: Sides<Option<Entry>>,
    /// What stands there now.
    pub result: Standing,
}

/// A path that the merge settled by itself and that its author changed all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: BString,
    /// What the merge had put there.
    pub merged: Option<Entry>,
    /// What stands there now.
    pub result: Standing,
}

/// What an answer puts at a path: nothing, or an entry with its content (none for a submodule).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Mode and id; none: the path goes.
    pub entry: Option<Entry>,
    /// The bytes.
    pub content: Option<Vec<u8>>,
}

/// A resolution that was used, as reports tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Used {
    /// Its id.
    pub id: String,
    /// When it was recorded, in RFC 3339.
    pub recorded: String,
    /// Who gave it.
    pub by: String,
    /// Where it was taken from, if not from `git carry resolve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The paths that it answers for.
    pub paths: Vec<String>,
}

impl Resolution {
    /// The answer that a finished tree gives to an attempt's conflicts. The last three are told of its origin.
    pub fn of(
        objects: &dyn Objects,
        patch: &str,
        attempt: &Attempt,
        finished: &ObjectId,
        (recorded, by, trunk): (String, String, String),
    ) -> Result<Self, ObjectError> {
        let outcome = |entry: Option<Entry>| -> Result<Standing, ObjectError> {
            let content = match entry {
                Some(entry) if entry.mode != MODE_COMMIT => Some(objects.blob(&entry.id)?.to_vec()),
                _ => None,
            };
            Ok(Standing { entry, content })
        };
        let mut conflicts = Vec::new();
        for Conflict { path, kind, sides, .. } in &attempt.conflicts {
            let there = entry_at(objects, finished, path.as_bstr())?.filter(|e| !e.is_tree());
            let result = outcome(there)?;
            conflicts.push(Answer { path: path.clone(), kind: *kind, sides: *sides, result });
        }
        let mut also = Vec::new();
        for change in delta::changes(objects, &attempt.tree, finished)? {
            if !attempt.conflicts.iter().any(|c| c.path == change.path) {
                let result = outcome(change.new)?;
                also.push(Change { path: change.path, merged: change.old, result });
            }
        }
        also.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { patch: patch.to_owned(), recorded, by, trunk, origin: None, conflicts, also })
    }

    /// The answer that finished files give: one a conflict, in its order.
    pub fn from_files(
        objects: &dyn Objects,
        patch: &str,
        conflicts: &[Conflict],
        finished: Vec<Vec<u8>>,
        (recorded, by, trunk): (String, String, String),
    ) -> Result<Self, ObjectError> {
        let mut answers = Vec::with_capacity(conflicts.len());
        for (Conflict { path, kind, sides, .. }, content) in conflicts.iter().zip(finished) {
            let mode = sides.ours.or(sides.theirs).map_or(0o100644, |e| e.mode);
            let id = objects.put_blob(content.clone(), sides.ours.map(|e| e.id).as_ref())?;
            let result = Standing { entry: Some(Entry { mode, id }), content: Some(content) };
            answers.push(Answer { path: path.clone(), kind: *kind, sides: *sides, result });
        }
        Ok(Self {
            patch: patch.to_owned(),
            recorded,
            by,
            trunk,
            origin: None,
            conflicts: answers,
            also: Vec::new(),
        })
    }

    /// Its id: the same for the same conflict of the same patch, whatever the answer.
    pub fn id(&self) -> String {
        let mut key = format!("{}\n", self.patch).into_bytes();
        for Answer { path, sides, .. } in &self.conflicts {
            key.extend_from_slice(path);
            for side in [sides.base, sides.ours, sides.theirs] {
                let told = side.map_or_else(|| "-".to_owned(), |e| format!("{:o} {}", e.mode, e.id));
                key.extend_from_slice(format!("\0{told}").as_bytes());
            }
            key.push(b'\n');
        }
        digest(&key)[..12].to_owned()
    }

    /// Is it the answer to these very conflicts of this patch?
    pub fn answers(&self, patch: &str, conflicts: &[Conflict]) -> bool {
        let same = |(a, c): (&Answer, &Conflict)| a.path == c.path && a.sides == c.sides;
        self.patch == patch
            && self.conflicts.len() == conflicts.len()
            && self.conflicts.iter().zip(conflicts).all(same)
    }

    /// The finished tree, if it answers this attempt to the last side.
    pub fn finish(
        &self,
        objects: &dyn Objects,
        patch: &str,
        attempt: &Attempt,
    ) -> Result<Option<ObjectId>, ObjectError> {
        if !self.answers(patch, &attempt.conflicts) {
            return Ok(None);
        }
        for change in &self.also {
            let there = entry_at(objects, &attempt.tree, change.path.as_bstr())?.filter(|e| !e.is_tree());
            if there != change.merged {
                return Ok(None);
            }
        }
        let mut results: Vec<(&BString, &Standing)> =
            self.conflicts.iter().map(|a| (&a.path, &a.result)).collect();
        results.extend(self.also.iter().map(|c| (&c.path, &c.result)));
        results.sort_by(|a, b| a.0.cmp(b.0));
        results.dedup_by(|a, b| a.0 == b.0);
        let mut edits: Vec<(&[u8], Option<Entry>)> = Vec::with_capacity(results.len());
        for (path, Standing { entry, content }) in results {
            if let (Some(entry), Some(content)) = (entry, content)
                && objects.put_blob(content.clone(), None)? != entry.id
            {
                return Ok(None);
            }
            edits.push((path, *entry));
        }
        Ok(match edit(objects, Some(attempt.tree), &edits)? {
            Ok(Some(tree)) => Some(tree),
            Ok(None) => Some(write_empty(objects)?),
            Err(_) => None,
        })
    }

    /// As reports tell of it.
    pub fn used(&self) -> Used {
        let mut paths: Vec<String> = self.conflicts.iter().map(|a| a.path.to_string()).collect();
        paths.extend(self.also.iter().map(|c| c.path.to_string()));
        let (recorded, by, origin) = (self.recorded.clone(), self.by.clone(), self.origin.clone());
        Used { id: self.id(), recorded, by, origin, paths }
    }
}
