//! The replay of a queue as whole processes, against the peers that are installed, on the same work in the same run.
//!
//! `cargo bench --bench replay` makes a repository of its own, of 200 patches on 7,000 files. Others by the environment:
//!
//! - `GIT_CARRY_BENCH="generated PATCHES FILES COMMITS"`: a larger one, whose folders are nested; `flat PATCHES FILES COMMITS`:
//!   one whose folders are all in the root.
//! - `GIT_CARRY_BENCH="UPSTREAM FORK TIP BASE ONTO"`: a real queue, of two repositories, the fork's ref, and the upstream
//!   commits under the queue and to replay onto (`BASE` may be `-` where the fork has a marker). Of the queue those
//!   patches are measured that apply on both, as the peers stop at a conflict.
//! - Several of these, with `;` between them, are measured one after the other; a table of how often `git carry rebase` goes into
//!   each peer's time, and of how it grows, ends the run. So the table of `docs/performance.md` is made by
//!   `GIT_CARRY_BENCH="… ; generated 1000 7000 200; generated 1000 70000 200; flat 1000 7000 200; flat 1000 70000 200"
//!   GIT_CARRY_BENCH_LAST=rebase cargo bench --bench replay`, where `…` is the real queue.
//! - `GIT_CARRY_BENCH_GIT`: the git program to measure; `GIT_CARRY_BENCH_JSON`: a file for the table as JSON.
//! - `GIT_CARRY_BENCH_LAST=replay` or `rebase`: no peer after that one; `GIT_CARRY_BENCH_KEEP=1`: the repositories stay.

mod peers;
mod table;
mod works;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CARRY: &str = env!("CARGO_BIN_EXE_git-carry");
const ROUNDS: usize = 5;
/// A program that took longer than this in all is not run again.
const LONG: Duration = Duration::from_secs(20);

fn main() {
    if let Some(at) = std::env::args().position(|a| a == peers::LIBGIT2) {
        peers::libgit2(&std::env::args().skip(at + 1).collect::<Vec<_>>());
        return;
    }
    let given = std::env::var("GIT_CARRY_BENCH").unwrap_or_else(|_| "generated 200 7000 200".into());
    // They stay until the end: where much has just gone, some file systems (ext4) take several times as long to make new files.
    let mut places = Vec::new();
    let measured: Vec<table::Table> = given.split(';').map(|given| measured(given, &mut places)).collect();
    if let Some(path) = std::env::var_os("GIT_CARRY_BENCH_JSON") {
        let all: Vec<_> = measured.iter().map(table::Table::document).collect();
        std::fs::write(path, format!("{:#}\n", serde_json::json!(all))).expect("it is written");
    }
    if measured.len() > 1 {
        table::print_all(&measured);
    }
}

/// One work, told when it is measured.
fn measured(given: &str, places: &mut Vec<tempfile::TempDir>) -> table::Table {
    places.push(tempfile::tempdir().expect("a folder"));
    let dir = places.last_mut().expect("it was put there");
    dir.disable_cleanup(std::env::var_os("GIT_CARRY_BENCH_KEEP").is_some());
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
    let patches = must(&store, "git", &["rev-list", "--count", "base..measured"]);
    let rows = peers::measure(dir.path(), &work, &store);
    let table = table::Table { name: work.name, patches: patches.parse().expect("a number"), rows };
    table.print();
    table
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

fn command(at: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(at)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("JJ_CONFIG", "/dev/null")
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

/// Where a program runs, and with what in its environment.
struct Place {
    at: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
}

impl Place {
    fn at(at: &Path) -> Self {
        Self { at: at.to_owned(), env: Vec::new() }
    }
}

/// A program, as it is run once.
struct Program<'p> {
    prepare: Box<dyn FnMut() -> Place + 'p>,
    program: &'p str,
    args: &'p [&'p str],
}

/// The middle of some rounds, the most memory, and what was printed last.
type Told = Option<(Duration, u64, String)>;

/// Several programs in turns, so that what else the machine does falls on each; each is prepared for anew.
fn in_turns(programs: &mut [Program<'_>]) -> Vec<Told> {
    let mut runs: Vec<Option<Vec<(Duration, u64, String)>>> =
        programs.iter().map(|_| Some(Vec::new())).collect();
    for round in 0..ROUNDS {
        for at in 0..programs.len() {
            // Nobody always comes after the same one.
            let at = if round % 2 == 0 { at } else { programs.len() - 1 - at };
            let Some(done) = &mut runs[at] else { continue };
            if done.iter().map(|(time, ..)| *time).sum::<Duration>() >= LONG {
                continue;
            }
            match once(&mut programs[at]) {
                Some(run) => done.push(run),
                None => runs[at] = None,
            }
        }
    }
    let told = |runs: Option<Vec<(Duration, u64, String)>>| {
        let mut runs = runs?;
        let most = runs.iter().map(|(_, memory, _)| *memory).max()?;
        let last = runs.last()?.2.clone();
        runs.sort_by_key(|(time, ..)| *time);
        Some((runs[runs.len() / 2].0, most, last))
    };
    runs.into_iter().map(told).collect()
}

/// One program, as often, at one place.
fn median<'p>(mut prepare: impl FnMut() + 'p, at: &'p Path, program: &'p str, args: &'p [&'p str]) -> Told {
    let prepare = move || {
        prepare();
        Place::at(at)
    };
    in_turns(&mut [Program { prepare: Box::new(prepare), program, args }]).pop().flatten()
}

/// What it prints is kept. None if it fails, or is not there.
fn once(program: &mut Program<'_>) -> Option<(Duration, u64, String)> {
    use wait4::Wait4;
    let Place { at, env } = (program.prepare)();
    // What was prepared would else be written out when the program waits for its own files to be on the disk.
    let _ = Command::new("sync").status();
    let out = tempfile::NamedTempFile::new().expect("a file");
    let stdout = out.reopen().expect("it opens");
    let mut command = command(&at, program.program, program.args);
    command.envs(env);
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn();
    let used = child.ok()?.wait4().ok()?;
    let time = start.elapsed();
    let text = std::fs::read_to_string(out.path()).unwrap_or_default();
    used.status.success().then_some((time, used.rusage.maxrss, text))
}
