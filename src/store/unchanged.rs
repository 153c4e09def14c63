//! The files of a folder that are as the index of their work tree has them, by what the system says of them (`gitformat-index(5)`),
//! as git itself takes them for unchanged. What such a file says is what its blob says, and it need not be opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use bstr::{BStr, ByteSlice};
use foldhash::HashMap;
use gix_hash::ObjectId;
use gix_index::entry::{Flags, Mode, Stage, Stat, stat};
use gix_index::fs::Metadata;
use gix_object::Kind;

use super::odb::object_id;
use super::{Objects, Odb, Plain};

/// A file is compared by all that the index knows of it; disks are numbered anew when a machine starts.
const ALL: stat::Options =
    stat::Options { trust_ctime: true, check_stat: true, use_nsec: true, use_stdev: false };

/// How sure it is that a file is as the index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sure {
    /// As sure as git is.
    Yes,
    /// It may have changed unseen in the second in which the index was written.
    ByItsBytes,
}

/// Files that are unchanged, and what they say.
pub struct Unchanged {
    folder: PathBuf,
    /// What the paths of all begin with.
    inside: String,
    common_dir: PathBuf,
    /// By their names from the folder: their blobs, and their lengths.
    files: HashMap<String, Blob>,
    objects: Mutex<Option<Odb>>,
    lost: OnceLock<String>,
}

/// The blob of a file that is as the index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its id.
    pub id: ObjectId,
    /// How many bytes the file has. The blob has another length where git converts it (`gitattributes(5)`).
    pub len: u64,
}

impl Plain {
    /// The unchanged files at and below a folder (from the top, with `/` between components). None: it is not known.
    pub fn unchanged(&self, folder: &str) -> Option<Unchanged> {
        let index = self.index()?;
        let inside = format!("{}/", folder.trim_end_matches('/'));
        let entries = index.prefixed_entries(inside.as_bytes().as_bstr()).unwrap_or_default();
        let blob = |entry: &gix_index::Entry| {
            let name = entry.path(&index).get(inside.len()..)?.to_str().ok()?;
            let blob = Blob { id: entry.id, len: entry.stat.size.into() };
            (self.sure(&index, entry)? == Sure::Yes).then(|| (name.to_owned(), blob))
        };
        Some(Unchanged {
            folder: self.top.join(folder),
            common_dir: self.common_dir.clone(),
            files: entries.iter().filter_map(blob).collect(),
            inside,
            objects: Mutex::new(None),
            lost: OnceLock::new(),
        })
    }

    /// Is the file as the index has it, by what the system says of it? None: it is not, or not for sure.
    pub(super) fn sure(&self, index: &gix_index::State, entry: &gix_index::Entry) -> Option<Sure> {
        let unusual = Flags::EXTENDED | Flags::ASSUME_VALID | Flags::SKIP_WORKTREE | Flags::INTENT_TO_ADD;
        let is_file = entry.mode == Mode::FILE || entry.mode == Mode::FILE_EXECUTABLE;
        if !is_file || entry.stage() != Stage::Unconflicted || entry.flags.intersects(unusual) {
            return None;
        }
        let path = self.top.join(entry.path(index).to_path().ok()?);
        let found = Metadata::from_path_no_follow(&path).ok().filter(Metadata::is_file)?;
        let is_same = entry.stat.matches(&Stat::from_fs(&found).ok()?, ALL)
            && found.is_executable() == (entry.mode == Mode::FILE_EXECUTABLE);
        // By a size of nothing git says that it does not know ("racy git").
        let is_told = entry.stat.size > 0 || entry.id.is_empty_blob();
        if !is_same || !is_told {
            return None;
        }
        let is_racy = index.timestamp().unix_seconds() <= i64::from(entry.stat.mtime.secs);
        Some(if is_racy { Sure::ByItsBytes } else { Sure::Yes })
    }
}

impl Unchanged {
    /// The blob of a file, by its name from the folder.
    pub fn blob(&self, file: &str) -> Option<Blob> {
        self.files.get(file).copied()
    }

    /// Was this file, by its path from the top, seen to be as the index has it, with this blob?
    pub(super) fn has(&self, path: &BStr, id: &ObjectId) -> bool {
        let name = path.strip_prefix(self.inside.as_bytes()).and_then(|name| name.to_str().ok());
        name.and_then(|name| self.files.get(name)).is_some_and(|blob| blob.id == *id)
    }

    /// What a file says that was unchanged: as it is now, or, where somebody changed it since, as its blob has it. `is_it`
    /// knows it.
    pub fn text(&self, file: &str, is_it: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let stored = || {
            let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
            if objects.is_none() {
                *objects = Odb::open(&self.common_dir).ok();
            }
            let text = objects.as_ref()?.blob(&self.files.get(file)?.id).ok()?;
            is_it(&text).then(|| text.to_vec())
        };
        let now = std::fs::read(self.folder.join(file)).ok().filter(|text| is_it(text));
        let found = now.or_else(stored);
        if found.is_none() {
            let _first = self.lost.set(file.to_owned());
        }
        found
    }

