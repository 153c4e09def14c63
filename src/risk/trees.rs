//! The two trees that are compared: what changed, and the texts of both.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bstr::{BStr, ByteSlice};
use gix_hash::ObjectId;

use super::rule::{Globs, On};
use crate::store::tree::{Entry, MODE_COMMIT, RawTree, entry_at};
use crate::store::{ObjectError, Objects};
use crate::trunk::delta;

/// Larger files are not read: what matters here is written by people.
const LARGEST: usize = 4 << 20;
/// Files of one name that are compared with one that came.
const CANDIDATES: usize = 50;
/// How deep folders may nest.
const DEEPEST: usize = 100;

/// One side of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The tree that runs.
    Old,
    /// The tree that is to run.
    New,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its path.
    pub path: String,
    /// Its blob in the old tree.
    pub old: Option<ObjectId>,
    /// Its blob in the new tree.
    pub new: Option<ObjectId>,
}

/// A file that stands elsewhere, with the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it stood.
    pub from: String,
    /// Where it stands.
    pub to: String,
    /// Is its content another as well? Then it is among what changed too.
    pub edited: bool,
}

/// Two trees, and what differs between them.
pub struct Trees<'a> {
    objects: &'a dyn Objects,
    old: ObjectId,
    new: ObjectId,
    /// What differs, without what only moved.
    pub changed: Vec<Changed>,
    /// What only moved.
    pub moved: Vec<Moved>,
    /// Submodules that stand on another commit, came or went: what that brings cannot be seen from here.
    pub submodules: Vec<String>,
    /// Links that point elsewhere, and files whose content is the same while their mode is not.
    pub remoded: Vec<String>,
    texts: RefCell<HashMap<ObjectId, Option<Rc<str>>>>,
}

impl Changed {
    /// Its blob on one side.
    pub fn on(&self, side: Side) -> Option<ObjectId> {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// What happened to it.
    pub fn what(&self) -> On {
        match (self.old, self.new) {
            (None, _) => On::Added,
            (_, None) => On::Removed,
            _ => On::Modified,
        }
    }
}

impl<'a> Trees<'a> {
    /// Compares two trees.
    pub fn compare(objects: &'a dyn Objects, old: ObjectId, new: ObjectId) -> Result<Self, ObjectError> {
        let file = |entry: Option<Entry>| entry.filter(Entry::is_file).map(|e| e.id);
        let module = |entry: &Option<Entry>| entry.as_ref().is_some_and(|e| e.mode == MODE_COMMIT);
        let (mut changed, mut submodules, mut remoded) = (Vec::new(), Vec::new(), Vec::new());
        for c in delta::changes(objects, &old, &new)? {
            let path = c.path.to_str_lossy().into_owned();
            if module(&c.old) || module(&c.new) {
                submodules.push(path.clone());
            }
            let (was, is) = (file(c.old), file(c.new));
            match was == is {
                true => remoded.push(path),
                false => changed.push(Changed { path, old: was, new: is }),
            }
        }
        let moved = take_moves(&mut changed);
        let mut trees =
            Self { objects, old, new, changed, moved, submodules, remoded, texts: RefCell::default() };
        let edited = trees.moved_and_edited()?;
        trees.moved.extend(edited);
        Ok(trees)
    }

    /// Files that went and files of the same name that came, with half of their lines in common.
    fn moved_and_edited(&self) -> Result<Vec<Moved>, ObjectError> {
        let mut gone: HashMap<&str, Vec<&Changed>> = HashMap::new();
        for c in self.changed.iter().filter(|c| c.new.is_none()) {
            gone.entry(base_name(&c.path)).or_default().push(c);
        }
        let mut out = Vec::new();
        for came in self.changed.iter().filter(|c| c.old.is_none()) {
            let Some(candidates) = gone.get_mut(base_name(&came.path)) else { continue };
            let Some(new) = self.text_on(came, Side::New)? else { continue };
            let mut found = None;
            for (at, candidate) in candidates.iter().enumerate().take(CANDIDATES) {
                if let Some(old) = self.text_on(candidate, Side::Old)?
                    && are_alike(&old, &new)
                {
                    found = Some(at);
                    break;
                }
            }
            if let Some(at) = found {
                let from = candidates.remove(at).path.clone();
                out.push(Moved { from, to: came.path.clone(), edited: true });
            }
        }
        Ok(out)
    }

    /// The tree of a side.
    pub fn tree(&self, side: Side) -> ObjectId {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// All paths at which the trees differ, those that only moved by both of their names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let moved = self.moved.iter().flat_map(|m| [m.from.as_str(), m.to.as_str()]);
        let others = self.submodules.iter().chain(&self.remoded).map(String::as_str);
        self.changed.iter().map(|c| c.path.as_str()).chain(moved).chain(others)
    }

