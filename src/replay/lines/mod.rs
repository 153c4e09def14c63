//! The three-way merge of lines, as git makes it (`xdiff/xmerge.c` at its default level): where the changes
//! of the two sides meet, what both did alike is taken, and only lines that differ conflict.
//!
//! The differences between two versions are git's histogram ones (`histogram`), moved as git moves them (`compact`): a
//! diff of any other kind, however good, would now and then merge what git does not, or cut a conflict elsewhere.

mod compact;
mod histogram;
mod series;
mod versions;

use std::ops::Range;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use imara_diff::{Interner, Token};

use crate::store::{GitVersion, common_end, common_start};
use histogram::Space;

pub use series::Series;
pub use versions::Versions;

/// A guess at the bytes of a line, for how much memory to take at once.
const LINE: usize = 24;

/// A version of a text.
#[derive(Debug)]
struct Text<'d> {
    data: &'d [u8],
    lines: Arc<Lines>,
}

/// The lines of a text.
#[derive(Debug, Default)]
struct Lines {
    /// Where each begins, and at last where the text ends. Git merges no text by lines that is too long for this.
    starts: Vec<u32>,
    /// What each is: equal lines have one token.
    tokens: Vec<Token>,
}

impl<'d> Text<'d> {
    /// Reads a text, whose lines `number` numbers. Those at both ends that `like` has as well are not looked at: most
    /// versions differ little.
    fn read(data: &'d [u8], like: Option<&Self>, number: &mut impl FnMut(&'d [u8]) -> Token) -> Self {
        let Some(like) = like else {
            let mut lines = Lines::default();
            lines.take(0, data, number);
            lines.starts.push(place(data.len()));
            return Self { data, lines: Arc::new(lines) };
        };
        let same = common_start(like.data, data);
        let (like, starts) = (like, &like.lines.starts);
        // A line at the end that is not ended may go on here.
        let whole = starts.len() - 1 - usize::from(!like.data.is_empty() && !like.data.ends_with(b"\n"));
        let head = starts[1..=whole].partition_point(|end| *end as usize <= same);
        let from = starts[head] as usize;
        let same = common_end(&like.data[from..], &data[from..]);
        // The line's end before it must be the same, too.
        let tail = head + starts[head..].partition_point(|start| *start as usize <= like.data.len() - same);
        let tail = tail.min(like.len());
        let rest = like.data.len() - starts[tail] as usize;
        let to = data.len() - rest;
        let (tokens, more) = (&like.lines.tokens, place(data.len()).wrapping_sub(place(like.data.len())));
        let mut lines = Lines {
            starts: Vec::with_capacity(starts.len() + 16),
            tokens: Vec::with_capacity(tokens.len() + 16),
        };
        lines.starts.extend_from_slice(&starts[..head]);
        lines.tokens.extend_from_slice(&tokens[..head]);
        lines.take(from, &data[from..to], number);
        lines.starts.extend(starts[tail..].iter().map(|start| start.wrapping_add(more)));
        lines.tokens.extend_from_slice(&tokens[tail..]);
        Self { data, lines: Arc::new(lines) }
    }

    /// The bytes of some lines.
    fn bytes(&self, lines: Range<usize>) -> &'d [u8] {
        let starts = &self.lines.starts;
        &self.data[starts[lines.start] as usize..starts[lines.end] as usize]
    }

    fn lines(&self, lines: Range<usize>) -> Vec<&'d [u8]> {
        lines.map(|at| self.bytes(at..at + 1)).collect()
    }

    fn len(&self) -> usize {
        self.lines.tokens.len()
    }

    fn tokens(&self) -> &[Token] {
        &self.lines.tokens
    }
}

impl Lines {
    /// Are they those of a text of so many bytes?
    fn ends_at(&self, bytes: usize) -> bool {
        self.starts.last() == Some(&place(bytes))
    }

    fn take<'d>(&mut self, mut at: usize, lines: &'d [u8], number: &mut impl FnMut(&'d [u8]) -> Token) {
        for line in lines.lines_with_terminator() {
            self.starts.push(place(at));
            self.tokens.push(number(line));
            at += line.len();
        }
    }
}

/// A place in a text.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// How the lines of a conflict are shown (`git help config`, `merge.conflictStyle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Ours and theirs, as few lines as differ.
    Merge,
    /// Base as well, and all lines of it.
    Diff3,
    /// Base as well, without the lines at both ends that the sides have in common.
    ZealousDiff3,
}

/// What stands in a region of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    Conflict,
    Ours,
    Theirs,
    /// Both did the same: as what stands around it.
    Alike,
}

