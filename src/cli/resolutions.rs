//! `git carry resolutions`: the recorded answers to conflicts.

use std::path::Path;

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, Ui, clean, count, fitted, name_of, painted, short, table};
use crate::night::resolve::from_rerere;
use crate::night::{FileChange, NightError, Site, kind_in_words, recorded_answers, write};
use crate::resolution::Resolution;
use crate::workspace::Workspace;

/// List, show or forget recorded answers to conflicts.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The project, where the workspace holds many.
    #[arg(long, global = true)]
    project: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List them all.
    List,
    /// Show one: the conflict it answers, and the answer.
    Show {
        /// Its id, or the patch's name.
        which: String,
    },
    /// Take over what git rerere recorded, for the conflicts that the queue has now.
    Import {
        /// The cache, for instance ~/src/nova/.git/rr-cache.
        cache: std::path::PathBuf,
    },
    /// Take one away, by a commit in the workspace.
    Forget {
        /// Its id, or the patch's name for all of that patch.
        which: String,
    },
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    match args.what.unwrap_or(What::List) {
        What::List => list(ui, from, args.project.as_deref()),
        What::Show { which } => show(ui, from, args.project.as_deref(), &which),
        What::Import { cache } => import(ui, from, args.project.as_deref(), &cache),
        What::Forget { which } => forget(ui, from, args.project.as_deref(), &which),
    }
}

fn read(site: &Site<'_>, ui: &Ui) -> Vec<Resolution> {
    let (all, faults) = recorded_answers(site);
    for fault in faults {
        ui.aside(&format!("note: {}", clean(&format!("the resolution {fault}; it is not used"))));
    }
    all
}

fn matching(all: Vec<Resolution>, which: &str) -> Result<Vec<Resolution>, CliError> {
    let found: Vec<Resolution> = all
        .into_iter()
        .filter(|r| r.patch == which || which.len() >= 4 && r.id().starts_with(which))
        .collect();
    if found.is_empty() {
        let what = format!("no resolution is called '{}', and none is of a patch of that name", clean(which));
        return Err(CliError::Missing { what, hint: Some("git carry resolutions list".into()) });
    }
    Ok(found)
}

fn list(ui: &Ui, from: &Path, project: Option<&str>) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let all = read(&Site::open(&workspace, project)?, ui);
    if ui.json {
        let told: Vec<_> = all
            .iter()
            .map(|r| serde_json::json!({ "patch": r.patch, "trunk": r.trunk, "resolution": r.used() }))
            .collect();
        ui.document(&serde_json::json!({ "version": 1, "project": project.name, "resolutions": told }))?;
        return Ok(0);
    }
    let mut rows = table(&["id", "patch", "recorded", "by", "on trunk", "paths"]);
    for r in &all {
        let used = r.used();
        let day = r.recorded.get(..10).unwrap_or("-").to_owned();
        rows.add_row([
            r.id(),
            clean(&r.patch),
            day,
            name_of(&r.by),
            short(&r.trunk).to_owned(),
            clean(&used.paths.join(", ")),
        ]);
    }
    if rows.row_count() > 0 {
        ui.line(&format!("{}\n", fitted(rows, &[])));
    }
    ui.line(&count(all.len(), "recorded answer", "recorded answers"));
    Ok(0)
}

