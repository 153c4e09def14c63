//! Identity by the diff: equal `git patch-id --stable`. Only commits that touch the very paths of a patch are tried.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;

use super::edits::Edit;
use super::lines::{STRETCH, hash};
use super::touches::Touches;
use super::{Candidate, Evidence, Rung, told};
use crate::queue::patch_id;
use crate::store::{Odb, Repo, StoreError, on_all_cores, stretches_on_all_cores};
use crate::trunk::Range;

/// The commits of the range that touch the very paths of open patches, with those patches.
pub(super) fn alike(
    odb: &Odb,
    patches: &[Candidate<'_>],
    open: &dyn Fn(&Candidate<'_>) -> bool,
    range: &Range,
    touches: &[Touches],
) -> Result<Vec<(usize, Vec<usize>)>, StoreError> {
    let mut by_paths: HashMap<&BTreeSet<BString>, Vec<usize>> = HashMap::with_capacity(patches.len());
    for (at, patch) in patches.iter().enumerate().filter(|(_, p)| !p.paths.is_empty() && open(p)) {
        by_paths.entry(&patch.paths).or_default().push(at);
    }
    let met: Vec<(&Touches, &Vec<usize>)> = touches
        .iter()
        .filter(|t| !t.touched.others)
        .filter_map(|t| Some((t, by_paths.get(&t.touched.paths)?)))
        .collect();
    let ours: Vec<usize> = met
        .iter()
        .flat_map(|(_, patches)| patches.iter().copied())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let own = |odb: &Odb, at: &usize| Ok::<_, StoreError>((*at, net(&Edit::of_patch(odb, &patches[*at])?)));
    let ours: HashMap<usize, Option<Net>> =
        on_all_cores(odb, &ours, &own).into_iter().collect::<Result<_, _>>()?;
    let look = |odb: &Odb, (Touches { at, before, .. }, patches): &(&Touches, &Vec<usize>)| {
        let theirs = net(&Edit::between(odb, before, &range.commits[*at].commit.tree)?);
        let is_same = |own: &Option<Net>| own.is_none() || theirs.is_none() || *own == theirs;
        let same = patches.iter().copied().filter(|at| ours.get(at).is_some_and(is_same)).collect();
        Ok::<(usize, Vec<usize>), StoreError>((*at, same))
    };
    let look = |odb: &Odb, stretch: &[(&Touches, &Vec<usize>)]| {
        stretch.iter().map(|met| look(odb, met)).collect::<Result<Vec<_>, _>>()
    };
    let mut alike = Vec::new();
    for found in stretches_on_all_cores(odb, &met, STRETCH, &look) {
        alike.extend(found?.into_iter().filter(|(_, same)| !same.is_empty()));
    }
    Ok(alike)
}

/// How often each line, known by a hash of what is not white space, comes by a change, less how often it goes.
type Net = HashMap<u64, i64>;

/// What a change adds to its files, and takes from them, whatever the place. Two diffs with one patch-id have the same,
/// however git cuts them and whatever it takes for a rename. None for a change of anything but text.
fn net(edits: &[Edit<'_>]) -> Option<Net> {
    let (mut net, mut text) = (Net::new(), Vec::new());
    for edit in edits {
        for (line, step) in edit.lines.as_ref()? {
            text.clear();
            text.extend(line.iter().filter(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')));
            *net.entry(hash(&text)).or_insert(0) += i64::from(*step);
        }
    }
    net.retain(|_, n| *n != 0);
    Some(net)
}

/// Which of them are the same change?
pub(super) fn compare(
    repo: &Repo,
    odb: &Odb,
    patches: &[Candidate<'_>],
    range: &Range,
    alike: &[(usize, Vec<usize>)],
) -> Result<BTreeMap<String, Evidence>, StoreError> {
    let mut found = BTreeMap::new();
    if alike.is_empty() {
        return Ok(found);
    }
    let ours: BTreeSet<usize> = alike.iter().flat_map(|(_, patches)| patches.iter().copied()).collect();
    let mut pairs: Vec<(ObjectId, ObjectId)> = ours.iter().map(|at| patches[*at].trees).collect();
    for (at, _) in alike {
        let upstream = &range.commits[*at];
        pairs.push((upstream.before(odb)?, upstream.commit.tree));
    }
    let mut ids = repo.diffs(&pairs, 1)?.into_iter().map(|diff| patch_id(&diff));
    let ours: BTreeMap<usize, Option<ObjectId>> = ours.into_iter().zip(ids.by_ref()).collect();
    for ((at, patches_alike), id) in alike.iter().zip(ids) {
        let Some(id) = id else { continue };
        for patch in patches_alike.iter().filter(|p| ours.get(p) == Some(&Some(id))) {
            let name = patches[*patch].name.to_owned();
            let upstream = &range.commits[*at];
            found.entry(name).or_insert_with(|| told(Rung::PatchId, upstream, id.to_string()));
        }
    }
    Ok(found)
}
