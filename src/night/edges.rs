//! Which patch of a build needs which: proved anew where something changed, and taken over from the build before
//! where nothing did.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;

use super::NightError;
use super::leave::written_anew;
use super::outcome::PlannedPatch;
use crate::build::manifest::{Manifest, PatchRecord};
use crate::graph::{Edge, Graph, Node, Proved, Reason};
use crate::queue::Patch;
use crate::replay::sequence::{Role, Step};
use crate::store::Odb;
use crate::trunk::delta::{self, Change};

/// A patch of a run, as its edges are looked for.
struct Seen<'p> {
    planned: &'p PlannedPatch,
    patch: &'p Patch,
    /// What differs between its trees, where that is known or its text does not say it.
    differs: Option<Cow<'p, [Change]>>,
}

impl<'p> Seen<'p> {
    fn of(odb: &Odb, planned: &'p PlannedPatch, patch: &'p Patch) -> Result<Self, NightError> {
        let anew = planned.applied.filter(|_| written_anew(planned.report.outcome));
        let differs = match (&planned.changes, anew) {
            (Some(changes), _) => Some(Cow::Borrowed(changes.as_slice())),
            (None, Some((before, after))) => Some(Cow::Owned(delta::changes(odb, &before, &after)?)),
            (None, None) => None,
        };
        Ok(Self { planned, patch, differs })
    }

    /// As the graph sees it, if it is in the build.
    fn node(&self) -> Option<Node<'_>> {
        let (before, after) = self.planned.applied?;
        let step = Step { name: self.planned.report.name.clone(), before, after, role: Role::Carry };
        let (metadata, text) = (&self.patch.metadata, Some(self.patch));
        Some(Node { step, metadata, text, differs: self.differs.as_deref() })
    }

    fn paths(&self) -> impl Iterator<Item = &BString> {
        let differs = self.differs.iter().flat_map(|differs| differs.iter());
        self.patch.paths.iter().chain(differs.map(|change| &change.path))
    }
}

/// The edges of a build of the `planned` patches, whose texts are `patches`. `before` is the build that was made last.
pub(super) fn edges(
    odb: &Odb,
    planned: &[PlannedPatch],
    patches: &[Patch],
    before: Option<&Manifest>,
) -> Result<Vec<Edge>, NightError> {
    let seen = planned.iter().zip(patches).map(|(planned, patch)| Seen::of(odb, planned, patch));
    let seen = seen.collect::<Result<Vec<Seen<'_>>, NightError>>()?;
    let nodes: Vec<Node<'_>> = seen.iter().filter_map(Seen::node).collect();
    let known = before.map(|manifest| known(&seen, manifest)).unwrap_or_default();
    Ok(Graph::of(odb, &nodes, &known)?.edges())
}

/// What was proved of the patches before. A proof looks at the files that a patch touches, and at the patches before it
/// that touch them too: it holds as long as all these are what they were.
fn known<'m>(seen: &[Seen<'_>], before: &'m Manifest) -> BTreeMap<&'m str, Proved<'m>> {
    let was: BTreeMap<&str, &PatchRecord> = before.patches.iter().map(|p| (p.name.as_str(), p)).collect();
    let name = |s: &'_ Seen<'_>| s.planned.report.name.clone();
    let is_built = |s: &&Seen<'_>| s.planned.applied.is_some();
    let was_built = |n: &str| was.get(n).is_some_and(|p| p.commit.is_some());
    let order: Vec<String> = seen.iter().filter(is_built).map(name).filter(|n| was_built(n)).collect();
    let here: BTreeSet<String> = seen.iter().map(name).collect();
    let old_order: Vec<&str> =
        before.patches.iter().filter(|p| p.commit.is_some()).map(|p| p.name.as_str()).collect();
    let gone = old_order.iter().any(|n| !here.contains(*n));
    let still: BTreeSet<&str> = order.iter().map(String::as_str).collect();
    let common = old_order.iter().filter(|n| still.contains(*n));
    if before.tool.version != env!("CARGO_PKG_VERSION") || gone || !common.eq(order.iter()) {
        return BTreeMap::new();
    }
    let paths = |s: &'_ Seen<'_>| -> Vec<BString> { s.paths().cloned().collect() };
    // The files of a patch at which it finds or leaves something else than it did.
    let changed = |s: &Seen<'_>| -> Vec<BString> {
        let record = was.get(s.planned.report.name.as_str()).filter(|p| p.commit.is_some());
        match (s.planned.applied, record) {
            (None, None) => Vec::new(),
            (Some(_), Some(p)) if p.digest == s.planned.digest => match &s.planned.both {
                _ if s.planned.as_it_is => Vec::new(),
                Some(both) => both.iter().map(|file| file.path.clone()).collect(),
                None => paths(s),
            },
            _ => paths(s),
        }
    };
    let changed: BTreeSet<BString> = seen.iter().flat_map(changed).collect();
    let mut known: BTreeMap<&str, Proved<'_>> = BTreeMap::new();
    for s in seen.iter().filter(is_built) {
        if let Some(record) = was.get(s.planned.report.name.as_str()).filter(|p| p.commit.is_some()) {
            let holds = !paths(s).iter().any(|path| changed.contains(path));
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
