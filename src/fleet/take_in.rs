//! What nights left on a queue's own branch comes back to the workspace: its files, its part of the lock, and a commit for
//! each that the night would have made there.

use gix_hash::ObjectId;

use super::FleetError;
use super::look::{bring, refs_of, sites};
use super::queue::{State, differences, is_peoples, lock_in, tree_of_workspace};
use super::unit::Unit;
use crate::night::{Events, FileChange, NightError, Site, base_ref, bring_in, deploy_ref, lock_file, write};
use crate::store::RefUpdate;
use crate::workspace::{LOCK, ProjectLock, Workspace};

/// What was taken in of a project.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TakenIn {
    /// The project.
    pub project: String,
    /// The commit of the queue's own branch.
    pub queue: String,
    /// The workspace's commits, oldest first.
    pub commits: Vec<String>,
}

/// Takes in what the nights of a unit left, in one transaction a project. The caller holds the workspace's guard, and loads
/// the workspace anew for each unit.
pub fn take_in(workspace: &Workspace, unit: &Unit, events: &dyn Events) -> Result<Vec<TakenIn>, FleetError> {
    let mut all = Vec::new();
    let refs = {
        let sites = sites(workspace, unit)?;
        let refs = refs_of(&sites, unit)?;
        bring(&sites, unit, &refs)?;
        refs
    };
    for project in &unit.projects {
        let Some(tip) = refs.queues.get(project).copied() else { continue };
        // Another project of the unit may have come in just now.
        let now = Workspace::load(&workspace.root).map_err(NightError::from)?;
        let site = Site::open(&now, now.project(Some(project)).map_err(NightError::from)?)?;
        let lock = now.lock.projects.get(project);
        if lock.and_then(|l| l.queue.as_deref()) == Some(tip.to_string().as_str()) {
            continue;
        }
        let state = State::of(&site, Some(tip))?;
        let Some(part) = state.lock(&site)? else { continue };
        site.preflight()?;
        bring_in(&site, Some(&part), events)?;
        let mut commits = commits(&site, &state, tip)?;
        let part = ProjectLock { queue: Some(tip.to_string()), ..part };
        if let Some((_, files)) = commits.last_mut() {
            files.retain(|file| file.path != LOCK);
            files.push(lock_file(&now.lock, project, part.clone())?);
        }
        let made = write(&site, store_refs(&site, &part)?, &commits)?;
        all.push(TakenIn { project: project.clone(), queue: tip.to_string(), commits: made });
    }
    Ok(all)
}

/// The commits that bring the workspace from where it is to there: at least one.
fn commits(
    site: &Site<'_>,
    state: &State,
    tip: ObjectId,
) -> Result<Vec<(String, Vec<FileChange>)>, FleetError> {
    let mut at = tree_of_workspace(site)?;
    let message = || format!("carry: {}: take in the fleet's nights\n", site.project.name);
    let mut out = Vec::new();
    let odb = site.store.odb()?;
    let recorded = site.workspace.lock.projects.get(&site.project.name);
    let recorded = recorded.and_then(|l| ObjectId::from_hex(l.queue.as_ref()?.as_bytes()).ok());
    let mut line = Vec::new();
    // What people changed meanwhile cannot be told apart from what nights did on top of it, or beside it.
    let mut next = Some(tip).filter(|_| !state.has_news());
    while let Some(id) = next.filter(|id| Some(*id) != recorded) {
        let commit = odb.commit(&id)?;
        if commit.tree == at {
            break;
        }
        next = commit.parents.first().copied();
        line.push((id, commit));
    }
    for (id, commit) in line.into_iter().rev() {
        // What people had goes with the night that stands on it.
        if is_peoples(&commit) && id != tip {
            continue;
        }
        let mut files = differences(site, &at, &commit.tree)?;
        if let Some(file) = files.iter_mut().find(|file| file.path == LOCK)
            && let Some(part) = lock_in(&odb, &commit.tree, &site.project.name)?
        {
            let part = ProjectLock { queue: Some(id.to_string()), ..part };
            *file = lock_file(&site.workspace.lock, &site.project.name, part)?;
        }
        at = commit.tree;
        out.push((commit.message.to_string(), files));
    }
    if out.is_empty() {
        out.push((message(), differences(site, &at, &state.tree)?));
    }
    Ok(out)
}

/// The store's own refs of what was published.
fn store_refs(site: &Site<'_>, part: &ProjectLock) -> Result<Vec<RefUpdate>, FleetError> {
    let mut refs = Vec::new();
    let wanted = [
        (deploy_ref(site.project), part.deploy.clone()),
        (base_ref(&site.project.name), Some(part.base.clone())),
    ];
    for (name, new) in wanted {
        // What could not be fetched is no value for a ref; the next night fetches it.
        if let Some(id) = new.filter(|id| site.store.commit_of(id).ok().flatten().is_some()) {
            refs.push(RefUpdate { name, old: None, new: Some(id) });
        }
    }
    Ok(refs)
}
