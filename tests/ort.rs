//! The merge of trees gives git's answer for whatever comes: held against `git merge-tree` on random trees with
//! renames, moved folders, types, modes and line ends, and on the cases that once differed (`fixtures/merges`).
//!
//! `GIT_CARRY_MERGE_CASES` sets how many random cases are tried, `GIT_CARRY_MERGE_SEED` which ones (a failure names its
//! seed). `GIT_CARRY_MERGE_REPO="REPO FROM TO ONTO..."` has each
//! commit of `FROM..TO` in a real repository picked onto each of the commits `ONTO` as well.

mod cases;

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{bare_store, git_with_input};
use cases::{Case, Files, apply, base, case, step};
use git_carry::replay::merge::{Attempt, attempt_marked, merge_noting, merge_trees};
use git_carry::replay::sequence::{Course, Placed, Replay, Role, Step as Patch, replay};
use git_carry::replay::{Conflict, ConflictKind, Merged, MessageKind, Names, Sides};
use git_carry::store::tree::{Entry, edit, write_empty};
use git_carry::store::{Objects as _, Odb, Scratch};
use git_carry::trunk::compare::Compare;
use git_carry::trunk::delta;
use git_carry::trunk::differences::{self, Differences};
use gix_hash::ObjectId;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

fn tree(objects: &Odb, files: &Files) -> ObjectId {
    let blob = |mode: u32, data: &Vec<u8>| {
        let id = objects.put_blob(data.clone(), None).expect("a blob is kept");
        Entry { mode, id }
    };
    let edits: Vec<(&[u8], Option<Entry>)> =
        files.iter().map(|(path, (mode, data))| (path.as_bytes(), Some(blob(*mode, data)))).collect();
    match edit(objects, None, &edits).expect("objects are kept").expect("no file is a folder") {
        Some(tree) => tree,
        None => write_empty(objects).expect("a tree is kept"),
    }
}

const NO_SIDES: Sides<Option<Entry>> = Sides { base: None, ours: None, theirs: None };

/// What a merge comes to: tree, open paths with mode, id and stage, and what is told (kind and paths).
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    clean: bool,
    tree: String,
    stages: Vec<String>,
    told: Vec<(String, Vec<String>)>,
}

fn ours(objects: &Odb, [base, ours, theirs]: [ObjectId; 3]) -> Answer {
    let (name_ours, name_theirs) = (ours.to_string().into(), theirs.to_string().into());
    let names = Names { base: base.to_string().into(), ours: name_ours, theirs: name_theirs };
    let Attempt { tree, conflicts, messages, .. } =
        attempt_marked(objects, &base, &ours, &theirs, &names).expect("all objects are there");
    let mut stages = Vec::new();
    for conflict in &conflicts {
        let sides = conflict.sides;
        for (stage, side) in [sides.base, sides.ours, sides.theirs].into_iter().enumerate() {
            if let Some(Entry { mode, id }) = side {
                stages.push(format!("{mode:06o} {id} {}\t{}", stage + 1, conflict.path));
            }
        }
    }
    let mut told: Vec<(String, Vec<String>)> = messages
        .iter()
        .map(|m| (m.kind.in_git().to_owned(), m.paths.iter().map(ToString::to_string).collect()))
        .collect();
    told.sort();
    // The plain merge says the same, with the same tree.
    match merge_trees(objects, &base, &ours, &theirs).expect("all objects are there") {
        Merged::Clean(plain) => {
            assert!(conflicts.is_empty(), "clean, but {conflicts:?}");
            assert_eq!(plain, tree);
        }
        Merged::Conflicts(found) => {
            let sides = |all: &[Conflict]| {
                let mut all: Vec<_> = all.iter().map(|c| (c.kind, c.sides.base)).collect();
                all.sort();
                all
            };
            assert_eq!(sides(&found), sides(&conflicts));
        }
    }
    // Git lets a merge pass when the marks of an inner conflict end up in a file; here it is a conflict without sides.
    let marks_inside = |c: &Conflict| c.kind == ConflictKind::Rename && c.sides == NO_SIDES;
    let clean = conflicts.iter().all(marks_inside);
    Answer { clean, tree: tree.to_string(), stages, told }
}

