//! What is found in a move: small trees for each kind of thing, with what must be found and nothing else
//! (`fixtures/risk`); and the command and the manifest, by the built binary.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use git_carry::risk::pack::Rules;
use git_carry::risk::{Confidence, Finding, assess};
use serde::Deserialize;
use support::lab::{Lab, numbered};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    pack: String,
    old: BTreeMap<String, String>,
    /// Over the old ones; an empty text deletes.
    #[serde(default)]
    new: BTreeMap<String, String>,
    expect: BTreeSet<String>,
    restart: Option<Vec<String>>,
}

/// `severity kind words`.
fn told(f: &Finding) -> String {
    let mut text = format!("{} {} ", f.severity.word(), f.kind);
    if let Some(migration) = &f.migration {
        let ops: Vec<String> = migration.ops.iter().map(git_carry::risk::migration::Op::in_words).collect();
        let phase = serde_json::to_value(migration.phase).expect("a word");
        text += &format!("{}: {}", phase.as_str().expect("a word"), ops.join("; "));
        if let Some(declared) = migration.declared.as_ref().filter(|_| f.text.is_some()) {
            text += &format!(" [declared {declared}]");
        }
        return text;
    }
    text += &f.name;
    if f.old.is_some() || f.new.is_some() {
        text +=
            &format!(" {} -> {}", f.old.as_deref().unwrap_or_default(), f.new.as_deref().unwrap_or_default());
    }
    if let Some(said) = &f.text {
        text += &format!(": {said}");
    }
    if f.confidence < Confidence::High {
        text += " (low)";
    }
    text
}

