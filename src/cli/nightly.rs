//! `git carry nightly`: fetch, replay, write back, publish, report; for one project or all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::CliError;
use super::exports::put_beside;
use super::ui::{Ui, clean, fitted, table};
use super::{guarded_for_many, report};
use crate::fleet::worse;
use crate::night::notify::Delivery;
use crate::night::sent::Standing;
use crate::night::together::Together;
use crate::night::{self, Done, Events, How, Night, NightError, Options, Pruned, Site, beat, beside};
use crate::store::cores;
use crate::workspace::Workspace;

/// Bring in the trunk, replay the queue, publish the build, and say what happened.
///
/// Projects run side by side; the trouble of one stops no other. The report comes at the end, in the projects' order, and
/// the exit code is the worst.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One project; without it, all.
    #[arg(long)]
    project: Option<String>,
    /// All projects, as without a name.
    #[arg(long, conflicts_with = "project")]
    all: bool,
    /// Use what was fetched before; publish nothing to a remote.
    #[arg(long)]
    offline: bool,
    /// Take a trunk that was force-pushed.
    #[arg(long)]
    accept_rewritten_trunk: bool,
    /// Run checks again that failed on the same tree before: they may have failed by chance.
    #[arg(long)]
    again: bool,
    /// Replace the deploy branch although it is at this commit, which no run recorded.
    #[arg(long, value_name = "COMMIT")]
    replace_deploy: Option<String>,
    /// Write the build's manifest to this file as well, and its signature to FILE.sig.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// How many projects, and of one project how many checks, may run at once; without it, one for each core.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    jobs: usize,
}

/// What a project's run gave.
struct Run {
    night: Night,
    standing: Option<Standing>,
    pruned: Option<Pruned>,
    told: Vec<Delivery>,
}

/// How a project fared.
enum End {
    Ran(Box<Run>),
    Paused(String),
    InSet(String),
    Failed(CliError),
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let (workspace, _guard, mut unsettled) = guarded_for_many(ui, from, "nightly", |_, _| ())?;
    let names: Vec<String> = match &args.project {
        Some(name) => vec![workspace.project(Some(name)).map_err(NightError::from)?.name.clone()],
        None => workspace.config.projects.keys().cloned().collect(),
    };
    if args.manifest.is_some() && names.len() > 1 {
        let what = "--manifest names one file, and the workspace holds many projects".to_owned();
        return Err(CliError::Usage { what, hint: Some("name one with --project".into()) });
    }
    let mut ends: BTreeMap<&str, End> = BTreeMap::new();
    for name in &names {
        let project = workspace.project(Some(name)).map_err(NightError::from)?;
        if let Some(e) = unsettled.remove(name) {
            night::end(&workspace, project, Err(&e), args.offline, beat::now(), ui);
            ends.insert(name, End::Failed(e.into()));
        } else if let Some(set) = workspace.config.sets.iter().find(|set| set.projects.contains(name)) {
            ends.insert(name, End::InSet(set.name.clone()));
        } else if let Some(reason) = &project.paused {
            // Nothing is fetched, replayed or published.
            ends.insert(name, End::Paused(reason.clone()));
        }
    }
    let running: Vec<String> = names.iter().filter(|n| !ends.contains_key(n.as_str())).cloned().collect();
    let cores = cores();
    let at_once = if args.jobs == 0 { cores } else { args.jobs };
    let together = Arc::new(Together::new(&workspace, &running, at_once));
    for ring in together.rings() {
        let ring: Vec<String> = ring.iter().map(ToString::to_string).collect();
        ui.note(&format!("{} depend on each other: all of them go out, or none", ring.join(", ")));
    }
    let options = Options {
        offline: args.offline,
        accept_rewritten_trunk: args.accept_rewritten_trunk,
        replace_deploy: args.replace_deploy,
        again: args.again,
        jobs: if running.len() > 1 { at_once.div_ceil(running.len().min(at_once)) } else { args.jobs },
        together: Some(together),
        ..Options::default()
    };
    let root = &workspace.root;
    let work = |name: &str, events: &dyn Events| one(root, name, &options, events);
    let ran = match &running[..] {
        [only] => vec![work(only, ui)],
        _ => {
            let broke = |name: &String| Err(CliError::Broke { project: name.clone() });
            let ran = beside(ui, &running, running.len(), &work).into_iter().zip(&running);
            ran.map(|(ran, name)| ran.unwrap_or_else(|| broke(name))).collect()
        }
    };
    for (name, ran) in running.iter().zip(ran) {
        ends.insert(name, ran.map_or_else(End::Failed, |run| End::Ran(Box::new(run))));
    }
    if let (Some(path), Some(End::Ran(run))) = (&args.manifest, ends.values().next()) {
        let now = Workspace::load(root).map_err(NightError::from)?;
        let project = now.project(names.first().map(String::as_str)).map_err(NightError::from)?;
        write_manifest(path, &Site::open(&now, project)?, &run.night)?;
    }
    let now = Workspace::load(root).map_err(NightError::from)?;
    if let Some(project) = running.first().and_then(|name| now.config.projects.get(name))
        && let Err(e) = Site::open(&now, project).and_then(|site| night::tidy_workspace(&site))
    {
        ui.note(&format!("the workspace could not be packed: {e}"));
    }
    tell(ui, &names, ends)
}

