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
pub(super) fn delta_over<'o>(old: &[u8], over: impl Iterator<Item = (usize, &'o [u8])> + Clone) -> Vec<u8> {
    // What stands before and after each is a copy, of at most so many bytes as a rule.
    let mut out = Vec::with_capacity(over.clone().map(|(_, bytes)| bytes.len() + 8).sum::<usize>() + 16);
    number(&mut out, old.len());
    number(&mut out, old.len());
    let mut at = 0;
    for (place, bytes) in over {
        let same = bytes.iter().zip(&old[place..]).take_while(|(a, b)| a == b).count();
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

/// What a chain of differences makes of `base`: the first is to it, each other to what the one before makes. Nothing of what
/// lies between is made: where the last copies, the one before is asked what stands there, and so on. Nothing if one does not
/// fit.
pub(super) fn patched_by_all(base: &[u8], chain: &[Vec<u8>]) -> Option<Vec<u8>> {
    let (last, before) = chain.split_last()?;
    let mut made = Pieces::of(last)?;
    for delta in before.iter().rev() {
        let under = Pieces::of(delta)?;
        if under.new_size != made.old_size {
            return None;
        }
        let mut pieces = Vec::with_capacity(made.pieces.len());
        for piece in made.pieces {
            match piece {
                Piece::New(_) => pieces.push(piece),
                Piece::Old(range) => under.cut(range, &mut pieces)?,
            }
        }
        made = Pieces { pieces, old_size: under.old_size, ..made };
    }
    let mut out = Vec::with_capacity(made.new_size);
    for piece in made.pieces {
        match piece {
            Piece::New(bytes) => out.extend_from_slice(bytes),
            Piece::Old(range) => out.extend_from_slice(base.get(range)?),
        }
    }
    (base.len() == made.old_size && out.len() == made.new_size).then_some(out)
}

/// All that a difference says.
struct Pieces<'d> {
    old_size: usize,
    new_size: usize,
    pieces: Vec<Piece<'d>>,
    /// Where in the new bytes each begins.
    starts: Vec<usize>,
}

impl<'d> Pieces<'d> {
    fn of(delta: &'d [u8]) -> Option<Self> {
        let mut steps = Steps { rest: delta };
        let (old_size, new_size) = (steps.size()?, steps.size()?);
        let (mut pieces, mut starts, mut at) = (Vec::new(), Vec::new(), 0_usize);
        while !steps.rest.is_empty() {
            let piece = steps.next()?;
            starts.push(at);
            at = at.checked_add(piece.len())?;
            pieces.push(piece);
        }
        (at == new_size).then_some(Self { old_size, new_size, pieces, starts })
    }

    /// The pieces of which a range of the new bytes is made.
    fn cut(&self, range: std::ops::Range<usize>, out: &mut Vec<Piece<'d>>) -> Option<()> {
        let mut at = range.start;
        let mut place = self.starts.partition_point(|start| *start <= at).saturating_sub(1);
        while at < range.end {
            let (start, piece) = (*self.starts.get(place)?, self.pieces.get(place)?);
            let (from, to) = (at - start, piece.len().min(range.end - start));
            if from < to {
                match piece {
                    Piece::New(bytes) => out.push(Piece::New(&bytes[from..to])),
                    Piece::Old(old) => out.push(Piece::Old(old.start + from..old.start + to)),
                }
            }
            (at, place) = (start + to, place + 1);
        }
        Some(())
    }
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

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Self::New(bytes) => bytes.len(),
            Self::Old(range) => range.len(),
        }
    }
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
        let made = |over: &[(usize, Vec<u8>)]| {
            delta_over(&old, over.iter().map(|(at, bytes)| (*at, bytes.as_slice())))
        };
        let mut new = old.clone();
        over.iter().for_each(|(at, bytes)| new[*at..at + bytes.len()].copy_from_slice(bytes));
        assert_eq!(patched(&old, &made(&over)), Some(new));
        let apart = [over[1].clone(), over[3].clone()];
        assert_eq!(super::over(&made(&apart)), Some(apart.to_vec()));
        assert_eq!(super::over(&delta(&old, &old[1..])), None);
        assert_eq!(patched(&old, &made(&[])), Some(old.clone()));
    }

    /// A difference to so many bytes: what it copies and what is new, as numbers say.
    fn any_delta(old: usize, pieces: &[(bool, usize, usize)]) -> (Vec<u8>, usize) {
        let (mut body, mut new) = (Vec::new(), 0);
        for (copies, from, size) in pieces {
            let from = from % old.max(1);
            let size = if *copies { *size % (old - from).max(1) } else { size % 130 };
            match copies {
                true => copy(&mut body, from, size),
                false => insert(&mut body, &vec![(from % 251) as u8; size]),
            }
            new += size;
        }
        let mut out = Vec::new();
        number(&mut out, old);
        number(&mut out, new);
        (out.into_iter().chain(body).collect(), new)
    }

    proptest::proptest! {
        #[test]
        fn a_chain_makes_what_its_differences_make_one_by_one(
            base in proptest::collection::vec(0u8..=255, 0..300),
            chain in proptest::collection::vec(
                proptest::collection::vec((proptest::bool::ANY, 0usize..1000, 0usize..300), 0..6), 1..6),
            wrong in 0usize..40,
        ) {
            let (mut size, mut deltas, mut data) = (base.len(), Vec::new(), base.clone());
            for pieces in &chain {
                let (delta, new) = any_delta(size, pieces);
                data = patched(&data, &delta).expect("it fits");
                deltas.push(delta);
                size = new;
            }
            proptest::prop_assert_eq!(patched_by_all(&base, &deltas), Some(data));
            let longer = [&base[..], b"x"].concat();
            proptest::prop_assert_eq!(patched_by_all(&longer, &deltas), None);
            // Damaged ones make something else or nothing, as one by one.
            let at = wrong % deltas.len();
            let byte = wrong % deltas[at].len();
            deltas[at][byte] ^= 0x15;
            let one_by_one = deltas.iter().try_fold(base.clone(), |data, delta| patched(&data, delta));
            let at_once = patched_by_all(&base, &deltas);
            proptest::prop_assert!(one_by_one.is_none() || at_once == one_by_one, "{:?} {:?}", at_once, one_by_one);
        }
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
