//! What a run leaves of each patch: its file as it is, written anew, or gone.

use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::early::Early;
use super::outcome::PlannedPatch;
use super::{NightError, Site};
use crate::queue::{Patch, apply_to_tree, patch_id, same_change};
use crate::replay::Both;
use crate::replay::loss::Loss;
use crate::store::tree::entry_at;
use crate::store::{Objects, Odb, Scratch, StoreError, on_all_cores};
use crate::workspace::{Landed, Outcome};

/// One patch with what the run leaves of it.
pub(super) struct Left<'q> {
    pub planned: &'q PlannedPatch,
    pub patch: &'q Patch,
    /// Its file's new bytes, if it is written anew; and whether only line numbers and context changed.
    pub rewritten: Option<(Patch, bool)>,
    /// Does it leave the queue?
    pub dropped: bool,
    pub patch_id: Option<ObjectId>,
    /// Whether its new file still says what the old one said.
    pub loss: Option<Box<Loss>>,
}

/// Decides for each patch whether its file is written anew or goes. A file is written anew only when it does not
/// give its tree any more by a strict apply; the new one must. What is in memory is `written` before git looks at it.
pub(super) fn leave<'q>(
    site: &Site<'_>,
    odb: &Odb,
    (planned, patches): (&'q [PlannedPatch], &'q [Patch]),
    early: Early,
    written: &dyn Fn() -> Result<(), NightError>,
) -> Result<Vec<Left<'q>>, NightError> {
    let drop_landed = site.project.policy.landed == Landed::Drop;
    let mut left = Vec::with_capacity(planned.len());
    for (planned, patch) in planned.iter().zip(patches) {
        let dropped = planned.report.outcome == Outcome::Landed && drop_landed && !patch.metadata.required;
        // The text of a patch that applies as it is says its patch-id; else git makes the diff.
        let as_text = !written_anew(planned.report.outcome) || planned.applied.is_none();
        let patch_id = if as_text { patch.patch_id() } else { None };
        left.push(Left { planned, patch, rewritten: None, dropped, patch_id, loss: None });
    }
    let by_git = |l: &Left<'_>| l.planned.applied.filter(|_| l.patch_id.is_none());
    let mut diffs = early.answer();
    let pairs: Vec<(ObjectId, ObjectId)> =
        left.iter().filter_map(by_git).filter(|pair| !diffs.contains_key(pair)).collect();
    if !pairs.is_empty() {
        written()?;
        diffs.extend(pairs.iter().copied().zip(site.store.diffs(&pairs, 1)?));
    }
    // Of most there is nothing to find out.
    let with_diff =
        left.iter().enumerate().map(|(at, l)| (at, l, by_git(l).and_then(|pair| diffs.get(&pair))));
    let with_diff: Vec<(usize, &Left<'_>, Option<&Vec<u8>>)> =
        with_diff.filter(|(_, l, diff)| diff.is_some() || may_double(l)).collect();
    let anew = on_all_cores(odb, &with_diff, &|odb, (_, l, diff)| {
        let mut anew = match diff {
            Some(diff) => Anew::of(site, odb, l, diff)?,
            None => Anew::default(),
        };
        if may_double(l)
            && let (Some((stack, _)), Some((own, _))) = (l.planned.applied, l.planned.own)
        {
            note_doubled(odb, &mut anew.loss, l.patch, &own, &stack, l.planned.both.as_deref())?;
        }
        Ok::<_, NightError>(anew)
    });
    let places: Vec<usize> = with_diff.iter().map(|(at, ..)| *at).collect();
    for (at, anew) in places.into_iter().zip(anew) {
        let l = &mut left[at];
        let Anew { patch_id, rewritten, loss } = anew?;
        l.patch_id = l.patch_id.or(patch_id);
        l.rewritten = rewritten;
        l.loss = Some(loss).filter(|loss| !loss.is_none()).map(Box::new);
    }
    Ok(left)
}

/// Does it stand on other files than on its own base, so that they may have what it adds already?
fn may_double(l: &Left<'_>) -> bool {
    !l.planned.as_it_is && l.planned.applied.is_some() && l.planned.own.is_some()
}

/// What git's diff of a patch says of it.
#[derive(Default)]
struct Anew {
    patch_id: Option<ObjectId>,
    /// Its new file, if it has one, and whether only line numbers and context changed.
    rewritten: Option<(Patch, bool)>,
    loss: Loss,
}

impl Anew {
    fn of(site: &Site<'_>, odb: &Odb, l: &Left<'_>, diff: &[u8]) -> Result<Self, NightError> {
        let mut out = Self { patch_id: patch_id(diff), ..Self::default() };
        let Some((before, after)) = l.planned.applied else { return Ok(out) };
        if !written_anew(l.planned.report.outcome) || before == after {
            return Ok(out);
        }
        let written = if l.patch.strip == 1 {
            l.patch.with_diff(diff)
        } else {
            let again = site.store.diffs(&[(before, after)], l.patch.strip)?;
            l.patch.with_diff(again.first().map_or(&[][..], |d| d))
        };
        let broken = || NightError::RoundTrip { name: l.patch.name().to_owned() };
        let mut anew = Patch::parse(&l.patch.file, written, l.patch.strip).map_err(|_| broken())?;
        anew.hold = l.patch.hold.clone();
        if anew.header != l.patch.header
            || apply_to_tree(&Scratch::over(odb), &before, anew.changes()).map_err(|_| broken())? != after
        {
            return Err(broken());
        }
        let drift = same_change(l.patch.changes(), anew.changes());
        out.loss = Loss::between(l.patch.changes(), anew.changes());
        out.rewritten = Some((anew, drift));
        Ok(out)
    }
}

/// Is the file of a patch with this outcome written anew?
pub(super) fn written_anew(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Refreshed | Outcome::Resolved)
}

/// Looks for what the patch adds and what its files have already in `stack`, though not in its `own` base's tree. `both`
/// are the files that stand otherwise in the stack than on the base, where they are known.
fn note_doubled(
    odb: &Odb,
    loss: &mut Loss,
    patch: &Patch,
    own: &ObjectId,
    stack: &ObjectId,
    both: Option<&[Both]>,
) -> Result<(), NightError> {
    for change in patch.changes().iter().filter(|change| Loss::may_double(change)) {
        let Some(path) = &change.old_path else { continue };
        let at = |tree: &ObjectId| entry_at(odb, tree, path.as_bstr()).map_err(StoreError::from);
        let (base, ours) = match both {
            Some(both) => match both.iter().find(|file| file.path == *path) {
                Some(file) => (file.base, Some(file.ours)),
                None => continue,
            },
            None => (at(own)?, at(stack)?),
        };
        if let (Some(base), Some(ours)) = (base, ours)
            && base.id != ours.id
            && base.is_file()
            && ours.is_file()
        {
            let blob = |id: &ObjectId| odb.blob(id).map_err(StoreError::from);
            loss.note_doubled(change, || blob(&base.id), &blob(&ours.id)?)?;
        }
    }
    Ok(())
}
