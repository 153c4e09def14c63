//! A conflict resolved in a work tree: what becomes of the patch, and of the answer on other machines.

use std::path::PathBuf;

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

fn outcome(night: &Value, name: &str) -> String {
    let found = Lab::outcomes(night).into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("no patch {name}: {night}")).1
}

/// A queue of which trunk breaks `one` (and so blocks `two`) and `gone`, after a night.
fn broken() -> Lab {
    let [one, two] = ["one", "two"].map(|t| numbered("a", &[(5, t)]));
    let gone = numbered("b", &[(10, "gone")]);
    let lab = Lab::with_fork(&[
        ("one\n\nBody of one.", &[("a", Some(&one))]),
        ("two", &[("a", Some(&two))]),
        ("gone", &[("b", Some(&gone))]),
        ("apart", &[("x", Some("x\n"))]),
    ]);
    lab.json(0, &["nightly"]);
    lab.commit("up", "breaks one", &[("a", Some(&numbered("a", &[(5, "theirs")])))]);
    lab.commit("up", "moves b away", &[("b", None)]);
    let night = &lab.json(3, &["nightly"])[0];
    assert_eq!(outcome(night, "one"), "conflict");
    assert_eq!(outcome(night, "two"), "blocked");
    assert_eq!(outcome(night, "gone"), "conflict");
    lab
}

fn begin(lab: &Lab, patch: &str) -> PathBuf {
    let begun = lab.json(0, &["resolve", patch]);
    PathBuf::from(begun["work_tree"].as_str().expect("a place"))
}

#[test]
fn an_answer_mends_the_patch_here_and_its_record_does_so_elsewhere() {
    let lab = broken();
    lab.git(".", &["clone", "-q", "ws", "second"]);
    let work = begin(&lab, "one");
    let marked = std::fs::read_to_string(work.join("a")).expect("a file");
    for mark in ["<<<<<<< ", "||||||| ", "======="] {
        assert!(marked.contains(mark), "{marked}");
    }
    // Unfinished work is refused, and nothing is lost.
    let said = lab.carry_code(1, &["resolve", "one", "--continue"]);
    assert!(said.contains("a: it has conflict markers"), "{said}");
    let answer = numbered("a", &[(5, "theirs and one")]);
    std::fs::write(work.join("a"), &answer).expect("written");

    let done = lab.json(3, &["resolve", "--continue"]);
    let night = &done["night"];
    assert_eq!(outcome(night, "one"), "resolved");
    // What stood above stands on the answer now, or says that it does not.
    assert_eq!(outcome(night, "two"), "conflict");
    assert!(!work.exists());
    let record = night["patches"].as_array().expect("patches")[0].clone();
    assert_eq!(record["resolution"]["id"], done["resolution"]);
    assert_eq!(record["resolution"]["by"], "Test Author <t@example.org>");
    let store = "ws/.git/carry/p.git";
    assert_eq!(lab.git(store, &["show", "refs/heads/deploy/p:a"]), answer.trim_end());
    let message = lab.git(store, &["log", "--format=%an %B", "-1", "refs/heads/deploy/p~1"]);
    assert!(message.starts_with("Test Author one\n\nBody of one."), "{message}");
    lab.git(store, &["fsck", "--strict"]);

    // The written patch is one that git takes, and the next night has nothing to resolve.
    let night = &lab.json(3, &["nightly"])[0];
    assert_eq!(outcome(night, "one"), "clean");
    lab.git(".", &["clone", "-q", "up", "am"]);
    lab.git("am", &["am", "-q", "../ws/patches/p/one.patch"]);

    // A clone that has the record alone comes to the same build.
    let files = lab.path("ws").join("resolutions");
    let copied = std::process::Command::new("cp").arg("-r").arg(files).arg(lab.path("second")).status();
    assert!(copied.expect("cp runs").success());
    lab.git("second", &["add", "-A"]);
    lab.git("second", &["commit", "-qm", "records"]);
    let mut fetch = lab.carry_command("second", &["--json", "nightly"]);
    let night = fetch.output().expect("it runs");
    let night: Value = serde_json::from_slice(&night.stdout).unwrap_or_else(|_| {
        panic!("{}", String::from_utf8_lossy(&night.stderr));
    });
    assert_eq!(outcome(&night[0], "one"), "resolved", "{night}");
    assert_eq!(night[0]["manifest"]["deploy"]["tree"], done["night"]["manifest"]["deploy"]["tree"]);
}

