//! The nights of many projects by many workers, each in a clone of its own, before a real git server: each unit is done once,
//! whatever is submitted twice, killed or held up.

mod told;

use std::collections::BTreeMap;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Ends;
use crate::support::http::serve;
use crate::support::lab::{Lab, numbered};

/// `count` projects `p0`, `p1` …, each with a branch of `up`, one patch `on-a` and a deploy repository of its own behind a
/// server; and the workspace at `queue.git`, where everyone's clones come from.
pub fn fleet(count: usize, more: impl Fn(&Lab) -> String) -> Lab {
    fleet_of(count, 1, more)
}

/// The same; the first `shared` of them deploy to one repository.
pub fn fleet_of(count: usize, shared: usize, more: impl Fn(&Lab) -> String) -> Lab {
    let lab = Lab::new();
    let url = serve(&lab.path("."));
    let base: Vec<(&str, String)> = ["a", "b", "c"].map(|n| (n, numbered(n, &[]))).to_vec();
    let files: Vec<(&str, Option<&str>)> = base.iter().map(|(n, t)| (*n, Some(t.as_str()))).collect();
    lab.commit("up", "base", &files);
    let mut toml = "version = 1\n".to_owned();
    let mut queue = Vec::new();
    for n in 0..count {
        lab.git("up", &["branch", &format!("b{n}"), "main"]);
        lab.git("up", &["checkout", "-q", "--detach", "main"]);
        lab.commit("up", "on a", &[("a", Some(&numbered("a", &[(10, &format!("ours {n}"))])))]);
        let args = [
            "format-patch",
            "-q",
            "--stdout",
            "--zero-commit",
            "--no-signature",
            "--full-index",
            "--no-stat",
        ];
        let patch = lab.git("up", &[&args[..], &["-1", "HEAD"]].concat()) + "\n";
        queue.push((format!("patches/p{n}/on-a.patch"), patch));
        queue.push((format!("patches/p{n}/series"), "on-a.patch\n".to_owned()));
        let deploy = format!("deploy{}.git", if n < shared { 0 } else { n });
        lab.git(".", &["init", "-q", "--bare", &deploy]);
        lab.git(&deploy, &["config", "http.receivepack", "true"]);
        toml += &format!(
            "[project.p{n}]\nupstream = \"{url}/up/.git\"\nbranch = \"b{n}\"\n[project.p{n}.deploy]\nremote = \"{url}/{deploy}\"\n"
        );
    }
    lab.git("up", &["checkout", "-q", "main"]);
    lab.git("ws", &["init", "-q", "-b", "main"]);
    queue.push(("carry.toml".to_owned(), toml + &more(&lab)));
    let files: Vec<(&str, Option<&str>)> =
        queue.iter().map(|(n, t)| (n.as_str(), Some(t.as_str()))).collect();
    lab.commit("ws", "the queues", &files);
    lab.git(".", &["clone", "-q", "--bare", "ws", "queue.git"]);
    lab.git("ws", &["remote", "add", "origin", "../queue.git"]);
    lab.git("ws", &["push", "-q", "-u", "origin", "main"]);
    lab
}

pub fn none(_: &Lab) -> String {
    String::new()
}

/// The first project's builds wait before they go out: the first until `go1` is there, the second until `go2`.
pub fn held(lab: &Lab) -> String {
    let (script, folder) = (lab.path("hold.sh"), lab.path("."));
    let text = "cd \"$1\"; n=1; until mkdir held$n 2>/dev/null; do n=$((n+1)); done; until [ -e go$n ]; do sleep 0.05; done\n";
    std::fs::write(&script, text).expect("written");
    format!(
        "[[project.p0.hook]]\non = \"before-publish\"\nrun = [\"sh\", \"{}\", \"{}\"]\n",
        script.display(),
        folder.display()
    )
}

pub fn lets_go(lab: &Lab, n: usize) {
    std::fs::write(lab.path(&format!("go{n}")), "").expect("written");
}

