//! Reads from a repository's object database, with new objects kept in memory until they are flushed as one pack.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::{Commit, ObjectError, Objects, StoreError, pack};

/// A repository's objects, and the new ones that are not written yet.
pub struct Odb {
    path: PathBuf,
    repository: git2::Repository,
    new: RefCell<New>,
}

/// Objects in memory, in the order in which they were made.
#[derive(Default)]
struct New {
    order: Vec<(ObjectId, Kind)>,
    data: HashMap<ObjectId, Rc<[u8]>>,
}

impl Odb {
    /// Opens the bare store at `path`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let repository = git2::Repository::open_bare(path)
            .map_err(|e| StoreError::Open { path: path.to_owned(), reason: e.message().to_owned() })?;
        // Hashing every object again on read costs more than the merge; packs carry checksums of their own.
        git2::opts::strict_hash_verification(false);
        Ok(Self { path: path.to_owned(), repository, new: RefCell::default() })
    }

    /// Writes all new objects as one pack; returns how many there were. Nothing refers to them yet, so a
    /// run that is killed here has changed nothing.
    pub fn flush(&self) -> Result<usize, StoreError> {
        let new = std::mem::take(&mut *self.new.borrow_mut());
        if new.order.is_empty() {
            return Ok(0);
        }
        let failed = |reason: String| StoreError::Write { path: self.path.clone(), reason };
        let bytes = pack::encode(new.order.iter().map(|(id, kind)| (*kind, &*new.data[id])))
            .map_err(|e| failed(e.to_string()))?;
        let odb = self.repository.odb().map_err(|e| failed(e.message().to_owned()))?;
        let mut writer = odb.packwriter().map_err(|e| failed(e.message().to_owned()))?;
        writer.write_all(&bytes).map_err(|e| failed(e.to_string()))?;
        writer.commit().map_err(|e| failed(e.message().to_owned()))?;
        Ok(new.order.len())
    }

    /// The commit `id`.
    pub fn commit(&self, id: &ObjectId) -> Result<Commit, ObjectError> {
        let raw = self.read(id, Kind::Commit)?;
        Commit::parse(&raw).map_err(|what| ObjectError { id: *id, reason: format!("a commit with {what}") })
    }

    /// Keeps a commit in memory and returns its id.
    pub fn put_commit(&self, commit: &Commit) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Commit, commit.raw())
    }

    /// Is the object here, of whatever kind?
    pub fn has(&self, id: &ObjectId) -> bool {
        self.new.borrow().data.contains_key(id)
            || git2::Oid::from_bytes(id.as_slice())
                .is_ok_and(|oid| self.repository.odb().is_ok_and(|odb| odb.exists(oid)))
    }

    fn read(&self, id: &ObjectId, kind: Kind) -> Result<Rc<[u8]>, ObjectError> {
        if let Some(data) = self.new.borrow().data.get(id) {
            return Ok(data.clone());
        }
        let failed = |reason: String| ObjectError { id: *id, reason };
        let oid = git2::Oid::from_bytes(id.as_slice()).map_err(|e| failed(e.message().to_owned()))?;
        let odb = self.repository.odb().map_err(|e| failed(e.message().to_owned()))?;
        let object = odb.read(oid).map_err(|e| failed(e.message().to_owned()))?;
        let wanted = match kind {
            Kind::Tree => git2::ObjectType::Tree,
            Kind::Blob => git2::ObjectType::Blob,
            Kind::Commit => git2::ObjectType::Commit,
            Kind::Tag => git2::ObjectType::Tag,
        };
        if object.kind() != wanted {
            return Err(failed(format!("it is a {}, not a {kind}", object.kind())));
        }
        Ok(object.data().into())
    }

    fn put(&self, kind: Kind, data: Vec<u8>) -> Result<ObjectId, ObjectError> {
        let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
        hasher.update(&gix_object::encode::loose_header(kind, data.len() as u64));
        hasher.update(&data);
        // The hasher only fails on bytes made to collide.
        let id = hasher
            .try_finalize()
            .map_err(|e| ObjectError { id: gix_hash::Kind::Sha1.null(), reason: e.to_string() })?;
        let mut new = self.new.borrow_mut();
        if !new.data.contains_key(&id) {
            new.order.push((id, kind));
            new.data.insert(id, data.into());
        }
        Ok(id)
    }
}

impl Objects for Odb {
    fn tree(&self, id: &ObjectId) -> Result<Rc<[u8]>, ObjectError> {
        self.read(id, Kind::Tree)
    }

    fn blob(&self, id: &ObjectId) -> Result<Rc<[u8]>, ObjectError> {
        self.read(id, Kind::Blob)
    }

    fn put_tree(&self, raw: Vec<u8>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Tree, raw)
    }

    fn put_blob(&self, data: Vec<u8>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Blob, data)
    }
}
