//! What people see: text to standard output, progress and notes to standard error, colour only on a terminal.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use indicatif::{ProgressBar, ProgressStyle};

use super::wrap::wrapped;
use crate::night::Events;
use crate::report::words::person;
pub use crate::report::words::{clean, count, short};
use crate::workspace::Outcome;

/// The terminal, or what stands for it.
pub struct Ui {
    /// Print one JSON document instead of text.
    pub json: bool,
    quiet: bool,
    bar: RefCell<Option<ProgressBar>>,
}

/// Grey, for what is seldom looked at.
pub const DIM: Style = Style::new().dimmed();
/// For headings.
pub const BOLD: Style = Style::new().bold();

impl Ui {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, bar: RefCell::default() }
    }

    /// A line of the result.
    pub fn line(&self, text: &str) {
        self.clear();
        // A closed pipe (`| head`) is nobody's mistake.
        let _ = writeln!(anstream::stdout(), "{text}");
    }

    /// A line of the result in words, broken where the terminal ends.
    pub fn prose(&self, text: &str) {
        self.line(&wrapped(text, width(), None));
    }

    /// The same, going on below `hang`.
    pub fn hung(&self, text: &str, hang: &str) {
        self.line(&wrapped(text, width(), Some(hang)));
    }

    /// A JSON document as the result.
    pub fn document(&self, value: &impl serde::Serialize) -> Result<(), serde_json::Error> {
        self.clear();
        let text = serde_json::to_string_pretty(value)?;
        let _ = writeln!(std::io::stdout(), "{text}");
        Ok(())
    }

    /// A line for people beside the result.
    pub fn aside(&self, text: &str) {
        if !self.quiet && !self.json {
            self.clear();
            let _ = writeln!(anstream::stderr(), "{}", wrapped(text, width_beside(), None));
        }
    }

    /// An error or a hint.
    pub fn error(&self, text: &str) {
        self.clear();
        let width = width_beside().filter(|_| !self.json);
        let _ = writeln!(anstream::stderr(), "{}", wrapped(text, width, None));
    }

    /// Ends the progress bar.
    pub fn clear(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

impl Events for Ui {
    fn step(&self, what: &str) {
        if self.quiet || self.json {
            return;
        }
        let what = clean(what);
        if std::io::stderr().is_terminal() {
            self.clear();
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(120));
            *self.bar.borrow_mut() = Some(bar);
        } else {
            let _ = writeln!(std::io::stderr(), "{what}");
        }
    }

    fn git(&self, line: &str) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_message(clean(line.trim()));
        }
    }

    fn note(&self, what: &str) {
        self.aside(&format!("{}note:{} {}", yellow(), anstyle::Reset, clean(what)));
    }
}

fn yellow() -> Style {
    Style::new().fg_color(Some(AnsiColor::Yellow.into()))
}

