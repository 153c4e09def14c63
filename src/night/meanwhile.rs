//! A run takes its time, with checks and hooks hours. In: what it is about to write over, and what it read of that. Out: the
//! files that somebody changed since. Never: a word of theirs lost.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::writeback::FileChange;
use super::{NightError, Site};
use crate::queue::{Queue, digest};
use crate::workspace::{LOCK, Workspace};

/// Could each patch be read that was asked for? One that somebody changed meanwhile, and git no longer has, would have been taken
/// for one that fits nowhere.
pub(super) fn has_all(site: &Site<'_>, queue: &Queue) -> Result<(), NightError> {
    match queue.lost() {
        Some(file) => Err(NightError::Meanwhile { files: vec![format!("{}/{file}", site.project.patches)] }),
        None => Ok(()),
    }
}

/// Is what `commits` write over still what the run read: the patch files and the series as `queue` has them, and the
/// project's part of the lock? What else was changed, committed or not, stays as it is, and the next run looks at it.
pub(super) fn is_as_read(
    site: &Site<'_>,
    queue: &Queue,
    commits: &[(String, Vec<FileChange>)],
) -> Result<(), NightError> {
    has_all(site, queue)?;
    let folder = &site.project.patches;
    // On most nights no patch file changes.
    let read: LazyCell<HashMap<&str, &str>, _> = LazyCell::new(|| {
        queue.patches.iter().map(|patch| (patch.file.as_str(), patch.digest.as_str())).collect()
    });
    let mut changed: Vec<String> = Vec::new();
    for path in commits.iter().flat_map(|(_, files)| files).map(|file| &file.path) {
        let Some(file) = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let now = std::fs::read(site.workspace.root.join(path)).ok();
        let same = match read.get(file) {
            Some(was) => now.is_some_and(|now| digest(&now) == **was),
            None if file == "series" => now.is_none_or(|now| now == queue.series.to_bytes()),
            None => true,
        };
        if !same && !changed.contains(path) {
            changed.push(path.clone());
        }
    }
    let now = Workspace::lock_at(&site.workspace.root)?;
    let is_same = Arc::ptr_eq(&now, &site.workspace.lock);
    if !is_same
        && now.projects.get(&site.project.name) != site.workspace.lock.projects.get(&site.project.name)
    {
        changed.push(LOCK.into());
    }
    if changed.is_empty() { Ok(()) } else { Err(NightError::Meanwhile { files: changed }) }
}
