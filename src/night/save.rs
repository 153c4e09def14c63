//! Work on a patch that is left on one machine and taken up on another: the state of its work tree as a commit, under a
//! ref that goes where the builds go.

use super::task::{Open, Task, TaskError};
use super::{Events, NightError, Site};
use crate::store::git::without_secrets;
use crate::store::{RefUpdate, SILENCE};

/// Where a task's state is kept.
fn saved_ref(site: &Site<'_>, patch: &str) -> String {
    format!("refs/carry/saved/{}/{patch}", site.project.name)
}

/// Keeps the state of a task's work tree. Returns where it was pushed to, if there is a remote.
pub fn save(site: &Site<'_>, open: &Open, events: &dyn Events) -> Result<Option<String>, TaskError> {
    let note = serde_json::to_string_pretty(&open.task)
        .map_err(|e| NightError::Format { what: "the note of a work tree", reason: e.to_string() })?;
    let state = open.work.snapshot(&note, &open.task.keep()?)?;
    let name = saved_ref(site, &open.task.patch);
    let old = site.store.reference(&name)?.map(|id| id.to_string());
    let new = Some(state.to_string());
    if old != new {
        site.store.update(&[RefUpdate { name: name.clone(), old, new }], "carry: save work on a patch")?;
    }
    let Some(address) = site.deploy_address() else { return Ok(None) };
    let told = without_secrets(&address);
    events.step(&format!("pushing to {told}"));
    let call = site.store.git().call(["push", "--quiet", "--no-verify", "--"]).arg(&address);
    call.arg(format!("+{state}:{name}"))
        .silence(SILENCE)
        .output()
        .map_err(|source| NightError::Push { remote: told.clone(), source })?;
    Ok(Some(told))
}

/// Puts a saved state of the same task into its work tree, if there is one here or at the remote. A remote that does
/// not answer is told, and stops nothing.
pub fn take_up(site: &Site<'_>, open: &Open, events: &dyn Events) -> Result<bool, TaskError> {
    let name = saved_ref(site, &open.task.patch);
    if let Some(address) = site.deploy_address() {
        // A pattern: nothing there is no error.
        let spec = format!("+refs/carry/saved/{0}/*:refs/carry/saved/{0}/*", site.project.name);
        if let Err(e) = site.store.fetching(&["--no-tags"], &address).arg(spec).output() {
            events.note(&format!(
                "whether work was saved at '{}' is not known: {e}",
                without_secrets(&address)
            ));
        }
    }
    let Some(state) = site.store.reference(&name)? else { return Ok(false) };
    let message = site.store.odb()?.commit(&state)?.message;
    let Ok(task) = serde_json::from_slice::<Task>(&message) else { return Ok(false) };
    if task != open.task {
        events.note(&format!("work on another conflict of this patch was saved: git show {state}"));
        return Ok(false);
    }
    open.work.restore(&state)?;
    Ok(true)
}

/// Forgets the saved state of a task that has ended, here and at the remote.
pub fn forget(site: &Site<'_>, patch: &str) -> Result<(), TaskError> {
    let name = saved_ref(site, patch);
    let Some(old) = site.store.reference(&name)? else { return Ok(()) };
    let gone = RefUpdate { name: name.clone(), old: Some(old.to_string()), new: None };
    site.store.update(&[gone], "carry: work on a patch ends")?;
    if let Some(address) = site.deploy_address() {
        // It is of no use to anyone any more; a remote that does not answer keeps it for a while.
        let call = site.store.git().call(["push", "--quiet", "--no-verify", "--"]).arg(&address);
        drop(call.arg(format!(":{name}")).silence(SILENCE).answer());
    }
    Ok(())
}
