//! Daily work on the queue: each change goes out with its replay, and can be taken back.

use std::path::PathBuf;

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

fn names(night: &Value) -> Vec<String> {
    Lab::outcomes(night).into_iter().map(|(name, _)| name).collect()
}

fn outcome(night: &Value, name: &str) -> String {
    let found = Lab::outcomes(night).into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("no patch {name}: {night}")).1
}

fn queue() -> Lab {
    let (one, two) = (numbered("a", &[(5, "one")]), numbered("a", &[(5, "one"), (20, "two")]));
    let lab = Lab::with_fork(&[
        ("one", &[("a", Some(&one))]),
        ("two", &[("a", Some(&two))]),
        ("three", &[("b", Some(&numbered("b", &[(3, "three")])))]),
    ]);
    lab.json(0, &["nightly"]);
    lab
}

fn show(lab: &Lab, path: &str) -> String {
    lab.git("ws/.git/carry/p.git", &["show", &format!("refs/heads/deploy/p:{path}")])
}

#[test]
fn an_edit_becomes_the_patch_and_what_stands_above_follows() {
    let lab = queue();
    let series = std::fs::read_to_string(lab.path("ws/patches/p/series")).expect("a series");
    let begun = lab.json(0, &["edit", "one"]);
    let work = PathBuf::from(begun["work_tree"].as_str().expect("a place"));
    assert_eq!(lab.carry(&["edit", "one"]).status.code(), Some(1), "it is open already");
    let said = lab.carry_code(1, &["refresh"]);
    assert!(said.contains("is as it was"), "{said}");
    std::fs::write(work.join("a"), numbered("a", &[(5, "one, better")])).expect("written");
    lab.git(work.to_str().expect("UTF-8"), &["commit", "-q", "--amend", "-am", "one, in better words"]);
    let night = lab.json(0, &["refresh"]);
    assert_eq!(names(&night), ["one", "two", "three"]);
    assert!(!work.exists());
    let expected = numbered("a", &[(5, "one, better"), (20, "two")]);
    assert_eq!(show(&lab, "a"), expected.trim_end());
    assert_eq!(std::fs::read_to_string(lab.path("ws/patches/p/series")).expect("a series"), series);
    let patch = std::fs::read_to_string(lab.path("ws/patches/p/one.patch")).expect("a patch");
    assert!(patch.contains("Subject: [PATCH] one, in better words"), "{patch}");
    lab.git(".", &["clone", "-q", "up", "am"]);
    for name in ["one", "two", "three"] {
        lab.git("am", &["am", "-q", &format!("../ws/patches/p/{name}.patch")]);
    }
    let tree = lab.git("am", &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(night["manifest"]["deploy"]["tree"], tree);
    let log = lab.json(0, &["log"]);
    assert_eq!(log["log"][0]["subject"], "carry: p: edit one");

    // Nobody need read the files that were written again: their times are known (`status` would learn them by itself).
    assert_eq!(lab.git("ws", &["diff-files", "--name-only"]), "");
    // One step back, whatever number of commits it took; and forth again.
    lab.json(0, &["undo"]);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    lab.json(0, &["rebase"]);
    assert_eq!(show(&lab, "a"), numbered("a", &[(5, "one"), (20, "two")]).trim_end());
    assert_eq!(lab.json(0, &["log"])["log"][0]["subject"], "carry: p: undo edit one");
}

#[test]
fn patches_are_added_moved_renamed_and_dropped() {
    let lab = queue();
    lab.git("up", &["checkout", "-q", "-b", "more", "main"]);
    lab.commit("up", "four: of another", &[("c", Some(&numbered("c", &[(7, "four")])))]);
    lab.commit("up", "five", &[("c", Some(&numbered("c", &[(7, "four"), (9, "five")])))]);
    lab.git("up", &["checkout", "-q", "main"]);
    let night = lab.json(0, &["add", "--from", "../up", "more~2..more", "--after", "one"]);
    assert_eq!(names(&night), ["one", "four-of-another", "five", "two", "three"]);
    assert_eq!(show(&lab, "c"), numbered("c", &[(7, "four"), (9, "five")]).trim_end());

    let night = lab.json(0, &["rename", "four-of-another", "four"]);
    assert_eq!(names(&night)[1], "four");
    assert!(
        lab.path("ws/patches/p/four.patch").exists()
            && !lab.path("ws/patches/p/four-of-another.patch").exists()
    );
    assert_eq!(lab.carry(&["rename", "four", "Five"]).status.code(), Some(1), "file systems tell no case");

    let night = lab.json(0, &["move", "three", "--first"]);
    assert_eq!(names(&night), ["three", "one", "four", "five", "two"]);
    let night = lab.json(0, &["move", "five", "--before", "four"]);
    assert_eq!((outcome(&night, "five"), outcome(&night, "four")), ("refreshed".into(), "refreshed".into()));
    lab.json(0, &["undo"]);
    let file = lab.path("six.patch");
    let diff = "six\n\nSigned-off-by: Six <six@x>\n---\ndiff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+six\n";
    std::fs::write(
        &file,
        format!("From: Six <six@x>\nDate: Tue, 24 Nov 2026 07:55:43 +0000\nSubject: [PATCH] {diff}"),
    )
    .expect("written");
    let night =
        lab.json(0, &["add", file.to_str().expect("UTF-8"), "--before", "one", "--name", "number-six"]);
    assert_eq!(names(&night), ["three", "number-six", "one", "four", "five", "two"]);
    assert_eq!(show(&lab, "new"), "six");

    let night = lab.json(0, &["drop", "three", "--reason", "not wanted"]);
    assert_eq!(names(&night), ["number-six", "one", "four", "five", "two"]);
    assert!(lab.git("ws", &["log", "-5", "--format=%B"]).contains("not wanted"));
    for (args, hint) in [
        (&["drop", "thre"][..], "no patch of 'p' is called 'thre'"),
        (&["add", "no-such-rev"], "'no-such-rev' is no commit"),
        (&["move", "one", "--after", "nobody"], "no patch of 'p' is called 'nobody'"),
        (&["rename", "one", "an evil"], "is not a name for a patch"),
        (&["edit", "nobody"], "no patch of 'p' is called 'nobody'"),
    ] {
        let before = lab.git("ws", &["rev-parse", "HEAD"]);
        let out = lab.carry(args);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() != Some(0) && said.contains(hint), "{args:?}: {said}");
        assert_eq!(lab.git("ws", &["rev-parse", "HEAD"]), before);
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    }
}

