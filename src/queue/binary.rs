//! Git's binary patches: base85 lines around a zlib stream, as the whole content or as a delta.

use std::io::Read;

use super::error::Reason;

/// One direction of a binary change, inflated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinaryPatch {
    /// The whole new content.
    Literal(Vec<u8>),
    /// A delta in git's pack format, against the old content.
    Delta(Vec<u8>),
}

const ALPHABET: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/// Decodes one line of a binary patch (its length letter, then base85) onto `out`.
pub(super) fn decode_line(line: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let bad = Reason::Binary("a line is not base85");
    let (len, data) = match line.split_first() {
        Some((c @ b'A'..=b'Z', rest)) => ((c - b'A') as usize + 1, rest),
        Some((c @ b'a'..=b'z', rest)) => ((c - b'a') as usize + 27, rest),
        _ => return Err(bad),
    };
    if data.len() != len.div_ceil(4) * 5 {
        return Err(Reason::Binary("a line has the wrong length"));
    }
    let end = out.len() + len;
    for group in data.chunks(5) {
        let mut acc: u64 = 0;
        for c in group {
            let digit = ALPHABET.iter().position(|a| a == c).ok_or_else(|| bad.clone())?;
            acc = acc * 85 + digit as u64;
        }
        let word = u32::try_from(acc).map_err(|_| bad.clone())?;
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.truncate(end);
    Ok(())
}

/// Inflates a binary patch's data, which must give exactly `size` bytes.
pub(super) fn inflate(data: &[u8], size: u64) -> Result<Vec<u8>, Reason> {
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(data)
        .take(size.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|_| Reason::Binary("the data does not inflate"))?;
    if out.len() as u64 != size {
        return Err(Reason::Binary("the data has the wrong size"));
    }
    Ok(out)
}

/// Applies a delta in git's pack format to `base`.
pub fn apply_delta(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, Reason> {
    const SHORT: Reason = Reason::Binary("the delta is cut short");
    let mut rest = delta;
    let mut next = || -> Result<u8, Reason> {
        let (first, tail) = rest.split_first().ok_or(SHORT)?;
        rest = tail;
        Ok(*first)
    };
    let mut size = || -> Result<u64, Reason> {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let c = next()?;
            if shift > 56 {
                return Err(Reason::Binary("the delta's size is out of range"));
            }
            value |= u64::from(c & 0x7f) << shift;
            shift += 7;
            if c & 0x80 == 0 {
                return Ok(value);
            }
        }
    };
    if size()? != base.len() as u64 {
        return Err(Reason::BinaryBase);
    }
    let target = size()?;
    let mut out = Vec::new();
    while let Some((&op, tail)) = rest.split_first() {
        rest = tail;
        if op & 0x80 != 0 {
            let (mut offset, mut len) = (0usize, 0usize);
            for bit in 0..7 {
                if op & (1 << bit) != 0 {
                    let (&c, tail) = rest.split_first().ok_or(SHORT)?;
                    rest = tail;
                    if bit < 4 {
                        offset |= usize::from(c) << (8 * bit);
                    } else {
                        len |= usize::from(c) << (8 * (bit - 4));
                    }
                }
            }
            if len == 0 {
                len = 0x10000;
            }
            let end = offset.checked_add(len).ok_or(SHORT)?;
            let part = base.get(offset..end).ok_or(Reason::Binary("the delta copies past the end"))?;
            out.extend_from_slice(part);
        } else if op != 0 {
            let part = rest.get(..usize::from(op)).ok_or(SHORT)?;
            out.extend_from_slice(part);
            rest = &rest[usize::from(op)..];
        } else {
            return Err(Reason::Binary("the delta has an unknown instruction"));
        }
        if out.len() as u64 > target {
            return Err(Reason::Binary("the delta gives too much"));
        }
    }
    if out.len() as u64 != target {
        return Err(SHORT);
    }
    Ok(out)
}
