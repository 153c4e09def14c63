//! What git leaves locked where it was killed, as when a machine goes down: files that end in `.lock`. Git takes them away
//! when it ends, and no later call of git does.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is looked whether a lock is gone by itself, and how long is waited between.
const LOOKS: usize = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// Takes away the locks of a repository's refs, and with `all` of its packed objects and its configuration as well. Those of
/// work trees stay, but for `more`. Who killed a run may have left a child of it at work: a lock has three seconds to go by
/// itself. The caller sees to it that nobody else is at work there.
pub fn unlock(repository: &Path, all: bool, more: &[PathBuf]) {
    let mut places = vec![repository.join("refs")];
    if all {
        places.extend(["info", "pack"].map(|folder| repository.join("objects").join(folder)));
    }
    let mut locks: Vec<PathBuf> = places.iter().flat_map(|place| below(place)).collect();
    locks.extend(["HEAD.lock", "packed-refs.lock"].map(|name| repository.join(name)));
    if all {
        locks.extend(["config.lock", "shallow.lock"].map(|name| repository.join(name)));
    }
    locks.extend_from_slice(more);
    locks.retain(|lock| lock.exists());
    for _ in 0..LOOKS {
        if locks.is_empty() {
            return;
        }
        std::thread::sleep(PAUSE);
        locks.retain(|lock| lock.exists());
    }
    for lock in locks {
        // What cannot be taken away is named by git itself, when it meets it.
        let _ = std::fs::remove_file(lock);
    }
}

/// The locks below a folder. No ref is called so (`git help check-ref-format`).
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => found.extend(below(&path)),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|e| e == "lock") => found.push(path),
            _ => {}
        }
    }
    found
}
