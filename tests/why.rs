//! The culprit of a conflict, and the graph of a queue: held against git itself.

use std::collections::BTreeMap;

use crate::support::lab::{Lab, numbered};
use crate::support::{Snapshot, bare_store, deep_tree, git};
use git_carry::graph::{Graph, Node};
use git_carry::queue::Metadata;
use git_carry::replay::needs::needs_from;
use git_carry::replay::sequence::{Role, Step};
use proptest::prelude::*;
use serde_json::Value;

/// A file and what a patch makes of it: its text, or nothing.
type Snap<'a> = (&'a str, Option<&'a str>);

fn patch<'a>(night: &'a Value, name: &str) -> &'a Value {
    let patches = night["patches"].as_array().expect("patches");
    patches.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("no patch {name}: {night}"))
}

/// Does the commit apply to another, as git sees it?
fn picks(lab: &Lab, commit: &str, onto: &str) -> bool {
    let base = format!("--merge-base={commit}^");
    lab.git_works("up", &["merge-tree", "--write-tree", &base, onto, commit])
}

#[test]
fn a_conflict_names_the_upstream_commit_behind_it_and_git_agrees() {
    let [one, two] = ["one", "two"].map(|t| numbered("a", &[(5, t)]));
    let (three, four) = (numbered("b", &[(10, "three")]), numbered("c", &[(3, "four")]));
    let lab = Lab::with_fork(&[
        ("one", &[("a", Some(&one))]),
        ("two", &[("a", Some(&two))]),
        ("three", &[("b", Some(&three))]),
        ("four", &[("c", Some(&four))]),
    ]);
    let ours: BTreeMap<&str, String> = ["four", "three", "two", "one"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| (name, lab.git("up", &["rev-parse", &format!("fork~{n}")])))
        .collect();
    lab.commit("up", "harmless", &[("d", Some("d\n"))]);
    let theirs = (numbered("a", &[(5, "theirs")]), numbered("c", &[(3, "theirs")]));
    let both = lab.commit("up", "breaks two", &[("a", Some(&theirs.0)), ("c", Some(&theirs.1))]);
    lab.git("up", &["checkout", "-q", "-b", "side", "HEAD~1"]);
    lab.commit("up", "side work", &[("e", Some("e\n"))]);
    let inside = lab.commit("up", "on the side", &[("b", Some(&numbered("b", &[(10, "side")])))]);
    lab.git("up", &["checkout", "-q", "main"]);
    lab.git("up", &["merge", "-q", "--no-ff", "-m", "merge side", "side"]);
    let merge = lab.git("up", &["rev-parse", "HEAD"]);
    lab.commit("up", "harmless again", &[("d", Some("dd\n"))]);

    let night = &lab.json(3, &["nightly"])[0];
    for (name, culprit, by) in [("one", &both, None), ("three", &inside, Some(&merge)), ("four", &both, None)]
    {
        let found = &patch(night, name)["culprit"];
        assert_eq!(found["commit"], *culprit, "{name}: {night}");
        assert_eq!(found["merge"].as_str(), by.map(String::as_str), "{name}");
        assert!(picks(&lab, &ours[name], &format!("{culprit}^")), "{name} applies before its culprit");
        assert!(!picks(&lab, &ours[name], culprit), "{name} fails on its culprit");
    }
    assert_eq!(patch(night, "two")["outcome"], "blocked");
    assert_eq!(patch(night, "two")["culprit"], Value::Null);

    let why = lab.json(0, &["why", "one"]);
    assert_eq!(why["same_culprit"], serde_json::json!(["four"]));
    assert_eq!(why["blocks"], serde_json::json!(["two"]));
    let region = &why["conflicts"][0]["regions"][0];
    assert_eq!((&region["trunk"][0], &region["patch"][0]), (&"theirs".into(), &"one".into()));
    let said = lab.carry_code(0, &["why", "two"]);
    assert!(said.contains("at the root: one") && said.contains(&both[..12]), "{said}");
    let said = lab.carry_code(0, &["why", "three"]);
    assert!(said.contains(&format!("by the merge {}", &merge[..12])), "{said}");

    // The next night still knows, and so does another clone of the workspace.
    lab.commit("up", "more", &[("d", Some("ddd\n"))]);
    lab.git(".", &["clone", "-q", "ws", "second"]);
    let mut clone = lab.carry_command("second", &["--json", "nightly"]);
    let clone = clone.output().expect("the binary runs");
    let clone: Value = serde_json::from_slice(&clone.stdout).expect("JSON");
    assert_eq!(patch(&clone[0], "one")["culprit"]["commit"], both);
    assert_eq!(lab.carry(&["why", "nobody"]).status.code(), Some(1));
}

