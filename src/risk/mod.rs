//! What the move from one build to another asks of the people who run it.
//!
//! Two trees are compared by rules (`pack`), which are data; `trees` has what differs. A rule watches a value
//! (`watch`), a set of names (`set`), parts under headings (`sections`) or files (`files`); where a pattern cannot do,
//! an analyser reads the file: migrations (`migration`, by way of `script`), options (`options`), dependencies
//! (`dependencies`), entry points (`entry_points`), release notes (`notes`), objects on the wire (`objects`),
//! custom resource definitions (`crd`). `restart` maps paths to services. Every finding has its evidence: a file, a
//! line, and the rule. What a rule was to read and could not is a finding too.

pub mod crd;
pub mod dependencies;
pub mod entry_points;
pub mod migration;
pub mod notes;
pub mod objects;
pub mod options;
pub mod origin;
pub mod pack;
pub mod plan;
pub mod restart;
pub mod rule;
pub mod script;
pub mod set;
pub mod trees;
pub mod watch;

use gix_hash::ObjectId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{ObjectError, Objects};
use migration::chain::Known;
use migration::{Op, Phase};
use pack::Rules;
use restart::Restarts;
use rule::{Analyser, On, Pin, Scope};
use trees::{Side, Trees};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Not told.
    Off,
    /// To know.
    Info,
    /// To look at before the move.
    Warn,
    /// No move without a person's word.
    Stop,
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// It may well be nothing.
    Low,
    /// Somebody who should know says that it was looked at.
    Medium,
    /// It stands there.
    High,
}

/// One thing that the move asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it is: `db.migration`, `config.removed`, `rpc.version` …; `docs/risk.md` lists them.
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// The rule that found it: pack and id.
    pub rule: String,
    /// The file in which it stands; empty for what a commit's message says.
    pub path: String,
    /// The line in that file, from 1, where one can be named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    /// Does the file stand in the old build only?
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub in_old: bool,
    /// What it is about: an option, an interface, a package, a revision.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub name: String,
    /// What was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old: Option<String>,
    /// What will be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new: Option<String>,
    /// More words: a release note's text, what could not be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The migration, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub migration: Option<MigrationRecord>,
    /// What keeps both versions together while both run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pin: Option<Pin>,
    /// The commit that brought it; none where no history was asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
}

/// A migration in a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MigrationRecord {
    /// The database.
    pub db: String,
    /// What one such database serves.
    pub scope: Scope,
    /// The migration's identity in its tool.
    pub revision: String,
    /// Its place among the new migrations of this database, from 0.
    pub place: usize,
    /// The worst of what it does.
    pub phase: Phase,
    /// What its folder says it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub declared: Option<String>,
    /// Its operations, in order.
    pub ops: Vec<Op>,
    /// Can its tool run the phases apart from each other?
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub branches: bool,
    /// The command that runs it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub apply: Option<String>,
}

/// Who brought a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The commit.
    pub commit: String,
    /// Its subject.
    pub subject: String,
    /// Name and mail address of its author.
    pub author: [String; 2],
    /// The patch of the queue, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patch: Option<String>,
    /// Is it that the new build has this commit no more?
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub dropped: bool,
}

/// All that a move asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assessment {
    /// The worst finding's severity; `off` for none.
    pub level: Severity,
    /// The packs whose rules were used.
    pub packs: Vec<pack::PackRecord>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// What has to be restarted.
    pub restarts: Restarts,
}

/// The move from one build to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// The commit of the build that runs.
    pub from: String,
    /// The commit of the build that is to run.
    pub to: String,
    /// What it asks.
    #[serde(flatten)]
    pub assessment: Assessment,
    /// The steps.
    pub plan: plan::Plan,
}

impl Assessment {
    /// How many findings are as bad as this.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }

    /// Puts the findings in order again, and says the worst.
    pub fn settle(&mut self) {
        self.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.key().cmp(&b.key())));
        self.level = self.findings.first().map_or(Severity::Off, |f| f.severity);
    }
}

