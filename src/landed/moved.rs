//! What trunk moved between the two ends of the range, and a look at a patch by that: nothing of it can have come to trunk
//! where trunk left all its files alone, or shows few of its lines. Patches have nothing to do with each other here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bstr::BString;

use super::edits::Edit;
use super::lines::{Lines, per_cent};
use super::revised::plain;
use super::{Candidate, Evidence, reversed};
use crate::store::{Odb, StoreError};
use crate::trunk::delta::Change;
use crate::trunk::{Range, Upstream, delta};

/// In per cent: so much of a patch must trunk show at the range's end, or no commit is held against it for its lines. Half
/// of what a revised version shares at least: others may have changed it since.
pub(super) const SOME: u8 = 20;

/// What a look at a patch says of it.
pub(super) enum Look {
    /// Trunk has it.
    Settled(Evidence),
    /// Commits are to be held against it.
    Open,
    /// Nothing of it has come to trunk.
    Away,
}

/// What trunk moved.
pub(super) struct Moved<'r> {
    range: &'r Range,
    files: BTreeMap<BString, Change>,
    /// The subjects of the range's commits.
    titles: BTreeSet<String>,
    /// The lines that changed, of the files that were looked at.
    lines: Mutex<HashMap<BString, Arc<Lines>>>,
}

impl<'r> Moved<'r> {
    /// From where the range starts to the commit `tip` of it.
    pub fn of(odb: &Odb, range: &'r Range, tip: &Upstream) -> Result<Self, StoreError> {
        let first = range.first_parent.first().map_or(&range.commits[0], |at| &range.commits[*at]);
        let changes = delta::changes(odb, &first.before(odb)?, &tip.commit.tree)?;
        let files = changes.into_iter().map(|c| (c.path.clone(), c)).collect();
        let titles = range.commits.iter().map(|u| plain(&u.commit.subject())).collect();
        Ok(Self { range, files, titles, lines: Mutex::default() })
    }

    /// Looks at a patch.
    pub fn look(&self, odb: &Odb, patch: &Candidate<'_>) -> Result<Look, StoreError> {
        let moved: Vec<&Change> = patch.paths.iter().filter_map(|path| self.files.get(path)).collect();
        if moved.is_empty() {
            return Ok(Look::Away);
        }
        let edits = Edit::of_patch(odb, patch)?;
        match reversed::find(odb, patch, &edits, self.range)? {
            Some(evidence) if !patch.rejected.iter().any(|c| evidence.rests_on(c)) => {
                return Ok(Look::Settled(evidence));
            }
            _ if self.titles.contains(&plain(&patch.subject)) => return Ok(Look::Open),
            _ => {}
        }
        let own = Lines::of_edits(&edits);
        let trunk = moved.into_iter().map(|change| self.lines(odb, change)).collect::<Result<Vec<_>, _>>()?;
        let trunk: Vec<&Lines> = trunk.iter().map(Arc::as_ref).collect();
        let is_near = per_cent(own.shared_with_all(&trunk), own.total()) >= SOME;
        Ok(if is_near { Look::Open } else { Look::Away })
    }

    /// The lines of a file that changed. Several threads may read the same at once.
    fn lines(&self, odb: &Odb, change: &Change) -> Result<Arc<Lines>, StoreError> {
        let known = || self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = known().get(&change.path) {
            return Ok(lines.clone());
        }
        let lines = Arc::new(Lines::of_changes(odb, std::slice::from_ref(change))?);
        known().insert(change.path.clone(), lines.clone());
        Ok(lines)
    }
}
