//! What was done to a project's queue, from the workspace's own history; and how to take it back.

use std::collections::BTreeMap;

use bstr::{BStr, ByteSlice};
use jiff::Timestamp;
use serde::Serialize;

use super::commits::DRIFT;
use super::commits::RUN;
use super::settle::place;
use super::task::TaskError;
use super::{FileChange, NightError, Site, write};
use crate::store::git::Git;
use crate::workspace::{LOCK, Lock, Project, Workspace};

/// One thing that was done, in one or more commits of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its last commit.
    pub commit: String,
    /// The commit before its first.
    pub parent: Option<String>,
    /// When, in RFC 3339.
    pub date: String,
    /// Who.
    pub author: String,
    /// What.
    pub subject: String,
}

/// What was taken back.
#[derive(Debug, Clone)]
pub struct Undone {
    /// The newest first.
    pub entries: Vec<Entry>,
    /// The workspace's commits that did it.
    pub commits: Vec<String>,
}

/// A run makes no more commits than this.
const COMMITS: usize = 3;

/// The newest `count` changes of the project's queue, the newest first.
pub fn log(site: &Site<'_>, count: usize) -> Result<Vec<Entry>, NightError> {
    // Every project's runs write the lock, so the commits that are looked at are those of all.
    let mut most = count.saturating_mul(COMMITS).saturating_mul(site.workspace.config.projects.len().max(1));
    loop {
        let (mut entries, looked_at) = newest(site, most)?;
        // The last one may go on in a commit that was not looked at.
        if entries.len() > count || looked_at < most {
            entries.truncate(count);
            return Ok(entries);
        }
        most = most.saturating_mul(4);
    }
}

/// The changes of the project's queue among the newest `most` commits, and how many commits there were.
fn newest(site: &Site<'_>, most: usize) -> Result<(Vec<Entry>, usize), NightError> {
    let format =
        format!("--format=%H%x00%P%x00%aI%x00%aN%x00%s%x00%(trailers:key={RUN},valueonly,separator=)");
    let most = format!("--max-count={most}");
    let call = site.git.call(["log", "--first-parent", &most, &format, "-z", "HEAD", "--"]);
    let answer = call.args([LOCK, &site.project.patches, &place(site)]).answer()?;
    if answer.code != Some(0) {
        // A branch without a commit has no history.
        return Ok((Vec::new(), 0));
    }
    let foreign =
        |subject: &[u8]| project_named(site.workspace, subject).is_some_and(|name| name != site.project.name);
    let fields: Vec<&[u8]> = answer.stdout.split_str("\0").collect();
    let text = |f: &[u8]| f.to_str_lossy().into_owned();
    let mut entries: Vec<Entry> = Vec::new();
    let (mut last_run, mut looked_at) = (String::new(), 0);
    for f in fields.chunks(6) {
        let [commit, parents, date, author, subject, run] = f else { continue };
        looked_at += 1;
        if foreign(subject) {
            continue;
        }
        let parent = parents.split_str(" ").next().filter(|p| !p.is_empty()).map(text);
        if let Some(entry) = entries.last_mut().filter(|_| !run.is_empty() && text(run) == last_run) {
            entry.parent = parent;
            // What a person asked for comes first; changes of line numbers are by the way.
            if !subject.contains_str(DRIFT) {
                entry.subject = text(subject);
            }
            continue;
        }
        last_run = text(run);
        let (commit, date, author) = (text(commit), text(date), text(author));
        entries.push(Entry { commit, parent, date, author, subject: text(subject) });
    }
    Ok((entries, looked_at))
}

/// When the queue of each project was changed last, told by one look at the history that they share; a project whose queue
/// never was is not among them.
pub fn last_changes(
    workspace: &Workspace,
    projects: &[&Project],
) -> Result<BTreeMap<String, Timestamp>, NightError> {
    let mut most = COMMITS * projects.len().max(1);
    loop {
        let (found, looked_at) = last_among(workspace, projects, most)?;
        if found.len() == projects.len() || looked_at < most {
            return Ok(found);
        }
        most = most.saturating_mul(4);
    }
}

