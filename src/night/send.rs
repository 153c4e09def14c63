//! A patch that is ready for upstream leaves: as mails, as a pull request, as a change under review. Nothing is written
//! to but what the workspace's allow-list names.

use std::path::{Path, PathBuf};

use gix_hash::ObjectId;

use super::journal::Push;
use super::noted::Note;
use super::publish::remote_refs;
use super::upstream::{Leaving, Outgoing, Sender};
use super::{Events, NightError, Site, resolve_address};
use crate::forge::{Change, ForgeError, Proposal, Sent, ask, propose, ready};
use crate::queue::without_trailers;
use crate::store::git::{GitError, without_secrets};
use crate::store::{
    Mails, RefUpdate, SILENCE, adds_recipients, filled_cover, message_id, send_mails, send_words,
};
use crate::trunk;
use crate::workspace::{Forge, ForgeKind};

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// carry.toml does not say where patches go.
    #[error("'{project}' has no [project.{project}.forge] that says where its patches go")]
    NoForge {
        /// The project.
        project: String,
    },
    /// An address is not on the allow-list.
    #[error("{} not on the allow-list of '{project}'", said(.addresses))]
    NotAllowed {
        /// The project.
        project: String,
        /// The addresses.
        addresses: Vec<String>,
    },
    /// Something about it must be mended first.
    #[error("'{patch}' must not leave as it is")]
    Stopped {
        /// The patch.
        patch: String,
        /// What is wrong with it.
        what: Vec<String>,
    },
    /// The user's settings would send the mails to others as well.
    #[error(
        "sendemail.toCmd or sendemail.headerCmd would send the mails to addresses that nobody has allowed"
    )]
    Recipients,
    /// The mails were not sent.
    #[error("the mails were not sent: {source}")]
    Mail {
        /// What git said.
        source: crate::store::git::GitError,
    },
    /// The branch at the fork is not what was pushed last.
    #[error("'{branch}' at '{remote}' was moved by someone else: it is at {found}")]
    Moved {
        /// The fork.
        remote: String,
        /// The branch's full name.
        branch: String,
        /// What it is.
        found: String,
    },
    /// Gerrit did not take the changes.
    #[error("'{remote}' did not take the changes: {source}")]
    Push {
        /// The address, without secrets.
        remote: String,
        /// What git said.
        source: GitError,
    },
    /// The forge gave no answer, or refused.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// The store or the workspace failed.
    #[error(transparent)]
    Night(#[from] NightError),
}

fn said(addresses: &[String]) -> String {
    let verb = if addresses.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", addresses.join(", "))
}

/// The mails of what would leave, as files.
#[derive(Debug, Clone)]
pub struct Series {
    /// Them, in order.
    pub files: Vec<PathBuf>,
    /// The id of the first one.
    pub id: String,
    /// The words of the call of git that sends them.
    pub command: Vec<String>,
}

/// May it be sent? Says all that stands against it.
pub fn allowed<'f>(site: &'f Site<'_>, outgoing: &Outgoing) -> Result<&'f Forge, SendError> {
    let project = &site.project.name;
    let forge = site.project.forge.as_ref();
    let forge = forge.ok_or_else(|| SendError::NoForge { project: project.clone() })?;
    let addresses: Vec<String> = forge.targets().into_iter().filter(|a| !forge.allows(a)).collect();
    if !addresses.is_empty() {
        return Err(SendError::NotAllowed { project: project.clone(), addresses });
    }
    let what: Vec<String> = outgoing.findings.iter().filter(|f| f.stops).map(|f| f.what.clone()).collect();
    if !what.is_empty() {
        return Err(SendError::Stopped { patch: outgoing.patch.clone(), what });
    }
    Ok(forge)
}

/// Where the mails of a patch are written if no other folder is named.
pub fn mail_folder(site: &Site<'_>, patch: &str) -> PathBuf {
    site.folder.join("upstream").join(&site.project.name).join(patch)
}

