//! What is new in upstream's changes that are carried before they are merged.

use anstyle::AnsiColor;

use super::ui::{BOLD, Ui, clean, painted, short};
use crate::night::follow::Followed;

/// So many lines of a range-diff are shown; the rest is one command away.
const LINES: usize = 60;

/// Tells each, with what differs between the revisions.
pub fn show(ui: &Ui, followed: &[Followed]) {
    for f in followed {
        let names = clean(&f.patches.join(", "));
        match &f.from {
            Some(from) => ui.line(&format!(
                "\n{} has a new revision, {} after {}: {}",
                clean(&f.url),
                short(&f.to),
                short(from),
                painted(&names, BOLD)
            )),
            None => ui.line(&format!(
                "\n{} is carried at {} as {}",
                clean(&f.url),
                short(&f.to),
                painted(&names, BOLD)
            )),
        }
        if let Some(note) = &f.note {
            ui.line(&format!("  {}", clean(note)));
        }
        let lines: Vec<&str> = f.range_diff.iter().flat_map(|text| text.lines()).collect();
        for line in lines.iter().take(LINES) {
            let text = clean(line);
            // The diff of two diffs is indented by four; its own sign comes first.
            let painted = match line.chars().nth(4) {
                Some('+') => painted(&text, AnsiColor::Green.on_default()),
                Some('-') => painted(&text, AnsiColor::Red.on_default()),
                _ => text,
            };
            ui.line(&format!("  {painted}"));
        }
        if lines.len() > LINES {
            ui.line(&format!("  … {} more lines; all of them: the same with --json", lines.len() - LINES));
        }
        if f.from.is_some() && f.range_diff.is_none() {
            ui.line("  the revision before is not known on this machine: what differs cannot be shown");
        }
    }
}
