//! Many projects at once: a thread for each, and what they say brought to the listener by one.

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

/// Runs `work` for each project, all at once, and gives what came of each, in the projects' order: nothing of one that
/// panicked, which stops no other.
pub fn beside<T: Send>(
    events: &dyn Events,
    projects: &[String],
    work: &(dyn Fn(&str, &dyn Events) -> T + Sync),
) -> Vec<Option<T>> {
    let (to, from) = channel();
    std::thread::scope(|threads| {
        let begin = |project: &String| {
            let voice = Voice { project: project.clone(), to: to.clone() };
            threads.spawn(move || work(&voice.project, &voice))
        };
        let running: Vec<_> = projects.iter().map(begin).collect();
        drop(to);
        // Ends when the last voice is gone.
        for said in from {
            match said {
                Said::Step(what) => events.step(&what),
                Said::Note(what) => events.note(&what),
            }
        }
        running.into_iter().map(|end| end.join().ok()).collect()
    })
}
