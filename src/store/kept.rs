//! A file of what was worked out once and would be again without it: a heading, a SHA-256, and the rest. One that is
//! damaged, or of another kind or version, is as good as none.

use std::io::{Error, ErrorKind};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::whole::write_whole;

/// How long a SHA-256 is.
const SUM: usize = 32;

/// What such a file keeps, if it is there, begins with `heading`, and is whole.
pub fn kept(file: &Path, heading: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(file).ok()?;
    let (sum, rest) = bytes.strip_prefix(heading)?.split_at_checked(SUM)?;
    if Sha256::digest(rest).as_slice() != sum {
        return None;
    }
    bytes.drain(..heading.len() + SUM);
    Some(bytes)
}

/// Writes a value, as `postcard` does, whole or not at all.
pub fn keep(file: &Path, heading: &[u8], value: &impl Serialize) -> std::io::Result<()> {
    let rest = postcard::to_stdvec(value).map_err(|e| Error::new(ErrorKind::InvalidData, e))?;
    write_whole(file, &[heading, Sha256::digest(&rest).as_slice(), &rest])
}
