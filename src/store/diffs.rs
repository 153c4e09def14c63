//! Diffs, as git makes them: of trees that are written, and of such as are not written yet.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, ByteSlice};
use gix_hash::ObjectId;
use gix_object::Kind;

use super::drivers::quote;
use super::git::GitError;
use super::threads::{begin_in, cores};
use super::tree::{Entry, MODE_COMMIT, MODE_TREE, RawTree, differing};
use super::{ObjectError, Objects as _, Odb, Repo, StoreError, pack};

/// So many diffs are worth a call of git.
const WORTH_A_CALL: usize = 16;

/// No more bytes of a file are shown to git where it has them.
const SMALL: u64 = 1 << 20;
/// More bytes are not shown to git: they would be in memory until it has seen them.
const MUCH: usize = 64 << 20;

/// How the folder of a quarantine is named. Git's own housekeeping clears folders named so far, too, weeks later.
const QUARANTINE: &str = "tmp_objdir-carry-";

/// A tree, and what it becomes.
type Pair = (ObjectId, ObjectId);

impl Repo {
    /// The diff of each pair of trees, canonical: full ids, binary as data, renames found, and `strip` components
    /// before each path. All must be written.
    pub fn diffs(&self, pairs: &[Pair], strip: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.diffs_with(pairs, strip, None)
    }