#[test]
fn what_conflicts_is_kept_while_nothing_moves_and_an_answer_counts_all_the_same() {
    let lab = broken();
    let file = lab.path("ws").join(".git/carry/p.conflicts");
    let read = || {
        (std::fs::read(&file).expect("a file"), file.metadata().expect("a file").modified().expect("a time"))
    };
    assert!(!file.exists(), "what has moved is not asked again");
    let first = lab.json(3, &["nightly"]);
    let kept = read();
    assert_eq!(lab.json(3, &["nightly"]), first);
    assert_eq!(read(), kept, "it is known, and not kept again");
    std::fs::write(&file, &kept.0[..kept.0.len() / 2]).expect("written");
    assert_eq!(lab.json(3, &["nightly"]), first);
    assert_eq!(read().0, kept.0, "what is damaged is found out again");

    // With a patch held it is another queue; and an answer is asked for.
    lab.carry(&["hold", "gone"]);
    assert_eq!(outcome(&lab.json(3, &["nightly"])[0], "gone"), "held");
    lab.carry(&["unhold", "gone"]);
    assert_eq!(lab.json(3, &["nightly"])[0]["patches"], first[0]["patches"]);
    let work = begin(&lab, "one");
    std::fs::write(work.join("a"), numbered("a", &[(5, "theirs and one")])).expect("written");
    assert_eq!(outcome(&lab.json(3, &["resolve", "--continue"])["night"], "one"), "resolved");
}

#[test]
fn marks_of_another_size_are_marks() {
    let lab = broken();
    lab.commit("up", "long marks", &[(".gitattributes", Some("* conflict-marker-size=32\n"))]);
    lab.json(3, &["nightly"]);
    let work = begin(&lab, "one");
    let marked = std::fs::read_to_string(work.join("a")).expect("a file");
    assert!(marked.contains(&"<".repeat(32)), "{marked}");
    let said = lab.carry_code(1, &["resolve", "one", "--continue"]);
    assert!(said.contains("a: it has conflict markers"), "{said}");
}

#[test]
fn an_answer_is_for_its_own_conflict_and_no_other() {
    let lab = broken();
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    let as_it_was = || {
        lab.git("ws", &["checkout", "-q", &before, "--", "patches", "carry.lock"]);
        lab.git("ws", &["commit", "-q", "--allow-empty", "-m", "as it was"]);
    };
    let work = begin(&lab, "one");
    std::fs::write(work.join("a"), numbered("a", &[(5, "both")])).expect("written");
    lab.json(3, &["resolve", "--continue"]);
    // As if the answer had been merged into a queue that has the patch as it was.
    as_it_was();
    assert_eq!(outcome(&lab.json(3, &["rebase"]), "one"), "resolved", "the same conflict");
    // And into one in which another patch does just the same.
    as_it_was();
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    lab.git("ws", &["mv", "patches/p/one.patch", "patches/p/uno.patch"]);
    let series = lab.git("ws", &["show", "HEAD:patches/p/series"]).replacen("one.patch", "uno.patch", 1);
    lab.commit("ws", "another name", &[("patches/p/series", Some(&format!("{series}\n")))]);
    assert_eq!(outcome(&lab.json(3, &["rebase", "--dry-run"]), "uno"), "conflict", "another patch");
    lab.git("ws", &["reset", "-q", "--hard", &head]);
    // And into one where trunk says something else.
    as_it_was();
    lab.commit("up", "once more", &[("a", Some(&numbered("a", &[(5, "other"), (20, "else")])))]);
    assert_eq!(outcome(&lab.json(3, &["nightly"])[0], "one"), "conflict", "another conflict");
}

