//! Git's histogram diff (`xdiff/xhistogram.c`): the longest run of common lines with the rarest line in it splits the
//! texts, and what is before and after it is split again.

use imara_diff::{Algorithm, Diff, Token};

/// A line that stands in a text more often than this splits nothing.
const OFTEN: u32 = 64;
/// No line.
const NONE: usize = usize::MAX;

/// Which lines of `old` are gone, and which of `new` came.
pub(super) fn diff(old: &[Token], new: &[Token], tokens: u32) -> (Vec<bool>, Vec<bool>) {
    let mut search = Search {
        old,
        new,
        first: vec![NONE; tokens as usize],
        count: vec![0; tokens as usize],
        next: vec![NONE; old.len()],
        gone: vec![false; old.len()],
        come: vec![false; new.len()],
        tokens,
    };
    search.split(Part { old: 0..old.len(), new: 0..new.len() });
    (search.gone, search.come)
}

/// The same by Myers' algorithm, which needs no rare line (git's `xdl_fall_back_diff`).
pub(super) fn without_anchors(old: &[Token], new: &[Token], tokens: u32) -> (Vec<bool>, Vec<bool>) {
    let mut diff = Diff::default();
    diff.compute_with(Algorithm::Myers, old, new, tokens);
    let (mut gone, mut come) = (vec![false; old.len()], vec![false; new.len()]);
    for hunk in diff.hunks() {
        gone[hunk.before.start as usize..hunk.before.end as usize].fill(true);
        come[hunk.after.start as usize..hunk.after.end as usize].fill(true);
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
    /// For each kind of line: where it stands first in the old part at hand.
    first: Vec<usize>,
    /// For each kind of line: how often it stands there.
    count: Vec<u32>,
    /// For each old line: where its kind stands next.
    next: Vec<usize>,
    gone: Vec<bool>,
    come: Vec<bool>,
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
                    self.gone[part.old].copy_from_slice(&gone);
                    self.come[part.new].copy_from_slice(&come);
                }
            }
        }
    }

    fn all_differs(&mut self, part: Part) {
        self.gone[part.old].fill(true);
        self.come[part.new].fill(true);
    }

    fn run(&mut self, part: &Part) -> Found {
        for at in part.old.clone().rev() {
            let kind = self.old[at].0 as usize;
            self.next[at] = self.first[kind];
            self.first[kind] = at;
            self.count[kind] += 1;
        }
        let (mut best, mut rarest, mut common) = (None, OFTEN + 1, false);
        let mut at = part.new.start;
        while at < part.new.end {
            at = self.runs_at(part, at, &mut best, &mut rarest, &mut common);
        }
        for token in &self.old[part.old.clone()] {
            self.first[token.0 as usize] = NONE;
            self.count[token.0 as usize] = 0;
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
        let kind = self.new[at].0 as usize;
        let mut go_on = at + 1;
        let mut place = self.first[kind];
        if place == NONE {
            return go_on;
        }
        *common = true;
        if self.count[kind] > *rarest {
            return go_on;
        }
        while place != NONE {
            let mut rare = self.count[kind];
            let (mut old, mut new) = (place, at);
            while old > part.old.start && new > part.new.start && self.old[old - 1] == self.new[new - 1] {
                (old, new) = (old - 1, new - 1);
                rare = rare.min(self.count[self.old[old].0 as usize]);
            }
            let (mut old_end, mut new_end) = (place + 1, at + 1);
            while old_end < part.old.end && new_end < part.new.end && self.old[old_end] == self.new[new_end] {
                rare = rare.min(self.count[self.old[old_end].0 as usize]);
                (old_end, new_end) = (old_end + 1, new_end + 1);
            }
            go_on = go_on.max(new_end);
            // The first run needs to be rare; a later one longer, or rarer. Git counts a run's steps, not its lines.
            let longest = best.as_ref().map_or(1, |run| run.old.len());
            if old_end - old > longest || rare < *rarest {
                *best = Some(Part { old: old..old_end, new: new..new_end });
                *rarest = rare;
            }
            while place != NONE && place < old_end {
                place = self.next[place];
            }
        }
        go_on
    }
}