/// A place at which a side differs from the base: the lines of each.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Region {
    take: Take,
    base: Range<usize>,
    ours: Range<usize>,
    theirs: Range<usize>,
}

/// A difference between two versions: the lines in the old one and in the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

/// A merge of three versions of a text.
#[derive(Debug)]
pub struct Merge<'d> {
    base: Text<'d>,
    ours: Text<'d>,
    theirs: Text<'d>,
    regions: Vec<Region>,
    style: Style,
}

/// Where a merge conflicts: the lines of each version, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict<'d> {
    /// The first line in ours.
    pub line: usize,
    /// Base's lines.
    pub base: Vec<&'d [u8]>,
    /// Our lines.
    pub ours: Vec<&'d [u8]>,
    /// Their lines.
    pub theirs: Vec<&'d [u8]>,
}

impl<'d> Merge<'d> {
    /// Merges what changed from `base` to `theirs` into `ours`, as git does since `as_of`.
    pub fn new(base: &'d [u8], ours: &'d [u8], theirs: &'d [u8], style: Style, as_of: GitVersion) -> Self {
        let mut interner: Interner<&'d [u8]> = Interner::new(base.len() / LINE + 64);
        let number = &mut |line| interner.intern(line);
        let base = Text::read(base, None, number);
        let ours = Text::read(ours, Some(&base), number);
        let theirs = Text::read(theirs, Some(&base), number);
        Self::of([base, ours, theirs], interner.num_tokens(), style, as_of, &mut Space::default())
    }