/// Writes what would leave as mails into a folder; mails of a time before go.
pub fn write_mails(site: &Site<'_>, outgoing: &Outgoing, folder: &Path) -> Result<Series, NightError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| NightError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let folder = folder.canonicalize().map_err(io(folder))?;
    let forge = site.project.forge.as_ref().filter(|f| f.kind == ForgeKind::Mail);
    let id = |hex: &str| {
        let missing = || NightError::NoCommit { rev: hex.to_owned() };
        ObjectId::from_hex(hex.as_bytes()).map_err(|_| missing())
    };
    let Sender { name, email } = &outgoing.sender;
    let mails = Mails {
        base: id(&outgoing.onto)?,
        tip: id(outgoing.tip())?,
        cover: outgoing.commits.len() > 1,
        sender: (name, email),
        to: forge.map_or(&[], |f| &f.to),
        cc: forge.map_or(&[], |f| &f.cc),
    };
    let files = site.store.format_mails(&mails, &folder)?;
    let Some(first) = files.first() else {
        return Err(NightError::Format { what: "the series", reason: "git made no file".into() });
    };
    let mut text = std::fs::read(first).map_err(io(first))?;
    if let (true, Some(last)) = (mails.cover, outgoing.commits.last()) {
        let body = told(last);
        text = filled_cover(&text, &last.subject, &body);
        std::fs::write(first, &text).map_err(io(first))?;
    }
    let id = message_id(&text).unwrap_or_default();
    let command = send_words(mails.to, mails.cc, &files);
    let command = command.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    Ok(Series { files, id, command })
}

/// Sends the mails. Returns what is to be written down, and that it is new.
pub fn mail<'o>(
    site: &Site<'_>,
    outgoing: &'o Outgoing,
    series: &Series,
    events: &dyn Events,
) -> Result<(Vec<Note<'o>>, bool), SendError> {
    let forge = allowed(site, outgoing)?;
    if adds_recipients(&site.git).map_err(NightError::from)? {
        return Err(SendError::Recipients);
    }
    events.step(&format!("sending {} mails to {}", series.files.len(), forge.to.join(", ")));
    send_mails(&site.git, &forge.to, &forge.cc, &series.files)
        .map_err(|source| SendError::Mail { source })?;
    let url = match &forge.archive {
        Some(archive) => format!("{}/{}", archive.trim_end_matches('/'), series.id),
        // RFC 2392: a mail by its id, wherever it is kept.
        None => format!("mid:{}", series.id),
    };
    Ok((notes(outgoing, &url), true))
}

/// What a message says under its first line, without what is for the commit alone.
fn told(commit: &Leaving) -> String {
    let text = format!("{}\n\n{}\n", commit.subject, commit.body);
    let (text, _) = without_trailers(text.as_bytes(), |name| name.ends_with("-by") || name == "Change-Id");
    let text = text.to_string();
    text.split_once("\n\n").map(|(_, body)| body.trim().to_owned()).unwrap_or_default()
}

/// How a pull request is opened or updated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner<'a> {
    /// Is a new one ready to be looked at?
    pub no_draft: bool,
    /// Are title and text of an open one told anew?
    pub describe: bool,
    /// The commit that the branch may have at the fork besides the one that was pushed last.
    pub replace: Option<&'a str>,
}

/// The branch of upstream's that patches are for, by its short name.
fn target_branch<'f>(site: &'f Site<'_>, forge: &'f Forge) -> &'f str {
    let branch = forge.branch.as_deref().unwrap_or(&site.project.branch);
    branch.strip_prefix("refs/heads/").unwrap_or(branch)
}

/// The ref that holds what was pushed last of a patch.
fn pushed_ref(site: &Site<'_>, patch: &str) -> String {
    format!("refs/carry/sent/{}/{patch}", site.project.name)
}

/// Remembers what was pushed.
fn remember(site: &Site<'_>, outgoing: &Outgoing) -> Result<(), NightError> {
    let name = pushed_ref(site, &outgoing.patch);
    let old = site.store.reference(&name)?.map(|id| id.to_string());
    let update = RefUpdate { name, old, new: Some(outgoing.tip().to_owned()) };
    if update.old != update.new {
        site.store.update(&[update], "carry: sent upstream")?;
    }
    Ok(())
}

