//! The nights of many projects by many workers, each in a clone of its own, before a real git server: each unit is done once,
//! whatever is submitted twice, killed or held up.

mod told;

use std::collections::BTreeMap;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

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

/// The same, of one that is over.
pub fn fates(out: &Output) -> (BTreeMap<String, String>, i32) {
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
pub fn soon() -> String {
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
