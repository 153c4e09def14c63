//! Rule packs: what to look for, as data.
//!
//! A pack is a TOML file. Some ship inside the program; a workspace adds its own and overrides rules by their ids. A
//! pack executes nothing. `docs/risk.md` tells every key.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Severity;
use super::rule::{Analyse, Commits, Files, Globs, PathsForm, Sections, Service, Set, Watch};

/// The version of the packs' form.
const FORMAT: u32 = 1;

/// The packs inside the program.
const SHIPPED: [(&str, &str); 8] = [
    ("generic", include_str!("packs/generic.toml")),
    ("openstack", include_str!("packs/openstack.toml")),
    ("nova", include_str!("packs/nova.toml")),
    ("django", include_str!("packs/django.toml")),
    ("rails", include_str!("packs/rails.toml")),
    ("flyway", include_str!("packs/flyway.toml")),
    ("kubernetes", include_str!("packs/kubernetes.toml")),
    ("sql-migrations", include_str!("packs/sql-migrations.toml")),
];

/// The pack that is always there.
const BASE: &str = "generic";

/// A pack that cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum PackError {
    /// There is none of this name.
    #[error("there is no rule pack '{name}'; there are: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that ship with the program.
        known: String,
    },
    /// Its text is not a pack.
    #[error("the rule pack '{name}': {reason}")]
    Form {
        /// The pack, or its file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A pack as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pack {
    format: u32,
    name: String,
    #[serde(default)]
    extends: Vec<String>,
    /// Files by which a tree is known to want it.
    #[serde(default)]
    #[expect(dead_code, reason = "it is read apart, without the rest")]
    detect: Vec<String>,
    /// Rules of other packs that do not count.
    #[serde(default)]
    off: Vec<String>,
    #[serde(default)]
    severity: BTreeMap<String, Severity>,
    #[serde(default)]
    service: Vec<Service>,
    #[serde(default)]
    paths: Vec<PathsForm>,
    #[serde(default)]
    watch: Vec<Watch>,
    #[serde(default)]
    set: Vec<Set>,
    #[serde(default)]
    sections: Vec<Sections>,
    #[serde(default)]
    files: Vec<Files>,
    #[serde(default)]
    commits: Vec<Commits>,
    #[serde(default)]
    analyse: Vec<Analyse>,
}

/// A pack, as a reader of findings can find it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackRecord {
    /// Its name.
    pub name: String,
    /// SHA-256 of its text.
    pub digest: String,
}

/// All rules that hold, of all packs together.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The packs that they come from, the most general first.
    pub packs: Vec<PackRecord>,
    /// How bad a kind of finding is, over what its rule says.
    pub severity: BTreeMap<String, Severity>,
    /// What can be restarted, in the order of starting.
    pub services: Vec<Service>,
    /// Which paths ask for which restarts; the first that matches counts.
    pub paths: Vec<(Globs, Vec<String>)>,
    #[allow(missing_docs, reason = "they say it")]
    pub watch: Vec<Watch>,
    #[allow(missing_docs, reason = "they say it")]
    pub set: Vec<Set>,
    #[allow(missing_docs, reason = "they say it")]
    pub sections: Vec<Sections>,
    #[allow(missing_docs, reason = "they say it")]
    pub files: Vec<Files>,
    #[allow(missing_docs, reason = "they say it")]
    pub commits: Vec<Commits>,
    #[allow(missing_docs, reason = "they say it")]
    pub analyse: Vec<Analyse>,
}

fn parse(name: &str, text: &str) -> Result<Pack, PackError> {
    let wrong = |reason: String| PackError::Form { name: name.to_owned(), reason };
    let pack: Pack = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
    match pack.format {
        FORMAT => Ok(pack),
        other => Err(wrong(format!("its format is {other}; this program reads {FORMAT}"))),
    }
}

fn shipped(name: &str) -> Result<&'static str, PackError> {
    let found = SHIPPED.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
    found.ok_or_else(|| PackError::Unknown { name: name.to_owned(), known: known().join(", ") })
}

/// The names of the packs that ship with the program.
pub fn known() -> Vec<&'static str> {
    SHIPPED.iter().map(|(name, _)| *name).collect()
}