    /// The merge of texts in which so many different lines are numbered.
    fn of(texts: [Text<'d>; 3], all: u32, style: Style, as_of: GitVersion, space: &mut Space) -> Self {
        let [base, ours, theirs] = &texts;
        let by = [ours, theirs].map(|side| differences(space, base.tokens(), side.tokens(), all, as_of));
        Self::by(texts, by, all, style, as_of, space)
    }

    /// The same where it is known what both sides changed.
    fn by(
        [base, ours, theirs]: [Text<'d>; 3],
        [by_us, by_them]: [Vec<Change>; 2],
        all: u32,
        style: Style,
        as_of: GitVersion,
        space: &mut Space,
    ) -> Self {
        let (mine, new) = (ours.tokens(), theirs.tokens());
        let lens = [base.len(), ours.len(), theirs.len()];
        let mut regions = join(&by_us, &by_them, lens, &|a, b| mine[a] == new[b]);
        match style {
            Style::Merge => {
                regions = refine(regions, |o, t| differences(space, &mine[o], &new[t], all, as_of));
                simplify(&mut regions);
            }
            Style::ZealousDiff3 => trim(&mut regions, mine, new),
            Style::Diff3 => {}
        }
        Self { base, ours, theirs, regions, style }
    }

    /// Where it conflicts.
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict<'d>> {
        self.regions.iter().filter(|r| r.take == Take::Conflict).map(|r| Conflict {
            line: r.ours.start,
            base: self.base.lines(r.base.clone()),
            ours: self.ours.lines(r.ours.clone()),
            theirs: self.theirs.lines(r.theirs.clone()),
        })
    }

    /// Has it no conflict?
    pub fn is_clean(&self) -> bool {
        self.regions.iter().all(|r| r.take != Take::Conflict)
    }

    /// The merged text; conflicts stand between marks of `size` signs, with the labels of base, ours and theirs.
    pub fn marked(&self, [base, ours, theirs]: [&BStr; 3], size: usize) -> Vec<u8> {
        self.written(|out, region| {
            let end: &[u8] = if self.wants_cr(region) { b"\r\n" } else { b"\n" };
            let mark = |out: &mut Vec<u8>, sign: u8, label: Option<&BStr>| {
                out.resize(out.len() + size, sign);
                if let Some(label) = label {
                    out.push(b' ');
                    out.extend_from_slice(label);
                }
                out.extend_from_slice(end);
            };
            mark(out, b'<', Some(ours));
            copy(out, self.ours.bytes(region.ours.clone()), Some(end));
            if self.style != Style::Merge {
                mark(out, b'|', Some(base));
                copy(out, self.base.bytes(region.base.clone()), Some(end));
            }
            mark(out, b'=', None);
            copy(out, self.theirs.bytes(region.theirs.clone()), Some(end));
            mark(out, b'>', Some(theirs));
        })
    }

    /// The merged text, where both sides' lines stand one after the other at a conflict (`merge=union`).
    pub fn union(&self) -> Vec<u8> {
        self.written(|out, region| {
            let end: &[u8] = if self.wants_cr(region) { b"\r\n" } else { b"\n" };
            copy(out, self.ours.bytes(region.ours.clone()), Some(end));
            copy(out, self.theirs.bytes(region.theirs.clone()), None);
        })
    }

    fn written(&self, conflict: impl Fn(&mut Vec<u8>, &Region)) -> Vec<u8> {
        let more = self.theirs.data.len().saturating_sub(self.base.data.len());
        let mut out = Vec::with_capacity(self.ours.data.len() + more);
        let mut at = 0;
        for region in self.regions.iter().filter(|r| r.take != Take::Alike) {
            copy(&mut out, self.ours.bytes(at..region.ours.start), None);
            match region.take {
                Take::Conflict => conflict(&mut out, region),
                Take::Theirs => copy(&mut out, self.theirs.bytes(region.theirs.clone()), None),
                _ => copy(&mut out, self.ours.bytes(region.ours.clone()), None),
            }
            at = region.ours.end;
        }
        copy(&mut out, self.ours.bytes(at..self.ours.len()), None);
        out
    }

    /// Do lines end in CR LF around a region? As on both sides before it, or as in the base.
    fn wants_cr(&self, region: &Region) -> bool {
        let mut ends = ends_in_cr(&self.ours, region.ours.start.saturating_sub(1));
        if ends != Some(false) {
            ends = ends_in_cr(&self.theirs, region.theirs.start.saturating_sub(1));
        }
        if ends != Some(false) {
            ends = ends_in_cr(&self.base, 0);
        }
        ends.unwrap_or(false)
    }
}

/// Does the line end in CR LF, or, if it has no end, the one before? Nothing if that tells nothing.
fn ends_in_cr(text: &Text<'_>, at: usize) -> Option<bool> {
    let line = |at: usize| (at < text.len()).then(|| text.bytes(at..at + 1));
    let last = line(at)?;
    if last.ends_with(b"\n") {
        return Some(last.ends_with(b"\r\n"));
    }
    line(at.checked_sub(1)?).map(|line| line.ends_with(b"\r\n"))
}

/// Appends lines; the last gets an end if it has none and `end` is given.
fn copy(out: &mut Vec<u8>, lines: &[u8], end: Option<&[u8]>) {
    out.extend_from_slice(lines);
    if let Some(end) = end
        && !lines.is_empty()
        && !lines.ends_with(b"\n")
    {
        out.extend_from_slice(end);
    }
}

/// Git's differences from `old` to `new`.
fn differences(
    space: &mut Space,
    old: &[Token],
    new: &[Token],
    tokens: u32,
    as_of: GitVersion,
) -> Vec<Change> {
    histogram::diff(space, old, new, tokens);
    let Space { gone, come, .. } = space;
    let again = (as_of >= compact::COMPARES_AGAIN).then_some(tokens);
    compact::compact([old, new], [&mut *gone, &mut *come], again);
    compact::compact([new, old], [&mut *come, &mut *gone], again);
    let mut out = Vec::new();
    let (mut o, mut n) = (0, 0);
    loop {
        let same = compact::unchanged(gone, o).min(compact::unchanged(come, n));
        let (old_start, new_start) = (o + same, n + same);
        (o, n) = (compact::run_end(gone, old_start), compact::run_end(come, new_start));
        if o == old_start && n == new_start {
            return out;
        }
        out.push(Change { old: old_start..o, new: new_start..n });
    }
}

/// Appends a region; one that touches the last one on either side becomes part of it. A change that the last region
/// covers already may seem to begin before the text does.
fn append(
    regions: &mut Vec<Region>,
    take: Take,
    base: Range<usize>,
    ours: Range<isize>,
    theirs: Range<isize>,
) {
    let place = |line: isize| usize::try_from(line).unwrap_or(0);
    let range = |range: &Range<isize>| place(range.start)..place(range.end);
    match regions.last_mut() {
        Some(last) if place(ours.start) <= last.ours.end || place(theirs.start) <= last.theirs.end => {
            if last.take != take {
                last.take = Take::Conflict;
            }
            last.base.end = base.end;
            last.ours.end = place(ours.end);
            last.theirs.end = place(theirs.end);
        }
        _ => regions.push(Region { take, base, ours: range(&ours), theirs: range(&theirs) }),
    }
}

/// Lays the changes of both sides over each other.
fn join(
    ours: &[Change],
    theirs: &[Change],
    [base_len, our_len, their_len]: [usize; 3],
    same: &dyn Fn(usize, usize) -> bool,
) -> Vec<Region> {
    let mut regions = Vec::new();
    let (mut our_rest, mut their_rest) = (ours.iter().peekable(), theirs.iter().peekable());
    // How much further down the base's lines stand on a side that did not change them.
    let shift = |next: Option<&Change>, len: usize| match next {
        Some(next) => next.new.start.cast_signed() - next.old.start.cast_signed(),
        None => len.cast_signed() - base_len.cast_signed(),
    };
    let signed = |range: &Range<usize>| range.start.cast_signed()..range.end.cast_signed();
    let moved =
        |range: &Range<usize>, by: isize| range.start.cast_signed() + by..range.end.cast_signed() + by;
    loop {
        let (o, t) = match (our_rest.peek().copied(), their_rest.peek().copied()) {
            (None, None) => return regions,
            (Some(o), t) if t.is_none_or(|t| o.old.end < t.old.start) => {
                let theirs = moved(&o.old, shift(t, their_len));
                append(&mut regions, Take::Ours, o.old.clone(), signed(&o.new), theirs);
                our_rest.next();
                continue;
            }
            (o, Some(t)) if o.is_none_or(|o| t.old.end < o.old.start) => {
                let ours = moved(&t.old, shift(o, our_len));
                append(&mut regions, Take::Theirs, t.old.clone(), ours, signed(&t.new));
                their_rest.next();
                continue;
            }
            (Some(o), Some(t)) => (o, t),
            _ => return regions,
        };
        let alike = o.old == t.old
            && o.new.len() == t.new.len()
            && o.new.clone().zip(t.new.clone()).all(|(a, b)| same(a, b));
        if !alike {
            let base = o.old.start.min(t.old.start)..o.old.end.max(t.old.end);
            let reach = |change: &Change| {
                let (before, after) = (change.old.start - base.start, base.end - change.old.end);
                let new = signed(&change.new);
                new.start - before.cast_signed()..new.end + after.cast_signed()
            };
            let (ours, theirs) = (reach(o), reach(t));
            append(&mut regions, Take::Conflict, base, ours, theirs);
        }
        let (our_end, their_end) = (o.old.end, t.old.end);
        if our_end >= their_end {
            their_rest.next();
        }
        if their_end >= our_end {
            our_rest.next();
        }
    }
}

/// Cuts each conflict down to the lines in which the sides differ.
fn refine(
    regions: Vec<Region>,
    mut differences: impl FnMut(Range<usize>, Range<usize>) -> Vec<Change>,
) -> Vec<Region> {
    let mut out = Vec::with_capacity(regions.len());
    for region in regions {
        if region.take != Take::Conflict || region.ours.is_empty() || region.theirs.is_empty() {
            out.push(region);
            continue;
        }
        let changes = differences(region.ours.clone(), region.theirs.clone());
        if changes.is_empty() {
            out.push(Region { take: Take::Alike, ..region.clone() });
        }
        for change in changes {
            let within = |range: Range<usize>, start: usize| range.start + start..range.end + start;
            let ours = within(change.old, region.ours.start);
            let theirs = within(change.new, region.theirs.start);
            out.push(Region { take: Take::Conflict, base: region.base.clone(), ours, theirs });
        }
    }
    out
}

/// Conflicts with no more than this many lines between them are shown as one.
const BETWEEN: usize = 3;

fn simplify(regions: &mut Vec<Region>) {
    regions.dedup_by(|next, last| {
        let near = last.take == Take::Conflict
            && next.take == Take::Conflict
            && next.ours.start.saturating_sub(last.ours.end) <= BETWEEN;
        if near {
            last.ours.end = next.ours.end;
            last.theirs.end = next.theirs.end;
        }
        near
    });
}

/// Takes from each conflict the lines at its ends that both sides have.
fn trim(regions: &mut [Region], ours: &[Token], theirs: &[Token]) {
    for Region { take, ours: o, theirs: t, .. } in regions {
        if *take != Take::Conflict {
            continue;
        }
        while o.start < o.end && t.start < t.end && ours[o.start] == theirs[t.start] {
            o.start += 1;
            t.start += 1;
        }
        while o.start < o.end && t.start < t.end && ours[o.end - 1] == theirs[t.end - 1] {
            o.end -= 1;
            t.end -= 1;
        }
    }
}

/// The lines of a conflict's side, without their ends.
pub(super) fn owned(lines: &[&[u8]]) -> Vec<BString> {
    let bare = |line: &&[u8]| BString::from(line.lines().next().unwrap_or_default());
    lines.iter().map(bare).collect()
}
