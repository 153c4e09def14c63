//! The workspace's commits of a run: what each holds, and what it says.

use std::collections::BTreeMap;

use bstr::BString;

use super::leave::Left;
use super::turn::Head;
use super::writeback::FileChange;
use super::{NightError, Site, TrunkMove};
use crate::queue::digest;
use crate::store::{NewCommit, Tip, chain};
use crate::workspace::{LOCK, Lock, Outcome, ProjectLock, Workspace};

/// What the commit of mere drift says.
pub const DRIFT: &str = "line numbers and context for";

/// The workspace's commits: first the changes of line numbers and context alone, then all else. The lock goes with the
/// last, when it is known what the other projects have in it.
pub(super) fn files(
    site: &Site<'_>,
    left: &[Left<'_>],
    series_before: &[u8],
    series_after: &[u8],
    trunk: &TrunkMove,
) -> Vec<(String, Vec<FileChange>)> {
    let place = |file: &str| format!("{}/{file}", site.project.patches);
    let (mut drift, mut content) = (Vec::new(), Vec::new());
    for l in left {
        if l.dropped {
            content.push(FileChange { path: place(&l.patch.file), bytes: None });
        } else if let Some((anew, only_drift)) = &l.rewritten {
            let change = FileChange { path: place(&l.patch.file), bytes: Some(anew.bytes().to_vec()) };
            if *only_drift { drift.push(change) } else { content.push(change) }
        }
    }
    if series_before != series_after {
        content.push(FileChange { path: place("series"), bytes: Some(series_after.to_vec()) });
    }

    let project = &site.project.name;
    let tip = trunk.to.get(..12).unwrap_or(&trunk.to);
    let mut commits = Vec::new();
    if !drift.is_empty() {
        let message =
            format!("carry: {project}: {DRIFT} {tip}\n\nNo patch changes what it adds or removes.\n");
        commits.push((message, drift));
    }
    commits.push((message(left, project, tip, trunk), content));
    commits
}

/// The lock with a project's part of it anew.
pub fn lock_file(all: &Lock, project: &str, lock: ProjectLock) -> Result<FileChange, NightError> {
    let others = all.projects.iter().filter(|(name, _)| *name != project);
    let mut all =
        Lock { version: all.version, projects: others.map(|(n, l)| (n.clone(), l.clone())).collect() };
    all.projects.insert(project.to_owned(), lock);
    let text = all.render().map_err(|e| NightError::Format { what: LOCK, reason: e.to_string() })?;
    Ok(FileChange { path: LOCK.into(), bytes: Some(text.into_bytes()) })
}

fn message(left: &[Left<'_>], project: &str, tip: &str, trunk: &TrunkMove) -> String {
    let named = trunk.describe.as_deref().map(|d| format!(" ({d})")).unwrap_or_default();
    let mut text = format!("carry: {project}: replay on {tip}{named}\n\n");
    text.push_str(&format!("The trunk moved by {} commits.\n", trunk.commits));
    let count = |o: Outcome| left.iter().filter(|l| l.planned.report.outcome == o).count();
    let counts: Vec<String> = Outcome::ALL
        .iter()
        .filter(|o| count(**o) > 0)
        .map(|o| format!("{} {}", count(*o), o.word()))
        .collect();
    text.push_str(&format!(
        "Patches: {}.\n",
        if counts.is_empty() { "none".into() } else { counts.join(", ") }
    ));
    let mut lines = Vec::new();
    for l in left {
        let r = &l.planned.report;
        let why = match r.outcome {
            Outcome::Landed => {
                let by = r.evidence.as_ref().map(|e| {
                    format!(
                        " as {} \"{}\" by {} ({:?})",
                        &e.commit[..12.min(e.commit.len())],
                        e.subject,
                        e.author,
                        e.rung
                    )
                });
                format!("landed{}; {}", by.unwrap_or_default(), if l.dropped { "dropped" } else { "kept" })
            }
            Outcome::Refreshed => match &l.rewritten {
                Some((_, true)) => "refreshed: line numbers and context".into(),
                _ => "refreshed".into(),
            },
            Outcome::Resolved => match &r.resolution {
                Some(used) => format!("resolved by {}, recorded {} by {}", used.id, used.recorded, used.by),
                None => "resolved".into(),
            },
            Outcome::Evolved => {
                let by =
                    r.evolved.as_ref().map(|e| format!(": {} \"{}\" by {}", e.commit, e.subject, e.author));
                format!("evolved{}", by.unwrap_or_default())
            }
            Outcome::Conflict => {
                let paths: Vec<&str> = r.conflicts.iter().map(|c| c.path.as_str()).collect();
                format!("conflict in {}", if paths.is_empty() { "its base".into() } else { paths.join(", ") })
            }
            Outcome::Blocked => format!("blocked: needs {}", r.needs.join(", ")),
            _ => continue,
        };
        lines.push(format!("- {}: {why}\n", r.name));
    }
    if !lines.is_empty() {
        text.push('\n');
        text.push_str(&lines.concat());
    }
    text
}

/// A run's commits in the workspace, to which nothing refers yet.
pub struct Made {
    /// Their ids, oldest first.
    pub ids: Vec<String>,
    /// The blob of each file written last.
    pub blobs: Blobs,
    /// The bytes of each.
    pub texts: BTreeMap<String, Vec<u8>>,
}

/// The trailer that the commits of one run have in common, so that they are taken back together.
pub const RUN: &str = "Carry-Run";

/// Makes a run's commits on `head`.
pub fn make(
    site: &Site<'_>,
    head: &Head,
    commits: Vec<(String, Vec<FileChange>)>,
) -> Result<Made, NightError> {
    let commits = signed(head.commit().as_deref(), commits);
    let (ids, blobs) = commit_files(site, &head.tip, &commits)?;
    let texts = commits.into_iter().flat_map(|(_, changes)| changes);
    let texts = texts.filter_map(|change| Some((change.path, change.bytes?))).collect();
    Ok(Made { ids, blobs, texts })
}

/// The same, with the lock in the last one. The caller has the turn, or looks whether it was another's since.
pub fn make_with_lock(
    site: &Site<'_>,
    head: &Head,
    mut commits: Vec<(String, Vec<FileChange>)>,
    lock: ProjectLock,
) -> Result<Made, NightError> {
    let others = match site.workspace.config.projects.len() {
        0 | 1 => site.workspace.lock.clone(),
        _ => Workspace::load(&site.workspace.root)?.lock,
    };
    if let Some((_, files)) = commits.last_mut() {
        files.push(lock_file(&others, &site.project.name, lock)?);
    }
    make(site, head, commits)
}

/// The commits with the trailer of their run.
fn signed(old: Option<&str>, commits: Vec<(String, Vec<FileChange>)>) -> Vec<(String, Vec<FileChange>)> {
    let all: String = old.into_iter().chain(commits.iter().map(|(message, _)| message.as_str())).collect();
    let run = digest(all.as_bytes());
    let sign = |(message, files): (String, Vec<FileChange>)| {
        (format!("{}\n\n{RUN}: {}\n", message.trim_end(), &run[..12]), files)
    };
    commits.into_iter().map(sign).collect()
}

/// The blob of each file that changes, by its path; none: it goes.
pub type Blobs = BTreeMap<String, Option<String>>;

/// Makes a chain of commits in the workspace's repository, without touching its work tree, index or refs: the new
/// commits, and the blob of each file written last (none: it goes).
pub fn commit_files(
    site: &Site<'_>,
    tip: &Tip,
    commits: &[(String, Vec<FileChange>)],
) -> Result<(Vec<String>, Blobs), NightError> {
    let place = |change: &FileChange| BString::from(format!("{}{}", site.prefix, change.path));
    let mut wanted = Vec::with_capacity(commits.len());
    for (message, changes) in commits {
        let files = changes.iter().map(|change| (place(change), change.bytes.as_deref())).collect();
        wanted.push(NewCommit { message, files });
    }
    let identity = &site.workspace.config.identity;
    let made = chain((&site.git, site.plain()), tip, (&identity.name, &identity.email), &wanted)?;
    let paths = commits.iter().flat_map(|(_, changes)| changes).map(|change| change.path.clone());
    Ok((made.commits, paths.zip(made.blobs.into_iter().flatten()).collect()))
}
