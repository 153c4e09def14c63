//! What the header or the forge says: upstream took the patch in as a certain commit, and trunk has that commit.

use std::collections::BTreeMap;

use gix_hash::ObjectId;

use super::{Candidate, Evidence, Rung, told};
use crate::queue::Metadata;
use crate::store::{Odb, Repo, StoreError};
use crate::trunk::{Range, Upstream, read_range};

/// The patches whose header names a commit of the range as the one that has them.
pub(super) fn find(
    patches: &[Candidate<'_>],
    range: &Range,
    standing: &dyn Fn(&Upstream) -> bool,
) -> BTreeMap<String, Evidence> {
    let mut by_id: Option<BTreeMap<String, usize>> = None;
    let mut found = BTreeMap::new();
    for patch in patches {
        let merged = patch.merged.iter().map(|(url, id)| (format!("{url} was merged as"), id.clone()));
        let header = named(patch.metadata).into_iter();
        let header = header.map(|(field, id)| (format!("its {field} names"), id));
        for (says, id) in merged.chain(header) {
            let ids = by_id.get_or_insert_with(|| {
                let places = range.commits.iter().enumerate().filter(|(_, u)| standing(u));
                places.map(|(at, u)| (u.id.to_string(), at)).collect()
            });
            let mut alike = ids.range(id.clone()..).take_while(|(full, _)| full.starts_with(&id));
            // A short id that two commits have names none.
            if let (Some((_, at)), None) = (alike.next(), alike.next()) {
                let proof = format!("{says} {id}");
                found.insert(patch.name.to_owned(), told(Rung::Declared, &range.commits[*at], proof));
                break;
            }
        }
    }
    found
}

/// The patches that the forge says were merged as commits which trunk had at `base` already: the news came late, after
/// the range with the commit had been looked through.
pub(super) fn late(
    repo: &Repo,
    odb: &Odb,
    patches: &[Candidate<'_>],
    base: &ObjectId,
) -> Result<BTreeMap<String, Evidence>, StoreError> {
    let mut found = BTreeMap::new();
    for patch in patches {
        let Some((url, hex)) = &patch.merged else { continue };
        let Some(id) = ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| odb.has(id)) else { continue };
        if !repo.is_ancestor(&id, base)? || read_range(repo, odb, &id, base)?.reverted().contains(&id) {
            continue;
        }
        let upstream = Upstream { id, commit: odb.commit(&id)? };
        let proof = format!("{url} was merged as {hex}, which trunk has had for some time");
        found.insert(patch.name.to_owned(), told(Rung::Declared, &upstream, proof));
    }
    Ok(found)
}

/// The upstream commits that a header says have the patch, with the field that says so.
pub(super) fn named(metadata: &Metadata) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let mut take = |field, text: Option<&str>| {
        out.extend(text.map(ids).unwrap_or_default().into_iter().map(|id| (field, id)));
    };
    take("Applied-Upstream", metadata.applied_upstream.as_deref());
    let merged = |state: &&str| state.starts_with("Backport") || state.starts_with("Accepted");
    take("Upstream-Status", metadata.upstream_status.as_deref().filter(merged));
    let from_upstream = |origin: &&str| {
        let kind = origin.split([',', ' ']).next().unwrap_or_default();
        matches!(kind, "upstream" | "backport") || kind.starts_with("commit:")
    };
    take("Origin", metadata.origin.as_deref().filter(from_upstream));
    out
}

/// The words of a text that can only be commit ids: from twelve hexadecimal digits on, not all decimal.
fn ids(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| {
        (12..=64).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_hexdigit())
            && (matches!(word.len(), 40 | 64) || word.bytes().any(|b| b.is_ascii_alphabetic()))
    });
    words.map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::read_metadata;

    #[test]
    fn each_dialect_names_its_commit() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let names = |field: &str| -> Vec<String> {
            let message = format!("s\n\n{field}\n");
            named(&read_metadata(message.as_bytes(), &Vec::new())).into_iter().map(|(_, id)| id).collect()
        };
        assert_eq!(names(&format!("Applied-Upstream: 2.4, commit:{id}")), [id]);
        assert_eq!(names(&format!("Upstream-Status: Backport [https://x/commit/{id}]")), [id]);
        assert_eq!(names(&format!("Origin: upstream, commit:{id}")), [id]);
        assert_eq!(names(&format!("Origin: backport, https://x/c/{}", &id[..12])), [&id[..12]]);
        assert!(names(&format!("Upstream-Status: Submitted [https://x/{id}]")).is_empty());
        assert!(names(&format!("Origin: vendor, commit:{id}")).is_empty());
        assert!(names("Applied-Upstream: 20260101120000").is_empty());
    }
}
