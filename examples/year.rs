//! A generated year of nights: many projects, each with a queue, whose trunks move every night; then what it takes on the disk
//! and how long it takes to be told of. Every night is a real one, by the program.
//!
//! `cargo run --release --example year -- PROGRAM FOLDER [PROJECTS] [NIGHTS] [PATCHES] [KEEP]`: the program is `git-carry`, the
//! folder must not exist; 50 projects, 365 nights, 10 patches, and 90 builds kept if nothing is said. What is said of each tenth
//! of the year goes to standard error, the result to standard output.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Files of each project's upstream.
const FILES: usize = 40;
/// Lines of each file.
const LINES: usize = 60;

struct Year {
    program: PathBuf,
    root: PathBuf,
    projects: usize,
    patches: usize,
    keep: usize,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [program, root, numbers @ ..] = &args[..] else {
        return Err("year PROGRAM FOLDER [PROJECTS] [NIGHTS] [PATCHES] [KEEP]".into());
    };
    let number = |at: usize, default: usize| numbers.get(at).map_or(Ok(default), |n| n.parse());
    let (projects, nights, patches, keep) = (number(0, 50)?, number(1, 365)?, number(2, 10)?, number(3, 90)?);
    std::fs::create_dir(root)?;
    let program = Path::new(program).canonicalize()?;
    let year = Year { program, root: Path::new(root).canonicalize()?, projects, patches, keep };
    year.begin()?;
    let mut spent = Duration::ZERO;
    for night in 1..=nights {
        year.upstream_moves(night)?;
        let start = Instant::now();
        let out = year.carry(&["--quiet", "nightly", "--all"])?;
        spent += start.elapsed();
        if !matches!(out.status.code(), Some(0 | 3)) {
            return Err(format!("night {night}: {}", String::from_utf8_lossy(&out.stderr)).into());
        }
        if night % (nights / 10).max(1) == 0 {
            eprintln!("night {night}: {} a night, {}", in_ms(spent / night as u32), year.sizes()?);
        }
    }
    println!("{projects} projects, {nights} nights, {patches} patches each, {keep} builds kept");
    println!("a night of all        {}", in_ms(spent / nights.max(1) as u32));
    println!("on the disk           {}", year.sizes()?);
    // Nights of one afternoon are all younger than git's two weeks; those of a year are not.
    let start = Instant::now();
    year.done(&["prune", "--now"])?;
    println!("prune --now           {}", in_ms(start.elapsed()));
    println!("on the disk after     {}", year.sizes()?);
    for command in [
        &["log", "--project", "p0"][..],
        &["status", "--project", "p0"],
        &["status"],
        &["report", "--project", "p0", "--format", "json"],
        &["report", "--format", "json"],
    ] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            year.done(command)?;
            times.push(start.elapsed());
        }
        times.sort();
        println!("{:<46} {}", command.join(" "), in_ms(times[2]));
    }
    Ok(())
}

fn in_ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

