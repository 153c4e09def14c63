//! The build goes out: one atomic push, the store's refs, the workspace's commits, as one transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use gix_hash::ObjectId;

use super::builds::Recorded;
use super::commits::{Made, make, make_with_lock};
use super::journal::{Journal, Push, Recovered, move_refs, recover};
use super::meanwhile;
use super::sign::signature_ref;
use super::turn::{Head, Turn, turn};
use super::workspace_move::WorkspaceMove;
use super::writeback::{Built, FileChange};
use super::{Events, Going, Night, NightError, Options, Outlet, Site};
use crate::build::build_id;
use crate::build::manifest::Manifest;
use crate::queue::keep_readings;
use crate::store::git::without_secrets;
use crate::store::{Objects, Plain, RefUpdate, Repo, begin_in};
use crate::trunk::differences::keep;
use crate::trunk::full_name;
use crate::workspace::{Project, ProjectLock};

/// The deploy branch's full name.
pub fn deploy_ref(project: &Project) -> String {
    full_name(&project.deploy.branch)
}

/// The ref that keeps a build for ever.
pub fn build_ref(project: &str, build: &str) -> String {
    format!("refs/carry/build/{project}/{build}")
}

/// The ref that keeps a build's manifest.
pub fn manifest_ref(project: &str, build: &str) -> String {
    format!("refs/carry/manifest/{project}/{build}")
}

/// The ref that keeps the base of the recorded queue, whose blobs every later merge needs.
pub fn base_ref(project: &str) -> String {
    format!("refs/carry/base/{project}")
}

/// What the remote has of the refs asked for.
pub(super) fn remote_refs(
    site: &Site<'_>,
    address: &str,
    names: &[String],
) -> Result<BTreeMap<String, String>, NightError> {
    let pushed = |source| NightError::Push { remote: without_secrets(address), source };
    let listed = site.store.listed(address, names).map_err(pushed)?;
    let wanted = listed.into_iter().filter(|(name, _)| names.contains(name));
    Ok(wanted.map(|(name, id)| (name, id.to_string())).collect())
}

/// Brings in the builds that another machine published, if the recorded one is not in this store.
pub fn bring_in(site: &Site<'_>, lock: Option<&ProjectLock>, events: &dyn Events) -> Result<(), NightError> {
    let Some(deploy) = lock.and_then(|l| l.deploy.as_ref()) else { return Ok(()) };
    let Some(address) = site.deploy_address() else { return Ok(()) };
    let id = ObjectId::from_hex(deploy.as_bytes()).ok();
    if id.is_some_and(|id| site.store.odb().is_ok_and(|odb| odb.has(&id))) {
        return Ok(());
    }
    events.step(&format!("fetching the builds from {}", without_secrets(&address)));
    let project = &site.project.name;
    let specs = ["build", "manifest", "signature"].map(|kind| format!("refs/carry/{kind}/{project}/*"));
    let specs = specs.map(|s| format!("+{s}:{s}"));
    let progress = |line: &str| events.git(line);
    let mut waits = UNTIL_IT_IS_THERE.into_iter();
    loop {
        let call = site.store.fetching(&["--no-tags"], &address).args(&specs).progress(&progress);
        if let Err(e) = call.output() {
            events.note(&format!("the builds of '{}' could not be fetched: {e}", without_secrets(&address)));
            return Ok(());
        }
        let there = id.is_none_or(|id| site.store.odb().is_ok_and(|odb| odb.has(&id)));
        match waits.next().filter(|_| !there) {
            Some(wait) => std::thread::sleep(wait),
            None => return Ok(()),
        }
    }
}

/// How long to wait for a build that another machine says it published. A server that keeps refs as files moves those of
/// a push one after another, and the new ones last: what names a build can be there a moment before it.
const UNTIL_IT_IS_THERE: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(750)];

/// The manifest of the recorded build, if the store has it.
pub fn recorded_manifest(site: &Site<'_>, lock: &ProjectLock) -> Result<Option<Manifest>, NightError> {
    let Some(commit) = &lock.deploy else { return Ok(None) };
    manifest_in(&site.store, &site.project.name, commit)
}

/// The manifest of a recorded build, by what the lock calls its commit.
pub fn manifest_in(store: &Repo, project: &str, commit: &str) -> Result<Option<Manifest>, NightError> {
    let Ok(commit) = ObjectId::from_hex(commit.as_bytes()) else { return Ok(None) };
    let Some(blob) = store.reference(&manifest_ref(project, &build_id(&commit)))? else {
        return Ok(None);
    };
    let text = store.odb()?.blob(&blob)?;
    Manifest::parse(&text)
        .map(Some)
        .map_err(|e| NightError::Format { what: "the recorded manifest", reason: e.to_string() })
}

