//! Entry points of Python packages: what a unit file or a command line calls by name.
//!
//! They stand in `setup.cfg` or in `pyproject.toml`; a move from one to the other changes nothing.

use std::collections::BTreeMap;

use configparser::ini::{Ini, IniDefault};

use super::rule::Analyse;
use super::trees::{Side, Trees};
use super::{Finding, Severity};
use crate::store::ObjectError;

/// By group and name: the target, and the file.
type Points = BTreeMap<(String, String), (String, String)>;

fn line_in(text: &str, name: &str) -> Option<usize> {
    let starts = |line: &str| {
        let rest = line.trim_start().trim_start_matches('"').strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with('='))
    };
    text.lines().position(starts).map(|at| at + 1)
}

/// `group =` and, below it, `name = target`.
fn setup_cfg(path: &str, text: &str, out: &mut Points) -> Option<()> {
    let mut defaults = IniDefault::default();
    defaults.multiline = true;
    defaults.case_sensitive = true;
    defaults.delimiters = vec!['='];
    defaults.comment_symbols = vec!['#', ';'];
    defaults.inline_comment_symbols = Some(Vec::new());
    let mut ini = Ini::new_from_defaults(defaults);
    let sections = ini.read(text.to_owned()).ok()?;
    let groups = sections.get("entry_points").into_iter().flatten();
    for (group, lines) in groups {
        for line in lines.as_deref().unwrap_or_default().lines() {
            if let Some((name, target)) = line.split_once('=') {
                let key = (group.trim().to_owned(), name.trim().to_owned());
                out.insert(key, (target.trim().to_owned(), path.to_owned()));
            }
        }
    }
    Some(())
}

fn pyproject(path: &str, text: &str, out: &mut Points) -> Option<()> {
    let document: toml::Table = toml::from_str(text).ok()?;
    let project = document.get("project");
    let mut take = |group: &str, table: Option<&toml::Value>| {
        for (name, target) in table.and_then(|t| t.as_table()).into_iter().flatten() {
            let target = target.as_str().unwrap_or_default();
            out.insert((group.to_owned(), name.clone()), (target.to_owned(), path.to_owned()));
        }
    };
    take("console_scripts", project.and_then(|p| p.get("scripts")));
    take("gui_scripts", project.and_then(|p| p.get("gui-scripts")));
    for (group, table) in
        project.and_then(|p| p.get("entry-points")).and_then(|e| e.as_table()).into_iter().flatten()
    {
        take(group, Some(table));
    }
    Some(())
}

/// The commands that a package installs.
pub fn commands(path: &str, text: &str) -> Vec<String> {
    let mut points = Points::new();
    let read = match path.ends_with(".toml") {
        true => pyproject(path, text, &mut points),
        false => setup_cfg(path, text, &mut points),
    };
    let is_command = |group: &str| matches!(group, "console_scripts" | "wsgi_scripts");
    let names = points.into_keys().filter(|(group, _)| read.is_some() && is_command(group));
    names.map(|(_, name)| name).collect()
}

fn read(
    trees: &Trees<'_>,
    rule: &Analyse,
    side: Side,
    unread: &mut Vec<String>,
) -> Result<Points, ObjectError> {
    let mut out = Points::new();
    for (path, blob) in trees.files(&rule.files, side)? {
        let Some(text) = trees.text(&blob)? else { continue };
        let read = match path.ends_with(".toml") {
            true => pyproject(&path, &text, &mut out),
            false => setup_cfg(&path, &text, &mut out),
        };
        if read.is_none() {
            unread.push(path);
        }
    }
    Ok(out)
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    if trees.touched(&rule.files).is_empty() {
        return Ok(());
    }
    let mut unread = Vec::new();
    let old = read(trees, rule, Side::Old, &mut unread)?;
    let new = read(trees, rule, Side::New, &mut unread)?;
    unread.dedup();
    if !unread.is_empty() {
        for path in unread {
            let finding = Finding::new("unread", Severity::Warn, &rule.id, &path);
            out.push(finding.saying("its entry points could not be read"));
        }
        return Ok(());
    }
    let find =
        |kind: &str, (group, name): &(String, String), path: &str, side| -> Result<Finding, ObjectError> {
            let mut finding =
                Finding::new(kind, Severity::Info, &rule.id, path).about(format!("{group}: {name}"));
            finding.line = trees.text_at(path, side)?.and_then(|text| line_in(&text, name));
            Ok(finding)
        };
    for (key, (target, path)) in &old {
        match new.get(key) {
            None => {
                let mut gone = find("entrypoint.removed", key, path, Side::Old)?.gone();
                gone.severity = Severity::Warn;
                if rule.service_groups.contains(&key.0) {
                    gone.text = Some("a service".to_owned());
                    gone.severity = Severity::Stop;
                }
                out.push(gone.from_to(Some(target.clone()), None));
            }
            Some((is, path)) if is != target => {
                let changed = find("entrypoint.changed", key, path, Side::New)?;
                out.push(changed.from_to(Some(target.clone()), Some(is.clone())));
            }
            Some(_) => {}
        }
    }
    for (key, (target, path)) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        out.push(find("entrypoint.added", key, path, Side::New)?.from_to(None, Some(target.clone())));
    }
    Ok(())
}
