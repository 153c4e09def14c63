//! How often upstream changed which file.

use std::collections::BTreeMap;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use crate::store::{Repo, StoreError};

/// How many commits of `from..to`, merges left aside, changed each path.
pub fn churn(repo: &Repo, from: &ObjectId, to: &ObjectId) -> Result<BTreeMap<BString, usize>, StoreError> {
    // A log takes no empty name for "no order" (our own setting of diffs).
    let call = repo.git().call([
        "-c",
        "diff.orderFile=/dev/null",
        "log",
        "--no-merges",
        "--no-renames",
        "--name-only",
        "-z",
        "--format=",
    ]);
    let out = call.arg(format!("{from}..{to}")).arg("--").output()?;
    let mut counts = BTreeMap::new();
    // A heading is empty, but git ends it: a line end may stand before a path.
    let paths = out.split_str("\0").map(|path| path.trim_start_with(|c| c == '\n')).filter(|p| !p.is_empty());
    for path in paths {
        *counts.entry(BString::from(path)).or_default() += 1;
    }
    Ok(counts)
}
