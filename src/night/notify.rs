//! Tells the listeners of `[[notify]]` what changed since each was told last. What each was told is kept on this machine,
//! so that one that could not be reached is told the next time. Nothing here fails a night.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NightError, Site, beat, troubles};
use crate::forge::{self, ForgeError, Kept, Light, Mail, keep_issue, set_status};
use crate::notify::{
    Ended, Failure, Ledger, News, Seen, Trouble, document, issue_body, markdown, matrix, plain_text,
    short_line, slack, subject,
};
use crate::store::git::Git;
use crate::store::write_whole;
use crate::workspace::{Project, Sink, Way, Workspace, authority};

/// From where a project's news go out.
pub struct Desk<'a> {
    workspace: &'a Workspace,
    project: &'a Project,
    folder: PathBuf,
    git: Git,
}

/// What is kept of a project's news on this machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    version: u32,
    /// What the last night found.
    seen: Option<Seen>,
    /// The fingerprints of all that the last night found that looked at everything.
    #[serde(default)]
    met: BTreeSet<String>,
    /// What each listener was told: by the sink's name, then by the address within it.
    #[serde(default)]
    sinks: BTreeMap<String, BTreeMap<String, Ledger>>,
}

/// One message that is due, was sent, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The sink's name.
    pub sink: String,
    /// Its kind.
    pub kind: &'static str,
    /// To whom: a variable's name, a room, a repository, a mail address; never a secret.
    pub to: String,
    /// What there is to tell, in a line.
    pub subject: String,
    /// How much is new.
    pub new: usize,
    /// How much still is so, and is told again.
    pub reminded: usize,
    /// How much is so no more.
    pub fixed: usize,
    /// How much stands open.
    pub open: usize,
    /// Did it go out?
    pub sent: bool,
    /// Why it did not.
    pub problem: Option<String>,
}

/// What is due to one listener.
struct Due<'a> {
    sink: &'a Sink,
    /// The address within the sink, where it has several.
    key: String,
    news: News,
    /// For a commit's status: the commit, the light, and what is said.
    status: Option<(String, Light, String)>,
}

impl<'a> Desk<'a> {
    /// The desk of a project.
    pub fn open(workspace: &'a Workspace, project: &'a Project) -> Result<Self, NightError> {
        let folder = Site::folder_of(&workspace.root)?;
        Ok(Self { workspace, project, folder, git: Git::at(&workspace.root) })
    }

