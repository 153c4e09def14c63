//! Values that stand in files, and parts of files under headings: what they were and what they are.

use std::collections::BTreeMap;

use super::rule::{Compare, Pin, Sections, Watch};
use super::trees::{Side, Trees};
use super::{Finding, Severity};
use crate::store::ObjectError;

/// Where a value stands.
#[derive(Debug, Clone)]
struct Found {
    path: String,
    value: String,
    line: usize,
}

/// The line of a place in a text, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// The class that a place in a Python file is in.
fn class_at(text: &str, at: usize) -> Option<&str> {
    let head = &text[..at];
    let start = head
        .rfind("\nclass ")
        .map(|n| n + "\nclass ".len())
        .or_else(|| head.strip_prefix("class ").map(|_| 6))?;
    let name = &text[start..];
    Some(&name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())])
}

/// The values of one side, by what they belong to.
fn values(
    trees: &Trees<'_>,
    rule: &Watch,
    side: Side,
) -> Result<BTreeMap<(String, String), Found>, ObjectError> {
    let mut out = BTreeMap::new();
    for changed in trees.touched(&rule.files) {
        let Some(text) = trees.text_on(changed, side)? else { continue };
        for found in rule.regex.0.captures_iter(&text) {
            let Some(value) = found.get(1) else { continue };
            let class = if rule.per_class { class_at(&text, value.start()).unwrap_or_default() } else { "" };
            let path = if rule.merge_files { String::new() } else { changed.path.clone() };
            let found = Found {
                path: changed.path.clone(),
                value: value.as_str().trim().to_owned(),
                line: line_of(&text, value.start()),
            };
            out.entry((path, class.to_owned())).or_insert(found);
        }
    }
    // A value that all files share may stand in one that did not change.
    if rule.merge_files && out.is_empty() && !trees.touched(&rule.files).is_empty() {
        for (path, blob) in trees.files(&rule.files, side)? {
            let Some(text) = trees.text(&blob)? else { continue };
            if let Some(value) = rule.regex.0.captures(&text).and_then(|c| c.get(1)) {
                let line = line_of(&text, value.start());
                let found = Found { path, value: value.as_str().trim().to_owned(), line };
                out.entry((String::new(), String::new())).or_insert(found);
            }
        }
    }
    Ok(out)
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Watch, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    if trees.touched(&rule.files).is_empty() {
        return Ok(());
    }
    let (old, new) = (values(trees, rule, Side::Old)?, values(trees, rule, Side::New)?);
    for (key, was) in &old {
        let Some(is) = new.get(key).or_else(|| renamed(key, &old, &new)) else {
            lost(trees, rule, key, was, out)?;
            continue;
        };
        if same(rule.compare, &was.value, &is.value) {
            continue;
        }
        let major = rule.major.filter(|_| part(&was.value, 0) != part(&is.value, 0));
        let (old, new) =
            (stands_for(trees, rule, &was.value, Side::Old)?, stands_for(trees, rule, &is.value, Side::New)?);
        // Another word for the same number.
        let severity = match old.is_some() && old == new {
            true => rule.severity.min(Severity::Info),
            false => major.unwrap_or(rule.severity),
        };
        let shown = |value: &str, number: Option<String>| match number {
            Some(number) => Some(format!("{value} ({number})")),
            None => Some(value.to_owned()),
        };
        let mut finding = Finding::new(&rule.kind, severity, &rule.id, &is.path).at(is.line);
        finding.name = name(rule, &key.0, &key.1);
        (finding.old, finding.new) = (shown(&was.value, old), shown(&is.value, new));
        if major.is_some() {
            finding.text = Some("another major version".to_owned());
        }
        finding.pin = rule.pin.as_ref().map(|pin| Pin {
            option: pin.option.clone(),
            value: pin.value.replace("{old}", &format!("{}.{}", part(&was.value, 0), part(&was.value, 1))),
        });
        out.push(finding);
    }
    Ok(())
}

/// The value of the only class of a file, where that class has another name now.
fn renamed<'f>(
    (path, class): &(String, String),
    old: &BTreeMap<(String, String), Found>,
    new: &'f BTreeMap<(String, String), Found>,
) -> Option<&'f Found> {
    let of = |key: &&(String, String)| key.0 == *path;
    let mut now = new.iter().filter(|(key, _)| key.0 == *path);
    let only = !class.is_empty() && old.keys().filter(of).count() == 1;
    match (only, now.next(), now.next()) {
        (true, Some((_, found)), None) => Some(found),
        _ => None,
    }
}

