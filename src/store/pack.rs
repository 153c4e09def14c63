//! A pack and its index, written (`gitformat-pack(5)`, versions 2 and 2).
//!
//! An object that resembles an earlier one of the pack is kept as a difference to it. No search: who makes an object
//! knows what it was made from.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use gix_hash::ObjectId;
use gix_object::Kind;
use libdeflater::{CompressionLvl, Compressor, adler32};
use tempfile::NamedTempFile;

use super::delta::number;
use super::threads::{begin_in, cores};

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

/// A pack that was written.
struct Packed {
    /// The checksum that it and its index are named by.
    name: String,
    /// Its index.
    index: Vec<u8>,
}

/// Where an item lies in the pack.
struct Place {
    offset: usize,
    crc: u32,
}

/// So many bytes are written at once.
const BLOCK: usize = 64 << 10;

/// A pack on its way out.
struct Out<W> {
    to: W,
    block: Vec<u8>,
    written: usize,
    /// None: nobody asks for it.
    sum: Option<gix_hash::Hasher>,
}

impl<W: io::Write> Out<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.block.extend_from_slice(bytes);
        if self.block.len() < BLOCK { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(sum) = &mut self.sum {
            sum.update(&self.block);
        }
        self.to.write_all(&self.block)?;
        self.written += self.block.len();
        self.block.clear();
        Ok(())
    }

    fn offset(&self) -> usize {
        self.written + self.block.len()
    }
}

