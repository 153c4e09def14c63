//! Random trees, and what is done to them on two sides: renames, moved folders, types, modes and line ends.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// What stands at a path: mode, and content (for a submodule, what its commit is made up from).
pub(super) type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// Base, ours, theirs.
pub(super) type Case = [Files; 3];

/// What a side does; numbers pick among what is there.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Edit(usize, usize, u8),
    EditMuch(usize, u8),
    Insert(usize, usize, u8),
    Rename(usize, usize),
    RenameInPlace(usize, usize),
    MoveFolder(usize, usize),
    Delete(usize),
    DeleteFolder(usize),
    Add(usize, u8),
    AddInFolderOf(usize, usize, u8),
    Copy(usize, usize),
    Mode(usize),
    Link(usize, u8),
    Module(usize, u8),
    Swap(usize, usize),
    LineEnds(usize),
    Empty(usize),
    Binary(usize, u8),
    FolderForFile(usize, u8),
    FileForFolder(usize, u8),
}

pub(super) const PLACES: [&str; 22] = [
    "a", "b", "c", "d/a", "d/b", "d/c", "d/e/a", "d/e/b", "d/e/f/a", "x/a", "x/b", "x/d/a", "x/e/a", "y/a",
    "y/z/b", "d.c", "d-e", "d0", "e/a", "e/b", "e/c", "A",
];
pub(super) const FOLDERS: [&str; 9] = ["d", "d/e", "d/e/f", "x", "x/d", "y", "y/z", "e", "w/v"];

/// Lines of one kind, so that files of the kind are alike.
pub(super) fn text(kind: u8) -> Vec<u8> {
    let lines = if kind % 4 == 3 { 3 } else { 12 };
    (0..lines).flat_map(|n| format!("kind {} has this for line {n}\n", kind % 8).into_bytes()).collect()
}

pub(super) fn file() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let mode =
        prop_oneof![8 => Just(0o100644), 1 => Just(0o100755), 1 => Just(0o120000), 1 => Just(0o160000)];
    (mode, 0..8u8, 0..5u8).prop_map(|(mode, kind, change)| {
        let mut data = match (mode, change) {
            (0o120000, _) => format!("target {kind}").into_bytes(),
            (0o160000, _) => vec![kind],
            (_, 4) if kind == 0 => Vec::new(),
            _ => text(kind),
        };
        if mode & 0o170000 == 0o100000 && change > 1 {
            data.extend(format!("and change {change}\n").into_bytes());
        }
        (mode, data)
    })
}

