//! `carry.lock`: what is read is written, and read as the same.

#![no_main]

use git_carry::workspace::Lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(lock) = Lock::parse("carry.lock", text) else { return };
    let written = lock.render().expect("what was read can be written");
    assert_eq!(Lock::parse("carry.lock", &written).as_ref(), Ok(&lock));
});
