//! A conflict that a person resolves: the answer becomes a record, and the replay with it a build.

use std::path::Path;

use gix_hash::ObjectId;

use super::save::take_up;
use super::task::{Doing, Ground, Open, Task, TaskError, begin, end, ground, open_task, resolvable};
use super::{Done, Draft, Events, Night, NightError, Options, Site, run, write};
use crate::night::settle::Answers;
use crate::replay::ConflictKind;
use crate::replay::merge::attempt;
use crate::resolution::{Resolution, rerere};
use crate::store::Objects;
use crate::store::tree::Entry;
use crate::workspace::Outcome;

/// A conflict, ready to be worked on.
pub struct Begun {
    /// The task and its work tree.
    pub open: Open,
    /// What is known of the patch.
    pub ground: Ground,
    /// Did git merge it without a conflict?
    pub clean: bool,
    /// Was work that someone had saved taken up?
    pub taken_up: bool,
}

/// What became of a resolution.
pub struct Resolved {
    /// The patch.
    pub patch: String,
    /// The answer that was recorded; none for a patch without trees of its own, whose file was written anew.
    pub resolution: Option<Resolution>,
    /// The run that it went out with; none if only the answer was kept.
    pub night: Option<Night>,
    /// The workspace's commits, where there was no run.
    pub commits: Vec<String>,
}

/// Makes the work tree in which a person resolves the conflict of `patch`, on `onto` (none: the trunk tip).
pub fn start(
    site: &Site<'_>,
    patch: &str,
    onto: Option<&str>,
    events: &dyn Events,
) -> Result<Begun, TaskError> {
    let ground = ground(site, patch, onto)?;
    resolvable(&ground)?;
    let doing = if onto.is_some() { Doing::ResolveAhead } else { Doing::Resolve };
    let (open, clean) = begin(site, &ground, doing)?;
    let taken_up = take_up(site, &open, events)?;
    Ok(Begun { open, ground, clean, taken_up })
}

/// Takes the result of a work tree: records the answer, and replays the queue with it. `by` is who gave it, `now` is
/// the moment in RFC 3339.
pub fn proceed(
    site: &Site<'_>,
    patch: Option<&str>,
    from: &Path,
    (by, now): (String, String),
    events: &dyn Events,
) -> Result<Resolved, TaskError> {
    site.preflight()?;
    let open = open_task(site, patch, from)?;
    let Task { patch, doing, tip, .. } = open.task.clone();
    if matches!(doing, Doing::Edit | Doing::Stack) {
        let hint = "take the edit in with: git carry refresh".to_owned();
        return Err(TaskError::Pointless { patch, why: "is being edited, not resolved".into(), hint });
    }
    let odb = site.store.odb()?;
    let finished = open.finished(&odb)?;
    // The work tree's objects are new to this process.
    let odb = site.store.odb()?;
    let below = odb.commit(&id(&open.task.below)?)?.tree;
    if finished == below {
        let hint = format!(
            "if upstream has it: git carry resolve {patch} --drop; to leave it out: git carry resolve {patch} --skip"
        );
        return Err(TaskError::Pointless { patch, why: "would change nothing any more".into(), hint });
    }
    let mut draft = Draft::of(site, &format!("resolve {patch}"))?;
    let resolution = match &open.task.own {
        Some([before, after]) => {
            let (before, after) = (id(before)?, id(after)?);
            let attempt = attempt(&odb, &before, &below, &after)?;
            let told = (now, by, tip.clone());
            let resolution = Resolution::of(&odb, &patch, &attempt, &finished, told)?;
            draft.add_resolution(site, resolution.clone())?;
            Some(resolution)
        }
        None => {
            super::edit::rewrite(site, &mut draft, &odb, &patch, &below, &finished, None)?;
            None
        }
    };
    if doing == Doing::ResolveAhead {
        let commits = write(site, Vec::new(), &[(draft.message, draft.files)])?;
        end(site, &open)?;
        return Ok(Resolved { patch, resolution, night: None, commits });
    }
    // The trunk may have moved since: the answer must fit what the patch meets now.
    let outcome = outcome_with(site, &draft, &patch)?;
    if outcome.left_out() {
        return Err(TaskError::Changed { patch, place: open.work.path().to_owned() });
    }
    let (message, files) = (draft.message.clone(), draft.files.clone());
    let options = Options { offline: true, draft: Some(draft), ..Options::default() };
    let night = run(site.workspace, site.project, &options, events)?;
    let mut commits = Vec::new();
    if night.done == Done::Refused {
        // Other patches that are required conflict still: the answer is kept for the night that has them all.
        commits = write(site, Vec::new(), &[(message, files)])?;
    }
    end(site, &open)?;
    Ok(Resolved { patch, resolution, night: Some(night), commits })
}

