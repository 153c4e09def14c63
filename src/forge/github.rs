//! GitHub: pull requests opened by its REST interface, and asked about by GraphQL, hundreds in one call.

use std::collections::BTreeMap;
use std::future::Future;

use jiff::Timestamp;
use octocrab::Octocrab;
use octocrab::service::middleware::retry::RetryConfig;
use serde::Deserialize;

use super::state::{Change, Checks, Phase, Review, Sent, Side, State};
use super::token::{self, Token};
use super::{ForgeError, PATIENCE, host};
use crate::store::git::Git;
use crate::workspace::Forge;

/// So many pull requests are asked about in one call. Their lists count for it, and GitHub ends a call that takes 10 s.
const AT_ONCE: usize = 150;

/// What is asked of each pull request. `tests/github.rs` holds it against GitHub's own schema.
const FRAGMENT: &str = "fragment all on PullRequest {
  number url state isDraft createdAt mergedAt closedAt headRefOid reviewDecision
  mergeCommit { oid }
  commits(last: 1) { nodes { commit { statusCheckRollup { state } } } }
  latestReviews(first: 20) { nodes { state submittedAt } }
  reviewRequests(first: 10) { nodes { requestedReviewer {
    ... on User { login } ... on Bot { login } ... on Mannequin { login } ... on Team { combinedSlug }
  } } }
}";

/// A pull request that is to be there.
#[derive(Debug, Clone)]
pub struct Proposal<'a> {
    /// The branch of the fork.
    pub head: &'a str,
    /// Upstream's branch.
    pub base: &'a str,
    /// Its title, if it is new or told anew.
    pub title: &'a str,
    /// Its text, likewise.
    pub body: &'a str,
    /// Is a new one a draft?
    pub draft: bool,
    /// Does one that is there get the title and the text as well?
    pub describe: bool,
}

/// A pull request that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Its number.
    pub number: u64,
    /// Where it is to be seen.
    pub url: String,
    /// Was it opened now?
    pub opened: bool,
    /// Is it a draft?
    pub draft: bool,
}

/// The token for a project's forge; an error if there is none.
fn token(forge: &Forge, git: &Git) -> Result<Token, ForgeError> {
    token_for(&forge.page(), git)
}

/// The token for the repository with this page; an error if there is none.
pub(super) fn token_for(page: &str, git: &Git) -> Result<Token, ForgeError> {
    token::github(page, git).ok_or_else(|| ForgeError::NoToken { host: host(page).to_owned() })
}

/// Is there a token, before anything is pushed?
pub fn ready(forge: &Forge, git: &Git) -> Result<(), ForgeError> {
    token(forge, git).map(drop)
}

/// Opens a pull request for a branch that was pushed, or finds the open one.
pub fn propose(forge: &Forge, git: &Git, proposal: &Proposal<'_>) -> Result<Proposed, ForgeError> {
    let token = token(forge, git)?;
    let (owner, name) = forge.repository.split_once('/').unwrap_or_default();
    let head = format!("{}:{}", forge.fork_owner().unwrap_or_default(), proposal.head);
    run(&forge.api, async {
        let github = client(&forge.api, &token)?;
        let pulls = github.pulls(owner, name);
        let open = pulls.list().state(octocrab::params::State::Open).head(&head).base(proposal.base);
        let found = open.send().await?.items.into_iter().next();
        let opened = found.is_none();
        let pull = match found {
            Some(there) if proposal.describe => {
                pulls.update(there.number).title(proposal.title).body(proposal.body).send().await?
            }
            Some(there) => there,
            None => {
                let create = pulls.create(proposal.title, &head, proposal.base);
                create.body(proposal.body).draft(proposal.draft).send().await?
            }
        };
        if opened && !forge.labels.is_empty() {
            github.issues(owner, name).add_labels(pull.number, &forge.labels).await?;
        }
        let url =
            pull.html_url.map_or_else(|| format!("{}/pull/{}", forge.page(), pull.number), String::from);
        Ok(Proposed { number: pull.number, url, opened, draft: pull.draft.unwrap_or(false) })
    })
}