fn show(ui: &Ui, from: &Path, project: Option<&str>, which: &str) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let found = matching(read(&Site::open(&workspace, project)?, ui), which)?;
    if ui.json {
        let told: Vec<_> = found
            .iter()
            .map(|r| {
                let conflicts: Vec<_> = r
                    .conflicts
                    .iter()
                    .map(|a| {
                        let side = |e: Option<crate::store::tree::Entry>| e.map(|e| e.id.to_string());
                        let content = a.result.content.as_ref().map(|c| String::from_utf8_lossy(c).into_owned());
                        serde_json::json!({ "path": a.path.to_string(), "kind": a.kind, "base": side(a.sides.base),
                            "trunk": side(a.sides.ours), "patch": side(a.sides.theirs),
                            "result": side(a.result.entry), "content": content })
                    })
                    .collect();
                serde_json::json!({ "patch": r.patch, "trunk": r.trunk, "resolution": r.used(), "conflicts": conflicts })
            })
            .collect();
        ui.document(&serde_json::json!({ "version": 1, "project": project.name, "resolutions": told }))?;
        return Ok(0);
    }
    for r in &found {
        ui.line(&format!("{}  {}", painted(&r.id(), BOLD), clean(&r.patch)));
        ui.line(&format!(
            "  recorded {} by {}, on trunk {}",
            clean(&r.recorded),
            clean(&r.by),
            short(&r.trunk)
        ));
        if let Some(origin) = &r.origin {
            ui.line(&format!("  taken from {}", clean(origin)));
        }
        for a in &r.conflicts {
            ui.line(&format!(
                "\n  {}: {}",
                painted(&clean(&a.path.to_string()), BOLD),
                kind_in_words(a.kind)
            ));
            let side = |e: Option<crate::store::tree::Entry>| match e {
                Some(e) => format!("{:06o} {}", e.mode, e.id.to_hex_with_len(12)),
                None => "nothing".to_owned(),
            };
            ui.line(&format!("    base    {}", side(a.sides.base)));
            ui.line(&format!("    trunk   {}", side(a.sides.ours)));
            ui.line(&format!("    patch   {}", side(a.sides.theirs)));
            ui.line(&format!("    answer  {}", side(a.result.entry)));
        }
        for c in &r.also {
            ui.line(&format!("\n  {}: changed as well", painted(&clean(&c.path.to_string()), BOLD)));
        }
        ui.line(&format!(
            "\n  the answers lie in resolutions/{}/{}/{}",
            project.name,
            clean(&r.patch),
            r.id()
        ));
    }
    Ok(0)
}

fn import(ui: &Ui, from: &Path, project: Option<&str>, cache: &Path) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "resolutions")?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let cache = from.join(cache);
    if !cache.is_dir() {
        let what = format!("'{}' is no folder", cache.display());
        return Err(CliError::Usage {
            what,
            hint: Some("name the rr-cache folder of a git directory".into()),
        });
    }
    let (found, commits) = from_rerere(&site, &cache, super::resolve::who(&site)?)?;
    if ui.json {
        let told: Vec<_> =
            found.iter().map(|r| serde_json::json!({ "patch": r.patch, "resolution": r.used() })).collect();
        ui.document(&serde_json::json!({ "version": 1, "resolutions": told, "workspace_commits": commits }))?;
        return Ok(0);
    }
    for r in &found {
        ui.line(&format!("{}  {}", r.id(), painted(&clean(&r.patch), BOLD)));
    }
    match found.is_empty() {
        true => ui.line("it has no answer to a conflict that the queue has now"),
        false => ui.line("next  git carry rebase uses them; look at what comes of it"),
    }
    Ok(0)
}

fn forget(ui: &Ui, from: &Path, project: Option<&str>, which: &str) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "resolutions")?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    site.preflight()?;
    let found = matching(read(&site, ui), which)?;
    let mut files = Vec::new();
    for r in &found {
        let of = r.files().map_err(|reason| NightError::Format { what: "the resolution", reason })?;
        let path = |file: String| format!("resolutions/{}/{file}", project.name);
        files.extend(of.into_iter().map(|(file, _)| FileChange { path: path(file), bytes: None }));
    }
    let names: Vec<String> = found.iter().map(|r| format!("{} {}", r.patch, r.id())).collect();
    let message = format!("carry: {}: forget {}\n", project.name, names.join(", "));
    let commits = write(&site, Vec::new(), &[(message, files)])?;
    if ui.json {
        ui.document(&serde_json::json!({ "version": 1, "forgotten": names, "workspace_commits": commits }))?;
        return Ok(0);
    }
    names.iter().for_each(|name| ui.line(&format!("forgotten: {}", clean(name))));
    Ok(0)
}