    fn sinks(&self) -> impl Iterator<Item = &'a Sink> {
        let name = &self.project.name;
        self.workspace.config.notify.iter().filter(move |sink| sink.is_for(name))
    }

    fn place(&self) -> PathBuf {
        self.folder.join("notify").join(format!("{}.json", self.project.name))
    }

    /// What is kept. What cannot be read counts as nothing: then all is told once more.
    fn known(&self) -> Known {
        let text = std::fs::read(self.place()).unwrap_or_default();
        serde_json::from_slice(&text).ok().filter(|k: &Known| k.version == 1).unwrap_or_default()
    }

    fn keep(&self, known: &Known) -> Result<(), NightError> {
        let path = self.place();
        let text = serde_json::to_vec(&Known { version: 1, ..known.clone() })
            .map_err(|e| NightError::Format { what: "what was told", reason: e.to_string() })?;
        write_whole(&path, &[&text]).map_err(|source| NightError::Io { path, source })
    }

    /// Writes down what a night found. Returns those of it that the last complete night had not met.
    pub fn record(&self, seen: &Seen) -> Result<Vec<Trouble>, NightError> {
        let mut known = self.known();
        let fresh = seen.troubles.iter().filter(|t| !known.met.contains(&t.fingerprint())).cloned().collect();
        if seen.complete {
            known.met = seen.troubles.iter().map(Trouble::fingerprint).collect();
        }
        known.seen = Some(seen.clone());
        self.keep(&known)?;
        Ok(fresh)
    }

    /// What the last night found; if it is too long ago, that.
    fn seen(&self, known: &Known, now: Timestamp) -> Option<Seen> {
        let mut seen = known.seen.clone()?;
        if super::doctor::is_late(seen.at, now) && self.project.paused.is_none() {
            seen.troubles.push(troubles::late(Some(seen.at), &seen.project));
        }
        Some(seen)
    }

    /// What is due now, and to whom.
    fn due(&self, known: &Known, seen: &Seen, now: Timestamp) -> Vec<Due<'a>> {
        let all: BTreeSet<String> = seen.troubles.iter().map(Trouble::fingerprint).collect();
        let none = BTreeMap::new();
        let mut due = Vec::new();
        for sink in self.sinks() {
            let told = known.sinks.get(&sink.name).unwrap_or(&none);
            let news = |key: &str, mine: &[Trouble]| {
                let ledger = told.get(key).cloned().unwrap_or_default();
                ledger.news(mine, &all, seen.complete, now, sink.remind)
            };
            match &sink.way {
                Way::Email { to, owners, .. } => {
                    for key in to {
                        due.push(Due {
                            sink,
                            key: key.clone(),
                            news: news(key, &seen.troubles),
                            status: None,
                        });
                    }
                    let theirs = seen.troubles.iter().flat_map(|t| &t.mails).chain(told.keys());
                    let theirs: BTreeSet<&String> =
                        theirs.filter(|who| *owners && !to.contains(who)).collect();
                    for key in theirs {
                        let is_theirs = |t: &&Trouble| t.mails.contains(key);
                        let mine: Vec<Trouble> = seen.troubles.iter().filter(is_theirs).cloned().collect();
                        due.push(Due { sink, key: key.clone(), news: news(key, &mine), status: None });
                    }
                }
                Way::CommitStatus { .. } => {
                    let news = News { open: seen.troubles.clone(), ..News::default() };
                    due.push(Due { sink, key: String::new(), news, status: status(seen) });
                }
                _ => due.push(Due { sink, key: String::new(), news: news("", &seen.troubles), status: None }),
            }
        }
        due
    }

    /// Is there anything to send?
    fn is_due(known: &Known, due: &Due<'_>) -> bool {
        let ledger = known.sinks.get(&due.sink.name).and_then(|told| told.get(&due.key));
        match &due.status {
            Some((commit, light, said)) => {
                let last = ledger.and_then(|l| l.status.as_ref());
                last != Some(&[commit.clone(), light.word().to_owned(), said.clone()])
            }
            None => !due.news.is_empty(),
        }
    }

    /// What would be sent now, and to whom.
    pub fn plan(&self, now: Timestamp) -> Vec<Delivery> {
        let known = self.known();
        let Some(seen) = self.seen(&known, now) else { return Vec::new() };
        let due = self.due(&known, &seen, now).into_iter().filter(|due| Self::is_due(&known, due));
        let told = |due: Due<'a>| {
            let allowed = not_allowed(&due).map(|e| e.to_string());
            delivery(&due, &seen, false, allowed)
        };
        due.map(told).collect()
    }

    /// Sends what is due, and writes down what was told. What cannot be sent is in what comes back.
    pub fn tell(&self, now: Timestamp) -> Result<Vec<Delivery>, NightError> {
        let mut known = self.known();
        let Some(seen) = self.seen(&known, now) else { return Ok(Vec::new()) };
        let mut deliveries = Vec::new();
        // A server that cannot be reached is not tried for each of many addresses.
        let mut silent: BTreeMap<&str, String> = BTreeMap::new();
        for due in self.due(&known, &seen, now) {
            let is_due = Self::is_due(&known, &due);
            let owners_own = matches!(&due.sink.way, Way::Email { to, .. } if !to.contains(&due.key));
            // Whom CODEOWNERS names, and nobody allowed, is nobody's trouble.
            if owners_own && not_allowed(&due).is_some() {
                continue;
            }
            let ledger =
                known.sinks.entry(due.sink.name.clone()).or_default().entry(due.key.clone()).or_default();
            if !is_due {
                // Nothing is left that it was not told.
                if ledger.failed.take().is_some() {
                    self.keep(&known)?;
                }
                continue;
            }
            let sent = match silent.get(due.sink.name.as_str()) {
                Some(reason) => Err(reason.clone()),
                None => self.send(&due, &seen, ledger).map_err(|e| {
                    let reason = e.to_string();
                    if matches!(e, ForgeError::Unreachable { .. } | ForgeError::Unset { .. }) {
                        silent.insert(&due.sink.name, reason.clone());
                    }
                    reason
                }),
            };
            match &sent {
                Ok(()) => ledger.took(&due.news, now),
                Err(reason) => ledger.missed(reason, now),
            }
            deliveries.push(delivery(&due, &seen, sent.is_ok(), sent.err()));
            self.keep(&known)?;
        }
        Ok(deliveries)
    }

    /// Sends a test to everyone who is told; nothing of it is written down.
    pub fn test(&self, now: Timestamp) -> Vec<Delivery> {
        let known = self.known();
        let mut seen = troubles::empty(self.workspace, &self.project.name, now, Ended::Quiet);
        if let Some(last) = &known.seen {
            seen.troubles.clone_from(&last.troubles);
        }
        let mut deliveries = Vec::new();
        for mut due in self.due(&known, &seen, now) {
            due.news = News { test: true, ..News::default() };
            let ledger = known.sinks.get(&due.sink.name).and_then(|told| told.get(&due.key));
            let sent = self.send(&due, &seen, &mut ledger.cloned().unwrap_or_default());
            deliveries.push(delivery(&due, &seen, sent.is_ok(), sent.err().map(|e| e.to_string())));
        }
        deliveries
    }

    fn send(&self, due: &Due<'_>, seen: &Seen, ledger: &mut Ledger) -> Result<(), ForgeError> {
        let (sink, news, test) = (due.sink, &due.news, due.news.test);
        match &sink.way {
            Way::Webhook { url_env, token_env } => {
                forge::post(sink, url_env, token_env.as_deref(), &document(seen, news))
            }
            Way::Slack { url_env } => forge::post(sink, url_env, None, &slack(seen, news)),
            Way::Matrix { server, room, token_env } => {
                let id = message_id(seen, news);
                forge::matrix(sink, (server, room), token_env, &id, &matrix(seen, news))
            }
            Way::Email { server, user, password_env, from, .. } => {
                let login = user.as_deref().zip(password_env.as_deref());
                let (subject, text) = (subject(seen, news), plain_text(seen, news));
                forge::mail(sink, server, login, &Mail { from, to: &due.key, subject: &subject, text: &text })
            }
            Way::GithubIssue { at, labels } => {
                let marker = format!("<!-- git-carry: the news of {} -->", seen.project);
                let body = issue_body(seen, &news.open, &marker);
                let kept = Kept {
                    number: ledger.issue,
                    marker: &marker,
                    title: &format!("git-carry: what wants a person in {}", seen.project),
                    body: (!test).then_some(body.as_str()),
                    comment: &markdown(seen, news),
                    open: !news.open.is_empty(),
                    labels,
                };
                ledger.issue = keep_issue(sink, at, &self.git, &kept)?;
                Ok(())
            }
            Way::CommitStatus { at } => {
                let Some((commit, light, said)) = &due.status else { return Ok(()) };
                let context = match test {
                    true => format!("git-carry/{}/test", seen.project),
                    false => format!("git-carry/{}", seen.project),
                };
                let (light, said) = if test { (Light::Success, "a test") } else { (*light, said.as_str()) };
                set_status(sink, at, &self.git, commit, (&context, light, said))?;
                ledger.status = Some([commit.clone(), light.word().to_owned(), said.to_owned()]);
                Ok(())
            }
        }
    }

    /// The listeners that could not be told the last time, with why.
    pub fn problems(&self) -> Vec<(String, Failure)> {
        let known = self.known();
        let of = |sink: &Sink| {
            let ledgers = known.sinks.get(&sink.name).into_iter().flatten();
            let failed = ledgers.filter_map(|(key, ledger)| Some((key.clone(), ledger.failed.clone()?)));
            let name = |(key, failed): (String, Failure)| match key.is_empty() {
                true => (sink.name.clone(), failed),
                false => (format!("{} ({key})", sink.name), failed),
            };
            failed.map(name).collect::<Vec<_>>()
        };
        self.sinks().flat_map(of).collect()
    }

    /// What the environment or the allow-list lacks for a sink to work, found without the network.
    pub fn lacks(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for sink in self.sinks() {
            let mut lack = |what: String| all.push((sink.name.clone(), what));
            let variables = match &sink.way {
                Way::Webhook { url_env, token_env } => [Some(url_env), token_env.as_ref()],
                Way::Slack { url_env } => [Some(url_env), None],
                Way::Matrix { token_env, .. } => [Some(token_env), None],
                Way::Email { password_env, .. } => [password_env.as_ref(), None],
                Way::GithubIssue { .. } | Way::CommitStatus { .. } => [None, None],
            };
            for name in variables.into_iter().flatten().filter(|name| std::env::var_os(name).is_none()) {
                lack(format!("{name} is not set here"));
            }
            let addresses = match &sink.way {
                Way::Matrix { server, .. } => vec![authority(server).to_owned()],
                Way::GithubIssue { at, .. } | Way::CommitStatus { at } => vec![at.page()],
                Way::Email { to, .. } => to.clone(),
                Way::Webhook { .. } | Way::Slack { .. } => Vec::new(),
            };
            for address in addresses.iter().filter(|address| !sink.allows(address)) {
                lack(format!("{address} is not on its allow-list"));
            }
        }
        all
    }

    /// How many are told of this project.
    pub fn count(&self) -> usize {
        self.sinks().count()
    }

    /// Does any of them want to know who answers for a patch?
    pub fn wants_owners(&self) -> bool {
        self.sinks().any(|sink| matches!(sink.way, Way::Email { owners: true, .. }))
    }
}

