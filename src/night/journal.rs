//! The run's transaction. What a run is about to change is written down first; a run that was cut off is finished or
//! forgotten by the next one.
//!
//! The order: objects (nothing refers to them) → journal → push, atomic → the store's refs, and the workspace's files,
//! index and branch → the journal goes. The push, or the journal where there is no remote, is the moment at which
//! the run has happened: a journal whose build is there is finished, one whose build is not there is set aside. It is
//! set aside and not deleted, as a push that outlived its run may still arrive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use super::commits::{commit_files, lock_file};
use super::turn::head;
use super::workspace_move::WorkspaceMove;
use super::{FileChange, NightError, Site};
use crate::store::git::{GitError, joined, without_secrets};
use crate::store::{RefUpdate, Repo, SILENCE, Tip, begin_in, listing, write_for_good};
use crate::workspace::{LOCK, Lock, Workspace, WorkspaceError};

/// What a run is about to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The project.
    pub project: String,
    /// The refs to push, and where to.
    pub push: Option<Push>,
    /// The refs of the store.
    pub refs: Vec<RefUpdate>,
    /// The ref at the remote whose new value says that the push has happened.
    pub witness: Option<RefUpdate>,
    /// What changes in the workspace.
    pub workspace: WorkspaceMove,
}

/// A push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The address. It may hold a password: the journal is readable for its owner alone.
    pub address: String,
    /// The refs, with the value that each must have now.
    pub refs: Vec<RefUpdate>,
}

fn place(folder: &Path, project: &str) -> PathBuf {
    folder.join(format!("{project}.journal"))
}

fn aside(folder: &Path, project: &str) -> PathBuf {
    folder.join(format!("{project}.journal.aside"))
}