/// Git's answers to many merges, by one call (`git help merge-tree`, "INPUT FORMAT", "OUTPUT"). Nothing where git
/// itself fails an assertion.
fn gits(dir: &Path, cases: &[[ObjectId; 3]]) -> Vec<Option<Answer>> {
    let input: String = cases.iter().map(|[b, o, t]| format!("{b} -- {o} {t}\n")).collect();
    let out = git_with_input(dir, &["merge-tree", "--write-tree", "--stdin", "--messages"], input.as_bytes());
    if out.status.code().is_none_or(|c| c > 1) {
        assert!(String::from_utf8_lossy(&out.stderr).contains("Assertion"), "{out:?}");
        return match cases.split_at(cases.len() / 2) {
            ([], _) => vec![None],
            (left, right) => [gits(dir, left), gits(dir, right)].into_iter().flatten().collect(),
        };
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let mut words = text.split('\0');
    cases.iter().map(|_| Some(answer(&mut words))).collect()
}

fn answer<'t>(words: &mut impl Iterator<Item = &'t str>) -> Answer {
    let mut next = || words.next().expect("git says all").to_owned();
    let clean = next() == "1";
    let tree = next();
    // A clean merge lists no files: what follows is the blank before the messages.
    let stages = std::iter::from_fn(|| Some(next()).filter(|word| !word.is_empty())).collect();
    let mut told = Vec::new();
    while let Ok(count) = next().parse::<usize>() {
        let paths = (0..count).map(|_| next()).collect();
        let kind = next();
        next();
        if kind.starts_with("CONFLICT") {
            told.push((kind, paths));
        }
    }
    told.sort();
    Answer { clean, tree, stages, told }
}

/// Does git lose a file that stands here? It does where it suggests a new folder for a file (a conflict in any case).
/// If the file's old path was a folder in the base, its entry loses mode and id, and git goes on with that: beside the
/// suggestion, it may tell of a clash that is none. If a folder above its new path was left alone by both sides, what
/// else is in there goes.
fn loses_a_file(git: &Answer, here: &Answer, [git_list, here_list]: &[String; 2]) -> bool {
    let is_suggestion = |(kind, _): &&(String, _)| kind == MessageKind::DirectoryRenameSuggested.in_git();
    let suggestions = |answer: &Answer| answer.told.iter().filter(is_suggestion).cloned().collect::<Vec<_>>();
    if here.clean || suggestions(git).is_empty() || suggestions(git) != suggestions(here) {
        return false;
    }
    let lost: Vec<&str> = git
        .stages
        .iter()
        .filter(|stage| stage.starts_with("000000 "))
        .filter_map(|stage| stage.split_once('\t')?.1.split('~').next())
        .collect();
    if !lost.is_empty() {
        let of_lost = |paths: &[String]| paths.iter().any(|path| lost.contains(&path.as_str()));
        return here.told.iter().all(|told| git.told.contains(told) || of_lost(&told.1));
    }
    let has_all = git_list.lines().all(|line| here_list.lines().any(|l| l == line));
    let fewer = git_list.lines().count() < here_list.lines().count();
    git.told == here.told && git.stages == here.stages && has_all && fewer
}

