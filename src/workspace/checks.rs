//! `[[project.X.check]]`: commands that prove a build.

use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Reader, Table};

/// A command that proves a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The command: a program and its arguments, never through a shell.
    pub run: Vec<String>,
    /// On what it runs.
    pub on: CheckOn,
    /// How long it may run.
    pub timeout: Duration,
    /// Is a build without it worth nothing?
    pub required: bool,
    /// What it gets of the environment besides `PATH`: names that are passed on, and `NAME=value`.
    pub env: Vec<String>,
}

/// On what a check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOn {
    /// The build.
    Build,
    /// The stack after each of its patches.
    EachPatch,
}

impl CheckOn {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::EachPatch => "each-patch",
        }
    }
}

/// How long a check may run if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Reads a project's checks.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Vec<Check> {
    let Some(value) = table.get("check") else { return Vec::new() };
    let place = format!("{place}.check");
    let DeValue::Array(items) = value.get_ref() else {
        let hint = Some(format!("write: [[{place}]]"));
        r.fault(value.span().start, "'check' must be a list of tables".into(), hint);
        return Vec::new();
    };
    let mut all: Vec<Check> = Vec::new();
    for item in items.iter() {
        let at = item.span().start;
        let DeValue::Table(table) = item.get_ref() else {
            r.fault(at, "'check' must be a list of tables".into(), None);
            continue;
        };
        r.keys(table, &place, &["name", "run", "on", "timeout", "required", "env"]);
        let name = r.checked(table, "name", super::rules::project).map(toml::Spanned::into_inner);
        let run = r.list(table, "run");
        let on = r.choice(table, "on", &[("build", CheckOn::Build), ("each-patch", CheckOn::EachPatch)]);
        let timeout = match r.text(table, "timeout") {
            None => TIMEOUT,
            Some(text) => duration(text.get_ref()).unwrap_or_else(|| {
                let what = format!("'timeout' cannot be '{}'", text.get_ref());
                r.fault(text.span().start, what, Some("write: timeout = \"30m\"".into()));
                TIMEOUT
            }),
        };
        let required = match table.get("required").map(|v| (v.get_ref(), v.span().start)) {
            None => true,
            Some((DeValue::Boolean(required), _)) => *required,
            Some((_, at)) => {
                r.fault(at, "'required' must be true or false".into(), None);
                true
            }
        };
        let env = r.list(table, "env");
        let Some(name) = name.filter(|_| !run.is_empty()) else {
            let hint = Some("write: name = \"unit\" and run = [\"make\", \"test\"]".into());
            r.fault(at, format!("'name' or 'run' is missing in [[{place}]]"), hint);
            continue;
        };
        if all.iter().any(|c| c.name == name) {
            r.fault(at, format!("two checks are called '{name}'"), None);
        }
        all.push(Check { name, run, on, timeout, required, env });
    }
    all
}

fn duration(text: &str) -> Option<Duration> {
    let parsed: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(parsed).ok().filter(|d| !d.is_zero())
}
