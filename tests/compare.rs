//! What differs between two builds, and what of a build's graph is proved again, by the built binary.

use crate::support::lab::{Files, Lab, numbered};
use serde_json::{Value, json};

/// A workspace with six patches: `keeps`, `lands`, `changes`, `goes`, `breaks`, and `more`, which stands on `changes`.
fn lab() -> Lab {
    let a = numbered("a", &[(10, "keeps")]);
    let a2 = numbered("a", &[(10, "keeps"), (20, "lands")]);
    let b = numbered("b", &[(10, "changes")]);
    let c = numbered("c", &[(10, "breaks")]);
    let b2 = numbered("b", &[(10, "changes more")]);
    let patches: [(&str, Files<'_>); 6] = [
        ("keeps", &[("a", Some(&a))]),
        ("lands", &[("a", Some(&a2))]),
        ("changes", &[("b", Some(&b))]),
        ("goes", &[("new", Some("goes\n"))]),
        ("breaks", &[("c", Some(&c))]),
        ("more", &[("b", Some(&b2))]),
    ];
    Lab::with_fork(&patches)
}

fn read(lab: &Lab, file: &str) -> String {
    std::fs::read_to_string(lab.path("ws").join(file)).expect("it is there")
}

/// Two builds: between them upstream takes `lands`, breaks `breaks`, and moves what is around `keeps`; a person drops
/// `goes`, edits `changes`, and adds `comes`.
fn two_builds() -> (Lab, Value, Value) {
    let lab = lab();
    let first = lab.json(0, &["nightly"])[0]["manifest"].clone();
    lab.commit("up", "take it in", &[("a", Some(&numbered("a", &[(20, "lands")])))]);
    let theirs = numbered("c", &[(10, "upstream says otherwise")]);
    lab.commit("up", "say it otherwise", &[("c", Some(&theirs))]);
    lab.carry_code(0, &["drop", "goes"]);
    let changed = read(&lab, "patches/p/changes.patch").replace("+changes", "+changed");
    let more = read(&lab, "patches/p/more.patch").replace("-changes", "-changed");
    let comes = read(&lab, "patches/p/keeps.patch");
    let comes = comes.replace("keeps", "comes").replace("a/a b/a", "a/c b/c");
    let comes = comes.replace("--- a/a", "--- a/c").replace("+++ b/a", "+++ b/c");
    let comes = comes.replace(" a line", " c line").replace("-a line 10", "-c line 25");
    let comes = comes.replace("+comes", "+it comes").replace("@@ -7,7 +7,7 @@", "@@ -22,7 +22,7 @@");
    let mut shifted = String::new();
    for line in comes.lines() {
        let renumbered = (7..=13).rev().fold(line.to_owned(), |l, n| match l.strip_prefix(" c line ") {
            Some(found) if found == n.to_string() => format!(" c line {}", n + 15),
            _ => l,
        });
        shifted.push_str(&renumbered);
        shifted.push('\n');
    }
    let series = format!("{}comes.patch\n", read(&lab, "patches/p/series"));
    lab.commit(
        "ws",
        "by hand",
        &[
            ("patches/p/changes.patch", Some(&changed)),
            ("patches/p/more.patch", Some(&more)),
            ("patches/p/comes.patch", Some(&shifted)),
            ("patches/p/series", Some(&series)),
        ],
    );
    let second = lab.json(3, &["nightly"])[0]["manifest"].clone();
    (lab, first, second)
}

fn build(manifest: &Value) -> &str {
    manifest["deploy"]["build"].as_str().expect("a build")
}

/// Each patch that differs, with how.
fn moves(diff: &Value) -> Vec<(&str, &str)> {
    let patches = diff["patches"].as_array().expect("patches");
    patches.iter().filter_map(|p| Some((p["name"].as_str()?, p["what"].as_str()?))).collect()
}

#[test]
fn a_comparison_tells_what_came_went_landed_and_changed() {
    let (lab, first, second) = two_builds();
    let diff = lab.json(0, &["manifest", "diff", build(&first), build(&second)]);
    let wanted = [
        ("lands", "landed"),
        ("changes", "changed"),
        ("breaks", "left-out"),
        ("more", "changed"),
        ("comes", "added"),
        ("goes", "dropped"),
    ];
    assert_eq!(moves(&diff), wanted, "{diff:#}");
    assert_eq!(diff["same"], 1);
    let subjects: Vec<&str> = diff["taken_in"]["commits"]
        .as_array()
        .expect("commits")
        .iter()
        .filter_map(|c| c["subject"].as_str())
        .collect();
    assert_eq!(subjects, ["take it in", "say it otherwise"]);
    assert_eq!(diff["taken_in"]["authors"][0]["commits"], 2);
    assert_eq!(diff.get("given_up"), None);
    assert_eq!(diff["patches"][0]["evidence"]["subject"], "take it in");
    // What changed is told as git itself tells it.
    let commits = &diff["patches"][1]["commits"];
    let range = |n: usize| {
        let id = commits[n].as_str().expect("a commit");
        format!("{id}^..{id}")
    };
    let store = "ws/.git/carry/p.git";
    let git = lab.git(store, &["range-diff", "--creation-factor=999", &range(0), &range(1)]);
    let git: Vec<&str> = git.lines().skip(1).map(|l| l.strip_prefix("    ").unwrap_or(l)).collect();
    let told = diff["patches"][1]["range_diff"].as_str().expect("a range-diff");
    assert_eq!(
        told.lines().map(str::trim_end).collect::<Vec<_>>(),
        git.iter().map(|l| l.trim_end()).collect::<Vec<_>>()
    );
    assert!(told.contains("-+changes") && told.contains("++changed"), "{told}");

    let text = lab.carry_code(0, &["manifest", "diff", build(&first)]);
    assert!(text.contains("1 added, 2 changed, 1 landed, 1 left out, 1 dropped, 1 the same"), "{text}");
    assert!(text.contains("2 commits taken in, by one author"), "{text}");
}

#[test]
fn a_way_back_gives_upstream_s_commits_up_and_carries_again_what_landed() {
    let (lab, first, second) = two_builds();
    // A manifest's file is as good as a build's name.
    lab.carry_code(0, &["manifest", "export", "old.json", "--build", build(&first)]);
    let diff = lab.json(0, &["manifest", "diff", build(&second), "old.json"]);
    let wanted = [
        ("lands", "back"),
        ("changes", "changed"),
        ("goes", "added"),
        ("breaks", "back"),
        ("more", "changed"),
        ("comes", "dropped"),
    ];
    assert_eq!(moves(&diff), wanted, "{diff:#}");
    assert_eq!(diff["given_up"]["count"], 2);
    assert_eq!(diff.get("taken_in"), None);
    assert_eq!(diff["risk"]["from"], second["deploy"]["commit"]);
}

#[test]
fn the_same_build_differs_in_nothing_and_a_build_that_is_not_there_is_told() {
    let lab = lab();
    let first = lab.json(0, &["nightly"])[0]["manifest"].clone();
    let text = lab.carry_code(0, &["manifest", "diff", build(&first)]);
    assert!(text.contains("the same build: nothing to do"), "{text}");
    let text = lab.carry_code(1, &["manifest", "diff", "0123456789ab"]);
    assert!(text.contains("no build '0123456789ab' of 'p' is here"), "{text}");
}

#[test]
fn a_comparison_has_the_form_of_its_schema() {
    let (lab, first, second) = two_builds();
    let diff = lab.json(0, &["manifest", "diff", build(&first), build(&second)]);
    let text = lab.carry_code(0, &["manifest", "schema", "--diff"]);
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manifest-diff.schema.json");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let published: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    assert_eq!(schema, published);
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let wrong: Vec<String> = validator.iter_errors(&diff).map(|e| e.to_string()).collect();
    assert_eq!(wrong, Vec::<String>::new());
    let mut broken = diff.clone();
    broken["patches"][0]["what"] = json!("vanished");
    assert!(!validator.is_valid(&broken));
}

#[test]
fn what_is_taken_over_of_the_graph_is_what_would_be_proved_again() {
    let a = numbered("a", &[(10, "one")]);
    let a2 = numbered("a", &[(10, "two")]);
    let a3 = numbered("a", &[(10, "two"), (25, "three")]);
    let b = numbered("b", &[(5, "four")]);
    let b2 = numbered("b", &[(5, "five")]);
    let lab = Lab::with_fork(&[
        ("one", &[("a", Some(&a))]),
        ("two", &[("a", Some(&a2))]),
        ("three", &[("a", Some(&a3))]),
        ("four", &[("b", Some(&b))]),
        ("five\n\nDepends-On: three", &[("b", Some(&b2)), ("c", Some("all new\n"))]),
    ]);
    let nights: [(&str, Files<'_>); 5] = [
        ("nothing of ours", &[("z", Some("z\n"))]),
        ("far from three", &[("a", Some(&numbered("a", &[(1, "upstream")])))]),
        ("onto one", &[("a", Some(&numbered("a", &[(1, "upstream"), (10, "theirs")])))]),
        ("b moves", &[("b", Some(&numbered("b", &[(20, "upstream")])))]),
        ("one comes back", &[("a", Some(&numbered("a", &[(1, "upstream")])))]),
    ];
    for (message, files) in nights {
        lab.commit("up", message, files);
        let out = lab.carry(&["--json", "nightly"]);
        let night: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let graph = lab.json(0, &["graph", "--format", "json"]);
        let edges = night[0]["manifest"].get("edges").cloned().unwrap_or_else(|| json!([]));
        assert_eq!(edges, graph["edges"], "{message}");
        if message == "nothing of ours" {
            let needs: Vec<(&str, &str)> = edges
                .as_array()
                .expect("edges")
                .iter()
                .filter_map(|e| Some((e["patch"].as_str()?, e["needs"].as_str()?)))
                .collect();
            assert_eq!(needs, [("two", "one"), ("five", "three"), ("five", "four")]);
        }
    }
}

#[test]
fn a_manifest_tells_what_each_stage_s_gates_say_of_it_and_stages_name_the_builds_that_they_run() {
    let lab = lab();
    let config = read(&lab, "carry.toml");
    let more = "[[project.p.check]]\nname = \"unit\"\nrequired = false\nrun = [\"sh\", \"-c\", \"! grep -q upstream a\"]\n\
        [[project.p.stage]]\nname = \"test\"\nhold_on = \"never\"\n\
        [[project.p.stage]]\nname = \"prod\"\nafter = \"test\"\nrequires = [\"unit\", \"signed\"]\n";
    lab.commit("ws", "stages", &[("carry.toml", Some(&format!("{config}\n{more}")))]);
    let first = lab.json(0, &["nightly"])[0]["manifest"].clone();
    lab.carry_code(0, &["stage", "promote", build(&first), "test"]);
    lab.commit("up", "on", &[("a", Some(&numbered("a", &[(1, "upstream")])))]);
    let second = lab.json(0, &["nightly"])[0]["manifest"].clone();

    let verdict = |m: &Value| -> Vec<(String, bool)> {
        let stages = m["gates"].as_array().expect("stages");
        stages.iter().map(|s| (s["stage"].as_str().expect("a name").to_owned(), s["met"] == true)).collect()
    };
    assert_eq!(verdict(&first), [("test".to_owned(), true), ("prod".to_owned(), true)]);
    assert_eq!(verdict(&second), [("test".to_owned(), true), ("prod".to_owned(), false)]);
    let unmet: Vec<&Value> =
        second["gates"][1]["gates"].as_array().expect("gates").iter().filter(|g| g["met"] == false).collect();
    assert_eq!(unmet.len(), 1, "{unmet:?}");
    assert_eq!((&unmet[0]["gate"], &unmet[0]["about"]), (&json!("check"), &json!("unit")));
    let schema: Value = serde_json::from_str(&lab.carry_code(0, &["manifest", "schema"])).expect("JSON");
    assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&second));

    let diff = lab.json(0, &["manifest", "diff", "test", "latest"]);
    assert_eq!(
        (&diff["from"]["build"], &diff["to"]["build"]),
        (&first["deploy"]["build"], &second["deploy"]["build"])
    );
    assert_eq!(diff["checks"], json!([{"name": "unit", "before": "passed", "after": "failed"}]));
    assert_eq!(lab.json(0, &["risk", "test", "main"])["from"], first["deploy"]["commit"]);
    let text = lab.carry_code(1, &["manifest", "diff", "prod"]);
    assert!(text.contains("no build 'prod' of 'p' is here"), "{text}");
}