#[test]
fn what_else_an_answer_changed_is_for_what_stood_there_and_no_other() {
    let lab = broken();
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    let as_it_was = || {
        lab.git("ws", &["checkout", "-q", &before, "--", "patches", "carry.lock"]);
        lab.git("ws", &["commit", "-q", "--allow-empty", "-m", "as it was"]);
    };
    let work = begin(&lab, "one");
    std::fs::write(work.join("a"), numbered("a", &[(5, "both")])).expect("written");
    let as_well = numbered("c", &[(5, "as well")]);
    std::fs::write(work.join("c"), &as_well).expect("written");
    lab.json(3, &["resolve", "--continue"]);
    as_it_was();
    assert_eq!(outcome(&lab.json(3, &["rebase"]), "one"), "resolved", "nothing else moved");
    assert_eq!(lab.git("ws/.git/carry/p.git", &["show", "refs/heads/deploy/p:c"]), as_well.trim_end());
    // The conflict is the same; the other file is not any more.
    as_it_was();
    lab.commit("up", "beside it", &[("c", Some(&numbered("c", &[(20, "theirs")])))]);
    assert_eq!(outcome(&lab.json(3, &["nightly"])[0], "one"), "conflict", "another file");
}

#[test]
fn a_deleted_file_wants_a_word_and_a_side_can_be_taken() {
    let lab = broken();
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    let work = begin(&lab, "gone");
    let said = lab.carry_code(1, &["resolve", "gone", "--continue"]);
    assert!(said.contains("--take upstream|ours b"), "{said}");
    // Nothing of it may stay behind: the patch would be empty.
    lab.carry_code(0, &["resolve", "gone", "--take", "upstream", "b"]);
    let said = lab.carry_code(1, &["resolve", "gone", "--continue"]);
    assert!(said.contains("would change nothing any more") && said.contains("--drop"), "{said}");
    lab.carry_code(0, &["resolve", "gone", "--abort"]);
    assert!(!work.exists());
    assert_eq!(lab.git("ws", &["rev-parse", "HEAD"]), before);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    assert_eq!(lab.git("ws/.git/carry/p.git", &["for-each-ref", "refs/carry/work"]), "");

    begin(&lab, "gone");
    lab.carry_code(0, &["resolve", "gone", "--take", "ours", "b"]);
    let done = lab.json(3, &["resolve", "--continue"]);
    assert_eq!(outcome(&done["night"], "gone"), "resolved");
    let b = lab.git("ws/.git/carry/p.git", &["show", "refs/heads/deploy/p:b"]);
    assert_eq!(b, numbered("b", &[(10, "gone")]).trim_end());

    // Two at once: one must be named.
    begin(&lab, "one");
    let dropped = lab.json(3, &["resolve", "one", "--drop", "--reason", "no longer wanted"]);
    let names: Vec<String> = Lab::outcomes(&dropped).into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["two", "gone", "apart"]);
    let log = lab.git("ws", &["log", "-3", "--format=%B"]);
    assert!(log.contains("drop one") && log.contains("no longer wanted"), "{log}");
}

