//! What is found in a move: small trees for each kind of thing, with what must be found and nothing else
//! (`fixtures/risk`); and the command and the manifest, by the built binary.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::lab::{Lab, numbered};
use git_carry::risk::pack::Rules;
use git_carry::risk::{Confidence, Finding, assess};
use serde::Deserialize;

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
        let objects = crate::support::bare_store(dir.path());
        let old: crate::support::Snapshot = case.old;
        let mut new = old.clone();
        for (path, text) in case.new {
            match text.is_empty() {
                true => new.remove(&path),
                false => new.insert(path, text),
            };
        }
        let (before, after) =
            (crate::support::deep_tree(&objects, &old), crate::support::deep_tree(&objects, &new));
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
    let back = lab.json(4, &["risk", to, from, "--ceiling", "warn"]);
    let finding = &back["findings"][0];
    assert_eq!((&finding["kind"], &finding["severity"]), (&"db.contract_passed".into(), &"stop".into()));
    assert_eq!(finding["origin"]["dropped"], true);
    assert_eq!(back["findings"][1]["kind"], "db.migration_removed");
    let first = &back["plan"]["steps"][0];
    let what = first["what"].as_str().unwrap_or_default();
    assert!(first["do"] == "check" && what.contains("drop column t.c"), "{first}");
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

/// A workspace whose upstream has these files, and whose queue is one patch of these.
fn lab_with(upstream: crate::support::lab::Files<'_>, patch: crate::support::lab::Files<'_>) -> Lab {
    let lab = Lab::new();
    lab.commit("up", "base", upstream);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.commit("up", "of our own", patch);
    lab.git("up", &["checkout", "-q", "main"]);
    let init =
        ["init", "--project", "p", "--upstream", "../up", "--branch", "main", "--remote", "../deploy.git"];
    lab.carry_code(0, &init);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    lab.carry_code(0, &["nightly"]);
    lab
}

#[test]
fn versions_and_objects_that_the_queue_changes_are_stops_and_upstream_s_own_are_not() {
    let object = |version: &str, field: &str| {
        format!(
            "class Port(base.Object):\n    VERSION = '{version}'\n    fields = {{'a': fields.{field}()}}\n"
        )
    };
    let service = |n: u32| format!("SERVICE_VERSION = {n}\n");
    let manager = |n: u32| format!("class ComputeManager:\n    target = messaging.Target(version='6.{n}')\n");
    let upstream = [
        ("nova/conf/__init__.py", String::new()),
        ("nova/objects/port.py", object("1.0", "IntegerField")),
        ("nova/objects/service.py", service(70)),
        ("nova/compute/manager.py", manager(1)),
    ];
    let patch = [
        ("nova/objects/port.py", object("1.0", "StringField")),
        ("nova/objects/service.py", service(71)),
        ("nova/compute/manager.py", manager(2)),
    ];
    fn files<'f>(all: &'f [(&'f str, String)]) -> Vec<(&'f str, Option<&'f str>)> {
        all.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect()
    }
    let lab = lab_with(&files(&upstream), &files(&patch));
    let risk = lab.json(0, &["risk", "main", &lab.deployed()]);
    let found: Vec<[&str; 3]> = risk["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|f| [&f["severity"], &f["kind"], &f["origin"]["patch"]].map(|v| v.as_str().unwrap_or("-")))
        .collect();
    let kinds = ["object.version.unmarked", "rpc.version", "service.version"];
    assert_eq!(found, kinds.map(|kind| ["stop", kind, "of-our-own"]));

    // The same numbers of upstream's own are to be looked at.
    let moved = lab.commit("up", "theirs", &[("nova/objects/other.py", Some("x = 1\n"))]);
    let bumped = [("nova/objects/service.py", service(71)), ("nova/compute/manager.py", manager(2))];
    lab.commit("up", "bumped", &files(&bumped));
    let own = ["risk", "--repository", "../up", &moved, "main"];
    assert_eq!(lab.json(0, &own)["level"], "warn");
}

#[test]
fn what_cannot_be_looked_into_is_said_and_restarts_everything() {
    let lab = Lab::new();
    let unit = ("etc/web.service", Some("[Service]\nExecStart=/usr/bin/web\n"));
    lab.commit("up", "base", &[("a", Some("a\n")), unit]);
    let id = lab.git("up", &["rev-parse", "HEAD"]);
    lab.git("up", &["update-index", "--add", "--cacheinfo", &format!("160000,{id},lib")]);
    lab.git("up", &["commit", "-q", "-m", "a submodule"]);
    let with = lab.git("up", &["rev-parse", "HEAD"]);
    let versions = "prisma/migrations/1_a";
    std::fs::create_dir_all(lab.path("up").join(versions)).expect("a folder");
    std::fs::write(lab.path("up").join(versions).join("migration.sql"), b"drop\0table t").expect("a file");
    lab.git("up", &["add", "prisma"]);
    lab.git("up", &["commit", "-q", "-m", "a migration that is binary"]);

    let told = |from: &str, to: &str, packs: &[&str]| {
        let mut args = vec!["risk", "--repository", "../up"];
        args.extend(packs.iter().flat_map(|pack| ["--pack", pack]));
        args.extend([from, to]);
        lab.json(0, &args)
    };
    let module = told(&id, &with, &["generic"]);
    assert_eq!(
        (&module["findings"][0]["kind"], &module["findings"][0]["path"]),
        (&"unread".into(), &"lib".into())
    );
    assert_eq!(module["restarts"]["services"], serde_json::json!(["*"]));
    assert_eq!(module["restarts"]["named"], serde_json::json!({"web": "etc/web.service"}));
    let restart = module["plan"]["steps"].as_array().and_then(|s| s.iter().find(|s| s["do"] == "restart"));
    assert_eq!(restart.expect("a restart")["what"], "restart every service: web");
    let binary = told(&with, "HEAD", &["sql-migrations"]);
    assert_eq!(binary["findings"][0]["migration"]["phase"], "unknown");
    assert_eq!((&binary["level"], &binary["findings"][1]["kind"]), (&"stop".into(), &"unread".into()));
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
