//! Daily work on the queue: a patch edited, added, dropped, moved, renamed. Each is a draft, and goes out with the
//! replay that it makes needed.

use std::collections::BTreeSet;
use std::path::Path;

use gix_hash::ObjectId;

use super::draft::{Draft, fault};
use super::resolve::id;
use super::task::{Doing, Ground, Open, TaskError, begin, end, find, ground, open_task};
use super::{Events, Night, NightError, Options, Site, resolve_address, run};
use crate::fork::{self, ForkError};
use crate::queue::{Header, Patch, apply_to_tree, file_name, render, stem};
use crate::store::Odb;

/// Writes the patch `name` of a draft anew, so that it leads from the tree `before` to `after`; with `header`, it
/// says that as well.
pub fn rewrite(
    site: &Site<'_>,
    draft: &mut Draft,
    odb: &Odb,
    name: &str,
    before: &ObjectId,
    after: &ObjectId,
    header: Option<&Header>,
) -> Result<(), TaskError> {
    let patch = find(site, &draft.queue.patches, name)?.clone();
    let diffs = site.store.diffs(&[(*before, *after)], patch.strip)?;
    let diff = diffs.first().map_or(&[][..], |d| d);
    let bytes = match header {
        Some(header) if *header != patch.header => render(header, diff),
        _ => patch.with_diff(diff),
    };
    let broken = || NightError::RoundTrip { name: name.to_owned() };
    let mut anew = Patch::parse(&patch.file, bytes, patch.strip).map_err(|_| broken())?;
    if apply_to_tree(odb, before, anew.changes()).map_err(|_| broken())? != *after {
        return Err(broken().into());
    }
    anew.hold = patch.hold.clone();
    draft.set_patch(site, anew);
    Ok(())
}

/// Makes a work tree with the stack below a patch and the patch as its last commit.
pub fn start(site: &Site<'_>, patch: &str) -> Result<(Open, Ground), TaskError> {
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let ground = ground(site, patch, lock.map(|l| l.base.as_str()))?;
    if ground.planned.applied.is_none() {
        let (patch, word) = (ground.planned.report.name.clone(), ground.planned.report.outcome.word());
        let hint = format!("git carry why {patch}; a conflict is mended with: git carry resolve {patch}");
        return Err(TaskError::Pointless { patch, why: format!("is not in the stack: {word}"), hint });
    }
    let (open, _) = begin(site, &ground, Doing::Edit)?;
    Ok((open, ground))
}

/// Takes an edit in: what the work tree holds becomes the patch, and what stands above is replayed.
pub fn refresh(
    site: &Site<'_>,
    patch: Option<&str>,
    from: &Path,
    events: &dyn Events,
) -> Result<(String, Night), TaskError> {
    site.preflight()?;
    let open = open_task(site, patch, from)?;
    let patch = open.task.patch.clone();
    if open.task.doing != Doing::Edit {
        let hint = format!("git carry resolve {patch} --continue");
        return Err(TaskError::Pointless { patch, why: "is being resolved, not edited".into(), hint });
    }
    let finished = open.finished(&site.store.odb()?)?;
    let odb = site.store.odb()?;
    let below = id(&open.task.below)?;
    let before = odb.commit(&below)?.tree;
    // Whoever amended the commit means its message.
    let header = match site.store.range(Some(&below), &open.work.head()?)?.first() {
        Some(first) => Some(fork::header(&odb.commit(&first.id)?)),
        None => None,
    };
    let mut draft = Draft::of(site, &format!("edit {patch}"))?;
    rewrite(site, &mut draft, &odb, &patch, &before, &finished, header.as_ref())?;
    let unchanged = find(site, &site.queue()?.patches, &patch)?.digest
        == find(site, &draft.queue.patches, &patch)?.digest;
    if unchanged {
        let hint =
            format!("edit it in {}, or end: git carry refresh {patch} --abort", open.work.path().display());
        return Err(TaskError::Pointless { patch, why: "is as it was".into(), hint });
    }
    let night = go(site, draft, events)?;
    if night.done != super::Done::Refused {
        end(site, &open)?;
    }
    Ok((patch, night))
}

/// Runs a draft on the recorded base.
pub fn go(site: &Site<'_>, draft: Draft, events: &dyn Events) -> Result<Night, TaskError> {
    let onto = draft.lock.as_ref().map(|l| l.base.clone());
    let options = Options { offline: true, onto, draft: Some(draft), ..Options::default() };
    Ok(run(site.workspace, site.project, &options, events)?)
}

