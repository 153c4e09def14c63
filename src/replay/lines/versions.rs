//! Merges of one file's versions in any order, as it is asked what a patch needs: each version comes again and again, with
//! and without patches before it. Its lines are read once, and what a patch does to them is worked out once.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use imara_diff::Token;

use super::histogram::Space;
use super::{Change, Lines, Merge, Style, Text, differences};
use crate::store::GitVersion;

/// Versions of a file, by their ids.
pub struct Versions {
    numbers: Numbers,
    read: HashMap<ObjectId, Arc<Lines>>,
    /// What differs from one to the other.
    differences: HashMap<[ObjectId; 2], Vec<Change>>,
    bytes: usize,
    space: Space,
    as_of: GitVersion,
}

impl Versions {
    /// None yet, of merges as git makes them since `as_of`.
    pub fn new(as_of: GitVersion) -> Self {
        let (read, differences) = (HashMap::new(), HashMap::new());
        Self { numbers: Numbers::default(), read, differences, bytes: 0, space: Space::default(), as_of }
    }

    /// How many bytes the lines take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Are the lines of this version known?
    pub fn knows(&self, id: &ObjectId) -> bool {
        self.read.contains_key(id)
    }

    /// The merge of what changed from base to theirs into ours; each side with its id. Who only asks whether it is clean need
    /// not have the bytes of a version that is known.
    pub fn merge<'d>(&mut self, [base, ours, theirs]: [(ObjectId, &'d [u8]); 3]) -> Merge<'d> {
        let old = self.text(base, None);
        let texts = [self.text(ours, Some(&old)), self.text(theirs, Some(&old))];
        let all = self.numbers.count();
        let (space, as_of) = (&mut self.space, self.as_of);
        let by = [(ours.0, &texts[0]), (theirs.0, &texts[1])].map(|(id, text)| {
            let known = self.differences.entry([base.0, id]);
            known.or_insert_with(|| differences(space, old.tokens(), text.tokens(), all, as_of)).clone()
        });
        let [ours, theirs] = texts;
        Merge::by([old, ours, theirs], by, all, Style::Merge, as_of, space)
    }

    fn text<'d>(&mut self, (id, data): (ObjectId, &'d [u8]), like: Option<&Text<'d>>) -> Text<'d> {
        if let Some(lines) = self.read.get(&id) {
            return Text { data, lines: lines.clone() };
        }
        // Its bytes may not be at hand.
        let like = like.filter(|like| like.lines.ends_at(like.data.len()));
        let had = self.numbers.bytes();
        let text = Text::read(data, like, &mut |line| self.numbers.of(line));
        let Lines { starts, tokens } = &*text.lines;
        self.bytes += self.numbers.bytes() - had;
        self.bytes += size_of_val(&starts[..]) + size_of_val(&tokens[..]);
        self.read.insert(id, text.lines.clone());
        text
    }
}

/// Lines by number, one after the other in one piece of memory.
#[derive(Default)]
struct Numbers {
    text: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    by_line: HashTable<Token>,
    hasher: RandomState,
}

impl Numbers {
    /// The number of a line; equal lines have one.
    fn of(&mut self, line: &[u8]) -> Token {
        let (text, ends, hasher) = (&self.text, &self.ends, &self.hasher);
        let line_of = |token: &Token| {
            let at = token.0 as usize;
            &text[at.checked_sub(1).map_or(0, |before| ends[before])..ends[at]]
        };
        let hash = |token: &Token| hasher.hash_one(line_of(token));
        match self.by_line.entry(hasher.hash_one(line), |token| line_of(token) == line, hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let token = *place.insert(Token(u32::try_from(ends.len()).unwrap_or(u32::MAX))).get();
                self.text.extend_from_slice(line);
                self.ends.push(self.text.len());
                token
            }
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<(usize, Token)>()
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
                // Of those that are known the bytes are not needed to say whether it is clean.
                let bare = sides.map(|(id, text)| (id, if versions.knows(&id) { &[][..] } else { text }));
                let goes = versions.merge(bare).is_clean();
                let merged = versions.merge(sides);
                let merged = merged.is_clean().then(|| merged.union());
                let alone = match merge(&texts[at[0]], &texts[at[1]], &texts[at[2]]) {
                    Content::Clean(merged) => Some(merged),
                    _ => None,
                };
                prop_assert_eq!(goes, alone.is_some());
                prop_assert_eq!(merged, alone);
            }
        }
    }
}
