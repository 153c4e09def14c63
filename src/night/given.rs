//! Is a patch's text still what its merge does? If it is, its file stays as it is.

use std::collections::BTreeSet;

use bstr::BString;
use gix_hash::ObjectId;

use crate::queue::{ChangeKind, Content, FileChange, Patch, apply, apply_to_tree};
use crate::replay::Both;
use crate::replay::prepare::{Prepared, Source};
use crate::replay::sequence::Placed;
use crate::store::{Objects as _, Odb, Scratch};

/// What a patch's text gives where it was put.
#[derive(Clone, Copy)]
pub(super) struct Given {
    /// The tree that it was put on.
    pub before: ObjectId,
    /// The tree then.
    pub after: ObjectId,
    /// Is it, applied strictly, what the merge gave?
    pub same: bool,
}

impl Given {
    /// Nothing for one that was not put there, or by another way.
    pub fn of(odb: &Odb, patch: &Patch, prepared: &Prepared, placed: &Placed) -> Option<Self> {
        let Placed::Applied { before, after, as_it_is, both, settled: None, .. } = placed else {
            return None;
        };
        let (before, after) = (*before, *after);
        let strictly =
            || apply_to_tree(&Scratch::over(odb), &before, &patch.changes).is_ok_and(|tree| tree == after);
        let known = || {
            let known = both.as_deref().and_then(|both| gives(odb, patch, prepared, both))?;
            debug_assert_eq!(known, strictly(), "{}", patch.name());
            Some(known)
        };
        let same = *as_it_is || known().unwrap_or_else(strictly);
        Some(Self { before, after, same })
    }
}

/// Does the patch's text, applied strictly, give what the merge gave? Only the files that both changed are looked
/// at: one that stands as on the patch's own base, or is not there as it was not there, takes the patch as it did
/// there. Not known for a text that does more to a file that both changed than to change it in its place.
fn gives(odb: &Odb, patch: &Patch, prepared: &Prepared, both: &[Both]) -> Option<bool> {
    let changes = &patch.changes;
    let in_place = |c: &FileChange| {
        let moded = c.old_mode.is_some() && c.old_mode != c.new_mode && c.new_mode.is_some();
        c.kind == ChangeKind::Modify && c.old_path == c.new_path && !moded
    };
    // What the text gives rests on more than its paths, or it says less than the trees, or it comes back to a path.
    let other = |c: &FileChange| c.kind == ChangeKind::Copy || c.content == Content::BinaryOmitted;
    let touched = |c: &'_ FileChange| if c.old_path == c.new_path { 1 } else { c.paths().count() };
    let paths: BTreeSet<&BString> = changes.iter().flat_map(FileChange::paths).collect();
    let once = paths.len() == changes.iter().map(touched).sum::<usize>();
    let by_text = !matches!(prepared.trees, Ok((_, _, Source::Blobs)));
    if !by_text || !once || changes.iter().any(other) {
        return None;
    }
    for file in both {
        let change =
            changes.iter().find(|c| c.paths().any(|path| *path == file.path)).filter(|c| in_place(c))?;
        let (ours, merged) = (odb.blob(&file.ours.id).ok()?, odb.blob(&file.merged.id).ok()?);
        if file.ours.mode != file.merged.mode || !apply(change, &ours).is_ok_and(|made| made == *merged) {
            return Some(false);
        }
    }
    Some(true)
}
