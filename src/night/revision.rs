//! The patches of a new revision of a change that is followed, in the place of those of the revision before.

use std::collections::BTreeSet;

use super::Site;
use super::draft::{Draft, fault};
use super::edit::file_of;
use super::task::{TaskError, find};
use crate::queue::{Patch, file_name};

/// The first line of its message.
pub(super) fn subject_of(patch: &Patch) -> String {
    let first = patch.header.message.split(|b| *b == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}

/// Puts the patches of a revision into the draft. One that was there keeps its file, and with it its line: by its subject,
/// or by its place where there are as many as before.
pub(super) fn put(
    site: &Site<'_>,
    draft: &mut Draft,
    made: Vec<(String, Vec<u8>)>,
    old: &[Patch],
    line: usize,
) -> Result<Vec<String>, TaskError> {
    let mut series = draft.queue.series.clone();
    let mut names: BTreeSet<String> = draft.queue.patches.iter().map(|p| file_of(&p.file)).collect();
    let mut left: Vec<Option<&Patch>> = old.iter().map(Some).collect();
    let subjects: Vec<String> = old.iter().map(subject_of).collect();
    let as_many = made.len() == old.len();
    let same_order = as_many && made.iter().zip(&subjects).filter(|((new, _), old)| new != *old).count() <= 1;
    let mut files: Vec<(Option<&Patch>, String, Vec<u8>)> = Vec::new();
    for (at, (subject, bytes)) in made.into_iter().enumerate() {
        let was = match same_order {
            true => Some(at),
            false => (0..old.len()).find(|n| left[*n].is_some() && subjects[*n] == subject),
        };
        let was = was.and_then(|n| left[n].take());
        let file = was.map_or_else(|| file_name(&subject, &names), |p| p.file.clone());
        names.insert(file_of(&file));
        files.push((was, file, bytes));
    }
    let position = |series: &crate::queue::Series, file: &str| series.entries().position(|e| e.file == file);
    let mut line = old.first().and_then(|p| position(&series, &p.file)).unwrap_or(line);
    for gone in left.into_iter().flatten() {
        if position(&series, &gone.file).is_some_and(|at| at < line) {
            line -= 1;
        }
        series.remove(&gone.file).map_err(|f| fault(site, f))?;
        draft.remove_patch(site, &gone.file);
    }
    let mut told = Vec::new();
    for (was, file, bytes) in files {
        let mut patch = Patch::parse(&file, bytes, was.map_or(1, |p| p.strip)).map_err(|f| fault(site, f))?;
        match was {
            Some(was) => {
                patch.hold.clone_from(&was.hold);
                // Where others stand between, they stay there as long as the order is as it was.
                match position(&series, &file) {
                    Some(at) if at >= line => line = at,
                    _ => series.relocate(&file, line.saturating_sub(1)).map_err(|f| fault(site, f))?,
                }
            }
            None => series.insert(&file, line).map_err(|f| fault(site, f))?,
        }
        line = position(&series, &file).map_or(line, |at| at + 1);
        told.push(patch.name().to_owned());
        draft.set_patch(site, patch);
    }
    draft.set_series(site, series);
    draft.sort();
    for name in &told {
        find(site, &draft.queue.patches, name)?;
    }
    Ok(told)
}