#[test]
fn a_required_patch_is_resolved_before_anything_is_published() {
    let required = |m: &str| format!("{m}\n\nCarry-Required: yes");
    let one = numbered("a", &[(5, "one")]);
    let two = numbered("b", &[(5, "two")]);
    let lab =
        Lab::with_fork(&[(&required("one"), &[("a", Some(&one))]), (&required("two"), &[("b", Some(&two))])]);
    lab.json(0, &["nightly"]);
    let before = lab.deployed();
    let theirs = [numbered("a", &[(5, "theirs")]), numbered("b", &[(5, "theirs")])];
    lab.commit("up", "breaks both", &[("a", Some(&theirs[0])), ("b", Some(&theirs[1]))]);
    lab.json(4, &["nightly"]);
    let work = begin(&lab, "one");
    std::fs::write(work.join("a"), numbered("a", &[(5, "both")])).expect("written");
    let done = lab.json(4, &["resolve", "one", "--continue"]);
    assert_eq!(outcome(&done["night"], "one"), "resolved");
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    let work = begin(&lab, "two");
    std::fs::write(work.join("b"), numbered("b", &[(5, "both")])).expect("written");
    let done = lab.json(0, &["resolve", "two", "--continue"]);
    assert_eq!(outcome(&done["night"], "one"), "resolved");
    assert_eq!(outcome(&done["night"], "two"), "resolved");
    assert_eq!(lab.deployed(), before, "nothing is pushed by it");
    lab.json(0, &["nightly"]);
    assert_eq!(
        lab.git("deploy.git", &["show", "refs/heads/deploy/p:a"]),
        numbered("a", &[(5, "both")]).trim_end()
    );
}

