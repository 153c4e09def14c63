//! What can be worked out before the stack is there, on all cores: what each patch changes; and the merges of each file
//! along the queue, as they are to be made if every patch applies. Files are independent of each other for that.
//!
//! It is a guess: the replay asks for a merge by its three sides, and makes one itself that was not foreseen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bstr::{BStr, BString, ByteSlice};
use elsa::FrozenVec;
use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;

use super::Sides;
use super::attributes::{self, Driver};
use super::content::{self, Content};
use super::lines::Series;
use super::sequence::{Role, Step};
use crate::store::tree::Entry;
use crate::store::{ObjectError, Objects, Scratch, share};
use crate::trunk::compare::Compare;
use crate::trunk::delta::Change;
use crate::trunk::differences::Differences;

/// Fewer patches, or merges, than this are not worth a thread.
const FEW: usize = 8;
/// Versions of one file are kept up to so many bytes for the merges after them.
const AT_ONCE: usize = 4 << 20;
/// Patches that are looked at in a row, as neighbours have most trees in common.
const ROW: usize = 64;

/// What a patch changes.
pub(super) enum Changes {
    Plain(Vec<Change>),
    /// Something became another thing: that is left to the whole merge.
    Turned,
}

/// Files merged, by the ids of the three: the blob's id, and its bytes; nothing for lines that conflict.
pub(super) type Merges = HashMap<[ObjectId; 3], Option<(ObjectId, Vec<u8>)>>;

/// What a patch changes. `trees` were asked about the patch before.
pub(super) fn changes(trees: &mut Compare<'_>, step: &Step) -> Result<Changes, ObjectError> {
    Ok(trees.changes(&step.before, &step.after)?.map_or(Changes::Turned, Changes::Plain))
}

/// What each step changes, as it is `known` or as its trees say; nothing for one that is not carried, or could not be read.
pub(super) fn all_changes(
    objects: &dyn Objects,
    steps: &[Step],
    known: &Differences,
) -> Vec<Option<Changes>> {
    let known = |step: &Step| {
        let changes = known.get(&step.before, &step.after).filter(|_| step.role == Role::Carry)?;
        Some(Changes::Plain(changes.to_vec()))
    };
    let mut found: Vec<Option<Changes>> = steps.iter().map(known).collect();
    let open = steps.iter().zip(&found).enumerate();
    let open: Vec<usize> = open
        .filter(|(_, (step, known))| step.role == Role::Carry && known.is_none())
        .map(|(at, _)| at)
        .collect();
    if open.len() < FEW || objects.place().is_none() {
        return found;
    }
    let (next, read) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(open.len())));
    share(objects, &|objects| {
        loop {
            let from = next.fetch_add(ROW, Ordering::Relaxed);
            let Some(row) = open.get(from..open.len().min(from + ROW)).filter(|row| !row.is_empty()) else {
                return;
            };
            let mut trees = Compare::of(objects);
            for at in row {
                let Ok(changes) = changes(&mut trees, &steps[*at]) else { return };
                if let Ok(mut read) = read.lock() {
                    read.push((*at, changes));
                }
            }
        }
    });
    for (at, changes) in read.into_inner().unwrap_or_default() {
        found[at] = Some(changes);
    }
    found
}

/// The merges of one file, in order.
struct Chain {
    path: BString,
    ours: Entry,
    changes: Vec<(Entry, Entry)>,
}

/// The merges that the steps need on the stack whose files `at` gives, and whose tree is `tip`, but for those that are `known`.
pub(super) fn merges(
    objects: &dyn Objects,
    changes: &[Option<Changes>],
    tip: &ObjectId,
    known: &Merges,
    at: &mut dyn FnMut(&BStr) -> Result<Option<Entry>, ObjectError>,
) -> Result<Merges, ObjectError> {
    // What stands at a path, as far as that is known without a merge; then the place of its chain.
    let all = changes.iter().flatten().flat_map(|changes| match changes {
        Changes::Plain(changes) => changes.as_slice(),
        Changes::Turned => &[],
    });
    let mut now: HashMap<&BString, Result<Option<Entry>, usize>> =
        HashMap::with_capacity(all.clone().count());
    let mut chains: Vec<Chain> = Vec::new();
    for Change { path, old: base, new: theirs } in all {
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
            let _ = chain.follow(&scratch, tip, known, &mut own);
            if let Ok(mut made) = made.lock() {
                made.extend(own);
            }
        }
    });
    Ok(made.into_inner().unwrap_or_default())
}

impl Chain {
    fn follow(
        &self,
        objects: &dyn Objects,
        tip: &ObjectId,
        known: &Merges,
        made: &mut Merges,
    ) -> Result<(), ObjectError> {
        let path = self.path.as_bstr();
        let generated = objects.drivers().is_some_and(|d| d.generated(path));
        if generated || attributes::driver(objects, tip, path)? != Driver::Text {
            return Ok(());
        }
        let (mut ours, mut rest) = (self.ours, self.changes.as_slice());
        while !rest.is_empty() {
            rest = merge_some(objects, &mut ours, rest, known, made)?;
        }
        Ok(())
    }
}

/// Merges changes into `ours`, until the versions that were read are many. Returns the changes that are left.
fn merge_some<'c>(
    objects: &dyn Objects,
    ours: &mut Entry,
    changes: &'c [(Entry, Entry)],
    known: &Merges,
    made: &mut Merges,
) -> Result<&'c [(Entry, Entry)], ObjectError> {
    let (blobs, mut bytes) = (FrozenVec::<Arc<Vec<u8>>>::new(), 0);
    let mut series = Series::new(objects.as_of());
    // Of the last merge: what comes next has most of it.
    let mut last: [Option<(ObjectId, &[u8])>; 3] = [None; 3];
    for (at, (base, theirs)) in changes.iter().enumerate() {
        let sides = Sides { base: *base, ours: *ours, theirs: *theirs };
        if let Some(settled) = sides.settled() {
            *ours = settled;
            continue;
        }
        let ids = sides.map(|entry| entry.id);
        let Some(mode) = sides.map(|entry| entry.mode).settled() else { continue };
        if let Some(id) = ids.settled() {
            *ours = Entry { mode, id };
            continue;
        }
        if ![*base, *ours, *theirs].iter().all(Entry::is_file) {
            continue;
        }
        let key = [ids.base, ids.ours, ids.theirs];
        if let Some(known) = known.get(&key) {
            if let Some((id, data)) = known {
                objects.put_made(*id, data.clone(), None)?;
                *ours = Entry { mode, id: *id };
            }
            continue;
        }
        if bytes > AT_ONCE {
            return Ok(&changes[at..]);
        }
        let mut data = [&[][..]; 3];
        for (data, id) in data.iter_mut().zip(&key) {
            *data = match last.iter().flatten().find(|(known, _)| known == id) {
                Some((_, known)) => known,
                None => blobs.push_get(objects.blob(id)?),
            };
            bytes += data.len();
        }
        last = [0, 1, 2].map(|side| Some((key[side], data[side])));
        // A patch that conflicts is left out.
        let Content::Clean(data) = content::merge_next(&mut series, data) else {
            made.insert(key, None);
            continue;
        };
        let id = objects.put_blob(data.clone(), None)?;
        made.insert(key, Some((id, data)));
        *ours = Entry { mode, id };
    }
    Ok(&[])
}
