//! What people decide of patches that upstream may have: confirmed, rejected, brought back.

use gix_hash::ObjectId;
use serde::Serialize;

use super::draft::{Draft, fault};
use super::edit::go;
use super::task::TaskError;
use super::{Events, FileChange, Night, NightError, Site, recorded_manifest, write};
use crate::queue::Patch;
use crate::workspace::{
    Bearing, Decision, Evidence, LOCK, LandedLock, PatchLock, ProjectLock, Proposal, nearest,
};

/// All that is known of patches that upstream may have.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overview {
    /// What was proposed of patches of the queue, and what people said of it.
    pub proposals: Vec<Of<Proposal>>,
    /// Upstream commits that mend those from which patches came.
    pub fixes: Vec<Of<Bearing>>,
    /// The patches that left the queue, oldest first.
    pub landed: Vec<LandedLock>,
}

/// Something of a patch.
#[derive(Debug, Clone, Serialize)]
pub struct Of<T> {
    /// The patch's name.
    pub patch: String,
    /// What.
    #[serde(flatten)]
    pub what: T,
}

/// All of the project.
pub fn overview(site: &Site<'_>) -> Overview {
    let Some(lock) = site.workspace.lock.projects.get(&site.project.name) else {
        return Overview::default();
    };
    let (mut proposals, mut fixes) = (Vec::new(), Vec::new());
    for p in &lock.patches {
        proposals.extend(p.proposed.iter().map(|what| Of { patch: p.name.clone(), what: what.clone() }));
        fixes.extend(p.fixes.iter().map(|what| Of { patch: p.name.clone(), what: what.clone() }));
    }
    Overview { proposals, fixes, landed: lock.landed.clone() }
}

/// `git range-diff` of a patch of the last build against an upstream commit; none where the patch is not in it.
pub fn against(site: &Site<'_>, patch: &str, commit: &str) -> Result<Option<String>, NightError> {
    let Some(lock) = site.workspace.lock.projects.get(&site.project.name) else { return Ok(None) };
    let Some(manifest) = recorded_manifest(site, lock)? else { return Ok(None) };
    let own = manifest.patches.iter().find(|p| p.name == patch).and_then(|p| p.commit.clone());
    let odb = site.store.odb()?;
    let here = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| odb.has(id));
    let (Some(own), Some(theirs)) = (own.as_deref().and_then(here), here(commit)) else { return Ok(None) };
    Ok(site.store.range_diff(&own, &theirs)?)
}

/// Upstream has the patch: it leaves the queue, and what stands above is replayed.
pub fn confirm(
    site: &Site<'_>,
    name: &str,
    commit: Option<&str>,
    events: &dyn Events,
) -> Result<(Evidence, Night), TaskError> {
    site.preflight()?;
    let mut draft = Draft::of(site, "")?;
    let patch = super::task::find(site, &draft.queue.patches, name)?.name().to_owned();
    let said = decide(locked(site, &mut draft.lock, &patch)?, commit, Decision::Confirmed)?;
    draft.message =
        format!("carry: {}: upstream has {patch}\n\n{}\n", site.project.name, sentence(&said, "has it"));
    Ok((said, go(site, draft, events)?))
}

/// Upstream has it not: this commit is not proposed for it again. Returns the workspace's commits as well.
pub fn reject(
    site: &Site<'_>,
    name: &str,
    commit: Option<&str>,
) -> Result<(Evidence, Vec<String>), TaskError> {
    site.preflight()?;
    let mut lock = site.workspace.lock.projects.get(&site.project.name).cloned();
    let patch = super::task::find(site, &site.queue()?.patches, name)?.name().to_owned();
    let recorded = locked(site, &mut lock, &patch)?;
    let said = decide(recorded, commit, Decision::Rejected)?;
    // It was called a revised version of the patch: it is a conflict like any other now.
    if recorded.evolved.as_ref().is_some_and(|e| said.rests_on(&e.commit)) {
        recorded.evolved = None;
        recorded.outcome = crate::workspace::Outcome::Conflict;
    }
    let message = format!(
        "carry: {}: upstream has not {patch}\n\n{}\n",
        site.project.name,
        sentence(&said, "is another change")
    );
    Ok((said, save(site, lock, message)?))
}

/// Takes a patch that landed back into the queue, where it stood, and replays what stands above.
pub fn restore(site: &Site<'_>, name: &str, events: &dyn Events) -> Result<(LandedLock, Night), TaskError> {
    site.preflight()?;
    let mut draft = Draft::of(site, "")?;
    let gone = take(site, &mut draft.lock, name)?;
    if draft.queue.patches.iter().any(|p| p.name().eq_ignore_ascii_case(&gone.name)) {
        let (patch, why) = (gone.name, "is in the queue: another took its name".to_owned());
        return Err(TaskError::Pointless {
            patch,
            why,
            hint: "git carry rename gives that one another".into(),
        });
    }
    let patch = last_form(site, &gone)?;
    let mut series = draft.queue.series.clone();
    let after = |after: &String| draft.queue.patches.iter().position(|p| p.name() == after);
    // Those before it may have gone as well, or moved: then it stands last, where it asks the least of others.
    let line = match &gone.after {
        None => 0,
        Some(name) => after(name).map_or(draft.queue.patches.len(), |at| at + 1),
    };
    series.insert(&gone.file, line).map_err(|f| fault(site, f))?;
    draft.message = match &gone.reverted {
        Some(by) => format!(
            "carry: {}: take {} up again\n\nUpstream took it back: {} {}\n",
            site.project.name, gone.name, by.commit, by.subject
        ),
        None => format!(
            "carry: {}: take {} up again\n\n{}\n",
            site.project.name,
            gone.name,
            sentence(&gone.evidence, "is another change")
        ),
    };
    draft.set_patch(site, patch);
    draft.set_series(site, series);
    draft.sort();
    let night = go(site, draft, events)?;
    Ok((gone, night))
}

