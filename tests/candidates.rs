//! Which patches to send first: held against git, and against what the builds say.

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

fn candidate<'a>(all: &'a Value, name: &str) -> &'a Value {
    let found = all["candidates"]["candidates"].as_array().expect("candidates");
    found.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {all}"))
}

fn order(all: &Value) -> Vec<&str> {
    let all = all["candidates"]["candidates"].as_array().expect("candidates");
    all.iter().map(|c| c["name"].as_str().expect("a name")).collect()
}

fn part<'a>(candidate: &'a Value, key: &str) -> &'a Value {
    let parts = candidate["parts"].as_array().expect("parts");
    parts.iter().find(|p| p["key"] == key).expect("every weight has its part")
}

#[test]
fn a_patch_is_ready_when_git_applies_its_closure_to_the_bare_trunk() {
    let (low, high) = (numbered("a", &[(5, "low")]), numbered("a", &[(5, "high")]));
    let lab = Lab::with_fork(&[
        ("low", &[("a", Some(&low))]),
        ("high\n\nSigned-off-by: A <a@example.org>", &[("a", Some(&high)), ("tests/a", Some("a\n"))]),
        ("apart", &[("b", Some(&numbered("b", &[(5, "apart")])))]),
        ("ours-alone\n\nForwarded: not-needed", &[("c", Some(&numbered("c", &[(5, "ours")])))]),
        ("breaks", &[("c", Some(&numbered("c", &[(5, "ours"), (20, "ours")])))]),
    ]);
    lab.carry_code(0, &["nightly"]);
    let all = lab.json(0, &["candidates"]);
    assert_eq!(candidate(&all, "high")["closure"], serde_json::json!(["low"]));
    assert_eq!(candidate(&all, "low")["dependents"], serde_json::json!(["high"]));
    assert_eq!(candidate(&all, "high")["tests"], serde_json::json!(["tests/a"]));
    assert_eq!(candidate(&all, "high")["signed_off"], true);
    let obstacle = &candidate(&all, "ours-alone")["obstacles"][0];
    assert_eq!(
        (&obstacle["obstacle"], &obstacle["says"]),
        (&"never".into(), &"Forwarded: not-needed".into())
    );
    for (name, commits) in [("high", "fork~5..fork~3"), ("apart", "fork~3..fork~2")] {
        assert_eq!(candidate(&all, name)["ready"], true, "{all}");
        lab.git("up", &["checkout", "-q", "--detach", "main"]);
        lab.git("up", &["cherry-pick", commits]);
    }

    // Trunk is ahead of what the queue was replayed on: what does not apply there is not ready.
    let path = lab.path("ws/carry.toml");
    let config = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, config.replace("#advance = \"tip\"", "advance = \"furthest-clean\""))
        .expect("written");
    lab.git("ws", &["commit", "-qam", "no further than clean"]);
    lab.git("up", &["checkout", "-q", "main"]);
    lab.commit("up", "theirs", &[("b", Some(&numbered("b", &[(5, "theirs")])))]);
    lab.carry_code(0, &["nightly"]);
    let all = lab.json(0, &["candidates"]);
    let obstacle = &candidate(&all, "apart")["obstacles"][0];
    assert_eq!((&obstacle["obstacle"], &obstacle["paths"][0]), (&"conflicts".into(), &"b".into()));
    lab.git("up", &["checkout", "-q", "--detach", "main"]);
    assert!(!lab.git_works("up", &["cherry-pick", "fork~2"]), "git agrees");
}

