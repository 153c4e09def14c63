//! Several upstream commits that have a patch together.

use std::collections::BTreeMap;

use super::lines::{Lines, per_cent};
use super::near::Near;
use super::{Evidence, Rung, told};

/// In per cent: so much of the patch do the commits have together.
pub(super) const ENOUGH: u8 = 80;
/// In per cent: so much of a commit is of the patch.
const OWN: u8 = 50;
/// So many changed lines a part has of the patch.
const LEAST: u32 = 3;

/// For each patch the commits that have it together, the largest part first sought.
pub(super) fn find(near: &[Near<'_>], own: &[Lines]) -> BTreeMap<usize, Evidence> {
    let mut found = BTreeMap::new();
    for (patch, lines) in own.iter().enumerate() {
        let of = |n: &&Near<'_>| {
            n.patches.contains(&patch) && per_cent(n.lines.shared(lines), n.lines.total()) >= OWN
        };
        let mut parts: Vec<&Near<'_>> = near.iter().filter(of).collect();
        let (mut rest, mut chosen) = (lines.clone(), Vec::new());
        while let Some(at) = (0..parts.len()).max_by_key(|at| parts[*at].lines.shared(&rest)) {
            let part = parts.swap_remove(at);
            if part.lines.shared(&rest) < LEAST {
                break;
            }
            rest = rest.less(&rest.meet(&part.lines));
            chosen.push(part);
        }
        let all = lines.total();
        let have = all - rest.total();
        if chosen.len() < 2 || per_cent(have, all) < ENOUGH {
            continue;
        }
        // In the range's order.
        chosen.sort_by_key(|c| near.iter().position(|n| n.upstream.id == c.upstream.id));
        let Some((last, before)) = chosen.split_last() else { continue };
        let told_of = |n: &&Near<'_>| {
            format!(
                "{} {} ({} lines)",
                n.upstream.id.to_hex_with_len(12),
                n.upstream.commit.subject(),
                n.lines.shared(lines)
            )
        };
        let parts: Vec<String> = chosen.iter().map(told_of).collect();
        let proof = format!(
            "{} commits have {have} of the {all} changed lines together: {}",
            chosen.len(),
            parts.join("; ")
        );
        let mut evidence = told(Rung::Split, last.upstream, proof);
        evidence.with = before.iter().map(|n| n.upstream.id.to_string()).collect();
        evidence.likeness = Some(per_cent(have, all));
        found.insert(patch, evidence);
    }
    found
}
