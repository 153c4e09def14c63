//! What runs where, and how far a build may go: promotions, gates, roll-backs and skew, by the built binary, on real
//! repositories; and two people at once.

use std::collections::BTreeSet;

use crate::support::lab::{Lab, numbered};
use serde_json::{Value, json};

const VERSIONS: &str = "nova/db/main/migrations/versions";

fn migration(revision: &str, after: &str, does: &str) -> (String, String) {
    let text = format!("revision = '{revision}'\ndown_revision = {after}\ndef upgrade():\n    {does}\n");
    (format!("{VERSIONS}/{revision}.py"), text)
}

/// A workspace that follows something like nova, with these stages, after its first build.
fn lab(stages: &str) -> (Lab, String) {
    let lab = Lab::new();
    let first = migration("a1", "None", "pass");
    lab.commit(
        "up",
        "base",
        &[
            ("nova/conf/__init__.py", Some("")),
            ("nova/compute/manager.py", Some(&manager("6.0"))),
            (&first.0, Some(&first.1)),
            ("a", Some(&numbered("a", &[]))),
        ],
    );
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.commit("up", "of our own\n\nCarry-Required: yes", &[("ours.py", Some("x = 1\n"))]);
    lab.git("up", &["checkout", "-q", "main"]);
    let init =
        ["init", "--project", "p", "--upstream", "../up", "--branch", "main", "--remote", "../deploy.git"];
    lab.carry_code(0, &init);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    configure(&lab, stages);
    let build = night(&lab);
    (lab, build)
}

fn manager(version: &str) -> String {
    format!("class ComputeManager:\n    target = messaging.Target(version='{version}')\n")
}

fn configure(lab: &Lab, more: &str) {
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    lab.commit("ws", "stages", &[("carry.toml", Some(&format!("{config}\n{more}")))]);
}

/// A night; its build.
fn night(lab: &Lab) -> String {
    let night = &lab.json(0, &["nightly"])[0];
    night["manifest"]["deploy"]["build"].as_str().expect("a build").to_owned()
}

/// Upstream moves, and a night follows.
fn next(lab: &Lab, files: &[(&str, &str)]) -> String {
    let files: Vec<(&str, Option<&str>)> = files.iter().map(|(n, t)| (*n, Some(*t))).collect();
    lab.commit("up", "upstream moves", &files);
    night(lab)
}

const CELLS: &str = "[[project.p.stage]]\nname = \"test\"\nhold_on = \"never\"\n\
    [[project.p.stage]]\nname = \"cell-1\"\nafter = \"test\"\nhold_on = \"never\"\ngroup = \"region\"\n\
    [[project.p.stage]]\nname = \"cell-2\"\nafter = \"test\"\nhold_on = \"never\"\ngroup = \"region\"\n";

/// The gate of this name, if it is not met.
fn unmet(document: &Value, gate: &str) -> Option<String> {
    let gates = document["gates"].as_array().expect("gates");
    let gate = gates.iter().find(|g| g["gate"] == gate && g["met"] == false)?;
    Some(gate["why"].as_str().expect("a reason").to_owned())
}

/// The refs of stages and approvals at the remote.
fn refs(lab: &Lab) -> String {
    lab.git("deploy.git", &["for-each-ref", "refs/carry/stage", "refs/carry/approval"])
}

/// The newest record of a stage at the remote, changed and put there by git itself.
fn rewrite(lab: &Lab, stage: &str, change: impl Fn(&mut Value)) {
    let name = format!("refs/carry/stage/p/{stage}");
    let text = lab.git("deploy.git", &["show", &format!("{name}:promotion.json")]);
    let mut record: Value = serde_json::from_str(&text).expect("a record");
    change(&mut record);
    let input = |args: &[&str], text: &str| {
        let out = crate::support::git_with_input(&lab.path("deploy.git"), args, text.as_bytes());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let blob = input(&["hash-object", "-w", "--stdin"], &record.to_string());
    let tree = input(&["mktree"], &format!("100644 blob {blob}\tpromotion.json\n"));
    let mut args = vec!["commit-tree".to_owned(), tree, "-m".into(), "rewritten".into()];
    if lab.git_works("deploy.git", &["rev-parse", "-q", "--verify", &format!("{name}^")]) {
        args.extend(["-p".into(), format!("{name}^")]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let commit = lab.git("deploy.git", &args);
    lab.git("deploy.git", &["update-ref", &name, &commit]);
}

/// As another person.
fn as_person(lab: &Lab, at: &str, name: &str, args: &[&str]) -> std::process::Output {
    let mut command = lab.carry_command(at, args);
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), name);
        command.env(format!("GIT_{role}_EMAIL"), format!("{}@example.org", name.to_lowercase()));
    }
    command.output().expect("the binary runs")
}

