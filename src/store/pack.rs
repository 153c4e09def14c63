//! A pack and its index, made in memory (`gitformat-pack(5)`, versions 2 and 2).
//!
//! An object that resembles an earlier one of the pack is kept as a difference to it. No search: who makes an object
//! knows what it was made from.

use std::io;

use gix_hash::ObjectId;
use gix_object::Kind;
use libdeflater::{CompressionLvl, Compressor};

/// Git's own limit on how many differences stand on each other.
pub(super) const DEPTH: usize = 50;

/// One object to keep.
pub(super) struct Item<'a> {
    /// Its id.
    pub id: ObjectId,
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub body: Body<'a>,
}

/// How an object is kept.
pub(super) enum Body<'a> {
    /// As it is.
    Whole(&'a [u8]),
    /// As a difference to an earlier item.
    Delta(usize, &'a [u8]),
}

impl Body<'_> {
    fn data(&self) -> &[u8] {
        match self {
            Self::Whole(data) | Self::Delta(_, data) => data,
        }
    }
}

/// The two files of a pack.
pub(super) struct Packed {
    /// The checksum that both are named by.
    pub name: String,
    /// The pack.
    pub pack: Vec<u8>,
    /// Its index.
    pub index: Vec<u8>,
}

/// Where an item lies in the pack.
struct Place {
    offset: usize,
    crc: u32,
}