fn check(file: &str) {
    let text = std::fs::read_to_string(format!("fixtures/risk/{file}")).expect("a fixture");
    let cases: Cases = toml::from_str(&text).expect("the fixture's form");
    let mut wrong = Vec::new();
    for case in cases.case {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let objects = support::bare_store(dir.path());
        let old: support::Snapshot = case.old;
        let mut new = old.clone();
        for (path, text) in case.new {
            match text.is_empty() {
                true => new.remove(&path),
                false => new.insert(path, text),
            };
        }
        let (before, after) = (support::deep_tree(&objects, &old), support::deep_tree(&objects, &new));
        let rules = Rules::load(std::slice::from_ref(&case.pack), &[]).expect("a pack");
        let found = assess(&objects, before, after, &rules).expect("all objects are there");
        let all: BTreeSet<String> = found.findings.iter().map(told).collect();
        if all != case.expect {
            wrong.push(format!("{}\n  found    {all:#?}\n  expected {:#?}", case.name, case.expect));
        }
        if let Some(wanted) = case.restart.filter(|wanted| *wanted != found.restarts.services) {
            wrong.push(format!(
                "{}\n  restarts {:?}, expected {wanted:?}",
                case.name, found.restarts.services
            ));
        }
        // Every finding has its evidence: a file of one of the trees, and a line in it.
        for finding in &found.findings {
            let side = if finding.in_old { &old } else { &new };
            let lines = side.get(&finding.path).map(|text| text.split('\n').count());
            if lines.is_none_or(|lines| finding.line.is_some_and(|line| line == 0 || line > lines)) {
                wrong.push(format!("{}: no evidence for {finding:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn migrations_are_read_operation_by_operation() {
    check("migrations.toml");
}

#[test]
fn versions_options_dependencies_notes_and_restarts() {
    check("markers.toml");
}

const FIRST: &str = "revision = 'a1'\ndown_revision = None\ndef upgrade():\n    pass\n";

/// A workspace that follows something like nova, with a patch of its own.
fn lab(patch: &str) -> Lab {
    let lab = Lab::new();
    let versions = "nova/db/main/migrations/versions";
    lab.commit(
        "up",
        "base",
        &[
            ("nova/conf/__init__.py", Some("")),
            (
                "nova/compute/manager.py",
                Some("class ComputeManager:\n    target = messaging.Target(version='6.0')\n"),
            ),
            (&format!("{versions}/a1.py"), Some(FIRST)),
            ("a", Some(&numbered("a", &[]))),
        ],
    );
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.commit("up", "of our own", &[("ours.py", Some("x = 1\n")), (patch, Some("revision = 'mine'\ndown_revision = 'a1'\ndef upgrade():\n    op.add_column('t', sa.Column('c'))\n"))]);
    lab.git("up", &["checkout", "-q", "main"]);
    let init =
        ["init", "--project", "p", "--upstream", "../up", "--branch", "main", "--remote", "../deploy.git"];
    lab.carry_code(0, &init);
    lab
}

#[test]
fn a_night_says_in_its_manifest_what_the_move_asks_and_who_brought_it() {
    let lab = lab("notes.txt");
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    let first = &lab.json(0, &["nightly"])[0];
    assert!(first["manifest"]["risk"].is_null(), "a first build comes from nowhere");
    let commit = lab.commit(
        "up",
        "drop what is used\n\nBREAKING CHANGE: c is gone",
        &[
            (
                "nova/db/main/migrations/versions/b2.py",
                Some("revision = 'b2'\ndown_revision = 'a1'\ndef upgrade():\n    op.drop_column('t', 'c')\n"),
            ),
            (
                "nova/compute/manager.py",
                Some("class ComputeManager:\n    target = messaging.Target(version='6.1')\n"),
            ),
        ],
    );
    let out = lab.carry_code(0, &["nightly"]);
    assert!(out.contains("1 stop, 2 warn") && out.contains("drop column t.c"), "{out}");

    let manifest = lab.json(0, &["manifest", "show"]);
    let risk = &manifest["risk"];
    assert_eq!(risk["level"], "stop");
    assert_eq!(risk["to"], manifest["deploy"]["commit"]);
    assert_eq!(risk["from"], manifest["deploy"]["previous"]);
    let finding = &risk["findings"][0];
    assert_eq!(finding["origin"]["commit"], commit.as_str());
    assert_eq!(finding["migration"]["phase"], "contract");
    let breaking =
        risk["findings"].as_array().expect("findings").iter().find(|f| f["kind"] == "note.breaking");
    let breaking = breaking.expect("the message says it");
    assert_eq!(
        (&breaking["text"], &breaking["origin"]["commit"]),
        (&"BREAKING CHANGE: c is gone".into(), &commit.as_str().into())
    );
    let steps: Vec<&str> =
        risk["plan"]["steps"].as_array().expect("steps").iter().filter_map(|s| s["do"].as_str()).collect();
    assert_eq!(steps.first(), Some(&"pin"));
    assert_eq!(steps.last(), Some(&"contract"));
    assert!(steps.contains(&"restart") && steps.contains(&"unpin"));
    assert_eq!(risk["plan"]["point_of_no_return"], format!("s{}", steps.len()));

    // The command says the same, and a pipeline can hold it to a ceiling.
    let told = lab.json(0, &["risk"]);
    assert_eq!(told["findings"], risk["findings"]);
    assert_eq!(told["plan"], risk["plan"]);
    lab.json(4, &["risk", "--ceiling", "warn"]);
    // The way back is another move.
    let (from, to) = (risk["from"].as_str().expect("an id"), risk["to"].as_str().expect("an id"));
    let back = lab.json(0, &["risk", to, from]);
    assert_eq!(back["findings"][0]["kind"], "db.migration_removed");
    assert_eq!(back["findings"][0]["origin"]["dropped"], true);
    let same = lab.json(0, &["risk", to, to]);
    assert_eq!((same["level"].as_str(), same["plan"]["mode"].as_str()), (Some("off"), Some("nothing")));
}

#[test]
fn a_migration_of_the_queue_s_own_is_a_stop_and_names_its_patch() {
    let lab = lab("nova/db/main/migrations/versions/mine.py");
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    lab.carry_code(0, &["nightly"]);
    let risk = lab.json(0, &["risk", "main", &lab.deployed()]);
    let finding = &risk["findings"][0];
    assert_eq!(finding["severity"], "stop");
    assert_eq!(finding["migration"]["phase"], "expand");
    assert_eq!(finding["origin"]["patch"], "of-our-own");
}

#[test]
fn rules_of_one_s_own_count_and_wrong_ones_are_told() {
    let lab = lab("notes.txt");
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    lab.carry_code(0, &["nightly"]);
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let rules = "format = 1\nname = \"site\"\n[[files]]\nid = \"numbers\"\nkind = \"site.numbers\"\nmatch = [\"a\"]\non = [\"modified\"]\nseverity = \"stop\"\n";
    let config = format!("{config}\n[project.p.risk]\npacks = []\nrules = [\"risk.toml\"]\n");
    lab.commit("ws", "rules", &[("carry.toml", Some(&config)), ("risk.toml", Some(rules))]);
    lab.commit("up", "theirs", &[("a", Some(&numbered("a", &[(3, "theirs")])))]);
    let night = &lab.json(0, &["nightly"])[0];
    let risk = &night["manifest"]["risk"];
    assert_eq!(risk["findings"][0]["rule"], "site/numbers");
    let packs: Vec<&str> =
        risk["packs"].as_array().expect("packs").iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(packs, ["generic", "site"]);

    lab.commit("ws", "wrong", &[("risk.toml", Some(&rules.replace("match", "mtach")))]);
    lab.commit("up", "more", &[("a", Some(&numbered("a", &[(4, "theirs")])))]);
    let before = lab.deployed();
    let text = lab.carry_code(2, &["nightly"]);
    assert!(text.contains("risk.toml") && text.contains("mtach"), "{text}");
    assert_eq!(lab.deployed(), before);
    let text = lab.carry_code(2, &["risk", "--pack", "none", &before, &before]);
    assert!(text.contains("there is no rule pack 'none'"), "{text}");
}