#[test]
fn a_build_goes_from_stage_to_stage_and_what_runs_where_is_told() {
    let (lab, a) = lab(CELLS);
    let text = lab.carry_code(4, &["stage", "promote", "latest", "cell-1"]);
    assert!(text.contains("it was never in 'test'"), "{text}");
    assert!(text.contains("nothing was changed") && text.contains("--override REASON"), "{text}");
    assert_eq!(refs(&lab), "");
    assert_eq!(lab.json(4, &["stage", "check", "latest", "cell-1"])["allowed"], false);

    let done = lab.json(0, &["stage", "promote", &a[..6], "test", "--reason", "the first"]);
    assert_eq!((&done["done"], &done["build"]), (&json!(true), &json!(a)));
    assert_eq!(lab.json(0, &["stage", "check", "test", "cell-1"])["allowed"], true);
    let before = refs(&lab);
    // Once more: nothing to do, and nothing done.
    let text = lab.carry_code(0, &["stage", "promote", &a, "test"]);
    assert!(text.contains("runs") && text.contains("already: nothing to do"), "{text}");
    let again = lab.json(0, &["stage", "promote", &a, "test"]);
    assert_eq!(
        (&again["already"], &again["done"], &again["allowed"]),
        (&json!(true), &json!(false), &json!(true))
    );
    // A trial changes nothing either.
    assert_eq!(lab.json(0, &["stage", "promote", "test", "cell-1", "--dry-run"])["done"], false);
    assert_eq!(refs(&lab), before);

    let b = next(&lab, &[("new", "x\n")]);
    next(&lab, &[("new", "y\n")]);
    let list = lab.json(0, &["stage", "list"]);
    let test = &list["stages"][0];
    assert_eq!(test["runs"]["build"], a.as_str());
    assert_eq!((&test["runs"]["behind_trunk"], &test["runs"]["behind_builds"]), (&json!(2), &json!(2)));
    assert_eq!(test["runs"]["by"][0], "Test Author");
    assert_eq!(test["next"]["allowed"], true);
    assert_eq!(list["stages"][1]["runs"], Value::Null);
    assert_eq!(list["stages"][1]["next"]["build"], a.as_str());

    // What git itself finds at the remote.
    let name = "refs/carry/stage/p/test";
    let record: Value =
        serde_json::from_str(&lab.git("deploy.git", &["show", &format!("{name}:promotion.json")]))
            .expect("JSON");
    assert_eq!((&record["stage"], &record["reason"]), (&json!("test"), &json!("the first")));
    assert_eq!(
        lab.git("deploy.git", &["log", "-1", "--format=%an <%ae>", name]),
        "Test Author <t@example.org>"
    );

    // An older build is a roll-back, and says so.
    lab.json(0, &["stage", "promote", &b, "test"]);
    let text = lab.carry_code(4, &["stage", "promote", &a, "test"]);
    assert!(
        text.contains("that is a roll-back") && text.contains("git carry stage rollback test --to"),
        "{text}"
    );
    let log = lab.json(0, &["stage", "log", "test"]);
    let builds: Vec<&str> =
        log["records"].as_array().expect("records").iter().filter_map(|r| r["build"].as_str()).collect();
    assert_eq!(builds, [b.as_str(), a.as_str()]);
}

#[test]
fn names_that_are_wrong_are_told_with_what_would_be_right() {
    let (lab, a) = lab(CELLS);
    for (args, told) in [
        (["stage", "promote", "latest", "tset"], "did you mean 'test'?"),
        (["stage", "promote", "latset", "test"], "did you mean 'latest'?"),
        (["stage", "promote", "ffffff", "test"], "no build 'ffffff' of 'p' is here"),
        (["stage", "promote", "cell-1", "test"], "the stage 'cell-1' runs nothing yet"),
        (["stage", "promote", "", "test"], "no build '' of 'p' is here"),
        (["stage", "approve", "x; rm -rf", "test"], "no build"),
    ] {
        let text = lab.carry_code(2, &args);
        assert!(text.contains(told), "{args:?}: {text}");
    }
    let text = lab.carry_code(2, &["stage", "rollback", "test"]);
    assert!(text.contains("runs nothing yet"), "{text}");
    lab.carry_code(2, &["stage", "promote", &a, "test", "--override", " "]);
    lab.carry_code(2, &["stage", "promote", &a, "test", "--override", "x", "--gate", "nothing"]);
    assert_eq!(refs(&lab), "");
}

