//! An upstream, a deploy repository and a workspace in one folder, and the built binary to work on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Files to write, or with `None` to delete.
pub type Files<'a> = &'a [(&'a str, Option<&'a str>)];

/// The folder of one test.
pub struct Lab {
    dir: tempfile::TempDir,
    /// What the server of the deploy remote is at work on, if there is one.
    busy: OnceLock<Arc<AtomicUsize>>,
}

impl Lab {
    /// An empty upstream work tree `up` (branch main) and a bare `deploy.git`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let lab = Self { dir, busy: OnceLock::new() };
        lab.git(".", &["init", "-q", "-b", "main", "up"]);
        lab.git(".", &["init", "-q", "--bare", "-b", "main", "deploy.git"]);
        std::fs::create_dir(lab.path("ws")).expect("a folder");
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command with nothing of the machine's own configuration, but for the kind of ids that repositories have.
    fn command(&self, program: &str, at: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path(at)).env_clear();
        for name in ["PATH", "TMPDIR", "GIT_DEFAULT_HASH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Test Author")
                .env(format!("GIT_{role}_EMAIL"), "t@example.org");
            command.env(format!("GIT_{role}_DATE"), "1790000000 +0200");
        }
        command
    }

    /// What git says; it must succeed.
    pub fn git(&self, at: &str, args: &[&str]) -> String {
        let out = self.command("git", at).args(args).output().expect("git runs");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Did git succeed?
    pub fn git_works(&self, at: &str, args: &[&str]) -> bool {
        self.command("git", at).args(args).output().expect("git runs").status.success()
    }

    /// What a ref names that a push brings: where refs are files, git moves those that are new last, one after another.
    pub fn soon(&self, at: &str, name: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.git_works(at, &["rev-parse", "--verify", "--quiet", name]) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.git(at, &["rev-parse", name])
    }

    /// The command that runs the binary in the workspace `at`.
    pub fn carry_command(&self, at: &str, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_git-carry"), at);
        command.args(args);
        command
    }

    /// Runs the binary in `ws`.
    pub fn carry(&self, args: &[&str]) -> Output {
        self.carry_command("ws", args).output().expect("the binary runs")
    }

    /// Runs the binary in `ws`; it must end with `code`. Returns both outputs.
    pub fn carry_code(&self, code: i32, args: &[&str]) -> String {
        let out = self.carry(args);
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(code), "git carry {args:?}:\n{text}");
        text
    }

    /// Runs the binary with `--json`; it must end with `code`.
    pub fn json(&self, code: i32, args: &[&str]) -> serde_json::Value {
        let out = self.carry(&[&["--json"], args].concat());
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_str(&text).expect("one JSON document")
    }

    /// Writes files (`None` deletes) in the work tree `at` and commits them.
    pub fn commit(&self, at: &str, message: &str, files: Files<'_>) -> String {
        for (name, text) in files {
            let path = self.path(at).join(name);
            match text {
                Some(text) => write(&path, text),
                None => std::fs::remove_file(&path).expect("it was there"),
            }
        }
        self.git(at, &["add", "-A"]);
        self.git(at, &["commit", "-q", "--allow-empty", "-m", message]);
        self.git(at, &["rev-parse", "HEAD"])
    }

    /// A base of three numbered files on main, a fork branch with `patches` on it, and both taken into a workspace
    /// that deploys to `deploy.git`.
    pub fn with_fork(patches: &[(&str, Files<'_>)]) -> Self {
        let lab = Self::new();
        let base: Vec<(&str, String)> = ["a", "b", "c"].map(|n| (n, numbered(n, &[]))).to_vec();
        let files: Vec<(&str, Option<&str>)> = base.iter().map(|(n, t)| (*n, Some(t.as_str()))).collect();
        lab.commit("up", "base", &files);
        lab.git("up", &["checkout", "-q", "-b", "fork"]);
        for (message, files) in patches {
            lab.commit("up", message, files);
        }
        lab.git("up", &["checkout", "-q", "main"]);
        lab.carry_code(
            0,
            &[
                "init",
                "--project",
                "p",
                "--upstream",
                "../up",
                "--branch",
                "main",
                "--remote",
                "../deploy.git",
            ],
        );
        lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
        lab
    }

    /// The deploy remote is reached through git's own server from now on, which is no child of what pushes to it.
    pub fn serve_deploy(&self) {
        self.git("deploy.git", &["config", "http.receivepack", "true"]);
        let (address, busy) = super::http::serve_watched(&self.path("."));
        self.busy.set(busy).expect("it is served once");
        let url = format!("{address}/deploy.git");
        let config = std::fs::read_to_string(self.path("ws/carry.toml")).expect("a configuration");
        let served = config.replace("\"../deploy.git\"", &format!("\"{url}\""));
        assert_ne!(config, served);
        self.commit("ws", "by way of a server", &[("carry.toml", Some(&served))]);
    }

    /// Starts the binary in `ws`, waits, and kills it: it alone, or all that it started as well, as when a machine goes
    /// down. Had it ended by itself?
    pub fn killed(&self, args: &[&str], wait: impl FnOnce(), with_children: bool) -> bool {
        use std::os::unix::process::CommandExt as _;
        let mut command = self.carry_command("ws", args);
        let mut child = command.process_group(0).spawn().expect("it starts");
        wait();
        let ended = child.try_wait().expect("asked").is_some();
        if with_children {
            let group = format!("-{}", child.id());
            // Nobody is left in the group where all have ended.
            let _ = Command::new("kill").args(["-9", "--", &group]).output().expect("kill runs");
        }
        child.kill().expect("killed");
        child.wait().expect("waited");
        // What outlived it may still be at work: a child, or the server with what was pushed to it.
        let group = child.id();
        let at_work =
            || is_alive(group) || self.busy.get().is_some_and(|busy| busy.load(Ordering::SeqCst) > 0);
        std::thread::sleep(std::time::Duration::from_millis(120));
        for _ in 0..100 {
            if !at_work() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        ended
    }

    /// The deploy branch at the remote.
    pub fn deployed(&self) -> String {
        self.git("deploy.git", &["rev-parse", "refs/heads/deploy/p"])
    }

    /// Name to outcome of a night's JSON.
    pub fn outcomes(night: &serde_json::Value) -> Vec<(String, String)> {
        let patches = night["patches"].as_array().expect("patches");
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
        patches.iter().map(|p| (text(&p["name"]), text(&p["outcome"]))).collect()
    }
}

/// Is a process of this group still running? Told by `/proc` (`proc_pid_stat(5)`); where there is none, it is not known.
fn is_alive(group: u32) -> bool {
    let of_group = |stat: &str| {
        // Its name may hold blanks, and ends with the last parenthesis: its state, its parent and its group follow.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, of) = (fields.next()?, fields.nth(1)?);
        Some(!matches!(state, "Z" | "X") && of.parse() == Ok(group))
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.any(|stat| of_group(&stat) == Some(true))
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
    std::fs::write(path, text).expect("written");
}

/// Thirty lines that name their file, some of them changed.
pub fn numbered(name: &str, changed: &[(usize, &str)]) -> String {
    let line = |n: usize| match changed.iter().find(|(at, _)| *at == n) {
        Some((_, text)) => format!("{text}\n"),
        None => format!("{name} line {n}\n"),
    };
    (1..=30).map(line).collect()
}
