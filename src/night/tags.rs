//! OpenShift's subject tags as a policy (its `rebasebot` and `commitchecker`): what goes when the queue moves to a newer
//! trunk. `UPSTREAM: <carry>:` stays, `UPSTREAM: <drop>:` goes, `UPSTREAM: 1234:` stays until that pull request is merged and
//! in the trunk, which is the business of `landed`.

use gix_hash::ObjectId;
use serde::Serialize;

use super::draft::{Draft, fault};
use super::{Events, NightError, Site};
use crate::queue::{Patch, QueueError, Reason, SubjectTag};
use crate::workspace::Tags;

/// A patch that left the queue for its tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The patch.
    pub patch: String,
    /// Why, in words.
    pub why: String,
}

/// Takes out what goes with the move to `tip`, in a draft; nothing if the trunk has not moved. A tag that is none is a
/// fault of its patch.
pub(super) fn drop_tagged(
    site: &Site<'_>,
    draft: Option<Draft>,
    tip: &ObjectId,
    events: &dyn Events,
) -> Result<(Option<Draft>, Vec<Dropped>), NightError> {
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let mut now = match &draft {
        Some(draft) => draft.clone(),
        None => Draft::of(site, "")?,
    };
    let faults: Vec<QueueError> = now.queue.patches.iter().filter_map(unknown).collect();
    if !faults.is_empty() {
        let (project, folder) = (site.project.name.clone(), site.project.patches.clone());
        return Err(NightError::Queue { project, folder, faults });
    }
    if lock.is_none_or(|l| ObjectId::from_hex(l.base.as_bytes()).is_ok_and(|base| base == *tip)) {
        return Ok((draft, Vec::new()));
    }
    let strict = site.project.policy.tags == Tags::Strict;
    let goes = |p: &Patch| match &p.metadata.subject_tag {
        Some(SubjectTag::Drop) => Some("UPSTREAM: <drop>"),
        None if strict => Some("its first line has no UPSTREAM: tag, and tags = \"strict\""),
        _ => None,
    };
    // What was added since the last build has not had its day yet.
    let built = |p: &Patch| lock.iter().flat_map(|l| &l.patches).any(|l| l.name == p.name());
    let going: Vec<(Patch, &str)> =
        now.queue.patches.iter().filter(|p| built(p)).filter_map(|p| Some((p.clone(), goes(p)?))).collect();
    if going.is_empty() {
        return Ok((draft, Vec::new()));
    }
    let mut series = now.queue.series.clone();
    let mut dropped = Vec::new();
    for (patch, why) in going {
        series.remove(&patch.file).map_err(|f| fault(site, f))?;
        now.remove_patch(site, &patch.file);
        events.note(&format!("{} leaves the queue: {why}", patch.name()));
        dropped.push(Dropped { patch: patch.name().to_owned(), why: why.to_owned() });
    }
    now.set_series(site, series);
    let lines: Vec<String> = dropped.iter().map(|d| format!("{}: {}\n", d.patch, d.why)).collect();
    let told = format!("leave out what has had its day\n\n{}", lines.concat());
    now.message = match &draft {
        Some(before) => format!("{}\n{told}", before.message),
        None => format!("carry: {}: {told}", site.project.name),
    };
    Ok((Some(now), dropped))
}

fn unknown(patch: &Patch) -> Option<QueueError> {
    match &patch.metadata.subject_tag {
        // A revert carries the name of what it takes back.
        Some(SubjectTag::Other(tag)) if tag != "revert" => {
            Some(QueueError::new(patch.file.as_str(), 0, Reason::Tag(tag.clone())))
        }
        _ => None,
    }
}
