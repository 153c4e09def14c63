//! `git carry doctor` tells what would make the next night fail, by the built binary.

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

fn lab() -> Lab {
    let a = numbered("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&a))])]);
    lab.carry_code(0, &["nightly"]);
    lab
}

/// How a thing is, and what is said of it.
fn look<'d>(document: &'d Value, about: &str) -> Vec<(&'d str, String)> {
    let project = document["projects"][0]["looks"].as_array().expect("looks");
    let all = document["machine"].as_array().expect("looks").iter().chain(project);
    let text = |l: &Value, key: &str| l[key].as_str().unwrap_or_default().to_owned();
    all.filter(|l| l["about"] == about)
        .map(|l| {
            (l["health"].as_str().expect("a word"), format!("{} | {}", text(l, "seen"), text(l, "remedy")))
        })
        .collect()
}

fn configure(lab: &Lab, edit: impl Fn(String) -> String) {
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    lab.commit("ws", "configure", &[("carry.toml", Some(&edit(config)))]);
}

#[test]
fn what_is_in_place_is_good_and_nothing_is_changed() {
    let lab = lab();
    let state =
        || (lab.git("ws", &["status", "--porcelain"]), lab.git("ws/.git/carry/p.git", &["for-each-ref"]));
    let before = state();
    let document = lab.json(0, &["doctor"]);
    assert_eq!(document["health"], "good", "{document:#}");
    for about in
        ["git", "disk", "workspace", "queue", "store", "clock", "night", "upstream", "remote", "risk"]
    {
        assert_eq!(look(&document, about).len(), 1, "{about}");
    }
    assert!(look(&document, "remote")[0].1.contains("takes pushes"));
    assert_eq!(state(), before);
    // A quiet night leaves no commit: only its time tells that it ran.
    let beat = lab.path("ws/.git/carry/p.night");
    std::fs::remove_file(&beat).expect("the first night left it");
    assert_eq!(lab.json(0, &["nightly"])[0]["done"], "quiet");
    assert!(beat.is_file());
    let text = lab.carry_code(0, &["doctor", "--offline"]);
    assert!(text.contains("all is in place for the next night") && !text.contains("upstream"), "{text}");
}

#[test]
fn each_thing_that_would_fail_the_night_is_told_with_its_remedy() {
    let lab = lab();
    let bad = |about: &str, words: &[&str]| {
        let document = lab.json(4, &["doctor"]);
        let looks = look(&document, about);
        let found = looks.iter().find(|(health, _)| *health == "bad");
        let (_, said) = found.unwrap_or_else(|| panic!("nothing is bad: {looks:?}"));
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
    };
    std::fs::write(lab.path("ws/patches/p/stray.patch"), "x").expect("written");
    bad("workspace", &["not committed", "stray.patch"]);
    lab.git("ws", &["add", "-A"]);
    lab.git("ws", &["commit", "-qm", "stray"]);
    bad("queue", &["stray.patch", "mend the files"]);
    lab.git("ws", &["rm", "-q", "patches/p/stray.patch"]);
    lab.git("ws", &["commit", "-qm", "gone"]);

    configure(&lab, |c| c.replace("branch = \"main\"", "branch = \"mian\""));
    bad("upstream", &["has no refs/heads/mian", "set 'branch'"]);
    configure(&lab, |c| c.replace("branch = \"mian\"", "branch = \"main\""));

    let check =
        "[[project.p.check]]\nname = \"unit\"\nrun = [\"no-such-program\"]\nenv = [\"NOT_SET_HERE\"]\n";
    configure(&lab, |c| format!("{c}\n{check}"));
    bad("check", &["'unit' runs 'no-such-program'", "not on PATH"]);
    configure(&lab, |c| c.replace(check, ""));

    configure(&lab, |c| format!("{c}\n[signing]\nkey = \"no-key\"\n"));
    bad("signing", &["no-key", "GIT_CARRY_SIGNING_KEY"]);
    configure(&lab, |c| c.replace("\n[signing]\nkey = \"no-key\"\n", ""));

    let deployed = lab.deployed();
    let foreign = lab.git("up", &["rev-parse", "main"]);
    lab.git("deploy.git", &["fetch", "-q", "../up", "main"]);
    lab.git("deploy.git", &["update-ref", "refs/heads/deploy/p", &foreign]);
    bad("remote", &["not what was published from here", "--replace-deploy"]);
    lab.git("deploy.git", &["update-ref", "refs/heads/deploy/p", &deployed]);
    std::fs::rename(lab.path("deploy.git"), lab.path("away.git")).expect("moved");
    bad("remote", &["deploy.git", "network, keys"]);
    std::fs::rename(lab.path("away.git"), lab.path("deploy.git")).expect("moved");

    std::fs::rename(lab.path("ws/.git/carry/p.git/objects/pack"), lab.path("packs")).expect("moved");
    bad("store", &["lacks the commits", "fetch it anew"]);
    std::fs::remove_dir_all(lab.path("ws/.git/carry/p.git/objects/pack")).ok();
    std::fs::rename(lab.path("packs"), lab.path("ws/.git/carry/p.git/objects/pack")).expect("moved back");
    assert_eq!(lab.json(0, &["doctor"])["health"], "good");
}

#[test]
fn a_paused_project_has_no_nights_until_it_is_resumed_and_everyone_is_told_why() {
    let lab = lab();
    let config = || std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let (before, deployed) = (config(), lab.deployed());
    lab.commit("up", "on", &[("new", Some("x\n"))]);
    lab.carry_code(2, &["pause", "--reason", " "]);
    lab.carry_code(0, &["pause", "--reason", "release \"freeze\""]);
    let night = lab.json(0, &["nightly"]);
    assert_eq!(
        night[0],
        serde_json::json!({"version": 1, "project": "p", "done": "paused", "reason": "release \"freeze\""})
    );
    assert_eq!(lab.deployed(), deployed);
    let text = lab.carry_code(0, &["status"]);
    assert!(text.contains("paused: release \"freeze\"  (git carry resume p)"), "{text}");
    assert_eq!(look(&lab.json(0, &["doctor"]), "night")[0].0, "doubt");
    assert!(lab.git("ws", &["log", "-1", "--format=%B"]).contains("release \"freeze\""));
    lab.carry_code(0, &["resume", "p"]);
    assert_eq!(config(), before, "nothing else was touched");
    lab.carry_code(1, &["resume"]);
    lab.carry_code(0, &["nightly"]);
    assert_ne!(lab.deployed(), deployed);
}
