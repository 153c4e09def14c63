//! One copy of each upstream for all clones of a host: stores borrow its objects, so that nothing is downloaded twice,
//! however many workers, projects and branches there are.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::FleetError;
use super::unit::Unit;
use crate::night::{Events, NightError, resolve_address};
use crate::store::git::without_secrets;
use crate::store::{Repo, UPSTREAM, gather_packs, unlock};
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
    let mirror = Repo::open_or_create(&path, None, None)?;
    let branch = full_name(&project.branch);
    let listed = mirror.listed(&address, std::slice::from_ref(&branch))?;
    let there = listed.into_iter().find(|(name, _)| *name == branch).map(|(_, id)| id);
    let copy = Copy { project, mirror: &mirror, address: &address, branch: &branch, events };
    if there.is_none() || mirror.reference(&branch)? != there {
        events.step(&format!("{}: mirroring {}", project.name, without_secrets(&address)));
        copy.bring(workspace)?;
        // Stores borrow from it for ever: it is packed anew, and nothing of it ever goes.
        gather_packs(&mirror)?;
    }
    copy.fill(workspace)?;
    Ok(path)
}

/// A trunk on its way into a mirror.
///
/// Most of an upstream are the contents of old files, which nights hardly ever read. So a new mirror is made without them,
/// and has the files of the trunk alone (the base's come when the queue was looked at). What is missing comes when it is
/// read, by promise of the remote ([`crate::store`]); what comes later comes whole. A build whose deploy repository has
/// nothing of that history brings all of it there, and needs it all.
struct Copy<'a> {
    project: &'a Project,
    mirror: &'a Repo,
    address: &'a str,
    branch: &'a str,
    events: &'a dyn Events,
}

impl Copy<'_> {
    /// Fetches the trunk.
    fn bring(&self, workspace: &Workspace) -> Result<(), FleetError> {
        let Self { mirror, address, .. } = self;
        if !mirror.references(&["refs/heads/"])?.is_empty() {
            self.fetch(&["--no-tags", "--no-filter"], address)?;
            if mirror.is_partial()? {
                mirror.promised_too()?;
            }
            return Ok(());
        }
        // One that was killed may have begun otherwise.
        mirror.promise_nothing()?;
        if without_secrets(address) != *address {
            self.whole("its address has a password, which a copy without them would have to keep");
            return self.fetch(&["--no-tags"], address);
        }
        if self.starts_deploying(workspace) {
            self.whole("its deploy repository has nothing of it yet");
            return self.fetch(&["--no-tags"], address);
        }
        mirror.promise(address)?;
        self.fetch(&["--no-tags", "--filter=blob:none"], UPSTREAM)?;
        let tip = mirror.reference(self.branch)?;
        if mirror.lacking(tip.as_slice())?.is_empty() {
            // Git goes on without a filter where the server has none.
            mirror.promise_nothing()?;
            self.whole("its server leaves nothing out");
        }
        Ok(())
    }

    /// Brings what is missing of what a night is likely to read.
    fn fill(&self, workspace: &Workspace) -> Result<(), FleetError> {
        let Self { project, mirror, address, events, .. } = self;
        if !mirror.is_partial()? {
            return Ok(());
        }
        if self.starts_deploying(workspace) {
            self.whole("the deploy repository has nothing of it yet");
            self.fetch(&["--no-tags", "--no-filter", "--refetch"], address)?;
            return Ok(mirror.promised_too()?);
        }
        if let Err(e) = mirror.complete(mirror.reference(self.branch)?.as_slice()) {
            events.note(&format!(
                "{}: files of its upstream are still missing in the mirror: {e}",
                project.name
            ));
        }
        Ok(())
    }

    fn fetch(&self, options: &[&str], from: &str) -> Result<(), FleetError> {
        let progress = |line: &str| self.events.git(line);
        let call = self.mirror.fetching(options, from).arg(format!("+{0}:{0}", self.branch));
        call.progress(&progress).output()?;
        Ok(())
    }

    fn whole(&self, why: &str) {
        let name = &self.project.name;
        self.events.note(&format!(
            "{name}: the mirror of its upstream has the contents of old files as well: {why}"
        ));
    }

    /// Does a build of the project have all of trunk's history to bring to its deploy repository? That it was so, is known
    /// from the lock; else the repository is asked.
    fn starts_deploying(&self, workspace: &Workspace) -> bool {
        let lock = workspace.lock.projects.get(&self.project.name);
        if lock.is_some_and(|lock| lock.deploy.is_some()) {
            return false;
        }
        let Some(remote) = &self.project.deploy.remote else { return false };
        let branches =
            self.mirror.listed(&resolve_address(&workspace.root, remote), &["refs/heads/*".to_owned()]);
        branches.is_ok_and(|branches| branches.is_empty())
    }
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