#[test]
fn what_a_build_lacks_holds_it_and_an_override_is_recorded_and_shown_ever_after() {
    let checks = "[[project.p.check]]\nname = \"unit\"\nrequired = false\nrun = [\"grep\", \"-q\", \"good\", \"verdict\"]\n\
        [[project.p.stage]]\nname = \"test\"\nrequires = [\"unit\", \"signed\"]\n";
    let (lab, a) = lab(checks);
    let told = lab.json(4, &["stage", "check", "latest", "test"]);
    assert!(unmet(&told, "check").expect("not met").contains("exit code 2"), "{told}");
    assert_eq!(unmet(&told, "signed").as_deref(), Some("the build is not signed"));
    assert_eq!(unmet(&told, "required"), None);

    // One gate is not all gates.
    lab.json(4, &["stage", "promote", "latest", "test", "--override", "no key yet", "--gate", "signed"]);
    assert_eq!(refs(&lab), "");
    lab.carry_code(
        0,
        &["stage", "promote", "latest", "test", "--override", "no key yet, and the check is wrong"],
    );
    let log = lab.carry_code(0, &["stage", "log", "test"]);
    assert!(log.contains("override: no key yet, and the check is wrong"), "{log}");
    assert!(
        log.contains("check unit: exit code 2") && log.contains("signed: the build is not signed"),
        "{log}"
    );
    let list = lab.carry_code(0, &["stage", "list"]);
    assert!(list.contains("test runs it by an override: no key yet, and the check is wrong"), "{list}");

    // A build that passes the check, and has a required patch held.
    let series = std::fs::read_to_string(lab.path("ws/patches/p/series")).expect("a series");
    lab.commit("ws", "hold", &[("patches/p/series", Some(&format!("#hold {series}")))]);
    let b = next(&lab, &[("verdict", "good\n")]);
    assert_ne!(a, b);
    let told = lab.json(4, &["stage", "check", "latest", "test"]);
    assert_eq!(unmet(&told, "check"), None);
    assert!(unmet(&told, "required").expect("not met").contains("of-our-own (held)"), "{told}");
}

#[test]
fn a_check_that_came_later_counts_once_it_was_run() {
    let (lab, _) = lab("");
    configure(
        &lab,
        "[[project.p.check]]\nname = \"unit\"\nrun = [\"true\"]\n[[project.p.stage]]\nname = \"test\"\nrequires = [\"unit\"]\n",
    );
    let text = lab.carry_code(4, &["stage", "check", "latest", "test"]);
    assert!(
        text.contains("it was not run on this build") && text.contains("hint: git carry check"),
        "{text}"
    );
    lab.carry_code(0, &["check"]);
    lab.carry_code(0, &["stage", "check", "latest", "test"]);
}

#[test]
fn a_build_has_to_run_in_the_stage_before_for_long_enough() {
    let stages = "[[project.p.stage]]\nname = \"test\"\n\
        [[project.p.stage]]\nname = \"prod\"\nafter = \"test\"\nsoak = \"2h\"\n";
    let (lab, _) = lab(stages);
    lab.carry_code(0, &["stage", "promote", "latest", "test"]);
    let told = lab.json(4, &["stage", "check", "test", "prod"]);
    assert!(unmet(&told, "soak").expect("not met").contains("of 2 h: "), "{told}");
    // A date in the environment makes it no older.
    let mut old = lab.carry_command("ws", &["stage", "promote", "latest", "test"]);
    assert!(
        old.env("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z").output().expect("it runs").status.success()
    );
    lab.json(4, &["stage", "check", "test", "prod"]);
    let ago = |seconds: i64| {
        let when = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        move |record: &mut Value| record["when"] = when.to_string().into()
    };
    rewrite(&lab, "test", ago(2 * 3600 - 60));
    lab.json(4, &["stage", "check", "test", "prod"]);
    rewrite(&lab, "test", ago(2 * 3600 + 60));
    lab.carry_code(0, &["stage", "promote", "test", "prod"]);
    // Taken back from there, it goes no further.
    let b = next(&lab, &[("new", "x\n")]);
    lab.carry_code(0, &["stage", "promote", &b, "test"]);
    rewrite(&lab, "test", ago(3 * 3600));
    lab.json(0, &["stage", "check", &b, "prod"]);
    lab.carry_code(0, &["stage", "rollback", "test", "--reason", "it leaks"]);
    let told = lab.json(4, &["stage", "check", &b, "prod"]);
    let why = unmet(&told, "order").expect("not met");
    assert!(why.contains("rolled back from it") && why.ends_with("by Test Author: it leaks"), "{why}");
}

