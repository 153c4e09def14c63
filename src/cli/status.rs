//! `git carry status`: the queue at a glance.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::error::CliError;
use super::ui::{BOLD, Ui, clean, count, cut, fitted, name_of, outcome, painted, short, table};
use crate::night::notify::{Desk, heartbeat};
use crate::night::policy::{Breach, breaches, today};
use crate::night::{NightError, Site, beat, pending};
use crate::notify::{Ended, Failure};
use crate::queue::Patch;
use crate::report::words::ago;
use crate::trunk;
use crate::workspace::{Outcome, PatchLock, Project, Workspace};

/// Show the queue at a glance, without the network.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One project; without it, all.
    #[arg(long)]
    pub project: Option<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    version: u32,
    project: String,
    base: Option<String>,
    trunk: Option<String>,
    /// Commits of the fetched trunk that the queue was not replayed on.
    behind: Option<usize>,
    deploy: Option<String>,
    /// Why no night touches it for now.
    paused: Option<String>,
    /// The last night on this machine.
    night: Option<Night>,
    /// Who could not be told what is new.
    untold: Vec<Untold>,
    /// What of the policy is not kept.
    policy: Vec<Breach>,
    patches: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Night {
    at: String,
    ended: Option<Ended>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Untold {
    sink: String,
    since: String,
    tries: u32,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    subject: String,
    owner: String,
    outcome: Option<Outcome>,
    /// The file changed since the last replay.
    edited: bool,
    since: Option<String>,
    since_date: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let projects: Vec<&Project> = match &args.project {
        Some(name) => vec![workspace.project(Some(name)).map_err(NightError::from)?],
        None => workspace.config.projects.values().collect(),
    };
    let mut all = Vec::new();
    for project in projects {
        let site = Site::open(&workspace, project)?;
        if pending(&site.folder, &project.name) {
            ui.aside("note: a run was cut off here; the next one finishes it or sets it aside");
        }
        all.push(status(&site)?);
    }
    if ui.json {
        ui.document(&all)?;
    } else {
        all.iter().for_each(|s| print(ui, s));
    }
    Ok(0)
}

fn status(site: &Site<'_>) -> Result<Status, CliError> {
    let queue = site.queue_unread()?;
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let tip = trunk::known(&site.store).map_err(NightError::from)?;
    let behind = match (lock, &tip) {
        (Some(lock), Some(tip)) if lock.base == *tip => Some(0),
        (Some(lock), Some(tip)) => {
            let base = site.store.commit_of(&lock.base).map_err(NightError::from)?;
            base.map(|base| site.store.count(&base, tip)).transpose().map_err(NightError::from)?
        }
        _ => None,
    };
    let known: HashMap<&str, &PatchLock> =
        lock.iter().flat_map(|l| &l.patches).map(|p| (p.name.as_str(), p)).collect();
    let row = |patch: &Patch| {
        let locked = known.get(patch.name()).copied();
        Row {
            name: patch.name().to_owned(),
            subject: patch.subject(),
            owner: patch.metadata.owner.clone().unwrap_or_else(|| patch.header.author.name.to_string()),
            outcome: if patch.hold.is_some() { Some(Outcome::Held) } else { locked.map(|l| l.outcome) },
            edited: locked.is_some_and(|l| l.digest != patch.digest),
            since: locked.map(|l| l.since.clone()),
            since_date: locked.map(|l| l.since_date.clone()),
        }
    };
    let landed = known.values().filter(|l| l.outcome == Outcome::Landed);
    let landed: Vec<&str> = landed.map(|l| l.name.as_str()).collect();
    Ok(Status {
        version: 1,
        project: site.project.name.clone(),
        base: lock.map(|l| l.base.clone()),
        trunk: tip.map(|t| t.to_string()),
        behind,
        deploy: lock.and_then(|l| l.deploy.clone()),
        paused: site.project.paused.clone(),
        night: heartbeat(site).map(|b| Night { at: b.at.to_string(), ended: b.ended, reason: b.reason }),
        untold: Desk::open(site.workspace, site.project)?.problems().into_iter().map(untold).collect(),
        policy: breaches(site.project, &queue, lock, &landed, today()),
        patches: queue.patches.iter().map(row).collect(),
    })
}

fn untold((sink, failed): (String, Failure)) -> Untold {
    Untold { sink, since: failed.since.to_string(), tries: failed.tries, reason: failed.reason }
}

fn print(ui: &Ui, status: &Status) {
    let behind = match status.behind {
        None => "not replayed yet".to_owned(),
        Some(0) => "up to date with the fetched trunk".to_owned(),
        Some(n) => format!("{} behind the fetched trunk", count(n, "commit", "commits")),
    };
    let base = status.base.as_deref().map_or("-", short);
    let deploy = status.deploy.as_deref().map_or("-", short);
    ui.prose(&format!("{}  base {base}, {behind}; deployed {deploy}", painted(&status.project, BOLD)));
    if let Some(reason) = &status.paused {
        ui.prose(&format!("  paused: {}  (git carry resume {})", clean(reason), status.project));
    }
    let now = beat::now().to_string();
    let ago =
        |at: &str| ago(at, &now).map_or_else(|| "at an unknown time".to_owned(), |ago| format!("{ago} ago"));
    match &status.night {
        // Another machine's nights, or a run by hand.
        None if status.deploy.is_some() => {}
        None => ui.prose("  no night ran on this machine yet"),
        Some(night) => {
            let word = night.ended.map_or("how it ended is not known", Ended::word);
            let why =
                if night.reason.is_empty() { String::new() } else { format!(": {}", clean(&night.reason)) };
            ui.prose(&format!("  last night {}, {word}{why}", ago(&night.at)));
        }
    }
    for untold in &status.untold {
        let (sink, reason) = (clean(&untold.sink), clean(&untold.reason));
        ui.prose(&format!(
            "  '{sink}' is not told since {}: {reason}  (git carry notify)",
            ago(&untold.since)
        ));
    }
    let mut rows = table(&["patch", "outcome", "owner", "since", "subject"]);
    for p in &status.patches {
        let word = match (p.outcome, p.edited) {
            (_, true) => "edited".to_owned(),
            (Some(o), false) => outcome(o),
            (None, false) => "new".to_owned(),
        };
        let since = p.since_date.as_deref().and_then(|d| d.get(..10)).unwrap_or("-");
        rows.add_row([clean(&p.name), word, name_of(&p.owner), since.into(), cut(&clean(&p.subject), 60)]);
    }
    if rows.row_count() > 0 {
        ui.line(&fitted(rows, &[4, 3, 2]));
    } else {
        ui.prose("  no patches yet: git carry import");
    }
    super::report::policy(ui, &status.policy);
}