#[test]
fn a_break_that_trunk_mended_is_told_from_the_one_that_holds() {
    let one = numbered("a", &[(5, "one")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    let (plain, theirs) = (numbered("a", &[]), numbered("a", &[(5, "theirs")]));
    let first = lab.commit("up", "break", &[("a", Some(&theirs))]);
    lab.commit("up", "mend", &[("a", Some(&plain))]);
    lab.commit("up", "elsewhere", &[("b", Some("b\n"))]);
    let last = lab.commit("up", "break again", &[("a", Some(&numbered("a", &[(5, "again")])))]);
    let night = &lab.json(3, &["nightly"])[0];
    let culprit = &patch(night, "one")["culprit"];
    assert_eq!((&culprit["commit"], &culprit["mended"]), (&last.into(), &serde_json::json!([first])));
}

#[test]
fn the_graph_shows_proved_and_declared_edges() {
    let a = [&[(5, "one")][..], &[(5, "two")], &[(5, "two"), (25, "far")]].map(|c| numbered("a", c));
    let lab = Lab::with_fork(&[
        ("one\n\nChange-Id: I0123456789012345678901234567890123456789", &[("a", Some(&a[0]))]),
        ("two", &[("a", Some(&a[1]))]),
        ("far", &[("a", Some(&a[2]))]),
        (
            "says\n\nDepends-On: I0123456789012345678901234567890123456789\nCarry-Group: g",
            &[("x", Some("x\n"))],
        ),
        ("same \"group\"\n\nCarry-Group: g", &[("y", Some("y\n"))]),
    ]);
    lab.json(0, &["nightly"]);
    let graph = lab.json(0, &["graph"]);
    let edges: Vec<(&str, &str, &str)> = graph["edges"]
        .as_array()
        .expect("edges")
        .iter()
        .map(|e| ["patch", "needs"].map(|k| e[k].as_str().expect("a name")))
        .zip(
            graph["edges"]
                .as_array()
                .expect("edges")
                .iter()
                .map(|e| e["reason"]["kind"].as_str().expect("a kind")),
        )
        .map(|([patch, needs], kind)| (patch, needs, kind))
        .collect();
    assert_eq!(
        edges,
        [("two", "one", "textual"), ("says", "one", "depends-on"), ("same-group", "says", "group")]
    );
    assert_eq!(graph["edges"][0]["reason"]["files"], serde_json::json!(["a"]));
    let one = lab.json(0, &["graph", "one"]);
    assert_eq!(one["patches"][0]["dependents"], serde_json::json!(["two", "says", "same-group"]));
    assert!(lab.carry_code(0, &["graph", "--format", "dot"]).contains("\"two\" -> \"one\""));
    assert!(lab.carry_code(0, &["graph", "--format", "mermaid"]).contains("p1 --> p0"));
    let text = lab.carry_code(0, &["graph"]);
    assert!(text.contains("one\n├─ two\n└─ says\n   └─ same-group"), "{text}");
}

/// Line numbers that a patch changes, in one of two files.
type Edit = (bool, usize);

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_closure_applies_alone_and_not_without_what_it_needs(
        edits in proptest::collection::vec(proptest::collection::vec((any::<bool>(), 0usize..14), 1..3), 2..9),
    ) {
        let edits: Vec<Vec<Edit>> = edits;
        let dir = tempfile::tempdir().expect("a folder");
        let odb = bare_store(dir.path());
        let mut lines: BTreeMap<&str, Vec<String>> =
            ["a", "b"].map(|f| (f, (0..14).map(|n| format!("{f} {n}\n")).collect())).into();
        let tree = |lines: &BTreeMap<&str, Vec<String>>| {
            let files: Snapshot = lines.iter().map(|(f, l)| ((*f).to_owned(), l.concat())).collect();
            deep_tree(&odb, &files)
        };
        let base = tree(&lines);
        let metadata = Metadata::default();
        let mut nodes = Vec::new();
        let mut before = base;
        for (n, patch) in edits.iter().enumerate() {
            for (first, line) in patch {
                lines.get_mut(if *first { "a" } else { "b" }).expect("a file")[*line] = format!("patch {n}\n");
            }
            let after = tree(&lines);
            let step = Step { name: n.to_string(), before, after, role: Role::Carry };
            nodes.push(Node { step, metadata: &metadata, text: None, differs: None });
            before = after;
        }
        let graph = Graph::of(&odb, &nodes, &BTreeMap::new()).expect("all objects are there");
        odb.flush().expect("written");
        let applies = |names: &[&str]| -> bool {
            let mut stack = base.to_string();
            for name in names {
                let step = &nodes[name.parse::<usize>().expect("a number")].step;
                let (before, after) = (step.before.to_string(), step.after.to_string());
                let merge_base = format!("--merge-base={before}");
                let out = git(dir.path(), &["merge-tree", "--write-tree", &merge_base, &stack, &after]);
                if !out.status.success() {
                    return false;
                }
                stack = String::from_utf8(out.stdout).expect("an id").trim().to_owned();
            }
            true
        };
        let steps: Vec<Step> = nodes.iter().map(|node| node.step.clone()).collect();
        for patch in graph.patches() {
            let closure = graph.closure(patch);
            // Asked of one patch alone, the same is found, for it and for what it needs.
            let root = patch.parse().expect("a number");
            let asked = needs_from(&odb, &steps, &[], &[root]).expect("all objects are there");
            let named = |at: &usize| steps[*at].name.as_str();
            for at in closure.iter().map(|name| name.parse::<usize>().expect("a number")) {
                let needs: Vec<&str> = asked[&at].iter().map(named).collect();
                prop_assert_eq!(needs, graph.needs(&steps[at].name), "{} of {:?}", at, edits);
            }
            prop_assert!(applies(&closure), "{patch} with {closure:?} alone: {edits:?}");
            for need in graph.needs(patch) {
                let gone = graph.dependents(need);
                let stays = |n: &&str| *n == patch || *n != need && !gone.contains(n);
                let rest: Vec<&str> = closure.iter().copied().filter(stays).collect();
                prop_assert!(!applies(&rest), "{patch} does not need {need}: {edits:?}");
            }
        }
    }
}

#[test]
fn a_patch_that_merges_but_lost_lines_or_has_them_twice_is_told() {
    let both = numbered("a", &[(5, "one"), (25, "two")]);
    let block = "new 1\nnew 2\nnew 3\nnew 4";
    let added = numbered("b", &[(20, &format!("b line 20\n{block}"))]);
    let lab = Lab::with_fork(&[("both", &[("a", Some(&both))]), ("added", &[("b", Some(&added))])]);
    let half = numbered("a", &[(5, "one")]);
    let elsewhere = numbered("b", &[(3, &format!("b line 3\n{block}"))]);
    lab.commit("up", "half of it", &[("a", Some(&half)), ("b", Some(&elsewhere))]);
    // It asks whether upstream has it, too.
    let said = lab.carry_code(3, &["nightly"]);
    assert!(said.contains("both: 2 lines of it went"), "{said}");
    assert!(said.contains("added: 4 lines that it adds are in trunk's file already"), "{said}");
    let show = lab.json(0, &["why", "both"]);
    assert_eq!(show["patch"]["loss"]["missing"], serde_json::json!(["+one", "-a line 5"]));
    let show = lab.json(0, &["why", "added"]);
    assert_eq!(show["patch"]["loss"]["doubled"], serde_json::json!(["+new 1", "+new 2", "+new 3", "+new 4"]));
}

#[test]
fn trunk_moves_as_far_as_the_whole_stack_goes_when_told_to() {
    let one = numbered("a", &[(5, "one")]);
    let two = numbered("b", &[(5, "two")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))]), ("two", &[("b", Some(&two))])]);
    lab.json(0, &["nightly"]);
    lab.commit("up", "harmless", &[("c", Some(&numbered("c", &[(1, "c")])))]);
    let safe = lab.commit("up", "harmless too", &[("c", Some(&numbered("c", &[(2, "c")])))]);
    lab.commit("up", "breaks one", &[("a", Some(&numbered("a", &[(5, "theirs")])))]);
    lab.commit("up", "breaks two", &[("b", Some(&numbered("b", &[(5, "theirs")])))]);
    lab.git("ws/.git/carry/p.git", &["fetch", "-q", "../../../../up", "+main:refs/carry/trunk"]);
    let night = lab.json(3, &["rebase", "--dry-run"]);
    assert_eq!(night["furthest"], serde_json::json!({ "commit": safe, "commits": 2, "of": 4 }));
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    std::fs::write(
        lab.path("ws/carry.toml"),
        toml.replace("#advance = \"tip\"", "advance = \"furthest-clean\""),
    )
    .expect("written");
    lab.git("ws", &["commit", "-qam", "no further than all go"]);
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!((&night["done"], &night["trunk"]["to"]), (&"published".into(), &safe.clone().into()));
    assert!(Lab::outcomes(night).iter().all(|(_, outcome)| outcome == "clean"), "{night}");
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!((&night["done"], &night["furthest"]["commits"]), (&"quiet".into(), &0.into()));
    let said = lab.carry_code(0, &["nightly"]);
    assert!(said.contains("trunk can move 0 of 2 commits"), "{said}");
}

