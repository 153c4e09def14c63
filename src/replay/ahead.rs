//! What can be worked out before the stack is there, on all cores: what each patch changes; and the merges of each file
//! along the queue, as they are to be made if every patch applies. Files are independent of each other for that.
//!
//! It is a guess: the replay asks for a merge by its three sides, and makes one itself that was not foreseen.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::Sides;
use super::attributes::{self, Driver};
use super::content::{self, Content};
use super::sequence::{Role, Step};
use crate::store::tree::{Entry, Index, RawTree, differing, parsed};
use crate::store::{ObjectError, Objects, Scratch};

/// Fewer patches, or merges, than this are not worth a thread.
const FEW: usize = 8;
/// More threads than this are not used.
const MOST: usize = 8;
/// Patches that are looked at in a row, as neighbours have most trees in common.
const ROW: usize = 64;

/// A file that a patch changes, adds or deletes; or a folder that it adds or deletes as a whole.
pub(super) struct Change {
    pub path: BString,
    pub base: Option<Entry>,
    pub theirs: Option<Entry>,
}

/// What a patch changes.
pub(super) enum Changes {
    Plain(Vec<Change>),
    /// Something became another thing: that is left to the whole merge.
    Turned,
}

/// A folder of fewer bytes is read at once.
const LARGE: usize = 4096;

/// A tree that was read.
pub(super) struct Known {
    tree: RawTree,
    index: Option<Index>,
}

impl Known {
    fn of(tree: RawTree) -> Self {
        Self { tree, index: None }
    }
}

/// The trees that were read last.
pub(super) type Trees = HashMap<ObjectId, Known>;

/// A merged file: its blob's id, and its bytes.
pub(super) type Merges = HashMap<[ObjectId; 3], (ObjectId, Vec<u8>)>;

/// What a patch changes. `last` has trees of the patch before, and gets those of this one.
pub(super) fn changes(objects: &dyn Objects, step: &Step, last: &mut Trees) -> Result<Changes, ObjectError> {
    let mut look = Look { objects, last, now: Trees::new(), path: BString::default(), found: Vec::new() };
    let plain = step.before == step.after || look.level(&step.before, &step.after)?;
    let (found, now) = (look.found, look.now);
    *last = now;
    Ok(if plain { Changes::Plain(found) } else { Changes::Turned })
}

struct Look<'l> {
    objects: &'l dyn Objects,
    last: &'l mut Trees,
    now: Trees,
    path: BString,
    found: Vec<Change>,
}

/// A name at which two trees differ, and what each has there.
type Difference = (BString, Option<Entry>, Option<Entry>);

