//! `git carry upstream --status`: what became of the patches that were sent; and its one line after a night.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, DIM, Ui, clean, count, painted, short, table};
use crate::forge::{Checks, Phase, Review, Side, State};
use crate::night::sent::{self, Standing};
use crate::night::{Events, NightError, Site};
use crate::workspace::{Project, Workspace};

pub fn run(ui: &Ui, from: &Path, project: Option<&str>, offline: bool) -> Result<u8, CliError> {
    let now = Timestamp::now();
    let (workspace, _guard) = match offline {
        true => (Workspace::find(from).map_err(NightError::from)?, None),
        false => {
            let (workspace, guard) = guarded(ui, from, "upstream")?;
            (workspace, Some(guard))
        }
    };
    let project = workspace.project(project).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let queue = site.queue()?;
    let standing = match offline {
        true => sent::known(&site, &queue, now),
        false => sent::ask(&site, &queue, now, ui)?,
    };
    if ui.json {
        let mut document = serde_json::to_value(&standing)?;
        if let Some(document) = document.as_object_mut() {
            document.insert("version".into(), 1.into());
            document.insert("project".into(), project.name.clone().into());
        }
        ui.document(&document)?;
        return Ok(0);
    }
    problem(ui, &standing);
    if standing.patches.is_empty() {
        ui.line("no patch of the queue was sent where carry.toml says that patches go");
        ui.line("next  git carry upstream PATCH");
        return Ok(0);
    }
    let mut rows = table(&["patch", "state", "review", "checks", "days", "waits on", "where"]);
    for stands in &standing.patches {
        let days = stands.days.map(|d| d.to_string()).unwrap_or_default();
        let name = painted(&clean(&stands.sent.patch), BOLD);
        let row = match &stands.state {
            Some(s) => {
                let review = if s.phase == Phase::Merged { String::new() } else { review(s.review) };
                let checks = s.checks.map(checks).unwrap_or_default();
                [name, phase(s.phase), review, checks, days, turn(s), clean(&s.url)]
            }
            None => {
                let unknown = painted("unknown", DIM);
                let none = String::new;
                [name, unknown, none(), none(), none(), none(), clean(&stands.sent.url)]
            }
        };
        rows.add_row(row);
    }
    ui.line(&rows.to_string());
    for stands in &standing.patches {
        if let Some(commit) = stands.state.as_ref().and_then(|s| s.merge_commit.as_deref()) {
            ui.line(&format!("{} is upstream as {}", clean(&stands.sent.patch), clean(short(commit))));
        }
    }
    Ok(0)
}

/// Asks before a night. Whatever is wrong with the queue is the night's to tell.
pub fn ask(events: &dyn Events, workspace: &Workspace, project: &Project, offline: bool) -> Option<Standing> {
    project.forge.as_ref()?;
    let site = Site::open(workspace, project).ok()?;
    let queue = site.queue().ok()?;
    let now = Timestamp::now();
    if offline {
        return Some(sent::known(&site, &queue, now));
    }
    sent::ask(&site, &queue, now, events).map_err(|e| events.note(&e.to_string())).ok()
}

/// The line after a night's report; nothing where nothing was sent.
pub fn summary(ui: &Ui, standing: Option<&Standing>) {
    let Some(standing) = standing.filter(|s| !s.patches.is_empty()) else { return };
    let (us, upstream) = (standing.waiting(Side::Us), standing.waiting(Side::Upstream));
    let (merged, closed) = (standing.reached(Phase::Merged), standing.reached(Phase::Closed));
    let all = count(standing.patches.len(), "patch sent", "patches sent");
    let mut parts = Vec::new();
    for (n, what) in [(us, "on us"), (upstream, "on upstream"), (merged, "merged"), (closed, "closed")] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    ui.line(&format!("sent  {all}{parts}"));
    problem(ui, standing);
    if us > 0 {
        ui.line("next  git carry upstream --status");
    }
}

/// That the forge gave no answer, and how old what is told is.
fn problem(ui: &Ui, standing: &Standing) {
    let Some(problem) = &standing.problem else { return };
    let told = match standing.asked {
        Some(at) => format!("what it said on {} is told", at.strftime("%Y-%m-%d %H:%M UTC")),
        None => "nothing is known yet".to_owned(),
    };
    ui.note(&format!("{problem}; {told}"));
}

fn coloured(text: &str, colour: AnsiColor) -> String {
    painted(text, Style::new().fg_color(Some(colour.into())))
}

fn phase(phase: Phase) -> String {
    match phase {
        Phase::Draft => coloured("draft", AnsiColor::BrightBlack),
        Phase::Open => coloured("open", AnsiColor::Cyan),
        Phase::Merged => coloured("merged", AnsiColor::Magenta),
        Phase::Closed => coloured("closed", AnsiColor::Red),
    }
}

fn review(review: Review) -> String {
    match review {
        Review::Waiting => "waiting".into(),
        Review::ChangesRequested => coloured("changes requested", AnsiColor::Yellow),
        Review::Approved => coloured("approved", AnsiColor::Green),
    }
}

fn checks(checks: Checks) -> String {
    match checks {
        Checks::Running => "running".into(),
        Checks::Passed => coloured("passed", AnsiColor::Green),
        Checks::Failed => coloured("failed", AnsiColor::Red),
    }
}

fn turn(state: &State) -> String {
    match state.waits_on {
        Side::Nobody => String::new(),
        Side::Us => coloured("us", AnsiColor::Yellow),
        Side::Upstream if state.people.is_empty() => "upstream".into(),
        Side::Upstream => clean(&state.people.join(", ")),
    }
}
