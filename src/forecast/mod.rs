//! In: the stack, and upstream work that trunk has not taken in yet. Out: which of it, once merged, breaks which patch.
//! Never: a change of anything; a guess for work that does not merge with trunk itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::BString;
use gix_hash::ObjectId;
use serde::Serialize;

use crate::graph::Graph;
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::replay::sequence::Step;
use crate::store::{Objects, Odb, Repo, Scratch, StoreError, cores};
use crate::trunk::delta;

/// One piece of upstream work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The ref's name at the upstream.
    pub name: String,
    /// Its commit.
    pub commit: ObjectId,
}

/// What is to be expected of one piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// The ref's name at the upstream.
    pub name: String,
    /// Its commit.
    pub commit: String,
    /// The first line of that commit's message.
    pub subject: String,
    /// Its author's name.
    pub author: String,
    /// What it will do.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What a piece of work will do to the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// Trunk has it already.
    Landed,
    /// Every patch still applies.
    Harmless,
    /// It does not merge with trunk as it stands, so nothing is known.
    ConflictsWithTrunk,
    /// These patches will not apply any more.
    Breaks {
        /// Those that will conflict with it.
        patches: Vec<String>,
        /// Those that will only fail for want of them.
        blocked: Vec<String>,
    },
}

/// Looks ahead: merges each piece of work into the trunk commit `base` in memory, and tries the patches whose paths it
/// touches, each with all that it needs. `steps` are the stack on `base`, in order; `graph` is theirs.
pub fn forecast(
    repo: &Repo,
    odb: &Odb,
    base: &ObjectId,
    steps: &[Step],
    graph: &Graph,
    work: &[Work],
) -> Result<Vec<Outlook>, StoreError> {
    let trunk = odb.commit(base)?.tree;
    let mut by_path: BTreeMap<BString, BTreeSet<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        for change in delta::changes(odb, &step.before, &step.after)? {
            by_path.entry(change.path).or_default().insert(at);
        }
    }
    // The patches' trees may be in memory still, where no other thread sees them.
    odb.flush()?;
    let ahead = Ahead { repo, base, trunk, steps, graph, by_path };
    // Each piece of work is a question of its own: all cores take the next one.
    let (next, threads) = (AtomicUsize::new(0), cores());
    let take = || -> Result<Vec<(usize, Outlook)>, StoreError> {
        let (odb, mut found) = (repo.odb()?, Vec::new());
        while let Some((at, work)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, work.get(at)?)))
        {
            found.push((at, ahead.look(&odb, work)?));
        }
        Ok(found)
    };
    let mut outlooks = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads.min(work.len())).map(|_| scope.spawn(take)).collect();
        let mut outlooks = Vec::with_capacity(work.len());
        for thread in all {
            outlooks.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, StoreError>(outlooks)
    })?;
    outlooks.sort_by_key(|(at, _)| *at);
    Ok(outlooks.into_iter().map(|(_, outlook)| outlook).collect())
}

/// What every piece of work is held against.
struct Ahead<'a> {
    repo: &'a Repo,
    base: &'a ObjectId,
    trunk: ObjectId,
    steps: &'a [Step],
    graph: &'a Graph,
    /// The steps that touch a path.
    by_path: BTreeMap<BString, BTreeSet<usize>>,
}

impl Ahead<'_> {
    fn look(&self, odb: &Odb, work: &Work) -> Result<Outlook, StoreError> {
        let Work { name, commit } = work;
        let content = odb.commit(commit)?;
        let effect = match self.repo.merge_base(self.base, commit)? {
            Some(common) if common == *commit => Effect::Landed,
            common => {
                let scratch = Scratch::over(odb);
                let from = match common {
                    Some(common) => odb.commit(&common)?.tree,
                    None => odb.hash().empty_tree(),
                };
                match merge_trees(&scratch, &from, &self.trunk, &content.tree)? {
                    Merged::Conflicts(_) => Effect::ConflictsWithTrunk,
                    Merged::Clean(merged) => self.effect(&scratch, &merged)?,
                }
            }
        };
        Ok(Outlook {
            name: name.clone(),
            commit: commit.to_string(),
            subject: content.subject(),
            author: content.author.name.to_string(),
            effect,
        })
    }

    /// Which patches fail on `tree`, the trunk with the work, and who is blocked by that. Only those whose paths the
    /// work touches can; they are put on it with all that they need, in the queue's order.
    fn effect(&self, scratch: &Scratch<'_>, tree: &ObjectId) -> Result<Effect, StoreError> {
        let changes = delta::changes(scratch, &self.trunk, tree)?;
        let touched: BTreeSet<usize> =
            changes.iter().filter_map(|c| self.by_path.get(&c.path)).flatten().copied().collect();
        let needed: BTreeSet<&str> =
            touched.into_iter().flat_map(|at| self.graph.closure(&self.steps[at].name)).collect();
        let mut roots: Vec<String> = Vec::new();
        let mut blocked: BTreeSet<&str> = BTreeSet::new();
        let mut stack = *tree;
        for step in self.steps.iter().filter(|s| needed.contains(s.name.as_str())) {
            if blocked.contains(step.name.as_str()) {
                continue;
            }
            match merge_trees(scratch, &step.before, &stack, &step.after)? {
                Merged::Clean(next) => stack = next,
                Merged::Conflicts(_) => {
                    roots.push(step.name.clone());
                    blocked.extend(self.graph.dependents(&step.name));
                }
            }
        }
        if roots.is_empty() {
            return Ok(Effect::Harmless);
        }
        let in_order = self.steps.iter().map(|s| &s.name).filter(|name| blocked.contains(name.as_str()));
        Ok(Effect::Breaks { patches: roots, blocked: in_order.cloned().collect() })
    }
}
