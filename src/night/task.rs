//! A patch that a person is at work on, in a work tree of the store: what it stands on, and what it is to become.
//! The work tree holds a note of it, and a ref keeps its objects, so that it can be left and taken up again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use super::outcome::Plan;
use super::settle::Answers;
use super::{NightError, Site, outcome};
use crate::build::{Layer, stack};
use crate::queue::{Header, Patch};
use crate::store::{Commit, Odb, RefUpdate, Signature, WorkTree};
use crate::trunk;
use crate::workspace::Outcome;

const NOTE: &str = "carry.json";

/// What is done to the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// Its conflict is resolved.
    Resolve,
    /// The same, on upstream work that the trunk has not taken in: only the answer is kept.
    ResolveAhead,
    /// It is edited.
    Edit,
    /// The whole stack is worked on; what is changed goes to the patches that own the lines.
    Stack,
}

/// The work on one patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The project.
    pub project: String,
    /// The patch's name.
    pub patch: String,
    /// What is done to it.
    pub doing: Doing,
    /// The trunk commit under the stack.
    pub tip: String,
    /// The stack below the patch, as a commit.
    pub below: String,
    /// The trees before and after the patch on its own base; none where it has none.
    pub own: Option<[String; 2]>,
}

impl Task {
    /// The commits that a saved state needs.
    pub(super) fn keep(&self) -> Result<Vec<ObjectId>, TaskError> {
        Ok(vec![super::resolve::id(&self.below)?])
    }
}

/// A task with its work tree.
#[derive(Debug, Clone)]
pub struct Open {
    /// The task.
    pub task: Task,
    /// Where the work is done.
    pub work: WorkTree,
}

