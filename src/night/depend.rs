//! The dependency graph of a project's queue as it stands.

use gix_hash::ObjectId;

use super::{NightError, Site};
use crate::graph::{Graph, Node};
use crate::queue::Queue;
use crate::replay::prepare::{Source, prepare};
use crate::replay::sequence::{Role, Step};
use crate::trunk;

/// The graph of the patches in the stack on the recorded base, and the names of those that are not in it.
pub fn queue_graph(site: &Site<'_>, queue: &Queue) -> Result<(Graph, Vec<String>), NightError> {
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let odb = site.store.odb()?;
    let base = match lock {
        Some(lock) => {
            let missing = || NightError::NoBase { base: lock.base.clone() };
            ObjectId::from_hex(lock.base.as_bytes()).ok().filter(|id| odb.has(id)).ok_or_else(missing)?
        }
        None => trunk::known(&site.store)?.ok_or(trunk::FetchError::NeverFetched)?,
    };
    let prepared = prepare(&odb, queue, lock, &odb.commit(&base)?.tree)?;
    let (mut nodes, mut absent) = (Vec::new(), Vec::new());
    for (patch, prepared) in queue.patches.iter().zip(&prepared) {
        let name = patch.name().to_owned();
        match prepared.trees {
            // A left-out patch stands on an older base, where its neighbours are others.
            Ok((before, after, Source::Lock | Source::Applied)) if patch.hold.is_none() => {
                let step = Step { name, before, after, role: Role::Carry };
                nodes.push(Node { step, metadata: &patch.metadata });
            }
            _ => absent.push(name),
        }
    }
    Ok((Graph::of(&odb, &nodes)?, absent))
}
