//! What is asked of a project's queue as it stands: its dependency graph, and what upstream work will do to it.

use std::collections::BTreeMap;

use gix_hash::ObjectId;

use super::{Events, NightError, Site};
use crate::forecast::{Outlook, Work, forecast};
use crate::graph::{Graph, Node};
use crate::queue::Queue;
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::replay::prepare::{Source, prepare};
use crate::replay::sequence::{Role, Step};
use crate::store::Odb;
use crate::store::git::without_secrets;
use crate::trunk;

/// The stack on the recorded base, as the questions need it.
pub(super) struct Stack<'a> {
    pub odb: Odb,
    pub base: ObjectId,
    pub nodes: Vec<Node<'a>>,
    pub absent: Vec<String>,
}

/// The graph of the patches in the stack on the recorded base, and the names of those that are not in it.
pub fn queue_graph(site: &Site<'_>, queue: &Queue) -> Result<(Graph, Vec<String>), NightError> {
    let stack = stack(site, queue)?;
    let graph = Graph::of(&stack.odb, &stack.nodes, &BTreeMap::new())?;
    Ok((graph.with_hints(&stack.nodes), stack.absent))
}

/// Names of patch files, and their bytes.
pub type PatchFiles = Vec<(String, Vec<u8>)>;

/// A patch with all that it needs, as patch files that apply to the bare base one after the other: the names of the
/// files, and their bytes. None if the patch is not in the stack.
pub fn closure_files(site: &Site<'_>, queue: &Queue, patch: &str) -> Result<Option<PatchFiles>, NightError> {
    let stack = stack(site, queue)?;
    let graph = Graph::of(&stack.odb, &stack.nodes, &BTreeMap::new())?;
    let closure = graph.closure(patch);
    let mut tree = stack.odb.commit(&stack.base)?.tree;
    let mut pairs = Vec::with_capacity(closure.len());
    for node in stack.nodes.iter().filter(|n| closure.contains(&n.step.name.as_str())) {
        let step = &node.step;
        let next = match merge_trees(&stack.odb, &step.before, &tree, &step.after)? {
            Merged::Clean(next) => next,
            // The graph has proved that it applies.
            Merged::Conflicts(_) => return Err(NightError::RoundTrip { name: step.name.clone() }),
        };
        pairs.push((tree, next));
        tree = next;
    }
    stack.odb.flush()?;
    let patches = queue.patches.iter().filter(|p| closure.contains(&p.name()));
    let mut files = Vec::with_capacity(pairs.len());
    for (patch, diff) in patches.zip(site.store.diffs(&pairs, 1)?) {
        files.push((patch.file.clone(), patch.with_diff(&diff)));
    }
    Ok((!files.is_empty()).then_some(files))
}

/// What upstream work will do to the stack. `refs` are the upstream's, patterns among them.
pub fn look_ahead(
    site: &Site<'_>,
    refs: &[String],
    offline: bool,
    events: &dyn Events,
) -> Result<Vec<Outlook>, NightError> {
    let address = site.upstream_address();
    if !offline {
        events.step(&format!("fetching what upstream works on from {}", without_secrets(&address)));
        trunk::fetch_refs(&site.store, &address, refs, &|line| events.git(line))?;
    }
    events.step("looking ahead");
    let work: Vec<Work> = trunk::fetched_refs(&site.store, refs)?
        .into_iter()
        .map(|(name, commit)| Work { name, commit })
        .collect();
    let queue = site.queue()?;
    let stack = stack(site, &queue)?;
    let graph = Graph::of(&stack.odb, &stack.nodes, &BTreeMap::new())?;
    let steps: Vec<Step> = stack.nodes.iter().map(|n| n.step.clone()).collect();
    Ok(forecast(&site.store, &stack.odb, &stack.base, &steps, &graph, &work)?)
}

pub(super) fn stack<'a>(site: &Site<'_>, queue: &'a Queue) -> Result<Stack<'a>, NightError> {
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
                nodes.push(Node { step, metadata: &patch.metadata, text: Some(patch), differs: None });
            }
            _ => absent.push(name),
        }
    }
    Ok(Stack { odb, base, nodes, absent })
}
