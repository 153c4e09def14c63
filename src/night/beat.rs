//! When the last night ran on this machine and how it ended, so that "did not run" is told from "nothing to say".

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{NightError, Site, history};
use crate::notify::Ended;

/// The variable that names another moment than the clock's, in RFC 3339: for tests of what takes days.
pub const NOW: &str = "GIT_CARRY_NOW";

/// This moment.
pub fn now() -> Timestamp {
    let told = std::env::var(NOW).ok().and_then(|text| text.parse().ok());
    told.unwrap_or_else(Timestamp::now)
}

/// A night that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// When it ended.
    pub at: Timestamp,
    /// How, if that was written down.
    pub ended: Option<Ended>,
    /// If an error ended it, or nothing was published: why.
    pub reason: String,
}

fn place(folder: &Path, project: &str) -> PathBuf {
    folder.join(format!("{project}.night"))
}

/// Writes down that a night ran, whatever came of it.
pub fn beat(folder: &Path, project: &str, beat: &Beat) -> Result<(), NightError> {
    let path = place(folder, project);
    let ended = beat.ended.map_or("", Ended::word);
    let reason: String = beat.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = format!("{}\n{ended}\n{reason}\n", beat.at);
    std::fs::write(&path, text).map_err(|source| NightError::Io { path, source })
}

/// The last night on this machine, if there was one.
pub fn last_beat(folder: &Path, project: &str) -> Option<Beat> {
    let text = std::fs::read_to_string(place(folder, project)).ok()?;
    let mut lines = text.lines();
    let at = lines.next()?.trim().parse().ok()?;
    let all = [Ended::Published, Ended::Quiet, Ended::Refused, Ended::Failed];
    let word = lines.next().unwrap_or_default();
    let ended = all.into_iter().find(|e| e.word() == word);
    Some(Beat { at, ended, reason: lines.next().unwrap_or_default().to_owned() })
}

/// When the last run ended, as far as this machine and the workspace know.
pub fn last_run(site: &Site<'_>) -> Result<Option<Timestamp>, NightError> {
    let last = history::log(site, 1)?.into_iter().next();
    Ok(ran(site, last.and_then(|e| e.date.parse().ok())))
}

/// The same, where it is known when the queue was changed last.
pub fn ran(site: &Site<'_>, changed: Option<Timestamp>) -> Option<Timestamp> {
    // A quiet night leaves no commit; on this machine it leaves its time.
    last_beat(&site.folder, &site.project.name).map(|beat| beat.at).max(changed)
}