/// Forgets a patch that landed: nobody wants it back, whatever upstream does.
pub fn forget(site: &Site<'_>, name: &str) -> Result<(LandedLock, Vec<String>), TaskError> {
    site.preflight()?;
    let mut lock = site.workspace.lock.projects.get(&site.project.name).cloned();
    let gone = take(site, &mut lock, name)?;
    let message = format!("carry: {}: {} stays out\n", site.project.name, gone.name);
    Ok((gone, save(site, lock, message)?))
}

fn sentence(evidence: &Evidence, does: &str) -> String {
    format!("{} \"{}\" by {} {does}: {}.", evidence.commit, evidence.subject, evidence.author, evidence.proof)
}

fn save(site: &Site<'_>, lock: Option<ProjectLock>, message: String) -> Result<Vec<String>, NightError> {
    let mut all = (*site.workspace.lock).clone();
    all.projects.extend(lock.map(|lock| (site.project.name.clone(), lock)));
    let text = all.render().map_err(|e| NightError::Format { what: LOCK, reason: e.to_string() })?;
    write(
        site,
        Vec::new(),
        &[(message, vec![FileChange { path: LOCK.into(), bytes: Some(text.into_bytes()) }])],
    )
}

/// What was recorded of a patch of the queue.
fn locked<'l>(
    site: &Site<'_>,
    lock: &'l mut Option<ProjectLock>,
    patch: &str,
) -> Result<&'l mut PatchLock, TaskError> {
    let recorded = lock.iter_mut().flat_map(|l| &mut l.patches).find(|p| p.name == patch);
    recorded.ok_or_else(|| TaskError::Pointless {
        patch: patch.to_owned(),
        why: "was not replayed yet".into(),
        hint: format!("git carry rebase --project {}", site.project.name),
    })
}

/// Notes what a person says of the proposal that rests on `commit`, or of the only one that is open.
fn decide(recorded: &mut PatchLock, commit: Option<&str>, decision: Decision) -> Result<Evidence, TaskError> {
    let pointless =
        |why: String, hint: String| TaskError::Pointless { patch: recorded.name.clone(), why, hint };
    let meant = |p: &Proposal| match commit {
        Some(id) => id.len() >= 4 && p.evidence.commit.starts_with(id),
        None => p.decision.is_none(),
    };
    let at: Vec<usize> = (0..recorded.proposed.len()).filter(|at| meant(&recorded.proposed[*at])).collect();
    let [at] = at[..] else {
        let hint = "git carry landed shows what is proposed, with each commit".to_owned();
        return Err(match (at.is_empty(), commit) {
            (true, Some(id)) => pointless(format!("has no proposal that begins with '{id}'"), hint),
            (true, None) => pointless("has no open proposal".into(), hint),
            _ => pointless(format!("has {} proposals: name the commit", at.len()), hint),
        });
    };
    let said = &mut recorded.proposed[at];
    said.decision = Some(decision);
    Ok(said.evidence.clone())
}

/// Takes what is known of a landed patch out of the lock: the last of its name.
fn take(site: &Site<'_>, lock: &mut Option<ProjectLock>, name: &str) -> Result<LandedLock, TaskError> {
    let mut none = Vec::new();
    let landed = lock.as_mut().map_or(&mut none, |l| &mut l.landed);
    let stem = crate::queue::stem(name);
    match landed.iter().rposition(|l| l.name == stem) {
        Some(at) => Ok(landed.remove(at)),
        None => {
            let names: Vec<&str> = landed.iter().map(|l| l.name.as_str()).collect();
            let hint = match nearest(stem, &names) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("git carry landed --project {} shows those that did", site.project.name),
            };
            Err(TaskError::Pointless {
                patch: name.to_owned(),
                why: "is not known to have landed".into(),
                hint,
            })
        }
    }
}

/// The patch as it was last in the queue, from the workspace's history.
fn last_form(site: &Site<'_>, gone: &LandedLock) -> Result<Patch, TaskError> {
    let path = format!("{}{}/{}", site.prefix, site.project.patches, gone.file);
    let spec = format!(":(top,literal){path}");
    let call = site.git.call(["-c", "diff.orderFile=/dev/null", "log", "--format=%H", "--diff-filter=AM"]);
    let out = call.args(["--no-renames", "HEAD", "--", &spec]).output()?;
    for commit in String::from_utf8_lossy(&out).lines() {
        let blob = format!("{commit}:{path}");
        let bytes = site.git.call(["cat-file", "blob", &blob]).output()?;
        if let Ok(patch) = Patch::parse(&gone.file, bytes, 1)
            && patch.digest == gone.digest
        {
            return Ok(patch);
        }
    }
    Err(TaskError::Pointless {
        patch: gone.name.clone(),
        why: "is not in the workspace's history as it was when it left".into(),
        hint: format!("is it a shallow clone? git log --full-history -- {path}"),
    })
}
