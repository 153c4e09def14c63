//! The steps of a move, in order, as far as the findings say.
//!
//! The order is the field's own: what must hold first, then changes of the databases that old code can live with, then
//! pins, then the services one after the other, then unpinning, and only when nothing of the old build runs any more
//! the changes that old code cannot live with. A chain of migrations that runs in one line can be stopped before the
//! first such change, but not be run around it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::migration::Phase;
use super::pack::Rules;
use super::rule::Scope;
use super::{Assessment, Finding, MigrationRecord, Severity};

/// How a move can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// There is nothing to do.
    Nothing,
    /// Step by step, with both builds running for a while.
    Rolling,
    /// The same, but not in one go: the old build must be gone before a change that the new code needs can be made.
    Via,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Do {
    /// A person looks at something, or a command tells.
    Check,
    /// Migrations that old code can live with.
    Migrate,
    /// A side is kept at the old version.
    Pin,
    /// Services are started anew, with the new build.
    Restart,
    /// All of them run the new build.
    Verify,
    /// No side is kept back any more.
    Unpin,
    /// Migrations that old code cannot live with.
    Contract,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its name in this plan: `s1`, `s2` …
    pub id: String,
    /// What it does.
    #[serde(rename = "do")]
    pub action: Do,
    /// In words.
    pub what: String,
    /// How far it reaches.
    pub scope: Scope,
    /// The services.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub services: Vec<String>,
    /// The database.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub db: Option<String>,
    /// The migrations, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub revisions: Vec<String>,
    /// The commands that do it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub run: Vec<String>,
    /// Can the old build's services run while it is done?
    pub live: bool,
    /// The steps that come before.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub after: Vec<String>,
}

/// The steps of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// How it can be made.
    pub mode: Mode,
    /// In order.
    pub steps: Vec<Step>,
    /// The step after which the old build's code cannot come back; none if it always can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub point_of_no_return: Option<String>,
    /// The migrations before each of which the move has to stop, until nothing of the old build runs.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stops: Vec<String>,
}

struct Maker {
    steps: Vec<Step>,
}

impl Maker {
    fn add(&mut self, action: Do, what: String, scope: Scope, live: bool) -> &mut Step {
        let id = format!("s{}", self.steps.len() + 1);
        let after = self.steps.last().map(|s| s.id.clone()).into_iter().collect();
        let step = Step {
            id,
            action,
            what,
            scope,
            services: Vec::new(),
            db: None,
            revisions: Vec::new(),
            run: Vec::new(),
            live,
            after,
        };
        let at = self.steps.len();
        self.steps.push(step);
        &mut self.steps[at]
    }
}

/// The migrations of one database, in order.
struct Database<'f> {
    name: &'f str,
    scope: Scope,
    all: Vec<(&'f Finding, &'f MigrationRecord)>,
}

fn databases(assessment: &Assessment) -> Vec<Database<'_>> {
    let mut by_name: BTreeMap<(Scope, &str), Vec<(&Finding, &MigrationRecord)>> = BTreeMap::new();
    for finding in &assessment.findings {
        if let Some(migration) = finding.migration.as_ref() {
            by_name.entry((migration.scope, &migration.db)).or_default().push((finding, migration));
        }
    }
    let mut out = Vec::new();
    // What all cells share comes before what each has.
    for ((scope, name), mut all) in by_name {
        all.sort_by_key(|(_, m)| m.place);
        out.push(Database { name, scope, all });
    }
    out
}

/// Must it wait until nothing old runs?
fn waits(migration: &MigrationRecord) -> bool {
    matches!(migration.phase, Phase::Contract | Phase::Check | Phase::Unknown)
}