/// Writes `items`, which are all different, as a pack in `folder`, with its index; where that is.
pub(super) fn write(items: &[Item<'_>], folder: &Path) -> io::Result<PathBuf> {
    put(items, folder, true)
}

/// The same for a while: as they are, not waiting for the disk, and with another checksum, of which git asks only that a pack
/// and its index have the same.
pub(super) fn show(items: &[Item<'_>], folder: &Path) -> io::Result<()> {
    put(items, folder, false).map(drop)
}

fn put(items: &[Item<'_>], folder: &Path, is_kept: bool) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let begin = || {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o444));
        }
        // git's own housekeeping clears what a killed run leaves under this name.
        builder.prefix("tmp_pack_").tempfile_in(folder)
    };
    let end = |file: NamedTempFile, name: &str| {
        if is_kept {
            file.as_file().sync_data()?;
        }
        let place = folder.join(name);
        file.persist(&place).map_err(|e| e.error)?;
        Ok::<_, io::Error>(place)
    };
    let mut file = begin()?;
    let Packed { name, index } = encode(items, file.as_file_mut(), (is_kept, is_kept))?;
    end(file, &format!("pack-{name}.pack"))?;
    // The index comes last: a pack without one is not looked at.
    let mut file = begin()?;
    file.write_all(&index)?;
    end(file, &format!("pack-{name}.idx"))
}

/// A pack as git reads it from a pipe: deflated only where it is to be kept.
pub(super) fn stream(items: &[Item<'_>], is_kept: bool) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    encode(items, &mut out, (is_kept, true))?;
    Ok(out)
}

/// A pack: is it deflated, and has it the checksum of its bytes?
fn encode(
    items: &[Item<'_>],
    to: impl io::Write,
    (is_deflated, is_summed): (bool, bool),
) -> io::Result<Packed> {
    let count = u32::try_from(items.len()).map_err(io::Error::other)?;
    let kind = items.first().map_or(gix_hash::Kind::Sha1, |item| item.id.kind());
    let block = Vec::with_capacity(2 * BLOCK);
    let sum = is_summed.then(|| gix_hash::hasher(kind));
    let mut out = Out { to, block, written: 0, sum };
    out.put(b"PACK\0\0\0\x02")?;
    out.put(&count.to_be_bytes())?;
    let mut places: Vec<Place> = Vec::with_capacity(items.len());
    let mut head = Vec::new();
    let mut write = |piece: &[Item<'_>], deflated: &Deflated| {
        for (item, deflated) in piece.iter().zip(deflated.each()) {
            let offset = out.offset();
            head.clear();
            match item.body {
                Body::Delta(base, delta) => {
                    header(&mut head, 6, delta.len());
                    distance(&mut head, offset - places[base].offset);
                }
                Body::Whole(data) => header(&mut head, kind_number(item.kind), data.len()),
            }
            let mut crc = crc32fast::Hasher::new();
            for part in [&head, deflated] {
                crc.update(part);
                out.put(part)?;
            }
            places.push(Place { offset, crc: crc.finalize() });
        }
        Ok(())
    };
    deflate_all(items, is_deflated, &mut write)?;
    out.flush()?;
    let checksum = match out.sum {
        Some(sum) => sum.try_finalize().map_err(io::Error::other)?,
        None => kind.null(),
    };
    out.to.write_all(checksum.as_slice())?;
    let index = index(items, &places, &checksum)?;
    Ok(Packed { name: checksum.to_string(), index })
}

/// The index: how many ids begin with up to each byte, the ids sorted, their checksums, their places.
fn index(items: &[Item<'_>], places: &[Place], checksum: &ObjectId) -> io::Result<Vec<u8>> {
    let mut sorted: Vec<(&Item<'_>, &Place)> = items.iter().zip(places).collect();
    // The first bytes tell nearly all apart.
    let start = |id: &ObjectId| id.as_slice().first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
    sorted.sort_unstable_by(|(a, _), (b, _)| start(&a.id).cmp(&start(&b.id)).then_with(|| a.id.cmp(&b.id)));
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

/// The data of some items, one behind the other, and where each ends.
#[derive(Default)]
struct Deflated {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Deflated {
    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// Deflates some items after the other.
struct Deflater {
    is_deflated: bool,
    /// One for all: a new one takes and clears its memory.
    deflate: Compressor,
    room: Vec<u8>,
}

impl Deflater {
    fn of(is_deflated: bool) -> Self {
        Self { is_deflated, deflate: compressor(), room: Vec::new() }
    }

    fn piece(&mut self, items: &[Item<'_>]) -> io::Result<Deflated> {
        let mut out = Deflated::default();
        for item in items {
            match item.body.data() {
                data if !self.is_deflated
                    || data.len() <= SHORT
                    || item.kind == Kind::Tree && data.len() >= LONG =>
                {
                    stored(&mut out.bytes, data);
                }
                data => deflated(&mut self.deflate, &mut self.room, &mut out.bytes, data)?,
            }
            out.ends.push(out.bytes.len());
        }
        Ok(out)
    }
}

/// Items that are deflated on one core: so many, or of so many bytes.
const PIECE: usize = 64;
const BYTES: usize = 128 << 10;
/// So many pieces wait for their turn, each of them in memory.
const WAITING: usize = 32;

/// Items in pieces.
fn pieces<'i, 'd>(items: &'i [Item<'d>]) -> Vec<&'i [Item<'d>]> {
    let mut bytes = 0;
    let mut all: Vec<&[Item<'_>]> = Vec::with_capacity(items.len() / PIECE + 1);
    let mut from = 0;
    for (at, item) in items.iter().enumerate() {
        bytes += item.body.data().len();
        if bytes >= BYTES || at + 1 - from == PIECE || at + 1 == items.len() {
            all.push(&items[from..=at]);
            (from, bytes) = (at + 1, 0);
        }
    }
    all
}

/// Deflates the data of all items on all cores, and gives each piece to `write` in its turn while others go on.
fn deflate_all(
    items: &[Item<'_>],
    is_deflated: bool,
    write: &mut dyn FnMut(&[Item<'_>], &Deflated) -> io::Result<()>,
) -> io::Result<()> {
    let (pieces, next) = (pieces(items), AtomicUsize::new(0));
    let claim = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        pieces.get(at).map(|piece| (at, *piece))
    };
    let others = if is_deflated { cores().min(pieces.len()).saturating_sub(1) } else { 0 };
    std::thread::scope(|threads| {
        let (teller, told) = sync_channel(WAITING);
        for teller in vec![teller; others] {
            let claim = &claim;
            begin_in(threads, move || {
                let mut own = Deflater::of(is_deflated);
                while let Some((at, piece)) = claim() {
                    // Nobody listens any more when something could not be written.
                    if teller.send((at, own.piece(piece))).is_err() {
                        return;
                    }
                }
            });
        }
        let mut own = Deflater::of(is_deflated);
        let mut ready: Vec<Option<Deflated>> = pieces.iter().map(|_| None).collect();
        for turn in 0..pieces.len() {
            let deflated = loop {
                if let Some(deflated) = ready[turn].take() {
                    break deflated;
                }
                let (at, deflated) = match told.try_recv() {
                    Ok(told) => told,
                    Err(_) => match claim() {
                        Some((at, piece)) => (at, own.piece(piece)),
                        None => told.recv().map_err(io::Error::other)?,
                    },
                };
                ready[at] = Some(deflated?);
            };
            write(pieces[turn], &deflated)?;
        }
        Ok(())
    })
}

/// As git deflates what it writes by itself (`core.looseCompression`): the lowest level that does. The library calls another
/// its fastest, which only copies.
const LEVEL: i32 = 1;

/// What deflates objects.
pub(super) fn compressor() -> Compressor {
    Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default())
}

/// Data of no more bytes than this is not worth the time: deflating what has more than 128 took a fifth of a replay of a thousand
/// small patches, and made its pack a tenth shorter.
const SHORT: usize = 512;
/// A folder of as many bytes is mostly ids, which do not get shorter either: the time is worth more.
const LONG: usize = 16 << 10;

/// Data in zlib's form, as it is (RFC 1950, and RFC 1951, 3.2.4).
fn stored(out: &mut Vec<u8>, data: &[u8]) {
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
    out.extend_from_slice(&adler32(data).to_be_bytes());
}

/// `room` is taken once for all: most of what has to be there for the worst case is never written to.
fn deflated(deflate: &mut Compressor, room: &mut Vec<u8>, out: &mut Vec<u8>, data: &[u8]) -> io::Result<()> {
    let most = deflate.zlib_compress_bound(data.len());
    if room.len() < most {
        room.resize(most, 0);
    }
    let len = deflate.zlib_compress(data, room).map_err(io::Error::other)?;
    out.extend_from_slice(&room[..len]);
    Ok(())
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

/// How far back the base lies: seven bits a byte, highest first, one less in each byte but the last.
fn distance(out: &mut Vec<u8>, mut n: usize) {
    // Ten bytes have room for 64 bits.
    let (mut bytes, mut first) = ([0; 10], 9);
    bytes[first] = (n & 0x7f) as u8;
    n >>= 7;
    while n > 0 {
        n -= 1;
        first -= 1;
        bytes[first] = (n & 0x7f) as u8 | 0x80;
        n >>= 7;
    }
    out.extend_from_slice(&bytes[first..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_piece_is_written_in_its_turn_and_says_what_it_said(
            lens in proptest::collection::vec(prop_oneof![8 => 0usize..900, 1 => 0usize..300_000], 0..400),
            fails in proptest::option::of(0usize..12),
        ) {
            use std::io::Read;
            let id = ObjectId::null(gix_hash::Kind::Sha1);
            let data: Vec<Vec<u8>> =
                lens.iter().enumerate().map(|(n, len)| (0..*len).map(|at| (at * 7 / (n + 1)) as u8).collect()).collect();
            let items: Vec<Item<'_>> =
                data.iter().map(|data| Item { id, kind: Kind::Blob, body: Body::Whole(data) }).collect();
            prop_assert_eq!(pieces(&items).iter().map(|piece| piece.len()).sum::<usize>(), items.len());
            let (mut read, mut written) = (Vec::new(), 0);
            let ended = deflate_all(&items, true, &mut |piece, deflated| {
                if fails == Some(written) {
                    return Err(io::Error::other("full"));
                }
                written += 1;
                assert_eq!(piece.len(), deflated.ends.len());
                for deflated in deflated.each() {
                    let mut out = Vec::new();
                    flate2::read::ZlibDecoder::new(deflated).read_to_end(&mut out)?;
                    read.push(out);
                }
                Ok(())
            });
            if ended.is_ok() {
                prop_assert!(read == data);
            } else {
                prop_assert!(fails.is_some_and(|at| at == written && data.starts_with(&read)));
            }
        }
    }

    #[test]
    fn what_is_stored_is_read_by_zlib() {
        use std::io::Read;
        for len in [0, 1, 100, 5552, 0xffff, 0x10000, 300_000] {
            let data: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
            let (mut out, mut read) = (Vec::new(), Vec::new());
            stored(&mut out, &data);
            flate2::read::ZlibDecoder::new(&out[..]).read_to_end(&mut read).expect("it is whole");
            assert_eq!(read, data);
        }
    }
}
