//! What the fan-in has to tell: what the newest night of each project found, as refs say.

use jiff::Timestamp;

use super::overview::{Overview, Standing};
use super::records::Claim;
use crate::night::troubles;
use crate::notify::Seen;
use crate::report::words::quoted;
use crate::workspace::Workspace;

/// What the newest night of each project found, as of `now`: who gathers a fleet each night tells by that that it ran.
/// A project of which no result says so is left out.
pub fn news(workspace: &Workspace, all: &Overview, now: Timestamp) -> Vec<Seen> {
    let of = |standing: &Standing| -> Vec<Seen> {
        standing.unit.projects.iter().filter_map(|name| seen(workspace, standing, name, now)).collect()
    };
    all.units.iter().flat_map(of).collect()
}

fn seen(workspace: &Workspace, standing: &Standing, project: &str, now: Timestamp) -> Option<Seen> {
    // A claim came after the result.
    let ended = match &standing.claim {
        Some(Claim { failed: Some(failed), .. }) => Some((failed.about.as_str(), failed.why.clone())),
        Some(claim) if claim.until <= now => Some(("cut off", format!("{} was cut off", claim.holder))),
        _ => None,
    };
    if let Some((about, why)) = ended {
        let next = format!("git carry fleet run --unit {}", quoted(&standing.unit.name));
        return Some(troubles::failed(workspace, project, (about, &why, next), now));
    }
    let told = standing.record.as_ref()?.projects.iter().find(|told| told.project == project)?;
    Some(Seen { at: now, ..told.seen.clone()? })
}
