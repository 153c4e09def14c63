//! The plain walk over three trees: enough for almost every patch.
//!
//! Equal ids settle a whole subtree, so its cost follows what changed. No rename is looked for: where one could
//! matter, the walk gives up, and `super::ort` answers. Git looks for renames only of files that are gone on one side
//! and changed (or gone as well) on the other, and of folders that one side took away while the other added to them;
//! so a walk that meets neither, and no conflict, has git's answer.

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::content::{self, Content};
use super::splice::{Changed, changed, spliced};
use super::{Sides, attributes};
use crate::store::tree::{Entry, MODE_TREE, RawTree, write};
use crate::store::{ObjectError, Objects};
use crate::trunk::delta;

/// How far the walk came.
pub(super) struct Walked {
    /// The merged tree, none for the empty one; not there if the walk gave up.
    pub tree: Option<Option<ObjectId>>,
    /// Did a side add to a folder that the other took away? Then `tree` is git's unless the folder was renamed.
    pub added_to_gone: bool,
    /// Was every change of theirs to a file that ours left alone?
    pub as_it_is: bool,
    /// The files that a command is to make anew.
    pub generated: Vec<BString>,
}

/// Merges as far as no rename and no conflict is met.
pub(super) fn walk(objects: &dyn Objects, roots: Sides<ObjectId>) -> Result<Walked, ObjectError> {
    let mut walk = Walk {
        objects,
        root: roots.ours,
        path: BString::default(),
        added_to_gone: false,
        as_it_is: true,
        generated: Vec::new(),
    };
    let tree = match roots.settled() {
        Some(tree) => {
            walk.as_it_is = roots.base == roots.ours || roots.base == roots.theirs;
            Ok(Some(tree))
        }
        None => walk.level(roots.map(Some), false),
    };
    let tree = match tree {
        Ok(tree) => Some(tree),
        Err(Stop::Full) => None,
        Err(Stop::Object(error)) => return Err(error),
    };
    let Walk { added_to_gone, as_it_is, generated, .. } = walk;
    Ok(Walked { tree, added_to_gone, as_it_is, generated })
}

/// Why the walk ends early.
enum Stop {
    /// The whole merge is needed.
    Full,
    Object(ObjectError),
}

impl From<ObjectError> for Stop {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

struct Walk<'a> {
    objects: &'a dyn Objects,
    root: ObjectId,
    path: BString,
    added_to_gone: bool,
    as_it_is: bool,
    generated: Vec<BString>,
}

