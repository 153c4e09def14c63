//! The stacks of a build, each by itself on the trunk commit: patches that hang together, without all others.

use gix_hash::ObjectId;

use super::{Events, NightError};
use crate::graph::{Edge, stacks};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::{Commit, Odb};

/// A stack's patches, from the bottom: each one's name and its commit.
pub type Alone = Vec<(String, ObjectId)>;

/// Makes each stack of a build on the trunk commit `tip`. `built` are the build's patches with their commits, `edges`
/// says which hang together. The commits are written, and nothing refers to them.
pub fn alone(
    odb: &Odb,
    tip: &ObjectId,
    built: &[(String, ObjectId)],
    edges: &[Edge],
    events: &dyn Events,
) -> Result<Vec<Alone>, NightError> {
    let names: Vec<&str> = built.iter().map(|(name, _)| name.as_str()).collect();
    let trunk = odb.commit(tip)?.tree;
    let mut all = Vec::new();
    for stack in stacks(&names, edges) {
        let (mut parent, mut tree, mut made) = (*tip, trunk, Alone::new());
        for at in stack {
            let (name, id) = &built[at];
            let commit = odb.commit(id)?;
            let before = match commit.parents.first() {
                Some(parent) => odb.commit(parent)?.tree,
                None => trunk,
            };
            let Merged::Clean(next) = merge_trees(odb, &before, &tree, &commit.tree)? else {
                // It applies to its own base without the others; that it does here as well is proved nowhere.
                events.note(&format!(
                    "{name} needs patches here that it did not need: its stack is not tried alone"
                ));
                made.clear();
                break;
            };
            tree = next;
            parent = odb.put_commit(&Commit { tree, parents: vec![parent], ..commit })?;
            made.push((name.clone(), parent));
        }
        all.extend(Some(made).filter(|made| !made.is_empty()));
    }
    odb.flush()?;
    Ok(all)
}
