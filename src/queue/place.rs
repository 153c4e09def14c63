//! A patch's changes put on a tree: strictly, as `git apply` does it, without fuzz.

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::apply::apply;
use super::change::{ChangeKind, Content, FileChange, HunkLine, LineKind};
use super::error::{QueueError, Reason};
use crate::store::tree::{Entry, MODE_COMMIT, edit, entry_at, write_empty};
use crate::store::{ObjectError, Objects};

/// Why a patch cannot be put on a tree.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlaceError {
    /// An object could not be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A change does not fit the file.
    #[error(transparent)]
    Change(#[from] QueueError),
    /// A file that it changes is not there.
    #[error("{path}: no such file")]
    Missing {
        /// The file's path.
        path: BString,
    },
    /// A file would stand where a folder is, or the other way.
    #[error("{path}: a file and a folder of one name")]
    Clash {
        /// The path.
        path: BString,
    },
}

/// Puts `changes` on `tree`; the tree that comes of it.
pub fn apply_to_tree(
    objects: &dyn Objects,
    tree: &ObjectId,
    changes: &[FileChange],
) -> Result<ObjectId, PlaceError> {
    let gone: BTreeSet<&BString> = changes
        .iter()
        .filter(|c| matches!(c.kind, ChangeKind::Delete | ChangeKind::Rename))
        .filter_map(|c| c.old_path.as_ref())
        .collect();
    let mut edits: BTreeMap<BString, Option<Entry>> = BTreeMap::new();
    // GNU patch, and so quilt, passes over a binary file whose data the patch does not hold, and leaves a new one
    // empty; so is done here, and said.
    let omitted = |c: &FileChange| c.content == Content::BinaryOmitted && c.kind != ChangeKind::Add;
    for change in changes.iter().filter(|c| !omitted(c)) {
        let old = match &change.old_path {
            None => None,
            Some(path) => {
                // A plain diff may change one file twice; a copy's or rename's source is the file as it was.
                let earlier = edits.get(path).filter(|_| change.kind == ChangeKind::Modify).copied();
                let entry = match earlier {
                    Some(entry) => entry,
                    None => entry_at(objects, tree, path.as_bstr())?.filter(|e| !e.is_tree()),
                };
                Some(entry.ok_or_else(|| PlaceError::Missing { path: path.clone() })?)
            }
        };
        if let (Some(path), true) = (&change.new_path, change.new_path != change.old_path) {
            let there = entry_at(objects, tree, path.as_bstr())?.is_some_and(|e| !e.is_tree());
            if there && !gone.contains(path) || edits.get(path).is_some_and(Option::is_some) {
                return Err(QueueError::new(path.clone(), change.line, Reason::Exists).into());
            }
        }
        let before = match old {
            Some(entry) => content(objects, &entry)?,
            None => Vec::new(),
        };
        let after = apply(change, &before)?;
        if matches!(change.kind, ChangeKind::Delete | ChangeKind::Rename)
            && let Some(path) = &change.old_path
        {
            edits.entry(path.clone()).or_insert(None);
        }
        if let Some(path) = &change.new_path {
            let mode = mode(change, old.as_ref());
            let id = if mode == MODE_COMMIT {
                let id = after.strip_prefix(b"Subproject commit ").map(|r| r.trim_end());
                let bad = || {
                    QueueError::new(path.clone(), change.line, Reason::Diff("a submodule without its commit"))
                };
                ObjectId::from_hex(id.ok_or_else(bad)?).map_err(|_| bad())?
            } else if old.is_some_and(|e| e.mode != MODE_COMMIT) && after == before {
                old.map_or_else(|| objects.put_blob(after, None), |e| Ok(e.id))?
            } else {
                objects.put_blob(after, old.map(|e| e.id).as_ref())?
            };
            edits.insert(path.clone(), Some(Entry { mode, id }));
        }
    }
    let edits: Vec<(&[u8], Option<Entry>)> = edits.iter().map(|(p, e)| (p.as_slice(), *e)).collect();
    match edit(objects, Some(*tree), &edits)? {
        Ok(Some(tree)) => Ok(tree),
        Ok(None) => Ok(write_empty(objects)?),
        Err(path) => Err(PlaceError::Clash { path }),
    }
}

