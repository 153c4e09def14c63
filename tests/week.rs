//! Nights of many projects into which faults are thrown at random, and what is left after each: nothing lost, nothing by half.
//!
//! The short form runs with every test. A week of twenty projects, with another seed if one is given, and the tally on the screen:
//! `GIT_CARRY_SEED=7 cargo test --test all week:: -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::faults::{Disk, system};
use crate::support::lab::{Lab, numbered};

/// The files, each of which one patch of each project changes.
const FILES: [&str; 3] = ["a", "b", "c"];

/// A small generator of numbers (xorshift64*, Vigna 2016): a failure comes again with its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).expect("31 bits") % sides
    }
}

/// What upstream has in the line that a patch changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Original,
    Theirs,
    /// The patch has landed.
    Ours,
}

/// What is thrown into a night.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    Killed,
    TwoAtOnce,
    PushRefused,
    RemoteAway,
    UpstreamAway,
    ObjectDamaged,
    DiskFull,
}

const FAULTS: [Fault; 7] = [
    Fault::Killed,
    Fault::TwoAtOnce,
    Fault::PushRefused,
    Fault::RemoteAway,
    Fault::UpstreamAway,
    Fault::ObjectDamaged,
    Fault::DiskFull,
];

/// How often a fault was thrown, and how often a run said that it met with it.
#[derive(Default)]
struct Tally(BTreeMap<Fault, [usize; 2]>);

impl Tally {
    fn count(&mut self, fault: Fault, seen: bool) {
        let [thrown, told] = self.0.entry(fault).or_default();
        *thrown += 1;
        *told += usize::from(seen);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fault, [thrown, told]) in &self.0 {
            let name = format!("{fault:?}");
            writeln!(f, "{name:<14} thrown {thrown:>3}, met {told:>3}")?;
        }
        Ok(())
    }
}

struct World {
    lab: Lab,
    dice: Dice,
    /// Upstream's lines, by project and file.
    lines: Vec<[Line; 3]>,
    /// So many times a harmless line of upstream's was changed.
    moves: Vec<usize>,
    /// Is the workspace on a small disk of its own?
    disk: Option<Disk>,
    tally: Tally,
    whole: Duration,
}

impl World {
    fn new(projects: usize, seed: u64, mib: usize) -> Self {
        let lab = Lab::new();
        lab.git(".", &["init", "-q", "--bare", "odd.git"]);
        let disk = Disk::mount(&lab.path("ws"), mib);
        let base: Vec<(&str, String)> = FILES.map(|n| (n, numbered(n, &[]))).to_vec();
        let files: Vec<(&str, Option<&str>)> = base.iter().map(|(n, t)| (*n, Some(t.as_str()))).collect();
        lab.commit("up", "base", &files);
        for n in 0..projects {
            lab.git("up", &["branch", &format!("b{n}"), "main"]);
            lab.git("up", &["checkout", "-q", "-b", &format!("fork{n}"), "main"]);
            for file in FILES {
                // Two projects have a patch in common.
                let partner = if n == 0 && file == "a" { "\n\nDepends-On: p1/on-a" } else { "" };
                let text = numbered(file, &[(10, &format!("ours {n}"))]);
                lab.commit("up", &format!("on {file}{partner}"), &[(file, Some(&text))]);
            }
            let (name, branch, tip) = (format!("p{n}"), format!("b{n}"), format!("refs/heads/fork{n}"));
            let remote = format!("../{}", remote(n));
            let init =
                ["init", "--project", &name, "--upstream", "../up", "--branch", &branch, "--remote", &remote];
            lab.carry_code(0, &init);
            lab.carry_code(
                0,
                &["import", "--project", &name, "--fork", "../up", "--tip", &tip, "--base", &branch],
            );
        }
        let start = Instant::now();
        lab.carry_code(0, &["nightly"]);
        let whole = start.elapsed();
        let lines = vec![[Line::Original; 3]; projects];
        Self {
            lab,
            dice: Dice(seed | 1),
            lines,
            moves: vec![0; projects],
            disk,
            tally: Tally::default(),
            whole,
        }
    }

    /// Upstream's branches go on, most of them: beside the patches, over one, away from one, or with one.
    fn upstream_moves(&mut self) {
        for n in 0..self.lines.len() {
            if self.dice.roll(10) < 3 {
                continue;
            }
            let at = self.dice.roll(3);
            let line = &mut self.lines[n][at];
            *line = match (*line, self.dice.roll(12)) {
                (Line::Original, 0..=2) => Line::Theirs,
                (Line::Original, 3) => Line::Ours,
                (Line::Theirs, 0..=6) => Line::Original,
                (line, _) => line,
            };
            self.moves[n] += 1;
            let (ours, moved) = (format!("ours {n}"), format!("moved {}", self.moves[n]));
            let text = match self.lines[n][at] {
                Line::Original => numbered(FILES[at], &[(25, &moved)]),
                Line::Theirs => numbered(FILES[at], &[(10, "theirs"), (25, &moved)]),
                Line::Ours => numbered(FILES[at], &[(10, &ours), (25, &moved)]),
            };
            self.lab.git("up", &["checkout", "-q", &format!("b{n}")]);
            self.lab.commit("up", "moves", &[(FILES[at], Some(&text))]);
        }
        self.lab.git("up", &["checkout", "-q", "main"]);
    }