/// The plan for what was found.
pub fn of(assessment: &Assessment, rules: &Rules) -> Plan {
    let mut maker = Maker { steps: Vec::new() };
    checks(assessment, &mut maker);
    let databases = databases(assessment);
    let (mut late, mut stops) = (Vec::new(), Vec::new());
    for database in &databases {
        let (early, rest): (Vec<_>, Vec<_>) = match database.all.first().is_some_and(|(_, m)| m.branches) {
            true => database.all.iter().copied().partition(|(_, m)| !waits(m)),
            false => {
                let at = database.all.iter().position(|(_, m)| waits(m)).unwrap_or(database.all.len());
                let (early, rest) = database.all.split_at(at);
                // What old code can live with, and the new code may need, stands behind what it cannot live with.
                let blocked = rest.iter().skip(1).filter(|(_, m)| !waits(m) && m.phase > Phase::Noop);
                stops.extend(blocked.map(|(_, m)| m.revision.clone()).take(1));
                (early.to_vec(), rest.to_vec())
            }
        };
        if early.iter().any(|(_, m)| m.phase > Phase::Noop) {
            migrate(Do::Migrate, database, &early, &mut maker);
        }
        if !rest.is_empty() {
            late.push((database, rest));
        }
    }
    let pins: Vec<&Finding> = assessment.findings.iter().filter(|f| f.pin.is_some()).collect();
    for finding in &pins {
        let Some(pin) = &finding.pin else { continue };
        let what = format!(
            "set {} = {}: both versions of {} run until all is restarted",
            pin.option, pin.value, finding.name
        );
        maker.add(Do::Pin, what, Scope::Region, true);
    }
    restarts(assessment, rules, &mut maker);
    let restarted = !assessment.restarts.services.is_empty();
    if restarted && (!pins.is_empty() || !late.is_empty()) {
        maker.add(
            Do::Verify,
            "no service of the old build runs, in no cell".to_owned(),
            Scope::Region,
            false,
        );
    }
    for finding in &pins {
        let Some(pin) = &finding.pin else { continue };
        let what = format!("take {} = {} away again", pin.option, pin.value);
        maker.add(Do::Unpin, what, Scope::Region, false);
    }
    let mut point_of_no_return = None;
    for (database, rest) in &late {
        let id = migrate(Do::Contract, database, rest, &mut maker);
        point_of_no_return = point_of_no_return.or(Some(id));
    }
    let mode = match (maker.steps.is_empty(), stops.is_empty()) {
        (true, _) => Mode::Nothing,
        (false, true) => Mode::Rolling,
        (false, false) => Mode::Via,
    };
    Plan { mode, steps: maker.steps, point_of_no_return, stops }
}

