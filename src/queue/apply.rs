//! Strict apply of one file's change to the file's bytes, in the way of `git apply`.

use bstr::ByteSlice;

use super::binary::{BinaryPatch, apply_delta};
use super::change::{ChangeKind, Content, FileChange, Hunk, LineKind};
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