impl Walk<'_> {
    /// Merges one folder; `None` is a folder that is not there. `gone` says that one side took away this folder or
    /// one above it.
    fn level(&mut self, ids: Sides<Option<ObjectId>>, gone: bool) -> Result<Option<ObjectId>, Stop> {
        if let Some(id) = ids.settled() {
            let by_one = ids.base == ids.ours || ids.base == ids.theirs;
            self.as_it_is &= by_one;
            if let Some(base) = ids.base.filter(|_| !by_one) {
                let folder = |id| Entry { mode: MODE_TREE, id };
                self.both_alike(folder(base), id.map(folder))?;
            }
            return Ok(id);
        }
        let gone = gone || (ids.base.is_some() && ids.ours.is_some() != ids.theirs.is_some());
        let read = |id: Option<ObjectId>| RawTree::read(self.objects, id.as_ref());
        let trees = (read(ids.base)?, read(ids.ours)?, read(ids.theirs)?);
        if !gone
            && let (Some(_), Some(ours), Some(_)) = (ids.base, ids.ours, ids.theirs)
            && let Some(changed) = changed(&trees.0, &trees.1, &trees.2)?
        {
            return self.few(&trees.1, ours, &changed);
        }
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
            if gone {
                let new = |side: Option<Entry>| {
                    side.is_some_and(|e| sides.base.is_none_or(|base| base.is_tree() != e.is_tree()))
                };
                self.added_to_gone |= new(sides.ours) || new(sides.theirs);
            }
            out.extend(self.entry(name, sides, gone)?.map(|e| (name, e)));
        }
        Ok(write(self.objects, out, ids.ours.as_ref())?)
    }

    /// Merges a folder that all three have, by what theirs changed.
    fn few(
        &mut self,
        tree: &RawTree,
        id: ObjectId,
        changed: &[Changed<'_>],
    ) -> Result<Option<ObjectId>, Stop> {
        let mut edits = Vec::with_capacity(changed.len());
        for change in changed {
            let entry = self.entry(change.name, change.sides, false)?;
            if entry != change.sides.ours {
                edits.push((change, entry));
            }
        }
        if edits.is_empty() {
            return Ok(Some(id));
        }
        let raw = spliced(tree, &edits)?;
        match raw.is_empty() {
            true => Ok(None),
            false => Ok(Some(self.objects.put_tree(raw, Some(&id))?)),
        }
    }

    /// Merges what stands at one name.
    fn entry(&mut self, name: &BStr, sides: Sides<Option<Entry>>, gone: bool) -> Result<Option<Entry>, Stop> {
        let Some(entry) = sides.settled() else { return self.name(name, sides, gone) };
        let by_one = sides.base == sides.ours || sides.base == sides.theirs;
        self.as_it_is &= by_one;
        if let Some(base) = sides.base.filter(|_| !by_one) {
            self.both_alike(base, entry)?;
        }
        Ok(entry)
    }

    /// Where both sides made the same of a base's entry, a file that both took away may still have gone to two places.
    fn both_alike(&self, base: Entry, both: Option<Entry>) -> Result<(), Stop> {
        let lost = match both {
            Some(both) if base.is_tree() && both.is_tree() => {
                let changes = delta::changes(self.objects, &base.id, &both.id)?;
                changes.iter().any(|change| change.old.is_some() && change.new.is_none())
            }
            Some(both) => base.is_tree() != both.is_tree(),
            None => true,
        };
        if lost { Err(Stop::Full) } else { Ok(()) }
    }

    /// Merges one name that both sides changed, the folder and the file part apart.
    fn name(&mut self, name: &BStr, sides: Sides<Option<Entry>>, gone: bool) -> Result<Option<Entry>, Stop> {
        let parent = self.path.len();
        if parent > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let folders = sides.map(|side| side.filter(Entry::is_tree).map(|e| e.id));
        let folder = self.level(folders, gone)?;
        let files = sides.map(|side| side.filter(|e| !e.is_tree()));
        self.as_it_is &= files.base == files.ours || files.base == files.theirs;
        let file = match files.settled() {
            // Both took the file away.
            Some(None) if files.base.is_some() && files.ours == files.theirs => return Err(Stop::Full),
            Some(file) => file,
            None => Some(self.file(files)?),
        };
        if folder.is_some() && file.is_some() {
            return Err(Stop::Full);
        }
        self.path.truncate(parent);
        Ok(folder.map(|id| Entry { mode: MODE_TREE, id }).or(file))
    }

    /// Merges the content and mode of one file that all three have.
    fn file(&mut self, sides: Sides<Option<Entry>>) -> Result<Entry, Stop> {
        let (Some(base), Some(ours), Some(theirs)) = (sides.base, sides.ours, sides.theirs) else {
            return Err(Stop::Full);
        };
        if ![base, ours, theirs].iter().all(Entry::is_file) {
            return Err(Stop::Full);
        }
        let sides = Sides { base, ours, theirs };
        let Some(mode) = sides.map(|e| e.mode).settled() else { return Err(Stop::Full) };
        if let Some(id) = sides.map(|e| e.id).settled() {
            return Ok(Entry { mode, id });
        }
        let path = self.path.as_bstr();
        if self.objects.drivers().is_some_and(|d| d.generated(path)) {
            self.generated.push(self.path.clone());
            return Ok(Entry { mode, id: ours.id });
        }
        let driver = attributes::driver(self.objects, &self.root, path)?;
        let blob = |e: Entry| self.objects.blob(&e.id);
        let (base, our_data, theirs) = (blob(base)?, blob(ours)?, blob(theirs)?);
        match content::merge_by(self.objects, &driver, path, &base, &our_data, &theirs)? {
            Content::Clean(data) => Ok(Entry { mode, id: self.objects.put_blob(data, Some(&ours.id))? }),
            Content::Conflict | Content::Binary => Err(Stop::Full),
        }
    }
}

/// A tree's entries by plain name, so that a file and a folder of one name meet.
fn by_name(tree: &RawTree) -> Result<Vec<(&BStr, Entry)>, ObjectError> {
    let mut entries = tree.entries()?;
    entries.sort_by(|a, b| a.0.cmp(b.0));
    Ok(entries)
}