/// Waits until a build is held.
pub fn wait_for(lab: &Lab, n: usize) {
    let (start, place) = (Instant::now(), lab.path(&format!("held{n}")));
    while !place.exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(place.exists(), "no build came so far");
}

/// A worker's own clone of the workspace.
pub fn clone(lab: &Lab, name: &str) {
    lab.git(".", &["clone", "-q", "queue.git", name]);
}

/// Upstream's branch `n` gets a line of its own.
pub fn moves(lab: &Lab, n: usize, line: usize, text: &str) {
    lab.git("up", &["checkout", "-q", &format!("b{n}")]);
    lab.commit("up", "upstream moves", &[("a", Some(&numbered("a", &[(line, text)])))]);
    lab.git("up", &["checkout", "-q", "main"]);
}

/// A worker, in the clone `at`.
pub fn start(lab: &Lab, at: &str, args: &[&str], env: &[(&str, &str)]) -> Child {
    let mut command = lab.carry_command(at, &[&["--json", "fleet", "run"], args].concat());
    command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// What became of each unit by a worker, and its exit code.
pub fn ended(child: Child) -> (BTreeMap<String, String>, i32) {
    fates(&child.wait_with_output().expect("it ends"))
}

fn fates(out: &Output) -> (BTreeMap<String, String>, i32) {
    let text = String::from_utf8_lossy(&out.stdout);
    let said = String::from_utf8_lossy(&out.stderr);
    let list: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{said}"));
    let pair = |v: &Value| {
        let word = |key: &str| v[key].as_str().expect("a word").to_owned();
        (word("unit"), word("fate"))
    };
    (list.as_array().expect("a list").iter().map(pair).collect(), out.status.code().expect("a code"))
}

pub fn run(lab: &Lab, at: &str, args: &[&str], env: &[(&str, &str)]) -> (BTreeMap<String, String>, i32) {
    ended(start(lab, at, args, env))
}

pub fn refs(lab: &Lab, n: usize, under: &str) -> Vec<String> {
    let listed = lab.git(&format!("deploy{n}.git"), &["for-each-ref", "--format=%(refname)", under]);
    listed.lines().map(str::to_owned).collect()
}

/// The commit that a project's deploy branch is at.
pub fn deployed(lab: &Lab, n: usize) -> String {
    lab.git(&format!("deploy{n}.git"), &["rev-parse", &format!("refs/heads/deploy/p{n}")])
}

/// A deploy repository is whole: branch, build, queue and result are of one night, and nobody has a claim.
pub fn is_whole(lab: &Lab, n: usize) {
    let at = format!("deploy{n}.git");
    lab.git(&at, &["fsck", "--strict", "--no-dangling"]);
    let commit = deployed(lab, n);
    let build = format!("refs/carry/build/p{n}/{}", &commit[..12]);
    assert_eq!(lab.git(&at, &["rev-parse", &build]), commit);
    let lock = lab.git(&at, &["show", &format!("refs/carry/queue/p{n}:carry.lock")]);
    assert!(lock.contains(&format!("deploy = \"{commit}\"")), "{lock}");
    let results = refs(lab, n, "refs/carry/result/");
    let told = |name: &String| -> Value {
        serde_json::from_str(&lab.git(&at, &["cat-file", "blob", name])).expect("a result")
    };
    assert!(results.iter().any(|r| told(r)["projects"][0]["commit"] == *commit), "{results:?}");
    assert!(refs(lab, n, "refs/carry/claim/").is_empty());
}

/// How many nights the queue's own branch of a project has.
pub fn nights(lab: &Lab, n: usize) -> usize {
    let args = ["log", "--format=%s", &format!("refs/carry/queue/p{n}")];
    lab.git(&format!("deploy{n}.git"), &args).lines().filter(|l| l.contains(": replay on ")).count()
}

#[test]
fn workers_in_clones_of_their_own_do_each_unit_once_and_the_next_time_nothing() {
    let lab = fleet(5, none);
    let clones = ["w1", "w2", "w3"];
    for round in 1..=3 {
        if round == 2 {
            (0..5).for_each(|n| moves(&lab, n, 20, "theirs"));
        }
        if round == 1 {
            clones.iter().for_each(|name| clone(&lab, name));
        }
        let workers: Vec<Child> = clones.iter().map(|at| start(&lab, at, &["--all"], &[])).collect();
        let ends: Vec<_> = workers.into_iter().map(ended).collect();
        for n in 0..5 {
            let unit = format!("p{n}");
            let done = ends.iter().filter(|(fates, _)| fates[&unit] == "done").count();
            assert_eq!(done, usize::from(round < 3), "round {round}: {unit}: {ends:?}");
            is_whole(&lab, n);
            assert_eq!(nights(&lab, n), round.min(2), "round {round}: {unit}");
            let a = lab.git(&format!("deploy{n}.git"), &["show", &format!("deploy/p{n}:a")]);
            assert!(a.contains(&format!("ours {n}")) && (round == 1 || a.contains("theirs")), "{a}");
        }
        assert!(ends.iter().all(|(_, code)| *code == 0), "{ends:?}");
        // Who came second left it alone at once.
        let words = ends.iter().flat_map(|(fates, _)| fates.values());
        assert!(words.into_iter().all(|w| ["done", "already", "claimed"].contains(&w.as_str())), "{ends:?}");
        // No worker changed what it worked in.
        for at in clones {
            assert_eq!(lab.git(at, &["status", "--porcelain"]), "");
            assert_eq!(lab.git(at, &["rev-parse", "HEAD"]), lab.git("queue.git", &["rev-parse", "main"]));
        }
    }
    let plan = lab.json(0, &["fleet", "plan"]);
    assert_eq!(
        (plan["due"].as_array().map(Vec::len), plan["done"].as_array().map(Vec::len)),
        (Some(0), Some(5))
    );
}

#[test]
fn the_same_shares_submitted_twice_at_once_do_each_unit_once() {
    let lab = fleet(6, none);
    let tasks: Vec<(String, [(&str, String); 3])> = (0..4)
        .map(|n| {
            let at = format!("w{n}");
            clone(&lab, &at);
            // As Slurm numbers an array of two.
            let index = (n % 2 + 7).to_string();
            let env = [("ID", index), ("COUNT", "2".to_owned()), ("MIN", "7".to_owned())];
            (at, env)
        })
        .collect();
    let names = ["SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"];
    let begin = |(at, env): &(String, [(&str, String); 3])| {
        let env: Vec<(&str, &str)> =
            names.iter().zip(env).map(|(name, (_, v))| (*name, v.as_str())).collect();
        start(&lab, at, &[], &env)
    };
    let workers: Vec<Child> = tasks.iter().map(begin).collect();
    let ends: Vec<_> = workers.into_iter().map(ended).collect();
    for n in 0..6 {
        let unit = format!("p{n}");
        let fates: Vec<&String> = ends.iter().filter_map(|(fates, _)| fates.get(&unit)).collect();
        assert_eq!(fates.len(), 2, "it is in one share: {ends:?}");
        assert_eq!(fates.iter().filter(|f| **f == "done").count(), 1, "{unit}: {ends:?}");
        is_whole(&lab, n);
        assert_eq!(nights(&lab, n), 1);
    }
}

#[test]
fn a_worker_that_is_killed_holds_its_unit_until_the_claim_ends_and_no_longer() {
    let lab = fleet(2, held);
    clone(&lab, "w1");
    clone(&lab, "w2");
    let mut worker = start(&lab, "w1", &["--all"], &[]);
    wait_for(&lab, 1);
    worker.kill().expect("killed");
    worker.wait().expect("waited");
    lets_go(&lab, 1);
    lets_go(&lab, 2);
    assert!(refs(&lab, 0, "refs/heads/").is_empty(), "nothing is out");
    let (fates, code) = run(&lab, "w2", &["--all"], &[]);
    assert_eq!((fates["p0"].as_str(), code), ("claimed", 0), "{fates:?}");
    is_whole(&lab, 1);
    let report = lab.json(1, &["fleet", "report"]);
    assert_eq!(report["units"][0]["stands"], "in progress");
    let plan = lab.json(0, &["fleet", "plan"]);
    assert_eq!(plan["claimed"][0]["unit"], "p0", "{plan}");
    // An hour on.
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(61)).to_string();
    let report = lab.carry_command("ws", &["fleet", "report"]).env("GIT_CARRY_NOW", &later).output();
    let report = report.expect("it runs");
    assert_eq!(report.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&report.stdout).contains("cut off"));
    let (fates, code) = run(&lab, "w2", &["--all"], &[("GIT_CARRY_NOW", &later)]);
    assert_eq!((fates["p0"].as_str(), fates["p1"].as_str(), code), ("done", "already", 0), "{fates:?}");
    is_whole(&lab, 0);
    assert_eq!(nights(&lab, 0), 1);
    // The clone in which it was killed works on.
    let (fates, _) = run(&lab, "w1", &["--all"], &[]);
    assert_eq!(fates.values().map(String::as_str).collect::<Vec<_>>(), ["already"; 2]);
}

