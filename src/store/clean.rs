//! Is a part of a work tree as its commit has it? Git is asked where that is not plain to see, and says what differs.

use std::collections::HashSet;
use std::path::Path;

use bstr::{BStr, BString, ByteSlice, ByteVec};

use super::tree::{Entry, RawTree, entry_at};
use super::unchanged::{Sure, Unchanged, blob_id};
use super::{Odb, Plain};

/// So many files that may have changed unseen are read here.
const READ: usize = 16;
/// With one of these in it a path is a pattern (`git help glossary`, "pathspec").
const PATTERN: &str = "*?[\\:";

/// A file of a commit or of an index: its path, its mode and its id.
type File = (BString, Entry);

impl Plain {
    /// Does `git status` say nothing of these paths (from the top, with `/` between components)? None: git is to be asked.
    /// Files that were seen to be unchanged just now are not looked at again.
    pub fn is_clean(&self, paths: &[String], seen: Option<&Unchanged>) -> Option<()> {
        let index = self.index()?;
        let odb = Odb::open(&self.common_dir).ok()?;
        let root = match self.head()? {
            Some(commit) => Some(odb.commit(&commit).ok()?.tree),
            None => None,
        };
        let mut unsure = 0;
        for path in paths.iter().map(|path| path.trim_end_matches('/')) {
            if path.is_empty() || path.contains(|c| PATTERN.contains(c)) {
                return None;
            }
            let at = path.as_bytes().as_bstr();
            let inside = BString::from([at, b"/".as_slice()].concat());
            let one = index.entry_range(at).map(|range| &index.entries()[range]);
            let all = one.or_else(|| index.prefixed_entries(inside.as_bstr())).unwrap_or_default();
            let mut known = Vec::with_capacity(all.len());
            for entry in all {
                let path = entry.path(&index);
                if !seen.is_some_and(|seen| seen.has(path, &entry.id)) {
                    self.is_as_indexed(&index, entry, &mut unsure)?;
                }
                known.push((path.to_owned(), Entry { mode: entry.mode.bits(), id: entry.id }));
            }
            let mut committed = Vec::with_capacity(known.len());
            if let Some(root) = &root
                && let Some(entry) = entry_at(&odb, root, at).ok()?
            {
                below(&odb, at.to_owned(), entry, &mut committed)?;
            }
            if committed != known {
                return None;
            }
            let names = known.iter().map(|(path, _)| path.as_bstr()).collect();
            self.holds_no_others(at.to_owned(), &names)?;
        }
        Some(())
    }

    /// Is the file as the index has it?
    fn is_as_indexed(
        &self,
        index: &gix_index::State,
        entry: &gix_index::Entry,
        unsure: &mut usize,
    ) -> Option<()> {
        match self.sure(index, entry)? {
            Sure::Yes => Some(()),
            Sure::ByItsBytes => {
                *unsure += 1;
                let path = self.top.join(entry.path(index).to_path().ok()?);
                let text = if *unsure > READ { None } else { std::fs::read(path).ok() };
                (blob_id(self.hash, &text?)? == entry.id).then_some(())
            }
        }
    }

    /// Is there no other file at and below a path than `known` ones?
    fn holds_no_others(&self, path: BString, known: &HashSet<&BStr>) -> Option<()> {
        // What lies behind a link is not the work tree's.
        let is_folder = |end: usize| {
            let folder = self.top.join(path[..end].to_path().ok()?);
            match folder.symlink_metadata() {
                Ok(found) => Some(found.is_dir()),
                Err(e) => (e.kind() == std::io::ErrorKind::NotFound).then_some(true),
            }
        };
        if !path.find_iter("/").map(is_folder).all(|is| is == Some(true)) {
            return None;
        }
        let at = self.top.join(path.to_path().ok()?);
        match at.symlink_metadata() {
            Ok(found) if found.is_dir() => no_others(&at, path, known),
            Ok(found) => (found.is_file() && known.contains(path.as_bstr())).then_some(()),
            Err(e) => (e.kind() == std::io::ErrorKind::NotFound).then_some(()),
        }
    }
}

