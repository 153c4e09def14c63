//! What people changed and what nights left on one queue, joined by git's own merge.

use std::collections::BTreeMap;

use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::FleetError;
use super::queue::{edited, file, lock_in, lock_text};
use crate::night::Site;
use crate::store::git::GitError;
use crate::store::tree::{Entry, entry_at};
use crate::store::{Objects as _, Odb};
use crate::workspace::{LOCK, ProjectLock};

/// Joins what nights left (`theirs`) and what people have (`ours`, a commit); `base` is what people had before.
pub(super) fn merge(
    site: &Site<'_>,
    odb: &Odb,
    theirs: &ObjectId,
    ours: &ObjectId,
    base: Option<&ObjectId>,
) -> Result<ObjectId, FleetError> {
    let diverged = |files: Vec<String>| FleetError::Diverged { project: site.project.name.clone(), files };
    let call = site.store.git().call(["merge-tree", "--write-tree", "--no-messages", "--name-only", "-z"]);
    let call = call.arg("--allow-unrelated-histories").args([theirs.to_string(), ours.to_string()]);
    let answer = call.answer()?;
    let mut parts = answer.stdout.split_str("\0").filter(|part| !part.is_empty());
    let tree = parts.next().and_then(|id| ObjectId::from_hex(id).ok());
    let (Some(tree), Some(0 | 1)) = (tree, answer.code) else {
        let error = GitError::Failed {
            command: "merge-tree".into(),
            code: answer.code,
            stderr: answer.stderr.trim().to_owned(),
        };
        return Err(error.into());
    };
    // It has written objects that this view does not know of yet.
    let odb = &odb_again(site, odb)?;
    let (left, right) = (odb.commit(theirs)?.tree, odb.commit(ours)?.tree);
    let mut edits = BTreeMap::new();
    let mut stuck = Vec::new();
    for path in parts {
        let both = (entry_at(odb, &left, path.as_bstr())?, entry_at(odb, &right, path.as_bstr())?);
        match both {
            // People's form of a patch wins: where it stood is told by its own lines, and it is replayed from there.
            (Some(_), Some(theirs)) if path.ends_with(b".patch") => {
                edits.insert(path.to_owned(), Some(theirs));
            }
            _ if path == LOCK.as_bytes() => {}
            _ => stuck.push(path.to_str_lossy().into_owned()),
        }
    }
    let project = &site.project.name;
    let base = base.map(|base| Ok::<_, FleetError>(odb.commit(base)?.tree)).transpose()?;
    let base = base.map(|tree| lock_in(odb, &tree, project)).transpose()?.flatten();
    match joined(base.as_ref(), lock_in(odb, &right, project)?, lock_in(odb, &left, project)?) {
        Some(Some(lock)) => {
            let id = odb.put_blob(lock_text(project, &lock)?, None)?;
            edits.insert(LOCK.as_bytes().to_owned(), Some(file(id)));
        }
        Some(None) => {
            edits.insert(LOCK.as_bytes().to_owned(), None);
        }
        None => stuck.push(LOCK.to_owned()),
    }
    if !stuck.is_empty() {
        return Err(diverged(stuck));
    }
    let edits: Vec<(&[u8], Option<Entry>)> = edits.iter().map(|(path, e)| (path.as_slice(), *e)).collect();
    let tree = edited(odb, Some(tree), &edits)?;
    odb.flush()?;
    Ok(tree)
}

fn odb_again(site: &Site<'_>, odb: &Odb) -> Result<Odb, FleetError> {
    odb.flush()?;
    Ok(site.store.odb()?)
}

/// The lock of a queue on which people (`ours`) and nights (`theirs`) went on from `base`. None, if both recorded a replay.
/// People's words on what may have landed go on with the nights' record.
fn joined(
    base: Option<&ProjectLock>,
    ours: Option<ProjectLock>,
    theirs: Option<ProjectLock>,
) -> Option<Option<ProjectLock>> {
    if ours.as_ref() == base {
        return Some(theirs);
    }
    if theirs.as_ref() == base {
        return Some(ours);
    }
    let (Some(base), Some(ours), Some(mut theirs)) = (base, ours, theirs) else { return None };
    let of = |lock: &ProjectLock, name: &str| lock.patches.iter().find(|p| p.name == name).cloned();
    let mut without_words = ours.clone();
    for patch in &mut without_words.patches {
        let Some(was) = of(base, &patch.name) else { continue };
        if was.proposed != patch.proposed {
            if let Some(there) = theirs.patches.iter_mut().find(|p| p.name == patch.name) {
                there.proposed.clone_from(&patch.proposed);
            }
            patch.proposed = was.proposed;
        }
    }
    (without_words == *base).then_some(Some(theirs))
}
