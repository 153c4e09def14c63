//! The culprit of every root conflict of a replay.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;

use super::NightError;
use crate::culprit::Search;
use crate::replay::ConflictKind;
use crate::replay::origins::{Known, needs};
use crate::replay::sequence::{Placed, Step};
use crate::store::{Odb, Repo};
use crate::trunk::{Range, delta};
use crate::workspace::Culprit;

/// What is behind the new root conflicts of a replay.
#[derive(Debug, Default)]
pub struct Causes {
    /// The culprit of each, by the patch's name.
    pub culprits: BTreeMap<String, Culprit>,
    /// The place, among the range's first parents, of the first commit that breaks any of them.
    pub first_break: Option<usize>,
}

/// The causes of the steps `roots`, which conflict with trunk. All steps stand on the range's start.
pub fn causes(
    repo: &Repo,
    odb: &Odb,
    range: &Range,
    steps: &[Step],
    placed: &[Placed],
    roots: &[usize],
) -> Result<Causes, NightError> {
    let mut found = Causes::default();
    let Some(last) = roots.iter().max() else { return Ok(found) };
    let needs = needs(odb, &steps[..=*last], &Known::default())?;
    let mut search = Search::new(repo, odb, range);
    for root in roots {
        let closure: Vec<&Step> = closure(&needs, *root).into_iter().map(|i| &steps[i]).collect();
        let mut watched: BTreeSet<BString> = BTreeSet::new();
        for step in &closure {
            watched.extend(delta::changes(odb, &step.before, &step.after)?.into_iter().map(|c| c.path));
        }
        if let Placed::Conflict(conflicts) = &placed[*root] {
            watched.extend(conflicts.iter().map(|c| c.path.clone()));
            // A renamed folder shows at none of the patch's own paths.
            if conflicts.iter().any(|c| c.kind == ConflictKind::DirectoryRename) {
                watched.clear();
            }
        }
        let watched: Vec<BString> = watched.into_iter().collect();
        if let Some((culprit, place)) = search.find(&closure, &watched)? {
            found.culprits.insert(steps[*root].name.clone(), culprit);
            found.first_break = Some(found.first_break.map_or(place, |first| first.min(place)));
        }
    }
    Ok(found)
}

/// A step with all that it needs, in the queue's order.
fn closure(needs: &[Vec<usize>], step: usize) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    let mut open = vec![step];
    while let Some(at) = open.pop() {
        if all.insert(at) {
            open.extend(&needs[at]);
        }
    }
    all
}