impl Year {
    fn command(&self, program: &Path, at: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.root.join(at))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Year")
                .env(format!("GIT_{role}_EMAIL"), "year@example.org");
        }
        command.stdin(Stdio::null());
        command
    }

    fn git(&self, at: &str, args: &[&str]) -> Result<()> {
        let out = self.command(Path::new("git"), at).args(args).output()?;
        if out.status.success() {
            Ok(())
        } else {
            Err(format!("git {args:?}: {}", String::from_utf8_lossy(&out.stderr)).into())
        }
    }

    fn carry(&self, args: &[&str]) -> Result<std::process::Output> {
        Ok(self.command(&self.program, "ws").args(args).output()?)
    }

    fn done(&self, args: &[&str]) -> Result<()> {
        let out = self.carry(args)?;
        if out.status.success() {
            Ok(())
        } else {
            Err(format!("git carry {args:?}: {}", String::from_utf8_lossy(&out.stderr)).into())
        }
    }

    /// A stream for `git fast-import` into the upstream.
    fn import(&self, stream: &str) -> Result<()> {
        let mut child = self
            .command(Path::new("git"), "up.git")
            .args(["fast-import", "--quiet", "--force"])
            .stdin(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("no standard input")?.write_all(stream.as_bytes())?;
        if child.wait()?.success() { Ok(()) } else { Err("git fast-import failed".into()) }
    }

    /// The upstream with a branch for each project, and a workspace that follows them all.
    fn begin(&self) -> Result<()> {
        for folder in ["ws", "up.git", "deploy.git"] {
            std::fs::create_dir(self.root.join(folder))?;
        }
        self.git("up.git", &["init", "-q", "--bare"])?;
        self.git("deploy.git", &["init", "-q", "--bare"])?;
        let mut stream = String::new();
        for project in 0..self.projects {
            head(&mut stream, &format!("refs/heads/b{project}"), 0, None);
            for file in 0..FILES {
                inline(&mut stream, &format!("src/f{file}"), &text(project, file, 0, None));
            }
            for patch in 0..self.patches {
                let onto = (patch == 0).then(|| format!("refs/heads/b{project}"));
                head(&mut stream, &format!("refs/heads/f{project}"), 0, onto.as_deref());
                inline(&mut stream, &format!("src/f{patch}"), &text(project, patch, 0, Some(patch)));
            }
        }
        self.import(&stream)?;
        for project in 0..self.projects {
            let (name, branch, tip) =
                (format!("p{project}"), format!("b{project}"), format!("refs/heads/f{project}"));
            self.done(&[
                "init",
                "--project",
                &name,
                "--upstream",
                "../up.git",
                "--branch",
                &branch,
                "--remote",
                "../deploy.git",
            ])?;
            self.done(&[
                "import",
                "--project",
                &name,
                "--fork",
                "../up.git",
                "--tip",
                &tip,
                "--base",
                &branch,
            ])?;
        }
        let path = self.root.join("ws/carry.toml");
        let mut config = std::fs::read_to_string(&path)?;
        for project in 0..self.projects {
            write!(config, "\n[project.p{project}.history]\nkeep = {}\n", self.keep)?;
        }
        std::fs::write(path, config)?;
        self.git("ws", &["commit", "-qam", "keep"])
    }

    /// Every trunk gets three commits, which touch files that patches touch as well.
    fn upstream_moves(&self, night: usize) -> Result<()> {
        let mut stream = String::new();
        for project in 0..self.projects {
            for commit in 0..3 {
                let branch = format!("refs/heads/b{project}");
                head(
                    &mut stream,
                    &branch,
                    night * 3 + commit,
                    (commit == 0).then_some(&format!("{branch}^0")),
                );
                let file = (night * 7 + commit * 11 + project) % FILES;
                inline(&mut stream, &format!("src/f{file}"), &text(project, file, night, None));
            }
        }
        self.import(&stream)
    }

    /// What the tool's own folder and the workspace's history take.
    fn sizes(&self) -> Result<String> {
        let all = size(&self.root.join("ws"))?;
        let stores = size(&self.root.join("ws/.git/carry"))?;
        let objects = size(&self.root.join("ws/.git/objects"))?;
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        Ok(format!(
            "{} (the projects' stores {}, the workspace's objects {})",
            mib(all),
            mib(stores),
            mib(objects)
        ))
    }
}

/// The head of a commit; without `onto` it goes on from where the branch is in this stream.
fn head(stream: &mut String, branch: &str, moment: usize, onto: Option<&str>) {
    let at = 1_790_000_000 + moment * 8 * 60 * 60;
    let _ = write!(stream, "commit {branch}\ncommitter Up <up@example.org> {at} +0000\ndata 7\nchange\n\n");
    if let Some(onto) = onto {
        let _ = writeln!(stream, "from {onto}");
    }
}

fn inline(stream: &mut String, path: &str, text: &str) {
    let _ = write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len());
}

/// A file's text on a night; with a patch, with what that changes in its middle.
fn text(project: usize, file: usize, night: usize, patch: Option<usize>) -> String {
    let line = |n: usize| match (n, patch) {
        (30, Some(patch)) => format!("    ours({patch});\n"),
        (3, _) | (57, _) => format!("    theirs_{night}();\n"),
        _ => format!("    line_{n}_of_file_{file}_in_project_{project}();\n"),
    };
    (0..LINES).map(line).collect()
}

/// The bytes that the files below a folder take, in whole blocks.
fn size(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        sum += data.blocks() * 512 + if data.is_dir() { size(&entry.path())? } else { 0 };
    }
    Ok(sum)
}