#[test]
fn a_move_that_asks_too_much_is_held() {
    let (lab, a) = lab(
        "[[project.p.stage]]\nname = \"test\"\n[[project.p.stage]]\nname = \"strict\"\nhold_on = \"warn\"\n",
    );
    for stage in ["test", "strict"] {
        lab.carry_code(0, &["stage", "promote", &a, stage]);
    }
    next(&lab, &[("nova/compute/manager.py", &manager("6.1"))]);
    lab.carry_code(0, &["stage", "promote", "latest", "test", "--dry-run"]);
    let text = lab.carry_code(4, &["stage", "promote", "latest", "strict"]);
    assert!(text.contains("the move asks") && text.contains("rpc.version"), "{text}");
    assert!(text.contains(&format!("git carry risk {a}")), "{text}");
    let drops = migration("b2", "'a1'", "op.drop_column('t', 'c')");
    next(&lab, &[(&drops.0, &drops.1)]);
    let told = lab.json(4, &["stage", "promote", "latest", "test"]);
    assert!(unmet(&told, "risk").expect("held").contains("b2: drop column t.c"), "{told}");
    assert_eq!(told["risk"]["level"], "stop");
    lab.carry_code(
        0,
        &["stage", "promote", "latest", "test", "--override", "the column is empty", "--gate", "risk"],
    );
    assert_eq!(lab.json(0, &["stage", "log", "test"])["records"][0]["risk"], "stop");
}

#[test]
fn as_many_people_as_the_stage_asks_for_have_to_approve() {
    let (lab, a) = lab("[[project.p.stage]]\nname = \"prod\"\napprovals = 2\n");
    let text = lab.carry_code(4, &["stage", "promote", "latest", "prod"]);
    assert!(text.contains("0 of 2") && text.contains(&format!("git carry stage approve {a} prod")), "{text}");
    let approve = ["stage", "approve", "latest", "prod", "--reason", "looked at it"];
    for _ in 0..2 {
        // The same person counts once.
        assert!(as_person(&lab, "ws", "Ada", &approve).status.success());
    }
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert_eq!(unmet(&told, "approvals").as_deref(), Some("1 of 2: Ada"));
    let out = as_person(&lab, "ws", "Ada", &["--json", "stage", "approve", "latest", "prod"]);
    let said: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&said["already"], &said["counts"]), (&json!(true), &json!(true)));
    assert!(as_person(&lab, "ws", "Bob", &approve).status.success());
    lab.json(0, &["stage", "promote", "latest", "prod"]);
    // One word under two names is one word.
    let approvals = lab.git("deploy.git", &["for-each-ref", "--format=%(refname)", "refs/carry/approval"]);
    let [first, second] = approvals.lines().collect::<Vec<_>>()[..] else { panic!("two: {approvals}") };
    let folder = first.rsplit_once('/').expect("a path").0;
    lab.git("deploy.git", &["update-ref", &format!("{folder}/ffffffffffff"), first]);
    lab.git("deploy.git", &["update-ref", second, first]);
    lab.git("ws/.git/carry/p.git", &["update-ref", "-d", second]);
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert!(unmet(&told, "approvals").expect("one person").starts_with("1 of 2"), "{told}");
    lab.git("deploy.git", &["update-ref", "-d", second]);
    lab.git("ws/.git/carry/p.git", &["update-ref", "-d", second]);
    for name in ["Ada", "Bob"] {
        assert!(as_person(&lab, "ws", name, &approve).status.success());
    }
    // They approved that build, and no other.
    next(&lab, &[("new", "x\n")]);
    assert_eq!(
        unmet(&lab.json(4, &["stage", "check", "latest", "prod"]), "approvals").as_deref(),
        Some("0 of 2")
    );
}

#[test]
fn a_record_is_signed_and_an_approval_that_is_not_does_not_count() {
    let (lab, _) = lab("");
    let keygen = |name: &str| {
        let out = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(lab.path(name))
            .output()
            .expect("ssh-keygen runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::read_to_string(lab.path(&format!("{name}.pub"))).expect("a key")
    };
    let (ada, _mallory) = (keygen("ada"), keygen("mallory"));
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let signing = format!(
        "{config}\n[signing]\nallowed_signers = \"allowed\"\n[[project.p.stage]]\nname = \"prod\"\napprovals = 1\n"
    );
    let allowed = format!("ada@example.org namespaces=\"git\" {ada}");
    lab.commit("ws", "signers", &[("carry.toml", Some(&signing)), ("allowed", Some(&allowed))]);

    let approve = |key: Option<&str>| {
        let mut command = lab.carry_command("ws", &["--json", "stage", "approve", "latest", "prod"]);
        if let Some(key) = key {
            command.env("GIT_CARRY_SIGNING_KEY", lab.path(key));
        }
        let out = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&out.stderr);
        serde_json::from_slice::<Value>(&out.stdout).unwrap_or_else(|e| panic!("{e}: {text}"))
    };
    for key in [None, Some("mallory")] {
        assert_eq!(approve(key)["counts"], false);
        let told = lab.json(4, &["stage", "check", "latest", "prod"]);
        assert!(unmet(&told, "approvals").expect("not met").contains("not counted: Test Author"), "{told}");
    }
    assert_eq!(approve(Some("ada"))["counts"], true);
    let mut promote = lab.carry_command("ws", &["stage", "promote", "latest", "prod"]);
    let out = promote.env("GIT_CARRY_SIGNING_KEY", lab.path("ada")).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));

    let signers = format!("gpg.ssh.allowedSignersFile={}", lab.path("ws/allowed").display());
    let verify = ["-c", "gpg.format=ssh", "-c", &signers, "verify-commit", "refs/carry/stage/p/prod"];
    lab.git("deploy.git", &verify);
    let log = lab.carry_code(0, &["stage", "log", "prod"]);
    assert!(log.contains("signed by ada@example.org"), "{log}");
    // What somebody else puts there by hand is not taken for signed.
    rewrite(&lab, "prod", |record| record["reason"] = "forged".into());
    assert!(!lab.git_works("deploy.git", &verify));
    let list = lab.carry_code(0, &["stage", "list"]);
    assert!(list.contains("not signed by one who may"), "{list}");
    // A key that is not there is told, and changes nothing.
    next(&lab, &[("new", "x\n")]);
    let before = refs(&lab);
    let mut promote = lab.carry_command("ws", &["stage", "promote", "latest", "prod", "--override", "now"]);
    let out = promote.env("GIT_CARRY_SIGNING_KEY", lab.path("no-key")).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && text.contains("no-key' cannot be read"), "{text}");
    assert_eq!(refs(&lab), before);
}

