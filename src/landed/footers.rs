//! Identity by what the messages say: `Change-Id` in both footers, or a line that names the other commit.

use std::collections::BTreeMap;

use super::{Candidate, Evidence, Rung, told};
use crate::queue::read_metadata;
use crate::trunk::{Range, Upstream};

/// A patch has landed when every Change-Id of its footer stands in the footer of a commit of the range, or when a
/// commit of the range is the one it was picked from, or was picked from the same commit.
pub(super) fn find(
    patches: &[Candidate<'_>],
    range: &Range,
    standing: &dyn Fn(&Upstream) -> bool,
) -> BTreeMap<String, Evidence> {
    let standing: Vec<&Upstream> = range.commits.iter().filter(|u| standing(u)).collect();
    let mut by_change_id: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_origin: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
    for (at, upstream) in standing.iter().enumerate() {
        by_id.insert(upstream.id.to_string(), at);
        // A merge's message often repeats the footer of what it merges; the commit itself is named then.
        let metadata = read_metadata(&upstream.commit.message, &Vec::new());
        let slot = |map: &mut BTreeMap<String, usize>, key: String| {
            let first = map.entry(key).or_insert(at);
            if standing[*first].commit.parents.len() > 1 {
                *first = at;
            }
        };
        metadata.change_ids.into_iter().for_each(|id| slot(&mut by_change_id, id));
        metadata.cherry_picked_from.into_iter().for_each(|id| slot(&mut by_origin, id));
    }
    let mut found = BTreeMap::new();
    for patch in patches {
        let ids = &patch.metadata.change_ids;
        let all: Option<Vec<usize>> = ids.iter().map(|id| by_change_id.get(id).copied()).collect();
        if let Some(last) = all.and_then(|at| at.last().copied()) {
            let evidence = told(Rung::ChangeId, standing[last], ids.join(", "));
            found.insert(patch.name.to_owned(), evidence);
            continue;
        }
        for origin in &patch.metadata.cherry_picked_from {
            let hit = match by_id.get(origin) {
                Some(at) => Some((at, format!("the patch says it was picked from {origin}"))),
                None => by_origin.get(origin).map(|at| (at, format!("both were picked from {origin}"))),
            };
            if let Some((at, proof)) = hit {
                found.insert(patch.name.to_owned(), told(Rung::CherryPicked, standing[*at], proof));
                break;
            }
        }
    }
    found
}
