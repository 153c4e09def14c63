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

/// A folder of hooks that say in a file that git has called them; the two.
#[cfg(unix)]
fn heard(lab: &Lab) -> (std::path::PathBuf, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, ran) = (lab.path("ws/.git/heard"), lab.path("ran"));
    std::fs::create_dir_all(&folder).expect("a folder");
    for hook in ["post-index-change", "reference-transaction"] {
        let file = folder.join(hook);
        let text = format!("#!/bin/sh\necho {hook} \"$1\" >> '{}'\n", ran.display());
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("a program");
    }
    (folder, ran)
}

#[cfg(unix)]
#[test]
fn hooks_are_called_that_the_user_or_the_environment_names() {
    let set = |lab: &Lab, command: &mut std::process::Command, how: &str| {
        let (folder, ran) = heard(lab);
        let folder = folder.to_string_lossy();
        let text = format!("[core]\n\thooksPath = {folder}\n");
        match how {
            "the user's file" => std::fs::write(lab.path(".gitconfig"), text).expect("written"),
            "the user's other file" => {
                std::fs::create_dir_all(lab.path(".config/git")).expect("a folder");
                std::fs::write(lab.path(".config/git/config"), text).expect("written");
            }
            "a file of settings" => {
                std::fs::write(lab.path("settings"), text).expect("written");
                command.env("GIT_CONFIG_GLOBAL", lab.path("settings"));
            }
            "a setting" => {
                command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "core.hooksPath");
                command.env("GIT_CONFIG_VALUE_0", &*folder);
            }
            _ => {}
        }
        ran
    };
    let all = ["the user's file", "the user's other file", "a file of settings", "a setting", "nothing"];
    for how in all {
        let lab = lab();
        lab.commit("up", "changes a line beside it", &[("a", Some(&numbered("a", &[(13, "theirs")])))]);
        let mut command = lab.carry_command("ws", &["nightly"]);
        let ran = set(&lab, &mut command, how);
        let out = command.output().expect("the binary runs");
        assert!(out.status.success(), "{how}: {}", String::from_utf8_lossy(&out.stderr));
        let heard = std::fs::read_to_string(ran).unwrap_or_default();
        assert_eq!(heard.contains("post-index-change"), how != "nothing", "{how}: {heard}");
    }
}

#[cfg(unix)]
#[test]
fn where_settings_name_hooks_git_does_the_same_and_calls_them() {
    let (ours, theirs) = (lab(), lab());
    let (folder, ran) = heard(&theirs);
    theirs.git("ws", &["config", "core.hooksPath", &folder.to_string_lossy()]);
    [&ours, &theirs].into_iter().for_each(night);
    let heard = std::fs::read_to_string(ran).expect("they were called");
    for word in ["post-index-change", "reference-transaction prepared", "reference-transaction committed"] {
        assert!(heard.contains(word), "{heard}");
    }
    // Whoever did it, the workspace and the deploy branch are the same.
    let told = |lab: &Lab| {
        let log = |repository: &str, name: &str| lab.git(repository, &["log", "-g", "--format=%gs", name]);
        let files = lab.git("ws", &["ls-tree", "-r", "HEAD"]);
        let build = lab.git("ws/.git/carry/p.git", &["rev-parse", "refs/heads/deploy/p^{tree}"]);
        (files, build, log("ws", "HEAD"), log("ws/.git/carry/p.git", "refs/heads/deploy/p"))
    };
    let (ours, theirs) = (told(&ours), told(&theirs));
    assert_eq!((ours.1, ours.2, ours.3), (theirs.1, theirs.2, theirs.3));
    assert_eq!(ours.0.lines().count(), theirs.0.lines().count());
}