/// The files at an entry, and below it.
fn below(odb: &Odb, path: BString, entry: Entry, files: &mut Vec<File>) -> Option<()> {
    if !entry.is_tree() {
        files.push((path, entry));
        return Some(());
    }
    for inner in RawTree::read(odb, Some(&entry.id)).ok()?.iter() {
        let (name, inner) = inner.ok()?;
        below(odb, BString::from([path.as_slice(), b"/", name].concat()), inner, files)?;
    }
    Some(())
}

fn no_others(folder: &Path, path: BString, known: &HashSet<&BStr>) -> Option<()> {
    for found in folder.read_dir().ok()? {
        let found = found.ok()?;
        let (kind, name) = (found.file_type().ok()?, Vec::from_os_string(found.file_name()).ok()?);
        let inner = BString::from([path.as_slice(), b"/", &name].concat());
        match kind.is_dir() {
            // A repository of its own.
            true if name == b".git" => return None,
            true => no_others(&found.path(), inner, known)?,
            false if kind.is_file() && known.contains(inner.as_bstr()) => {}
            false => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use gix_index::entry::Stat;
    use gix_index::fs::Metadata;

    use crate::store::lab::Tree;

    fn tree() -> Tree {
        Tree::new(&["carry.toml", "p/a", "p/sub/b", "q", "p.x"])
    }

    impl Tree {
        fn is_clean(&self, paths: &[&str]) -> bool {
            let plain = self.plain().expect("it is plain");
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            plain.is_clean(&paths, None).is_some()
        }

        /// Does git say nothing of them?
        fn is_clean_to_git(&self, paths: &[&str]) -> bool {
            let call =
                self.git.call(["status", "--porcelain", "--no-renames", "--untracked-files=all", "--"]);
            call.args(paths).output().expect("git tells").is_empty()
        }
    }

    const ALL_OF_IT: [&str; 3] = ["carry.toml", "p", "none"];

    #[test]
    fn what_git_says_nothing_of_is_clean() {
        let tree = tree();
        assert!(tree.is_clean(&ALL_OF_IT) && tree.is_clean(&["p/"]) && tree.is_clean(&["p/sub"]));
        // What is elsewhere is not asked for.
        tree.write("q", "two\n");
        tree.write("p.y", "new\n");
        assert!(tree.is_clean(&ALL_OF_IT) && tree.is_clean_to_git(&ALL_OF_IT) && !tree.is_clean(&["q"]));
        // A pattern is for git.
        assert!(!tree.is_clean(&["p*"]) && !tree.is_clean(&[""]));
    }

    #[test]
    fn whatever_differs_is_seen() {
        type Make<'m> = &'m dyn Fn(&Tree);
        let differs: [(&str, Make<'_>); 12] = [
            ("a change", &|t| t.write("p/a", "two\n")),
            ("one as long", &|t| t.write("p/a", "ONE\n")),
            ("a deeper one", &|t| t.write("p/sub/b", "two\n")),
            ("a new file", &|t| t.write("p/c", "new\n")),
            ("a new file in a new folder", &|t| t.write("p/new/c", "new\n")),
            ("where there was nothing", &|t| t.write("none", "new\n")),
            ("a file that is gone", &|t| std::fs::remove_file(t.path("p/a")).expect("gone")),
            ("a staged change", &|t| {
                t.write("p/a", "two\n");
                t.git(&["add", "p/a"]);
                t.write("p/a", "one\n");
                t.git(&["update-index", "-q", "--refresh"]);
            }),
            ("a staged change that is there", &|t| {
                t.write("p/a", "two\n");
                t.git(&["add", "p/a"]);
            }),
            ("one taken out of the index", &|t| drop(t.git(&["rm", "-q", "--cached", "p/sub/b"]))),
            ("another mode", &|t| {
                use std::os::unix::fs::PermissionsExt;
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(t.path("p/a"), mode).expect("set");
            }),
            ("a link to the same", &|t| {
                std::fs::remove_file(t.path("p/a")).expect("gone");
                std::os::unix::fs::symlink("sub/b", t.path("p/a")).expect("linked");
            }),
        ];
        for (what, make) in differs {
            let tree = tree();
            make(&tree);
            assert!(!tree.is_clean_to_git(&ALL_OF_IT), "{what}: git sees it");
            assert!(!tree.is_clean(&ALL_OF_IT), "{what}");
        }
    }

    #[test]
    fn what_is_not_plain_to_see_is_left_to_git() {
        type Make<'m> = &'m dyn Fn(&Tree);
        let unsure: [(&str, Make<'_>); 5] = [
            ("a folder behind a link", &|t| {
                std::fs::rename(t.path("p"), t.path("elsewhere")).expect("moved");
                std::os::unix::fs::symlink("elsewhere", t.path("p")).expect("linked");
            }),
            ("a file that git is told to take for unchanged", &|t| {
                drop(t.git(&["update-index", "--assume-unchanged", "p/a"]));
            }),
            ("an index in parts", &|t| drop(t.git(&["update-index", "--split-index"]))),
            ("a file that was written again", &|t| t.write("p/a", "one\n")),
            ("an ignored file", &|t| {
                t.write(".git/info/exclude", "p/ignored\n");
                t.write("p/ignored", "x");
            }),
        ];
        for (what, make) in unsure {
            let tree = tree();
            make(&tree);
            assert!(!tree.is_clean(&ALL_OF_IT), "{what}");
        }
        // All that the index knows of the file is still so: but it is not the work tree's.
        let tree = tree();
        std::fs::rename(tree.path("p"), tree.path("elsewhere")).expect("moved");
        std::os::unix::fs::symlink("elsewhere", tree.path("p")).expect("linked");
        assert!(!tree.is_clean(&["p/sub"]) && !tree.is_clean_to_git(&["p/sub"]));
    }

    #[test]
    fn a_change_in_the_second_in_which_the_index_was_written_is_seen() {
        let tree = tree();
        tree.aged("p/a", 20);
        tree.git(&["update-index", "-q", "--refresh"]);
        tree.aged(".git/index", 20);
        assert!(tree.is_clean(&ALL_OF_IT));
        // What the system says of the file is what the index has: by its bytes alone the change shows.
        tree.write("p/a", "ONE\n");
        let plain = tree.plain().expect("it is plain");
        let mut index = plain.index().expect("it is read");
        let at = index.entry_range("p/a".into()).expect("it is there").start;
        let now = Metadata::from_path_no_follow(&tree.path("p/a")).expect("it is there");
        index.entries_mut()[at].stat = Stat::from_fs(&now).expect("it is told");
        index.write(gix_index::write::Options::default()).expect("written");
        assert!(!tree.is_clean(&ALL_OF_IT));
        // And where the index is newer, it is taken for what it was, as git takes it.
        tree.aged("p/a", 60);
        let now = Metadata::from_path_no_follow(&tree.path("p/a")).expect("it is there");
        index.entries_mut()[at].stat = Stat::from_fs(&now).expect("it is told");
        index.write(gix_index::write::Options::default()).expect("written");
        assert!(tree.is_clean(&ALL_OF_IT) && tree.is_clean_to_git(&ALL_OF_IT));
        // A size of nothing says that it is not known whether the file is what it was.
        tree.write("p/a", "");
        tree.aged("p/a", 60);
        let now = Metadata::from_path_no_follow(&tree.path("p/a")).expect("it is there");
        index.entries_mut()[at].stat = Stat::from_fs(&now).expect("it is told");
        index.write(gix_index::write::Options::default()).expect("written");
        assert!(!tree.is_clean(&ALL_OF_IT) && !tree.is_clean_to_git(&ALL_OF_IT));
    }
}
