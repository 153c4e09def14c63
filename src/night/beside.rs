//! Many projects at once, each on a thread, and what they say brought to the listener by one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::Events;
use crate::store::begin_in;

/// What a project says while it works.
enum Said {
    Step(String),
    Note(String),
}

/// A project's voice.
struct Voice {
    project: String,
    to: Sender<Said>,
}

impl Events for Voice {
    fn step(&self, what: &str) {
        // Who does not listen any more has what it wants.
        let _ = self.to.send(Said::Step(format!("{}: {what}", self.project)));
    }

    /// Git's own progress would be of many fetches at once.
    fn git(&self, _line: &str) {}

    fn note(&self, what: &str) {
        let _ = self.to.send(Said::Note(format!("{}: {what}", self.project)));
    }
}

/// Runs `work` for each project, so many at once, and gives what came of each, in the projects' order: nothing of one that
/// panicked, which stops no other.
pub fn beside<T: Send>(
    events: &dyn Events,
    projects: &[String],
    at_once: usize,
    work: &(dyn Fn(&str, &dyn Events) -> T + Sync),
) -> Vec<Option<T>> {
    let (to, from) = channel();
    std::thread::scope(|threads| {
        let running = begin_in(threads, move || {
            each(projects, at_once, |project| {
                let voice = Voice { project: project.clone(), to: to.clone() };
                // Nothing of what it was at work on is used after a panic.
                catch_unwind(AssertUnwindSafe(|| work(project, &voice))).ok()
            })
        });
        // Ends when the last voice is gone.
        for said in from {
            match said {
                Said::Step(what) => events.step(&what),
                Said::Note(what) => events.note(&what),
            }
        }
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Does `work` for each item, so many at once; in their order.
pub fn each<I: Sync, T: Send>(items: &[I], at_once: usize, work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|threads| {
        for _ in 0..at_once.max(1).min(items.len()) {
            begin_in(threads, || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let made = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, made));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, made)| made).collect()
}
