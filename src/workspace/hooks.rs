//! `[[project.X.hook]]`: commands that run when something happens.

use std::time::Duration;

use super::reader::{Reader, Table};

/// A command that runs when something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub on: HookEvent,
    /// The command: a program and its arguments, never through a shell.
    pub run: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// What it gets of the environment besides `PATH` and what it is told: names that are passed on, and `NAME=value`.
    pub env: Vec<String>,
}

/// What a hook waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEvent {
    /// A night begins; nothing was fetched yet.
    BeforeNight,
    /// A night has ended, whatever came of it.
    AfterNight,
    /// A patch conflicts that did not the night before, or with another upstream commit.
    Conflict,
    /// Upstream has a patch, and it was published so.
    Landed,
    /// A build is made and proved, and goes out next.
    BeforePublish,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::BeforeNight, Self::AfterNight, Self::Conflict, Self::Landed, Self::BeforePublish];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::BeforeNight => "before-night",
            Self::AfterNight => "after-night",
            Self::Conflict => "conflict",
            Self::Landed => "landed",
            Self::BeforePublish => "before-publish",
        }
    }

    /// Does a hook that fails stop what comes next?
    pub fn stops(self) -> bool {
        matches!(self, Self::BeforeNight | Self::BeforePublish)
    }
}

/// How long a hook may run if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Reads a project's hooks.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Vec<Hook> {
    let place = format!("{place}.hook");
    let mut all = Vec::new();
    for (table, at) in r.tables(table, "hook", &place) {
        r.keys(table, &place, &["on", "run", "timeout", "env"]);
        let run = r.list(table, "run");
        if run.is_empty() || !table.contains_key("on") {
            let words = HookEvent::ALL.map(HookEvent::word).join(", ");
            let hint = format!("write: run = [\"./tell\"] and on = one of: {words}");
            r.fault(at, format!("'on' or 'run' is missing in [[{place}]]"), Some(hint));
            continue;
        }
        let on = r.choice(table, "on", &HookEvent::ALL.map(|on| (on.word(), on)));
        all.push(Hook { on, run, timeout: r.duration(table, "timeout", TIMEOUT), env: r.list(table, "env") });
    }
    all
}