#[test]
fn a_forecast_tells_which_upstream_work_breaks_which_patch() {
    let [one, two] = ["one", "two"].map(|t| numbered("a", &[(5, t)]));
    let three = numbered("b", &[(5, "three")]);
    let lab = Lab::with_fork(&[
        ("one", &[("a", Some(&one))]),
        ("two", &[("a", Some(&two))]),
        ("three", &[("b", Some(&three))]),
    ]);
    lab.commit("up", "trunk goes on", &[("c", Some(&numbered("c", &[(5, "trunk")])))]);
    lab.json(0, &["nightly"]);
    let work = |name: &str, from: &str, file: &str, text: &str| {
        lab.git("up", &["checkout", "-q", "--detach", from]);
        let commit = lab.commit("up", name, &[(file, Some(text))]);
        lab.git("up", &["update-ref", name, &commit]);
    };
    work("refs/heads/next", "main", "a", &numbered("a", &[(5, "next")]));
    // From before trunk went on: what counts is what it makes of today's trunk.
    work("refs/pull/1/head", "main~1", "b", &numbered("b", &[(25, "far from ours")]));
    work("refs/pull/2/head", "main~1", "c", &numbered("c", &[(5, "against trunk")]));
    lab.git("up", &["update-ref", "refs/pull/3/head", "main~1"]);
    lab.git("up", &["checkout", "-q", "main"]);
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    let forecast = lab.json(0, &["forecast", "next", "refs/pull/*/head"]);
    let told: Vec<(&str, &str)> = forecast["work"]
        .as_array()
        .expect("work")
        .iter()
        .map(|w| (w["name"].as_str().expect("a name"), w["effect"].as_str().expect("an effect")))
        .collect();
    assert_eq!(
        told,
        [
            ("refs/heads/next", "breaks"),
            ("refs/pull/1/head", "harmless"),
            ("refs/pull/2/head", "conflicts-with-trunk"),
            ("refs/pull/3/head", "landed"),
        ]
    );
    assert_eq!(forecast["work"][0]["patches"], serde_json::json!(["one"]));
    assert_eq!(forecast["work"][0]["blocked"], serde_json::json!(["two"]));
    // It becomes true: once trunk has it, the night says the same.
    lab.git("up", &["merge", "-q", "--ff-only", "next"]);
    let night = &lab.json(3, &["nightly"])[0];
    let outcome = |name: &str| patch(night, name)["outcome"].clone();
    assert_eq!([outcome("one"), outcome("two"), outcome("three")], ["conflict", "blocked", "clean"]);
    assert_ne!(lab.git("ws", &["rev-parse", "HEAD"]), before);
    // What upstream gave up is forgotten, and a ref that is not there is an error that changes nothing.
    lab.git("up", &["update-ref", "-d", "refs/pull/2/head"]);
    let forecast = lab.json(0, &["forecast", "refs/pull/*/head"]);
    assert_eq!(forecast["work"].as_array().expect("work").len(), 2);
    assert!(lab.carry_code(1, &["forecast", "nowhere"]).contains("nowhere"));
}

