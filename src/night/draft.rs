//! A change of the queue that a person asks for: it goes out with the replay that it makes needed, in one transaction.

use std::sync::Arc;

use gix_hash::ObjectId;

use super::outcome::{Plan, Planned};
use super::settle::Answers;
use super::writeback::FileChange;
use super::{NightError, Site};
use crate::queue::{Patch, Queue, QueueError, Series};
use crate::resolution::Resolution;
use crate::workspace::{PatchLock, ProjectLock};

/// A changed queue, not written yet.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The message of the workspace's commit.
    pub message: String,
    /// The queue as it was read.
    pub read: Arc<Queue>,
    /// The queue as it is to be.
    pub queue: Queue,
    /// What was recorded, with the names of today.
    pub lock: Option<ProjectLock>,
    /// The files that make it so.
    pub files: Vec<FileChange>,
    /// New answers to conflicts.
    pub resolutions: Vec<Resolution>,
}

impl Draft {
    /// What the replay of the queue as it is to be gives on `tip`, with other `answers`.
    pub(super) fn plan(
        &self,
        site: &Site<'_>,
        answers: &Answers<'_>,
        tip: &ObjectId,
    ) -> Result<Planned, NightError> {
        let queue = Arc::new(self.queue.clone());
        Plan { site, lock: self.lock.as_ref(), queue: &queue, answers, is_built: false }.on(tip)
    }

    /// A draft that changes nothing yet. `message` is the first line of the commit's message, without the project.
    pub fn of(site: &Site<'_>, message: &str) -> Result<Self, NightError> {
        let project = &site.project.name;
        let read = Arc::new(site.queue()?);
        Ok(Self {
            message: format!("carry: {project}: {message}\n"),
            queue: Queue::clone(&read),
            read,
            lock: site.workspace.lock.projects.get(project).cloned(),
            files: Vec::new(),
            resolutions: Vec::new(),
        })
    }

    /// Makes `series` the series.
    pub fn set_series(&mut self, site: &Site<'_>, series: Series) {
        let path = format!("{}/series", site.project.patches);
        self.put(FileChange { path, bytes: Some(series.to_bytes()) });
        self.queue.series = series;
    }

    /// Puts a patch's file into the queue, in the place of the one of its name.
    pub fn set_patch(&mut self, site: &Site<'_>, patch: Patch) {
        let path = format!("{}/{}", site.project.patches, patch.file);
        self.put(FileChange { path, bytes: Some(patch.bytes().to_vec()) });
        if let Some(there) = self.queue.patches.iter_mut().find(|p| p.file == patch.file) {
            *there = patch;
        } else {
            self.queue.patches.push(patch);
        }
    }

    /// Takes a patch's file out of the queue.
    pub fn remove_patch(&mut self, site: &Site<'_>, file: &str) {
        let path = format!("{}/{file}", site.project.patches);
        self.put(FileChange { path, bytes: None });
        self.queue.patches.retain(|p| p.file != file);
    }

    /// Adds an answer to a conflict, with its files.
    pub fn add_resolution(&mut self, site: &Site<'_>, resolution: Resolution) -> Result<(), NightError> {
        let files =
            resolution.files().map_err(|reason| NightError::Format { what: "the resolution", reason })?;
        let place = super::settle::place(site);
        for (file, bytes) in files {
            self.put(FileChange { path: format!("{place}/{file}"), bytes: Some(bytes) });
        }
        self.resolutions.push(resolution);
        Ok(())
    }

    /// Puts the patches in the order of the series.
    pub fn sort(&mut self) {
        let place = |p: &Patch| self.queue.series.entries().position(|e| e.file == p.file);
        self.queue.patches.sort_by_key(place);
    }

    /// What was recorded of a patch.
    pub fn locked(&mut self, name: &str) -> Option<&mut PatchLock> {
        self.lock.as_mut()?.patches.iter_mut().find(|p| p.name == name)
    }

    fn put(&mut self, change: FileChange) {
        self.files.retain(|f| f.path != change.path);
        self.files.push(change);
    }
}

/// A fault of the queue as an error of the run.
pub fn fault(site: &Site<'_>, fault: QueueError) -> NightError {
    NightError::Queue {
        project: site.project.name.clone(),
        folder: site.project.patches.clone(),
        faults: vec![fault],
    }
}
