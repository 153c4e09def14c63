//! Trees as the merge sees them: sorted entries, read from and written to git's raw format.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::{ObjectError, Objects};

/// Mode bits of a folder.
pub const MODE_TREE: u32 = 0o040000;
/// Mode bits of a symbolic link.
pub const MODE_LINK: u32 = 0o120000;
/// Mode bits of a submodule.
pub const MODE_COMMIT: u32 = 0o160000;

/// One entry of a tree: mode bits and object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Git's mode bits, for instance `0o100644`.
    pub mode: u32,
    /// The blob, tree or commit.
    pub id: ObjectId,
}

impl Entry {
    /// Is this a folder?
    pub fn is_tree(&self) -> bool {
        self.mode == MODE_TREE
    }

    /// Is this a plain file, executable or not?
    pub fn is_file(&self) -> bool {
        self.mode & 0o170000 == 0o100000
    }
}

/// The entries of one tree in git's order.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Names without slashes, and what stands there.
    pub entries: Vec<(BString, Entry)>,
}

/// Git's order of names in a tree: a folder sorts as if its name ended in a slash.
pub fn name_order(a: &BStr, a_is_tree: bool, b: &BStr, b_is_tree: bool) -> Ordering {
    let n = a.len().min(b.len());
    a[..n].cmp(&b[..n]).then_with(|| {
        let next = |name: &BStr, tree: bool| name.get(n).copied().or(tree.then_some(b'/')).unwrap_or(0);
        next(a, a_is_tree).cmp(&next(b, b_is_tree)).then(a.len().cmp(&b.len()))
    })
}

impl Tree {
    /// Reads the tree `id`; `None` is the empty tree.
    pub fn read(objects: &dyn Objects, id: Option<&ObjectId>) -> Result<Self, ObjectError> {
        let Some(id) = id else { return Ok(Self::default()) };
        if id.is_empty_tree() {
            return Ok(Self::default());
        }
        let raw = objects.tree(id)?;
        let mut entries = Vec::with_capacity(raw.len() / 40);
        for entry in gix_object::TreeRefIter::from_bytes(&raw, id.kind()) {
            let entry = entry.map_err(|e| ObjectError { id: *id, reason: e.to_string() })?;
            let mode = u32::from(entry.mode.value());
            entries.push((entry.filename.to_owned(), Entry { mode, id: entry.oid.to_owned() }));
        }
        Ok(Self { entries })
    }

    /// The entry called `name`.
    pub fn get(&self, name: &BStr) -> Option<Entry> {
        self.entries.iter().find(|(n, _)| n.as_bstr() == name).map(|(_, e)| *e)
    }

    /// Keeps the tree in `objects` as a root, which may be empty.
    pub fn write_root(self, objects: &dyn Objects) -> Result<ObjectId, ObjectError> {
        match self.write(objects)? {
            Some(id) => Ok(id),
            None => objects.put_tree(Vec::new()),
        }
    }

    /// Keeps the tree in `objects`; `None` if it has no entries, as git keeps no empty folders.
    pub fn write(mut self, objects: &dyn Objects) -> Result<Option<ObjectId>, ObjectError> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        self.entries.sort_by(|(a, x), (b, y)| name_order(a.as_bstr(), x.is_tree(), b.as_bstr(), y.is_tree()));
        let mut raw = Vec::with_capacity(self.entries.len() * 40);
        for (name, entry) in &self.entries {
            raw.extend_from_slice(format!("{:o} ", entry.mode).as_bytes());
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend_from_slice(entry.id.as_slice());
        }
        objects.put_tree(raw).map(Some)
    }
}

/// What stands at `path` from the root `tree`.
pub fn entry_at(objects: &dyn Objects, tree: &ObjectId, path: &BStr) -> Result<Option<Entry>, ObjectError> {
    let mut at = *tree;
    let mut parts = path.split_str("/").peekable();
    while let Some(name) = parts.next() {
        match Tree::read(objects, Some(&at))?.get(name.as_bstr()) {
            Some(entry) if parts.peek().is_none() => return Ok(Some(entry)),
            Some(entry) if entry.is_tree() => at = entry.id,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The edits of one name: of the file there, and inside the folder there.
#[derive(Default)]
struct Edits<'a> {
    file: Option<Option<Entry>>,
    inner: Vec<(&'a [u8], Option<Entry>)>,
}

/// The tree with some paths set (or, with `None`, gone); folders that become empty go. `edits` is sorted by path.
/// The inner error is a path at which a file and a folder would meet.
pub fn edit(
    objects: &dyn Objects,
    tree: Option<ObjectId>,
    edits: &[(&[u8], Option<Entry>)],
) -> Result<Result<Option<ObjectId>, BString>, ObjectError> {
    if edits.is_empty() {
        return Ok(Ok(tree));
    }
    let mut out = Tree::read(objects, tree.as_ref())?;
    let mut by_name: BTreeMap<&[u8], Edits<'_>> = BTreeMap::new();
    for (path, entry) in edits {
        match path.split_once_str("/") {
            Some((name, rest)) => by_name.entry(name).or_default().inner.push((rest, *entry)),
            None => by_name.entry(path).or_default().file = Some(*entry),
        }
    }
    for (name, Edits { file, inner }) in by_name {
        let clash = || Ok(Err(BString::from(name)));
        let now = out.get(name.as_bstr());
        out.entries.retain(|(n, _)| n.as_slice() != name);
        let folder = match edit(objects, now.filter(Entry::is_tree).map(|e| e.id), &inner)? {
            Ok(folder) => folder,
            Err(rest) => return Ok(Err(BString::from([name, b"/", &rest].concat()))),
        };
        let file = match file {
            Some(file) => file,
            None => now.filter(|e| !e.is_tree()),
        };
        match (file, folder) {
            (Some(_), Some(_)) => return clash(),
            (Some(entry), None) => out.entries.push((name.into(), entry)),
            (None, Some(id)) => out.entries.push((name.into(), Entry { mode: MODE_TREE, id })),
            (None, None) => {}
        }
    }
    out.write(objects).map(Ok)
}
