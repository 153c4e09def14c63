//! The stack's tree, kept open while patches are put on it one after the other.
//!
//! It answers as the plain walk (`super::walk`) does, and gives up where that would: the rest is left to the whole
//! merge. What a patch changes is read from its two trees; of the stack only what stands at those names is looked at,
//! so a patch costs what it changes. New folders are made when it is asked what came of it (`crate::store::grow`).

use bstr::{BStr, BString, ByteSlice};
use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;

use super::ahead::{self, Changes, Merges};
use super::attributes::{self, Driver};
use super::content::{self, Content};
use super::sequence::Step;
use super::{Both, Sides};
use crate::store::grow::{Grower, Grown};
use crate::store::tree::{Entry, Index, RawTree};
use crate::store::{ObjectError, Objects};
use crate::trunk::compare::Compare;
use crate::trunk::delta::Change;

/// A stack that patches are put on.
pub(super) struct Open<'a> {
    objects: &'a dyn Objects,
    folders: Vec<Folder>,
    grower: Grower,
    /// The trees of the last patch: its neighbours have most of them, too.
    last: Compare<'a>,
    /// Merges that were foreseen.
    merges: Merges,
}

/// How a patch was put on the stack.
pub(super) struct Put {
    /// Was every change of it to a file that the stack left alone?
    pub as_it_is: bool,
    /// The files that both changed.
    pub both: Vec<Both>,
    /// What it changed in the stack; nothing if that is a whole folder.
    pub changes: Option<Vec<Change>>,
}

/// A folder of the stack.
struct Folder {
    raw: RawTree,
    index: Index,
    /// What stands there otherwise than in `raw`.
    changed: HashMap<BString, Slot>,
    /// How many entries it has.
    len: usize,
}

/// What stands at a name.
#[derive(Clone, Copy)]
enum Slot {
    Nothing,
    /// A file, or a folder that is as it was.
    Entry(Entry),
    /// A folder that is open.
    Open(usize),
}

/// Why a patch cannot be put on: the whole merge is needed, or an object cannot be read.
enum Stop {
    Full,
    Object(ObjectError),
}

impl From<ObjectError> for Stop {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

/// What a patch changes, before it is certain that it can be put on.
#[derive(Default)]
struct Plan {
    sets: Vec<(usize, BString, Option<Entry>)>,
    as_it_is: bool,
    both: Vec<Both>,
}

impl<'a> Open<'a> {
    /// Opens the tree `id`, where `merges` are foreseen. An empty one is none that can be opened.
    pub fn of(objects: &'a dyn Objects, id: &ObjectId, merges: Merges) -> Result<Option<Self>, ObjectError> {
        let raw = RawTree::read(objects, Some(id))?;
        if raw.raw().is_empty() {
            return Ok(None);
        }
        let grower = Grower::open(*id, raw.shared());
        let folders = vec![Folder::of(raw)?];
        Ok(Some(Self { objects, folders, grower, last: Compare::of(objects), merges }))
    }

    /// Makes the merges that some patches need, whose changes are known, ahead of them and on all cores.
    pub fn look_ahead(&mut self, tip: &ObjectId, changes: &[Option<Changes>]) -> Result<(), ObjectError> {
        let known = std::mem::take(&mut self.merges);
        let more = ahead::merges(self.objects, changes, tip, &known, &mut |path| self.file_at(path))?;
        self.merges = known;
        self.merges.extend(more);
        Ok(())
    }

    /// The merges that were foreseen and not asked for.
    pub fn close(self) -> Merges {
        self.merges
    }

