//! Commits that colleagues push to the deploy branch between nights: held against git.

use crate::support::lab::{Lab, numbered};

/// A lab whose deploy branch has a build, and a clone of it with a colleague's commits on top.
fn lab(intake: &str) -> Lab {
    let lab = Lab::with_fork(&[("mine", &[("a", Some(&numbered("a", &[(5, "mine")])))])]);
    let path = lab.path("ws/carry.toml");
    let config = std::fs::read_to_string(&path).expect("a file");
    assert!(config.contains("#intake = \"refuse\""), "the template has it");
    std::fs::write(&path, config.replace("#intake = \"refuse\"", &format!("intake = \"{intake}\"")))
        .expect("written");
    lab.git("ws", &["commit", "-qam", "say what becomes of it"]);
    lab.carry_code(0, &["nightly"]);
    lab.git(".", &["clone", "-q", "-b", "deploy/p", "deploy.git", "colleague"]);
    lab.commit("colleague", "Mend it at once", &[("a", Some(&numbered("a", &[(5, "mine"), (20, "hot")])))]);
    lab.git("colleague", &["commit", "-q", "--amend", "--no-edit", "--author", "Zoë <z@example.org>"]);
    lab.commit("colleague", "And say so", &[("notes", Some("mended\n"))]);
    lab
}

#[test]
fn what_a_colleague_pushed_becomes_patches_with_its_author_and_goes_on_with_trunk() {
    let lab = lab("take");
    lab.git("colleague", &["push", "-q"]);
    lab.commit("up", "trunk moves", &[("b", Some(&numbered("b", &[(1, "trunk")])))]);
    let text = lab.carry_code(0, &["nightly"]);
    assert!(text.contains("pushed by Zoë, taken in: Mend-it-at-once"), "{text}");
    let series = lab.git("ws", &["show", "HEAD:patches/p/series"]);
    assert_eq!(series, "mine.patch\nMend-it-at-once.patch\nAnd-say-so.patch");
    let authors = lab.git("deploy.git", &["log", "--format=%an %s", "-3", "refs/heads/deploy/p"]);
    assert!(authors.contains("Zoë Mend it at once"), "{authors}");
    // The same tree as if git had rebased the branch.
    lab.git("colleague", &["fetch", "-q", "../up", "main"]);
    lab.git("colleague", &["rebase", "-q", "FETCH_HEAD"]);
    let tree = lab.git("colleague", &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(lab.git("deploy.git", &["rev-parse", "refs/heads/deploy/p^{tree}"]), tree);
    let before = lab.deployed();
    lab.carry_code(0, &["nightly"]);
    assert_eq!(lab.deployed(), before, "the next night is quiet");
}

#[test]
fn it_is_taken_in_even_when_trunk_stands_still() {
    let lab = lab("take");
    lab.git("colleague", &["push", "-q"]);
    let pushed = lab.deployed();
    lab.carry_code(0, &["nightly"]);
    assert!(lab.path("ws/patches/p/And-say-so.patch").exists());
    let same = lab.git("deploy.git", &["diff", "--stat", &pushed, "refs/heads/deploy/p"]);
    assert_eq!(same, "", "the files are those that the colleague pushed");
}

#[test]
fn without_leave_nothing_is_published_and_nothing_is_lost() {
    let lab = lab("refuse");
    lab.git("colleague", &["push", "-q"]);
    let pushed = lab.deployed();
    lab.commit("up", "trunk moves", &[("b", Some(&numbered("b", &[(1, "trunk")])))]);
    let out = lab.carry(&["nightly"]);
    assert_ne!(out.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&out.stderr).contains(&pushed), "it names what was pushed");
    assert_eq!(lab.deployed(), pushed);
}

#[test]
fn a_branch_that_was_built_anew_by_hand_or_merged_into_is_left_alone() {
    let lab = lab("take");
    lab.git("colleague", &["checkout", "-q", "-b", "side", "HEAD~2"]);
    lab.commit("colleague", "on the side", &[("side", Some("side\n"))]);
    lab.git("colleague", &["checkout", "-q", "deploy/p"]);
    lab.git("colleague", &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    lab.git("colleague", &["push", "-q"]);
    let pushed = lab.deployed();
    lab.commit("up", "trunk moves", &[("b", Some(&numbered("b", &[(1, "trunk")])))]);
    let out = lab.carry(&["nightly"]);
    assert_ne!(out.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&out.stderr).contains("is not taken in"));
    assert_eq!(lab.deployed(), pushed);
    assert!(!lab.path("ws/patches/p/And-say-so.patch").exists());

    lab.git("colleague", &["reset", "-q", "--hard", "HEAD~3"]);
    lab.git("colleague", &["commit", "-q", "--amend", "-m", "mine, by hand"]);
    lab.git("colleague", &["push", "-q", "--force"]);
    let pushed = lab.deployed();
    let out = lab.carry(&["nightly"]);
    assert_ne!(out.status.code(), Some(0));
    assert_eq!(lab.deployed(), pushed);
}
