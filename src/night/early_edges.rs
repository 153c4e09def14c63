//! Which patch of a build needs which, looked for while it is looked up what upstream has. That seldom changes anything of it,
//! and what proves it takes as long as all else that is left to do then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use super::edges::{InBuild, edges};
use super::given::Given;
use super::publish::manifest_in;
use super::{NightError, Site};
use crate::build::manifest::Manifest;
use crate::graph::Edge;
use crate::queue::Queue;
use crate::replay::sequence::Placed;
use crate::store::{Odb, begin};
use crate::workspace::ProjectLock;

/// Edges that are being looked for.
pub struct EarlyEdges {
    /// As the patches are expected to stand.
    stand: Arc<Vec<InBuild>>,
    last: Receiver<Result<Option<Arc<Manifest>>, NightError>>,
    edges: JoinHandle<Result<Vec<Edge>, NightError>>,
}

impl EarlyEdges {
    /// Begins to look for the edges of a build of a queue, of which the patches at some places were placed so, and their texts
    /// give what is given. The others are not in it.
    pub(super) fn look(
        site: &Site<'_>,
        lock: Option<&ProjectLock>,
        (odb, queue): (&Odb, &Arc<Queue>),
        (places, placed, given): (&[usize], &[Placed], &[Option<Given>]),
    ) -> Self {
        let placed = places.iter().zip(placed.iter().zip(given));
        let placed: BTreeMap<usize, _> = placed.map(|(at, placed)| (*at, placed)).collect();
        let expected = |(at, patch)| {
            let (placed, given) = placed.get(&at).copied().unzip();
            InBuild::expected(patch, placed, given.and_then(Option::as_ref))
        };
        let stand: Vec<InBuild> = queue.patches.iter().enumerate().map(expected).collect();
        let (store, project, queue) = (site.store.clone(), site.project.name.clone(), queue.clone());
        let recorded = lock.and_then(|lock| lock.deploy.clone());
        let (stand, view) = (Arc::new(stand), odb.as_now());
        let (teller, last) = channel();
        let edges = {
            let stand = stand.clone();
            move || {
                let read = recorded.map(|commit| manifest_in(&store, &project, &commit)).transpose();
                let read = read.map(|read| read.flatten().map(Arc::new));
                let before = read.as_ref().ok().cloned().flatten();
                // Who has no use for it has gone on.
                let _ = teller.send(read);
                edges(&view.open(), &stand, &queue.patches, before.as_deref())
            }
        };
        Self { stand, last, edges: begin(edges) }
    }

    /// The manifest of the build that was made last, if there is one. It is told once.
    pub(super) fn last(&self) -> Option<Result<Option<Arc<Manifest>>, NightError>> {
        self.last.recv().ok()
    }

    /// The edges, if the patches stand as was expected.
    pub(super) fn of(self, stand: &[InBuild]) -> Option<Result<Vec<Edge>, NightError>> {
        let joined = || self.edges.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (*self.stand == stand).then(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Reason;
    use crate::queue::Patch;

    #[test]
    fn edges_are_those_of_a_build_whose_patches_stand_as_expected_and_of_no_other() {
        let edge = Edge { patch: "b".into(), needs: "a".into(), reason: Reason::DependsOn };
        let early = |stand: &[InBuild]| {
            let (_, last) = channel();
            let edges = vec![edge.clone()];
            EarlyEdges { stand: Arc::new(stand.to_vec()), last, edges: std::thread::spawn(|| Ok(edges)) }
        };
        let text =
            "From: A <a@b>\nSubject: x\n\n---\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        let patch = Patch::parse("b.patch", text.into(), 1).expect("a patch");
        let id = |n: u8| gix_hash::ObjectId::from_bytes_or_panic(&[n; 20]);
        let placed = |after| Placed::Applied {
            before: id(1),
            after,
            as_it_is: true,
            both: None,
            changes: None,
            settled: None,
        };
        let stands = |placed: Option<&Placed>| [InBuild::expected(&patch, placed, None)];
        let stand = stands(Some(&placed(id(2))));
        assert_eq!(early(&stand).of(&stand).map(Result::ok), Some(Some(vec![edge.clone()])));
        // On another stack, and left out as upstream has it.
        for other in [stands(Some(&placed(id(3)))), stands(None)] {
            assert!(early(&stand).of(&other).is_none());
        }
    }
}