/// What became of the pull requests among `sent`.
pub(super) fn ask(forge: &Forge, git: &Git, sent: &[Sent]) -> Result<Vec<Option<State>>, ForgeError> {
    let number = |s: &Sent| if let Change::PullRequest(n) = s.change { Some(n) } else { None };
    let mut numbers: Vec<u64> = sent.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let token = token(forge, git)?;
    // On a server of one's own, GraphQL lies beside the REST root and not below it.
    let root = forge.api.strip_suffix("/v3").unwrap_or(&forge.api);
    let mut found: BTreeMap<u64, State> = BTreeMap::new();
    for numbers in numbers.chunks(AT_ONCE) {
        let query = query(forge, numbers);
        let text = run(&forge.api, async {
            let github = client(root, &token)?;
            let answer = github._post("/graphql", Some(&query)).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let limit = Limit {
                status: status.as_u16(),
                left: header("x-ratelimit-remaining"),
                reset: header("x-ratelimit-reset"),
                after: header("retry-after"),
            };
            Ok((github.body_to_string(answer).await?, limit))
        });
        let (text, limit) = text?;
        let host = || host(&forge.api).to_owned();
        if limit.is_met() {
            return Err(ForgeError::Limited { host: host(), until: limit.until() });
        }
        if limit.status != 200 {
            let reason = serde_json::from_str::<Message>(&text).map(|m| m.message).unwrap_or_default();
            return Err(ForgeError::Refused { host: host(), status: limit.status, reason });
        }
        let unexpected = |reason: String| ForgeError::Answer { host: host(), reason };
        let answer: Answer = serde_json::from_str(&text).map_err(|e| unexpected(e.to_string()))?;
        if answer.errors.iter().any(|e| e.kind.as_deref() == Some("RATE_LIMITED")) {
            return Err(ForgeError::Limited { host: host(), until: None });
        }
        let Some(repository) = answer.data.and_then(|d| d.repository) else {
            let reasons: Vec<String> = answer.errors.into_iter().map(|e| e.message).collect();
            return Err(unexpected(reasons.join("; ")));
        };
        // One that is not there is null, and has an error beside the others' answers.
        let pulls = repository.into_values().flatten();
        found.extend(pulls.map(|pull| (pull.number, pull.state())));
    }
    Ok(sent.iter().map(|s| found.get(&number(s)?).cloned()).collect())
}

/// The query: one alias for each number, all in one repository.
fn query(forge: &Forge, numbers: &[u64]) -> serde_json::Value {
    let (owner, name) = forge.repository.split_once('/').unwrap_or_default();
    let pulls: Vec<String> =
        numbers.iter().map(|n| format!("    p{n}: pullRequest(number: {n}) {{ ...all }}\n")).collect();
    let query = format!(
        "query($owner: String!, $name: String!) {{\n  repository(owner: $owner, name: $name) {{\n{}  }}\n}}\n{FRAGMENT}",
        pulls.concat()
    );
    serde_json::json!({ "query": query, "variables": { "owner": owner, "name": name } })
}

/// A client; nothing is asked twice, as a call that failed may have done its work.
pub(super) fn client(root: &str, token: &Token) -> octocrab::Result<Octocrab> {
    Octocrab::builder()
        .base_uri(root)?
        .personal_token(token.secret().to_owned())
        .add_retry_config(RetryConfig::None)
        .set_connect_timeout(Some(PATIENCE))
        .set_read_timeout(Some(PATIENCE))
        .build()
}

/// Runs a call to its end, on this thread.
pub(super) fn run<T>(api: &str, call: impl Future<Output = octocrab::Result<T>>) -> Result<T, ForgeError> {
    let unreachable = |reason: String| ForgeError::Unreachable { host: host(api).to_owned(), reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| unreachable(e.to_string()))?;
    let called = runtime.block_on(async { tokio::time::timeout(PATIENCE * 4, call).await });
    match called {
        Ok(answer) => answer.map_err(|e| told(api, &e)),
        Err(_) => Err(unreachable(format!("it said nothing for {} seconds", PATIENCE.as_secs() * 4))),
    }
}

/// An error of the client in our words: its own text has lists of calls in it.
fn told(api: &str, e: &octocrab::Error) -> ForgeError {
    let host = host(api).to_owned();
    match e {
        octocrab::Error::GitHub { source, .. } => {
            let header = |name: &str| Some(source.headers.as_ref()?.get(name)?.to_str().ok()?.to_owned());
            let limit = Limit {
                status: source.status_code.as_u16(),
                left: header("x-ratelimit-remaining"),
                reset: header("x-ratelimit-reset"),
                after: header("retry-after"),
            };
            if limit.is_met() {
                return ForgeError::Limited { host, until: limit.until() };
            }
            let more = source.errors.iter().flatten().filter_map(|e| e.get("message")?.as_str());
            let reason: Vec<&str> = [source.message.as_str()].into_iter().chain(more).collect();
            ForgeError::Refused { host, status: limit.status, reason: reason.join("; ") }
        }
        octocrab::Error::Serde { source, .. } => ForgeError::Answer { host, reason: source.to_string() },
        octocrab::Error::Json { source, .. } => ForgeError::Answer { host, reason: source.to_string() },
        other => {
            let mut last: &dyn std::error::Error = other;
            while let Some(source) = last.source() {
                last = source;
            }
            let reason = last.to_string().lines().next().unwrap_or_default().to_owned();
            ForgeError::Unreachable { host, reason }
        }
    }
}