/// The packs that a tree asks for by its files: `has` says whether a path is there.
pub fn detected(has: impl Fn(&str) -> bool) -> Vec<String> {
    /// As much of a pack as is asked here: making its patterns would take most of the time of a quiet night.
    #[derive(Deserialize)]
    struct Asks {
        #[serde(default)]
        detect: Vec<String>,
    }
    let wants = |(_, text): &&(&str, &str)| {
        toml::from_str::<Asks>(text).is_ok_and(|pack| pack.detect.iter().any(|path| has(path)))
    };
    SHIPPED.iter().filter(wants).map(|(name, _)| (*name).to_owned()).collect()
}

impl Rules {
    /// The rules of shipped packs by their names, and of a workspace's own packs (name and text), which come last.
    pub fn load(names: &[String], own: &[(String, String)]) -> Result<Self, PackError> {
        let mut rules = Self::default();
        let mut loaded = BTreeSet::new();
        rules.add_shipped(BASE, &mut loaded)?;
        for name in names {
            rules.add_shipped(name, &mut loaded)?;
        }
        for (name, text) in own {
            let pack = parse(name, text)?;
            for base in &pack.extends {
                rules.add_shipped(base, &mut loaded)?;
            }
            rules.add(pack, text);
        }
        Ok(rules)
    }

    fn add_shipped(&mut self, name: &str, loaded: &mut BTreeSet<String>) -> Result<(), PackError> {
        if !loaded.insert(name.to_owned()) {
            return Ok(());
        }
        let text = shipped(name)?;
        let pack = parse(name, text)?;
        for base in &pack.extends {
            self.add_shipped(base, loaded)?;
        }
        self.add(pack, text);
        Ok(())
    }

    fn add(&mut self, pack: Pack, text: &str) {
        let digest = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        let of = |id: &str| format!("{}/{id}", pack.name);
        /// Puts a pack's rules behind the others; one of the same id takes the other's place.
        macro_rules! take {
            ($($list:ident),*) => {$(
                self.$list.retain(|old| !pack.off.contains(&old.id));
                for mut rule in pack.$list {
                    let bare = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
                    self.$list.retain(|old| bare(&old.id) != rule.id);
                    rule.id = of(&rule.id);
                    self.$list.push(rule);
                }
            )*};
        }
        take!(watch, set, sections, files, commits, analyse);
        self.severity.extend(pack.severity);
        for service in pack.service {
            self.services.retain(|old| old.name != service.name);
            self.services.push(service);
        }
        self.services.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
        // The more special pack's paths come first.
        let paths = pack.paths.into_iter().map(|form| (form.globs, form.restart));
        self.paths.splice(0..0, paths);
        self.packs.push(PackRecord { name: pack.name, digest });
    }

    /// How bad a finding of this kind is, if its rule says `usual`.
    pub fn severity_of(&self, kind: &str, usual: Severity) -> Severity {
        self.severity.get(kind).copied().unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shipped_packs_can_be_used() {
        for name in known() {
            let rules = Rules::load(&[name.to_owned()], &[]).unwrap_or_else(|e| panic!("{e}"));
            assert!(rules.packs.iter().any(|p| p.name == name));
        }
    }

    #[test]
    fn a_workspace_s_pack_replaces_rules_by_their_ids() {
        let own = "format = 1\nname = \"mine\"\nextends = [\"openstack\"]\noff = [\"openstack/notes\"]\n\
                   [[watch]]\nid = \"python\"\nkind = \"runtime.python\"\nfiles = [\"x\"]\nregex = 'y'\nseverity = \"info\"\n";
        let rules = Rules::load(&[], &[("mine".into(), own.into())]).expect("it is a pack");
        let python: Vec<&str> =
            rules.watch.iter().map(|w| w.id.as_str()).filter(|id| id.ends_with("/python")).collect();
        assert_eq!(python, ["mine/python"]);
        assert!(rules.analyse.iter().all(|a| a.id != "openstack/notes"));
    }

    #[test]
    fn a_wrong_pack_is_told_with_its_line() {
        let own = "format = 1\nname = \"mine\"\n[[watch]]\nid = \"a\"\nkindd = \"b\"\n";
        let error = Rules::load(&[], &[("risk.toml".into(), own.into())]).expect_err("a key is wrong");
        assert!(error.to_string().contains("kindd") && error.to_string().contains("line"), "{error}");
        assert!(matches!(Rules::load(&["none".into()], &[]), Err(PackError::Unknown { .. })));
    }
}