/// The colour that an outcome has everywhere.
pub fn outcome_style(outcome: Outcome) -> Style {
    let colour = match outcome {
        Outcome::Clean => AnsiColor::Green,
        Outcome::Refreshed => AnsiColor::Cyan,
        Outcome::Resolved => AnsiColor::Blue,
        Outcome::Landed | Outcome::Evolved => AnsiColor::Magenta,
        Outcome::Conflict | Outcome::Broken => AnsiColor::Red,
        Outcome::Blocked => AnsiColor::Yellow,
        Outcome::Held => AnsiColor::BrightBlack,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// An outcome's word in its colour.
pub fn outcome(outcome: Outcome) -> String {
    painted(outcome.word(), outcome_style(outcome))
}

/// Text in a style.
pub fn painted(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// A table without lines or a heading, as wide as the terminal allows.
pub fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// The same, with a heading.
pub fn table(header: &[&str]) -> Table {
    let mut table = bare_table();
    table.set_header(header.iter().map(|h| painted(h, DIM)));
    table
}

/// How wide lines may be, wherever they go.
const COLUMNS: &str = "GIT_CARRY_COLUMNS";

/// How wide lines may be: what is said, or the terminal; none where the result goes elsewhere, whole.
pub fn width() -> Option<u16> {
    width_of(&bare_table())
}

/// The same for what goes to standard error.
fn width_beside() -> Option<u16> {
    width_of(bare_table().use_stderr())
}

fn width_of(terminal: &Table) -> Option<u16> {
    let said = |name: &str| std::env::var(name).ok().and_then(|c| c.parse().ok()).filter(|c| *c >= 20);
    said(COLUMNS).or_else(|| of_terminal(terminal.width()?, said("COLUMNS")))
}

/// How wide a terminal is that says its own width, 0 if it does not know (`stty cols 0`, some serial lines), and what a
/// shell exports of it: COLUMNS means a terminal, and not a pipe.
fn of_terminal(width: u16, exported: Option<u16>) -> Option<u16> {
    exported.or(Some(width).filter(|width| *width > 0))
}

/// In a line that is cut, a column keeps so much of itself at least.
const LEAST: u16 = 16;

/// A table's text, a line a row, without the blanks that fill its last column. Where the terminal is narrow the columns
/// `spare` go, one after the other, then the last column is cut, and the first one only if it must be.
pub fn fitted(mut rows: Table, spare: &[usize]) -> String {
    let Some(width) = width() else {
        rows.set_content_arrangement(ContentArrangement::Disabled);
        return rows.trim_fmt();
    };
    let mut widths: Vec<u16> = rows.column_max_content_widths();
    // Each column has a blank on both sides.
    let needed = |widths: &[u16]| widths.iter().filter(|w| **w > 0).map(|w| w + 2).sum::<u16>();
    let last = widths.len().saturating_sub(1);
    let with_last = |widths: &[u16]| {
        let mut widths = widths.to_vec();
        if let Some(last) = widths.last_mut() {
            *last = (*last).min(LEAST);
        }
        needed(&widths)
    };
    for column in spare {
        let too_wide = if spare.contains(&last) { needed(&widths) } else { with_last(&widths) } > width;
        if too_wide && let Some(of) = rows.column_mut(*column) {
            of.set_constraint(ColumnConstraint::Hidden);
            widths[*column] = 0;
        }
    }
    if needed(&widths) > width {
        let first = usize::from(widths.first() == Some(&0));
        let shown = (0..widths.len()).rev().find(|at| widths[*at] > 0).unwrap_or(last);
        for at in [shown, first] {
            let over = needed(&widths).saturating_sub(width);
            widths[at] = widths[at].saturating_sub(over).max(widths[at].min(LEAST));
        }
        for (at, width) in widths.iter().enumerate().filter(|(_, w)| **w > 0) {
            if let Some(of) = rows.column_mut(at) {
                of.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + 2)));
            }
        }
        rows.set_truncation_indicator("…");
        for row in rows.row_iter_mut() {
            row.max_height(1);
        }
    }
    rows.set_width(width.max(needed(&widths)));
    rows.trim_fmt()
}

/// A line of a file, cleaned; a tab becomes four blanks.
pub fn code(text: &str) -> String {
    clean(&text.replace('\t', "    "))
}

/// `text` in no more than `width` characters.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// An owner as a table shows it: the name, without the mail address.
pub fn name_of(owner: &str) -> String {
    cut(&clean(person(owner)), 28)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(clean("a\x1b[31mb\u{202e}c\r\n"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}\u{fffd}");
        assert_eq!(cut("abcdef", 4), "abc…");
    }

    #[test]
    fn a_terminal_that_does_not_know_its_width_breaks_no_line() {
        assert_eq!(of_terminal(0, None), None);
        assert_eq!(
            [of_terminal(0, Some(90)), of_terminal(120, Some(90)), of_terminal(120, None)],
            [Some(90), Some(90), Some(120)]
        );
    }
}
