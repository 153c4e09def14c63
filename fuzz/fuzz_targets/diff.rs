//! A diff, with every number of leading folders to strip: what is read has an id, and applies or is refused.

#![no_main]

use git_carry::queue::{Content, FileChange, apply, change_sum, parse_diff, patch_id, same_change};
use libfuzzer_sys::fuzz_target;

/// The input up to its first zero byte, and what comes after it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|b| *b == 0);
    at.map_or((data, &[]), |at| (&data[..at], &data[at + 1..]))
}

fuzz_target!(|data: &[u8]| {
    let (diff, old) = split(data);
    let _ = patch_id(diff);
    for strip in 0..3 {
        let Ok(changes) = parse_diff(b"x.patch", diff, strip, 0) else { continue };
        let _ = change_sum(&changes);
        let unknown = |c: &FileChange| matches!(c.content, Content::BinaryOmitted) && c.new_id.is_none();
        assert_eq!(same_change(&changes, &changes), !changes.iter().any(unknown));
        for change in &changes {
            let _ = apply(change, old);
        }
    }
});
