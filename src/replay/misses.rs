//! What the patches that conflict miss, worked out beside the replay: nothing of the replay rests on it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::origins::Origins;
use super::sequence::Step;
use crate::store::{ObjectError, Objects, begin_in};

/// Steps that conflict, each with those that it misses.
pub(super) type Missed = Vec<(usize, Vec<usize>)>;

/// What became of a step, in order.
#[derive(Clone)]
enum Told {
    /// It is not in the stack, and what it misses is known.
    LeftOut(usize, Vec<usize>),
    /// It conflicts, and is left out: what does it miss?
    Conflicts(usize),
}

/// Is told of the steps that are left out, in order.
pub(super) struct Misses<'scope, 'env> {
    objects: &'env dyn Objects,
    steps: &'env [Step],
    threads: &'scope Scope<'scope, 'env>,
    told: Vec<Told>,
    /// From the first conflict on.
    beside: Option<Beside<'scope>>,
}

struct Beside<'scope> {
    to: Sender<Told>,
    /// Nothing where it cannot see all that it needs.
    thread: ScopedJoinHandle<'scope, Option<Result<Missed, ObjectError>>>,
}

impl<'scope, 'env> Misses<'scope, 'env> {
    /// Of these steps, whose trees are among `objects`.
    pub fn of(objects: &'env dyn Objects, steps: &'env [Step], threads: &'scope Scope<'scope, 'env>) -> Self {
        Self { objects, steps, threads, told: Vec::new(), beside: None }
    }

    /// The step `at` is left out; `needs` is what it misses.
    pub fn left_out(&mut self, at: usize, needs: Vec<usize>) {
        self.tell(Told::LeftOut(at, needs));
    }

    /// The step `at` conflicts.
    pub fn conflicts(&mut self, at: usize) {
        if self.beside.is_none() {
            self.begin();
        }
        self.tell(Told::Conflicts(at));
    }

    fn tell(&mut self, told: Told) {
        if let Some(beside) = &self.beside {
            // One that cannot go on says so at the end.
            let _ = beside.to.send(told.clone());
        }
        self.told.push(told);
    }

    fn begin(&mut self) {
        let Some(place) = self.objects.place() else { return };
        let (to, from): (Sender<Told>, Receiver<Told>) = channel();
        let steps = self.steps;
        let thread = begin_in(self.threads, move || {
            let objects = place.open();
            // Under a tree that is written is nothing that is not.
            let sees = |step: &Step| objects.has(&step.before) && objects.has(&step.after);
            steps.iter().all(sees).then(|| missed(&objects, steps, from.into_iter()))
        });
        self.told.iter().for_each(|told| drop(to.send(told.clone())));
        self.beside = Some(Beside { to, thread });
    }

    /// What each step that conflicts misses.
    pub fn end(self) -> Result<Missed, ObjectError> {
        let beside = self.beside.and_then(|Beside { to, thread }| {
            drop(to);
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        beside.unwrap_or_else(|| missed(self.objects, self.steps, self.told.into_iter()))
    }
}

fn missed(
    objects: &dyn Objects,
    steps: &[Step],
    told: impl Iterator<Item = Told>,
) -> Result<Missed, ObjectError> {
    let (mut origins, mut missed) = (Origins::new(objects, steps), Vec::new());
    for told in told {
        match told {
            Told::LeftOut(at, needs) => origins.leave_out(at, needs),
            Told::Conflicts(at) => {
                let needs = origins.missing(at)?;
                origins.leave_out(at, needs.clone());
                missed.push((at, needs));
            }
        }
    }
    Ok(missed)
}
