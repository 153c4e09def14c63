//! Moves runs of changed lines as git does (`xdl_change_compact` without the indent heuristic, as in its merges): runs
//! that can be joined are, then each stands beside a change on the other side if it can, and as far down as it can if
//! not. Runs that were moved may have lines in common with what they now stand beside: those are compared again.

use imara_diff::Token;

use super::histogram::without_anchors;
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
    fn first(changed: &[bool]) -> Self {
        Self { start: 0, end: run_end(changed, 0) }
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// To the next run, if there is one.
    fn next(&mut self, changed: &[bool]) -> bool {
        if self.end == changed.len() {
            return false;
        }
        self.start = self.end + 1;
        self.end = run_end(changed, self.start);
        true
    }

    /// To the run before.
    fn back(&mut self, changed: &[bool]) {
        self.end = self.start.saturating_sub(1);
        self.start = run_start(changed, self.end);
    }

    /// A line up, and on to what it touches then.
    fn up(&mut self, changed: &mut [bool], lines: &[Token]) -> bool {
        if self.start == 0 || lines[self.start - 1] != lines[self.end - 1] {
            return false;
        }
        self.start -= 1;
        self.end -= 1;
        changed[self.start] = true;
        changed[self.end] = false;
        self.start = run_start(changed, self.start);
        true
    }

    /// A line down, and on to what it touches then.
    fn down(&mut self, changed: &mut [bool], lines: &[Token]) -> bool {
        if self.end == lines.len() || lines[self.start] != lines[self.end] {
            return false;
        }
        changed[self.start] = false;
        changed[self.end] = true;
        self.start += 1;
        self.end = run_end(changed, self.end + 1);
        true
    }
}

fn run_end(changed: &[bool], from: usize) -> usize {
    from + changed[from..].iter().take_while(|c| **c).count()
}

fn run_start(changed: &[bool], end: usize) -> usize {
    end - changed[..end].iter().rev().take_while(|c| **c).count()
}

/// Moves the runs of the first version's changed lines; the second is the other version. With `again`, the number of
/// all tokens, what a moved run has in common with the run beside it is no change.
pub(super) fn compact(
    [lines, other_lines]: [&[Token]; 2],
    [changed, other]: [&mut Vec<bool>; 2],
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
        if !group.next(changed) || !beside.next(other) {
            return;
        }
    }
}

fn settle(group: &mut Group, beside: &mut Group, changed: &mut [bool], other: &[bool], lines: &[Token]) {
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
