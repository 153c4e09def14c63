//! Three-way merge of one file's content, as git's default merge does it: histogram hunks, no fuzz.

use std::num::NonZeroU8;

use bstr::{BStr, BString, ByteSlice};
use gix_merge::blob::Resolution;
use gix_merge::blob::builtin_driver::text::{Conflict, ConflictStyle, Labels, Merge};

use super::attributes::Driver;
use crate::store::{Driven, ObjectError, Objects};

/// Git looks for a NUL in this many first bytes to call a file binary (`buffer_is_binary`).
const BINARY_PROBE: usize = 8000;

/// What a merge of contents gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The merged bytes.
    Clean(Vec<u8>),
    /// The same lines were changed on both sides.
    Conflict,
    /// A binary file was changed on both sides.
    Binary,
}

/// Merges as `driver` says.
pub fn merge_by(
    objects: &dyn Objects,
    driver: &Driver,
    path: &BStr,
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
) -> Result<Content, ObjectError> {
    let name = match driver {
        Driver::Text => return Ok(merge(base, ours, theirs)),
        Driver::Union => return Ok(merge_lines(base, ours, theirs, true)),
        Driver::Binary => return Ok(Content::Binary),
        Driver::Named(name) => name,
    };
    let driven = match objects.drivers() {
        Some(drivers) => drivers.merge(name, path, base, ours, theirs).map_err(|e| {
            let reason = format!("the merge driver '{name}' for '{path}': {e}");
            ObjectError { id: gix_hash::Kind::Sha1.null(), reason }
        })?,
        None => None,
    };
    Ok(match driven {
        Some(Driven::Clean(data)) => Content::Clean(data),
        Some(Driven::Conflict) => Content::Conflict,
        // As git does: an unknown driver is the one for text.
        None => merge(base, ours, theirs),
    })
}

/// Does git take `data` for binary?
pub fn is_binary(data: &[u8]) -> bool {
    data[..data.len().min(BINARY_PROBE)].contains(&0)
}

/// Merges what changed from `base` to `theirs` into `ours`.
pub fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Content {
    merge_lines(base, ours, theirs, false)
}

/// The same; with `union` the lines of both sides stand where they meet (`merge=union`).
pub fn merge_lines(base: &[u8], ours: &[u8], theirs: &[u8], union: bool) -> Content {
    if is_binary(base) || is_binary(ours) || is_binary(theirs) {
        return Content::Binary;
    }
    let mut input = imara_diff::InternedInput::default();
    let merge = Merge::new(&mut input, ours, base, theirs, imara_diff::Algorithm::Histogram);
    let mut out = Vec::with_capacity(ours.len().max(theirs.len()));
    let keep = Conflict::Keep { style: ConflictStyle::Merge, marker_size: NonZeroU8::MIN.saturating_add(6) };
    let conflict = if union { Conflict::ResolveWithUnion } else { keep };
    match merge.run(&mut out, Labels::default(), conflict) {
        Resolution::Complete | Resolution::CompleteWithAutoResolvedConflict => Content::Clean(out),
        _ => Content::Conflict,
    }
}

/// A merge of text with git's marks at its conflicts, labelled as the stack (`HEAD`) and the patch.
pub fn marked(base: &[u8], ours: &[u8], theirs: &[u8], style: ConflictStyle) -> Vec<u8> {
    let mut input = imara_diff::InternedInput::default();
    let merge = Merge::new(&mut input, ours, base, theirs, imara_diff::Algorithm::Histogram);
    let mut out = Vec::new();
    let keep = Conflict::Keep { style, marker_size: NonZeroU8::MIN.saturating_add(6) };
    let labels =
        Labels { ancestor: Some("base".into()), current: Some("HEAD".into()), other: Some("patch".into()) };
    merge.run(&mut out, labels, keep);
    out
}

/// One place at which two changes of a file meet: the lines of all three sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The first line in `ours`, from 1.
    pub line: usize,
    /// The lines that both changed.
    pub base: Vec<BString>,
    /// What they are in `ours`.
    pub ours: Vec<BString>,
    /// What they are in `theirs`.
    pub theirs: Vec<BString>,
}

/// The places at which a merge of text conflicts, as git's `zdiff3` style cuts them.
pub fn regions(base: &[u8], ours: &[u8], theirs: &[u8]) -> Vec<Region> {
    // Longer than any line of marks that a file may hold by itself.
    const MARK: u8 = 97;
    let mut input = imara_diff::InternedInput::default();
    let merge = Merge::new(&mut input, ours, base, theirs, imara_diff::Algorithm::Histogram);
    let mut marked = Vec::new();
    let marker_size = NonZeroU8::MIN.saturating_add(MARK - 1);
    let keep = Conflict::Keep { style: ConflictStyle::ZealousDiff3, marker_size };
    merge.run(&mut marked, Labels::default(), keep);
    let is_mark = |line: &[u8], sign: u8| {
        line.len() >= usize::from(MARK) && line[..usize::from(MARK)].iter().all(|b| *b == sign)
    };
    let mut found = Vec::new();
    let mut at = 1;
    let mut lines = marked.lines();
    while let Some(line) = lines.next() {
        if !is_mark(line, b'<') {
            at += 1;
            continue;
        }
        let mut side = |end: u8| -> Vec<BString> {
            lines.by_ref().take_while(|line| !is_mark(line, end)).map(BString::from).collect()
        };
        let (ours, base, theirs) = (side(b'|'), side(b'='), side(b'>'));
        let region = Region { line: at, base, ours, theirs };
        at += region.ours.len();
        found.push(region);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_apart_from_each_other_merge() {
        let base = b"1\n2\n3\n4\n5\n6\n7\n8\n";
        let ours = b"one\n2\n3\n4\n5\n6\n7\n8\n";
        let theirs = b"1\n2\n3\n4\n5\n6\n7\neight\n";
        assert_eq!(merge(base, ours, theirs), Content::Clean(b"one\n2\n3\n4\n5\n6\n7\neight\n".to_vec()));
    }

    #[test]
    fn a_conflict_s_region_has_all_three_sides() {
        let found = regions(b"a\nb\nc\nd\n", b"a\nB\nc\nd\n", b"a\nbb\nc\nD\n");
        let lines = |text: &str| vec![BString::from(text)];
        assert_eq!(found, [Region { line: 2, base: lines("b"), ours: lines("B"), theirs: lines("bb") }]);
    }

    #[test]
    fn changes_of_one_line_conflict() {
        assert_eq!(merge(b"1\n", b"2\n", b"3\n"), Content::Conflict);
    }

    #[test]
    fn a_binary_file_changed_on_both_sides_conflicts() {
        assert_eq!(merge(b"a\0", b"b\0", b"c\0"), Content::Binary);
    }
}