/// Takes a patch out of the queue.
pub fn drop(site: &Site<'_>, name: &str, reason: &str, events: &dyn Events) -> Result<Night, TaskError> {
    site.preflight()?;
    let mut draft = Draft::of(site, "")?;
    let patch = find(site, &draft.queue.patches, name)?.clone();
    let why = reason.trim();
    let why = if why.is_empty() { String::new() } else { format!("\n{why}\n") };
    draft.message = format!("carry: {}: drop {}\n{why}", site.project.name, patch.name());
    let mut series = draft.queue.series.clone();
    series.remove(&patch.file).map_err(|f| fault(site, f))?;
    draft.set_series(site, series);
    draft.remove_patch(site, &patch.file);
    go(site, draft, events)
}

/// Where a patch is to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// First of all.
    First,
    /// Last of all.
    Last,
    /// Before this one.
    Before(String),
    /// After this one.
    After(String),
}

impl Place {
    /// The line among the patches of a queue that has `there` in its order.
    pub(super) fn line(&self, site: &Site<'_>, there: &[Patch]) -> Result<usize, TaskError> {
        let at = |name: &str| -> Result<usize, TaskError> {
            let file = &find(site, there, name)?.file;
            Ok(there.iter().position(|p| p.file == *file).unwrap_or(there.len()))
        };
        Ok(match self {
            Self::First => 0,
            Self::Last => there.len(),
            Self::Before(name) => at(name)?,
            Self::After(name) => at(name)? + 1,
        })
    }
}

/// Moves a patch to another place in the queue.
pub fn relocate(site: &Site<'_>, name: &str, place: &Place, events: &dyn Events) -> Result<Night, TaskError> {
    site.preflight()?;
    let mut draft = Draft::of(site, "")?;
    let patch = find(site, &draft.queue.patches, name)?.clone();
    let others: Vec<Patch> = draft.queue.patches.iter().filter(|p| p.file != patch.file).cloned().collect();
    let line = place.line(site, &others)?;
    let mut series = draft.queue.series.clone();
    series.relocate(&patch.file, line).map_err(|f| fault(site, f))?;
    if series == draft.queue.series {
        let (patch, why) = (patch.name().to_owned(), "stands there already".to_owned());
        return Err(TaskError::Pointless { patch, why, hint: "git carry status shows the order".into() });
    }
    draft.message = format!("carry: {}: move {}\n", site.project.name, patch.name());
    draft.set_series(site, series);
    draft.sort();
    go(site, draft, events)
}

/// Gives a patch another name: its file's and its line's; what was recorded of it stays.
pub fn rename(site: &Site<'_>, name: &str, new: &str, events: &dyn Events) -> Result<Night, TaskError> {
    site.preflight()?;
    let mut draft = Draft::of(site, "")?;
    let patch = find(site, &draft.queue.patches, name)?.clone();
    let new = stem(new).to_owned();
    if draft.queue.patches.iter().any(|p| p.name().eq_ignore_ascii_case(&new) && p.file != patch.file) {
        let why = format!("cannot be called '{new}': another is");
        let hint = "choose another name".into();
        return Err(TaskError::Pointless { patch: patch.name().to_owned(), why, hint });
    }
    let folder = patch.file.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    let ending = if patch.file.ends_with(".diff") { "diff" } else { "patch" };
    let file = format!("{folder}{new}.{ending}");
    let mut series = draft.queue.series.clone();
    series.rename(&patch.file, &file).map_err(|f| fault(site, f))?;
    draft.message = format!("carry: {}: rename {} to {new}\n", site.project.name, patch.name());
    draft.set_series(site, series);
    draft.remove_patch(site, &patch.file);
    if let Some(locked) = draft.locked(patch.name()) {
        locked.name.clone_from(&new);
    }
    let mut renamed = patch.clone();
    renamed.file = file;
    draft.set_patch(site, renamed);
    draft.sort();
    go(site, draft, events)
}

/// What is added to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A patch file.
    File {
        /// Its name.
        name: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A commit, or a range `A..B`, of a repository.
    Commits {
        /// Where it is; none: the project's own store.
        repository: Option<String>,
        /// The revision.
        revision: String,
    },
}