#[test]
fn what_a_patch_has_cost_comes_from_the_builds_and_sending_it_removes_that() {
    let lab = Lab::with_fork(&[
        ("quiet", &[("b", Some(&numbered("b", &[(5, "ours")])))]),
        ("costly", &[("a", Some(&numbered("a", &[(10, "ours")])))]),
    ]);
    lab.carry_code(0, &["nightly"]);
    // In conflict for two builds, then upstream goes back to what it was.
    let mut theirs = Vec::new();
    theirs.push(lab.commit("up", "one", &[("a", Some(&numbered("a", &[(10, "theirs")])))]));
    lab.carry_code(3, &["nightly"]);
    lab.commit("up", "apart", &[("d", Some("d\n"))]);
    lab.carry_code(3, &["nightly"]);
    theirs.push(lab.commit("up", "three", &[("a", Some(&numbered("a", &[])))]));
    lab.carry_code(0, &["nightly"]);
    // And it changes a line beside.
    theirs.push(lab.commit("up", "four", &[("a", Some(&numbered("a", &[(8, "beside")])))]));
    lab.carry_code(0, &["nightly"]);

    let all = lab.json(0, &["candidates"]);
    assert_eq!(order(&all), ["costly", "quiet"]);
    let costly = candidate(&all, "costly");
    assert_eq!(costly["conflicts"], 2, "{all}");
    assert_eq!(part(costly, "conflict")["points"], 6.0);
    let saving = &all["candidates"]["saving"];
    assert_eq!(saving["send"], serde_json::json!(["costly"]));
    assert_eq!((&saving["conflicts"], &saving["of"]), (&2.into(), &2.into()));
    let parts: f64 = costly["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .map(|p| p["points"].as_f64().expect("a number"))
        .sum();
    assert!((parts - costly["points"].as_f64().expect("a number")).abs() < 1e-9);
    // The history here is younger than a quarter, so there is no commit to count from.
    assert_eq!(costly["churn"], serde_json::json!([]));

    let text = lab.carry_code(0, &["candidates"]);
    assert!(text.contains("Sending costly removes 100 % of the last quarter's conflicts: 2 of 2"), "{text}");
    let text = lab.carry_code(0, &["candidates", "--explain", "costly"]);
    assert!(text.contains("conflict = 3") && text.contains("+6.0"), "{text}");
    let text = lab.carry_code(1, &["candidates", "--explain", "cosly"]);
    assert!(text.contains("did you mean 'costly'?"), "{text}");

    let path = lab.path("ws/carry.toml");
    let config = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(
        &path,
        format!("{config}\n[project.p.candidates]\nconflict = 0\nwaiting = 0\nrefreshed = 0\n"),
    )
    .expect("written");
    let all = lab.json(0, &["candidates"]);
    assert_eq!(part(candidate(&all, "costly"), "conflict")["points"], 0.0, "a weight of nothing");
}

#[test]
fn upstream_s_commits_on_the_lines_of_a_patch_are_those_that_git_blames() {
    let lab = Lab::new();
    // Long ago, so that a quarter has a beginning.
    let old = "2020-01-01T00:00:00Z";
    let commit = |message: &str, text: &str, date: Option<&str>| {
        std::fs::write(lab.path("up/a"), text).expect("written");
        lab.git("up", &["add", "-A"]);
        let mut command = std::process::Command::new("git");
        command.current_dir(lab.path("up")).args(["commit", "-q", "-m", message]);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "T").env(format!("GIT_{role}_EMAIL"), "t@example.org");
            if let Some(date) = date {
                command.env(format!("GIT_{role}_DATE"), date);
            }
        }
        assert!(command.status().expect("git runs").success());
        lab.git("up", &["rev-parse", "HEAD"])
    };
    commit("long ago", &numbered("a", &[]), Some(old));
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    commit("mine", &numbered("a", &[(10, "ours")]), None);
    lab.git("up", &["checkout", "-q", "main"]);
    let init =
        ["init", "--project", "p", "--upstream", "../up", "--branch", "main", "--remote", "../deploy.git"];
    lab.carry_code(0, &init);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    let beside = commit("beside", &numbered("a", &[(8, "beside")]), None);
    commit("far", &numbered("a", &[(8, "beside"), (25, "far")]), None);
    lab.carry_code(0, &["nightly"]);
    let all = lab.json(0, &["candidates"]);
    assert_eq!(candidate(&all, "mine")["churn"], serde_json::json!([beside]), "{all}");
}
