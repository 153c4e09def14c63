//! The merge of one folder by what their side changed in it: nothing else needs to be looked at.
//!
//! Trees are compared as they are stored. A patch changes few entries of a large folder, so most of the three trees is
//! only skipped over, and most of the result is copied.

use bstr::{BStr, ByteSlice};

use super::Sides;
use crate::store::ObjectError;
use crate::store::tree::{Entry, RawTree, name_order};

/// More changes than this are merged by a walk over all names.
const FEW: usize = 8;

/// One name that their side changed.
pub(super) struct Changed<'t> {
    /// The name.
    pub name: &'t BStr,
    /// What stands there.
    pub sides: Sides<Option<Entry>>,
}

/// The entries in which `theirs` differs from `base`, with what ours has there; nothing if they are many.
pub(super) fn changed<'t>(
    base: &'t RawTree,
    ours: &'t RawTree,
    theirs: &'t RawTree,
) -> Result<Option<Vec<Changed<'t>>>, ObjectError> {
    let mut out: Vec<Changed<'t>> = Vec::new();
    let (mut old, mut new) = (base.raw(), theirs.raw());
    loop {
        // Entries that are the same bytes are skipped without being read.
        while let Some(len) = entry_len(old, base)?
            && new.get(..len) == Some(&old[..len])
        {
            (old, new) = (&old[len..], &new[len..]);
        }
        let (gone, come) = (base.first(old)?, theirs.first(new)?);
        let order = match (&gone, &come) {
            (None, None) => return Ok(Some(out)),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, x)), Some((b, y))) => name_order(a, x.is_tree(), b, y.is_tree()),
        };
        let gone = gone.filter(|_| order.is_le());
        let come = come.filter(|_| order.is_ge());
        if gone.is_some() {
            old = &old[entry_len(old, base)?.unwrap_or(0)..];
        }
        if come.is_some() {
            new = &new[entry_len(new, theirs)?.unwrap_or(0)..];
        }
        let Some(name) = gone.or(come).map(|(name, _)| name) else { return Ok(Some(out)) };
        // A file that became a folder, or the other way round, comes twice.
        match out.iter().position(|c| c.name == name) {
            Some(at) => {
                let known = &mut out[at].sides;
                known.base = known.base.or(gone.map(|(_, e)| e));
                known.theirs = known.theirs.or(come.map(|(_, e)| e));
            }
            None if out.len() == FEW => return Ok(None),
            None => {
                let ours = find(ours, name)?.map(|(_, entry)| entry);
                let (base, theirs) = (gone.map(|(_, e)| e), come.map(|(_, e)| e));
                out.push(Changed { name, sides: Sides { base, ours, theirs } });
            }
        }
    }
}

/// The stored tree with some names set, or gone.
pub(super) fn spliced(ours: &RawTree, edits: &[(&BStr, Option<Entry>)]) -> Result<Vec<u8>, ObjectError> {
    let raw = ours.raw();
    // Where to cut, what to leave out there, what to put in.
    let mut cuts: Vec<(usize, usize, Option<(&BStr, Entry)>)> = Vec::with_capacity(edits.len());
    for (name, entry) in edits {
        let there = find(ours, name)?;
        if let Some((at, was)) = there {
            let len = entry_len(&raw[at..], ours)?.unwrap_or(0);
            if let Some(entry) = entry.filter(|entry| entry.is_tree() == was.is_tree()) {
                cuts.push((at, len, Some((*name, entry))));
                continue;
            }
            cuts.push((at, len, None));
        }
        if let Some(entry) = entry {
            cuts.push((place(ours, name, entry.is_tree())?, 0, Some((*name, *entry))));
        }
    }
    // What is put in at one place is in git's order.
    cuts.sort_by(|(a, _, x), (b, _, y)| {
        a.cmp(b).then_with(|| match (x, y) {
            (Some((m, x)), Some((n, y))) => name_order(m, x.is_tree(), n, y.is_tree()),
            _ => x.is_none().cmp(&y.is_none()),
        })
    });
    let mut out = Vec::with_capacity(raw.len() + edits.len() * 64);
    let mut at = 0;
    for (cut, len, entry) in cuts {
        out.extend_from_slice(&raw[at.min(cut)..cut]);
        if let Some((name, entry)) = entry {
            entry.write(name, &mut out);
        }
        at = at.max(cut + len);
    }
    out.extend_from_slice(&raw[at..]);
    Ok(out)
}

/// Where a name stands, and what it is.
fn find(tree: &RawTree, name: &BStr) -> Result<Option<(usize, Entry)>, ObjectError> {
    let raw = tree.raw();
    let mut at = 0;
    while let Some(len) = entry_len(&raw[at..], tree)? {
        if name_of(&raw[at..at + len]) == name {
            return Ok(tree.first(&raw[at..])?.map(|(_, entry)| (at, entry)));
        }
        at += len;
    }
    Ok(None)
}

/// Where a name that is not there belongs.
fn place(tree: &RawTree, name: &BStr, is_tree: bool) -> Result<usize, ObjectError> {
    let raw = tree.raw();
    let mut at = 0;
    while let Some(len) = entry_len(&raw[at..], tree)? {
        let other_is_tree = raw[at..].starts_with(b"40000 ");
        if name_order(name_of(&raw[at..at + len]), other_is_tree, name, is_tree).is_gt() {
            break;
        }
        at += len;
    }
    Ok(at)
}

/// The name in a stored entry.
fn name_of(entry: &[u8]) -> &BStr {
    let start = entry.find_byte(b' ').map_or(0, |at| at + 1);
    let end = entry.find_byte(0).unwrap_or(entry.len());
    entry.get(start..end).unwrap_or_default().as_bstr()
}

/// How long the stored entry is that `raw` begins with; nothing at the end.
fn entry_len(raw: &[u8], tree: &RawTree) -> Result<Option<usize>, ObjectError> {
    if raw.is_empty() {
        return Ok(None);
    }
    let len = raw.find_byte(0).map(|end| end + 1 + id_len(tree)).filter(|len| *len <= raw.len());
    len.map(Some).ok_or_else(|| tree.broken())
}

fn id_len(tree: &RawTree) -> usize {
    tree.id().kind().len_in_bytes()
}
