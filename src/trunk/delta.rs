//! What differs between two trees, by path. Equal subtrees are not read.

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use crate::store::tree::{Entry, Tree, name_order};
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

/// The files, links and submodules that differ from the tree `old` to the tree `new`.
pub fn changes(objects: &dyn Objects, old: &ObjectId, new: &ObjectId) -> Result<Vec<Change>, ObjectError> {
    let mut out = Vec::new();
    walk(objects, &BString::default(), Some(*old), Some(*new), &mut out)?;
    Ok(out)
}

fn walk(
    objects: &dyn Objects,
    prefix: &BString,
    old: Option<ObjectId>,
    new: Option<ObjectId>,
    out: &mut Vec<Change>,
) -> Result<(), ObjectError> {
    if old == new {
        return Ok(());
    }
    let (old, new) = (Tree::read(objects, old.as_ref())?, Tree::read(objects, new.as_ref())?);
    let (mut old, mut new) = (old.entries.into_iter().peekable(), new.entries.into_iter().peekable());
    loop {
        // A file and a folder of one name are two names here: the one goes, the other comes.
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, x)), Some((b, y))) => name_order(a.as_bstr(), x.is_tree(), b.as_bstr(), y.is_tree()),
        };
        let left = if order.is_le() { old.next() } else { None };
        let right = if order.is_ge() { new.next() } else { None };
        let Some((name, _)) = left.as_ref().or(right.as_ref()) else { return Ok(()) };
        let mut path = prefix.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let (left, right) = (left.map(|(_, e)| e), right.map(|(_, e)| e));
        if left == right {
            continue;
        }
        let folder = |side: Option<Entry>| side.filter(Entry::is_tree).map(|e| e.id);
        if left.or(right).is_some_and(|e| e.is_tree()) {
            walk(objects, &path, folder(left), folder(right), out)?;
        } else {
            out.push(Change { path, old: left, new: right });
        }
    }
}