/// The first of `cases` for which the answers differ, and how.
fn first_difference(cases: &[Case]) -> Option<(usize, String)> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let objects = bare_store(dir.path());
    let trees: Vec<[ObjectId; 3]> =
        cases.iter().map(|case| [0, 1, 2].map(|side| tree(&objects, &case[side]))).collect();
    objects.flush().expect("the pack is written");
    let gits = gits(dir.path(), &trees);
    for (at, (trees, git)) in trees.iter().zip(gits).enumerate() {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ours(&objects, *trees)));
        // Where git gives up on itself, an answer is enough.
        let git = match (git, &found) {
            (Some(git), _) => git,
            (None, Ok(_)) => continue,
            (None, Err(_)) => return Some((at, "git: an assertion fails\nhere: a panic".to_owned())),
        };
        match found {
            Ok(found) if found == git => {}
            Ok(found) => {
                objects.flush().expect("the pack is written");
                let list = |tree: &str| {
                    let out = crate::support::git(dir.path(), &["ls-tree", "-r", tree]);
                    String::from_utf8_lossy(&out.stdout).into_owned()
                };
                let lists = [list(&git.tree), list(&found.tree)];
                if loses_a_file(&git, &found, &lists) {
                    continue;
                }
                let [theirs, own] = lists;
                return Some((
                    at,
                    format!("git: {git:#?}\nhere: {found:#?}\ngit's tree:\n{theirs}here:\n{own}"),
                ));
            }
            Err(_) => return Some((at, format!("git: {git:#?}\nhere: a panic"))),
        }
    }
    None
}

fn shown(case: &Case) -> String {
    let mut out = String::new();
    for (name, files) in ["base", "ours", "theirs"].iter().zip(case) {
        out.push_str(&format!("[{name}]\n"));
        for (path, (mode, data)) in files {
            let text = toml::Value::String(String::from_utf8_lossy(data).into_owned());
            out.push_str(&format!("{} = [\"{mode:06o}\", {text}]\n", toml::Value::String(path.clone())));
        }
    }
    out
}

/// How many cases, who makes them, and the seed that makes them again.
fn runner() -> (usize, TestRunner, u64) {
    let given = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_micros());
    let seed = given("GIT_CARRY_MERGE_SEED").unwrap_or_else(|| now() as u64);
    let config = Config { failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    (given("GIT_CARRY_MERGE_CASES").map_or(4000, |n| n as usize), TestRunner::new(config), seed)
}

#[test]
fn random_merges_are_gits() {
    let (cases, mut runner, seed) = runner();
    let strategy = case();
    for start in (0..cases).step_by(1000) {
        let mut values: Vec<_> = (start..cases.min(start + 1000))
            .map(|_| strategy.new_tree(&mut runner).expect("a case is made"))
            .collect();
        let all: Vec<Case> = values.iter().map(ValueTree::current).collect();
        let Some((at, mut how)) = first_difference(&all) else { continue };
        let value = &mut values[at];
        let mut smallest = value.current();
        let mut go = value.simplify();
        while go {
            let now = value.current();
            match first_difference(std::slice::from_ref(&now)) {
                Some((_, why)) => {
                    (smallest, how) = (now, why);
                    go = value.simplify();
                }
                None => go = value.complicate(),
            }
        }
        // First what one needs to see it again: a log may be cut off in its middle.
        panic!("GIT_CARRY_MERGE_SEED={seed}\nas fixtures/merges/<name>.toml:\n{}\n{how}", shown(&smallest));
    }
}

/// The base, the trunk, and the tree after each patch of a queue of enough patches for more than one thread.
fn queue() -> impl Strategy<Value = (Files, Files, Vec<Files>)> {
    let steps = |most| proptest::collection::vec(step(), 0..most);
    (base(), steps(5), proptest::collection::vec(steps(3), 9..16)).prop_map(|(base, trunk, patches)| {
        let trunk = apply(base.clone(), &trunk);
        let mut last = base.clone();
        let patches = patches.iter().map(|steps| {
            last = apply(last.clone(), steps);
            last.clone()
        });
        let patches = patches.collect();
        (base, trunk, patches)
    })
}

