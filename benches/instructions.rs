//! How many instructions a replay takes, which does not depend on what else the machine does: a guard against getting
//! slower unseen. `cargo bench --profile dev --bench instructions` runs `git carry` under callgrind on a repository that it
//! makes, and fails where a count is a quarter above the one noted here. The counts are those of a build without
//! optimisation, which the tests have made already: ten times as many, but they grow by what the code does all the same.
//! Of another build they are printed alone. Without valgrind it says so, and does nothing.

#[allow(dead_code, reason = "the other bench uses all of it")]
#[path = "replay/works.rs"]
mod works;

use std::path::Path;
use std::process::{Command, Stdio};

const CARRY: &str = env!("CARGO_BIN_EXE_git-carry");

/// What is counted: the arguments, and the millions of instructions that they took when they were last looked at.
const COUNTED: [(&[&str], u64); 3] =
    [(&["rebase", "--dry-run"], 1080), (&["status"], 105), (&["graph", "--json"], 192)];

fn main() {
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !valgrind.is_ok_and(|status| status.success()) {
        println!("valgrind is not there: nothing is counted");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let work = works::generated(dir.path(), works::Shape::Flat, 100, 2000, 100);
    works::linear(dir.path(), &work);
    let mut slower = false;
    for (args, noted) in COUNTED {
        let millions = count(&dir.path().join("measured"), args);
        let more = millions * 100 / noted;
        println!("git carry {}: {millions} million instructions, {more} % of the last count", args.join(" "));
        slower |= more > 125;
    }
    assert!(
        !slower || !cfg!(debug_assertions),
        "a count is a quarter above the one noted: see benches/instructions.rs"
    );
}

fn count(at: &Path, args: &[&str]) -> u64 {
    let out = Command::new("valgrind")
        .current_dir(at)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", CARRY])
        .args(args)
        .output()
        .expect("it runs");
    // `==1== Collected : 123456`
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    let counted = told.lines().find_map(|l| l.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
    counted.unwrap_or_else(|| panic!("{args:?}: {told}")) / 1_000_000
}

fn run(at: &Path, program: &str, args: &[&str]) -> (bool, String) {
    let out = Command::new(program)
        .current_dir(at)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(["AUTHOR", "COMMITTER"].map(|r| (format!("GIT_{r}_NAME"), "bench")))
        .envs(["AUTHOR", "COMMITTER"].map(|r| (format!("GIT_{r}_EMAIL"), "bench@example.org")))
        .output()
        .expect("it runs");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn must(at: &Path, program: &str, args: &[&str]) -> String {
    let (works, out) = run(at, program, args);
    assert!(works, "{program} {args:?}: {out}");
    out
}