    /// Puts a patch on, if no rename and no conflict can be in it. `changes` is what it changes, if that is known.
    pub fn put(&mut self, step: &Step, changes: Option<Changes>) -> Result<Option<Put>, ObjectError> {
        let changes = match changes {
            Some(changes) => changes,
            None => ahead::changes(&mut self.last, step)?,
        };
        let Changes::Plain(changes) = changes else { return Ok(None) };
        let mut plan = Plan { as_it_is: true, ..Plan::default() };
        let mut done = changes.iter().try_for_each(|change| self.change(&mut plan, change));
        if done.is_ok() {
            done = self.keeps_some(&plan);
        }
        match done {
            Err(Stop::Full) => return Ok(None),
            Err(Stop::Object(error)) => return Err(error),
            Ok(()) => {}
        }
        for (at, name, entry) in plan.sets {
            let folder = &mut self.folders[at];
            let was = !matches!(folder.slot(name.as_ref()), Slot::Nothing);
            folder.len = folder.len + usize::from(entry.is_some()) - usize::from(was);
            folder.changed.insert(name.clone(), entry.map_or(Slot::Nothing, Slot::Entry));
            self.grower.set(at, name, entry);
        }
        self.grower.end();
        let changes = in_stack(changes, &plan.both);
        Ok(Some(Put { as_it_is: plan.as_it_is, both: plan.both, changes }))
    }

    /// What came of the patches since this was asked last.
    pub fn grown(&self) -> Result<Grown, ObjectError> {
        self.grower.tell()
    }

    /// Does every folder keep an entry? One that is left empty goes, and that is left to the whole merge.
    fn keeps_some(&self, plan: &Plan) -> Result<(), Stop> {
        let mut gone: HashMap<usize, usize> = HashMap::new();
        for (at, _, _) in plan.sets.iter().filter(|(_, _, entry)| entry.is_none()) {
            *gone.entry(*at).or_default() += 1;
        }
        let emptied = gone.into_iter().any(|(at, gone)| self.folders[at].len <= gone);
        if emptied { Err(Stop::Full) } else { Ok(()) }
    }

    /// What a change makes of what stands at its path.
    fn change(&mut self, plan: &mut Plan, change: &Change) -> Result<(), Stop> {
        let Change { path, old: base, new: theirs } = change;
        let (mut at, mut walked) = (0, 0);
        while let Some(end) = path[walked..].find_byte(b'/') {
            at = self.open_in(at, path[walked..walked + end].as_bstr())?;
            walked += end + 1;
        }
        let name = path[walked..].as_bstr();
        let ours = match self.folders[at].slot(name) {
            Slot::Nothing => None,
            Slot::Entry(entry) => Some(entry),
            Slot::Open(_) => return Err(Stop::Full),
        };
        let sides = Sides { base: *base, ours, theirs: *theirs };
        if sides.base == sides.ours {
            plan.sets.push((at, name.into(), sides.theirs));
            return Ok(());
        }
        plan.as_it_is = false;
        let is_tree = |side: Option<Entry>| side.is_some_and(|e| e.is_tree());
        if is_tree(sides.base) || is_tree(sides.ours) || is_tree(sides.theirs) {
            return Err(Stop::Full);
        }
        if sides.ours == sides.theirs {
            // A file that both took away may have gone to two places.
            let ours = sides.ours.ok_or(Stop::Full)?;
            plan.both.push(Both { path: path.clone(), base: sides.base, ours, merged: ours });
            return Ok(());
        }
        let (Some(base), Some(ours), Some(theirs)) = (sides.base, sides.ours, sides.theirs) else {
            return Err(Stop::Full);
        };
        let merged = self.file(path.as_bstr(), Sides { base, ours, theirs })?;
        plan.both.push(Both { path: path.clone(), base: Some(base), ours, merged });
        if merged != ours {
            plan.sets.push((at, name.into(), Some(merged)));
        }
        Ok(())
    }

