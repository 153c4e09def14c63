//! What of a project wants a person, and the command with which to go on.

use super::policy::Breach;
use crate::build::manifest::Manifest;
use crate::check::Ended;
use crate::forecast::Effect;
use crate::report::model::{Patch, Press, Project, State, Want};
use crate::report::words::{count, quoted, short};
use crate::workspace::{Outcome, ProjectLock};

/// What wants a person, the most pressing first. `manifest` is that of the last build, or of the one that a run on the
/// newest trunk would make; `lock` has what upstream may have.
pub(super) fn wants(
    told: &Project,
    manifest: Option<&Manifest>,
    lock: Option<&ProjectLock>,
    breaches: &[Breach],
) -> Vec<Want> {
    let mut wants = Vec::new();
    let mut want = |press, patch: Option<&Patch>, what: String, why: String, next: Option<String>| {
        let owner = patch.map(|p| p.owner.clone());
        wants.push(Want { press, patch: patch.map(|p| p.name.clone()), owner, what, why, next });
    };
    let here = format!(" --project {}", quoted(&told.name));
    if let Some(reason) = &told.paused {
        let next = format!("git carry resume {}", quoted(&told.name));
        want(Press::Look, None, "nights are paused".into(), reason.clone(), Some(next));
    }
    match told.state {
        State::NoBuild => want(
            Press::Stop,
            None,
            "nothing was built yet".into(),
            "the queue has not been replayed, or its build was not published".into(),
            Some(format!("git carry nightly{here}")),
        ),
        State::Behind => want(
            Press::Stop,
            None,
            "the newest trunk is not built".into(),
            format!("{} were fetched since", count(told.behind.unwrap_or(0), "commit", "commits")),
            Some(format!("git carry nightly{here}")),
        ),
        _ => {}
    }
    for patch in told.patches.iter().filter(|p| p.outcome.is_some_and(Outcome::is_root)) {
        let press = if patch.required { Press::Stop } else { Press::Mend };
        let places: Vec<String> = patch.conflicts.iter().map(|c| format!("{}: {}", c.path, c.kind)).collect();
        let mut why = match (&patch.evolved, &patch.culprit) {
            (Some(e), _) => format!("upstream has a revised version: {} {}", short(&e.commit), e.subject),
            (None, Some(c)) => format!("{} {} ({})", short(&c.commit), c.subject, c.author),
            (None, None) if places.is_empty() => patch.note.clone().unwrap_or_default(),
            (None, None) => places.join("; "),
        };
        if !patch.blocks.is_empty() {
            why.push_str(&format!("; it blocks {}", count(patch.blocks.len(), "patch", "patches")));
        }
        let what = match patch.outcome {
            Some(Outcome::Evolved) => "conflicts with its revised version",
            _ => "conflicts with trunk",
        };
        want(press, Some(patch), what.into(), why, patch.next.clone());
    }
    for patch in told.patches.iter().filter(|p| p.outcome == Some(Outcome::Broken)) {
        let press = if patch.required { Press::Stop } else { Press::Mend };
        let why = patch.note.clone().unwrap_or_default();
        want(press, Some(patch), "breaks a check".into(), why, patch.next.clone());
    }
    for breach in breaches {
        let press = if breach.gate { Press::Stop } else { Press::Look };
        let patch = told.patches.iter().find(|p| Some(&p.name) == breach.patch.as_ref());
        let about = if breach.patch.is_some() { "it" } else { "the queue" };
        let what = "does not keep the policy".to_owned();
        let what = if patch.is_some() { what } else { format!("the queue {what}") };
        want(press, patch, what, format!("{about} {}", breach.what), Some(breach.next.clone()));
    }
    for check in manifest.iter().flat_map(|m| &m.checks).filter(|c| c.ended != Ended::Passed) {
        let press = if check.required { Press::Stop } else { Press::Mend };
        want(press, None, format!("the check '{}' fails", check.name), check.said.clone(), None);
    }
    for patch in told.patches.iter().filter(|p| !p.loss.is_empty()) {
        let why = format!("{} differ from what it said", count(patch.loss.len(), "line", "lines"));
        let next = format!("git carry why {}", quoted(&patch.name));
        want(Press::Look, Some(patch), "applies, and says something else".into(), why, Some(next));
    }
    for locked in lock.iter().flat_map(|l| &l.patches).filter(|l| l.outcome != Outcome::Evolved) {
        let Some(open) = locked.proposed.iter().find(|p| p.decision.is_none()) else { continue };
        let patch = told.patches.iter().find(|p| p.name == locked.name);
        let e = &open.evidence;
        let why = format!("{} {} ({}): {}", short(&e.commit), e.subject, e.author, e.proof);
        let next = format!("git carry landed show {}", quoted(&locked.name));
        want(Press::Look, patch, "may be upstream already".into(), why, Some(next));
    }
    for gone in lock.iter().flat_map(|l| &l.landed) {
        let Some(by) = &gone.reverted else { continue };
        let why = format!("{} {} ({})", short(&by.commit), by.subject, by.author);
        let next = format!("git carry landed restore {}", quoted(&gone.name));
        want(Press::Mend, None, format!("upstream took {} back", gone.name), why, Some(next));
    }
    let new: Vec<&Patch> = told.patches.iter().filter(|p| p.edited || p.outcome.is_none()).collect();
    if !new.is_empty() && told.state != State::NoBuild {
        let names: Vec<&str> = new.iter().take(3).map(|p| p.name.as_str()).collect();
        let more = if new.len() > 3 { " …" } else { "" };
        let what = format!(
            "{} not replayed yet",
            count(new.len(), "patch was edited or added, and is", "patches were edited or added, and are")
        );
        want(
            Press::Look,
            None,
            what,
            format!("{}{more}", names.join(", ")),
            Some(format!("git carry nightly{here}")),
        );
    }
    for outlook in &told.forecast {
        let Effect::Breaks { patches, .. } = &outlook.effect else { continue };
        for name in patches {
            let patch = told.patches.iter().find(|p| p.name == *name);
            let why = format!("{} {} ({})", short(&outlook.commit), outlook.subject, outlook.author);
            let next = format!("git carry resolve {} --onto {}", quoted(name), short(&outlook.commit));
            want(
                Press::Look,
                patch,
                format!("will break once trunk takes in {}", outlook.name),
                why,
                Some(next),
            );
        }
    }
    for stage in told.stages.iter().filter(|s| s.waits.is_empty()) {
        if let Some(build) = &stage.next {
            let next = format!("git carry stage promote {build} {}", quoted(&stage.name));
            let why = format!("every gate of '{}' is met", stage.name);
            want(
                Press::Look,
                None,
                format!("the build {build} may come to '{}'", stage.name),
                why,
                Some(next),
            );
        }
    }
    // What blocks most comes first.
    let blocks = |w: &Want| {
        let patch = w.patch.as_deref().and_then(|name| told.patches.iter().find(|p| p.name == name));
        patch.map_or(0, |p| p.blocks.len())
    };
    wants.sort_by_cached_key(|w| (w.press, std::cmp::Reverse(blocks(w))));
    wants
}

/// The command with which a person goes on.
pub(super) fn next(patch: &Patch) -> Option<String> {
    let name = quoted(&patch.name);
    match patch.outcome? {
        Outcome::Conflict | Outcome::Evolved => Some(format!("git carry resolve {name}")),
        Outcome::Broken => Some(format!("git carry edit {name}")),
        Outcome::Blocked => Some(format!("git carry why {name}")),
        Outcome::Held => Some(format!("git carry unhold {name}")),
        Outcome::Landed => Some(format!("git carry drop {name}")),
        Outcome::Clean | Outcome::Refreshed | Outcome::Resolved => None,
    }
}
