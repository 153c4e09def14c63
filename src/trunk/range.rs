//! The commits that the trunk took in from one of its commits to another.

use std::collections::{BTreeSet, HashMap};

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::delta;
use crate::store::tree::write_empty;
use crate::store::{Commit, Odb, Repo, StoreError};

/// One upstream commit of the range.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its id.
    pub id: ObjectId,
    /// Its content.
    pub commit: Commit,
}

/// `base..tip`, parents first.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// All its commits, merges too.
    pub commits: Vec<Upstream>,
    /// Those on the first-parent line, by their place in `commits`.
    pub first_parent: Vec<usize>,
}

/// Reads the range.
pub fn read(repo: &Repo, odb: &Odb, base: &ObjectId, tip: &ObjectId) -> Result<Range, StoreError> {
    if base == tip {
        return Ok(Range::default());
    }
    let mut range = Range::default();
    for ranged in repo.range(Some(base), tip)? {
        range.commits.push(Upstream { id: ranged.id, commit: odb.commit(&ranged.id)? });
    }
    let places: HashMap<ObjectId, usize> =
        range.commits.iter().enumerate().map(|(at, u)| (u.id, at)).collect();
    let mut at = places.get(tip).copied();
    while let Some(place) = at {
        range.first_parent.push(place);
        at = range.commits[place].commit.parents.first().and_then(|p| places.get(p)).copied();
    }
    range.first_parent.reverse();
    Ok(range)
}

impl Upstream {
    /// Its tree's parent for a diff: the first parent's tree, or the empty tree.
    pub fn before(&self, odb: &Odb) -> Result<ObjectId, StoreError> {
        Ok(match self.commit.parents.first() {
            Some(parent) => odb.commit(parent)?.tree,
            None => write_empty(odb)?,
        })
    }

    /// The paths that it changes against its first parent.
    pub fn paths(&self, odb: &Odb) -> Result<BTreeSet<BString>, StoreError> {
        let before = self.before(odb)?;
        Ok(delta::changes(odb, &before, &self.commit.tree)?.into_iter().map(|c| c.path).collect())
    }

    /// Does it change one of `paths` against its first parent?
    pub fn touches(&self, odb: &Odb, paths: &BTreeSet<BString>) -> Result<bool, StoreError> {
        let before = self.before(odb)?;
        Ok(!delta::touched(odb, &before, &self.commit.tree, paths)?.paths.is_empty())
    }

    /// The commit that its message says it reverts (`git revert`'s own sentence).
    pub fn reverts(&self) -> Option<ObjectId> {
        let at = self.commit.message.find("This reverts commit ")? + "This reverts commit ".len();
        let rest = &self.commit.message[at..];
        ObjectId::from_hex(rest.split(|b| !b.is_ascii_hexdigit()).next()?).ok()
    }
}

impl Range {
    /// The commits whose change does not stand at the end of the range: reverted, and the revert not reverted.
    pub fn reverted(&self) -> BTreeSet<ObjectId> {
        let mut gone = BTreeSet::new();
        let mut reverts = std::collections::BTreeMap::new();
        for upstream in &self.commits {
            let Some(target) = upstream.reverts() else { continue };
            reverts.insert(upstream.id, target);
            gone.insert(target);
            // The revert of a revert brings the first change back.
            if let Some(first) = reverts.get(&target) {
                gone.remove(first);
            }
        }
        gone
    }
}
