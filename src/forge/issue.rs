//! GitHub: one issue that is kept up to date, and the status of a commit.

use octocrab::Page;
use octocrab::models::issues::Issue;
use octocrab::models::{AuthorAssociation, IssueState, StatusState};
use octocrab::params::State;

use super::github::{client, run, token_for};
use super::{ForgeError, host};
use crate::store::git::Git;
use crate::workspace::{Repository, Sink};

/// So many pages of a hundred issues are searched for one whose number is not known.
const PAGES: usize = 20;

/// An issue as it is to be.
#[derive(Debug, Clone)]
pub struct Kept<'a> {
    /// Its number, if it is known.
    pub number: Option<u64>,
    /// What its text begins with, so that it is found by whoever does not know its number.
    pub marker: &'a str,
    /// Its title, if it is opened now; later it is people's.
    pub title: &'a str,
    /// Its text; none: text and state are left as they are.
    pub body: Option<&'a str>,
    /// What is said below it, so that those who follow it are told.
    pub comment: &'a str,
    /// Does something stand open? Without an issue and with nothing open, none is made.
    pub open: bool,
    /// Its labels, if it is opened now.
    pub labels: &'a [String],
}

/// May the sink write to this repository?
fn allowed(sink: &Sink, at: &Repository) -> Result<String, ForgeError> {
    let page = at.page();
    if sink.allows(&page) { Ok(page) } else { Err(ForgeError::NotAllowed { address: page }) }
}

/// Opens the issue, or finds it and makes it as it is to be. Returns its number, if there is one.
pub fn keep_issue(
    sink: &Sink,
    at: &Repository,
    git: &Git,
    kept: &Kept<'_>,
) -> Result<Option<u64>, ForgeError> {
    let page = allowed(sink, at)?;
    let token = token_for(&page, git)?;
    let (owner, name) = at.name.split_once('/').unwrap_or_default();
    run(&at.api, async {
        let github = client(&at.api, &token)?;
        let issues = github.issues(owner, name);
        let mut found: Option<Issue> = match kept.number {
            // One that was deleted or moved is not there.
            Some(number) => issues.get(number).await.ok().filter(|i| i.pull_request.is_none()),
            None => None,
        };
        for number in 1..=PAGES {
            if found.is_some() {
                break;
            }
            let list = issues.list().state(State::All).per_page(100).page(u32::try_from(number).unwrap_or(1));
            let page: Page<Issue> = list.send().await?;
            let last = page.items.len() < 100;
            found = page.items.into_iter().find(|i| is_ours(i, kept.marker));
            if last {
                break;
            }
        }
        let Some(there) = found else {
            let Some(body) = kept.body.filter(|_| kept.open) else { return Ok(None) };
            let made = issues.create(kept.title).body(body).labels(kept.labels.to_vec()).send().await?;
            return Ok(Some(made.number));
        };
        let state = if kept.open { IssueState::Open } else { IssueState::Closed };
        if let Some(body) = kept.body
            && (there.body.as_deref() != Some(body) || there.state != state)
        {
            issues.update(there.number).body(body).state(state).send().await?;
        }
        if !kept.comment.is_empty() {
            issues.create_comment(there.number, kept.comment).await?;
        }
        Ok(Some(there.number))
    })
}

/// Anyone can open an issue with our marker in it: only one of those who belong there, or of a program, is taken.
fn is_ours(issue: &Issue, marker: &str) -> bool {
    let belongs = matches!(
        issue.author_association,
        Some(AuthorAssociation::Owner | AuthorAssociation::Member | AuthorAssociation::Collaborator)
    );
    let marked = issue.body.as_deref().is_some_and(|body| body.trim_start().starts_with(marker));
    issue.pull_request.is_none() && marked && (belongs || issue.user.r#type == "Bot")
}

/// How a commit fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Light {
    /// All well.
    Success,
    /// Something wants a person.
    Failure,
    /// The last night published nothing.
    Error,
}

impl Light {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

/// Sets the status `context` of a commit.
pub fn set_status(
    sink: &Sink,
    at: &Repository,
    git: &Git,
    commit: &str,
    (context, light, said): (&str, Light, &str),
) -> Result<(), ForgeError> {
    let page = allowed(sink, at)?;
    let token = token_for(&page, git)?;
    let (owner, name) = at.name.split_once('/').unwrap_or_default();
    let state = match light {
        Light::Success => StatusState::Success,
        Light::Failure => StatusState::Failure,
        Light::Error => StatusState::Error,
    };
    let set = run(&at.api, async {
        let github = client(&at.api, &token)?;
        let repos = github.repos(owner, name);
        let call = repos.create_status(commit.to_owned(), state);
        call.context(context.to_owned()).description(said.to_owned()).send().await.map(drop)
    });
    match set {
        // GitHub calls a commit that it does not have invalid.
        Err(ForgeError::Refused { status: 422, reason, .. }) => {
            let host = host(&page).to_owned();
            let reason = format!("{reason} (is the deploy branch pushed to {}?)", at.name);
            Err(ForgeError::Refused { host, status: 422, reason })
        }
        other => other,
    }
}