#[test]
fn a_stage_that_asks_for_a_signature_takes_no_build_without_one_by_one_who_may() {
    let (lab, _) =
        lab("[[project.p.stage]]\nname = \"prod\"\nrequires = [\"signed\"]\nhold_on = \"never\"\n");
    let key = lab.path("key");
    let out = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "night", "-f"])
        .arg(&key)
        .output()
        .expect("ssh-keygen runs");
    assert!(out.status.success());
    let public = std::fs::read_to_string(lab.path("key.pub")).expect("a key");
    configure(&lab, &format!("[signing]\nkey = \"{}\"\nallowed_signers = \"allowed\"\n", key.display()));
    let signers = |line: &str| lab.commit("ws", "signers", &[("allowed", Some(line))]);
    signers(&format!("somebody@example.org namespaces=\"git\" {public}"));
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert_eq!(unmet(&told, "signed").as_deref(), Some("the build is not signed"));
    let build = next(&lab, &[("new", "x\n")]);
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert!(unmet(&told, "signed").expect("not for this").contains("who may not sign this"), "{told}");
    signers(&format!("night@example.org {public}"));
    let told = lab.json(0, &["stage", "check", "latest", "prod"]);
    let gate =
        told["gates"].as_array().expect("gates").iter().find(|g| g["gate"] == "signed").expect("asked");
    assert_eq!(gate["why"], "signed by night@example.org");

    // Another manifest under the same name is not what was signed.
    let name = format!("refs/carry/manifest/p/{build}");
    let text = lab.git("deploy.git", &["cat-file", "blob", &name]).replacen("\"clean\"", "\"landed\"", 1);
    let out = crate::support::git_with_input(
        &lab.path("deploy.git"),
        &["hash-object", "-w", "--stdin"],
        text.as_bytes(),
    );
    lab.git("deploy.git", &["update-ref", &name, String::from_utf8_lossy(&out.stdout).trim()]);
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert!(unmet(&told, "signed").expect("altered").starts_with("it is not what SHA256:"), "{told}");
}

