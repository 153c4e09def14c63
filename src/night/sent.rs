//! What became of the patches that were sent upstream: asked each night, kept for when there is no network.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gix_hash::ObjectId;
use jiff::Timestamp;
use serde::Serialize;

use super::{Events, NightError, Site};
use crate::forge::{self, Cache, ForgeError, Phase, Sent, Side, State};
use crate::queue::Queue;
use crate::store::write_whole;

/// So many answers about patches that have left the queue are kept.
const PAST: usize = 1000;

/// What is known of a project's patches that were sent.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// When the forge answered last; none: never.
    pub asked: Option<Timestamp>,
    /// Why it gave no answer now.
    pub problem: Option<String>,
    /// The patches of the queue that were sent, in its order, with what became of each.
    pub patches: Vec<Stands>,
}

/// A patch that was sent, and what became of it; none: nobody knows.
#[derive(Debug, Clone, Serialize)]
pub struct Stands {
    /// What was sent.
    #[serde(flatten)]
    pub sent: Sent,
    /// What became of it.
    pub state: Option<State>,
    /// For how many whole days it has waited; if it is over, since when it is.
    pub days: Option<i64>,
}

impl Standing {
    /// How many wait on one side, or are over.
    pub fn waiting(&self, side: Side) -> usize {
        self.patches.iter().filter_map(|p| p.state.as_ref()).filter(|s| s.waits_on == side).count()
    }

    /// How many are that far.
    pub fn reached(&self, phase: Phase) -> usize {
        self.patches.iter().filter_map(|p| p.state.as_ref()).filter(|s| s.phase == phase).count()
    }
}

fn place(site: &Site<'_>) -> PathBuf {
    site.folder.join("forge").join(format!("{}.json", site.project.name))
}

/// The answers that are kept.
pub fn kept(site: &Site<'_>) -> Cache {
    Cache::parse(&std::fs::read(place(site)).unwrap_or_default())
}

/// The patches of the queue that were sent, by their headers.
pub fn sent(site: &Site<'_>, queue: &Queue) -> Vec<Sent> {
    let Some(forge) = &site.project.forge else { return Vec::new() };
    queue.patches.iter().filter_map(|p| forge::sent(forge, p.name(), &p.metadata)).collect()
}

/// Of each patch of the queue that its forge says is merged: where it was sent, and the commit by which upstream has it.
pub(super) fn merged(site: &Site<'_>, queue: &Queue) -> BTreeMap<String, (String, String)> {
    let all = sent(site, queue);
    if all.is_empty() {
        return BTreeMap::new();
    }
    let cache = kept(site);
    // What a server says goes into headers: an id, or nothing.
    let id = |hex: &String| ObjectId::from_hex(hex.as_bytes()).ok().map(|id| id.to_string());
    let commit = |s: &Sent| id(cache.state(s).filter(|s| s.phase == Phase::Merged)?.merge_commit.as_ref()?);
    all.into_iter().filter_map(|s| Some((s.patch.clone(), (s.url.clone(), commit(&s)?)))).collect()
}

/// What is known without the network.
pub fn known(site: &Site<'_>, queue: &Queue, now: Timestamp) -> Standing {
    standing(&kept(site), sent(site, queue), None, now)
}

/// Asks the forge, and keeps what it answers. A forge that gives no answer is told, and is no error: what it answered
/// before holds.
pub fn ask(
    site: &Site<'_>,
    queue: &Queue,
    now: Timestamp,
    events: &dyn Events,
) -> Result<Standing, NightError> {
    let all = sent(site, queue);
    let mut cache = kept(site);
    let Some(forge) = site.project.forge.as_ref().filter(|_| !all.is_empty()) else {
        return Ok(standing(&cache, all, None, now));
    };
    events.step("asking what became of what was sent");
    match forge::ask(forge, &site.git, &all, &mut cache) {
        Ok(states) => {
            let past = std::mem::take(&mut cache.answers).into_iter();
            let past: Vec<_> = past.filter(|(s, state)| state.is_some() && !all.contains(s)).collect();
            let cut = past.len().saturating_sub(PAST);
            cache.answers = past.into_iter().skip(cut).chain(all.iter().cloned().zip(states)).collect();
            cache.asked = Some(now);
            keep(site, &cache)?;
            Ok(standing(&cache, all, None, now))
        }
        Err(e) => Ok(standing(&cache, all, Some(&e), now)),
    }
}

fn standing(cache: &Cache, all: Vec<Sent>, problem: Option<&ForgeError>, now: Timestamp) -> Standing {
    let stands = |sent: Sent| {
        let state = cache.state(&sent).cloned();
        let days = state.as_ref().and_then(|s| s.days(now));
        Stands { sent, state, days }
    };
    Standing {
        asked: cache.asked,
        problem: problem.map(ToString::to_string),
        patches: all.into_iter().map(stands).collect(),
    }
}

/// Writes the answers down, whole or not at all.
fn keep(site: &Site<'_>, cache: &Cache) -> Result<(), NightError> {
    let path = place(site);
    let text = serde_json::to_vec(cache)
        .map_err(|e| NightError::Format { what: "what the forge answered", reason: e.to_string() })?;
    write_whole(&path, &[&text]).map_err(|source| NightError::Io { path, source })
}