impl Finding {
    /// A finding at a place.
    pub fn new(kind: &str, severity: Severity, rule: &str, path: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            severity,
            confidence: Confidence::High,
            rule: rule.to_owned(),
            path: path.to_owned(),
            line: None,
            in_old: false,
            name: String::new(),
            old: None,
            new: None,
            text: None,
            migration: None,
            pin: None,
            origin: None,
        }
    }

    /// What it is about.
    pub fn about(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// In which line it stands.
    pub fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// What was, and what will be.
    pub fn from_to(mut self, old: Option<String>, new: Option<String>) -> Self {
        (self.old, self.new) = (old, new);
        self
    }

    /// With more words.
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// It stands in the old build.
    pub fn gone(mut self) -> Self {
        self.in_old = true;
        self
    }

    /// It in words, without its kind.
    pub fn in_words(&self) -> String {
        let change = match (&self.old, &self.new) {
            (Some(old), Some(new)) => format!(" {old} \u{2192} {new}"),
            (Some(old), None) => format!(" (was {old})"),
            (None, Some(new)) => format!(" ({new})"),
            (None, None) => String::new(),
        };
        let mut text = format!("{}{change}", self.name);
        if let Some(migration) = &self.migration {
            let phase = serde_json::to_value(migration.phase).ok();
            let phase = phase.as_ref().and_then(|p| p.as_str()).unwrap_or("unknown");
            let worst = migration.ops.iter().filter(|op| op.phase == migration.phase);
            let ops: Vec<String> = worst.map(|op| op.in_words()).collect();
            let more = if ops.len() > 2 { format!(" and {} more", ops.len() - 2) } else { String::new() };
            text = format!("{phase}: {}{more}", ops.iter().take(2).cloned().collect::<Vec<_>>().join(", "));
        } else if let Some(said) = &self.text {
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            text = if self.kind.starts_with("note.") { said } else { format!("{text}: {said}") };
        }
        if self.confidence < Confidence::High {
            text.push_str(" (not sure)");
        }
        text.trim_start_matches(": ").to_owned()
    }

    /// What tells it from others.
    pub fn key(&self) -> (&str, &str, &str, Option<&str>, Option<&str>) {
        (&self.kind, &self.path, &self.name, self.old.as_deref(), self.new.as_deref())
    }
}

/// What the move from the tree `old` to the tree `new` asks, by these rules.
pub fn assess(
    objects: &dyn Objects,
    old: ObjectId,
    new: ObjectId,
    rules: &Rules,
) -> Result<Assessment, ObjectError> {
    let trees = Trees::compare(objects, old, new)?;
    let findings = findings(&trees, rules, &Known::default())?;
    let restarts = restart::of(&trees, rules)?;
    let mut assessment = Assessment { level: Severity::Off, packs: rules.packs.clone(), findings, restarts };
    assessment.settle();
    assessment.findings.dedup_by(|a, b| a.key() == b.key() && a.line == b.line && a.migration == b.migration);
    Ok(assessment)
}

/// What the rules find between two trees, in no order.
pub fn findings(trees: &Trees<'_>, rules: &Rules, known: &Known) -> Result<Vec<Finding>, ObjectError> {
    let mut findings = Vec::new();
    for rule in &rules.watch {
        watch::run(trees, rule, &mut findings)?;
    }
    for rule in &rules.set {
        set::run(trees, rule, &mut findings)?;
    }
    for rule in &rules.sections {
        watch::sections(trees, rule, &mut findings)?;
    }
    for rule in &rules.files {
        files(trees, rule, &mut findings);
    }
    for rule in &rules.analyse {
        match rule.analyser {
            Analyser::OsloConfig => options::run(trees, rule, &mut findings)?,
            Analyser::Requirements => dependencies::requirements(trees, rule, &mut findings)?,
            Analyser::Lockfile => dependencies::locks(trees, rule, &mut findings)?,
            Analyser::EntryPoints => entry_points::run(trees, rule, &mut findings)?,
            Analyser::Reno => notes::run(trees, rule, &mut findings)?,
            Analyser::Liquibase => migration::liquibase::run(trees, rule, &mut findings)?,
            Analyser::Crd => crd::run(trees, rule, &mut findings)?,
            Analyser::VersionedObjects => objects::run(trees, rule, &mut findings)?,
            Analyser::Unread => unread(trees, rule, rules, &mut findings),
            _ => migration::chain::run(trees, rule, known, &mut findings)?,
        }
    }
    unseen(trees, rules, &mut findings)?;
    stale(trees, rules, &mut findings)?;
    for finding in &mut findings {
        finding.severity = rules.severity_of(&class(finding), finding.severity);
        if finding.confidence == Confidence::Low {
            finding.severity = finding.severity.min(Severity::Warn);
        }
    }
    findings.retain(|f| f.severity > Severity::Off);
    Ok(findings)
}

/// The name under which packs say how bad a finding is.
fn class(finding: &Finding) -> String {
    let kind = &finding.kind;
    match &finding.migration {
        Some(migration) if kind == "db.migration" => {
            let contracts = || migration.ops.iter().filter(|op| op.phase == Phase::Contract);
            let only_indexes = migration.phase == Phase::Contract
                && contracts().all(|op| op.op == migration::Action::DropIndex);
            if only_indexes {
                return format!("{kind}.index-only");
            }
            let phase = serde_json::to_value(migration.phase).ok();
            format!("{kind}.{}", phase.as_ref().and_then(|p| p.as_str()).unwrap_or("unknown"))
        }
        _ => match (kind.as_str(), finding.text.as_deref()) {
            ("config.removed", Some("never deprecated")) => "config.removed.undeprecated".to_owned(),
            ("entrypoint.removed", Some("a service")) => "entrypoint.removed.service".to_owned(),
            ("dep.changed", Some("another major version")) => "dep.changed.major".to_owned(),
            _ => kind.clone(),
        },
    }
}

