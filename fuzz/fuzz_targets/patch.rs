//! A patch file: what is read is kept to the byte, and its text applies or is refused.

#![no_main]

use git_carry::queue::{Patch, apply};
use libfuzzer_sys::fuzz_target;

/// The input up to its first zero byte, and what comes after it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|b| *b == 0);
    at.map_or((data, &[]), |at| (&data[..at], &data[at + 1..]))
}

fuzz_target!(|data: &[u8]| {
    let (patch, old) = split(data);
    let Ok(read) = Patch::parse("x.patch", patch.to_vec(), 1) else { return };
    assert_eq!(read.bytes, patch);
    let _ = (read.patch_id(), read.subject(), read.omitted());
    for change in &read.changes {
        let _ = apply(change, old);
    }
});