/// Packs `items`, which are all different.
pub(super) fn encode(items: &[Item<'_>]) -> io::Result<Packed> {
    let count = u32::try_from(items.len()).map_err(io::Error::other)?;
    let mut out = Vec::from(*b"PACK\0\0\0\x02");
    out.extend_from_slice(&count.to_be_bytes());
    let mut places: Vec<Place> = Vec::with_capacity(items.len());
    for (item, deflated) in items.iter().zip(deflate_all(items)?) {
        let offset = out.len();
        match item.body {
            Body::Delta(base, delta) => {
                header(&mut out, 6, delta.len());
                distance(&mut out, offset - places[base].offset);
            }
            Body::Whole(data) => header(&mut out, kind_number(item.kind), data.len()),
        }
        out.extend_from_slice(&deflated);
        places.push(Place { offset, crc: crc32fast::hash(&out[offset..]) });
    }
    let kind = items.first().map_or(gix_hash::Kind::Sha1, |item| item.id.kind());
    let checksum = hash(kind, &out)?;
    out.extend_from_slice(checksum.as_slice());
    let index = index(items, &places, &checksum)?;
    Ok(Packed { name: checksum.to_string(), pack: out, index })
}

/// The index: how many ids begin with up to each byte, the ids sorted, their checksums, their places.
fn index(items: &[Item<'_>], places: &[Place], checksum: &ObjectId) -> io::Result<Vec<u8>> {
    let mut sorted: Vec<(&Item<'_>, &Place)> = items.iter().zip(places).collect();
    sorted.sort_by_key(|(item, _)| item.id);
    let mut out = Vec::from(*b"\xfftOc\0\0\0\x02");
    let mut up_to = [0u32; 256];
    for (item, _) in &sorted {
        up_to[usize::from(item.id.first_byte())] += 1;
    }
    let mut sum = 0;
    for count in up_to {
        sum += count;
        out.extend_from_slice(&sum.to_be_bytes());
    }
    sorted.iter().for_each(|(item, _)| out.extend_from_slice(item.id.as_slice()));
    sorted.iter().for_each(|(_, place)| out.extend_from_slice(&place.crc.to_be_bytes()));
    for (_, place) in &sorted {
        // A pack of more than 2 GiB needs another table; it would have to fit in memory first.
        let offset = i32::try_from(place.offset).map_err(io::Error::other)?;
        out.extend_from_slice(&offset.to_be_bytes());
    }
    out.extend_from_slice(checksum.as_slice());
    let own = hash(checksum.kind(), &out)?;
    out.extend_from_slice(own.as_slice());
    Ok(out)
}

fn hash(kind: gix_hash::Kind, bytes: &[u8]) -> io::Result<ObjectId> {
    let mut hasher = gix_hash::hasher(kind);
    hasher.update(bytes);
    hasher.try_finalize().map_err(io::Error::other)
}

/// Deflates each item's data, on as many cores as there are.
fn deflate_all(items: &[Item<'_>]) -> io::Result<Vec<Vec<u8>>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores).max(64);
    std::thread::scope(|threads| {
        let work = |part: &'_ [Item<'_>]| {
            // One for all: a new one takes and clears its memory.
            let (mut deflate, mut buffer) = (Compressor::new(CompressionLvl::fastest()), Vec::new());
            let form = |item: &Item<'_>| match item.body.data() {
                data if data.len() <= SHORT || item.kind == Kind::Tree && data.len() >= LONG => {
                    Ok(stored(data))
                }
                data => deflated(&mut deflate, &mut buffer, data),
            };
            part.iter().map(form).collect::<io::Result<Vec<_>>>()
        };
        let shares: Vec<_> = items.chunks(share).map(|part| threads.spawn(move || work(part))).collect();
        let mut all = Vec::with_capacity(items.len());
        for share in shares {
            all.extend(share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

/// Data of no more bytes than this does not get shorter.
const SHORT: usize = 128;
/// A folder of as many bytes is mostly ids, which do not get shorter either: the time is worth more.
const LONG: usize = 16 << 10;

/// Data in zlib's form, as it is (RFC 1950, and RFC 1951, 3.2.4).
fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 5 * data.len().div_ceil(0xffff) + 16);
    out.extend_from_slice(&[0x78, 0x01]);
    let mut blocks = data.chunks(0xffff).peekable();
    loop {
        let block = blocks.next().unwrap_or_default();
        let is_last = blocks.peek().is_none();
        let len = (block.len() as u16).to_le_bytes();
        out.extend_from_slice(&[u8::from(is_last), len[0], len[1], !len[0], !len[1]]);
        out.extend_from_slice(block);
        if is_last {
            break;
        }
    }
    // Adler-32. So many sums fit before the remainder must be taken.
    let (mut a, mut b) = (1u32, 0u32);
    for block in data.chunks(5552) {
        for byte in block {
            a += u32::from(*byte);
            b += a;
        }
        (a, b) = (a % 65521, b % 65521);
    }
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
    out
}

fn deflated(deflate: &mut Compressor, buffer: &mut Vec<u8>, data: &[u8]) -> io::Result<Vec<u8>> {
    let most = deflate.zlib_compress_bound(data.len());
    if buffer.len() < most {
        buffer.resize(most, 0);
    }
    let len = deflate.zlib_compress(data, buffer).map_err(io::Error::other)?;
    Ok(buffer[..len].to_vec())
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    }
}

/// Type and inflated size: four bits of the size in the first byte, then seven a byte, lowest first.
fn header(out: &mut Vec<u8>, kind: u8, size: usize) {
    let first = (kind << 4) | (size & 0x0f) as u8;
    if size >> 4 == 0 {
        out.push(first);
    } else {
        out.push(first | 0x80);
        number(out, size >> 4);
    }
}

/// Seven bits a byte, lowest first.
fn number(out: &mut Vec<u8>, mut n: usize) {
    while n > 0x7f {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// How far back the base lies: seven bits a byte, highest first, one less in each byte but the last.
fn distance(out: &mut Vec<u8>, mut n: usize) {
    let mut bytes = vec![(n & 0x7f) as u8];
    n >>= 7;
    while n > 0 {
        n -= 1;
        bytes.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    bytes.reverse();
    out.extend_from_slice(&bytes);
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
    fn what_is_stored_is_read_by_zlib() {
        use std::io::Read;
        for len in [0, 1, 100, 5552, 0xffff, 0x10000, 300_000] {
            let data: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
            let mut read = Vec::new();
            flate2::read::ZlibDecoder::new(&stored(&data)[..]).read_to_end(&mut read).expect("it is whole");
            assert_eq!(read, data);
        }
    }

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
