//! What conflicts on a trunk that has not moved, kept from run to run: the same steps on the same tree conflict again, and
//! to find that out is most of such a night. It is kept by all that the answer rests on, so it is never out of date; without
//! it, the queue is replayed.

use std::path::PathBuf;
use std::sync::Arc;

use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Site;
use super::settle::Answers;
use crate::replay::Conflict;
use crate::replay::sequence::{Placed, Replay, Role, Step};
use crate::store::{Objects as _, Odb, keep, kept};

/// What such a file begins with.
const HEADING: &[u8] = concat!("git-carry conflicts 1 ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// A replay that may be known.
pub(super) struct Again {
    file: PathBuf,
    /// Of all that it rests on.
    sum: [u8; 32],
}

/// What is kept of one.
#[derive(Serialize, Deserialize)]
struct Kept {
    sum: [u8; 32],
    left_out: Vec<LeftOut>,
}

/// A step that conflicts: its place, where it does, and what it misses.
#[derive(Serialize, Deserialize)]
struct LeftOut {
    at: usize,
    conflicts: Vec<Conflict>,
    needs: Vec<String>,
}

impl Again {
    /// The replay of `steps` on the tree `tip`. None where more bears on it than these: answers that were recorded, files that
    /// a command makes.
    pub fn of(
        site: &Site<'_>,
        odb: &Odb,
        answers: &Answers<'_>,
        steps: &[Step],
        tip: &ObjectId,
    ) -> Option<Self> {
        if !answers.recorded.is_empty() || !site.project.regenerate.is_empty() {
            return None;
        }
        let role = |step: &Step| match step.role {
            Role::Carry => 0_u8,
            Role::Held => 1,
            Role::Landed => 2,
        };
        let all: Vec<_> = steps.iter().map(|s| (&s.name, s.before, s.after, role(s))).collect();
        let rests_on = postcard::to_stdvec(&(format!("{:?}", odb.as_of()), tip, all)).ok()?;
        Some(Self { file: site.conflicts_file(), sum: Sha256::digest(rests_on).into() })
    }

    /// What it came to before: a step that did not conflict found the stack as its own base is.
    pub fn known(&self, steps: &[Step], tip: &ObjectId) -> Option<Replay> {
        let kept: Kept = postcard::from_bytes(&kept(&self.file, HEADING)?).ok()?;
        let mut left_out = kept.left_out.into_iter().filter(|_| kept.sum == self.sum).peekable();
        left_out.peek()?;
        let (mut tree, mut placed) = (*tip, Vec::with_capacity(steps.len()));
        for (at, step) in steps.iter().enumerate() {
            placed.push(match left_out.next_if(|left| left.at == at) {
                Some(LeftOut { conflicts, needs, .. }) if needs.is_empty() => Placed::Conflict(conflicts),
                Some(LeftOut { conflicts, needs, .. }) => Placed::Blocked { needs, conflicts },
                None if step.role != Role::Carry => Placed::Skipped,
                None if tree != step.before => return None,
                None => {
                    let (before, after) = (std::mem::replace(&mut tree, step.after), step.after);
                    let (both, changes) = (Some(Arc::default()), None);
                    Placed::Applied { before, after, as_it_is: true, both, changes, settled: None }
                }
            });
        }
        Some(Replay { placed, tree, marks: vec![0; steps.len()] })
    }

    /// Keeps what it came to, if nothing has moved and something conflicts. What cannot be kept is found out again.
    pub fn keep(&self, odb: &Odb, steps: &[Step], placed: &[Placed], tip: &ObjectId) {
        let mut tree = *tip;
        let mut left_out = Vec::new();
        for (at, (step, placed)) in steps.iter().zip(placed).enumerate() {
            let (conflicts, needs) = match placed {
                Placed::Conflict(conflicts) => (conflicts.clone(), Vec::new()),
                Placed::Blocked { needs, conflicts } => (conflicts.clone(), needs.clone()),
                Placed::Skipped if step.role != Role::Carry => continue,
                Placed::Applied { before, after, settled: None, .. }
                    if [*before, *after] == [step.before, step.after] && tree == *before =>
                {
                    tree = *after;
                    continue;
                }
                _ => return,
            };
            left_out.push(LeftOut { at, conflicts, needs });
        }
        // What the user's git does with a file is no part of what this is kept by.
        if !left_out.is_empty() && !odb.drivers().is_some_and(|drivers| drivers.were_asked()) {
            let _ = keep(&self.file, HEADING, &Kept { sum: self.sum, left_out });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::sequence::{Course, replay};
    use crate::store::Repo;
    use crate::store::tree::{Entry, edit};

    fn tree(odb: &Odb, files: &[(&str, &str)]) -> ObjectId {
        let blob = |text: &str| Entry {
            mode: 0o100644,
            id: odb.put_blob(text.as_bytes().to_vec(), None).expect("kept"),
        };
        let files: Vec<(&[u8], Option<Entry>)> =
            files.iter().map(|(path, text)| (path.as_bytes(), Some(blob(text)))).collect();
        edit(odb, None, &files).expect("kept").expect("no clash").expect("files")
    }

    #[test]
    fn a_replay_on_which_nothing_has_moved_comes_back_as_it_was_and_another_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::open_or_create(dir.path(), None, None).expect("a store");
        let odb = repo.odb().expect("it opens");
        let (tip, first) =
            (tree(&odb, &[("a", "trunk"), ("b", "b")]), tree(&odb, &[("a", "trunk"), ("b", "B")]));
        let second = tree(&odb, &[("a", "trunk"), ("b", "B"), ("c", "c")]);
        let old = ["old", "breaks", "misses"].map(|text| tree(&odb, &[("a", text), ("b", "b")]));
        let step = |name: &str, before, after, role| Step { name: name.into(), before, after, role };
        let steps = [
            step("first", tip, first, Role::Carry),
            step("breaks", old[0], old[1], Role::Carry),
            step("held", first, second, Role::Held),
            step("second", first, second, Role::Carry),
            step("misses", old[1], old[2], Role::Carry),
            step("landed", old[0], old[1], Role::Landed),
        ];
        odb.flush().expect("written");
        let replayed = |steps: &[Step], tip: &ObjectId| {
            replay(&odb, steps, tip, Vec::new(), &mut Course::default()).expect("read")
        };
        // What a step changes is told where it was looked at.
        let plain = |mut replay: Replay| {
            for placed in &mut replay.placed {
                if let Placed::Applied { changes, .. } = placed {
                    *changes = None;
                }
            }
            Replay { marks: Vec::new(), ..replay }
        };
        let found = replayed(&steps, &tip);
        assert!(
            matches!(&found.placed[1], Placed::Conflict(_))
                && matches!(&found.placed[4], Placed::Blocked { needs, .. } if needs == &["breaks"]),
            "{found:?}"
        );
        let again = |sum: u8| Again { file: dir.path().join("p.conflicts"), sum: [sum; 32] };
        assert!(again(1).known(&steps, &tip).is_none());
        again(1).keep(&odb, &steps, &found.placed, &tip);
        let known = again(1).known(&steps, &tip).expect("it was kept");
        assert_eq!(known.marks, [0; 6]);
        assert_eq!(plain(known), plain(found));
        assert!(again(2).known(&steps, &tip).is_none(), "of something else");
        assert!(again(1).known(&steps, &second).is_none(), "a step finds another stack");

        // Where trunk has moved it is another stack the next time, and where nothing conflicts there is nothing to know.
        let moved = tree(&odb, &[("a", "trunk"), ("b", "b"), ("d", "d")]);
        odb.flush().expect("written");
        std::fs::remove_file(dir.path().join("p.conflicts")).expect("it is there");
        again(1).keep(&odb, &steps, &replayed(&steps, &moved).placed, &moved);
        again(1).keep(&odb, &steps[..1], &replayed(&steps[..1], &tip).placed, &tip);
        assert!(!dir.path().join("p.conflicts").exists());
    }
}
