//! Projects that go out together or not at all, by the workers of a fleet.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fleet::{clone, ended, fates, fleet, fleet_of, moves, none, refs, run, soon, start};
use crate::support::Ends;
use crate::support::lab::Lab;

#[test]
fn patches_that_span_projects_make_them_one_unit() {
    let lab = fleet(3, none);
    let patch = std::fs::read_to_string(lab.path("ws/patches/p0/on-a.patch")).expect("it is there");
    let tied = patch.replacen("[PATCH] on a\n", "[PATCH] on a\n\nDepends-On: p2/on-a\n", 1);
    lab.commit("ws", "tied", &[("patches/p0/on-a.patch", Some(&tied))]);
    lab.git("ws", &["push", "-q"]);
    clone(&lab, "w1");
    clone(&lab, "w2");
    let workers: Vec<Child> = ["w1", "w2"].iter().map(|at| start(&lab, at, &["--all"], &[])).collect();
    let ends: Vec<_> = workers.into_iter().map(ended).collect();
    assert_eq!(ends.iter().filter(|(fates, _)| fates["p0+p2"] == "done").count(), 1, "{ends:?}");
    let a = |n: usize| lab.git(&format!("deploy{n}.git"), &["show", &format!("deploy/p{n}:a")]);
    assert!([0, 2].iter().all(|n| a(*n).contains("ours")));
    assert!(refs(&lab, 2, "refs/carry/result/").is_empty(), "the first project's remote has it");
    assert!(refs(&lab, 0, "refs/carry/claim/").is_empty());
    // One falls out, and the other with it.
    moves(&lab, 2, 10, "theirs");
    let (fates, code) = run(&lab, "w2", &["--all"], &[]);
    assert_eq!((fates["p0+p2"].as_str(), code), ("done", 3));
    assert!([0, 2].iter().all(|n| !a(*n).contains("ours")));
}

/// What the manifest of a set names, as a reader has it: the lines that upstream wrote last, by project.
pub fn set_as_read(lab: &Lab, set: &str) -> Option<Vec<String>> {
    let name = format!("refs/carry/set/{set}:set.json");
    if !lab.git_works("deploy0.git", &["cat-file", "-e", &name]) {
        return None;
    }
    let told: Value = serde_json::from_str(&lab.git("deploy0.git", &["show", &name])).expect("JSON");
    let line = |(project, told): (&String, &Value)| {
        let (build, commit) =
            (told["build"].as_str().expect("a build"), told["commit"].as_str().expect("a commit"));
        let there = lab.soon("deploy0.git", &format!("refs/carry/build/{project}/{build}"));
        assert_eq!(there, commit);
        let a = lab.git("deploy0.git", &["show", &format!("{commit}:a")]);
        a.lines().find(|l| l.starts_with("round")).unwrap_or("round 0").to_owned()
    };
    Some(told["projects"].as_object().expect("projects").iter().map(line).collect())
}

pub fn region(_: &Lab) -> String {
    "[[set]]\nname = \"region\"\nprojects = [\"p0\", \"p1\", \"p2\"]\n".to_owned()
}

