//! `git carry resolve PATCH`: a conflict's work tree, and its answer.

use std::path::Path;

use super::error::CliError;
use super::ui::{BOLD, Ui, clean, count, painted, short};
use super::{guarded, report};
use crate::night::resolve::{Resolved, abort, proceed, start, take};
use crate::night::save::save;
use crate::night::task::{open_task, open_tasks};
use crate::night::{Done, NightError, Site, edit, kind_in_words};
use crate::report::words::quoted;
use crate::store::git::Git;

/// Resolve a patch's conflict in a work tree of its own, and record the answer for everyone.
///
/// `git carry resolve PATCH` makes the work tree at the very point of the conflict, everything below the patch applied.
/// Edit the files with whatever you like (git mergetool works there), then `--continue`. The work can be left and taken
/// up again at any time.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  git carry resolve fix-quota\n  git carry resolve fix-quota --continue\n  \
    git carry resolve fix-quota --take upstream src/quota.py\n  git carry resolve fix-quota --onto refs/carry/ahead/next"
)]
pub struct Args {
    /// The patch's name; without it the one whose work tree this is, or the only one that is open.
    patch: Option<String>,
    /// Resolve against this upstream work instead of the trunk tip; the answer is kept for when trunk has it.
    #[arg(long, value_name = "REV", conflicts_with_all = ["proceed", "abort", "skip", "drop", "take"])]
    onto: Option<String>,
    /// Take the result: record the answer, write the patch anew, replay what stands above.
    #[arg(long = "continue", conflicts_with_all = ["abort", "skip", "drop", "take"])]
    proceed: bool,
    /// Keep the state of the work tree where the builds go, for another machine to take up.
    #[arg(long, conflicts_with_all = ["proceed", "abort", "skip", "drop", "take"])]
    save: bool,
    /// End without a trace.
    #[arg(long, conflicts_with_all = ["skip", "drop", "take"])]
    abort: bool,
    /// Hold the patch instead.
    #[arg(long, conflicts_with_all = ["drop", "take"])]
    skip: bool,
    /// Take the patch out of the queue instead.
    #[arg(long, conflicts_with = "take")]
    drop: bool,
    /// Why, for --skip and --drop.
    #[arg(short, long, default_value = "")]
    reason: String,
    /// Take one side of a path whole: upstream's (the trunk with the stack below), or ours (the patch's).
    #[arg(long, num_args = 2, value_names = ["upstream|ours", "PATH"], action = clap::ArgAction::Append)]
    take: Vec<String>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let (workspace, guard) = guarded(ui, from, "resolve")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let patch = args.patch.as_deref();
    if args.proceed {
        let who = who(&site)?;
        let code = told(ui, &proceed(&site, patch, from, who, ui)?)?;
        if !from.exists() && !ui.json {
            let root = quoted(&workspace.root.to_string_lossy());
            ui.line(&format!("\nthe work tree is gone: cd {root}"));
        }
        return Ok(code);
    }
    if args.save {
        let open = open_task(&site, patch, from)?;
        let place = save(&site, &open, ui)?;
        let name = painted(&clean(&open.task.patch), BOLD);
        match (ui.json, place) {
            (true, place) => {
                ui.document(&serde_json::json!({ "version": 1, "patch": open.task.patch, "remote": place }))?
            }
            (_, Some(place)) => ui.line(&format!(
                "{name} is saved at {}: git carry resolve takes it up anywhere",
                clean(&place)
            )),
            (_, None) => ui.line(&format!(
                "{name} is saved in the project's store; without a deploy remote it stays here"
            )),
        }
        return Ok(0);
    }
    if args.abort {
        let open = abort(&site, patch, from)?;
        let name = clean(&open.task.patch);
        if ui.json {
            ui.document(&serde_json::json!({ "version": 1, "patch": open.task.patch, "aborted": true }))?;
        } else {
            ui.line(&format!("{} is as it was, and its work tree is gone", painted(&name, BOLD)));
        }
        return Ok(0);
    }
    if !args.take.is_empty() {
        return take_sides(ui, &site, patch, from, &args.take);
    }
    if args.skip || args.drop {
        let open = open_tasks(&site)?.into_iter().find(|o| patch.is_none_or(|p| o.task.patch == p));
        let Some(name) = patch.map(str::to_owned).or(open.as_ref().map(|o| o.task.patch.clone())) else {
            let hint = Some("git carry resolve PATCH --skip".into());
            return Err(CliError::Usage { what: "name the patch".into(), hint });
        };
        let night = match args.drop {
            true => Some(edit::drop(&site, &name, &args.reason, ui)?),
            false => None,
        };
        if night.as_ref().is_none_or(|n| n.done != Done::Refused)
            && let Some(open) = open.filter(|o| o.task.patch == name)
        {
            abort(&site, Some(&open.task.patch), from)?;
        }
        return match night {
            Some(night) => {
                report::print(ui, &night)?;
                Ok(night.exit_code())
            }
            None => {
                drop(guard);
                super::hold::change(ui, from, args.project.as_deref(), &name, Some(&args.reason))
            }
        };
    }
    let Some(patch) = patch else { return list(ui, &site) };
    let begun = start(&site, patch, args.onto.as_deref(), ui)?;
    let place = begun.open.work.path().display().to_string();
    let report = &begun.ground.planned.report;
    if ui.json {
        ui.document(&serde_json::json!({
            "version": 1, "project": project.name, "patch": report.name, "work_tree": place,
            "trunk": begun.open.task.tip, "taken_up": begun.taken_up, "conflicts": report.conflicts, "merged_by_git": begun.clean,
        }))?;
        return Ok(0);
    }
    ui.line(&format!(
        "{}  on trunk {}, with everything below it applied",
        painted(&clean(&report.name), BOLD),
        short(&begun.open.task.tip)
    ));
    for c in &report.conflicts {
        ui.line(&format!("  {}: {}", clean(&c.path), kind_in_words(c.kind)));
    }
    if let Some(note) = &report.note {
        ui.line(&format!("  {}", clean(note)));
    }
    if begun.taken_up {
        ui.line("  with the work that was saved");
    }
    if begun.open.task.own.is_none() {
        ui.line("  it has no base to merge from: what fits is applied, the rest lies there as *.rej");
    } else if begun.clean {
        ui.line("  git itself merges it: look at the result");
    }
    ui.line(&format!("\nwork tree  {place}"));
    ui.line(
        "next  edit the files there (git mergetool works), then in that folder: git carry resolve --continue",
    );
    ui.line("      --take upstream|ours PATH for one side whole; --abort ends without a trace");
    Ok(0)
}

