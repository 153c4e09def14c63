//! Which patch of a build needs which, looked for while it is looked up what upstream has. That seldom changes anything of it,
//! and what proves it takes as long as all else that is left to do then.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use super::edges::{InBuild, edges};
use super::publish::manifest_in;
use super::{NightError, Site};
use crate::build::manifest::Manifest;
use crate::graph::Edge;
use crate::queue::Queue;
use crate::store::Odb;
use crate::workspace::ProjectLock;

/// Edges that are being looked for.
pub struct EarlyEdges {
    /// As the patches are expected to stand.
    stand: Arc<Vec<InBuild>>,
    last: Receiver<Result<Option<Arc<Manifest>>, NightError>>,
    edges: JoinHandle<Result<Vec<Edge>, NightError>>,
}

impl EarlyEdges {
    /// Begins to look for the edges of a build in which the patches of a queue stand so.
    pub(super) fn look(
        site: &Site<'_>,
        lock: Option<&ProjectLock>,
        odb: &Odb,
        queue: &Arc<Queue>,
        stand: Vec<InBuild>,
    ) -> Self {
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
        Self { stand, last, edges: std::thread::spawn(edges) }
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
