//! How alike two files are, counted as git counts it: both are cut into lines of at most 64 bytes, and the bytes in
//! pieces that both have are set against the larger size.

use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;

use crate::replay::content::is_binary;
use crate::store::tree::Entry;
use crate::store::{ObjectError, Objects};

/// Likeness is counted in parts of this.
pub(super) const WHOLE: u64 = 60_000;
/// What a rename must reach (`git help diff`, `--find-renames`).
pub(super) const ENOUGH: u64 = WHOLE / 2;
/// What a file of the same name must reach, to be taken before others are looked at.
pub(super) const ENOUGH_BY_NAME: u64 = WHOLE / 4 * 3;
/// Pieces are no longer than this.
const PIECE: u32 = 64;
/// Pieces are told apart by a number below this.
const NUMBERS: u32 = 107_927;

/// A file cut into pieces: the number of each kind of piece and the bytes in all of them, sorted.
type Pieces = Vec<(u32, u32)>;

/// Compares files, each cut into pieces once. Trunk's files are compared for patch after patch, so what came of it is
/// remembered.
pub(super) struct Likeness<'a> {
    objects: &'a dyn Objects,
    known: HashMap<ObjectId, Pieces>,
}

impl<'a> Likeness<'a> {
    pub(super) fn new(objects: &'a dyn Objects) -> Self {
        Self { objects, known: HashMap::new() }
    }

    /// How much of `new` is in `old`: 0 if it is less than `least`, or could not be as much by size alone.
    pub(super) fn score(&mut self, old: &Entry, new: &Entry, least: u64) -> Result<u64, ObjectError> {
        if !old.is_file() || !new.is_file() {
            return Ok(0);
        }
        let (old_size, new_size) = (self.size(&old.id)?, self.size(&new.id)?);
        let (most, less) = (old_size.max(new_size), old_size.min(new_size));
        if new_size == 0 || most * (WHOLE - least) < (most - less) * WHOLE {
            return Ok(0);
        }
        let pair = [old.id, new.id];
        if let Some(score) = self.objects.recall(&pair).filter(|_| old.id != new.id) {
            return Ok(score);
        }
        for id in pair {
            if !self.known.contains_key(&id) {
                let pieces = pieces(&self.objects.blob(&id)?);
                self.known.insert(id, pieces);
            }
        }
        let (Some(old), Some(new)) = (self.known.get(&old.id), self.known.get(&new.id)) else { return Ok(0) };
        // In floating point, as git has it: the last digit may decide.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let score = (common(old, new) as f64 * WHOLE as f64 / most as f64) as u64;
        if pair[0] != pair[1] {
            self.objects.remember(pair, score);
        }
        Ok(score)
    }

    /// A file's size. It is remembered as a file's likeness to itself, which nobody asks for.
    fn size(&self, id: &ObjectId) -> Result<u64, ObjectError> {
        if let Some(size) = self.objects.recall(&[*id, *id]) {
            return Ok(size);
        }
        let size = self.objects.blob(id)?.len() as u64;
        self.objects.remember([*id, *id], size);
        Ok(size)
    }
}

fn common(old: &[(u32, u32)], new: &[(u32, u32)]) -> u64 {
    let mut new = new.iter().peekable();
    let mut sum = 0;
    for (number, count) in old {
        while new.next_if(|(n, _)| n < number).is_some() {}
        if let Some((_, other)) = new.next_if(|(n, _)| n == number) {
            sum += u64::from(*count.min(other));
        }
    }
    sum
}

fn pieces(data: &[u8]) -> Pieces {
    let text = !is_binary(data);
    let mut counts: HashMap<u32, u32> = HashMap::new();
    let (mut low, mut high, mut len) = (0_u32, 0_u32, 0_u32);
    let mut bytes = data.iter().peekable();
    while let Some(byte) = bytes.next() {
        // A line's end is the same however it is written.
        if text && *byte == b'\r' && bytes.peek() == Some(&&b'\n') {
            continue;
        }
        let before = low;
        low = (low << 7) ^ (high >> 25);
        high = (high << 7) ^ (before >> 25);
        low = low.wrapping_add(u32::from(*byte));
        len += 1;
        if len == PIECE || *byte == b'\n' {
            *counts.entry(low.wrapping_add(high.wrapping_mul(0x61)) % NUMBERS).or_default() += len;
            (low, high, len) = (0, 0, 0);
        }
    }
    if len > 0 {
        *counts.entry(low.wrapping_add(high.wrapping_mul(0x61)) % NUMBERS).or_default() += len;
    }
    let mut counts: Pieces = counts.into_iter().collect();
    counts.sort_unstable();
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(a: &[u8], b: &[u8]) -> u64 {
        common(&pieces(a), &pieces(b))
    }

    #[test]
    fn the_bytes_of_common_lines_count() {
        assert_eq!(score(b"one\ntwo\nthree\n", b"two\nthree\nfour\n"), 10);
        assert_eq!(score(b"one\r\ntwo\r\n", b"one\ntwo\n"), 8);
        assert_eq!(score(b"x\n", b""), 0);
    }
}
