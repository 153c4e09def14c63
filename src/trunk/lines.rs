//! How many lines differ between two trees.

use std::collections::HashMap;
use std::sync::Arc;

use bstr::ByteSlice;
use gix_hash::ObjectId;
use imara_diff::{Algorithm, Diff, InternedInput};

use super::delta::{self, Change};
use crate::store::tree::{Entry, MODE_COMMIT};
use crate::store::{ObjectError, Objects};

/// Git takes a file for binary if one of its first bytes is null (`buffer_is_binary`, xdiff-interface.c).
const FIRST: usize = 8000;

/// Counts lines, and remembers the files that it has counted: most stand in the next pair of trees as well.
#[derive(Debug, Default)]
pub struct LineCounts {
    known: HashMap<(Option<ObjectId>, Option<ObjectId>), [usize; 2]>,
}

impl LineCounts {
    /// The lines that differ from the tree `old` to the tree `new`: added, and taken away. Binary files count for nothing.
    pub fn between(
        &mut self,
        objects: &dyn Objects,
        old: &ObjectId,
        new: &ObjectId,
    ) -> Result<[usize; 2], ObjectError> {
        let mut sum = [0, 0];
        let changes = delta::changes(objects, old, new)?;
        let pair = |change: &Change| (change.old.map(|entry| entry.id), change.new.map(|entry| entry.id));
        let unknown = changes.iter().filter(|change| !self.known.contains_key(&pair(change)));
        let files = unknown.flat_map(|change| [change.old, change.new]).flatten();
        let files: Vec<ObjectId> = files.filter(|e| e.mode != MODE_COMMIT).map(|entry| entry.id).collect();
        objects.bring(&files)?;
        for change in changes {
            let pair = pair(&change);
            let counts = match self.known.get(&pair) {
                Some(known) => *known,
                None => count(&text(objects, change.old)?, &text(objects, change.new)?),
            };
            self.known.insert(pair, counts);
            sum = [sum[0] + counts[0], sum[1] + counts[1]];
        }
        Ok(sum)
    }
}

/// What git compares: of a submodule one line.
fn text(objects: &dyn Objects, side: Option<Entry>) -> Result<Arc<Vec<u8>>, ObjectError> {
    match side {
        None => Ok(Arc::default()),
        Some(entry) if entry.mode == MODE_COMMIT => {
            Ok(Arc::new(format!("Subproject commit {}\n", entry.id).into()))
        }
        Some(entry) => objects.blob(&entry.id),
    }
}

/// Lines added, and taken away.
fn count(old: &[u8], new: &[u8]) -> [usize; 2] {
    if [old, new].iter().any(|side| side[..side.len().min(FIRST)].find_byte(0).is_some()) {
        return [0, 0];
    }
    let input = InternedInput::new(old, new);
    let diff = Diff::compute(Algorithm::Myers, &input);
    [diff.count_additions() as usize, diff.count_removals() as usize]
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::process::Command;

    use bstr::ByteSlice;
    use proptest::prelude::*;

    use super::*;
    use crate::store::Repo;
    use crate::store::git::Git;

    /// What may stand at a path: its mode, and its content.
    fn side() -> impl Strategy<Value = Option<(&'static str, Vec<u8>)>> {
        let lines = proptest::collection::vec(0_u8..6, 0..40)
            .prop_map(|lines| lines.iter().flat_map(|n| [b'a' + n, b'\n']).collect::<Vec<u8>>());
        let text = (lines, any::<bool>()).prop_map(|(mut text, whole)| {
            // The last line may have no end.
            if !whole {
                text.pop();
            }
            text
        });
        let file = prop_oneof![8 => Just("100644"), 1 => Just("100755"), 1 => Just("120000")];
        prop_oneof![
            1 => Just(None),
            8 => (file, text).prop_map(Some),
            1 => Just(Some(("100644", b"a\nb\n\0\nc\n".to_vec()))),
            1 => Just(Some(("160000", b"1234567890123456789012345678901234567890".to_vec()))),
            1 => Just(Some(("160000", b"abcdef7890123456789012345678901234567890".to_vec()))),
        ]
    }

    fn tree(git: &Git, name: &str, sides: &[Option<(&'static str, Vec<u8>)>]) -> ObjectId {
        let mut stream = Vec::from(format!("commit refs/heads/{name}\ncommitter a <a> 1 +0000\ndata 0\n"));
        for (at, side) in sides.iter().enumerate() {
            let Some((mode, text)) = side else { continue };
            match *mode {
                "160000" => stream.extend(format!("M 160000 {} d/f{at}\n", text.as_bstr()).as_bytes()),
                _ => {
                    stream.extend(format!("M {mode} inline d/f{at}\ndata {}\n", text.len()).as_bytes());
                    stream.extend([text, &b"\n"[..]].concat());
                }
            }
        }
        git.call(["fast-import", "--quiet"]).stdin(stream).output().expect("a tree");
        let id = git.call(["rev-parse", &format!("{name}^{{tree}}")]).line().expect("an id");
        ObjectId::from_hex(id.as_bytes()).expect("an id")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lines_are_counted_as_git_counts_them(pairs in proptest::collection::vec((side(), side()), 1..12)) {
            let dir = tempfile::tempdir().expect("a folder");
            let args = ["init", "-q", "--bare", "--object-format=sha1"];
            let init = Command::new("git").args(args).arg(dir.path()).status();
            prop_assert!(init.expect("it runs").success());
            let git = Git::bare(dir.path());
            let (old, new): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let (old, new) = (tree(&git, "old", &old), tree(&git, "new", &new));
            let call = git.call(["diff-tree", "-r", "--numstat", "--no-renames"]);
            let told = call.args([old.to_string(), new.to_string()]).output().expect("it counts");
            let mut sum = [0, 0];
            let mut lines = String::new();
            for line in told.lines() {
                let mut fields = line.fields().map(|field| field.to_str_lossy().parse().unwrap_or(0));
                let counts = [fields.next().unwrap_or(0), fields.next().unwrap_or(0)];
                sum = [sum[0] + counts[0], sum[1] + counts[1]];
                let _ = writeln!(lines, "{}", line.as_bstr());
            }
            let odb = Repo::at(dir.path()).and_then(|repo| repo.odb()).expect("it opens");
            let mut counts = LineCounts::default();
            // Asked twice, as what is remembered has to be the same.
            for _ in 0..2 {
                prop_assert_eq!(counts.between(&odb, &old, &new).expect("they are there"), sum, "{}", lines);
            }
        }
    }
}
