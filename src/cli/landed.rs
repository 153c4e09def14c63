//! `git carry landed`: what upstream has of the queue or may have, and what a person says of it.

use std::path::Path;

use super::edit::with;
use super::error::CliError;
use super::guarded;
use super::report::proposal_in_words;
use super::ui::{BOLD, DIM, Ui, clean, cut, fitted, painted, short, table};
use crate::night::landed::{self, Overview};
use crate::night::{NightError, Site};
use crate::workspace::{Decision, Evidence, Workspace};

/// Show what upstream has of the queue or may have; confirm it, reject it, or bring a patch back.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show what was proposed of one patch, beside the patch.
    Show(One),
    /// Upstream has the patch: it leaves the queue.
    Confirm(One),
    /// Upstream has not: the commit is not proposed for the patch again.
    Reject(One),
    /// Take a patch that left the queue back in, where it stood.
    Restore(Gone),
    /// Forget a patch that left the queue, though upstream took it back.
    Forget(Gone),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The patch's name.
    patch: String,
    /// The upstream commit, where more than one is proposed.
    commit: Option<String>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Gone {
    /// The patch's name.
    patch: String,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    match args.what {
        None => list(ui, from, args.project.as_deref()),
        Some(What::Show(one)) => show(ui, from, &one),
        Some(What::Confirm(one)) => with(ui, from, one.project.as_deref(), "landed", |site| {
            let (said, night) = landed::confirm(site, &one.patch, one.commit.as_deref(), ui)?;
            let by = format!("{} {}", short(&said.commit), clean(&said.subject));
            Ok((format!("upstream has {}: {by}", painted(&clean(&one.patch), BOLD)), night))
        }),
        Some(What::Reject(one)) => reject(ui, from, &one),
        Some(What::Restore(gone)) => with(ui, from, gone.project.as_deref(), "landed", |site| {
            let (back, night) = landed::restore(site, &gone.patch, ui)?;
            Ok((format!("{} is carried again", painted(&clean(&back.name), BOLD)), night))
        }),
        Some(What::Forget(gone)) => forget(ui, from, &gone),
    }
}

fn list(ui: &Ui, from: &Path, project: Option<&str>) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let all = landed::overview(&site);
    if ui.json {
        ui.document(&serde_json::json!({ "version": 1, "project": project.name, "landed": all }))?;
        return Ok(0);
    }
    let Overview { proposals, fixes, landed } = &all;
    if proposals.is_empty() && fixes.is_empty() && landed.is_empty() {
        ui.prose("nothing of the queue was found upstream yet");
        return Ok(0);
    }
    let open: Vec<_> = proposals.iter().filter(|p| p.what.decision.is_none()).collect();
    if !open.is_empty() {
        ui.prose(&painted("upstream may have these; a person decides", BOLD));
        for p in &open {
            ui.prose(&format!("  {}", painted(&clean(&p.patch), BOLD)));
            told(ui, &p.what.evidence);
        }
        let first = clean(&open[0].patch);
        ui.prose(&format!("next  git carry landed show {first}, then confirm or reject it\n"));
    }
    for p in proposals.iter().filter(|p| p.what.decision == Some(Decision::Rejected)) {
        let e = &p.what.evidence;
        ui.prose(&format!("rejected  {}: {} {}", clean(&p.patch), short(&e.commit), clean(&e.subject)));
    }
    for p in fixes {
        let (b, patch) = (&p.what, clean(&p.patch));
        ui.prose(&format!(
            "upstream mends what {patch} came from: {} {} ({})",
            short(&b.commit),
            cut(&clean(&b.subject), 60),
            clean(&b.author)
        ));
    }
    let mut rows = table(&["patch", "as", "how", "upstream"]);
    for l in landed {
        let what = match &l.reverted {
            None => cut(&clean(&l.evidence.subject), 60),
            Some(by) => format!("taken back: {} {}", short(&by.commit), cut(&clean(&by.subject), 50)),
        };
        let how = l.evidence.rung.word();
        rows.add_row([clean(&l.name), short(&l.evidence.commit).into(), how.into(), what]);
    }
    if rows.row_count() > 0 {
        ui.prose(&painted("left the queue", BOLD));
        ui.line(&fitted(rows, &[2]));
    }
    if let Some(back) = landed.iter().find(|l| l.reverted.is_some()) {
        let name = clean(&back.name);
        ui.prose(&format!("next  git carry landed restore {name}, or: git carry landed forget {name}"));
    }
    Ok(0)
}