    /// Runs a night into which a fault is thrown, and takes it away again.
    fn throw(&mut self, fault: Fault) {
        let jobs = (1 + self.dice.roll(4)).to_string();
        let args = ["nightly", "--jobs", jobs.as_str()];
        let n = self.dice.roll(self.lines.len());
        match fault {
            Fault::Killed => {
                let mut command = self.lab.carry_command("ws", &args);
                command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
                let mut child = command.spawn().expect("it starts");
                let part = u32::try_from(self.dice.roll(100)).expect("small");
                std::thread::sleep(self.whole * part / 100);
                let ended = child.try_wait().expect("asked").is_some();
                child.kill().expect("killed");
                child.wait().expect("waited");
                // Children of the killed run may still be at work.
                std::thread::sleep(Duration::from_millis(200));
                self.tally.count(fault, !ended);
            }
            Fault::TwoAtOnce => {
                let spawn = || {
                    let mut command = self.lab.carry_command("ws", &args);
                    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
                    command.spawn().expect("it starts")
                };
                let both = [spawn(), spawn()].map(|child| child.wait_with_output().expect("waited"));
                let busy =
                    both.iter().filter(|out| text(out).contains("another run is at work here")).count();
                assert!(busy <= 1, "one of them works: {}", both.iter().map(text).collect::<String>());
                self.tally.count(fault, busy == 1);
            }
            Fault::PushRefused => {
                let hook = self.lab.path(remote(n)).join("hooks/update");
                std::fs::write(&hook, "#!/bin/sh\necho 'a freeze' >&2\nexit 1\n").expect("written");
                assert!(system("chmod", &["+x", hook.to_str().expect("a path")]));
                let out = self.lab.carry(&args);
                std::fs::remove_file(&hook).expect("gone");
                self.tally.count(fault, text(&out).contains("a freeze"));
            }
            Fault::RemoteAway | Fault::UpstreamAway => {
                let name = if fault == Fault::RemoteAway { remote(n) } else { "up" };
                std::fs::rename(self.lab.path(name), self.lab.path("away")).expect("moved");
                let out = self.lab.carry(&args);
                std::fs::rename(self.lab.path("away"), self.lab.path(name)).expect("moved");
                assert!(!out.status.success(), "{}", text(&out));
                self.tally.count(fault, text(&out).contains("error:"));
            }
            Fault::ObjectDamaged => {
                let store = self.lab.path(&format!("ws/.git/carry/p{n}.git"));
                damage(&store);
                let out = self.lab.carry(&args);
                self.tally.count(fault, text(&out).contains("error:"));
                // As docs/reliability.md says: the store can be lost.
                std::fs::remove_dir_all(store).expect("gone");
            }
            Fault::DiskFull => {
                if self.disk.is_none() {
                    return;
                }
                let filler = self.lab.path("ws/.git/filler");
                let mut file = std::fs::File::create(&filler).expect("a file");
                let block = vec![7u8; 16 << 10];
                while file.write_all(&block).is_ok() {}
                let size = file.metadata().expect("its size").len();
                let room = u64::try_from(self.dice.roll(1 << 20)).expect("small");
                file.set_len(size.saturating_sub(room)).expect("cut");
                let out = self.lab.carry(&args);
                drop(file);
                std::fs::remove_file(&filler).expect("gone");
                self.tally.count(fault, text(&out).contains("No space left"));
            }
        }
        self.nothing_is_by_half(fault);
    }

    /// What every deploy remote has now is a whole build, whatever happened.
    fn nothing_is_by_half(&self, fault: Fault) {
        for n in 0..self.lines.len() {
            let at = remote(n);
            let commit = self.lab.git(at, &["rev-parse", &format!("refs/heads/deploy/p{n}")]);
            let build = &commit[..12];
            assert_eq!(self.lab.soon(at, &format!("refs/carry/build/p{n}/{build}")), commit, "{fault:?}");
            let manifest = self.lab.soon(at, &format!("refs/carry/manifest/p{n}/{build}"));
            let manifest = self.lab.git(at, &["cat-file", "blob", &manifest]);
            let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest");
            assert_eq!(manifest["deploy"]["commit"], commit.as_str(), "{fault:?}");
            let tree = self.lab.git(at, &["rev-parse", &format!("{commit}^{{tree}}")]);
            assert_eq!(manifest["deploy"]["tree"], tree.as_str(), "{fault:?}");
        }
    }

