//! The merge of lines, and the marks at its conflicts, are git's: held against `git merge-tree` on random texts with
//! many lines that repeat, in each conflict style.
//!
//! `GIT_CARRY_MERGE_CASES` sets how many random texts are tried.

use std::collections::BTreeMap;

use crate::support::{bare_store, git};
use bstr::BStr;
use git_carry::replay::lines::{Merge, Style};
use git_carry::store::tree::{Entry, edit};
use git_carry::store::{Objects as _, Odb};
use gix_hash::ObjectId;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// Base, ours, theirs.
type Case = [Vec<u8>; 3];

/// What a side does: at a line, so many lines go, and these come.
type Edit = (usize, usize, Vec<u8>);

/// A line of one of a few kinds, so that most repeat.
fn line(kind: u8) -> Vec<u8> {
    let text: &[u8] = match kind % 11 {
        0 => b"",
        1 => b"}",
        2 => b"\tbreak;",
        3 => b"}\r",
        4 => b"one\r",
        _ => return format!("line {}\n", kind % 32).into_bytes(),
    };
    [text, b"\n"].concat()
}

fn edited(base: &[u8], edits: &[Edit], no_end: bool) -> Vec<u8> {
    let mut kinds = base.to_vec();
    for (at, gone, come) in edits {
        let at = at % (kinds.len() + 1);
        let end = (at + gone).min(kinds.len());
        kinds.splice(at..end, come.iter().copied());
    }
    let mut text: Vec<u8> = kinds.into_iter().flat_map(line).collect();
    if no_end && text.ends_with(b"\n") {
        text.pop();
    }
    text
}

fn case() -> impl Strategy<Value = Case> {
    let kinds = |max: usize| proptest::collection::vec(any::<u8>(), 0..max);
    // Sometimes one line stands so often that it splits nothing.
    let base = prop_oneof![
        6 => kinds(30),
        2 => kinds(120),
        1 => (1..200usize, kinds(8)).prop_map(|(n, some)| some.iter().copied().chain((0..n).map(|k| (k % 3) as u8)).collect()),
        1 => (60..140usize).prop_map(|n| vec![1; n]),
    ];
    let edits = || proptest::collection::vec((0..150usize, 0..5usize, kinds(5)), 0..6);
    let ends = || proptest::bool::weighted(0.1);
    (base, edits(), edits(), ends(), ends(), ends()).prop_map(|(base, ours, theirs, a, b, c)| {
        [edited(&base, &[], a), edited(&base, &ours, b), edited(&base, &theirs, c)]
    })
}

/// The tree of all cases' texts of one side.
fn tree(objects: &Odb, cases: &[Case], side: usize) -> ObjectId {
    let names: Vec<String> = (0..cases.len()).map(|n| format!("{n:06}")).collect();
    let edits: Vec<(&[u8], Option<Entry>)> = names
        .iter()
        .zip(cases)
        .map(|(name, case)| {
            let id = objects.put_blob(case[side].clone(), None).expect("a blob is kept");
            (name.as_bytes(), Some(Entry { mode: 0o100644, id }))
        })
        .collect();
    edit(objects, None, &edits).expect("objects are kept").expect("they are files").expect("there are some")
}

/// The first case that git merges in another way, and how.
fn first_difference(cases: &[Case], style: Style) -> Option<(usize, String)> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let objects = bare_store(dir.path());
    let as_of = objects.as_of();
    let [base, ours, theirs] = [0, 1, 2].map(|side| tree(&objects, cases, side).to_string());
    objects.flush().expect("the pack is written");
    let name = match style {
        Style::Merge => "merge",
        Style::Diff3 => "diff3",
        Style::ZealousDiff3 => "zdiff3",
    };
    let style_setting = format!("merge.conflictStyle={name}");
    let merge_base = format!("--merge-base={base}");
    let args =
        ["-c", &style_setting, "merge-tree", "--write-tree", "--no-messages", &merge_base, &ours, &theirs];
    let out = git(dir.path(), &args);
    let text = String::from_utf8_lossy(&out.stdout);
    let merged = text.lines().next().expect("git names a tree").to_owned();
    let listed = git(dir.path(), &["ls-tree", &merged]);
    let listed = String::from_utf8_lossy(&listed.stdout);
    // `<mode> blob <id>\t<name>`
    let gits: BTreeMap<&str, &str> =
        listed.lines().filter_map(|l| l.split_once('\t').map(|(entry, name)| (name, &entry[12..]))).collect();
    assert_eq!(gits.len(), cases.len(), "{}", String::from_utf8_lossy(&out.stderr));
    for (at, [b, o, t]) in cases.iter().enumerate() {
        let merge = Merge::new(b, o, t, style, as_of);
        let labels = [&base, &ours, &theirs].map(|label| BStr::new(label.as_bytes()));
        let found = merge.marked(labels, 7);
        let id = objects.put_blob(found.clone(), None).expect("a blob is kept").to_string();
        let git_id = gits[format!("{at:06}").as_str()];
        if id != git_id {
            let blob = git(dir.path(), &["cat-file", "blob", git_id]).stdout;
            let show = |data: &[u8]| String::from_utf8_lossy(data).replace('\r', "<CR>");
            let all = [("base", b), ("ours", o), ("theirs", t), ("git", &blob), ("here", &found)];
            let all = all.map(|(name, data)| format!("== {name}\n{}", show(data)));
            return Some((at, format!("{style:?}\n{}", all.join("\n"))));
        }
    }
    None
}

#[test]
fn the_merge_of_lines_is_gits() {
    let cases = std::env::var("GIT_CARRY_MERGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let strategy = case();
    for start in (0..cases).step_by(1000) {
        let mut values: Vec<_> = (start..cases.min(start + 1000))
            .map(|_| strategy.new_tree(&mut runner).expect("a case is made"))
            .collect();
        let all: Vec<Case> = values.iter().map(ValueTree::current).collect();
        for style in [Style::Merge, Style::Diff3, Style::ZealousDiff3] {
            let Some((at, mut how)) = first_difference(&all, style) else { continue };
            let value = &mut values[at];
            let mut go = value.simplify();
            while go {
                match first_difference(&[value.current()], style) {
                    Some((_, why)) => {
                        how = why;
                        go = value.simplify();
                    }
                    None => go = value.complicate(),
                }
            }
            panic!("{how}");
        }
    }
}