impl Journal {
    /// Writes the journal down, for good, before anything changes.
    pub fn write(&self, folder: &Path) -> Result<(), NightError> {
        let path = place(folder, &self.project);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| NightError::Format { what: "the journal", reason: e.to_string() })?;
        write_for_good(&path, &text).map_err(|source| NightError::Io { path, source })
    }

    /// Takes the journal away: its run is finished, or was refused.
    pub fn remove(folder: &Path, project: &str) -> Result<(), NightError> {
        for path in [place(folder, project), aside(folder, project)] {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(NightError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes all the changes that the journal names and that are not made yet, from the push on.
    pub fn carry_out(&self, site: &Site<'_>) -> Result<(), NightError> {
        if let Some(push) = &self.push {
            push.push(&site.store)?;
        }
        self.after_push(site)
    }

    /// The same run on the commit that the workspace's branch has come to since, as other projects went on. None if the
    /// project's own files have changed meanwhile: then what the run wrote is of the past.
    fn onto(&self, site: &Site<'_>, head: Option<&str>) -> Result<Option<Self>, NightError> {
        let (Some(head), WorkspaceMove { old, new, files, .. }) = (head, &self.workspace) else {
            return Ok(None);
        };
        let own: Vec<&String> = files.keys().filter(|file| *file != LOCK).collect();
        let at = |commit: &str| -> Result<Option<Vec<u8>>, NightError> {
            let call = site.git.call(["ls-tree", "-r", "-z", commit, "--"]).args(&own).answer()?;
            Ok((call.code == Some(0)).then_some(call.stdout))
        };
        let before = match old {
            _ if own.is_empty() => Some(Vec::new()),
            Some(old) => at(old)?,
            None => Some(Vec::new()),
        };
        let now = if own.is_empty() { Some(Vec::new()) } else { at(head)? };
        let message = site.git.call(["log", "-1", "--format=%B", new, "--"]).answer()?;
        if before.is_none() || before != now || message.code != Some(0) {
            return Ok(None);
        }
        let ids: Vec<&str> = files.values().flatten().map(String::as_str).collect();
        let mut blobs = site.git.blobs(&ids)?.into_iter();
        let mut changes = Vec::new();
        for (path, blob) in files {
            let mut bytes = blob.as_ref().and_then(|_| blobs.next());
            if path == LOCK {
                let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
                let theirs = Workspace::load(&site.workspace.root)?.lock;
                let ours = Lock::parse(LOCK, &text).map_err(WorkspaceError::from)?;
                let Some(part) = ours.projects.get(&self.project).cloned() else { return Ok(None) };
                bytes = lock_file(&theirs, &self.project, part)?.bytes;
            }
            changes.push(FileChange { path: path.clone(), bytes });
        }
        let message = message.stdout.to_str_lossy().into_owned();
        let (made, files) = commit_files(site, &Tip::of(Some(head))?, &[(message, changes)])?;
        let new = made.last().map_or(head, String::as_str).to_owned();
        let workspace = WorkspaceMove { old: Some(head.to_owned()), new, files, texts: BTreeMap::new() };
        Ok(Some(Self { workspace, ..self.clone() }))
    }

    /// Brings what was pushed back from the remote, if the store was lost since.
    fn bring_back(&self, site: &Site<'_>) -> Result<(), NightError> {
        let Some(push) = &self.push else { return Ok(()) };
        let odb = site.store.odb()?;
        let there = |update: &RefUpdate| {
            let id = update.new.as_ref().and_then(|new| ObjectId::from_hex(new.as_bytes()).ok());
            id.is_none_or(|id| odb.has(&id))
        };
        if self.refs.iter().all(there) {
            return Ok(());
        }
        // The branch may have moved on; the build's own refs never do.
        let kept = push.refs.iter().filter(|update| update.name.starts_with("refs/carry/"));
        let specs: Vec<String> = kept.map(|update| format!("+{0}:{0}", update.name)).collect();
        let fetched = site.store.fetching(&["--no-tags"], &push.address).args(specs).output();
        let remote = without_secrets(&push.address);
        fetched.map(drop).map_err(|source| NightError::Unfinished { remote, source })
    }

    /// Makes the changes that come after the push. May be repeated.
    fn after_push(&self, site: &Site<'_>) -> Result<(), NightError> {
        // Neither needs the other, and what one of them leaves undone the next run does.
        let (refs, workspace) = std::thread::scope(|threads| {
            let refs = begin_in(threads, || move_refs(&site.store, &self.refs));
            let workspace = self.workspace.make(site);
            (refs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), workspace)
        });
        refs.and(workspace)?;
        Self::remove(&site.folder, &self.project)
    }
}

/// Moves refs of the store, whatever they are now.
pub fn move_refs(store: &Repo, refs: &[RefUpdate]) -> Result<(), NightError> {
    let mut open = Vec::new();
    let names: Vec<&str> = refs.iter().map(|update| update.name.as_str()).collect();
    for (update, there) in refs.iter().zip(store.exactly(&names)?) {
        let now = there.map(|id| id.to_string());
        if now != update.new {
            open.push(RefUpdate { old: now, ..update.clone() });
        }
    }
    if !open.is_empty() {
        store.update(&open, "carry: publish a build")?;
    }
    Ok(())
}

impl Push {
    /// Pushes all refs or none, each only if the remote still has what is expected. A remote that refuses names the refs;
    /// else the connection broke, and they may have arrived.
    pub fn push(&self, store: &Repo) -> Result<(), NightError> {
        self.push_of(store, &[])
    }

    /// The same, with objects that are in other stores.
    pub fn push_of(&self, store: &Repo, others: &[&Repo]) -> Result<(), NightError> {
        let mut call = store
            .git()
            .call(["push", "--atomic", "--porcelain", "--no-follow-tags", "--no-verify"])
            .silence(SILENCE);
        if !others.is_empty() {
            let folders = others.iter().map(|other| other.path().join("objects"));
            let joined = std::env::join_paths(folders)
                .map_err(|e| NightError::Format { what: "the stores' places", reason: e.to_string() })?;
            call = call.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", joined);
        }
        for r in &self.refs {
            let old = r.old.as_deref().unwrap_or_default();
            call = call.arg(joined("--force-with-lease=", format!("{}:{old}", r.name)));
        }
        call = call.arg("--").arg(&self.address);
        for r in &self.refs {
            call = call.arg(format!("{}:{}", r.new.as_deref().unwrap_or_default(), r.name));
        }
        let remote = without_secrets(&self.address);
        let answer = call.answer()?;
        if answer.code == Some(0) {
            return Ok(());
        }
        // The porcelain lines say which ref was refused; why, the server's own words, which git sets apart. The rest
        // repeats it for people.
        let refused: Vec<String> = answer
            .stdout
            .lines()
            .filter(|l| l.starts_with(b"!"))
            .map(|l| l[1..].trim().to_str_lossy().replace('\t', " "))
            .collect();
        let words = answer.stderr.lines().filter_map(|l| l.strip_prefix("remote: ")).map(str::trim_end);
        let words: Vec<String> =
            words.filter(|w| !w.is_empty()).map(|w| format!("the server says: {w}")).collect();
        let stderr = if refused.is_empty() {
            answer.stderr.trim().to_owned()
        } else {
            [vec![refused.join("; ")], words].concat().join("\n")
        };
        let source = GitError::Failed { command: "push".into(), code: answer.code, stderr };
        Err(match refused.is_empty() {
            true => NightError::Unanswered { remote, source },
            false => NightError::Push { remote, source },
        })
    }
}

/// What became of a run that was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// Its build is out, and the rest was done now.
    Finished,
    /// Its build is not out: nothing of it remains.
    SetAside,
}

