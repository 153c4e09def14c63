//! Runs a command that proves a tree: with no more environment than it was given, with its output kept, and with an end.
//! A tree that a command was run on is not run on again.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gix_hash::ObjectId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::write_whole;
use crate::workspace::Check;

/// How a run of a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// With exit code 0.
    Passed,
    /// With another exit code, or by a signal.
    Failed,
    /// It took too long, and was ended with all its children.
    TimedOut,
    /// It could not be started.
    NotStarted,
}

/// One run of a check on a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// How it ended.
    pub ended: Ended,
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// The last line of its output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_line: String,
    /// The file with its output.
    #[serde(skip)]
    pub output: PathBuf,
}

/// How often a running check is looked at.
const TICK: Duration = Duration::from_millis(20);
/// Bytes at the end of an output in which its last line is looked for.
const TAIL: u64 = 4096;

/// What was run before, by tree and command.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    stop: Stop,
}

impl Cache {
    /// The results in a folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), stop: Stop::default() }
    }

    /// The same; checks end when this is raised.
    pub fn until(self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    /// The folder of one run: the same tree, command and environment give the same one.
    fn place(&self, check: &Check, tree: &ObjectId) -> PathBuf {
        let mut hash = Sha256::new();
        for part in [&check.run, &check.env] {
            hash.update(part.len().to_le_bytes());
            for word in part {
                hash.update(word.len().to_le_bytes());
                hash.update(word);
            }
        }
        // What is passed on counts by its value.
        for name in check.env.iter().filter(|e| !e.contains('=')) {
            hash.update(std::env::var_os(name).unwrap_or_default().as_encoded_bytes());
            hash.update([0]);
        }
        let key: String = hash.finalize().iter().take(10).map(|b| format!("{b:02x}")).collect();
        self.folder.join(tree.to_string()).join(key)
    }

    /// What a check said of a tree before.
    pub fn get(&self, check: &Check, tree: &ObjectId) -> Option<Ran> {
        let place = self.place(check, tree);
        let text = std::fs::read(place.join("result.json")).ok()?;
        let ran: Ran = serde_json::from_slice(&text).ok()?;
        Some(Ran { output: place.join("output"), ..ran })
    }

    /// Runs a check on a tree that stands in `work`, and keeps what it said. `vars` tell it what it runs on.
    pub fn run(
        &self,
        check: &Check,
        tree: &ObjectId,
        work: &Path,
        vars: &[(&str, String)],
    ) -> std::io::Result<Ran> {
        let place = self.place(check, tree);
        std::fs::create_dir_all(&place)?;
        let output = place.join("output");
        let command = Command { run: &check.run, env: &check.env, timeout: check.timeout, input: None };
        let ran = run_command(&command, work, vars, &output, &self.stop)?;
        // What could not be started says nothing of the tree.
        if ran.ended != Ended::NotStarted {
            let text = serde_json::to_vec_pretty(&ran)?;
            write_whole(&place.join("result.json"), &[&text])?;
        }
        Ok(ran)
    }
}

/// Says to what runs on other threads that nobody wants it any more.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says so.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Was it said?
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A command that is run as checks are: without a shell, and with no more environment than it is given.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// A program and its arguments.
    pub run: &'a [String],
    /// What it gets of the environment besides `PATH`: names that are passed on, and `NAME=value`.
    pub env: &'a [String],
    /// After how long it is ended, with all that it started.
    pub timeout: Duration,
    /// What it reads; none: nothing.
    pub input: Option<&'a [u8]>,
}

/// Runs a command in the folder `work`; `vars` are more of its environment, and what it says goes into the file `output`. When
/// `stop` is raised it is ended, and that is an error.
pub fn run_command(
    wanted: &Command<'_>,
    work: &Path,
    vars: &[(&str, String)],
    output: &Path,
    stop: &Stop,
) -> std::io::Result<Ran> {
    let log = File::create(output)?;
    let Some((program, args)) = wanted.run.split_first() else {
        return Err(std::io::Error::other("a check without a command"));
    };
    // A program of the tree itself is meant as it stands there.
    let program = if program.starts_with("./") { work.join(program) } else { program.into() };
    let mut command = std::process::Command::new(program);
    command.args(args).current_dir(work).env_clear();
    let passed = wanted.env.iter().filter(|e| !e.contains('=')).map(String::as_str);
    for name in passed.chain(["PATH"]) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(wanted.env.iter().filter_map(|e| e.split_once('=')));
    command.envs(vars.iter().map(|(name, value)| (name, value)));
    // A file: a command that reads nothing of it hinders nobody.
    let input = match wanted.input {
        None => Stdio::null(),
        Some(bytes) => {
            let mut file = tempfile::tempfile()?;
            std::io::Write::write_all(&mut file, bytes)?;
            file.rewind()?;
            Stdio::from(file)
        }
    };
    command.stdin(input).stdout(log.try_clone()?).stderr(log);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let started = Instant::now();
    let done = |ended, code, last_line| Ran {
        ended,
        code,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        last_line,
        output: output.to_owned(),
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Ok(done(Ended::NotStarted, None, e.to_string())),
    };
    loop {
        if let Some(status) = child.try_wait()? {
            // What it left running must not outlive it.
            end(&mut child);
            let ended = if status.success() { Ended::Passed } else { Ended::Failed };
            return Ok(done(ended, status.code(), last_line(output)?));
        }
        if stop.is_raised() {
            end(&mut child);
            child.wait()?;
            return Err(std::io::Error::other("it was ended, as nobody wants it any more"));
        }
        if started.elapsed() >= wanted.timeout {
            end(&mut child);
            child.wait()?;
            return Ok(done(Ended::TimedOut, None, last_line(output)?));
        }
        std::thread::sleep(TICK);
    }
}

/// Ends a check and all that it started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    {
        let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
    let _ = child.kill();
}

fn last_line(output: &Path) -> std::io::Result<String> {
    let mut file = File::open(output)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    Ok(text.trim_end().lines().last().unwrap_or_default().to_owned())
}

/// The first of a row that is bad, where the last one is and the one before the first is not. `is_bad` is asked about
/// as many as the logarithm of their number.
pub fn first_bad<E>(count: usize, mut is_bad: impl FnMut(usize) -> Result<bool, E>) -> Result<usize, E> {
    let (mut good, mut bad) = (0, count);
    // `good` counts those known to be good, from the start; `bad` is one past a known bad one.
    while good + 1 < bad {
        let middle = good + (bad - good) / 2 - 1;
        if is_bad(middle)? {
            bad = middle + 1;
        } else {
            good = middle + 1;
        }
    }
    Ok(bad.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_finds_the_first_bad_one() {
        for count in 1..40 {
            for first in 0..count {
                let mut asked = 0;
                let found = first_bad(count, |at| {
                    asked += 1;
                    Ok::<_, ()>(at >= first)
                });
                assert_eq!(found, Ok(first), "{first} of {count}");
                assert!(asked <= 6, "{asked} questions for {count}");
            }
        }
    }
}
