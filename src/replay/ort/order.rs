//! A map whose keys come in the order in which git's own hash map gives them, for the few places where git's answer
//! depends on it: which of two folders with as many files is guessed, and which of two equally likely sources wins.

use bstr::{BStr, BString};

/// Git's first table size (`hashmap.c`).
const FIRST: usize = 64;
/// A table grows when it is fuller than this, in percent.
const FULL: usize = 80;

/// A map from paths that is walked in git's order.
#[derive(Debug)]
pub(super) struct Map<V> {
    /// Each bucket's entries, the newest last; git's chains start with the newest.
    table: Vec<Vec<(BString, V)>>,
    len: usize,
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self { table: Vec::new(), len: 0 }
    }
}

/// 32-bit FNV-1, as `strhash` has it.
fn hash(key: &BStr) -> usize {
    key.iter().fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte)) as usize
}

impl<V> Map<V> {
    /// The value of a key, made if there is none.
    pub(super) fn entry(&mut self, key: &BStr, first: impl FnOnce() -> V) -> &mut V {
        if self.table.is_empty() {
            self.table.resize_with(FIRST, Vec::new);
        }
        let mut bucket = hash(key) & (self.table.len() - 1);
        if !self.table[bucket].iter().any(|(k, _)| k == key) {
            self.table[bucket].push((key.to_owned(), first()));
            self.len += 1;
            if self.len > self.table.len() * FULL / 100 {
                self.grow();
                bucket = hash(key) & (self.table.len() - 1);
            }
        }
        let chain = &mut self.table[bucket];
        let at = chain.iter().position(|(k, _)| k == key).unwrap_or(chain.len() - 1);
        &mut chain[at].1
    }

    fn grow(&mut self) {
        let size = self.table.len() << 2;
        let old = std::mem::take(&mut self.table);
        self.table.resize_with(size, Vec::new);
        for (key, value) in old.into_iter().flat_map(|chain| chain.into_iter().rev()) {
            let bucket = hash(key.as_ref()) & (size - 1);
            self.table[bucket].push((key, value));
        }
    }

    /// All keys and values, in git's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&BString, &V)> {
        self.table.iter().flat_map(|chain| chain.iter().rev()).map(|(k, v)| (k, v))
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, key: &BStr) {
        for chain in &mut self.table {
            let before = chain.len();
            chain.retain(|(k, _)| k != key);
            self.len -= before - chain.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_again_and_listed_once() {
        let mut map = Map::default();
        for n in 0..1000 {
            *map.entry(format!("folder/{}", n % 400).as_str().into(), || 0) += 1;
        }
        assert_eq!(map.iter().count(), 400);
        assert_eq!(map.iter().map(|(_, n)| n).sum::<i32>(), 1000);
        map.remove("folder/7".into());
        assert_eq!(map.iter().count(), 399);
    }

    #[test]
    fn the_hash_is_fnv_1() {
        // The published value for "a" (isthe.com/chongo/tech/comp/fnv).
        assert_eq!(hash("a".into()), 0x050c_5d7e);
    }
}