pub(super) fn base() -> impl Strategy<Value = Files> {
    proptest::collection::btree_map(0..PLACES.len(), file(), 1..10).prop_map(|files| {
        let mut out = Files::new();
        for (place, file) in files {
            put(&mut out, PLACES[place], file);
        }
        out
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let n = || 0..12usize;
    prop_oneof![
        6 => (n(), n(), 0..3u8).prop_map(|(f, l, w)| Step::Edit(f, l, w)),
        1 => (n(), 0..3u8).prop_map(|(f, w)| Step::EditMuch(f, w)),
        2 => (n(), n(), 0..3u8).prop_map(|(f, l, w)| Step::Insert(f, l, w)),
        5 => (n(), 0..PLACES.len()).prop_map(|(f, p)| Step::Rename(f, p)),
        2 => (n(), n()).prop_map(|(f, w)| Step::RenameInPlace(f, w)),
        5 => (0..FOLDERS.len(), 0..FOLDERS.len()).prop_map(|(a, b)| Step::MoveFolder(a, b)),
        2 => n().prop_map(Step::Delete),
        1 => (0..FOLDERS.len()).prop_map(Step::DeleteFolder),
        3 => (0..PLACES.len(), 0..8u8).prop_map(|(p, k)| Step::Add(p, k)),
        3 => (n(), n(), 0..8u8).prop_map(|(f, w, k)| Step::AddInFolderOf(f, w, k)),
        1 => (n(), 0..PLACES.len()).prop_map(|(f, p)| Step::Copy(f, p)),
        1 => n().prop_map(Step::Mode),
        1 => (n(), 0..3u8).prop_map(|(f, k)| Step::Link(f, k)),
        1 => (n(), 0..3u8).prop_map(|(f, k)| Step::Module(f, k)),
        1 => (n(), n()).prop_map(|(a, b)| Step::Swap(a, b)),
        1 => n().prop_map(Step::LineEnds),
        1 => n().prop_map(Step::Empty),
        1 => (n(), 0..3u8).prop_map(|(f, k)| Step::Binary(f, k)),
        1 => (n(), 0..8u8).prop_map(|(f, k)| Step::FolderForFile(f, k)),
        1 => (0..FOLDERS.len(), 0..8u8).prop_map(|(f, k)| Step::FileForFolder(f, k)),
    ]
}

/// Puts a file, and takes away what cannot stand beside it.
pub(super) fn put(files: &mut Files, path: &str, file: (u32, Vec<u8>)) {
    files.retain(|p, _| !p.starts_with(&format!("{path}/")) && !path.starts_with(&format!("{p}/")));
    files.insert(path.to_owned(), file);
}

pub(super) fn is_text(file: &(u32, Vec<u8>)) -> bool {
    file.0 & 0o170000 == 0o100000
}

pub(super) fn apply(mut files: Files, steps: &[Step]) -> Files {
    let nth = |files: &Files, n: usize| files.keys().nth(n % files.len().max(1)).cloned();
    let folder_of =
        |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    for step in steps {
        match step {
            Step::Edit(f, line, word) | Step::Insert(f, line, word) => {
                let Some(file) = nth(&files, *f).and_then(|p| files.get_mut(&p)) else { continue };
                if !is_text(file) {
                    continue;
                }
                let mut lines: Vec<Vec<u8>> =
                    file.1.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                let at = line % (lines.len() + 1);
                let new = format!("word {word} at {at}\n").into_bytes();
                match step {
                    Step::Edit(..) if at < lines.len() => lines[at] = new,
                    _ => lines.insert(at, new),
                }
                file.1 = lines.concat();
            }
            Step::EditMuch(f, word) => {
                let Some(file) = nth(&files, *f).and_then(|p| files.get_mut(&p)) else { continue };
                if is_text(file) {
                    let lines = file.1.split_inclusive(|b| *b == b'\n').enumerate();
                    let new = lines.map(|(n, l)| match n % 3 {
                        0 => format!("much {word} {n}\n").into_bytes(),
                        _ => l.to_vec(),
                    });
                    file.1 = new.collect::<Vec<_>>().concat();
                }
            }
            Step::Rename(f, to) => {
                if let Some(file) = nth(&files, *f).and_then(|p| files.remove(&p)) {
                    put(&mut files, PLACES[*to], file);
                }
            }
            Step::RenameInPlace(f, name) => {
                let Some(path) = nth(&files, *f) else { continue };
                if let Some(file) = files.remove(&path) {
                    put(&mut files, &format!("{}n{name}", folder_of(&path)), file);
                }
            }
            Step::MoveFolder(from, to) => {
                let (from, to) = (FOLDERS[*from], FOLDERS[*to]);
                let inside: Vec<String> =
                    files.keys().filter(|p| p.starts_with(&format!("{from}/"))).cloned().collect();
                for path in inside {
                    if let Some(file) = files.remove(&path) {
                        put(&mut files, &format!("{to}{}", &path[from.len()..]), file);
                    }
                }
            }
            Step::Delete(f) => {
                if let Some(path) = nth(&files, *f) {
                    files.remove(&path);
                }
            }
            Step::DeleteFolder(f) => files.retain(|p, _| !p.starts_with(&format!("{}/", FOLDERS[*f]))),
            Step::Add(place, kind) => put(&mut files, PLACES[*place], (0o100644, text(*kind))),
            Step::AddInFolderOf(f, name, kind) => {
                if let Some(path) = nth(&files, *f) {
                    put(&mut files, &format!("{}n{name}", folder_of(&path)), (0o100644, text(*kind)));
                }
            }
            Step::Copy(f, to) => {
                if let Some(file) = nth(&files, *f).and_then(|p| files.get(&p)).cloned() {
                    put(&mut files, PLACES[*to], file);
                }
            }
            Step::Mode(f) => {
                if let Some(file) = nth(&files, *f).and_then(|p| files.get_mut(&p)).filter(|f| is_text(f)) {
                    file.0 ^= 0o111;
                }
            }
            Step::Link(f, k) | Step::Module(f, k) => {
                let Some(path) = nth(&files, *f) else { continue };
                let new = match step {
                    Step::Link(..) => (0o120000, format!("target {k}").into_bytes()),
                    _ => (0o160000, vec![*k]),
                };
                files.insert(path, new);
            }
            Step::Swap(a, b) => {
                let (Some(a), Some(b)) = (nth(&files, *a), nth(&files, *b)) else { continue };
                let (x, y) = (files[&a].clone(), files[&b].clone());
                files.insert(a, y);
                files.insert(b, x);
            }
            Step::LineEnds(f) => {
                if let Some(file) = nth(&files, *f).and_then(|p| files.get_mut(&p)).filter(|f| is_text(f)) {
                    let lines = file.1.split_inclusive(|b| *b == b'\n');
                    let turned = lines.map(|l| match l {
                        [head @ .., b'\r', b'\n'] => [head, b"\n"].concat(),
                        [head @ .., b'\n'] => [head, b"\r\n"].concat(),
                        other => other.to_vec(),
                    });
                    file.1 = turned.collect::<Vec<_>>().concat();
                }
            }
            Step::Empty(f) | Step::Binary(f, _) => {
                if let Some(file) = nth(&files, *f).and_then(|p| files.get_mut(&p)).filter(|f| is_text(f)) {
                    match step {
                        Step::Binary(_, k) => file.1.extend([0, *k, b'\n']),
                        _ => file.1.clear(),
                    }
                }
            }
            Step::FolderForFile(f, kind) => {
                if let Some(path) = nth(&files, *f) {
                    files.remove(&path);
                    put(&mut files, &format!("{path}/new"), (0o100644, text(*kind)));
                }
            }
            Step::FileForFolder(f, kind) => put(&mut files, FOLDERS[*f], (0o100644, text(*kind))),
        }
    }
    files
}

/// Few paths and two contents, each side made without regard to the others: files stand where others have folders, and
/// anything may be a rename of anything.
fn clashes() -> impl Strategy<Value = Case> {
    const PLACES: [&str; 13] =
        ["a", "d", "x", "d/a", "d/b", "d/d", "d/d/a", "d/d/b", "x/a", "x/b", "x/d", "x/d/a", "x/d/b"];
    let side = || {
        proptest::collection::btree_map(0..PLACES.len(), proptest::bool::weighted(0.3), 0..5).prop_map(
            |files| {
                let mut out = Files::new();
                for (place, kind) in files {
                    put(&mut out, PLACES[place], (0o100644, text(u8::from(kind))));
                }
                out
            },
        )
    };
    (side(), side(), side()).prop_map(|(base, ours, theirs)| [base, ours, theirs])
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let steps = || proptest::collection::vec(step(), 0..6);
    let worked_on = (base(), steps(), steps()).prop_map(|(base, ours, theirs)| {
        let (ours, theirs) = (apply(base.clone(), &ours), apply(base.clone(), &theirs));
        [base, ours, theirs]
    });
    prop_oneof![9 => worked_on, 1 => clashes()]
}