/// What an answer says of how much more may be asked ("Rate limits for the REST API", docs.github.com).
struct Limit {
    status: u16,
    left: Option<String>,
    reset: Option<String>,
    after: Option<String>,
}

impl Limit {
    fn is_met(&self) -> bool {
        self.status == 429
            || self.status == 403 && (self.left.as_deref() == Some("0") || self.after.is_some())
    }

    fn until(&self) -> Option<String> {
        let at = Timestamp::from_second(self.reset.as_deref()?.parse().ok()?).ok()?;
        Some(at.to_string())
    }
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    message: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    repository: Option<BTreeMap<String, Option<Pull>>>,
}

#[derive(Deserialize)]
struct Nodes<T> {
    nodes: Option<Vec<Option<T>>>,
}

impl<T> Nodes<T> {
    fn all(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().flatten().flatten()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pull {
    number: u64,
    url: String,
    state: String,
    is_draft: bool,
    created_at: Timestamp,
    merged_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    head_ref_oid: String,
    review_decision: Option<String>,
    merge_commit: Option<Oid>,
    commits: Nodes<CommitNode>,
    latest_reviews: Option<Nodes<ReviewNode>>,
    review_requests: Option<Nodes<RequestNode>>,
}

#[derive(Deserialize)]
struct Oid {
    oid: String,
}

#[derive(Deserialize)]
struct CommitNode {
    commit: Commit,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Commit {
    status_check_rollup: Option<StateOf>,
}

#[derive(Deserialize)]
struct StateOf {
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewNode {
    state: String,
    submitted_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestNode {
    requested_reviewer: Option<Reviewer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reviewer {
    login: Option<String>,
    combined_slug: Option<String>,
}

impl Pull {
    fn state(self) -> State {
        let phase = match self.state.as_str() {
            "MERGED" => Phase::Merged,
            "CLOSED" => Phase::Closed,
            _ if self.is_draft => Phase::Draft,
            _ => Phase::Open,
        };
        let reviews = || self.latest_reviews.iter().flat_map(Nodes::all);
        let said = |word: &str| reviews().any(|r| r.state == word);
        // A repository that demands no review decides nothing; then the reviews themselves tell.
        let review = match self.review_decision.as_deref() {
            Some("CHANGES_REQUESTED") => Review::ChangesRequested,
            Some("APPROVED") => Review::Approved,
            Some(_) => Review::Waiting,
            None if said("CHANGES_REQUESTED") => Review::ChangesRequested,
            None if said("APPROVED") => Review::Approved,
            None => Review::Waiting,
        };
        let rollup = self.commits.all().last().and_then(|n| n.commit.status_check_rollup.as_ref());
        let checks = rollup.map(|r| match r.state.as_str() {
            "SUCCESS" => Checks::Passed,
            "FAILURE" | "ERROR" => Checks::Failed,
            _ => Checks::Running,
        });
        let last = reviews().filter_map(|r| r.submitted_at).max();
        let since = match phase {
            Phase::Merged => self.merged_at.or(self.closed_at),
            Phase::Closed => self.closed_at,
            _ => Some(last.map_or(self.created_at, |at| at.max(self.created_at))),
        };
        let mut state = State::new(phase, review, checks, self.url);
        if state.waits_on == Side::Upstream {
            let asked = self.review_requests.iter().flat_map(Nodes::all);
            let asked = asked.filter_map(|r| r.requested_reviewer.as_ref());
            state.people = asked.filter_map(|r| r.login.clone().or(r.combined_slug.clone())).collect();
        }
        state.since = since;
        state.opened = Some(self.created_at);
        state.merge_commit = self.merge_commit.map(|c| c.oid).filter(|_| phase == Phase::Merged);
        state.head = Some(self.head_ref_oid);
        state
    }
}
