//! Trees that are compared one pair after the other differ as each pair by itself, whatever packs store of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::support::{bare_store, git, git_with_input};
use bstr::BString;
use git_carry::store::tree::Entry;
use git_carry::store::{Objects as _, Odb};
use git_carry::trunk::compare::Compare;
use git_carry::trunk::delta::{self, Change, Touched};
use gix_hash::ObjectId;
use proptest::prelude::*;

/// Files of a folder: enough that it is no small one.
const MANY: usize = 150;

/// What a commit does to a file of one of the folders.
#[derive(Debug, Clone)]
enum Act {
    Write(usize, usize, u8),
    Remove(usize, usize),
    /// A folder stands where the file stood, or the other way round.
    Turn(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let file = || (0usize..3, 0..MANY + 5);
    prop_oneof![
        8 => (file(), any::<u8>()).prop_map(|((folder, n), word)| Act::Write(folder, n, word)),
        1 => file().prop_map(|(folder, n)| Act::Remove(folder, n)),
        1 => file().prop_map(|(folder, n)| Act::Turn(folder, n)),
    ]
}

fn path(folder: usize, n: usize) -> String {
    format!("{}file-{n:03}", ["", "lib/", "lib/deep/"][folder])
}

/// A history for `git fast-import`.
fn stream(commits: &[Vec<Act>]) -> String {
    let mut out = String::new();
    let head = |out: &mut String| {
        out.push_str("commit refs/heads/main\ncommitter T <t@example.org> 1790000000 +0000\ndata 2\nx\n");
    };
    let put = |out: &mut String, path: &str, word: u8| {
        write!(out, "M 100644 inline {path}\ndata {}\n{word}\n", word.to_string().len()).expect("it is text");
    };
    head(&mut out);
    (0..3).for_each(|folder| (0..MANY).for_each(|n| put(&mut out, &path(folder, n), 0)));
    let mut turned = BTreeSet::new();
    for acts in commits {
        head(&mut out);
        for act in acts {
            match act {
                Act::Write(folder, n, word) if !turned.contains(&(*folder, *n)) => {
                    put(&mut out, &path(*folder, *n), *word)
                }
                Act::Write(folder, n, word) => put(&mut out, &format!("{}/inner", path(*folder, *n)), *word),
                Act::Remove(folder, n) => {
                    turned.remove(&(*folder, *n));
                    writeln!(out, "D {}", path(*folder, *n)).expect("it is text");
                }
                Act::Turn(folder, n) => {
                    let path = path(*folder, *n);
                    writeln!(out, "D {path}").expect("it is text");
                    if turned.insert((*folder, *n)) {
                        put(&mut out, &format!("{path}/inner"), 1);
                    } else {
                        turned.remove(&(*folder, *n));
                        put(&mut out, &path, 1);
                    }
                }
            }
        }
    }
    out
}

/// The files of a difference, by path.
fn by_path(changes: Vec<Change>) -> BTreeMap<BString, [Option<Entry>; 2]> {
    changes.into_iter().map(|change| (change.path, [change.old, change.new])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pair_after_pair_differs_as_each_by_itself(
        commits in proptest::collection::vec(proptest::collection::vec(act(), 1..4), 12..30),
        wanted in proptest::collection::btree_set((0usize..3, 0..MANY), 1..60),
    ) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        bare_store(dir.path());
        let import = ["-c", "fastimport.unpackLimit=1", "fast-import", "--quiet"];
        let made = git_with_input(dir.path(), &import, stream(&commits).as_bytes());
        prop_assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = git(dir.path(), &["log", "--reverse", "--format=%T", "main"]);
        let trees: Vec<ObjectId> = String::from_utf8_lossy(&log.stdout)
            .lines()
            .map(|id| ObjectId::from_hex(id.as_bytes()).expect("an id"))
            .collect();
        let wanted: BTreeSet<BString> = wanted.iter().map(|(folder, n)| path(*folder, *n).into()).collect();
        // As git writes them one after the other; and as it packs them, the newest whole.
        for back in [false, true] {
            if back {
                prop_assert!(git(dir.path(), &["repack", "-adfq", "--depth=50"]).status.success());
            }
            let odb = Odb::open(dir.path()).expect("a store opens");
            let pairs: Vec<(&ObjectId, &ObjectId)> = trees.iter().zip(&trees[1..]).collect();
            let stored = pairs.iter().filter_map(|(old, new)| odb.over(old, new));
            prop_assert!(stored.filter(|over| over.back == back).count() > 0, "nothing is stored so: {back}");
            let orders = [pairs.clone(), pairs.iter().rev().copied().collect()];
            for order in orders {
                let (mut all, mut some) = (Compare::of(&odb), Compare::of(&odb));
                for (old, new) in order {
                    let expected = delta::changes(&odb, old, new).expect("all objects are there");
                    let found: Touched = some.touched(old, new, &wanted).expect("all objects are there");
                    prop_assert_eq!(&found, &delta::touched(&odb, old, new, &wanted).expect("they are there"));
                    let touched: BTreeSet<BString> = expected.iter().map(|c| c.path.clone()).collect();
                    prop_assert_eq!(found.paths, touched.intersection(&wanted).cloned().collect());
                    let files = all.files(old, new).expect("all objects are there");
                    prop_assert_eq!(files.len(), expected.len());
                    prop_assert_eq!(by_path(files), by_path(expected));
                }
            }
        }
    }
}
