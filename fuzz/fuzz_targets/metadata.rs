//! A commit message: what it says, and its trailers changed. A trailer that is there is not added again.

#![no_main]

use git_carry::queue::{add_trailer, read_metadata, set_trailer, without_trailers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read_metadata(data, &Vec::new());
    let once = add_trailer(data, "Carry-Owner", "A <a@example.org>");
    assert_eq!(add_trailer(&once, "Carry-Owner", "A <a@example.org>"), once);
    let set = set_trailer(data, "Carry-Expires", "2027-01-31");
    assert_eq!(read_metadata(&set, &Vec::new()).expires.as_deref(), Some("2027-01-31"));
    let _ = without_trailers(data, |name| name.starts_with("Carry-"));
});
