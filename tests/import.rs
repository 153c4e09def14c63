//! Queues taken in from forks, folders and mailboxes, without loss.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::lab::{Lab, numbered};

/// All files under a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            out.extend(files(&entry.path()).into_iter().map(|(n, b)| (format!("{name}/{n}"), b)));
        } else {
            out.insert(name, std::fs::read(entry.path()).expect("a file"));
        }
    }
    out
}

fn init(lab: &Lab) {
    lab.carry_code(0, &["init", "--project", "p", "--upstream", "../up", "--branch", "main"]);
}

#[test]
fn a_fork_with_merges_becomes_one_line_with_the_fork_s_own_tree() {
    let lab = Lab::new();
    let (a, b) = (numbered("a", &[]), numbered("b", &[]));
    lab.commit("up", "base", &[("a", Some(&a)), ("b", Some(&b))]);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.git("up", &["checkout", "-q", "-b", "topic"]);
    lab.commit(
        "up",
        "topic one\n\nwith a body\n\n- and a list\n",
        &[("a", Some(&numbered("a", &[(5, "topic")])))],
    );
    lab.commit("up", "topic two", &[("bin", Some("\0\u{1}binary"))]);
    lab.git("up", &["checkout", "-q", "fork"]);
    lab.commit("up", "fork one", &[("b", Some(&numbered("b", &[(5, "fork")])))]);
    lab.git("up", &["merge", "-q", "--no-ff", "-m", "Merge topic", "topic"]);
    // A merge that says more than its branches.
    std::fs::write(lab.path("up/evil"), "by the merge\n").expect("written");
    lab.git("up", &["add", "evil"]);
    lab.git("up", &["commit", "-q", "--amend", "--no-edit"]);
    lab.commit("up", "after", &[("b", None)]);
    let tree = lab.git("up", &["rev-parse", "fork^{tree}"]);
    lab.git("up", &["checkout", "-q", "main"]);

    init(&lab);
    let text = lab.carry_code(2, &["import", "--fork", "../up", "--tip", "refs/heads/fork"]);
    assert!(text.contains("--base"), "it asks instead of guessing: {text}");
    let taken = lab.json(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    assert_eq!((&taken["tree"], &taken["same_tree_as_fork"]), (&tree.as_str().into(), &true.into()));
    let series = std::fs::read_to_string(lab.path("ws/patches/p/series")).expect("a series");
    assert_eq!(series, "fork-one.patch\ntopic-one.patch\ntopic-two.patch\nMerge-topic.patch\nafter.patch\n");
    assert!(taken["notes"][0].as_str().expect("a note").contains("says more than the branches"));

    lab.git("up", &["checkout", "-q", "-b", "am", "main"]);
    for name in series.lines() {
        let file = lab.path(&format!("ws/patches/p/{name}"));
        lab.git("up", &["am", "-q", file.to_str().expect("a path")]);
    }
    assert_eq!(lab.git("up", &["rev-parse", "HEAD^{tree}"]), tree);
    let message = |rev: &str| lab.git("up", &["log", "-1", "--format=%B", rev]);
    assert_eq!(message("am~3"), message("topic~1"));
}

#[test]
fn the_markers_that_forks_use_are_found() {
    let lab = Lab::new();
    lab.commit("up", "base", &[("a", Some("a\n"))]);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.commit("up", "an older queue", &[("old", Some("old\n"))]);
    lab.git("up", &["checkout", "-q", "main"]);
    let base = lab.commit("up", "newer", &[("a", Some("aa\n"))]);
    lab.git("up", &["checkout", "-q", "-b", "rebasing", "main"]);
    lab.git("up", &["merge", "-q", "-s", "ours", "--no-ff", "-m", "Start the merging-rebase to v2", "fork"]);
    lab.commit("up", "local", &[("l", Some("l\n"))]);
    // The same by a marker without a telling subject.
    lab.git("up", &["checkout", "-q", "-b", "bot", "main"]);
    lab.git("up", &["merge", "-q", "-s", "ours", "--no-ff", "-m", "merge upstream/main into fork", "fork"]);
    lab.commit("up", "local", &[("l", Some("l\n"))]);
    lab.git("up", &["checkout", "-q", "main"]);
    for branch in ["rebasing", "bot"] {
        let _ = std::fs::remove_dir_all(lab.path("ws"));
        std::fs::create_dir(lab.path("ws")).expect("a folder");
        init(&lab);
        let taken = lab.json(0, &["import", "--fork", "../up", "--tip", &format!("refs/heads/{branch}")]);
        assert_eq!((&taken["base"], &taken["patches"]), (&base.as_str().into(), &1.into()), "{branch}");
    }
}

#[test]
fn folders_and_mailboxes_come_in_and_go_out_without_a_changed_byte() {
    let lab = Lab::new();
    lab.commit("up", "base", &[("a", Some(&numbered("a", &[]))), ("b", Some("one\r\ntwo\r\n"))]);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.commit("up", "one: é", &[("a", Some(&numbered("a", &[(5, "x")])))]);
    lab.commit("up", "two", &[("b", Some("one\r\nzwei"))]);
    lab.git("up", &["mv", "a", "moved"]);
    lab.commit("up", "three", &[]);
    lab.git("up", &["format-patch", "-q", "--binary", "--full-index", "-o", "../series", "main"]);
    let mbox = lab.git("up", &["format-patch", "--stdout", "--binary", "--full-index", "main"]) + "\n";
    std::fs::write(lab.path("all.mbox"), &mbox).expect("written");
    let tree = lab.git("up", &["rev-parse", "fork^{tree}"]);

    // A quilt folder: comments, a subfolder, -p0, DEP-3.
    let quilt = lab.path("quilt");
    std::fs::create_dir_all(quilt.join("sub")).expect("a folder");
    std::fs::write(quilt.join("series"), "# ours\n\nsub/one.diff -p0   # why\n").expect("written");
    let diff =
        "Description: one\nForwarded: no\n\n--- a\n+++ a\n@@ -1,2 +1,2 @@\n-a line 1\n+changed\n a line 2\n";
    std::fs::write(quilt.join("sub/one.diff"), diff).expect("written");
    lab.git("up", &["checkout", "-q", "main"]);

    for (source, kind) in [("series", "--patches"), ("quilt", "--patches"), ("all.mbox", "--mbox")] {
        let _ = std::fs::remove_dir_all(lab.path("ws"));
        std::fs::create_dir(lab.path("ws")).expect("a folder");
        init(&lab);
        let place = format!("../{source}");
        let taken = lab.json(0, &["import", kind, &place, "--base", "main"]);
        assert_eq!(taken["notes"], serde_json::json!([]), "{source}");
        if source != "quilt" {
            assert_eq!(taken["tree"], tree, "{source}");
        }
        let out = format!("../out-{source}");
        lab.carry_code(0, &["export", &out]);
        let mut exported = files(&lab.path(&format!("out-{source}")));
        match source {
            "quilt" => assert_eq!(exported, files(&quilt)),
            "series" => {
                exported.remove("series");
                assert_eq!(exported, files(&lab.path("series")));
            }
            _ => {
                let order = exported.remove("series").expect("a series");
                let order = String::from_utf8(order).expect("text");
                let whole: Vec<u8> = order.lines().flat_map(|n| exported[n].clone()).collect();
                assert_eq!(whole, mbox.as_bytes());
            }
        }
        // Replayed where it stands: nothing is rewritten.
        let night = lab.json(0, &["rebase"]);
        assert!(Lab::outcomes(&night).iter().all(|(_, o)| o == "clean"), "{night}");
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    }
}

#[test]
fn a_binary_file_without_its_data_is_left_as_quilt_leaves_it() {
    let lab = Lab::new();
    lab.commit("up", "base", &[("a", Some(&numbered("a", &[]))), ("logo", Some("\u{0}old"))]);
    std::fs::create_dir(lab.path("queue")).expect("a folder");
    let diff = "Description: one\n\ndiff --git a/new b/new\nnew file mode 100644\nBinary files /dev/null and b/new differ\n\
        diff --git a/logo b/logo\nBinary files a/logo and b/logo differ\n\
        --- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-a line 1\n+changed\n a line 2\n";
    std::fs::write(lab.path("queue/one.diff"), diff).expect("written");
    std::fs::write(lab.path("queue/series"), "one.diff\n").expect("written");
    init(&lab);
    let taken = lab.json(0, &["import", "--patches", "../queue", "--base", "main"]);
    let notes = taken["notes"].to_string();
    assert!(notes.contains("new") && notes.contains("logo") && notes.contains("no data"), "{notes}");
    let night = lab.json(0, &["rebase"]);
    let commit = night["manifest"]["deploy"]["commit"].as_str().expect("a build").to_owned();
    let files = lab.git("ws/.git/carry/p.git", &["ls-tree", "-l", &commit]);
    let size = |name: &str| {
        let line = files.lines().find(|l| l.ends_with(&format!("\t{name}"))).expect("it is there");
        line.split_whitespace().nth(3).expect("a size").to_owned()
    };
    assert_eq!((size("new"), size("logo")), ("0".into(), "4".into()));
}
