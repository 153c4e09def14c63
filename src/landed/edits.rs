//! What a change takes from its files and adds to them, line by line: by a patch's own text where that tells it, else by its
//! trees.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::Candidate;
use super::lines::{Side, sides};
use crate::queue::{ChangeKind, Content, FileChange, LineKind};
use crate::store::{Objects, Odb, StoreError};
use crate::trunk::delta;

/// What happens to one file.
pub(super) struct Edit<'a> {
    /// The file.
    pub path: BString,
    /// Does it change its type or its mode?
    pub moded: bool,
    /// Each line that comes (1) or goes (-1), with its end; context may be among them on both sides. None for anything but
    /// text.
    pub lines: Option<Vec<(Cow<'a, [u8]>, i32)>>,
}

impl<'a> Edit<'a> {
    /// A patch's.
    pub(super) fn of_patch(odb: &Odb, patch: &Candidate<'a>) -> Result<Vec<Self>, StoreError> {
        match patch.text.and_then(|text| by_text(text.changes())) {
            Some(edits) if !edits.is_empty() => Ok(edits),
            _ => Self::between(odb, &patch.trees.0, &patch.trees.1),
        }
    }

    /// Those between two trees.
    pub(super) fn between(
        objects: &dyn Objects,
        before: &ObjectId,
        after: &ObjectId,
    ) -> Result<Vec<Self>, StoreError> {
        let mut edits = Vec::new();
        for change in delta::changes(objects, before, after)? {
            let moded = change.old.zip(change.new).is_some_and(|(old, new)| old.mode != new.mode);
            let lines = sides(objects, &change)?.map(|[old, new]| {
                let side = |side: Side, step| {
                    let lines = side.lines_with_terminator().map(|line| (Cow::Owned(line.to_vec()), step));
                    lines.collect::<Vec<_>>()
                };
                [side(old, -1), side(new, 1)].concat()
            });
            edits.push(Edit { path: change.path, moded, lines });
        }
        Ok(edits)
    }
}

/// By the hunks, where each file stays in its place and is a plain one: how often a line comes and goes, less what does
/// both, is the same however a diff is cut.
fn by_text(changes: &[FileChange]) -> Option<Vec<Edit<'_>>> {
    let mut paths = BTreeSet::new();
    changes.iter().map(|change| edit(change).filter(|_| paths.insert(change.path()))).collect()
}

fn edit(change: &FileChange) -> Option<Edit<'_>> {
    let Content::Text(hunks) = &change.content else { return None };
    let in_place = match change.kind {
        ChangeKind::Modify => change.old_path == change.new_path,
        ChangeKind::Add | ChangeKind::Delete => true,
        ChangeKind::Rename | ChangeKind::Copy => false,
    };
    let modes = [change.old_mode, change.new_mode];
    if !in_place || !modes.iter().flatten().all(|mode| mode & 0o170_000 == 0o100_000) {
        return None;
    }
    let step = |kind| match kind {
        LineKind::Context => None,
        LineKind::Add => Some(1),
        LineKind::Remove => Some(-1),
    };
    let lines = hunks.iter().flat_map(|hunk| &hunk.lines);
    let lines: Vec<(Cow<'_, [u8]>, i32)> =
        lines.filter_map(|line| Some((Cow::Borrowed(line.bytes.as_slice()), step(line.kind)?))).collect();
    // A file of NUL bytes is none of text, whatever its patch says.
    let text = !lines.iter().any(|(line, _)| line.find_byte(0).is_some());
    let moded = matches!(modes, [Some(old), Some(new)] if old != new);
    text.then(|| Edit { path: change.path().clone(), moded, lines: Some(lines) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::parse_diff;

    type Told = (String, bool, Vec<(String, i32)>);

    fn edits(diff: &str) -> Option<Vec<Told>> {
        let changes = parse_diff(b"p", diff.as_bytes(), 1, 1).expect("a diff");
        let lines = |edit: &Edit<'_>| -> Vec<(String, i32)> {
            let lines = edit.lines.iter().flatten();
            lines.map(|(line, step)| (String::from_utf8_lossy(line).into_owned(), *step)).collect()
        };
        let edits = by_text(&changes)?;
        Some(edits.iter().map(|edit| (edit.path.to_string(), edit.moded, lines(edit))).collect())
    }

    #[test]
    fn hunks_tell_what_comes_and_goes_with_its_line_ends() {
        let diff = "diff --git a/f b/f\nold mode 100644\nnew mode 100755\n--- a/f\n+++ b/f\n@@ -1,2 +1,3 @@\n a\n-b\n\\ No newline at end of file\n+b\n+c\n\\ No newline at end of file\n";
        let lines = vec![("b".to_owned(), -1), ("b\n".to_owned(), 1), ("c".to_owned(), 1)];
        assert_eq!(edits(diff), Some(vec![("f".to_owned(), true, lines)]));
    }

    #[test]
    fn what_hunks_alone_do_not_tell_is_left_to_the_trees() {
        let moved = "diff --git a/f b/g\nsimilarity index 90%\nrename from f\nrename to g\n--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(edits(moved), None);
        let link = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+to\n\\ No newline at end of file\n";
        assert_eq!(edits(link), None);
        let turned = "diff --git a/f b/f\ndeleted file mode 100644\n--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\ndiff --git a/f b/f\nnew file mode 120000\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+to\n\\ No newline at end of file\n";
        assert_eq!(edits(turned), None);
    }
}
