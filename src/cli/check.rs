//! `git carry check`: proves a build by the configured checks.

use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::error::CliError;
use super::guarded;
use super::ui::{DIM, Ui, clean, cut, fitted, painted, short, table};
use crate::build::manifest::CheckRecord;
use crate::check::Ended;
use crate::night::{NightError, Proving, Site, prove_build};

/// Run the checks on a build, and find what broke those that fail. What was run on the same tree is not run again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The build, or any commit; without it, the last build.
    #[arg(value_name = "BUILD")]
    build: Option<String>,
    /// Run those again that failed on the same tree before: they may have failed by chance.
    #[arg(long)]
    again: bool,
    /// How many may run at once; without it, one for each core.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "check")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    if project.checks.is_empty() {
        return Err(CliError::Missing {
            what: format!("'{}' has no checks", project.name),
            hint: Some(format!("carry.toml: [[project.{}.check]] with name and run", project.name)),
        });
    }
    let site = Site::open(&workspace, project)?;
    let build = args.build.or_else(|| workspace.lock.projects.get(&project.name)?.deploy.clone());
    let build = build.ok_or_else(|| CliError::Missing {
        what: format!("no build of '{}' is recorded here", project.name),
        hint: Some("git carry nightly makes builds".into()),
    })?;
    let (commit, records) =
        prove_build(&site, &build, Proving { jobs: args.jobs, again: args.again, ..Proving::default() }, ui)?;
    let failed = records.iter().any(|r| r.required && r.ended != Ended::Passed);
    if ui.json {
        let document = serde_json::json!({
            "version": 1, "project": project.name, "commit": commit.to_string(), "checks": records,
        });
        ui.document(&document)?;
    } else {
        ui.line(&format!("checks on {}\n", short(&commit.to_string())));
        show(ui, &records);
    }
    Ok(if failed { 4 } else { 0 })
}

/// Prints what the checks said, and where more of it stands.
pub fn show(ui: &Ui, records: &[CheckRecord]) {
    let mut rows = table(&["check", "", "took", "what"]);
    for record in records {
        let (word, colour) = match (record.ended, record.required) {
            (Ended::Passed, _) => ("passed", AnsiColor::Green),
            (Ended::TimedOut, true) => ("too long", AnsiColor::Red),
            (_, true) => ("failed", AnsiColor::Red),
            (_, false) => ("failed", AnsiColor::Yellow),
        };
        let word = painted(word, Style::new().fg_color(Some(colour.into())));
        let by = match &record.broken_by {
            Some(by) => match &by.patch {
                Some(patch) => format!("since patch {patch}; "),
                None => format!("since upstream's {} {}; ", short(&by.commit), cut(&by.subject, 50)),
            },
            None => String::new(),
        };
        let optional = if record.required { "" } else { " (not required)" };
        let what = format!("{by}{}{optional}", record.said);
        rows.add_row([clean(&record.name), word, took(record.milliseconds), cut(&clean(what.trim()), 110)]);
    }
    ui.line(&fitted(rows, &[]));
    for record in records {
        if let Some(output) = &record.output {
            ui.line(&painted(&format!("  {}: {}", clean(&record.name), clean(output)), DIM));
        }
    }
}

fn took(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds} s"),
        _ => format!("{} m {} s", seconds / 60, seconds % 60),
    }
}
