//! The first queue of a project: a fork's branch, a patch folder or a mailbox becomes files, series and lock.

use std::collections::BTreeSet;

use gix_hash::ObjectId;
use serde::Serialize;

use super::publish::{base_ref, write};
use super::writeback::FileChange;
use super::{Events, NightError, Site};
use crate::fork::{self, ForkError, Local};
use crate::queue::import::Import;
use crate::queue::{Queue, QueueError, Reason, file_name, keep_readings};
use crate::replay::prepare::{Source, prepare};
use crate::store::{Plain, RefUpdate, pack_refs};
use crate::trunk::compare::Compare;
use crate::trunk::delta::Change;
use crate::trunk::{self, differences::keep};
use crate::workspace::{LOCK, Lock, Outcome, PatchLock, ProjectLock};

/// Where a queue comes from.
pub enum TakenFrom {
    /// A fork's branch: address, ref, and the base if a person names it.
    Fork {
        /// The fork's address.
        address: String,
        /// The branch, tag or full ref.
        tip: String,
        /// The upstream commit under the queue.
        base: Option<String>,
    },
    /// Files as they are, and the trunk commit that they apply to (the trunk tip, if none is named).
    Files {
        /// The files.
        import: Import,
        /// The trunk commit under the queue.
        base: Option<String>,
    },
}

/// What was taken in.
#[derive(Debug, Clone, Serialize)]
pub struct Taken {
    /// The project.
    pub project: String,
    /// The trunk commit under the queue.
    pub base: String,
    /// What told the base.
    pub base_by: String,
    /// How many patches.
    pub patches: usize,
    /// The stack's tree; for a fork it is the fork's own.
    pub tree: String,
    /// Is it the fork's own? None for files.
    pub same_tree_as_fork: Option<bool>,
    /// What a person should look at.
    pub notes: Vec<String>,
}

/// Why a queue could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// There is a queue already.
    #[error("project '{project}' has a queue already: {patches} patches in '{folder}'")]
    NotEmpty {
        /// The project.
        project: String,
        /// Its folder.
        folder: String,
        /// How many patches it has.
        patches: usize,
    },
    /// The fork is the matter.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// All else.
    #[error(transparent)]
    Night(#[from] NightError),
}

impl<E: Into<crate::store::StoreError>> From<E> for TakeError {
    fn from(e: E) -> Self {
        Self::Night(NightError::Store(e.into()))
    }
}

/// One patch taken in.
struct One {
    file: String,
    bytes: Vec<u8>,
    tree: Option<ObjectId>,
}

/// Takes a queue in. The caller holds the workspace's guard.
pub fn take_in(
    site: &Site<'_>,
    from: TakenFrom,
    offline: bool,
    events: &dyn Events,
) -> Result<Taken, TakeError> {
    site.preflight()?;
    let queue = site.queue()?;
    let project = site.project;
    if !queue.patches.is_empty() {
        let (project, folder) = (project.name.clone(), project.patches.clone());
        return Err(TakeError::NotEmpty { project, folder, patches: queue.patches.len() });
    }
    let progress = |line: &str| events.git(line);
    let trunk = if offline {
        trunk::known(&site.store)?
    } else {
        events.step(&format!("fetching {}", project.branch));
        let address = site.upstream_address();
        let fetched = trunk::fetch(&site.store, &address, &project.branch, false, None, &progress);
        Some(fetched.map_err(NightError::from)?.tip)
    };
    let (taken, series, files) = match from {
        TakenFrom::Fork { address, tip, base } => {
            let address = super::resolve_address(&site.workspace.root, &address);
            from_fork(site, &address, &tip, base.as_deref(), trunk, events)?
        }
        TakenFrom::Files { import, base } => from_files(site, import, base.as_deref(), trunk)?,
    };
    events.step("writing the queue");
    let lock = lock(site, &taken, &files)?;
    let place = |file: &str| format!("{}/{file}", project.patches);
    let mut changes: Vec<FileChange> =
        files.iter().map(|f| FileChange { path: place(&f.file), bytes: Some(f.bytes.clone()) }).collect();
    changes.push(FileChange { path: place("series"), bytes: Some(series) });
    changes.push(FileChange { path: LOCK.into(), bytes: Some(lock.into_bytes()) });
    let message = format!(
        "carry: {}: take in {} patches\n\nBase: {} ({})\n",
        project.name, taken.patches, taken.base, taken.base_by
    );
    let base = RefUpdate { name: base_ref(&project.name), old: None, new: Some(taken.base.clone()) };
    write(site, vec![base], &[(message, changes)])?;
    if let Err(e) = keep_differences(site, &taken, &files).and_then(|()| keep_read(site)) {
        events.note(&format!("what was read of the patches could not be kept for the first night: {e}"));
    }
    Ok(taken)
}

