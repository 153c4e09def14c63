//! What differs between trees of which one pair is much like the one before: those of patch after patch, or of commit
//! after commit. A tree is read once for all of them; a large one that is stored as a difference to the other is not
//! read at all.

use std::collections::BTreeSet;

use bstr::BString;
use gix_hash::ObjectId;
use gix_hashtable::HashMap;

use super::delta::{self, Change, Touched};
use crate::store::tree::{Entry, Index, RawTree, differing};
use crate::store::{ObjectError, Objects};

/// A folder of fewer bytes is read at once.
const LARGE: usize = 4096;

/// Compares one pair of trees after the other.
pub struct Compare<'o> {
    objects: &'o dyn Objects,
    /// The trees of the last pair.
    last: Trees,
}

/// A tree that was read.
struct Known {
    tree: RawTree,
    index: Option<Index>,
}

type Trees = HashMap<ObjectId, Known>;

/// A name at which two trees differ, and what each has there.
type Difference = (BString, Option<Entry>, Option<Entry>);

impl<'o> Compare<'o> {
    /// Reads from `objects`.
    pub fn of(objects: &'o dyn Objects) -> Self {
        Self { objects, last: Trees::default() }
    }

    /// Is a history best asked from its newest pair back? Git packs a tree as a difference to a newer one, which is at hand
    /// then, unless its packs show one pair, the last, the other way round.
    pub fn is_stored_back(&self, old: &ObjectId, new: &ObjectId) -> bool {
        self.objects.over(old, new).is_none_or(|over| over.back)
    }

    /// What differs from `old` to `new`: files, links and submodules; and folders that are there on one side alone, as a
    /// whole. Nothing if something became another kind of thing.
    pub fn changes(&mut self, old: &ObjectId, new: &ObjectId) -> Result<Option<Vec<Change>>, ObjectError> {
        self.entering(old, new, &mut |_| true)
    }

    /// The files, links and submodules that differ from `old` to `new`.
    pub fn files(&mut self, old: &ObjectId, new: &ObjectId) -> Result<Vec<Change>, ObjectError> {
        let Some(changes) = self.changes(old, new)? else { return delta::changes(self.objects, old, new) };
        let mut out = Vec::with_capacity(changes.len());
        for change in changes {
            match folders(&change) {
                [None, None] => out.push(change),
                folders => delta::changes_in(self.objects, &change.path, folders, &mut out)?,
            }
        }
        Ok(out)
    }

    /// Which of `wanted` differ. Other folders are not read.
    pub fn touched(
        &mut self,
        old: &ObjectId,
        new: &ObjectId,
        wanted: &BTreeSet<BString>,
    ) -> Result<Touched, ObjectError> {
        let mut others = false;
        let mut enter = |folder: &BString| {
            let enter = delta::holds_some(folder, wanted);
            others |= !enter;
            enter
        };
        let Some(changes) = self.entering(old, new, &mut enter)? else {
            return delta::touched(self.objects, old, new, wanted);
        };
        let mut out = Touched { paths: BTreeSet::new(), others };
        for change in changes {
            match folders(&change) {
                [None, None] if wanted.contains(&change.path) => drop(out.paths.insert(change.path)),
                [None, None] => out.others = true,
                folders => delta::touched_in(self.objects, &change.path, folders, wanted, &mut out)?,
            }
        }
        Ok(out)
    }

    fn entering(
        &mut self,
        old: &ObjectId,
        new: &ObjectId,
        enter: &mut dyn FnMut(&BString) -> bool,
    ) -> Result<Option<Vec<Change>>, ObjectError> {
        let (objects, last) = (self.objects, &mut self.last);
        let mut look =
            Look { objects, last, now: Trees::default(), path: BString::default(), found: Vec::new(), enter };
        let plain = old == new || look.level(old, new)?;
        let (found, now) = (look.found, look.now);
        self.last = now;
        Ok(plain.then_some(found))
    }
}

/// The folders that stand at a path.
fn folders(change: &Change) -> [Option<ObjectId>; 2] {
    [change.old, change.new].map(|side| side.filter(Entry::is_tree).map(|entry| entry.id))
}

struct Look<'l> {
    objects: &'l dyn Objects,
    last: &'l mut Trees,
    now: Trees,
    path: BString,
    found: Vec<Change>,
    enter: &'l mut dyn FnMut(&BString) -> bool,
}

