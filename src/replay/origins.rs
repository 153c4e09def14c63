//! Is a patch that conflicts a root, or does it only miss another? Asked of its own base, where the trunk's new
//! commits play no part: it applied there with all that came before it, so what it misses shows by leaving out.
//! Left out all that comes before, the same question tells what a patch needs at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use bstr::{BString, ByteSlice};
use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;
use petgraph::unionfind::UnionFind;

use super::Sides;
use super::attributes::{self, Driver};
use super::content::{self, Content};
use super::lines::Versions;
use super::made::Made;
use super::sequence::Step;
use crate::store::tree::Entry;
use crate::store::{ObjectError, Objects, Place};
use crate::trunk::delta::{self, Change};

/// So many steps to ask about are worth threads.
const WORTH_A_THREAD: usize = 16;

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
    pub paths: Vec<Vec<BString>>,
    /// What some steps needed, near, when they were asked about last; empty: of none.
    pub needs: Vec<Option<Vec<usize>>>,
    /// Those of which the same holds still, as long as what the steps need that share a path with them is what it was.
    pub holds: Vec<bool>,
    /// What differs between the trees of some steps; empty: of none.
    pub changes: Vec<Option<&'k [Change]>>,
}

/// What each step needs, in the queue's order: the earlier steps without which it does not apply on its own base; not
/// those that one of these needs in turn.
pub fn needs(
    objects: &dyn Objects,
    steps: &[Step],
    known: &Known<'_>,
) -> Result<Vec<Vec<usize>>, ObjectError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let open = (0..steps.len()).filter(|at| known.holds.get(*at) != Some(&true)).count();
    let shares = match known.paths.len() {
        paths if paths == steps.len() && open >= WORTH_A_THREAD => shares(known, cores),
        _ => Vec::new(),
    };
    let places: Option<Vec<Place>> = match objects.mark() {
        // Another thread sees what is written alone.
        0 if shares.len() > 1 => shares[1..].iter().map(|_| objects.place()).collect(),
        _ => None,
    };
    let Some(places) = places else {
        let all: Vec<usize> = (0..steps.len()).collect();
        return needs_of(objects, steps, known, &all);
    };
    let mut all = vec![Vec::new(); steps.len()];
    std::thread::scope(|threads| {
        let others: Vec<_> = places.into_iter().zip(&shares[1..]).collect();
        let others: Vec<_> = others
            .into_iter()
            .map(|(place, share)| threads.spawn(move || needs_of(&place.open(), steps, known, share)))
            .collect();
        let first = needs_of(objects, steps, known, &shares[0]);
        let join = |share: ScopedJoinHandle<'_, _>| {
            share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let found = std::iter::once(first).chain(others.into_iter().map(join));
        for (found, share) in found.zip(&shares) {
            for (at, needs) in share.iter().zip(found?) {
                all[*at] = needs;
            }
        }
        Ok(all)
    })
}

/// What each of `roots` needs, and what each of these needs in turn, as [`needs`] has it. Others are not asked about.
/// `changes` is what differs between the trees of some steps.
pub fn needs_from(
    objects: &dyn Objects,
    steps: &[Step],
    changes: &[Option<&[Change]>],
    roots: &[usize],
) -> Result<BTreeMap<usize, Vec<usize>>, ObjectError> {
    let mut origins = Origins { given: changes, ..Origins::new(objects, steps) };
    let (mut all, mut open) = (BTreeMap::new(), roots.to_vec());
    while let Some(at) = open.last().copied() {
        if all.contains_key(&at) {
            open.pop();
            continue;
        }
        let sharers = origins.sharers_read(at)?;
        match origins.missing_of(at, &sharers, sharers.clone())? {
            // Asked again when that is known: the merges are known by then.
            Err(unsettled) => open.push(unsettled),
            Ok(needs) => {
                let needs = origins.without_dispensable(needs, at)?;
                origins.leave_out(at, needs.clone());
                all.insert(at, needs);
            }
        }
    }
    Ok(all)
}

/// The steps in at most so many shares of about the same work, each in order. Steps that share a path, or of which each
/// shares one with a third, are in one.
fn shares(known: &Known<'_>, count: usize) -> Vec<Vec<usize>> {
    let mut groups = UnionFind::<usize>::new(known.paths.len());
    let mut first: HashMap<&BString, usize> = HashMap::new();
    for (at, paths) in known.paths.iter().enumerate() {
        for path in paths {
            groups.union(at, *first.entry(path).or_insert(at));
        }
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..known.paths.len() {
        members.entry(groups.find(at)).or_default().push(at);
    }
    // A step alone needs none, and costs nothing.
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    members.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut shares = vec![Vec::new(); count.max(1)];
    let mut work = vec![0; shares.len()];
    for group in members {
        let Some(least) = (0..shares.len()).min_by_key(|share| work[*share]) else { break };
        work[least] += group.len() * (group.len() - 1);
        shares[least].extend(group);
    }
    shares.retain(|share| !share.is_empty());
    shares.iter_mut().for_each(|share| share.sort_unstable());
    shares
}

/// The same for those of `which` (in order). No other step shares a path with them.
fn needs_of(
    objects: &dyn Objects,
    steps: &[Step],
    known: &Known<'_>,
    which: &[usize],
) -> Result<Vec<Vec<usize>>, ObjectError> {
    let mut origins = Origins { given: &known.changes, ..Origins::new(objects, steps) };
    for (at, paths) in known.paths.iter().enumerate() {
        for path in paths {
            origins.by_path.entry(path.clone()).or_default().insert(at);
        }
    }
    origins.indexed = known.paths.len() == steps.len();
    let mut all = Vec::with_capacity(which.len());
    // The steps that do not need what they needed, near or far.
    let mut moved: BTreeSet<usize> = BTreeSet::new();
    for at in which.iter().copied() {
        let before = known.needs.get(at).and_then(Option::as_ref);
        let meets = |paths: &Vec<BString>| {
            let of = |path| origins.by_path.get(path).into_iter().flat_map(|steps| steps.range(..at));
            paths.iter().flat_map(of).any(|step| moved.contains(step))
        };
        let stays = known.holds.get(at) == Some(&true)
            && (moved.is_empty() || origins.indexed && known.paths.get(at).is_some_and(|p| !meets(p)));
        if let Some(needs) = before.filter(|_| stays) {
            origins.leave_out(at, needs.clone());
            all.push(needs.clone());
            continue;
        }
        let needs = origins.missing(at)?;
        let needs = origins.without_dispensable(needs, at)?;
        if before != Some(&needs) || needs.iter().any(|need| moved.contains(need)) {
            moved.insert(at);
        }
        origins.leave_out(at, needs.clone());
        all.push(needs);
    }
    Ok(all)
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
            versions: HashMap::new(),
            lines: 0,
            merges: HashMap::new(),
        }
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
    fn missing_of(
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
    fn without_dispensable(&mut self, mut needs: Vec<usize>, at: usize) -> Result<Vec<usize>, ObjectError> {
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
        let paths = changes.iter().filter_map(|c| self.by_path.get(&c.path));
        let all: BTreeSet<usize> = paths.flat_map(|steps| steps.range(..at)).copied().collect();
        all.into_iter().collect()
    }

    /// The same, their changes read.
    fn sharers_read(&mut self, at: usize) -> Result<Vec<usize>, ObjectError> {
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
        let driver = attributes::driver(self.objects, &self.steps[at].before, path.as_bstr())?;
        let [base, ours, theirs] = [self.file(&key[0])?, self.file(&key[1])?, self.file(&key[2])?];
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
