//! The replay of a queue as whole processes, against the peers that are installed, on the same work in the same run.
//!
//! `cargo bench --bench replay` makes a repository of its own. A real queue is measured with, for instance,
//! `GIT_CARRY_BENCH="UPSTREAM FORK TIP BASE ONTO" cargo bench --bench replay`: two repositories, the fork's ref, and the
//! upstream commits under the queue and to replay onto (`BASE` may be `-` where the fork has a marker).
//! Of the queue those patches are measured that apply on both, as `git replay` and `git rebase` stop at a conflict.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CARRY: &str = env!("CARGO_BIN_EXE_git-carry");
const ROUNDS: usize = 5;

fn main() {
    let mut dir = tempfile::tempdir().expect("a folder");
    dir.disable_cleanup(std::env::var_os("GIT_CARRY_BENCH_KEEP").is_some());
    let work = match std::env::var("GIT_CARRY_BENCH") {
        Ok(words) => real(dir.path(), &words.split_whitespace().collect::<Vec<_>>()),
        Err(_) => generated(dir.path()),
    };
    let store = linear(dir.path(), &work);
    measure(dir.path(), &work, &store);
}

/// What is measured: a fork's branch on a base, to be put on another commit of the upstream.
struct Work {
    name: String,
    upstream: PathBuf,
    fork: PathBuf,
    tip: String,
    base: Option<String>,
}

fn run(at: &Path, program: &str, args: &[&str]) -> (bool, String) {
    let out = Command::new(program)
        .current_dir(at)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(["AUTHOR", "COMMITTER"].map(|r| (format!("GIT_{r}_NAME"), "bench")))
        .envs(["AUTHOR", "COMMITTER"].map(|r| (format!("GIT_{r}_EMAIL"), "bench@example.org")))
        .stderr(Stdio::piped())
        .output()
        .expect("it runs");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn must(at: &Path, program: &str, args: &[&str]) -> String {
    let (works, out) = run(at, program, args);
    assert!(works, "{program} {args:?}: {out}");
    out
}

fn real(dir: &Path, words: &[&str]) -> Work {
    let [upstream, fork, tip, base, onto] = words else { panic!("UPSTREAM FORK TIP BASE ONTO") };
    // A copy that lends its objects, with the branch that git-carry follows at the commit to replay onto.
    let copy = dir.join("upstream.git");
    must(dir, "git", &["clone", "-q", "--bare", "--shared", upstream, "upstream.git"]);
    must(&copy, "git", &["update-ref", "refs/heads/bench", &format!("{onto}^{{commit}}")]);
    let base = (*base != "-").then(|| (*base).to_owned());
    Work {
        name: format!("{tip} on {onto}"),
        upstream: copy,
        fork: PathBuf::from(fork),
        tip: (*tip).to_owned(),
        base,
    }
}

/// 7,000 files in 500 folders, a trunk that moves by 200 commits, and 200 patches of one to three files.
fn generated(dir: &Path) -> Work {
    let repository = dir.join("upstream.git");
    must(dir, "git", &["init", "-q", "--bare", "upstream.git"]);
    let content = |file: usize, changes: &[(usize, String)]| -> String {
        let line = |n: usize| match changes.iter().find(|(at, _)| *at == n) {
            Some((_, text)) => format!("{text}\n"),
            None => format!("file {file} line {n}\n"),
        };
        (0..120).map(line).collect()
    };
    let path = |file: usize| format!("d{}/f{file}", file % 500);
    let mut stream = String::new();
    let mut commit = |branch: &str, from: Option<&str>, n: usize, files: Vec<(usize, String)>| {
        let _ = write!(
            stream,
            "commit refs/heads/{branch}\nmark :{}\ncommitter bench <b@example.org> {} +0000\n",
            n + 1,
            1_700_000_000 + n
        );
        let _ = write!(stream, "data 10\n{:9}\n\n", n);
        if let Some(from) = from {
            let _ = writeln!(stream, "from {from}");
        }
        for (file, text) in files {
            let _ = write!(stream, "M 100644 inline {}\ndata {}\n{text}\n", path(file), text.len());
        }
    };
    commit("bench", None, 0, (0..7000).map(|f| (f, content(f, &[]))).collect());
    let mut trunk: Vec<Vec<(usize, String)>> = vec![Vec::new(); 7000];
    let mut ours = trunk.clone();
    for n in 0..200 {
        let file = n * 31 % 7000;
        trunk[file].push((5 + n % 10, format!("trunk {n}")));
        commit("bench", None, n + 1, vec![(file, content(file, &trunk[file]))]);
    }
    for n in 0..200 {
        let files: Vec<usize> = (0..1 + n % 3).map(|k| (n * 31 + k * 7) % 7000).collect();
        for file in &files {
            ours[*file].push((60 + n % 40, format!("ours {n}")));
        }
        let files = files.into_iter().map(|f| (f, content(f, &ours[f]))).collect();
        commit("ours", (n == 0).then_some(":1"), 1000 + n, files);
    }
    let file = dir.join("stream");
    std::fs::write(&file, stream).expect("written");
    let import = Command::new("git")
        .current_dir(&repository)
        .args(["fast-import", "--quiet"])
        .stdin(std::fs::File::open(&file).expect("opened"))
        .status();
    assert!(import.expect("it runs").success());
    let base = must(&repository, "git", &["rev-parse", "bench~200"]);
    Work {
        name: "200 generated patches, 7,000 files, 200 trunk commits".into(),
        upstream: repository.clone(),
        fork: repository,
        tip: "refs/heads/ours".into(),
        base: Some(base),
    }
}

fn workspace(dir: &Path, name: &str, work: &Work, fork: &Path, tip: &str, base: Option<&str>) -> PathBuf {
    let at = dir.join(name);
    std::fs::create_dir(&at).expect("a folder");
    let upstream = work.upstream.to_string_lossy();
    must(&at, CARRY, &["init", "--project", "p", "--upstream", &upstream, "--branch", "bench"]);
    let fork = fork.to_string_lossy();
    let mut args = vec!["import", "--fork", &fork, "--tip", tip];
    if let Some(base) = base {
        args.extend(["--base", base]);
    }
    must(&at, CARRY, &args);
    at
}

/// A workspace whose patches all apply on the base and on the commit to replay onto; and their stack on the base, as
/// the branch `measured` of the workspace's store.
fn linear(dir: &Path, work: &Work) -> PathBuf {
    let first = workspace(dir, "all", work, &work.fork, &work.tip, work.base.as_deref());
    let (_, night) = run(&first, CARRY, &["--json", "rebase", "--dry-run"]);
    let night: serde_json::Value = serde_json::from_str(&night).expect("a night");
    let base = night["trunk"]["from"].as_str().expect("a base").to_owned();
    let series = first.join("patches/p/series");
    let mut text = std::fs::read_to_string(&series).expect("a series");
    for patch in night["patches"].as_array().expect("patches") {
        if !["clean", "refreshed"].contains(&patch["outcome"].as_str().unwrap_or_default()) {
            let line = format!("{}.patch\n", patch["name"].as_str().unwrap_or_default());
            text = text.replacen(&line, &format!("#hold {line}"), 1);
        }
    }
    std::fs::write(&series, text).expect("written");
    run(&first, "git", &["commit", "-qam", "hold what does not apply"]);
    run(&first, CARRY, &["rebase", "--onto", &base]);
    let store = first.join(".git/carry/p.git");
    must(&store, "git", &["update-ref", "refs/heads/measured", "refs/heads/deploy/p"]);
    workspace(dir, "measured", work, &store, "refs/heads/measured", Some(&base));
    must(&store, "git", &["update-ref", "refs/heads/base", &base]);
    store
}

/// The middle of some rounds; each is prepared for anew.
fn median(mut prepare: impl FnMut(), mut work: impl FnMut() -> bool) -> Option<Duration> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        prepare();
        let start = Instant::now();
        if !work() {
            return None;
        }
        times.push(start.elapsed());
    }
    times.sort();
    times.get(ROUNDS / 2).copied()
}

