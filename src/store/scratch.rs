//! Objects for a question: what is made on the way to its answer is never written.

use std::cell::RefCell;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::HashMap;
use gix_object::Kind;

use super::grow::{self, Body, Made};
use super::odb::object_id;
use super::{Drivers, GitVersion, ObjectError, Objects, delta};

/// Reads from the objects under it; keeps new ones to itself.
pub struct Scratch<'a> {
    under: &'a dyn Objects,
    new: RefCell<HashMap<ObjectId, Arc<Vec<u8>>>>,
}

impl<'a> Scratch<'a> {
    /// An empty one over `under`.
    pub fn over(under: &'a dyn Objects) -> Self {
        Self { under, new: RefCell::default() }
    }

    fn put(&self, kind: Kind, data: Vec<u8>) -> Result<ObjectId, ObjectError> {
        let id = object_id(self.hash(), kind, &data)?;
        self.new.borrow_mut().entry(id).or_insert_with(|| data.into());
        Ok(id)
    }
}

impl Objects for Scratch<'_> {
    fn hash(&self) -> gix_hash::Kind {
        self.under.hash()
    }

    fn tree(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        let own = self.new.borrow().get(id).cloned();
        own.map_or_else(|| self.under.tree(id), Ok)
    }

    fn blob(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        let own = self.new.borrow().get(id).cloned();
        own.map_or_else(|| self.under.blob(id), Ok)
    }

    fn put_tree(&self, raw: Vec<u8>, _: Option<&ObjectId>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Tree, raw)
    }

    fn put_blob(&self, data: Vec<u8>, _: Option<&ObjectId>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Blob, data)
    }

    fn put_made(&self, id: ObjectId, data: Vec<u8>, _: Option<&ObjectId>) -> Result<(), ObjectError> {
        self.new.borrow_mut().entry(id).or_insert_with(|| data.into());
        Ok(())
    }

    fn is_partial(&self) -> bool {
        self.under.is_partial()
    }

    fn bring(&self, ids: &[ObjectId]) -> Result<(), ObjectError> {
        self.under.bring(ids)
    }

    fn has(&self, id: &ObjectId) -> bool {
        self.new.borrow().contains_key(id) || self.under.has(id)
    }

    fn adopt(&self, trees: grow::Trees, _: &mut [usize]) -> Result<(), ObjectError> {
        for Made { id, body, .. } in trees {
            let data = match body {
                Body::Whole(data) => data,
                Body::Delta { base, delta, .. } => {
                    let broken = || ObjectError { id, reason: "it is no difference to its base".into() };
                    delta::patched(&self.tree(&base)?, &delta).ok_or_else(broken)?.into()
                }
            };
            self.new.borrow_mut().insert(id, data);
        }
        Ok(())
    }

    fn write_out(&self) -> Result<(), ObjectError> {
        let reason = "objects for a question are never written".to_owned();
        Err(ObjectError { id: self.hash().null(), reason })
    }

    fn drivers(&self) -> Option<&Drivers> {
        self.under.drivers()
    }

    fn recall(&self, pair: &[ObjectId; 2]) -> Option<u64> {
        self.under.recall(pair)
    }

    fn remember(&self, pair: [ObjectId; 2], number: u64) {
        self.under.remember(pair, number);
    }

    fn as_of(&self) -> GitVersion {
        self.under.as_of()
    }

    fn mark(&self) -> usize {
        self.new.borrow().len()
    }
}
