//! Strict apply of one file's change to the file's bytes, in the way of `git apply`.

use std::ops::Range;

use bstr::{ByteSlice, Finder};

use super::binary::{BinaryPatch, apply_delta};
use super::change::{ChangeKind, Content, FileChange, Hunk, HunkLine, LineKind};
use super::error::{QueueError, Reason};

/// The file's bytes after `change`. `old` is the content at the old path (empty for an addition).
///
/// No fuzz: all context must match. A hunk is looked for nearest outward from the line that it names,
/// and one without leading or trailing context only at the file's start or end, as `git apply` does.
/// Fails with the path, the hunk's expected line in the file, and [`Reason::Context`].
pub fn apply(change: &FileChange, old: &[u8]) -> Result<Vec<u8>, QueueError> {
    let fail = |line, reason| QueueError::new(change.path().clone(), line, reason);
    if change.kind == ChangeKind::Add && !old.is_empty() {
        return Err(fail(0, Reason::Exists));
    }
    let new = match &change.content {
        Content::Text(hunks) => apply_hunks(hunks, old).map_err(|(line, reason)| fail(line, reason))?,
        Content::BinaryOmitted if change.kind == ChangeKind::Add => Vec::new(),
        Content::BinaryOmitted => return Err(fail(0, Reason::Binary("the patch does not hold the data"))),
        Content::Binary { forward, .. } => {
            let matches = |id: &Option<gix_hash::ObjectId>, data: &[u8], absent: bool| match id {
                Some(id) if id.is_null() => absent,
                Some(id) => {
                    gix_object::compute_hash(id.kind(), gix_object::Kind::Blob, data).is_ok_and(|h| h == *id)
                }
                None => true,
            };
            if !matches(&change.old_id, old, change.kind == ChangeKind::Add) {
                return Err(fail(0, Reason::BinaryBase));
            }
            let new = match forward {
                BinaryPatch::Literal(data) => data.clone(),
                BinaryPatch::Delta(delta) => apply_delta(old, delta).map_err(|reason| fail(0, reason))?,
            };
            if !matches(&change.new_id, &new, change.kind == ChangeKind::Delete) {
                return Err(fail(0, Reason::Binary("the result is not what the patch says")));
            }
            new
        }
    };
    if change.kind == ChangeKind::Delete && !new.is_empty() {
        return Err(fail(0, Reason::NotEmptied));
    }
    Ok(new)
}

/// Applies hunks to bytes; on failure the hunk's expected line and the reason.
pub fn apply_hunks(hunks: &[Hunk], old: &[u8]) -> Result<Vec<u8>, (usize, Reason)> {
    let known = as_named(hunks, old).or_else(|| as_found(hunks, old));
    known.map_or_else(|| apply_searching(hunks, old), Ok)
}

/// The same where each hunk stands at the line that it names, after the ones before it: no line is looked at but those of the
/// hunks. None where one does not.
fn as_named(hunks: &[Hunk], old: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(old.len());
    // Where the rest of the file begins, and which line of the new file that is.
    let (mut rest, mut line) = (0, 0);
    for hunk in hunks {
        let start = if hunk.old_start <= 1 { 0 } else { hunk.new_start.saturating_sub(1) };
        let skipped = match start.checked_sub(line)? {
            0 => 0,
            lines => old[rest..].find_iter(b"\n").nth(lines - 1)? + 1,
        };
        out.extend_from_slice(&old[rest..rest + skipped]);
        (rest, line) = (rest + skipped, start);
        for HunkLine { kind, bytes } in &hunk.lines {
            if *kind != LineKind::Add {
                rest = old[rest..].starts_with(bytes).then_some(rest + bytes.len())?;
                if !bytes.ends_with(b"\n") && rest < old.len() {
                    return None;
                }
            }
            if *kind != LineKind::Remove {
                if !out.is_empty() && !out.ends_with(b"\n") {
                    return None;
                }
                out.extend_from_slice(bytes);
                line += 1;
            }
        }
        let to_the_end = hunk.lines.last().is_none_or(|last| last.kind != LineKind::Context);
        if to_the_end && rest < old.len() {
            return None;
        }
    }
    out.extend_from_slice(&old[rest..]);
    Some(out)
}