/// A moment after the end of a claim of a second that was renewed just now.
fn soon() -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5)).to_string()
}

#[test]
fn killed_at_many_moments_a_unit_is_not_done_or_done_once_and_the_next_worker_ends_it() {
    let lab = fleet(1, none);
    clone(&lab, "w0");
    clone(&lab, "w1");
    run(&lab, "w0", &[], &[]);
    moves(&lab, 0, 20, "theirs");
    let start_of = Instant::now();
    run(&lab, "w1", &[], &[]);
    let whole = start_of.elapsed();
    let mut cut_off = 0;
    for round in 1..=8_u32 {
        moves(&lab, 0, 20, &format!("theirs {round}"));
        let old = deployed(&lab, 0);
        let (killed, other) = (format!("w{}", round % 2), format!("w{}", (round + 1) % 2));
        let mut worker = start(&lab, &killed, &["--claim-for", "1s"], &[]);
        std::thread::sleep(whole * round / 8);
        cut_off += usize::from(worker.try_wait().expect("asked").is_none());
        worker.kill().expect("killed");
        worker.wait().expect("waited");
        // A child of it may still be at work; then the claim ends.
        std::thread::sleep(Duration::from_millis(1500));
        let seen = deployed(&lab, 0);
        let (fates, code) = run(&lab, &other, &[], &[("GIT_CARRY_NOW", &soon())]);
        assert!(["done", "already"].contains(&fates["p0"].as_str()), "round {round}: {fates:?}");
        assert_eq!(code, 0);
        is_whole(&lab, 0);
        assert_eq!(fates["p0"] == "done", seen == old, "round {round}: what is out is out with its result");
        assert_eq!(nights(&lab, 0), round as usize + 2, "round {round}");
    }
    assert!(cut_off >= 4, "most must be killed while they work: {cut_off}");
}

