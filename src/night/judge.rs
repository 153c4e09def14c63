//! What became of one patch: the word for it, and what a person should know.

use gix_hash::ObjectId;

use super::NightError;
use super::evidence::rejected;
use super::given::Given;
use super::outcome::PatchReport;
use super::settle::Answers;
use crate::build::manifest::ConflictRecord;
use crate::landed::{self, Evidence};
use crate::queue::Patch;
use crate::replay::Conflict;
use crate::replay::prepare::{Prepared, Source};
use crate::replay::sequence::Placed;
use crate::store::Odb;
use crate::trunk::Range;
use crate::workspace::{Outcome, PatchLock};

/// All that bears on one patch.
pub(super) struct Context<'a> {
    pub odb: &'a Odb,
    pub range: &'a Range,
    pub patch: &'a Patch,
    pub prepared: &'a Prepared,
    pub answers: &'a Answers<'a>,
    pub given: Option<Given>,
    pub was: Option<&'a PatchLock>,
}

/// What to tell of a patch, and the stack's trees before and after it, if it is there.
type Judged = (PatchReport, Option<(ObjectId, ObjectId)>);

impl Context<'_> {
    /// Decides on a patch that was placed so, or not at all.
    pub fn judge(
        &self,
        mut report: PatchReport,
        placed: Option<Placed>,
        evidence: Option<&Evidence>,
    ) -> Result<Judged, NightError> {
        let mut applied = None;
        match placed {
            _ if self.patch.hold.is_some() => {
                report.outcome = Outcome::Held;
                report.note = self.patch.hold.clone().filter(|why| !why.is_empty());
            }
            Some(Placed::Skipped) => {
                report.outcome = Outcome::Landed;
                report.evidence = evidence.cloned().map(Box::new);
                if evidence.is_none() {
                    report.note = Some("landed on an earlier night, and kept in the queue".into());
                }
            }
            Some(Placed::Applied { before, after, settled: Some(by), .. }) => {
                report.resolution = self.answers.used(self.patch.name(), &by).map(Box::new);
                report.outcome = Outcome::Resolved;
                if report.resolution.is_none() {
                    report.outcome = Outcome::Refreshed;
                    report.note = Some(format!("made anew by: {by}"));
                }
                applied = Some((before, after));
            }
            Some(placed @ Placed::Applied { before, after, settled: None, .. }) => {
                // What comes after a patch that trunk has may stand on something else than it did at first.
                let given = self.given.filter(|given| (given.before, given.after) == (before, after));
                let given = given.or_else(|| Given::of(self.odb, self.patch, self.prepared, &placed));
                let same = given.is_some_and(|given| given.same);
                applied = self.applied(&mut report, before, after, same)?;
            }
            Some(Placed::Conflict(conflicts)) => {
                report.outcome = Outcome::Conflict;
                report.conflicts = records(&conflicts);
                report.note = self.answers.note(self.patch.name());
            }
            Some(Placed::Blocked { needs, conflicts }) => {
                report.outcome = Outcome::Blocked;
                report.needs = needs;
                report.conflicts = records(&conflicts);
            }
            None => {
                report.outcome = Outcome::Conflict;
                let why = self.prepared.trees.as_ref().err().map(ToString::to_string).unwrap_or_default();
                report.note = Some(format!("it does not apply to the recorded base: {why}"));
            }
        }
        Ok((report, applied))
    }

    /// A patch that applied: as it is, refreshed, or with nothing left of it.
    fn applied(
        &self,
        report: &mut PatchReport,
        before: ObjectId,
        after: ObjectId,
        same: bool,
    ) -> Result<Option<(ObjectId, ObjectId)>, NightError> {
        let own = self.prepared.trees.as_ref().ok();
        let was_empty = own.is_none_or(|(before, after, _)| before == after);
        if before == after && !was_empty {
            let own = own.map(|(before, after, _)| (*before, *after));
            if let Some(own) = own
                && let Some(evidence) = landed::emptied(self.odb, &own, self.range)?
                && !rejected(self.was).iter().any(|c| evidence.rests_on(c))
            {
                report.outcome = Outcome::Landed;
                report.evidence = Some(evidence.into());
                return Ok(None);
            }
            report.outcome = Outcome::Refreshed;
            report.note = Some("it changes nothing any more, and no upstream commit explains it".into());
            return Ok(Some((before, after)));
        }
        report.outcome = if same { Outcome::Clean } else { Outcome::Refreshed };
        if let Some(note) = self.patch.note_of_omitted() {
            report.note = Some(note);
        }
        if own.is_some_and(|(_, _, source)| *source == Source::Blobs) {
            report.note =
                Some("it did not apply to the recorded base; the blobs of its index lines were used".into());
        }
        Ok(Some((before, after)))
    }
}

fn records(conflicts: &[Conflict]) -> Vec<ConflictRecord> {
    let record = |c: &Conflict| ConflictRecord {
        path: c.path.to_string(),
        from: c.from.as_ref().map(ToString::to_string),
        kind: c.kind,
    };
    conflicts.iter().map(record).collect()
}