/// Pushes the branch to the fork, with an exact lease, and opens a pull request or finds the open one. Returns what is
/// to be written down, and whether it was opened now.
pub fn github<'o>(
    site: &Site<'_>,
    outgoing: &'o Outgoing,
    manner: Manner<'_>,
    events: &dyn Events,
) -> Result<(Vec<Note<'o>>, bool), SendError> {
    let forge = allowed(site, outgoing)?;
    ready(forge, &site.git)?;
    let address = resolve_address(&site.workspace.root, &forge.push);
    let head = format!("carry/{}", outgoing.patch);
    let name = trunk::full_name(&head);
    events.step(&format!("pushing {head} to {}", without_secrets(&address)));
    let found = remote_refs(site, &address, std::slice::from_ref(&name))?.remove(&name);
    let last = site.store.reference(&pushed_ref(site, &outgoing.patch)).map_err(NightError::from)?;
    let last = last.map(|id| id.to_string());
    let tip = outgoing.tip();
    if let Some(found) = &found
        && ![last.as_deref(), Some(tip), manner.replace].contains(&Some(found.as_str()))
    {
        let remote = without_secrets(&address);
        return Err(SendError::Moved { remote, branch: name, found: found.clone() });
    }
    if found.as_deref() != Some(tip) {
        let update = RefUpdate { name, old: found, new: Some(tip.to_owned()) };
        Push { address, refs: vec![update] }.push(&site.store)?;
    }
    remember(site, outgoing)?;
    let Some(last) = outgoing.commits.last() else { return Ok((Vec::new(), false)) };
    let mut body = told(last);
    if outgoing.commits.len() > 1 {
        body.push_str("\n\nCommits, in order:\n");
        for commit in &outgoing.commits {
            body.push_str(&format!("- {}\n", commit.subject));
        }
    }
    events.step(&format!("opening or updating the pull request at {}", forge.page()));
    let proposal = Proposal {
        head: &head,
        base: target_branch(site, forge),
        title: &last.subject,
        body: body.trim(),
        draft: !manner.no_draft,
        describe: manner.describe,
    };
    let proposed = propose(forge, &site.git, &proposal)?;
    Ok((notes(outgoing, &proposed.url), proposed.opened))
}

/// Pushes the commits for review, one change each. Returns what is to be written down, and whether anything was new.
pub fn gerrit<'o>(
    site: &Site<'_>,
    outgoing: &'o Outgoing,
    events: &dyn Events,
) -> Result<(Vec<Note<'o>>, bool), SendError> {
    let forge = allowed(site, outgoing)?;
    let sent: Vec<Sent> = outgoing
        .commits
        .iter()
        .map(|c| {
            let id = c.change_id.clone().unwrap_or_default();
            let url = format!("{}/q/{id}", forge.api);
            Sent { patch: c.patch.clone(), url, change: Change::Review(id) }
        })
        .collect();
    // Without the REST interface the push is all there is; Gerrit refuses one that brings nothing new.
    let states = |events: &dyn Events| {
        let asked = ask(forge, &site.git, &sent, &mut crate::forge::Cache::default());
        asked.unwrap_or_else(|e| {
            events.note(&e.to_string());
            vec![None; sent.len()]
        })
    };
    let before = states(events);
    let there = outgoing.commits.iter().zip(&before);
    let new = !there.clone().all(|(c, s)| s.as_ref().is_some_and(|s| s.head.as_ref() == Some(&c.commit)));
    if new {
        let address = resolve_address(&site.workspace.root, &forge.push);
        let topic: String = forge.topic.clone().unwrap_or_else(|| outgoing.patch.clone());
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_./".contains(c) { c } else { '-' };
        let topic: String = topic.chars().map(plain).collect();
        let target = format!("{}:refs/for/{}%topic={topic}", outgoing.tip(), target_branch(site, forge));
        events.step(&format!("pushing for review to {}", without_secrets(&address)));
        let call = site.store.git().call(["push", "--porcelain", "--no-follow-tags", "--no-verify", "--"]);
        let pushed = call.args([address.as_str(), &target]).silence(SILENCE).output();
        pushed.map_err(|source| SendError::Push { remote: without_secrets(&address), source })?;
        remember(site, outgoing)?;
    }
    let after = if new { states(events) } else { before };
    let note = |((commit, sent), state): ((&'o Leaving, &Sent), &Option<crate::forge::State>)| Note {
        patch: &commit.patch,
        url: state.as_ref().map_or_else(|| sent.url.clone(), |s| s.url.clone()),
        change_id: commit.change_id.clone(),
        own: true,
    };
    Ok((outgoing.commits.iter().zip(&sent).zip(&after).map(note).collect(), new))
}

/// What is to be written down of patches that were sent as one.
fn notes<'o>(outgoing: &'o Outgoing, url: &str) -> Vec<Note<'o>> {
    let note =
        |patch: &'o str| Note { patch, url: url.to_owned(), change_id: None, own: patch == outgoing.patch };
    outgoing.commits.iter().map(|c| note(&c.patch)).collect()
}