fn signal(worker: &Child, which: &str) {
    let done = std::process::Command::new("kill").args([which, &worker.id().to_string()]).status();
    assert!(done.expect("kill runs").success());
}

#[test]
fn a_worker_that_takes_longer_than_its_claim_keeps_its_unit_and_ends_it() {
    let lab = fleet(1, held);
    clone(&lab, "w1");
    clone(&lab, "w2");
    let slow = start(&lab, "w1", &["--claim-for", "1s"], &[]);
    wait_for(&lab, 1);
    lets_go(&lab, 2);
    std::thread::sleep(Duration::from_millis(2600));
    let (fates, code) = run(&lab, "w2", &[], &[]);
    assert_eq!((fates["p0"].as_str(), code), ("claimed", 0));
    lets_go(&lab, 1);
    let (fates, code) = ended(slow);
    assert_eq!((fates["p0"].as_str(), code), ("done", 0));
    is_whole(&lab, 0);
    assert_eq!(nights(&lab, 0), 1);
}

#[test]
fn a_worker_that_was_held_up_until_another_took_over_loses_and_says_so() {
    let lab = fleet(1, held);
    clone(&lab, "w1");
    clone(&lab, "w2");
    let slow = start(&lab, "w1", &["--claim-for", "1s"], &[]);
    wait_for(&lab, 1);
    // It sleeps past its claim's end, as a machine may.
    signal(&slow, "-STOP");
    std::thread::sleep(Duration::from_millis(2600));
    let other = start(&lab, "w2", &[], &[]);
    wait_for(&lab, 2);
    signal(&slow, "-CONT");
    // The other one has the claim, and nothing is out yet: all that the slow one lacks is the claim. It ends at once, and
    // what it waits for with it.
    let (fates, code) = ended(slow);
    assert_eq!((fates["p0"].as_str(), code), ("lost", 0));
    assert!(refs(&lab, 0, "refs/heads/").is_empty() && refs(&lab, 0, "refs/carry/result/").is_empty());
    lets_go(&lab, 2);
    let (fates, code) = ended(other);
    assert_eq!((fates["p0"].as_str(), code), ("done", 0));
    is_whole(&lab, 0);
    assert_eq!(nights(&lab, 0), 1);
}

