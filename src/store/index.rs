//! The index of a work tree (`gitformat-index(5)`): some entries of it are set, with what the system says of their files, so
//! that nobody need read them again. Git takes two programs for that, one after the other. What is unusual about an index is
//! left to git.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;
use gix_index::decode::Options;
use gix_index::entry::{Flags, Mode, Stage, Stat};
use gix_index::extension::Tree;
use gix_index::fs::Metadata;
use gix_index::{State, Version, write};
use gix_lock::acquire::Fail;
use gix_object::Kind;

use super::Plain;
use super::odb::object_id;

/// So many files that may have changed unseen are read here.
const READ: usize = 16;

/// Git calls this program when it has written an index (`githooks(5)`).
const HOOK: &str = "post-index-change";

/// What the system says of a file: as long as it says the same, git takes the file for unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat(Stat);

impl FileStat {
    /// That of a file that is open.
    pub fn of(file: &File) -> std::io::Result<Self> {
        Self::from(Metadata::from_file(file)?)
    }

    fn at(path: &Path) -> Option<Self> {
        let found = Metadata::from_path_no_follow(path).ok().filter(Metadata::is_file)?;
        Self::from(found).ok()
    }

    fn from(found: Metadata) -> std::io::Result<Self> {
        Stat::from_fs(&found).map(Self).map_err(std::io::Error::other)
    }
}

/// An entry to set.
pub struct NewEntry {
    /// Its path from the top of the work tree, with `/` between components.
    pub path: BString,
    /// Its blob, and what the system said of its file when that had been written; none: it goes.
    pub file: Option<(ObjectId, FileStat)>,
}

/// An index that nobody else can write.
pub struct HeldIndex<'a> {
    of: &'a Plain,
    lock: gix_lock::File,
    index: gix_index::File,
    permissions: Permissions,
}

impl Plain {
    /// Holds the index, as git does while it writes it, until that is done or given up. None: it is for git to write, which
    /// also says what is wrong if anything is.
    pub fn hold_index(&self) -> Option<HeldIndex<'_>> {
        let path = self.git_dir.join("index");
        if self.is_heard(HOOK) || !path.symlink_metadata().ok()?.is_file() {
            return None;
        }
        let lock = gix_lock::File::acquire_to_update_resource(&path, Fail::Immediately, None, 0).ok()?;
        let permissions = path.symlink_metadata().ok()?.permissions();
        let index = self.index()?;
        Some(HeldIndex { of: self, lock, index, permissions })
    }

    /// The index, if it has nothing that would be lost here.
    pub(super) fn index(&self) -> Option<gix_index::File> {
        // It is read as a whole where a part of it lies in a file of its own, and would be written so.
        let is_split = |name: &OsStr| name.as_encoded_bytes().starts_with(b"sharedindex.");
        let mut beside = self.git_dir.read_dir().ok()?;
        if beside.any(|entry| entry.is_ok_and(|entry| is_split(&entry.file_name()))) {
            return None;
        }
        let index =
            gix_index::File::at(self.git_dir.join("index"), self.hash, false, Options::default()).ok()?;
        let is_plain = matches!(index.version(), Version::V2 | Version::V3)
            && !index.is_sparse()
            && !index.had_offset_table()
            && index.untracked().is_none()
            && index.fs_monitor().is_none()
            && index.resolve_undo().is_none();
        is_plain.then_some(index)
    }
}

