//! The three-way merge of trees. Equal ids settle a whole subtree, so its cost follows what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::content::{self, Content};
use super::rename::{Moves, parent};
use super::{Conflict, ConflictKind, Merged, Notes, Sides, attributes};
use crate::store::tree::{
    Entry, MODE_COMMIT, MODE_LINK, MODE_TREE, RawTree, edit, entry_at, write, write_empty,
};
use crate::store::{ObjectError, Objects};
use crate::trunk::delta;

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
    Ok(merge_noting(objects, base, ours, theirs)?.0)
}

/// The same, with what is to be known of a merge without a conflict.
pub fn merge_noting(
    objects: &dyn Objects,
    base: &ObjectId,
    ours: &ObjectId,
    theirs: &ObjectId,
) -> Result<(Merged, Notes), ObjectError> {
    let mut merge = Merge::new(objects, Sides { base: *base, ours: *ours, theirs: *theirs });
    let tree = merge.run()?;
    if merge.conflicts.is_empty() {
        merge.generated.sort();
        let notes = Notes { as_it_is: merge.as_it_is, generated: merge.generated };
        return Ok((Merged::Clean(tree), notes));
    }
    Ok((Merged::Conflicts(merge.conflicts), Notes::default()))
}

/// A merge that goes as far as it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The tree with all that merges; where it conflicts, it is as in `ours`.
    pub tree: ObjectId,
    /// Where it conflicts, sorted by path.
    pub conflicts: Vec<Conflict>,
    /// The files whose contents were merged line by line, without a conflict.
    pub merged: Vec<BString>,
}

/// Merges as [`merge_trees`] does, and makes the tree in spite of conflicts.
pub fn attempt(
    objects: &dyn Objects,
    base: &ObjectId,
    ours: &ObjectId,
    theirs: &ObjectId,
) -> Result<Attempt, ObjectError> {
    let mut merge = Merge::new(objects, Sides { base: *base, ours: *ours, theirs: *theirs });
    merge.in_spite = true;
    let tree = merge.run()?;
    Ok(Attempt { tree, conflicts: merge.conflicts, merged: merge.by_lines })
}

/// One run of the merge: where it stands, and what it found.
struct Merge<'a> {
    objects: &'a dyn Objects,
    roots: Sides<ObjectId>,
    /// What our side moved, once someone asks.
    ours: Option<Rc<Moves>>,
    /// What their side moved, once someone asks.
    theirs: Option<Rc<Moves>>,
    /// Files merged at a path that a rename gave them.
    moved: BTreeMap<BString, Entry>,
    /// Files that both sides took away.
    both_gone: Vec<(BString, Entry)>,
    conflicts: Vec<Conflict>,
    path: BString,
    /// Was every change of theirs to a file that ours left alone?
    as_it_is: bool,
    /// Is a tree wanted even where it conflicts?
    in_spite: bool,
    /// Where the file at hand was moved from.
    from: Option<BString>,
    /// The files whose contents were merged.
    by_lines: Vec<BString>,
    /// The files that a command is to make anew.
    generated: Vec<BString>,
}

impl<'a> Merge<'a> {
    fn new(objects: &'a dyn Objects, roots: Sides<ObjectId>) -> Self {
        Self {
            objects,
            roots,
            conflicts: Vec::new(),
            path: BString::default(),
            ours: None,
            theirs: None,
            moved: BTreeMap::new(),
            both_gone: Vec::new(),
            as_it_is: true,
            in_spite: false,
            from: None,
            by_lines: Vec::new(),
            generated: Vec::new(),
        }
    }

    /// The merged tree; if there are conflicts it is only one to go on with if that is wanted.
    fn run(&mut self) -> Result<ObjectId, ObjectError> {
        let Sides { base, ours, theirs } = self.roots;
        let mut tree = self.level(Some(base), Some(ours), Some(theirs))?;
        self.clashing_renames()?;
        self.moved_folders()?;
        if (self.conflicts.is_empty() || self.in_spite) && !self.moved.is_empty() {
            let edits: Vec<(&[u8], Option<Entry>)> =
                self.moved.iter().map(|(path, entry)| (path.as_slice(), Some(*entry))).collect();
            match edit(self.objects, tree, &edits)? {
                Ok(merged) => tree = merged,
                Err(path) => {
                    let theirs = self.moved.get(&path).copied();
                    let sides = Sides { base: None, ours: None, theirs };
                    self.conflicts.push(Conflict {
                        path,
                        from: None,
                        kind: ConflictKind::FileDirectory,
                        sides,
                    });
                }
            }
        }
        self.conflicts.sort_by(|a, b| a.path.cmp(&b.path).then(a.kind.cmp(&b.kind)));
        match tree {
            Some(tree) => Ok(tree),
            None => write_empty(self.objects),
        }
    }