fn take_sides(
    ui: &Ui,
    site: &Site<'_>,
    patch: Option<&str>,
    from: &Path,
    words: &[String],
) -> Result<u8, CliError> {
    for pair in words.chunks(2) {
        let [side, path] = pair else { continue };
        let stage = match side.as_str() {
            "upstream" => 2,
            "ours" => 3,
            other => {
                let what = format!("--take knows 'upstream' and 'ours', not '{}'", clean(other));
                return Err(CliError::Usage { what, hint: None });
            }
        };
        let open = take(site, patch, from, stage, path)?;
        let left = open.work.unmerged().map_err(NightError::from)?;
        let left: Vec<String> = left.iter().map(|u| clean(&u.path.to_string())).collect();
        if ui.json {
            let document = serde_json::json!({ "version": 1, "path": path, "took": side, "open": left });
            ui.document(&document)?;
            continue;
        }
        ui.line(&format!("{}: {side}'s side", clean(path)));
        match left.is_empty() {
            true => ui.line(&format!("next  git carry resolve {} --continue", clean(&open.task.patch))),
            false => ui.line(&format!("  still open: {}", left.join(", "))),
        }
    }
    Ok(0)
}

/// Who gives the answer: the user that git knows in the workspace; and the moment.
pub fn who(site: &Site<'_>) -> Result<(String, String), CliError> {
    // `Name <mail> seconds zone` (`git help var`).
    let ident = Git::at(&site.workspace.root).call(["var", "GIT_AUTHOR_IDENT"]).line();
    let ident = ident.map_err(|_| CliError::Usage {
        what: "git does not know who you are, and the answer is recorded under a name".into(),
        hint: Some("git config --global user.name …; git config --global user.email …".into()),
    })?;
    let end = ident.rfind('>').map_or(ident.len(), |at| at + 1);
    let seconds = ident[end..].split_whitespace().next().and_then(|s| s.parse().ok()).unwrap_or(0);
    let now = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    Ok((ident[..end].to_owned(), now.to_string()))
}

fn told(ui: &Ui, resolved: &Resolved) -> Result<u8, CliError> {
    let code = resolved.night.as_ref().map_or(0, crate::night::Night::exit_code);
    if ui.json {
        let id = resolved.resolution.as_ref().map(|r| r.id());
        ui.document(&serde_json::json!({
            "version": 1, "patch": resolved.patch, "resolution": id, "night": resolved.night,
            "workspace_commits": resolved.commits,
        }))?;
        return Ok(code);
    }
    let name = painted(&clean(&resolved.patch), BOLD);
    match &resolved.resolution {
        Some(r) => {
            let paths = count(r.conflicts.len(), "path", "paths");
            ui.line(&format!("{name} is resolved at {paths}; the answer is recorded as {}\n", r.id()));
        }
        None => ui.line(&format!("{name} is written anew\n")),
    }
    match &resolved.night {
        Some(night) => report::print(ui, night)?,
        None => ui.line("next  it is used when trunk has what it was resolved against"),
    }
    if resolved.night.as_ref().is_some_and(|n| n.done == Done::Refused) {
        ui.line("\nthe answer is kept; nothing is published until the others above are mended as well");
    }
    Ok(code)
}

fn list(ui: &Ui, site: &Site<'_>) -> Result<u8, CliError> {
    let open = open_tasks(site)?;
    if ui.json {
        let tasks: Vec<_> = open
            .iter()
            .map(|o| serde_json::json!({ "task": o.task, "work_tree": o.work.path().display().to_string() }))
            .collect();
        ui.document(&serde_json::json!({ "version": 1, "open": tasks }))?;
        return Ok(0);
    }
    for o in &open {
        ui.line(&format!("{}  {}", painted(&clean(&o.task.patch), BOLD), o.work.path().display()));
    }
    if open.is_empty() {
        ui.line("no patch is being worked on; name one: git carry resolve PATCH");
    }
    Ok(0)
}
