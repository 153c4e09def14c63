//! Which patch of a build needs which: proved anew where something changed, and taken over from the build before
//! where nothing did.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bstr::BString;
use gix_hash::ObjectId;

use super::NightError;
use super::given::Given;
use super::leave::written_anew;
use super::outcome::PlannedPatch;
use crate::build::manifest::{Manifest, PatchRecord};
use crate::graph::{Edge, Graph, Node, Proved, Reason};
use crate::queue::Patch;
use crate::replay::Both;
use crate::replay::sequence::{Placed, Role, Step};
use crate::store::Odb;
use crate::trunk::delta::{self, Change};

/// What the edges of a patch rest on besides its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InBuild {
    name: String,
    /// SHA-256 of its file as read.
    digest: String,
    /// The stack's trees before and after it; none if it is not in the build.
    applied: Option<(ObjectId, ObjectId)>,
    /// Does the stack have each file that it changes just as its own base has it?
    as_it_is: bool,
    /// Does its text not say any more what it does?
    is_anew: bool,
    /// The files that both it and the stack changed, where that is known.
    both: Option<Arc<[Both]>>,
    /// What it changes in the stack, where that is known.
    changes: Option<Arc<[Change]>>,
}

impl InBuild {
    /// Those of a plan.
    pub fn all(planned: &[PlannedPatch]) -> Vec<Self> {
        let one = |planned: &PlannedPatch| Self {
            name: planned.report.name.clone(),
            digest: planned.digest.clone(),
            applied: planned.applied,
            as_it_is: planned.as_it_is,
            is_anew: planned.applied.is_some() && written_anew(planned.report.outcome),
            both: planned.both.clone(),
            changes: planned.changes.clone(),
        };
        planned.iter().map(one).collect()
    }

    /// What is to be expected of a patch that was placed so, if upstream does not have it.
    pub fn expected(patch: &Patch, placed: Option<&Placed>, given: Option<&Given>) -> Self {
        let left_out = Self {
            name: patch.name().to_owned(),
            digest: patch.digest.clone(),
            applied: None,
            as_it_is: false,
            is_anew: false,
            both: None,
            changes: None,
        };
        match placed {
            Some(Placed::Applied { before, after, as_it_is, both, changes, settled, .. }) => Self {
                applied: Some((*before, *after)),
                as_it_is: *as_it_is,
                is_anew: settled.is_some() || !given.is_some_and(|given| given.same),
                both: both.clone(),
                changes: changes.clone(),
                ..left_out
            },
            _ => left_out,
        }
    }
}

/// A patch of a run, as its edges are looked for.
struct Seen<'p> {
    stands: &'p InBuild,
    patch: &'p Patch,
    /// What differs between its trees, where that is known or its text does not say it.
    differs: Option<Cow<'p, [Change]>>,
}

impl<'p> Seen<'p> {
    fn of(odb: &Odb, stands: &'p InBuild, patch: &'p Patch) -> Result<Self, NightError> {
        let anew = stands.applied.filter(|_| stands.is_anew);
        let differs = match (&stands.changes, anew) {
            (Some(changes), _) => Some(Cow::Borrowed(&**changes)),
            (None, Some((before, after))) => Some(Cow::Owned(delta::changes(odb, &before, &after)?)),
            (None, None) => None,
        };
        Ok(Self { stands, patch, differs })
    }

    /// As the graph sees it, if it is in the build.
    fn node(&self) -> Option<Node<'_>> {
        let (before, after) = self.stands.applied?;
        let step = Step { name: self.stands.name.clone(), before, after, role: Role::Carry };
        let (metadata, text) = (&self.patch.metadata, Some(self.patch));
        Some(Node { step, metadata, text, differs: self.differs.as_deref() })
    }

    fn paths(&self) -> impl Iterator<Item = &BString> {
        let differs = self.differs.iter().flat_map(|differs| differs.iter());
        self.patch.paths.iter().chain(differs.map(|change| &change.path))
    }
}

/// The edges of a build in which the `patches` stand so. `before` is the build that was made last.
pub(super) fn edges(
    odb: &Odb,
    stand: &[InBuild],
    patches: &[Patch],
    before: Option<&Manifest>,
) -> Result<Vec<Edge>, NightError> {
    let seen = stand.iter().zip(patches).map(|(stands, patch)| Seen::of(odb, stands, patch));
    let seen = seen.collect::<Result<Vec<Seen<'_>>, NightError>>()?;
    let nodes: Vec<Node<'_>> = seen.iter().filter_map(Seen::node).collect();
    let known = before.map(|manifest| known(&seen, manifest)).unwrap_or_default();
    Ok(Graph::of(odb, &nodes, &known)?.edges())
}

/// What was proved of the patches before. A proof looks at the files that a patch touches, and at the patches before it
/// that touch them too: it holds as long as all these are what they were.
fn known<'m>(seen: &[Seen<'_>], before: &'m Manifest) -> BTreeMap<&'m str, Proved<'m>> {
    let was: BTreeMap<&str, &PatchRecord> = before.patches.iter().map(|p| (p.name.as_str(), p)).collect();
    let name = |s: &'_ Seen<'_>| s.stands.name.clone();
    let is_built = |s: &&Seen<'_>| s.stands.applied.is_some();
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
        let record = was.get(s.stands.name.as_str()).filter(|p| p.commit.is_some());
        match (s.stands.applied, record) {
            (None, None) => Vec::new(),
            (Some(_), Some(p)) if p.digest == s.stands.digest => match &s.stands.both {
                _ if s.stands.as_it_is => Vec::new(),
                Some(both) => both.iter().map(|file| file.path.clone()).collect(),
                None => paths(s),
            },
            _ => paths(s),
        }
    };
    let changed: BTreeSet<BString> = seen.iter().flat_map(changed).collect();
    let mut known: BTreeMap<&str, Proved<'_>> = BTreeMap::new();
    for s in seen.iter().filter(is_built) {
        if let Some(record) = was.get(s.stands.name.as_str()).filter(|p| p.commit.is_some()) {
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