#[test]
fn a_contract_migration_waits_until_the_last_cell_moved_and_bars_the_way_back_from_then_on() {
    let (lab, a) = lab(CELLS);
    for stage in ["test", "cell-1", "cell-2"] {
        lab.carry_code(0, &["stage", "promote", &a, stage]);
    }
    let drops = migration("b2", "'a1'", "op.drop_column('t', 'c')");
    let b = next(&lab, &[(&drops.0, &drops.1), ("nova/compute/manager.py", &manager("6.1"))]);
    lab.carry_code(0, &["stage", "promote", &b, "test"]);

    let done = lab.json(0, &["stage", "promote", &b, "cell-1"]);
    assert_eq!(done["waits"], json!([{ "db": "main", "revision": "b2", "on": ["cell-2"] }]));
    assert_eq!(done["frees"], json!([]));
    let skew = &lab.json(0, &["stage", "list"])["skew"][0];
    assert_eq!(skew["group"], "region");
    assert_eq!(
        skew["live"],
        json!([{ "build": a, "stages": ["cell-2"] }, { "build": b, "stages": ["cell-1"] }])
    );
    assert_eq!(skew["waits"], done["waits"]);
    assert_eq!(skew["pins"][0]["value"], "6.0");
    let steps: Vec<&str> =
        skew["steps"].as_array().expect("steps").iter().filter_map(|s| s["do"].as_str()).collect();
    assert_eq!(steps, ["pin", "promote", "unpin", "contract"]);
    let list = lab.carry_code(0, &["stage", "list"]);
    assert!(list.contains(&format!("$ git carry stage promote {b} cell-2")), "{list}");
    assert!(list.contains("b2 (main) for cell-2"), "{list}");

    // While it waits, the first cell may go back and come again.
    lab.carry_code(0, &["stage", "rollback", "cell-1", "--reason", "too slow"]);
    assert_eq!(lab.json(0, &["stage", "list"])["skew"], json!([]));
    lab.carry_code(0, &["stage", "promote", &b, "cell-1"]);

    let done = lab.json(0, &["stage", "promote", &b, "cell-2"]);
    assert_eq!(done["waits"], json!([]));
    assert_eq!(done["frees"], json!([{ "db": "main", "revision": "b2" }]));
    let list = lab.json(0, &["stage", "list"]);
    assert_eq!(list["skew"], json!([]));
    let free: BTreeSet<&str> =
        list["free"].as_array().expect("places").iter().filter_map(|f| f["place"].as_str()).collect();
    assert!(free.contains("region"), "{list}");

    // From here on neither cell goes back without a person's word.
    for cell in ["cell-1", "cell-2"] {
        let text = lab.carry_code(4, &["stage", "rollback", cell]);
        assert!(
            text.contains("the older code cannot live with what may have run since: b2 (main)"),
            "{text}"
        );
        assert!(
            text.contains(&format!("git carry stage rollback {cell} --to {a} --override REASON")),
            "{text}"
        );
    }
    let back = lab.json(0, &["stage", "rollback", "cell-2", "--override", "b2 did not run"]);
    assert_eq!((&back["done"], &back["build"]), (&json!(true), &json!(a)));
    let record = &lab.json(0, &["stage", "log", "cell-2"])["records"][0];
    assert_eq!((&record["action"], &record["override"]), (&json!("rollback"), &json!("b2 did not run")));
    // What may have run once may have run, whatever moved since.
    lab.json(4, &["stage", "rollback", "cell-1"]);
}

#[test]
fn a_build_that_cannot_run_beside_what_other_cells_run_is_held() {
    let (lab, a) = lab(CELLS);
    for stage in ["test", "cell-1", "cell-2"] {
        lab.carry_code(0, &["stage", "promote", &a, stage]);
    }
    next(&lab, &[("nova/compute/manager.py", &manager("7.0"))]);
    lab.carry_code(0, &["stage", "promote", "latest", "test"]);
    let told = lab.json(4, &["stage", "promote", "latest", "cell-1"]);
    let why = unmet(&told, "skew").expect("held");
    assert!(
        why.contains("beside 'cell-2'") && why.contains("6.0 and 7.0 do not talk to each other"),
        "{why}"
    );
}

#[test]
fn of_two_people_who_promote_at_once_one_wins_and_the_other_is_told() {
    let (lab, a) = lab(CELLS);
    let b = next(&lab, &[("new", "x\n")]);
    lab.git(".", &["clone", "-q", "ws", "ws2"]);
    // Both pushes wait for each other at the remote, before either is taken.
    let hook = lab.path("deploy.git/hooks/pre-receive");
    let here = lab.path("arrived");
    std::fs::create_dir(&here).expect("a folder");
    let text = format!(
        "#!/bin/sh\ntouch '{0}'/$$\nn=0\nwhile [ $(ls '{0}' | wc -l) -lt 2 ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done\n",
        here.display()
    );
    std::fs::write(&hook, text).expect("a hook");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    }
    let people = [("ws", "Ada", &a), ("ws2", "Bob", &b)];
    let outs: Vec<_> = std::thread::scope(|threads| {
        let run = |(at, name, build): (&'static str, &'static str, &String)| {
            let (lab, build) = (&lab, build.clone());
            threads.spawn(move || as_person(lab, at, name, &["stage", "promote", &build, "test"]))
        };
        people.map(run).into_iter().map(|t| t.join().expect("it ends")).collect()
    });
    std::fs::remove_file(&hook).expect("it was there");
    let codes: Vec<_> = outs.iter().map(|o| o.status.code()).collect();
    let text = |n: usize| String::from_utf8_lossy(&outs[n].stderr).into_owned();
    let winner = match codes[..] {
        [Some(0), Some(4)] => 0,
        [Some(4), Some(0)] => 1,
        _ => panic!("{codes:?}: {} {}", text(0), text(1)),
    };
    let loser = text(1 - winner);
    let (_, name, build) = people[winner];
    assert!(
        loser.contains(&format!(
            "'test' was moved by {name} <{}@example.org> just now: it runs {build}",
            name.to_lowercase()
        )),
        "{loser}"
    );
    assert!(loser.contains("nothing of yours was kept"), "{loser}");
    // One record, the same everywhere.
    let there = lab.git("deploy.git", &["log", "--format=%an", "refs/carry/stage/p/test"]);
    assert_eq!(there, name);
    let id = lab.git("deploy.git", &["rev-parse", "refs/carry/stage/p/test"]);
    for store in ["ws/.git/carry/p.git", "ws2/.git/carry/p.git"] {
        assert_eq!(lab.git(store, &["rev-parse", "refs/carry/stage/p/test"]), id);
    }
}