/// Keeps what there is to read in each patch file.
fn keep_read(site: &Site<'_>) -> Result<(), NightError> {
    let queue = site.queue()?;
    for patch in &queue.patches {
        patch.patch_id();
    }
    let path = site.readings_file();
    let hash = site.plain().map(Plain::hash);
    keep_readings(&path, queue.patches.iter(), hash).map_err(|source| NightError::Io { path, source })
}

/// Keeps what each patch changes: the first night moves just that.
fn keep_differences(site: &Site<'_>, taken: &Taken, files: &[One]) -> Result<(), NightError> {
    let odb = site.store.odb()?;
    let mut stack = odb.commit(&site.commit(&taken.base)?)?.tree;
    let (mut trees, mut pairs) = (Compare::of(&odb), Vec::with_capacity(files.len()));
    for after in files.iter().filter_map(|file| file.tree) {
        let before = std::mem::replace(&mut stack, after);
        let changes =
            trees.changes(&before, &after)?.filter(|changes| !changes.iter().any(Change::is_folder));
        pairs.extend(changes.map(|changes| ([before, after], changes)));
    }
    let path = site.differences_file();
    keep(&path, pairs.iter().map(|(trees, changes)| (*trees, changes.as_slice())))
        .map_err(|source| NightError::Io { path, source })
}

type Parts = (Taken, Vec<u8>, Vec<One>);

fn from_fork(
    site: &Site<'_>,
    address: &str,
    tip: &str,
    base: Option<&str>,
    trunk: Option<ObjectId>,
    events: &dyn Events,
) -> Result<Parts, TakeError> {
    events.step(&format!("fetching {tip} from {}", crate::store::git::without_secrets(address)));
    let progress = |line: &str| events.git(line);
    let here = format!("refs/carry/fork/{}", site.project.name);
    site.store.fetching(&[], address).arg(format!("+{tip}:{here}")).progress(&progress).output()?;
    pack_refs(&site.store)?;
    let odb = site.store.odb()?;
    let no_commit = |rev: &str| NightError::NoCommit { rev: rev.to_owned() };
    let tip = site.store.commit_of(&here)?.ok_or_else(|| no_commit(tip))?;
    let given = match base {
        Some(rev) => Some(site.commit(rev)?),
        None => None,
    };
    let found = fork::find_base(&site.store, &odb, &tip, given.as_ref(), trunk.as_ref())?;
    events.step("laying the fork's history out as one line");
    let locals = fork::linear(&site.store, &odb, &found.base, &found.exclude, &tip)?;
    let bytes = fork::patch_files(&site.store, &odb, &locals)?;

    let (mut taken_names, mut series, mut files, mut notes) =
        (BTreeSet::new(), Vec::new(), Vec::new(), Vec::new());
    for (local, bytes) in locals.iter().zip(bytes) {
        let subject = subject(local);
        let file = file_name(&subject, &taken_names);
        taken_names.insert(file.clone());
        series.extend_from_slice(format!("{file}\n").as_bytes());
        if let Some(note) = &local.note {
            notes.push(format!("{}: {note}", crate::queue::stem(&file)));
        }
        if ["fixup!", "squash!", "amend!"].iter().any(|mark| subject.starts_with(mark)) {
            notes.push(format!("{}: it is meant to be melted into another patch", crate::queue::stem(&file)));
        }
        files.push(One { file, bytes, tree: Some(local.after) });
    }
    let fork_tree = odb.commit(&tip)?.tree;
    let tree = locals.last().map_or(odb.commit(&found.base)?.tree, |l| l.after);
    let base_by = match found.marker {
        fork::Marker::Given => "named by hand".into(),
        fork::Marker::MergingRebase(id) => {
            format!("the merging-rebase that {} starts", id.to_hex_with_len(12))
        }
        fork::Marker::SameTree(id) => format!("the merge {} has that parent's tree", id.to_hex_with_len(12)),
    };
    let taken = Taken {
        project: site.project.name.clone(),
        base: found.base.to_string(),
        base_by,
        patches: files.len(),
        tree: tree.to_string(),
        same_tree_as_fork: Some(tree == fork_tree),
        notes,
    };
    Ok((taken, series, files))
}

