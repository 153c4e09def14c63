//! One run at a time: a lock on a file that ends with the process that holds it, however that process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A program that a killed run was just starting has the run's files open for a moment, and with them the lock: it is looked so
/// often whether it goes, and waited so long between.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Holds the workspace for one run.
#[derive(Debug)]
pub struct Guard {
    file: File,
    /// Is there nothing that the next one has to put right?
    is_settled: bool,
    /// Who held the workspace before and ended without giving it back.
    pub took_over: Option<String>,
}

/// The workspace could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Another run is at work.
    #[error("another run is at work here: {holder}")]
    Busy {
        /// What it wrote of itself.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("'{}' cannot be locked: {source}", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Guard {
    /// Takes the folder `dir` for a run called `what`.
    pub fn acquire(dir: &Path, what: &str) -> Result<Self, GuardError> {
        Self::take(dir, what, File::try_lock)
    }

    /// Takes the folder for a run that others of its kind may stand beside, and that changes nothing which they read.
    pub fn beside(dir: &Path, what: &str) -> Result<Self, GuardError> {
        Self::take(dir, what, File::try_lock_shared)
    }

    fn take(dir: &Path, what: &str, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Self, GuardError> {
        let path = dir.join("run.lock");
        let io = |source| GuardError::Io { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let mut locked = lock(&file);
        for _ in 0..LOOKS {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(PAUSE);
            locked = lock(&file);
        }
        let mut holder = String::new();
        // The text is for people; the lock itself is the system's, so a damaged text changes nothing.
        let _ = file.read_to_string(&mut holder);
        let holder = holder.trim().to_owned();
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(GuardError::Busy { holder }),
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default();
        let text = format!("{what}, process {} on {}, since {now}\n", std::process::id(), host.trim());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(io)?;
        Ok(Self { file, is_settled: true, took_over: (!holder.is_empty()).then_some(holder) })
    }
}

impl Guard {
    /// Gives the workspace back. What a run before left is not cleaned up, if there was one: the next one takes over, too.
    pub fn give_up(mut self) {
        self.is_settled = self.took_over.is_none();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // An emptied file says that the run ended by itself; the system lifts the lock in any case.
        if self.is_settled {
            let _ = self.file.set_len(0);
        }
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_workspace() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Guard::acquire(dir.path(), "nightly").expect("it is free");
        let Err(GuardError::Busy { holder }) = Guard::acquire(dir.path(), "rebase") else {
            panic!("two at once")
        };
        assert!(holder.starts_with(&format!("nightly, process {}", std::process::id())), "{holder}");
        drop(first);
        assert_eq!(Guard::acquire(dir.path(), "rebase").expect("it is free again").took_over, None);
    }

    #[test]
    fn runs_that_may_stand_beside_each_other_keep_out_one_that_may_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let one = Guard::beside(dir.path(), "fleet run").expect("it is free");
        let other = Guard::beside(dir.path(), "fleet run").expect("there is room");
        assert!(matches!(Guard::acquire(dir.path(), "nightly"), Err(GuardError::Busy { .. })));
        drop((one, other));
        let night = Guard::acquire(dir.path(), "nightly").expect("it is free again");
        assert!(matches!(Guard::beside(dir.path(), "fleet run"), Err(GuardError::Busy { .. })));
        drop(night);
    }

    #[test]
    fn a_lock_file_without_a_living_holder_is_taken_over() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("run.lock"), "nightly, process 1 on old, since then\n")
            .expect("written");
        let guard = Guard::acquire(dir.path(), "nightly").expect("nobody holds it");
        assert!(guard.took_over.as_deref().is_some_and(|t| t.contains("on old")));
    }

    #[test]
    fn a_lock_that_goes_in_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = Guard::acquire(dir.path(), "one").expect("nobody has it");
        let other = std::thread::spawn(move || {
            std::thread::sleep(2 * PAUSE);
            drop(held);
        });
        assert!(Guard::acquire(dir.path(), "two").is_ok());
        other.join().expect("no panic");
    }
}
