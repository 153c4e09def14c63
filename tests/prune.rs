//! Old builds go, as carry.toml says; the newest and those that stages run do not.

use crate::support::lab::{Lab, numbered};

/// One patch, and a build.
fn one() -> Lab {
    let a = numbered("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[("on a", &[("a", Some(&a))])]);
    lab.carry_code(0, &["nightly"]);
    lab
}

fn config(lab: &Lab, lines: &str) {
    let path = lab.path("ws/carry.toml");
    let text = std::fs::read_to_string(&path).expect("it is there");
    std::fs::write(&path, format!("{text}\n{lines}\n")).expect("written");
    lab.git("ws", &["commit", "-qam", "by hand"]);
}

/// A night with news; its build.
fn night(lab: &Lab, n: usize) -> String {
    lab.commit("up", "moves", &[("b", Some(&numbered("b", &[(3, &format!("theirs {n}"))])))]);
    lab.carry_code(0, &["nightly"]);
    lab.deployed()[..12].to_owned()
}

/// The builds that have all of these refs in a repository.
fn builds(lab: &Lab, repository: &str) -> Vec<String> {
    let of = |kind: &str| -> Vec<String> {
        let prefix = format!("refs/carry/{kind}/p/");
        let out = lab.git(repository, &["for-each-ref", "--format=%(refname)", &prefix]);
        out.lines().map(|l| l.trim_start_matches(&prefix).to_owned()).collect()
    };
    assert_eq!(of("build"), of("manifest"), "both or neither");
    of("build")
}

const STORE: &str = "ws/.git/carry/p.git";

fn sorted(builds: &[&String]) -> Vec<String> {
    let mut all: Vec<String> = builds.iter().map(|b| (*b).clone()).collect();
    all.sort();
    all
}

#[test]
fn a_night_keeps_so_many_builds_in_the_store_and_all_of_them_at_the_remote() {
    let lab = one();
    config(&lab, "[project.p.history]\nkeep = 3");
    // So many that their names do not stand in the order of their ages by chance.
    let all: Vec<String> = (0..8).map(|n| night(&lab, n)).collect();
    assert_eq!(builds(&lab, STORE), sorted(&[&all[5], &all[6], &all[7]]));
    assert_eq!(builds(&lab, "deploy.git").len(), 9, "nothing goes at the remote unless that is said");
    // What is left is whole, and history is told as far as it goes.
    lab.carry_code(0, &["manifest", "verify"]);
    let report = lab.json(0, &["report"]);
    let points = report["projects"][0]["trends"]["builds"].as_array().expect("a list").len();
    assert_eq!(points, 3, "{report}");
    assert_eq!(
        lab.json(0, &["log"])["log"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|e| e["subject"].as_str().expect("text").contains("replay"))
            .count(),
        9
    );
    let text = lab.carry_code(0, &["prune"]);
    assert!(text.contains("nothing is old enough to go: 3 builds may stay"), "{text}");
}

#[test]
fn what_a_stage_runs_stays_and_a_remote_is_pruned_if_that_is_said() {
    let lab = one();
    config(&lab, "[[project.p.stage]]\nname = \"test\"");
    let first = lab.deployed()[..12].to_owned();
    lab.carry_code(0, &["stage", "promote", &first, "test"]);
    let all: Vec<String> = (0..3).map(|n| night(&lab, n)).collect();
    config(&lab, "[project.p.history]\nkeep = 1\nremote = true");
    let told = lab.json(0, &["prune", "--dry-run"]);
    assert_eq!(told[0]["builds"], serde_json::json!([all[1], all[0]]), "{told}");
    assert_eq!(told[0]["at_remote"].as_array().expect("a list").len(), 4, "{told}");
    assert_eq!(
        (builds(&lab, STORE).len(), builds(&lab, "deploy.git").len()),
        (4, 4),
        "a dry run takes nothing away"
    );
    // Offline nothing goes at the remote.
    lab.carry_code(0, &["prune", "--offline"]);
    assert_eq!((builds(&lab, STORE), builds(&lab, "deploy.git").len()), (sorted(&[&first, &all[2]]), 4));
    let last = night(&lab, 3);
    assert_eq!(builds(&lab, STORE), sorted(&[&first, &last]));
    // Only what this store knows of goes there.
    assert_eq!(builds(&lab, "deploy.git"), sorted(&[&first, &all[0], &all[1], &last]));
    assert!(lab.git("deploy.git", &["for-each-ref", "refs/carry/stage/p/"]).contains("test"));
}

#[test]
fn what_stages_run_that_is_not_known_takes_nothing_away() {
    let lab = one();
    (0..3).for_each(|n| drop(night(&lab, n)));
    config(&lab, "[project.p.history]\nkeep = 1");
    std::fs::rename(lab.path("deploy.git"), lab.path("away.git")).expect("moved");
    let text = lab.carry_code(0, &["prune"]);
    assert!(text.contains("nothing old is taken away, as what stages run is not known"), "{text}");
    assert_eq!(builds(&lab, STORE).len(), 4);
}

#[test]
fn what_went_takes_no_room_any_more_and_the_next_night_goes_on() {
    let lab = one();
    let old: Vec<String> = (0..4).map(|n| night(&lab, n)).collect();
    config(&lab, "[project.p.history]\nkeep = 2");
    lab.carry_code(0, &["prune"]);
    assert!(
        lab.git_works(STORE, &["cat-file", "-e", &old[0]]),
        "git keeps for two weeks what nobody refers to"
    );
    lab.carry_code(0, &["prune", "--now"]);
    assert!(!lab.git_works(STORE, &["cat-file", "-e", &old[0]]));
    assert!(lab.git_works(STORE, &["cat-file", "-e", &old[3]]));
    let packs = std::fs::read_dir(lab.path(STORE).join("objects/pack")).expect("a folder");
    let packs = packs.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".pack")).count();
    assert_eq!(packs, 1);
    night(&lab, 9);
    lab.carry_code(0, &["manifest", "verify"]);
    for repository in ["deploy.git", "ws", STORE] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
}

#[test]
fn what_checks_said_long_ago_is_forgotten_and_asked_again() {
    let lab = one();
    config(
        &lab,
        "[project.p.history]\nkeep = 9\n[[project.p.check]]\nname = \"ok\"\nrun = [\"sh\", \"-c\", \"echo ran >> ../../../ran\"]",
    );
    let results = || {
        let trees = std::fs::read_dir(lab.path("ws/.git/carry/checks")).into_iter().flatten().flatten();
        trees
            .flat_map(|t| std::fs::read_dir(t.path()).into_iter().flatten().flatten())
            .map(|e| e.path().join("result.json"))
            .collect::<Vec<_>>()
    };
    night(&lab, 0);
    assert_eq!(results().len(), 1);
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(61 * 24 * 60 * 60);
    std::fs::File::options()
        .write(true)
        .open(&results()[0])
        .and_then(|f| f.set_modified(long_ago))
        .expect("its time is set");
    assert_eq!(lab.json(0, &["prune", "--dry-run"])[0]["checks"], 1);
    assert_eq!(results().len(), 1);
    assert_eq!(lab.json(0, &["prune"])[0]["checks"], 1);
    assert_eq!(results().len(), 0);
}
