//! `git carry why PATCH`: what happened to a patch, who did it, and what to do.

use std::path::Path;

use bstr::BString;
use similar::{ChangeTag, TextDiff};

use super::error::CliError;
use super::report::{record_report, what};
use super::ui::{BOLD, DIM, Ui, clean, code, count, cut, outcome, painted, short, width};
use crate::night::{Explained, NightError, Site, explain, kind_in_words};
use crate::queue::Patch;
use crate::replay::content::Region;
use crate::report::words::commit_link;
use crate::workspace::{Culprit, Evolved, Outcome, Workspace};

/// Explain a patch's outcome: where it conflicts, the upstream commit behind it, what it blocks, what to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The patch's name.
    patch: String,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// How many lines of one conflict are shown.
const SHOWN: usize = 24;

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let Some(explained) = explain(&site, &args.patch)? else {
        let queue = site.queue()?;
        if queue.get(&args.patch).is_none() {
            return Err(CliError::no_patch(
                &project.name,
                &args.patch,
                queue.patches.iter().map(Patch::name),
            ));
        }
        let what = format!("'{}' has not been replayed yet", clean(&args.patch));
        return Err(CliError::Missing { what, hint: Some("git carry nightly".to_owned()) });
    };
    if ui.json {
        ui.document(&document(&project.name, &explained))?;
    } else {
        print(ui, &explained, &site.upstream_address());
    }
    Ok(0)
}

fn document(project: &str, e: &Explained) -> serde_json::Value {
    let lines = |side: &[BString]| side.iter().map(ToString::to_string).collect::<Vec<_>>();
    let region = |r: &Region| {
        serde_json::json!({
            "line": r.line, "base": lines(&r.base), "trunk": lines(&r.ours), "patch": lines(&r.theirs),
        })
    };
    let conflicts: Vec<serde_json::Value> = e
        .conflicts
        .iter()
        .map(|c| {
            let regions: Vec<_> = c.regions.iter().map(region).collect();
            serde_json::json!({ "path": c.path, "from": c.from, "kind": c.kind, "regions": regions })
        })
        .collect();
    serde_json::json!({
        "version": 1, "project": project, "patch": e.record, "since": e.locked.since,
        "since_date": e.locked.since_date, "conflicts": conflicts, "told": e.told, "blocks": e.blocks,
        "roots": e.roots, "same_culprit": e.cluster,
    })
}

fn print(ui: &Ui, e: &Explained, upstream: &str) {
    let record = &e.record;
    let day = e.locked.since_date.get(..10).unwrap_or("-");
    ui.prose(&painted(&clean(&record.name), BOLD));
    ui.prose(&format!("  {}", clean(&record.subject)));
    let since = short(&e.locked.since);
    ui.prose(&format!("  {} since trunk {since} of {day}", outcome(record.outcome)));
    match record.outcome {
        Outcome::Conflict | Outcome::Evolved => conflict(ui, e, upstream),
        Outcome::Blocked => {
            ui.prose(&format!("\nit needs {}, not in the stack", clean(&record.needs.join(", "))));
            for root in &e.roots {
                ui.prose(&format!("\nat the root: {}", painted(&clean(&root.name), BOLD)));
                for c in &root.conflicts {
                    ui.prose(&format!("  {}: {}", clean(&c.path), kind_in_words(c.kind)));
                }
                if let Some(c) = &root.culprit {
                    culprit(ui, c, upstream);
                }
            }
            let next: Vec<String> = e.roots.iter().map(|r| clean(&r.name)).collect();
            ui.prose(&format!("\nnext  mend {}; then this one comes back by itself", next.join(", ")));
        }
        _ => {
            ui.prose(&format!("  {}", clean(&what(&record_report(record)))));
            if let Some(loss) = &record.loss {
                told(ui, "lines of it that went", &loss.missing);
                told(ui, "lines that came", &loss.extra);
                told(ui, "lines that it adds, and that trunk's file has already", &loss.doubled);
            }
        }
    }
}

fn told(ui: &Ui, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        ui.prose(&format!("\n{title}"));
        lines.iter().for_each(|line| ui.line(&format!("  {}", code(line))));
    }
}

