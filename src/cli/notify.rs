//! `git carry notify`: who is told what changed; a test of it.

use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::error::CliError;
use super::guarded;
use super::ui::{Ui, clean, cut, fitted, painted, table};
use crate::night::beat;
use crate::night::notify::{Delivery, Desk};
use crate::night::{Events as _, NightError};
use crate::workspace::{Project, Workspace};

/// Tell those whom carry.toml names in [[notify]] what changed since each was told last. Each night does so by itself: this
/// is for whoever could not be told then, and for a look. Exit code 1 if somebody could not be told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One project; without it, all.
    #[arg(long)]
    project: Option<String>,
    /// Show what would be told to whom, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Send everyone a message that says that it is a test.
    #[arg(long, conflicts_with = "dry_run")]
    test: bool,
}

pub fn run(ui: &Ui, from: &Path, args: &Args) -> Result<u8, CliError> {
    let (workspace, _guard) = match args.dry_run || args.test {
        true => (Workspace::find(from).map_err(NightError::from)?, None),
        false => {
            let (workspace, guard) = guarded(ui, from, "notify")?;
            (workspace, Some(guard))
        }
    };
    if workspace.config.notify.is_empty() {
        let hint = Some("add a [[notify]] table: docs/guide.md, \"Who is told\"".into());
        return Err(CliError::Usage { what: "carry.toml names nobody who is to be told".into(), hint });
    }
    let projects: Vec<&Project> = match &args.project {
        Some(name) => vec![workspace.project(Some(name)).map_err(NightError::from)?],
        None => workspace.config.projects.values().collect(),
    };
    let now = beat::now();
    let mut all = Vec::new();
    for project in projects {
        let desk = Desk::open(&workspace, project)?;
        ui.step(&format!("looking at what is new in {}", project.name));
        let deliveries = match (args.dry_run, args.test) {
            (true, _) => desk.plan(now),
            (_, true) => desk.test(now),
            _ => desk.tell(now)?,
        };
        all.push((project.name.as_str(), deliveries));
    }
    ui.clear();
    if ui.json {
        let projects: Vec<_> =
            all.iter().map(|(name, told)| serde_json::json!({ "project": name, "told": told })).collect();
        ui.document(&serde_json::json!({ "version": 1, "projects": projects }))?;
    } else {
        show(ui, &all, args);
    }
    let failed = all.iter().flat_map(|(_, told)| told).any(|d| d.problem.is_some());
    Ok(u8::from(failed && !args.dry_run))
}

fn show(ui: &Ui, all: &[(&str, Vec<Delivery>)], args: &Args) {
    let deliveries: Vec<&Delivery> = all.iter().flat_map(|(_, told)| told).collect();
    if deliveries.is_empty() {
        return ui.line("everyone was told all that is new");
    }
    let mut rows = table(&["to", "by", "address", "what"]);
    for d in &deliveries {
        let (word, colour) = match (&d.problem, d.sent) {
            (Some(problem), _) => (format!("not told: {}", clean(problem)), AnsiColor::Red),
            (None, true) => ("told".to_owned(), AnsiColor::Green),
            (None, false) => ("would be told".to_owned(), AnsiColor::Cyan),
        };
        let word = painted(&word, Style::new().fg_color(Some(colour.into())));
        let what = format!("{}\n{word}", cut(&clean(&d.subject), 90));
        rows.add_row([clean(&d.sink), d.kind.into(), clean(&d.to), what]);
    }
    ui.line(&fitted(rows, &[]));
    if deliveries.iter().any(|d| d.problem.is_some()) && !args.test {
        ui.line("next  mend it, and see: git carry notify --test");
    }
}

/// Who was told, after a night. Who was not is told as it happens.
pub fn summary(ui: &Ui, told: &[Delivery]) {
    for d in told.iter().filter(|d| d.sent) {
        ui.line(&format!("told  {} ({}): {}", clean(&d.sink), clean(&d.to), clean(&d.subject)));
    }
}