#[test]
fn a_reader_never_sees_half_of_a_set_whenever_its_worker_is_killed() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let lab = fleet_of(3, 3, region);
    clone(&lab, "w0");
    clone(&lab, "w1");
    let (over, polls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(lines) = set_as_read(&lab, "region") {
                    assert_eq!(lines.len(), 3);
                    assert!(lines.iter().all(|l| *l == lines[0]), "half of a set: {lines:?}");
                    polls.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(30));
            }
        });
        let _ends = Ends(&over);
        let first = Instant::now();
        assert_eq!(run(&lab, "w0", &[], &[]), (BTreeMap::from([("region".into(), "done".into())]), 0));
        let whole = first.elapsed();
        for round in 1..=4_u32 {
            (0..3).for_each(|n| moves(&lab, n, 20, &format!("round {round}")));
            let (killed, other) = (format!("w{}", round % 2), format!("w{}", (round + 1) % 2));
            let mut worker = start(&lab, &killed, &["--claim-for", "1s"], &[]);
            std::thread::sleep(whole * (round + 1) / 5);
            worker.kill().expect("killed");
            worker.wait().expect("waited");
            std::thread::sleep(Duration::from_millis(1500));
            let before = set_as_read(&lab, "region").expect("a set");
            let (fates, _) = run(&lab, &other, &[], &[("GIT_CARRY_NOW", &soon())]);
            let lines = set_as_read(&lab, "region").expect("a set");
            assert_eq!(lines, [(); 3].map(|()| format!("round {round}")));
            assert_eq!(fates["region"] == "already", before == lines, "round {round}");
            for n in 0..3 {
                let at = lab.git("deploy0.git", &["rev-parse", &format!("refs/heads/deploy/p{n}")]);
                let name = "refs/carry/set/region:set.json";
                let told: Value =
                    serde_json::from_str(&lab.git("deploy0.git", &["show", name])).expect("JSON");
                assert_eq!(told["projects"][format!("p{n}")]["commit"], at, "round {round}");
            }
        }
    });
    assert!(polls.into_inner() > 20);
    lab.git("deploy0.git", &["fsck", "--strict", "--no-dangling"]);
    assert_eq!(lab.git("deploy0.git", &["rev-list", "--count", "refs/carry/set/region"]), "5");
}

#[test]
fn of_a_set_that_one_project_cannot_be_published_of_nothing_goes_out() {
    let more = |lab: &Lab| region(lab) + "[project.p2.policy]\nrequired = \"all\"\n";
    let lab = fleet_of(4, 3, more);
    clone(&lab, "w1");
    assert_eq!(run(&lab, "w1", &["--all"], &[]).1, 0);
    let heads =
        || lab.git("deploy0.git", &["for-each-ref", "refs/heads/", "refs/carry/set/", "refs/carry/queue/"]);
    let before = heads();
    (0..2).for_each(|n| moves(&lab, n, 20, "round 1"));
    moves(&lab, 2, 10, "theirs");
    moves(&lab, 3, 20, "round 1");
    let out = start(&lab, "w1", &["--all"], &[]).wait_with_output().expect("it ends");
    assert_eq!(fates(&out), ([("p3".into(), "done".into()), ("region".into(), "done".into())].into(), 4));
    let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let region = told.as_array().expect("a list").iter().find(|u| u["unit"] == "region").expect("the set");
    let done: Vec<&str> =
        (0..3).map(|n| region["result"]["projects"][n]["done"].as_str().expect("a word")).collect();
    assert_eq!(done, ["held", "held", "refused"]);
    assert!(
        region["result"]["projects"][0]["reasons"][0].as_str().is_some_and(|r| r.contains("'p2'")),
        "{region}"
    );
    assert_eq!(heads(), before);
    assert_eq!(run(&lab, "w1", &["--all"], &[]).0["region"], "already");
    // A night of its own leaves it alone.
    let nights = lab.json(0, &["nightly", "--project", "p0"]);
    assert_eq!((&nights[0]["done"], &nights[0]["set"]), (&"in-set".into(), &"region".into()));
    // Upstream gives way: all go out.
    moves(&lab, 2, 21, "round 1");
    assert_eq!(
        run(&lab, "w1", &["--all"], &[]),
        ([("p3".into(), "already".into()), ("region".into(), "done".into())].into(), 0)
    );
    assert_eq!(set_as_read(&lab, "region").expect("a set"), ["round 1"; 3]);
    // Paused, one stops all.
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
    lab.commit(
        "ws",
        "pause",
        &[(
            "carry.toml",
            Some(&toml.replacen("branch = \"b1\"", "branch = \"b1\"\npaused = \"a freeze\"", 1)),
        )],
    );
    let plan = lab.json(0, &["fleet", "plan"]);
    let left_out = plan["left_out"].as_array().expect("a list");
    assert_eq!((left_out.len(), plan["done"].as_array().map(Vec::len)), (3, Some(1)), "{plan}");
}
