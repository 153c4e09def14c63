//! What upstream turns out to have while the queue is replayed as if it had nothing: the replay goes on from the first
//! patch of which that is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use gix_hash::ObjectId;

use crate::landed::Evidence;
use crate::replay::sequence::{Course, Placed, Replay, Role, Settle, Step, replay};
use crate::store::{Objects as _, Odb, StoreError};
use crate::trunk::differences::Differences;

/// Nothing is told that is not taken in.
const NONE: usize = usize::MAX;

/// The patches that upstream has, told on one thread and taken in on another.
pub(super) struct Landing {
    /// Of the patches that are carried.
    places: BTreeMap<String, usize>,
    told: Mutex<BTreeSet<usize>>,
    /// The first that was told and not taken in.
    first: AtomicUsize,
}

impl Landing {
    pub fn of(steps: &[Step]) -> Self {
        let carried = steps.iter().enumerate().filter(|(_, step)| step.role == Role::Carry);
        let places = carried.map(|(at, step)| (step.name.clone(), at)).collect();
        Self { places, told: Mutex::default(), first: AtomicUsize::new(NONE) }
    }

    /// Upstream has these, and maybe more.
    pub fn tell(&self, settled: &BTreeMap<String, Evidence>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for at in settled.keys().filter_map(|name| self.places.get(name)) {
            if told.insert(*at) {
                self.first.fetch_min(*at, Ordering::Relaxed);
            }
        }
    }

    /// What was told does not go on the stack. Was there anything new?
    fn take_in(&self, steps: &mut [Step]) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for at in told.iter() {
            steps[*at].role = Role::Landed;
        }
        self.first.swap(NONE, Ordering::Relaxed) != NONE
    }
}

/// A replay on a trunk's tree, beside which it is told what upstream has.
pub(super) struct Beside<'b> {
    pub odb: &'b Odb,
    pub tip: ObjectId,
    pub differences: &'b Differences,
    /// Asked at each conflict.
    pub settle: Option<&'b dyn Settle>,
    pub landing: &'b Landing,
    /// What the same replay came to before, if that is known.
    pub known: Option<Replay>,
}

