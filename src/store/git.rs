//! The only caller of the `git` program: arguments as they are, never a shell, and an environment of its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use bstr::ByteSlice;

use super::waiting::Waiting;
use super::words::complaint;

pub use super::words::without_secrets;

/// The variable that says how many seconds a remote may say nothing.
const SILENCE: &str = "GIT_CARRY_SILENCE";

/// So many bytes a pipe takes that nobody reads yet (`pipe(7)`, "PIPE_BUF").
const PIPE: usize = 4096;

/// Variables that would point a call at another repository than the one asked for (hooks export them).
const INHERITED: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
];

/// Settings of the user's that would change a diff's bytes.
const PINNED: [&str; 10] = [
    "core.quotePath=true",
    "diff.algorithm=myers",
    "diff.renames=true",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.context=3",
    "diff.interHunkContext=0",
    "diff.suppressBlankEmpty=false",
    "diff.indentHeuristic=true",
    // Git reads the file that is named, also where no name stands.
    "diff.orderFile=/dev/null",
];

/// Settings that a user's or a system's configuration would bring in besides its files (`git help git`).
const CONFIGURED: [&str; 3] = ["GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_ATTR_SOURCE"];

/// A call of the `git` program that did not work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git` to run.
    #[error("the git program cannot be run: {0}")]
    Missing(std::io::Error),
    /// It ended with an error.
    #[error("git {command} failed{}: {stderr}", .code.map(|c| format!(" (exit code {c})")).unwrap_or_default())]
    Failed {
        /// Its arguments, without secrets.
        command: String,
        /// Its exit code; none if a signal ended it.
        code: Option<i32>,
        /// What it said, without secrets.
        stderr: String,
    },
    /// It said nothing for too long and was ended.
    #[error("git {command} said nothing for {seconds} seconds and was ended")]
    Silent {
        /// Its arguments, without secrets.
        command: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It said something that cannot be understood.
    #[error("git {command} answered something unexpected: {answer}")]
    Answer {
        /// Its arguments.
        command: String,
        /// What it said, cut short.
        answer: String,
    },
}

/// Where calls of git run.
#[derive(Debug, Clone)]
pub struct Git {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    Bare(PathBuf),
}

/// One call, before it is made.
pub struct Call<'a> {
    command: Command,
    stdin: Vec<u8>,
    silence: Option<Duration>,
    progress: Option<&'a dyn Fn(&str)>,
    out: Option<File>,
}

/// A call that goes on beside other work.
pub struct Started {
    child: Option<Child>,
}

/// What a call said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, without secrets.
    pub stderr: String,
}

impl Git {
    /// Calls in the folder `path` (a work tree).
    pub fn at(path: &Path) -> Self {
        Self { place: Place::Folder(path.to_owned()) }
    }

    /// Calls on the bare repository `path`.
    pub fn bare(path: &Path) -> Self {
        Self { place: Place::Bare(path.to_owned()) }
    }

    /// A call with these arguments.
    pub fn call<'a, A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Call<'a> {
        let mut command = Command::new(program());
        for name in INHERITED {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
        if !std::io::stdin().is_terminal() {
            command.env("GIT_TERMINAL_PROMPT", "0");
        }
        for pin in PINNED {
            command.arg("-c").arg(pin);
        }
        let (Place::Folder(path) | Place::Bare(path)) = &self.place;
        if path.is_absolute() {
            // Where the user stands may be gone: a work tree that was just taken away.
            command.current_dir("/");
        }
        match &self.place {
            Place::Folder(path) => command.arg("-C").arg(path),
            Place::Bare(path) => command.arg("--git-dir").arg(path),
        };
        command.args(args);
        Call { command, stdin: Vec::new(), silence: None, progress: None, out: None }
    }
}

/// Where the `git` program is. It is looked up once: a call would try every folder of `PATH` again.
pub(super) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let name = Path::new("git");
        let folders = std::env::var_os("PATH").unwrap_or_default();
        // What a folder means that is not told from the root depends on where a call runs.
        let folders = std::env::split_paths(&folders).take_while(|folder| folder.is_absolute());
        folders
            .map(|folder| folder.join(name))
            .find(|file| is_program(file))
            .unwrap_or_else(|| name.to_owned())
    })
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn is_program(_: &Path) -> bool {
    false
}