#[test]
fn a_held_patch_takes_along_what_needs_it_and_comes_back() {
    let [one, two] = ["one", "two"].map(|t| numbered("a", &[(5, t)]));
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))]), ("two", &[("a", Some(&two))])]);
    lab.json(0, &["nightly"]);
    let series = std::fs::read(lab.path("ws/patches/p/series")).expect("a series");
    let held = lab.json(0, &["hold", "one", "--reason", "breaks the billing"]);
    assert_eq!(held["takes_along"], serde_json::json!(["two"]));
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    assert!(lab.git("ws", &["log", "-1", "--format=%B"]).contains("hold one\n\nbreaks the billing"));
    let night = &lab.json(3, &["nightly"])[0];
    assert_eq!(Lab::outcomes(night), [("one".into(), "held".into()), ("two".into(), "blocked".into())]);
    assert_eq!(patch(night, "one")["note"], "breaks the billing");
    assert!(lab.carry_code(1, &["hold", "one"]).contains("held already"));
    lab.json(0, &["unhold", "one"]);
    assert_eq!(std::fs::read(lab.path("ws/patches/p/series")).expect("a series"), series);
    let night = &lab.json(0, &["nightly"])[0];
    assert!(Lab::outcomes(night).iter().all(|(_, outcome)| outcome == "clean"), "{night}");
    assert!(lab.carry_code(1, &["unhold", "one"]).contains("not held"));
}

