//! Folders that change again and again, kept open: each is changed where it lies, hashed from its first new byte on, and
//! kept as a difference to what it was. All that is done on a thread of its own, as nobody needs a folder's id before
//! the last change is made. A large root waits for that: what it was after one step is hashed beside what it was after others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use bstr::{BStr, BString};
use gix_hash::ObjectId;
use gix_hashtable::HashSet;

use super::folder::{Changes, Folder};
use super::tree::{Entry, MODE_TREE};
use super::{ObjectError, delta};

pub use super::folder::Body;

/// What of the root is done on all cores.
#[derive(Clone, Copy)]
struct Sharing {
    /// A root with as many bytes waits until it is asked for.
    large: usize,
    /// So many steps are not parted.
    steps: usize,
}

/// A chain of differences is as long: a share can as well begin with one.
const SHARING: Sharing = Sharing { large: 32 << 10, steps: delta::DEPTH + 1 };

/// Something that is done to the folders, in order.
enum Act {
    /// Folder number so-and-so, counted from 0, the root: where it lies, and its bytes.
    Open { parent: Option<(usize, BString)>, raw: Arc<Vec<u8>> },
    /// A name of a folder gets another entry, or none.
    Set { folder: usize, name: BString, entry: Option<Entry> },
    /// A step ends.
    End,
    /// What came of the steps is asked for.
    Tell(Sender<Result<Grown, ObjectError>>),
}

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
    pub trees: Vec<Made>,
}

/// The open folders under one root.
pub struct Grower {
    acts: Sender<Act>,
}

impl Grower {
    /// Opens the root `id`, which has the bytes `raw`.
    pub fn open(id: ObjectId, raw: Arc<Vec<u8>>) -> Self {
        Self::open_for(id, raw, SHARING)
    }

    fn open_for(id: ObjectId, raw: Arc<Vec<u8>>, sharing: Sharing) -> Self {
        let (acts, todo) = channel();
        std::thread::spawn(move || {
            let mut growing = Growing { root: id, sharing, ..Growing::default() };
            for act in todo {
                growing.act(act);
            }
        });
        let grower = Self { acts };
        grower.send(Act::Open { parent: None, raw });
        grower
    }

    fn send(&self, act: Act) {
        // The thread lasts as long as its sender: what it cannot do it tells when it is asked.
        let _ = self.acts.send(act);
    }

    /// Opens the folder `name` of the folder `parent`. Folders are counted from 0, the root.
    pub fn open_in(&self, parent: usize, name: &BStr, raw: Arc<Vec<u8>>) {
        self.send(Act::Open { parent: Some((parent, name.into())), raw });
    }

    /// Puts an entry at a name of a folder, or takes it away. The folder must keep one.
    pub fn set(&self, folder: usize, name: BString, entry: Option<Entry>) {
        self.send(Act::Set { folder, name, entry });
    }

    /// Ends a step.
    pub fn end(&self) {
        self.send(Act::End);
    }

    /// What came of the steps since this was asked last.
    pub fn tell(&self) -> Result<Grown, ObjectError> {
        let (tell, told) = channel();
        self.send(Act::Tell(tell));
        let gone = |_| ObjectError {
            id: gix_hash::Kind::Sha1.null(),
            reason: "the thread that makes trees is gone".into(),
        };
        told.recv().map_err(gone)?
    }
}

struct Growing {
    folders: Vec<Folder>,
    open: BTreeMap<usize, Changes>,
    known: HashSet,
    root: ObjectId,
    /// What happens to a large root, and in which step.
    waiting: Vec<(usize, Changes)>,
    sharing: Sharing,
    grown: Grown,
    failed: Option<ObjectError>,
}

impl Default for Growing {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            open: BTreeMap::new(),
            known: HashSet::default(),
            root: gix_hash::Kind::Sha1.null(),
            waiting: Vec::new(),
            sharing: SHARING,
            grown: Grown::default(),
            failed: None,
        }
    }
}

impl Growing {
    fn act(&mut self, act: Act) {
        match act {
            Act::Open { parent, raw } => {
                self.folders.push(Folder::of(parent, raw));
            }
            Act::Set { folder, name, entry } => self.open.entry(folder).or_default().push((name, entry)),
            Act::End => {
                if let Err(error) = self.end() {
                    self.failed.get_or_insert(error);
                }
                self.grown.roots.push(self.root);
            }
            Act::Tell(tell) => {
                if let Err(error) = self.catch_up() {
                    self.failed.get_or_insert(error);
                }
                let grown = std::mem::take(&mut self.grown);
                // Who asked may have given up.
                let _ = tell.send(self.failed.clone().map_or(Ok(grown), Err));
            }
        }
    }

