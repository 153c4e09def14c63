//! The queue's own branch of a fleet: what people change and what nights write go on together.

use crate::fleet::{clone, deployed, fleet, is_whole, moves, none, run};
use crate::support::lab::numbered;

#[test]
fn what_people_change_and_what_nights_write_anew_go_on_together_and_come_back_to_the_workspace() {
    let lab = fleet(1, none);
    clone(&lab, "w1");
    run(&lab, "w1", &[], &[]);
    // A night writes `on-a` anew, and the workspace does not know.
    moves(&lab, 0, 12, "near");
    assert_eq!(run(&lab, "w1", &[], &[]).0["p0"], "done");
    // People add a patch, and say more of the first.
    lab.git("up", &["checkout", "-q", "--detach", "main"]);
    lab.commit("up", "on b", &[("b", Some(&numbered("b", &[(10, "ours b")])))]);
    let args =
        ["format-patch", "-q", "--stdout", "--zero-commit", "--no-signature", "--full-index", "-1", "HEAD"];
    let patch = lab.git("up", &args) + "\n";
    lab.git("up", &["checkout", "-q", "main"]);
    let first = std::fs::read_to_string(lab.path("ws/patches/p0/on-a.patch")).expect("it is there");
    let said = first.replacen("[PATCH] on a\n", "[PATCH] on a\n\nAs everyone says.\n", 1);
    assert_ne!(said, first);
    lab.commit(
        "ws",
        "more",
        &[
            ("patches/p0/on-b.patch", Some(&patch)),
            ("patches/p0/series", Some("on-a.patch\non-b.patch\n")),
            ("patches/p0/on-a.patch", Some(&said)),
        ],
    );
    lab.git("ws", &["push", "-q"]);
    clone(&lab, "w2");
    let both = || {
        let show = |what: &str| lab.git("deploy0.git", &["show", &format!("deploy/p0:{what}")]);
        let log = lab.git("deploy0.git", &["log", "-2", "--format=%B", "deploy/p0"]);
        (show("a").contains("ours 0"), show("b").contains("ours b"), log.contains("everyone"))
    };
    assert_eq!(run(&lab, "w2", &[], &[]).0["p0"], "done");
    assert_eq!(both(), (true, true, true));
    is_whole(&lab, 0);
    // A clone that has not seen what people did takes nothing of it back.
    assert_eq!(run(&lab, "w1", &[], &[]).0["p0"], "already");
    moves(&lab, 0, 25, "far");
    assert_eq!(run(&lab, "w1", &[], &[]).0["p0"], "done");
    assert_eq!(both(), (true, true, true));
    // Nor does it count as a change that the workspace is as it was when it was taken in.
    moves(&lab, 0, 26, "farther");
    assert_eq!(run(&lab, "w2", &[], &[]).0["p0"], "done");
    assert_eq!(both(), (true, true, true));
    let merges = lab.git("deploy0.git", &["rev-list", "--merges", "--count", "refs/carry/queue/p0"]);
    assert_eq!(merges, "1");
    // It comes back, and is what a night of the workspace itself would have left.
    let report = lab.json(0, &["fleet", "report", "--record"]);
    assert_eq!(report["recorded"][0]["project"], "p0");
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    let there =
        |file: &str| lab.git("deploy0.git", &["show", &format!("refs/carry/queue/p0:patches/p0/{file}")]);
    for file in ["on-a.patch", "on-b.patch", "series"] {
        assert_eq!(lab.git("ws", &["show", &format!("HEAD:patches/p0/{file}")]), there(file), "{file}");
    }
    let nights = lab.json(0, &["nightly"]);
    assert_eq!(nights[0]["done"], "quiet", "{nights}");
    assert_eq!(lab.json(0, &["fleet", "report", "--record"])["recorded"].as_array().map(Vec::len), Some(0));
    assert_eq!(lab.json(0, &["fleet", "plan"])["done"], serde_json::json!(["p0"]));
    // From there people go on, by hand and by night.
    lab.git("ws", &["push", "-q"]);
    moves(&lab, 0, 27, "by night");
    lab.carry_code(0, &["nightly"]);
    lab.git("ws", &["push", "-q"]);
    lab.git("w2", &["pull", "-q"]);
    moves(&lab, 0, 28, "by the fleet");
    assert_eq!(run(&lab, "w2", &[], &[]).0["p0"], "done");
    is_whole(&lab, 0);
    assert_eq!(both(), (true, true, true));
}

#[test]
fn what_a_night_left_comes_back_as_the_commits_that_a_night_makes() {
    let lab = fleet(2, none);
    clone(&lab, "w1");
    run(&lab, "w1", &["--all"], &[]);
    moves(&lab, 0, 12, "near");
    run(&lab, "w1", &["--all"], &[]);
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    lab.carry_code(0, &["fleet", "report", "--record"]);
    let subjects = lab.git("ws", &["log", "--format=%s", &format!("{before}..HEAD")]);
    assert_eq!(subjects.lines().filter(|l| l.starts_with("carry: p0: replay on ")).count(), 2, "{subjects}");
    assert_eq!(subjects.lines().filter(|l| l.starts_with("carry: p1: replay on ")).count(), 1, "{subjects}");
    assert!(!subjects.contains("the queue as the workspace has it"), "{subjects}");
    for n in 0..2 {
        let lock = lab.git("ws", &["show", "HEAD:carry.lock"]);
        assert!(lock.contains(&deployed(&lab, n)), "{lock}");
    }
    lab.carry_code(0, &["status", "--project", "p0"]);
    lab.carry_code(0, &["manifest", "verify", "--project", "p0"]);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}

#[test]
fn a_queue_that_people_and_nights_change_against_each_other_is_told_and_stops_no_other() {
    let lab = fleet(2, none);
    clone(&lab, "w1");
    run(&lab, "w1", &["--all"], &[]);
    // Upstream takes the patch, so a night takes it out of the queue; people write it anew.
    lab.git("up", &["checkout", "-q", "b0"]);
    lab.commit("up", "theirs now", &[("a", Some(&numbered("a", &[(10, "ours 0")])))]);
    lab.git("up", &["checkout", "-q", "main"]);
    assert_eq!(run(&lab, "w1", &["--all"], &[]).0["p0"], "done");
    let first = std::fs::read_to_string(lab.path("ws/patches/p0/on-a.patch")).expect("it is there");
    lab.commit("ws", "more", &[("patches/p0/on-a.patch", Some(&first.replace("on a\n", "on a, still\n")))]);
    lab.git("ws", &["push", "-q"]);
    let old = deployed(&lab, 0);
    clone(&lab, "w2");
    moves(&lab, 1, 20, "theirs");
    let (fates, code) = run(&lab, "w2", &["--all"], &[]);
    assert_eq!((fates["p0"].as_str(), fates["p1"].as_str(), code), ("failed", "done", 4), "{fates:?}");
    assert_eq!(deployed(&lab, 0), old);
    let out = lab.carry_command("w2", &["fleet", "run", "--all"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("patches/p0/on-a.patch") && text.contains("by people and by a night"), "{text}");
    is_whole(&lab, 1);
}
