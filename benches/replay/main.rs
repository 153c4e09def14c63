//! The replay of a queue as whole processes, against the peers that are installed, on the same work in the same run.
//!
//! `cargo bench --bench replay` makes a repository of its own, of 200 patches on 7,000 files. Others by the environment:
//!
//! - `GIT_CARRY_BENCH="generated PATCHES FILES COMMITS"`: a larger one, whose folders are nested; `flat PATCHES FILES COMMITS`:
//!   one whose folders are all in the root.
//! - `GIT_CARRY_BENCH="UPSTREAM FORK TIP BASE ONTO"`: a real queue, of two repositories, the fork's ref, and the upstream
//!   commits under the queue and to replay onto (`BASE` may be `-` where the fork has a marker). Of the queue those
//!   patches are measured that apply on both, as the peers stop at a conflict.
//! - `GIT_CARRY_BENCH_GIT`: the git program to measure; `GIT_CARRY_BENCH_JSON`: a file for the table as JSON.
//! - `GIT_CARRY_BENCH_LAST=replay` or `rebase`: no peer after that one; `GIT_CARRY_BENCH_KEEP=1`: the repositories stay.

mod peers;
mod works;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

const CARRY: &str = env!("CARGO_BIN_EXE_git-carry");
const ROUNDS: usize = 5;
/// A program that took longer than this in all is not run again.
const LONG: Duration = Duration::from_secs(20);

fn main() {
    if let Some(at) = std::env::args().position(|a| a == peers::LIBGIT2) {
        peers::libgit2(&std::env::args().skip(at + 1).collect::<Vec<_>>());
        return;
    }
    let mut dir = tempfile::tempdir().expect("a folder");
    dir.disable_cleanup(std::env::var_os("GIT_CARRY_BENCH_KEEP").is_some());
    let given = std::env::var("GIT_CARRY_BENCH").unwrap_or_else(|_| "generated 200 7000 200".into());
    let words: Vec<&str> = given.split_whitespace().collect();
    let work = match words[..] {
        [shape @ ("generated" | "flat"), ref counts @ ..] => {
            let shape = if shape == "flat" { works::Shape::Flat } else { works::Shape::Nested };
            let counts: Vec<usize> = counts.iter().map(|n| n.parse().expect("a number")).collect();
            let [patches, files, commits] = counts[..] else { panic!("generated PATCHES FILES COMMITS") };
            works::generated(dir.path(), shape, patches, files, commits)
        }
        _ => works::real(dir.path(), &words),
    };
    let store = works::linear(dir.path(), &work);
    let rows = peers::measure(dir.path(), &work, &store);
    print(&work.name, &must(&store, "git", &["rev-list", "--count", "base..measured"]), &rows);
}

/// What one program needed.
struct Row {
    name: String,
    /// Nothing if it failed, or is not there.
    result: Option<Measured>,
}

struct Measured {
    time: Duration,
    /// The most memory that it held, in bytes.
    memory: u64,
    tree: String,
}

fn print(name: &str, patches: &str, rows: &[Row]) {
    let Some(own) = rows[0].result.as_ref() else { panic!("git carry rebase failed") };
    println!("{name} ({patches} patches that apply; medians of up to {ROUNDS} whole processes)\n");
    println!("| program | time | times git carry rebase | memory | same tree |");
    println!("| --- | --- | --- | --- | --- |");
    let mut told = Vec::new();
    for row in rows {
        let Some(measured) = &row.result else {
            println!("| {} | it failed | | | |", row.name);
            told.push(json!({ "program": row.name }));
            continue;
        };
        let ratio = measured.time.as_secs_f64() / own.time.as_secs_f64();
        let same = measured.tree == own.tree;
        let (ms, mib) = (measured.time.as_secs_f64() * 1000.0, measured.memory >> 20);
        let word = if same { "yes" } else { "no" };
        println!("| {} | {ms:.0} ms | {ratio:.2} | {mib} MiB | {word} |", row.name);
        told.push(json!({
            "program": row.name, "milliseconds": ms, "ratio": ratio, "memory": measured.memory, "same_tree": same,
        }));
    }
    if let Some(path) = std::env::var_os("GIT_CARRY_BENCH_JSON") {
        let all = json!({ "work": name, "patches": patches.parse::<u64>().ok(), "programs": told });
        std::fs::write(path, format!("{all:#}\n")).expect("it is written");
    }
}

fn command(at: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(at)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("QUILT_PATCHES", "patches")
        .envs(["AUTHOR", "COMMITTER"].map(|r| (format!("GIT_{r}_NAME"), "bench")))
        .envs(["AUTHOR", "COMMITTER"].map(|r| (format!("GIT_{r}_EMAIL"), "bench@example.org")));
    command
}

fn run(at: &Path, program: &str, args: &[&str]) -> (bool, String) {
    let out = command(at, program, args).stderr(Stdio::piped()).output().expect("it runs");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn must(at: &Path, program: &str, args: &[&str]) -> String {
    let (works, out) = run(at, program, args);
    assert!(works, "{program} {args:?}: {out}");
    out
}

/// The middle of some rounds, and the most memory; each is prepared for anew. What it prints is kept.
fn median(
    mut prepare: impl FnMut(),
    at: &Path,
    program: &str,
    args: &[&str],
) -> Option<(Duration, u64, String)> {
    use wait4::Wait4;
    let (mut times, mut most, mut last) = (Vec::new(), 0, String::new());
    let begin = Instant::now();
    while times.len() < ROUNDS && (times.is_empty() || begin.elapsed() < LONG) {
        prepare();
        let out = tempfile::NamedTempFile::new().expect("a file");
        let start = Instant::now();
        let stdout = out.reopen().expect("it opens");
        let child =
            command(at, program, args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn();
        let used = child.ok()?.wait4().ok()?;
        times.push(start.elapsed());
        if !used.status.success() {
            return None;
        }
        most = most.max(used.rusage.maxrss);
        last = std::fs::read_to_string(out.path()).unwrap_or_default();
    }
    times.sort();
    Some((*times.get(times.len() / 2)?, most, last))
}
