//! Three-way merge of one file's content, as git's default merge does it: histogram hunks, no fuzz.

use bstr::{BStr, BString};
use gix_hash::ObjectId;

use super::attributes::Driver;
use super::lines::{Merge, Series, Style, Versions, owned};
use crate::store::{Driven, GitVersion, ObjectError, Objects};

/// Git looks for a NUL in this many first bytes to call a file binary (`buffer_is_binary`).
const BINARY_PROBE: usize = 8000;
/// Git merges no larger files by lines (`MAX_XDIFF_SIZE`).
const LARGEST: usize = 1023 << 20;
/// The signs of a conflict mark.
const MARK: usize = 7;

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
    let sides = [base, ours, theirs];
    let name = match driver {
        Driver::Text => return Ok(merge_lines(sides, false, objects.as_of())),
        Driver::Union => return Ok(merge_lines(sides, true, objects.as_of())),
        Driver::Binary => return Ok(Content::Binary),
        Driver::Named(name) => name,
    };
    let driven = match objects.drivers() {
        Some(drivers) => drivers.merge(name, path, base, ours, theirs).map_err(|e| {
            let reason = format!("the merge driver '{name}' for '{path}': {e}");
            ObjectError { id: objects.hash().null(), reason }
        })?,
        None => None,
    };
    Ok(match driven {
        Some(Driven::Clean(data)) => Content::Clean(data),
        Some(Driven::Conflict) => Content::Conflict,
        // As git does: an unknown driver is the one for text.
        None => merge_lines(sides, false, objects.as_of()),
    })
}

/// Does git take `data` for binary?
pub fn is_binary(data: &[u8]) -> bool {
    data[..data.len().min(BINARY_PROBE)].contains(&0)
}

/// Merges what changed from `base` to `theirs` into `ours`.
pub fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Content {
    merge_lines([base, ours, theirs], false, GitVersion::NEWEST)
}

/// The same, of one file after the other, where they are versions of one.
pub(super) fn merge_next<'d>(series: &mut Series<'d>, sides: [&'d [u8]; 3]) -> Content {
    if !by_lines(&sides) {
        return Content::Binary;
    }
    let [base, ours, theirs] = sides;
    series.merge(base, ours, theirs).map_or(Content::Conflict, Content::Clean)
}

/// The same, of versions of one file in any order, by their ids. If the merged bytes are not `wanted`, there are none.
pub(super) fn merge_versions(
    versions: &mut Versions,
    sides: [(ObjectId, &[u8]); 3],
    wanted: bool,
) -> Content {
    if !by_lines(&sides.map(|(_, data)| data)) {
        return Content::Binary;
    }
    let merge = versions.merge(sides);
    match merge.is_clean() {
        true => Content::Clean(if wanted { merge.union() } else { Vec::new() }),
        false => Content::Conflict,
    }
}

/// Does git merge these by lines?
fn by_lines(sides: &[&[u8]]) -> bool {
    sides.iter().all(|data| data.len() <= LARGEST && !is_binary(data))
}

/// The same; with `union` the lines of both sides stand where they meet (`merge=union`).
fn merge_lines(sides: [&[u8]; 3], union: bool, as_of: GitVersion) -> Content {
    if !by_lines(&sides) {
        return Content::Binary;
    }
    let [base, ours, theirs] = sides;
    let merge = Merge::new(base, ours, theirs, Style::Merge, as_of);
    match merge.is_clean() || union {
        true => Content::Clean(merge.union()),
        false => Content::Conflict,
    }
}

/// A merge of text with git's marks at its conflicts, labelled as the stack (`HEAD`) and the patch.
pub fn marked(base: &[u8], ours: &[u8], theirs: &[u8], style: Style) -> Vec<u8> {
    let labels = ["base", "HEAD", "patch"].map(BStr::new);
    Merge::new(base, ours, theirs, style, GitVersion::NEWEST).marked(labels, MARK)
}

/// The same in git's default style; marks grow by `deeper`. The labels are those of base, ours and theirs.
pub(super) fn marked_by(
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
    labels: &[BString; 3],
    deeper: usize,
    as_of: GitVersion,
) -> Vec<u8> {
    let [base_label, our_label, their_label] = labels;
    let labels = [base_label.as_ref(), our_label.as_ref(), their_label.as_ref()];
    Merge::new(base, ours, theirs, Style::Merge, as_of).marked(labels, MARK + deeper)
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
    let merge = Merge::new(base, ours, theirs, Style::ZealousDiff3, GitVersion::NEWEST);
    let found = merge.conflicts().map(|c| Region {
        line: c.line + 1,
        base: owned(&c.base),
        ours: owned(&c.ours),
        theirs: owned(&c.theirs),
    });
    found.collect()
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
