//! Trees as the merge sees them: sorted entries, read from and written to git's raw format.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::{ObjectError, Objects, common_start};

/// Mode bits of a folder.
pub const MODE_TREE: u32 = 0o040000;
/// Mode bits of a symbolic link.
pub const MODE_LINK: u32 = 0o120000;
/// Mode bits of a submodule.
pub const MODE_COMMIT: u32 = 0o160000;

/// One entry of a tree: mode bits and object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
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

    /// Appends it, under a name, in git's raw tree format.
    pub fn write(&self, name: &BStr, raw: &mut Vec<u8>) {
        match self.mode {
            0o100644 => raw.extend_from_slice(b"100644 "),
            MODE_TREE => raw.extend_from_slice(b"40000 "),
            mode => raw.extend_from_slice(format!("{mode:o} ").as_bytes()),
        }
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(self.id.as_slice());
    }

    /// Is this a plain file, executable or not?
    pub fn is_file(&self) -> bool {
        self.mode & 0o170000 == 0o100000
    }
}

/// Git's order of names in a tree: a folder sorts as if its name ended in a slash.
pub fn name_order(a: &BStr, a_is_tree: bool, b: &BStr, b_is_tree: bool) -> Ordering {
    let n = a.len().min(b.len());
    a[..n].cmp(&b[..n]).then_with(|| {
        let next = |name: &BStr, tree: bool| name.get(n).copied().or(tree.then_some(b'/')).unwrap_or(0);
        next(a, a_is_tree).cmp(&next(b, b_is_tree)).then(a.len().cmp(&b.len()))
    })
}

/// One tree as it is stored. Its entries borrow their names from it.
#[derive(Clone)]
pub struct RawTree {
    id: ObjectId,
    raw: Option<Arc<Vec<u8>>>,
}

impl RawTree {
    /// Reads the tree `id`; `None` is the empty tree.
    pub fn read(objects: &dyn Objects, id: Option<&ObjectId>) -> Result<Self, ObjectError> {
        match id {
            Some(id) if !id.is_empty_tree() => Ok(Self { id: *id, raw: Some(objects.tree(id)?) }),
            _ => Ok(Self { id: objects.hash().empty_tree(), raw: None }),
        }
    }