/// The same where there is one place alone for each hunk, wherever that is. None where there is not, or a hunk is bound to the
/// file's start or end.
fn as_found(hunks: &[Hunk], old: &[u8]) -> Option<Vec<u8>> {
    let mut found: Vec<(Range<usize>, Vec<u8>)> = Vec::with_capacity(hunks.len());
    for hunk in hunks {
        let is_bound = hunk.old_start <= 1 || hunk.lines.last().is_none_or(|l| l.kind != LineKind::Context);
        if is_bound || !hunk.lines.iter().all(|l| l.bytes.ends_with(b"\n")) {
            return None;
        }
        let side = |skip: LineKind| {
            let lines = hunk.lines.iter().filter(move |l| l.kind != skip);
            lines.flat_map(|l| l.bytes.as_slice()).copied().collect::<Vec<u8>>()
        };
        let (before, after) = (side(LineKind::Add), side(LineKind::Remove));
        let finder = Finder::new(&before);
        let (mut from, mut place) = (0, None);
        while let Some(at) = finder.find(&old[from..]).map(|at| from + at) {
            let range = at..at + before.len();
            let is_free = !found.iter().any(|(taken, _)| taken.start < range.end && range.start < taken.end);
            if is_free && (at == 0 || old[at - 1] == b'\n') && place.replace(range).is_some() {
                return None;
            }
            from = at + 1;
        }
        found.push((place?, after));
    }
    found.sort_by_key(|(range, _)| range.start);
    let (mut out, mut rest) = (Vec::with_capacity(old.len()), 0);
    for (range, after) in found {
        out.extend_from_slice(&old[rest..range.start]);
        out.extend_from_slice(&after);
        rest = range.end;
    }
    out.extend_from_slice(&old[rest..]);
    Some(out)
}

/// The same, wherever the hunks stand.
fn apply_searching(hunks: &[Hunk], old: &[u8]) -> Result<Vec<u8>, (usize, Reason)> {
    // Each line, and whether a hunk has settled it: such a line takes part in no later hunk.
    let mut image: Vec<(&[u8], bool)> = old.lines_with_terminator().map(|l| (l, false)).collect();
    for (n, hunk) in hunks.iter().enumerate() {
        let side =
            |skip: LineKind| hunk.lines.iter().filter(move |l| l.kind != skip).map(|l| l.bytes.as_slice());
        let before: Vec<&[u8]> = side(LineKind::Add).collect();
        let at = find(&image, hunk, &before).ok_or((hunk.old_start, Reason::Context { hunk: n + 1 }))?;
        image.splice(at..at + before.len(), side(LineKind::Remove).map(|l| (l, true)));
    }
    let mut out: Vec<u8> = Vec::with_capacity(old.len());
    let last = image.len();
    for (i, (line, _)) in image.iter().enumerate() {
        if i + 1 < last && !line.ends_with(b"\n") {
            let hunk = hunks.len();
            return Err((i + 1, Reason::Context { hunk }));
        }
        out.extend_from_slice(line);
    }
    Ok(out)
}

