//! Which services have to be restarted, and which need not.
//!
//! Packs say it by paths. Where they name no service, the packaging does: unit files, a Procfile, commands that a Python
//! package installs. What is read there gives names to "everything" and never makes less of it: only a unit's own file
//! is known to concern no other. A file's imports are not followed (`docs/risk.md` says why).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry_points;
use super::pack::Rules;
use super::rule::Globs;
use super::trees::{Side, Trees};
use crate::store::ObjectError;

/// All services.
const ALL: &str = "*";
/// A process of a Procfile: its name, and what it runs.
static PROCESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?m)^([A-Za-z0-9_-]+):\s*\S").ok());

/// What has to be restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restarts {
    /// Do the packs say which path asks for what? If not, everything is to be restarted.
    pub mapped: bool,
    /// The services, in the order of starting; `*` where a pack names none.
    pub services: Vec<String>,
    /// For each, a path that asks for it.
    pub because: BTreeMap<String, String>,
    /// The services that need not.
    pub untouched: Vec<String>,
    /// Where a pack names no service: those that the packaging names, with the file that does. There may be more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub named: BTreeMap<String, String>,
}

/// What the changed paths ask for. A path that no rule knows asks for everything.
pub fn of(trees: &Trees<'_>, rules: &Rules) -> Result<Restarts, ObjectError> {
    let named = if rules.services.is_empty() { packaged(trees)? } else { BTreeMap::new() };
    let mut restarts = Restarts { mapped: !rules.paths.is_empty(), named, ..Restarts::default() };
    let names: Vec<&str> = rules.services.iter().map(|s| s.name.as_str()).collect();
    for path in trees.paths() {
        let rule = rules.paths.iter().find(|(globs, _)| globs.matches(path));
        let everything = [ALL.to_owned()];
        let mut wanted = rule.map_or(&everything[..], |(_, restart)| restart).to_vec();
        // Nobody else is started by a unit's own file.
        if wanted == everything
            && path.ends_with(UNIT)
            && let Some((unit, _)) = restarts.named.iter().find(|(_, file)| *file == path)
        {
            wanted = vec![unit.clone()];
        }
        for wanted in &wanted {
            let each: Vec<&str> = match wanted.as_str() {
                ALL if names.is_empty() => vec![ALL],
                ALL => names.clone(),
                one => vec![one],
            };
            for name in each {
                restarts.because.entry(name.to_owned()).or_insert_with(|| path.to_owned());
            }
        }
    }
    let known = names.iter().filter(|name| restarts.because.contains_key(**name)).map(|n| (*n).to_owned());
    restarts.services = known.collect();
    let others = restarts.because.keys().filter(|name| !names.contains(&name.as_str()));
    restarts.services.extend(others.cloned());
    let all = restarts.because.contains_key(ALL);
    let packaged = restarts.named.keys().map(String::as_str).filter(|_| !all);
    restarts.untouched = names
        .into_iter()
        .chain(packaged)
        .filter(|name| !restarts.because.contains_key(*name))
        .map(str::to_owned)
        .collect();
    Ok(restarts)
}

/// How the name of a unit's file ends.
const UNIT: &str = ".service";

/// The services that the new tree's packaging names, with the file that does: its units and processes; where there are
/// none, the commands that it installs.
fn packaged(trees: &Trees<'_>) -> Result<BTreeMap<String, String>, ObjectError> {
    let mut out = BTreeMap::new();
    let globs =
        |patterns: &[&str]| Globs::try_from(patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
    let Ok(units) = globs(&["**/*.service"]) else { return Ok(out) };
    for (path, _) in trees.files(&units, Side::New)? {
        let file = path.rsplit('/').next().unwrap_or_default();
        let name = file.trim_end_matches(UNIT).to_owned();
        out.entry(name).or_insert(path);
    }
    if let (Some(text), Some(process)) = (trees.text_at(PROCFILE, Side::New)?, PROCESS.as_ref()) {
        for found in process.captures_iter(&text) {
            out.entry(found[1].to_owned()).or_insert_with(|| PROCFILE.to_owned());
        }
    }
    if !out.is_empty() {
        return Ok(out);
    }
    for path in ["setup.cfg", "pyproject.toml"] {
        let Some(text) = trees.text_at(path, Side::New)? else { continue };
        for name in entry_points::commands(path, &text) {
            out.entry(name).or_insert_with(|| path.to_owned());
        }
    }
    Ok(out)
}

const PROCFILE: &str = "Procfile";