impl Git {
    /// The contents of blobs, in one call.
    pub fn blobs(&self, ids: &[&str]) -> Result<Vec<Vec<u8>>, GitError> {
        let mut blobs = Vec::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(blobs);
        }
        let out = self.call(["cat-file", "--batch"]).stdin(format!("{}\n", ids.join("\n"))).output()?;
        let mut rest = out.as_slice();
        for id in ids {
            // `<id> blob <size>`, the content, a line's end; `<id> missing` for one that is not there.
            let (head, tail) = rest.split_once_str("\n").unwrap_or((rest, b""));
            let size = head.to_str().ok().and_then(|h| h.strip_prefix(&format!("{id} blob "))?.parse().ok());
            let content = size.and_then(|size: usize| tail.get(..size));
            let answer = || head.to_str_lossy().into_owned();
            let content = content
                .ok_or_else(|| GitError::Answer { command: "cat-file --batch".into(), answer: answer() })?;
            blobs.push(content.to_vec());
            rest = tail.get(content.len() + 1..).unwrap_or_default();
        }
        Ok(blobs)
    }
}

impl<'a> Call<'a> {
    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// A variable of the call's environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The call fills much memory, gives it back and asks for it again: what it had stays with it, which saves a fifth of the
    /// time of a few diffs (`mallopt(3)`, "Environment variables"; other libraries than glibc read none of them).
    pub fn kept_memory(self) -> Self {
        self.env("MALLOC_TOP_PAD_", "1048576")
            .env("MALLOC_TRIM_THRESHOLD_", "67108864")
            .env("MALLOC_MMAP_THRESHOLD_", "33554432")
    }

    /// Nothing of the user's or the system's configuration acts on the call: only what the repository itself says.
    pub fn alone(mut self) -> Self {
        for name in CONFIGURED {
            self.command.env_remove(name);
        }
        self.command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        self.command.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_NO_REPLACE_OBJECTS", "1").env("TZ", "UTC");
        self
    }

    /// Standard output goes to the end of a file; what the call says then holds none of it.
    pub fn write_to(mut self, file: File) -> Self {
        self.out = Some(file);
        self
    }

    /// What the call reads from standard input.
    pub fn stdin(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.stdin = data.into();
        self
    }

    /// Ends the call when it says nothing for so long. For calls that reach the network; `GIT_CARRY_SILENCE` in the environment
    /// says otherwise.
    pub fn silence(mut self, limit: Duration) -> Self {
        let told =
            std::env::var(SILENCE).ok().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        self.silence = Some(told.unwrap_or(limit));
        self
    }

    /// Hands on what git says of its progress, a line at a time.
    pub fn progress(mut self, listener: &'a dyn Fn(&str)) -> Self {
        self.progress = Some(listener);
        self
    }

    /// Makes the call; any exit code other than 0 is an error.
    pub fn output(self) -> Result<Vec<u8>, GitError> {
        let command = self.words();
        ended_well(command, self.answer()?)
    }

    /// Makes the call; its output as one trimmed line of text.
    pub fn line(self) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.output()?).trim().to_owned())
    }

    /// Makes the call and returns whatever it said.
    pub fn answer(mut self) -> Result<Answer, GitError> {
        if self.silence.is_none() && self.progress.is_none() {
            return self.start()?.answer();
        }
        let words = self.words();
        let mut child = self.spawn()?;
        let (sender, said) = mpsc::channel();
        listen(child.stdout.take(), true, sender.clone());
        listen(child.stderr.take(), false, sender);
        let (mut stdout, mut stderr, mut line) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let piece = match self.silence {
                Some(limit) => said.recv_timeout(limit),
                None => said.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            match piece {
                Ok((true, bytes)) => stdout.extend_from_slice(&bytes),
                Ok((false, bytes)) => {
                    if let Some(progress) = self.progress {
                        for byte in &bytes {
                            if matches!(byte, b'\r' | b'\n') {
                                progress(&without_secrets(&String::from_utf8_lossy(&line)));
                                line.clear();
                            } else {
                                line.push(*byte);
                            }
                        }
                    }
                    stderr.extend_from_slice(&bytes);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    end(&mut child);
                    let seconds = self.silence.unwrap_or_default().as_secs();
                    return Err(GitError::Silent { command: words, seconds });
                }
            }
        }
        let status = child.wait().map_err(GitError::Missing)?;
        let stderr = without_secrets(&String::from_utf8_lossy(&stderr));
        Ok(Answer { code: status.code(), stdout, stderr })
    }

    /// Makes the call, and does not wait for what it says.
    pub fn start(mut self) -> Result<Started, GitError> {
        Ok(Started::of(self.spawn()?))
    }

    /// Begins the call, which waits for what it is to read.
    pub fn begin(mut self) -> Result<Waiting, GitError> {
        let command = self.words();
        Ok(Waiting::of(self.piped()?, command))
    }

    fn piped(&mut self) -> Result<Child, GitError> {
        let out = self.out.take().map_or_else(Stdio::piped, Stdio::from);
        self.command.stdin(Stdio::piped()).stdout(out).stderr(Stdio::piped());
        self.command.spawn().map_err(GitError::Missing)
    }

    fn spawn(&mut self) -> Result<Child, GitError> {
        let mut child = self.piped()?;
        feed(child.stdin.take(), std::mem::take(&mut self.stdin));
        Ok(child)
    }

    /// The arguments as a message shows them: without the pins, the settings and secrets.
    fn words(&self) -> String {
        let all: Vec<String> =
            self.command.get_args().map(|a| without_secrets(&a.to_string_lossy())).collect();
        let mut words = all.get(2 * PINNED.len() + 2..).unwrap_or_default();
        while let [setting, _, rest @ ..] = words
            && setting == "-c"
        {
            words = rest;
        }
        words.join(" ")
    }
}

