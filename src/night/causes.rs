//! The culprit of every root conflict of a replay.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;

use super::NightError;
use crate::culprit::Search;
use crate::replay::ConflictKind;
use crate::replay::needs::needs_from;
use crate::replay::sequence::{Placed, Step};
use crate::store::{Objects as _, Odb, Place, Repo, StoreError, cores, long_on_all_cores};
use crate::trunk::Range;
use crate::trunk::delta::{self, Change};
use crate::trunk::differences::Differences;
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
    differences: &Differences,
) -> Result<Causes, NightError> {
    let mut found = Causes::default();
    if roots.is_empty() {
        return Ok(found);
    }
    let changes: Vec<Option<&[Change]>> =
        steps.iter().map(|step| differences.get(&step.before, &step.after)).collect();
    let needs = needs_from(odb, steps, &changes, roots)?;
    let cause =
        |odb: &Odb, search: &mut Search<'_>, root: usize| -> Result<Option<(Culprit, usize)>, StoreError> {
            let closure: Vec<&Step> = closure(&needs, root).into_iter().map(|i| &steps[i]).collect();
            let mut watched: BTreeSet<BString> = BTreeSet::new();
            for step in &closure {
                watched.extend(delta::changes(odb, &step.before, &step.after)?.into_iter().map(|c| c.path));
            }
            if let Placed::Conflict(conflicts) = &placed[root] {
                watched.extend(conflicts.iter().map(|c| c.path.clone()));
                // A renamed folder shows at none of the patch's own paths.
                if conflicts.iter().any(|c| c.kind == ConflictKind::DirectoryRename) {
                    watched.clear();
                }
            }
            let watched: Vec<BString> = watched.into_iter().collect();
            search.find(&closure, &watched)
        };
    // Roots have nothing to do with each other; but what a search learns of the range serves the next one.
    let cores = cores().min(roots.len());
    let shares: Vec<Vec<usize>> =
        (0..cores).map(|n| roots.iter().skip(n).step_by(cores).copied().collect()).collect();
    let causes = |odb: &Odb, share: &Vec<usize>| {
        let mut search = Search::new(repo, odb, range);
        share
            .iter()
            .map(|root| Ok((*root, cause(odb, &mut search, *root)?)))
            .collect::<Result<Vec<_>, StoreError>>()
    };
    // What was made by the replay is not asked for: trunk and the steps on their own base are.
    let written = odb.place().map(Place::open);
    let written = written.as_ref().unwrap_or(odb);
    for of_share in long_on_all_cores(written, &shares, &causes) {
        for (root, (culprit, place)) in of_share?.into_iter().filter_map(|(root, cause)| Some((root, cause?)))
        {
            found.culprits.insert(steps[root].name.clone(), culprit);
            found.first_break = Some(found.first_break.map_or(place, |first| first.min(place)));
        }
    }
    Ok(found)
}

/// A step with all that it needs, in the queue's order.
fn closure(needs: &BTreeMap<usize, Vec<usize>>, step: usize) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    let mut open = vec![step];
    while let Some(at) = open.pop() {
        if all.insert(at) {
            open.extend(needs.get(&at).into_iter().flatten());
        }
    }
    all
}
