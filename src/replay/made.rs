//! Files that are made for a question.

use std::sync::Arc;

use foldhash::HashMap;
use gix_hash::ObjectId;

/// Files that merges gave. Each has an id by which no object is called: to work out its own would take longer than to
/// merge.
#[derive(Default)]
pub(super) struct Made {
    ids: HashMap<Arc<Vec<u8>>, ObjectId>,
    files: HashMap<ObjectId, Arc<Vec<u8>>>,
}

impl Made {
    /// The id of a file, an id of the kind `hash`.
    pub fn id_of(&mut self, data: Vec<u8>, hash: gix_hash::Kind) -> ObjectId {
        if let Some(id) = self.ids.get(&data) {
            return *id;
        }
        let mut id = hash.null();
        let number = self.files.len() + 1;
        let bytes = id.as_mut_slice();
        let from = bytes.len() - size_of::<usize>();
        bytes[from..].copy_from_slice(&number.to_be_bytes());
        let data = Arc::new(data);
        self.ids.insert(data.clone(), id);
        self.files.insert(id, data);
        id
    }

    /// A file that was made.
    pub fn get(&self, id: &ObjectId) -> Option<&Arc<Vec<u8>>> {
        self.files.get(id)
    }
}