    /// The tree `id` that was made of this one by writing bytes over.
    pub fn written_over(mut self, id: ObjectId, over: &[(usize, Vec<u8>)]) -> Self {
        if let Some(raw) = &mut self.raw {
            let raw = Arc::make_mut(raw);
            for (at, bytes) in over {
                raw[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
        Self { id, ..self }
    }

    /// The same bytes, to be kept.
    pub fn shared(&self) -> Arc<Vec<u8>> {
        self.raw.clone().unwrap_or_default()
    }

    /// Its entries, in git's order.
    pub fn entries(&self) -> Result<Vec<(&BStr, Entry)>, ObjectError> {
        let raw = self.raw();
        let mut entries = Vec::with_capacity(raw.len() / 36);
        for entry in self.iter() {
            entries.push(entry?);
        }
        Ok(entries)
    }

    /// Those of its entries that are wanted, by their names and whether they are folders. Others are only skipped over.
    pub fn entries_of(
        &self,
        is_wanted: &dyn Fn(&BStr, bool) -> bool,
    ) -> Result<Vec<(&BStr, Entry)>, ObjectError> {
        let (raw, mut at, mut out) = (self.raw(), 0, Vec::new());
        while let Some(len) = self.entry_len(&raw[at..])? {
            let stored = &raw[at..at + len];
            // Old trees hold the longer form.
            let is_tree = stored.starts_with(b"40000 ") || stored.starts_with(b"040000 ");
            if is_wanted(name_of(stored, self.id_len()), is_tree) {
                out.extend(self.first(stored)?);
            }
            at += len;
        }
        Ok(out)
    }

    /// The entry called `name`.
    pub fn get(&self, name: &BStr) -> Result<Option<Entry>, ObjectError> {
        Ok(self.find(name)?.map(|(_, entry)| entry))
    }

    /// The entry called `name`, and where it stands among the tree's bytes. Other entries are only skipped over.
    pub fn find(&self, name: &BStr) -> Result<Option<(usize, Entry)>, ObjectError> {
        let raw = self.raw();
        let mut at = 0;
        while let Some(len) = self.entry_len(&raw[at..])? {
            if name_of(&raw[at..at + len], self.id_len()) == name {
                return Ok(self.first(&raw[at..])?.map(|(_, entry)| (at, entry)));
            }
            at += len;
        }
        Ok(None)
    }

    /// Where among the tree's bytes a name belongs that is not there.
    pub fn place(&self, name: &BStr, is_tree: bool) -> Result<usize, ObjectError> {
        let raw = self.raw();
        let mut at = 0;
        while let Some(len) = self.entry_len(&raw[at..])? {
            let other_is_tree = raw[at..].starts_with(b"40000 ");
            if name_order(name_of(&raw[at..at + len], self.id_len()), other_is_tree, name, is_tree).is_gt() {
                break;
            }
            at += len;
        }
        Ok(at)
    }

    fn id_len(&self) -> usize {
        self.id.kind().len_in_bytes()
    }

    /// How long the stored entry is that `raw`, a part of its bytes, begins with; nothing at the end.
    pub fn entry_len(&self, raw: &[u8]) -> Result<Option<usize>, ObjectError> {
        if raw.is_empty() {
            return Ok(None);
        }
        // A mode has five digits at least.
        let name_end = raw.get(6..).and_then(|rest| rest.find_byte(0)).map(|end| end + 6);
        let len = name_end.map(|end| end + 1 + self.id_len()).filter(|len| *len <= raw.len());
        let broken = || ObjectError { id: self.id, reason: "it is not a well formed tree".into() };
        len.map(Some).ok_or_else(broken)
    }

    /// Where its entries begin.
    pub fn index(&self) -> Result<Index, ObjectError> {
        Index::of(self.raw(), self.id.kind())
    }

    /// Its bytes, as git stores them.
    pub fn raw(&self) -> &[u8] {
        self.raw.as_ref().map_or(&[], |raw| raw.as_slice())
    }

    /// The entry that a part of its bytes begins with; nothing at the end.
    pub fn first<'r>(&self, raw: &'r [u8]) -> Result<Option<(&'r BStr, Entry)>, ObjectError> {
        let next = gix_object::TreeRefIter::from_bytes(raw, self.id.kind()).next();
        let entry = next.transpose().map_err(|e| ObjectError { id: self.id, reason: e.to_string() })?;
        Ok(entry.map(|e| (e.filename, Entry { mode: u32::from(e.mode.value()), id: e.oid.to_owned() })))
    }

    /// Its entries one by one, in git's order.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&BStr, Entry), ObjectError>> {
        let raw = self.raw();
        gix_object::TreeRefIter::from_bytes(raw, self.id.kind()).map(|entry| match entry {
            Ok(e) => Ok((e.filename, Entry { mode: u32::from(e.mode.value()), id: e.oid.to_owned() })),
            Err(e) => Err(ObjectError { id: self.id, reason: e.to_string() }),
        })
    }
}

/// What a folder's entry begins with.
const FOLDER: &[u8] = b"40000 ";

/// Where the entries of a stored tree begin, for a tree that is asked many times.
#[derive(Clone)]
pub struct Index {
    starts: Vec<u32>,
    id_len: usize,
}

impl Index {
    /// The index of a tree's bytes, in which ids are of the kind `hash`.
    pub(super) fn of(raw: &[u8], hash: gix_hash::Kind) -> Result<Self, ObjectError> {
        let tree = RawTree { id: hash.null(), raw: None };
        let mut starts = Vec::with_capacity(raw.len() / 32);
        let mut at = 0;
        while let Some(len) = tree.entry_len(&raw[at..])? {
            let start = u32::try_from(at).map_err(|e| ObjectError { id: tree.id, reason: e.to_string() })?;
            starts.push(start);
            at += len;
        }
        Ok(Self { starts, id_len: tree.id_len() })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The bytes of the entry called `name`, and the entry. `raw` is what the index was made of, but for ids.
    pub fn find(&self, raw: &[u8], name: &BStr) -> Option<(std::ops::Range<usize>, Entry)> {
        let at = match self.search(raw, name, false) {
            Ok(at) => at,
            // A folder of the name comes after a file of it, mostly just there.
            Err(from) if self.is_folder(raw, from, name) => from,
            Err(from) => self.search_from(from, raw, name, true).ok()?,
        };
        let range = self.range(raw, at);
        Some((range.clone(), parsed(&raw[range], self.id_len)?.1))
    }

    fn is_folder(&self, raw: &[u8], at: usize, name: &BStr) -> bool {
        let stored = if at < self.starts.len() { &raw[self.range(raw, at)] } else { return false };
        stored.starts_with(FOLDER) && name_of(stored, self.id_len) == name
    }

    /// What is stored in the bytes of one entry.
    pub fn parsed<'r>(&self, stored: &'r [u8]) -> Option<(&'r BStr, Entry)> {
        parsed(stored, self.id_len)
    }