/// The same among the newest `most` commits, and how many commits there were.
fn last_among(
    workspace: &Workspace,
    projects: &[&Project],
    most: usize,
) -> Result<(BTreeMap<String, Timestamp>, usize), NightError> {
    let folders: Vec<[String; 2]> = projects.iter().map(|p| [p.patches.clone(), p.resolutions()]).collect();
    let most = format!("--max-count={most}");
    // With `-m` a merge tells what it brought to the line that is looked at.
    let call = Git::at(&workspace.root)
        .call(["-c", "diff.orderFile=/dev/null", "log", "--first-parent", "-m", &most, "-z"])
        .args(["--name-only", "--no-renames", "--relative", "--format=%x00%aI%x00%s", "HEAD", "--", LOCK]);
    let answer = call.args(folders.iter().flatten()).answer()?;
    let mut found = BTreeMap::new();
    if answer.code != Some(0) {
        // A branch without a commit has no history.
        return Ok((found, 0));
    }
    // A commit is an empty field, its two fields, and its paths, of which none is empty.
    let mut fields = answer.stdout.split_str("\0").peekable();
    let mut looked_at = 0;
    while let Some(begin) = fields.next() {
        let (true, Some(date), Some(subject)) = (begin.is_empty(), fields.next(), fields.next()) else {
            continue;
        };
        looked_at += 1;
        let mut paths = Vec::new();
        while let Some(path) = fields.next_if(|path| !path.is_empty()) {
            // Git ends the heading's line before the first of them.
            paths.push(path.strip_prefix(b"\n").unwrap_or(path).as_bstr());
        }
        let named = project_named(workspace, subject);
        let inside = |path: &BStr, folder: &str| {
            path.strip_prefix(folder.trim_end_matches('/').as_bytes())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        for (project, folders) in projects.iter().zip(&folders) {
            let touches = |path: &&BStr| **path == LOCK || folders.iter().any(|folder| inside(path, folder));
            if named.is_none_or(|name| name == project.name)
                && paths.iter().any(touches)
                && let Some(date) = date.to_str().ok().and_then(|date| date.parse().ok())
            {
                found.entry(project.name.clone()).or_insert(date);
            }
        }
    }
    Ok((found, looked_at))
}

/// The project whose run a commit of the workspace says that it is of.
fn project_named<'a>(workspace: &Workspace, subject: &'a [u8]) -> Option<&'a str> {
    let (name, _) = subject.strip_prefix(b"carry: ")?.split_once_str(": ")?;
    name.to_str().ok().filter(|name| workspace.config.projects.contains_key(*name))
}

/// Takes the last change of the queue back; with `commit`, that one and all after it. The lock keeps what is published,
/// as the next push is held against it.
pub fn undo(site: &Site<'_>, commit: Option<&str>) -> Result<Undone, TaskError> {
    site.preflight()?;
    let all = log(site, if commit.is_some() { 10_000 } else { 1 })?;
    let pointless = |why: &str| TaskError::Pointless {
        patch: site.project.name.clone(),
        why: why.to_owned(),
        hint: "git carry log shows what there is".into(),
    };
    let at = match commit {
        None => 0,
        Some(id) => all
            .iter()
            .position(|e| id.len() >= 4 && e.commit.starts_with(id))
            .ok_or_else(|| pointless(&format!("has no change '{id}'")))?,
    };
    let entries: Vec<Entry> = all.into_iter().take(at + 1).collect();
    let Some(Entry { parent: Some(before), .. }) = entries.last() else {
        return Err(pointless("has nothing to take back"));
    };
    let mut files = Vec::new();
    let place = place(site);
    let out = site
        .git
        .call(["diff-tree", "-r", "-z", "--no-renames", "--no-commit-id", "--relative", "HEAD", before, "--"])
        .args([&site.project.patches, &place])
        .output()?;
    // `:<mode> <mode> <id> <id> <status>`, the path (`git help diff-tree`, "RAW OUTPUT FORMAT").
    let fields: Vec<&[u8]> = out.split_str("\0").filter(|f| !f.is_empty()).collect();
    let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
    for pair in fields.chunks(2) {
        let [head, path] = pair else { continue };
        let id = head.fields().nth(3).unwrap_or_default().to_str_lossy().into_owned();
        let there = !id.bytes().all(|b| b == b'0');
        wanted.insert(path.to_str_lossy().into_owned(), there.then_some(id));
    }
    let ids: Vec<&str> = wanted.values().flatten().map(String::as_str).collect();
    let mut blobs = site.git.blobs(&ids)?.into_iter();
    for (path, id) in wanted {
        let bytes = id.and_then(|_| blobs.next());
        files.push(FileChange { path, bytes });
    }
    let spec = format!("{before}:{}{LOCK}", site.prefix);
    let old = site.git.call(["cat-file", "blob", &spec]).answer()?;
    let text =
        if old.code == Some(0) { String::from_utf8_lossy(&old.stdout).into_owned() } else { String::new() };
    let old = Lock::parse(LOCK, &text).map_err(|e| NightError::Workspace(e.into()))?;
    let mut lock = Lock::clone(&site.workspace.lock);
    let deployed = lock.projects.get(&site.project.name).and_then(|p| p.deploy.clone());
    match old.projects.get(&site.project.name) {
        Some(project) => {
            let mut project = project.clone();
            project.deploy = deployed;
            lock.projects.insert(site.project.name.clone(), project);
        }
        None => drop(lock.projects.remove(&site.project.name)),
    }
    let format = |e: toml::ser::Error| NightError::Format { what: LOCK, reason: e.to_string() };
    let rendered = lock.render().map_err(format)?;
    files.push(FileChange { path: LOCK.into(), bytes: Some(rendered.into_bytes()) });
    let names: Vec<String> = entries.iter().map(|e| format!("{} {}", e.commit, e.subject)).collect();
    let message = format!(
        "carry: {}: undo {}\n\n{}\n",
        site.project.name,
        entries[0]
            .subject
            .trim_start_matches("carry: ")
            .trim_start_matches(&format!("{}: ", site.project.name)),
        names.join("\n")
    );
    let commits = write(site, Vec::new(), &[(message, files)])?;
    Ok(Undone { entries, commits })
}
