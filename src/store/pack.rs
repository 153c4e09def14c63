//! A pack of whole objects, as `gitformat-pack(5)` describes it: made in memory, indexed by libgit2.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gix_object::Kind;

/// The bytes of a version 2 pack of `objects`, none of them a delta.
pub(super) fn encode<'a>(objects: impl ExactSizeIterator<Item = (Kind, &'a [u8])>) -> io::Result<Vec<u8>> {
    let count = u32::try_from(objects.len()).map_err(io::Error::other)?;
    let mut out = Vec::from(*b"PACK\0\0\0\x02");
    out.extend_from_slice(&count.to_be_bytes());
    for (kind, data) in objects {
        header(&mut out, kind, data.len());
        let mut deflate = ZlibEncoder::new(&mut out, Compression::fast());
        deflate.write_all(data)?;
        deflate.finish()?;
    }
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    hasher.update(&out);
    let checksum = hasher.try_finalize().map_err(io::Error::other)?;
    out.extend_from_slice(checksum.as_slice());
    Ok(out)
}

/// Type and inflated size: four bits of the size in the first byte, then seven a byte, lowest first.
fn header(out: &mut Vec<u8>, kind: Kind, mut size: usize) {
    let kind = match kind {
        Kind::Commit => 1u8,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut byte = (kind << 4) | (size & 0x0f) as u8;
    size >>= 4;
    while size > 0 {
        out.push(byte | 0x80);
        byte = (size & 0x7f) as u8;
        size >>= 7;
    }
    out.push(byte);
}