    /// The files that differ and match.
    pub fn touched(&self, globs: &Globs) -> Vec<&Changed> {
        self.changed.iter().filter(|c| globs.matches(&c.path)).collect()
    }

    /// A blob's text; nothing for what is binary or too large.
    pub fn text(&self, blob: &ObjectId) -> Result<Option<Rc<str>>, ObjectError> {
        if let Some(text) = self.texts.borrow().get(blob) {
            return Ok(text.clone());
        }
        let data = self.objects.blob(blob)?;
        let is_text = data.len() <= LARGEST && !crate::replay::content::is_binary(&data);
        let text = is_text.then(|| Rc::from(data.to_str_lossy().as_ref()));
        self.texts.borrow_mut().insert(*blob, text.clone());
        Ok(text)
    }

    /// The text of a changed file on one side.
    pub fn text_on(&self, changed: &Changed, side: Side) -> Result<Option<Rc<str>>, ObjectError> {
        match changed.on(side) {
            Some(blob) => self.text(&blob),
            None => Ok(None),
        }
    }

    /// The text at a path.
    pub fn text_at(&self, path: &str, side: Side) -> Result<Option<Rc<str>>, ObjectError> {
        match entry_at(self.objects, &self.tree(side), BStr::new(path))? {
            Some(entry) if entry.is_file() => self.text(&entry.id),
            _ => Ok(None),
        }
    }

    /// Is there anything at the path on the new side?
    pub fn has(&self, path: &str) -> Result<bool, ObjectError> {
        Ok(entry_at(self.objects, &self.new, BStr::new(path))?.is_some())
    }

    /// All files of one side that match, changed or not.
    pub fn files(&self, globs: &Globs, side: Side) -> Result<BTreeMap<String, ObjectId>, ObjectError> {
        let mut out = BTreeMap::new();
        self.collect(globs, self.tree(side), "", &mut out, 0)?;
        Ok(out)
    }

    fn collect(
        &self,
        globs: &Globs,
        tree: ObjectId,
        folder: &str,
        out: &mut BTreeMap<String, ObjectId>,
        depth: usize,
    ) -> Result<(), ObjectError> {
        if depth > DEEPEST {
            return Ok(());
        }
        let raw = RawTree::read(self.objects, Some(&tree))?;
        for (name, entry) in raw.entries_of(&|name, is_tree| is_tree || globs.may_name(name))? {
            let path = format!("{folder}{}", name.to_str_lossy());
            if entry.is_tree() {
                let inside = format!("{path}/");
                if globs.reaches(&inside) {
                    self.collect(globs, entry.id, &inside, out, depth + 1)?;
                }
            } else if entry.is_file() && globs.matches(&path) {
                out.insert(path, entry.id);
            }
        }
        Ok(())
    }
}

/// The last part of a path.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Have two texts half of their lines in common?
fn are_alike(old: &str, new: &str) -> bool {
    let mut lines: HashMap<&str, usize> = HashMap::new();
    for line in old.lines() {
        *lines.entry(line).or_default() += 1;
    }
    let mut common = 0;
    for line in new.lines() {
        if let Some(left) = lines.get_mut(line).filter(|left| **left > 0) {
            *left -= 1;
            common += 1;
        }
    }
    let most = old.lines().count().max(new.lines().count());
    most > 0 && common * 2 >= most
}

/// Takes out the files that only moved; of several with one content, those of one name belong together.
fn take_moves(changed: &mut Vec<Changed>) -> Vec<Moved> {
    let mut gone: HashMap<ObjectId, Vec<String>> = HashMap::new();
    for c in changed.iter().filter(|c| c.new.is_none()) {
        if let Some(blob) = c.old.filter(|blob| !blob.is_empty_blob()) {
            gone.entry(blob).or_default().push(c.path.clone());
        }
    }
    let name = base_name;
    let mut moved = Vec::new();
    for c in changed.iter().filter(|c| c.old.is_none()) {
        let Some(from) = c.new.and_then(|blob| gone.get_mut(&blob)).filter(|from| !from.is_empty()) else {
            continue;
        };
        let at = from.iter().position(|f| name(f) == name(&c.path)).unwrap_or(0);
        moved.push(Moved { from: from.remove(at), to: c.path.clone(), edited: false });
    }
    let ends: std::collections::HashSet<&str> =
        moved.iter().flat_map(|m| [m.from.as_str(), m.to.as_str()]).collect();
    changed.retain(|c| (c.old.is_some() && c.new.is_some()) || !ends.contains(c.path.as_str()));
    moved
}
