//! `git carry doctor`: is all in place for the next night?

use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, bare_table, clean, count, fitted, painted};
use crate::night::doctor::{Health, Look, of_machine, of_project};
use crate::night::{NightError, Site, beat};
use crate::workspace::{Project, Workspace};

/// Look whether all is in place for the next night: git, disk, workspace, store, remotes, keys, clock. Exit code 4 if the night would fail.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One project; without it, all.
    #[arg(long)]
    project: Option<String>,
    /// Ask no remote.
    #[arg(long)]
    offline: bool,
}

pub fn run(ui: &Ui, from: &Path, args: &Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let projects: Vec<&Project> = match &args.project {
        Some(name) => vec![workspace.project(Some(name)).map_err(NightError::from)?],
        None => workspace.config.projects.values().collect(),
    };
    let now = beat::now();
    let machine = of_machine(&Site::folder_of(&workspace.root)?);
    let mut all: Vec<(&str, Vec<Look>)> = Vec::new();
    for project in projects {
        let site = Site::open(&workspace, project)?;
        all.push((&project.name, of_project(&site, now, args.offline)));
    }
    let looks = || machine.iter().chain(all.iter().flat_map(|(_, looks)| looks));
    let worst = looks().map(|look| look.health).max().unwrap_or(Health::Good);
    if ui.json {
        let projects: Vec<_> =
            all.iter().map(|(name, looks)| serde_json::json!({ "project": name, "looks": looks })).collect();
        let document =
            serde_json::json!({ "version": 1, "health": worst, "machine": machine, "projects": projects });
        ui.document(&document)?;
    } else {
        show(ui, "machine", &machine);
        for (name, looks) in &all {
            show(ui, name, looks);
        }
        let of = |health: Health| looks().filter(|look| look.health == health).count();
        let doubts = count(of(Health::Doubt), "thing to look at", "things to look at");
        ui.line(&match worst {
            Health::Good => "all is in place for the next night".to_owned(),
            Health::Doubt => format!("the next night can run; {doubts}"),
            Health::Bad => {
                format!(
                    "the next night would fail: {}",
                    count(of(Health::Bad), "thing to mend", "things to mend")
                )
            }
        });
    }
    Ok(if worst == Health::Bad { 4 } else { 0 })
}

fn show(ui: &Ui, name: &str, looks: &[Look]) {
    ui.line(&painted(&clean(name), BOLD));
    let mut rows = bare_table();
    for look in looks {
        let (word, colour) = match look.health {
            Health::Good => ("good", AnsiColor::Green),
            Health::Doubt => ("look", AnsiColor::Yellow),
            Health::Bad => ("BAD", AnsiColor::Red),
        };
        let word = painted(word, Style::new().fg_color(Some(colour.into())));
        let remedy =
            look.remedy.as_ref().map(|r| format!("\n{}", painted(&clean(r), DIM))).unwrap_or_default();
        rows.add_row([word, look.about.to_owned(), format!("{}{remedy}", clean(&look.seen))]);
    }
    ui.line(&format!("{}\n", fitted(rows, &[])));
}
