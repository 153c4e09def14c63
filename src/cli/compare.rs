//! `git carry manifest diff`: what differs between two builds, and what the move asks.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};

use super::error::CliError;
use super::manifest::named;
use super::report::evidence_in_words;
use super::ui::{BOLD, DIM, Ui, clean, code, count, cut, fitted, outcome, painted, short, table};
use crate::build::diff::{BuildName, CheckDiff, PatchDiff};
use crate::build::{ManifestDiff, PatchMove, UpstreamRange};
use crate::check::Ended;
use crate::night::{Site, compare_builds};

/// So many upstream commits are shown, the newest, and so many lines of a range-diff, unless all is asked for.
const COMMITS: usize = 12;
const LINES: usize = 30;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The build that is moved from: a build, a stage that runs one, or a manifest's file.
    #[arg(value_name = "FROM")]
    from: String,
    /// The build that is moved to; without it, the last one.
    #[arg(value_name = "TO")]
    to: Option<String>,
    /// Show all upstream commits, whole range-diffs, and findings that are only to know.
    #[arg(long)]
    all: bool,
}

pub fn run(ui: &Ui, site: &Site<'_>, args: &Args) -> Result<u8, CliError> {
    let from = named(site, Some(&args.from))?;
    let to = named(site, args.to.as_deref())?;
    if from.project != to.project {
        return Err(CliError::Usage {
            what: format!(
                "one build is of '{}', the other of '{}'",
                clean(&from.project),
                clean(&to.project)
            ),
            hint: Some("compare builds of one project".into()),
        });
    }
    let diff = compare_builds(site, &from, &to)?;
    if ui.json {
        ui.document(&diff)?;
    } else {
        show(ui, &diff, args.all);
    }
    Ok(0)
}

fn show(ui: &Ui, diff: &ManifestDiff, all: bool) {
    let (from, to) = (&diff.from, &diff.to);
    let ends = format!("{} \u{2192} {}", clean(&from.build), clean(&to.build));
    ui.line(&format!("{}  {ends}", painted(&clean(&diff.project), BOLD)));
    ui.line(&format!("  trunk    {} \u{2192} {}", trunk(from), trunk(to)));
    ui.line(&format!("  upstream {}", upstream_in_words(diff)));
    ui.line(&format!("  patches  {}", patches_in_words(diff)));
    for check in &diff.checks {
        ui.line(&format!("  check    {}", check_in_words(check)));
    }
    for (range, title) in [(&diff.taken_in, "taken in"), (&diff.given_up, "given up")] {
        if let Some(range) = range {
            commits(ui, range, title, all);
        }
    }
    if !diff.patches.is_empty() {
        let mut rows = table(&["patch", "", "was", "is", "what"]);
        for p in &diff.patches {
            let word = |o: Option<crate::workspace::Outcome>| o.map_or("-".to_owned(), outcome);
            let what = p.evidence.as_deref().map_or_else(|| p.subject.clone(), evidence_in_words);
            let what = cut(&clean(&what), 80);
            rows.add_row([clean(&p.name), moved(p.what), word(p.before), word(p.after), what]);
        }
        ui.line(&format!("\n{}", fitted(rows, &[])));
    }
    for p in diff.patches.iter().filter(|p| p.range_diff.is_some()) {
        range_diff(ui, p, all);
    }
    ui.line("");
    match &diff.risk {
        Some(risk) => super::risk::show(ui, risk, all),
        None if from.commit == to.commit => ui.line("the same build: nothing to do"),
        None => ui.line("risk: not looked at, as a commit of these builds is not in this store"),
    }
}

fn trunk(build: &BuildName) -> String {
    let named = build.describe.as_deref().map(|d| format!(" ({})", clean(d))).unwrap_or_default();
    format!("{}{named} of {}", short(&build.trunk), build.date.get(..10).unwrap_or("-"))
}

