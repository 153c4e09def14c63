//! A patch that upstream had taken in, and took back.

use super::bearing;
use crate::trunk::Range;
use crate::workspace::LandedLock;

/// Notes on each landed patch whether a commit of the range reverts one that it landed with, or takes that revert back.
pub fn note_undone(landed: &mut [LandedLock], range: &Range) {
    if landed.is_empty() {
        return;
    }
    for upstream in &range.commits {
        let Some(target) = upstream.reverts() else { continue };
        let target = target.to_string();
        for one in landed.iter_mut() {
            if one.evidence.rests_on(&target) {
                one.reverted = Some(bearing(upstream, &target));
            } else if one.reverted.as_ref().is_some_and(|r| r.commit == target) {
                one.reverted = None;
            }
        }
    }
}
