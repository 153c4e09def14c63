//! Which services have to be restarted, and which need not.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pack::Rules;
use super::trees::Trees;

/// All services.
const ALL: &str = "*";

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
}

/// What the changed paths ask for. A path that no rule knows asks for everything.
pub fn of(trees: &Trees<'_>, rules: &Rules) -> Restarts {
    let mut restarts = Restarts { mapped: !rules.paths.is_empty(), ..Restarts::default() };
    let names: Vec<&str> = rules.services.iter().map(|s| s.name.as_str()).collect();
    let moved = trees.moved.iter().flat_map(|m| [m.from.as_str(), m.to.as_str()]);
    for path in trees.changed.iter().map(|c| c.path.as_str()).chain(moved) {
        let rule = rules.paths.iter().find(|(globs, _)| globs.matches(path));
        let all = [ALL.to_owned()];
        for wanted in rule.map_or(&all[..], |(_, restart)| restart) {
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
    restarts.untouched =
        names.iter().filter(|n| !restarts.because.contains_key(**n)).map(|n| (*n).to_owned()).collect();
    restarts
}
