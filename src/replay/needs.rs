//! What each patch of a stack needs: asked of its own base (`origins.rs`), with all that comes before it left out.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::ScopedJoinHandle;

use bstr::BString;
use foldhash::{HashMap, HashMapExt as _};
use petgraph::unionfind::UnionFind;

use super::origins::Origins;
use super::sequence::Step;
use crate::store::{ObjectError, Objects, Place, begin_in, cores};
use crate::trunk::delta::Change;

pub use super::origins::Known;

/// So many steps to ask about are worth threads.
const WORTH_A_THREAD: usize = 16;

/// What each step needs, in the queue's order: the earlier steps without which it does not apply on its own base; not
/// those that one of these needs in turn.
pub fn needs(
    objects: &dyn Objects,
    steps: &[Step],
    known: &Known<'_>,
) -> Result<Vec<Vec<usize>>, ObjectError> {
    let cores = cores();
    let open = (0..steps.len()).filter(|at| known.holds.get(*at) != Some(&true)).count();
    let shares = match known.paths.len() {
        paths if paths == steps.len() && open >= WORTH_A_THREAD => shares(known, cores),
        _ => Vec::new(),
    };
    let places: Option<Vec<Place>> = match objects.mark() {
        // Another thread sees what is written alone.
        0 if shares.len() > 1 => shares[1..].iter().map(|_| objects.place()).collect(),
        _ => None,
    };
    let Some(places) = places else {
        let all: Vec<usize> = (0..steps.len()).collect();
        return needs_of(objects, steps, known, &all);
    };
    let mut all = vec![Vec::new(); steps.len()];
    std::thread::scope(|threads| {
        let others: Vec<_> = places.into_iter().zip(&shares[1..]).collect();
        let others: Vec<_> = others
            .into_iter()
            .map(|(place, share)| begin_in(threads, move || needs_of(&place.open(), steps, known, share)))
            .collect();
        let first = needs_of(objects, steps, known, &shares[0]);
        let join = |share: ScopedJoinHandle<'_, _>| {
            share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let found = std::iter::once(first).chain(others.into_iter().map(join));
        for (found, share) in found.zip(&shares) {
            for (at, needs) in share.iter().zip(found?) {
                all[*at] = needs;
            }
        }
        Ok(all)
    })
}

/// What each of `roots` needs, and what each of these needs in turn, as [`needs`] has it. Others are not asked about.
/// `changes` is what differs between the trees of some steps.
pub fn needs_from(
    objects: &dyn Objects,
    steps: &[Step],
    changes: &[Option<&[Change]>],
    roots: &[usize],
) -> Result<BTreeMap<usize, Vec<usize>>, ObjectError> {
    let mut origins = Origins::given(objects, steps, changes);
    let (mut all, mut open) = (BTreeMap::new(), roots.to_vec());
    while let Some(at) = open.last().copied() {
        if all.contains_key(&at) {
            open.pop();
            continue;
        }
        let sharers = origins.sharers_read(at)?;
        match origins.missing_of(at, &sharers, sharers.clone())? {
            // Asked again when that is known: the merges are known by then.
            Err(unsettled) => open.push(unsettled),
            Ok(needs) => {
                let needs = origins.without_dispensable(needs, at)?;
                origins.leave_out(at, needs.clone());
                all.insert(at, needs);
            }
        }
    }
    Ok(all)
}

/// The steps in at most so many shares of about the same work, each in order. Steps that share a path, or of which each
/// shares one with a third, are in one.
fn shares(known: &Known<'_>, count: usize) -> Vec<Vec<usize>> {
    let mut groups = UnionFind::<usize>::new(known.paths.len());
    let mut first: HashMap<&BString, usize> = HashMap::new();
    for (at, paths) in known.paths.iter().enumerate() {
        for path in paths {
            groups.union(at, *first.entry(path).or_insert(at));
        }
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..known.paths.len() {
        members.entry(groups.find(at)).or_default().push(at);
    }
    // A step alone needs none, and costs nothing.
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    members.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut shares = vec![Vec::new(); count.max(1)];
    let mut work = vec![0; shares.len()];
    for group in members {
        let Some(least) = (0..shares.len()).min_by_key(|share| work[*share]) else { break };
        work[least] += group.len() * (group.len() - 1);
        shares[least].extend(group);
    }
    shares.retain(|share| !share.is_empty());
    shares.iter_mut().for_each(|share| share.sort_unstable());
    shares
}

/// The same for those of `which` (in order). No other step shares a path with them.
fn needs_of(
    objects: &dyn Objects,
    steps: &[Step],
    known: &Known<'_>,
    which: &[usize],
) -> Result<Vec<Vec<usize>>, ObjectError> {
    let mut origins = Origins::knowing(objects, steps, known, which);
    let is_all_known = known.paths.len() == steps.len();
    let mut all = Vec::with_capacity(which.len());
    // The steps that do not need what they needed, near or far.
    let mut moved: BTreeSet<usize> = BTreeSet::new();
    for at in which.iter().copied() {
        let before = known.needs.get(at).and_then(Option::as_ref);
        let meets = |paths: &Vec<&BString>| {
            origins.before(at, paths.iter().copied()).any(|step| moved.contains(&step))
        };
        let stays = known.holds.get(at) == Some(&true)
            && (moved.is_empty() || is_all_known && known.paths.get(at).is_some_and(|p| !meets(p)));
        if let Some(needs) = before.filter(|_| stays) {
            origins.leave_out(at, needs.clone());
            all.push(needs.clone());
            continue;
        }
        let needs = origins.missing(at)?;
        let needs = origins.without_dispensable(needs, at)?;
        if before != Some(&needs) || needs.iter().any(|need| moved.contains(need)) {
            moved.insert(at);
        }
        origins.leave_out(at, needs.clone());
        all.push(needs);
    }
    Ok(all)
}