/// Why a patch cannot be worked on as asked.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// There is no such patch.
    #[error("no patch of '{project}' is called '{name}'")]
    NoPatch {
        /// The project.
        project: String,
        /// What was asked for.
        name: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
    /// It is being worked on already.
    #[error("'{patch}' is being worked on in '{}'", .place.display())]
    Open {
        /// The patch.
        patch: String,
        /// Where.
        place: PathBuf,
    },
    /// Nobody works on it.
    #[error("{}", match .patch { Some(p) => format!("nobody works on '{p}'"), None => "no patch is being worked on".into() })]
    NotOpen {
        /// The patch, if one was named.
        patch: Option<String>,
    },
    /// One must be named.
    #[error("{} patches are being worked on", .open.len())]
    Which {
        /// Them.
        open: Vec<String>,
    },
    /// It has nothing to resolve, or nothing to edit.
    #[error("'{patch}' {why}")]
    Pointless {
        /// The patch.
        patch: String,
        /// Why, in words.
        why: String,
        /// What to do instead.
        hint: String,
    },
    /// The work is not finished.
    #[error("the work on '{patch}' is not finished")]
    Unfinished {
        /// The patch.
        patch: String,
        /// What is left, in words.
        left: Vec<String>,
        /// Where.
        place: PathBuf,
    },
    /// What it stands on has changed.
    #[error("'{patch}' meets another conflict now than the one that was resolved")]
    Changed {
        /// The patch.
        patch: String,
        /// Where the work is.
        place: PathBuf,
    },
    /// All else.
    #[error(transparent)]
    Night(#[from] NightError),
}

impl<E: Into<crate::store::StoreError>> From<E> for TaskError {
    fn from(e: E) -> Self {
        Self::Night(NightError::Store(e.into()))
    }
}

/// The patch of a queue, or the error that names the nearest.
pub fn find<'q>(site: &Site<'_>, patches: &'q [Patch], name: &str) -> Result<&'q Patch, TaskError> {
    let stem = crate::queue::stem(name);
    patches.iter().find(|p| p.name() == stem).ok_or_else(|| {
        let names: Vec<&str> = patches.iter().map(Patch::name).collect();
        let nearest = crate::workspace::nearest(name, &names).map(str::to_owned);
        TaskError::NoPatch { project: site.project.name.clone(), name: name.to_owned(), nearest }
    })
}

/// The folder of the whole stack's work tree, and what stands for a patch's name there.
const STACK: &str = "the stack";

fn folder(site: &Site<'_>) -> PathBuf {
    site.folder.join("work").join(&site.project.name)
}

fn keep_ref(site: &Site<'_>, patch: &str) -> String {
    format!("refs/carry/work/{}/{patch}", site.project.name)
}

fn stack_folder(site: &Site<'_>) -> PathBuf {
    site.folder.join("work").join(format!("{}.stack", site.project.name))
}

/// One patch of a whole stack.
pub struct StackLayer {
    /// The patch's name.
    pub name: String,
    /// Its commit.
    pub commit: ObjectId,
    /// The tree before it.
    pub before: ObjectId,
    /// The tree after it.
    pub after: ObjectId,
}

/// The stack on the recorded base, as commits.
pub struct WholeStack {
    /// The objects.
    pub odb: Odb,
    /// The base.
    pub base: ObjectId,
    /// The last commit.
    pub commit: ObjectId,
    /// The patches that are in it.
    pub layers: Vec<StackLayer>,
}

/// Replays the queue on its recorded base.
pub fn whole_stack(site: &Site<'_>) -> Result<WholeStack, TaskError> {
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let base = match lock {
        Some(lock) => site.commit(&lock.base)?,
        None => trunk::known(&site.store)?.ok_or(NightError::Fetch(trunk::FetchError::NeverFetched))?,
    };
    let queue = Arc::new(site.queue()?);
    let planned =
        Plan { site, lock, queue: &queue, answers: &Answers::of(site), is_built: false }.on(&base)?;
    let applied: Vec<_> = planned
        .patches
        .iter()
        .zip(&queue.patches)
        .filter_map(|(p, patch)| Some((patch, p.applied?)))
        .collect();
    let layers: Vec<Layer<'_>> =
        applied.iter().map(|(patch, (_, tree))| Layer { header: &patch.header, tree: *tree }).collect();
    let identity = &site.workspace.config.identity;
    let (bottom, ids) = stack(&planned.odb, identity, &site.project.name, &base, None, &layers)?;
    let commit = *ids.last().unwrap_or(&bottom);
    let layers = applied.iter().zip(ids).map(|((patch, (before, after)), commit)| StackLayer {
        name: patch.name().to_owned(),
        commit,
        before: *before,
        after: *after,
    });
    let layers = layers.collect();
    planned.odb.flush()?;
    Ok(WholeStack { odb: planned.odb, base, commit, layers })
}

/// Makes a work tree of the whole stack.
pub fn begin_stack(site: &Site<'_>) -> Result<Open, TaskError> {
    let place = stack_folder(site);
    if open_tasks(site)?.iter().any(|o| o.task.doing == Doing::Stack) {
        return Err(TaskError::Open { patch: STACK.into(), place });
    }
    let whole = whole_stack(site)?;
    let work = WorkTree::add(&site.store, &place, &whole.commit)?;
    let task = Task {
        project: site.project.name.clone(),
        patch: STACK.into(),
        doing: Doing::Stack,
        tip: whole.base.to_string(),
        below: whole.commit.to_string(),
        own: None,
    };
    write_note(&work, &task)?;
    Ok(Open { task, work })
}

fn write_note(work: &WorkTree, task: &Task) -> Result<(), TaskError> {
    let note = work.note(NOTE)?;
    let text = serde_json::to_vec_pretty(task)
        .map_err(|e| NightError::Format { what: "the note of a work tree", reason: e.to_string() })?;
    Ok(std::fs::write(&note, text).map_err(|source| NightError::Io { path: note, source })?)
}

/// All tasks of the project, by name.
pub fn open_tasks(site: &Site<'_>) -> Result<Vec<Open>, TaskError> {
    let mut all = Vec::new();
    let entries = std::fs::read_dir(folder(site)).into_iter().flatten().flatten();
    let places = entries.map(|e| e.path()).chain([stack_folder(site)]);
    for place in places.filter(|p| p.join(".git").exists()) {
        let work = WorkTree::at(&place);
        let note = work.note(NOTE)?;
        let Ok(text) = std::fs::read(&note) else { continue };
        let task: Task = serde_json::from_slice(&text)
            .map_err(|e| NightError::Format { what: "the note of a work tree", reason: e.to_string() })?;
        all.push(Open { task, work });
    }
    all.sort_by(|a, b| a.task.patch.cmp(&b.task.patch));
    Ok(all)
}

/// The task on `patch`; without a name the one whose work tree `from` is in, or the only one.
pub fn open_task(site: &Site<'_>, patch: Option<&str>, from: &Path) -> Result<Open, TaskError> {
    let mut all = open_tasks(site)?;
    let at = match patch {
        Some(name) => all.iter().position(|o| o.task.patch == crate::queue::stem(name)),
        None if all.len() == 1 => Some(0),
        None => all.iter().position(|o| from.starts_with(o.work.path())),
    };
    match at {
        Some(at) => Ok(all.swap_remove(at)),
        None if patch.is_none() && !all.is_empty() => {
            Err(TaskError::Which { open: all.into_iter().map(|o| o.task.patch).collect() })
        }
        None => Err(TaskError::NotOpen { patch: patch.map(str::to_owned) }),
    }
}

/// The stack on a trunk commit, as far as a task needs it.
pub struct Ground {
    /// The objects, with those of the replay in memory.
    pub odb: Odb,
    /// What became of the patch.
    pub planned: outcome::PlannedPatch,
    /// The patch.
    pub patch: Patch,
    /// The stack below it, as a commit.
    pub below: ObjectId,
    /// The trunk commit.
    pub tip: ObjectId,
    /// Its trees on its own base.
    pub own: Option<(ObjectId, ObjectId)>,
}

/// Replays the queue on `onto` (none: the trunk tip) up to the patch `name`.
pub fn ground(site: &Site<'_>, name: &str, onto: Option<&str>) -> Result<Ground, TaskError> {
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let tip = match onto {
        Some(rev) => site.commit(rev)?,
        None => trunk::known(&site.store)?.ok_or(NightError::Fetch(trunk::FetchError::NeverFetched))?,
    };
    let queue = Arc::new(site.queue()?);
    let patch = find(site, &queue.patches, name)?.clone();
    let mut planned =
        Plan { site, lock, queue: &queue, answers: &Answers::of(site), is_built: false }.on(&tip)?;
    let Some(at) = planned.patches.iter().position(|p| p.report.name == patch.name()) else {
        return Err(TaskError::NotOpen { patch: Some(name.to_owned()) });
    };
    let layers: Vec<Layer<'_>> = planned.patches[..at]
        .iter()
        .zip(&queue.patches)
        .filter_map(|(p, patch)| Some(Layer { header: &patch.header, tree: p.applied?.1 }))
        .collect();
    let identity = &site.workspace.config.identity;
    let (bottom, ids) = stack(&planned.odb, identity, &site.project.name, &tip, None, &layers)?;
    let below = *ids.last().unwrap_or(&bottom);
    let this = planned.patches.swap_remove(at);
    let own = this.own;
    Ok(Ground { odb: planned.odb, planned: this, patch, below, tip, own })
}

/// Makes the work tree of a task: the stack below the patch, and the patch picked onto it. Does git merge it?
pub fn begin(site: &Site<'_>, ground: &Ground, doing: Doing) -> Result<(Open, bool), TaskError> {
    let name = ground.patch.name().to_owned();
    let place = folder(site).join(&name);
    if open_tasks(site)?.iter().any(|o| o.task.patch == name) {
        return Err(TaskError::Open { patch: name, place });
    }
    // What an edit starts from is the patch in the stack; what is resolved is the patch on its own base.
    let trees = match doing {
        Doing::Edit => ground.planned.applied,
        _ => ground.own,
    };
    let odb = &ground.odb;
    let picked = match trees {
        Some((before, after)) => {
            let header = &ground.patch.header;
            let first = commit(odb, header, before, Vec::new())?;
            Some(commit(odb, header, after, vec![first])?)
        }
        None => None,
    };
    odb.flush()?;
    let keep = keep_ref(site, &name);
    let old = site.store.reference(&keep)?.map(|id| id.to_string());
    let new = Some(picked.unwrap_or(ground.below).to_string());
    if old != new {
        site.store.update(&[RefUpdate { name: keep, old, new }], "carry: work on a patch")?;
    }
    let work = WorkTree::add(&site.store, &place, &ground.below)?;
    let task = Task {
        project: site.project.name.clone(),
        patch: name,
        doing,
        tip: ground.tip.to_string(),
        below: ground.below.to_string(),
        own: trees.map(|(a, b)| [a.to_string(), b.to_string()]),
    };
    write_note(&work, &task)?;
    let identity = &site.workspace.config.identity;
    let clean = match &picked {
        Some(commit) => work.pick(commit, (&identity.name, &identity.email))?,
        None => work.apply_what_fits(ground.patch.bytes(), ground.patch.strip)?,
    };
    Ok((Open { task, work }, clean))
}

fn commit(odb: &Odb, header: &Header, tree: ObjectId, parents: Vec<ObjectId>) -> Result<ObjectId, TaskError> {
    let who = Signature {
        name: header.author.name.clone(),
        email: header.author.email.clone(),
        seconds: header.date.seconds,
        offset_minutes: header.date.offset_minutes,
    };
    let (author, committer) = (who.clone(), who);
    Ok(odb.put_commit(&Commit { tree, parents, author, committer, message: header.message.clone() })?)
}

/// Takes a task's work tree away.
pub fn end(site: &Site<'_>, open: &Open) -> Result<(), TaskError> {
    open.work.remove(&site.store)?;
    if open.task.doing == Doing::Stack {
        return Ok(());
    }
    super::save::forget(site, &open.task.patch)?;
    let keep = keep_ref(site, &open.task.patch);
    if let Some(old) = site.store.reference(&keep)? {
        let gone = RefUpdate { name: keep, old: Some(old.to_string()), new: None };
        site.store.update(&[gone], "carry: work on a patch ends")?;
    }
    Ok(())
}

impl Open {
    /// The tree as the person leaves it. What is not finished is told, all of it at once.
    pub fn finished(&self, odb: &Odb) -> Result<ObjectId, TaskError> {
        let mut left = Vec::new();
        for unmerged in self.work.unmerged()? {
            let told = crate::store::git::without_secrets(&unmerged.path.to_string());
            let file = self.work.path().join(to_path(&unmerged.path));
            let now = std::fs::read(&file).ok();
            let marks = now.as_deref().map_or(0, marks);
            let sides = unmerged.stages.iter().flatten();
            let known = |id: &ObjectId| crate::store::Objects::blob(odb, id).ok();
            let before = sides.filter_map(|(_, id)| known(id)).map(|b| self::marks(&b)).max().unwrap_or(0);
            let as_a_side = |stage: usize| {
                let side = unmerged.stages[stage].as_ref().and_then(|(_, id)| known(id));
                side.as_deref() == now.as_ref()
            };
            if marks > before {
                left.push(format!("{told}: it has conflict markers"));
            } else if as_a_side(1) || as_a_side(2) {
                left.push(format!(
                    "{told}: say how it is to be: git add, git rm, or --take upstream|ours {told}"
                ));
            }
        }
        if !left.is_empty() {
            let (patch, place) = (self.task.patch.clone(), self.work.path().to_owned());
            return Err(TaskError::Unfinished { patch, left, place });
        }
        Ok(self.work.tree()?)
    }
}

/// How many lines begin a conflict as git marks it: seven signs, or as many as `conflict-marker-size` says.
fn marks(data: &[u8]) -> usize {
    use bstr::ByteSlice;
    let is_mark = |line: &&[u8]| {
        let signs = line.iter().take_while(|b| **b == b'<').count();
        signs >= 7 && line.get(signs) == Some(&b' ')
    };
    data.lines().filter(is_mark).count()
}

fn to_path(path: &bstr::BString) -> PathBuf {
    use bstr::ByteSlice;
    PathBuf::from(path.to_os_str_lossy().into_owned())
}

/// Is there something to resolve?
pub fn resolvable(ground: &Ground) -> Result<(), TaskError> {
    let report = &ground.planned.report;
    let patch = report.name.clone();
    let (why, hint) = match report.outcome {
        Outcome::Conflict | Outcome::Evolved => return Ok(()),
        Outcome::Blocked => (
            format!("is blocked: it needs {}", report.needs.join(", ")),
            format!(
                "mend that first: git carry resolve {}",
                report.needs.first().cloned().unwrap_or_default()
            ),
        ),
        Outcome::Landed => ("has landed".into(), "the next night takes it out of the queue".into()),
        Outcome::Broken => ("breaks a check".into(), format!("git carry edit {patch}")),
        Outcome::Held => ("is held".into(), format!("git carry unhold {patch}")),
        Outcome::Clean | Outcome::Refreshed | Outcome::Resolved => {
            ("has no conflict".into(), format!("to change it all the same: git carry edit {patch}"))
        }
    };
    Err(TaskError::Pointless { patch, why, hint })
}