/// Where the hunk's old lines stand in the image (the search of git's `find_pos`).
fn find(image: &[(&[u8], bool)], hunk: &Hunk, before: &[&[u8]]) -> Option<usize> {
    let limit = image.len().checked_sub(before.len())?;
    let trailing = hunk.lines.iter().rev().take_while(|l| l.kind == LineKind::Context).count();
    let at_start = hunk.old_start <= 1;
    let at_end = trailing == 0;
    let fits = |at: usize| {
        at <= limit
            && (!at_start || at == 0)
            && (!at_end || at == limit)
            && image[at..at + before.len()].iter().zip(before).all(|((line, done), b)| !done && line == b)
    };
    if at_start {
        return fits(0).then_some(0);
    }
    if at_end {
        return fits(limit).then_some(limit);
    }
    // git starts at the new file's line number, which counts what earlier hunks added.
    let start = hunk.new_start.saturating_sub(1).min(image.len());
    let (mut back, mut forward) = (start, start);
    let mut current = start;
    let mut turn = 0usize;
    loop {
        if fits(current) {
            return Some(current);
        }
        if back == 0 && forward == image.len() {
            return None;
        }
        let go_back = if back == 0 { false } else { forward == image.len() || turn % 2 == 1 };
        if go_back {
            back -= 1;
            current = back;
        } else {
            forward += 1;
            current = forward;
        }
        turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One is another's end.
    const LINES: [&[u8]; 3] = [b"a", b"b", b"ba"];

    /// Lines of which some are alike, the last maybe without an end.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        (proptest::collection::vec(0_usize..3, 0..9), any::<bool>()).prop_map(|(lines, ends)| {
            let mut text: Vec<u8> = lines.iter().flat_map(|line| [LINES[*line], b"\n"].concat()).collect();
            if !ends {
                text.pop();
            }
            text
        })
    }

    /// Hunks that may fit: lines of a kind each, and where they are said to stand.
    fn hunks() -> impl Strategy<Value = Vec<Hunk>> {
        let line = (0_u8..4, 0_usize..3, 0_u8..9).prop_map(|(kind, line, end)| HunkLine {
            kind: [LineKind::Context, LineKind::Context, LineKind::Add, LineKind::Remove][usize::from(kind)],
            bytes: [LINES[line], if end == 0 { b"" } else { b"\n" }].concat().into(),
        });
        let hunk = (0_usize..9, 0_usize..9, proptest::collection::vec(line, 0..4));
        let hunk = hunk.prop_map(|(old_start, new_start, lines)| {
            let count = |skip| lines.iter().filter(|l: &&HunkLine| l.kind != skip).count();
            let (old_len, new_len) = (count(LineKind::Add), count(LineKind::Remove));
            Hunk { old_start, old_len, new_start, new_len, lines, line: 1 }
        });
        proptest::collection::vec(hunk, 0..3)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_stands_where_it_says_or_in_one_place_alone_the_search_finds_there(hunks in hunks(), old in text()) {
            for new in [as_named(&hunks, &old), as_found(&hunks, &old)].into_iter().flatten() {
                prop_assert_eq!(apply_searching(&hunks, &old).ok(), Some(new));
            }
        }
    }

    #[test]
    fn hunks_that_stand_as_they_say_are_not_searched_for() {
        let old: Vec<u8> = (1..=40).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let line = |kind, bytes: &str| HunkLine { kind, bytes: bytes.into() };
        let hunk = |old_start, new_start, at: usize| Hunk {
            old_start,
            old_len: 2,
            new_start,
            new_len: 3,
            lines: vec![
                line(LineKind::Context, &format!("{at}\n")),
                line(LineKind::Add, "new\n"),
                line(LineKind::Context, &format!("{}\n", at + 1)),
            ],
            line: 1,
        };
        let hunks = [hunk(1, 1, 1), hunk(10, 11, 10), hunk(12, 14, 12), hunk(30, 33, 30)];
        let named = as_named(&hunks, &old).expect("all stand there");
        assert_eq!(apply_searching(&hunks, &old).expect("they apply"), named);
        assert_eq!(named.find_iter("new\n").count(), 4);
        let moved = [hunk(12, 13, 10), hunk(30, 32, 31)];
        assert_eq!(as_named(&moved, &old), None);
        assert_eq!(as_found(&moved, &old), apply_searching(&moved, &old).ok());
        assert_eq!(as_found(&[hunk(12, 13, 10)], &[old.clone(), old].concat()), None);
    }
}
