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
pub fn lab(stages: &str) -> (Lab, String) {
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

pub fn configure(lab: &Lab, more: &str) {
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    lab.commit("ws", "stages", &[("carry.toml", Some(&format!("{config}\n{more}")))]);
}

/// A night; its build.
fn night(lab: &Lab) -> String {
    let night = &lab.json(0, &["nightly"])[0];
    night["manifest"]["deploy"]["build"].as_str().expect("a build").to_owned()
}

/// Upstream moves, and a night follows.
pub fn next(lab: &Lab, files: &[(&str, &str)]) -> String {
    let files: Vec<(&str, Option<&str>)> = files.iter().map(|(n, t)| (*n, Some(*t))).collect();
    lab.commit("up", "upstream moves", &files);
    night(lab)
}

pub const CELLS: &str = "[[project.p.stage]]\nname = \"test\"\nhold_on = \"never\"\n\
    [[project.p.stage]]\nname = \"cell-1\"\nafter = \"test\"\nhold_on = \"never\"\ngroup = \"region\"\n\
    [[project.p.stage]]\nname = \"cell-2\"\nafter = \"test\"\nhold_on = \"never\"\ngroup = \"region\"\n";

/// The gate of this name, if it is not met.
pub fn unmet(document: &Value, gate: &str) -> Option<String> {
    let gates = document["gates"].as_array().expect("gates");
    let gate = gates.iter().find(|g| g["gate"] == gate && g["met"] == false)?;
    Some(gate["why"].as_str().expect("a reason").to_owned())
}

/// The refs of stages and approvals at the remote.
pub fn refs(lab: &Lab) -> String {
    lab.git("deploy.git", &["for-each-ref", "refs/carry/stage", "refs/carry/approval"])
}

/// The newest record of a stage at the remote, changed and put there by git itself.
pub fn rewrite(lab: &Lab, stage: &str, change: impl Fn(&mut Value)) {
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
pub fn as_person(lab: &Lab, at: &str, name: &str, args: &[&str]) -> std::process::Output {
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
