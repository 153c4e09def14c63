//! The forms of rules: what a pack may say.

use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Severity;

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
pub(super) struct PathsForm {
    #[serde(rename = "match")]
    pub globs: Globs,
    pub restart: Vec<String>,
}

/// Patterns of paths: `*` stays in a folder, `**` crosses folders.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Globs {
    set: GlobSet,
    /// The folders in which they can match, as far as the patterns say.
    prefixes: Vec<String>,
    /// How the names of what they match end, as far as the patterns say.
    endings: Vec<String>,
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
        let ending = |text: &String| {
            let plain = text.rsplit(['*', '?', '[', ']', '{', '}', '\\', '/']);
            plain.into_iter().next().unwrap_or_default().to_owned()
        };
        let prefixes = texts.iter().map(prefix).collect();
        Ok(Self { set: builder.build()?, prefixes, endings: texts.iter().map(ending).collect() })
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

    /// May a file of this name match?
    pub fn may_name(&self, name: &[u8]) -> bool {
        self.endings.iter().any(|ending| name.ends_with(ending.as_bytes()))
    }

    /// May something in the folder match? The folder ends in a slash.
    pub fn reaches(&self, folder: &str) -> bool {
        self.prefixes.iter().any(|prefix| prefix.starts_with(folder) || folder.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Pieces of patterns, and paths of the same letters.
        #[test]
        fn what_matches_is_looked_for_by_its_folder_and_its_name(
            pattern in r"(\*\*/|a/|b\?/|\{a,b\}/){0,2}(\*|a|\{a,b\}|[ab]|\?)(\.a|\.\*|\\\*|\.\{a,b\}|)",
            path in r"([ab]{1,2}/){0,2}[ab]{1,2}(\.a|\.b|\*|)",
        ) {
            let Ok(globs) = Globs::try_from(vec![pattern.clone()]) else { return Ok(()) };
            let (folder, name) = path.rsplit_once('/').map_or(("", path.as_str()), |(f, n)| (f, n));
            if globs.matches(&path) {
                prop_assert!(globs.may_name(name.as_bytes()), "{pattern} {path}");
                prop_assert!(folder.is_empty() || globs.reaches(&format!("{folder}/")), "{pattern} {path}");
            }
        }
    }
}