#[test]
#[cfg(unix)]
fn who_is_overtaken_just_before_the_push_is_told_and_moves_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let (lab, a) = lab(CELLS);
    let b = next(&lab, &[("new", "x\n")]);
    lab.git(".", &["clone", "-q", "ws", "ws2"]);
    assert!(as_person(&lab, "ws2", "Bob", &["stage", "promote", &a, "test"]).status.success());
    // Bob's record is there once more when Ada's push begins, and not before.
    let name = "refs/carry/stage/p/test";
    let his = lab.git("deploy.git", &["rev-parse", name]);
    lab.git("deploy.git", &["update-ref", "-d", name]);
    let folder = lab.path("bin");
    std::fs::create_dir(&folder).expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let shim = format!(
        "#!/bin/sh\nPATH='{path}'\nfor arg; do [ \"$arg\" = push ] && git --git-dir='{}' update-ref {name} {his}; done\nexec git \"$@\"\n",
        lab.path("deploy.git").display()
    );
    std::fs::write(folder.join("git"), shim).expect("a program");
    std::fs::set_permissions(folder.join("git"), std::fs::Permissions::from_mode(0o755)).expect("it may run");
    let mut ada = lab.carry_command("ws", &["stage", "promote", &b, "test"]);
    let out = ada.env("PATH", format!("{}:{path}", folder.display())).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(4), "{text}");
    assert!(
        text.contains(&format!("'test' was moved by Bob <bob@example.org> just now: it runs {a}")),
        "{text}"
    );
    assert_eq!(lab.git("deploy.git", &["rev-parse", name]), his);
    assert_eq!(lab.git("ws/.git/carry/p.git", &["rev-parse", name]), his);
}

#[test]
#[cfg(unix)]
fn a_promotion_whose_answer_is_lost_is_known_for_one_s_own() {
    use std::os::unix::fs::PermissionsExt;
    let (lab, a) = lab(CELLS);
    let folder = lab.path("bin");
    std::fs::create_dir(&folder).expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    // The push arrives, and its answer does not.
    let shim = format!(
        "#!/bin/sh\nPATH='{path}'\nfor arg; do if [ \"$arg\" = push ]; then git \"$@\" >/dev/null 2>&1; echo 'fatal: hung up' >&2; exit 128; fi; done\nexec git \"$@\"\n"
    );
    std::fs::write(folder.join("git"), shim).expect("a program");
    std::fs::set_permissions(folder.join("git"), std::fs::Permissions::from_mode(0o755)).expect("it may run");
    let mut ada = lab.carry_command("ws", &["stage", "promote", &a, "test"]);
    let out = ada.env("PATH", format!("{}:{path}", folder.display())).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let name = "refs/carry/stage/p/test";
    assert_eq!(lab.git("deploy.git", &["rev-list", "--count", name]), "1");
    assert_eq!(
        lab.git("deploy.git", &["rev-parse", name]),
        lab.git("ws/.git/carry/p.git", &["rev-parse", name])
    );
}

#[test]
fn a_build_that_nobody_can_fetch_is_not_promoted() {
    let (lab, _) = lab(CELLS);
    lab.commit("up", "upstream moves", &[("new", Some("x\n"))]);
    let up = lab.path("up").display().to_string();
    lab.git("ws/.git/carry/p.git", &["fetch", "-q", &up, "+main:refs/carry/trunk"]);
    let made = lab.json(0, &["rebase", "--onto", "main"]);
    let id = made["manifest"]["deploy"]["build"].as_str().unwrap_or_else(|| panic!("{made}"));
    let text = lab.carry_code(4, &["stage", "promote", id, "test"]);
    assert!(text.contains(&format!("the build {id} is not at")), "{text}");
    assert_eq!(refs(&lab), "");
}

