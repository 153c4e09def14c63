//! A pack and its index, made in memory (`gitformat-pack(5)`, versions 2 and 2).
//!
//! An object that resembles an earlier one of the pack is kept as a difference to it. No search: who makes an object
//! knows what it was made from.

use std::borrow::Cow;
use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};
use gix_hash::ObjectId;
use gix_object::Kind;

/// Git's own limit on how many differences stand on each other.
const DEPTH: usize = 50;

/// One object to keep.
pub(super) struct Item<'a> {
    /// Its id.
    pub id: ObjectId,
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub data: &'a [u8],
    /// An earlier item that it resembles.
    pub like: Option<usize>,
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

/// How an item is kept: whole, or as a difference.
struct Plan<'a> {
    base: Option<usize>,
    depth: usize,
    data: Cow<'a, [u8]>,
}

/// Where an item lies in the pack.
struct Place {
    offset: usize,
    crc: u32,
}

/// Packs `items`, which are all different.
pub(super) fn encode(items: &[Item<'_>]) -> io::Result<Packed> {
    let count = u32::try_from(items.len()).map_err(io::Error::other)?;
    let mut plans: Vec<Plan<'_>> = Vec::with_capacity(items.len());
    for item in items {
        let base = item.like.filter(|at| items[*at].kind == item.kind && plans[*at].depth < DEPTH);
        let delta = base.map(|at| (at, delta(items[at].data, item.data)));
        plans.push(match delta.filter(|(_, delta)| delta.len() < item.data.len() / 2) {
            Some((at, delta)) => Plan { base: Some(at), depth: plans[at].depth + 1, data: Cow::Owned(delta) },
            None => Plan { base: None, depth: 0, data: Cow::Borrowed(item.data) },
        });
    }
    let mut out = Vec::from(*b"PACK\0\0\0\x02");
    out.extend_from_slice(&count.to_be_bytes());
    let mut places: Vec<Place> = Vec::with_capacity(items.len());
    for ((item, plan), body) in items.iter().zip(&plans).zip(deflate_all(&plans)?) {
        let offset = out.len();
        match plan.base {
            Some(at) => {
                header(&mut out, 6, plan.data.len());
                distance(&mut out, offset - places[at].offset);
            }
            None => header(&mut out, kind_number(item.kind), plan.data.len()),
        }
        out.extend_from_slice(&body);
        places.push(Place { offset, crc: crc32fast::hash(&out[offset..]) });
    }
    let checksum = hash(&out)?;
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
    let own = hash(&out)?;
    out.extend_from_slice(own.as_slice());
    Ok(out)
}

fn hash(bytes: &[u8]) -> io::Result<ObjectId> {
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    hasher.update(bytes);
    hasher.try_finalize().map_err(io::Error::other)
}

/// Deflates each item's data, on as many cores as there are.
fn deflate_all(plans: &[Plan<'_>]) -> io::Result<Vec<Vec<u8>>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = plans.len().div_ceil(cores).max(64);
    std::thread::scope(|threads| {
        let work = |part: &'_ [Plan<'_>]| {
            // One for all: a new one clears a quarter of a megabyte.
            let mut deflate = Compress::new(Compression::fast(), true);
            part.iter().map(|plan| deflated(&mut deflate, &plan.data)).collect::<io::Result<Vec<_>>>()
        };
        let shares: Vec<_> = plans.chunks(share).map(|part| threads.spawn(move || work(part))).collect();
        let mut all = Vec::with_capacity(plans.len());
        for share in shares {
            all.extend(share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn deflated(deflate: &mut Compress, data: &[u8]) -> io::Result<Vec<u8>> {
    deflate.reset();
    let mut out = Vec::with_capacity(data.len() / 2 + 64);
    loop {
        let done = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        let rest = data.get(done..).unwrap_or_default();
        match deflate.compress_vec(rest, &mut out, FlushCompress::Finish)? {
            Status::StreamEnd => return Ok(out),
            Status::Ok | Status::BufError => out.reserve(data.len() / 2 + 64),
        }
    }
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
fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let start = common(old.iter(), new.iter());
    let end = common(old[start..].iter().rev(), new[start..].iter().rev());
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
            let same = common(from[at..].iter(), to[at..].iter());
            copy(&mut out, start + at, same);
            at += same;
        }
    } else {
        insert(&mut out, to);
    }
    copy(&mut out, old.len() - end, end);
    out
}

/// How many items two sequences have in common from their start.
fn common<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
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