#[test]
fn a_replayed_queue_stands_as_if_its_patches_were_merged_one_by_one() {
    let (cases, mut runner, seed) = runner();
    println!("GIT_CARRY_MERGE_SEED={seed}");
    let strategy = queue();
    let (mut applied, mut left_out, mut told) = (0, 0, 0);
    for _ in 0..cases / 10 {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let objects = bare_store(dir.path());
        let (base, trunk, patches) = strategy.new_tree(&mut runner).expect("a case is made").current();
        let (base, trunk) = (tree(&objects, &base), tree(&objects, &trunk));
        let mut before = base;
        let mut steps = Vec::new();
        for (n, files) in patches.iter().enumerate() {
            let after = tree(&objects, files);
            steps.push(Patch { name: n.to_string(), before, after, role: Role::Carry });
            before = after;
        }
        objects.flush().expect("a pack is written");
        let found = replay(&objects, &steps, &trunk, Vec::new(), &mut Course::default())
            .expect("all objects are there");

        let one_by_one = Scratch::over(&objects);
        let mut stack = trunk;
        for (n, (step, placed)) in steps.iter().zip(&found.placed).enumerate() {
            let (merged, notes) =
                merge_noting(&one_by_one, &step.before, &stack, &step.after).expect("all objects are there");
            match (merged, placed) {
                (Merged::Clean(tree), Placed::Applied { before, after, as_it_is, changes, .. }) => {
                    if let Some(changes) = changes {
                        let mut changes = changes.to_vec();
                        changes.sort_by(|a, b| a.path.cmp(&b.path));
                        let mut differs =
                            delta::changes(&objects, before, after).expect("all objects are there");
                        differs.sort_by(|a, b| a.path.cmp(&b.path));
                        assert_eq!(differs, changes, "{n} of {patches:?}");
                        told += 1;
                    }
                    assert_eq!(
                        (stack, tree, notes.as_it_is),
                        (*before, *after, *as_it_is),
                        "{n} of {patches:?}"
                    );
                    stack = tree;
                    applied += 1;
                }
                (
                    Merged::Conflicts(expected),
                    Placed::Conflict(conflicts) | Placed::Blocked { conflicts, .. },
                ) => {
                    assert_eq!(expected, *conflicts, "{n} of {patches:?}");
                    left_out += 1;
                }
                (merged, placed) => panic!("{n}: {merged:?}, but {placed:?} in {patches:?}"),
            }
        }
        assert_eq!(stack, found.tree);
        // By which way a merge was made is not the same: a folder that is open may not be.
        let plain = |placed: Vec<Placed>| -> Vec<Placed> {
            let without = |placed| match placed {
                Placed::Applied { before, after, as_it_is, settled, .. } => {
                    Placed::Applied { before, after, as_it_is, both: None, changes: None, settled }
                }
                other => other,
            };
            placed.into_iter().map(without).collect()
        };
        // What a patch misses is worked out beside the replay, and after it where no other thread sees its trees.
        let alone = replay(&Scratch::over(&objects), &steps, &trunk, Vec::new(), &mut Course::default())
            .expect("all objects are there");
        assert_eq!((alone.tree, plain(alone.placed)), (found.tree, plain(found.placed.clone())));
        // What is taken back is made anew by the rest, on what stays: where a replay ended before, too.
        let half = steps.len() / 2;
        let (ends, known) = (|at| at > half, Vec::new());
        let (scratch, mut course) = (Scratch::over(&objects), Course::default().until(&ends));
        let begun = replay(&scratch, &steps, &trunk, known, &mut course).expect("all objects are there");
        assert_eq!(plain(begun.placed.clone()), plain(found.placed[..=half].to_vec()), "{patches:?}");
        objects.rewind(found.marks[half]);
        let again = replay(&objects, &steps, &trunk, begun.placed, &mut Course::default())
            .expect("all objects are there");
        assert_eq!((again.tree, plain(again.placed)), (found.tree, plain(found.placed.clone())));
        // The next night moves what this one made. What the patches changed need not be read from their trees for it.
        let file = dir.path().join("differences");
        let (mut next, mut kept) = (Vec::new(), Vec::new());
        for (step, placed) in steps.iter().zip(&found.placed) {
            if let Placed::Applied { before, after, changes, .. } = placed {
                next.push(Patch { before: *before, after: *after, ..step.clone() });
                kept.extend(changes.as_deref().map(|changes| ([*before, *after], changes)));
            }
        }
        for ([before, after], changes) in &kept {
            let differs = Compare::of(&objects).changes(before, after).expect("all objects are there");
            assert_eq!(differs.as_deref(), Some(*changes), "{patches:?}");
        }
        differences::keep(&file, kept.into_iter()).expect("it is written");
        objects.flush().expect("a pack is written");
        let replayed = |known: &Differences| {
            let scratch = Scratch::over(&objects);
            let replayed = replay(&scratch, &next, &base, Vec::new(), &mut Course::default().knowing(known));
            let Replay { placed, tree, .. } = replayed.expect("all objects are there");
            (plain(placed), tree)
        };
        assert_eq!(replayed(&Differences::at(file)), replayed(&Differences::default()), "{patches:?}");
        let whole = crate::support::git(dir.path(), &["fsck", "--strict", "--no-dangling"]);
        assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    }
    assert!(applied > left_out && told > 0, "{applied} applied, {told} told, {left_out} were left out");
}

