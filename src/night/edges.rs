//! Which patch of a build needs which: proved anew where something changed, and taken over from the build before
//! where nothing did.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;

use super::NightError;
use super::leave::Left;
use super::outcome::{Planned, PlannedPatch};
use crate::build::manifest::{Manifest, PatchRecord};
use crate::graph::{Edge, Graph, Node, Proved, Reason};
use crate::queue::Patch;
use crate::replay::sequence::{Role, Step};
use crate::store::Odb;

/// The edges of a build, and of `before`, the build that was made last.
pub(super) fn edges(
    odb: &Odb,
    left: &[Left<'_>],
    before: Option<&Manifest>,
) -> Result<Vec<Edge>, NightError> {
    let mut nodes = Vec::with_capacity(left.len());
    for l in left {
        nodes.extend(node(&l.planned, l.rewritten.as_ref().map_or(l.patch, |(anew, _)| anew)));
    }
    let known = before.map(|manifest| known(left, manifest)).unwrap_or_default();
    Ok(Graph::of(odb, &nodes, &known)?.edges())
}

/// A patch of the build, as the graph sees it.
fn node<'p>(planned: &'p PlannedPatch, patch: &'p Patch) -> Option<Node<'p>> {
    let (before, after) = planned.applied?;
    let step = Step { name: planned.report.name.clone(), before, after, role: Role::Carry };
    let differs = planned.changes.as_deref();
    Some(Node { step, metadata: &patch.metadata, changes: &patch.changes, differs })
}

/// The edges of a build that is not written yet.
pub(super) fn of_planned(planned: &Planned) -> Result<Vec<Edge>, NightError> {
    let patches = planned.patches.iter().zip(&planned.queue.patches);
    let nodes: Vec<Node<'_>> = patches.filter_map(|(p, patch)| node(p, patch)).collect();
    Ok(Graph::of(&planned.odb, &nodes, &BTreeMap::new())?.edges())
}

/// What was proved of the patches before. A proof looks at the files that a patch touches, and at the patches before it
/// that touch them too: it holds as long as all these are what they were.
fn known<'m>(left: &[Left<'_>], before: &'m Manifest) -> BTreeMap<&'m str, Proved<'m>> {
    let was: BTreeMap<&str, &PatchRecord> = before.patches.iter().map(|p| (p.name.as_str(), p)).collect();
    let name = |l: &'_ Left<'_>| l.planned.report.name.clone();
    let is_built = |l: &&Left<'_>| l.planned.applied.is_some();
    let was_built = |n: &str| was.get(n).is_some_and(|p| p.commit.is_some());
    let order: Vec<String> = left.iter().filter(is_built).map(name).filter(|n| was_built(n)).collect();
    let here: BTreeSet<String> = left.iter().map(name).collect();
    let old_order: Vec<&str> =
        before.patches.iter().filter(|p| p.commit.is_some()).map(|p| p.name.as_str()).collect();
    let gone = old_order.iter().any(|n| !here.contains(*n));
    let still: BTreeSet<&str> = order.iter().map(String::as_str).collect();
    let common = old_order.iter().filter(|n| still.contains(*n));
    if before.tool.version != env!("CARGO_PKG_VERSION") || gone || !common.eq(order.iter()) {
        return BTreeMap::new();
    }
    let paths = |l: &'_ Left<'_>| -> Vec<BString> {
        let rewritten = l.rewritten.iter().flat_map(|(anew, _)| &anew.changes);
        let changes = l.patch.changes.iter().chain(rewritten);
        changes.flat_map(|c| c.paths()).cloned().collect()
    };
    // The files of a patch at which it finds or leaves something else than it did.
    let changed = |l: &Left<'_>| -> Vec<BString> {
        let record = was.get(l.planned.report.name.as_str()).filter(|p| p.commit.is_some());
        match (l.planned.applied, record) {
            (None, None) => Vec::new(),
            (Some(_), Some(p)) if p.digest == l.planned.digest => match &l.planned.both {
                _ if l.planned.as_it_is => Vec::new(),
                Some(both) => both.iter().map(|file| file.path.clone()).collect(),
                None => paths(l),
            },
            _ => paths(l),
        }
    };
    let changed: BTreeSet<BString> = left.iter().flat_map(changed).collect();
    let mut known: BTreeMap<&str, Proved<'_>> = BTreeMap::new();
    for l in left.iter().filter(is_built) {
        if let Some(record) = was.get(l.planned.report.name.as_str()).filter(|p| p.commit.is_some()) {
            let holds = !paths(l).iter().any(|path| changed.contains(path));
            known.insert(&record.name, Proved { edges: Vec::new(), holds });
        }
    }
    for edge in before.edges.iter().filter(|e| matches!(e.reason, Reason::Textual { .. })) {
        if let Some(proved) = known.get_mut(edge.patch.as_str()) {
            proved.edges.push(edge);
        }
    }
    known
}
