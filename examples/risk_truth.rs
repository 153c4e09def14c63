//! Holds the risk rules against labelled moves in real repositories, and prints precision and recall by kind.
//!
//! `cargo run --release --example risk_truth -- LABELS.json NAME=REPOSITORY…`: the labels name moves (`a`, `b`) in
//! repositories by name, what must be found there (`expect`), and what must not (`must_not`, `negative`, `restart`).
//! Moves of repositories that are not named are left out, and counted. An expectation with a key that nothing here
//! compares is an error: it could not fail. It ends with exit code 1 if a negative has a stop that is not known.
//!
//! With `--brief` it prints what is found in each move, in a line each. With `--show ID` it prints all that is found in
//! one move; `--phases REPOSITORY PACK COMMIT` prints how each migration of a commit is read by itself.

use std::collections::BTreeMap;
use std::path::Path;

use git_carry::risk::migration::read;
use git_carry::risk::pack::Rules;
use git_carry::risk::trees::{Side, Trees};
use git_carry::risk::{Assessment, Confidence, Finding, Severity, assess};
use git_carry::store::Odb;
use gix_hash::ObjectId;
use serde_json::Value;

#[derive(Default)]
struct Score {
    found: usize,
    missed: usize,
    wrong: usize,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let brief = args.iter().position(|a| a == "--brief").map(|at| args.remove(at)).is_some();
    let show = args.iter().position(|a| a == "--show").map(|at| {
        args.remove(at);
        args.remove(at)
    });
    if let [flag, repo, pack, commit] = &args[..]
        && flag == "--phases"
    {
        return phases(repo, pack, commit);
    }
    let (labels, repos) = args.split_first().expect("LABELS.json NAME=REPOSITORY…");
    let labels: Value = serde_json::from_slice(&std::fs::read(labels).expect("labels")).expect("JSON");
    let repos: BTreeMap<&str, &str> = repos.iter().filter_map(|r| r.split_once('=')).collect();
    let entries = labels.as_object().and_then(|o| o.values().find(|v| v.is_array() && v[0].is_object()));
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    let (mut cases, mut negatives, mut gated) = (0, 0, Vec::new());
    let mut wrong_gates = 0;
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries.and_then(Value::as_array).expect("a list of entries") {
        let id = entry["id"].as_str().unwrap_or_default();
        let name = entry["repo"].as_str().unwrap_or("(no name)");
        let Some(repo) = repos.get(name) else {
            *left_out.entry(name).or_default() += 1;
            continue;
        };
        if show.as_deref().is_some_and(|wanted| wanted != id) {
            continue;
        }
        cases += 1;
        let started = std::time::Instant::now();
        let assessment = run(repo, entry);
        let took = started.elapsed();
        if show.is_some() {
            println!("{}\n{took:?}", serde_json::to_string_pretty(&assessment).expect("JSON"));
        }
        if brief {
            println!("{id}: {took:.0?}, {:?}, restarts {:?}", assessment.level, assessment.restarts.services);
            for f in assessment.findings.iter().filter(|f| f.severity >= Severity::Warn) {
                let (old, new) = (f.old.as_deref().unwrap_or("-"), f.new.as_deref().unwrap_or("-"));
                let said = f.text.as_deref().unwrap_or_default().replace('\n', " ");
                let said: String = said.chars().take(60).collect();
                println!(
                    "    {:?} {} {} {old} -> {new} {}:{:?} {said}",
                    f.severity, f.kind, f.name, f.path, f.line
                );
            }
        }
        judge(id, entry, &assessment, &mut scores);
        if entry["negative"] == Value::Bool(true) {
            negatives += 1;
            let stops: Vec<&Finding> =
                assessment.findings.iter().filter(|f| f.severity == Severity::Stop).collect();
            if !stops.is_empty() {
                let known = entry["known_false_positive"] == Value::Bool(true);
                gated.push(format!("{id}{}", if known { " (known)" } else { "" }));
                println!("{id}: a negative with stops: {stops:#?}");
                wrong_gates += usize::from(!known);
            }
        }
    }
    println!(
        "\n| kind | found | missed | wrong | precision | recall |\n| --- | --- | --- | --- | --- | --- |"
    );
    let mut all = Score::default();
    let row = |name: &str, s: &Score| {
        let share = |of: usize, whole: usize| {
            if whole == 0 { "-".to_owned() } else { format!("{:.0} %", 100.0 * of as f64 / whole as f64) }
        };
        let (precision, recall) = (share(s.found, s.found + s.wrong), share(s.found, s.found + s.missed));
        println!("| {name} | {} | {} | {} | {precision} | {recall} |", s.found, s.missed, s.wrong);
    };
    for (kind, score) in &scores {
        row(kind, score);
        all.found += score.found;
        all.missed += score.missed;
        all.wrong += score.wrong;
    }
    row("all", &all);
    println!("\n{cases} moves, {negatives} negatives, {} of them gated: {gated:?}", gated.len());
    let missing: usize = left_out.values().sum();
    println!("{missing} moves left out, as their repositories are not named: {left_out:?}");
    if wrong_gates > 0 || cases == 0 {
        std::process::exit(1);
    }
}

