//! A recorded answer to a conflict; the content of each file is whatever the fuzzer says.

#![no_main]

use git_carry::resolution::Resolution;
use libfuzzer_sys::fuzz_target;

/// The input up to its first zero byte, and what comes after it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|b| *b == 0);
    at.map_or((data, &[]), |at| (&data[..at], &data[at + 1..]))
}

fuzz_target!(|data: &[u8]| {
    let (record, content) = split(data);
    let Ok(text) = std::str::from_utf8(record) else { return };
    if let Ok(resolution) = Resolution::parse(text, |_| Ok(content.to_vec())) {
        let _ = (resolution.id(), resolution.used());
    }
});
