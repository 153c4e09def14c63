//! Binary changes as differences, in git's form.

#![no_main]

use git_carry::queue::apply_delta;
use libfuzzer_sys::fuzz_target;

/// The input up to its first zero byte, and what comes after it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|b| *b == 0);
    at.map_or((data, &[]), |at| (&data[..at], &data[at + 1..]))
}

fuzz_target!(|data: &[u8]| {
    let (base, delta) = split(data);
    let _ = apply_delta(base, delta);
});
