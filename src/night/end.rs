//! What comes after a night, whatever became of it: it is written down that it ran and what it found, and everyone who
//! is to know is told. None of it fails the night; what goes wrong is a note.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::beat::{Beat, beat};
use super::notify::{Delivery, Desk};
use super::{Events, Night, NightError, Site, troubles};
use crate::notify::{Ended, Kind, Seen};
use crate::workspace::{Project, Workspace};

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
    let mut seen = match night {
        Ok(night) => troubles::of_night(workspace, night, now),
        Err(error) => troubles::of_error(workspace, &project.name, error, now),
    };
    match after(workspace, project, night, &mut seen, offline, events) {
        Ok(deliveries) => deliveries,
        Err(e) => {
            events.note(&format!("what comes after a night did not all work: {e}"));
            Vec::new()
        }
    }
}

fn after(
    workspace: &Workspace,
    project: &Project,
    night: Result<&Night, &NightError>,
    seen: &mut Seen,
    offline: bool,
    events: &dyn Events,
) -> Result<Vec<Delivery>, NightError> {
    let desk = Desk::open(workspace, project)?;
    let folder = Site::folder_of(&workspace.root)?;
    let stopped = seen.troubles.iter().find(|t| matches!(t.kind, Kind::Failed | Kind::Refused));
    let reason = stopped.map(|t| t.why.clone()).unwrap_or_default();
    beat(&folder, &project.name, &Beat { at: seen.at, ended: Some(seen.ended), reason })?;
    if let (Ok(night), true) = (night, desk.wants_owners()) {
        let told = Site::open(workspace, project).and_then(|site| {
            let queue = site.queue()?;
            troubles::address(&site, &night.trunk.to, &queue, seen)
        });
        // Then those who get all are told all the same.
        if let Err(e) = told {
            events.note(&format!("who answers for which patch is not known: {e}"));
        }
    }
    desk.record(seen)?;
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
