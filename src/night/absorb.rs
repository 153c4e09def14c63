//! Changes made on top of the whole stack, given back to the patches that own the lines: a `fixup!` commit to the
//! patch that it names, a hunk to the last patch that touched its lines.

use std::collections::BTreeMap;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::draft::Draft;
use super::edit::{go, rewrite};
use super::resolve::id;
use super::task::{Open, Task, TaskError, end, find, whole_stack};
use super::{Done, Events, Night, Site};
use crate::queue::{ChangeKind, Content, FileChange, HunkLine, LineKind, parse_diff};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::tree::{Entry, edit, entry_at, write_empty};
use crate::store::{Objects, Odb, Repo};

/// What became of the changes.
pub struct Absorbed {
    /// The patches that took some, in the queue's order, with how many hunks each.
    pub took: Vec<(String, usize)>,
    /// What no patch owns, or could take.
    pub left: Vec<String>,
    /// The run; none if nothing was taken.
    pub night: Option<Night>,
}

/// One step on top of the stack: the trees before and after it, and the patch that it names.
struct Step {
    before: ObjectId,
    after: ObjectId,
    /// Where the lines before it come from.
    commit: ObjectId,
    named: Option<String>,
}

/// Takes in what was changed on top of the whole stack. `into` takes what nobody owns.
pub fn absorb(
    site: &Site<'_>,
    open: &Open,
    into: Option<&str>,
    events: &dyn Events,
) -> Result<Absorbed, TaskError> {
    site.preflight()?;
    let Task { below, tip, .. } = open.task.clone();
    let (stack_tip, base) = (id(&below)?, id(&tip)?);
    let finished = open.finished(&site.store.odb()?)?;
    let ground = whole_stack(site)?;
    let odb = &ground.odb;
    if ground.commit != stack_tip {
        let (patch, place) = ("the stack".to_owned(), open.work.path().to_owned());
        return Err(TaskError::Changed { patch, place });
    }
    let owners: BTreeMap<ObjectId, String> =
        ground.layers.iter().map(|l| (l.commit, l.name.clone())).collect();
    let mut now: BTreeMap<String, ObjectId> =
        ground.layers.iter().map(|l| (l.name.clone(), l.after)).collect();
    let mut draft = Draft::of(site, "")?;
    let mut took: BTreeMap<String, usize> = BTreeMap::new();
    let mut left = Vec::new();
    for step in steps(site, open, odb, &stack_tip, &finished)? {
        let parts = match &step.named {
            Some(subject) => {
                let named = draft.queue.patches.iter().find(|p| p.subject() == *subject);
                match named.filter(|p| now.contains_key(p.name())) {
                    Some(patch) => vec![(patch.name().to_owned(), step.after, 1)],
                    None => {
                        left.push(format!("no patch of the stack is called '{subject}'"));
                        continue;
                    }
                }
            }
            None => by_lines(site, odb, &step, &base, &owners, into, &mut left)?,
        };
        for (name, with, hunks) in parts {
            let Some(after) = now.get_mut(&name) else { continue };
            match merge_trees(odb, &step.before, after, &with)? {
                Merged::Clean(tree) => {
                    *after = tree;
                    *took.entry(name).or_insert(0) += hunks;
                }
                Merged::Conflicts(_) => {
                    left.push(format!(
                        "{name}: patches above it changed the same lines; give it to one of those"
                    ));
                }
            }
        }
    }
    odb.flush()?;
    let mut names = Vec::new();
    for layer in &ground.layers {
        if let Some(hunks) = took.get(&layer.name) {
            rewrite(site, &mut draft, odb, &layer.name, &layer.before, &now[&layer.name], None)?;
            names.push((layer.name.clone(), *hunks));
        }
    }
    if names.is_empty() {
        return Ok(Absorbed { took: names, left, night: None });
    }
    let all: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    draft.message = format!("carry: {}: edit {}\n", site.project.name, all.join(", "));
    let night = go(site, draft, events)?;
    if night.done != Done::Refused && left.is_empty() {
        end(site, open)?;
    }
    Ok(Absorbed { took: names, left, night: Some(night) })
}

