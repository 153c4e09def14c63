//! What a patch's header says of its way upstream: where it was sent, and that it was merged.

use bstr::BString;

use super::task::find;
use super::upstream::UpstreamError;
use super::{FileChange, NightError, Site, write};
use crate::queue::{Header, Metadata, Patch, Queue, SubjectTag, add_trailer, same_change, set_trailer};

/// What is written into a patch's header once it was sent.
#[derive(Debug, Clone)]
pub struct Note<'a> {
    /// The patch.
    pub patch: &'a str,
    /// Where it is to be seen.
    pub url: String,
    /// Gerrit's name of the change.
    pub change_id: Option<String>,
    /// Was it this patch that was sent, and not only taken along? One that was taken along keeps what its header says.
    pub own: bool,
}

/// Writes down where patches were sent, each in its own header, as one commit of the workspace. `today` is a date as
/// DEP-3 has it. Returns the commits: none if all of it stands there already.
pub fn write_down(
    site: &Site<'_>,
    queue: &Queue,
    notes: &[Note<'_>],
    today: &str,
) -> Result<Vec<String>, UpstreamError> {
    let mut anew = Vec::new();
    for note in notes {
        let patch = find(site, &queue.patches, note.patch)?;
        anew.push((patch, noted(patch, note, today)));
    }
    let Some(last) = notes.last() else { return Ok(Vec::new()) };
    let message = format!("carry: {}: {} was sent upstream\n\n{}\n", site.project.name, last.patch, last.url);
    write_messages(site, anew, message)
}

/// Gives patches new messages where these differ, as one commit of the workspace.
fn write_messages(
    site: &Site<'_>,
    anew: Vec<(&Patch, BString)>,
    message: String,
) -> Result<Vec<String>, UpstreamError> {
    let mut files = Vec::new();
    for (patch, anew) in anew {
        if anew == patch.header.message {
            continue;
        }
        let header = Header { message: anew, ..patch.header.clone() };
        let bytes = patch.with_header(&header);
        let again = Patch::parse(&patch.file, bytes.clone(), patch.strip);
        if !again.is_ok_and(|again| same_change(again.changes(), patch.changes()) && again.header == header) {
            return Err(NightError::RoundTrip { name: patch.name().to_owned() }.into());
        }
        let path = format!("{}/{}", site.project.patches, patch.file);
        files.push(FileChange { path, bytes: Some(bytes) });
    }
    if files.is_empty() {
        return Ok(Vec::new());
    }
    Ok(write(site, Vec::new(), &[(message, files)])?)
}

/// Writes down what upstream has merged and the followed trunk has not (it may be merged to another branch): by DEP-3 or
/// Yocto's words, as the header has it already. Returns the commits.
pub(super) fn keep_current(site: &Site<'_>) -> Result<Vec<String>, UpstreamError> {
    if site.project.forge.is_none() {
        return Ok(Vec::new());
    }
    let queue = site.queue()?;
    let merged = super::sent::merged(site, &queue);
    let mut names = Vec::new();
    let mut anew = Vec::new();
    for patch in &queue.patches {
        let Some((url, commit)) = merged.get(patch.name()) else { continue };
        let applied = format!("commit:{commit}");
        let known = patch.metadata.applied_upstream.as_ref().is_some_and(|a| a.contains(commit.as_str()));
        let message = match &patch.metadata.upstream_status {
            Some(status) if status.starts_with("Backport") => continue,
            Some(_) => set_trailer(&patch.header.message, "Upstream-Status", &format!("Backport [{url}]")),
            None if known => continue,
            None => set_trailer(&patch.header.message, "Applied-Upstream", &applied),
        };
        names.push(patch.name().to_owned());
        anew.push((patch, message));
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let message = format!("carry: {}: upstream has merged {}\n", site.project.name, names.join(", "));
    write_messages(site, anew, message)
}

/// A patch's message that says where it was sent, in the words that it uses already.
fn noted(patch: &Patch, note: &Note<'_>, today: &str) -> BString {
    let Metadata { forwarded, upstream_status, subject_tag, .. } = &*patch.metadata;
    let mut text = patch.header.message.clone();
    if let Some(id) = &note.change_id {
        text = add_trailer(&text, "Change-Id", id);
    }
    let status = format!("Submitted [{}]", note.url);
    let pending = matches!(subject_tag, Some(SubjectTag::PullRequest(_)));
    let known = match upstream_status {
        Some(now) => *now == status,
        None => forwarded.as_deref() == Some(&note.url) || pending,
    };
    let said = forwarded.as_deref().is_some_and(|f| f != "no")
        || upstream_status.as_deref().is_some_and(|s| s.starts_with("Submitted"));
    let known = known || (said && !note.own);
    if !known {
        text = match upstream_status {
            Some(_) => set_trailer(&text, "Upstream-Status", &status),
            None => set_trailer(&text, "Forwarded", &note.url),
        };
        text = set_trailer(&text, "Last-Update", today);
    }
    text
}
