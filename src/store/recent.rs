//! The objects that were read from packs last. All threads that read a store know them: what a patch stands on is merged
//! on one, and looked at on others for what landed, what is needed and what is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::HashMap;
use gix_object::Kind;

/// So many bytes of them are kept: others are differences to them, and a patch's trees are its neighbours'.
const LIMIT: usize = 12 << 20;
/// What is on the way to another object is kept up to this size. The library keeps only what was asked for, so each
/// tree of a history would be made from the bottom of its chain again.
const STEP: usize = 64 << 10;

/// A pack, by its number, and where in it an object lies.
pub(super) type Key = (usize, u64);
/// An object.
pub(super) type Whole = (Kind, Arc<Vec<u8>>);

/// The objects that were read last.
#[derive(Default)]
pub(super) struct Recent {
    packs: AtomicUsize,
    generations: Mutex<Generations>,
}

/// Two generations: the old one goes as a whole, but for what was asked for again.
#[derive(Default)]
struct Generations {
    young: HashMap<Key, Whole>,
    old: HashMap<Key, Whole>,
    /// Bytes of the young ones.
    bytes: usize,
}

impl Recent {
    /// A number that no other pack has.
    pub fn number(&self) -> usize {
        self.packs.fetch_add(1, Ordering::Relaxed)
    }

    /// An object, if it is kept.
    pub fn get(&self, key: Key) -> Option<Whole> {
        let mut all = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.young.get(&key) {
            return Some(known.clone());
        }
        let known = all.old.remove(&key)?;
        all.put(key, &known);
        Some(known)
    }

    /// Keeps an object that was asked for, or one on the way to it, unless it is too large for that.
    pub fn put(&self, key: Key, whole: &Whole, wanted: bool) {
        let size = whole.1.len();
        if size <= LIMIT / 4 && (wanted || size <= STEP) {
            self.generations.lock().unwrap_or_else(PoisonError::into_inner).put(key, whole);
        }
    }
}

impl Generations {
    fn put(&mut self, key: Key, whole: &Whole) {
        let size = whole.1.len();
        if self.bytes + size > LIMIT / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        if self.young.insert(key, whole.clone()).is_none() {
            self.bytes += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_goes_in_the_end() {
        let recent = Recent::default();
        let whole = (Kind::Blob, Arc::new(vec![0; STEP]));
        let most = (LIMIT / STEP) as u64;
        for at in 0..4 * most {
            recent.put((0, at), &whole, false);
            assert!(recent.get((0, 0)).is_some(), "asked for after each of {at}");
            let all = recent.generations.lock().expect("nobody panicked");
            assert!(all.bytes <= LIMIT / 2 && (all.young.len() + all.old.len()) as u64 <= most + 1);
        }
        assert!(recent.get((0, 1)).is_none());
        let (large, huge) = (vec![0; STEP + 1], vec![0; LIMIT / 4 + 1]);
        recent.put((1, 0), &(Kind::Blob, Arc::new(large)), false);
        recent.put((1, 1), &(Kind::Blob, Arc::new(huge)), true);
        assert!(recent.get((1, 0)).is_none() && recent.get((1, 1)).is_none());
    }
}