impl Look<'_> {
    fn level(&mut self, before: &ObjectId, after: &ObjectId) -> Result<bool, ObjectError> {
        let known = match self.large(before, after)? {
            Some(known) => Some(known),
            None => self.compared(before, after)?,
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
                    if !self.level(&old.id, &new.id)? {
                        return Ok(false);
                    }
                }
                (base, theirs) => self.found.push(Change { path: self.path.clone(), base, theirs }),
            }
            self.path.truncate(parent);
        }
        Ok(true)
    }

    /// The differences of two trees; none if something became another thing.
    fn compared(
        &mut self,
        before: &ObjectId,
        after: &ObjectId,
    ) -> Result<Option<Vec<Difference>>, ObjectError> {
        let (base, theirs) = (self.tree(before)?.tree.clone(), self.tree(after)?.tree.clone());
        let mut out: Vec<Difference> = Vec::new();
        for differing in differing(&base, &theirs) {
            let (name, gone, come) = differing?;
            // A file that became a folder, or the other way round.
            let turned = out.last().is_some_and(|(last, _, _)| last == name)
                || gone.is_none() && base.find(name)?.is_some()
                || come.is_none() && theirs.find(name)?.is_some();
            if turned {
                return Ok(None);
            }
            out.push((name.into(), gone, come));
        }
        Ok(Some(out))
    }

    /// The same for a large tree that is stored as a difference to the other: neither is read, if the first is at hand.
    fn large(&mut self, before: &ObjectId, after: &ObjectId) -> Result<Option<Vec<Difference>>, ObjectError> {
        let small = |known: &Known| known.tree.raw().len() < LARGE;
        if self.now.get(before).or_else(|| self.last.get(before)).is_some_and(small) {
            return Ok(None);
        }
        let Some(over) = self.objects.over(before, after) else { return Ok(None) };
        let known = match self.now.remove(before).or_else(|| self.last.remove(before)) {
            Some(known) => known,
            None => Known::of(RawTree::read(self.objects, Some(before))?),
        };
        let Known { tree, index } = known;
        let index = match index {
            Some(index) => index,
            None => Index::of(tree.raw())?,
        };
        let out = differences(&tree, &index, &over);
        let keep = if out.is_some() { tree.written_over(*after, &over) } else { tree };
        let id = if out.is_some() { *after } else { *before };
        self.now.insert(id, Known { tree: keep, index: Some(index) });
        Ok(out)
    }

    fn tree(&mut self, id: &ObjectId) -> Result<&Known, ObjectError> {
        if !self.now.contains_key(id) {
            let known = match self.last.remove(id) {
                Some(known) => known,
                None => Known::of(RawTree::read(self.objects, Some(id))?),
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
        let ((name, was), (other, is)) = (parsed(&raw[range])?, parsed(&entry)?);
        if name != other || was.is_tree() != is.is_tree() {
            return None;
        }
        if was != is {
            out.push((name.into(), Some(was), Some(is)));
        }
    }
    Some(out)
}

/// Does `work` on all cores, on this one with `objects`, on the others with objects of their own. Work that fails there
/// is left undone: whoever needs it meets the error himself.
fn share(objects: &dyn Objects, work: &(dyn Fn(&dyn Objects) + Sync)) {
    // Each has a view of the store that keeps some objects in memory.
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
    std::thread::scope(|threads| {
        for place in (1..cores).filter_map(|_| objects.place()) {
            threads.spawn(move || work(&place.open()));
        }
        work(objects);
    });
}

/// What each step changes; nothing for one that is not carried, or could not be read.
pub(super) fn all_changes(objects: &dyn Objects, steps: &[Step]) -> Vec<Option<Changes>> {
    let none = || steps.iter().map(|_| None).collect::<Vec<Option<Changes>>>();
    if steps.len() < FEW || objects.place().is_none() {
        return none();
    }
    let (next, found) = (AtomicUsize::new(0), Mutex::new(none()));
    share(objects, &|objects| {
        loop {
            let from = next.fetch_add(ROW, Ordering::Relaxed);
            let Some(row) = steps.get(from..steps.len().min(from + ROW)).filter(|row| !row.is_empty()) else {
                return;
            };
            let mut last = Trees::new();
            for (at, step) in row.iter().enumerate().filter(|(_, step)| step.role == Role::Carry) {
                let Ok(changes) = changes(objects, step, &mut last) else { return };
                if let Ok(mut found) = found.lock() {
                    found[from + at] = Some(changes);
                }
            }
        }
    });
    found.into_inner().unwrap_or_else(|_| none())
}

/// The merges of one file, in order.
struct Chain {
    path: BString,
    ours: Entry,
    changes: Vec<(Entry, Entry)>,
}

/// The merges that the steps need on the stack whose files `at` gives, and whose tree is `tip`.
pub(super) fn merges(
    objects: &dyn Objects,
    changes: &[Option<Changes>],
    tip: &ObjectId,
    at: &mut dyn FnMut(&BStr) -> Result<Option<Entry>, ObjectError>,
) -> Result<Merges, ObjectError> {
    // What stands at a path, as far as that is known without a merge; then the place of its chain.
    let mut now: HashMap<&BString, Result<Option<Entry>, usize>> = HashMap::new();
    let mut chains: Vec<Chain> = Vec::new();
    let all = changes.iter().flatten().flat_map(|changes| match changes {
        Changes::Plain(changes) => changes.as_slice(),
        Changes::Turned => &[],
    });
    for Change { path, base, theirs } in all {
        let state = match now.get(path) {
            Some(state) => *state,
            None => Ok(at(path.as_ref())?),
        };
        let state = match state {
            Ok(ours) if ours == *base => Ok(*theirs),
            Ok(ours) => match (*base, ours, *theirs) {
                (Some(base), Some(ours), Some(theirs)) if ours != theirs => {
                    chains.push(Chain { path: path.clone(), ours, changes: vec![(base, theirs)] });
                    Err(chains.len() - 1)
                }
                _ => Ok(ours),
            },
            Err(chain) => {
                if let (Some(base), Some(theirs)) = (*base, *theirs) {
                    chains[chain].changes.push((base, theirs));
                }
                Err(chain)
            }
        };
        now.insert(path, state);
    }
    if chains.iter().map(|chain| chain.changes.len()).sum::<usize>() < FEW || objects.place().is_none() {
        return Ok(Merges::new());
    }
    // The long ones first, so that none of them is left for the end.
    chains.sort_by_key(|chain| std::cmp::Reverse(chain.changes.len()));
    let (next, made) = (AtomicUsize::new(0), Mutex::new(Merges::new()));
    share(objects, &|objects| {
        let scratch = Scratch::over(objects);
        while let Some(chain) = chains.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut own = Merges::new();
            // What fails here fails again where it is needed.
            let _ = chain.follow(&scratch, tip, &mut own);
            if let Ok(mut made) = made.lock() {
                made.extend(own);
            }
        }
    });
    Ok(made.into_inner().unwrap_or_default())
}

impl Chain {
    fn follow(&self, objects: &dyn Objects, tip: &ObjectId, made: &mut Merges) -> Result<(), ObjectError> {
        let path = self.path.as_bstr();
        let generated = objects.drivers().is_some_and(|d| d.generated(path));
        if generated || attributes::driver(objects, tip, path)? != Driver::Text {
            return Ok(());
        }
        let mut ours = self.ours;
        for (base, theirs) in &self.changes {
            let sides = Sides { base: *base, ours, theirs: *theirs };
            if let Some(settled) = sides.settled() {
                ours = settled;
                continue;
            }
            let ids = sides.map(|entry| entry.id);
            let Some(mode) = sides.map(|entry| entry.mode).settled() else { continue };
            let id = match ids.settled() {
                Some(id) => id,
                None => {
                    if ![*base, ours, *theirs].iter().all(Entry::is_file) {
                        continue;
                    }
                    let blob = |id: &ObjectId| objects.blob(id);
                    let (base, mine, new) = (blob(&ids.base)?, blob(&ids.ours)?, blob(&ids.theirs)?);
                    let merged = content::merge_by(objects, &Driver::Text, path, &base, &mine, &new)?;
                    // A patch that conflicts is left out.
                    let Content::Clean(data) = merged else { continue };
                    let id = objects.put_blob(data.clone(), None)?;
                    made.insert([ids.base, ids.ours, ids.theirs], (id, data));
                    id
                }
            };
            ours = Entry { mode, id };
        }
        Ok(())
    }
}
