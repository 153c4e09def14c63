//! `[[project.X.check]]`: commands that prove a build.

use std::time::Duration;

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
    /// Each stack of patches that hang together, by itself on the trunk commit; and the build.
    EachStack,
}

impl CheckOn {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::EachPatch => "each-patch",
            Self::EachStack => "each-stack",
        }
    }
}

/// How long a check may run if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Reads a project's checks.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Vec<Check> {
    let place = format!("{place}.check");
    let mut all: Vec<Check> = Vec::new();
    for (table, at) in r.tables(table, "check", &place) {
        r.keys(table, &place, &["name", "run", "on", "timeout", "required", "env"]);
        let name = r.checked(table, "name", super::rules::project).map(toml::Spanned::into_inner);
        let run = r.list(table, "run");
        let on = r.choice(
            table,
            "on",
            &[CheckOn::Build, CheckOn::EachPatch, CheckOn::EachStack].map(|on| (on.word(), on)),
        );
        let timeout = r.duration(table, "timeout", TIMEOUT);
        let required = r.truth(table, "required", true);
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
