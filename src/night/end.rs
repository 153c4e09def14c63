//! What comes before a night, and may stop it; and what comes after it, whatever became of it: it is written down that it
//! ran and what it found, hooks run, and everyone who is to know is told. None of that fails the night; what goes wrong is
//! a note.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::beat::{Beat, beat};
use super::hooks::{Happened, fire, is_awaited};
use super::notify::{Delivery, Desk};
use super::{Done, Events, Night, NightError, PatchReport, Site, troubles};
use crate::notify::{Ended, Kind, News, Seen, Trouble, document};
use crate::workspace::{HookEvent, Outcome, Project, Workspace};

/// Begins a night of a project: runs what is to run before, which may stop it. Returns whether anything ran.
pub fn begin(workspace: &Workspace, project: &Project, events: &dyn Events) -> Result<bool, NightError> {
    let any = is_awaited(project, HookEvent::BeforeNight);
    if any {
        events.step("running the hooks before the night");
        fire(workspace, project, &Happened::plain(HookEvent::BeforeNight))?;
    }
    Ok(any)
}

/// Ends a night of a project at the moment `now`. `workspace` is as the night left it. Nobody is told where the network
/// is not to be used.
pub fn end(
    workspace: &Workspace,
    project: &Project,
    night: Result<&Night, &NightError>,
    offline: bool,
    now: Timestamp,
    events: &dyn Events,
) -> Vec<Delivery> {
    let (seen, owners) = match night {
        Ok(night) => found(workspace, project, night, now),
        Err(error) => (troubles::of_error(workspace, &project.name, error, now), Ok(())),
    };
    // Then those who get all are told all the same.
    if let Err(e) = owners {
        events.note(&format!("who answers for which patch is not known: {e}"));
    }
    match after(workspace, project, night, &seen, offline, events) {
        Ok(deliveries) => deliveries,
        Err(e) => {
            events.note(&format!("what comes after a night did not all work: {e}"));
            Vec::new()
        }
    }
}

/// What a night found at the moment `at`, with who answers for each patch where a listener wants to know; or why that is not
/// known. `workspace` is as the night left it.
pub fn found(
    workspace: &Workspace,
    project: &Project,
    night: &Night,
    at: Timestamp,
) -> (Seen, Result<(), NightError>) {
    let mut seen = troubles::of_night(workspace, night, at);
    let owners = Desk::open(workspace, project).and_then(|desk| {
        if !desk.wants_owners() {
            return Ok(());
        }
        let site = Site::open(workspace, project)?;
        troubles::address(&site, &night.trunk.to, &site.queue()?, &mut seen)
    });
    (seen, owners)
}

fn after(
    workspace: &Workspace,
    project: &Project,
    night: Result<&Night, &NightError>,
    seen: &Seen,
    offline: bool,
    events: &dyn Events,
) -> Result<Vec<Delivery>, NightError> {
    let desk = Desk::open(workspace, project)?;
    let folder = Site::folder_of(&workspace.root)?;
    let stopped = seen.troubles.iter().find(|t| matches!(t.kind, Kind::Failed | Kind::Refused));
    let reason = stopped.map(|t| t.why.clone()).unwrap_or_default();
    beat(&folder, &project.name, &Beat { at: seen.at, ended: Some(seen.ended), reason })?;
    let fresh = desk.record(seen)?;
    for happened in happened(night, seen, &fresh) {
        if let Err(e) = fire(workspace, project, &happened) {
            events.note(&e.to_string());
        }
    }
    if offline {
        return Ok(Vec::new());
    }
    if desk.count() > 0 && seen.ended != Ended::Quiet {
        events.step("telling who is to know");
    }
    let deliveries = desk.tell(seen.at)?;
    // Many addresses of one sink have mostly one trouble.
    let missed = deliveries.iter().filter_map(|d| Some((d.sink.as_str(), d.problem.as_deref()?)));
    for (sink, problem) in missed.collect::<BTreeSet<_>>() {
        events.note(&format!("'{sink}' was not told, and is the next night: {problem}"));
    }
    Ok(deliveries)
}

/// What the hooks are told after a night: each patch that conflicts now and did not, each that landed, and its end.
fn happened(night: Result<&Night, &NightError>, seen: &Seen, fresh: &[Trouble]) -> Vec<Happened> {
    let mut all = Vec::new();
    let roots = fresh.iter().filter(|t| matches!(t.kind, Kind::Conflict | Kind::Evolved));
    for trouble in roots {
        all.push(Happened {
            vars: of_patch(trouble.patch.as_deref(), trouble.culprit.as_deref()),
            told: json!({
                "patch": trouble.patch, "commit": trouble.culprit, "kind": trouble.kind.word(), "owner": trouble.owner,
                "what": trouble.what, "why": trouble.why, "next": trouble.next,
            }),
            ..Happened::plain(HookEvent::Conflict)
        });
    }
    let published = night.ok().filter(|night| night.done == Done::Published);
    let landed = |p: &&PatchReport| p.outcome == Outcome::Landed && p.before != Some(Outcome::Landed);
    for patch in published.iter().flat_map(|night| &night.patches).filter(landed) {
        let commit = patch.evidence.as_ref().map(|e| e.commit.as_str());
        all.push(Happened {
            vars: of_patch(Some(&patch.name), commit),
            told: json!({
                "patch": patch.name, "commit": commit, "subject": patch.subject, "owner": patch.owner,
                "evidence": patch.evidence,
            }),
            ..Happened::plain(HookEvent::Landed)
        });
    }
    let mut vars = vec![("CARRY_ENDED", seen.ended.word().to_owned())];
    vars.extend(seen.commit.iter().map(|commit| ("CARRY_COMMIT", commit.clone())));
    vars.extend(seen.build.iter().map(|build| ("CARRY_BUILD", build.clone())));
    let news = News { new: fresh.to_vec(), open: seen.troubles.clone(), ..News::default() };
    let told = document(seen, &news);
    let told = json!({
        "ended": told["ended"], "at": told["at"], "build": told["build"], "commit": told["commit"], "new": told["new"],
        "open": told["open"],
    });
    all.push(Happened { vars, told, ..Happened::plain(HookEvent::AfterNight) });
    all
}

fn of_patch(patch: Option<&str>, commit: Option<&str>) -> Vec<(&'static str, String)> {
    let patch = patch.map(|patch| ("CARRY_PATCH", patch.to_owned()));
    patch.into_iter().chain(commit.map(|commit| ("CARRY_COMMIT", commit.to_owned()))).collect()
}
