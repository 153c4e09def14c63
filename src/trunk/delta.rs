//! What differs between two trees, by path. Equal subtrees are not read.

use std::collections::BTreeSet;

use bstr::BString;
use gix_hash::ObjectId;

use crate::store::tree::{Entry, RawTree, differing};
use crate::store::{ObjectError, Objects};

/// One path at which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path from the root.
    pub path: BString,
    /// What stood there; `None` if it was added.
    pub old: Option<Entry>,
    /// What stands there; `None` if it was deleted.
    pub new: Option<Entry>,
}

impl Change {
    /// Is it a whole folder that came or went?
    pub fn is_folder(&self) -> bool {
        [self.old, self.new].iter().flatten().any(Entry::is_tree)
    }
}

/// The files, links and submodules that differ from the tree `old` to the tree `new`.
pub fn changes(objects: &dyn Objects, old: &ObjectId, new: &ObjectId) -> Result<Vec<Change>, ObjectError> {
    let mut out = Vec::new();
    changes_in(objects, &BString::default(), [Some(*old), Some(*new)], &mut out)?;
    Ok(out)
}

/// Adds those in the folder `path`, which has two trees.
pub(super) fn changes_in(
    objects: &dyn Objects,
    path: &BString,
    [old, new]: [Option<ObjectId>; 2],
    out: &mut Vec<Change>,
) -> Result<(), ObjectError> {
    let mut take = |seen: Seen<'_>| {
        if let Seen::File(change) = seen {
            out.push(change);
        }
        true
    };
    walk(objects, path, old, new, &mut take)
}

/// Which of some paths differ between two trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Those that do.
    pub paths: BTreeSet<BString>,
    /// Do others, too?
    pub others: bool,
}

/// Which of `wanted` differ. Other folders are not read.
pub fn touched(
    objects: &dyn Objects,
    old: &ObjectId,
    new: &ObjectId,
    wanted: &BTreeSet<BString>,
) -> Result<Touched, ObjectError> {
    let mut out = Touched::default();
    let root = BString::default();
    walk(objects, &root, Some(*old), Some(*new), &mut |seen| out.note(seen, wanted))?;
    Ok(out)
}

/// Adds what of `wanted` differs in the folder `path`, which has two trees.
pub(super) fn touched_in(
    objects: &dyn Objects,
    path: &BString,
    [old, new]: [Option<ObjectId>; 2],
    wanted: &BTreeSet<BString>,
    out: &mut Touched,
) -> Result<(), ObjectError> {
    if out.note(Seen::Folder(path), wanted) {
        walk(objects, path, old, new, &mut |seen| out.note(seen, wanted))?;
    }
    Ok(())
}

impl Touched {
    /// Notes what a walk comes upon; is it to be gone into?
    fn note(&mut self, seen: Seen<'_>, wanted: &BTreeSet<BString>) -> bool {
        match seen {
            Seen::Folder(path) if holds_some(path, wanted) => true,
            Seen::File(change) if wanted.contains(&change.path) => self.paths.insert(change.path),
            _ => {
                self.others = true;
                false
            }
        }
    }
}

/// Is one of `wanted` inside the folder `path`?
pub(super) fn holds_some(path: &BString, wanted: &BTreeSet<BString>) -> bool {
    let inside = BString::from([path.as_slice(), b"/"].concat());
    wanted.range(inside.clone()..).next().is_some_and(|first| first.starts_with(&inside))
}

/// What a walk comes upon.
enum Seen<'a> {
    /// A folder that differs, before it is read.
    Folder(&'a BString),
    /// A file, link or submodule that differs.
    File(Change),
}

/// Comes upon all that differs, and goes into those folders for which `take` says so.
fn walk(
    objects: &dyn Objects,
    prefix: &BString,
    old: Option<ObjectId>,
    new: Option<ObjectId>,
    take: &mut dyn FnMut(Seen<'_>) -> bool,
) -> Result<(), ObjectError> {
    if old == new {
        return Ok(());
    }
    let (old, new) = (RawTree::read(objects, old.as_ref())?, RawTree::read(objects, new.as_ref())?);
    // A file and a folder of one name are two names here: the one goes, the other comes.
    for differing in differing(&old, &new) {
        let (name, gone, come) = differing?;
        let mut path = prefix.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let folder = |side: Option<Entry>| side.filter(Entry::is_tree).map(|e| e.id);
        if gone.or(come).is_some_and(|e| e.is_tree()) {
            if take(Seen::Folder(&path)) {
                walk(objects, &path, folder(gone), folder(come), take)?;
            }
        } else {
            take(Seen::File(Change { path, old: gone, new: come }));
        }
    }
    Ok(())
}
