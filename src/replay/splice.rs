//! The merge of one folder by what their side changed in it: nothing else needs to be looked at.
//!
//! Trees are compared as they are stored. A patch changes few entries of a large folder, so most of the three trees is
//! only skipped over, and most of the result is copied.

use bstr::BStr;

use super::Sides;
use crate::store::ObjectError;
use crate::store::tree::{Entry, RawTree, differing, name_order};

/// More changes than this are merged by a walk over all names.
const FEW: usize = 8;

/// One name that their side changed.
pub(super) struct Changed<'t> {
    /// The name.
    pub name: &'t BStr,
    /// What stands there.
    pub sides: Sides<Option<Entry>>,
    /// Where it stands among our bytes.
    at: Option<usize>,
}

/// A name, what is to stand there, and what does.
pub(super) type Edit<'c, 't> = (&'c Changed<'t>, Option<Entry>);

/// The entries in which `theirs` differs from `base`, with what ours has there; nothing if they are many.
pub(super) fn changed<'t>(
    base: &'t RawTree,
    ours: &'t RawTree,
    theirs: &'t RawTree,
) -> Result<Option<Vec<Changed<'t>>>, ObjectError> {
    let mut out: Vec<Changed<'t>> = Vec::new();
    for differing in differing(base, theirs) {
        let (name, base, theirs) = differing?;
        // A file that became a folder, or the other way round, comes twice.
        match out.iter().position(|c| c.name == name) {
            Some(at) => {
                let known = &mut out[at].sides;
                (known.base, known.theirs) = (known.base.or(base), known.theirs.or(theirs));
            }
            None if out.len() == FEW => return Ok(None),
            None => {
                let there = ours.find(name)?;
                let (at, ours) = (there.map(|(at, _)| at), there.map(|(_, entry)| entry));
                out.push(Changed { name, sides: Sides { base, ours, theirs }, at });
            }
        }
    }
    Ok(Some(out))
}

/// The stored tree with some names set, or gone.
pub(super) fn spliced(ours: &RawTree, edits: &[Edit<'_, '_>]) -> Result<Vec<u8>, ObjectError> {
    let raw = ours.raw();
    // Where to cut, how much to leave out there, and what to put in.
    type Cut<'n> = (usize, usize, Option<(&'n BStr, Entry)>);
    let mut cuts: Vec<Cut<'_>> = Vec::with_capacity(edits.len());
    for (Changed { name, sides, at }, entry) in edits {
        if let (Some(at), Some(was)) = (*at, sides.ours) {
            let len = ours.entry_len(&raw[at..])?.unwrap_or(0);
            if let Some(entry) = entry.filter(|entry| entry.is_tree() == was.is_tree()) {
                cuts.push((at, len, Some((*name, entry))));
                continue;
            }
            cuts.push((at, len, None));
        }
        if let Some(entry) = entry {
            cuts.push((ours.place(name, entry.is_tree())?, 0, Some((*name, *entry))));
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