impl Recovered {
    /// In a sentence.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Finished => "the last run was cut off after it had published; it is finished now",
            Self::SetAside => "the last run was cut off before it had published; nothing of it remains",
        }
    }
}

/// Finishes or sets aside the run that was cut off, if there is one. Says what it did.
pub fn recover(site: &Site<'_>) -> Result<Option<Recovered>, NightError> {
    let project = &site.project.name;
    let (now, before) = (place(&site.folder, project), aside(&site.folder, project));
    for path in [&now, &before] {
        let text = match std::fs::read(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            text => text.map_err(|source| NightError::Io { path: path.clone(), source })?,
        };
        let journal: Journal = serde_json::from_slice(&text)
            .map_err(|e| NightError::Journal { path: path.clone(), reason: e.to_string() })?;
        let head = head(&site.git)?;
        let ours = head == journal.workspace.old || head.as_ref() == Some(&journal.workspace.new);
        let journal = match ours {
            true => Some(journal),
            false => journal.onto(site, head.as_deref())?,
        };
        if let Some(journal) = journal
            && happened(site, &journal)?
        {
            if !ours {
                journal.write(&site.folder)?;
            }
            let files = journal.workspace.changed_since(site)?;
            if !files.is_empty() {
                return Err(NightError::Since { files });
            }
            journal.bring_back(site)?;
            journal.after_push(site)?;
            return Ok(Some(Recovered::Finished));
        }
        if path == &now {
            std::fs::rename(&now, &before).map_err(|source| NightError::Io { path: now.clone(), source })?;
            return Ok(Some(Recovered::SetAside));
        }
    }
    Ok(None)
}

/// Is there a run that was cut off, and that [`recover`] has to look at?
pub fn pending(folder: &Path, project: &str) -> bool {
    place(folder, project).exists() || aside(folder, project).exists()
}

/// Without a push, what is written down happens.
fn happened(site: &Site<'_>, journal: &Journal) -> Result<bool, NightError> {
    let (Some(push), Some(witness)) = (&journal.push, &journal.witness) else { return Ok(true) };
    let listed = listing(site.store.git(), &push.address, std::slice::from_ref(&witness.name))
        .output()
        .map_err(|source| NightError::Unfinished { remote: without_secrets(&push.address), source })?;
    let there = listed.lines().find_map(|l| {
        let (id, name) = l.split_once_str("\t")?;
        (name == witness.name.as_bytes()).then(|| id.to_str_lossy().into_owned())
    });
    Ok(there == witness.new)
}
