//! Moves runs of changed lines as git does (`xdl_change_compact` without the indent heuristic, as in its merges): runs
//! that can be joined are, then each stands beside a change on the other side if it can, and as far down as it can if
//! not. Runs that were moved may have lines in common with what they now stand beside: those are compared again.

use bstr::ByteSlice;
use imara_diff::Token;

use super::histogram::{DIFFERS, without_anchors};
use crate::store::GitVersion;

/// The git that began to compare moved runs again (its commit e417277ae9).
pub(super) const COMPARES_AGAIN: GitVersion = GitVersion::new(2, 54, 0);

/// A run of changed lines between two unchanged ones; it may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    start: usize,
    end: usize,
}

impl Group {
    fn first(changed: &[u8]) -> Self {
        Self { start: 0, end: run_end(changed, 0) }
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// To the next run, if there is one.
    fn next(&mut self, changed: &[u8]) -> bool {
        if self.end == changed.len() {
            return false;
        }
        self.start = self.end + 1;
        self.end = run_end(changed, self.start);
        true
    }

    /// To the run before.
    fn back(&mut self, changed: &[u8]) {
        self.end = self.start.saturating_sub(1);
        self.start = run_start(changed, self.end);
    }

    /// A line up, and on to what it touches then.
    fn up(&mut self, changed: &mut [u8], lines: &[Token]) -> bool {
        if self.start == 0 || lines[self.start - 1] != lines[self.end - 1] {
            return false;
        }
        self.start -= 1;
        self.end -= 1;
        changed[self.start] = DIFFERS;
        changed[self.end] = 0;
        self.start = run_start(changed, self.start);
        true
    }

    /// A line down, and on to what it touches then.
    fn down(&mut self, changed: &mut [u8], lines: &[Token]) -> bool {
        if self.end == lines.len() || lines[self.start] != lines[self.end] {
            return false;
        }
        changed[self.start] = 0;
        changed[self.end] = DIFFERS;
        self.start += 1;
        self.end = run_end(changed, self.end + 1);
        true
    }
}

pub(super) fn run_end(changed: &[u8], from: usize) -> usize {
    from + changed[from..].iter().take_while(|c| **c == DIFFERS).count()
}

fn run_start(changed: &[u8], end: usize) -> usize {
    end - changed[..end].iter().rev().take_while(|c| **c == DIFFERS).count()
}

/// Moves the runs of the first version's changed lines; the second is the other version. With `again`, the number of
/// all tokens, what a moved run has in common with the run beside it is no change.
pub(super) fn compact(
    [lines, other_lines]: [&[Token]; 2],
    [changed, other]: [&mut Vec<u8>; 2],
    again: Option<u32>,
) {
    let (mut group, mut beside) = (Group::first(changed), Group::first(other));
    loop {
        if !group.is_empty() {
            let before = group;
            settle(&mut group, &mut beside, changed, other, lines);
            if let Some(tokens) = again.filter(|_| group != before && !beside.is_empty()) {
                let (here, there) = (group.start..group.end, beside.start..beside.end);
                let (gone, come) = without_anchors(&lines[here.clone()], &other_lines[there.clone()], tokens);
                changed[here].copy_from_slice(&gone);
                other[there].copy_from_slice(&come);
            }
        }
        // Where neither has a run there is nothing to move.
        let same = unchanged(changed, group.end).min(unchanged(other, beside.end)).saturating_sub(1);
        group = Group { start: group.end + same, end: group.end + same };
        beside = Group { start: beside.end + same, end: beside.end + same };
        if !group.next(changed) || !beside.next(other) {
            return;
        }
    }
}

/// How many lines from one on are unchanged.
pub(super) fn unchanged(changed: &[u8], from: usize) -> usize {
    let rest = &changed[from..];
    rest.find_byte(DIFFERS).unwrap_or(rest.len())
}

fn settle(group: &mut Group, beside: &mut Group, changed: &mut [u8], other: &[u8], lines: &[Token]) {
    let (mut highest, mut matches);
    loop {
        let size = group.end - group.start;
        while group.up(changed, lines) {
            beside.back(other);
        }
        highest = group.end;
        matches = !beside.is_empty();
        while group.down(changed, lines) {
            beside.next(other);
            matches |= !beside.is_empty();
        }
        if size == group.end - group.start {
            break;
        }
    }
    if group.end != highest && matches {
        while beside.is_empty() && group.up(changed, lines) {
            beside.back(other);
        }
    }
}