/// Adds patches to the queue. Returns their names as well.
pub fn add(
    site: &Site<'_>,
    source: Source,
    place: &Place,
    name: Option<&str>,
    events: &dyn Events,
) -> Result<(Vec<String>, Night), TaskError> {
    site.preflight()?;
    let mut draft = Draft::of(site, "")?;
    let mut line = place.line(site, &draft.queue.patches)?;
    let mut taken: BTreeSet<String> = draft.queue.patches.iter().map(|p| file_of(&p.file)).collect();
    let wanted = |suggested: String, taken: &BTreeSet<String>| match name {
        Some(name) => format!("{}.patch", stem(name)),
        None if taken.contains(&suggested) => file_name(stem(&suggested), taken),
        None => suggested,
    };
    let mut new: Vec<(String, Vec<u8>)> = Vec::new();
    match source {
        Source::File { name, bytes } => {
            let plain = if name.ends_with(".patch") || name.ends_with(".diff") {
                name
            } else {
                format!("{name}.patch")
            };
            let file = wanted(plain, &taken);
            new.push((file, bytes));
        }
        Source::Commits { repository, revision } => {
            for (subject, bytes) in commits(site, repository.as_deref(), &revision, events)? {
                let file = wanted(file_name(&subject, &taken), &taken);
                taken.insert(file.clone());
                new.push((file, bytes));
            }
        }
    }
    let mut series = draft.queue.series.clone();
    let mut names = Vec::new();
    for (file, bytes) in new {
        let patch = Patch::parse(&file, bytes, 1).map_err(|f| fault(site, f))?;
        series.insert(&file, line).map_err(|f| fault(site, f))?;
        line += 1;
        names.push(patch.name().to_owned());
        draft.set_patch(site, patch);
    }
    draft.message = format!("carry: {}: add {}\n", site.project.name, names.join(", "));
    draft.set_series(site, series);
    draft.sort();
    let night = go(site, draft, events)?;
    Ok((names, night))
}

pub(super) fn file_of(file: &str) -> String {
    file.rsplit('/').next().unwrap_or(file).to_owned()
}

/// The patch files of a commit or a range, with their subjects, oldest first.
pub(super) fn commits(
    site: &Site<'_>,
    repository: Option<&str>,
    revision: &str,
    events: &dyn Events,
) -> Result<Vec<(String, Vec<u8>)>, TaskError> {
    let (from, to) = match revision.split_once("..") {
        Some((from, to)) => (Some(from), to),
        None => (None, revision),
    };
    let mut ids = Vec::new();
    for rev in from.into_iter().chain([to]) {
        let id = match repository {
            Some(address) => fetch(site, &resolve_address(&site.workspace.root, address), rev, events)?,
            None => site.commit(rev)?,
        };
        ids.push(id);
    }
    let odb = site.store.odb()?;
    let wanted: Vec<ObjectId> = match ids[..] {
        [from, to] => site.store.range(Some(&from), &to)?.into_iter().map(|r| r.id).collect(),
        _ => ids,
    };
    patch_files(site, &odb, &locals(&odb, &wanted)?)
}

/// Commits with one parent as what they do.
pub(super) fn locals(odb: &Odb, wanted: &[ObjectId]) -> Result<Vec<fork::Local>, TaskError> {
    let mut locals = Vec::new();
    for &id in wanted {
        let commit = odb.commit(&id)?;
        let [parent] = commit.parents[..] else {
            let (patch, why) =
                (id.to_hex_with_len(12).to_string(), "is not a commit with one parent".to_owned());
            return Err(TaskError::Pointless {
                patch,
                why,
                hint: "name a plain commit, or a range of them".into(),
            });
        };
        let before = odb.commit(&parent)?.tree;
        let header = fork::header(&commit);
        locals.push(fork::Local { commit: id, header, before, after: commit.tree, note: None });
    }
    Ok(locals)
}

/// Their patch files, with their subjects.
pub(super) fn patch_files(
    site: &Site<'_>,
    odb: &Odb,
    locals: &[fork::Local],
) -> Result<Vec<(String, Vec<u8>)>, TaskError> {
    let files = fork::patch_files(&site.store, odb, locals).map_err(|e| match e {
        ForkError::Store(e) => NightError::Store(e),
        other => NightError::Format { what: "the patch", reason: other.to_string() },
    })?;
    let subject = |l: &fork::Local| {
        String::from_utf8_lossy(l.header.message.split(|b| *b == b'\n').next().unwrap_or_default())
            .into_owned()
    };
    Ok(locals.iter().map(subject).zip(files).collect())
}

/// Brings one revision of another repository in.
fn fetch(site: &Site<'_>, address: &str, rev: &str, events: &dyn Events) -> Result<ObjectId, TaskError> {
    events.step(&format!("fetching {rev} from {}", crate::store::git::without_secrets(address)));
    let here = format!("refs/carry/added/{}", site.project.name);
    // A local repository says what any revision is; others only what a ref or a full id is.
    let local = Path::new(address).is_dir();
    let wanted = if local {
        let spec = format!("{rev}^{{commit}}");
        let git = crate::store::git::Git::at(Path::new(address));
        git.call(["rev-parse", "--verify", "--end-of-options", &spec]).line()?
    } else {
        rev.to_owned()
    };
    let call = site.store.fetching(&["--no-tags"], address).arg(format!("+{wanted}:{here}"));
    let progress = |line: &str| events.git(line);
    call.progress(&progress).output()?;
    let no = || NightError::NoCommit { rev: rev.to_owned() };
    Ok(site.store.commit_of(&here)?.ok_or_else(no)?)
}
