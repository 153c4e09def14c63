//! Folders that change again and again, kept open: each is changed where it lies, hashed from its first new byte on, and
//! kept as a difference to what it was. Nobody needs a folder's id before the last change is made: then the inner folders are
//! made before those that they are in, and what is to be done at one depth is done on all cores, folder beside folder. What a
//! large folder was after some steps is hashed beside what it was after others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::{BStr, BString};
use gix_hash::ObjectId;
use gix_hashtable::HashSet;

use super::cores::worth_starting;
use super::folder::{Changes, Folder};
use super::threads::begin_in;
use super::tree::{Entry, MODE_TREE};
use super::{ObjectError, delta};

pub use super::folder::Body;

/// When the steps of one folder are parted.
#[derive(Clone, Copy)]
struct Sharing {
    /// When the folder's bytes, for each step once, are as many.
    large: usize,
    /// So many steps are not parted.
    steps: usize,
}

/// Fewer steps are not worth a thread.
const FEW: usize = 16;

/// A chain of differences is as long: a share can as well begin with one.
const SHARING: Sharing = Sharing { large: 1 << 18, steps: delta::DEPTH + 1 };

/// A tree that was made.
pub struct Made {
    /// The step that made it, counted from the last time that was asked.
    pub step: usize,
    /// Its id.
    pub id: ObjectId,
    /// What is kept of it.
    pub body: Body,
}

/// What came of some steps.
#[derive(Default)]
pub struct Grown {
    /// The root after each step.
    pub roots: Vec<ObjectId>,
    /// The new trees, in the order in which they were made.
    pub trees: Trees,
}

/// New trees, step by step, and in their order in each. They are many and large: none is moved before it is taken.
#[derive(Default)]
pub struct Trees {
    /// Each in the order of its steps.
    sources: Vec<std::vec::IntoIter<Made>>,
    /// From which of them each is, and whether it was not there before.
    order: std::vec::IntoIter<(u32, bool)>,
}

impl Trees {
    /// What was made in so many steps. What is `known` is left out, and these are known then.
    fn by_step(sources: Vec<Vec<Made>>, steps: usize, known: &mut HashSet) -> Self {
        // A step that has not ended may have made some, too.
        let mut places = vec![0; steps + 2];
        sources.iter().flatten().for_each(|made| places[made.step + 1] += 1);
        for step in 1..places.len() {
            places[step] += places[step - 1];
        }
        let mut order = vec![(0, false); sources.iter().map(Vec::len).sum()];
        for (source, made) in (0..).zip(&sources) {
            for made in made {
                let place = &mut places[made.step];
                order[*place].0 = source;
                *place += 1;
            }
        }
        known.reserve(order.len());
        let mut open: Vec<_> = sources.iter().map(|made| made.iter()).collect();
        for (source, is_new) in &mut order {
            *is_new = open[*source as usize].next().is_some_and(|made| known.insert(made.id));
        }
        let sources = sources.into_iter().map(Vec::into_iter).collect();
        Self { sources, order: order.into_iter() }
    }
}

impl Iterator for Trees {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        loop {
            let (source, is_new) = self.order.next()?;
            let made = self.sources.get_mut(source as usize)?.next()?;
            if is_new {
                return Some(made);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.order.len()))
    }
}

/// The open folders under one root.
pub struct Grower {
    growing: RefCell<Growing>,
}

struct Growing {
    folders: Vec<Folder>,
    /// What happens to each folder, by step.
    waiting: Vec<Steps>,
    /// How many steps have ended since it was asked what came of them.
    ended: usize,
    known: HashSet,
    root: ObjectId,
    sharing: Sharing,
    /// What could not be made is gone, and so is all that stands on it.
    failed: Option<ObjectError>,
}

/// What happens to a folder in some steps.
type Steps = BTreeMap<usize, Changes>;

/// Some steps of a folder, to be made on one core.
struct Task {
    at: usize,
    folder: Folder,
    /// What comes before them.
    before: Changes,
    steps: Vec<(usize, Changes)>,
}