fn conflict(ui: &Ui, e: &Explained, upstream: &str) {
    ui.line("");
    for c in &e.conflicts {
        let moved = match &c.from {
            Some(from) => format!(" (moved there from {})", clean(from)),
            None => String::new(),
        };
        ui.prose(&format!("{}{moved}: {}", painted(&clean(&c.path), BOLD), kind_in_words(c.kind)));
        for region in &c.regions {
            side_by_side(ui, region);
        }
    }
    if !e.told.is_empty() {
        ui.line("");
        e.told.iter().for_each(|line| ui.prose(&clean(line)));
    }
    match &e.record.culprit {
        Some(c) => {
            ui.prose("\nculprit");
            culprit(ui, c, upstream);
        }
        None if e.record.conflicts.is_empty() => {}
        None => ui.prose("\nno single upstream commit of the recorded range explains it"),
    }
    if let Some(note) = &e.record.note {
        ui.prose(&format!("\nnote  {}", clean(note)));
    }
    if !e.cluster.is_empty() {
        ui.prose(&format!("\nthe same commit breaks {}", clean(&e.cluster.join(", "))));
    }
    if !e.blocks.is_empty() {
        let many = count(e.blocks.len(), "patch", "patches");
        ui.prose(&format!("\nit blocks {many}: {}", clean(&e.blocks.join(", "))));
    }
    let name = clean(&e.record.name);
    if let Some(evolved) = &e.record.evolved {
        revised(ui, e, evolved, upstream);
        ui.prose(&format!("\nnext  if upstream's version will do: git carry resolve {name} --drop"));
        ui.prose(&format!("      if not: git carry resolve {name}"));
    } else {
        ui.prose(&format!("\nnext  git carry resolve {name}"));
    }
}

/// The upstream commit that is a revised version of the patch, and how the two differ.
fn revised(ui: &Ui, e: &Explained, evolved: &Evolved, upstream: &str) {
    ui.prose(&format!("\nupstream has a revised version of it, {} % alike", evolved.likeness));
    let day = evolved.date.get(..10).unwrap_or("-");
    ui.prose(&format!("  {} {}", short(&evolved.commit), clean(&evolved.subject)));
    ui.prose(&format!("  {}, {day}", clean(&evolved.author)));
    if let Some(link) = commit_link(upstream, &evolved.commit) {
        ui.prose(&format!("  {link}"));
    }
    let Some([ours, theirs]) = &e.versions else { return };
    ui.prose(&painted("\n  how the two changes differ: - the patch, + upstream", DIM));
    let diff = TextDiff::from_lines(ours.as_str(), theirs.as_str());
    let mut shown = 0;
    for group in diff.grouped_ops(1) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            if shown == 2 * SHOWN {
                ui.prose("  … and more: compare the patch file with git show");
                return;
            }
            shown += 1;
            let line = format!("{}{}", change.tag(), change.value().trim_end_matches('\n'));
            ui.line(&format!("  {}", painted(&code(&line), style(change.tag()))));
        }
    }
}

fn culprit(ui: &Ui, c: &Culprit, upstream: &str) {
    let day = c.date.get(..10).unwrap_or("-");
    ui.prose(&format!("  {} {}", short(&c.commit), clean(&c.subject)));
    ui.prose(&format!("  {} <{}>, {day}", clean(&c.author), clean(&c.mail)));
    if let Some(merge) = &c.merge {
        ui.prose(&format!("  it came by the merge {}", short(merge)));
    }
    for mended in &c.mended {
        ui.prose(&format!("  {} had broken it before, and trunk mended that", short(mended)));
    }
    if let Some(link) = commit_link(upstream, &c.commit) {
        ui.prose(&format!("  {link}"));
    }
}

/// What trunk made of the lines, and what the patch makes of them.
fn side_by_side(ui: &Ui, region: &Region) {
    let width = (terminal_width().saturating_sub(9)) / 2;
    let (left, right) = (changes(&region.base, &region.ours), changes(&region.base, &region.theirs));
    let head = format!("  trunk, line {}", region.line);
    ui.line(&painted(&format!("{head:<w$} │ the patch", w = width + 2), DIM));
    let rows = left.len().max(right.len());
    for at in 0..rows.min(SHOWN) {
        let cell = |side: &[(ChangeTag, String)]| {
            let Some((tag, text)) = side.get(at) else { return " ".repeat(width) };
            let text = cut(text, width);
            let blank = " ".repeat(width.saturating_sub(text.chars().count()));
            format!("{}{blank}", painted(&text, style(*tag)))
        };
        ui.line(format!("  {} │ {}", cell(&left), cell(&right)).trim_end());
    }
    if rows > SHOWN {
        ui.prose(&format!("  … {} more lines", rows - SHOWN));
    }
}

fn changes(base: &[BString], side: &[BString]) -> Vec<(ChangeTag, String)> {
    let lines = |side: &[BString]| side.iter().map(|l| code(&l.to_string())).collect::<Vec<_>>();
    let (base, side) = (lines(base), lines(side));
    let base: Vec<&str> = base.iter().map(String::as_str).collect();
    let side: Vec<&str> = side.iter().map(String::as_str).collect();
    let diff = TextDiff::from_slices(&base, &side);
    diff.iter_all_changes().map(|c| (c.tag(), format!("{}{}", c.tag(), c.value()))).collect()
}

fn style(tag: ChangeTag) -> anstyle::Style {
    let style = anstyle::Style::new();
    match tag {
        ChangeTag::Delete => style.fg_color(Some(anstyle::AnsiColor::Red.into())),
        ChangeTag::Insert => style.fg_color(Some(anstyle::AnsiColor::Green.into())),
        ChangeTag::Equal => DIM,
    }
}

fn terminal_width() -> usize {
    width().map_or(120, usize::from).clamp(60, 240)
}
