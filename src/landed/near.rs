//! The upstream commits that touch what patches touch, with the lines that they change: what the weak rungs look at.

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;

use super::Candidate;
use super::edits::Edit;
use super::lines::{Lines, STRETCH, per_cent};
use super::moved::SOME;
use super::revised::plain;
use super::touches::Touches;
use crate::store::{Odb, StoreError, stretches_on_all_cores};
use crate::trunk::delta::Change;
use crate::trunk::{Range, Upstream, delta};

/// An upstream commit, and the patches with which it shares a path.
pub(super) struct Near<'a> {
    /// The commit.
    pub upstream: &'a Upstream,
    /// What it changes.
    pub lines: Lines,
    /// The places of the patches.
    pub patches: Vec<usize>,
}

/// The commits of `touches` that are near one of `patches`, in their order, and the patches' own lines. A commit that was
/// rejected for a patch is not near it.
pub(super) fn near<'a>(
    odb: &Odb,
    patches: &[&Candidate<'_>],
    range: &'a Range,
    touches: &[Touches],
) -> Result<(Vec<Near<'a>>, Vec<Lines>), StoreError> {
    let mut by_path: BTreeMap<&BString, Vec<usize>> = BTreeMap::new();
    for (at, patch) in patches.iter().enumerate() {
        patch.paths.iter().for_each(|path| by_path.entry(path).or_default().push(at));
    }
    if by_path.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    // How many of a patch's lines a commit can share at most, by the paths that it touches.
    let mut own = Vec::with_capacity(patches.len());
    let mut by_place: Vec<BTreeMap<BString, u32>> = Vec::with_capacity(patches.len());
    for patch in patches {
        let edits = Edit::of_patch(odb, patch)?;
        let total =
            |edit: &Edit<'_>| (edit.path.clone(), Lines::of_edits(std::slice::from_ref(edit)).total());
        by_place.push(edits.iter().map(total).collect());
        own.push(Lines::of_edits(&edits));
    }
    let subjects: Vec<String> = patches.iter().map(|p| plain(&p.subject)).collect();
    let look = |odb: &Odb, Touches { at, before, touched }: &Touches| {
        let touched: Vec<&BString> = touched.paths.iter().filter(|path| by_path.contains_key(path)).collect();
        let upstream = &range.commits[*at];
        if touched.is_empty() || upstream.commit.parents.is_empty() {
            return Ok(None);
        }
        let (id, title) = (upstream.id.to_string(), plain(&upstream.commit.subject()));
        let can = |at: &usize| {
            let most: u32 = touched.iter().filter_map(|path| by_place[*at].get(*path)).sum();
            subjects[*at] == title || per_cent(most, own[*at].total()) >= SOME
        };
        let of = touched.iter().filter_map(|path| by_path.get(path)).flatten().copied();
        let of: BTreeSet<usize> = of.filter(|at| !patches[*at].rejected.contains(&id) && can(at)).collect();
        if of.is_empty() {
            return Ok(None);
        }
        // Most that touch a busy file have no line in common with the patch: what else they change is not read.
        let changes = delta::changes(odb, before, &upstream.commit.tree)?;
        let (here, elsewhere): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| touched.contains(&&change.path));
        let lines = Lines::of_changes(odb, &here)?;
        if !of.iter().any(|at| subjects[*at] == title || own[*at].shared(&lines) > 0) {
            return Ok(None);
        }
        let lines = lines.and(Lines::of_changes(odb, &elsewhere)?);
        Ok::<_, StoreError>(Some(Near { upstream, lines, patches: of.into_iter().collect() }))
    };
    let look = |odb: &Odb, stretch: &[Touches]| -> Result<Vec<Near<'a>>, StoreError> {
        stretch.iter().filter_map(|touches| look(odb, touches).transpose()).collect()
    };
    let mut out = Vec::new();
    for found in stretches_on_all_cores(odb, touches, STRETCH, &look) {
        out.extend(found?);
    }
    Ok((out, own))
}