#[test]
fn what_others_promoted_is_seen_and_a_remote_that_does_not_answer_is_told() {
    let (lab, a) = lab(CELLS);
    lab.git(".", &["clone", "-q", "ws", "ws2"]);
    assert!(as_person(&lab, "ws2", "Bob", &["stage", "promote", "latest", "test"]).status.success());
    let list = lab.json(0, &["stage", "list"]);
    assert_eq!(
        (&list["stages"][0]["runs"]["build"], &list["stages"][0]["runs"]["by"][0]),
        (&json!(a), &json!("Bob"))
    );
    std::fs::rename(lab.path("deploy.git"), lab.path("away.git")).expect("moved");
    let text = lab.carry_code(0, &["stage", "list"]);
    assert!(text.contains("could not be asked") && text.contains(&a), "{text}");
    for action in [&["stage", "promote", "latest", "cell-1"][..], &["stage", "check", "latest", "cell-1"]] {
        let text = lab.carry_code(1, action);
        assert!(text.contains("cannot be asked what stages run"), "{text}");
    }
    let text = lab.carry_code(2, &["stage", "--offline", "promote", "test", "cell-1"]);
    assert!(text.contains("this run is offline"), "{text}");
}

#[test]
fn without_a_remote_stages_are_kept_in_the_store_and_go_along_once_there_is_one() {
    let (lab, _) = lab(CELLS);
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let without = config.replace("remote = \"../deploy.git\"", "");
    assert_ne!(config, without);
    lab.commit("ws", "no remote", &[("carry.toml", Some(&without))]);
    lab.carry_code(0, &["stage", "promote", "latest", "test", "--reason", "at home"]);
    assert_eq!(refs(&lab), "");
    lab.commit("ws", "a remote", &[("carry.toml", Some(&config))]);
    let b = next(&lab, &[("new", "x\n")]);
    lab.carry_code(0, &["stage", "promote", &b, "test"]);
    assert_eq!(lab.git("deploy.git", &["rev-list", "--count", "refs/carry/stage/p/test"]), "2");
}

#[test]
fn a_promotion_that_is_killed_is_whole_or_nothing_and_the_next_one_succeeds() {
    let (lab, a) = lab(CELLS);
    let b = next(&lab, &[("new", "x\n")]);
    lab.serve_deploy();
    lab.carry_code(0, &["stage", "promote", &a, "test"]);
    let start = std::time::Instant::now();
    lab.carry_code(0, &["stage", "promote", &b, "test"]);
    let whole = start.elapsed();
    let count = || lab.git("deploy.git", &["rev-list", "--count", "refs/carry/stage/p/test"]);
    for round in 1..=10_u32 {
        let (back, old) = (["stage", "rollback", "test", "--to"], count());
        let to = if round % 2 == 1 { &a } else { &b };
        let args: Vec<&str> = back.iter().copied().chain([to.as_str()]).collect();
        let wait = || std::thread::sleep(whole * round / 10);
        lab.killed(&[&["--quiet"], &args[..]].concat(), wait, round % 2 == 0);
        let seen: u32 = count().parse().expect("a number");
        let old: u32 = old.parse().expect("a number");
        assert!(seen == old || seen == old + 1, "round {round}: {old} became {seen}");
        lab.carry_code(0, &args);
        assert_eq!(count(), (old + 1).to_string(), "round {round}: done once");
    }
    // And for certain in the middle of the push, which the server then does not take.
    let (hook, seen) = (lab.path("deploy.git/hooks/pre-receive"), lab.path("seen"));
    let holds = format!("#!/bin/sh\ntouch '{}'\nsleep 1\nexit 1\n", seen.display());
    std::fs::write(&hook, holds).expect("a hook");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).expect("it may run");
    let (old, args) = (count(), ["--quiet", "stage", "rollback", "test", "--to", &a]);
    let in_the_push = || {
        while !seen.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    assert!(!lab.killed(&args, in_the_push, true), "it was at work");
    std::fs::remove_file(&hook).expect("it was there");
    assert_eq!(count(), old, "nothing arrived");
    lab.carry_code(0, &args);
    assert_eq!(count(), (old.parse::<u32>().expect("a number") + 1).to_string(), "done once");
    for repository in ["deploy.git", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
}

#[test]
fn a_damaged_record_is_told_and_nothing_is_guessed() {
    let (lab, _) = lab(CELLS);
    lab.carry_code(0, &["stage", "promote", "latest", "test"]);
    rewrite(&lab, "test", |record| *record = json!({ "build": "\u{1b}[31mx" }));
    let text = lab.carry_code(1, &["stage", "list"]);
    assert!(text.contains("cannot be read") && text.contains("refs/carry/stage/p/test"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_record_of_another_stage_says_nothing() {
    let (lab, _) = lab(CELLS);
    lab.carry_code(0, &["stage", "promote", "latest", "test"]);
    lab.git("deploy.git", &["update-ref", "refs/carry/stage/p/cell-1", "refs/carry/stage/p/test"]);
    let text = lab.carry_code(1, &["stage", "list"]);
    assert!(text.contains("of 'refs/carry/stage/p/cell-1' cannot be read: it is of 'test'"), "{text}");
}