#[test]
fn work_that_trunk_has_not_taken_in_is_answered_ahead() {
    let one = numbered("a", &[(5, "one")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    lab.json(0, &["nightly"]);
    lab.git("up", &["checkout", "-q", "-b", "next"]);
    lab.commit("up", "soon", &[("a", Some(&numbered("a", &[(5, "theirs")])))]);
    let tip = lab.git("up", &["rev-parse", "next"]);
    lab.git("up", &["checkout", "-q", "main"]);
    let work = lab.json(0, &["forecast", "next"]);
    assert_eq!(work["work"][0]["patches"], serde_json::json!(["one"]), "{work}");
    let begun = lab.json(0, &["resolve", "one", "--onto", &tip]);
    let place = PathBuf::from(begun["work_tree"].as_str().expect("a place"));
    std::fs::write(place.join("a"), numbered("a", &[(5, "both")])).expect("written");
    let done = lab.json(0, &["resolve", "--continue"]);
    assert_eq!(done["night"], Value::Null);
    assert_eq!(lab.json(0, &["nightly"])[0]["done"], "quiet");
    lab.git("up", &["merge", "-q", "--ff-only", "next"]);
    assert_eq!(outcome(&lab.json(0, &["nightly"])[0], "one"), "resolved");
}

#[test]
fn a_damaged_record_is_told_and_not_used() {
    let lab = broken();
    let work = begin(&lab, "one");
    std::fs::write(work.join("a"), numbered("a", &[(5, "both")])).expect("written");
    let done = lab.json(3, &["resolve", "--continue"]);
    let id = done["resolution"].as_str().expect("an id").to_owned();
    let listed = lab.json(0, &["resolutions"]);
    assert_eq!(listed["resolutions"][0]["resolution"]["id"], id.as_str());
    assert!(lab.carry_code(0, &["resolutions", "show", "one"]).contains("both changed the same lines"));
    let record = format!("resolutions/p/one/{id}/record.toml");
    let text = std::fs::read_to_string(lab.path("ws").join(&record)).expect("a record");
    let base = text.lines().find(|l| l.starts_with("ours = ")).expect("a side");
    let forged = text.replace(base, "ours = \"100644 0123456789012345678901234567890123456789\"");
    std::fs::write(lab.path("ws").join(&record), forged).expect("written");
    lab.git("ws", &["commit", "-qam", "forged"]);
    let said = lab.carry_code(3, &["rebase"]);
    assert!(said.contains("its sides are not its name's; it is not used"), "{said}");
    std::fs::write(lab.path("ws").join(&record), text).expect("written");
    let content = lab.path(&format!("ws/resolutions/p/one/{id}/1-a"));
    let answer = std::fs::read(&content).expect("a content");
    std::fs::write(&content, numbered("a", &[(5, "neither")])).expect("written");
    lab.git("ws", &["commit", "-qam", "another content"]);
    let said = lab.carry_code(3, &["rebase"]);
    assert!(said.contains("a content is not the one that it names; it is not used"), "{said}");
    std::fs::write(&content, answer).expect("written");
    lab.git("ws", &["commit", "-qam", "mended"]);
    lab.carry_code(0, &["resolutions", "forget", &id]);
    assert!(!lab.path("ws").join("resolutions/p/one").join(&id).join("record.toml").exists());
}

#[test]
fn what_git_rerere_recorded_is_taken_over() {
    let lab = broken();
    // As someone who rebases by hand, with rerere, would have it.
    lab.git(".", &["clone", "-q", "up", "hand"]);
    lab.git("hand", &["config", "rerere.enabled", "true"]);
    lab.git("hand", &["checkout", "-q", "origin/main"]);
    assert!(!lab.git_works("hand", &["cherry-pick", "origin/fork~3"]), "it conflicts");
    let answer = numbered("a", &[(5, "theirs and one")]);
    std::fs::write(lab.path("hand/a"), &answer).expect("written");
    lab.git("hand", &["add", "a"]);
    lab.git("hand", &["rerere"]);
    let told = lab.json(0, &["resolutions", "import", "../hand/.git/rr-cache"]);
    assert_eq!(told["resolutions"][0]["patch"], "one", "{told}");
    assert_eq!(told["resolutions"][0]["resolution"]["origin"], "git rerere");
    let night = lab.json(3, &["rebase"]);
    assert_eq!(outcome(&night, "one"), "resolved");
    assert_eq!(lab.git("ws/.git/carry/p.git", &["show", "refs/heads/deploy/p:a"]), answer.trim_end());
    let again = lab.carry_code(0, &["resolutions", "import", "../hand/.git/rr-cache"]);
    assert!(again.contains("no answer to a conflict"), "{again}");
}

#[test]
fn work_is_left_here_and_taken_up_elsewhere() {
    let lab = broken();
    lab.git("ws", &["branch", "-M", "main"]);
    lab.git(".", &["clone", "-q", "ws", "second"]);
    let work = begin(&lab, "one");
    let half = std::fs::read_to_string(work.join("a")).expect("a file") + "half done\n";
    std::fs::write(work.join("a"), &half).expect("written");
    std::fs::write(work.join("notes"), "look at line 5\n").expect("written");
    lab.json(0, &["resolve", "--save"]);

    let mut fetch = lab.carry_command("second", &["--json", "nightly"]);
    assert_eq!(fetch.output().expect("it runs").status.code(), Some(3));
    let mut there = lab.carry_command("second", &["--json", "resolve", "one"]);
    let begun: Value = serde_json::from_slice(&there.output().expect("it runs").stdout).expect("JSON");
    assert_eq!(begun["taken_up"], true, "{begun}");
    let place = PathBuf::from(begun["work_tree"].as_str().expect("a place"));
    assert_eq!(std::fs::read_to_string(place.join("a")).expect("a file"), half);
    assert!(place.join("notes").exists());
    let mut proceed = lab.carry_command("second", &["resolve", "one", "--continue"]);
    let said = proceed.output().expect("it runs");
    assert!(String::from_utf8_lossy(&said.stderr).contains("it has conflict markers"));
    std::fs::write(place.join("a"), numbered("a", &[(5, "both")])).expect("written");
    let mut proceed = lab.carry_command("second", &["--json", "resolve", "one", "--continue"]);
    let done: Value = serde_json::from_slice(&proceed.output().expect("it runs").stdout).expect("JSON");
    assert_eq!(outcome(&done["night"], "one"), "resolved");
    assert_eq!(lab.git("deploy.git", &["for-each-ref", "refs/carry/saved"]), "");
}
