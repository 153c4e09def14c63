//! The three-way merge of trees. Equal ids settle a whole subtree, so its cost follows what changed.

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::content::{self, Content};
use super::{Conflict, ConflictKind, Merged};
use crate::store::tree::{Entry, MODE_COMMIT, MODE_LINK, MODE_TREE, Tree};
use crate::store::{ObjectError, Objects};

/// Merges what changed from the tree `base` to the tree `theirs` into the tree `ours`.
///
/// For a patch, `base` and `theirs` are the trees before and after it, and `ours` is the stack so far: what
/// `git cherry-pick` does, without an index or a work tree. Renames are not followed.
pub fn merge_trees(
    objects: &dyn Objects,
    base: &ObjectId,
    ours: &ObjectId,
    theirs: &ObjectId,
) -> Result<Merged, ObjectError> {
    let mut merge = Merge { objects, conflicts: Vec::new(), path: BString::default() };
    let tree = merge.level(Some(*base), Some(*ours), Some(*theirs))?;
    if merge.conflicts.is_empty() {
        return Ok(Merged::Clean(match tree {
            Some(tree) => tree,
            None => objects.put_tree(Vec::new())?,
        }));
    }
    merge.conflicts.sort_by(|a, b| a.path.cmp(&b.path).then(a.kind.cmp(&b.kind)));
    Ok(Merged::Conflicts(merge.conflicts))
}

/// One run of the merge: where it stands, and what it found.
struct Merge<'a> {
    objects: &'a dyn Objects,
    conflicts: Vec<Conflict>,
    path: BString,
}

/// The three sides of one name.
#[derive(Clone, Copy)]
struct Sides<T> {
    base: T,
    ours: T,
    theirs: T,
}

impl<T: PartialEq + Copy> Sides<T> {
    /// The side that wins because the other did not change, or both changed alike.
    fn settled(&self) -> Option<T> {
        if self.ours == self.theirs || self.base == self.theirs {
            Some(self.ours)
        } else if self.base == self.ours {
            Some(self.theirs)
        } else {
            None
        }
    }

    fn map<U>(self, f: impl Fn(T) -> U) -> Sides<U> {
        Sides { base: f(self.base), ours: f(self.ours), theirs: f(self.theirs) }
    }
}

impl Merge<'_> {
    /// Merges one folder; `None` is a folder that is not there.
    fn level(
        &mut self,
        base: Option<ObjectId>,
        ours: Option<ObjectId>,
        theirs: Option<ObjectId>,
    ) -> Result<Option<ObjectId>, ObjectError> {
        if let Some(id) = (Sides { base, ours, theirs }).settled() {
            return Ok(id);
        }
        let read = |id: Option<ObjectId>| -> Result<Vec<(BString, Entry)>, ObjectError> {
            let mut entries = Tree::read(self.objects, id.as_ref())?.entries;
            // By plain name, so that a file and a folder of one name meet.
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(entries)
        };
        let (base, ours, theirs) = (read(base)?, read(ours)?, read(theirs)?);
        let mut out = Tree { entries: Vec::with_capacity(ours.len().max(theirs.len())) };
        let (mut b, mut o, mut t) = (0, 0, 0);
        loop {
            let heads = [base.get(b), ours.get(o), theirs.get(t)];
            let Some(name) = heads.iter().flatten().map(|(name, _)| name).min() else { break };
            let take = |list: &[(BString, Entry)], at: &mut usize| match list.get(*at) {
                Some((n, entry)) if n == name => {
                    *at += 1;
                    Some(*entry)
                }
                _ => None,
            };
            let sides =
                Sides { base: take(&base, &mut b), ours: take(&ours, &mut o), theirs: take(&theirs, &mut t) };
            match sides.settled() {
                Some(entry) => out.entries.extend(entry.map(|e| (name.clone(), e))),
                None => self.name(name.as_bstr(), sides, &mut out)?,
            }
        }
        out.write(self.objects)
    }

    /// Merges one name that both sides changed, the folder and the file part apart.
    fn name(&mut self, name: &BStr, sides: Sides<Option<Entry>>, out: &mut Tree) -> Result<(), ObjectError> {
        let parent = self.path.len();
        if parent > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);

        let folders = sides.map(|side| side.filter(Entry::is_tree).map(|e| e.id));
        let folder = self.level(folders.base, folders.ours, folders.theirs)?;
        let files = sides.map(|side| side.filter(|e| !e.is_tree()));
        let file = match files.settled() {
            Some(file) => file,
            None => self.file(files)?,
        };
        if folder.is_some() && file.is_some() {
            self.conflict(ConflictKind::FileDirectory);
        }
        if let Some(id) = folder {
            out.entries.push((name.to_owned(), Entry { mode: MODE_TREE, id }));
        } else if let Some(entry) = file {
            out.entries.push((name.to_owned(), entry));
        }
        self.path.truncate(parent);
        Ok(())
    }

    /// Merges one file, link or submodule that both sides changed.
    fn file(&mut self, sides: Sides<Option<Entry>>) -> Result<Option<Entry>, ObjectError> {
        let (Some(ours), Some(theirs)) = (sides.ours, sides.theirs) else {
            self.conflict(if sides.ours.is_none() {
                ConflictKind::DeletedInTrunk
            } else {
                ConflictKind::DeletedByPatch
            });
            return Ok(sides.ours);
        };
        let Some(base) = sides.base else {
            self.conflict(ConflictKind::AddAdd);
            return Ok(Some(ours));
        };
        let entries = Sides { base, ours, theirs };
        let kind = if [base, ours, theirs].iter().all(Entry::is_file) {
            None
        } else if base.mode != ours.mode || base.mode != theirs.mode {
            Some(ConflictKind::Mode)
        } else if base.mode == MODE_COMMIT {
            Some(ConflictKind::Submodule)
        } else {
            debug_assert_eq!(base.mode, MODE_LINK);
            Some(ConflictKind::Content)
        };
        if let Some(kind) = kind {
            self.conflict(kind);
            return Ok(Some(ours));
        }
        // Two modes only, so if both sides changed it they agree.
        let mode = entries.map(|e| e.mode).settled().unwrap_or(ours.mode);
        let id = match entries.map(|e| e.id).settled() {
            Some(id) => id,
            None => {
                let blob = |e: Entry| self.objects.blob(&e.id);
                match content::merge(&blob(base)?, &blob(ours)?, &blob(theirs)?) {
                    Content::Clean(data) => self.objects.put_blob(data)?,
                    Content::Conflict => {
                        self.conflict(ConflictKind::Content);
                        ours.id
                    }
                    Content::Binary => {
                        self.conflict(ConflictKind::Binary);
                        ours.id
                    }
                }
            }
        };
        Ok(Some(Entry { mode, id }))
    }

    fn conflict(&mut self, kind: ConflictKind) {
        self.conflicts.push(Conflict { path: self.path.clone(), kind });
    }
}
