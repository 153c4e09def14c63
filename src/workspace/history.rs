//! `[project.X.history]`: how much of the past is kept.

use super::reader::{Reader, Table};

/// How much of the past is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many builds; none: all.
    pub builds: Option<usize>,
    /// Do old builds go at the deploy remote as well?
    pub remote: bool,
}

/// Reads a project's history.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Keep {
    let Some((table, at)) = r.table(table, "history") else { return Keep::default() };
    r.keys(table, &format!("{place}.history"), &["keep", "remote"]);
    let keep = Keep { builds: r.count(table, "keep"), remote: r.truth(table, "remote", false) };
    if keep.remote && keep.builds.is_none() {
        let hint = Some("write: keep = 90".into());
        r.fault(at, format!("'remote' in [{place}.history] says nothing without 'keep'"), hint);
    }
    keep
}