/// What becomes of a patch on the trunk tip with a draft.
fn outcome_with(site: &Site<'_>, draft: &Draft, patch: &str) -> Result<Outcome, TaskError> {
    let tip =
        crate::trunk::known(&site.store)?.ok_or(NightError::Fetch(crate::trunk::FetchError::NeverFetched))?;
    let mut answers = Answers::of(site);
    answers.recorded.extend(draft.resolutions.clone());
    let planned = draft.plan(site, &answers, &tip)?;
    let found = planned.patches.iter().find(|p| p.report.name == patch);
    Ok(found.map_or(Outcome::Conflict, |p| p.report.outcome))
}

/// Takes one side of a conflict in the work tree. `stage` is git's: 2 is the trunk's side, 3 the patch's.
pub fn take(
    site: &Site<'_>,
    patch: Option<&str>,
    from: &Path,
    stage: usize,
    path: &str,
) -> Result<Open, TaskError> {
    let open = open_task(site, patch, from)?;
    let all = open.work.unmerged()?;
    let Some(unmerged) = all.iter().find(|u| u.path == path) else {
        let names: Vec<String> = all.iter().map(|u| u.path.to_string()).collect();
        let hint = match names.is_empty() {
            true => format!("git carry resolve {} --continue", open.task.patch),
            false => format!("those that are open: {}", names.join(", ")),
        };
        let why = format!("has no open conflict at '{path}'");
        return Err(TaskError::Pointless { patch: open.task.patch, why, hint });
    };
    open.work.take(unmerged, stage)?;
    Ok(open)
}

/// Takes over what `git rerere` recorded at `cache`, for the conflicts that the queue has on the trunk tip. Returns
/// the answers, and the workspace's commits.
pub fn from_rerere(
    site: &Site<'_>,
    cache: &Path,
    (by, now): (String, String),
) -> Result<(Vec<Resolution>, Vec<String>), TaskError> {
    site.preflight()?;
    let tip =
        crate::trunk::known(&site.store)?.ok_or(NightError::Fetch(crate::trunk::FetchError::NeverFetched))?;
    let mut draft = Draft::of(site, "take over answers of git rerere")?;
    let mut answers = Answers::of(site);
    // What one answer puts on the stack may be what the next patch conflicts with.
    loop {
        let before = draft.resolutions.len();
        let planned = draft.plan(site, &answers, &tip)?;
        let odb = &planned.odb;
        let mut stack = odb.commit(&tip)?.tree;
        for patch in &planned.patches {
            if let Some((_, after)) = patch.applied {
                stack = after;
            }
            let (true, Some((own_before, own_after))) = (patch.report.outcome.is_root(), patch.own) else {
                continue;
            };
            let attempt = attempt(odb, &own_before, &stack, &own_after)?;
            let mut finished = Vec::new();
            for conflict in &attempt.conflicts {
                let data = |side: Option<Entry>| match side.filter(Entry::is_file) {
                    Some(entry) => odb.blob(&entry.id).map(|b| b.to_vec()),
                    None => Ok(Vec::new()),
                };
                let text = matches!(conflict.kind, ConflictKind::Content | ConflictKind::AddAdd);
                let sides = &conflict.sides;
                let (base, ours, theirs) = (data(sides.base)?, data(sides.ours)?, data(sides.theirs)?);
                let found = text.then(|| rerere::look_up(cache, &base, &ours, &theirs)).flatten();
                finished.extend(found);
            }
            if finished.len() == attempt.conflicts.len() && !finished.is_empty() {
                let told = (now.clone(), by.clone(), tip.to_string());
                let name = &patch.report.name;
                let mut found = Resolution::from_files(odb, name, &attempt.conflicts, finished, told)?;
                found.origin = Some("git rerere".into());
                draft.add_resolution(site, found.clone())?;
                answers.recorded.push(found);
                break;
            }
        }
        if draft.resolutions.len() == before {
            break;
        }
    }
    let commits = match draft.resolutions.is_empty() {
        true => Vec::new(),
        false => write(site, Vec::new(), &[(draft.message.clone(), draft.files.clone())])?,
    };
    Ok((draft.resolutions, commits))
}

/// Ends a task without a trace.
pub fn abort(site: &Site<'_>, patch: Option<&str>, from: &Path) -> Result<Open, TaskError> {
    let open = open_task(site, patch, from)?;
    end(site, &open)?;
    Ok(open)
}

pub(super) fn id(hex: &str) -> Result<ObjectId, TaskError> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|e| {
        TaskError::Night(NightError::Format { what: "the note of a work tree", reason: e.to_string() })
    })
}
