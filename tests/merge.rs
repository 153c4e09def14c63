//! The merge of trees gives git's answer: held against `git merge-tree` on random trees.

use std::collections::BTreeMap;

use crate::support::{bare_store, git};
use bstr::BStr;
use git_carry::replay::Merged;
use git_carry::replay::merge::merge_trees;
use git_carry::store::tree::{self, Entry, MODE_TREE, RawTree};
use git_carry::store::{Objects as _, Odb};
use gix_hash::ObjectId;
use proptest::prelude::*;

/// A snapshot of a tree: path to (executable?, content).
type Files = BTreeMap<String, (bool, String)>;

/// Writes `files` as a tree; a file whose path is also a folder gives way to the folder.
fn write(objects: &Odb, files: &Files) -> Option<ObjectId> {
    let mut entries: Vec<(&BStr, Entry)> = Vec::new();
    let mut folders: BTreeMap<&str, Files> = BTreeMap::new();
    for (path, file) in files {
        if let Some((folder, rest)) = path.split_once('/') {
            folders.entry(folder).or_default().insert(rest.to_owned(), file.clone());
        }
    }
    for (path, (executable, content)) in files {
        if !path.contains('/') && !folders.contains_key(path.as_str()) {
            let mode = if *executable { 0o100755 } else { 0o100644 };
            let id = objects.put_blob(content.clone().into_bytes(), None).expect("a blob is kept");
            entries.push((path.as_str().into(), Entry { mode, id }));
        }
    }
    for (folder, files) in &folders {
        if let Some(id) = write(objects, files) {
            entries.push(((*folder).into(), Entry { mode: MODE_TREE, id }));
        }
    }
    tree::write(objects, entries, None).expect("a tree is kept")
}

fn root(objects: &Odb, files: &Files) -> ObjectId {
    write(objects, files).unwrap_or_else(|| tree::write_empty(objects).expect("the empty tree is kept"))
}

/// A file of ten lines, some of them changed to one of three words.
fn content() -> impl Strategy<Value = String> {
    proptest::collection::btree_map(0usize..10, 0usize..3, 0..3).prop_map(|changes| {
        (0..10)
            .map(|line| match changes.get(&line) {
                Some(word) => format!("{}\n", ["red", "green", "blue"][*word]),
                None => format!("line {line}\n"),
            })
            .collect()
    })
}

fn files() -> impl Strategy<Value = Files> {
    let path = prop_oneof![
        Just("a"),
        Just("b"),
        Just("d"),
        Just("d.c"),
        Just("d/x"),
        Just("d/y"),
        Just("d/e/z"),
        Just("d0")
    ];
    let file = (proptest::bool::weighted(0.2), content());
    // Every line names its path, so that git's rename detection, which cannot be turned off, finds nothing.
    let named = |path: &String, content: &str| content.lines().map(|l| format!("{path} {l}\n")).collect();
    proptest::collection::btree_map(path.prop_map(str::to_owned), file, 0..7)
        .prop_map(move |files| files.into_iter().map(|(p, (x, c))| (p.clone(), (x, named(&p, &c)))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_merge_of_trees_is_gits(base in files(), ours in files(), theirs in files()) {
        let dir = tempfile::tempdir()?;
        let objects = bare_store(dir.path());
        let [base, ours, theirs] = [&base, &ours, &theirs].map(|files| root(&objects, files));
        let merged = merge_trees(&objects, &base, &ours, &theirs).expect("all objects are there");
        objects.flush().expect("the pack is written");

        let merge_base = format!("--merge-base={base}");
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        let out = git(
            dir.path(),
            &["merge-tree", "--write-tree", "--name-only", &merge_base, &ours, &theirs],
        );
        let stdout = String::from_utf8_lossy(&out.stdout);
        let first = stdout.lines().next().unwrap_or_default();
        match (&merged, out.status.code()) {
            (Merged::Clean(tree), Some(0)) => prop_assert_eq!(tree.to_string(), first),
            (Merged::Conflicts(found), Some(1)) => prop_assert!(!found.is_empty()),
            other => prop_assert!(false, "{other:?}: {stdout} {}", String::from_utf8_lossy(&out.stderr)),
        }
        let fsck = git(dir.path(), &["fsck", "--strict", "--no-dangling"]);
        prop_assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stderr));
    }
}

#[test]
fn a_subtree_that_one_side_left_alone_is_not_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let objects = bare_store(dir.path());
    // The folder's object does not exist: the merge succeeds only if it never looks.
    let absent = objects.hash().null();
    let tree = |content: &str| {
        let blob = objects.put_blob(content.as_bytes().to_vec(), None).expect("a blob is kept");
        let entries = vec![
            (BStr::new("file"), Entry { mode: 0o100644, id: blob }),
            (BStr::new("folder"), Entry { mode: MODE_TREE, id: absent }),
        ];
        tree::write(&objects, entries, None).expect("a tree is kept").expect("it is not empty")
    };
    let (base, theirs) = (tree("1\n"), tree("2\n"));
    assert_eq!(merge_trees(&objects, &base, &base, &theirs).expect("no read"), Merged::Clean(theirs));
    let ours = {
        let read = RawTree::read(&objects, Some(&base)).expect("it is in memory");
        let mut entries = read.entries().expect("it is well formed");
        let id = objects.put_blob(b"n\n".to_vec(), None).expect("a blob is kept");
        entries.push((BStr::new("new"), Entry { mode: 0o100644, id }));
        tree::write(&objects, entries, Some(&base)).expect("a tree is kept").expect("it is not empty")
    };
    let Merged::Clean(merged) = merge_trees(&objects, &base, &ours, &theirs).expect("no read") else {
        panic!("the two sides touch different files")
    };
    let merged = RawTree::read(&objects, Some(&merged)).expect("it is in memory");
    let folder = merged.get("folder".into()).expect("it is well formed");
    assert_eq!(folder.map(|e| e.id), Some(absent));
    assert_eq!(merged.entries().expect("it is well formed").len(), 3);
}