/// A proposal, with what speaks for it.
fn told(ui: &Ui, e: &Evidence) {
    ui.prose(&format!("    {}", clean(&proposal_in_words(e))));
    ui.prose(&format!("    {}", painted(&clean(&e.proof), DIM)));
}

fn show(ui: &Ui, from: &Path, one: &One) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(one.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let stem = crate::queue::stem(&one.patch);
    let mut all = landed::overview(&site).proposals;
    all.retain(|p| {
        p.patch == stem && one.commit.as_ref().is_none_or(|c| p.what.evidence.commit.starts_with(c.as_str()))
    });
    if all.is_empty() {
        let what = format!("nothing is proposed of '{}'", clean(&one.patch));
        return Err(CliError::Missing { what, hint: Some("git carry landed shows all".into()) });
    }
    let mut shown = Vec::new();
    for p in all {
        let range_diff = landed::against(&site, stem, &p.what.evidence.commit)?;
        shown.push((p.what, range_diff));
    }
    if ui.json {
        let entries: Vec<_> =
            shown.iter().map(|(p, diff)| serde_json::json!({ "proposal": p, "range_diff": diff })).collect();
        ui.document(&serde_json::json!({
            "version": 1, "project": project.name, "patch": stem, "proposals": entries,
        }))?;
        return Ok(0);
    }
    for (proposal, diff) in shown {
        let said = match proposal.decision {
            None => String::new(),
            Some(Decision::Confirmed) => "  (confirmed)".into(),
            Some(Decision::Rejected) => "  (rejected)".into(),
        };
        ui.prose(&format!("{}{said}", painted(&clean(stem), BOLD)));
        told(ui, &proposal.evidence);
        match diff {
            Some(diff) => {
                ui.prose(&painted("\ngit range-diff, the patch against upstream's commit:", DIM));
                for line in diff.lines() {
                    ui.line(&super::compare::range_diff_line(line));
                }
            }
            None => ui.prose(&format!("    beside the patch: git carry why {}", clean(stem))),
        }
        ui.line("");
    }
    ui.prose(&format!("next  git carry landed confirm {0}, or: git carry landed reject {0}", clean(stem)));
    Ok(0)
}

fn reject(ui: &Ui, from: &Path, one: &One) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "landed")?;
    let project = workspace.project(one.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let (said, commits) = landed::reject(&site, &one.patch, one.commit.as_deref())?;
    if ui.json {
        ui.document(&serde_json::json!({
            "version": 1, "project": project.name, "patch": one.patch, "rejected": said,
            "workspace_commits": commits,
        }))?;
        return Ok(0);
    }
    let patch = painted(&clean(&one.patch), BOLD);
    ui.prose(&format!("{patch} stays: {} is not proposed for it again", short(&said.commit)));
    ui.prose("git carry undo takes it back");
    Ok(0)
}

fn forget(ui: &Ui, from: &Path, gone: &Gone) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "landed")?;
    let project = workspace.project(gone.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let (back, commits) = landed::forget(&site, &gone.patch)?;
    if ui.json {
        ui.document(&serde_json::json!({
            "version": 1, "project": project.name, "patch": back.name, "workspace_commits": commits,
        }))?;
        return Ok(0);
    }
    ui.prose(&format!("{} stays out of the queue", painted(&clean(&back.name), BOLD)));
    ui.prose("git carry undo takes it back");
    Ok(0)
}