/// The commits made on top of the stack, and what is not committed.
fn steps(
    site: &Site<'_>,
    open: &Open,
    odb: &Odb,
    stack_tip: &ObjectId,
    finished: &ObjectId,
) -> Result<Vec<Step>, TaskError> {
    let fresh = site.store.odb()?;
    let (mut at, mut before, mut steps) = (*stack_tip, odb.commit(stack_tip)?.tree, Vec::new());
    for made in site.store.range(Some(stack_tip), &open.work.head()?)? {
        let commit = fresh.commit(&made.id)?;
        let subject = commit.subject();
        let named = ["fixup! ", "squash! ", "amend! "].iter().find_map(|mark| subject.strip_prefix(mark));
        steps.push(Step { before, after: commit.tree, commit: at, named: named.map(str::to_owned) });
        (at, before) = (made.id, commit.tree);
    }
    if before != *finished {
        steps.push(Step { before, after: *finished, commit: at, named: None });
    }
    Ok(steps)
}

/// The tree of `step` with the hunks of each owner alone.
fn by_lines(
    site: &Site<'_>,
    odb: &Odb,
    step: &Step,
    base: &ObjectId,
    owners: &BTreeMap<ObjectId, String>,
    into: Option<&str>,
    left: &mut Vec<String>,
) -> Result<Vec<(String, ObjectId, usize)>, TaskError> {
    let into = match into {
        Some(name) => Some(find(site, &site.queue()?.patches, name)?.name().to_owned()),
        None => None,
    };
    // The user's new objects are not in the view that the stack was made with.
    let fresh = site.store.odb()?;
    let diffs = site.store.diffs(&[(step.before, step.after)], 1)?;
    let changes = parse_diff(b"the work tree", diffs.first().map_or(&[][..], |d| d), 1, 1)
        .map_err(|f| super::fault(site, f))?;
    // Per owner: the pieces of each file, as line ranges of the old file.
    let mut parts: BTreeMap<String, BTreeMap<BString, Vec<Piece>>> = BTreeMap::new();
    let mut whole: BTreeMap<String, Vec<(BString, Option<Entry>)>> = BTreeMap::new();
    for change in &changes {
        let path = change.path().clone();
        let (Content::Text(hunks), ChangeKind::Modify) = (&change.content, change.kind) else {
            match &into {
                Some(name) => {
                    for path in change.paths() {
                        let entry = entry_at(&fresh, &step.after, path.as_bstr())?;
                        whole.entry(name.clone()).or_default().push((path.clone(), entry));
                    }
                }
                None => left.push(format!("{path}: {}; name the patch with --into", kind_in_words(change))),
            }
            continue;
        };
        for piece in hunks.iter().flat_map(|h| pieces(h.old_start, &h.lines)) {
            let owner = owner(&site.store, base, &step.commit, &path, &piece, owners)?;
            match owner.or_else(|| into.clone()) {
                Some(name) => parts.entry(name).or_default().entry(path.clone()).or_default().push(piece),
                None => {
                    left.push(format!("{path}, line {}: no patch owns it; name one with --into", piece.start))
                }
            }
        }
    }
    let mut trees = Vec::new();
    let names: Vec<String> = parts.keys().chain(whole.keys()).cloned().collect();
    for name in names {
        let (mut edits, mut hunks) = (whole.remove(&name).unwrap_or_default(), 0);
        hunks += edits.len();
        for (path, pieces) in parts.remove(&name).unwrap_or_default() {
            let Some(entry) = entry_at(odb, &step.before, path.as_bstr())? else { continue };
            hunks += pieces.len();
            let data = put(&odb.blob(&entry.id)?, &pieces);
            let id = odb.put_blob(data, Some(&entry.id))?;
            edits.push((path, Some(Entry { mode: entry.mode, id })));
        }
        if edits.is_empty() {
            continue;
        }
        edits.sort_by(|a, b| a.0.cmp(&b.0));
        edits.dedup_by(|a, b| a.0 == b.0);
        let edits: Vec<(&[u8], Option<Entry>)> = edits.iter().map(|(p, e)| (p.as_slice(), *e)).collect();
        match edit(odb, Some(step.before), &edits)? {
            Ok(Some(tree)) => trees.push((name, tree, hunks)),
            Ok(None) => trees.push((name, write_empty(odb)?, hunks)),
            Err(path) => left.push(format!("{path}: a file and a folder of one name")),
        }
    }
    Ok(trees)
}

