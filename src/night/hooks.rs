//! Runs the hooks of a project: a command with a documented environment, and a JSON document to read.

use std::path::Path;

use serde_json::{Value, json};

use super::turn::Head;
use super::{NightError, Options, Site};
use crate::build::manifest::Manifest;
use crate::check::{Command, Ended, Stop, run_command};
use crate::workspace::{Hook, HookEvent, Project, Workspace};

/// The version of the JSON form. A reader accepts unknown keys of the version it knows.
const VERSION: u32 = 1;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Happened {
    /// What.
    pub event: HookEvent,
    /// What its environment says besides what each hook is told: names and values.
    pub vars: Vec<(&'static str, String)>,
    /// What the document says besides.
    pub told: Value,
    /// Raised when hooks are of no use any more: they are ended.
    pub stop: Stop,
}

impl Happened {
    /// With nothing more to say.
    pub fn plain(event: HookEvent) -> Self {
        Self { event, vars: Vec::new(), told: json!({}), stop: Stop::default() }
    }
}

/// Does a hook of the project wait for this?
pub fn is_awaited(project: &Project, event: HookEvent) -> bool {
    project.hooks.iter().any(|hook| hook.on == event)
}

/// Runs the hooks that wait for this, one after the other. One that fails ends the row.
pub fn fire(workspace: &Workspace, project: &Project, happened: &Happened) -> Result<(), NightError> {
    let waits = |(_, hook): &(usize, &Hook)| hook.on == happened.event;
    for (at, hook) in project.hooks.iter().enumerate().filter(waits) {
        run(workspace, project, hook, at, happened)?;
    }
    Ok(())
}

/// Asks the hooks whether a build may go out, and where the workspace is after them.
pub fn before_publish(
    site: &Site<'_>,
    manifest: &Manifest,
    head: &mut Head,
    options: &Options,
) -> Result<(), NightError> {
    if !is_awaited(site.project, HookEvent::BeforePublish) {
        return Ok(());
    }
    let deploy = &manifest.deploy;
    let happened = Happened {
        event: HookEvent::BeforePublish,
        vars: vec![
            ("CARRY_COMMIT", deploy.commit.clone()),
            ("CARRY_TREE", deploy.tree.clone()),
            ("CARRY_BUILD", deploy.build.clone()),
        ],
        told: json!({
            "commit": deploy.commit, "tree": deploy.tree, "build": deploy.build, "manifest": manifest,
        }),
        stop: options.stop.clone(),
    };
    fire(site.workspace, site.project, &happened)?;
    *head = Head::ask(site)?;
    Ok(())
}

fn run(
    workspace: &Workspace,
    project: &Project,
    hook: &Hook,
    at: usize,
    happened: &Happened,
) -> Result<(), NightError> {
    let folder = Site::folder_of(&workspace.root)?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| NightError::Io { path, source }
    };
    let event = happened.event.word();
    let logs = folder.join("hooks").join(&project.name);
    std::fs::create_dir_all(&logs).map_err(io(&logs))?;
    let output = logs.join(format!("{at}-{event}.log"));
    let store = folder.join(format!("{}.git", project.name));
    let root = workspace.root.to_string_lossy().into_owned();
    let mut vars = vec![
        ("CARRY_EVENT", event.to_owned()),
        ("CARRY_PROJECT", project.name.clone()),
        ("CARRY_WORKSPACE", root.clone()),
        ("CARRY_STORE", store.to_string_lossy().into_owned()),
    ];
    vars.extend(happened.vars.iter().cloned());
    let mut document = json!({
        "version": VERSION, "event": event, "project": project.name, "workspace": root, "store": store.to_string_lossy(),
    });
    if let (Some(document), Some(told)) = (document.as_object_mut(), happened.told.as_object()) {
        document.extend(told.clone());
    }
    let input = document.to_string().into_bytes();
    let command = Command { run: &hook.run, env: &hook.env, timeout: hook.timeout, input: Some(&input) };
    let ran = run_command(&command, &workspace.root, &vars, &output, &happened.stop).map_err(io(&output))?;
    let why = match (ran.ended, ran.code) {
        (Ended::Passed, _) => return Ok(()),
        (Ended::Failed, Some(code)) => format!("it ended with exit code {code}"),
        (Ended::Failed, None) => "a signal ended it".into(),
        (Ended::TimedOut, _) => format!("it took longer than {} s, and was ended", hook.timeout.as_secs()),
        (Ended::NotStarted, _) => "it cannot be started".into(),
    };
    let why = if ran.last_line.is_empty() { why } else { format!("{why}: {}", ran.last_line) };
    Err(NightError::Hook { event, command: hook.run.join(" "), why, output })
}
