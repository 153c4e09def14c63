//! A fork's history with merges as one line of patches.
//!
//! Along first parents every commit and every merge is a point where the line's tree must be the fork's own. Between
//! two such points a merged branch is laid out parents first. What a merge says beyond its branches becomes a patch of
//! its own, named after the merge.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use gix_hash::ObjectId;

use super::{ForkError, header};
use crate::queue::Header;
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::tree::{Entry, edit, entry_at};
use crate::store::{Odb, Repo};

/// One local commit as a patch of the line.
#[derive(Debug, Clone)]
pub struct Local {
    /// The commit it came from.
    pub commit: ObjectId,
    /// Author, date and message.
    pub header: Header,
    /// The line's tree before it.
    pub before: ObjectId,
    /// The line's tree after it.
    pub after: ObjectId,
    /// What a person should know: it is what a merge said, or part of it was settled as the merge did.
    pub note: Option<String>,
}

/// The local commits of `exclude..tip` on the tree of `base`.
pub fn linear(
    repo: &Repo,
    odb: &Odb,
    base: &ObjectId,
    exclude: &ObjectId,
    tip: &ObjectId,
) -> Result<Vec<Local>, ForkError> {
    let parents: BTreeMap<ObjectId, Vec<ObjectId>> =
        repo.range(Some(exclude), tip)?.into_iter().map(|r| (r.id, r.parents)).collect();
    let mut line: Vec<ObjectId> = Vec::new();
    let mut at = *tip;
    while let Some(up) = parents.get(&at) {
        line.push(at);
        match up.first() {
            Some(parent) => at = *parent,
            None => break,
        }
    }
    line.reverse();

    let mut walk = Walk { odb, out: Vec::new(), tree: odb.commit(base)?.tree };
    let mut seen: BTreeSet<ObjectId> = line.iter().copied().collect();
    for id in &line {
        let commit = odb.commit(id)?;
        if commit.parents.len() < 2 {
            walk.push(id, header(&commit), commit.tree, None);
            continue;
        }
        for side in &commit.parents[1..] {
            for inner in parents_first(*side, &parents, &mut seen) {
                walk.branch_commit(&inner, &commit.tree)?;
            }
        }
        if walk.tree != commit.tree {
            let note = format!("the merge {} says more than the branches it merges", id.to_hex_with_len(12));
            walk.push(id, header(&commit), commit.tree, Some(note));
        }
    }
    let fork = odb.commit(tip)?.tree;
    if walk.tree != fork {
        return Err(ForkError::OtherTree { stack: walk.tree, fork });
    }
    Ok(walk.out)
}

/// The commits of a branch that are not seen yet, each after its parents, the first parent's side first.
fn parents_first(
    tip: ObjectId,
    parents: &BTreeMap<ObjectId, Vec<ObjectId>>,
    seen: &mut BTreeSet<ObjectId>,
) -> Vec<ObjectId> {
    let mut out = Vec::new();
    let mut stack = vec![(tip, false)];
    while let Some((id, done)) = stack.pop() {
        if done {
            out.push(id);
            continue;
        }
        let Some(up) = parents.get(&id) else { continue };
        if !seen.insert(id) {
            continue;
        }
        stack.push((id, true));
        stack.extend(up.iter().rev().map(|p| (*p, false)));
    }
    out
}

struct Walk<'a> {
    odb: &'a Odb,
    out: Vec<Local>,
    tree: ObjectId,
}

impl Walk<'_> {
    fn push(&mut self, commit: &ObjectId, header: Header, after: ObjectId, note: Option<String>) {
        let before = std::mem::replace(&mut self.tree, after);
        self.out.push(Local { commit: *commit, header, before, after, note });
    }

    /// Lays one commit of a merged branch on the line; `merge` is the tree of the merge that brings it in.
    fn branch_commit(&mut self, id: &ObjectId, merge: &ObjectId) -> Result<(), ForkError> {
        let commit = self.odb.commit(id)?;
        // A merge inside the branch: what it says of its own shows at the merge that brings the branch in.
        let [parent] = commit.parents[..] else { return Ok(()) };
        let before = self.odb.commit(&parent)?.tree;
        match merge_trees(self.odb, &before, &self.tree, &commit.tree)? {
            Merged::Clean(after) => self.push(id, header(&commit), after, None),
            Merged::Conflicts(conflicts) => {
                let paths: BTreeSet<BString> = conflicts.into_iter().map(|c| c.path).collect();
                let after = self.settle(&before, &commit.tree, merge, &paths)?;
                let note = match after {
                    Some(_) => format!("{} settled as the merge has it", list(&paths)),
                    None => format!("{} left to the merge that brings it in", list(&paths)),
                };
                let after = after.unwrap_or(self.tree);
                self.push(id, header(&commit), after, Some(note));
            }
        }
        Ok(())
    }

    /// The line with the commit's change, and with `paths` as the merge has them.
    fn settle(
        &self,
        before: &ObjectId,
        after: &ObjectId,
        merge: &ObjectId,
        paths: &BTreeSet<BString>,
    ) -> Result<Option<ObjectId>, ForkError> {
        let set = |tree: &ObjectId, from: &ObjectId| -> Result<Option<ObjectId>, ForkError> {
            let mut edits: Vec<(&[u8], Option<Entry>)> = Vec::new();
            for path in paths {
                edits.push((path, entry_at(self.odb, from, path.as_ref())?.filter(|e| !e.is_tree())));
            }
            Ok(edit(self.odb, Some(*tree), &edits)?.ok().flatten())
        };
        let Some(without) = set(after, before)? else { return Ok(None) };
        match merge_trees(self.odb, before, &self.tree, &without)? {
            Merged::Clean(tree) => set(&tree, merge),
            Merged::Conflicts(_) => Ok(None),
        }
    }
}

fn list(paths: &BTreeSet<BString>) -> String {
    paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
