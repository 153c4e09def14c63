//! Reads from a repository's object database, with new objects kept in memory until they are flushed as one pack.

use std::cell::RefCell;
use std::collections::{self, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::HashMap;
use gix_object::{Exists, Find, Kind};

use super::deltas::Deltas;
use super::promised::{Promised, not_had};
use super::{Commit, Drivers, GitVersion, ObjectError, Objects, Over, StoreError, delta, grow, pack};

/// Bytes of objects that are kept of what the library reads: lent ones, and those that stand on others in no usual way.
const BASES: usize = 4 << 20;
/// Bytes of whole objects that it keeps.
const RECENT: usize = 1 << 20;
/// Bytes of new objects that are kept whole beside their differences.
const WHOLE: usize = 4 << 20;

/// So many numbers of pairs are remembered: thousands of files that came, each held against thousands that went, are millions.
const NUMBERS: usize = 1 << 17;

/// How often an object is looked for before it counts as missing. Where another thread has opened the last index between
/// two steps of a look, the library (gix-odb 0.87, `load_one_index`) takes it for no news and finds nothing; the next look
/// begins with that index.
const LOOKS: usize = 2;

/// A repository's objects, and the new ones that are not written yet.
pub struct Odb {
    folder: PathBuf,
    hash: gix_hash::Kind,
    written: gix_odb::HandleArc,
    /// Kept from read to read: fresh memory costs more than the reading.
    buffer: RefCell<Vec<u8>>,
    new: RefCell<New>,
    /// What was worked out of pairs of objects.
    numbers: RefCell<collections::HashMap<[ObjectId; 2], u64>>,
    /// What the packs store, once that is asked for.
    deltas: RefCell<Option<Deltas>>,
    promised: Arc<Promised>,
    drivers: Option<Arc<Drivers>>,
    as_of: GitVersion,
}

/// A repository's objects, to read what is written on another thread.
pub struct Place {
    folder: PathBuf,
    hash: gix_hash::Kind,
    written: gix_odb::HandleArc,
    deltas: Deltas,
    promised: Arc<Promised>,
    drivers: Option<Arc<Drivers>>,
    as_of: GitVersion,
}

impl Place {
    /// The objects, by a view of its own that keeps less in memory.
    pub fn open(self) -> Odb {
        let odb = Odb::of(self.folder, self.hash, self.written, self.promised, (BASES / 2, RECENT / 2));
        odb.deltas.replace(Some(self.deltas));
        odb.with_drivers(self.drivers).as_git(self.as_of)
    }
}

/// Objects in memory, in the order in which they were made.
///
/// A large folder is made anew by every patch that changes something in it: most are kept as differences, and only the
/// last ones whole.
#[derive(Default)]
struct New {
    order: Vec<Made>,
    places: HashMap<ObjectId, usize>,
    /// The last ones that are kept as differences, and their bytes in all.
    whole: HashMap<ObjectId, Arc<Vec<u8>>>,
    oldest: VecDeque<ObjectId>,
    bytes: usize,
}

/// A new object.
struct Made {
    id: ObjectId,
    kind: Kind,
    body: Body,
}

enum Body {
    Whole(Arc<Vec<u8>>),
    /// A difference to an earlier one, and how many differences it stands on.
    Delta {
        base: usize,
        depth: usize,
        delta: Box<[u8]>,
    },
}

impl New {
    fn add(&mut self, id: ObjectId, kind: Kind, data: Vec<u8>, like: Option<&ObjectId>) {
        let at = self.order.len();
        let base = like.and_then(|like| self.places.get(like)).copied();
        let delta = base.filter(|base| self.order[*base].kind == kind).and_then(|base| {
            let depth = match self.order[base].body {
                Body::Whole(_) => 1,
                Body::Delta { depth, .. } => depth + 1,
            };
            let old = self.data(base).filter(|_| depth <= delta::DEPTH)?;
            let delta = delta::delta(&old, &data);
            (delta.len() < data.len() / 2).then_some((base, depth, delta))
        });
        let data: Arc<Vec<u8>> = data.into();
        let body = match delta {
            Some((base, depth, delta)) => {
                self.keep_whole(id, data);
                Body::Delta { base, depth, delta: delta.into() }
            }
            None => Body::Whole(data),
        };
        self.order.push(Made { id, kind, body });
        self.places.insert(id, at);
    }

    /// Takes trees in where their steps end; every place after them moves.
    fn adopt(&mut self, trees: Vec<grow::Made>, marks: &mut [usize]) -> Result<(), ObjectError> {
        let there = |order: &[Made], places: &HashMap<ObjectId, usize>, id: &ObjectId| {
            places.get(id).copied().filter(|at| order.get(*at).is_some_and(|made| made.id == *id))
        };
        let mut old = std::mem::take(&mut self.order).into_iter();
        let (mut moved, mut taken) = (Vec::with_capacity(old.len()), 0);
        let mut trees = trees.into_iter().peekable();
        let mut order: Vec<Made> = Vec::with_capacity(old.len() + trees.len());
        let mut move_up_to = |mark: usize, order: &mut Vec<Made>, places: &mut HashMap<ObjectId, usize>| {
            while taken < mark
                && let Some(mut made) = old.next()
            {
                if let Body::Delta { base, .. } = &mut made.body {
                    *base = moved[*base];
                }
                taken += 1;
                if let Some(at) = there(order, places, &made.id) {
                    moved.push(at);
                    continue;
                }
                moved.push(order.len());
                places.insert(made.id, order.len());
                order.push(made);
            }
        };
        for (step, mark) in marks.iter_mut().enumerate() {
            move_up_to(*mark, &mut order, &mut self.places);
            while let Some(made) = trees.next_if(|made| made.step <= step) {
                if there(&order, &self.places, &made.id).is_some() {
                    continue;
                }
                let body = match made.body {
                    grow::Body::Whole(data) => Body::Whole(data),
                    grow::Body::Delta { base, depth, delta } => {
                        let missing =
                            || ObjectError { id: base, reason: "it was made, and is not here".into() };
                        let base = there(&order, &self.places, &base).ok_or_else(missing)?;
                        Body::Delta { base, depth, delta: delta.into() }
                    }
                };
                self.places.insert(made.id, order.len());
                order.push(Made { id: made.id, kind: Kind::Tree, body });
            }
            *mark = order.len();
        }
        move_up_to(usize::MAX, &mut order, &mut self.places);
        self.order = order;
        Ok(())
    }

    fn keep_whole(&mut self, id: ObjectId, data: Arc<Vec<u8>>) {
        self.bytes += data.len();
        self.oldest.push_back(id);
        self.whole.insert(id, data);
        while self.bytes > WHOLE && self.oldest.len() > 1 {
            let Some(old) = self.oldest.pop_front().and_then(|old| self.whole.remove(&old)) else { continue };
            self.bytes -= old.len();
        }
    }

    /// The content of one.
    fn data(&self, at: usize) -> Option<Arc<Vec<u8>>> {
        let made = self.order.get(at)?;
        match &made.body {
            Body::Whole(data) => Some(data.clone()),
            Body::Delta { .. } if self.whole.contains_key(&made.id) => self.whole.get(&made.id).cloned(),
            Body::Delta { base, delta, .. } => Some(delta::patched(&self.data(*base)?, delta)?.into()),
        }
    }

    fn get(&mut self, id: &ObjectId) -> Option<Arc<Vec<u8>>> {
        let at = *self.places.get(id)?;
        let data = self.data(at)?;
        if matches!(self.order[at].body, Body::Delta { .. }) && !self.whole.contains_key(id) {
            self.keep_whole(*id, data.clone());
        }
        Some(data)
    }
}

impl Odb {
    /// Opens the bare store at `path`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |reason: String| StoreError::Open { path: path.to_owned(), reason };
        let folder = path.join("objects");
        if !folder.is_dir() {
            return Err(failed("it has no folder 'objects'".into()));
        }
        let hash = super::repo::hash(path);
        let written = gix_odb::at(&folder, hash).map_err(|e| failed(e.to_string()))?;
        let written = written.into_arc().map_err(|e| failed(e.to_string()))?;
        Ok(Self::of(folder, hash, written, Arc::new(Promised::of(path)), (BASES, RECENT)))
    }

    /// The objects in a folder; so many bytes of what is read are kept.
    fn of(
        folder: PathBuf,
        hash: gix_hash::Kind,
        mut written: gix_odb::HandleArc,
        promised: Arc<Promised>,
        (bases, recent): (usize, usize),
    ) -> Self {
        written.set_pack_cache(move || Box::new(gix_pack::cache::lru::MemoryCappedHashmap::new(bases)));
        written.set_object_cache(move || Box::new(gix_pack::cache::object::MemoryCappedHashmap::new(recent)));
        let (buffer, new, deltas) = (RefCell::default(), RefCell::default(), RefCell::default());
        let numbers = RefCell::default();
        let (drivers, as_of) = (None, GitVersion::NEWEST);
        Self { folder, hash, written, buffer, new, numbers, deltas, promised, drivers, as_of }
    }

    /// The same, with the merge of a certain git.
    pub fn as_git(mut self, as_of: GitVersion) -> Self {
        self.as_of = as_of;
        self
    }

    /// The same, with drivers for merges.
    pub fn with_drivers(mut self, drivers: Option<Arc<Drivers>>) -> Self {
        self.drivers = drivers;
        self
    }

    /// Writes all new objects as one pack; returns how many there were. Nothing refers to them yet, so a
    /// run that is killed here has changed nothing.
    pub fn flush(&self) -> Result<usize, StoreError> {
        let new = std::mem::take(&mut *self.new.borrow_mut());
        if new.order.is_empty() {
            return Ok(0);
        }
        let items: Vec<pack::Item<'_>> = new
            .order
            .iter()
            .map(|Made { id, kind, body }| {
                let body = match body {
                    Body::Whole(data) => pack::Body::Whole(data),
                    Body::Delta { base, delta, .. } => pack::Body::Delta(*base, delta),
                };
                pack::Item { id: *id, kind: *kind, body }
            })
            .collect();
        let failed =
            |e: std::io::Error| StoreError::Write { path: self.folder.clone(), reason: e.to_string() };
        let index = pack::write(&items, &self.folder.join("pack")).map_err(failed)?;
        if let Some(deltas) = self.deltas.borrow_mut().as_mut() {
            deltas.add(&index);
        }
        Ok(new.order.len())
    }

    /// Forgets the new objects that were made since `mark`, unless they were flushed.
    pub fn rewind(&self, mark: usize) {
        let mut new = self.new.borrow_mut();
        let from = mark.min(new.order.len());
        for made in new.order.split_off(from) {
            new.places.remove(&made.id);
            if let Some(data) = new.whole.remove(&made.id) {
                new.bytes -= data.len();
                new.oldest.retain(|id| *id != made.id);
            }
        }
    }

    /// The commit `id`.
    pub fn commit(&self, id: &ObjectId) -> Result<Commit, ObjectError> {
        let raw = self.read(id, Kind::Commit)?;
        Commit::parse(&raw).map_err(|what| ObjectError { id: *id, reason: format!("a commit with {what}") })
    }

    /// Keeps a commit in memory and returns its id.
    pub fn put_commit(&self, commit: &Commit) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Commit, commit.raw(), None)
    }

    /// Is the object here, of whatever kind?
    pub fn has(&self, id: &ObjectId) -> bool {
        self.new.borrow().places.contains_key(id)
            || id.kind() == self.hash && (0..LOOKS).any(|_| self.written.exists(id))
    }

    fn read(&self, id: &ObjectId, kind: Kind) -> Result<Arc<Vec<u8>>, ObjectError> {
        if let Some(data) = self.new.borrow_mut().get(id) {
            return Ok(data);
        }
        let failed = |reason: String| ObjectError { id: *id, reason };
        if id.kind() != self.hash {
            return Err(failed(format!("the store's ids are of another kind ({})", self.hash)));
        }
        let mut deltas = self.deltas.borrow_mut();
        match deltas.get_or_insert_with(|| Deltas::of(&self.folder, self.hash)).whole(id) {
            Some((found, data)) if found == kind => return Ok(data),
            Some((found, _)) => return Err(failed(format!("it is a {found}, not a {kind}"))),
            None => {}
        }
        if let Some(data) = self.found(id, kind)? {
            return Ok(data);
        }
        if kind == Kind::Blob && self.promised.is_partial() {
            self.promised.bring(std::slice::from_ref(id)).map_err(|e| not_had(id, &e))?;
            if let Some(data) = self.found(id, kind)? {
                return Ok(data);
            }
        }
        Err(failed("it is not in the store".into()))
    }

    /// What the library finds.
    fn found(&self, id: &ObjectId, kind: Kind) -> Result<Option<Arc<Vec<u8>>>, ObjectError> {
        let failed = |reason: String| ObjectError { id: *id, reason };
        let mut buffer = self.buffer.borrow_mut();
        for _ in 0..LOOKS {
            return match self.written.try_find(id, &mut buffer) {
                Ok(Some(object)) if object.kind == kind => Ok(Some(Arc::new(object.data.to_vec()))),
                Ok(Some(object)) => Err(failed(format!("it is a {}, not a {kind}", object.kind))),
                Ok(None) => continue,
                Err(e) => Err(failed(e.to_string())),
            };
        }
        Ok(None)
    }

    fn put(&self, kind: Kind, data: Vec<u8>, like: Option<&ObjectId>) -> Result<ObjectId, ObjectError> {
        let id = object_id(self.hash, kind, &data)?;
        let mut new = self.new.borrow_mut();
        if !new.places.contains_key(&id) {
            new.add(id, kind, data, like);
        }
        Ok(id)
    }
}