/// What came of a task.
struct Done {
    at: usize,
    folder: Folder,
    made: Vec<Made>,
}

impl Grower {
    /// Opens the root `id`, which has the bytes `raw`.
    pub fn open(id: ObjectId, raw: Arc<Vec<u8>>) -> Self {
        Self::open_for(id, raw, SHARING)
    }

    fn open_for(root: ObjectId, raw: Arc<Vec<u8>>, sharing: Sharing) -> Self {
        let (folders, waiting) = (vec![Folder::of(None, raw)], vec![Steps::new()]);
        let known = HashSet::default();
        let growing = Growing { folders, waiting, ended: 0, known, root, sharing, failed: None };
        Self { growing: RefCell::new(growing) }
    }

    /// Opens the folder `name` of the folder `parent`. Folders are counted from 0, the root.
    pub fn open_in(&self, parent: usize, name: &BStr, raw: Arc<Vec<u8>>) {
        let mut growing = self.growing.borrow_mut();
        growing.folders.push(Folder::of(Some((parent, name.into())), raw));
        growing.waiting.push(Steps::new());
    }

    /// Puts an entry at a name of a folder, or takes it away. The folder must keep one.
    pub fn set(&self, folder: usize, name: BString, entry: Option<Entry>) {
        let mut growing = self.growing.borrow_mut();
        let step = growing.ended;
        growing.waiting[folder].entry(step).or_default().push((name, entry));
    }

    /// Ends a step.
    pub fn end(&self) {
        self.growing.borrow_mut().ended += 1;
    }

    /// What came of the steps since this was asked last.
    pub fn tell(&self) -> Result<Grown, ObjectError> {
        let mut growing = self.growing.borrow_mut();
        if let Some(failed) = &growing.failed {
            return Err(failed.clone());
        }
        let grown = growing.grow();
        growing.failed = grown.as_ref().err().cloned();
        grown
    }
}

impl Growing {
    fn grow(&mut self) -> Result<Grown, ObjectError> {
        // A folder is opened after the one that it is in.
        let mut depths = vec![0; self.folders.len()];
        for at in 1..self.folders.len() {
            depths[at] = self.folders[at].parent.as_ref().map_or(0, |(parent, _)| depths[*parent] + 1);
        }
        let mut trees: Vec<Vec<Made>> = Vec::new();
        let mut roots: BTreeMap<usize, ObjectId> = BTreeMap::new();
        for depth in (0..=depths.iter().copied().max().unwrap_or(0)).rev() {
            let is_here = |at: &usize| depths[*at] == depth && !self.waiting[*at].is_empty();
            let level: Vec<usize> = (0..depths.len()).filter(is_here).collect();
            for Done { at, folder, made } in on_all_cores(self.tasks(&level), self.root.kind())? {
                match folder.parent.clone() {
                    Some((parent, name)) => {
                        for Made { step, id, .. } in &made {
                            let entry = Some(Entry { mode: MODE_TREE, id: *id });
                            self.waiting[parent].entry(*step).or_default().push((name.clone(), entry));
                        }
                    }
                    None => roots.extend(made.iter().map(|made| (made.step, made.id))),
                }
                // The last task of a folder has it as it is after all of its steps.
                self.folders[at] = folder;
                trees.push(made);
            }
        }
        // What differs from another was made in a step after it.
        let trees = Trees::by_step(trees, self.ended, &mut self.known);
        let after = |step| {
            self.root = roots.get(&step).copied().unwrap_or(self.root);
            self.root
        };
        let roots = (0..std::mem::take(&mut self.ended)).map(after).collect();
        Ok(Grown { roots, trees })
    }