#[test]
fn a_required_patch_keeps_what_it_needs() {
    let (one, two) = (numbered("a", &[(5, "one")]), numbered("a", &[(5, "two")]));
    let lab = Lab::with_fork(&[
        ("one", &[("a", Some(&one))]),
        ("two\n\nCarry-Required: yes", &[("a", Some(&two))]),
    ]);
    lab.json(0, &["nightly"]);
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    let said = lab.carry_code(4, &["drop", "one"]);
    assert!(said.contains("required patch 'two'"), "{said}");
    assert_eq!(lab.git("ws", &["rev-parse", "HEAD"]), before);
    assert!(lab.path("ws/patches/p/one.patch").exists());
}

#[test]
fn changes_of_the_whole_stack_go_to_the_patches_that_own_the_lines() {
    let lab = queue();
    let begun = lab.json(0, &["edit"]);
    let work = PathBuf::from(begun["work_tree"].as_str().expect("a place"));
    let at = work.to_str().expect("UTF-8").to_owned();
    assert_eq!(lab.git(&at, &["log", "-1", "--format=%s"]), "three");
    // A commit that names its patch, a line of `one`, a line beside `two`'s, and one that nobody owns.
    std::fs::write(work.join("b"), numbered("b", &[(3, "three, mended"), (25, "far off")])).expect("written");
    lab.git(&at, &["commit", "-q", "-a", "-m", "fixup! three"]);
    let a = numbered("a", &[(5, "one, mended"), (20, "two\nand more")]);
    std::fs::write(work.join("a"), &a).expect("written");
    std::fs::write(work.join("c"), numbered("c", &[(9, "nobody's")])).expect("written");
    let done = lab.json(3, &["refresh"]);
    let took = serde_json::json!([{"patch": "one", "changes": 1}, {"patch": "two", "changes": 1},
        {"patch": "three", "changes": 1}]);
    assert_eq!(done["took"], took);
    assert!(done["left"][0].as_str().is_some_and(|l| l.starts_with("c, line 9: no patch owns it")), "{done}");
    assert_eq!(show(&lab, "a"), a.trim_end());
    assert_eq!(show(&lab, "b"), numbered("b", &[(3, "three, mended"), (25, "far off")]).trim_end());
    assert_eq!(show(&lab, "c"), numbered("c", &[]).trim_end());
    let store = "ws/.git/carry/p.git";
    let one = lab.git(store, &["show", "refs/heads/deploy/p~2:a"]);
    assert_eq!(one, numbered("a", &[(5, "one, mended")]).trim_end(), "only what is its own");
    lab.carry_code(0, &["refresh", "--abort"]);

    let begun = lab.json(0, &["edit"]);
    let work = PathBuf::from(begun["work_tree"].as_str().expect("a place"));
    std::fs::write(work.join("c"), numbered("c", &[(9, "two's")])).expect("written");
    std::fs::write(work.join("new"), "new\n").expect("written");
    lab.git(work.to_str().expect("UTF-8"), &["add", "new"]);
    let done = lab.json(0, &["refresh", "--into", "two"]);
    assert_eq!(done["took"], serde_json::json!([{"patch": "two", "changes": 2}]));
    assert_eq!((show(&lab, "new"), work.exists()), ("new".to_owned(), false));
    lab.json(0, &["nightly"]);
    lab.carry_code(0, &["manifest", "verify"]);
}