/// The trees before and after `changes` that hold the touched files alone, from the blobs that the `index` lines
/// name. `None` when a line is missing or its blob is not in the store.
pub fn recorded_blobs(
    objects: &dyn Objects,
    changes: &[FileChange],
) -> Result<Option<(ObjectId, ObjectId)>, PlaceError> {
    if objects.is_partial() {
        // So that one that cannot be had now is not taken for one that is nowhere.
        let named =
            changes.iter().filter(|change| change.old_path.is_some()).filter_map(|change| change.old_id);
        objects.bring(&named.filter(|id| !id.is_null()).collect::<Vec<_>>())?;
    }
    let mut files: BTreeMap<&[u8], Option<Entry>> = BTreeMap::new();
    for change in changes {
        let Some(path) = &change.old_path else { continue };
        let Some(id) = change.old_id.filter(|id| !id.is_null() && objects.blob(id).is_ok()) else {
            return Ok(None);
        };
        files.insert(path, Some(Entry { mode: change.old_mode.unwrap_or(0o100644), id }));
    }
    let files: Vec<(&[u8], Option<Entry>)> = files.into_iter().collect();
    let Ok(before) = edit(objects, None, &files)? else { return Ok(None) };
    let before = match before {
        Some(tree) => tree,
        None => write_empty(objects)?,
    };
    let after = apply_to_tree(objects, &before, changes)?;
    Ok(Some((before, after)))
}

fn content(objects: &dyn Objects, entry: &Entry) -> Result<Vec<u8>, ObjectError> {
    if entry.mode == MODE_COMMIT {
        return Ok(format!("Subproject commit {}\n", entry.id).into_bytes());
    }
    Ok(objects.blob(&entry.id)?.to_vec())
}

fn mode(change: &FileChange, old: Option<&Entry>) -> u32 {
    let canonical = |mode: u32| match mode & 0o170000 {
        0o100000 if mode & 0o100 != 0 => 0o100755,
        0o100000 => 0o100644,
        _ => mode,
    };
    match (old, change.old_mode, change.new_mode) {
        (None, _, Some(new)) => canonical(new),
        (None, _, None) => 0o100644,
        // The mode on an index line is that of both sides: the file's own stays.
        (Some(_), was, Some(new)) if was.is_some_and(|was| was != new) => canonical(new),
        (Some(old), _, _) => old.mode,
    }
}

/// Do both change the same files by the same lines, whatever the offsets, the context and the ids?
pub fn same_change(a: &[FileChange], b: &[FileChange]) -> bool {
    let lines = |change: &FileChange| -> Vec<HunkLine> {
        match &change.content {
            Content::Text(hunks) => {
                let all = hunks.iter().flat_map(|h| &h.lines);
                all.filter(|l| l.kind != LineKind::Context).cloned().collect()
            }
            _ => Vec::new(),
        }
    };
    let moves = |c: &FileChange| c.old_mode.zip(c.new_mode).filter(|(old, new)| old != new);
    let same = |a: &FileChange, b: &FileChange| {
        let binary = |c: &FileChange| !matches!(c.content, Content::Text(_));
        // Of one without data and without ids nothing is known.
        let known = |c: &FileChange| c.new_id.is_some() || !matches!(c.content, Content::BinaryOmitted);
        (&a.old_path, &a.new_path, a.kind) == (&b.old_path, &b.new_path, b.kind)
            && moves(a) == moves(b)
            && binary(a) == binary(b)
            && (!binary(a)
                || known(a) && (a.new_id == b.new_id && a.new_id.is_some() || a.content == b.content))
            && lines(a) == lines(b)
    };
    let sorted = |changes: &[FileChange]| {
        let mut sorted: Vec<FileChange> = changes.to_vec();
        sorted.sort_by(|a, b| a.path().cmp(b.path()));
        sorted
    };
    a.len() == b.len() && sorted(a).iter().zip(&sorted(b)).all(|(a, b)| same(a, b))
}