/// The id of an object of this content.
pub(super) fn object_id(hash: gix_hash::Kind, kind: Kind, data: &[u8]) -> Result<ObjectId, ObjectError> {
    // It only fails on bytes made to collide.
    gix_object::compute_hash(hash, kind, data)
        .map_err(|e| ObjectError { id: hash.null(), reason: e.to_string() })
}

impl Objects for Odb {
    fn hash(&self) -> gix_hash::Kind {
        self.hash
    }

    fn tree(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        self.read(id, Kind::Tree)
    }

    fn blob(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        self.read(id, Kind::Blob)
    }

    fn put_tree(&self, raw: Vec<u8>, like: Option<&ObjectId>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Tree, raw, like)
    }

    fn put_blob(&self, data: Vec<u8>, like: Option<&ObjectId>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Blob, data, like)
    }

    fn put_made(&self, id: ObjectId, data: Vec<u8>, like: Option<&ObjectId>) -> Result<(), ObjectError> {
        let mut new = self.new.borrow_mut();
        if !new.places.contains_key(&id) {
            new.add(id, Kind::Blob, data, like);
        }
        Ok(())
    }

    fn over(&self, old: &ObjectId, new: &ObjectId) -> Option<Over> {
        let mut deltas = self.deltas.borrow_mut();
        let deltas = deltas.get_or_insert_with(|| Deltas::of(&self.folder, self.hash));
        let (back, delta) = deltas.between(old, new)?;
        Some(Over { back, bytes: delta::over(&delta)? })
    }

    fn place(&self) -> Option<Place> {
        let mut deltas = self.deltas.borrow_mut();
        let deltas = deltas.get_or_insert_with(|| Deltas::of(&self.folder, self.hash)).again();
        let (folder, hash, written) = (self.folder.clone(), self.hash, self.written.clone());
        let (promised, drivers) = (self.promised.clone(), self.drivers.clone());
        Some(Place { folder, hash, written, deltas, promised, drivers, as_of: self.as_of })
    }

    fn is_partial(&self) -> bool {
        self.promised.is_partial()
    }

    fn bring(&self, ids: &[ObjectId]) -> Result<(), ObjectError> {
        if !self.promised.is_partial() {
            return Ok(());
        }
        let mut lacking: Vec<ObjectId> = ids.iter().filter(|id| !Self::has(self, id)).copied().collect();
        lacking.sort_unstable();
        lacking.dedup();
        let Some(first) = lacking.first() else { return Ok(()) };
        self.promised.bring(&lacking).map_err(|e| not_had(first, &e))
    }

    fn has(&self, id: &ObjectId) -> bool {
        Self::has(self, id)
    }

    fn adopt(&self, trees: Vec<grow::Made>, marks: &mut [usize]) -> Result<(), ObjectError> {
        self.new.borrow_mut().adopt(trees, marks)
    }

    fn write_out(&self) -> Result<(), ObjectError> {
        let failed = |e: StoreError| ObjectError { id: self.hash.null(), reason: e.to_string() };
        self.flush().map(drop).map_err(failed)
    }

    fn drivers(&self) -> Option<&Drivers> {
        self.drivers.as_deref()
    }

    fn recall(&self, pair: &[ObjectId; 2]) -> Option<u64> {
        self.numbers.borrow().get(pair).copied()
    }

    fn remember(&self, pair: [ObjectId; 2], number: u64) {
        let mut numbers = self.numbers.borrow_mut();
        if numbers.len() < NUMBERS {
            numbers.insert(pair, number);
        }
    }

    fn as_of(&self) -> GitVersion {
        self.as_of
    }

    fn mark(&self) -> usize {
        self.new.borrow().order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_pairs_has_an_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let odb = super::super::Repo::open_or_create(dir.path(), None, None).and_then(|repo| repo.odb());
        let odb = odb.expect("it opens");
        let pair = |n: usize| [object_id(odb.hash(), Kind::Blob, &n.to_be_bytes()).expect("an id"); 2];
        (0..=NUMBERS).for_each(|n| odb.remember(pair(n), n as u64));
        let (last, more) = (odb.recall(&pair(NUMBERS - 1)), odb.recall(&pair(NUMBERS)));
        assert_eq!((last, more), (Some(NUMBERS as u64 - 1), None));
    }
}