/// The manifest of a build, if the store has it.
pub fn manifest_of(site: &Site<'_>, commit: &ObjectId) -> Result<Option<Manifest>, NightError> {
    manifest_in(&site.store, &site.project.name, &commit.to_string())
}

/// Is the recorded build where it should be? A remote that someone else moved is an error.
pub fn in_place(site: &Site<'_>, lock: &ProjectLock, options: &Options) -> Result<bool, NightError> {
    let branch = deploy_ref(site.project);
    if site.store.reference(&branch)?.map(|id| id.to_string()) != lock.deploy {
        return Ok(false);
    }
    let Some(address) = site.deploy_address().filter(|_| !options.offline) else {
        return Ok(true);
    };
    let found = remote_refs(site, &address, std::slice::from_ref(&branch))?.remove(&branch);
    Ok(found == lock.deploy)
}

/// Publishes a build. Returns the workspace's new commits, oldest first.
pub fn publish(
    site: &Site<'_>,
    lock: Option<&ProjectLock>,
    built: Built,
    options: &Options,
    events: &dyn Events,
) -> Result<Vec<String>, NightError> {
    let project = &site.project.name;
    let Moves { branch, commit, immutable, refs } = Moves::of(site, &built);
    let push = match site.deploy_address().filter(|_| !options.offline) {
        None => None,
        Some(address) => {
            events.step(&format!("publishing to {}", without_secrets(&address)));
            Some(leased(site, lock, &address, &branch, &commit, immutable, options)?)
        }
    };
    // The immutable ref is the witness: the branch may move on before anyone asks.
    let witness = RefUpdate {
        name: build_ref(project, &build_id(&built.commit)),
        old: None,
        new: Some(commit.clone()),
    };
    let push = push.map(|push| (push, witness));

    let turn = turn();
    site.nothing_begun()?;
    let read = options.draft.as_ref().map_or(&built.queue, |draft| &draft.read);
    meanwhile::is_as_read(site, read, &built.commits)?;
    // Another project may have gone out since this one looked: its commit is the one to stand on, and its part of the
    // lock stays.
    let is_late = turn.is_late(&built.head);
    let head = if is_late { Head::ask(site)? } else { built.head };
    let made = match built.made.filter(|_| !is_late) {
        Some(made) => made,
        None => make_with_lock(site, &head, built.commits, built.lock)?,
    };
    let differences = built.differences.iter().map(|(trees, changes)| (*trees, &**changes));
    let patches = built.queue.patches.iter().chain(&built.rewritten);
    std::thread::scope(|threads| {
        // By the ids of trees and texts: what is kept is right, whatever comes of the transaction.
        let kept = begin_in(threads, || {
            keep(&site.differences_file(), differences)?;
            keep_readings(&site.readings_file(), patches, site.plain().map(Plain::hash))
        });
        let made = transact(site, &turn, head, (push, refs), made)?;
        if let Err(e) = kept.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            events.note(&format!("what was read of the patches could not be kept for the next night: {e}"));
        }
        Ok(made)
    })
}

/// What moves when a build goes out.
struct Moves {
    /// The deploy branch's full name.
    branch: String,
    /// The build's commit.
    commit: String,
    /// The refs that never change once they are there.
    immutable: Vec<RefUpdate>,
    /// All refs of the store.
    refs: Vec<RefUpdate>,
}

impl Moves {
    fn of(site: &Site<'_>, built: &Built) -> Self {
        let project = &site.project.name;
        let commit = built.commit.to_string();
        let branch = deploy_ref(site.project);
        let update = |name: String, new: &str| RefUpdate { name, old: None, new: Some(new.to_owned()) };
        let mut immutable = vec![update(build_ref(project, &build_id(&built.commit)), &commit)];
        immutable.extend(built.refs.clone());
        let mut refs = immutable.clone();
        refs.push(update(branch.clone(), &commit));
        refs.push(update(base_ref(project), &built.tip.to_string()));
        Self { branch, commit, immutable, refs }
    }
}

/// Publishes a build by an outlet: the workspace stays as it is, and no journal is needed, as all is in one push.
pub fn put_out(
    site: &Site<'_>,
    lock: Option<&ProjectLock>,
    built: Built,
    night: Night,
    (outlet, options): (&dyn Outlet, &Options),
    events: &dyn Events,
) -> Result<(), NightError> {
    meanwhile::has_all(site, &built.queue)?;
    let Moves { branch, commit, immutable, refs } = Moves::of(site, &built);
    let address =
        site.deploy_address().ok_or_else(|| NightError::NoRemote { project: site.project.name.clone() })?;
    events.step(&format!("publishing to {}", without_secrets(&address)));
    let push = leased(site, lock, &address, &branch, &commit, immutable, options)?;
    outlet.put(site, Going { night, push, commits: built.commits, lock: built.lock })?;
    move_refs(&site.store, &refs)
}

