//! The queue's own branch: what a project's queue is now, of the workspace's files and what nights left since, and what a
//! night leaves on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::FleetError;
use super::join::merge;
use crate::night::{FileChange, NightError, Site, beat};
use crate::store::git::Git;
use crate::store::tree::{Entry, RawTree, edit, entry_at, write_empty};
use crate::store::{Commit, Objects as _, Odb, Repo, Signature};
use crate::workspace::{Identity, LOCK, Lock, ProjectLock, Workspace, WorkspaceError};

/// The trailer of a snapshot of people's files: the workspace's commit, and its date in seconds.
const SNAPSHOT: &str = "Carry-Workspace";

/// What a project's queue is now.
#[derive(Debug, Clone)]
pub struct State {
    /// The tree of its files: those of the workspace that are the project's own, and its part of the lock.
    pub tree: ObjectId,
    /// The tip of the queue's own branch.
    pub tip: Option<ObjectId>,
    /// What people changed since, if they did.
    news: Option<News>,
}

/// What people changed.
#[derive(Debug, Clone)]
struct News {
    /// Their files.
    tree: ObjectId,
    /// The commits of the branch that they had when they did.
    parents: Vec<ObjectId>,
    /// The workspace's commit with them, and its date.
    at: Moment,
}

/// A commit of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moment {
    commit: String,
    seconds: i64,
}

impl State {
    /// What the queue is, with what people have in the workspace and what nights left on the branch, whose tip is `tip`.
    /// Nothing that anyone refers to is written.
    pub fn of(site: &Site<'_>, tip: Option<ObjectId>) -> Result<Self, FleetError> {
        let odb = site.store.odb()?;
        let ours = snapshot(site, &odb)?;
        let at = Moment::of_workspace(&site.git)?;
        let Some(tip) = tip else {
            let news = Some(News { tree: ours, parents: Vec::new(), at });
            return Ok(Self { tree: ours, tip: None, news });
        };
        let tree = odb.commit(&tip)?.tree;
        let known = Self { tree, tip: Some(tip), news: None };
        let taken = taken(site, &tip, &at)?;
        let Some(parents) = taken else { return Ok(known) };
        for parent in &parents {
            if odb.commit(parent)?.tree == ours {
                return Ok(known);
            }
        }
        let news = Some(News { tree: ours, parents: parents.clone(), at: at.clone() });
        if parents == [tip] {
            return Ok(Self { tree: ours, tip: Some(tip), news });
        }
        let snapshot = put_snapshot(site, &odb, &ours, &parents, &at)?;
        odb.flush()?;
        let tree = merge(site, &odb, &tip, &snapshot, parents.first())?;
        Ok(Self { tree, tip: Some(tip), news })
    }

    /// Does the workspace have changes that the branch has not?
    pub fn has_news(&self) -> bool {
        self.news.is_some()
    }

    /// The project's part of the lock in it.
    pub fn lock(&self, site: &Site<'_>) -> Result<Option<ProjectLock>, FleetError> {
        let odb = site.store.odb()?;
        // What is not written yet is the workspace's own.
        match self.news.as_ref().is_some_and(|news| news.tree == self.tree) {
            true => Ok(site.workspace.lock.projects.get(&site.project.name).cloned()),
            false => lock_in(&odb, &self.tree, &site.project.name),
        }
    }

