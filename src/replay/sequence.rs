//! The replay of a queue: every patch in its order, never stopping, each with what became of it.

use std::sync::Arc;

use bstr::BString;
use gix_hash::ObjectId;

use super::ahead::{self, Merges};
use super::merge::merge_noting;
use super::misses::Misses;
use super::open::{Open, Put};
use super::{Both, Conflict, ConflictKind, Merged, Sides};
use crate::store::{ObjectError, Objects};
use crate::trunk::delta::Change;
use crate::trunk::differences::Differences;

/// A patch as the engine sees it: the trees before and after it in the stack on the recorded base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The patch's name.
    pub name: String,
    /// The tree it applies to.
    pub before: ObjectId,
    /// The tree it gives.
    pub after: ObjectId,
    /// Whether it goes on the stack.
    pub role: Role,
}

/// What a step is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It goes on the stack.
    Carry,
    /// The queue says to leave it out; what needs it is blocked.
    Held,
    /// Trunk has it; what needs it finds it there.
    Landed,
}

/// What became of one patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is in the stack. `before` and `after` are its trees there.
    Applied {
        /// The stack's tree before it.
        before: ObjectId,
        /// The stack's tree after it.
        after: ObjectId,
        /// Does it find each file that it changes just as on its own base?
        as_it_is: bool,
        /// The files that both changed, where the merge was a plain one.
        both: Option<Arc<[Both]>>,
        /// What it changed in the stack, where the merge was a plain one.
        changes: Option<Arc<[Change]>>,
        /// What settled its conflict, if it had one.
        settled: Option<String>,
    },
    /// It was not put on the stack, as its [`Role`] says.
    Skipped,
    /// It conflicts with trunk.
    Conflict(Vec<Conflict>),
    /// It conflicts, and did so on its own base as soon as the patches named here were left out.
    Blocked {
        /// The patches it needs that are not in the stack, in the queue's order; not those that one of these
        /// needs in turn.
        needs: Vec<String>,
        /// Where it conflicts.
        conflicts: Vec<Conflict>,
    },
}

/// The replay of a queue, or of its first steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// One outcome a step, in order.
    pub placed: Vec<Placed>,
    /// The final tree: trunk's, with all that applied.
    pub tree: ObjectId,
    /// How many new objects there were after each step that this replay made.
    pub marks: Vec<usize>,
}

/// What else can settle a conflict: an answer that was recorded, a command that makes a file anew.
pub trait Settle {
    /// The tree that comes of putting `step` on `stack` in spite of its conflicts, and what settled them.
    fn settle(
        &self,
        objects: &dyn Objects,
        step: &Step,
        stack: &ObjectId,
        conflicts: &[Conflict],
    ) -> Result<Option<(ObjectId, String)>, ObjectError>;

    /// The tree with the files `paths`, which a command makes, made anew in `merged`, and by which command.
    fn make_anew(
        &self,
        objects: &dyn Objects,
        step: &Step,
        merged: &ObjectId,
        paths: &[BString],
    ) -> Result<Option<(ObjectId, String)>, ObjectError>;
}

/// What bears on a replay besides its steps, and what stays of it for the time after, if it is to go on from an earlier step.
#[derive(Default)]
pub struct Course<'c> {
    differences: Option<&'c Differences>,
    settle: Option<&'c dyn Settle>,
    ends: Option<&'c dyn Fn(usize) -> bool>,
    /// What was merged ahead, and not asked for yet.
    ahead: Merges,
}

impl<'c> Course<'c> {
    /// What differs between some steps' trees, which need not be read for it.
    pub fn knowing(self, differences: &'c Differences) -> Self {
        Self { differences: Some(differences), ..self }
    }

    /// Who is asked at each conflict.
    pub fn settled_by(self, settle: Option<&'c dyn Settle>) -> Self {
        Self { settle, ..self }
    }

    /// It ends before the first step at whose place `ends` says so: it may turn out, while it goes on, to have begun wrong.
    pub fn until(self, ends: &'c dyn Fn(usize) -> bool) -> Self {
        Self { ends: Some(ends), ..self }
    }
}