    /// The bytes of the entry that the byte `at` is in.
    pub fn around(&self, raw: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
        let after = self.starts.partition_point(|start| *start as usize <= at);
        Some(self.range(raw, after.checked_sub(1)?))
    }

    /// Where a name belongs that is not there.
    pub fn place(&self, raw: &[u8], name: &BStr, is_tree: bool) -> usize {
        let at = self.search(raw, name, is_tree).unwrap_or_else(|at| at);
        self.starts.get(at).map_or(raw.len(), |start| *start as usize)
    }

    fn range(&self, raw: &[u8], at: usize) -> std::ops::Range<usize> {
        let end = self.starts.get(at + 1).map_or(raw.len(), |end| *end as usize);
        self.starts[at] as usize..end
    }

    fn search(&self, raw: &[u8], name: &BStr, is_tree: bool) -> Result<usize, usize> {
        self.search_from(0, raw, name, is_tree)
    }

    fn search_from(&self, mut low: usize, raw: &[u8], name: &BStr, is_tree: bool) -> Result<usize, usize> {
        let mut high = self.starts.len();
        while low < high {
            let middle = low + (high - low) / 2;
            let stored = &raw[self.range(raw, middle)];
            let order = name_order(name_of(stored, self.id_len), stored.starts_with(FOLDER), name, is_tree);
            match order {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

/// A stored entry's name and what it is, by an id of so many bytes.
fn parsed(stored: &[u8], id_len: usize) -> Option<(&BStr, Entry)> {
    let digits = stored[..stored.find_byte(b' ')?].iter();
    let mode = digits.fold(0, |mode, digit| mode << 3 | u32::from(digit.wrapping_sub(b'0') & 7));
    let id = ObjectId::try_from(stored.get(stored.len().checked_sub(id_len)?..)?).ok()?;
    Some((name_of(stored, id_len), Entry { mode, id }))
}

/// A name at which two trees differ, and what each has there. A file and a folder of one name are two.
pub type Differing<'t> = (&'t BStr, Option<Entry>, Option<Entry>);

/// The names at which two trees differ, in git's order. Entries that are the same bytes are skipped without being read.
pub fn differing<'t>(
    old: &'t RawTree,
    new: &'t RawTree,
) -> impl Iterator<Item = Result<Differing<'t>, ObjectError>> {
    let (mut left, mut right) = (old.raw(), new.raw());
    let mut next = move || -> Result<Option<Differing<'t>>, ObjectError> {
        loop {
            // Most of two trees is the same bytes. They are compared many at a time, and at the end all at once.
            if left == right {
                return Ok(None);
            }
            let (same, mut at) = (common_start(left, right), 0);
            while let Some(len) = old.entry_len(&left[at..])?.filter(|len| at + len <= same) {
                at += len;
            }
            (left, right) = (&left[at..], &right[at..]);
            let (gone, come) = (old.first(left)?, new.first(right)?);
            let order = match (&gone, &come) {
                (Some((a, x)), Some((b, y))) => name_order(a, x.is_tree(), b, y.is_tree()),
                (None, Some(_)) => Ordering::Greater,
                _ => Ordering::Less,
            };
            let (gone, come) = (gone.filter(|_| order.is_le()), come.filter(|_| order.is_ge()));
            if gone.is_some() {
                left = &left[old.entry_len(left)?.unwrap_or(0)..];
            }
            if come.is_some() {
                right = &right[new.entry_len(right)?.unwrap_or(0)..];
            }
            let Some(name) = gone.or(come).map(|(name, _)| name) else { return Ok(None) };
            // Old trees hold modes that are written otherwise and mean the same.
            if gone != come {
                return Ok(Some((name, gone.map(|(_, e)| e), come.map(|(_, e)| e))));
            }
        }
    };
    let mut failed = false;
    std::iter::from_fn(move || {
        let item = if failed { None } else { next().transpose() };
        failed = item.as_ref().is_some_and(Result::is_err);
        item
    })
}

/// The name in a stored entry: what stands between the mode and the id.
fn name_of(entry: &[u8], id_len: usize) -> &BStr {
    let start = match entry {
        [_, _, _, _, _, b' ', ..] => 6,
        [_, _, _, _, _, _, b' ', ..] => 7,
        _ => entry.find_byte(b' ').map_or(0, |at| at + 1),
    };
    entry.get(start..entry.len().saturating_sub(id_len + 1)).unwrap_or_default().as_bstr()
}

/// Keeps a tree of these entries, which need not be sorted; `None` if there are none, as git keeps no empty folders.
/// `like` is a tree that it was made from.
pub fn write(
    objects: &dyn Objects,
    mut entries: Vec<(&BStr, Entry)>,
    like: Option<&ObjectId>,
) -> Result<Option<ObjectId>, ObjectError> {
    if entries.is_empty() {
        return Ok(None);
    }
    entries.sort_by(|(a, x), (b, y)| name_order(a, x.is_tree(), b, y.is_tree()));
    let mut raw = Vec::with_capacity(entries.len() * 40);
    for (name, entry) in &entries {
        entry.write(name, &mut raw);
    }
    objects.put_tree(raw, like).map(Some)
}

/// Keeps the empty tree.
pub fn write_empty(objects: &dyn Objects) -> Result<ObjectId, ObjectError> {
    objects.put_tree(Vec::new(), None)
}

/// What stands at `path` from the root `tree`.
pub fn entry_at(objects: &dyn Objects, tree: &ObjectId, path: &BStr) -> Result<Option<Entry>, ObjectError> {
    let mut at = *tree;
    let mut parts = path.split_str("/").peekable();
    while let Some(name) = parts.next() {
        match RawTree::read(objects, Some(&at))?.get(name.as_bstr())? {
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
    let before = RawTree::read(objects, tree.as_ref())?;
    let mut out = before.entries()?;
    let mut by_name: BTreeMap<&[u8], Edits<'_>> = BTreeMap::new();
    for (path, entry) in edits {
        match path.split_once_str("/") {
            Some((name, rest)) => by_name.entry(name).or_default().inner.push((rest, *entry)),
            None => by_name.entry(path).or_default().file = Some(*entry),
        }
    }
    for (name, Edits { file, inner }) in by_name {
        let clash = || Ok(Err(BString::from(name)));
        let now = out.iter().position(|(n, _)| *n == name).map(|at| out.remove(at).1);
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
            (Some(entry), None) => out.push((name.into(), entry)),
            (None, Some(id)) => out.push((name.into(), Entry { mode: MODE_TREE, id })),
            (None, None) => {}
        }
    }
    write(objects, out, tree.as_ref()).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_found_wherever_files_of_like_names_stand() {
        let id = ObjectId::null(gix_hash::Kind::Sha1);
        // In git's order: a folder's name ends in a slash.
        let all: [(&str, u32); 7] = [
            ("a", MODE_TREE),
            ("b-c", 0o100644),
            ("b.c", 0o100644),
            ("b", MODE_TREE),
            ("b0", 0o100644),
            ("c", 0o100644),
            ("c.d", MODE_TREE),
        ];
        let mut raw = Vec::new();
        all.iter().for_each(|(name, mode)| Entry { mode: *mode, id }.write((*name).into(), &mut raw));
        let index = Index::of(&raw, gix_hash::Kind::Sha1).expect("a tree");
        for (at, (name, mode)) in all.iter().enumerate() {
            let (range, entry) = index.find(&raw, (*name).into()).expect(name);
            assert_eq!((entry.mode, range), (*mode, index.range(&raw, at)), "{name}");
        }
        for name in ["", "a0", "b-", "b/", "bb", "c.", "c.d0", "d"] {
            assert_eq!(index.find(&raw, name.into()), None, "{name}");
        }
    }
}
