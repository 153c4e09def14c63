//! How often upstream changed which file.

use std::collections::{BTreeMap, HashMap};

use bstr::BString;
use gix_hash::ObjectId;

use super::compare::Compare;
use crate::store::{Objects, Odb, Repo, StoreError};

/// How many commits of `from..to`, merges left aside, changed each path.
pub fn churn(
    repo: &Repo,
    odb: &Odb,
    from: &ObjectId,
    to: &ObjectId,
) -> Result<BTreeMap<BString, usize>, StoreError> {
    let (mut counts, mut compared) = (BTreeMap::new(), Compare::of(odb));
    // Most parents are commits of the range as well.
    let mut trees: HashMap<ObjectId, ObjectId> = HashMap::new();
    let mut tree = |id: ObjectId| match trees.get(&id) {
        Some(tree) => Ok(*tree),
        None => odb.commit(&id).map(|commit| *trees.entry(id).or_insert(commit.tree)),
    };
    // The newest first: git packs a tree as a difference to a newer one, which is at hand then.
    for ranged in repo.range(Some(from), to)?.into_iter().rev() {
        let before = match ranged.parents[..] {
            [] => odb.hash().empty_tree(),
            [parent] => tree(parent)?,
            _ => continue,
        };
        for change in compared.files(&before, &tree(ranged.id)?)? {
            *counts.entry(change.path).or_default() += 1;
        }
    }
    Ok(counts)
}
