//! Merges of one file's versions in any order, as it is asked what a patch needs: each version comes again and again, with
//! and without patches before it. Its lines are read once, and what a patch does to them is worked out once.

use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;
use imara_diff::Token;

use super::{Change, Merge, Style, Text, differences};
use crate::store::GitVersion;

/// Versions of a file, by their ids.
pub struct Versions {
    numbers: HashMap<Box<[u8]>, Token>,
    read: HashMap<ObjectId, Read>,
    /// What differs from one to the other.
    differences: HashMap<[ObjectId; 2], Vec<Change>>,
    bytes: usize,
    as_of: GitVersion,
}

/// The lines of a version: where they begin, and what each is.
struct Read {
    starts: Vec<usize>,
    tokens: Vec<Token>,
}

impl Versions {
    /// None yet, of merges as git makes them since `as_of`.
    pub fn new(as_of: GitVersion) -> Self {
        let (numbers, read, differences) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { numbers, read, differences, bytes: 0, as_of }
    }

    /// How many bytes the lines take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The merge of what changed from base to theirs into ours; each side with its id.
    pub fn merge<'d>(&mut self, [base, ours, theirs]: [(ObjectId, &'d [u8]); 3]) -> Merge<'d> {
        let old = self.text(base, None);
        let texts = [self.text(ours, Some(&old)), self.text(theirs, Some(&old))];
        let all = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let by = [(ours.0, &texts[0]), (theirs.0, &texts[1])].map(|(id, text)| {
            let known = self.differences.entry([base.0, id]);
            known.or_insert_with(|| differences(&old.tokens, &text.tokens, all, self.as_of)).clone()
        });
        let [ours, theirs] = texts;
        Merge::by([old, ours, theirs], by, all, Style::Merge, self.as_of)
    }

    fn text<'d>(&mut self, (id, data): (ObjectId, &'d [u8]), like: Option<&Text<'d>>) -> Text<'d> {
        if let Some(Read { starts, tokens }) = self.read.get(&id) {
            return Text { data, starts: starts.clone(), tokens: tokens.clone() };
        }
        let (numbers, mut new) = (&mut self.numbers, 0);
        let text = Text::read(data, like, &mut |line| {
            if let Some(token) = numbers.get(line) {
                return *token;
            }
            let token = Token(u32::try_from(numbers.len()).unwrap_or(u32::MAX));
            numbers.insert(line.into(), token);
            new += line.len() + size_of::<(Box<[u8]>, Token)>();
            token
        });
        let read = Read { starts: text.starts.clone(), tokens: text.tokens.clone() };
        self.bytes += new + size_of_val(&read.starts[..]) + size_of_val(&read.tokens[..]);
        self.read.insert(id, read);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::content::{Content, merge};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_merge_of_versions_is_what_it_is_alone(
            texts in proptest::collection::vec(super::super::series::tests::text(), 2..6),
            picks in proptest::collection::vec(any::<[u8; 3]>(), 1..12),
        ) {
            let mut versions = Versions::new(GitVersion::NEWEST);
            for pick in picks {
                let at = pick.map(|n| usize::from(n) % texts.len());
                let sides = at.map(|n| (ObjectId::from_bytes_or_panic(&[n as u8; 20]), texts[n].as_slice()));
                let merged = versions.merge(sides);
                let merged = merged.is_clean().then(|| merged.union());
                let alone = match merge(&texts[at[0]], &texts[at[1]], &texts[at[2]]) {
                    Content::Clean(merged) => Some(merged),
                    _ => None,
                };
                prop_assert_eq!(merged, alone);
            }
        }
    }
}