    /// Merges one folder; `None` is a folder that is not there.
    fn level(
        &mut self,
        base: Option<ObjectId>,
        ours: Option<ObjectId>,
        theirs: Option<ObjectId>,
    ) -> Result<Option<ObjectId>, ObjectError> {
        if let Some(id) = (Sides { base, ours, theirs }).settled() {
            self.as_it_is &= base == ours || base == theirs;
            return Ok(id);
        }
        let (like, any) = (ours, ours.or(theirs).or(base));
        let read = |id: Option<ObjectId>| RawTree::read(self.objects, id.as_ref());
        let trees = (read(base)?, read(ours)?, read(theirs)?);
        let (base, ours, theirs) = (by_name(&trees.0)?, by_name(&trees.1)?, by_name(&trees.2)?);
        let mut out = Vec::with_capacity(ours.len().max(theirs.len()));
        let (mut b, mut o, mut t) = (0, 0, 0);
        loop {
            let heads = [base.get(b), ours.get(o), theirs.get(t)];
            let Some(name) = heads.iter().flatten().map(|(name, _)| *name).min() else { break };
            let take = |list: &[(&BStr, Entry)], at: &mut usize| match list.get(*at) {
                Some((n, entry)) if *n == name => {
                    *at += 1;
                    Some(*entry)
                }
                _ => None,
            };
            let sides =
                Sides { base: take(&base, &mut b), ours: take(&ours, &mut o), theirs: take(&theirs, &mut t) };
            match sides.settled() {
                Some(entry) => {
                    self.as_it_is &= sides.base == sides.ours || sides.base == sides.theirs;
                    if let (Some(base), None, None) = (sides.base, sides.ours, sides.theirs) {
                        self.gone_on_both(self.below(name), base)?;
                    } else if let (Some(base), Some(both)) = (sides.base, entry)
                        && base.is_tree()
                        && both.is_tree()
                        && base != both
                        && sides.ours == sides.theirs
                    {
                        // Both sides made the same folder of it: files may still have left it for different places.
                        for change in delta::changes(self.objects, &base.id, &both.id)? {
                            if let (Some(old), None) = (change.old, change.new) {
                                let inside = self.below(name);
                                let path = BString::from([&inside, b"/".as_slice(), &change.path].concat());
                                self.both_gone.push((path, old));
                            }
                        }
                    }
                    out.extend(entry.map(|e| (name, e)));
                }
                None => out.extend(self.name(name, sides)?.map(|e| (name, e))),
            }
        }
        if self.conflicts.is_empty() || self.in_spite {
            return write(self.objects, out, like.as_ref());
        }
        // What conflicts is left out as a whole: of its trees only whether they are there is asked for.
        Ok(any.filter(|_| !out.is_empty()))
    }

    /// Merges one name that both sides changed, the folder and the file part apart.
    fn name(&mut self, name: &BStr, sides: Sides<Option<Entry>>) -> Result<Option<Entry>, ObjectError> {
        let parent = self.path.len();
        if parent > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);

