//! New objects: kept in memory as they are made, and written as one pack.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use gix_hash::ObjectId;
use gix_hashtable::HashMap;
use gix_object::Kind;

use super::{ObjectError, StoreError, delta, grow, pack};

/// Bytes of new objects that are kept whole beside their differences.
const WHOLE: usize = 4 << 20;

/// Objects in memory, in the order in which they were made.
///
/// A large folder is made anew by every patch that changes something in it: most are kept as differences, and only the
/// last ones whole.
///
/// What is read on other threads is set apart, so that nothing of it is copied when there are more.
#[derive(Default, Clone)]
pub(super) struct New {
    /// The first ones, which stay as they are.
    parts: Vec<Arc<Part>>,
    /// Those after them.
    last: Part,
    /// The last ones that are kept as differences, and their bytes in all.
    whole: HashMap<ObjectId, Arc<Vec<u8>>>,
    oldest: VecDeque<ObjectId>,
    bytes: usize,
}

/// Some of them, in a row.
#[derive(Default, Clone)]
struct Part {
    /// How many come before them.
    from: usize,
    order: Vec<Made>,
    /// The place of each, among all.
    places: HashMap<ObjectId, usize>,
}

/// A new object.
#[derive(Clone)]
struct Made {
    id: ObjectId,
    kind: Kind,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Whole(Arc<Vec<u8>>),
    /// A difference to an earlier one, and how many differences it stands on.
    Delta {
        base: usize,
        depth: usize,
        delta: Vec<u8>,
    },
}

impl New {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.last.from + self.last.order.len()
    }

    /// Is this one of them?
    pub fn has(&self, id: &ObjectId) -> bool {
        self.place(id).is_some()
    }

    /// A copy of what is there now, for which no object is copied.
    pub fn share(&mut self) -> Self {
        let from = self.len();
        if from > self.last.from {
            self.parts.push(Arc::new(std::mem::replace(&mut self.last, Part { from, ..Part::default() })));
        }
        self.clone()
    }

    fn parts(&self) -> impl DoubleEndedIterator<Item = &Part> {
        self.parts.iter().map(|part| &**part).chain([&self.last])
    }

    fn place(&self, id: &ObjectId) -> Option<usize> {
        self.parts().rev().find_map(|part| part.places.get(id)).copied()
    }

    fn made(&self, at: usize) -> Option<&Made> {
        let part = self.parts().rev().find(|part| part.from <= at)?;
        part.order.get(at - part.from)
    }

    /// All of them in one row.
    fn joined(&mut self) -> &mut Part {
        for part in std::mem::take(&mut self.parts).into_iter().rev() {
            let mut part = Arc::unwrap_or_clone(part);
            let last = std::mem::take(&mut self.last);
            part.order.extend(last.order);
            part.places.extend(last.places);
            self.last = part;
        }
        &mut self.last
    }

    /// Keeps an object that is not there yet, which resembles another.
    pub fn add(&mut self, id: ObjectId, kind: Kind, data: Vec<u8>, like: Option<&ObjectId>) {
        let at = self.len();
        let base = like.and_then(|like| self.place(like));
        let delta = base.and_then(|base| {
            let depth = match self.made(base).filter(|made| made.kind == kind)?.body {
                Body::Whole(_) => 1,
                Body::Delta { depth, .. } => depth + 1,
            };
            let old = self.data(base).filter(|_| depth <= delta::DEPTH)?;
            let delta = delta::delta(&old, &data);
            (delta.len() < data.len() / 2).then_some((base, depth, delta))
        });
        let data: Arc<Vec<u8>> = data.into();
        let body = match delta {
            Some((base, depth, delta)) => {
                self.keep_whole(id, data);
                Body::Delta { base, depth, delta }
            }
            None => Body::Whole(data),
        };
        self.last.order.push(Made { id, kind, body });
        self.last.places.insert(id, at);
    }

    /// Takes trees in where their steps end; every place after them moves.
    pub fn adopt(&mut self, trees: grow::Trees, marks: &mut [usize]) -> Result<(), ObjectError> {
        let there = |order: &[Made], places: &HashMap<ObjectId, usize>, id: &ObjectId| {
            places.get(id).copied().filter(|at| order.get(*at).is_some_and(|made| made.id == *id))
        };
        let Part { order, places, .. } = self.joined();
        let mut old = std::mem::take(order).into_iter();
        let most = trees.size_hint().1.unwrap_or_default();
        places.reserve(most);
        let (mut moved, mut taken) = (Vec::with_capacity(old.len()), 0);
        let mut trees = trees.peekable();
        order.reserve(old.len() + most);
        let mut move_up_to = |mark: usize, order: &mut Vec<Made>, places: &mut HashMap<ObjectId, usize>| {
            while taken < mark
                && let Some(mut made) = old.next()
            {
                if let Body::Delta { base, .. } = &mut made.body {
                    *base = moved[*base];
                }
                taken += 1;
                if let Some(at) = there(order, places, &made.id) {
                    moved.push(at);
                    continue;
                }
                moved.push(order.len());
                places.insert(made.id, order.len());
                order.push(made);
            }
        };
        for (step, mark) in marks.iter_mut().enumerate() {
            move_up_to(*mark, order, places);
            while let Some(made) = trees.next_if(|made| made.step <= step) {
                if there(order, places, &made.id).is_some() {
                    continue;
                }
                let body = match made.body {
                    grow::Body::Whole(data) => Body::Whole(data),
                    grow::Body::Delta { base, depth, delta } => {
                        let missing =
                            || ObjectError { id: base, reason: "it was made, and is not here".into() };
                        let base = there(order, places, &base).ok_or_else(missing)?;
                        Body::Delta { base, depth, delta }
                    }
                };
                places.insert(made.id, order.len());
                order.push(Made { id: made.id, kind: Kind::Tree, body });
            }
            *mark = order.len();
        }
        move_up_to(usize::MAX, order, places);
        Ok(())
    }

    fn keep_whole(&mut self, id: ObjectId, data: Arc<Vec<u8>>) {
        self.bytes += data.len();
        self.oldest.push_back(id);
        self.whole.insert(id, data);
        while self.bytes > WHOLE && self.oldest.len() > 1 {
            let Some(old) = self.oldest.pop_front().and_then(|old| self.whole.remove(&old)) else { continue };
            self.bytes -= old.len();
        }
    }

    /// The content of one.
    fn data(&self, at: usize) -> Option<Arc<Vec<u8>>> {
        let made = self.made(at)?;
        match &made.body {
            Body::Whole(data) => Some(data.clone()),
            Body::Delta { .. } if self.whole.contains_key(&made.id) => self.whole.get(&made.id).cloned(),
            Body::Delta { base, delta, .. } => Some(delta::patched(&self.data(*base)?, delta)?.into()),
        }
    }

    /// The content of this one.
    pub fn get(&mut self, id: &ObjectId) -> Option<Arc<Vec<u8>>> {
        let at = self.place(id)?;
        let data = self.data(at)?;
        let is_delta = self.made(at).is_some_and(|made| matches!(made.body, Body::Delta { .. }));
        if is_delta && !self.whole.contains_key(id) {
            self.keep_whole(*id, data.clone());
        }
        Some(data)
    }

    /// Forgets those that were made since there were `mark`.
    pub fn rewind(&mut self, mark: usize) {
        if mark >= self.len() {
            return;
        }
        let all = if mark < self.last.from { self.joined() } else { &mut self.last };
        let gone = all.order.split_off(mark - all.from);
        for made in &gone {
            all.places.remove(&made.id);
        }
        for made in gone {
            if let Some(data) = self.whole.remove(&made.id) {
                self.bytes -= data.len();
                self.oldest.retain(|id| *id != made.id);
            }
        }
    }
}