fn subject(local: &Local) -> String {
    use bstr::ByteSlice;
    local.header.message.trim_start().lines().next().unwrap_or_default().to_str_lossy().into_owned()
}

fn from_files(
    site: &Site<'_>,
    import: Import,
    base: Option<&str>,
    trunk: Option<ObjectId>,
) -> Result<Parts, TakeError> {
    let odb = site.store.odb()?;
    let (base_id, base_by) = match base {
        Some(rev) => (site.commit(rev)?, "named by hand".to_owned()),
        None => {
            (trunk.ok_or(NightError::Fetch(trunk::FetchError::NeverFetched))?, "the trunk tip".to_owned())
        }
    };
    let faults = |faults| NightError::Queue {
        project: site.project.name.clone(),
        folder: site.project.patches.clone(),
        faults,
    };
    let read = |file: &str| {
        let found = import.files.iter().find(|(name, _)| name == file);
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| "it was not imported".to_owned())
    };
    let queue = Queue::from_files(&import.series, read).map_err(faults)?;
    let base_tree = odb.commit(&base_id)?.tree;
    let prepared = prepare(&odb, &queue, None, &base_tree)?;
    let mut notes = import.notes.clone();
    let mut tree = base_tree;
    let mut files = Vec::new();
    for (patch, prepared) in queue.patches.iter().zip(prepared) {
        notes.extend(patch.note_of_omitted().map(|note| format!("{}: {note}", patch.name())));
        let after = match prepared.trees {
            _ if patch.hold.is_some() => None,
            Ok((before, after, Source::Applied)) if before == tree => Some(after),
            Ok(_) => {
                notes.push(format!(
                    "{}: it applies only by the blobs that its index lines name",
                    patch.name()
                ));
                None
            }
            Err(why) => {
                notes.push(format!("{}: it does not apply to the base: {why}", patch.name()));
                None
            }
        };
        tree = after.unwrap_or(tree);
        let (file, bytes) = (patch.file.clone(), patch.bytes().to_vec());
        files.push(One { file, bytes, tree: after });
    }
    if files.len() != import.files.len() {
        return Err(faults(vec![QueueError::new("series", 0, Reason::Unlisted)]).into());
    }
    odb.flush()?;
    let taken = Taken {
        project: site.project.name.clone(),
        base: base_id.to_string(),
        base_by,
        patches: files.len(),
        tree: tree.to_string(),
        same_tree_as_fork: None,
        notes,
    };
    Ok((taken, import.series, files))
}

fn lock(site: &Site<'_>, taken: &Taken, files: &[One]) -> Result<String, TakeError> {
    let format = |reason: String| NightError::Format { what: LOCK, reason };
    let base = ObjectId::from_hex(taken.base.as_bytes()).map_err(|e| format(e.to_string()))?;
    let seconds = site.store.odb()?.commit(&base)?.committer.seconds;
    let date = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string();
    let mut patches = Vec::with_capacity(files.len());
    for one in files {
        let patch = crate::queue::Patch::parse(&one.file, one.bytes.clone(), 1);
        let held = one.tree.is_none() && patch.as_ref().is_ok_and(|p| p.hold.is_some());
        let outcome = match one.tree {
            Some(_) => Outcome::Clean,
            None if held => Outcome::Held,
            None => Outcome::Conflict,
        };
        patches.push(PatchLock {
            name: crate::queue::stem(&one.file).to_owned(),
            digest: crate::queue::digest(&one.bytes),
            tree: one.tree.map(|t| t.to_string()),
            outcome,
            since: taken.base.clone(),
            since_date: date.clone(),
            held_since: held.then(|| super::policy::today().to_string()),
            good: None,
            culprit: None,
            evolved: None,
            proposed: Vec::new(),
            fixes: Vec::new(),
        });
    }
    let mut lock = Lock { projects: site.workspace.lock.projects.clone(), ..Lock::default() };
    let project = ProjectLock { base: taken.base.clone(), patches, ..ProjectLock::default() };
    lock.projects.insert(site.project.name.clone(), project);
    Ok(lock.render().map_err(|e| format(e.to_string()))?)
}
