//! Is a patch's text still what its merge does? If it is, its file stays as it is.

use std::collections::BTreeSet;

use bstr::BString;
use gix_hash::ObjectId;

use crate::queue::{ChangeKind, Content, FileChange, Patch, apply, apply_to_tree};
use crate::replay::Both;
use crate::replay::prepare::{Prepared, Source};
use crate::replay::sequence::Placed;
use crate::store::{Objects as _, Odb, Scratch};

/// What a patch's text gives where it was put.
#[derive(Clone, Copy)]
pub(super) struct Given {
    /// The tree that it was put on.
    pub before: ObjectId,
    /// The tree then.
    pub after: ObjectId,
    /// Is it, applied strictly, what the merge gave?
    pub same: bool,
}

impl Given {
    /// Nothing for one that was not put there, or by another way.
    pub fn of(odb: &Odb, patch: &Patch, prepared: &Prepared, placed: &Placed) -> Option<Self> {
        let Placed::Applied { before, after, as_it_is, both, settled: None, .. } = placed else {
            return None;
        };
        let (before, after) = (*before, *after);
        let strictly =
            || apply_to_tree(&Scratch::over(odb), &before, patch.changes()).is_ok_and(|tree| tree == after);
        let known = || both.as_deref().and_then(|both| gives(odb, patch, prepared, both));
        let same = *as_it_is || known().unwrap_or_else(strictly);
        Some(Self { before, after, same })
    }
}

/// Does the patch's text, applied strictly, give what the merge gave? Only the files that both changed are looked
/// at: one that stands as on the patch's own base, or is not there as it was not there, takes the patch as it did
/// there. Not known for a text that does more to a file that both changed than to change it in its place.
fn gives(odb: &Odb, patch: &Patch, prepared: &Prepared, both: &[Both]) -> Option<bool> {
    let changes = patch.changes();
    let in_place = |c: &FileChange| {
        let moded = c.old_mode.is_some() && c.old_mode != c.new_mode && c.new_mode.is_some();
        c.kind == ChangeKind::Modify && c.old_path == c.new_path && !moded
    };
    // What the text gives rests on more than its paths, or it says less than the trees, or it comes back to a path.
    let other = |c: &FileChange| c.kind == ChangeKind::Copy || c.content == Content::BinaryOmitted;
    let touched = |c: &'_ FileChange| if c.old_path == c.new_path { 1 } else { c.paths().count() };
    let paths: BTreeSet<&BString> = changes.iter().flat_map(FileChange::paths).collect();
    let once = paths.len() == changes.iter().map(touched).sum::<usize>();
    let by_text = !matches!(prepared.trees, Ok((_, _, Source::Blobs)));
    if !by_text || !once || changes.iter().any(other) {
        return None;
    }
    for file in both {
        let change =
            changes.iter().find(|c| c.paths().any(|path| *path == file.path)).filter(|c| in_place(c))?;
        let (ours, merged) = (odb.blob(&file.ours.id).ok()?, odb.blob(&file.merged.id).ok()?);
        if file.ours.mode != file.merged.mode || !apply(change, &ours).is_ok_and(|made| made == *merged) {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::replay::sequence::{Course, Role, Step, replay};
    use crate::store::Repo;
    use crate::store::tree::{Entry, edit};

    type Files = BTreeMap<String, (u32, Vec<String>)>;

    fn base() -> Files {
        let lines = |path: &str| (0..24).map(|n| format!("{path} {n}\n")).collect();
        ["a", "b", "d/c", "d/e", "x/y"].map(|path| (path.to_owned(), (0o100644, lines(path)))).into()
    }

    /// Changes files: which, how, and where in it.
    fn changed(mut files: Files, by: &str, steps: &[(usize, u8, usize)]) -> Files {
        for (file, how, at) in steps {
            let Some(path) = files.keys().nth(*file % files.len()).cloned() else { continue };
            let (mode, mut lines) = files[&path].clone();
            let place = at % lines.len().max(1);
            match how {
                0 => drop(files.remove(&path)),
                1 => drop(files.insert(format!("d/{by}{at}"), (mode, vec![format!("{by} {at}\n")]))),
                2 => drop(files.remove(&path).and_then(|was| files.insert(format!("x/{by}{at}"), was))),
                3 => drop(files.insert(path, (mode ^ 0o111, lines))),
                4 => drop(files.insert(format!("copy{at}"), (mode, lines))),
                5 => {
                    lines.insert(place, format!("{by} {at}\n"));
                    files.insert(path, (mode, lines));
                }
                _ => {
                    lines.splice(place..(place + 1).min(lines.len()), [format!("{by} for {at}\n")]);
                    files.insert(path, (mode, lines));
                }
            }
        }
        files
    }

    fn tree(odb: &Odb, files: &Files) -> ObjectId {
        let blob = |(mode, lines): &(u32, Vec<String>)| {
            let id = odb.put_blob(lines.concat().into_bytes(), None).expect("it is kept");
            Entry { mode: *mode, id }
        };
        let edits: Vec<(&[u8], Option<Entry>)> =
            files.iter().map(|(path, file)| (path.as_bytes(), Some(blob(file)))).collect();
        edit(odb, None, &edits).expect("objects are kept").expect("no clash").expect("files")
    }

    #[test]
    fn what_is_known_of_a_text_is_what_a_strict_apply_says() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::open_or_create(dir.path(), None, None).expect("a store");
        let odb = repo.odb().expect("it opens");
        let mut runner = TestRunner::deterministic();
        let steps = |range| proptest::collection::vec((0_usize..9, 0_u8..9, 0_usize..24), range);
        let cases: Vec<[ObjectId; 3]> = (0..400)
            .map(|_| {
                let (ours, trunk) =
                    (steps(1..4), steps(0..6)).new_tree(&mut runner).expect("a case").current();
                [base(), changed(base(), "ours", &ours), changed(base(), "trunk", &trunk)]
                    .map(|f| tree(&odb, &f))
            })
            .collect();
        odb.flush().expect("it is written");
        let pairs: Vec<(ObjectId, ObjectId)> =
            cases.iter().map(|[before, after, _]| (*before, *after)).collect();
        let (mut same, mut other) = (0, 0);
        for ([before, after, tip], diff) in cases.iter().zip(repo.diffs(&pairs, 1).expect("git makes them")) {
            let text = [b"From: a <a@b>\nSubject: x\n\n---\n\n".as_slice(), &diff].concat();
            let patch = Patch::parse("x.patch", text, 1).expect("a patch");
            let prepared = Prepared { trees: Ok((*before, *after, Source::Applied)) };
            let step = Step { name: "x".into(), before: *before, after: *after, role: Role::Carry };
            let replayed = replay(&odb, &[step], tip, Vec::new(), &mut Course::default());
            let placed = &replayed.expect("objects are there").placed[0];
            let Some(given) = Given::of(&odb, &patch, &prepared, placed) else { continue };
            let strict = apply_to_tree(&Scratch::over(&odb), &given.before, patch.changes());
            let strict = strict.is_ok_and(|tree| tree == given.after);
            assert_eq!(given.same, strict, "{}", String::from_utf8_lossy(&diff));
            if strict { same += 1 } else { other += 1 }
        }
        assert!(same > 50 && other > 5, "{same} are the same, {other} are not");
    }
}
