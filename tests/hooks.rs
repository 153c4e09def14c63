//! Hooks run when something happens, by the built binary: with a documented environment and a document to read, without a
//! shell, and some of them may stop the run.

use crate::support::lab::{Lab, numbered};
use serde_json::{Value, json};

/// A program that writes its environment and what it reads down, and ends as a file beside it says.
const TELL: &str = "#!/bin/sh\nenv | sort > env.$CARRY_EVENT.${CARRY_PATCH:-none}\ncat > told.$CARRY_EVENT.${CARRY_PATCH:-none}\n\
    echo \"$CARRY_EVENT $CARRY_PATCH\" >> order\n[ ! -f stop.$CARRY_EVENT ] || { echo 'not today'; exit 7; }\n";

fn lab(hooks: &str) -> Lab {
    let [a, b] = ["a", "b"].map(|file| numbered(file, &[(10, "ours")]));
    let lab = Lab::with_fork(&[("fix a", &[("a", Some(&a))]), ("fix b", &[("b", Some(&b))])]);
    std::fs::create_dir(lab.path("ws/hooks")).expect("a folder");
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let ignored = "env.*\ntold.*\norder\nstop.*\n";
    lab.commit(
        "ws",
        "hooks",
        &[
            ("carry.toml", Some(&format!("{config}\n{hooks}"))),
            ("hooks/tell", Some(TELL)),
            (".gitignore", Some(ignored)),
        ],
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(lab.path("ws/hooks/tell"), mode).expect("runnable");
    lab.git("ws", &["commit", "-qam", "runnable"]);
    lab
}

fn every_event() -> String {
    let one = |on: &str| {
        format!("[[project.p.hook]]\non = \"{on}\"\nrun = [\"./hooks/tell\"]\nenv = [\"OURS\", \"X=y z\"]\n")
    };
    ["before-night", "after-night", "conflict", "landed", "before-publish"].map(one).concat()
}

/// What the hooks did since it was asked last, in order.
fn order(lab: &Lab) -> Vec<String> {
    let text = std::fs::read_to_string(lab.path("ws/order")).unwrap_or_default();
    let _ = std::fs::remove_file(lab.path("ws/order"));
    text.lines().map(|l| l.trim().to_owned()).collect()
}

fn told(lab: &Lab, event: &str, patch: &str) -> Value {
    let text = std::fs::read(lab.path(&format!("ws/told.{event}.{patch}"))).expect("it was told");
    serde_json::from_slice(&text).expect("JSON")
}

fn environment(lab: &Lab, event: &str, patch: &str) -> Vec<String> {
    let text = std::fs::read_to_string(lab.path(&format!("ws/env.{event}.{patch}"))).expect("it ran");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_event_runs_its_hook_with_its_environment_and_a_document_and_nothing_else() {
    let lab = lab(&every_event());
    let out = lab.carry_command("ws", &["nightly"]).env("OURS", "passed on").env("THEIRS", "s3cret").output();
    assert!(out.expect("it runs").status.success());
    assert_eq!(order(&lab), ["before-night", "before-publish", "after-night"]);
    let all = environment(&lab, "before-publish", "none");
    let deployed = lab.deployed();
    for wanted in [
        "CARRY_EVENT=before-publish".to_owned(),
        "CARRY_PROJECT=p".to_owned(),
        format!("CARRY_WORKSPACE={}", lab.path("ws").canonicalize().expect("a path").display()),
        format!("CARRY_COMMIT={deployed}"),
        format!("CARRY_BUILD={}", &deployed[..12]),
        format!("CARRY_TREE={}", lab.git("deploy.git", &["rev-parse", "deploy/p^{tree}"])),
        "OURS=passed on".to_owned(),
        "X=y z".to_owned(),
    ] {
        assert!(all.contains(&wanted), "{wanted}: {all:#?}");
    }
    assert!(!all.iter().any(|line| line.starts_with("THEIRS") || line.starts_with("HOME=")), "{all:#?}");
    let document = told(&lab, "before-publish", "none");
    assert_eq!((&document["version"], &document["event"]), (&json!(1), &json!("before-publish")));
    assert_eq!(document["manifest"]["deploy"]["commit"], json!(deployed));
    // The build can be looked at before it goes out.
    let store = document["store"].as_str().expect("a store");
    assert_eq!(lab.git(store, &["cat-file", "-t", &deployed]), "commit");
    let document = told(&lab, "after-night", "none");
    assert_eq!((&document["ended"], &document["commit"]), (&json!("published"), &json!(deployed)));

    // A quiet night publishes nothing, and nothing conflicts.
    lab.carry_code(0, &["nightly"]);
    assert_eq!(order(&lab), ["before-night", "after-night"]);
    assert!(environment(&lab, "after-night", "none").contains(&"CARRY_ENDED=quiet".to_owned()));

    // Upstream takes one patch and breaks the other.
    let landed = lab.git("up", &["rev-parse", "fork"]);
    lab.git("up", &["cherry-pick", &landed]);
    let landed = lab.git("up", &["rev-parse", "main"]);
    let culprit = lab.commit("up", "break", &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    lab.carry_code(3, &["nightly"]);
    assert_eq!(
        order(&lab),
        ["before-night", "before-publish", "conflict fix-a", "landed fix-b", "after-night"]
    );
    assert!(environment(&lab, "conflict", "fix-a").contains(&format!("CARRY_COMMIT={culprit}")));
    let document = told(&lab, "conflict", "fix-a");
    assert_eq!(
        (&document["commit"], &document["next"]),
        (&json!(culprit), &json!("git carry resolve fix-a"))
    );
    assert_eq!(told(&lab, "landed", "fix-b")["evidence"]["commit"], json!(landed));
    // The same conflict is none again, also after a night that an error ended.
    lab.carry_code(3, &["nightly"]);
    assert_eq!(order(&lab), ["before-night", "after-night"]);
    std::fs::rename(lab.path("up"), lab.path("away")).expect("moved");
    lab.carry_code(1, &["nightly"]);
    assert_eq!(order(&lab), ["before-night", "after-night"]);
    assert_eq!(told(&lab, "after-night", "none")["ended"], "failed");
    std::fs::rename(lab.path("away"), lab.path("up")).expect("moved");
    lab.carry_code(3, &["nightly"]);
    assert_eq!(order(&lab), ["before-night", "after-night"]);

    // What publishes nothing asks nobody.
    lab.commit("up", "on", &[("c", Some("x\n"))]);
    lab.carry_code(3, &["rebase", "--dry-run"]);
    lab.carry_code(0, &["report"]);
    assert_eq!(order(&lab), Vec::<String>::new());
}

#[test]
fn a_hook_before_stops_the_run_and_nothing_is_changed_and_one_after_only_notes() {
    let lab = lab(&every_event());
    lab.carry_code(0, &["nightly"]);
    let state = || {
        let refs = lab.git("ws/.git/carry/p.git", &["for-each-ref"]);
        (
            lab.deployed(),
            refs,
            lab.git("ws", &["rev-parse", "HEAD"]),
            lab.git("ws", &["status", "--porcelain"]),
            lab.git("ws", &["count-objects"]),
        )
    };
    lab.commit("up", "on", &[("c", Some("x\n"))]);
    order(&lab);
    let before = state();
    std::fs::write(lab.path("ws/stop.before-night"), "").expect("written");
    let text = lab.carry_code(4, &["nightly"]);
    assert!(
        text.contains("the hook './hooks/tell' (before-night) failed: it ended with exit code 7: not today"),
        "{text}"
    );
    assert!(text.contains("nothing was published") && text.contains("hooks/p/0-before-night.log"), "{text}");
    assert_eq!(order(&lab), ["before-night", "after-night"]);
    assert_eq!(state(), before, "nothing was fetched");
    std::fs::remove_file(lab.path("ws/stop.before-night")).expect("it was there");

    std::fs::write(lab.path("ws/stop.before-publish"), "").expect("written");
    let text = lab.carry_code(4, &["nightly"]);
    assert!(text.contains("(before-publish) failed: it ended with exit code 7: not today"), "{text}");
    let (deployed, _, head, status, objects) = state();
    assert_eq!((&deployed, &head, &status, &objects), (&before.0, &before.2, &before.3, &before.4));
    assert!(lab.carry_code(0, &["status"]).contains("failed: the hook"), "the beat says so");
    let log = std::fs::read_to_string(lab.path("ws/.git/carry/hooks/p/4-before-publish.log")).expect("a log");
    assert_eq!(log, "not today\n");
    std::fs::remove_file(lab.path("ws/stop.before-publish")).expect("it was there");

    std::fs::write(lab.path("ws/stop.after-night"), "").expect("written");
    let text = lab.carry_code(0, &["nightly"]);
    assert!(text.contains("note: the hook './hooks/tell' (after-night) failed"), "{text}");
    assert_ne!(lab.deployed(), before.0, "the night is none the worse");
}

#[test]
fn a_hook_that_takes_too_long_or_is_not_there_is_ended_and_told_and_its_words_stay_words() {
    let hook =
        |on: &str, run: &str| format!("[[project.p.hook]]\non = \"{on}\"\nrun = {run}\ntimeout = \"1s\"\n");
    let lab = lab(&format!(
        "{}{}",
        hook("before-publish", "[\"sleep\", \"1000\"]"),
        hook("after-night", "[\"no-such-program\", \"$(touch made)\"]")
    ));
    let text = lab.carry_code(0, &["doctor", "--offline"]);
    assert!(text.contains("the hook for after-night runs 'no-such-program', which is not there"), "{text}");
    let text = lab.carry_code(4, &["nightly"]);
    assert!(text.contains("it took longer than 1 s, and was ended"), "{text}");
    assert!(
        text.contains("'no-such-program $(touch made)' (after-night) failed: it cannot be started"),
        "{text}"
    );
    assert!(!lab.git_works("deploy.git", &["rev-parse", "-q", "--verify", "refs/heads/deploy/p"]));
    assert!(!lab.path("ws/made").exists());
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    lab.commit(
        "ws",
        "wrong",
        &[("carry.toml", Some(&format!("{config}\n{}", hook("sometimes", "[\"x\"]"))))],
    );
    let text = lab.carry_code(2, &["status"]);
    assert!(text.contains("'on' cannot be 'sometimes'") && text.contains("before-publish"), "{text}");
}

#[test]
fn who_commits_while_a_hook_looks_at_a_build_keeps_the_commit() {
    let commit = "git -c user.name=n -c user.email=n@e commit -q --allow-empty -m meanwhile";
    let lab = lab(&format!(
        "[[project.p.hook]]\non = \"before-publish\"\nrun = [\"sh\", \"-c\", \"{commit}\"]\nenv = [\"PATH\"]\n"
    ));
    lab.carry_code(0, &["nightly"]);
    let subjects = lab.git("ws", &["log", "-2", "--format=%s"]);
    let subjects: Vec<&str> = subjects.lines().collect();
    assert!(subjects[0].starts_with("carry: p: replay"), "{subjects:?}");
    assert_eq!(subjects[1], "meanwhile");
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    assert_eq!(lab.json(0, &["nightly"])[0]["done"], "quiet");
}

#[test]
fn what_a_hook_brings_in_before_the_night_is_of_the_night_with_a_network_and_without() {
    let commit = "git -c user.name=n -c user.email=n@e commit -qam held";
    let hold = format!(
        "sed s/^fix-b/'#hold fix-b'/ patches/p/series > new; mv new patches/p/series; {commit}; true"
    );
    for more in [None, Some("--offline")] {
        let lab = lab(&format!(
            "[[project.p.hook]]\non = \"before-night\"\nrun = [\"sh\", \"-c\", \"{hold}\"]\nenv = [\"PATH\"]\n"
        ));
        let args: Vec<&str> = ["nightly"].into_iter().chain(more).collect();
        let night = lab.json(0, &args);
        let outcomes: Vec<&Value> =
            night[0]["patches"].as_array().expect("patches").iter().map(|p| &p["outcome"]).collect();
        assert_eq!(outcomes, [&json!("clean"), &json!("held")], "{args:?}");
    }
}