    /// A night without a fault: all is where it belongs.
    fn good_night(&mut self, seed: &str) {
        let out = self.lab.carry(&["--json", "nightly"]);
        let nights: serde_json::Value = match serde_json::from_slice(&out.stdout) {
            Ok(nights) => nights,
            Err(e) => panic!("{seed}: {e}: {}", text(&out)),
        };
        for (n, lines) in self.lines.iter().enumerate() {
            let done = nights[n]["done"].as_str().expect("a word");
            let told = &nights[n];
            assert!(matches!(done, "published" | "quiet"), "{seed}, p{n}: {done}: {told}");
            let lock = self.lab.git("ws", &["show", "HEAD:carry.lock"]);
            let series = self.lab.git("ws", &["show", &format!("HEAD:patches/p{n}/series")]);
            for (at, file) in FILES.iter().enumerate() {
                // Of two partners, both are in or neither; one that landed holds nobody.
                let partner = if n < 2 && at == 0 { self.lines[1 - n][0] } else { Line::Original };
                let built = self.lab.git(remote(n), &["show", &format!("deploy/p{n}:{file}")]);
                let tenth = built.lines().nth(9).expect("ten lines").to_owned();
                let wanted = match (lines[at], partner) {
                    (Line::Theirs, _) => "theirs".to_owned(),
                    (Line::Original, Line::Theirs) => format!("{file} line 10"),
                    _ => format!("ours {n}"),
                };
                assert_eq!(tenth, wanted, "{seed}, p{n}, {file}: {lines:?}, {partner:?}");
                // Every patch is in the queue, or known to have landed.
                let name = format!("on-{file}");
                let landed = lines[at] == Line::Ours;
                assert_eq!(series.contains(&name), !landed, "{seed}, p{n}: {name}: {series}");
                assert!(lock.contains(&format!("name = \"{name}\"")), "{seed}: {lock}");
            }
        }
        assert!(matches!(out.status.code(), Some(0 | 3)), "{seed}: {}: {}", out.status, text(&out));
        assert_eq!(self.lab.git("ws", &["status", "--porcelain"]), "", "{seed}");
        let stores = (0..self.lines.len()).map(|n| format!("ws/.git/carry/p{n}.git"));
        for repository in ["deploy.git", "odd.git", "ws"].map(str::to_owned).into_iter().chain(stores) {
            self.lab.git(&repository, &["fsck", "--strict", "--no-dangling"]);
        }
    }
}

/// The deploy remote of a project.
fn remote(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "deploy.git" } else { "odd.git" }
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Flips bits in the middle of each pack.
fn damage(store: &std::path::Path) {
    let packs = std::fs::read_dir(store.join("objects/pack")).into_iter().flatten().flatten();
    let packs: Vec<PathBuf> =
        packs.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "pack")).collect();
    for pack in packs {
        let mut bytes = std::fs::read(&pack).expect("a pack");
        let middle = bytes.len() / 2;
        bytes[middle..].iter_mut().for_each(|b| *b ^= 0x55);
        assert!(system("chmod", &["u+w", pack.to_str().expect("a path")]));
        std::fs::write(&pack, bytes).expect("written");
    }
}

fn run(projects: usize, nights: usize, faults: usize, mib: usize) {
    let seed = std::env::var("GIT_CARRY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut world = World::new(projects, seed, mib);
    for night in 0..nights {
        world.upstream_moves();
        for thrown in 0..faults {
            // Each kind comes up, the rest by chance.
            let next = night * faults + thrown;
            let fault = FAULTS.get(next).copied().unwrap_or_else(|| FAULTS[world.dice.roll(FAULTS.len())]);
            world.throw(fault);
        }
        world.good_night(&format!("seed {seed}, night {night}"));
    }
    let tally = &world.tally;
    println!("seed {seed}: {projects} projects, {nights} nights, {faults} faults in each\n{tally}");
    for fault in [Fault::RemoteAway, Fault::UpstreamAway] {
        let [thrown, told] = tally.0[&fault];
        assert_eq!(thrown, told, "what cannot be reached is told: {tally}");
    }
    let met: usize = tally.0.values().map(|[_, told]| told).sum();
    assert!(met >= FAULTS.len() - 2, "most faults must be met with: {tally}");
}

#[test]
fn nights_with_faults_lose_nothing_and_leave_nothing_by_half() {
    run(4, 4, 2, 16);
}

#[test]
#[ignore = "it takes many minutes"]
fn a_week_of_twenty_projects_with_faults_loses_nothing() {
    run(20, 7, 6, 96);
}
