//! Refs read where they lie, in git's form of files (`gitrepository-layout(5)`): one a ref, or a line of `packed-refs`. What
//! they do not tell plainly is not told, and git is to be asked.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::Path;

use bstr::ByteSlice;
use gix_hash::ObjectId;

/// What each of the refs `names` (full) of the repository at `path` points at.
pub(super) fn exactly(path: &Path, names: &[&str]) -> Option<Vec<Option<ObjectId>>> {
    if is_foreign(path) || !names.iter().all(|name| is_plain(name)) {
        return None;
    }
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        match std::fs::read(path.join(name)) {
            Ok(text) => found.push(Some(ObjectId::from_hex(text.trim()).ok()?)),
            Err(e) if is_absent(e.kind()) => found.push(None),
            Err(_) => return None,
        }
    }
    if found.iter().all(Option::is_some) {
        return Some(found);
    }
    // Who packs refs writes this file before the others go, so it is read last.
    let packed = packed(path)?;
    for (at, name) in found.iter_mut().zip(names).filter(|(at, _)| at.is_none()) {
        let line = |line: &[u8]| {
            let (id, of) = line.split_once_str(" ")?;
            (of == name.as_bytes()).then(|| ObjectId::from_hex(id).ok())
        };
        *at = packed.lines().find_map(line).flatten();
    }
    Some(found)
}

/// All refs of the repository at `path` that are one of `prefixes`, or in a folder of that name; sorted by name.
pub(super) fn under(path: &Path, prefixes: &[&str]) -> Option<Vec<(String, ObjectId)>> {
    if is_foreign(path) || !prefixes.iter().all(|prefix| is_plain(prefix)) {
        return None;
    }
    let mut loose = BTreeMap::new();
    for prefix in prefixes {
        walk(path, prefix.trim_end_matches('/'), &mut loose)?;
    }
    let fits = |name: &str| {
        let inside = |prefix: &&str| {
            let rest = name.strip_prefix(*prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
        };
        prefixes.iter().any(inside)
    };
    // Who packs refs writes this file before the others go, so it is read last.
    let mut all = BTreeMap::new();
    for line in packed(path)?.lines().filter(|line| !line.starts_with(b"#") && !line.starts_with(b"^")) {
        let (id, name) = line.split_once_str(" ")?;
        let Some(name) = name.to_str().ok().filter(|name| fits(name)) else { continue };
        all.insert(name.to_owned(), ObjectId::from_hex(id).ok()?);
    }
    all.extend(loose.into_iter().filter(|(name, _)| fits(name)));
    Some(all.into_iter().collect())
}

/// The names of the files that refs are to be in.
pub(super) fn files(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if !is_foreign(path) {
        names(path, "refs", &mut found);
    }
    found
}

fn names(path: &Path, folder: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(path.join(folder)).into_iter().flatten().flatten() {
        let Some(name) = inside(folder, &entry) else { continue };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => names(path, &name, found),
            _ => found.push(name),
        }
    }
}

/// The ref's name, or its beginning, that an entry of a folder stands for.
fn inside(folder: &str, entry: &DirEntry) -> Option<String> {
    // Names that are no text are nobody's here; the others no ref has (`git help check-ref-format`).
    let last = entry.file_name().to_str().map(str::to_owned)?;
    (!last.starts_with('.') && !last.ends_with(".lock")).then(|| format!("{folder}/{last}"))
}

/// Are the refs of the repository kept in another form?
fn is_foreign(path: &Path) -> bool {
    path.join("reftable").exists()
}

/// Is it a ref's name or the beginning of one, and no pattern?
fn is_plain(name: &str) -> bool {
    name.starts_with("refs/") && !name.contains("..") && !name.contains(['*', '?', '[', '\\'])
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory)
}

fn packed(path: &Path) -> Option<Vec<u8>> {
    match std::fs::read(path.join("packed-refs")) {
        Ok(text) => Some(text),
        Err(e) if is_absent(e.kind()) => Some(Vec::new()),
        Err(_) => None,
    }
}

/// The refs in files of their own at `name` and below it.
fn walk(path: &Path, name: &str, found: &mut BTreeMap<String, ObjectId>) -> Option<()> {
    let at = path.join(name);
    let entries = match std::fs::read_dir(&at) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotADirectory => return file(&at, name, found),
        Err(e) if is_absent(e.kind()) => return Some(()),
        Err(_) => return None,
    };
    for entry in entries {
        let entry = entry.ok()?;
        let Some(name) = inside(name, &entry) else { continue };
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            walk(path, &name, found)?;
        } else if kind.is_file() {
            file(&entry.path(), &name, found)?;
        } else {
            return None;
        }
    }
    Some(())
}