#[test]
fn without_any_engine_xargs_does_the_same_in_one_clone() {
    let lab = fleet(5, none);
    clone(&lab, "w");
    let binary = env!("CARGO_BIN_EXE_git-carry");
    for round in 0..2 {
        let line = "seq 3 | xargs -P 3 -I{} \"$BIN\" fleet run --shard {}/3";
        let out = lab.carry_command("w", &[]);
        let env: Vec<_> = out.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", line]).current_dir(lab.path("w")).env_clear().envs(env).env("BIN", binary);
        let out = shell.output().expect("sh runs");
        let text = String::from_utf8_lossy(&out.stdout);
        let words = if round == 0 { "published" } else { "done already" };
        assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(text.matches(words).count(), 5, "{text}");
        (0..5).for_each(|n| is_whole(&lab, n));
    }
    assert_eq!(lab.git("w", &["status", "--porcelain"]), "");
    // One night after the other makes the same builds.
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
    let other: String =
        toml.lines().map(|l| if l.starts_with("remote") { "" } else { l }).collect::<Vec<_>>().join("\n");
    std::fs::write(lab.path("ws/carry.toml"), other).expect("written");
    lab.git("ws", &["commit", "-qam", "no remote"]);
    let nights = lab.json(0, &["nightly"]);
    for n in 0..5 {
        assert_eq!(nights[n]["manifest"]["deploy"]["commit"], deployed(&lab, n));
    }
}