    /// What is to be done to some folders. One that is done in parts is changed anew in each.
    fn tasks(&mut self, level: &[usize]) -> Vec<Task> {
        let mut tasks = Vec::with_capacity(level.len());
        for at in level.iter().copied() {
            let steps: Vec<(usize, Changes)> = std::mem::take(&mut self.waiting[at]).into_iter().collect();
            let folder = &mut self.folders[at];
            let share = match folder.raw.len().saturating_mul(steps.len()) < self.sharing.large {
                true => steps.len(),
                false => steps.len().div_ceil(worth_starting()).next_multiple_of(self.sharing.steps),
            };
            if share >= steps.len() {
                // It comes back when the task is done.
                let folder = std::mem::replace(folder, Folder::of(folder.parent.clone(), Arc::default()));
                tasks.push(Task { at, folder, before: Changes::new(), steps });
                continue;
            }
            for from in (0..steps.len()).step_by(share) {
                let before: Changes =
                    steps[..from].iter().flat_map(|(_, changes)| changes).cloned().collect();
                let part = steps[from..].iter().take(share).cloned().collect();
                tasks.push(Task { at, folder: folder.clone(), before, steps: part });
            }
        }
        tasks
    }
}

/// Does all tasks, each folder's in order; what came of them, in the same order.
fn on_all_cores(tasks: Vec<Task>, hash: gix_hash::Kind) -> Result<Vec<Done>, ObjectError> {
    let steps: usize = tasks.iter().map(|task| task.steps.len()).sum();
    let cores = if steps < FEW { 1 } else { worth_starting().min(tasks.len().max(1)) };
    let (mut shares, mut work): (Vec<Vec<(usize, Task)>>, _) =
        ((0..cores).map(|_| Vec::new()).collect(), vec![0; cores]);
    for (number, task) in tasks.into_iter().enumerate() {
        let least = (0..cores).min_by_key(|core| work[*core]).unwrap_or(0);
        work[least] += task.steps.len() * task.folder.raw.len();
        shares[least].push((number, task));
    }
    let do_all = |share: Vec<(usize, Task)>| -> Result<Vec<(usize, Done)>, ObjectError> {
        share.into_iter().map(|(number, task)| Ok((number, task.done(hash)?))).collect()
    };
    let mut done = std::thread::scope(|threads| {
        let own = shares.pop().unwrap_or_default();
        let others: Vec<_> =
            shares.into_iter().map(|share| begin_in(threads, move || do_all(share))).collect();
        let mut done = do_all(own)?;
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, ObjectError>(done)
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, done)| done).collect())
}

