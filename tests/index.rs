//! The workspace's index after a night: as git would have left it, whoever wrote it.

use crate::faults::lab;
use crate::support::lab::{Lab, numbered};

/// A night on a trunk by which a patch has to be written anew, and what git says of the workspace then.
fn night(lab: &Lab) {
    lab.commit("up", "changes a line beside it", &[("a", Some(&numbered("a", &[(13, "theirs")])))]);
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    lab.carry_code(0, &["nightly"]);
    assert_eq!(lab.git("ws", &["diff-files"]), "", "no file is to be read again");
    let changed = lab.git("ws", &["diff", "--name-only", &before, "HEAD"]);
    assert!(changed.contains("carry.lock") && changed.contains("one.patch"), "{changed}");
    let tree = lab.git("ws", &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(lab.git("ws", &["write-tree"]), tree, "what is known of its folders is of these files");
    lab.git("ws", &["fsck", "--strict"]);
}

#[test]
fn what_a_night_writes_is_in_the_index_and_what_a_person_put_there_stays() {
    let lab = lab();
    night(&lab);
    std::fs::write(lab.path("ws/notes"), "mine\n").expect("written");
    lab.git("ws", &["add", "notes"]);
    std::fs::write(lab.path("ws/notes"), "mine too\n").expect("written");
    lab.commit("up", "on", &[("c", Some(&numbered("c", &[(5, "theirs")])))]);
    lab.carry_code(0, &["nightly"]);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "AM notes");
}

#[test]
fn an_index_that_git_alone_can_write_is_written_by_git() {
    // A part of it lies in another file (`gitformat-index(5)`, "link"), or its paths are shortened.
    let is_split = |index: &[u8]| index.windows(4).any(|word| word == b"link");
    let is_short = |index: &[u8]| index[4..8] == [0, 0, 0, 4];
    let after = |form: &[&str]| {
        let lab = lab();
        lab.git("ws", &[&["update-index"], form].concat());
        night(&lab);
        std::fs::read(lab.path("ws/.git/index")).expect("an index")
    };
    assert!(is_split(&after(&["--split-index"])));
    assert!(is_short(&after(&["--index-version", "4"])));
}

#[cfg(unix)]
#[test]
fn a_hook_that_git_calls_for_the_index_is_called() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = lab();
    let (hook, ran) = (lab.path("ws/.git/hooks/post-index-change"), lab.path("ran"));
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("a folder");
    std::fs::write(&hook, format!("#!/bin/sh\necho >> '{}'\n", ran.display())).expect("written");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("a program");
    lab.carry_code(0, &["nightly"]);
    assert!(ran.exists());
}