    /// Puts the files of the queue into `folder`, as they stand in the workspace, and takes away what else is there.
    pub fn lay_out(&self, site: &Site<'_>, folder: &Path) -> Result<(), FleetError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| FleetError::Night(NightError::Io { path, source })
        };
        match std::fs::remove_dir_all(folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(folder)(e)),
            _ => {}
        }
        let odb = site.store.odb()?;
        snapshot(site, &odb)?;
        let mut files = BTreeMap::new();
        list(&odb, &self.tree, BStr::new(""), &mut files)?;
        // A queue without patches has a folder all the same.
        let queue = folder.join(&site.project.patches);
        std::fs::create_dir_all(&queue).map_err(io(&queue))?;
        for (path, entry) in files {
            let path = folder.join(path.to_path_lossy());
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent).map_err(io(parent))?;
            let bytes = odb.blob(&entry.id)?;
            std::fs::write(&path, bytes.as_slice()).map_err(io(&path))?;
        }
        Ok(())
    }

    /// Makes the commits of a night on top: what people changed, if anything, then `commits` (messages and files), and the
    /// lock with the last. Returns the branch's new tip and its tree.
    pub fn advance(
        &self,
        site: &Site<'_>,
        commits: &[(String, Vec<FileChange>)],
        lock: &ProjectLock,
    ) -> Result<(ObjectId, ObjectId), FleetError> {
        let odb = site.store.odb()?;
        // The objects of the workspace's files, which nothing has kept yet.
        snapshot(site, &odb)?;
        let mut parent = self.tip;
        if let Some(news) = &self.news {
            let made = put_snapshot(site, &odb, &news.tree, &news.parents, &news.at)?;
            parent = match self.tip {
                Some(tip) if news.parents != [tip] => {
                    let message = format!("carry: {}: what people changed since\n", site.project.name);
                    Some(put(site, &odb, self.tree, vec![tip, made], message)?)
                }
                _ => Some(made),
            };
        }
        let mut tree = self.tree;
        let project = &site.project.name;
        for (n, (message, files)) in commits.iter().enumerate() {
            let mut edits = BTreeMap::new();
            for change in files {
                let entry = match &change.bytes {
                    Some(bytes) => Some(file(odb.put_blob(bytes.clone(), None)?)),
                    None => None,
                };
                edits.insert(change.path.as_bytes(), entry);
            }
            if n + 1 == commits.len() {
                edits.insert(LOCK.as_bytes(), Some(file(odb.put_blob(lock_text(project, lock)?, None)?)));
            }
            let edits: Vec<_> = edits.into_iter().collect();
            let after = edited(&odb, Some(tree), &edits)?;
            if after != tree || n + 1 == commits.len() {
                tree = after;
                parent = Some(put(site, &odb, tree, parent.into_iter().collect(), message.clone())?);
            }
        }
        odb.flush()?;
        let tip = parent.ok_or_else(|| NightError::Format {
            what: "the queue's own branch",
            reason: "a night left no commit".into(),
        })?;
        Ok((tip, tree))
    }
}

/// Makes a commit of one file in a store, on top of another. Nothing refers to it.
pub fn one_file(
    store: &Repo,
    identity: &Identity,
    (path, bytes): (&str, Vec<u8>),
    parent: Option<ObjectId>,
    message: String,
) -> Result<ObjectId, FleetError> {
    let odb = store.odb()?;
    let entry = file(odb.put_blob(bytes, None)?);
    let tree = edited(&odb, None, &[(path.as_bytes(), Some(entry))])?;
    let commit = put_by(identity, &odb, tree, parent.into_iter().collect(), message)?;
    odb.flush()?;
    Ok(commit)
}

/// The files in which two trees differ: the bytes in the second, or none for those that go. The first may be one that only
/// the workspace has.
pub fn differences(
    site: &Site<'_>,
    before: &ObjectId,
    after: &ObjectId,
) -> Result<Vec<FileChange>, FleetError> {
    let odb = site.store.odb()?;
    snapshot(site, &odb)?;
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    list(&odb, before, BStr::new(""), &mut old)?;
    list(&odb, after, BStr::new(""), &mut new)?;
    let mut changes = Vec::new();
    for (path, entry) in &new {
        if old.get(path) != Some(entry) {
            let bytes = Some(odb.blob(&entry.id)?.to_vec());
            changes.push(FileChange { path: path.to_string(), bytes });
        }
    }
    let gone = old.keys().filter(|path| !new.contains_key(*path));
    changes.extend(gone.map(|path| FileChange { path: path.to_string(), bytes: None }));
    Ok(changes)
}

/// The tree of the workspace's own files of a project.
pub fn tree_of_workspace(site: &Site<'_>) -> Result<ObjectId, FleetError> {
    snapshot(site, &site.store.odb()?)
}

/// Is the commit a snapshot of people's files, or one that joins such a one?
pub fn is_peoples(commit: &Commit) -> bool {
    commit.parents.len() > 1 || moment_of(commit).is_some()
}

/// A project's part of the lock in a tree of its files.
pub fn lock_in(odb: &Odb, tree: &ObjectId, project: &str) -> Result<Option<ProjectLock>, FleetError> {
    let Some(entry) = entry_at(odb, tree, LOCK.into())? else { return Ok(None) };
    let text = odb.blob(&entry.id)?;
    let lock =
        Lock::parse(LOCK, &text.to_str_lossy()).map_err(WorkspaceError::from).map_err(NightError::from)?;
    Ok(lock.projects.get(project).cloned())
}

