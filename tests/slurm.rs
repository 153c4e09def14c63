//! A fleet's night on a real scheduler: a Slurm of three nodes on loopback, and a real git server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fleet::{fleet_of, is_whole, lets_go, nights, refs, wait_for};
use crate::sets::{region, set_as_read};
use crate::support::Ends;
use crate::support::lab::Lab;

/// A Slurm of its own: an authentication daemon, a controller and three nodes. It ends with the test.
struct Slurm {
    daemons: Vec<Child>,
    config: PathBuf,
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

const NODES: usize = 3;
const PROGRAMS: [&str; 4] = ["munged", "slurmctld", "slurmd", "sbatch"];

/// A port that nobody has at the moment.
fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Slurm {
    /// None where it is not installed, or where one may not start it; on a build server it must be there.
    fn start(lab: &Lab) -> Option<Self> {
        let there = |name: &&&str| {
            let folders = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
            std::env::split_paths(&folders).any(|folder| folder.join(name).is_file())
        };
        let missing: Vec<&&str> = PROGRAMS.iter().filter(|name| !there(name)).collect();
        let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
        assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "not installed: {missing:?}");
        if !missing.is_empty() || !root {
            println!("passed over: not installed: {missing:?}; root: {root}; see .ci/run");
            return None;
        }
        let home = lab.path("slurm");
        std::fs::create_dir_all(home.join("state")).expect("a folder");
        let place = |name: &str| home.join(name);
        std::fs::write(place("munge.key"), [b'k'; 64]).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(place("munge.key"), mode).expect("kept close");
        let config = place("slurm.conf");
        let ports: Vec<u16> = (0..=NODES).map(|_| port()).collect();
        let nodes: String = (1..=NODES)
            .map(|n| {
                format!(
                    "NodeName=n{n} NodeHostname=localhost NodeAddr=127.0.0.1 Port={} CPUs=2 State=UNKNOWN\n",
                    ports[n]
                )
            })
            .collect();
        let at = home.display();
        let text = format!(
            "ClusterName=carry\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={}\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nAuthInfo=socket={at}/munge.socket\nCryptoType=crypto/munge\nStateSaveLocation={at}/state\n\
             SlurmdSpoolDir={at}/spool-%n\nSlurmctldPidFile={at}/ctld.pid\nSlurmdPidFile={at}/slurmd-%n.pid\n\
             SlurmctldLogFile={at}/ctld.log\nSlurmdLogFile={at}/slurmd-%n.log\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_CPU\nProctrackType=proctrack/pgid\nTaskPlugin=task/none\nReturnToService=2\n\
             SlurmdParameters=config_overrides\nSchedulerParameters=sched_min_interval=100000,batch_sched_delay=0\n\
             MailProg=/bin/true\n{nodes}PartitionName=all Nodes=n[1-{NODES}] Default=YES MaxTime=INFINITE State=UP\n",
            ports[0]
        );
        std::fs::write(&config, text).expect("written");
        let mut slurm = Self { daemons: Vec::new(), config };
        let file = |name: &str| place(name).to_string_lossy().into_owned();
        let munged = [
            "--foreground".to_owned(),
            "--force".to_owned(),
            format!("--socket={}", file("munge.socket")),
            format!("--key-file={}", file("munge.key")),
            format!("--pid-file={}", file("munge.pid")),
            format!("--seed-file={}", file("munge.seed")),
        ];
        slurm.daemon("munged", &munged.each_ref().map(String::as_str));
        slurm.until(|| place("munge.socket").exists(), "munged");
        slurm.daemon("slurmctld", &["-D", "-c"]);
        for n in 1..=NODES {
            std::fs::create_dir_all(place(&format!("spool-n{n}"))).expect("a folder");
            slurm.daemon("slurmd", &["-D", "-N", &format!("n{n}")]);
        }
        let idle = || {
            let out = slurm.command("sinfo").args(["-h", "-N", "-o", "%T"]).output().expect("sinfo runs");
            String::from_utf8_lossy(&out.stdout).lines().filter(|state| *state == "idle").count() == NODES
        };
        slurm.until(idle, "the nodes");
        Some(slurm)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        command.env("SLURM_CONF", &self.config).env("PATH", path);
        command
    }

    fn daemon(&mut self, program: &str, args: &[&str]) {
        let mut command = self.command(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons.push(command.spawn().expect("it starts"));
    }

    fn until(&self, ready: impl Fn() -> bool, what: &str) {
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what} did not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        let folder = self.config.parent().expect("a folder");
        std::fs::read_to_string(folder.join("ctld.log")).unwrap_or_default()
    }

