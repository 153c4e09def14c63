//! Answers that `git rerere` recorded, read from its cache (`git help rerere`; the form is that of git's own
//! `Documentation/technical/rerere`): a folder a conflict, named by a hash of its sides.

use std::path::Path;

use bstr::ByteSlice;
use gix_hash::{Kind, ObjectId};

use crate::replay::content::{Content, marked, merge};
use crate::replay::lines::Style;

/// How many lines of a mark git writes.
const MARK: usize = 7;
/// Which of several answers under one name: git numbers them from 1.
const VARIANTS: usize = 10;

/// The finished file, if the cache at `folder` has an answer that merges into this very conflict.
pub fn look_up(folder: &Path, base: &[u8], ours: &[u8], theirs: &[u8]) -> Option<Vec<u8>> {
    // The style that the user had set when git recorded it decides how a conflict is cut.
    for style in [Style::Merge, Style::ZealousDiff3, Style::Diff3] {
        let marked = marked(base, ours, theirs, style);
        let Some((sides, this)) = normal_form(&marked) else { continue };
        // By which hash is a matter of the repository that recorded it.
        let names = [Kind::Sha1, Kind::Sha256].map(|kind| name(kind, &sides));
        let Some(name) = names.into_iter().flatten().find(|name| folder.join(name.to_string()).is_dir())
        else {
            continue;
        };
        let place = folder.join(name.to_string());
        for n in 0..VARIANTS {
            let read = |kind: &str| {
                let file = if n == 0 { kind.to_owned() } else { format!("{kind}.{n}") };
                std::fs::read(place.join(file)).ok()
            };
            let (Some(before), Some(after)) = (read("preimage"), read("postimage")) else { continue };
            if let Content::Clean(finished) = merge(&before, &this, &after)
                && normal_form(&finished).is_none()
            {
                return Some(finished);
            }
        }
    }
    None
}

/// The name of a conflict of these sides.
fn name(kind: Kind, sides: &[u8]) -> Option<ObjectId> {
    let mut hasher = gix_hash::hasher(kind);
    hasher.update(sides);
    hasher.try_finalize().ok()
}

/// All sides of all conflicts in a file with marks, and the file as rerere keeps it, the sides of each conflict sorted and
/// without their labels. None without a conflict, or with marks that are not whole.
fn normal_form(marked: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let is_mark = |line: &[u8], sign: u8| {
        line.len() > MARK
            && line[..MARK].iter().all(|b| *b == sign)
            && (line[MARK].is_ascii_whitespace()
                && (line[MARK] == b' ') == matches!(sign, b'<' | b'>' | b'|')
                || sign == b'|' && line[MARK].is_ascii_whitespace())
    };
    let mut all = Vec::new();
    let mut out = Vec::with_capacity(marked.len());
    let mut lines = marked.lines_with_terminator();
    let mut any = false;
    while let Some(line) = lines.next() {
        if !is_mark(line, b'<') {
            out.extend_from_slice(line);
            continue;
        }
        any = true;
        let (mut sides, mut at, mut closed) = ([Vec::new(), Vec::new()], Some(0), false);
        for line in lines.by_ref() {
            if is_mark(line, b'|') {
                at = None;
            } else if is_mark(line, b'=') {
                at = Some(1);
            } else if is_mark(line, b'>') {
                closed = true;
                break;
            } else if let Some(at) = at {
                sides[at].extend_from_slice(line);
            }
        }
        if !closed {
            return None;
        }
        sides.sort();
        for side in &sides {
            all.extend_from_slice(side);
            all.push(0);
        }
        let [one, two] = sides;
        out.extend([b"<<<<<<<\n", one.as_slice(), b"=======\n", two.as_slice(), b">>>>>>>\n"].concat());
    }
    any.then_some((all, out))
}
