//! The ladder by which it is known that upstream has a patch, and what people decide where it is not certain.

use crate::support::git_with_input;
use crate::support::lab::{Lab, numbered};
use serde_json::Value;

fn patch<'a>(night: &'a Value, name: &str) -> &'a Value {
    let patches = night["patches"].as_array().expect("patches");
    patches.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("no patch {name}: {night}"))
}

/// Several lines of a file, each changed to `word` and its number.
fn lines(name: &str, at: std::ops::RangeInclusive<usize>, word: &str) -> String {
    let words: Vec<(usize, String)> = at.map(|n| (n, format!("{word} {n}"))).collect();
    let changed: Vec<(usize, &str)> = words.iter().map(|(n, w)| (*n, w.as_str())).collect();
    numbered(name, &changed)
}

/// `text` with the line `from` as `to`.
fn but(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(&format!("{from}\n")), "{from} is in it");
    text.replace(&format!("{from}\n"), &format!("{to}\n"))
}

/// The project's part of the lock.
fn lock(lab: &Lab) -> toml::Value {
    let text = std::fs::read_to_string(lab.path("ws/carry.lock")).expect("a lock");
    toml::from_str::<toml::Value>(&text).expect("TOML")["project"]["p"].clone()
}

#[test]
fn a_header_that_names_a_commit_of_trunk_is_believed_and_one_that_names_another_is_not() {
    let lab = Lab::with_fork(&[
        ("mine", &[("a", Some(&lines("a", 3..=4, "ours")))]),
        ("yours", &[("b", Some(&lines("b", 3..=4, "ours")))]),
    ]);
    let theirs = ["a", "b"].map(|n| lines(n, 3..=3, "theirs"));
    let commit = lab.commit("up", "quite another way", &[("a", Some(&theirs[0])), ("b", Some(&theirs[1]))]);
    for (name, id) in [("mine", commit.as_str()), ("yours", "0123456789abcdef0123456789abcdef01234567")] {
        let file = lab.path(&format!("ws/patches/p/{name}.patch"));
        let text = std::fs::read_to_string(&file).expect("a patch");
        let field = format!("\nApplied-Upstream: 2.0, commit:{id}\n---\n");
        std::fs::write(&file, text.replacen("\n---\n", &field, 1)).expect("written");
    }
    lab.git("ws", &["commit", "-qam", "say where they went"]);
    let night = &lab.json(3, &["nightly"])[0];
    let evidence = &patch(night, "mine")["evidence"];
    assert_eq!((&evidence["rung"], &evidence["commit"]), (&"declared".into(), &commit.as_str().into()));
    assert_eq!(patch(night, "yours")["outcome"], "conflict");
}

#[test]
fn a_patch_whose_lines_trunk_has_comes_off_and_its_commit_is_the_one_that_brought_them() {
    let lab = Lab::with_fork(&[
        ("one", &[("a", Some(&lines("a", 5..=8, "ours")))]),
        ("two", &[("b", Some(&lines("b", 5..=8, "ours")))]),
        ("half", &[("c", Some(&lines("c", 5..=8, "ours")))]),
    ]);
    lab.commit("up", "before", &[("d", Some("d\n"))]);
    // Both patches and more, in one: no patch-id is the same.
    let a = but(&lines("a", 5..=8, "ours"), "a line 20", "more");
    let (b, c) = (lines("b", 5..=8, "ours"), lines("c", 5..=6, "ours"));
    let squash = lab.commit("up", "all at once", &[("a", Some(&a)), ("b", Some(&b)), ("c", Some(&c))]);
    lab.commit("up", "after", &[("d", Some("dd\n"))]);
    let night = &lab.json(3, &["nightly"])[0];
    for name in ["one", "two"] {
        let evidence = &patch(night, name)["evidence"];
        assert_eq!(evidence["rung"], "reverse-applies", "{night}");
        assert_eq!(evidence["commit"], squash.as_str());
        assert_eq!(evidence["confidence"], "strong");
    }
    assert_ne!(patch(night, "half")["outcome"], "landed", "half of it is not it");
}