/// Replays `steps` on the tree `tip`. A step that conflicts is left out and the rest go on without it. `known` are the
/// outcomes of the first steps, from a replay of the same on the same tree.
pub fn replay(
    objects: &dyn Objects,
    steps: &[Step],
    tip: &ObjectId,
    known: Vec<Placed>,
    course: &mut Course<'_>,
) -> Result<Replay, ObjectError> {
    let run = Run { objects, steps, settle: course.settle };
    std::thread::scope(|threads| {
        let mut misses = Misses::of(objects, steps, threads);
        let mut replay = run.go(tip, known, &mut misses, course)?;
        for (at, needs) in misses.end()?.into_iter().filter(|(_, needs)| !needs.is_empty()) {
            if let Placed::Conflict(conflicts) = &mut replay.placed[at] {
                let needs = needs.iter().map(|i| steps[*i].name.clone()).collect();
                replay.placed[at] = Placed::Blocked { needs, conflicts: std::mem::take(conflicts) };
            }
        }
        Ok(replay)
    })
}

/// A replay, with all that does not change on the way.
struct Run<'r> {
    objects: &'r dyn Objects,
    steps: &'r [Step],
    settle: Option<&'r dyn Settle>,
}

impl Run<'_> {
    /// Conflicts are told to `misses`; here, none is taken for blocked that was not known as such.
    fn go(
        &self,
        tip: &ObjectId,
        known: Vec<Placed>,
        misses: &mut Misses<'_, '_>,
        Course { differences, ends, ahead, .. }: &mut Course<'_>,
    ) -> Result<Replay, ObjectError> {
        let Self { objects, steps, .. } = *self;
        let nothing = Differences::default();
        let differences = differences.unwrap_or(&nothing);
        let mut tree = *tip;
        for (at, placed) in known.iter().enumerate() {
            match placed {
                Placed::Applied { after, .. } => tree = *after,
                Placed::Skipped if steps[at].role != Role::Held => {}
                Placed::Skipped | Placed::Conflict(_) => misses.left_out(at, Vec::new()),
                Placed::Blocked { needs, .. } => {
                    let places = steps[..at].iter().enumerate();
                    let needs = places.filter(|(_, s)| needs.contains(&s.name)).map(|(i, _)| i).collect();
                    misses.left_out(at, needs);
                }
            }
        }
        let mut placed = known;
        let mut marks = Vec::with_capacity(steps.len());
        let first = placed.len();
        // What the steps change, from the first on for which that is asked.
        let mut changes: Option<(usize, Vec<Option<ahead::Changes>>)> = None;
        // The stack as patches are put on it, and the place of the first whose trees are not known yet.
        let mut open: Option<(Open<'_>, usize)> = None;
        let mut looked = false;
        for (at, step) in steps.iter().enumerate().skip(first) {
            if ends.is_some_and(|ends| ends(at)) {
                break;
            }
            if step.role != Role::Carry {
                if step.role == Role::Held {
                    misses.left_out(at, Vec::new());
                }
                placed.push(Placed::Skipped);
                marks.push(objects.mark());
                continue;
            }
            if open.is_none() && tree == step.before {
                // The stack is as on the step's own base: on a night without a new trunk commit all the way.
                let (before, after) = (tree, step.after);
                let (both, changes) = (Some(Arc::default()), None);
                placed.push(Placed::Applied { before, after, as_it_is: true, both, changes, settled: None });
                marks.push(objects.mark());
                tree = after;
                continue;
            }
            let read = || (at, ahead::all_changes(objects, &steps[at..], differences));
            let (from, changes) = changes.get_or_insert_with(read);
            let place = at - *from;
            if open.is_none() {
                let mut opened = Open::of(objects, &tree, std::mem::take(ahead))?;
                if let Some(open) = opened.as_mut().filter(|_| !looked) {
                    open.look_ahead(&tree, &changes[place..])?;
                    looked = true;
                }
                open = opened.map(|open| (open, at));
            }
            if let Some((open, _)) = &mut open
                && let Some(Put { as_it_is, both, changes }) = open.put(step, changes[place].take())?
            {
                let (before, after, both) = (tree, tree, Some(both.into()));
                let changes = changes.map(Into::into);
                placed.push(Placed::Applied { before, after, as_it_is, both, changes, settled: None });
                marks.push(objects.mark());
                continue;
            }
            if let Some((open, from)) = &mut open {
                tree = take_in(objects, open, tree, &mut placed[*from..], &mut marks[*from - first..])?;
                *from = at;
            }
            let stack = tree;
            let became = self.merged(step, &mut tree)?;
            match &became {
                // What a command did not make anew misses nothing.
                Placed::Conflict(conflicts) if is_generated(conflicts) => misses.left_out(at, Vec::new()),
                Placed::Conflict(_) => misses.conflicts(at),
                _ => {}
            }
            placed.push(became);
            marks.push(objects.mark());
            match &mut open {
                Some((_, from)) if stack == tree => *from = at + 1,
                _ => *ahead = open.take().map(|(open, _)| open.close()).unwrap_or_default(),
            }
        }
        if let Some((open, from)) = open {
            tree = take_in(objects, &open, tree, &mut placed[from..], &mut marks[from - first..])?;
            *ahead = open.close();
        }
        Ok(Replay { placed, tree, marks })
    }

    /// A step that is not put on an open stack: git's own merge of it.
    fn merged(&self, step: &Step, tree: &mut ObjectId) -> Result<Placed, ObjectError> {
        let objects = self.objects;
        let applied = |before, after, as_it_is, settled| Placed::Applied {
            before,
            after,
            as_it_is,
            both: None,
            changes: None,
            settled,
        };
        Ok(match merge_noting(objects, &step.before, tree, &step.after)? {
            (Merged::Clean(after), notes) if notes.generated.is_empty() => {
                let before = std::mem::replace(tree, after);
                applied(before, after, notes.as_it_is, None)
            }
            (Merged::Clean(merged), notes) => {
                let made = match self.settle {
                    Some(settle) => settle.make_anew(objects, step, &merged, &notes.generated)?,
                    None => Some((merged, String::new())),
                };
                match made {
                    Some((after, by)) => applied(std::mem::replace(tree, after), after, false, Some(by)),
                    None => {
                        let sides = Sides { base: None, ours: None, theirs: None };
                        let kind = ConflictKind::Generated;
                        let conflict = |path| Conflict { path, from: None, kind, sides };
                        Placed::Conflict(notes.generated.into_iter().map(conflict).collect())
                    }
                }
            }
            (Merged::Conflicts(conflicts), _) => {
                let settled = match self.settle {
                    Some(settle) => settle.settle(objects, step, tree, &conflicts)?,
                    None => None,
                };
                match settled {
                    Some((after, by)) => applied(std::mem::replace(tree, after), after, false, Some(by)),
                    None => Placed::Conflict(conflicts),
                }
            }
        })
    }
}

