//! Names that stand in files: which came, which went, and whose value is another.

use std::collections::BTreeMap;

use super::rule::Set;
use super::trees::{Side, Trees};
use super::watch::line_of;
use super::{Finding, Severity};
use crate::store::ObjectError;

#[derive(Debug, Clone)]
struct Found {
    path: String,
    line: usize,
    value: Option<String>,
    mark: Option<String>,
}

/// The names in a text.
fn names(rule: &Set, path: &str, text: &str, out: &mut BTreeMap<String, Found>) {
    let scopes: Vec<(usize, usize)> = match &rule.inside {
        Some(opens) => opens.0.find_iter(text).map(|m| (m.end(), closing(text, m.end()))).collect(),
        None => vec![(0, text.len())],
    };
    for (start, end) in scopes {
        for found in rule.regex.0.captures_iter(&text[start..end]) {
            let Some(name) = found.get(1) else { continue };
            let group = |at: Option<usize>| at.and_then(|at| found.get(at)).map(|m| m.as_str().to_owned());
            let key = match rule.last_part {
                true => name.as_str().rsplit('.').next().unwrap_or_default(),
                false => name.as_str(),
            };
            out.entry(key.to_owned()).or_insert(Found {
                path: path.to_owned(),
                line: line_of(text, start + name.start()),
                value: group(rule.value),
                mark: group(rule.same_value_but),
            });
        }
    }
}

/// The place of the bracket that closes the one before `from`.
fn closing(text: &str, from: usize) -> usize {
    let mut depth = 1;
    let mut quote = None;
    let mut in_comment = false;
    for (at, c) in text[from..].char_indices() {
        match (quote, c) {
            _ if in_comment => in_comment = c != '\n',
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '#') => in_comment = true,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return from + at;
        }
    }
    text.len()
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Set, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    let touched = trees.touched(&rule.files);
    if touched.is_empty() {
        return Ok(());
    }
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    for changed in &touched {
        if let Some(text) = trees.text_on(changed, Side::Old)? {
            names(rule, &changed.path, &text, &mut old);
        }
        if let Some(text) = trees.text_on(changed, Side::New)? {
            names(rule, &changed.path, &text, &mut new);
        }
    }
    // A name that went may still stand in a file that did not change.
    let mut elsewhere = BTreeMap::new();
    if old.keys().any(|name| !new.contains_key(name)) || new.keys().any(|name| !old.contains_key(name)) {
        let changed: std::collections::HashSet<&str> = touched.iter().map(|c| c.path.as_str()).collect();
        for (path, blob) in trees.files(&rule.files, Side::New)? {
            if !changed.contains(path.as_str())
                && let Some(text) = trees.text(&blob)?
            {
                names(rule, &path, &text, &mut elsewhere);
            }
        }
    }
    let finding = |kind: &str, severity: Severity, name: &str, found: &Found| {
        Finding::new(kind, severity, &rule.id, &found.path).about(name).at(found.line)
    };
    for (name, was) in &old {
        match new.get(name).or_else(|| elsewhere.get(name)) {
            None => {
                let kind = format!("{}.removed", rule.kind);
                let gone = finding(&kind, rule.removed, name, was).gone();
                out.push(gone.from_to(was.value.clone(), None));
            }
            Some(is) if is.value != was.value => {
                let changed = finding(&rule.kind, rule.changed, name, is);
                out.push(changed.from_to(was.value.clone(), is.value.clone()));
            }
            // What goes over the wire is another, under the same version.
            Some(is) if is.mark != was.mark => {
                let kind = format!("{}.unmarked", rule.kind);
                let changed = finding(&kind, Severity::Stop, name, is);
                out.push(changed.from_to(was.mark.clone(), is.mark.clone()));
            }
            Some(_) => {}
        }
    }
    for (name, is) in
        new.iter().filter(|(name, _)| !old.contains_key(*name) && !elsewhere.contains_key(*name))
    {
        let kind = format!("{}.added", rule.kind);
        out.push(finding(&kind, rule.added, name, is).from_to(None, is.value.clone()));
    }
    Ok(())
}