#[test]
fn what_people_change_and_what_nights_write_anew_go_on_together_and_come_back_to_the_workspace() {
    let lab = fleet(1, none);
    clone(&lab, "w1");
    run(&lab, "w1", &[], &[]);
    // A night writes `on-a` anew, and the workspace does not know.
    moves(&lab, 0, 12, "near");
    assert_eq!(run(&lab, "w1", &[], &[]).0["p0"], "done");
    // People add a patch, and say more of the first.
    lab.git("up", &["checkout", "-q", "--detach", "main"]);
    lab.commit("up", "on b", &[("b", Some(&numbered("b", &[(10, "ours b")])))]);
    let args =
        ["format-patch", "-q", "--stdout", "--zero-commit", "--no-signature", "--full-index", "-1", "HEAD"];
    let patch = lab.git("up", &args) + "\n";
    lab.git("up", &["checkout", "-q", "main"]);
    let first = std::fs::read_to_string(lab.path("ws/patches/p0/on-a.patch")).expect("it is there");
    let said = first.replacen("[PATCH] on a\n", "[PATCH] on a\n\nAs everyone says.\n", 1);
    assert_ne!(said, first);
    lab.commit(
        "ws",
        "more",
        &[
            ("patches/p0/on-b.patch", Some(&patch)),
            ("patches/p0/series", Some("on-a.patch\non-b.patch\n")),
            ("patches/p0/on-a.patch", Some(&said)),
        ],
    );
    lab.git("ws", &["push", "-q"]);
    clone(&lab, "w2");
    let both = || {
        let show = |what: &str| lab.git("deploy0.git", &["show", &format!("deploy/p0:{what}")]);
        let log = lab.git("deploy0.git", &["log", "-2", "--format=%B", "deploy/p0"]);
        (show("a").contains("ours 0"), show("b").contains("ours b"), log.contains("everyone"))
    };
    assert_eq!(run(&lab, "w2", &[], &[]).0["p0"], "done");
    assert_eq!(both(), (true, true, true));
    is_whole(&lab, 0);
    // A clone that has not seen what people did takes nothing of it back.
    assert_eq!(run(&lab, "w1", &[], &[]).0["p0"], "already");
    moves(&lab, 0, 25, "far");
    assert_eq!(run(&lab, "w1", &[], &[]).0["p0"], "done");
    assert_eq!(both(), (true, true, true));
    // Nor does it count as a change that the workspace is as it was when it was taken in.
    moves(&lab, 0, 26, "farther");
    assert_eq!(run(&lab, "w2", &[], &[]).0["p0"], "done");
    assert_eq!(both(), (true, true, true));
    let merges = lab.git("deploy0.git", &["rev-list", "--merges", "--count", "refs/carry/queue/p0"]);
    assert_eq!(merges, "1");
    // It comes back, and is what a night of the workspace itself would have left.
    let report = lab.json(0, &["fleet", "report", "--record"]);
    assert_eq!(report["recorded"][0]["project"], "p0");
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    let there =
        |file: &str| lab.git("deploy0.git", &["show", &format!("refs/carry/queue/p0:patches/p0/{file}")]);
    for file in ["on-a.patch", "on-b.patch", "series"] {
        assert_eq!(lab.git("ws", &["show", &format!("HEAD:patches/p0/{file}")]), there(file), "{file}");
    }
    let nights = lab.json(0, &["nightly"]);
    assert_eq!(nights[0]["done"], "quiet", "{nights}");
    assert_eq!(lab.json(0, &["fleet", "report", "--record"])["recorded"].as_array().map(Vec::len), Some(0));
    assert_eq!(lab.json(0, &["fleet", "plan"])["done"], serde_json::json!(["p0"]));
    // From there people go on, by hand and by night.
    lab.git("ws", &["push", "-q"]);
    moves(&lab, 0, 27, "by night");
    lab.carry_code(0, &["nightly"]);
    lab.git("ws", &["push", "-q"]);
    lab.git("w2", &["pull", "-q"]);
    moves(&lab, 0, 28, "by the fleet");
    assert_eq!(run(&lab, "w2", &[], &[]).0["p0"], "done");
    is_whole(&lab, 0);
    assert_eq!(both(), (true, true, true));
}

#[test]
fn what_a_night_left_comes_back_as_the_commits_that_a_night_makes() {
    let lab = fleet(2, none);
    clone(&lab, "w1");
    run(&lab, "w1", &["--all"], &[]);
    moves(&lab, 0, 12, "near");
    run(&lab, "w1", &["--all"], &[]);
    let before = lab.git("ws", &["rev-parse", "HEAD"]);
    lab.carry_code(0, &["fleet", "report", "--record"]);
    let subjects = lab.git("ws", &["log", "--format=%s", &format!("{before}..HEAD")]);
    assert_eq!(subjects.lines().filter(|l| l.starts_with("carry: p0: replay on ")).count(), 2, "{subjects}");
    assert_eq!(subjects.lines().filter(|l| l.starts_with("carry: p1: replay on ")).count(), 1, "{subjects}");
    assert!(!subjects.contains("the queue as the workspace has it"), "{subjects}");
    for n in 0..2 {
        let lock = lab.git("ws", &["show", "HEAD:carry.lock"]);
        assert!(lock.contains(&deployed(&lab, n)), "{lock}");
    }
    lab.carry_code(0, &["status", "--project", "p0"]);
    lab.carry_code(0, &["manifest", "verify", "--project", "p0"]);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}