/// Gives a program what it is to read. One that ends before it read all closes the pipe: its exit code tells.
pub(super) fn feed(pipe: Option<ChildStdin>, input: Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    match input.len() {
        0..=PIPE => drop(pipe.write_all(&input)),
        _ => drop(std::thread::spawn(move || pipe.write_all(&input))),
    }
}

/// What a call wrote, if it ended well.
pub(super) fn ended_well(command: String, answer: Answer) -> Result<Vec<u8>, GitError> {
    match answer.code {
        Some(0) => Ok(answer.stdout),
        code => Err(GitError::Failed { command, code, stderr: complaint(&answer.stderr) }),
    }
}

impl Started {
    /// A call that was begun.
    pub(super) fn of(child: Child) -> Self {
        Self { child: Some(child) }
    }

    /// Whatever the call says.
    pub fn answer(mut self) -> Result<Answer, GitError> {
        let gone = || GitError::Missing(std::io::ErrorKind::NotFound.into());
        let said = self.child.take().ok_or_else(gone)?.wait_with_output().map_err(GitError::Missing)?;
        let stderr = without_secrets(&String::from_utf8_lossy(&said.stderr));
        Ok(Answer { code: said.status.code(), stdout: said.stdout, stderr })
    }
}

/// A call that nobody waits for any more is ended.
impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ends a call with all that it has started: an `ssh` that waits for its server would stay. A group of processes of its own
/// would be ended at once, but could ask no user for a passphrase, nor be ended by one.
fn end(child: &mut Child) {
    let started = descendants(child.id());
    // It may have ended by itself just now; either way it is gone.
    let _ = child.kill();
    let _ = child.wait();
    #[cfg(unix)]
    for pid in started {
        use rustix::process::{Pid, Signal, kill_process};
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// What a process has started, and what that has, where the system tells (`proc(5)`, "/proc/pid/task/tid/children").
fn descendants(pid: u32) -> Vec<u32> {
    let (mut all, mut open) = (Vec::new(), vec![pid]);
    while let Some(pid) = open.pop() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            open.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        all.push(pid);
    }
    all.split_off(1)
}

fn listen(pipe: Option<impl Read + Send + 'static>, out: bool, sender: mpsc::Sender<(bool, Vec<u8>)>) {
    let Some(mut pipe) = pipe else { return };
    std::thread::spawn(move || {
        let mut buffer = [0; 16384];
        while let Ok(n) = pipe.read(&mut buffer) {
            if n == 0 || sender.send((out, buffer[..n].to_vec())).is_err() {
                return;
            }
        }
    });
}

/// An argument made of a name and a value, for instance `--force-with-lease=<ref>:<old>`.
pub fn joined(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut out = OsString::from(name);
    out.push(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_call_tells_its_code_and_words() {
        let dir = tempfile::tempdir().expect("a folder");
        let err =
            Git::at(dir.path()).call(["rev-parse", "--verify", "nope"]).output().expect_err("no repository");
        let GitError::Failed { command, code, .. } = err else { panic!("{err}") };
        assert_eq!((command.as_str(), code), ("rev-parse --verify nope", Some(128)));
    }

    #[test]
    fn a_hook_s_variables_do_not_reach_the_call() {
        let dir = tempfile::tempdir().expect("a folder");
        let call = Git::bare(dir.path()).call(["version"]);
        let removed: Vec<_> = call.command.get_envs().filter(|(_, v)| v.is_none()).map(|(k, _)| k).collect();
        assert!(removed.contains(&OsStr::new("GIT_INDEX_FILE")));
    }
}