fn kind_in_words(change: &FileChange) -> &'static str {
    match change.kind {
        ChangeKind::Add => "a new file",
        ChangeKind::Delete => "the file is deleted",
        ChangeKind::Rename | ChangeKind::Copy => "the file is moved",
        ChangeKind::Modify => "a binary file",
    }
}

/// A run of lines of the old file, and what stands in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// The first line, from 1; with `len` 0 the line before which the new ones stand.
    start: usize,
    len: usize,
    new: Vec<BString>,
}

/// The runs of changed lines of a hunk, without its context.
fn pieces(start: usize, lines: &[HunkLine]) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    let (mut at, mut open) = (start, false);
    for line in lines {
        if line.kind == LineKind::Context {
            (at, open) = (at + 1, false);
            continue;
        }
        if !open {
            all.push(Piece { start: at, len: 0, new: Vec::new() });
            open = true;
        }
        let Some(piece) = all.last_mut() else { continue };
        if line.kind == LineKind::Remove {
            piece.len += 1;
            at += 1;
        } else {
            piece.new.push(line.bytes.clone());
        }
    }
    all
}

/// A file with some pieces put in their places; they are in its order.
fn put(old: &[u8], pieces: &[Piece]) -> Vec<u8> {
    let lines: Vec<&[u8]> = old.lines_with_terminator().collect();
    let (mut out, mut at) = (Vec::with_capacity(old.len()), 0);
    for piece in pieces {
        let start = (piece.start - 1).clamp(at, lines.len());
        out.extend(lines[at..start].concat());
        out.extend(piece.new.iter().flat_map(|l| l.iter().copied()));
        at = (start + piece.len).min(lines.len());
    }
    out.extend(lines[at..].concat());
    out
}

/// The last patch of the stack that touched the lines of a piece, or those beside it where it only adds.
fn owner(
    repo: &Repo,
    base: &ObjectId,
    commit: &ObjectId,
    path: &BString,
    piece: &Piece,
    owners: &BTreeMap<ObjectId, String>,
) -> Result<Option<String>, TaskError> {
    let (first, last) = match piece.len {
        0 => (piece.start.saturating_sub(1).max(1), piece.start),
        len => (piece.start, piece.start + len - 1),
    };
    let blamed = repo.blame(base, commit, path, first, last)?;
    // The stack is one line: the topmost owner has all the lines below it.
    let found = blamed.into_iter().filter(|id| owners.contains_key(id));
    let mut best: Option<ObjectId> = None;
    for id in found {
        best = match best {
            Some(known) if known != id && !repo.is_ancestor(&known, &id)? => Some(known),
            _ => Some(id),
        };
    }
    Ok(best.and_then(|id| owners.get(&id).cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stand_where_their_lines_stood() {
        let diff = b"--- a/f\n+++ b/f\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n+cc\n d\n-e\n";
        let changes = parse_diff(b"x", diff, 1, 1).expect("it is well formed");
        let Content::Text(hunks) = &changes[0].content else { panic!("text") };
        let all = pieces(hunks[0].old_start, &hunks[0].lines);
        let told: Vec<(usize, usize, usize)> = all.iter().map(|p| (p.start, p.len, p.new.len())).collect();
        assert_eq!(told, [(2, 1, 1), (4, 0, 1), (5, 1, 0)]);
        let old = b"a\nb\nc\nd\ne\n";
        assert_eq!(put(old, &all), b"a\nB\nc\ncc\nd\n");
        assert_eq!(put(old, &all[1..2]), b"a\nb\nc\ncc\nd\ne\n");
    }
}
