//! Whether a patch that applies still says what it said: a merge without a conflict may drop a line that trunk
//! took in as well, or leave one twice.

use std::collections::HashMap;
use std::sync::Arc;

use bstr::{BStr, ByteSlice, Finder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::queue::{Content, FileChange, HunkLine, LineKind};

/// Lines added in a row that are there already count as a doubled hunk from this many on.
const RUN: usize = 4;
/// No more lines than this are told of each kind.
const TOLD: usize = 12;

/// What differs between what a patch said and what it does now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Lines that it added or removed (`+…`, `-…`) and does not any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Lines that it adds or removes now and did not before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// Lines that it adds, several in a row, and that trunk's file has already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubled: Vec<String>,
}

impl Loss {
    /// Is there nothing to tell?
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.doubled.is_empty()
    }

    /// Compares the lines that a patch adds and removes with those that it did, whatever their place.
    pub fn between(before: &[FileChange], after: &[FileChange]) -> Self {
        let (old, new) = (net(before), net(after));
        let (mut missing, mut extra) = (Vec::new(), Vec::new());
        for line in old.keys().chain(new.keys().filter(|line| !old.contains_key(*line))) {
            let of = |all: &HashMap<&BStr, i64>| all.get(line).copied().unwrap_or(0);
            let (was, is) = (of(&old), of(&new));
            let told = |sign: char| format!("{sign}{}", line.to_str_lossy());
            match (was.signum(), (is - was).signum()) {
                (1, -1) => missing.push(told('+')),
                (-1, 1) => missing.push(told('-')),
                (_, 1) => extra.push(told('+')),
                (_, -1) => extra.push(told('-')),
                _ => {}
            }
        }
        for lines in [&mut missing, &mut extra] {
            lines.sort();
            lines.truncate(TOLD);
        }
        Self { missing, extra, doubled: Vec::new() }
    }

    /// Does `change` add so many lines in a row that [`Self::note_doubled`] looks for them?
    pub fn may_double(change: &FileChange) -> bool {
        let Content::Text(hunks) = &change.content else { return false };
        let runs = hunks.iter().flat_map(|hunk| hunk.lines.split(|l| l.kind != LineKind::Add));
        runs.into_iter().any(|run| run.len() >= RUN)
    }

    /// Notes the lines that `change` adds in a row and that the file had before it in the stack (`ours`), but not on
    /// the patch's own base (`base`), which is only asked for where that matters.
    pub fn note_doubled<E>(
        &mut self,
        change: &FileChange,
        base: impl Fn() -> Result<Arc<Vec<u8>>, E>,
        ours: &[u8],
    ) -> Result<(), E> {
        let Content::Text(hunks) = &change.content else { return Ok(()) };
        for hunk in hunks {
            for run in hunk.lines.split(|l| l.kind != LineKind::Add).filter(|run| run.len() >= RUN) {
                let lines: Vec<u8> = run.iter().flat_map(|l| l.bytes.as_slice()).copied().collect();
                if has_lines(ours, &lines) && !has_lines(&base()?, &lines) {
                    let told = run.iter().map(|l| format!("+{}", l.bytes.trim_end().to_str_lossy()));
                    self.doubled.extend(told.take(TOLD));
                }
            }
        }
        Ok(())
    }
}

/// Has a text these lines, one after the other?
fn has_lines(text: &[u8], lines: &[u8]) -> bool {
    let finder = Finder::new(lines);
    let mut from = 0;
    while let Some(at) = finder.find(&text[from..]).map(|at| from + at) {
        let end = at + lines.len();
        if (at == 0 || text[at - 1] == b'\n') && (lines.ends_with(b"\n") || end == text.len()) {
            return true;
        }
        // They may overlap themselves.
        from = at + 1;
    }
    false
}

/// How often each line is added, less how often it is removed: what a diff shows as moved counts for nothing. Blank
/// lines and those of white space and brackets alone are left out.
fn net(changes: &[FileChange]) -> HashMap<&BStr, i64> {
    let mut all = HashMap::new();
    for change in changes {
        let Content::Text(hunks) = &change.content else { continue };
        for HunkLine { kind, bytes } in hunks.iter().flat_map(|h| &h.lines) {
            let step = match kind {
                LineKind::Add => 1,
                LineKind::Remove => -1,
                LineKind::Context => continue,
            };
            let line = bytes.trim_end().as_bstr();
            if line.iter().any(u8::is_ascii_alphanumeric) {
                *all.entry(line).or_insert(0) += step;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::parse_diff;

    fn changes(body: &str) -> Vec<FileChange> {
        let add = body.lines().filter(|l| !l.starts_with('-')).count();
        let remove = body.lines().filter(|l| !l.starts_with('+')).count();
        let diff = format!("--- a/f\n+++ b/f\n@@ -1,{remove} +1,{add} @@\n{body}");
        parse_diff(b"x", diff.as_bytes(), 1, 1).expect("it is well formed")
    }

    #[test]
    fn lines_that_went_or_came_are_told() {
        let before = changes("+one\n+two\n-three\n x\n");
        let after = changes("+one\n-four\n x\n");
        let loss = Loss::between(&before, &after);
        assert_eq!(loss.missing, ["+two", "-three"]);
        assert_eq!(loss.extra, ["-four"]);
        let moved = changes("-x\n+one\n+two\n-three\n+x\n");
        assert!(Loss::between(&before, &moved).is_none());
    }

    #[test]
    fn a_hunk_that_trunk_has_as_well_is_told() {
        let change = &changes(" x\n+1\n+2\n+3\n+4\n")[0];
        let mut loss = Loss::default();
        let base = |text: &'static str| move || Ok::<_, ()>(Arc::new(Vec::from(text)));
        loss.note_doubled(change, base("x\n"), b"1\n2\n3\n4\nx\n").expect("it is there");
        assert_eq!(loss.doubled, ["+1", "+2", "+3", "+4"]);
        let mut loss = Loss::default();
        loss.note_doubled(change, base("x\n1\n2\n3\n4\n"), b"x\n1\n2\n3\n4\n").expect("it is there");
        // Not whole lines, and not all of them.
        loss.note_doubled(change, base("x\n"), b"x1\n2\n3\n4\n1\n2\n3\n\n4\n").expect("it is there");
        assert!(loss.is_none());
        assert!(has_lines(b"a\na\na\nb", b"a\na\nb") && !has_lines(b"a\na\na\nbc", b"a\na\nb"));
    }
}
