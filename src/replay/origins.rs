//! Is a patch that conflicts a root, or does it only miss another? Asked of its own base, where the trunk's new
//! commits play no part: it applied there with all that came before it, so what it misses shows by leaving out.
//! Left out all that comes before, the same question tells what a patch needs at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;

use super::Sides;
use super::attributes::{self, Driver};
use super::content::{self, Content};
use super::lines::Versions;
use super::made::Made;
use super::sequence::Step;
use crate::store::tree::Entry;
use crate::store::{ObjectError, Objects};
use crate::trunk::delta::{self, Change};

/// So many bytes of lines are kept; when there are more, they are read anew.
const LINES: usize = 16 << 20;

/// What stands at some paths; `None` is no file.
type Files<'a> = BTreeMap<&'a BString, Option<Entry>>;

/// The steps of a replay on their own base, with those that are not in the stack.
pub(super) struct Origins<'a> {
    objects: &'a dyn Objects,
    made: Made,
    steps: &'a [Step],
    changes: Vec<Option<Cow<'a, [Change]>>>,
    /// What the steps change, as far as it is known.
    given: &'a [Option<&'a [Change]>],
    /// The steps that touch a path, of those whose changes were read.
    by_path: HashMap<BString, BTreeSet<usize>>,
    /// Does `by_path` know of all steps before their changes are read?
    indexed: bool,
    /// The steps that are not in the stack, with all that each of them needs, near and far.
    left_out: BTreeMap<usize, BTreeSet<usize>>,
    /// How each path is merged, if that is the same at all steps.
    drivers: Option<HashMap<BString, Driver>>,
    /// The lines of each file's versions, and how many bytes they take.
    versions: HashMap<BString, Versions>,
    lines: usize,
    /// Merges of contents by their three ids: the same few are asked for again and again.
    merges: HashMap<[ObjectId; 3], Merge<ObjectId>>,
}

/// What came of a merge of contents.
#[derive(Clone, Copy)]
enum Merge<T> {
    Conflict,
    /// It goes; nobody has asked for what it gives.
    Clean,
    Gives(T),
}

/// Is it of interest what a change gives, or only that it goes?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Files,
    Answer,
}

/// What is known of the steps before it is asked what they need.
#[derive(Debug, Clone, Default)]
pub struct Known<'k> {
    /// The paths that each step touches, so that only the trees of those that meet are read; empty: none is known.
    pub paths: Vec<Vec<&'k BString>>,
    /// What some steps needed, near, when they were asked about last; empty: of none.
    pub needs: Vec<Option<Vec<usize>>>,
    /// Those of which the same holds still, as long as what the steps need that share a path with them is what it was.
    pub holds: Vec<bool>,
    /// What differs between the trees of some steps; empty: of none.
    pub changes: Vec<Option<&'k [Change]>>,
}

impl<'a> Origins<'a> {
    pub(super) fn new(objects: &'a dyn Objects, steps: &'a [Step]) -> Self {
        let changes = steps.iter().map(|_| None).collect();
        Self {
            objects,
            made: Made::default(),
            steps,
            changes,
            given: &[],
            by_path: HashMap::new(),
            indexed: false,
            left_out: BTreeMap::new(),
            drivers: None,
            versions: HashMap::new(),
            lines: 0,
            merges: HashMap::new(),
        }
    }