impl Look<'_> {
    fn level(&mut self, old: &ObjectId, new: &ObjectId) -> Result<bool, ObjectError> {
        let known = match self.large(old, new)? {
            Some(known) => Some(known),
            None => self.compared(old, new)?,
        };
        let Some(differences) = known else { return Ok(false) };
        for (name, gone, come) in differences {
            let parent = self.path.len();
            if parent > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            match (gone, come) {
                (Some(old), Some(new)) if old.is_tree() && new.is_tree() => {
                    if (self.enter)(&self.path) && !self.level(&old.id, &new.id)? {
                        return Ok(false);
                    }
                }
                (old, new) => self.found.push(Change { path: self.path.clone(), old, new }),
            }
            self.path.truncate(parent);
        }
        Ok(true)
    }

    /// The differences of two trees; none if something became another thing.
    fn compared(&mut self, old: &ObjectId, new: &ObjectId) -> Result<Option<Vec<Difference>>, ObjectError> {
        let (left, right) = (self.tree(old)?.tree.clone(), self.tree(new)?.tree.clone());
        let mut out: Vec<Difference> = Vec::new();
        for differing in differing(&left, &right) {
            let (name, gone, come) = differing?;
            // A file that became a folder, or the other way round.
            let turned = out.last().is_some_and(|(last, _, _)| last == name)
                || gone.is_none() && left.find(name)?.is_some()
                || come.is_none() && right.find(name)?.is_some();
            if turned {
                return Ok(None);
            }
            out.push((name.into(), gone, come));
        }
        Ok(Some(out))
    }

    /// The same for a large tree that is stored as a difference to the other, or the other to it: of the two only the
    /// one that the difference is to is read, if it is not at hand.
    fn large(&mut self, old: &ObjectId, new: &ObjectId) -> Result<Option<Vec<Difference>>, ObjectError> {
        let at_hand = |id: &ObjectId| self.now.get(id).or_else(|| self.last.get(id));
        let small = |known: &Known| known.tree.raw().len() < LARGE;
        if at_hand(old).is_some_and(small) || at_hand(new).is_some_and(small) {
            return Ok(None);
        }
        let Some(over) = self.objects.over(old, new) else { return Ok(None) };
        // Each tree of a history on the way back from the newest one would be made whole to be left at once.
        if over.back && at_hand(new).is_none() {
            return Ok(None);
        }
        let (from, to) = if over.back { (new, old) } else { (old, new) };
        let known = match self.now.remove(from).or_else(|| self.last.remove(from)) {
            Some(known) => known,
            None => Known { tree: RawTree::read(self.objects, Some(from))?, index: None },
        };
        let Known { tree, index } = known;
        let index = match index {
            Some(index) => index,
            None => tree.index()?,
        };
        let mut out = differences(&tree, &index, &over.bytes);
        let keep = if out.is_some() { tree.written_over(*to, &over.bytes) } else { tree };
        self.now.insert(if out.is_some() { *to } else { *from }, Known { tree: keep, index: Some(index) });
        if over.back {
            out.iter_mut().flatten().for_each(|(_, old, new)| std::mem::swap(old, new));
        }
        Ok(out)
    }

    fn tree(&mut self, id: &ObjectId) -> Result<&Known, ObjectError> {
        if !self.now.contains_key(id) {
            let known = match self.last.remove(id) {
                Some(known) => known,
                None => Known { tree: RawTree::read(self.objects, Some(id))?, index: None },
            };
            self.now.insert(*id, known);
        }
        let missing = || ObjectError { id: *id, reason: "it was read, and is gone".into() };
        self.now.get(id).ok_or_else(missing)
    }
}

/// What entries become by bytes that are written over; nothing if that is more than other ids and modes.
fn differences(tree: &RawTree, index: &Index, over: &[(usize, Vec<u8>)]) -> Option<Vec<Difference>> {
    let raw = tree.raw();
    let mut new: Vec<(std::ops::Range<usize>, Vec<u8>)> = Vec::new();
    for (at, bytes) in over {
        for (place, byte) in bytes.iter().enumerate().map(|(n, byte)| (at + n, byte)) {
            if new.last().is_none_or(|(range, _)| !range.contains(&place)) {
                let range = index.around(raw, place).filter(|range| range.contains(&place))?;
                new.push((range.clone(), raw[range].to_vec()));
            }
            let (range, entry) = new.last_mut()?;
            entry[place - range.start] = *byte;
        }
    }
    let mut out = Vec::with_capacity(new.len());
    for (range, entry) in new {
        let ((name, was), (other, is)) = (index.parsed(&raw[range])?, index.parsed(&entry)?);
        if name != other || was.is_tree() != is.is_tree() {
            return None;
        }
        if was != is {
            out.push((name.into(), Some(was), Some(is)));
        }
    }
    Some(out)
}
