//! `git carry nightly`: fetch, replay, write back, publish, report; for one project or all.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::exports::put_beside;
use super::ui::{Ui, clean};
use super::{guarded, report};
use crate::night::{self, Night, NightError, Options, Site, beat};
use crate::workspace::Workspace;

/// Bring in the trunk, replay the queue, publish the build, and say what happened.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One project; without it, all.
    #[arg(long)]
    project: Option<String>,
    /// Use what was fetched before; publish nothing to a remote.
    #[arg(long)]
    offline: bool,
    /// Take a trunk that was force-pushed.
    #[arg(long)]
    accept_rewritten_trunk: bool,
    /// Replace the deploy branch although it is at this commit, which no run recorded.
    #[arg(long, value_name = "COMMIT")]
    replace_deploy: Option<String>,
    /// Write the build's manifest to this file as well, and its signature to FILE.sig.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// How many checks may run at once; without it, one for each core.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    jobs: usize,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let (mut workspace, _guard) = guarded(ui, from, "nightly")?;
    let names: Vec<String> = match &args.project {
        Some(name) => vec![workspace.project(Some(name)).map_err(NightError::from)?.name.clone()],
        None => workspace.config.projects.keys().cloned().collect(),
    };
    if args.manifest.is_some() && names.len() > 1 {
        let what = "--manifest names one file, and the workspace holds many projects".to_owned();
        return Err(CliError::Usage { what, hint: Some("name one with --project".into()) });
    }
    let options = Options {
        offline: args.offline,
        accept_rewritten_trunk: args.accept_rewritten_trunk,
        replace_deploy: args.replace_deploy,
        jobs: args.jobs,
        ..Options::default()
    };
    let mut worst = 0;
    let mut nights: Vec<serde_json::Value> = Vec::new();
    for name in &names {
        let project = workspace.project(Some(name)).map_err(NightError::from)?;
        if let Some(reason) = &project.paused {
            // Nothing is fetched, replayed or published.
            nights.push(
                serde_json::json!({ "version": 1, "project": name, "done": "paused", "reason": reason }),
            );
            ui.aside(&format!("{name} is paused: {}", clean(reason)));
            ui.aside(&format!("  to go on: git carry resume {name}"));
            continue;
        }
        let begun = night::begin(&workspace, project, ui);
        if matches!(begun, Ok(true)) {
            // A hook may bring in what others have pushed to the workspace.
            workspace = Workspace::load(&workspace.root).map_err(NightError::from)?;
        }
        let project = workspace.project(Some(name)).map_err(NightError::from)?;
        // Before the replay: a patch that has landed leaves the queue with it.
        let standing =
            begun.is_ok().then(|| super::sent::ask(ui, &workspace, project, args.offline)).flatten();
        let night = begun.and_then(|_| night::run(&workspace, project, &options, ui));
        let told = match &night {
            Ok(night) => {
                let now = Workspace::load(&workspace.root).map_err(NightError::from)?;
                let project = now.project(Some(name)).map_err(NightError::from)?;
                night::end(&now, project, Ok(night), args.offline, beat::now(), ui)
            }
            Err(e) => night::end(&workspace, project, Err(e), args.offline, beat::now(), ui),
        };
        match night {
            Ok(mut night) => {
                let now = Workspace::load(&workspace.root).map_err(NightError::from)?;
                let project = now.project(Some(name)).map_err(NightError::from)?;
                night::note_forecast(&now, project, &mut night, args.offline, ui)?;
                worst = worst.max(night.exit_code());
                if let Some(path) = &args.manifest {
                    write_manifest(path, &Site::open(&now, project)?, &night)?;
                }
                if !ui.json {
                    report::print(ui, &night)?;
                    super::sent::summary(ui, standing.as_ref());
                    super::notify::summary(ui, &told);
                }
                let mut document = serde_json::to_value(&night)?;
                if let Some(document) = document.as_object_mut() {
                    if let Some(standing) = standing {
                        document.insert("sent".into(), serde_json::to_value(standing)?);
                    }
                    if !told.is_empty() {
                        document.insert("told".into(), serde_json::to_value(told)?);
                    }
                }
                nights.push(document);
            }
            // One project's failure stops no other; the exit code tells.
            Err(e) if names.len() > 1 => {
                ui.error(&format!("project '{name}':"));
                worst = worst.max(CliError::from(e).print(ui));
            }
            Err(e) => return Err(e.into()),
        }
        // The next project's lock lies in the same file.
        workspace = Workspace::load(&workspace.root).map_err(NightError::from)?;
    }
    if ui.json {
        ui.document(&nights)?;
    }
    Ok(worst)
}

/// Writes the build's manifest, and its signature beside it.
fn write_manifest(path: &Path, site: &Site<'_>, night: &Night) -> Result<(), CliError> {
    let Some(manifest) = &night.manifest else { return Ok(()) };
    let text = manifest.render()?;
    let known = night::recorded(site, Some(&manifest.deploy.build)).ok();
    let signature = known.filter(|k| k.bytes == text.as_bytes()).and_then(|k| k.signature);
    std::fs::write(path, text).map_err(CliError::io(path))?;
    put_beside(path, "sig", signature.as_deref())
}
