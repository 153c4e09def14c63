//! `git carry fleet report`: how all units stand, and what nights left brought back to the workspace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::document::{html_of, put};
use super::super::error::CliError;
use super::super::guarded;
use super::super::notify::summary;
use super::super::ui::{Ui, bare_table, clean, count, fitted, table};
use super::{beside, failed, in_short, left_out, told, took};
use crate::fleet::{self, Overview, Standing, units, worse};
use crate::night::gather::Window;
use crate::night::notify::{Delivery, Desk};
use crate::night::reports::report;
use crate::night::{Events as _, NightError, beat};
use crate::workspace::{Project, Workspace};

/// Tell how all units stand, from the remotes' refs alone; and bring what the nights left back to the workspace.
///
/// The exit code is the worst of all units: 1 if one has no result, or a worker is at it or was cut off.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The form; without it, the one that the name of FILE asks for (.html, .json), else a table.
    #[arg(long, value_enum)]
    format: Option<ReportForm>,
    /// Write it to this file.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Commit to the workspace what the nights left on the queues' own branches, and tell those of [[notify]] what is new.
    #[arg(long)]
    record: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReportForm {
    /// For the terminal.
    Table,
    /// One JSON document.
    Json,
    /// One page of all projects, as git carry report makes it.
    Html,
}

pub(super) fn gather(ui: &Ui, from: &Path, args: &ReportArgs) -> Result<u8, CliError> {
    let by_name = || match args.to.as_deref()?.extension()?.to_str()? {
        "html" | "htm" => Some(ReportForm::Html),
        "json" => Some(ReportForm::Json),
        _ => None,
    };
    let fallback = if ui.json { ReportForm::Json } else { ReportForm::Table };
    let form = args.format.or_else(by_name).unwrap_or(fallback);
    let (workspace, _guard) = match args.record {
        true => guarded(ui, from, "fleet report")?,
        false => beside(ui, from, "fleet report")?,
    };
    ui.step("asking the remotes how all units stand");
    let all = fleet::overview(&workspace);
    let mut code = all.exit_code();
    let mut taken = Vec::new();
    if args.record {
        for unit in units(&workspace).0 {
            let now = Workspace::load(&workspace.root).map_err(NightError::from)?;
            match fleet::take_in(&now, &unit, ui) {
                Ok(more) => taken.extend(more),
                Err(e) => {
                    code = worse(code, e.exit_code());
                    failed(ui, &unit.name, &e);
                }
            }
        }
    }
    let told = if args.record { tell(ui, &workspace.root, &all)? } else { Vec::new() };
    match form {
        ReportForm::Table => {
            let text = rows(&all);
            match &args.to {
                Some(path) => put(path, text.as_bytes())?,
                None => ui.line(text.trim_end()),
            }
            left_out(ui, &all.left_out);
        }
        ReportForm::Json => {
            let document = document(&all, &taken, &told);
            match &args.to {
                Some(path) => put(path, format!("{document:#}\n").as_bytes())?,
                None => ui.document(&document)?,
            }
        }
        ReportForm::Html => {
            let now = Workspace::load(&workspace.root).map_err(NightError::from)?;
            let seen = fleet::seen_from_refs(&now, ui);
            let projects: Vec<&Project> = seen.config.projects.values().collect();
            let page = html_of(&report(&seen, &projects, Window::default(), ui))?;
            match &args.to {
                Some(path) => put(path, page.as_bytes())?,
                None => ui.line(page.trim_end()),
            }
        }
    }
    if let Some(path) = &args.to {
        ui.aside(&format!("written to {}", path.display()));
    }
    if form == ReportForm::Table || args.to.is_some() && !ui.json {
        told.iter().for_each(|(_, told)| summary(ui, told));
    }
    for one in &taken {
        ui.aside(&format!(
            "{}: {} in the workspace",
            one.project,
            count(one.commits.len(), "commit", "commits")
        ));
    }
    if !taken.is_empty() {
        ui.aside("next  push the workspace, so that everyone has what the nights left: git push");
    }
    Ok(code)
}

/// Who was told of a project's news.
type ToldOf = (String, Vec<Delivery>);

/// Tells those of `[[notify]]` what the workers found, as nobody else does. What goes wrong is a note.
fn tell(ui: &Ui, root: &Path, all: &Overview) -> Result<Vec<ToldOf>, CliError> {
    let workspace = Workspace::load(root).map_err(NightError::from)?;
    let (mut told, now) = (Vec::new(), beat::now());
    if workspace.config.notify.is_empty() {
        return Ok(told);
    }
    ui.step("telling who is to know");
    let seen = fleet::news(&workspace, all, now);
    for name in all.units.iter().flat_map(|standing| &standing.unit.projects) {
        let Some(project) = workspace.config.projects.get(name) else { continue };
        let deliveries = Desk::open(&workspace, project).and_then(|desk| {
            if let Some(seen) = seen.iter().find(|seen| seen.project == *name) {
                desk.record(seen)?;
            }
            desk.tell(now)
        });
        match deliveries {
            Ok(deliveries) => told.push((name.clone(), deliveries)),
            Err(e) => ui.note(&format!("{name}: nobody was told of it: {e}")),
        }
    }
    let all = told.iter().flat_map(|(_, told)| told);
    let missed = all.filter_map(|d| Some((d.sink.as_str(), d.problem.as_deref()?)));
    for (sink, problem) in missed.collect::<BTreeSet<_>>() {
        ui.note(&format!("'{sink}' was not told, and is the next time: {problem}"));
    }
    told.retain(|(_, told)| !told.is_empty());
    Ok(told)
}

fn rows(all: &Overview) -> String {
    let mut rows = table(&["unit", "stands", "when", "took", ""]);
    for standing in &all.units {
        let record = standing.record.as_ref();
        let when = record.map_or_else(|| "-".to_owned(), |r| r.at.strftime("%Y-%m-%d %H:%M").to_string());
        let seconds = record.map_or_else(|| "-".to_owned(), |r| took(r.seconds));
        rows.add_row([standing.unit.name.clone(), standing.word().to_owned(), when, seconds, why(standing)]);
    }
    if all.units.is_empty() {
        rows = bare_table();
        rows.add_row(["no unit: no project deploys to a remote"]);
    }
    fitted(rows, &[]) + "\n"
}

fn why(standing: &Standing) -> String {
    match (&standing.error, &standing.claim, &standing.record) {
        (Some(e), ..) => in_short(&e.to_string()),
        (_, Some(claim), _) => match &claim.failed {
            Some(failed) => in_short(&failed.why),
            None => format!("{}, until {}", clean(&claim.holder), claim.until),
        },
        (_, None, Some(record)) => told(&record.projects),
        (_, None, None) => String::new(),
    }
}

fn document(all: &Overview, taken: &[fleet::TakenIn], told: &[ToldOf]) -> serde_json::Value {
    let unit = |s: &Standing| {
        json!({
            "unit": s.unit.name, "projects": s.unit.projects, "stands": s.word(), "exit_code": s.exit_code(),
            "result": s.record, "claim": s.claim, "error": s.error.as_ref().map(ToString::to_string),
        })
    };
    let left_out: Vec<_> =
        all.left_out.iter().map(|l| json!({ "project": l.project, "why": l.why })).collect();
    json!({
        "version": 1, "exit_code": all.exit_code(), "units": all.units.iter().map(unit).collect::<Vec<_>>(),
        "left_out": left_out, "recorded": taken,
        "told": told.iter().map(|(name, told)| json!({ "project": name, "told": told })).collect::<Vec<_>>(),
    })
}