/// A case of `fixtures/merges`.
fn kept(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).expect("it can be read");
    let sides: BTreeMap<String, BTreeMap<String, (String, String)>> =
        toml::from_str(&text).expect("it is well formed");
    let side = |name: &str| -> Files {
        let files = sides.get(name).cloned().unwrap_or_default();
        let mode = |text: &str| u32::from_str_radix(text, 8).expect("a mode");
        files.into_iter().map(|(path, (m, data))| (path, (mode(&m), data.into_bytes()))).collect()
    };
    [side("base"), side("ours"), side("theirs")]
}

#[test]
fn a_merge_at_which_git_stops_is_a_conflict_here() {
    let case = kept(Path::new("fixtures/merges/renamed-to-where-a-side-has-nothing.toml"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let objects = bare_store(dir.path());
    let answer = ours(&objects, [0, 1, 2].map(|side| tree(&objects, &case[side])));
    assert!(!answer.clean, "{answer:?}");
}

#[test]
fn the_cases_that_once_differed_are_gits() {
    let files = std::fs::read_dir("fixtures/merges").expect("the folder is there");
    let names: Vec<_> = files.map(|file| file.expect("it can be listed").path()).collect();
    let cases: Vec<Case> = names.iter().map(|path| kept(path)).collect();
    assert!(!cases.is_empty());
    if let Some((at, how)) = first_difference(&cases) {
        panic!("{}: {how}", names[at].display());
    }
}

#[test]
fn the_commits_of_a_real_repository_merge_as_in_git() {
    let Ok(given) = std::env::var("GIT_CARRY_MERGE_REPO") else { return };
    let words: Vec<&str> = given.split_whitespace().collect();
    let [repo, from, to, onto @ ..] = &words[..] else { panic!("REPO FROM TO ONTO...") };
    let dir = tempfile::tempdir().expect("a temporary folder");
    drop(bare_store(dir.path()));
    let objects = crate::support::git(
        Path::new(repo),
        &["rev-parse", "--path-format=absolute", "--git-path", "objects"],
    );
    std::fs::write(dir.path().join("objects/info/alternates"), objects.stdout).expect("it is written");
    let lines = |args: &[&str]| -> Vec<String> {
        let out = crate::support::git(Path::new(repo), args);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    };
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).expect("an id");
    let tree_of = |commit: &str| id(&lines(&["rev-parse", &format!("{commit}^{{tree}}")])[0]);
    let mut cases = Vec::new();
    for commit in lines(&["rev-list", "--reverse", "--no-merges", &format!("{from}..{to}")]) {
        let (before, after) = (tree_of(&format!("{commit}^")), tree_of(&commit));
        cases.extend(onto.iter().map(|onto| [before, tree_of(onto), after]));
    }
    let objects = Odb::open(dir.path()).expect("a bare store opens").as_git(crate::support::gits_version());
    let gits = gits(dir.path(), &cases);
    let (mut clean, mut differ) = (0, Vec::new());
    for (case, git) in cases.iter().zip(gits) {
        let Some(git) = git else { continue };
        clean += usize::from(git.clean);
        let found = ours(&objects, *case);
        if found != git {
            differ.push(format!("{case:?}\ngit: {git:#?}\nhere: {found:#?}"));
        }
    }
    eprintln!("{} merges, {clean} of them clean in git", cases.len());
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}