#[test]
fn lines_that_trunk_had_before_the_range_show_nothing() {
    // The patch adds what stands elsewhere already; trunk moves on without it.
    let lab = Lab::with_fork(&[(
        "twice",
        &[("a", Some(&but(&numbered("a", &[]), "a line 5", "a line 5\nb line 1")))],
    )]);
    lab.commit("up", "theirs", &[("a", Some(&but(&numbered("a", &[]), "a line 28", "b line 1")))]);
    let night = &lab.json(0, &["nightly"])[0];
    assert_ne!(patch(night, "twice")["outcome"], "landed", "{night}");
}

#[test]
fn a_revised_version_is_asked_about_and_a_rejection_is_remembered() {
    let lab = Lab::with_fork(&[("revised", &[("a", Some(&lines("a", 5..=10, "ours")))])]);
    let theirs = but(&lines("a", 5..=10, "ours"), "ours 7", "ours seven");
    let commit = lab.commit("up", "as reviewed", &[("a", Some(&theirs))]);
    let night = &lab.json(3, &["nightly"])[0];
    let told = patch(night, "revised");
    assert_eq!(told["outcome"], "evolved", "{night}");
    let proposed = &told["proposed"][0];
    assert_eq!(proposed["evidence"]["commit"], commit.as_str());
    assert_eq!(proposed["evidence"]["confidence"], "weak");
    assert!(lab.path("ws/patches/p/revised.patch").exists(), "it asks before it drops");

    let text = lab.carry_code(0, &["landed"]);
    assert!(text.contains(&commit[..12]) && text.contains("git carry landed show revised"), "{text}");
    lab.carry_code(0, &["landed", "reject", "revised"]);
    let text = lab.carry_code(1, &["landed", "reject", "revised"]);
    assert!(text.contains("has no open proposal"), "{text}");
    lab.commit("up", "more", &[("d", Some("d\n"))]);
    let night = &lab.json(3, &["nightly"])[0];
    assert_eq!(patch(night, "revised")["outcome"], "conflict", "the rejected commit is not named again");
    assert_eq!(patch(night, "revised")["proposed"][0]["decision"], "rejected");

    // The whole way again, on another machine that starts from the first base: it knows the answer.
    lab.git("ws", &["revert", "--no-edit", "HEAD"]);
    let night = &lab.json(3, &["rebase", "--dry-run", "--onto", &commit]);
    assert_eq!(patch(night, "revised")["outcome"], "conflict", "{night}");
}

