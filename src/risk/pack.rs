//! Rule packs: what to look for, as data.
//!
//! A pack is a TOML file. Some ship inside the program; a workspace adds its own and overrides rules by their ids. A
//! pack executes nothing. `docs/risk.md` tells every key.

use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Severity;

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

/// Something that is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its place in the order of starting; smaller is earlier.
    pub order: u32,
    /// What one of it serves.
    #[serde(default)]
    pub scope: Scope,
    /// How it is to be stopped without loss.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drain: Option<String>,
    /// How many at a time: `5%`, `1`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub batch: Option<String>,
}

/// How much of an installation something serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All of it.
    #[default]
    Region,
    /// One cell.
    Cell,
    /// One host.
    Host,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathsForm {
    #[serde(rename = "match")]
    globs: Globs,
    restart: Vec<String>,
}

/// Patterns of paths: `*` stays in a folder, `**` crosses folders.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Globs {
    set: GlobSet,
    /// The folders in which they can match, as far as the patterns say.
    prefixes: Vec<String>,
}

/// A pattern of text; `^` and `$` are a line's.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(pub Regex);

/// A value that stands in a file, compared between two trees.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/risk.md tells the keys")]
pub struct Watch {
    pub id: String,
    pub kind: String,
    #[serde(default)]
    pub name: Option<String>,
    pub files: Globs,
    pub regex: Pattern,
    #[serde(rename = "type", default)]
    pub compare: Compare,
    /// A value for each class of the file.
    #[serde(default)]
    pub per_class: bool,
    /// One value for all files, so that a move between them is no change.
    #[serde(default)]
    pub merge_files: bool,
    pub severity: Severity,
    /// Where the first part of a dotted value differs.
    #[serde(default)]
    pub major: Option<Severity>,
    #[serde(default)]
    pub pin: Option<Pin>,
    #[serde(default)]
    pub lookup: Option<Lookup>,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// As texts.
    #[default]
    String,
    /// As whole numbers.
    Int,
    /// As numbers between dots: 2.99 is less than 2.100.
    Dotted,
}

/// What keeps a side at the old version while both run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The option.
    pub option: String,
    /// Its value; `{old}` is the old version without what follows its second part.
    pub value: String,
}

/// A table in a file in which a watched value is looked up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/risk.md tells the keys")]
pub struct Lookup {
    pub file: String,
    /// Two groups: the value, and what it stands for.
    pub regex: Pattern,
}

/// Names that stand in files, compared between two trees as a set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/risk.md tells the keys")]
pub struct Set {
    pub id: String,
    pub kind: String,
    pub files: Globs,
    pub regex: Pattern,
    /// Only in the brackets that this opens.
    #[serde(default)]
    pub inside: Option<Pattern>,
    /// A group that is the name's value.
    #[serde(default)]
    pub value: Option<usize>,
    /// A group that must not change while the value stays.
    #[serde(default)]
    pub same_value_but: Option<usize>,
    /// Only what follows the last dot is the name.
    #[serde(default)]
    pub last_part: bool,
    #[serde(default = "info")]
    pub added: Severity,
    #[serde(default = "info")]
    pub removed: Severity,
    #[serde(default = "info")]
    pub changed: Severity,
}

fn info() -> Severity {
    Severity::Info
}

/// Parts of a file under headings, each compared with what it was.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/risk.md tells the keys")]
pub struct Sections {
    pub id: String,
    pub kind: String,
    pub files: Globs,
    /// One group: the heading's name.
    pub heading: Pattern,
    /// What ends the last part.
    #[serde(default)]
    pub until: Option<Pattern>,
    pub severity: Severity,
}

/// Files that came, went or changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/risk.md tells the keys")]
pub struct Files {
    pub id: String,
    pub kind: String,
    #[serde(rename = "match")]
    pub globs: Globs,
    /// Of those, files that nobody deploys.
    #[serde(default)]
    pub except: Option<Globs>,
    pub on: BTreeSet<On>,
    pub severity: Severity,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "they say it")]
pub enum On {
    Added,
    Removed,
    Modified,
    Renamed,
}

/// What commit messages say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/risk.md tells the keys")]
pub struct Commits {
    pub id: String,
    pub kind: String,
    pub regex: Pattern,
    pub severity: Severity,
}

/// Files that an analyser reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/risk.md tells the keys")]
pub struct Analyse {
    pub id: String,
    pub analyser: Analyser,
    pub files: Globs,
    /// Of `unread`: files that need nobody to read them.
    #[serde(default)]
    pub except: Option<Globs>,
    /// The database, where there are several.
    #[serde(default)]
    pub db: Option<String>,
    #[serde(default)]
    pub scope: Scope,
    /// One group: a migration's identity, from its path.
    #[serde(default)]
    pub identity: Option<Pattern>,
    /// Is a migration that comes late left out by the tool, without a word?
    #[serde(default)]
    pub skips_late: bool,
    /// Does the tool run a phase by itself, wherever it stands?
    #[serde(default)]
    pub branches: bool,
    /// Folders by which a migration says what it is.
    #[serde(default)]
    pub declared: BTreeMap<String, String>,
    /// How bad it is that a migration that was out is written anew.
    #[serde(default)]
    pub rewritten: Option<Severity>,
    /// The word by which an author says that a migration was looked at.
    #[serde(default)]
    pub assured: Option<String>,
    /// The commands that run it, by phase.
    #[serde(default)]
    pub apply: BTreeMap<String, String>,
    /// Groups of entry points that are services.
    #[serde(default)]
    pub service_groups: Vec<String>,
}

/// The analysers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "docs/risk.md tells them")]
pub enum Analyser {
    Alembic,
    SqlalchemyMigrate,
    Django,
    Rails,
    Sql,
    Liquibase,
    OsloConfig,
    Requirements,
    Lockfile,
    EntryPoints,
    Reno,
    VersionedObjects,
    Crd,
    /// Nothing reads these files: that they changed is said, and that nobody knows what it means.
    Unread,
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

impl TryFrom<Vec<String>> for Globs {
    type Error = globset::Error;

    fn try_from(texts: Vec<String>) -> Result<Self, globset::Error> {
        let mut builder = GlobSetBuilder::new();
        for text in &texts {
            builder.add(GlobBuilder::new(text).literal_separator(true).build()?);
        }
        let prefix = |text: &String| {
            let plain = text.split(['*', '?', '[', '{']).next().unwrap_or_default();
            plain.rfind('/').map_or(String::new(), |at| plain[..=at].to_owned())
        };
        Ok(Self { set: builder.build()?, prefixes: texts.iter().map(prefix).collect() })
    }
}

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, regex::Error> {
        regex::RegexBuilder::new(&text).multi_line(true).build().map(Self)
    }
}

impl Globs {
    /// Does a path match?
    pub fn matches(&self, path: &str) -> bool {
        self.set.is_match(path)
    }

    /// May something in the folder match? The folder ends in a slash.
    pub fn reaches(&self, folder: &str) -> bool {
        self.prefixes.iter().any(|prefix| prefix.starts_with(folder) || folder.starts_with(prefix.as_str()))
    }
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