    /// Makes the folders that changed, the inner ones first: a folder is opened after the one that it is in.
    fn end(&mut self) -> Result<(), ObjectError> {
        let (step, hash) = (self.grown.roots.len(), self.root.kind());
        while let Some((at, changes)) = self.open.pop_last() {
            let Some(folder) = self.folders.get_mut(at) else { continue };
            if at == 0 && (folder.raw.len() >= self.sharing.large || !self.waiting.is_empty()) {
                self.waiting.push((step, changes));
                continue;
            }
            let was = folder.made;
            let (id, body) = folder.make(changes, hash)?;
            if self.known.insert(id) {
                self.grown.trees.push(Made { step, id, body });
            } else {
                folder.made = was.filter(|(made, _)| *made == id);
            }
            match folder.parent.clone() {
                Some((parent, name)) => {
                    self.open.entry(parent).or_default().push((name, Some(Entry { mode: MODE_TREE, id })));
                }
                None => self.root = id,
            }
        }
        Ok(())
    }

    /// Makes what the root was after each step, on all cores.
    fn catch_up(&mut self) -> Result<(), ObjectError> {
        let (waiting, hash) = (std::mem::take(&mut self.waiting), self.root.kind());
        let Some(root) = self.folders.first_mut().filter(|_| !waiting.is_empty()) else { return Ok(()) };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = waiting.len().div_ceil(cores).next_multiple_of(self.sharing.steps);
        let made = std::thread::scope(|threads| {
            let mut shares = waiting.chunks(share).enumerate();
            let first = shares.next().map(|(_, share)| share).unwrap_or_default();
            let begin = || root.clone();
            let others: Vec<_> = shares
                .map(|(n, steps)| (begin(), &waiting[..n * share], steps))
                .map(|(mut folder, before, steps)| {
                    threads.spawn(move || {
                        let before = before.iter().flat_map(|(_, changes)| changes.iter().cloned());
                        folder.change(before.collect(), hash)?;
                        (folder.made, folder.whole) = (None, None);
                        Ok((make_all(&mut folder, steps, hash)?, folder))
                    })
                })
                .collect();
            let mut made = make_all(root, first, hash)?;
            for other in others {
                let (more, last) = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                made.extend(more);
                *root = last;
            }
            Ok(made)
        })?;
        let (mut made, first) = (made.into_iter().peekable(), waiting[0].0);
        for (step, known) in self.grown.roots.iter_mut().enumerate().skip(first) {
            if let Some(tree) = made.next_if(|tree| tree.step == step) {
                self.root = tree.id;
                if self.known.insert(tree.id) {
                    self.grown.trees.push(tree);
                }
            }
            *known = self.root;
        }
        self.grown.trees.sort_by_key(|tree| tree.step);
        Ok(())
    }
}

/// What a folder is after each of some steps.
fn make_all(
    folder: &mut Folder,
    steps: &[(usize, Changes)],
    hash: gix_hash::Kind,
) -> Result<Vec<Made>, ObjectError> {
    let made = |(step, changes): &(usize, Changes)| {
        let (id, body) = folder.make(changes.clone(), hash)?;
        Ok(Made { step: *step, id, body })
    };
    steps.iter().map(made).collect()
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

    #[test]
    fn a_folder_is_kept_whole_once_however_often_it_changes() {
        let name = |n: u16| BString::from(format!("folder {n:04}"));
        let mut entries: BTreeMap<BString, Entry> =
            (0..300).map(|n| (name(n), entry(1, MODE_TREE))).collect();
        let start = raw(&entries);
        for (large, most) in
            [(usize::MAX, 1), (0, std::thread::available_parallelism().map_or(1, usize::from))]
        {
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
            let wholes = grown.trees.iter().filter(|made| matches!(made.body, Body::Whole(_))).count();
            assert!((1..=most).contains(&wholes), "{wholes} are whole");
            let bytes = bytes_of(grown.trees).expect("ids");
            let made: Vec<&Vec<u8>> = grown.roots.iter().map(|id| &bytes[id]).collect();
            assert!(made == roots.iter().collect::<Vec<_>>());
            entries = (0..300).map(|n| (name(n), entry(1, MODE_TREE))).collect();
        }
    }

    proptest! {
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
                    let grown = grower.tell()?;
                    roots.extend(grown.roots);
                    trees.extend(grown.trees);
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
            let grown = grower.tell()?;
            roots.extend(grown.roots);
            trees.extend(grown.trees);
            bytes_of(trees)?;
            let ids: Result<Vec<_>, _> = expected.iter().map(|raw| object_id(SHA1, Kind::Tree, raw)).collect();
            prop_assert_eq!(roots, ids?);
        }
    }
}
