//! In: the stack, and upstream work that trunk has not taken in yet. Out: which of it, once merged, breaks which patch.
//! Never: a change of anything; a guess for work that does not merge with trunk itself.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use gix_hash::ObjectId;
use serde::Serialize;

use crate::graph::Graph;
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::replay::sequence::Step;
use crate::store::{Odb, Repo, Scratch, StoreError};
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
    let by_name: BTreeMap<&str, &Step> = steps.iter().map(|s| (s.name.as_str(), s)).collect();
    let mut by_path: BTreeMap<BString, BTreeSet<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        for change in delta::changes(odb, &step.before, &step.after)? {
            by_path.entry(change.path).or_default().insert(at);
        }
    }
    let mut outlooks = Vec::with_capacity(work.len());
    for Work { name, commit } in work {
        let content = odb.commit(commit)?;
        let effect = match repo.merge_base(base, commit)? {
            Some(common) if common == *commit => Effect::Landed,
            common => {
                let scratch = Scratch::over(odb);
                let from = match common {
                    Some(common) => odb.commit(&common)?.tree,
                    None => gix_hash::Kind::Sha1.empty_tree(),
                };
                match merge_trees(&scratch, &from, &trunk, &content.tree)? {
                    Merged::Conflicts(_) => Effect::ConflictsWithTrunk,
                    Merged::Clean(merged) => {
                        let changes = delta::changes(&scratch, &trunk, &merged)?;
                        let touched: BTreeSet<usize> =
                            changes.iter().filter_map(|c| by_path.get(&c.path)).flatten().copied().collect();
                        let touched = touched.into_iter().map(|at| steps[at].name.as_str());
                        broken(&scratch, &merged, touched, graph, &by_name)?
                    }
                }
            }
        };
        outlooks.push(Outlook {
            name: name.clone(),
            commit: commit.to_string(),
            subject: content.subject(),
            author: content.author.name.to_string(),
            effect,
        });
    }
    Ok(outlooks)
}

/// Which of the patches `touched` (in the queue's order) fail on `tree`, and who is blocked by that.
fn broken<'a>(
    scratch: &Scratch<'_>,
    tree: &ObjectId,
    touched: impl Iterator<Item = &'a str>,
    graph: &Graph,
    by_name: &BTreeMap<&str, &Step>,
) -> Result<Effect, StoreError> {
    let mut roots: Vec<String> = Vec::new();
    let mut blocked: BTreeSet<String> = BTreeSet::new();
    for patch in touched {
        if blocked.contains(patch) {
            continue;
        }
        let mut stack = *tree;
        for name in graph.closure(patch) {
            let Some(step) = by_name.get(name) else { continue };
            match merge_trees(scratch, &step.before, &stack, &step.after)? {
                Merged::Clean(next) => stack = next,
                Merged::Conflicts(_) => {
                    if name == patch {
                        roots.push(patch.to_owned());
                        blocked.extend(graph.dependents(patch).into_iter().map(str::to_owned));
                    }
                    break;
                }
            }
        }
    }
    if roots.is_empty() {
        return Ok(Effect::Harmless);
    }
    let in_order = graph.patches().into_iter().filter(|p| blocked.contains(*p)).map(str::to_owned);
    Ok(Effect::Breaks { patches: roots, blocked: in_order.collect() })
}
