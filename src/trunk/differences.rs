//! What differs between pairs of trees, kept in a file from run to run: what a patch changed in the last stack is what the
//! next replay moves. It is kept by the trees' ids, so it is never out of date; a file that is damaged, or of another
//! version, is as good as none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bstr::BString;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use super::delta::Change;
use crate::store::tree::Entry;
use crate::store::{self, kept};

/// What such a file begins with.
const HEADING: &[u8] = b"git-carry differences 1\n";

/// Differences that were kept. They are read when they are asked for first.
#[derive(Debug, Default)]
pub struct Differences {
    file: Option<PathBuf>,
    known: OnceLock<HashMap<[ObjectId; 2], Vec<Change>>>,
}

/// A pair of trees, and what differs between them, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept<P> {
    trees: [ObjectId; 2],
    changes: Vec<(P, Side, Side)>,
}

/// What stands at a path: its mode and its id.
type Side = Option<(u32, ObjectId)>;

impl Differences {
    /// Those that are kept in a file; it need not be there.
    pub fn at(file: PathBuf) -> Self {
        Self { file: Some(file), known: OnceLock::new() }
    }

    /// What differs from the tree `old` to the tree `new`, if that is known: files, links and submodules, and no folder that
    /// came or went as a whole.
    pub fn get(&self, old: &ObjectId, new: &ObjectId) -> Option<&[Change]> {
        let read = || self.file.as_deref().and_then(read).unwrap_or_default();
        self.known.get_or_init(read).get(&[*old, *new]).map(Vec::as_slice)
    }
}

fn read(file: &Path) -> Option<HashMap<[ObjectId; 2], Vec<Change>>> {
    let all: Vec<Kept<BString>> = postcard::from_bytes(&kept(file, HEADING)?).ok()?;
    let entry = |side: Side| side.map(|(mode, id)| Entry { mode, id });
    let change = |(path, old, new)| Change { path, old: entry(old), new: entry(new) };
    Some(all.into_iter().map(|kept| (kept.trees, kept.changes.into_iter().map(change).collect())).collect())
}

/// Keeps differences in a file, in the place of all that it had. Those with a whole folder among them are not for it.
pub fn keep<'c>(
    file: &Path,
    pairs: impl Iterator<Item = ([ObjectId; 2], &'c [Change])>,
) -> std::io::Result<()> {
    let side = |entry: &Option<Entry>| entry.map(|entry| (entry.mode, entry.id));
    let change = |change: &'c Change| (&change.path, side(&change.old), side(&change.new));
    let kept =
        |(trees, changes): (_, &'c [Change])| Kept { trees, changes: changes.iter().map(change).collect() };
    store::keep(file, HEADING, &pairs.map(kept).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("p.differences");
        let id = |n: u8| ObjectId::from_bytes_or_panic(&[n; 20]);
        let (added, gone) = (Some(Entry { mode: 0o100755, id: id(3) }), None);
        let changes = vec![Change { path: "a/b \u{fc}".into(), old: gone, new: added }];
        assert_eq!(Differences::at(file.clone()).get(&id(1), &id(2)), None);
        keep(&file, [([id(1), id(2)], changes.as_slice()), ([id(2), id(2)], &[])].into_iter())
            .expect("written");
        let known = Differences::at(file.clone());
        assert_eq!(known.get(&id(1), &id(2)), Some(changes.as_slice()));
        assert_eq!(known.get(&id(2), &id(2)), Some(&[][..]));
        assert_eq!(known.get(&id(2), &id(1)), None);
        let whole = std::fs::read(&file).expect("a file");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&file, bytes).expect("written");
            assert_eq!(Differences::at(file.clone()).get(&id(1), &id(2)), None, "byte {at}");
            std::fs::write(&file, &whole[..at]).expect("written");
            assert_eq!(Differences::at(file.clone()).get(&id(1), &id(2)), None, "the first {at}");
        }
    }
}