/// Pushes a recorded build's refs that the remote lacks; the deploy branch stays where it is. Returns their names.
pub fn push_build(
    site: &Site<'_>,
    build: &Recorded,
    dry_run: bool,
    events: &dyn Events,
) -> Result<Vec<String>, NightError> {
    let Some(address) = site.deploy_address() else { return Ok(Vec::new()) };
    let (project, id) = (&site.project.name, &build.manifest.deploy.build);
    let names = [build_ref(project, id), manifest_ref(project, id), signature_ref(project, id)];
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let ours = site.store.references(&wanted)?;
    let refs =
        ours.into_iter().map(|(name, id)| RefUpdate { name, old: None, new: Some(id.to_string()) }).collect();
    let refs = missing(refs, &remote_refs(site, &address, &names)?);
    let told = refs.iter().map(|r| r.name.clone()).collect();
    if !dry_run && !refs.is_empty() {
        events.step(&format!("publishing to {}", without_secrets(&address)));
        Push { address, refs }.push(&site.store)?;
    }
    Ok(told)
}

/// Commits files to the workspace and moves refs of the store, as one transaction.
pub fn write(
    site: &Site<'_>,
    refs: Vec<RefUpdate>,
    commits: &[(String, Vec<FileChange>)],
) -> Result<Vec<String>, NightError> {
    let turn = turn();
    let head = Head::ask(site)?;
    let made = make(site, &head, commits.to_vec())?;
    transact(site, &turn, head, (None, refs), made)
}

fn transact(
    site: &Site<'_>,
    _turn: &Turn,
    head: Head,
    (push, refs): (Option<(Push, RefUpdate)>, Vec<RefUpdate>),
    made: Made,
) -> Result<Vec<String>, NightError> {
    let project = &site.project.name;
    let (old, Made { ids, blobs: files, texts }) = (head.commit(), made);
    let Some(new) = ids.last().cloned().or_else(|| old.clone()) else { return Ok(ids) };
    let workspace = WorkspaceMove { old, new, files, texts };
    let (push, witness) = push.unzip();
    let journal = Journal { project: project.clone(), push, refs, witness, workspace };
    journal.write(&site.folder)?;
    match journal.carry_out(site) {
        // A refused push has changed nothing; anything later is finished by the next run.
        Err(e @ NightError::Push { .. }) => Journal::remove(&site.folder, project).and(Err(e)),
        // The answer was lost, and the push may have arrived all the same: that can be asked.
        Err(e @ NightError::Unanswered { .. }) => match recover(site)? {
            Some(Recovered::Finished) => Ok(ids),
            _ => Err(e),
        },
        Err(e) => Err(e),
        Ok(()) => Ok(ids),
    }
}

/// Those of a build's immutable refs that the remote lacks. One that is there is the same build, or another manifest of
/// it: the first one stays, and a signature of ours says nothing of it.
fn missing(refs: Vec<RefUpdate>, there: &BTreeMap<String, String>) -> Vec<RefUpdate> {
    let foreign = |r: &RefUpdate| there.get(&r.name).is_some_and(|id| Some(id) != r.new.as_ref());
    let another = refs.iter().any(|r| r.name.starts_with("refs/carry/manifest/") && foreign(r));
    let ours = |r: &RefUpdate| !(another && r.name.starts_with("refs/carry/signature/"));
    refs.into_iter().filter(|r| r.new.is_some() && !there.contains_key(&r.name) && ours(r)).collect()
}

/// The push of a build: the branch with an exact lease, the immutable refs only if they are new.
fn leased(
    site: &Site<'_>,
    lock: Option<&ProjectLock>,
    address: &str,
    branch: &str,
    commit: &str,
    immutable: Vec<RefUpdate>,
    options: &Options,
) -> Result<Push, NightError> {
    let mut names = vec![branch.to_owned()];
    names.extend(immutable.iter().map(|r| r.name.clone()));
    let there = remote_refs(site, address, &names)?;
    let found = there.get(branch).cloned();
    let expected = lock.and_then(|l| l.deploy.clone());
    let replaced = options.replace_deploy.as_deref();
    let fine = found == expected
        || found.as_deref() == Some(commit)
        || found.as_deref().is_some_and(|f| replaced == Some(f))
        // A build that was recorded but never pushed (the remote was added later, or the run was offline).
        || found.is_none();
    if !fine {
        let remote = without_secrets(address);
        return Err(NightError::Moved { remote, branch: branch.to_owned(), expected, found });
    }
    let mut refs = vec![RefUpdate { name: branch.to_owned(), old: found, new: Some(commit.to_owned()) }];
    refs.extend(missing(immutable, &there));
    Ok(Push { address: address.to_owned(), refs })
}
