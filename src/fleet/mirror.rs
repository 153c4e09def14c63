//! One copy of each upstream for all clones of a host: stores borrow its objects, so that nothing is downloaded twice,
//! however many workers, projects and branches there are.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::FleetError;
use super::unit::Unit;
use crate::night::{Events, NightError, resolve_address};
use crate::store::git::without_secrets;
use crate::store::{Repo, gather_packs, unlock};
use crate::trunk::full_name;
use crate::workspace::{Guard, GuardError, Project, Workspace};

/// So long another worker's fetch is waited for.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The workspace whose projects of this unit borrow from the mirrors in `folder`, each brought up to date. What cannot be
/// mirrored is told, and downloaded by its own store. A project that names a `reference` borrows from that alone.
pub fn with_mirrors(workspace: &Workspace, unit: &Unit, folder: &Path, events: &dyn Events) -> Workspace {
    let mut out = workspace.clone();
    for name in &unit.projects {
        let Some(project) = out.config.projects.get_mut(name) else { continue };
        if project.reference.is_some() {
            continue;
        }
        match mirror(workspace, project, folder, events) {
            Ok(path) => project.reference = Some(path),
            Err(e) => events.note(&format!("{name}: no mirror of its upstream: {e}")),
        }
    }
    out
}

/// Brings the trunk of a project into the mirror of its upstream. Returns the mirror's place.
fn mirror(
    workspace: &Workspace,
    project: &Project,
    folder: &Path,
    events: &dyn Events,
) -> Result<PathBuf, FleetError> {
    let address = resolve_address(&workspace.root, &project.upstream);
    let digest: String = Sha256::digest(&address).iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(format!("{digest}.git"));
    let io = |source| FleetError::Night(NightError::Io { path: path.clone(), source });
    std::fs::create_dir_all(&path).map_err(io)?;
    let guard = guard(&path)?;
    if guard.took_over.is_some() {
        unlock(&path, true, &[]);
    }
    let mirror = Repo::open_or_create(&path, None)?;
    let branch = full_name(&project.branch);
    let listed = mirror.listed(&address, std::slice::from_ref(&branch))?;
    let there = listed.into_iter().find(|(name, _)| *name == branch).map(|(_, id)| id);
    if there.is_some() && mirror.reference(&branch)? == there {
        return Ok(path);
    }
    events.step(&format!("{}: mirroring {}", project.name, without_secrets(&address)));
    let progress = |line: &str| events.git(line);
    let fetch = mirror.fetching(&["--no-tags"], &address).arg(format!("+{branch}:{branch}"));
    fetch.progress(&progress).output()?;
    // Stores borrow from it for ever: it is packed anew, and nothing of it ever goes.
    gather_packs(mirror.git())?;
    Ok(path)
}

fn guard(path: &Path) -> Result<Guard, FleetError> {
    let began = Instant::now();
    loop {
        match Guard::acquire(path, "fleet run") {
            Ok(guard) => return Ok(guard),
            Err(GuardError::Busy { .. }) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(GuardError::Busy { holder }) => {
                let source = std::io::Error::new(std::io::ErrorKind::WouldBlock, holder);
                return Err(NightError::Io { path: path.to_owned(), source }.into());
            }
            Err(GuardError::Io { path, source }) => return Err(NightError::Io { path, source }.into()),
        }
    }
}