    /// Merges the content and mode of one file that all three have.
    fn file(&mut self, path: &BStr, sides: Sides<Entry>) -> Result<Entry, Stop> {
        let Sides { base, ours, theirs } = sides;
        if ![base, ours, theirs].iter().all(Entry::is_file) {
            return Err(Stop::Full);
        }
        let mode = sides.map(|e| e.mode).settled().ok_or(Stop::Full)?;
        if let Some(id) = sides.map(|e| e.id).settled() {
            return Ok(Entry { mode, id });
        }
        if self.objects.drivers().is_some_and(|d| d.generated(path)) {
            return Err(Stop::Full);
        }
        let driver = attributes::driver_by(self.objects, &self.attributes(path), path)?;
        let key = [base.id, ours.id, theirs.id];
        if driver == Driver::Text && self.merges.get(&key).is_some_and(Option::is_none) {
            return Err(Stop::Full);
        }
        if driver == Driver::Text
            && let Some((id, data)) = self.merges.remove(&key).flatten()
        {
            self.objects.put_made(id, data, Some(&ours.id))?;
            return Ok(Entry { mode, id });
        }
        let blob = |e: Entry| self.objects.blob(&e.id);
        let (base, our_data, theirs) = (blob(base)?, blob(ours)?, blob(theirs)?);
        match content::merge_by(self.objects, &driver, path, &base, &our_data, &theirs)? {
            Content::Clean(data) => Ok(Entry { mode, id: self.objects.put_blob(data, Some(&ours.id))? }),
            Content::Conflict | Content::Binary => Err(Stop::Full),
        }
    }

    /// The files of attributes on the way to `path`, whose folders are open.
    fn attributes(&self, path: &BStr) -> attributes::Key {
        let (mut key, mut at, mut walked) = (Vec::new(), 0, 0);
        loop {
            let folder = &self.folders[at];
            if let Slot::Entry(entry) = folder.slot(attributes::FILE.as_bstr())
                && entry.is_file()
            {
                key.push((path[..walked].into(), entry.id));
            }
            let Some(end) = path[walked..].find_byte(b'/') else { return key };
            let Slot::Open(inner) = folder.slot(path[walked..walked + end].as_bstr()) else { return key };
            (at, walked) = (inner, walked + end + 1);
        }
    }

    /// The folder `name` of the folder `at`, opened.
    fn open_in(&mut self, at: usize, name: &BStr) -> Result<usize, Stop> {
        let entry = match self.folders[at].slot(name) {
            Slot::Open(inner) => return Ok(inner),
            Slot::Entry(entry) if entry.is_tree() => entry,
            _ => return Err(Stop::Full),
        };
        let raw = RawTree::read(self.objects, Some(&entry.id))?;
        let inner = self.folders.len();
        self.grower.open_in(at, name, raw.shared());
        self.folders.push(Folder::of(raw)?);
        self.folders[at].changed.insert(name.into(), Slot::Open(inner));
        Ok(inner)
    }

    /// The file at a path.
    fn file_at(&mut self, path: &BStr) -> Result<Option<Entry>, ObjectError> {
        let (mut at, mut walked) = (0, 0);
        while let Some(end) = path[walked..].find_byte(b'/') {
            at = match self.open_in(at, path[walked..walked + end].as_bstr()) {
                Ok(inner) => inner,
                Err(Stop::Full) => return Ok(None),
                Err(Stop::Object(error)) => return Err(error),
            };
            walked += end + 1;
        }
        Ok(match self.folders[at].slot(path[walked..].as_bstr()) {
            Slot::Entry(entry) => Some(entry),
            Slot::Nothing | Slot::Open(_) => None,
        })
    }
}

/// What a patch changed in the stack, of what it changes on its own base and the files that both changed; nothing if
/// there is a whole folder among it.
fn in_stack(mut changes: Vec<Change>, both: &[Both]) -> Option<Vec<Change>> {
    if changes.iter().any(Change::is_folder) {
        return None;
    }
    for file in both {
        if let Some(change) = changes.iter_mut().find(|c| c.path == file.path) {
            (change.old, change.new) = (Some(file.ours), Some(file.merged));
        }
    }
    changes.retain(|c| c.old != c.new);
    Some(changes)
}

impl Folder {
    fn of(raw: RawTree) -> Result<Self, ObjectError> {
        let index = raw.index()?;
        let len = index.len();
        Ok(Self { raw, index, changed: HashMap::new(), len })
    }

    fn slot(&self, name: &BStr) -> Slot {
        if let Some(slot) = self.changed.get(name.as_bytes().as_bstr()) {
            return *slot;
        }
        self.index.find(self.raw.raw(), name).map_or(Slot::Nothing, |(_, entry)| Slot::Entry(entry))
    }
}