/// The workspace as it is with another state of some queues: their files in folders of their own, and their locks.
pub fn with_states(
    workspace: &Workspace,
    states: &[(&Site<'_>, &State)],
    folder: impl Fn(&str) -> std::path::PathBuf,
) -> Result<Workspace, FleetError> {
    let mut out = workspace.clone();
    for (site, state) in states {
        let name = &site.project.name;
        let place = folder(name);
        state.lay_out(site, &place)?;
        let locks = &mut Arc::make_mut(&mut out.lock).projects;
        match state.lock(site)? {
            Some(lock) => locks.insert(name.clone(), lock),
            None => locks.remove(name),
        };
        out.apart.insert(name.clone(), place);
    }
    Ok(out)
}

/// The tree of what the workspace has of a project, kept in memory.
fn snapshot(site: &Site<'_>, odb: &Odb) -> Result<ObjectId, FleetError> {
    let (project, lock) = (site.project, &site.workspace.lock);
    let call = site.git.call(["ls-files", "-z", "--stage", "--"]);
    let out = call.args([project.patches.clone(), project.resolutions()]).output()?;
    let mut listed = Vec::new();
    for line in out.split_str("\0").filter(|line| !line.is_empty()) {
        // `<mode> <id> <stage>\t<path>`; links and what is not merged are no files of a queue.
        let Some((head, path)) = line.split_once_str("\t") else { continue };
        let words: Vec<&[u8]> = head.fields().collect();
        if let [mode, id, b"0"] = words[..]
            && mode.starts_with(b"100")
        {
            listed.push((id.to_str_lossy().into_owned(), path.to_owned()));
        }
    }
    let ids: Vec<&str> = listed.iter().map(|(id, _)| id.as_str()).collect();
    let mut files = BTreeMap::new();
    for ((_, path), bytes) in listed.iter().zip(site.git.blobs(&ids)?) {
        files.insert(path.as_slice(), Some(file(odb.put_blob(bytes, None)?)));
    }
    if let Some(part) = lock.projects.get(&project.name) {
        files.insert(LOCK.as_bytes(), Some(file(odb.put_blob(lock_text(&project.name, part)?, None)?)));
    }
    let edits: Vec<_> = files.into_iter().collect();
    edited(odb, None, &edits)
}

/// Of which commits of the branch the workspace's files are the next version; none, if they are no news.
fn taken(site: &Site<'_>, tip: &ObjectId, now: &Moment) -> Result<Option<Vec<ObjectId>>, FleetError> {
    let (store, git) = (&site.store, &site.git);
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let recorded = lock.and_then(|l| ObjectId::from_hex(l.queue.as_ref()?.as_bytes()).ok());
    let recorded = match recorded {
        Some(id) if store.odb()?.has(&id) && store.is_ancestor(&id, tip)? => Some(id),
        _ => None,
    };
    let grep = format!("--grep=^{SNAPSHOT}: ");
    let call = store.git().call(["log", "-1", "--topo-order", "--format=%H", &grep, &tip.to_string(), "--"]);
    let Some(last) = ObjectId::from_hex(call.line()?.as_bytes()).ok() else {
        return Ok(Some(recorded.into_iter().collect()));
    };
    if let Some(before) = moment_of(&store.odb()?.commit(&last)?) {
        // A workspace that is not the newest has nothing new: what it lacks was not taken back.
        let here =
            git.call(["cat-file", "-e", &format!("{}^{{commit}}", before.commit)]).answer()?.code == Some(0);
        let older = match here {
            true => {
                let call = git.call(["merge-base", "--is-ancestor", &now.commit, &before.commit]);
                call.answer()?.code == Some(0)
            }
            // A clone without its history cannot tell but by the dates.
            false => now.seconds <= before.seconds,
        };
        if older {
            return Ok(None);
        }
    }
    Ok(Some(match recorded {
        None => vec![last],
        Some(id) if id == last || store.is_ancestor(&id, &last)? => vec![last],
        Some(id) if store.is_ancestor(&last, &id)? => vec![id],
        Some(id) => vec![id, last],
    }))
}

impl Moment {
    fn of_workspace(git: &Git) -> Result<Self, FleetError> {
        let line = git.call(["log", "-1", "--format=%H %ct", "HEAD", "--"]).line()?;
        let (commit, seconds) = line.split_once(' ').unwrap_or((&line, "0"));
        Ok(Self { commit: commit.to_owned(), seconds: seconds.parse().unwrap_or(0) })
    }
}

/// The workspace's commit that a snapshot is of.
fn moment_of(commit: &Commit) -> Option<Moment> {
    let line = commit.message.lines().rev().find_map(|l| l.strip_prefix(SNAPSHOT.as_bytes()))?;
    let text = line.strip_prefix(b": ")?.to_str().ok()?;
    let (commit, seconds) = text.split_once(' ')?;
    Some(Moment { commit: commit.to_owned(), seconds: seconds.trim().parse().ok()? })
}

fn put_snapshot(
    site: &Site<'_>,
    odb: &Odb,
    tree: &ObjectId,
    parents: &[ObjectId],
    at: &Moment,
) -> Result<ObjectId, FleetError> {
    let message = format!(
        "carry: {}: the queue as the workspace has it\n\n{SNAPSHOT}: {} {}\n",
        site.project.name, at.commit, at.seconds
    );
    put(site, odb, *tree, parents.to_vec(), message)
}

fn put(
    site: &Site<'_>,
    odb: &Odb,
    tree: ObjectId,
    parents: Vec<ObjectId>,
    message: String,
) -> Result<ObjectId, FleetError> {
    put_by(&site.workspace.config.identity, odb, tree, parents, message)
}

fn put_by(
    identity: &Identity,
    odb: &Odb,
    tree: ObjectId,
    parents: Vec<ObjectId>,
    message: String,
) -> Result<ObjectId, FleetError> {
    let who = Signature {
        name: identity.name.as_str().into(),
        email: identity.email.as_str().into(),
        seconds: beat::now().as_second(),
        offset_minutes: 0,
    };
    let commit = Commit { tree, parents, author: who.clone(), committer: who, message: message.into() };
    Ok(odb.put_commit(&commit)?)
}

/// A lock with one project's part alone, and without what only the workspace needs to know.
pub(super) fn lock_text(project: &str, part: &ProjectLock) -> Result<Vec<u8>, FleetError> {
    let part = ProjectLock { queue: None, ..part.clone() };
    let lock = Lock { projects: BTreeMap::from([(project.to_owned(), part)]), ..Lock::default() };
    let text = lock.render().map_err(|e| NightError::Format { what: LOCK, reason: e.to_string() })?;
    Ok(text.into_bytes())
}

pub(super) fn file(id: ObjectId) -> Entry {
    Entry { mode: 0o100644, id }
}

pub(super) fn edited(
    odb: &Odb,
    tree: Option<ObjectId>,
    edits: &[(&[u8], Option<Entry>)],
) -> Result<ObjectId, FleetError> {
    match edit(odb, tree, edits)? {
        Ok(Some(tree)) => Ok(tree),
        Ok(None) => Ok(write_empty(odb)?),
        Err(path) => Err(NightError::Format {
            what: "the queue's own branch",
            reason: format!("a file and a folder meet at '{}'", path.to_str_lossy()),
        }
        .into()),
    }
}

/// All files of a tree, by their paths.
fn list(
    odb: &Odb,
    tree: &ObjectId,
    prefix: &BStr,
    files: &mut BTreeMap<BString, Entry>,
) -> Result<(), FleetError> {
    let raw = RawTree::read(odb, Some(tree))?;
    for (name, entry) in raw.entries()? {
        // What a remote has is not trusted: a name that leads elsewhere is damage.
        if name.is_empty()
            || name == "."
            || name == ".."
            || name.contains(&b'/')
            || name.eq_ignore_ascii_case(b".git")
        {
            return Err(FleetError::Record {
                name: "the queue's own branch".into(),
                reason: format!("a file in it is called '{name}'"),
            });
        }
        let mut path = BString::from(prefix);
        path.extend_from_slice(name);
        if entry.is_tree() {
            path.push(b'/');
            list(odb, &entry.id, path.as_bstr(), files)?;
        } else if entry.is_file() {
            files.insert(path, entry);
        }
    }
    Ok(())
}
