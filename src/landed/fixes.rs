//! Upstream commits that mend a commit from which a carried patch came (`Fixes:`).

use std::collections::BTreeMap;

use super::declared::named;
use super::{Candidate, bearing};
use crate::queue::read_metadata;
use crate::trunk::Range;
use crate::workspace::Bearing;

/// So many digits of a commit's id name it.
const DIGITS: usize = 8;

/// For each patch, by its place, the standing commits of the range that say they mend a commit that it came from.
pub fn fixes(patches: &[Candidate<'_>], range: &Range) -> BTreeMap<String, Vec<Bearing>> {
    let mut origins: Vec<(String, &str)> = Vec::new();
    for patch in patches {
        let picked = patch.metadata.cherry_picked_from.iter().cloned();
        let declared = named(patch.metadata).into_iter().map(|(_, id)| id);
        origins.extend(picked.chain(declared).map(|id| (id, patch.name)));
    }
    let mut found: BTreeMap<String, Vec<Bearing>> = BTreeMap::new();
    if origins.is_empty() {
        return found;
    }
    let reverted = range.reverted();
    for upstream in range.commits.iter().filter(|u| u.commit.parents.len() < 2 && !reverted.contains(&u.id)) {
        if !upstream.commit.message.windows(6).any(|w| w.eq_ignore_ascii_case(b"fixes:")) {
            continue;
        }
        for fixed in read_metadata(&upstream.commit.message, &Vec::new()).fixes {
            let id =
                fixed.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default().to_ascii_lowercase();
            let names =
                |origin: &str| id.len() >= DIGITS && (origin.starts_with(&id) || id.starts_with(origin));
            for (origin, patch) in origins.iter().filter(|(origin, _)| names(origin)) {
                let all = found.entry((*patch).to_owned()).or_default();
                let one = bearing(upstream, origin);
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
    }
    found
}