impl HeldIndex<'_> {
    /// Sets entries for files that are written, all or none, and lets go of it. False: nothing is changed, and git is to do it.
    pub fn set(self, entries: &[NewEntry]) -> bool {
        self.try_set(entries).is_some()
    }

    fn try_set(mut self, entries: &[NewEntry]) -> Option<()> {
        self.settle(entries)?;
        for entry in entries {
            self.put(entry)?;
        }
        let end_of_index_entry = self.index.had_end_of_index_marker();
        let extensions = write::Extensions::Given { tree_cache: true, end_of_index_entry };
        let options = write::Options { extensions, skip_hash: self.index.checksum().is_none() };
        let mut out = BufWriter::new(&mut self.lock);
        self.index.write_to(&mut out, options).ok()?;
        out.flush().ok()?;
        drop(out);
        // Who may read it stays so.
        std::fs::set_permissions(self.lock.lock_path(), self.permissions).ok()?;
        self.lock.commit().ok().map(drop)
    }

    /// A file that was changed in the second in which the index was written looks unchanged once the index is newer ("racy
    /// git", `Documentation/technical/racy-git.adoc` of git): as git does, those are read, and what differs is marked.
    fn settle(&mut self, entries: &[NewEntry]) -> Option<()> {
        let (state, Plain { top, hash, .. }) = (&mut self.index, self.of);
        let written = state.timestamp().unix_seconds();
        let is_set = |path: &BStr| entries.iter().any(|entry| entry.path == path);
        let mut open = Vec::new();
        for (at, entry) in state.entries().iter().enumerate() {
            let path = entry.path(state);
            if written > i64::from(entry.stat.mtime.secs) || entry.mode == Mode::COMMIT || is_set(path) {
                continue;
            }
            let is_file = entry.mode == Mode::FILE || entry.mode == Mode::FILE_EXECUTABLE;
            if !is_file || entry.stage() != Stage::Unconflicted || open.len() == READ {
                return None;
            }
            open.push((at, top.join(path.to_path().ok()?)));
        }
        for (at, path) in open {
            let entry = &mut state.entries_mut()[at];
            // By this much git sees it, however little it is set to compare (`core.checkStat`).
            let is_same = |now: &Stat| (now.mtime.secs, now.size) == (entry.stat.mtime.secs, entry.stat.size);
            if !FileStat::at(&path).is_some_and(|now| is_same(&now.0)) {
                continue;
            }
            let text = std::fs::read(&path).ok()?;
            if object_id(*hash, Kind::Blob, &text).ok()? != entry.id {
                entry.stat.size = 0;
            }
        }
        Some(())
    }

    /// Sets an entry, or takes it away. None: something is unusual about it.
    fn put(&mut self, NewEntry { path, file }: &NewEntry) -> Option<()> {
        let (state, Plain { top, hash, .. }) = (&mut self.index, self.of);
        let unusual = Flags::EXTENDED
            | Flags::ASSUME_VALID
            | Flags::STAGE_MASK
            | Flags::SKIP_WORKTREE
            | Flags::INTENT_TO_ADD;
        let known = match state.entry_range(path.as_bstr()) {
            Some(range) if range.len() > 1 || state.entries()[range.start].flags.intersects(unusual) => {
                return None;
            }
            known => known.map(|range| range.start),
        };
        match (known, file) {
            (None, None) => return Some(()),
            (Some(at), None) => drop(state.remove_entry_at_index(at)),
            (known, Some((id, written))) => {
                let now = FileStat::at(&top.join(path.to_path().ok()?))?;
                if now != *written || id.kind() != *hash {
                    return None;
                }
                match known {
                    Some(at) => {
                        let entry = &mut state.entries_mut()[at];
                        (entry.id, entry.stat, entry.mode) = (*id, now.0, Mode::FILE);
                    }
                    None => add(state, path.as_bstr(), *id, now)?,
                }
            }
        }
        if let Some(tree) = state.tree_mut() {
            invalidate(tree, path.as_bstr());
        }
        Some(())
    }
}

/// A new entry in its place, where no folder is in its way, and no file in that of its folders.
fn add(state: &mut State, path: &BStr, id: ObjectId, stat: FileStat) -> Option<()> {
    let folder = [path.as_bytes(), b"/"].concat();
    let mut above = path.find_iter(b"/");
    let is_blocked = state.prefixed_entries_range(folder.as_bstr()).is_some()
        || above.any(|end| state.entry_range(path[..end].as_bstr()).is_some());
    if is_blocked {
        return None;
    }
    state.dangerously_push_entry(stat.0, id, Flags::empty(), Mode::FILE, path);
    state.sort_entries();
    Some(())
}