/// Prints how each migration of a commit is read by itself.
fn phases(repo: &str, pack: &str, commit: &str) {
    let odb = Odb::open(Path::new(repo)).expect("a repository");
    let id = ObjectId::from_hex(commit.as_bytes()).expect("an id");
    let tree = odb.commit(&id).expect("a commit").tree;
    let rules = Rules::load(&[pack.to_owned()], &[]).expect("a pack");
    let trees = Trees::compare(&odb, tree, tree).expect("all objects are there");
    for rule in &rules.analyse {
        for (path, blob) in trees.files(&rule.files, Side::New).expect("all objects are there") {
            let Some(text) = trees.text(&blob).expect("all objects are there") else { continue };
            if let Some(m) = read::migration(rule, &path, &text) {
                let ops: Vec<String> = m.ops.iter().map(git_carry::risk::migration::Op::in_words).collect();
                println!("{:?}\t{path}\t{}", m.phase(), ops.join("; "));
            }
        }
    }
}

fn run(repo: &str, entry: &Value) -> Assessment {
    let odb = Odb::open(Path::new(repo)).expect("a repository");
    let tree = |key: &str| {
        let id = ObjectId::from_hex(entry[key].as_str().unwrap_or_default().as_bytes()).expect("an id");
        odb.commit(&id).expect("a commit").tree
    };
    let pack =
        if entry["repo"] == "openstack/nova" { "nova" } else { entry["pack"].as_str().unwrap_or("generic") };
    let rules = Rules::load(&[pack.to_owned()], &[]).expect("a pack");
    assess(&odb, tree("a"), tree("b"), &rules).expect("all objects are there")
}

/// The kinds whose precision is counted: all findings of such a kind must be expected.
const COUNTED: [&str; 7] = [
    "db.migration",
    "service.version",
    "service.min_supported",
    "rpc.version",
    "object.version",
    "api.microversion",
    "api.min",
];

/// The keys of an expectation that are compared.
const KEYS: [&str; 22] = [
    "kind",
    "phase",
    "accept_phase",
    "count",
    "min_options",
    "opt",
    "name",
    "iface",
    "version",
    "path",
    "file",
    "src",
    "group",
    "old",
    "new",
    "db",
    "declared",
    "ops",
    "was_deprecated",
    "cosmetic",
    "major",
    "similarity",
];

