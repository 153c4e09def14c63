//! A report of a workspace: its projects, looked at side by side.

use super::gather::{Window, gather, to_the_second};
use super::history::last_changes;
use super::{Events, Site, beat, beside};
use crate::report::model::{Press, Project as Told, Report, State, VERSION, Want};
use crate::report::words::quoted;
use crate::store::cores;
use crate::workspace::{Project, Workspace};

/// A report of these projects. What cannot be read of one is told in it, and stops no other.
pub fn report(workspace: &Workspace, projects: &[&Project], window: Window, events: &dyn Events) -> Report {
    let now = beat::now();
    // One history for all of them, so one look at it.
    let changes = last_changes(workspace, projects).map_err(|e| e.to_string());
    let told = |project: &Project, events: &dyn Events| {
        let changed = match &changes {
            Ok(changes) => changes.get(&project.name).copied(),
            Err(why) => return unreadable(&project.name, why.clone()),
        };
        let gathered = Site::open(workspace, project).and_then(|site| gather(site, changed, window, events));
        gathered.unwrap_or_else(|e| unreadable(&project.name, e.to_string()))
    };
    let all = match projects {
        [only] => {
            events.step(&format!("looking at {}", only.name));
            vec![told(only, events)]
        }
        all => {
            let names: Vec<String> = all.iter().map(|project| project.name.clone()).collect();
            let cores = cores();
            let of = |name: &str, events: &dyn Events| {
                events.step("looking at it");
                let project = all.iter().find(|project| project.name == name)?;
                Some(told(project, events))
            };
            let ends = beside(events, &names, cores, &of).into_iter().zip(&names);
            ends.map(|(end, name)| end.flatten().unwrap_or_else(|| unreadable(name, BROKE.into()))).collect()
        }
    };
    Report {
        version: VERSION,
        tool: env!("CARGO_PKG_VERSION").into(),
        made: to_the_second(now),
        projects: all,
    }
}

/// What is said of a project that a fault of our own ended.
const BROKE: &str = "git-carry broke while it looked at it";

fn unreadable(project: &str, why: String) -> Told {
    Told {
        state: State::Unreadable,
        reasons: vec![why.clone()],
        wants: vec![Want {
            press: Press::Stop,
            patch: None,
            owner: None,
            what: "the project cannot be read".into(),
            why,
            next: Some(format!("git carry status --project {}", quoted(project))),
        }],
        ..Told::empty(project)
    }
}