    /// The same, with the objects in a folder, and all others in another one.
    fn diffs_with(
        &self,
        pairs: &[Pair],
        strip: usize,
        others: Option<(&Path, &Path)>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let share = pairs.len().div_ceil(cores()).max(WORTH_A_CALL);
        let share_of = |pairs| self.share(pairs, strip, others);
        std::thread::scope(|threads| {
            let shares: Vec<_> =
                pairs.chunks(share).map(|pairs| begin_in(threads, move || share_of(pairs))).collect();
            let mut all = Vec::with_capacity(pairs.len());
            for share in shares {
                all.extend(share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(all)
        })
    }

    fn share(
        &self,
        pairs: &[Pair],
        strip: usize,
        others: Option<(&Path, &Path)>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefix = |side: &str| format!("{side}/{}", "x/".repeat(strip.saturating_sub(1)));
        let prefixes = match strip {
            0 => vec!["--no-prefix".to_owned()],
            _ => vec![format!("--src-prefix={}", prefix("a")), format!("--dst-prefix={}", prefix("b"))],
        };
        let moved: Vec<String> =
            pairs.iter().filter(|(a, b)| a != b).map(|(a, b)| format!("{a} {b}\n")).collect();
        let out = if moved.is_empty() {
            Vec::new()
        } else {
            let call = self
                .git()
                // Git would keep up to 96 MB of what differences stand on; a part of it is as fast here.
                .call(["-c", "core.deltaBaseCacheLimit=16m"])
                .args(["diff-tree", "--stdin", "-r", "-p", "-M", "--full-index", "--binary"])
                .args(["--no-textconv", "--no-ext-diff", "--no-color"])
                .args(prefixes)
                .kept_memory()
                .stdin(moved.concat());
            match others {
                // What git finds in the first it does not look for in the others.
                Some((shown, own)) => {
                    let own = quote(BStr::new(own.as_os_str().as_encoded_bytes()));
                    call.env("GIT_OBJECT_DIRECTORY", shown)
                        .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", own)
                        .output()?
                }
                None => call.output()?,
            }
        };
        let mut rest: &[u8] = &out;
        let mut diffs = Vec::with_capacity(pairs.len());
        let mut following = moved.iter().skip(1);
        for (a, b) in pairs {
            if a == b {
                diffs.push(Vec::new());
                continue;
            }
            let head = format!("{a} {b}\n");
            let body = rest.strip_prefix(head.as_bytes()).ok_or_else(|| GitError::Answer {
                command: "diff-tree --stdin".into(),
                answer: rest.lines().next().unwrap_or_default().to_str_lossy().into_owned(),
            })?;
            // No line of a diff looks like two ids, so the next heading ends this one.
            let end = match following.next() {
                Some(next) if body.starts_with(next.as_bytes()) => 0,
                Some(next) => body.find(format!("\n{next}")).map_or(body.len(), |at| at + 1),
                None => body.len(),
            };
            diffs.push(body[..end].to_vec());
            rest = &body[end..];
        }
        Ok(diffs)
    }
}

/// Pairs of trees, with the objects in which they differ, as some are not written yet. Git is shown these in a folder that goes
/// with the call, as it keeps what a push brings until that is accepted (`git help receive-pack`, "QUARANTINE ENVIRONMENT"); and
/// as they are, as it takes its time to make them of the differences of a pack.
pub struct Quarantine {
    pairs: Vec<Pair>,
    objects: Vec<(ObjectId, Kind, Arc<Vec<u8>>)>,
    /// The repository's own objects.
    folder: PathBuf,
}

/// The objects that git is to be shown.
#[derive(Default)]
struct Shown {
    objects: Vec<(ObjectId, Kind, Arc<Vec<u8>>)>,
    seen: HashSet<ObjectId>,
    bytes: usize,
    most: usize,
}

impl Odb {
    /// The objects in which the trees of each pair differ, but large ones that are written; none if all are written. Nothing
    /// where that is too much.
    pub fn quarantine(&self, pairs: Vec<Pair>) -> Result<Option<Quarantine>, ObjectError> {
        self.quarantine_of(pairs, MUCH)
    }

    fn quarantine_of(&self, pairs: Vec<Pair>, most: usize) -> Result<Option<Quarantine>, ObjectError> {
        let mut shown = Shown { most, ..Shown::default() };
        // Under what is written is nothing that is not.
        if pairs.iter().any(|(old, new)| [old, new].iter().any(|tree| self.is_unwritten(tree))) {
            for (old, new) in &pairs {
                let tree = |id: &ObjectId| Some(Entry { mode: MODE_TREE, id: *id });
                self.differing(tree(old), tree(new), &mut shown)?;
            }
        }
        let (folder, objects) = (self.folder().to_owned(), shown.objects);
        Ok((shown.bytes <= most).then_some(Quarantine { pairs, objects, folder }))
    }

    fn differing(
        &self,
        old: Option<Entry>,
        new: Option<Entry>,
        shown: &mut Shown,
    ) -> Result<(), ObjectError> {
        for Entry { mode, id } in [old, new].into_iter().flatten() {
            if mode == MODE_COMMIT || shown.bytes > shown.most || !shown.seen.insert(id) {
                continue;
            }
            let is_small = || !self.is_partial() && self.size(&id).is_some_and(|size| size <= SMALL);
            let (kind, data) = match mode {
                MODE_TREE => (Kind::Tree, self.tree(&id)?),
                _ if self.is_unwritten(&id) || is_small() => (Kind::Blob, self.blob(&id)?),
                _ => continue,
            };
            shown.bytes += data.len();
            shown.objects.push((id, kind, data));
        }
        let folders = [old, new].map(|side| side.filter(Entry::is_tree).map(|entry| entry.id));
        if folders == [None, None] || shown.bytes > shown.most {
            return Ok(());
        }
        let [left, right] = [&folders[0], &folders[1]].map(|id| RawTree::read(self, id.as_ref()));
        for differing in differing(&left?, &right?) {
            let (_, gone, come) = differing?;
            self.differing(gone, come, shown)?;
        }
        Ok(())
    }
}

impl Quarantine {
    /// The pairs with their diffs, as [`Repo::diffs`] makes them of what is written, in `repo`, whose objects they are.
    pub fn diffs(self, repo: &Repo, strip: usize) -> Result<Vec<(Pair, Vec<u8>)>, StoreError> {
        let diffs = if self.objects.is_empty() {
            repo.diffs(&self.pairs, strip)?
        } else {
            let made = tempfile::Builder::new().prefix(QUARANTINE).tempdir_in(&self.folder);
            let failed =
                |e: std::io::Error| StoreError::Write { path: self.folder.clone(), reason: e.to_string() };
            let folder = made.map_err(failed)?;
            let items = self.objects.iter().map(|(id, kind, data)| pack::Item {
                id: *id,
                kind: *kind,
                body: pack::Body::Whole(data),
            });
            pack::show(&items.collect::<Vec<_>>(), &folder.path().join("pack")).map_err(failed)?;
            repo.diffs_with(&self.pairs, strip, Some((folder.path(), &self.folder)))?
        };
        Ok(self.pairs.into_iter().zip(diffs).collect())
    }
}

/// Takes away what a killed run showed git in the bare repository `repo`. Nobody else may be at work there.
pub fn end_quarantines(repo: &Path) {
    for entry in std::fs::read_dir(repo.join("objects")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(QUARANTINE) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use bstr::BString;

    use super::*;
    use crate::store::tree::edit;

    /// Files of an example, a letter a line, some in a folder of a folder.
    fn tree(odb: &Odb, files: &[(&str, &str)]) -> ObjectId {
        let files: Vec<(BString, Option<Entry>)> = files
            .iter()
            .map(|(path, text)| {
                let lines = text.bytes().flat_map(|byte| [byte, b'\n']).collect();
                let id = odb.put_blob(lines, None).expect("kept");
                (BString::from(*path), Some(Entry { mode: 0o100644, id }))
            })
            .collect();
        let edits: Vec<(&[u8], Option<Entry>)> =
            files.iter().map(|(path, entry)| (path.as_slice(), *entry)).collect();
        edit(odb, None, &edits).expect("kept").expect("no clash").expect("files")
    }

    #[test]
    fn git_makes_the_diffs_of_what_is_not_written_and_nothing_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        // In the list of folders that git is given, a colon ends one, and what stands in quotes is read otherwise.
        let repo = Repo::open_or_create(&dir.path().join("a: \"b\" \u{e4}"), None, None).expect("a store");
        let odb = repo.odb().expect("it opens");
        let text = "abcdefghijklmnop";
        let written = tree(&odb, &[("a", text), ("d/e/f", text), ("d/e/g", "x"), ("z", "z")]);
        odb.flush().expect("written");
        let changed = tree(&odb, &[("a", text), ("d/e/f", "abcdefghijklmnoX"), ("d/e/g", "x"), ("z", "z")]);
        let moved = tree(&odb, &[("a", "b\0c"), ("d/n/m", "abcdefghijklmnoX"), ("z/y", "z")]);
        let pairs =
            vec![(written, changed), (changed, moved), (moved, written), (written, written), (moved, moved)];
        let whole = odb.quarantine(pairs.clone()).expect("they are there").expect("few");
        let sizes = whole.objects.iter().map(|(_, _, data)| data.len());
        assert!(whole.objects.iter().any(|(id, ..)| *id == written), "both sides are shown");
        let most = sizes.sum::<usize>();
        let is_shown = |most| odb.quarantine_of(pairs.clone(), most).expect("they are there").is_some();
        assert!(is_shown(most) && !is_shown(most - 1));
        let handed = odb.hand_over();
        let late = tree(&odb, &[("late", "l")]);
        let pairs = [pairs, vec![(written, late), (late, moved)]].concat();
        let made = odb
            .quarantine(pairs.clone())
            .expect("they are there")
            .expect("few")
            .diffs(&repo, 1)
            .expect("git makes them");
        let unwritten = repo.odb().expect("it opens");
        assert!(!unwritten.has(&changed) && !unwritten.has(&late) && unwritten.has(&written));
        let left = std::fs::read_dir(repo.path().join("objects")).expect("a folder");
        let left: Vec<_> = left.map(|entry| entry.expect("listed").file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("tmp_")), "{left:?}");

        handed.write().expect("written");
        odb.flush().expect("written");
        let expected: Vec<_> =
            pairs.iter().copied().zip(repo.diffs(&pairs, 1).expect("git makes them")).collect();
        assert_eq!(made, expected);
        let said = |at: usize| made[at].1.to_str_lossy();
        assert!(
            said(0).contains("+X\n") && said(1).contains("rename from d/e/f\n"),
            "{}{}",
            said(0),
            said(1)
        );
        assert!(said(3).is_empty() && said(5).contains("new file mode 100644\n"));
        // What is written is asked of git as it is.
        assert!(
            repo.odb()
                .expect("it opens")
                .quarantine(pairs)
                .expect("they are there")
                .expect("few")
                .objects
                .is_empty()
        );
    }
}
