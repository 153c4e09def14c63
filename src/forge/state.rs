//! What was sent, and what became of it, as plain values.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::queue::{Metadata, SubjectTag};
use crate::workspace::{Forge, ForgeKind};

/// One patch that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// The patch.
    pub patch: String,
    /// Where it is to be seen.
    pub url: String,
    /// What the forge calls it.
    pub change: Change,
}

/// What a forge calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A pull request of upstream's repository.
    PullRequest(u64),
    /// A change under review, by its Change-Id or number.
    Review(String),
    /// A mail, by its id.
    Mail(String),
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is not meant to be looked at yet.
    Draft,
    /// It is looked at.
    Open,
    /// Upstream has it.
    Merged,
    /// It was closed or abandoned.
    Closed,
}

/// What the reviewers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Review {
    /// Nothing yet.
    Waiting,
    /// Something is to be changed.
    ChangesRequested,
    /// It is good.
    Approved,
}

/// What upstream's checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Checks {
    /// They still run.
    Running,
    /// They pass.
    Passed,
    /// One fails.
    Failed,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Ours.
    Us,
    /// Upstream's.
    Upstream,
    /// It is over.
    Nobody,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// How far it has come.
    pub phase: Phase,
    /// What the reviewers say.
    pub review: Review,
    /// What upstream's checks say; none: there are none.
    pub checks: Option<Checks>,
    /// Whose turn it is.
    pub waits_on: Side,
    /// Who of upstream is asked, by their names there.
    pub people: Vec<String>,
    /// Since when it waits; if it is over, since when it is. As RFC 3339 has it.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// When it was opened there, as RFC 3339 has it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub opened: Option<Timestamp>,
    /// The commit by which upstream has it.
    pub merge_commit: Option<String>,
    /// The newest revision that the forge has.
    pub head: Option<String>,
    /// Where it is to be seen.
    pub url: String,
}

impl State {
    /// For how many whole days it has waited.
    pub fn days(&self, now: Timestamp) -> Option<i64> {
        Some((now.as_second() - self.since?.as_second()).max(0) / (24 * 60 * 60))
    }

    /// Whose turn it is, by the rest.
    fn turn(phase: Phase, review: Review, checks: Option<Checks>) -> Side {
        match (phase, review, checks) {
            (Phase::Merged | Phase::Closed, ..) => Side::Nobody,
            (Phase::Draft, ..) | (_, Review::ChangesRequested, _) | (.., Some(Checks::Failed)) => Side::Us,
            _ => Side::Upstream,
        }
    }

    /// A state whose turn follows from the rest.
    pub(super) fn new(phase: Phase, review: Review, checks: Option<Checks>, url: String) -> Self {
        Self {
            phase,
            review,
            checks,
            waits_on: Self::turn(phase, review, checks),
            people: Vec::new(),
            since: None,
            opened: None,
            merge_commit: None,
            head: None,
            url,
        }
    }
}

/// Where a patch was sent, by its own header; none: it does not say, or names another place than the project's forge.
pub fn sent(forge: &Forge, patch: &str, metadata: &Metadata) -> Option<Sent> {
    let submitted =
        metadata.upstream_status.as_deref().and_then(|s| s.strip_prefix("Submitted [")?.strip_suffix(']'));
    let told = submitted.or(metadata.forwarded.as_deref());
    let found =
        |url: &str, change: Change| Some(Sent { patch: patch.to_owned(), url: url.to_owned(), change });
    match forge.kind {
        ForgeKind::Github => {
            let pulls = format!("{}/pull/", forge.page());
            let number = |url: &str| {
                let digits = url.strip_prefix(&pulls)?.split(['/', '#', '?']).next()?;
                digits.parse::<u64>().ok()
            };
            if let Some((url, number)) = told.and_then(|url| Some((url, number(url)?))) {
                return found(url, Change::PullRequest(number));
            }
            match metadata.subject_tag {
                Some(SubjectTag::PullRequest(n)) => found(&format!("{pulls}{n}"), Change::PullRequest(n)),
                _ => None,
            }
        }
        ForgeKind::Gerrit => {
            let url = told?.strip_prefix(&format!("{}/", forge.api)).and(told)?;
            let id = metadata.change_ids.last().filter(|id| is_change_id(id)).cloned();
            let number = || {
                let digits = url.split("/+/").nth(1)?.split('/').next()?;
                digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.to_owned())
            };
            found(url, Change::Review(id.or_else(number).filter(|id| !id.is_empty())?))
        }
        ForgeKind::Mail => {
            let archive = forge.archive.as_deref().map(|a| format!("{}/", a.trim_end_matches('/')));
            let url = told?;
            let id = url.strip_prefix("mid:").or_else(|| url.strip_prefix(archive.as_deref()?))?;
            found(url, Change::Mail(id.to_owned()))
        }
    }
}

/// `I` and forty digits.
pub(super) fn is_change_id(id: &str) -> bool {
    id.strip_prefix('I').is_some_and(|hex| hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
