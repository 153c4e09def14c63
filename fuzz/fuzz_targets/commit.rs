//! A commit of upstream's, as git has it.

#![no_main]

use git_carry::store::Commit;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Commit::parse(data);
});