        let folders = sides.map(|side| side.filter(Entry::is_tree).map(|e| e.id));
        let folder = self.level(folders.base, folders.ours, folders.theirs)?;
        let files = sides.map(|side| side.filter(|e| !e.is_tree()));
        self.as_it_is &= files.base == files.ours || files.base == files.theirs;
        let file = match files.settled() {
            Some(file) => file,
            None => self.file(files)?,
        };
        if folder.is_some() && file.is_some() {
            self.conflict(ConflictKind::FileDirectory, sides);
        }
        self.path.truncate(parent);
        Ok(folder.map(|id| Entry { mode: MODE_TREE, id }).or(file))
    }

    /// Notes a file, or all files of a folder, that both sides took away.
    fn gone_on_both(&mut self, path: BString, entry: Entry) -> Result<(), ObjectError> {
        if !entry.is_tree() {
            self.both_gone.push((path, entry));
            return Ok(());
        }
        for (name, inner) in RawTree::read(self.objects, Some(&entry.id))?.entries()? {
            self.gone_on_both(BString::from([&path, b"/".as_slice(), name].concat()), inner)?;
        }
        Ok(())
    }

    fn below(&self, name: &BStr) -> BString {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            BString::from([&self.path, b"/".as_slice(), name].concat())
        }
    }

    /// Merges one file, link or submodule that both sides changed.
    fn file(&mut self, sides: Sides<Option<Entry>>) -> Result<Option<Entry>, ObjectError> {
        match (sides.base, sides.ours, sides.theirs) {
            (Some(base), Some(ours), Some(theirs)) => self.content(Sides { base, ours, theirs }),
            (None, Some(ours), Some(theirs)) => match self.common_source(&ours, &theirs)? {
                Some(base) => self.content(Sides { base, ours, theirs }),
                None => {
                    self.conflict(ConflictKind::AddAdd, sides);
                    Ok(Some(ours))
                }
            },
            (Some(base), None, Some(theirs)) => {
                let path = self.path.clone();
                match self.our_moves()?.target(self.objects, path.as_bstr(), &base)? {
                    Some((target, ours)) => self.at_target(target, Sides { base, ours, theirs }),
                    None => {
                        self.conflict(ConflictKind::DeletedInTrunk, sides);
                        Ok(None)
                    }
                }
            }
            (Some(base), Some(ours), None) => {
                let path = self.path.clone();
                match self.their_moves()?.target(self.objects, path.as_bstr(), &base)? {
                    Some((target, theirs)) => self.at_target(target, Sides { base, ours, theirs }),
                    None => {
                        self.conflict(ConflictKind::DeletedByPatch, sides);
                        Ok(Some(ours))
                    }
                }
            }
            (_, ours, _) => Ok(ours),
        }
    }

    /// A file that one side renamed and the other changed: it is merged at its new path.
    fn at_target(&mut self, target: BString, sides: Sides<Entry>) -> Result<Option<Entry>, ObjectError> {
        let there = |root: &ObjectId| entry_at(self.objects, root, target.as_bstr());
        let both = there(&self.roots.ours)?.is_some() && there(&self.roots.theirs)?.is_some();
        if both || there(&self.roots.base)?.is_some() || self.moved.contains_key(&target) {
            let from = std::mem::replace(&mut self.path, target);
            self.from = Some(from.clone());
            self.conflict(ConflictKind::Rename, sides.map(Some));
            (self.path, self.from) = (from, None);
            return Ok(None);
        }
        let here = std::mem::replace(&mut self.path, target.clone());
        self.from = Some(here.clone());
        let merged = match sides.settled() {
            Some(entry) => Some(entry),
            None => self.content(sides)?,
        };
        self.path = here;
        self.from = None;
        self.moved.extend(merged.map(|entry| (target, entry)));
        Ok(None)
    }

    /// The file that both sides renamed to the path at hand.
    fn common_source(&mut self, ours: &Entry, theirs: &Entry) -> Result<Option<Entry>, ObjectError> {
        let path = self.path.clone();
        let from_ours = self.our_moves()?.source(self.objects, path.as_bstr(), ours)?;
        let from_theirs = self.their_moves()?.source(self.objects, path.as_bstr(), theirs)?;
        Ok(from_ours.filter(|source| from_theirs.as_ref() == Some(source)).map(|(_, entry)| entry))
    }

    /// A file that each side renamed to another path, or that one renamed and the other deleted, is a conflict.
    fn clashing_renames(&mut self) -> Result<(), ObjectError> {
        for (path, base) in std::mem::take(&mut self.both_gone) {
            let theirs = self.their_moves()?.target(self.objects, path.as_bstr(), &base)?;
            let ours = self.our_moves()?.target(self.objects, path.as_bstr(), &base)?;
            if ours.map(|(path, _)| path) != theirs.map(|(path, _)| path) {
                let sides = Sides { base: Some(base), ours: None, theirs: None };
                self.conflicts.push(Conflict { path, from: None, kind: ConflictKind::Rename, sides });
            }
        }
        Ok(())
    }

    /// A file that one side adds to a folder that the other renamed: git asks a person where it belongs
    /// (`merge.directoryRenames=conflict`, its default).
    fn moved_folders(&mut self) -> Result<(), ObjectError> {
        let theirs = self.their_moves()?;
        // The patch is small: only what it adds, and only folders that it empties, can make such a conflict.
        let ours = self.roots.ours;
        self.added_to_moved(theirs.come(), &ours, true)?;
        let emptied = theirs.gone().iter().map(|(path, _)| parent(path.as_bstr()));
        let emptied: BTreeSet<&BStr> = emptied.filter(|folder| !folder.is_empty()).collect();
        let mut any = false;
        for folder in emptied {
            any |= !is_folder(self.objects, &self.roots.theirs, folder)?;
        }
        if any {
            let (come, theirs) = (self.our_moves()?, self.roots.theirs);
            self.added_to_moved(come.come(), &theirs, false)?;
        }
        Ok(())
    }

    /// Which of the files in `come` stand in a folder that the tree `side` has moved elsewhere?
    fn added_to_moved(
        &mut self,
        come: &[(BString, Entry)],
        side: &ObjectId,
        side_is_ours: bool,
    ) -> Result<(), ObjectError> {
        let base = self.roots.base;
        let mut moved: BTreeMap<BString, bool> = BTreeMap::new();
        for (path, entry) in come {
            let mut folder = parent(path.as_bstr());
            while !folder.is_empty() {
                let is_moved = match moved.get(folder.as_bytes().as_bstr()) {
                    Some(known) => *known,
                    None => {
                        let gone = is_folder(self.objects, &base, folder)?
                            && !is_folder(self.objects, side, folder)?;
                        let is_moved = gone && {
                            let moves = if side_is_ours { self.our_moves()? } else { self.their_moves()? };
                            moves.moved_folder(self.objects, folder)?
                        };
                        moved.insert(folder.to_owned(), is_moved);
                        is_moved
                    }
                };
                if is_moved {
                    let kind = ConflictKind::DirectoryRename;
                    let (ours, theirs) =
                        if side_is_ours { (None, Some(*entry)) } else { (Some(*entry), None) };
                    let sides = Sides { base: None, ours, theirs };
                    self.conflicts.push(Conflict { path: path.clone(), from: None, kind, sides });
                    break;
                }
                folder = parent(folder);
            }
        }
        Ok(())
    }

    fn our_moves(&mut self) -> Result<Rc<Moves>, ObjectError> {
        let Sides { base, ours, .. } = self.roots;
        known(&mut self.ours, self.objects, &base, &ours)
    }

    fn their_moves(&mut self) -> Result<Rc<Moves>, ObjectError> {
        let Sides { base, theirs, .. } = self.roots;
        known(&mut self.theirs, self.objects, &base, &theirs)
    }

    /// Merges the content and mode of one file that all three have.
    fn content(&mut self, sides: Sides<Entry>) -> Result<Option<Entry>, ObjectError> {
        let Sides { base, ours, theirs } = sides;
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
            self.conflict(kind, sides.map(Some));
            return Ok(Some(ours));
        }
        // Two modes only, so if both sides changed it they agree.
        let mode = entries.map(|e| e.mode).settled().unwrap_or(ours.mode);
        let id = match entries.map(|e| e.id).settled() {
            Some(id) => id,
            None => {
                let path = self.path.as_bstr();
                if self.objects.drivers().is_some_and(|d| d.generated(path)) {
                    self.generated.push(self.path.clone());
                    return Ok(Some(Entry { mode, id: ours.id }));
                }
                let driver = attributes::driver(self.objects, &self.roots.ours, path)?;
                let blob = |e: Entry| self.objects.blob(&e.id);
                let (base, ours_data, theirs) = (blob(base)?, blob(ours)?, blob(theirs)?);
                match content::merge_by(self.objects, &driver, path, &base, &ours_data, &theirs)? {
                    Content::Clean(data) => {
                        if self.in_spite {
                            self.by_lines.push(self.path.clone());
                        }
                        self.objects.put_blob(data, Some(&ours.id))?
                    }
                    Content::Conflict => {
                        self.conflict(ConflictKind::Content, sides.map(Some));
                        ours.id
                    }
                    Content::Binary => {
                        self.conflict(ConflictKind::Binary, sides.map(Some));
                        ours.id
                    }
                }
            }
        };
        Ok(Some(Entry { mode, id }))
    }

    fn conflict(&mut self, kind: ConflictKind, sides: Sides<Option<Entry>>) {
        let from = self.from.clone();
        self.conflicts.push(Conflict { path: self.path.clone(), from, kind, sides });
    }
}

/// A tree's entries by plain name, so that a file and a folder of one name meet.
fn by_name(tree: &RawTree) -> Result<Vec<(&BStr, Entry)>, ObjectError> {
    let mut entries = tree.entries()?;
    entries.sort_by(|a, b| a.0.cmp(b.0));
    Ok(entries)
}

fn is_folder(objects: &dyn Objects, root: &ObjectId, path: &BStr) -> Result<bool, ObjectError> {
    Ok(entry_at(objects, root, path)?.is_some_and(|e| e.is_tree()))
}

/// One side's moves, worked out when they are first asked for.
fn known(
    slot: &mut Option<Rc<Moves>>,
    objects: &dyn Objects,
    base: &ObjectId,
    side: &ObjectId,
) -> Result<Rc<Moves>, ObjectError> {
    if let Some(moves) = slot {
        return Ok(moves.clone());
    }
    let moves = Rc::new(Moves::between(objects, base, side)?);
    *slot = Some(moves.clone());
    Ok(moves)
}
