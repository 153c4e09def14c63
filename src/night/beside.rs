//! Many projects at once, each on a thread, and what they say brought to the listener by one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use super::Events;

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
    let next = AtomicUsize::new(0);
    let mut ends: Vec<(usize, Option<T>)> = std::thread::scope(|threads| {
        let begin = |_| {
            let (to, next) = (to.clone(), &next);
            threads.spawn(move || {
                let mut ends = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(project) = projects.get(at) else { return ends };
                    let voice = Voice { project: project.clone(), to: to.clone() };
                    // Nothing of what it was at work on is used after a panic.
                    ends.push((at, catch_unwind(AssertUnwindSafe(|| work(project, &voice))).ok()));
                }
            })
        };
        let running: Vec<_> = (0..at_once.clamp(1, projects.len().max(1))).map(begin).collect();
        drop(to);
        // Ends when the last voice is gone.
        for said in from {
            match said {
                Said::Step(what) => events.step(&what),
                Said::Note(what) => events.note(&what),
            }
        }
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    ends.sort_by_key(|(at, _)| *at);
    ends.into_iter().map(|(_, end)| end).collect()
}