    /// The same where it is known what differs between the trees of some steps.
    pub(super) fn given(
        objects: &'a dyn Objects,
        steps: &'a [Step],
        changes: &'a [Option<&'a [Change]>],
    ) -> Self {
        Self { given: changes, ..Self::new(objects, steps) }
    }

    /// The same of what is known of the steps, of which it is asked about `which`: no other touches a path of theirs.
    pub(super) fn knowing(
        objects: &'a dyn Objects,
        steps: &'a [Step],
        known: &'a Known<'a>,
        which: &[usize],
    ) -> Self {
        let mut origins = Self::given(objects, steps, &known.changes);
        origins.by_path.reserve(known.paths.len().min(which.len()));
        for at in which.iter().copied() {
            for path in known.paths.get(at).into_iter().flatten() {
                origins.by_path.entry((*path).clone()).or_default().insert(at);
            }
        }
        origins.indexed = known.paths.len() == steps.len();
        let is_attributes = |path: &&BString| path.rsplit(|b| *b == b'/').next() == Some(attributes::FILE);
        let is_one_stack = steps.windows(2).all(|pair| pair[0].after == pair[1].before);
        let stay = origins.indexed && is_one_stack && !known.paths.iter().flatten().any(is_attributes);
        origins.drivers = stay.then(HashMap::new);
        origins
    }

    /// The steps before `at` that touch one of these paths, of those whose paths are known.
    pub(super) fn before<'p>(
        &self,
        at: usize,
        paths: impl Iterator<Item = &'p BString>,
    ) -> impl Iterator<Item = usize> {
        let of = move |path| self.by_path.get(path).into_iter().flat_map(move |steps| steps.range(..at));
        paths.flat_map(of).copied()
    }

    /// The step `at` is not in the stack; `needs` is what it misses.
    pub(super) fn leave_out(&mut self, at: usize, needs: Vec<usize>) {
        let mut all: BTreeSet<usize> = needs.iter().copied().collect();
        for need in &needs {
            all.extend(self.left_out.get(need).into_iter().flatten());
        }
        self.left_out.insert(at, all);
    }

    /// The left-out steps that the step `at` needs; not those that one of these needs in turn. Empty if it applies
    /// on its own base without any of them, so that trunk is what it conflicts with.
    pub(super) fn missing(&mut self, at: usize) -> Result<Vec<usize>, ObjectError> {
        let sharers = self.sharers_read(at)?;
        let open = sharers.iter().copied().filter(|i| self.left_out.contains_key(i)).collect();
        // Of those that are left out all is known.
        Ok(self.missing_of(at, &sharers, open)?.unwrap_or_default())
    }

    /// The steps of `open` that the step `at` needs; or one of them of which it is not known yet what it needs itself.
    pub(super) fn missing_of(
        &mut self,
        at: usize,
        sharers: &[usize],
        mut open: Vec<usize>,
    ) -> Result<Result<Vec<usize>, usize>, ObjectError> {
        let mut needs: Vec<usize> = Vec::new();
        // The nearest first: what it needs in turn is settled by it. Each round finds one by halving.
        while !self.applies_without(sharers, &open, at)? {
            let (mut low, mut high) = (0, open.len());
            // It applies without open[high..] and not without open[low..].
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if self.applies_without(sharers, &open[middle..], at)? {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            let Some(found) = open.get(low).copied() else { break };
            let Some(settled) = self.left_out.get(&found).cloned() else { return Ok(Err(found)) };
            needs.push(found);
            open.retain(|i| *i != found && !settled.contains(i));
        }
        needs.sort_unstable();
        let far: BTreeSet<usize> = needs.iter().flat_map(|n| &self.left_out[n]).copied().collect();
        needs.retain(|n| !far.contains(n));
        Ok(Ok(needs))
    }

    /// Halving finds what is needed as long as others are missing; with the rest there one may be dispensable.
    pub(super) fn without_dispensable(
        &mut self,
        mut needs: Vec<usize>,
        at: usize,
    ) -> Result<Vec<usize>, ObjectError> {
        for need in needs.clone() {
            let others: Vec<usize> = needs.iter().copied().filter(|n| *n != need).collect();
            if needs.len() > 1 && self.applies_with(&others, at)? {
                needs = others;
            }
        }
        Ok(needs)
    }

    /// Does the step `at` apply on its own base with only `needs` and what they need in turn below it?
    fn applies_with(&mut self, needs: &[usize], at: usize) -> Result<bool, ObjectError> {
        let there: BTreeSet<usize> =
            needs.iter().flat_map(|n| self.left_out[n].iter().chain([n])).copied().collect();
        let sharers = self.sharers(at);
        let without: Vec<usize> = sharers.iter().copied().filter(|i| !there.contains(i)).collect();
        self.applies_without(&sharers, &without, at)
    }

    /// The steps before `at` that touch a path of its.
    fn sharers(&self, at: usize) -> Vec<usize> {
        let changes = self.changes[at].as_deref().unwrap_or_default();
        let all: BTreeSet<usize> = self.before(at, changes.iter().map(|c| &c.path)).collect();
        all.into_iter().collect()
    }

    /// The same, their changes read.
    pub(super) fn sharers_read(&mut self, at: usize) -> Result<Vec<usize>, ObjectError> {
        for i in if self.indexed { at..=at } else { 0..=at } {
            self.read(i)?;
        }
        let sharers = self.sharers(at);
        for i in &sharers {
            self.read(*i)?;
        }
        Ok(sharers)
    }

    /// Does the step `at` apply on its own base when the steps `without` (sorted) are left out, and with them those
    /// that need them? Only the paths that it touches are looked at, as a merge of a path sees that path alone.
    fn applies_without(
        &mut self,
        sharers: &[usize],
        without: &[usize],
        at: usize,
    ) -> Result<bool, ObjectError> {
        let Some(first) = without.first().copied() else { return Ok(true) };
        let changes = std::mem::take(&mut self.changes);
        let sharers = &sharers[sharers.partition_point(|i| *i < first)..];
        let answer = self.replay(&changes, sharers, without, at);
        self.changes = changes;
        answer
    }

    fn replay(
        &mut self,
        changes: &[Option<Cow<'_, [Change]>>],
        sharers: &[usize],
        without: &[usize],
        at: usize,
    ) -> Result<bool, ObjectError> {
        let of = |i: usize| changes[i].as_deref().unwrap_or_default();
        let paths: BTreeSet<&BString> = of(at).iter().map(|c| &c.path).collect();
        let mut files: Files<'_> = BTreeMap::new();
        for i in sharers.iter().copied() {
            let here: Vec<&Change> = of(i).iter().filter(|c| paths.contains(&c.path)).collect();
            // What stood at a path before the first step that touches it, left out or not.
            here.iter().for_each(|c| {
                files.entry(&c.path).or_insert(c.old);
            });
            if without.binary_search(&i).is_ok() {
                continue;
            }
            if let Some(after) = self.put(i, &files, &here, Wanted::Files)? {
                files.extend(after);
            }
        }
        let all: Vec<&Change> = of(at).iter().collect();
        Ok(self.put(at, &files, &all, Wanted::Answer)?.is_some())
    }

    /// The files after some changes, or `None` if one of them conflicts; if only an answer is wanted, some may be missing.
    fn put<'c>(
        &mut self,
        at: usize,
        files: &Files<'_>,
        changes: &[&'c Change],
        wanted: Wanted,
    ) -> Result<Option<Files<'c>>, ObjectError> {
        let mut after = Files::new();
        for change in changes {
            let ours = files.get(&change.path).copied().unwrap_or(change.old);
            let entry = if self.same(ours, change.old)? {
                change.new
            } else if change.old == change.new || self.same(ours, change.new)? {
                ours
            } else {
                match (change.old, ours, change.new) {
                    (Some(base), Some(ours), Some(theirs)) => {
                        let sides = Sides { base, ours, theirs };
                        match self.merge(at, &change.path, sides, wanted)? {
                            Merge::Gives(entry) => Some(entry),
                            Merge::Clean => continue,
                            Merge::Conflict => return Ok(None),
                        }
                    }
                    _ => return Ok(None),
                }
            };
            after.insert(&change.path, entry);
        }
        Ok(Some(after))
    }

    fn merge(
        &mut self,
        at: usize,
        path: &BString,
        Sides { base, ours, theirs }: Sides<Entry>,
        wanted: Wanted,
    ) -> Result<Merge<Entry>, ObjectError> {
        if ![base, ours, theirs].iter().all(Entry::is_file) {
            return Ok(Merge::Conflict);
        }
        let mode = if ours.mode == base.mode { theirs.mode } else { ours.mode };
        let gives = |id| Merge::Gives(Entry { mode, id });
        if base.id == theirs.id || self.same_file(&ours.id, &theirs.id)? {
            return Ok(gives(ours.id));
        }
        if self.same_file(&ours.id, &base.id)? {
            return Ok(gives(theirs.id));
        }
        let key = [base.id, ours.id, theirs.id];
        match self.merges.get(&key) {
            Some(Merge::Conflict) => return Ok(Merge::Conflict),
            Some(Merge::Gives(id)) => return Ok(gives(*id)),
            Some(Merge::Clean) if wanted == Wanted::Answer => return Ok(Merge::Clean),
            _ => {}
        }
        let driver = self.driver(at, path)?;
        // Of a version whose lines are known, none but the merged file needs the bytes.
        let known = self.versions.get(path).filter(|_| driver == Driver::Text && wanted == Wanted::Answer);
        let mut is_known = key.map(|id| known.is_some_and(|versions| versions.knows(&id)));
        // By the base's bytes less of the others is to be read.
        is_known[0] &= is_known[1] && is_known[2];
        let file = |side: usize| if is_known[side] { Ok(Arc::default()) } else { self.file(&key[side]) };
        let [base, ours, theirs] = [file(0)?, file(1)?, file(2)?];
        let merged = match driver {
            Driver::Text => {
                let as_of = self.objects.as_of();
                let versions = self.versions.entry(path.clone()).or_insert_with(|| Versions::new(as_of));
                let had = versions.bytes();
                let sides =
                    [(key[0], base.as_slice()), (key[1], ours.as_slice()), (key[2], theirs.as_slice())];
                let merged = content::merge_versions(versions, sides, wanted == Wanted::Files);
                self.lines += versions.bytes() - had;
                if self.lines > LINES {
                    (self.versions, self.lines) = (HashMap::new(), 0);
                }
                merged
            }
            _ => content::merge_by(self.objects, &driver, path.as_bstr(), &base, &ours, &theirs)?,
        };
        let merged = match merged {
            Content::Clean(_) if wanted == Wanted::Answer => Merge::Clean,
            Content::Clean(data) => Merge::Gives(self.made.id_of(data, self.objects.hash())),
            Content::Conflict | Content::Binary => Merge::Conflict,
        };
        self.merges.insert(key, merged);
        Ok(match merged {
            Merge::Conflict => Merge::Conflict,
            Merge::Clean => Merge::Clean,
            Merge::Gives(id) => gives(id),
        })
    }

    fn driver(&mut self, at: usize, path: &BString) -> Result<Driver, ObjectError> {
        if let Some(driver) = self.drivers.as_ref().and_then(|drivers| drivers.get(path)) {
            return Ok(driver.clone());
        }
        let driver = attributes::driver(self.objects, &self.steps[at].before, path.as_bstr())?;
        if let Some(drivers) = &mut self.drivers {
            drivers.insert(path.clone(), driver.clone());
        }
        Ok(driver)
    }

    fn file(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        self.made.get(id).map_or_else(|| self.objects.blob(id), |made| Ok(made.clone()))
    }

    /// Is the same file at a path, or nothing on both sides?
    fn same(&self, one: Option<Entry>, other: Option<Entry>) -> Result<bool, ObjectError> {
        Ok(match (one, other) {
            (Some(one), Some(other)) if one.mode == other.mode && one.is_file() => {
                self.same_file(&one.id, &other.id)?
            }
            _ => one == other,
        })
    }

    /// Are these the same bytes? A file that was made may be one of the store's.
    fn same_file(&self, one: &ObjectId, other: &ObjectId) -> Result<bool, ObjectError> {
        let is_made = |id: &ObjectId| self.made.get(id).is_some();
        Ok(one == other || is_made(one) != is_made(other) && self.file(one)? == self.file(other)?)
    }

    /// Reads what a step changes, once.
    fn read(&mut self, i: usize) -> Result<(), ObjectError> {
        if self.changes[i].is_none() {
            let step = &self.steps[i];
            let changes = match self.given.get(i) {
                Some(Some(given)) => Cow::Borrowed(*given),
                _ => Cow::Owned(delta::changes(self.objects, &step.before, &step.after)?),
            };
            for change in changes.iter() {
                self.by_path.entry(change.path.clone()).or_default().insert(i);
            }
            self.changes[i] = Some(changes);
        }
        Ok(())
    }
}