#[test]
fn a_file_that_trunk_moved_is_named_by_both_places() {
    let one = numbered("a", &[(5, "one")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    let theirs = numbered("a", &[(5, "theirs")]);
    lab.commit("up", "move and change", &[("a", None), ("sub/z", Some(&theirs))]);
    let night = &lab.json(3, &["nightly"])[0];
    let conflict = &patch(night, "one")["conflicts"][0];
    assert_eq!((&conflict["path"], &conflict["from"]), (&"sub/z".into(), &"a".into()), "{night}");
    let why = lab.json(0, &["why", "one"]);
    let region = &why["conflicts"][0]["regions"][0];
    assert_eq!((&region["trunk"][0], &region["patch"][0]), (&"theirs".into(), &"one".into()), "{why}");
    let said = lab.carry_code(0, &["why", "one"]);
    assert!(said.contains("sub/z (moved there from a): both changed the same lines"), "{said}");
    // An answer to it stands at the new place.
    let begun = lab.json(0, &["resolve", "one"]);
    let work = std::path::PathBuf::from(begun["work_tree"].as_str().expect("a place"));
    std::fs::write(work.join("sub/z"), numbered("a", &[(5, "both")])).expect("written");
    let done = lab.json(0, &["resolve", "--continue"]);
    assert_eq!(patch(&done["night"], "one")["outcome"], "resolved", "{done}");
    let listed = lab.git("ws/.git/carry/p.git", &["ls-tree", "-r", "--name-only", "refs/heads/deploy/p"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["b", "c", "sub/z"]);
}

#[test]
fn a_closure_is_exported_as_files_that_git_am_takes() {
    // `far` needs `one` alone, but its file stands on lines that `near` changed beside it.
    let a =
        [&[(5, "one")][..], &[(5, "one"), (7, "near")], &[(5, "two"), (7, "near")]].map(|c| numbered("a", c));
    let lab = Lab::with_fork(&[
        ("one", &[("a", Some(&a[0]))]),
        ("near", &[("a", Some(&a[1]))]),
        ("far", &[("a", Some(&a[2]))]),
    ]);
    lab.json(0, &["nightly"]);
    lab.git(".", &["clone", "-q", "up", "am"]);
    let text = std::fs::read_to_string(lab.path("ws/patches/p/far.patch")).expect("a patch");
    assert!(text.contains("near"), "far's context reaches three lines down: {text}");
    assert!(!lab.git_works("am", &["am", "-q", "../ws/patches/p/one.patch", "../ws/patches/p/far.patch"]));
    lab.git("am", &["am", "--abort"]);
    let out = lab.path("out");
    lab.carry_code(0, &["export", "--closure", "far", out.to_str().expect("UTF-8")]);
    let series = std::fs::read_to_string(out.join("series")).expect("a series");
    assert_eq!(series, "one.patch\nfar.patch\n");
    lab.git("am", &["am", "-q", "../out/one.patch", "../out/far.patch"]);
    let tree = lab.git("am", &["show", "HEAD:a"]);
    assert_eq!(tree, numbered("a", &[(5, "two")]).trim_end());
    assert_eq!(lab.carry(&["export", "--closure", "nobody", "x"]).status.code(), Some(1));
}

#[test]
fn a_queue_of_real_size_has_a_graph_that_git_confirms() {
    // 120 patches on three files: each changes two lines somewhere, often beside or over those of others.
    let mut files: BTreeMap<&str, Vec<String>> =
        ["a", "b", "c"].map(|n| (n, numbered(n, &[]).lines().map(str::to_owned).collect())).into();
    let mut seed = 7u32;
    let mut next = |below: usize| {
        // Numbers that are the same on every machine (the constants of Numerical Recipes).
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % below
    };
    let mut snapshots = Vec::new();
    for n in 0..120 {
        let name = ["a", "b", "c"][next(3)];
        let lines = files.get_mut(name).expect("a file");
        let at = next(lines.len() - 1);
        lines[at] = format!("patch {n}");
        if next(3) == 0 {
            lines.insert(at + 1, format!("patch {n}, more"));
        }
        snapshots.push((format!("p{n}"), name, lines.join("\n") + "\n"));
    }
    let edits: Vec<[Snap; 1]> =
        snapshots.iter().map(|(_, name, text)| [(*name, Some(text.as_str()))]).collect();
    let patches: Vec<(&str, &[Snap])> = snapshots
        .iter()
        .zip(&edits)
        .map(|((subject, _, _), files)| (subject.as_str(), files.as_slice()))
        .collect();
    let lab = Lab::with_fork(&patches);
    lab.json(0, &["nightly"]);
    let graph = lab.json(0, &["graph"]);
    let all = graph["patches"].as_array().expect("patches");
    assert_eq!(all.len(), 120);
    let names = |v: &Value| -> Vec<String> {
        v.as_array().expect("names").iter().map(|n| n.as_str().expect("a name").to_owned()).collect()
    };
    lab.git(".", &["clone", "-q", "up", "am"]);
    let mut needed = 0;
    for (at, patch) in all.iter().enumerate().filter(|(at, _)| at % 8 == 7) {
        let name = patch["name"].as_str().expect("a name");
        let out = lab.path(&format!("out{at}"));
        lab.carry_code(0, &["export", "--closure", name, out.to_str().expect("UTF-8")]);
        let closure = names(&patch["closure"]);
        let files: Vec<String> = closure.iter().map(|n| format!("../out{at}/{n}.patch")).collect();
        let am = |files: &[&String]| {
            lab.git("am", &["reset", "-q", "--hard", "origin/main"]);
            let mut args = vec!["am", "-q", "-3"];
            args.extend(files.iter().map(|f| f.as_str()));
            let works = lab.git_works("am", &args);
            if !works {
                lab.git("am", &["am", "--abort"]);
            }
            works
        };
        assert!(am(&files.iter().collect::<Vec<_>>()), "{name} with {closure:?}");
        for need in names(&patch["needs"]) {
            let gone = all.iter().find(|p| p["name"] == need.as_str()).map(|p| names(&p["dependents"]));
            let gone = gone.expect("a patch");
            let kept = |n: &String| n == name || *n != need && !gone.contains(n);
            let rest: Vec<&String> =
                closure.iter().zip(&files).filter(|(n, _)| kept(n)).map(|(_, f)| f).collect();
            assert!(!am(&rest), "{name} does not need {need}");
            needed += 1;
        }
    }
    assert!(needed > 10, "only {needed} edges were tried");

    // Whoever is left out blocks those that need it, and nobody else.
    let held = all.iter().max_by_key(|p| names(&p["dependents"]).len()).expect("patches");
    lab.json(0, &["hold", held["name"].as_str().expect("a name")]);
    let night = lab.json(3, &["rebase"]);
    let blocked: Vec<String> = Lab::outcomes(&night)
        .into_iter()
        .filter(|(_, outcome)| outcome == "blocked")
        .map(|(name, _)| name)
        .collect();
    assert_eq!(blocked, names(&held["dependents"]));
    assert!(!blocked.is_empty());
}

#[test]
fn a_file_that_each_side_moved_is_told_with_both_places() {
    let lab = Lab::with_fork(&[("moves a", &[("a", None), ("ours", Some(&numbered("a", &[])))])]);
    lab.commit("up", "moves it too", &[("a", None), ("trunks", Some(&numbered("a", &[])))]);
    lab.carry_code(3, &["nightly"]);
    let told = lab.carry_code(0, &["why", "moves-a"]);
    assert!(told.contains("a was moved by trunk to trunks, and by the patch to ours"), "{told}");
    let why = lab.json(0, &["why", "moves-a"]);
    let paths: Vec<&Value> =
        why["conflicts"].as_array().expect("conflicts").iter().map(|c| &c["path"]).collect();
    assert_eq!(paths, ["a", "ours", "trunks"]);
}