/// What is known of the folders of a path holds no more.
fn invalidate(mut tree: &mut Tree, path: &BStr) {
    tree.num_entries = None;
    let mut folders = path.split(|byte| *byte == b'/').peekable();
    while let (Some(folder), Some(_)) = (folders.next(), folders.peek()) {
        match tree.children.iter_mut().find(|child| child.name.as_slice() == folder) {
            Some(child) => tree = child,
            None => return,
        }
        tree.num_entries = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lab::Tree;

    impl Tree {
        fn put(&self, file: &str) {
            self.write(file, "");
        }

        /// Writes a file, whose entry is to be set to what it says.
        fn entry(&self, path: &str, text: &str) -> NewEntry {
            self.write(path, text);
            let written = self.stat(path);
            let id = object_id(self.hash(), Kind::Blob, text.as_bytes()).expect("an id");
            self.git.call(["hash-object", "-w", "--stdin"]).stdin(text).output().expect("kept");
            NewEntry { path: path.into(), file: Some((id, written)) }
        }

        fn hash(&self) -> gix_hash::Kind {
            ObjectId::from_hex(self.git(&["rev-parse", "HEAD"]).as_bytes()).expect("an id").kind()
        }

        fn hold(&self) -> Option<HeldIndex<'static>> {
            let plain = self.plain()?;
            Box::leak(Box::new(plain)).hold_index()
        }

        fn set(&self, entries: &[NewEntry]) -> bool {
            self.hold().is_some_and(|held| held.set(entries))
        }

        /// What git has in the index, with the folders that it knows, and what it says of the files' times.
        fn told(&self) -> (String, String) {
            let tree = self.git(&["write-tree"]);
            self.git(&["ls-tree", "-r", &tree]);
            (self.git(&["ls-files", "--stage", "--debug"]), tree)
        }
    }

    #[test]
    fn what_is_set_is_what_git_sets() {
        let files = ["a", "d/b", "d/e/c", "d/e/f", "d.x", "z/y"];
        let tree = Tree::new(&files);
        let changed = ["d/e/c", "d/e/new", "a", "new/er", "d-x"];
        let mut entries: Vec<NewEntry> = changed.iter().map(|file| tree.entry(file, "two\n")).collect();
        std::fs::remove_file(tree.path("z/y")).expect("gone");
        entries.extend(["z/y", "never/was"].map(|file| NewEntry { path: file.into(), file: None }));
        let before = std::fs::read(tree.path(".git/index")).expect("an index");
        assert!(tree.set(&entries));
        assert_eq!(tree.git(&["diff-files"]), "", "git need read no file again");
        let ours = tree.told();

        std::fs::write(tree.path(".git/index"), before).expect("written");
        tree.git(&["add", "--all"]);
        assert_eq!(ours, tree.told());
        tree.git(&["fsck", "--strict"]);

        let held = tree.hold().expect("nobody else has it");
        assert!(tree.git.call(["add", "a"]).output().is_err() && tree.hold().is_none());
        drop(held);
        tree.git(&["add", "a"]);
    }

    #[test]
    fn what_changed_unseen_while_the_index_was_written_is_not_hidden() {
        let tree = Tree::new(&["a", "b", "c"]);
        // As they were when the index was written, in the same second.
        let second = |file: &str| tree.aged(file, 30);
        ["a", "b"].iter().for_each(|file| second(file));
        tree.git(&["update-index", "-q", "--refresh"]);
        tree.write("a", "ONE\n");
        ["a", "b", ".git/index"].iter().for_each(|file| second(file));
        assert!(tree.set(&[tree.entry("c", "two\n")]));
        assert_eq!(tree.git(&["diff", "--name-only"]), "a");
        assert_eq!(tree.git(&["diff", "--cached", "--name-only"]), "c");
    }

    #[test]
    fn what_is_unusual_is_left_to_git_and_nothing_changes() {
        type Make<'m> = &'m dyn Fn(&Tree);
        let unusual: [(&str, Make<'_>); 10] = [
            ("split", &|t| drop(t.git(&["update-index", "--split-index"]))),
            ("another version", &|t| drop(t.git(&["update-index", "--index-version", "4"]))),
            ("a cache of what is untracked", &|t| drop(t.git(&["update-index", "--force-untracked-cache"]))),
            ("an entry that is not looked at", &|t| drop(t.git(&["update-index", "--skip-worktree", "a"]))),
            ("one that stays", &|t| drop(t.git(&["update-index", "--assume-unchanged", "a"]))),
            ("a conflict", &|t| {
                let id = t.git(&["rev-parse", "HEAD:a"]);
                let stages = format!("0 {}\ta\n100644 {id} 1\ta\n100644 {id} 2\ta\n", "0".repeat(id.len()));
                t.git.call(["update-index", "--index-info"]).stdin(stages).output().expect("set");
            }),
            ("a hook", &|t| t.put(".git/hooks/post-index-change")),
            ("held", &|t| t.put(".git/index.lock")),
            ("broken", &|t| {
                let mut bytes = std::fs::read(t.path(".git/index")).expect("an index");
                bytes[40] ^= 1;
                std::fs::write(t.path(".git/index"), bytes).expect("written");
            }),
            ("gone", &|t| std::fs::remove_file(t.path(".git/index")).expect("gone")),
        ];
        for (what, make) in unusual {
            let tree = Tree::new(&["a", "d/b"]);
            let entries = [tree.entry("a", "two\n")];
            make(&tree);
            let index = || std::fs::read(tree.path(".git/index")).ok();
            let before = index();
            assert!(!tree.set(&entries), "{what}");
            assert_eq!(index(), before, "{what}");
            assert_eq!(tree.path(".git/index.lock").exists(), what == "held", "{what}");
        }
        // A file where there is a folder, and in a folder that is a file.
        let tree = Tree::new(&["a", "d/b"]);
        let (id, written) = tree.entry("a", "two\n").file.expect("written");
        for path in ["d", "a/c"] {
            assert!(!tree.set(&[NewEntry { path: path.into(), file: Some((id, written)) }]), "{path}");
        }
        // One that somebody changed since.
        let entries = [tree.entry("a", "three\n")];
        tree.write("a", "somebody's\n");
        assert!(!tree.set(&entries));
        assert_eq!(tree.git(&["diff", "--cached", "--name-only"]), "");
    }
}