fn judge(id: &str, entry: &Value, assessment: &Assessment, scores: &mut BTreeMap<String, Score>) {
    let mut used = Vec::new();
    for expected in entry["expect"].as_array().into_iter().flatten() {
        let kind = expected["kind"].as_str().unwrap_or_default();
        let strange =
            expected.as_object().into_iter().flatten().find(|(key, _)| !KEYS.contains(&key.as_str()));
        assert!(strange.is_none(), "{id}: nothing compares {strange:?}");
        let class = match expected["phase"].as_str() {
            Some("contract" | "check") => format!("{kind} (disruptive)"),
            Some(_) => format!("{kind} (other)"),
            None => kind.to_owned(),
        };
        let score = scores.entry(class).or_default();
        let hits: Vec<usize> = (0..assessment.findings.len())
            .filter(|at| matches(expected, &assessment.findings[*at]))
            .collect();
        let wanted = ["count", "min_options"].iter().find_map(|k| expected[*k].as_u64()).unwrap_or(1);
        if hits.len() as u64 >= wanted {
            score.found += 1;
            used.extend(hits);
        } else {
            score.missed += 1;
            println!("{id}: missed {expected}");
            for finding in assessment.findings.iter().filter(|f| f.kind == kind) {
                println!("    there: {}", serde_json::to_string(finding).unwrap_or_default());
            }
        }
    }
    for forbidden in entry["must_not"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (kind, name) = forbidden.split_once(':').map_or((forbidden, None), |(k, n)| (k, Some(n)));
        let prefix = kind.strip_suffix('*');
        let told = |f: &&Finding| {
            if kind == "phase" {
                return f.migration.as_ref().is_some_and(|m| word(&m.phase) == name.unwrap_or_default());
            }
            let is = prefix.map_or(f.kind == kind, |p| f.kind.starts_with(p));
            let is = is && name.is_none_or(|n| f.name == n);
            // `*` forbids what gates, and what is known not to be sure may be told.
            let matters =
                if kind == "*" { f.severity == Severity::Stop } else { f.confidence == Confidence::High };
            is && matters
        };
        for finding in assessment.findings.iter().filter(told) {
            scores.entry(finding.kind.clone()).or_default().wrong += 1;
            println!("{id}: must not: {forbidden}: {}", serde_json::to_string(finding).unwrap_or_default());
        }
    }
    for (at, finding) in assessment.findings.iter().enumerate() {
        if COUNTED.contains(&finding.kind.as_str()) && !used.contains(&at) {
            let disruptive = finding.severity == Severity::Stop;
            let class = match finding.kind.as_str() {
                "db.migration" if disruptive => "db.migration (disruptive)",
                "db.migration" => "db.migration (other)",
                other => other,
            };
            scores.entry(class.to_owned()).or_default().wrong += 1;
            println!("{id}: not expected: {}", serde_json::to_string(finding).unwrap_or_default());
        }
    }
    if let Some(services) = entry["restart"].as_array() {
        let wanted: Vec<&str> = services.iter().filter_map(Value::as_str).collect();
        let score = scores.entry("restart".to_owned()).or_default();
        if assessment.restarts.services == wanted {
            score.found += 1;
        } else {
            score.missed += 1;
            println!("{id}: restarts {:?}, not {wanted:?}", assessment.restarts);
        }
    }
}

/// The word of a value that is one word in JSON.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn matches(expected: &Value, finding: &Finding) -> bool {
    if expected["kind"] != finding.kind.as_str() {
        return false;
    }
    let text = |key: &str| expected[key].as_str();
    let bare = |name: &str| name.rsplit(": ").next().unwrap_or_default().to_owned();
    let named =
        |key: &str| text(key).is_none_or(|wanted| finding.name == wanted || bare(&finding.name) == wanted);
    let migration = finding.migration.as_ref();
    let phase = migration.and_then(|m| serde_json::to_value(m.phase).ok());
    let phase_fits = match expected["accept_phase"].as_array() {
        Some(list) => phase.as_ref().is_some_and(|p| list.contains(p)),
        None => expected["phase"].is_null() || phase.as_ref() == Some(&expected["phase"]),
    };
    let ops: Vec<Value> = migration
        .map(|m| m.ops.iter().filter_map(|op| serde_json::to_value(op).ok()).collect())
        .unwrap_or_default();
    let op_fits = |wanted: &Value| {
        let keys = wanted.as_object().into_iter().flatten();
        let keys: Vec<_> = keys.collect();
        ops.iter().any(|op| keys.iter().all(|(k, v)| op[k.as_str()] == **v))
    };
    let said = finding.text.as_deref().unwrap_or_default();
    named("opt")
        && (expected["kind"] == "config.renamed" || named("name"))
        && named("iface")
        && named("version")
        && text("path").is_none_or(|p| p == finding.path)
        && text("file").is_none_or(|p| p == finding.path)
        && text("src").is_none_or(|p| finding.old.as_deref() == Some(p))
        && text("group").is_none_or(|g| finding.name.starts_with(g))
        && text("old").is_none_or(|o| finding.old.as_deref() == Some(o))
        && text("new").is_none_or(|n| finding.new.as_deref() == Some(n))
        && text("db").is_none_or(|db| migration.is_some_and(|m| m.db == db))
        && text("declared").is_none_or(|d| migration.is_some_and(|m| m.declared.as_deref() == Some(d)))
        && phase_fits
        && expected["ops"].as_array().is_none_or(|ops| ops.iter().all(op_fits))
        && expected["was_deprecated"].as_bool().is_none_or(|was| said.starts_with("deprecated") == was)
        && expected["cosmetic"].as_bool().is_none_or(|c| said.starts_with("only its comments") == c)
        && expected["similarity"].as_u64().is_none_or(|s| (s == 100) != said.starts_with("edited"))
        && expected["major"].as_bool().is_none_or(|m| said.contains("another major") == m)
}
