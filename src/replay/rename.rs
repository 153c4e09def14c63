//! Renames, looked for only where a path is gone on one side.
//!
//! A file counts as renamed when at least half of it is found in the new one, as git's default has it
//! (`git help diff`, `--find-renames`). Likeness is counted as git's `diffcore-delta` does: both contents are cut into
//! lines of at most 64 bytes, and the bytes of the pieces that both have are compared with the larger size.

use std::collections::HashMap;

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use crate::store::tree::Entry;
use crate::store::{ObjectError, Objects};
use crate::trunk::delta;

/// Likeness is counted in parts of this.
const WHOLE: u64 = 60_000;
/// What a rename must reach.
const ENOUGH: u64 = WHOLE / 2;
/// What a file of the same name must reach to be taken before a more like one of another name.
const ENOUGH_BY_NAME: u64 = WHOLE / 4 * 3;
/// Pieces are no longer than this.
const PIECE: usize = 64;

/// What one side took away and brought, against the base.
pub(super) struct Moves {
    gone: Vec<(BString, Entry)>,
    come: Vec<(BString, Entry)>,
}

impl Moves {
    /// The files that differ in being there.
    pub(super) fn between(
        objects: &dyn Objects,
        base: &ObjectId,
        side: &ObjectId,
    ) -> Result<Self, ObjectError> {
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for change in delta::changes(objects, base, side)? {
            match (change.old, change.new) {
                (Some(old), None) => gone.push((change.path, old)),
                (None, Some(new)) => come.push((change.path, new)),
                _ => {}
            }
        }
        Ok(Self { gone, come })
    }

    /// Where the file at `path` went.
    pub(super) fn target(
        &self,
        objects: &dyn Objects,
        path: &BStr,
        entry: &Entry,
    ) -> Result<Option<(BString, Entry)>, ObjectError> {
        best(objects, path, entry, &self.come)
    }

    /// Where the file at `path` came from.
    pub(super) fn source(
        &self,
        objects: &dyn Objects,
        path: &BStr,
        entry: &Entry,
    ) -> Result<Option<(BString, Entry)>, ObjectError> {
        best(objects, path, entry, &self.gone)
    }

    /// Did files of the folder, which is gone, go to another one: those right in it to anywhere, those further
    /// down along with the folder between?
    pub(super) fn moved_folder(&self, objects: &dyn Objects, folder: &BStr) -> Result<bool, ObjectError> {
        for (path, entry) in &self.gone {
            let Some(rest) = path.strip_prefix(folder.as_bytes()).and_then(|r| r.strip_prefix(b"/")) else {
                continue;
            };
            let Some((target, _)) = self.target(objects, path.as_bstr(), entry)? else { continue };
            let inner = parent(rest.as_bstr());
            let kept = parent(target.as_bstr());
            if inner.is_empty() || kept == inner || kept.ends_with(&[b"/".as_slice(), inner].concat()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The files taken away.
    pub(super) fn gone(&self) -> &[(BString, Entry)] {
        &self.gone
    }

    /// The files brought.
    pub(super) fn come(&self) -> &[(BString, Entry)] {
        &self.come
    }
}

/// The folder of a path; empty at the root.
pub(super) fn parent(path: &BStr) -> &BStr {
    path.rfind_byte(b'/').map_or(b"".as_bstr(), |at| path[..at].as_bstr())
}

fn name(path: &BStr) -> &BStr {
    path.rfind_byte(b'/').map_or(path, |at| path[at + 1..].as_bstr())
}

/// The candidate that is most like the file: the same content first, then one of the same name, then the likest.
fn best(
    objects: &dyn Objects,
    path: &BStr,
    entry: &Entry,
    candidates: &[(BString, Entry)],
) -> Result<Option<(BString, Entry)>, ObjectError> {
    let kind = |e: &Entry| e.mode & 0o170000;
    let fitting = || candidates.iter().filter(|(_, e)| kind(e) == kind(entry));
    let same = |c: &&(BString, Entry)| c.1.id == entry.id;
    let named = |c: &&(BString, Entry)| name(c.0.as_bstr()) == name(path);
    let exact = fitting().filter(same).find(named).or_else(|| fitting().find(same));
    if let Some(found) = exact {
        return Ok(Some(found.clone()));
    }
    if !entry.is_file() {
        return Ok(None);
    }
    let content = objects.blob(&entry.id)?;
    let pieces = pieces(&content);
    let mut likest: Option<(u64, &(BString, Entry))> = None;
    for candidate in fitting() {
        let other = objects.blob(&candidate.1.id)?;
        let score = likeness(&pieces, content.len(), &other);
        let by_name = named(&candidate) && score >= ENOUGH_BY_NAME;
        if by_name {
            return Ok(Some(candidate.clone()));
        }
        if score >= ENOUGH && likest.is_none_or(|(s, _)| score > s) {
            likest = Some((score, candidate));
        }
    }
    Ok(likest.map(|(_, found)| found.clone()))
}

/// How many bytes each piece of a content has in all.
fn pieces(content: &[u8]) -> HashMap<&[u8], u64> {
    let mut out = HashMap::new();
    for line in content.lines_with_terminator() {
        for piece in line.chunks(PIECE) {
            *out.entry(piece).or_insert(0) += piece.len() as u64;
        }
    }
    out
}

fn likeness(of: &HashMap<&[u8], u64>, size: usize, other: &[u8]) -> u64 {
    let (small, large) = (size.min(other.len()) as u64, size.max(other.len()) as u64);
    if large == 0 || small * WHOLE / large < ENOUGH {
        return 0;
    }
    let shared: u64 = pieces(other).iter().map(|(p, n)| of.get(p).copied().unwrap_or(0).min(*n)).sum();
    shared * WHOLE / large
}
