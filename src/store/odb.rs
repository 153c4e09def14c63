//! Reads from a repository's object database, with new objects kept in memory until they are flushed as one pack.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_object::{Exists, Find, FindHeader as _, Kind};

use super::deltas::Deltas;
use super::fresh::{New, Unwritten};
use super::promised::{Promised, not_had};
use super::{Commit, Drivers, GitVersion, ObjectError, Objects, Over, StoreError, delta, grow};

/// Bytes of objects that are kept of what the library reads: lent ones, and those that stand on others in no usual way.
const BASES: usize = 4 << 20;
/// Bytes of whole objects that it keeps.
const RECENT: usize = 1 << 20;
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
    /// What is being written.
    handed: RefCell<Vec<New>>,
    /// What was worked out of pairs of objects.
    numbers: RefCell<HashMap<[ObjectId; 2], u64>>,
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
    handed: Vec<New>,
    deltas: Deltas,
    promised: Arc<Promised>,
    drivers: Option<Arc<Drivers>>,
    as_of: GitVersion,
}

impl Place {
    /// The objects, by a view of its own that keeps less in memory.
    pub fn open(self) -> Odb {
        let odb = Odb::of(self.folder, self.hash, self.written, self.promised, (BASES / 2, RECENT / 2));
        odb.handed.replace(self.handed);
        odb.deltas.replace(Some(self.deltas));
        odb.with_drivers(self.drivers).as_git(self.as_of)
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
        let (buffer, new, handed) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (deltas, numbers) = (RefCell::default(), RefCell::default());
        let (drivers, as_of) = (None, GitVersion::NEWEST);
        Self { folder, hash, written, buffer, new, handed, numbers, deltas, promised, drivers, as_of }
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
        let count = new.len();
        let unwritten = Unwritten::to(self.folder.clone(), new);
        if let (Some(index), Some(deltas)) = (unwritten.write()?, self.deltas.borrow_mut().as_mut()) {
            deltas.add(&index);
        }
        Ok(count)
    }

    /// All new objects, to be written as one pack beside other work. They can be read here and by views that are opened from
    /// now on, but by nobody else until they are written.
    pub fn hand_over(&self) -> Unwritten {
        let mut new = std::mem::take(&mut *self.new.borrow_mut());
        self.handed.borrow_mut().push(new.share());
        Unwritten::to(self.folder.clone(), new)
    }

    /// The objects as they are now, the new ones among them, to read on another thread.
    pub fn as_now(&self) -> Place {
        let mut place = self.view();
        place.handed.push(self.new.borrow_mut().share());
        place
    }

    fn view(&self) -> Place {
        let mut deltas = self.deltas.borrow_mut();
        let deltas = deltas.get_or_insert_with(|| Deltas::of(&self.folder, self.hash)).again();
        let (folder, hash, written) = (self.folder.clone(), self.hash, self.written.clone());
        let (promised, drivers) = (self.promised.clone(), self.drivers.clone());
        let handed = self.handed.borrow().clone();
        Place { folder, hash, written, handed, deltas, promised, drivers, as_of: self.as_of }
    }

    /// Forgets the new objects that were made since `mark`, unless they were flushed.
    pub fn rewind(&self, mark: usize) {
        self.new.borrow_mut().rewind(mark);
    }

    /// The commit `id`.
    pub fn commit(&self, id: &ObjectId) -> Result<Commit, ObjectError> {
        let raw = self.read(id, Kind::Commit)?;
        Commit::parse(&raw).map_err(|what| ObjectError { id: *id, reason: format!("a commit with {what}") })
    }

    /// The same, as it is stored.
    pub(super) fn raw_commit(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        self.read(id, Kind::Commit)
    }

    /// Keeps a commit in memory and returns its id.
    pub fn put_commit(&self, commit: &Commit) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Commit, commit.raw(), None)
    }

    /// Where the repository's objects are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Was the object made here, and is it not known to be written?
    pub(super) fn is_unwritten(&self, id: &ObjectId) -> bool {
        self.new.borrow().has(id) || self.handed.borrow().iter().any(|handed| handed.has(id))
    }

    /// How many bytes an object has that is written; none if it is not here.
    pub(super) fn size(&self, id: &ObjectId) -> Option<u64> {
        self.written.try_header(id).ok().flatten().map(|header| header.size)
    }

    /// Is the object here, of whatever kind?
    pub fn has(&self, id: &ObjectId) -> bool {
        self.is_unwritten(id) || id.kind() == self.hash && (0..LOOKS).any(|_| self.written.exists(id))
    }

    fn read(&self, id: &ObjectId, kind: Kind) -> Result<Arc<Vec<u8>>, ObjectError> {
        let handed = || self.handed.borrow_mut().iter_mut().find_map(|handed| handed.get(id));
        if let Some(data) = self.new.borrow_mut().get(id).or_else(handed) {
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
        if !new.has(&id) {
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
        if !new.has(&id) {
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
        Some(self.view())
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

    fn adopt(&self, trees: grow::Trees, marks: &mut [usize]) -> Result<(), ObjectError> {
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
        self.new.borrow().len()
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