fn files(trees: &Trees<'_>, rule: &rule::Files, out: &mut Vec<Finding>) {
    let excepted = |path: &str| rule.except.as_ref().is_some_and(|globs| globs.matches(path));
    for changed in trees.touched(&rule.globs).into_iter().filter(|c| !excepted(&c.path)) {
        let what = changed.what();
        if rule.on.contains(&what) {
            let words = match what {
                On::Added => "added",
                On::Removed => "removed",
                _ => "modified",
            };
            let finding = Finding::new(&rule.kind, rule.severity, &rule.id, &changed.path).saying(words);
            out.push(if what == On::Removed { finding.gone() } else { finding });
        }
    }
    if rule.on.contains(&On::Renamed) {
        for moved in trees.moved.iter().filter(|m| rule.globs.matches(&m.from)) {
            let finding = Finding::new(&rule.kind, rule.severity, &rule.id, &moved.to);
            let finding = finding.from_to(Some(moved.from.clone()), Some(moved.to.clone()));
            out.push(if moved.edited { finding.saying("edited as well") } else { finding });
        }
    }
}

/// Files that nothing here can read, or that no other rule does.
fn unread(trees: &Trees<'_>, rule: &rule::Analyse, rules: &Rules, out: &mut Vec<Finding>) {
    let excepted = |path: &str| rule.except.as_ref().is_some_and(|globs| globs.matches(path));
    let readers = || rules.analyse.iter().filter(|other| other.analyser != Analyser::Unread);
    let is_read = |path: &str| readers().any(|other| other.files.matches(path));
    for changed in trees.touched(&rule.files) {
        if excepted(&changed.path) || is_read(&changed.path) {
            continue;
        }
        let finding = Finding::new("unread", Severity::Warn, &rule.id, &changed.path);
        let finding = if changed.new.is_none() { finding.gone() } else { finding };
        out.push(finding.saying("it changed, and no rule reads it"));
    }
}

/// The rules that read texts: their ids, and the files that they read.
fn readers(rules: &Rules) -> Vec<(&str, &rule::Globs)> {
    let mut all: Vec<(&str, &rule::Globs)> = Vec::new();
    all.extend(rules.watch.iter().map(|r| (r.id.as_str(), &r.files)));
    all.extend(rules.set.iter().map(|r| (r.id.as_str(), &r.files)));
    all.extend(rules.sections.iter().map(|r| (r.id.as_str(), &r.files)));
    let analyse = rules.analyse.iter().filter(|r| r.analyser != Analyser::Unread);
    all.extend(analyse.map(|r| (r.id.as_str(), &r.files)));
    all
}

/// What changed and cannot be looked into: submodules, and files of a rule that are binary or too large.
fn unseen(trees: &Trees<'_>, rules: &Rules, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    for path in &trees.submodules {
        let finding = Finding::new("unread", Severity::Warn, "built-in/submodules", path);
        out.push(finding.saying("a submodule: what its other commit brings was not looked into"));
    }
    let readers = readers(rules);
    for changed in &trees.changed {
        let Some((id, _)) = readers.iter().find(|(_, globs)| globs.matches(&changed.path)) else { continue };
        for side in [Side::Old, Side::New] {
            if changed.on(side).is_some() && trees.text_on(changed, side)?.is_none() {
                let finding = Finding::new("unread", Severity::Warn, id, &changed.path);
                let finding = if changed.new.is_none() { finding.gone() } else { finding };
                out.push(finding.saying("it is binary or too large to be read"));
                break;
            }
        }
    }
    Ok(())
}

/// Rules whose files all went: from here on they would see nothing.
fn stale(trees: &Trees<'_>, rules: &Rules, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    for (id, globs) in readers(rules) {
        let gone = trees.changed.iter().filter(|c| c.new.is_none()).map(|c| c.path.as_str());
        let left = trees.moved.iter().filter(|m| !globs.matches(&m.to)).map(|m| m.from.as_str());
        let Some(path) = gone.chain(left).find(|path| globs.matches(path)).map(str::to_owned) else {
            continue;
        };
        if trees.files(globs, Side::New)?.is_empty() {
            let finding = Finding::new("rule.stale", Severity::Warn, id, &path).gone();
            out.push(
                finding.saying("the last file that this rule looks at is gone: it sees nothing from here on"),
            );
        }
    }
    Ok(())
}
