//! `carry.toml`: every fault has a line of the file.

#![no_main]

use git_carry::workspace::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(e) = Config::parse("carry.toml", text) {
        assert!(!e.faults.is_empty());
        assert!(e.faults.iter().all(|f| f.line >= 1 && f.line <= text.matches('\n').count() + 1));
    }
});
