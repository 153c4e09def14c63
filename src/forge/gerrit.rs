//! Gerrit: what became of changes, by its REST interface ("/changes/ REST API", gerrit-review.googlesource.com).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::Deserialize;

use super::cache::{Cache, Marked};
use super::state::{Change, Checks, Phase, Review, Sent, Side, State, is_change_id};
use super::token::{self, Token};
use super::{ForgeError, agent, host};
use crate::store::git::Git;
use crate::workspace::Forge;

/// So many changes are asked about in one call: their ids are in its address, which servers take up to 8 kB of.
const AT_ONCE: usize = 50;
/// What each answer starts with, so that no browser runs it.
const GUARD: &str = ")]}'";
/// How much of an answer is read.
const MOST: u64 = 64 << 20;

/// What became of the changes among `sent`.
pub(super) fn ask(
    forge: &Forge,
    git: &Git,
    sent: &[Sent],
    cache: &mut Cache,
) -> Result<Vec<Option<State>>, ForgeError> {
    let id = |s: &Sent| match &s.change {
        Change::Review(id) => Some(id.clone()),
        _ => None,
    };
    let mut ids: Vec<String> = sent.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    let login = token::credential(&forge.api, git);
    let branch = forge.branch.as_deref().map(short);
    let (mut found, mut marked): (BTreeMap<String, State>, BTreeMap<String, Marked>) = Default::default();
    for ids in ids.chunks(AT_ONCE) {
        let asked: Vec<String> = ids.iter().map(|id| format!("q={}", asked(forge, branch, id))).collect();
        let options = "o=CURRENT_REVISION&o=DETAILED_LABELS&o=DETAILED_ACCOUNTS";
        let root = if login.is_some() { "/a" } else { "" };
        let address = format!("{}{root}/changes/?{}&{options}", forge.api, asked.join("&"));
        let answer = get(forge, &address, login.as_ref(), cache.marked.get(&address))?;
        let unexpected = |reason: String| ForgeError::Answer { host: host(&forge.api).to_owned(), reason };
        let json = answer.body.trim_start().strip_prefix(GUARD).unwrap_or(&answer.body);
        // One question is answered by a list, many by a list of lists.
        let lists: Vec<Vec<ChangeInfo>> = match ids {
            [_] => serde_json::from_str(json).map(|list| vec![list]),
            _ => serde_json::from_str(json),
        }
        .map_err(|e| unexpected(e.to_string()))?;
        if lists.len() != ids.len() {
            return Err(unexpected(format!("{} answers to {} questions", lists.len(), ids.len())));
        }
        for (id, list) in ids.iter().zip(lists) {
            // One Change-Id may be on several branches: the newest that is not abandoned counts.
            let newest = list.into_iter().max_by_key(|c| (c.status != "ABANDONED", c.number));
            if let Some(change) = newest {
                found.insert(id.clone(), change.state(forge));
            }
        }
        if !answer.mark.is_empty() {
            marked.insert(address, answer);
        }
    }
    cache.marked = marked;
    Ok(sent.iter().map(|s| found.get(&id(s)?).cloned()).collect())
}

/// The number of the change with this Change-Id; none: there is no such change.
pub(super) fn number_of(forge: &Forge, git: &Git, id: &str) -> Result<Option<u64>, ForgeError> {
    let sent = Sent { patch: String::new(), url: String::new(), change: Change::Review(id.to_owned()) };
    let state = ask(forge, git, &[sent], &mut Cache::default())?.into_iter().flatten().next();
    Ok(state.and_then(|s| s.url.rsplit('/').next()?.parse().ok()))
}

fn short(branch: &str) -> &str {
    branch.strip_prefix("refs/heads/").unwrap_or(branch)
}

/// A question for one change, as a query of an address: `+` is a blank.
fn asked(forge: &Forge, branch: Option<&str>, id: &str) -> String {
    let project = percent(&forge.repository);
    match branch.filter(|_| is_change_id(id)) {
        Some(branch) => format!("change:{}+project:{project}+branch:{}", percent(id), percent(branch)),
        None => format!("change:{}+project:{project}", percent(id)),
    }
}

fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// One answer; the one that is known if the server says that it still holds.
fn get(
    forge: &Forge,
    address: &str,
    login: Option<&(String, Token)>,
    known: Option<&Marked>,
) -> Result<Marked, ForgeError> {
    let host = host(&forge.api).to_owned();
    let agent = agent();
    let mut request = agent.get(address).header("Accept", "application/json");
    if let Some((user, token)) = login {
        let both = BASE64.encode(format!("{user}:{}", token.secret()));
        request = request.header("Authorization", format!("Basic {both}"));
    }
    if let Some(known) = known {
        request = request.header("If-None-Match", &known.mark);
    }
    let unreachable = |reason: String| ForgeError::Unreachable { host: host.clone(), reason };
    let mut answer = request.call().map_err(|e| unreachable(e.to_string()))?;
    let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (status, mark, after) = (answer.status().as_u16(), header("etag"), header("retry-after"));
    match (status, known) {
        (304, Some(known)) => return Ok(known.clone()),
        (429, _) => {
            return Err(ForgeError::Limited { host, until: after.map(|s| format!("{s} seconds from now")) });
        }
        _ => {}
    }
    let body = answer.body_mut().with_config().limit(MOST).read_to_string();
    let body = body.map_err(|e| unreachable(e.to_string()))?;
    if status != 200 {
        let reason = body.lines().next().unwrap_or_default().chars().take(200).collect();
        return Err(ForgeError::Refused { host, status, reason });
    }
    Ok(Marked { mark: mark.unwrap_or_default(), body })
}

#[derive(Deserialize)]
struct ChangeInfo {
    status: String,
    #[serde(rename = "_number")]
    number: u64,
    #[serde(default)]
    work_in_progress: bool,
    created: Option<String>,
    updated: Option<String>,
    submitted: Option<String>,
    current_revision: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, Label>,
    owner: Option<Account>,
    #[serde(default)]
    attention_set: BTreeMap<String, Attention>,
}

#[derive(Deserialize)]
struct Label {
    approved: Option<Account>,
    rejected: Option<Account>,
    #[serde(default)]
    all: Vec<Vote>,
}

#[derive(Deserialize)]
struct Vote {
    #[serde(default)]
    value: i32,
}

#[derive(Deserialize)]
struct Account {
    #[serde(rename = "_account_id")]
    id: Option<u64>,
    name: Option<String>,
    username: Option<String>,
}

#[derive(Deserialize)]
struct Attention {
    account: Account,
    last_update: Option<String>,
}

impl Label {
    fn lowest(&self) -> i32 {
        self.all.iter().map(|v| v.value).min().unwrap_or(0)
    }

    fn highest(&self) -> i32 {
        self.all.iter().map(|v| v.value).max().unwrap_or(0)
    }
}

impl ChangeInfo {
    fn state(self, forge: &Forge) -> State {
        let phase = match self.status.as_str() {
            "MERGED" => Phase::Merged,
            "ABANDONED" => Phase::Closed,
            _ if self.work_in_progress => Phase::Draft,
            _ => Phase::Open,
        };
        let review = self.labels.get("Code-Review").map_or(Review::Waiting, |l| {
            if l.rejected.is_some() || l.lowest() < 0 {
                Review::ChangesRequested
            } else if l.approved.is_some() {
                Review::Approved
            } else {
                Review::Waiting
            }
        });
        let checks = self.labels.get("Verified").and_then(|l| {
            if l.rejected.is_some() || l.lowest() < 0 {
                Some(Checks::Failed)
            } else if l.approved.is_some() || l.highest() > 0 {
                Some(Checks::Passed)
            } else {
                None
            }
        });
        let url = format!("{}/c/{}/+/{}", forge.api, forge.repository, self.number);
        let mut state = State::new(phase, review, checks, url);
        let owner = self.owner.as_ref().and_then(|o| o.id);
        let over = state.waits_on == Side::Nobody;
        if !over && !self.attention_set.is_empty() {
            // Gerrit itself says whose turn it is.
            let ours = self.attention_set.values().any(|a| a.account.id.is_some() && a.account.id == owner);
            state.waits_on = if ours { Side::Us } else { Side::Upstream };
        }
        if state.waits_on == Side::Upstream {
            let others = self.attention_set.values().map(|a| &a.account).filter(|a| a.id != owner);
            state.people = others.filter_map(|a| a.name.clone().or(a.username.clone())).collect();
        }
        let turn =
            self.attention_set.values().filter_map(|a| a.last_update.as_deref()).filter_map(moment).max();
        let updated = self.updated.as_deref().and_then(moment);
        state.since = match phase {
            Phase::Merged => self.submitted.as_deref().and_then(moment).or(updated),
            _ => turn.filter(|_| !over).or(updated),
        };
        state.opened = self.created.as_deref().and_then(moment);
        state.merge_commit = self.current_revision.clone().filter(|_| phase == Phase::Merged);
        state.head = self.current_revision;
        state
    }
}

/// Gerrit's moments are in UTC, and do not say so: `2026-11-25 10:00:00.000000000`.
fn moment(text: &str) -> Option<Timestamp> {
    format!("{}Z", text.replacen(' ', "T", 1)).parse().ok()
}
