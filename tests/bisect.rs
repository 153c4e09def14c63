//! The first patch or upstream commit with which a command fails, between two builds, by the built binary. The truth is
//! what the test put there; and git itself checks out the two deciding trees.

use crate::support::lab::{Lab, numbered};
use serde_json::{Value, json};

/// A workspace with a patch on `a` after its first build; the build.
fn lab() -> (Lab, String) {
    let a = numbered("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&a))])]);
    let build = night(&lab, 0);
    (lab, build)
}

fn night(lab: &Lab, code: i32) -> String {
    let night = &lab.json(code, &["nightly"])[0];
    night["manifest"]["deploy"]["build"].as_str().expect("a build").to_owned()
}

/// Nine upstream commits, each with a file of its own and what `also` gives for it; their ids.
fn upstream(lab: &Lab, also: impl Fn(usize) -> Option<(&'static str, &'static str)>) -> Vec<String> {
    let commit = |n: usize| {
        let number = n.to_string();
        let mut files = vec![("number", Some(number.as_str()))];
        files.extend(also(n).map(|(name, text)| (name, Some(text))));
        lab.commit("up", &format!("upstream {n}"), &files)
    };
    (1..=9).map(commit).collect()
}

/// A patch of this message that adds a file, at the end of the queue.
fn add(lab: &Lab, message: &str, file: &str, text: &str) {
    lab.git("up", &["checkout", "-q", "fork"]);
    let id = lab.commit("up", message, &[(file, Some(text))]);
    lab.git("up", &["checkout", "-q", "main"]);
    lab.carry_code(0, &["add", "--from", "../up", &id, "--last"]);
}

/// A command of the shell that is bad where `test` succeeds, and logs each run.
fn bad_where(lab: &Lab, test: &str) -> Vec<String> {
    let log = lab.path("runs");
    [
        "sh".into(),
        "-c".into(),
        format!("echo run >> '{}'; if {test}; then echo broken; exit 1; fi", log.display()),
    ]
    .to_vec()
}

fn runs(lab: &Lab) -> usize {
    std::fs::read_to_string(lab.path("runs")).map_or(0, |text| text.lines().count())
}

fn bisect(lab: &Lab, code: i32, ends: [&str; 2], command: &[String]) -> Value {
    let args: Vec<&str> =
        ["bisect", ends[0], ends[1], "--run"].into_iter().chain(command.iter().map(String::as_str)).collect();
    let before = runs(lab);
    let found = lab.json(code, &args);
    // No tree is tried twice, and git agrees on what was said of the two that decide.
    let probes = found["probes"].as_array().expect("probes");
    let mut trees: Vec<&str> = probes.iter().filter_map(|p| p["tree"].as_str()).collect();
    let remembered = probes.iter().filter(|p| p["remembered"] == true).count();
    assert_eq!(runs(lab) - before, trees.len() - remembered, "{found}");
    trees.sort_unstable();
    trees.dedup();
    assert_eq!(trees.len(), probes.len());
    for (deciding, good) in found["deciding"].as_array().into_iter().flatten().zip([true, false]) {
        let tree = deciding["tree"].as_str().expect("a tree");
        let place = lab.path("checked-out");
        std::fs::create_dir_all(&place).expect("a folder");
        let index = format!("--work-tree={}", place.display());
        lab.git("ws/.git/carry/p.git", &[&index, "read-tree", "--reset", "-u", tree]);
        let said = std::process::Command::new(&command[0])
            .args(&command[1..])
            .current_dir(&place)
            .output()
            .expect("it runs");
        assert_eq!(said.status.success(), good, "{deciding}");
        lab.git("ws/.git/carry/p.git", &[&index, "read-tree", "--empty"]);
        std::fs::remove_dir_all(&place).expect("gone");
    }
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    assert!(!lab.path("ws/.git/carry/work/p.bisect").exists());
    found
}

#[test]
fn a_bad_upstream_commit_is_found_across_replays() {
    let (lab, a) = lab();
    let commits = upstream(&lab, |n| (n == 6).then_some(("b", "bad\n")));
    let b = night(&lab, 0);
    let command = bad_where(&lab, "grep -q bad b");
    let found = bisect(&lab, 0, [&a, &b], &command);
    assert_eq!((&found["outcome"], &found["alone"]), (&json!("trunk"), &json!(true)));
    assert_eq!(found["commits"][0]["commit"], commits[5].as_str());
    assert_eq!(found["commits"][0]["author"], json!(["Test Author", "t@example.org"]));
    assert_eq!((&found["trunk_commits"], &found["fallen"]), (&json!(9), &json!([])));
    // Both ends, halving nine, and trunk alone on both sides: not every commit.
    assert!(runs(&lab) <= 2 + 1 + 4 + 2, "{}", runs(&lab));
    // What was tried is remembered; the words name who and what next.
    let before = runs(&lab);
    let args: Vec<&str> =
        ["bisect", &a, "latest", "--run"].into_iter().chain(command.iter().map(String::as_str)).collect();
    let text = lab.carry_code(0, &args);
    assert_eq!(runs(&lab), before);
    assert!(text.contains("upstream 6") && text.contains("Test Author <t@example.org>"), "{text}");
    assert!(text.contains("exit code 1: broken") && text.contains("0 runs of the command"), "{text}");
    assert!(text.contains(&format!("git carry rebase --onto {}^", &commits[5][..12])), "{text}");
}

#[test]
fn a_bad_patch_is_found_though_trunk_moved() {
    let (lab, a) = lab();
    upstream(&lab, |_| None);
    for (message, text) in [("two", "fine\n"), ("three", "bad\n"), ("four", "fine\n")] {
        add(&lab, message, message, text);
    }
    let b = night(&lab, 0);
    let found = bisect(&lab, 0, [&a, &b], &bad_where(&lab, "grep -q bad three 2>/dev/null"));
    assert_eq!((&found["outcome"], &found["alone"]), (&json!("queue"), &json!(true)));
    let changes = &found["changes"];
    assert_eq!((&changes[0]["what"], &changes[0]["name"]), (&json!("added"), &json!("three")));
    assert_eq!((changes.as_array().map(Vec::len), &found["queue_changes"]), (Some(1), &json!(3)));
}

#[test]
fn a_patch_that_was_changed_or_dropped_is_found() {
    let (lab, _) = lab();
    add(&lab, "two", "two", "one\n");
    add(&lab, "three", "three", "one\n");
    let a = night(&lab, 0);
    upstream(&lab, |_| None);
    let file = lab.path("ws/patches/p/two.patch");
    let text = std::fs::read_to_string(&file).expect("a patch").replace("+one", "+bad");
    lab.commit("ws", "change two", &[("patches/p/two.patch", Some(&text))]);
    lab.carry_code(0, &["drop", "three", "--reason", "not needed"]);
    let b = night(&lab, 0);
    let found = bisect(&lab, 0, [&a, &b], &bad_where(&lab, "grep -q bad two"));
    assert_eq!(
        (&found["changes"][0]["what"], &found["changes"][0]["name"]),
        (&json!("changed"), &json!("two"))
    );
    let found = bisect(&lab, 0, [&a, &b], &bad_where(&lab, "! test -e three"));
    assert_eq!(
        (&found["changes"][0]["what"], &found["changes"][0]["name"]),
        (&json!("dropped"), &json!("three"))
    );
}

#[test]
fn what_is_bad_only_together_is_told_as_both() {
    // The patch is new, and needs upstream's third commit to be bad.
    let (lab, a) = lab();
    let commits = upstream(&lab, |n| (n == 3).then_some(("theirs", "x\n")));
    add(&lab, "two", "two", "fine\n");
    add(&lab, "three", "ours", "x\n");
    let b = night(&lab, 0);
    let command = bad_where(&lab, "test -e ours && test -e theirs");
    let found = bisect(&lab, 0, [&a, &b], &command);
    assert_eq!((&found["outcome"], &found["alone"]), (&json!("queue"), &json!(false)));
    assert_eq!(found["changes"][0]["name"], "three");
    assert_eq!(found["commits"][0]["commit"], commits[2].as_str());

    // The patch was there before, and upstream's commit is new.
    let commits = upstream(&lab, |n| (n == 7).then_some(("more", "x\n")));
    let c = night(&lab, 0);
    let command = bad_where(&lab, "test -e ours && test -e more");
    let found = bisect(&lab, 0, [&b, &c], &command);
    assert_eq!((&found["outcome"], &found["alone"]), (&json!("trunk"), &json!(false)));
    assert_eq!(found["commits"][0]["commit"], commits[6].as_str());
    assert_eq!(found["patch"]["name"], "three");
}

#[test]
fn where_the_command_cannot_tell_the_answer_names_all_that_it_may_be() {
    let (lab, a) = lab();
    let commits = upstream(&lab, |n| match n {
        4 => Some(("untold", "yes\n")),
        5 => Some(("b", "bad\n")),
        6 => Some(("untold", "no\n")),
        _ => None,
    });
    let b = night(&lab, 0);
    let mut command = bad_where(&lab, "grep -q bad b");
    command[2] = format!(
        "if grep -q yes untold 2>/dev/null; then echo run >> '{}'; exit 125; fi; {}",
        lab.path("runs").display(),
        command[2]
    );
    let found = bisect(&lab, 0, [&a, &b], &command);
    let named: Vec<&str> =
        found["commits"].as_array().expect("commits").iter().filter_map(|c| c["commit"].as_str()).collect();
    assert_eq!(named, [&commits[3], &commits[4], &commits[5]]);
    let args: Vec<&str> =
        ["bisect", &a, &b, "--run"].into_iter().chain(command.iter().map(String::as_str)).collect();
    assert!(lab.carry_code(0, &args).contains("one of these (those between cannot be told)"));
}

#[test]
fn a_commit_that_came_by_a_merge_is_found_inside_it() {
    let (lab, a) = lab();
    upstream(&lab, |_| None);
    lab.git("up", &["checkout", "-q", "-b", "topic"]);
    let mut bad = String::new();
    for n in 1..=5 {
        let text = if n >= 3 { "bad\n" } else { "fine\n" };
        let id =
            lab.commit("up", &format!("topic {n}"), &[("side", Some(&format!("{n}\n"))), ("c", Some(text))]);
        if n == 3 {
            bad = id;
        }
    }
    lab.git("up", &["checkout", "-q", "main"]);
    lab.commit("up", "beside it", &[("beside", Some("x\n"))]);
    lab.git("up", &["merge", "-q", "--no-ff", "-m", "take the topic in", "topic"]);
    let merge = lab.git("up", &["rev-parse", "HEAD"]);
    upstream(&lab, |_| None);
    let b = night(&lab, 0);
    let found = bisect(&lab, 0, [&a, &b], &bad_where(&lab, "grep -q bad c"));
    assert_eq!(found["commits"][0]["commit"], bad.as_str());
    assert_eq!(found["commits"][0]["merge"], merge.as_str());
    assert_eq!(found["alone"], true);
}

#[test]
fn a_patch_that_falls_out_on_the_way_is_told() {
    let (lab, a) = lab();
    let theirs = numbered("a", &[(10, "theirs")]);
    let theirs: &'static str = theirs.leak();
    let commits = upstream(&lab, |n| (n == 4).then_some(("a", theirs)));
    let b = night(&lab, 3);
    let found = bisect(&lab, 0, [&a, &b], &bad_where(&lab, "! grep -q ours a"));
    assert_eq!(found["outcome"], "trunk");
    assert_eq!(found["commits"][0]["commit"], commits[3].as_str());
    assert_eq!((&found["fallen"], &found["mended"]), (&json!(["one"]), &json!(true)));
}

#[test]
fn a_command_that_does_not_say_the_same_twice_is_told() {
    let (lab, a) = lab();
    upstream(&lab, |n| (n == 6).then_some(("b", "bad\n")));
    let b = night(&lab, 0);
    let run = |test: &str| {
        let command = bad_where(&lab, test);
        let args: Vec<&str> = ["bisect", &a, &b, "--twice", "--run"]
            .into_iter()
            .chain(command.iter().map(String::as_str))
            .collect();
        lab.json(0, &args)
    };
    assert_eq!(run("grep -q bad b")["flaky"], false);
    // Bad on the second and every later run on a tree that is good.
    let seen = lab.path("seen").display().to_string();
    let once = format!(
        "grep -q bad b || grep -qx $CARRY_TREE '{seen}' || {{ echo $CARRY_TREE >> '{seen}'; false; }}"
    );
    assert_eq!(run(&once)["flaky"], true);
}

#[test]
fn ends_that_cannot_work_are_told() {
    let (lab, a) = lab();
    upstream(&lab, |n| (n == 6).then_some(("b", "bad\n")));
    let b = night(&lab, 0);
    let told = |ends: [&str; 2], test: &str| {
        let command = bad_where(&lab, test);
        let args: Vec<&str> = ["bisect", ends[0], ends[1], "--run"]
            .into_iter()
            .chain(command.iter().map(String::as_str))
            .collect();
        lab.carry_code(2, &args)
    };
    assert!(
        told([&a, &b], "true").contains(&format!("the older build {a} is bad already: exit code 1: broken"))
    );
    assert!(told([&a, &b], "false").contains(&format!("the newer build {b} is good")));
    assert!(told([&b, &a], "grep -q bad b").contains(&format!("git carry bisect {a} {b}")));
    assert!(told([&a, "ffff"], "true").contains("no build 'ffff'"));
    let text = lab.carry_code(2, &["bisect", &a, &b, "--run", "./no-such-program"]);
    assert!(text.contains("'./no-such-program' cannot be started"), "{text}");
    assert!(!lab.path("ws/.git/carry/work/p.bisect").exists());
    let text = lab.carry_code(2, &["bisect", &a, &b, "--run", "sh", "-c", "exit 125"]);
    assert!(text.contains("it cannot be told (exit code 125)"), "{text}");
    lab.carry_code(2, &["bisect", &a, &b]);
}

#[test]
fn a_configured_check_can_be_asked_and_gets_its_own_environment() {
    let (lab, a) = lab();
    let commits = upstream(&lab, |n| (n == 2).then_some(("b", "bad\n")));
    let b = night(&lab, 0);
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let check = "[[project.p.check]]\nname = \"unit\"\nenv = [\"WORD=bad\"]\nrun = [\"sh\", \"-c\", \"! grep -q $WORD b\"]\n";
    lab.commit("ws", "a check", &[("carry.toml", Some(&format!("{config}\n{check}")))]);
    let found = lab.json(0, &["bisect", &a, &b, "--check", "unit"]);
    assert_eq!(found["commits"][0]["commit"], commits[1].as_str());
    assert!(lab.carry_code(2, &["bisect", &a, &b, "--check", "unti"]).contains("there are: unit"));
}
