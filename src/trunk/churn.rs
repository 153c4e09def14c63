//! How often upstream changed which file.

use std::collections::BTreeMap;

use bstr::BString;
use gix_hash::ObjectId;

use super::compare::Compare;
use crate::store::{Odb, Repo, StoreError};

/// How many commits of `from..to`, merges left aside, changed each path.
pub fn churn(
    repo: &Repo,
    odb: &Odb,
    from: &ObjectId,
    to: &ObjectId,
) -> Result<BTreeMap<BString, usize>, StoreError> {
    let (mut counts, mut compared) = (BTreeMap::new(), Compare::of(odb));
    // The newest first: git packs a tree as a difference to a newer one, which is at hand then.
    for ranged in repo.range(Some(from), to)?.into_iter().rev() {
        let before = match ranged.parents[..] {
            [] => gix_hash::Kind::Sha1.empty_tree(),
            [parent] => odb.commit(&parent)?.tree,
            _ => continue,
        };
        for change in compared.files(&before, &odb.commit(&ranged.id)?.tree)? {
            *counts.entry(change.path).or_default() += 1;
        }
    }
    Ok(counts)
}
