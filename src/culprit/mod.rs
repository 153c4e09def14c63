//! In: a patch with what it needs, and the trunk's range. Out: the upstream commit at which it stops applying.
//! Never: the patch alone on bare trunk, a work tree.
//!
//! Probed are the trunk's own commits, along first parents, that touch a path of the patch's: elsewhere the answer
//! cannot change. Where the one found is a merge, the commits that it brought are probed in the same way.

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::replay::sequence::{Role, Step};
use crate::store::tree::{Entry, entry_at};
use crate::store::{Objects, Odb, Repo, Scratch, StoreError};
use crate::trunk::{Range, Upstream};
use crate::workspace::Culprit;

/// What stands at the watched paths.
type Files = Vec<Option<Entry>>;

/// Looks for culprits in one range; what it learns for one patch serves the next.
pub struct Search<'a> {
    repo: &'a Repo,
    odb: &'a Odb,
    range: &'a Range,
    entries: BTreeMap<(ObjectId, BString), Option<Entry>>,
}

impl<'a> Search<'a> {
    /// A search in `range`.
    pub fn new(repo: &'a Repo, odb: &'a Odb, range: &'a Range) -> Self {
        Self { repo, odb, range, entries: BTreeMap::new() }
    }

    /// The commit at which the last of `steps` stops applying, with the others (all that it needs, in order) below
    /// it: the break that still holds at the range's end. `watched` are the paths that can matter; none: all.
    /// Also the place, among the range's first parents, of the first break ever.
    pub fn find(
        &mut self,
        steps: &[&Step],
        watched: &[BString],
    ) -> Result<Option<(Culprit, usize)>, StoreError> {
        let (odb, range) = (self.odb, self.range);
        let scratch = Scratch::over(odb);
        let Some(first) = range.first_parent.first().map(|at| &range.commits[*at]) else { return Ok(None) };
        self.bring(watched)?;
        let mut known: BTreeMap<Files, bool> = BTreeMap::new();
        let mut applies = first.before(odb)?;
        // The patch need not apply where the range starts: then trunk is not what broke it.
        let mut before = self.probe(&scratch, steps, watched, &applies, &mut known)?;
        let mut breaks: Vec<(usize, &Upstream)> = Vec::new();
        for (place, at) in range.first_parent.iter().enumerate() {
            let upstream = &range.commits[*at];
            if !watched.is_empty()
                && self.files(&applies, watched)? == self.files(&upstream.commit.tree, watched)?
            {
                continue;
            }
            applies = upstream.commit.tree;
            let now = self.probe(&scratch, steps, watched, &applies, &mut known)?;
            if before && !now {
                breaks.push((place, upstream));
            }
            before = now;
        }
        if before {
            return Ok(None);
        }
        let Some(first_break) = breaks.first().map(|(place, _)| *place) else { return Ok(None) };
        let Some((_, last)) = breaks.pop() else { return Ok(None) };
        let inside = self.inside(&scratch, steps, watched, last)?;
        let found = inside.unwrap_or(last);
        let author = &found.commit.author;
        let culprit = Culprit {
            commit: found.id.to_string(),
            subject: found.commit.subject(),
            author: author.name.to_string(),
            mail: author.email.to_string(),
            date: jiff::Timestamp::from_second(author.seconds).unwrap_or_default().to_string(),
            merge: (found.id != last.id).then(|| last.id.to_string()),
            mended: breaks.iter().map(|(_, u)| u.id.to_string()).collect(),
        };
        Ok(Some((culprit, first_break)))
    }

    /// Brings what stands at the watched paths along the range, as far as it is left out here.
    fn bring(&mut self, watched: &[BString]) -> Result<(), StoreError> {
        if !self.odb.is_partial() {
            return Ok(());
        }
        let range = self.range;
        let mut ids = Vec::new();
        for at in &range.first_parent {
            let files = self.files(&range.commits[*at].commit.tree, watched)?;
            ids.extend(files.into_iter().flatten().filter(Entry::is_file).map(|entry| entry.id));
        }
        Ok(self.odb.bring(&ids)?)
    }

    /// Of the commits that a merge brought, the last at which the patch stops applying.
    fn inside(
        &mut self,
        scratch: &Scratch<'_>,
        steps: &[&Step],
        watched: &[BString],
        merge: &Upstream,
    ) -> Result<Option<&'a Upstream>, StoreError> {
        let [first, second, ..] = merge.commit.parents[..] else { return Ok(None) };
        let (odb, range) = (self.odb, self.range);
        let brought: BTreeSet<ObjectId> =
            self.repo.range(Some(&first), &second)?.into_iter().map(|r| r.id).collect();
        let commits = range.commits.iter().filter(|u| brought.contains(&u.id) && u.commit.parents.len() < 2);
        let mut known = BTreeMap::new();
        let mut found = None;
        for upstream in commits {
            let before = upstream.before(odb)?;
            let tree = upstream.commit.tree;
            if !watched.is_empty() && self.files(&before, watched)? == self.files(&tree, watched)? {
                continue;
            }
            if self.probe(scratch, steps, watched, &before, &mut known)?
                && !self.probe(scratch, steps, watched, &tree, &mut known)?
            {
                found = Some(upstream);
            }
        }
        Ok(found)
    }

    /// Do all of `steps` apply, one on the other, to `tree`?
    fn probe(
        &mut self,
        scratch: &Scratch<'_>,
        steps: &[&Step],
        watched: &[BString],
        tree: &ObjectId,
        known: &mut BTreeMap<Files, bool>,
    ) -> Result<bool, StoreError> {
        let files = self.files(tree, watched)?;
        if let Some(known) = known.get(&files).filter(|_| !watched.is_empty()) {
            return Ok(*known);
        }
        let mut stack = *tree;
        let mut all = true;
        for step in steps {
            match merge_trees(scratch, &step.before, &stack, &step.after)? {
                Merged::Clean(next) => stack = next,
                // What trunk has taken in need not apply to it any more.
                Merged::Conflicts(_) if step.role == Role::Landed => {}
                Merged::Conflicts(_) => {
                    all = false;
                    break;
                }
            }
        }
        known.insert(files, all);
        Ok(all)
    }

    /// What stands at the paths in a tree.
    fn files(&mut self, tree: &ObjectId, paths: &[BString]) -> Result<Files, StoreError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push(self.entry(tree, path.as_bstr())?);
        }
        Ok(files)
    }

    /// What stands at one path, folder by folder, each looked up once.
    fn entry(&mut self, tree: &ObjectId, path: &BStr) -> Result<Option<Entry>, StoreError> {
        let (name, rest) = match path.split_once_str("/") {
            Some((name, rest)) => (name.as_bstr(), Some(rest.as_bstr())),
            None => (path, None),
        };
        let key = (*tree, name.to_owned());
        let here = match self.entries.get(&key) {
            Some(known) => *known,
            None => {
                let found = entry_at(self.odb as &dyn Objects, tree, name)?;
                self.entries.insert(key, found);
                found
            }
        };
        match (rest, here) {
            (None, here) => Ok(here),
            (Some(rest), Some(folder)) if folder.is_tree() => self.entry(&folder.id, rest),
            _ => Ok(None),
        }
    }
}
