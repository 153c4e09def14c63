//! Release notes of reno: what upstream itself says about an upgrade.
//!
//! Source: reno's documentation of its sections. Notes add to what the trees say and never stand for it: most risky
//! changes have none.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rule::Analyse;
use super::trees::{Side, Trees};
use super::watch::line_of;
use super::{Finding, Severity};
use crate::store::ObjectError;

/// Sections that an operator must read.
const TOLD: [&str; 4] = ["upgrade", "critical", "security", "deprecations"];
/// All sections that reno knows.
const KNOWN: [&str; 10] = [
    "prelude",
    "features",
    "issues",
    "upgrade",
    "deprecations",
    "critical",
    "security",
    "fixes",
    "other",
    "api",
];
/// Characters of a note that are quoted.
const QUOTED: usize = 600;

/// The items of each section.
fn sections(text: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let document: BTreeMap<String, Value> = serde_saphyr::from_str(text).ok()?;
    let item = |value: &Value| match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let items = |value: Value| match value {
        Value::Array(items) => items.iter().map(item).collect(),
        Value::Null => Vec::new(),
        other => vec![item(&other)],
    };
    Some(document.into_iter().map(|(name, value)| (name, items(value))).collect())
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text.to_owned(),
    }
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    for changed in trees.touched(&rule.files) {
        let Some(text) = trees.text_on(changed, Side::New)? else { continue };
        let unread = |out: &mut Vec<Finding>| {
            let finding = Finding::new("unread", Severity::Warn, &rule.id, &changed.path);
            out.push(finding.saying("it is not the YAML that reno reads"));
        };
        let Some(new) = sections(&text) else {
            unread(out);
            continue;
        };
        let old = match trees.text_on(changed, Side::Old)? {
            Some(old) => sections(&old).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        for (name, items) in &new {
            let line = text.find(&format!("\n{name}:")).map_or(1, |at| line_of(&text, at + 1));
            let was = old.get(name).map_or(&[][..], Vec::as_slice);
            // Other words for what was there are no news.
            if items.len() <= was.len() {
                continue;
            }
            if TOLD.contains(&name.as_str()) {
                for item in items.iter().filter(|item| !was.contains(item)) {
                    let kind = format!("note.{name}");
                    let at = first_line(&text, item).unwrap_or(line);
                    let finding = Finding::new(&kind, Severity::Warn, &rule.id, &changed.path);
                    out.push(finding.about(format!("line {at}")).at(at).saying(quoted(item)));
                }
            } else if !KNOWN.contains(&name.as_str()) && was.is_empty() {
                let finding = Finding::new("note.unknown_section", Severity::Warn, &rule.id, &changed.path);
                out.push(finding.about(name.as_str()).at(line).saying("reno knows no such section"));
            }
        }
    }
    Ok(())
}

/// The line in which an item begins.
fn first_line(text: &str, item: &str) -> Option<usize> {
    let start = item.lines().next()?.trim();
    text.lines().position(|line| !start.is_empty() && line.contains(start)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_items_are_read() {
        let found =
            sections("---\nupgrade:\n  - |\n    One.\n  - Two\nprelude: >\n    Hello\n").expect("it is YAML");
        assert_eq!(found["upgrade"], ["One.", "Two"]);
        assert_eq!(found["prelude"], ["Hello"]);
        assert!(sections("a: [").is_none());
    }
}
