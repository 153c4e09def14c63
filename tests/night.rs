//! Nights on real repositories, by the built binary, held against git.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::hostile::assert_tame;
use crate::support::lab::{Lab, numbered};

fn change(name: &str, changed: &[(usize, &str)]) -> String {
    numbered(name, changed)
}

/// A queue of three patches: two on `a`, the second on the first one's line; one on `b`.
fn three() -> Lab {
    let (a1, a2, b) =
        (change("a", &[(10, "ours")]), change("a", &[(10, "ours again")]), change("b", &[(5, "ours")]));
    Lab::with_fork(&[
        ("first on a", &[("a", Some(&a1))]),
        ("second on a", &[("a", Some(&a2))]),
        ("only on b", &[("b", Some(&b))]),
    ])
}

#[test]
fn a_clean_night_gives_the_tree_of_git_rebase_and_patches_that_git_am_takes() {
    let lab = three();
    let moved = change("a", &[(1, "theirs"), (28, "theirs")]);
    lab.commit("up", "upstream moves", &[("a", Some(&moved)), ("new", Some("new\n"))]);
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!(Lab::outcomes(night).len(), 3);

    lab.git("up", &["checkout", "-q", "-b", "rebased", "fork"]);
    lab.git("up", &["rebase", "-q", "main"]);
    let tree = lab.git("up", &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(night["manifest"]["deploy"]["tree"], tree);
    assert_eq!(lab.git("deploy.git", &["rev-parse", "deploy/p^{tree}"]), tree);

    lab.git("up", &["checkout", "-q", "-b", "am", "main"]);
    for name in ["first-on-a", "second-on-a", "only-on-b"] {
        let file = lab.path(&format!("ws/patches/p/{name}.patch"));
        lab.git("up", &["am", "-q", file.to_str().expect("a path")]);
    }
    assert_eq!(lab.git("up", &["rev-parse", "HEAD^{tree}"]), tree);
    assert_eq!(
        lab.git("up", &["log", "-1", "--format=%an %ae %at %s"]),
        "Test Author t@example.org 1790000000 only on b"
    );
    for repository in ["deploy.git", "ws", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}

#[test]
fn a_conflict_is_left_out_and_what_needs_it_is_blocked_by_name() {
    let lab = three();
    lab.commit("up", "upstream takes line 10", &[("a", Some(&change("a", &[(10, "theirs")])))]);
    let nights = lab.json(3, &["nightly"]);
    let outcomes = Lab::outcomes(&nights[0]);
    let words: Vec<&str> = outcomes.iter().map(|(_, o)| o.as_str()).collect();
    assert_eq!(words, ["conflict", "blocked", "clean"]);
    assert_eq!(nights[0]["patches"][1]["needs"], serde_json::json!(["first-on-a"]));
    assert_eq!(nights[0]["patches"][0]["conflicts"][0]["path"], "a");

    // Upstream gives way: both come back by themselves, as the trees they last applied with are kept.
    lab.commit("up", "upstream gives way", &[("a", Some(&change("a", &[])))]);
    let nights = lab.json(0, &["nightly"]);
    assert!(Lab::outcomes(&nights[0]).iter().all(|(_, o)| o == "clean"), "{nights}");
    assert_eq!(lab.git("deploy.git", &["show", "deploy/p:a"]), change("a", &[(10, "ours again")]).trim_end());
}

#[test]
fn a_required_patch_that_conflicts_stops_the_night_and_changes_nothing() {
    let a = change("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[("keep me\n\nCarry-Required: yes", &[("a", Some(&a))])]);
    lab.carry_code(0, &["nightly"]);
    let (deployed, head) = (lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"]));
    lab.commit("up", "theirs", &[("a", Some(&change("a", &[(10, "theirs")])))]);
    let text = lab.carry_code(4, &["nightly"]);
    assert!(text.contains("required patch 'keep-me' conflicts"), "{text}");
    assert_eq!((lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"])), (deployed, head));
}

#[test]
fn a_landed_patch_names_its_commit_and_leaves_the_queue() {
    let lab = three();
    // The same change by another author: equal patch-id.
    lab.git("up", &["cherry-pick", "fork"]);
    lab.git("up", &["commit", "-q", "--amend", "-m", "b, as upstream says it"]);
    let commit = lab.git("up", &["rev-parse", "main"]);
    let nights = lab.json(0, &["nightly"]);
    let landed = &nights[0]["patches"][2];
    assert_eq!(
        (&landed["outcome"], &landed["evidence"]["commit"]),
        (&"landed".into(), &commit.as_str().into())
    );
    assert_eq!(landed["evidence"]["rung"], "patch-id");
    assert!(!lab.path("ws/patches/p/only-on-b.patch").exists());
    assert!(!lab.git("ws", &["show", "HEAD:patches/p/series"]).contains("only-on-b"));
    assert!(lab.git("ws", &["log", "-1", "--format=%B"]).contains("only-on-b: landed as"));
}

#[test]
fn a_commit_that_upstream_reverted_is_no_evidence() {
    let lab = three();
    lab.git("up", &["cherry-pick", "fork"]);
    lab.git("up", &["revert", "--no-edit", "HEAD"]);
    let nights = lab.json(0, &["nightly"]);
    assert!(Lab::outcomes(&nights[0]).iter().all(|(_, o)| o == "clean"), "{nights}");
}

#[test]
fn change_ids_count_only_when_all_are_in_footers_of_the_range() {
    let (a, b) = (change("a", &[(3, "ours")]), change("b", &[(3, "ours")]));
    let lab = Lab::with_fork(&[
        ("one\n\nChange-Id: I1111", &[("a", Some(&a))]),
        ("two\n\nChange-Id: I2222\nChange-Id: I3333", &[("b", Some(&b))]),
    ]);
    lab.commit("up", "theirs\n\nChange-Id: I1111", &[("a", Some(&change("a", &[(3, "theirs")])))]);
    lab.commit("up", "part\n\nChange-Id: I2222", &[("c", Some("c\n"))]);
    let nights = lab.json(0, &["nightly"]);
    let words: Vec<String> = Lab::outcomes(&nights[0]).into_iter().map(|(_, o)| o).collect();
    assert_eq!(words, ["landed", "clean"]);
    assert_eq!(nights[0]["patches"][0]["evidence"]["rung"], "change-id");
}

#[test]
fn a_quiet_night_changes_nothing_not_even_a_file_s_time() {
    let lab = three();
    lab.carry_code(0, &["nightly"]);
    let state = |lab: &Lab| {
        let time = std::fs::metadata(lab.path("ws/patches/p/first-on-a.patch")).and_then(|m| m.modified());
        (lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"]), time.expect("it is there"))
    };
    let before = state(&lab);
    let text = lab.carry_code(0, &["--quiet", "nightly"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("nothing new"), "{text}");
    assert_eq!(state(&lab), before);
    // A night with a move leaves the files of patches that still apply alone.
    lab.commit("up", "elsewhere", &[("d", Some("d\n"))]);
    lab.carry_code(0, &["nightly"]);
    assert_eq!(state(&lab).2, before.2);
}

#[test]
fn line_numbers_and_context_are_a_commit_of_their_own() {
    let lab = three();
    lab.carry_code(0, &["nightly"]);
    lab.commit("up", "context", &[("b", Some(&change("b", &[(3, "theirs")])))]);
    let nights = lab.json(0, &["nightly"]);
    assert_eq!(nights[0]["patches"][2]["outcome"], "refreshed");
    assert_eq!(nights[0]["workspace_commits"].as_array().map(Vec::len), Some(2));
    let files = lab.git("ws", &["show", "--format=", "--name-only", "HEAD~1"]);
    assert_eq!(files, "patches/p/only-on-b.patch");
    assert_eq!(lab.git("ws", &["show", "--format=", "--name-only", "HEAD"]), "carry.lock");
}

#[test]
fn two_clones_of_a_workspace_replayed_apart_give_one_deploy_commit() {
    let lab = three();
    lab.commit("up", "moves", &[("a", Some(&change("a", &[(2, "theirs")]))), ("c", None)]);
    lab.git(".", &["clone", "-q", "ws", "other"]);
    let first = lab.json(0, &["nightly", "--offline"]);
    drop(first);
    let night = |at: &str| {
        let out = lab.carry_command(at, &["--json", "nightly"]).output().expect("it runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let nights: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
        nights[0]["manifest"]["deploy"]["commit"].as_str().expect("a commit").to_owned()
    };
    let other = night("other");
    assert_eq!(other, lab.deployed());
    assert_eq!(night("ws"), other);
}

#[test]
fn a_build_of_another_machine_that_comes_a_moment_after_what_names_it_is_waited_for() {
    let lab = three();
    lab.carry_code(0, &["nightly"]);
    lab.git(".", &["clone", "-q", "ws", "other"]);
    let old = lab.deployed();
    let names = ["build", "manifest"].map(|kind| format!("refs/carry/{kind}/p/{}", &old[..12]));
    let moved = names.each_ref().map(|name| lab.git("deploy.git", &["rev-parse", name]));
    names.iter().for_each(|name| drop(lab.git("deploy.git", &["update-ref", "-d", name])));
    lab.commit("up", "moves", &[("a", Some(&change("a", &[(2, "theirs")])))]);
    let trace = lab.path("trace");
    let mut command = lab.carry_command("other", &["--json", "nightly"]);
    let run = command.env("GIT_TRACE", &trace).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let run = run.expect("it runs");
    // It has asked once.
    let end = Instant::now() + Duration::from_secs(20);
    let asked = || std::fs::read_to_string(&trace).is_ok_and(|t| t.contains("refs/carry/build/p/*"));
    while !asked() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    for (name, id) in names.iter().zip(&moved) {
        lab.git("deploy.git", &["update-ref", name, id]);
    }
    let out = run.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for (name, id) in names.iter().zip(&moved) {
        assert_eq!(&lab.git("other/.git/carry/p.git", &["rev-parse", name]), id);
    }
}

#[test]
fn a_fast_forward_branch_descends_from_every_build_and_has_the_same_tree() {
    let lab = three();
    let config = lab.path("ws/carry.toml");
    let text = std::fs::read_to_string(&config)
        .expect("read")
        .replace("#history = \"rewrite\"", "history = \"fast-forward\"");
    std::fs::write(&config, text).expect("written");
    lab.git("ws", &["commit", "-qam", "fast-forward"]);
    lab.carry_code(0, &["nightly"]);
    let first = lab.deployed();
    lab.commit("up", "moves", &[("a", Some(&change("a", &[(2, "theirs")])))]);
    lab.carry_code(0, &["nightly"]);
    let second = lab.deployed();
    assert!(lab.git_works("deploy.git", &["merge-base", "--is-ancestor", &first, &second]));
    lab.git("up", &["checkout", "-q", "-b", "rebased", "fork"]);
    lab.git("up", &["rebase", "-q", "main"]);
    let tree = lab.git("up", &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(lab.git("deploy.git", &["rev-parse", "deploy/p^{tree}"]), tree);
    lab.carry_code(0, &["manifest", "verify"]);
    // Both builds keep a ref of their own.
    let builds = lab.git("deploy.git", &["for-each-ref", "--format=%(objectname)", "refs/carry/build/"]);
    assert!(builds.contains(&first) && builds.contains(&second), "{builds}");
}

#[test]
fn a_deploy_branch_that_someone_else_moved_is_refused_and_nothing_is_lost() {
    let lab = three();
    lab.carry_code(0, &["nightly"]);
    let foreign = lab.git("up", &["rev-parse", "main"]);
    lab.git("up", &["push", "-q", "-f", "../deploy.git", "main:refs/heads/deploy/p"]);
    lab.commit("up", "moves", &[("c", Some("c\n"))]);
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    let text = lab.carry_code(4, &["nightly"]);
    assert!(text.contains("was moved by someone else"), "{text}");
    assert!(text.contains("--replace-deploy"), "{text}");
    assert_eq!((lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"])), (foreign.clone(), head));
    lab.carry_code(0, &["nightly", "--replace-deploy", &foreign]);
    assert_ne!(lab.deployed(), foreign);
}

#[test]
fn the_manifest_holds_its_schema_and_is_proved_by_building_again() {
    let lab = three();
    lab.commit("up", "theirs", &[("a", Some(&change("a", &[(10, "theirs")])))]);
    lab.carry_code(3, &["nightly", "--manifest", "../manifest.json"]);
    let read = |path: &std::path::Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
    };
    let manifest = read(&lab.path("manifest.json"));
    let schema = read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manifest.schema.json"));
    assert_eq!(
        schema,
        serde_json::from_str::<serde_json::Value>(&lab.carry_code(0, &["manifest", "schema"])).expect("JSON")
    );
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(
        validator.is_valid(&manifest),
        "{:?}",
        validator.iter_errors(&manifest).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    let mut wrong = manifest.clone();
    wrong["patches"][0]["outcome"] = "fine".into();
    assert!(!validator.is_valid(&wrong));

    lab.carry_code(0, &["manifest", "verify", "../manifest.json"]);
    let mut other = manifest;
    other["deploy"]["tree"] = "4b825dc642cb6eb9a060e54bf8d69288fbee4904".into();
    std::fs::write(lab.path("other.json"), other.to_string()).expect("written");
    let text = lab.carry_code(4, &["manifest", "verify", "../other.json"]);
    assert!(text.contains("NOT what its manifest says"), "{text}");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do_and_nothing_is_changed() {
    let lab = three();
    lab.carry_code(0, &["nightly"]);
    let deployed = lab.deployed();

    std::fs::write(lab.path("ws/patches/p/stray.patch"), "x").expect("written");
    let text = lab.carry_code(2, &["nightly"]);
    assert!(text.contains("not committed") && text.contains("stray.patch"), "{text}");
    std::fs::remove_file(lab.path("ws/patches/p/stray.patch")).expect("gone");
    // Neither is what is changed, nor what waits for a commit.
    let series = std::fs::read(lab.path("ws/patches/p/series")).expect("a series");
    let changed = [&b"# a word\n"[..], &series].concat();
    std::fs::write(lab.path("ws/patches/p/series"), &changed).expect("written");
    lab.commit("up", "moves", &[("c", Some("c\n"))]);
    for staged in [false, true] {
        if staged {
            lab.git("ws", &["add", "-A"]);
        }
        let text = lab.carry_code(2, &["nightly"]);
        assert!(text.contains("not committed") && text.contains("patches/p/series"), "{text}");
        assert_eq!(std::fs::read(lab.path("ws/patches/p/series")).expect("a series"), changed);
        assert_eq!(lab.deployed(), deployed);
    }
    lab.git("ws", &["reset", "-q", "--hard"]);
    lab.carry_code(0, &["nightly"]);
    let deployed = lab.deployed();
    std::fs::write(lab.path("ws/patches/p/stray.patch"), "x").expect("written");
    lab.git("ws", &["add", "-A"]);
    lab.git("ws", &["commit", "-qm", "stray"]);
    let text = lab.carry_code(2, &["nightly"]);
    assert!(text.contains("stray.patch: the series does not name this file"), "{text}");
    lab.git("ws", &["reset", "-q", "--hard", "HEAD~1"]);

    lab.git("up", &["branch", "-m", "main", "trunk"]);
    let text = lab.carry_code(1, &["nightly"]);
    assert!(text.contains("has no branch 'refs/heads/main'") && text.contains("trunk"), "{text}");
    lab.git("up", &["branch", "-m", "trunk", "main"]);

    lab.git("up", &["commit", "-q", "--amend", "-m", "another base"]);
    let text = lab.carry_code(1, &["nightly"]);
    assert!(text.contains("the trunk was rewritten") && text.contains("--accept-rewritten-trunk"), "{text}");
    assert_eq!(lab.deployed(), deployed);
    lab.carry_code(0, &["nightly", "--accept-rewritten-trunk"]);

    std::fs::rename(lab.path("up"), lab.path("gone")).expect("renamed");
    let text = lab.carry_code(1, &["nightly"]);
    assert!(text.contains("did not give its trunk") && text.contains("--offline"), "{text}");
    lab.carry_code(0, &["nightly", "--offline"]);

    let config = lab.path("ws/carry.toml");
    let wrong =
        std::fs::read_to_string(&config).expect("read").replace("branch = \"main\"", "brunch = \"main\"");
    std::fs::write(&config, wrong).expect("written");
    let text = lab.carry_code(2, &["status"]);
    assert!(text.contains("unknown key 'brunch'") && text.contains("did you mean 'branch'?"), "{text}");
}

#[test]
fn only_one_run_works_on_a_workspace_at_a_time() {
    let lab = three();
    let guard = git_carry::workspace::Guard::acquire(&lab.path("ws/.git/carry"), "a test").expect("free");
    let text = lab.carry_code(1, &["nightly"]);
    assert!(text.contains("another run is at work here: a test"), "{text}");
    drop(guard);
    lab.carry_code(0, &["nightly"]);
}

#[test]
fn a_terminal_escape_in_a_subject_does_not_reach_the_terminal() {
    let a = change("a", &[(3, "ours")]);
    let lab = Lab::with_fork(&[("evil \u{1b}[31m subject", &[("a", Some(&a))])]);
    // With colours, or all escapes would be taken away on the way to a pipe.
    let out = lab.carry_command("ws", &["status"]).env("CLICOLOR_FORCE", "1").output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("subject") && !text.contains("evil \u{1b}"), "{text:?}");
    assert_tame("status", &out.stdout);
}

#[test]
fn a_file_that_upstream_moved_takes_its_patch_along() {
    let a = change("a", &[(20, "ours")]);
    let lab = Lab::with_fork(&[("on a", &[("a", Some(&a))])]);
    lab.git("up", &["mv", "a", "z"]);
    lab.commit("up", "moved", &[]);
    let nights = lab.json(0, &["nightly"]);
    assert_eq!(nights[0]["patches"][0]["outcome"], "refreshed");
    assert_eq!(
        lab.git("deploy.git", &["show", "deploy/p:z"]),
        change("z", &[]).replace("z line", "a line").replace("a line 20", "ours").trim_end()
    );
}

#[test]
fn what_was_read_of_a_patch_stands_for_no_other_text_and_a_damaged_file_of_it_for_nothing() {
    let lab = three();
    lab.carry_code(0, &["nightly"]);
    let moved = change("a", &[(1, "theirs"), (28, "theirs")]);
    lab.commit("up", "upstream moves", &[("a", Some(&moved))]);
    let fetch = ["fetch", "-q", "../../../../up", "+main:refs/carry/trunk"];
    lab.git("ws/.git/carry/p.git", &fetch);
    let kept = lab.path("ws/.git/carry/p.patches");
    let told = || {
        let mut night = lab.json(0, &["rebase", "--dry-run"]);
        assert!(night["patches"].as_array().is_some_and(|patches| patches.len() == 3), "{night}");
        night["manifest"].take()
    };
    let with = told();
    let whole = std::fs::read(&kept).expect("it is kept");
    std::fs::remove_file(&kept).expect("gone");
    assert_eq!(told(), with);
    for damaged in [&whole[..whole.len() / 2], &[&whole[..], b"more"].concat(), b"\xff"] {
        std::fs::write(&kept, damaged).expect("written");
        assert_eq!(told(), with);
    }
    std::fs::write(&kept, &whole).expect("as it was");

    // An edit by hand counts, and what is cut off is refused.
    let file = lab.path("ws/patches/p/only-on-b.patch");
    let text = std::fs::read_to_string(&file).expect("a patch");
    std::fs::write(&file, text.replace("[PATCH] only on b", "[PATCH] on b alone")).expect("written");
    let shown = lab.carry_code(0, &["show", "only-on-b"]);
    assert!(shown.contains("on b alone"), "{shown}");
    std::fs::write(&file, &text[..text.len() - 20]).expect("written");
    assert!(lab.carry_code(2, &["status"]).contains("only-on-b.patch, line "));
}