/// New objects of a store that are to be written.
pub struct Unwritten {
    folder: PathBuf,
    new: New,
    /// The index of what was written, or why it was not.
    outcome: OnceLock<Result<Option<PathBuf>, String>>,
}

impl Unwritten {
    /// Those that go to the folder `objects`.
    pub(super) fn to(folder: PathBuf, new: New) -> Self {
        Self { folder, new, outcome: OnceLock::new() }
    }

    /// Writes them as one pack, once: who asks meanwhile waits. Its index, unless there are none.
    pub fn write(&self) -> Result<Option<PathBuf>, StoreError> {
        let outcome = self.outcome.get_or_init(|| self.pack().map_err(|e| e.to_string()));
        outcome.clone().map_err(|reason| StoreError::Write { path: self.folder.clone(), reason })
    }

    fn pack(&self) -> std::io::Result<Option<PathBuf>> {
        if self.new.len() == 0 {
            return Ok(None);
        }
        let items = self.new.parts().flat_map(|part| &part.order).map(|Made { id, kind, body }| {
            let body = match body {
                Body::Whole(data) => pack::Body::Whole(data),
                Body::Delta { base, delta, .. } => pack::Body::Delta(*base, delta),
            };
            pack::Item { id: *id, kind: *kind, body }
        });
        let items: Vec<pack::Item<'_>> = items.collect();
        pack::write(&items, &self.folder.join("pack")).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use gix_object::Kind;
    use proptest::prelude::*;

    use super::{Body, New};
    use crate::store::odb::object_id;
    use crate::store::{Objects as _, Odb, Repo, StoreError};

    const SHA1: gix_hash::Kind = gix_hash::Kind::Sha1;

    proptest! {
        #[test]
        fn what_is_shared_stays_and_the_rest_goes_on(
            steps in proptest::collection::vec((0..8u8, any::<prop::sample::Index>(), 0..40u16), 1..60),
        ) {
            // What there is, in its order, and what was shared with what it had.
            let (mut new, mut model) = (New::default(), Vec::<(gix_hash::ObjectId, Vec<u8>)>::new());
            let mut shared: Vec<(New, Vec<_>)> = Vec::new();
            for (kind, pick, number) in steps {
                match kind {
                    0 => shared.push((new.share(), model.clone())),
                    1 => {
                        let mark = pick.index(model.len() + 1);
                        new.rewind(mark);
                        model.truncate(mark);
                    }
                    _ => {
                        let data = format!("{}{number}", "a line\n".repeat(60)).into_bytes();
                        let id = object_id(SHA1, Kind::Blob, &data).expect("an id");
                        let like = (!model.is_empty()).then(|| model[pick.index(model.len())].0);
                        if !new.has(&id) {
                            new.add(id, Kind::Blob, data.clone(), like.as_ref());
                            model.push((id, data));
                        }
                    }
                }
            }
            shared.push((new, model));
            for (mut new, model) in shared {
                prop_assert_eq!(new.len(), model.len());
                let order: Vec<_> = new.parts().flat_map(|part| &part.order).map(|made| made.id).collect();
                prop_assert_eq!(order, model.iter().map(|(id, _)| *id).collect::<Vec<_>>());
                for (at, (id, data)) in model.iter().enumerate() {
                    prop_assert_eq!(new.place(id), Some(at));
                    let made = new.made(at).expect("it is there");
                    if let Body::Delta { base, .. } = made.body {
                        prop_assert!(base < at, "a difference stands on an earlier one");
                    }
                    let read = new.get(id);
                    prop_assert_eq!(read.as_deref(), Some(data));
                }
                prop_assert!(new.made(model.len()).is_none());
                for number in 0..40u16 {
                    let data = format!("{}{number}", "a line\n".repeat(60)).into_bytes();
                    let id = object_id(SHA1, Kind::Blob, &data).expect("an id");
                    prop_assert_eq!(new.has(&id), model.iter().any(|(known, _)| *known == id));
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_deflated() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::open_or_create(dir.path(), None, None).expect("a store");
        let text = |word: &str| (0..4000).map(|n| format!("{word} {n}\n")).collect::<String>().into_bytes();
        let bytes = |folder: &str| -> u64 {
            let files = walk(&repo.path().join("objects").join(folder));
            files.iter().map(|file| std::fs::metadata(file).expect("a file").len()).sum()
        };
        let id = repo.write_blob(&text("alone")).expect("written");
        let alone = bytes(&id.to_string()[..2]);
        assert!(alone > 0 && alone < text("alone").len() as u64 / 2, "{alone}");
        let odb = repo.odb().expect("it opens");
        odb.put_blob(text("packed"), None).expect("kept");
        odb.flush().expect("written");
        let packed = bytes("pack");
        assert!(packed > 0 && packed < text("packed").len() as u64 / 2, "{packed}");
    }

    fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(folder).expect("a folder");
        all.map(|entry| entry.expect("an entry").path()).collect()
    }

    #[test]
    fn what_is_handed_over_is_read_at_once_and_written_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::open_or_create(dir.path(), None, None).expect("a store");
        let odb = repo.odb().expect("it opens");
        let text = |last: &str| ["line\n".repeat(100).as_str(), last].concat().into_bytes();
        let first = odb.put_blob(text("one"), None).expect("kept");
        let second = odb.put_blob(text("two"), Some(&first)).expect("kept");
        let early = odb.place().expect("a view").open();
        let handed = odb.hand_over();
        let view = odb.place().expect("a view").open();
        for objects in [&odb, &view] {
            assert_eq!(objects.mark(), 0);
            assert_eq!(objects.blob(&second).expect("it is known").as_slice(), text("two"));
        }
        let again = || Odb::open(repo.path()).expect("it opens");
        assert!(!early.has(&second) && !again().has(&second));
        let third = odb.put_blob(text("three"), Some(&second)).expect("kept");
        let index = handed.write().expect("written").expect("a pack");
        assert_eq!(handed.write().expect("written before"), Some(index));
        assert!(again().has(&first) && again().has(&second) && !again().has(&third));
        assert_eq!(odb.flush().expect("the rest is written"), 1);
        assert!(again().has(&third));
        repo.git().call(["fsck", "--strict"]).output().expect("git finds nothing wrong");
    }

    #[test]
    fn all_who_wait_for_what_cannot_be_written_are_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let odb = Repo::open_or_create(dir.path(), None, None).and_then(|repo| repo.odb()).expect("a store");
        odb.put_blob(b"new".to_vec(), None).expect("kept");
        let (pack, handed) = (dir.path().join("objects/pack"), odb.hand_over());
        std::fs::remove_dir_all(&pack).and_then(|()| std::fs::write(&pack, "")).expect("in the way");
        let told = std::thread::scope(|threads| {
            let all: Vec<_> = (0..3).map(|_| threads.spawn(|| handed.write())).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert!(told.iter().all(|told| matches!(told, Err(StoreError::Write { .. }))), "{told:?}");
    }
}
