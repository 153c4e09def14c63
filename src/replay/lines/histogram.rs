//! Git's histogram diff (`xdiff/xhistogram.c`): the longest run of common lines with the rarest line in it splits the
//! texts, and what is before and after it is split again.

use imara_diff::{Algorithm, Diff, Token};

/// A line that stands in a text more often than this splits nothing.
const OFTEN: u32 = 64;
/// No line. No text has so many: git merges none that is larger.
const NONE: u32 = u32::MAX;

/// A line that differs, in the list of a text's lines; the others are 0. Such a list of bytes is looked through fast.
pub(super) const DIFFERS: u8 = 1;

/// What a search needs, kept from one to the next: to fill it anew for each would take as long as to search.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// For each kind of line: where it stands first in the old part at hand. Between two searches: nowhere.
    first: Vec<u32>,
    /// For each kind of line: how often it stands there. Between two searches: never.
    count: Vec<u32>,
    /// For each old line: where its kind stands next.
    next: Vec<u32>,
    /// Which lines of the old text are gone.
    pub gone: Vec<u8>,
    /// Which lines of the new text came.
    pub come: Vec<u8>,
}

/// Finds which lines of `old` are gone, and which of `new` came; they are left in `space`.
pub(super) fn diff(space: &mut Space, old: &[Token], new: &[Token], tokens: u32) {
    let kinds = tokens as usize;
    if space.first.len() < kinds {
        space.first.resize(kinds, NONE);
        space.count.resize(kinds, 0);
    }
    space.next.clear();
    space.next.resize(old.len(), NONE);
    for (lines, text) in [(&mut space.gone, old), (&mut space.come, new)] {
        lines.clear();
        lines.resize(text.len(), 0);
    }
    Search { old, new, space, tokens }.split(Part { old: 0..old.len(), new: 0..new.len() });
}

/// The same by Myers' algorithm, which needs no rare line (git's `xdl_fall_back_diff`).
pub(super) fn without_anchors(old: &[Token], new: &[Token], tokens: u32) -> (Vec<u8>, Vec<u8>) {
    let mut diff = Diff::default();
    diff.compute_with(Algorithm::Myers, old, new, tokens);
    let (mut gone, mut come) = (vec![0; old.len()], vec![0; new.len()]);
    for hunk in diff.hunks() {
        gone[hunk.before.start as usize..hunk.before.end as usize].fill(DIFFERS);
        come[hunk.after.start as usize..hunk.after.end as usize].fill(DIFFERS);
    }
    (gone, come)
}

#[derive(Clone)]
struct Part {
    old: std::ops::Range<usize>,
    new: std::ops::Range<usize>,
}

struct Search<'t> {
    old: &'t [Token],
    new: &'t [Token],
    space: &'t mut Space,
    tokens: u32,
}

enum Found {
    /// A common run.
    Run(Part),
    /// Nothing in common.
    Nothing,
    /// All that is common stands too often.
    TooOften,
}

impl Search<'_> {
    /// Splits until nothing is common. The parts still to do are kept in a list: a text may split as often as it has
    /// lines.
    fn split(&mut self, whole: Part) {
        let mut open = vec![whole];
        while let Some(part) = open.pop() {
            if part.old.is_empty() || part.new.is_empty() {
                self.all_differs(part);
                continue;
            }
            match self.run(&part) {
                Found::Run(run) => {
                    open.push(Part {
                        old: part.old.start..run.old.start,
                        new: part.new.start..run.new.start,
                    });
                    open.push(Part { old: run.old.end..part.old.end, new: run.new.end..part.new.end });
                }
                Found::Nothing => self.all_differs(part),
                Found::TooOften => {
                    let (old, new) = (&self.old[part.old.clone()], &self.new[part.new.clone()]);
                    let (gone, come) = without_anchors(old, new, self.tokens);
                    self.space.gone[part.old].copy_from_slice(&gone);
                    self.space.come[part.new].copy_from_slice(&come);
                }
            }
        }
    }

    fn all_differs(&mut self, part: Part) {
        self.space.gone[part.old].fill(DIFFERS);
        self.space.come[part.new].fill(DIFFERS);
    }

    fn run(&mut self, part: &Part) -> Found {
        let Space { first, count, next, .. } = &mut *self.space;
        let mut at = part.old.end as u32;
        let lines = self.old[part.old.clone()].iter().zip(&mut next[part.old.clone()]);
        for (token, next) in lines.rev() {
            let kind = token.0 as usize;
            at -= 1;
            *next = first[kind];
            first[kind] = at;
            count[kind] += 1;
        }
        let (mut best, mut rarest, mut common) = (None, OFTEN + 1, false);
        let mut at = part.new.start;
        while at < part.new.end {
            at = self.runs_at(part, at, &mut best, &mut rarest, &mut common);
        }
        for token in &self.old[part.old.clone()] {
            self.space.first[token.0 as usize] = NONE;
            self.space.count[token.0 as usize] = 0;
        }
        match best {
            Some(run) if rarest <= OFTEN => Found::Run(run),
            _ if common => Found::TooOften,
            _ => Found::Nothing,
        }
    }

    /// Tries all runs through the new line `at`; returns the line to go on with.
    fn runs_at(
        &self,
        part: &Part,
        at: usize,
        best: &mut Option<Part>,
        rarest: &mut u32,
        common: &mut bool,
    ) -> usize {
        let Space { first, count, next, .. } = &*self.space;
        let kind = self.new[at].0 as usize;
        let mut go_on = at + 1;
        let mut place = first[kind];
        if place == NONE {
            return go_on;
        }
        *common = true;
        if count[kind] > *rarest {
            return go_on;
        }
        while place != NONE {
            let mut rare = count[kind];
            let (mut old, mut new) = (place as usize, at);
            while old > part.old.start && new > part.new.start && self.old[old - 1] == self.new[new - 1] {
                (old, new) = (old - 1, new - 1);
                rare = rare.min(count[self.old[old].0 as usize]);
            }
            let (mut old_end, mut new_end) = (place as usize + 1, at + 1);
            while old_end < part.old.end && new_end < part.new.end && self.old[old_end] == self.new[new_end] {
                rare = rare.min(count[self.old[old_end].0 as usize]);
                (old_end, new_end) = (old_end + 1, new_end + 1);
            }
            go_on = go_on.max(new_end);
            // The first run needs to be rare; a later one longer, or rarer. Git counts a run's steps, not its lines.
            let longest = best.as_ref().map_or(1, |run| run.old.len());
            if old_end - old > longest || rare < *rarest {
                *best = Some(Part { old: old..old_end, new: new..new_end });
                *rarest = rare;
            }
            while place != NONE && (place as usize) < old_end {
                place = next[place as usize];
            }
        }
        go_on
    }
}
