//! The diffs of patches that are likely to be written anew, asked of git while it is looked up what upstream has: git takes
//! its time to start and to make them, and nothing else waits then.

use std::collections::HashMap;
use std::thread::JoinHandle;

use gix_hash::ObjectId;

use super::Site;
use super::given::Given;
use crate::replay::sequence::Placed;
use crate::store::{Odb, StoreError, begin};

/// The trees before and after a patch.
type Pair = (ObjectId, ObjectId);

/// The pairs with their diffs.
type Made = Result<Vec<(Pair, Vec<u8>)>, StoreError>;

/// Diffs that are being made.
#[derive(Default)]
pub struct Early {
    thread: Option<JoinHandle<Made>>,
}

impl Early {
    /// Asks for the diffs of the patches that were placed where their own text does not give what their merge gave.
    pub(super) fn ask(site: &Site<'_>, odb: &Odb, placed: &[Placed], given: &[Option<Given>]) -> Self {
        let pair = |(placed, given): (&Placed, &Option<Given>)| match (placed, given) {
            (Placed::Applied { before, after, settled, .. }, given) => {
                let anew = settled.is_some() || given.is_some_and(|given| !given.same);
                (anew && before != after).then_some((*before, *after))
            }
            _ => None,
        };
        let pairs: Vec<Pair> = placed.iter().zip(given).filter_map(pair).collect();
        if pairs.is_empty() {
            return Self::default();
        }
        // What cannot be read here is told when it is asked for again.
        let Ok(Some(quarantine)) = odb.quarantine(pairs) else { return Self::default() };
        let store = site.store.clone();
        Self { thread: Some(begin(move || quarantine.diffs(&store, 1))) }
    }

    /// The diffs. None where git could not make them: then it will say so to who asks again.
    pub(super) fn answer(mut self) -> HashMap<Pair, Vec<u8>> {
        let told = self
            .thread
            .take()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        told.and_then(Result::ok).unwrap_or_default().into_iter().collect()
    }
}

impl Drop for Early {
    /// What git was shown is taken away before the run ends.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
