//! How a file is merged, as the `.gitattributes` of the tree say (`git help attributes`, "Performing a three-way merge").

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use bstr::{BStr, BString, ByteSlice};
use gix_attributes::search::{MetadataCollection, Outcome};
use gix_attributes::{Search, StateRef};
use gix_hash::ObjectId;

use crate::store::tree::{Entry, RawTree};
use crate::store::{ObjectError, Objects};

/// The file's name.
pub(super) const FILE: &[u8] = b".gitattributes";
/// Git reads no more of such a file (`ATTR_MAX_FILE_SIZE`).
const LARGEST: usize = 100 << 20;

/// How two changes of one file's content are brought together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// Line by line.
    Text,
    /// Line by line, with the lines of both sides where they meet.
    Union,
    /// Not at all: two changes conflict.
    Binary,
    /// By a driver that the user's git configuration may know.
    Named(String),
}

/// The files on the way to a path: each one's folder and blob.
pub(super) type Key = Vec<(BString, ObjectId)>;

/// So many rules are kept.
const KEPT: usize = 8;

thread_local! {
    /// The rules of the folders that were asked for last, the last one at the end: a replay asks for the same few again and
    /// again.
    static LAST: RefCell<Vec<(Key, Rc<Rules>)>> = const { RefCell::new(Vec::new()) };
}

struct Rules {
    search: Search,
    names: MetadataCollection,
}

/// The driver for `path` by the attributes in the tree `root`.
pub fn driver(objects: &dyn Objects, root: &ObjectId, path: &BStr) -> Result<Driver, ObjectError> {
    let mut key: Key = Vec::new();
    let mut at = Some(*root);
    let mut walked = 0;
    while let Some(id) = at {
        let tree = RawTree::read(objects, Some(&id))?;
        if let Some(entry) = tree.get(FILE.as_bstr())?.filter(Entry::is_file) {
            key.push((path[..walked].into(), entry.id));
        }
        at = match path[walked..].find_byte(b'/') {
            Some(end) => {
                let name = path[walked..walked + end].as_bstr();
                walked += end + 1;
                tree.get(name)?.filter(Entry::is_tree).map(|e| e.id)
            }
            None => None,
        };
    }
    driver_by(objects, &key, path)
}

/// The driver for `path` by the files on the way to it.
pub(super) fn driver_by(objects: &dyn Objects, key: &Key, path: &BStr) -> Result<Driver, ObjectError> {
    if key.is_empty() {
        return Ok(Driver::Text);
    }
    let known = LAST.with_borrow_mut(|last| {
        let at = last.iter().rposition(|(k, _)| k == key)?;
        last[at..].rotate_left(1);
        last.last().map(|(_, rules)| rules.clone())
    });
    if let Some(rules) = known {
        return Ok(rules.driver(path));
    }
    let rules = Rc::new(read(objects, key)?);
    LAST.with_borrow_mut(|last| {
        last.drain(..(last.len() + 1).saturating_sub(KEPT));
        last.push((key.clone(), rules.clone()));
    });
    Ok(rules.driver(path))
}

fn read(objects: &dyn Objects, key: &Key) -> Result<Rules, ObjectError> {
    let (mut search, mut names) = (Search::default(), MetadataCollection::default());
    let mut add = |bytes: &[u8], folder: &BStr, id: ObjectId| {
        // The folder of the file is what its patterns start from.
        let source = Path::new("/").join(folder.to_path_lossy()).join(".gitattributes");
        // Macros may stand at the root alone.
        search
            .add_patterns_buffer(bytes, source, Some(Path::new("/")), &mut names, folder.is_empty())
            .map_err(|e| ObjectError { id, reason: e.to_string() })
    };
    add(b"[attr]binary -diff -merge -text", b"".as_bstr(), objects.hash().null())?;
    for (folder, id) in key {
        let bytes = objects.blob(id)?;
        if bytes.len() <= LARGEST {
            add(&bytes, folder.as_bstr(), *id)?;
        }
    }
    Ok(Rules { search, names })
}

impl Rules {
    fn driver(&self, path: &BStr) -> Driver {
        let mut outcome = Outcome::default();
        outcome.initialize_with_selection(&self.names, ["merge"]);
        let case = gix_glob::pattern::Case::Sensitive;
        self.search.pattern_matching_relative_path(path, case, Some(false), &mut outcome);
        let Some(found) = outcome.iter_selected().next() else { return Driver::Text };
        match found.assignment.state {
            StateRef::Set | StateRef::Unspecified => Driver::Text,
            StateRef::Unset => Driver::Binary,
            StateRef::Value(name) => match name.as_bstr().as_bytes() {
                b"text" => Driver::Text,
                b"union" => Driver::Union,
                b"binary" => Driver::Binary,
                other => Driver::Named(other.to_str_lossy().into_owned()),
            },
        }
    }
}