impl Task {
    fn done(self, hash: gix_hash::Kind) -> Result<Done, ObjectError> {
        let Self { at, mut folder, before, steps } = self;
        if !before.is_empty() {
            folder.change(before, hash)?;
            (folder.made, folder.whole) = (None, None);
        }
        let made = steps.into_iter().map(|(step, changes)| {
            let (id, body) = folder.make(changes, hash)?;
            Ok(Made { step, id, body })
        });
        let made = made.collect::<Result<Vec<Made>, ObjectError>>()?;
        Ok(Done { at, folder, made })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::odb::object_id;
    use gix_object::Kind;
    use proptest::prelude::*;

    const SHA1: gix_hash::Kind = gix_hash::Kind::Sha1;

    fn entry(n: u8, mode: u32) -> Entry {
        Entry { mode, id: ObjectId::from_bytes_or_panic(&[n; 20]) }
    }

    /// A tree's bytes of names and entries.
    fn raw(entries: &BTreeMap<BString, Entry>) -> Vec<u8> {
        let mut all: Vec<_> = entries.iter().collect();
        all.sort_by(|(a, x), (b, y)| {
            crate::store::tree::name_order(a.as_ref(), x.is_tree(), b.as_ref(), y.is_tree())
        });
        let mut out = Vec::new();
        all.into_iter().for_each(|(name, entry)| entry.write(name.as_ref(), &mut out));
        out
    }

    /// The bytes of trees that were made, each of which is what its id says.
    fn bytes_of(trees: Vec<Made>) -> Result<BTreeMap<ObjectId, Vec<u8>>, ObjectError> {
        let mut bytes: BTreeMap<ObjectId, Vec<u8>> = BTreeMap::new();
        for made in trees {
            let data = match made.body {
                Body::Whole(data) => data.to_vec(),
                Body::Delta { base, delta, .. } => {
                    delta::patched(&bytes[&base], &delta).expect("a difference")
                }
            };
            assert_eq!(object_id(SHA1, Kind::Tree, &data)?, made.id);
            bytes.insert(made.id, data);
        }
        Ok(bytes)
    }

    /// Asks what came of the steps, once more.
    fn add(grower: &Grower, roots: &mut Vec<ObjectId>, trees: &mut Vec<Made>) -> Result<(), ObjectError> {
        let grown = grower.tell()?;
        roots.extend(grown.roots);
        trees.extend(grown.trees);
        Ok(())
    }

    #[test]
    fn what_could_not_be_made_is_told_again_and_nothing_stands_on_it() {
        let broken = Arc::new(b"no tree at all".to_vec());
        let grower = Grower::open(ObjectId::from_bytes_or_panic(&[1; 20]), broken);
        for _ in 0..2 {
            grower.set(0, "a".into(), Some(entry(2, 0o100644)));
            grower.end();
            assert!(grower.tell().is_err());
        }
        assert!(grower.tell().is_err(), "with nothing more to do, too");
    }

    #[test]
    fn a_mode_that_a_very_old_program_wrote_is_written_as_git_writes_it() {
        let old = [b"040000 d\0".as_slice(), &[1; 20]].concat();
        let new = entry(2, MODE_TREE);
        let grower = Grower::open(object_id(SHA1, Kind::Tree, &old).expect("an id"), Arc::new(old));
        grower.set(0, "d".into(), Some(new));
        grower.end();
        let grown = grower.tell().expect("it is made");
        let bytes = bytes_of(grown.trees.collect()).expect("ids");
        assert_eq!(bytes[&grown.roots[0]], raw(&BTreeMap::from([("d".into(), new)])));
    }

    #[test]
    fn a_folder_is_kept_whole_once_however_often_it_changes() {
        let name = |n: u16| BString::from(format!("folder {n:04}"));
        let mut entries: BTreeMap<BString, Entry> =
            (0..300).map(|n| (name(n), entry(1, MODE_TREE))).collect();
        let start = raw(&entries);
        for (large, most) in [(usize::MAX, 1), (0, crate::store::cores())] {
            let sharing = Sharing { large, ..SHARING };
            let id = object_id(SHA1, Kind::Tree, &start).expect("an id");
            let grower = Grower::open_for(id, Arc::new(start.clone()), sharing);
            let mut roots = Vec::new();
            for n in 0..3 * SHARING.steps as u16 {
                let new = entry((large as u8).wrapping_add(n as u8), MODE_TREE);
                entries.insert(name(n % 300), new);
                grower.set(0, name(n % 300), Some(new));
                grower.end();
                roots.push(raw(&entries));
            }
            let grown = grower.tell().expect("all is made");
            let trees: Vec<Made> = grown.trees.collect();
            let wholes = trees.iter().filter(|made| matches!(made.body, Body::Whole(_))).count();
            assert!((1..=most).contains(&wholes), "{wholes} are whole");
            let bytes = bytes_of(trees).expect("ids");
            let made: Vec<&Vec<u8>> = grown.roots.iter().map(|id| &bytes[id]).collect();
            assert!(made == roots.iter().collect::<Vec<_>>());
            entries = (0..300).map(|n| (name(n), entry(1, MODE_TREE))).collect();
        }
    }

    proptest! {
        #[test]
        fn folders_in_folders_are_what_git_would_make_of_the_files(
            large in prop_oneof![Just(0), Just(2000), Just(usize::MAX)], asked in 0usize..40,
            steps in proptest::collection::vec(
                proptest::collection::vec((0usize..5, 0usize..9, 1u8..4), 0..4), 1..60),
        ) {
            // Each folder is in the one that is named.
            const FOLDERS: [(&str, usize); 5] = [("", 0), ("a", 0), ("b", 0), ("c", 1), ("d", 3)];
            let file = |n: usize| BString::from(format!("file {n}"));
            let mut files: Vec<BTreeMap<BString, Entry>> =
                vec![(0..9).map(|n| (file(n), entry(9, 0o100644))).collect(); FOLDERS.len()];
            let trees_of = |files: &[BTreeMap<BString, Entry>]| {
                let (mut all, mut made) = (files.to_vec(), vec![Vec::new(); files.len()]);
                for (at, (name, parent)) in FOLDERS.iter().enumerate().rev() {
                    made[at] = raw(&all[at]);
                    if at > 0 {
                        let id = object_id(SHA1, Kind::Tree, &made[at]).expect("an id");
                        all[*parent].insert((*name).into(), Entry { mode: MODE_TREE, id });
                    }
                }
                made
            };
            let start = trees_of(&files);
            let sharing = Sharing { large, steps: 3 };
            let root = object_id(SHA1, Kind::Tree, &start[0])?;
            let grower = Grower::open_for(root, Arc::new(start[0].clone()), sharing);
            for (at, (name, parent)) in FOLDERS.iter().enumerate().skip(1) {
                grower.open_in(*parent, (*name).into(), Arc::new(start[at].clone()));
            }
            let (mut expected, mut roots, mut trees) = (Vec::new(), Vec::new(), Vec::new());
            for (n, step) in steps.iter().enumerate() {
                if n == asked {
                    add(&grower, &mut roots, &mut trees)?;
                }
                for (folder, n, byte) in step {
                    let new = entry(*byte, 0o100644);
                    files[*folder].insert(file(*n), new);
                    grower.set(*folder, file(*n), Some(new));
                }
                grower.end();
                expected.push(trees_of(&files));
            }
            add(&grower, &mut roots, &mut trees)?;
            let kept = bytes_of(trees)?;
            let mut last = start;
            for (root, trees) in roots.iter().zip(&expected) {
                prop_assert_eq!(*root, object_id(SHA1, Kind::Tree, &trees[0])?);
                for (now, was) in trees.iter().zip(&last).filter(|(now, was)| now != was) {
                    let id = object_id(SHA1, Kind::Tree, now)?;
                    prop_assert_eq!(Some(now), kept.get(&id), "it was {} bytes", was.len());
                }
                last.clone_from(trees);
            }
            prop_assert_eq!(roots.len(), expected.len());
        }

        #[test]
        fn trees_that_grow_have_the_ids_and_bytes_of_trees_made_anew(
            first in 1usize..400, large in prop_oneof![Just(0), Just(4000), Just(usize::MAX)], asked in 0usize..50,
            steps in proptest::collection::vec(proptest::collection::vec(
                (0usize..420, any::<u8>(), prop_oneof![3 => Just(0o100644), 1 => Just(0o100755), 1 => Just(MODE_TREE), 1 => Just(0)]), 0..4), 1..40),
        ) {
            let name = |n: usize| BString::from(format!("name {n:03}{}", "-x".repeat(n % 3)));
            let mut entries: BTreeMap<BString, Entry> =
                (0..first).map(|n| (name(n), entry(1, 0o100644))).collect();
            entries.insert("~".into(), entry(0, 0o100644));
            let start = raw(&entries);
            let sharing = Sharing { large, steps: 3 };
            let grower = Grower::open_for(object_id(SHA1, Kind::Tree, &start)?, Arc::new(start), sharing);
            let (mut expected, mut roots, mut trees) = (Vec::new(), Vec::new(), Vec::new());
            for (n, step) in steps.iter().enumerate() {
                if n == asked {
                    add(&grower, &mut roots, &mut trees)?;
                }
                for (n, byte, mode) in step {
                    let new = (*mode != 0).then(|| entry(*byte, *mode));
                    match new {
                        Some(new) => drop(entries.insert(name(*n), new)),
                        None => drop(entries.remove(&name(*n))),
                    }
                    grower.set(0, name(*n), new);
                }
                grower.end();
                expected.push(raw(&entries));
            }
            add(&grower, &mut roots, &mut trees)?;
            bytes_of(trees)?;
            let ids: Result<Vec<_>, _> = expected.iter().map(|raw| object_id(SHA1, Kind::Tree, raw)).collect();
            prop_assert_eq!(roots, ids?);
        }
    }
}
