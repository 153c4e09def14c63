//! The replay of a queue never stops, and tells a patch that trunk broke from one that misses another.

use crate::support::{Snapshot, bare_store, git, tree};
use git_carry::replay::sequence::{Course, Placed, Role, Step, replay};
use git_carry::store::Odb;

/// The steps of a queue given as snapshots: the base, then the tree after each patch.
fn steps(objects: &Odb, base: &Snapshot, patches: &[(&str, Snapshot)]) -> Vec<Step> {
    let mut before = tree(objects, base);
    let mut steps = Vec::new();
    for (name, snapshot) in patches {
        let after = tree(objects, snapshot);
        steps.push(Step { name: (*name).to_owned(), before, after, role: Role::Carry });
        before = after;
    }
    steps
}

fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
}

#[test]
fn a_patch_that_misses_a_left_out_one_is_blocked_and_names_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let objects = bare_store(dir.path());
    let base = snapshot(&[("api", "1\n2\n3\n"), ("db", "1\n")]);
    let queue = [
        ("fix-api", snapshot(&[("api", "1\ntwo\n3\n"), ("db", "1\n")])),
        ("fix-db", snapshot(&[("api", "1\ntwo\n3\n"), ("db", "one\n")])),
        ("more-api", snapshot(&[("api", "1\ntwo, again\n3\n"), ("db", "one\n")])),
        ("new-file", snapshot(&[("api", "1\ntwo, again\n3\n"), ("db", "one\n"), ("new", "n\n")])),
    ];
    let steps = steps(&objects, &base, &queue);
    let tip = tree(&objects, &snapshot(&[("api", "1\nzwei\n3\n"), ("db", "1\n")]));

    let replay =
        replay(&objects, &steps, &tip, Vec::new(), &mut Course::default()).expect("all objects are there");

    assert!(matches!(&replay.placed[0], Placed::Conflict(c) if c[0].path == "api"), "{replay:?}");
    assert!(matches!(replay.placed[1], Placed::Applied { .. }), "{replay:?}");
    assert!(
        matches!(&replay.placed[2], Placed::Blocked { needs, .. } if needs == &["fix-api"]),
        "{replay:?}"
    );
    assert!(matches!(replay.placed[3], Placed::Applied { .. }), "{replay:?}");
    objects.flush().expect("the pack is written");
    let listing = git(dir.path(), &["ls-tree", "-r", "--name-only", &replay.tree.to_string()]);
    assert_eq!(String::from_utf8_lossy(&listing.stdout), "api\ndb\nnew\n");
}

#[test]
fn two_patches_that_trunk_broke_at_one_file_are_both_roots() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let objects = bare_store(dir.path());
    let lines = |first: &str, last: &str| format!("{first}\nb\nc\nd\ne\nf\ng\n{last}\n");
    let base = snapshot(&[("api", &lines("a", "h"))]);
    let queue =
        [("top", snapshot(&[("api", &lines("A", "h"))])), ("bottom", snapshot(&[("api", &lines("A", "H"))]))];
    let steps = steps(&objects, &base, &queue);
    let tip = tree(&objects, &snapshot(&[("api", &lines("alpha", "eta"))]));

    let replay =
        replay(&objects, &steps, &tip, Vec::new(), &mut Course::default()).expect("all objects are there");

    assert!(replay.placed.iter().all(|p| matches!(p, Placed::Conflict(_))), "{replay:?}");
    assert_eq!(replay.tree, tip);
}