/// One project's night.
fn one(root: &Path, name: &str, options: &Options, events: &dyn Events) -> Result<Run, CliError> {
    let lane = options.together.as_ref().map(|together| together.begin(name));
    let mut workspace = Workspace::load(root).map_err(NightError::from)?;
    let begun = night::begin(&workspace, workspace.project(Some(name)).map_err(NightError::from)?, events);
    if matches!(begun, Ok(true)) {
        // A hook may bring in what others have pushed to the workspace.
        workspace = Workspace::load(root).map_err(NightError::from)?;
    }
    let project = workspace.project(Some(name)).map_err(NightError::from)?;
    // Before the replay: a patch that has landed leaves the queue with it.
    let standing =
        begun.is_ok().then(|| super::sent::ask(events, &workspace, project, options.offline)).flatten();
    let night = begun.and_then(|_| night::run(&workspace, project, options, events));
    match (&night, lane) {
        (Ok(_), Some(lane)) => lane.ended_well(),
        (_, lane) => drop(lane),
    }
    let mut night = match night {
        Ok(night) => night,
        Err(e) => {
            night::end(&workspace, project, Err(&e), options.offline, beat::now(), events);
            return Err(e.into());
        }
    };
    let now = Workspace::load(root).map_err(NightError::from)?;
    let project = now.project(Some(name)).map_err(NightError::from)?;
    let told = night::end(&now, project, Ok(&night), options.offline, beat::now(), events);
    night::note_forecast(&now, project, &mut night, options.offline, events)?;
    let site = Site::open(&now, project)?;
    // The night is done and out: what fails here is told, and tried again the next time.
    let how = How { offline: options.offline, ..How::default() };
    let prune = || night::prune_history(&site, how, events).map(Some);
    let pruned = match if night.done == Done::Published { prune() } else { Ok(None) } {
        Ok(pruned) => pruned,
        Err(e) => {
            events.note(&format!("old builds could not be taken away: {e}"));
            None
        }
    };
    Ok(Run { night, standing, pruned, told })
}

/// Tells of all projects, in their order, and gives the exit code.
fn tell(ui: &Ui, names: &[String], mut ends: BTreeMap<&str, End>) -> Result<u8, CliError> {
    let many = names.len() > 1;
    let (mut worst, mut nights, mut rows) = (0, Vec::new(), Vec::new());
    for name in names {
        let Some(end) = ends.remove(name.as_str()) else { continue };
        match end {
            End::Ran(run) => {
                let Run { night, standing, pruned, told } = *run;
                worst = worse(worst, night.exit_code());
                rows.push([name.clone(), done(night.done).to_owned(), report::totals(&night.patches)]);
                if !ui.json {
                    report::print(ui, &night)?;
                    super::sent::summary(ui, standing.as_ref());
                    if let Some(what) = pruned.as_ref().and_then(|p| super::prune::summary(p, false)) {
                        ui.line(&format!("old  {what}"));
                    }
                    super::notify::summary(ui, &told);
                    if many {
                        ui.line("");
                    }
                }
                let mut document = serde_json::to_value(&night)?;
                if let Some(document) = document.as_object_mut() {
                    if let Some(standing) = standing {
                        document.insert("sent".into(), serde_json::to_value(standing)?);
                    }
                    if let Some(pruned) = pruned.filter(|p| *p != Pruned::default()) {
                        document.insert("pruned".into(), serde_json::to_value(pruned)?);
                    }
                    if !told.is_empty() {
                        document.insert("told".into(), serde_json::to_value(told)?);
                    }
                }
                nights.push(document);
            }
            End::Paused(reason) => {
                nights.push(
                    serde_json::json!({ "version": 1, "project": name, "done": "paused", "reason": reason }),
                );
                rows.push([name.clone(), "paused".into(), clean(&reason)]);
                ui.aside(&format!("{name} is paused: {}", clean(&reason)));
                ui.aside(&format!("  to go on: git carry resume {name}"));
            }
            End::InSet(set) => {
                nights
                    .push(serde_json::json!({ "version": 1, "project": name, "done": "in-set", "set": set }));
                rows.push([name.clone(), "in a set".into(), set.clone()]);
                ui.aside(&format!(
                    "{name} goes out with the set '{set}' alone: git carry fleet run --unit {set}"
                ));
            }
            // One project's failure stops no other; the exit code tells.
            End::Failed(e) if many => {
                worst = worse(worst, e.code());
                rows.push([name.clone(), "failed".into(), clean(&e.to_string())]);
                let mut told = serde_json::json!({ "version": 1, "project": name, "done": "failed" });
                if let (Some(told), serde_json::Value::Object(more)) = (told.as_object_mut(), e.document()) {
                    told.extend(more);
                }
                nights.push(told);
                if !ui.json {
                    ui.error(&format!("project '{name}':"));
                    e.print(ui);
                }
            }
            End::Failed(e) => return Err(e),
        }
    }
    if ui.json {
        ui.document(&nights)?;
    } else if many {
        let mut all = table(&["project", "night", ""]);
        for row in rows {
            all.add_row(row);
        }
        ui.line(&fitted(all, &[]));
    }
    Ok(worst)
}

/// A night in a word.
fn done(done: Done) -> &'static str {
    match done {
        Done::Quiet => "nothing new",
        Done::Published => "published",
        Done::DryRun => "dry run",
        Done::Refused => "refused",
    }
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