#[test]
fn a_confirmed_proposal_takes_the_patch_out_of_the_queue() {
    let lab = Lab::with_fork(&[
        ("revised", &[("a", Some(&lines("a", 5..=10, "ours")))]),
        ("above", &[("b", Some(&lines("b", 5..=5, "ours")))]),
    ]);
    let theirs = but(&lines("a", 5..=10, "ours"), "ours 7", "ours seven");
    let commit = lab.commit("up", "as reviewed", &[("a", Some(&theirs))]);
    lab.carry_code(3, &["nightly"]);
    let night = lab.json(0, &["landed", "confirm", "revised", &commit[..10]]);
    let night = if night.is_array() { &night[0] } else { &night };
    assert_eq!(patch(night, "revised")["outcome"], "landed", "{night}");
    assert!(!lab.path("ws/patches/p/revised.patch").exists());
    assert_eq!(lab.git("ws", &["show", "HEAD:patches/p/series"]), "above.patch");
    assert_eq!(lock(&lab)["landed"][0]["name"].as_str(), Some("revised"));
    // The build is trunk with what is left, as git makes it.
    lab.git("up", &["checkout", "-q", "--detach", "main"]);
    lab.git("up", &["cherry-pick", "fork"]);
    let tree = lab.git("up", &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(lab.git("deploy.git", &["rev-parse", "refs/heads/deploy/p^{tree}"]), tree);
}

#[test]
fn several_patches_in_one_commit_and_one_patch_in_several_are_proposed_with_all_that_they_rest_on() {
    let lab = Lab::with_fork(&[
        ("first", &[("a", Some(&lines("a", 3..=8, "ours")))]),
        ("second", &[("b", Some(&lines("b", 3..=8, "ours")))]),
        ("long", &[("c", Some(&lines("c", 3..=16, "ours")))]),
    ]);
    // Each has one line otherwise than upstream, so that nothing comes off again.
    let a = but(&lines("a", 3..=8, "ours"), "ours 8", "ours eight");
    let b = but(&lines("b", 3..=8, "ours"), "ours 8", "ours eight");
    let squash = lab.commit("up", "both", &[("a", Some(&a)), ("b", Some(&b))]);
    let part = lab.commit("up", "one half", &[("c", Some(&lines("c", 3..=9, "ours")))]);
    let rest = but(&lines("c", 3..=16, "ours"), "ours 16", "ours sixteen");
    let last = lab.commit("up", "the other half", &[("c", Some(&rest))]);
    let night = &lab.json(3, &["nightly"])[0];
    for name in ["first", "second"] {
        let evidence = &patch(night, name)["proposed"][0]["evidence"];
        assert_eq!(evidence["commit"], squash.as_str(), "{night}");
        assert_eq!(evidence["rung"], "squashed");
    }
    let evidence = &patch(night, "long")["proposed"][0]["evidence"];
    assert_eq!((&evidence["rung"], &evidence["commit"]), (&"split".into(), &last.as_str().into()), "{night}");
    assert_eq!(evidence["with"], serde_json::json!([part]));
}

#[test]
fn what_upstream_takes_back_is_told_and_comes_back_where_it_stood() {
    let lab = Lab::with_fork(&[
        ("below", &[("b", Some(&lines("b", 3..=3, "ours")))]),
        ("lands", &[("a", Some(&lines("a", 3..=6, "ours")))]),
        ("above", &[("c", Some(&lines("c", 3..=3, "ours")))]),
    ]);
    lab.carry_code(0, &["nightly"]);
    let before = std::fs::read(lab.path("ws/patches/p/lands.patch")).expect("a patch");
    lab.git("up", &["cherry-pick", "fork~1"]);
    lab.carry_code(0, &["nightly"]);
    assert!(!lab.path("ws/patches/p/lands.patch").exists());
    lab.git("up", &["revert", "--no-edit", "HEAD"]);
    let revert = lab.git("up", &["rev-parse", "main"]);

    let night = &lab.json(3, &["nightly"])[0];
    let undone = &night["undone"][0];
    assert_eq!((&undone["name"], &undone["reverted"]["commit"]), (&"lands".into(), &revert.as_str().into()));
    lab.commit("up", "more", &[("d", Some("d\n"))]);
    let text = lab.carry_code(3, &["nightly"]);
    assert!(text.contains("git carry landed restore lands"), "{text}");
    let text = lab.carry_code(0, &["report"]);
    assert!(text.contains("upstream took lands back"), "{text}");

    // Another took its name meanwhile, and is gone.
    let other = String::from_utf8_lossy(&before).replace("+ours", "+other");
    let series = lab.git("ws", &["show", "HEAD:patches/p/series"]);
    for (text, series) in
        [(Some(other.as_str()), format!("{series}\nlands.patch\n")), (None, format!("{series}\n"))]
    {
        let files = [("patches/p/lands.patch", text), ("patches/p/series", Some(series.as_str()))];
        lab.commit("ws", "by hand", &files);
    }
    lab.carry_code(0, &["landed", "restore", "lands"]);
    assert_eq!(lab.git("ws", &["show", "HEAD:patches/p/series"]), "below.patch\nlands.patch\nabove.patch");
    assert_eq!(std::fs::read(lab.path("ws/patches/p/lands.patch")).expect("a patch"), before);
    lab.carry_code(0, &["nightly"]);
    lab.git("up", &["checkout", "-q", "--detach", "main"]);
    lab.git("up", &["cherry-pick", "fork~3..fork"]);
    let tree = lab.git("up", &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(lab.git("deploy.git", &["rev-parse", "refs/heads/deploy/p^{tree}"]), tree);
    let text = lab.carry_code(1, &["landed", "restore", "lands"]);
    assert!(text.contains("is not known to have landed"), "{text}");
}

#[test]
fn what_stays_out_is_not_told_again() {
    let lab = Lab::with_fork(&[("lands", &[("a", Some(&lines("a", 3..=6, "ours")))])]);
    lab.git("up", &["cherry-pick", "fork"]);
    lab.carry_code(0, &["nightly"]);
    lab.git("up", &["revert", "--no-edit", "HEAD"]);
    lab.carry_code(3, &["nightly"]);
    lab.carry_code(0, &["landed", "forget", "lands"]);
    lab.carry_code(0, &["nightly"]);
}

#[test]
fn a_revert_of_the_revert_is_as_if_nothing_had_been() {
    let lab = Lab::with_fork(&[("lands", &[("a", Some(&lines("a", 3..=6, "ours")))])]);
    lab.git("up", &["cherry-pick", "fork"]);
    lab.carry_code(0, &["nightly"]);
    lab.git("up", &["revert", "--no-edit", "HEAD"]);
    lab.git("up", &["revert", "--no-edit", "HEAD"]);
    lab.carry_code(0, &["nightly"]);
}

#[test]
fn what_upstream_mends_of_a_commit_that_a_patch_came_from_is_told() {
    let lab = Lab::new();
    let origin = lab.commit("up", "elsewhere", &[("x", Some("x\n"))]);
    let lab = {
        drop(lab);
        Lab::with_fork(&[(
            &format!("backport\n\n(cherry picked from commit {origin})"),
            &[("a", Some(&lines("a", 3..=6, "ours")))],
        )])
    };
    let fix = lab.commit(
        "up",
        &format!("mend it\n\nFixes: {} (\"elsewhere\")", &origin[..12]),
        &[("c", Some("c\n"))],
    );
    let night = &lab.json(0, &["nightly"])[0];
    let told = &patch(night, "backport")["fixes"][0];
    assert_eq!((&told["commit"], &told["names"]), (&fix.as_str().into(), &origin.as_str().into()), "{night}");
}

#[test]
fn what_came_early_and_late_in_a_long_range_is_found() {
    let lab = Lab::with_fork(&[
        ("early", &[("a", Some(&lines("a", 5..=8, "ours")))]),
        ("middle", &[("b", Some(&lines("b", 5..=8, "ours")))]),
        ("late", &[("c", Some(&lines("c", 5..=8, "ours")))]),
        ("never", &[("d", Some("ours\n"))]),
    ]);
    // So many that they are looked at in several stretches, on several threads.
    let many = || {
        let tip = lab.git("up", &["rev-parse", "HEAD"]);
        let commit = |n: usize| {
            let from = if n == 0 { format!("from {tip}\n") } else { String::new() };
            let (text, place) = (format!("{n}\n"), n % 20);
            let head =
                format!("commit refs/heads/main\ncommitter a <a@b> {} +0000\ndata 0\n", 1_800_000_000 + n);
            format!("{head}{from}M 100644 inline other/{place}\ndata {}\n{text}\n", text.len())
        };
        let stream: String = (0..560).map(commit).collect();
        let made = git_with_input(&lab.path("up"), &["fast-import", "--quiet"], stream.as_bytes());
        assert!(made.status.success(), "{made:?}");
        lab.git("up", &["reset", "-q", "--hard"]);
    };
    let land = |file: &str| lab.commit("up", "as it is there", &[(file, Some(&lines(file, 5..=8, "ours")))]);
    let early = land("a");
    many();
    let middle = land("b");
    many();
    let late = land("c");
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!(night["trunk"]["commits"], 2 * 560 + 3);
    for (name, commit) in [("early", early), ("middle", middle), ("late", late)] {
        let evidence = &patch(night, name)["evidence"];
        assert_eq!((&evidence["rung"], &evidence["commit"]), (&"patch-id".into(), &commit.into()), "{name}");
    }
    assert_eq!(patch(night, "never")["outcome"], "clean");
}
