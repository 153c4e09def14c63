//! A queue that is read while the workspace's lock is: neither needs the other, and both take their time where it is long. Only
//! for a run before which nothing happens that may change it: no hook, no fetch.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use super::{NightError, Options, Site, site};
use crate::queue::{Queue, QueueError};
use crate::store::{Plain, Unchanged, begin};
use crate::workspace::Project;

/// The queue, or all its faults.
type Loaded = Result<Queue, Vec<QueueError>>;

/// A queue that is being read.
#[derive(Debug)]
pub struct QueueAhead {
    files: Arc<Files>,
    thread: Mutex<Option<JoinHandle<Loaded>>>,
}

/// Which of its files are unchanged, once somebody has looked.
#[derive(Debug)]
struct Files {
    home: site::Home,
    /// The workspace's root.
    root: PathBuf,
    /// The queue's folder from there.
    patches: String,
    unchanged: OnceLock<Option<Arc<Unchanged>>>,
}

impl Files {
    fn unchanged(&self) -> Option<&Arc<Unchanged>> {
        let look = || {
            let plain: Plain = self.home.plain_at(&self.root)?;
            plain.unchanged(&format!("{}{}", self.home.prefix(), self.patches)).map(Arc::new)
        };
        self.unchanged.get_or_init(look).as_ref()
    }
}

impl QueueAhead {
    /// Begins to read the queue of a project of the workspace at `root`. The caller holds the workspace's guard, or changes
    /// nothing.
    pub fn begin(root: &Path, project: &Project) -> Result<Self, NightError> {
        let home = site::Home::of(root)?;
        let readings = site::readings_file(&home.folder(), &project.name);
        let (root, patches) = (root.to_owned(), project.patches.clone());
        let files = Arc::new(Files { home, root, patches, unchanged: OnceLock::new() });
        let of = files.clone();
        let thread = begin(move || site::load(&of.root.join(&of.patches), readings, of.unchanged()));
        Ok(Self { files, thread: Mutex::new(Some(thread)) })
    }

    /// What came of it. It is told once: who asks again may have changed it.
    fn told(&self) -> Option<Loaded> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    /// Which of its files were unchanged when it was read.
    pub(super) fn unchanged(&self) -> Option<&Unchanged> {
        self.files.unchanged().map(Arc::as_ref)
    }
}

/// The queue of a run: what was read ahead, if it was. [`super::meanwhile::has_all`] is to be asked of it before anything goes out.
pub(super) fn queue(site: &Site<'_>, options: &Options) -> Result<Queue, NightError> {
    match options.queue.as_deref().and_then(QueueAhead::told) {
        Some(loaded) => site.of_load(loaded),
        None => site.queue_unread(),
    }
}