    /// A file whose text was asked for and could not be had any more.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }
}

impl fmt::Debug for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unchanged")
            .field("folder", &self.folder)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

/// The id that a file of these bytes has as a blob.
pub fn blob_id(hash: gix_hash::Kind, bytes: &[u8]) -> Option<ObjectId> {
    object_id(hash, Kind::Blob, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lab::Tree;

    fn tree() -> Tree {
        Tree::new(&["p/a", "p/sub/b", "p/c", "q"])
    }

    fn unchanged(tree: &Tree, folder: &str) -> Unchanged {
        tree.plain().and_then(|plain| plain.unchanged(folder)).expect("it is known")
    }

    fn told(tree: &Tree) -> Vec<&'static str> {
        let files = unchanged(tree, "p");
        ["a", "sub/b", "c", "new", "q"].into_iter().filter(|file| files.blob(file).is_some()).collect()
    }

    #[test]
    fn files_that_git_takes_for_unchanged_are_known_by_their_blobs() {
        let tree = tree();
        assert_eq!(told(&tree), ["a", "sub/b", "c"]);
        let blob = unchanged(&tree, "p/").blob("sub/b").expect("it is unchanged");
        assert_eq!((blob.id.to_string(), blob.len), (tree.git(&["rev-parse", "HEAD:p/sub/b"]), 4));
        assert!(unchanged(&tree, "none").files.is_empty());

        type Make<'m> = &'m dyn Fn(&Tree);
        let differs: [(&str, Make<'_>); 6] = [
            ("a change", &|t| t.write("p/a", "two\n")),
            ("one as long", &|t| t.write("p/a", "ONE\n")),
            ("gone", &|t| std::fs::remove_file(t.path("p/a")).expect("gone")),
            ("a link to the same", &|t| {
                std::fs::remove_file(t.path("p/a")).expect("gone");
                std::os::unix::fs::symlink("sub/b", t.path("p/a")).expect("linked");
            }),
            ("not looked at", &|t| drop(t.git(&["update-index", "--assume-unchanged", "p/a"]))),
            ("taken out of the index", &|t| drop(t.git(&["rm", "-q", "--cached", "p/a"]))),
        ];
        for (what, make) in differs {
            let tree = self::tree();
            make(&tree);
            tree.write("p/new", "new\n");
            assert_eq!(told(&tree), ["sub/b", "c"], "{what}");
        }
        // In the second in which the index was written it may have changed unseen.
        let racy = self::tree();
        let (index, time) =
            (racy.path(".git/index"), std::fs::metadata(racy.path("p/a")).expect("it is there"));
        let index = std::fs::File::options().append(true).open(index).expect("it opens");
        index.set_modified(time.modified().expect("a time")).expect("its time is set");
        assert!(told(&racy).is_empty());
    }

    #[test]
    fn the_text_is_what_was_there_when_it_was_seen_or_it_is_lost() {
        let tree = tree();
        let files = unchanged(&tree, "p");
        let text = |file: &str| files.text(file, |text| text == b"one\n");
        assert_eq!(text("a").as_deref(), Some(b"one\n".as_slice()));
        // Somebody changes it: git has it still.
        tree.write("p/a", "two\n");
        assert_eq!(text("a").as_deref(), Some(b"one\n".as_slice()));
        std::fs::remove_file(tree.path("p/sub/b")).expect("gone");
        assert_eq!(text("sub/b").as_deref(), Some(b"one\n".as_slice()));
        assert_eq!(files.lost(), None);
        // What is no text of it is not taken for one, wherever it comes from.
        assert_eq!(files.text("c", |_| false), None);
        assert_eq!(files.lost(), Some("c"));
    }

    #[test]
    fn what_was_seen_is_not_looked_at_again_but_the_index_is() {
        let tree = tree();
        let plain = tree.plain().expect("it is plain");
        let seen = unchanged(&tree, "p");
        let is_clean = |seen| plain.is_clean(&["p".to_owned(), "q".to_owned()], seen).is_some();
        assert!(is_clean(Some(&seen)) && is_clean(None));
        tree.write("p/a", "two\n");
        assert!(is_clean(Some(&seen)) && !is_clean(None));
        tree.git(&["add", "p/a"]);
        assert!(!is_clean(Some(&seen)), "it is staged");
        // Committed it is another blob than was seen, and to be looked at.
        tree.git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "two"]);
        tree.aged("p/a", 60);
        tree.git(&["update-index", "-q", "--refresh"]);
        tree.aged(".git/index", 30);
        assert!(is_clean(Some(&seen)) && is_clean(None));
        tree.write("p/a", "three\n");
        assert!(!is_clean(Some(&seen)), "it is not as it was seen");
        // And what was not among them is.
        let tree = self::tree();
        let (plain, seen) = (tree.plain().expect("it is plain"), unchanged(&tree, "p"));
        tree.write("q", "two\n");
        assert!(plain.is_clean(&["q".to_owned()], Some(&seen)).is_none());
    }
}