fn upstream_in_words(diff: &ManifestDiff) -> String {
    let of = |range: &UpstreamRange, what: &str| {
        let people = count(range.authors.len(), "author", "authors");
        format!("{} {what}, by {people}", count(range.count, "commit", "commits"))
    };
    match (&diff.taken_in, &diff.given_up) {
        (None, None) if diff.from.trunk == diff.to.trunk => "the same trunk commit".to_owned(),
        (None, None) => "not known: a trunk commit is not in this store".to_owned(),
        (Some(taken), None) => of(taken, "taken in"),
        (None, Some(given)) => format!("{}: this is a way back", of(given, "given up")),
        (Some(taken), Some(given)) => format!("{}; {}", of(taken, "taken in"), of(given, "given up")),
    }
}

fn patches_in_words(diff: &ManifestDiff) -> String {
    let mut counts: BTreeMap<PatchMove, usize> = BTreeMap::new();
    for p in &diff.patches {
        *counts.entry(p.what).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.iter().map(|(what, n)| format!("{n} {}", moved(*what))).collect();
    parts.push(format!("{} the same", diff.same));
    parts.join(", ")
}

/// How a patch differs, in its colour.
fn moved(what: PatchMove) -> String {
    let colour = match what {
        PatchMove::Added | PatchMove::Back => AnsiColor::Green,
        PatchMove::Changed => AnsiColor::Cyan,
        PatchMove::Context => AnsiColor::BrightBlack,
        PatchMove::Landed => AnsiColor::Magenta,
        PatchMove::LeftOut | PatchMove::Dropped => AnsiColor::Red,
    };
    painted(what.word(), Style::new().fg_color(Some(colour.into())))
}

fn check_in_words(check: &CheckDiff) -> String {
    let word = |ended: Option<Ended>| match ended {
        None => "not run",
        Some(Ended::Passed) => "passed",
        Some(Ended::Failed) => "failed",
        Some(Ended::TimedOut) => "took too long",
        Some(Ended::NotStarted) => "not started",
    };
    format!("{}: {} \u{2192} {}", clean(&check.name), word(check.before), word(check.after))
}

fn commits(ui: &Ui, range: &UpstreamRange, title: &str, all: bool) {
    ui.line(&format!("\n{}", painted(title, BOLD)));
    let shown = if all { range.commits.len() } else { COMMITS };
    for c in range.commits.iter().rev().take(shown) {
        let author = painted(&cut(&clean(&c.author), 24), DIM);
        ui.line(&format!("  {}  {}  {author}", short(&c.commit), cut(&clean(&c.subject), 76)));
    }
    let more = range.count.saturating_sub(shown.min(range.commits.len()));
    if more > 0 {
        ui.line(&painted(&format!("  and {} before: --all", count(more, "commit", "commits")), DIM));
    }
}

fn range_diff(ui: &Ui, p: &PatchDiff, all: bool) {
    let text = p.range_diff.as_deref().unwrap_or_default();
    ui.line(&format!("\n{} changed (git range-diff):", painted(&clean(&p.name), BOLD)));
    let lines: Vec<&str> = text.lines().collect();
    let shown = if all { lines.len() } else { LINES };
    for line in lines.iter().take(shown) {
        ui.line(&range_diff_line(line));
    }
    if lines.len() > shown {
        ui.line(&painted(&format!("  and {} more: --all", count(lines.len() - shown, "line", "lines")), DIM));
    }
}

/// A line of `git range-diff`: its first mark is how the patches differ, the second what they do to the file.
pub fn range_diff_line(line: &str) -> String {
    let colour = match line.as_bytes().first() {
        Some(b'+') => Style::new().fg_color(Some(AnsiColor::Green.into())),
        Some(b'-') => Style::new().fg_color(Some(AnsiColor::Red.into())),
        Some(b'@') => DIM,
        _ => Style::new(),
    };
    format!("  {}", painted(&code(line), colour))
}