fn measure(dir: &Path, work: &Work, store: &Path) {
    let ws = dir.join("measured");
    let head = must(&ws, "git", &["rev-parse", "HEAD"]);
    let own_store = ws.join(".git/carry/p.git");
    let tree = |at: &Path, rev: &str| must(at, "git", &["rev-parse", &format!("{rev}^{{tree}}")]);
    let patches = must(store, "git", &["rev-list", "--count", "base..measured"]);
    must(
        store,
        "git",
        &["fetch", "-q", &work.upstream.to_string_lossy(), "refs/heads/bench:refs/heads/onto"],
    );

    let own = median(
        || {
            must(&ws, "git", &["reset", "-q", "--hard", &head]);
            let _ = run(&own_store, "git", &["update-ref", "-d", "refs/heads/deploy/p"]);
        },
        || run(&ws, CARRY, &["rebase"]).0,
    );
    let own_tree = tree(&own_store, "refs/heads/deploy/p");
    let dry = median(
        || drop(must(&ws, "git", &["reset", "-q", "--hard", &head])),
        || run(&ws, CARRY, &["rebase", "--dry-run"]).0,
    );

    let mut replayed = String::new();
    let replay = median(
        || (),
        || {
            let (works, out) = run(store, "git", &["replay", "--onto", "onto", "base..measured"]);
            // `update <ref> <new> <old>`: the ref is not moved.
            replayed = out.split_whitespace().nth(2).unwrap_or_default().to_owned();
            works && !replayed.is_empty()
        },
    );
    let replay_tree = replay.map(|_| tree(store, &replayed));

    let tree_at = dir.join("tree");
    must(store, "git", &["worktree", "add", "-q", "--detach", &tree_at.to_string_lossy(), "measured"]);
    let rebase = median(
        || drop(must(&tree_at, "git", &["checkout", "-q", "--detach", "measured"])),
        || run(&tree_at, "git", &["rebase", "-q", "--onto", "onto", "base"]).0,
    );
    let rebase_tree = rebase.map(|_| tree(&tree_at, "HEAD"));

    println!("{} ({} patches that apply; medians of {ROUNDS} whole processes)\n", work.name, patches);
    println!("| program | time | times git carry rebase | same tree |");
    println!("| --- | --- | --- | --- |");
    let own_time = own.expect("git carry rebase works");
    let rows = [
        ("git carry rebase (patches, lock, manifest and refs written)", own, Some(own_tree.clone())),
        ("git carry rebase --dry-run", dry, Some(own_tree.clone())),
        ("git replay", replay, replay_tree),
        ("git rebase", rebase, rebase_tree),
    ];
    for (name, time, tree) in rows {
        match (time, tree) {
            (Some(time), Some(tree)) => {
                let ratio = time.as_secs_f64() / own_time.as_secs_f64();
                let same = if tree == own_tree { "yes" } else { "no" };
                println!("| {name} | {:.0} ms | {ratio:.2} | {same} |", time.as_secs_f64() * 1000.0);
            }
            _ => println!("| {name} | it failed | | |"),
        }
    }
}
