//! A patch that is ready for upstream leaves: as mails, as a pull request, as a change under review. Nothing is written
//! to but what the workspace's allow-list names.

use std::path::{Path, PathBuf};

use gix_hash::ObjectId;

use super::upstream::{Note, Outgoing, Sender};
use super::{Events, NightError, Site};
use crate::store::{Mails, adds_recipients, filled_cover, message_id, send_mails, send_words};
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
        let (body, _) = crate::queue::without_trailers(format!("x\n\n{}\n", last.body).as_bytes(), |name| {
            name.ends_with("-by") || name == "Change-Id"
        });
        let body = String::from_utf8_lossy(&body).trim_start_matches('x').trim().to_owned();
        text = filled_cover(&text, &last.subject, &body);
        std::fs::write(first, &text).map_err(io(first))?;
    }
    let id = message_id(&text).unwrap_or_default();
    let command = send_words(mails.to, mails.cc, &files);
    let command = command.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    Ok(Series { files, id, command })
}

/// Sends the mails. Returns what is to be written down.
pub fn mail<'o>(
    site: &Site<'_>,
    outgoing: &'o Outgoing,
    series: &Series,
    events: &dyn Events,
) -> Result<Vec<Note<'o>>, SendError> {
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
    Ok(notes(outgoing, &url))
}

/// What is to be written down of patches that were sent as one.
fn notes<'o>(outgoing: &'o Outgoing, url: &str) -> Vec<Note<'o>> {
    let note =
        |patch: &'o str| Note { patch, url: url.to_owned(), change_id: None, own: patch == outgoing.patch };
    outgoing.commits.iter().map(|c| note(&c.patch)).collect()
}