/// That an address within a sink is not allowed. The others are looked at when something is sent.
fn not_allowed(due: &Due<'_>) -> Option<ForgeError> {
    let is_mail = matches!(due.sink.way, Way::Email { .. });
    (is_mail && !due.sink.allows(&due.key)).then(|| ForgeError::NotAllowed { address: due.key.clone() })
}

/// The status of the deploy commit; none: nothing is deployed.
fn status(seen: &Seen) -> Option<(String, Light, String)> {
    let light = match seen.ended {
        Ended::Failed | Ended::Refused => Light::Error,
        _ if seen.troubles.is_empty() => Light::Success,
        _ => Light::Failure,
    };
    Some((seen.commit.clone()?, light, short_line(seen, &seen.troubles)))
}

/// The same for the same news.
fn message_id(seen: &Seen, news: &News) -> String {
    let parts = [&news.new, &news.reminded, &news.fixed];
    let all: Vec<String> =
        parts.iter().flat_map(|list| list.iter().map(Trouble::fingerprint).chain(["".into()])).collect();
    let text = format!("{}\n{}\n{}", seen.project, seen.at, all.join("\n"));
    format!("git-carry-{}", &crate::queue::digest(text.as_bytes())[..20])
}

fn delivery(due: &Due<'_>, seen: &Seen, sent: bool, problem: Option<String>) -> Delivery {
    let to = match &due.sink.way {
        Way::Webhook { url_env, .. } | Way::Slack { url_env } => format!("${url_env}"),
        Way::Matrix { room, .. } => room.clone(),
        Way::GithubIssue { at, .. } | Way::CommitStatus { at } => at.page(),
        Way::Email { .. } => due.key.clone(),
    };
    let subject = match &due.status {
        Some((_, light, said)) if !due.news.test => format!("{}: {said}", light.word()),
        _ => subject(seen, &due.news),
    };
    Delivery {
        sink: due.sink.name.clone(),
        kind: due.sink.way.word(),
        to,
        subject,
        new: due.news.new.len(),
        reminded: due.news.reminded.len(),
        fixed: due.news.fixed.len(),
        open: due.news.open.len(),
        sent,
        problem,
    }
}

/// What the last night on this machine was; none: none ran.
pub fn heartbeat(site: &Site<'_>) -> Option<beat::Beat> {
    beat::last_beat(&site.folder, &site.project.name)
}