    /// Submits a script; returns the job's number.
    fn submit(&self, lab: &Lab, args: &[&str], script: &Path) -> String {
        let env: Vec<_> =
            lab.carry_command(".", &[]).get_envs().map(|(k, v)| (k.to_owned(), v.map(Into::into))).collect();
        let env: Vec<(std::ffi::OsString, std::ffi::OsString)> =
            env.into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        let mut command = self.command("sbatch");
        command.args(["--parsable", "--chdir"]).arg(lab.path(".")).args(args).arg(script);
        command.envs(env.into_iter().filter(|(k, _)| k != "PATH"));
        let out = command.output().expect("sbatch runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Waits until these jobs are over.
    fn over(&self, jobs: &[&str]) {
        let ask = || {
            let out =
                self.command("squeue").args(["-h", "-j", &jobs.join(",")]).output().expect("squeue runs");
            // A job that is long over is not known any more.
            out.stdout.trim_ascii().is_empty()
        };
        let start = Instant::now();
        while !ask() {
            assert!(start.elapsed() < Duration::from_secs(180), "{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// What the workers of a job said, by task.
fn said(lab: &Lab, job: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(lab.path(".")).expect("a folder").map_while(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(task) = name.strip_prefix(&format!("out-{job}_")) else { continue };
        let text = std::fs::read_to_string(entry.path()).expect("text");
        let Ok(Value::Array(units)) = serde_json::from_str(&text) else { continue };
        let word = |v: &Value, key: &str| v[key].as_str().expect("a word").to_owned();
        let pairs = units.iter().map(|v| (word(v, "unit"), word(v, "fate"))).collect();
        all.insert(task.to_owned(), pairs);
    }
    all
}

#[test]
fn an_array_submitted_twice_does_each_unit_once_and_the_next_array_ends_what_was_killed() {
    const UNITS: usize = 24;
    // p0, p1 and p2 go out together; p3 waits before it goes out.
    let held = |lab: &Lab| region(lab) + &crate::fleet::held(lab).replace("project.p0", "project.p3");
    let lab = fleet_of(UNITS, 3, held);
    let Some(slurm) = Slurm::start(&lab) else { return };
    let script = |name: &str, text: &str| {
        let path = lab.path(name);
        std::fs::write(&path, format!("#!/bin/sh\nset -eu\n{text}\n")).expect("written");
        path
    };
    let binary = env!("CARGO_BIN_EXE_git-carry");
    let worker = script(
        "worker.sh",
        &format!(
            "at=clone-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID\ngit clone -q queue.git $at\n\
             exec '{binary}' -C $at --json fleet run --claim-for 20s"
        ),
    );
    let gather = script(
        "gather.sh",
        &format!("code=0\n'{binary}' -C ws --json fleet report \"$@\" || code=$?\necho $code > \"$OUT\""),
    );
    let output = ["--output", "out-%A_%a", "--error", "err-%A_%a", "--array", "0-5"];
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(lines) = set_as_read(&lab, "region") {
                    assert_eq!(lines.len(), 3, "half of a set");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let _ends = Ends(&over);
        let a = slurm.submit(&lab, &output, &worker);
        let b = slurm.submit(&lab, &output, &worker);
        wait_for(&lab, 1);
        // The process that has the claim is killed as a node that goes down would.
        let claim: Value =
            serde_json::from_str(&lab.git("deploy3.git", &["cat-file", "blob", "refs/carry/claim/p3"]))
                .expect("JSON");
        let holder = claim["holder"].as_str().expect("a holder");
        assert!(
            holder.contains(&format!("Slurm job {a}")) || holder.contains(&format!("Slurm job {b}")),
            "{holder}"
        );
        let process = holder.split(' ').nth(1).expect("its number");
        assert!(Command::new("kill").args(["-9", process]).status().expect("kill runs").success());
        lets_go(&lab, 1);
        lets_go(&lab, 2);
        // The fan-in of a night that was cut off says so.
        let fan_in = format!("afterany:{a}:{b}");
        let first = ["--dependency", &fan_in, "--output", "report-1", "--export", "ALL,OUT=code-1"];
        let c = slurm.submit(&lab, &first, &gather);
        slurm.over(&[&a, &b, &c]);
        let code = |n: usize| {
            std::fs::read_to_string(lab.path(&format!("code-{n}"))).expect("a code").trim().to_owned()
        };
        assert_eq!(code(1), "1");
        let (first, second) = (said(&lab, &a), said(&lab, &b));
        assert_eq!(first.len() + second.len(), 11, "one of twelve tasks was killed");
        let mut done: BTreeMap<String, usize> = BTreeMap::new();
        for (unit, fate) in first.into_values().chain(second.into_values()).flatten() {
            assert!(["done", "already", "claimed"].contains(&fate.as_str()), "{unit}: {fate}");
            *done.entry(unit).or_default() += usize::from(fate == "done");
        }
        // What the killed task had done before is known by its result alone.
        assert!(done.iter().all(|(unit, times)| *times <= 1 && (unit != "p3" || *times == 0)), "{done:?}");
        assert!(refs(&lab, 3, "refs/heads/").is_empty(), "p3 is not out");
        // The next array, when the claim has ended, and its fan-in.
        std::thread::sleep(Duration::from_secs(21));
        let d = slurm.submit(&lab, &output, &worker);
        let fan_in = format!("afterany:{d}");
        let second = ["--dependency", &fan_in, "--output", "report-2", "--export", "ALL,OUT=code-2"];
        let e = slurm.submit(&lab, &second, &gather);
        slurm.over(&[&d, &e]);
        assert_eq!(code(2), "0", "{}", std::fs::read_to_string(lab.path("report-2")).unwrap_or_default());
    });
    for n in 3..UNITS {
        is_whole(&lab, n);
        assert_eq!(nights(&lab, n), 1, "p{n}");
    }
    assert_eq!(set_as_read(&lab, "region").expect("the set").len(), 3);
    lab.git("deploy0.git", &["fsck", "--strict", "--no-dangling"]);
    assert!(refs(&lab, 0, "refs/carry/claim/").is_empty());
    assert_eq!(lab.git("deploy0.git", &["rev-list", "--count", "refs/carry/set/region"]), "1");
}
