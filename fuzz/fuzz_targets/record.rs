//! What is kept of promotions and approvals.

#![no_main]

use git_carry::stage::{Approval, Promotion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = serde_json::from_slice::<Promotion>(data);
    let _ = serde_json::from_slice::<Approval>(data);
});
