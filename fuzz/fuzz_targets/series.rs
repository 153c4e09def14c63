//! A series file: written as it was read, and again the same.

#![no_main]

use git_carry::queue::Series;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(series) = Series::parse("series", data) else { return };
    let written = series.to_bytes();
    assert_eq!(written, data);
});
