//! Kept answers of a forge.

#![no_main]

use git_carry::forge::Cache;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Cache::parse(data);
});