#[test]
fn a_queue_that_people_and_nights_change_against_each_other_is_told_and_stops_no_other() {
    let lab = fleet(2, none);
    clone(&lab, "w1");
    run(&lab, "w1", &["--all"], &[]);
    // Upstream takes the patch, so a night takes it out of the queue; people write it anew.
    lab.git("up", &["checkout", "-q", "b0"]);
    lab.commit("up", "theirs now", &[("a", Some(&numbered("a", &[(10, "ours 0")])))]);
    lab.git("up", &["checkout", "-q", "main"]);
    assert_eq!(run(&lab, "w1", &["--all"], &[]).0["p0"], "done");
    let first = std::fs::read_to_string(lab.path("ws/patches/p0/on-a.patch")).expect("it is there");
    lab.commit("ws", "more", &[("patches/p0/on-a.patch", Some(&first.replace("on a\n", "on a, still\n")))]);
    lab.git("ws", &["push", "-q"]);
    let old = deployed(&lab, 0);
    clone(&lab, "w2");
    moves(&lab, 1, 20, "theirs");
    let (fates, code) = run(&lab, "w2", &["--all"], &[]);
    assert_eq!((fates["p0"].as_str(), fates["p1"].as_str(), code), ("failed", "done", 4), "{fates:?}");
    assert_eq!(deployed(&lab, 0), old);
    let out = lab.carry_command("w2", &["fleet", "run", "--all"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("patches/p0/on-a.patch") && text.contains("by people and by a night"), "{text}");
    is_whole(&lab, 1);
}

#[test]
fn the_report_tells_from_refs_alone_how_all_stands() {
    let required = |_: &Lab| "[project.p2.policy]\nrequired = \"all\"\n".to_owned();
    let lab = fleet(4, required);
    clone(&lab, "w1");
    moves(&lab, 1, 10, "theirs");
    moves(&lab, 2, 10, "theirs");
    let stands = |code: i32| -> Vec<String> {
        let report = lab.json(code, &["fleet", "report"]);
        let units = report["units"].as_array().expect("a list");
        units.iter().map(|u| u["stands"].as_str().expect("a word").to_owned()).collect()
    };
    assert_eq!(stands(1), ["not done"; 4]);
    assert_eq!(run(&lab, "w1", &["--unit", "p0,p1"], &[]).1, 3);
    assert_eq!(stands(1), ["published", "published", "not done", "not done"]);
    assert_eq!(run(&lab, "w1", &["--unit", "p2", "--unit", "p3"], &[]).1, 4);
    assert_eq!(stands(4), ["published", "published", "refused", "published"]);
    // A refusal is a result: nobody tries it again for nothing.
    assert_eq!(
        run(&lab, "w1", &["--all"], &[]),
        ((0..4).map(|n| (format!("p{n}"), "already".into())).collect(), 0)
    );
    let text = lab.carry_code(4, &["fleet", "report"]);
    assert!(text.contains("required patch 'on-a' conflicts") && text.contains("1 conflict"), "{text}");
    // The page has all projects, from a clone that has run nothing.
    lab.carry_code(4, &["fleet", "report", "--to", "../night.html"]);
    let page = std::fs::read_to_string(lab.path("night.html")).expect("a page");
    assert!((0..4).all(|n| page.contains(&format!("p{n}"))), "all projects");
    assert!(page.contains(&deployed(&lab, 0)[..12]), "the build that is out");
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    // What cannot be done leaves why, and holds nobody off.
    lab.git("up", &["branch", "-q", "-m", "b3", "gone"]);
    lab.git("up", &["tag", "x"]);
    let (fates, code) = run(&lab, "w1", &["--unit", "p3"], &[]);
    assert_eq!((fates["p3"].as_str(), code), ("failed", 1));
}

#[test]
fn a_plan_has_the_long_ones_first_within_the_ceilings_of_each_engine() {
    let lab = fleet(5, |_| "[project.p4]\nx = 1\n".replace("[project.p4]\nx = 1\n", ""));
    let text = lab.carry_code(0, &["fleet", "plan"]);
    assert!(text.contains("5 units due, 0 done, 0 claimed") && text.contains("no result yet"), "{text}");
    let matrix =
        lab.carry_code(0, &["--quiet", "fleet", "plan", "--format", "github-matrix", "--shards", "2"]);
    assert_eq!(matrix.lines().count(), 1);
    let matrix: Value = serde_json::from_str(&matrix).expect("JSON");
    let jobs = matrix["include"].as_array().expect("a list");
    let mut units: Vec<&str> =
        jobs.iter().flat_map(|j| j["units"].as_str().expect("units").split(',')).collect();
    units.sort_unstable();
    assert_eq!((jobs.len(), units), (2, vec!["p0", "p1", "p2", "p3", "p4"]));
    assert_eq!(jobs[0]["shard"], "1/2");
    let job: Value =
        serde_json::from_str(&lab.carry_code(0, &["--quiet", "fleet", "plan", "--format", "k8s"]))
            .expect("JSON");
    assert_eq!((&job["spec"]["completionMode"], &job["spec"]["completions"]), (&"Indexed".into(), &5.into()));
    assert_eq!(lab.carry_code(0, &["--quiet", "fleet", "plan", "--format", "slurm"]).trim(), "0-4");
    // A share by its key, and a plan after it.
    let due = lab.json(0, &["fleet", "plan"])["due"].clone();
    let key = due[3]["key"].as_str().expect("a key").to_owned();
    let (fates, _) = run(&lab, "ws", &["--unit", &key[..12]], &[]);
    assert_eq!(fates.len(), 1);
    let done = due[3]["unit"].as_str().expect("a name");
    assert_eq!(fates[done], "done");
    let plan = lab.json(0, &["fleet", "plan", "--shards", "4"]);
    assert_eq!((&plan["done"][0], plan["due"].as_array().map(Vec::len)), (&done.into(), Some(4)));
    // Its trunk moves: it is due for that, and it is known how long it takes.
    moves(&lab, done[1..].parse().expect("a number"), 20, "theirs");
    let plan = lab.json(0, &["fleet", "plan"]);
    let again =
        plan["due"].as_array().expect("a list").iter().find(|d| d["unit"] == done).expect("it is due");
    assert_eq!(again["why"], "trunk");
    assert!(again["seconds"].as_f64().is_some_and(|s| s > 0.0), "{again}");
    // Settings count as they are meant, not as they are written.
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
    let due_now = |lab: &Lab| lab.json(0, &["fleet", "plan"])["due"].as_array().expect("a list").len();
    lab.commit("ws", "words", &[("carry.toml", Some(&format!("# of ours\n{toml}")))]);
    run(&lab, "ws", &["--all"], &[]);
    assert_eq!(due_now(&lab), 0);
    lab.commit("ws", "words", &[("carry.toml", Some(&format!("# of ours, anew\n{toml}")))]);
    assert_eq!(due_now(&lab), 0);
    lab.commit(
        "ws",
        "policy",
        &[("carry.toml", Some(&format!("{toml}\n[project.p1.policy]\nlanded = \"keep\"\n")))],
    );
    let plan = lab.json(0, &["fleet", "plan"]);
    assert_eq!((&plan["due"][0]["unit"], &plan["due"][0]["why"]), (&"p1".into(), &"queue".into()));
    assert_eq!(due_now(&lab), 1);
    lab.carry_code(2, &["fleet", "run", "--shard", "3/2"]);
    lab.carry_code(1, &["fleet", "run", "--unit", "nonsense"]);
}

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
        let there = lab.git("deploy0.git", &["rev-parse", &format!("refs/carry/build/{project}/{build}")]);
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
