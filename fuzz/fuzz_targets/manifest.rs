//! A manifest: what is read is written, and read as the same; it compares with itself as equal.

#![no_main]

use git_carry::build::compare;
use git_carry::build::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else { return };
    let written = manifest.render().expect("what was read can be written");
    let again = Manifest::parse(written.as_bytes()).expect("what was written can be read");
    assert_eq!(again.render().expect("written"), written);
    let _ = compare(&manifest, &again, &[]);
});
