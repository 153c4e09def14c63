//! A queue that is read while the workspace's lock is: neither needs the other, and both take their time where it is long. Only
//! for a run before which nothing happens that may change it: no hook, no fetch.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{NightError, Options, Site, site};
use crate::queue::{Queue, QueueError};
use crate::store::begin;
use crate::workspace::Project;

/// The queue, or all its faults.
type Loaded = Result<Queue, Vec<QueueError>>;

/// A queue that is being read.
#[derive(Debug)]
pub struct QueueAhead {
    thread: Mutex<Option<JoinHandle<Loaded>>>,
}

impl QueueAhead {
    /// Begins to read the queue of a project of the workspace at `root`. The caller holds the workspace's guard, or changes
    /// nothing.
    pub fn begin(root: &Path, project: &Project) -> Result<Self, NightError> {
        let readings = site::readings_file(&Site::folder_of(root)?, &project.name);
        let folder = root.join(&project.patches);
        let thread = begin(move || site::load(&folder, readings));
        Ok(Self { thread: Mutex::new(Some(thread)) })
    }

    /// What came of it. It is told once: who asks again may have changed it.
    fn told(&self) -> Option<Loaded> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

/// The queue of a run: what was read ahead, if it was.
pub(super) fn queue(site: &Site<'_>, options: &Options) -> Result<Queue, NightError> {
    match options.queue.as_deref().and_then(QueueAhead::told) {
        Some(loaded) => site.of_load(loaded),
        None => site.queue(),
    }
}
