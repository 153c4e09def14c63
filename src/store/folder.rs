//! A folder that changes again and again: changed where it lies, hashed from its first new byte on, and kept as a difference
//! to what it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::BString;
use gix_hash::{Hasher, ObjectId};

use super::tree::{Entry, Index};
use super::{ObjectError, delta};

/// The hash of a large folder is kept at every so many bytes.
const MARK: usize = 4096;

/// What happens to a folder in a step: names and their new entries, none where one goes.
pub(super) type Changes = Vec<(BString, Option<Entry>)>;

/// How it is kept.
pub enum Body {
    /// As it is.
    Whole(Arc<Vec<u8>>),
    /// As a difference to a tree that was made before, and how many differences it stands on.
    Delta {
        /// What it is a difference to.
        base: ObjectId,
        /// How many it stands on.
        depth: usize,
        /// The difference.
        delta: Vec<u8>,
    },
}

/// A folder as it is now.
#[derive(Clone)]
pub(super) struct Folder {
    pub parent: Option<(usize, BString)>,
    pub raw: Arc<Vec<u8>>,
    index: Option<Index>,
    /// The hash of its first bytes, at some places.
    marks: Vec<(usize, Hasher)>,
    /// What it was last made as, and how many differences that stands on.
    pub made: Option<(ObjectId, usize)>,
    /// What it was when it was last kept as it is.
    pub whole: Option<(ObjectId, Arc<Vec<u8>>)>,
}

impl Folder {
    /// One that has the bytes `raw`: where it lies, if it is not the root.
    pub fn of(parent: Option<(usize, BString)>, raw: Arc<Vec<u8>>) -> Self {
        Self { parent, raw, index: None, marks: Vec::new(), made: None, whole: None }
    }

    /// Makes changes; what it is then, and how that is kept.
    pub fn make(&mut self, changes: Changes, hash: gix_hash::Kind) -> Result<(ObjectId, Body), ObjectError> {
        let delta = self.change(changes, hash)?;
        let id = self.hash(hash)?;
        let last = match (self.made, delta) {
            (Some((base, depth)), Some(delta)) if depth < delta::DEPTH => Some((base, depth + 1, delta)),
            // A chain begins anew, still not with all of a large folder.
            (Some(_), Some(_)) => {
                self.whole.as_ref().map(|(base, whole)| (*base, 1, delta::delta(whole, &self.raw)))
            }
            _ => None,
        };
        let small = last.filter(|(base, _, delta)| *base != id && delta.len() < self.raw.len() / 2);
        let (depth, body) = match small {
            Some((base, depth, delta)) => (depth, Body::Delta { base, depth, delta }),
            None => {
                let whole = Arc::new(self.raw.to_vec());
                self.whole = Some((id, whole.clone()));
                (0, Body::Whole(whole))
            }
        };
        self.made = Some((id, depth));
        Ok((id, body))
    }

    /// Makes changes; the difference to what it was.
    pub fn change(&mut self, changes: Changes, hash: gix_hash::Kind) -> Result<Option<Vec<u8>>, ObjectError> {
        let mut index = match self.index.take() {
            Some(index) => index,
            None => Index::of(&self.raw, hash)?,
        };
        // Most often it is one entry.
        if let [(name, Some(entry))] = changes.as_slice()
            && let Some(new) = over_itself(&index, &self.raw, name, entry)
        {
            self.index = Some(index);
            return Ok(Some(self.overwrite(&[new])));
        }
        // The last word on a name counts.
        let changes: BTreeMap<BString, Option<Entry>> = changes.into_iter().collect();
        // Ids are written over; anything else moves what follows.
        let mut over: Vec<(usize, ObjectId)> = Vec::with_capacity(changes.len());
        let mut moving = Vec::new();
        for (name, entry) in changes {
            match entry.and_then(|entry| over_itself(&index, &self.raw, &name, &entry)) {
                Some(new) => over.push(new),
                None => moving.push((name, entry)),
            }
        }
        if moving.is_empty() {
            over.sort_by_key(|(at, _)| *at);
            self.index = Some(index);
            return Ok(Some(self.overwrite(&over)));
        }
        let old = self.raw.clone();
        let mut raw = old.to_vec();
        write_over(&mut raw, &over);
        for (name, entry) in moving {
            if let Some((range, _)) = index.find(&raw, name.as_ref()) {
                raw.drain(range);
                index = Index::of(&raw, hash)?;
            }
            if let Some(entry) = entry {
                let at = index.place(&raw, name.as_ref(), entry.is_tree());
                let mut bytes = Vec::new();
                entry.write(name.as_ref(), &mut bytes);
                raw.splice(at..at, bytes);
                index = Index::of(&raw, hash)?;
            }
        }
        self.marks.clear();
        let delta = delta::delta(&old, &raw);
        (self.raw, self.index) = (Arc::new(raw), Some(index));
        Ok(Some(delta))
    }

    /// Writes ids over those at some places, in order; the difference to what it was.
    fn overwrite(&mut self, over: &[(usize, ObjectId)]) -> Vec<u8> {
        let delta = delta::delta_over(&self.raw, over.iter().map(|(at, id)| (*at, id.as_slice())));
        let first = over.first().map_or(self.raw.len(), |(at, _)| *at);
        self.marks.truncate(self.marks.partition_point(|(at, _)| *at <= first));
        let raw: &mut Vec<u8> = Arc::make_mut(&mut self.raw);
        write_over(raw, over);
        delta
    }

    /// Its id, from the last place before its first new byte on.
    fn hash(&mut self, hash: gix_hash::Kind) -> Result<ObjectId, ObjectError> {
        let (mut at, mut hasher) = match self.marks.last() {
            Some((at, hasher)) => (*at, hasher.clone()),
            None => {
                let mut hasher = gix_hash::hasher(hash);
                hasher.update(format!("tree {}\0", self.raw.len()).as_bytes());
                (0, hasher)
            }
        };
        while self.raw.len() - at > MARK {
            hasher.update(&self.raw[at..at + MARK]);
            at += MARK;
            self.marks.push((at, hasher.clone()));
        }
        hasher.update(&self.raw[at..]);
        // It only fails on bytes made to collide.
        hasher.try_finalize().map_err(|e| ObjectError { id: hash.null(), reason: e.to_string() })
    }
}

fn write_over(raw: &mut [u8], over: &[(usize, ObjectId)]) {
    for (at, id) in over {
        raw[*at..at + id.as_slice().len()].copy_from_slice(id.as_slice());
    }
}

/// The new id of a name, and its place, where nothing else of what stands there changes.
fn over_itself(index: &Index, raw: &[u8], name: &BString, entry: &Entry) -> Option<(usize, ObjectId)> {
    let (range, was) = index.find(raw, name.as_ref())?;
    // What begins with a zero is a mode as very old programs wrote it (git help fsck, "zeroPaddedFilemode").
    let is_same = was.mode == entry.mode && was.id.kind() == entry.id.kind() && raw[range.start] != b'0';
    is_same.then(|| (range.end - entry.id.as_slice().len(), entry.id))
}