fn file(at: &Path, name: &str, found: &mut BTreeMap<String, ObjectId>) -> Option<()> {
    match std::fs::read(at) {
        Ok(text) => found.insert(name.to_owned(), ObjectId::from_hex(text.trim()).ok()?),
        // It was packed, or went, since its folder was read.
        Err(e) if is_absent(e.kind()) => None,
        Err(_) => return None,
    };
    Some(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::store::Repo;
    use crate::store::git::Git;

    fn at(dir: &Path) -> (Git, ObjectId, ObjectId) {
        assert!(
            Command::new("git").args(["init", "-q", "--bare"]).arg(dir).status().expect("it runs").success()
        );
        let git = Git::bare(dir);
        let blob = |text: &str| {
            let id = git.call(["hash-object", "-w", "--stdin"]).stdin(text).line().expect("a blob");
            ObjectId::from_hex(id.as_bytes()).expect("an id")
        };
        let (a, b) = (blob("a"), blob("b"));
        (git, a, b)
    }

    fn set(git: &Git, name: &str, to: &ObjectId) {
        git.call(["update-ref", name, &to.to_string()]).output().expect("a ref");
    }

    /// What git lists.
    fn told(git: &Git, prefixes: &[&str]) -> Vec<(String, ObjectId)> {
        let call = git.call(["for-each-ref", "--format=%(objectname) %(refname)", "--"]);
        let out = call.args(prefixes).output().expect("a list");
        let line = |line: &[u8]| {
            let (id, name) = line.split_once_str(" ").expect("two words");
            (name.to_str_lossy().into_owned(), ObjectId::from_hex(id).expect("an id"))
        };
        out.lines().map(line).collect()
    }

    #[test]
    fn refs_are_those_that_git_lists_packed_and_in_files_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let (git, a, b) = at(dir.path());
        for name in ["refs/carry/x/1", "refs/carry/x/2", "refs/carry/x-y", "refs/carry/xy/1", "refs/q/a/b"] {
            set(&git, name, &a);
        }
        git.call(["pack-refs", "--all"]).output().expect("packed");
        set(&git, "refs/carry/x/2", &b);
        set(&git, "refs/carry/x/10", &b);
        set(&git, "refs/carry/x/0/deep", &b);
        git.call(["update-ref", "-d", "refs/carry/x/1"]).output().expect("gone");
        std::fs::write(dir.path().join("refs/carry/x/2.lock"), "").expect("a lock");
        std::fs::create_dir_all(dir.path().join("refs/carry/x/empty")).expect("a folder");
        let asked: [&[&str]; 7] = [
            &["refs/carry/x/"],
            &["refs/carry/x"],
            &["refs/carry/x-y"],
            &["refs/carry/x/2"],
            &["refs/carry/"],
            &["refs/q/", "refs/carry/xy/"],
            &["refs/none/"],
        ];
        for prefixes in asked {
            assert_eq!(under(dir.path(), prefixes), Some(told(&git, prefixes)), "{prefixes:?}");
        }
        let names =
            ["refs/carry/x/2", "refs/carry/x/1", "refs/carry/xy/1", "refs/carry/x", "refs/carry/xy/1/2"];
        assert_eq!(exactly(dir.path(), &names), Some(vec![Some(b), None, Some(a), None, None]));
    }

    #[test]
    fn what_the_files_do_not_tell_plainly_git_is_asked() {
        let dir = tempfile::tempdir().expect("a folder");
        let (git, a, _) = at(dir.path());
        set(&git, "refs/carry/x/1", &a);
        assert_eq!(under(dir.path(), &["refs/carry/*/1"]), None);
        assert_eq!(under(dir.path(), &["carry/"]), None);
        git.call(["symbolic-ref", "refs/carry/x/s", "refs/carry/x/1"]).output().expect("a ref");
        assert_eq!(under(dir.path(), &["refs/carry/"]), None);
        assert_eq!(exactly(dir.path(), &["refs/carry/x/s"]), None);
        let repo = Repo::open_or_create(dir.path(), None, None).expect("it opens");
        let both = ["refs/carry/x/1", "refs/carry/x/s"].map(|name| (name.to_owned(), a));
        assert_eq!(repo.references(&["refs/carry/"]).expect("refs"), both);
        assert_eq!(repo.reference("refs/carry/x/s").expect("a ref"), Some(a));
    }
}