impl Beside<'_> {
    /// Replays `steps` until all are placed and nothing new is told, and goes on once `rest` has waited for the last of it.
    pub fn replay<T>(
        mut self,
        steps: &mut [Step],
        rest: impl FnOnce(&Replay) -> T,
    ) -> Result<(Replay, T), StoreError> {
        let mark = self.odb.mark();
        let ends = |at: usize| self.landing.first.load(Ordering::Relaxed) <= at;
        let mut course = Course::default().knowing(self.differences).settled_by(self.settle).until(&ends);
        let nothing = || Replay { placed: Vec::new(), tree: self.tip, marks: Vec::new() };
        let known = self.known.take().unwrap_or_else(nothing);
        let mut replayed = self.go_on(steps, known, mark, &mut course)?;
        while self.landing.take_in(steps) {
            replayed = self.go_on(steps, replayed, mark, &mut course)?;
        }
        let told = rest(&replayed);
        while self.landing.take_in(steps) {
            replayed = self.go_on(steps, replayed, mark, &mut course)?;
        }
        Ok((replayed, told))
    }

    /// The replay from the first step on that is not placed, or not as it should be now.
    fn go_on(
        &self,
        steps: &[Step],
        Replay { mut placed, tree, mut marks }: Replay,
        mark: usize,
        course: &mut Course<'_>,
    ) -> Result<Replay, StoreError> {
        let stays =
            |(step, placed): &(&Step, &Placed)| step.role != Role::Landed || **placed == Placed::Skipped;
        let same = steps.iter().zip(&placed).take_while(stays).count();
        if same == steps.len() {
            return Ok(Replay { placed, tree, marks });
        }
        self.odb.rewind(same.checked_sub(1).map_or(mark, |last| marks[last]));
        placed.truncate(same);
        marks.truncate(same);
        let next = replay(self.odb, steps, &self.tip, placed, course)?;
        marks.extend(next.marks);
        Ok(Replay { marks, ..next })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bstr::BString;

    use super::*;
    use crate::landed::Rung;
    use crate::replay::Conflict;
    use crate::store::tree::{Entry, edit};
    use crate::store::{ObjectError, Objects, Repo};

    /// Says at a conflict that upstream has a patch.
    struct Teller<'t> {
        landing: &'t Landing,
        at: usize,
        has: &'t str,
        conflicts: Cell<usize>,
    }

    impl Teller<'_> {
        fn tell(&self) {
            let evidence = Evidence {
                rung: Rung::PatchId,
                confidence: Rung::PatchId.confidence(),
                commit: String::new(),
                with: Vec::new(),
                author: String::new(),
                date: String::new(),
                subject: String::new(),
                likeness: None,
                proof: String::new(),
            };
            self.landing.tell(&BTreeMap::from([(self.has.to_owned(), evidence)]));
        }
    }

    impl Settle for Teller<'_> {
        fn settle(
            &self,
            _: &dyn Objects,
            _: &Step,
            _: &ObjectId,
            _: &[Conflict],
        ) -> Result<Option<(ObjectId, String)>, ObjectError> {
            if self.conflicts.replace(self.conflicts.get() + 1) == self.at {
                self.tell();
            }
            Ok(None)
        }

        fn make_anew(
            &self,
            _: &dyn Objects,
            _: &Step,
            _: &ObjectId,
            _: &[BString],
        ) -> Result<Option<(ObjectId, String)>, ObjectError> {
            Ok(None)
        }
    }

    /// Files of ten lines each, with some lines changed.
    fn tree(odb: &Odb, changed: &[(&str, usize, &str)]) -> ObjectId {
        let blob = |file: &str| {
            let line = |n: usize| {
                let change = changed.iter().rev().find(|(of, at, _)| *of == file && *at == n);
                change.map_or_else(|| format!("{n}\n"), |(_, _, text)| format!("{text}\n"))
            };
            let id = odb.put_blob((0..10).map(line).collect::<String>().into_bytes(), None).expect("kept");
            Some(Entry { mode: 0o100644, id })
        };
        let files: Vec<(&[u8], Option<Entry>)> =
            ["a", "b", "c"].iter().map(|name| (name.as_bytes(), blob(name))).collect();
        edit(odb, None, &files).expect("kept").expect("no clash").expect("files")
    }

    #[test]
    fn whenever_it_is_told_what_upstream_has_the_stack_is_as_if_it_had_been_known() {
        let patches = [
            ("has", ("a", 2, "two")),
            ("breaks", ("b", 5, "five")),
            ("on it", ("a", 2, "two more")),
            ("breaks too", ("b", 9, "nine")),
            ("misses one", ("b", 5, "five more")),
            ("goes", ("c", 1, "one")),
        ];
        let trunk = [("a", 2, "two"), ("b", 5, "V"), ("b", 9, "IX"), ("c", 7, "VII")];
        // Before it begins, at each conflict, when all are placed; and another that is no news, of one that conflicts.
        for (has, whens) in [
            ("has", [None, Some(0), Some(1), Some(2), Some(9)].as_slice()),
            ("breaks too", &[Some(0), Some(1)]),
        ] {
            for when in whens {
                let dir = tempfile::tempdir().expect("a folder");
                let repo = Repo::open_or_create(dir.path(), None, None).expect("a store");
                let odb = repo.odb().expect("it opens");
                let mut before = tree(&odb, &[]);
                let mut steps: Vec<Step> = (0..patches.len())
                    .map(|at| {
                        let so_far: Vec<_> = patches[..=at].iter().map(|(_, change)| *change).collect();
                        let after = tree(&odb, &so_far);
                        let before = std::mem::replace(&mut before, after);
                        Step { name: patches[at].0.into(), before, after, role: Role::Carry }
                    })
                    .collect();
                let tip = tree(&odb, &trunk);
                odb.flush().expect("written");

                let mut known = steps.clone();
                known.iter_mut().filter(|step| step.name == has).for_each(|step| step.role = Role::Landed);
                let differences = Differences::default();
                let expected = replay(&odb, &known, &tip, Vec::new(), &mut Course::default()).expect("read");
                let made = odb.mark();
                odb.rewind(0);

                let landing = Landing::of(&steps);
                let teller =
                    Teller { landing: &landing, at: when.unwrap_or(9), has, conflicts: Cell::new(0) };
                if when.is_none() {
                    teller.tell();
                }
                let beside = Beside {
                    odb: &odb,
                    tip,
                    differences: &differences,
                    settle: Some(&teller),
                    landing: &landing,
                    known: None,
                };
                let (replayed, placed) = beside
                    .replay(&mut steps, |replayed| {
                        teller.tell();
                        replayed.placed.len()
                    })
                    .expect("read");
                assert_eq!(placed, patches.len(), "all are placed before it waits");
                assert_eq!((&steps, &replayed), (&known, &expected), "{has}, told {when:?}");
                assert_eq!(odb.mark(), made, "nothing stays of what was taken back");
                assert!(replayed.placed.iter().any(|p| matches!(p, Placed::Blocked { .. })), "{replayed:?}");
            }
        }
    }
}
