//! A mailbox: each patch that is taken in is one that can be read.

#![no_main]

use git_carry::queue::import;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = import::mbox(data);
});
