//! Merges of one file's versions, one after the other: patch after patch changes a few lines of it, and the lines that
//! were read for the merge before are not read again.

use imara_diff::Interner;

use super::histogram::Space;
use super::{Merge, Style, Text};
use crate::store::GitVersion;

/// Merges in which most lines are those of the merge before.
pub struct Series<'d> {
    interner: Interner<&'d [u8]>,
    /// The versions of the last one: base, ours and theirs.
    last: Option<[Text<'d>; 3]>,
    space: Space,
    as_of: GitVersion,
}

impl<'d> Series<'d> {
    /// An empty one, of merges as git makes them since `as_of`.
    pub fn new(as_of: GitVersion) -> Self {
        Self { interner: Interner::new(0), last: None, space: Space::default(), as_of }
    }

    /// Merges what changed from `base` to `theirs` into `ours`; nothing if that conflicts.
    pub fn merge(&mut self, base: &'d [u8], ours: &'d [u8], theirs: &'d [u8]) -> Option<Vec<u8>> {
        let interner = &mut self.interner;
        let lines = &mut |line| interner.intern(line);
        let (base, ours) = match self.last.take() {
            Some([_, last_ours, last]) => (
                // It is what theirs was, if every patch is there.
                if std::ptr::eq(base, last.data) { last } else { Text::read(base, Some(&last), lines) },
                Text::read(ours, Some(&last_ours), lines),
            ),
            None => {
                let base = Text::read(base, None, lines);
                let ours = Text::read(ours, Some(&base), lines);
                (base, ours)
            }
        };
        let theirs = Text::read(theirs, Some(&base), lines);
        let all = self.interner.num_tokens();
        let merge = Merge::of([base, ours, theirs], all, Style::Merge, self.as_of, &mut self.space);
        let merged = merge.is_clean().then(|| merge.union());
        self.last = Some([merge.base, merge.ours, merge.theirs]);
        merged
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::replay::content::{Content, merge};
    use proptest::prelude::*;

    /// A text of few different lines, so that there are many that are alike.
    pub fn text() -> impl Strategy<Value = Vec<u8>> {
        (proptest::collection::vec(0_u8..9, 0..60), any::<bool>()).prop_map(|(lines, ends)| {
            let text: Vec<String> = lines.iter().map(|n| format!("line {n}")).collect();
            (text.join("\n") + if ends { "\n" } else { "" }).into_bytes()
        })
    }

    proptest! {
        #[test]
        fn each_merge_of_a_series_is_what_it_is_alone(
            texts in proptest::collection::vec((text(), text(), any::<bool>()), 2..8),
            first in text(),
        ) {
            let mut series = Series::new(GitVersion::NEWEST);
            let (mut base, mut ours) = (&first, &first);
            for (theirs, other, follows) in &texts {
                let alone = match merge(base, ours, theirs) {
                    Content::Clean(merged) => Some(merged),
                    _ => None,
                };
                prop_assert_eq!(series.merge(base, ours, theirs), alone);
                (base, ours) = (if *follows { theirs } else { other }, other);
            }
        }
    }
}
