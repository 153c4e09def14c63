//! Differences between objects as packs store them (`gitformat-pack(5)`, "Deltified representation"): made, read and undone.

/// Git's own limit on how many differences stand on each other.
pub(super) const DEPTH: usize = 50;

/// Seven bits a byte, lowest first.
pub(super) fn number(out: &mut Vec<u8>, mut n: usize) {
    while n > 0x7f {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Bytes that are equal for shorter than this are not worth a copy.
const WORTH: usize = 16;

/// What makes `new` of `old`: their common start and end are copied. Between, where both are equally long (a tree of
/// which some ids changed), what is equal at its place is copied too.
pub(super) fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let start = common_start(old, new);
    let end = common_end(&old[start..], &new[start..]);
    let (from, to) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    let mut out = Vec::new();
    number(&mut out, old.len());
    number(&mut out, new.len());
    copy(&mut out, 0, start);
    if from.len() == to.len() {
        let mut at = 0;
        while at < to.len() {
            let differs = differing(&from[at..], &to[at..]);
            insert(&mut out, &to[at..at + differs]);
            at += differs;
            let same = common_start(&from[at..], &to[at..]);
            copy(&mut out, start + at, same);
            at += same;
        }
    } else {
        insert(&mut out, to);
    }
    copy(&mut out, old.len() - end, end);
    out
}

/// The same for a text that was written over at some places, in order; each has its new bytes.
pub(super) fn delta_over(old: &[u8], over: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, old.len());
    number(&mut out, old.len());
    let mut at = 0;
    for (place, bytes) in over {
        // The start of an entry, its mode and name, seldom changes.
        let same = bytes.iter().zip(&old[*place..]).take_while(|(a, b)| a == b).count();
        copy(&mut out, at, place + same - at);
        insert(&mut out, &bytes[same..]);
        at = place + bytes.len();
    }
    copy(&mut out, at, old.len() - at);
    out
}

/// What a difference makes of `old`; nothing if it is not one to it.
pub(super) fn patched(old: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut steps = Steps { rest: delta };
    let (old_size, new_size) = (steps.size()?, steps.size()?);
    let mut out = Vec::with_capacity(new_size);
    while !steps.rest.is_empty() {
        match steps.next()? {
            Piece::New(bytes) => out.extend_from_slice(bytes),
            Piece::Old(range) => out.extend_from_slice(old.get(range)?),
        }
    }
    (old.len() == old_size && out.len() == new_size).then_some(out)
}

/// The places at which a difference writes over the old bytes, with the new ones; nothing if it moves any.
pub(super) fn over(delta: &[u8]) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut steps = Steps { rest: delta };
    let (old_size, new_size) = (steps.size()?, steps.size()?);
    let (mut out, mut at): (Vec<(usize, Vec<u8>)>, usize) = (Vec::new(), 0);
    while !steps.rest.is_empty() {
        match steps.next()? {
            Piece::New(bytes) => {
                match out.last_mut().filter(|(place, last)| place + last.len() == at) {
                    Some((_, last)) => last.extend_from_slice(bytes),
                    None => out.push((at, bytes.to_vec())),
                }
                at += bytes.len();
            }
            Piece::Old(range) if range.start == at => at = range.end,
            Piece::Old(_) => return None,
        }
    }
    (old_size == new_size && at == new_size).then_some(out)
}

/// A part of what a difference makes.
enum Piece<'d> {
    New(&'d [u8]),
    Old(std::ops::Range<usize>),
}

/// A difference that is read.
struct Steps<'d> {
    rest: &'d [u8],
}

impl<'d> Steps<'d> {
    fn byte(&mut self) -> Option<usize> {
        let (first, after) = self.rest.split_first()?;
        self.rest = after;
        Some(usize::from(*first))
    }

    fn size(&mut self) -> Option<usize> {
        let mut size = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            size |= (byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(size)
    }

    fn next(&mut self) -> Option<Piece<'d>> {
        let code = self.byte()?;
        if code & 0x80 == 0 {
            let (piece, after) = self.rest.split_at_checked(code)?;
            self.rest = after;
            return Some(Piece::New(piece));
        }
        let mut words = [0usize; 2];
        for bit in (0..7).filter(|bit| code & (1 << bit) != 0) {
            let (word, shift) = if bit < 4 { (0, bit * 8) } else { (1, (bit - 4) * 8) };
            words[word] |= self.byte()? << shift;
        }
        // No size is that of the largest piece of git's own form.
        let size = if words[1] == 0 { 0x10000 } else { words[1] };
        Some(Piece::Old(words[0]..words[0].checked_add(size)?))
    }
}

/// Bytes are compared by so many at once.
const BLOCK: usize = 256;

/// How many bytes two sequences have in common from their start.
pub fn common_start(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let start = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    start + a[start..].iter().zip(&b[start..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes two sequences have in common at their end.
pub fn common_end(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.rchunks_exact(BLOCK).zip(b.rchunks_exact(BLOCK));
    let end = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    end + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// How long two sequences of one length differ, short equal runs among it.
fn differing(a: &[u8], b: &[u8]) -> usize {
    let (mut last, mut same) = (0, 0);
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        same = if a == b { same + 1 } else { 0 };
        if same == 0 {
            last = at + 1;
        } else if same >= WORTH {
            break;
        }
    }
    last
}

/// Copies `size` bytes of the base from `offset`.
fn copy(out: &mut Vec<u8>, mut offset: usize, mut size: usize) {
    while size > 0 {
        let piece = size.min(0xff_ffff);
        let at = out.len();
        out.push(0x80);
        for (bit, byte) in
            (offset as u32).to_le_bytes().into_iter().chain(piece.to_le_bytes()).take(7).enumerate()
        {
            if byte != 0 {
                out[at] |= 1 << bit;
                out.push(byte);
            }
        }
        offset += piece;
        size -= piece;
    }
}

fn insert(out: &mut Vec<u8>, data: &[u8]) {
    for piece in data.chunks(0x7f) {
        out.push(piece.len() as u8);
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_made_of_what_was_written_over_is_one() {
        let old: Vec<u8> = (0..3000u32).flat_map(|n| (n * 7919).to_le_bytes()).collect();
        let over = vec![(0, old[..8].to_vec()), (40, vec![9; 30]), (70, vec![1; 300]), (11_990, vec![2; 10])];
        let mut new = old.clone();
        over.iter().for_each(|(at, bytes)| new[*at..at + bytes.len()].copy_from_slice(bytes));
        assert_eq!(patched(&old, &delta_over(&old, &over)), Some(new));
        let apart = [over[1].clone(), over[3].clone()];
        assert_eq!(super::over(&delta_over(&old, &apart)), Some(apart.to_vec()));
        assert_eq!(super::over(&delta(&old, &old[1..])), None);
        assert_eq!(patched(&old, &delta_over(&old, &[])), Some(old));
    }

    #[test]
    fn a_difference_makes_the_new_of_the_old() {
        let old: Vec<u8> = (0..3000u32).flat_map(|n| (n * 7919).to_le_bytes()).collect();
        let mut other = old.clone();
        other[5000..5020].fill(9);
        other[9000] ^= 1;
        let longer = [&old[..700], b"and more", &old[650..]].concat();
        for new in [&old[..], &other, &longer, b"", b"short", &old[3000..]] {
            let delta = delta(&old, new);
            assert_eq!(patched(&old, &delta).as_deref(), Some(new));
            assert_eq!(patched(&old[1..], &delta), None);
        }
        assert_eq!(patched(&old, &[0xff]), None);
    }
}