/// What has to hold before anything is touched.
fn checks(assessment: &Assessment, maker: &mut Maker) {
    let names = |kinds: &[&str]| -> Vec<String> {
        let wanted = assessment.findings.iter().filter(|f| kinds.contains(&f.kind.as_str()));
        let mut names: Vec<String> = wanted.map(|f| f.name.clone()).collect();
        names.dedup();
        names
    };
    let mut check = |what: String| {
        maker.add(Do::Check, what, Scope::Region, true);
    };
    let online = names(&["db.online_data.removed"]);
    if !online.is_empty() {
        check(format!(
            "on the old build, online data migrations have run to their end: {}",
            online.join(", ")
        ));
    }
    for f in &assessment.findings {
        let (old, new) = (f.old.as_deref().unwrap_or("-"), f.new.as_deref().unwrap_or("-"));
        match f.kind.as_str() {
            "service.min_supported" => check(format!("no service is older than {new} (before: {old})")),
            // Only those who know the databases can tell which it is.
            "db.migration_baseline" if f.migration.is_none() => check(format!(
                "the chain of migrations that begins with {} is run, or stamped where its tables are there",
                f.name
            )),
            kind if kind.starts_with("runtime.") => {
                check(format!("every host has {} {new} (before: {old})", f.name))
            }
            _ => {}
        }
    }
    // An option's name says little without the file that defined it.
    let mut gone: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for f in &assessment.findings {
        let option = match f.kind.as_str() {
            "config.removed" | "config.env.removed" => f.name.as_str(),
            "config.alias_removed" => f.old.as_deref().unwrap_or(&f.name),
            _ => continue,
        };
        let file = f.path.rsplit('/').next().unwrap_or_default();
        gone.entry(file.split_once('.').map_or(file, |(stem, _)| stem)).or_default().push(option);
    }
    if !gone.is_empty() {
        let each = gone.iter().map(|(file, names)| format!("{} ({file})", names.join(", ")));
        check(format!("the configuration sets none of: {}", each.collect::<Vec<_>>().join("; ")));
    }
    let points: Vec<String> = assessment
        .findings
        .iter()
        .filter(|f| f.kind == "entrypoint.removed" && f.severity == Severity::Stop)
        .map(|f| f.name.clone())
        .collect();
    if !points.is_empty() {
        check(format!("no unit and no script calls: {}", points.join(", ")));
    }
    let broken = [
        "db.heads",
        "db.migration_inserted",
        "db.migration_repointed",
        "db.migration_duplicate",
        "db.migration_removed",
    ];
    for f in assessment.findings.iter().filter(|f| f.kind == "db.contract_passed") {
        let text = f.text.as_deref().unwrap_or_default();
        check(format!("there is a way back over {}: {text}", f.name));
    }
    for f in assessment.findings.iter().filter(|f| broken.contains(&f.kind.as_str())) {
        check(format!("{} is mended: {} ({})", f.name, f.text.as_deref().unwrap_or_default(), f.path));
    }
    let unread = assessment.findings.iter().filter(|f| f.kind == "unread").count();
    if unread > 0 {
        check(format!("somebody has read the {unread} changed files that no rule can read"));
    }
}

fn migrate(
    action: Do,
    database: &Database<'_>,
    all: &[(&Finding, &MigrationRecord)],
    maker: &mut Maker,
) -> String {
    let revisions: Vec<String> = all.iter().map(|(_, m)| m.revision.clone()).collect();
    let last = revisions.last().cloned().unwrap_or_default();
    let words = match action {
        Do::Contract => "the old code cannot live with it",
        _ if all.iter().any(|(_, m)| m.phase == Phase::Data) => "rows are rewritten while it runs",
        _ if all.iter().any(|(_, m)| m.phase == Phase::Lock) => "tables may be locked while it runs",
        _ => "the old code can live with it",
    };
    let count = match revisions.len() {
        1 => last,
        n => format!("{n} migrations up to {last}"),
    };
    let step = maker.add(
        action,
        format!("migrate the database {} by {count}: {words}", database.name),
        database.scope,
        action == Do::Migrate,
    );
    step.db = Some(database.name.to_owned());
    // A tool that goes up to a revision needs to be told the last.
    step.run = all.last().and_then(|(_, m)| m.apply.clone()).into_iter().collect();
    step.revisions = revisions;
    step.id.clone()
}

fn restarts(assessment: &Assessment, rules: &Rules, maker: &mut Maker) {
    for name in &assessment.restarts.services {
        let service = rules.services.iter().find(|s| s.name == *name);
        let mut what = match name.as_str() {
            "*" if !assessment.restarts.named.is_empty() => {
                let names: Vec<&str> = assessment.restarts.named.keys().map(String::as_str).collect();
                format!("restart every service: {}", names.join(", "))
            }
            "*" => "restart every service".to_owned(),
            name => format!("restart {name}"),
        };
        if let Some(batch) = service.and_then(|s| s.batch.as_ref()) {
            what.push_str(&format!(", {batch} at a time"));
        }
        if let Some(drain) = service.and_then(|s| s.drain.as_ref()) {
            what.push_str(&format!(" (drain: {drain})"));
        }
        let scope = service.map_or(Scope::Region, |s| s.scope);
        let step = maker.add(Do::Restart, what, scope, true);
        step.services = vec![name.clone()];
    }
}
