//! One upstream commit that has a patch with other changes, such as other patches of the queue.

use std::collections::BTreeMap;

use super::lines::{Lines, per_cent};
use super::near::Near;
use super::{Candidate, Evidence, Rung, told};

/// In per cent: so much of a patch is in the commit.
const ENOUGH: u8 = 80;
/// So many changed lines at least: a change of one line has many likes.
const LEAST: u32 = 5;

/// For each patch the commit that has most of it, if it has nearly all, and whether it has others of the queue as well: they
/// are named.
pub(super) fn find(
    patches: &[&Candidate<'_>],
    near: &[Near<'_>],
    own: &[Lines],
) -> BTreeMap<usize, (Evidence, bool)> {
    let mut best: BTreeMap<usize, (u8, Evidence, bool)> = BTreeMap::new();
    for upstream in near {
        let whole = |at: &&usize| {
            let shared = own[**at].shared(&upstream.lines);
            shared >= LEAST && per_cent(shared, own[**at].total()) >= ENOUGH
        };
        let inside: Vec<usize> = upstream.patches.iter().filter(whole).copied().collect();
        for at in &inside {
            let shared = own[*at].shared(&upstream.lines);
            let (ours, theirs) = (own[*at].total(), upstream.lines.total());
            let part = per_cent(shared, ours);
            if best.get(at).is_some_and(|(known, ..)| part <= *known) {
                continue;
            }
            let others: Vec<&str> = inside.iter().filter(|o| *o != at).map(|o| patches[*o].name).collect();
            let many = !others.is_empty();
            let others = match others[..] {
                [] => String::new(),
                _ => format!(", beside {}", others.join(", ")),
            };
            let proof =
                format!("{shared} of the {ours} changed lines are in it{others}; it changes {theirs} in all");
            let mut evidence = told(Rung::Squashed, upstream.upstream, proof);
            evidence.likeness = Some(part);
            best.insert(*at, (part, evidence, many));
        }
    }
    best.into_iter().map(|(at, (_, evidence, many))| (at, (evidence, many))).collect()
}
