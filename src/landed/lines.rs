//! The lines that a change adds and removes, told apart by their text alone: how much two changes have in common.

use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::Arc;

use bstr::ByteSlice;
use foldhash::HashMap;
use foldhash::quality::FixedState;

use super::edits::Edit;
use crate::store::tree::Entry;
use crate::store::{Objects, Odb, StoreError, common_end, common_start};
use crate::trunk::delta::Change;

/// So many commits at least are looked at one after the other where their lines are read: they have versions of the same files.
pub(super) const STRETCH: usize = 16;

/// How often each line, known by a hash of its text without the blanks around it, comes by a change, less how often it
/// goes. Blank lines and those of brackets alone are left out, and so is what only moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lines {
    net: HashMap<u64, i32>,
}

impl Lines {
    /// Those of what happens to some files.
    pub(super) fn of_edits(edits: &[Edit<'_>]) -> Self {
        let mut net = HashMap::default();
        for (line, step) in edits.iter().filter_map(|edit| edit.lines.as_ref()).flatten() {
            note(&mut net, line, *step);
        }
        net.retain(|_, n| *n != 0);
        Self { net }
    }

    /// Those of some changes.
    pub(super) fn of_changes(odb: &Odb, changes: &[Change]) -> Result<Self, StoreError> {
        let mut net = HashMap::default();
        if odb.is_partial() {
            let sides = changes.iter().flat_map(|change| [change.old, change.new]).flatten();
            odb.bring(&sides.filter(Entry::is_file).map(|entry| entry.id).collect::<Vec<_>>())?;
        }
        for change in changes {
            let Some([old, new]) = sides(odb, change)? else { continue };
            for (side, step) in [(old, -1), (new, 1)] {
                side.lines().for_each(|line| note(&mut net, line, step));
            }
        }
        net.retain(|_, n| *n != 0);
        Ok(Self { net })
    }

    /// Those of both.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (line, n) in other.net {
            *self.net.entry(line).or_insert(0) += n;
        }
        self.net.retain(|_, n| *n != 0);
        self
    }

    /// How many.
    pub(super) fn total(&self) -> u32 {
        self.net.values().map(|n| n.unsigned_abs()).sum()
    }

    /// How many both have.
    pub(super) fn shared(&self, other: &Self) -> u32 {
        self.meet(other).values().map(|n| n.unsigned_abs()).sum()
    }

    /// How many it has in common with several together.
    pub(super) fn shared_with_all(&self, others: &[&Self]) -> u32 {
        let of = |(line, n): (&u64, &i32)| {
            let m: i32 = others.iter().filter_map(|other| other.net.get(line)).sum();
            if m.signum() == n.signum() { n.unsigned_abs().min(m.unsigned_abs()) } else { 0 }
        };
        self.net.iter().map(of).sum()
    }

    /// How many both add.
    pub(super) fn shared_adds(&self, other: &Self) -> u32 {
        self.meet(other).values().map(|n| u32::try_from(*n).unwrap_or(0)).sum()
    }

    /// Does it add any?
    pub(super) fn adds(&self) -> bool {
        self.net.values().any(|n| *n > 0)
    }

    /// What both have.
    pub(super) fn meet(&self, other: &Self) -> HashMap<u64, i32> {
        let (small, large) = if self.net.len() <= other.net.len() { (self, other) } else { (other, self) };
        let both = |(line, n): (&u64, &i32)| {
            let m = large.net.get(line).copied().filter(|m| m.signum() == n.signum())?;
            Some((*line, n.signum() * n.abs().min(m.abs())))
        };
        small.net.iter().filter_map(both).collect()
    }

    /// Without what `taken` has.
    pub(super) fn less(&self, taken: &HashMap<u64, i32>) -> Self {
        let rest = |(line, n): (&u64, &i32)| (*line, n - taken.get(line).copied().unwrap_or(0));
        Self { net: self.net.iter().map(rest).filter(|(_, n)| *n != 0).collect() }
    }

    /// What both have of what either has, in per cent. Something added must be the same: all that touch one line remove
    /// the same.
    pub(super) fn likeness(&self, other: &Self) -> u8 {
        let all = self.total() + other.total();
        if all == 0 || self.adds() && self.shared_adds(other) == 0 {
            return 0;
        }
        per_cent(2 * self.shared(other), all)
    }
}

/// `part` of `all`, in per cent.
pub(super) fn per_cent(part: u32, all: u32) -> u8 {
    u8::try_from(100 * u64::from(part) / u64::from(all.max(1))).unwrap_or(100)
}

fn note(net: &mut HashMap<u64, i32>, line: &[u8], step: i32) {
    let line = line.trim_ascii();
    if line.iter().any(u8::is_ascii_alphanumeric) {
        *net.entry(hash(line)).or_insert(0) += step;
    }
}

/// By what a line is known: the same on all threads.
pub(super) fn hash(line: &[u8]) -> u64 {
    FixedState::default().hash_one(line)
}

/// A part of what stands in a file.
pub(super) struct Side {
    text: Arc<Vec<u8>>,
    part: Range<usize>,
}

impl std::ops::Deref for Side {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.text[self.part.clone()]
    }
}

/// Both contents of a file of text that changed, without the lines that both begin and end with. None for anything but
/// text.
pub(super) fn sides(objects: &dyn Objects, change: &Change) -> Result<Option<[Side; 2]>, StoreError> {
    if [change.old, change.new].iter().flatten().any(|entry| !entry.is_file()) {
        return Ok(None);
    }
    let read = |side: Option<Entry>| side.map(|entry| objects.blob(&entry.id)).transpose();
    let (old, new) = (read(change.old)?, read(change.new)?);
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    if [&old, &new].iter().any(|side| side.find_byte(0).is_some()) {
        return Ok(None);
    }
    let same = common_start(&old, &new);
    let from = old[..same].rfind_byte(b'\n').map_or(0, |end| end + 1);
    let same = common_end(&old[from..], &new[from..]);
    let rest = old[old.len() - same..].find_byte(b'\n').map_or(0, |end| same - end - 1);
    let side = |text: Arc<Vec<u8>>| {
        let part = from..text.len() - rest;
        Side { text, part }
    };
    Ok(Some([side(old), side(new)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(body: &[(&str, i32)]) -> Lines {
        Lines { net: body.iter().map(|(text, n)| (hash(text.as_bytes()), *n)).collect() }
    }

    #[test]
    fn two_changes_of_one_line_are_not_alike_for_that() {
        let (a, b) = (lines(&[("x = 1", -1), ("x = 2", 1)]), lines(&[("x = 1", -1), ("x = 3", 1)]));
        assert_eq!(a.likeness(&b), 0);
        let (a, b) = (lines(&[("x", -1), ("y", 1), ("z", 1)]), lines(&[("x", -1), ("y", 1), ("zz", 1)]));
        assert_eq!(a.likeness(&b), 66);
        assert_eq!(a.likeness(&a), 100);
    }

    #[test]
    fn a_line_that_one_adds_and_the_other_removes_is_not_shared() {
        let (a, b) = (lines(&[("x", 2), ("y", 1)]), lines(&[("x", -2), ("y", 3)]));
        assert_eq!(a.shared(&b), 1);
        assert_eq!(a.less(&a.meet(&b)), lines(&[("x", 2)]));
    }
}