/// Is all that was wrong that a command did not make a file anew?
fn is_generated(conflicts: &[Conflict]) -> bool {
    conflicts.first().is_some_and(|conflict| conflict.kind == ConflictKind::Generated)
}

/// Takes in the trees of the steps that were put on an open stack, and the marks after them; the stack's tree then.
fn take_in(
    objects: &dyn Objects,
    open: &Open<'_>,
    mut tree: ObjectId,
    placed: &mut [Placed],
    marks: &mut [usize],
) -> Result<ObjectId, ObjectError> {
    let grown = open.grown()?;
    let mut roots = grown.roots.into_iter();
    // The marks after the steps that were put on, the only ones that made something.
    let (mut of_put, mut places) = (Vec::new(), Vec::new());
    for (at, placed) in placed.iter_mut().enumerate() {
        if let Placed::Applied { before, after, .. } = placed
            && let Some(root) = roots.next()
        {
            (*before, *after) = (tree, root);
            tree = root;
            of_put.push(marks[at]);
            places.push(at);
        }
    }
    objects.adopt(grown.trees, &mut of_put)?;
    let mut known = places.into_iter().zip(of_put).peekable();
    let mut more = 0;
    for (at, mark) in marks.iter_mut().enumerate() {
        if let Some((_, now)) = known.next_if(|(place, _)| *place == at) {
            more = now - *mark;
        }
        *mark += more;
    }
    Ok(tree)
}
