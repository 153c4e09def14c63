//! `git carry report`: where everything stands, as one document.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::Ui;
use crate::night::gather::{Window, moment};
use crate::night::reports::report;
use crate::night::upstreaming::upstreaming;
use crate::night::{NightError, Site, pending};
use crate::report::{self, html, markdown, text, upstreaming_html};
use crate::workspace::{Project, Workspace};

/// Tell where everything stands, what wants whom and what changed: a page for the browser, Markdown, text or JSON.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to report; without it, everything.
    #[arg(value_enum)]
    about: Option<About>,
    /// The form; without it, the one that the name of FILE asks for (.html, .md, .txt, .json), else text.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Tell what changed since then, not since the build before the last one: a date (2026-09-20), or a length of
    /// time (7d). Dates are those of trunk's commits.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Write it to this file.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// One project; without it, all.
    #[arg(long)]
    project: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum About {
    /// What can be sent upstream, what waits there, what landed, what stays; by owner and by group.
    Upstreaming,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One page that needs nothing else.
    Html,
    /// Markdown.
    Md,
    /// One JSON document.
    Json,
    /// For the terminal.
    Text,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let format = format(ui, &args);
    if format == Format::Html && args.to.is_none() && std::io::stdout().is_terminal() {
        return Err(CliError::Usage {
            what: "a page for the browser is nothing for a terminal".into(),
            hint: Some("git carry report --to report.html".into()),
        });
    }
    let since = match &args.since {
        None => None,
        Some(text) => Some(moment(text).ok_or_else(|| CliError::Usage {
            what: format!("--since: '{text}' is no date and no length of time"),
            hint: Some("git carry report --since 2026-09-20, or --since 7d".into()),
        })?),
    };
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let projects: Vec<&Project> = match &args.project {
        Some(name) => vec![workspace.project(Some(name)).map_err(NightError::from)?],
        None => workspace.config.projects.values().collect(),
    };
    let folder = Site::folder_of(&workspace.root)?;
    if projects.iter().any(|p| pending(&folder, &p.name)) {
        ui.aside("note: a run was cut off here; the next one finishes it or sets it aside");
    }
    let document = match args.about {
        None => {
            let report = report(&workspace, &projects, Window { since }, ui);
            match format {
                Format::Html => html_of(&report)?,
                Format::Md => markdown(&report),
                Format::Json => serde_json::to_string_pretty(&report)? + "\n",
                Format::Text => text(&report),
            }
        }
        Some(About::Upstreaming) => {
            let mut all = Vec::with_capacity(projects.len());
            for project in projects {
                all.push(upstreaming(&Site::open(&workspace, project)?, since, ui)?);
            }
            match format {
                Format::Html => upstreaming_html(&all)?,
                Format::Md => report::upstreaming::markdown(&all),
                Format::Json => serde_json::to_string_pretty(&all)? + "\n",
                Format::Text => report::upstreaming::text(&all),
            }
        }
    };
    ui.clear();
    let Some(path) = &args.to else {
        if format == Format::Text {
            ui.line(document.trim_end());
        } else {
            // A closed pipe is nobody's mistake.
            let _ = std::io::stdout().write_all(document.as_bytes());
        }
        return Ok(0);
    };
    let document = match format {
        Format::Text => anstream::adapter::strip_str(&document).to_string(),
        _ => document,
    };
    put(path, document.as_bytes())?;
    ui.aside(&format!("written to {}", path.display()));
    Ok(0)
}

/// A report as a page.
pub fn html_of(report: &report::model::Report) -> Result<String, CliError> {
    Ok(html(report)?)
}

fn format(ui: &Ui, args: &Args) -> Format {
    let by_name = || match args.to.as_deref()?.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "html" | "htm" => Some(Format::Html),
        "md" | "markdown" => Some(Format::Md),
        "json" => Some(Format::Json),
        _ => None,
    };
    let fallback = if ui.json { Format::Json } else { Format::Text };
    args.format.or_else(by_name).unwrap_or(fallback)
}

/// Writes a file whole or not at all: a reader may have the old one open.
pub fn put(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    // What is no plain file (/dev/stdout) is written to, and never replaced.
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return std::fs::write(path, bytes).map_err(CliError::io(path));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As for any new file, less what the umask takes away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(CliError::io(path))?;
    file.write_all(bytes).map_err(CliError::io(path))?;
    file.persist(path).map_err(|e| CliError::io(path)(e.error))?;
    Ok(())
}