/// A value whose file is there, and which stands in it no more. Of a file that went `rule.stale` speaks.
fn lost(
    trees: &Trees<'_>,
    rule: &Watch,
    (path, class): &(String, String),
    was: &Found,
    out: &mut Vec<Finding>,
) -> Result<(), ObjectError> {
    if !trees.has(&was.path)? {
        return Ok(());
    }
    let finding = |kind: &str| Finding::new(kind, rule.severity, &rule.id, &was.path).at(was.line).gone();
    out.push(match class.is_empty() {
        // An interface or an object that is gone.
        false => finding(&format!("{}.removed", rule.kind))
            .about(name(rule, path, class))
            .from_to(Some(was.value.clone()), None),
        true => {
            let finding = finding("rule.stale").about(name(rule, path, class));
            finding.saying(
                "the value that this rule looks at is not found any more: it sees nothing from here on",
            )
        }
    });
    Ok(())
}

/// What a value belongs to: the rule's own name or the file's folder, and the class.
fn name(rule: &Watch, path: &str, class: &str) -> String {
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    // Of versions that each class has, the class says enough.
    if rule.per_class && rule.kind.starts_with("object.") {
        return class.to_owned();
    }
    let base = rule.name.as_deref().unwrap_or(folder);
    match (base, class) {
        (base, "") => base.to_owned(),
        (base, class) => format!("{base}:{class}"),
    }
}

fn part(value: &str, at: usize) -> &str {
    value.split('.').nth(at).unwrap_or("0")
}

fn same(compare: Compare, a: &str, b: &str) -> bool {
    match compare {
        Compare::String => a == b,
        Compare::Int => matches!((a.parse::<u64>(), b.parse::<u64>()), (Ok(a), Ok(b)) if a == b),
        Compare::Dotted => {
            let numbers = |text: &str| text.split('.').map(|p| p.parse().unwrap_or(0)).collect::<Vec<u64>>();
            numbers(a) == numbers(b)
        }
    }
}

/// What a value stands for, by the rule's table.
fn stands_for(
    trees: &Trees<'_>,
    rule: &Watch,
    value: &str,
    side: Side,
) -> Result<Option<String>, ObjectError> {
    let Some(lookup) = &rule.lookup else { return Ok(None) };
    let Some(text) = trees.text_at(&lookup.file, side)? else { return Ok(None) };
    let mut entries = lookup.regex.0.captures_iter(&text);
    let entry = entries.find(|c| c.get(1).is_some_and(|name| name.as_str() == value));
    Ok(entry.and_then(|c| c.get(2)).map(|number| number.as_str().to_owned()))
}

/// Parts under headings whose text is another.
pub fn sections(trees: &Trees<'_>, rule: &Sections, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    for changed in trees.touched(&rule.files) {
        let texts = (trees.text_on(changed, Side::Old)?, trees.text_on(changed, Side::New)?);
        let (Some(old), Some(new)) = texts else { continue };
        let (old, new) = (parts(&old, rule), parts(&new, rule));
        for (name, (was, _)) in &old {
            let Some((is, line)) = new.get(name).filter(|(is, _)| is != was) else { continue };
            let words = |text: &str| text.split_whitespace().count();
            let text = format!("{} words, before {}", words(is), words(was));
            let finding = Finding::new(&rule.kind, rule.severity, &rule.id, &changed.path);
            out.push(finding.about(name.as_str()).at(*line).saying(text));
        }
    }
    Ok(())
}

/// The parts of a text by their headings, without what white space says, and the lines of the headings.
fn parts(text: &str, rule: &Sections) -> BTreeMap<String, (String, usize)> {
    let heads: Vec<_> =
        rule.heading.0.captures_iter(text).filter_map(|c| Some((c.get(0)?, c.get(1)?))).collect();
    let mut out = BTreeMap::new();
    for (at, (whole, name)) in heads.iter().enumerate() {
        let mut end = heads.get(at + 1).map_or(text.len(), |(next, _)| next.start());
        if let Some(until) = rule.until.as_ref().and_then(|u| u.0.find(&text[whole.end()..end])) {
            end = whole.end() + until.start();
        }
        let body: Vec<&str> = text[whole.end()..end].split_whitespace().collect();
        out.insert(name.as_str().to_owned(), (body.join(" "), line_of(text, whole.start())));
    }
    out
}

impl Severity {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "none",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Stop => "stop",
        }
    }
}
