//! What colleagues pushed to the deploy branch since the last build: it becomes patches at the end of the queue, where
//! carry.toml says so. None of it is lost either way: a branch that holds anything else is not replaced.

use std::collections::BTreeSet;

use gix_hash::ObjectId;

use super::draft::{Draft, fault};
use super::edit::commits;
use super::publish::{build_ref, deploy_ref, remote_refs};
use super::task::TaskError;
use super::{Events, NightError, Site};
use crate::build::build_id;
use crate::queue::{Patch, file_name};

/// What was taken in.
pub(super) struct Taken {
    /// The queue with it.
    pub draft: Draft,
    /// The commit that the branch has: all of it is in the draft, so the next build may replace it.
    pub replaces: String,
}

/// Takes the commits on top of the last build in; none, if there are none, or they cannot be told from others' builds.
pub(super) fn intake(site: &Site<'_>, events: &dyn Events) -> Result<Option<Taken>, NightError> {
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let Some(address) = site.deploy_address() else { return Ok(None) };
    let Some(ours) = lock.and_then(|l| ObjectId::from_hex(l.deploy.as_ref()?.as_bytes()).ok()) else {
        return Ok(None);
    };
    let branch = deploy_ref(site.project);
    let there = remote_refs(site, &address, std::slice::from_ref(&branch))?;
    let Some(found) = there.get(&branch).and_then(|id| ObjectId::from_hex(id.as_bytes()).ok()) else {
        return Ok(None);
    };
    let known = build_ref(&site.project.name, &build_id(&found));
    if found == ours || remote_refs(site, &address, std::slice::from_ref(&known))?.contains_key(&known) {
        // It is as we left it, or another machine's build.
        return Ok(None);
    }
    events.step("taking in what was pushed to the deploy branch");
    let here = format!("refs/carry/intake/{}", site.project.name);
    let call = site.store.fetching(&["--no-tags"], &address).arg(format!("+{branch}:{here}"));
    let progress = |line: &str| events.git(line);
    call.progress(&progress).output()?;
    let Some(found) = site.store.commit_of(&here)? else { return Ok(None) };
    if site.store.merge_base(&ours, &found)? != Some(ours) {
        events.note("what stands on the deploy branch does not build on the last build: it is not taken in");
        return Ok(None);
    }
    let mut draft = Draft::of(site, "")?;
    let new = match commits(site, None, &format!("{ours}..{found}"), events) {
        Ok(new) => new,
        Err(TaskError::Night(e)) => return Err(e),
        Err(other) => {
            events.note(&format!("what was pushed to the deploy branch is not taken in: {other}"));
            return Ok(None);
        }
    };
    let file_of = |p: &Patch| p.file.rsplit('/').next().unwrap_or(&p.file).to_owned();
    let mut taken: BTreeSet<String> = draft.queue.patches.iter().map(file_of).collect();
    let mut series = draft.queue.series.clone();
    let mut names = Vec::new();
    for (subject, bytes) in new {
        let file = file_name(&subject, &taken);
        taken.insert(file.clone());
        let patch = Patch::parse(&file, bytes, 1).map_err(|f| fault(site, f))?;
        series.append(&file).map_err(|f| fault(site, f))?;
        events.note(&format!("pushed by {}, taken in: {}", patch.header.author.name, patch.name()));
        names.push(patch.name().to_owned());
        draft.set_patch(site, patch);
    }
    draft.message = format!(
        "carry: {}: take in {}\n\nPushed to {} on top of the last build.\n",
        site.project.name,
        names.join(", "),
        site.project.deploy.branch
    );
    draft.set_series(site, series);
    Ok(Some(Taken { draft, replaces: found.to_string() }))
}
