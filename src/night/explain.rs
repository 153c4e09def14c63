//! What happened to a patch, with all that is known of its cause.

use std::collections::BTreeSet;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::{NightError, Site, recorded_manifest};
use crate::build::manifest::{ConflictRecord, Manifest, PatchRecord};
use crate::replay::content::{Region, regions};
use crate::replay::merge::{Attempt, attempt};
use crate::replay::{Conflict, ConflictKind, Message, MessageKind, content};
use crate::store::tree::Entry;
use crate::store::{Objects, Odb, Scratch};
use crate::workspace::{Outcome, PatchLock, ProjectLock};

/// A patch that is not in the stack, explained.
#[derive(Debug, Clone)]
pub struct Explained {
    /// What the last build's manifest says of it.
    pub record: PatchRecord,
    /// What was recorded of it.
    pub locked: PatchLock,
    /// Where it conflicts with the stack below it.
    pub conflicts: Vec<ExplainedConflict>,
    /// What is to be said of several paths at once: where each side moved a file, or a folder.
    pub told: Vec<String>,
    /// The patches that are blocked by it, near and far, in the queue's order.
    pub blocks: Vec<String>,
    /// Of a blocked patch: the root conflicts under it.
    pub roots: Vec<PatchRecord>,
    /// The other patches that the same upstream commit broke.
    pub cluster: Vec<String>,
    /// The lines that the patch and its revised upstream version change, as diffs without their places.
    pub versions: Option<[String; 2]>,
}

/// One path at which a patch conflicts.
#[derive(Debug, Clone)]
pub struct ExplainedConflict {
    /// The path.
    pub path: String,
    /// Where the file stood before, if one side moved it.
    pub from: Option<String>,
    /// What kind of conflict it is.
    pub kind: ConflictKind,
    /// The lines at which both sides meet; none where the conflict is not one of lines.
    pub regions: Vec<Region>,
}

/// Explains the patch `name`; none if no run has recorded it.
pub fn explain(site: &Site<'_>, name: &str) -> Result<Option<Explained>, NightError> {
    let Some(lock) = site.workspace.lock.projects.get(&site.project.name) else { return Ok(None) };
    let Some(manifest) = recorded_manifest(site, lock)? else { return Ok(None) };
    let record = manifest.patches.iter().find(|p| p.name == name).cloned();
    let locked = lock.patches.iter().find(|p| p.name == name).cloned();
    let (Some(record), Some(locked)) = (record, locked) else { return Ok(None) };
    let (conflicts, told) = match record.outcome {
        Outcome::Conflict | Outcome::Evolved => conflicts(site, lock, &record, &locked)?,
        _ => (Vec::new(), Vec::new()),
    };
    let culprit = |p: &PatchRecord| p.culprit.as_ref().map(|c| c.commit.clone());
    let same = |p: &&PatchRecord| p.name != name && culprit(p).is_some() && culprit(p) == culprit(&record);
    let cluster = manifest.patches.iter().filter(same).map(|p| p.name.clone()).collect();
    let (blocks, roots) = (blocks(&manifest, name), roots(&manifest, &record));
    let versions = versions(site, &record, &locked)?;
    Ok(Some(Explained { record, locked, conflicts, told, blocks, roots, cluster, versions }))
}

/// The diffs of a patch and of its revised upstream version, with what is only place in them taken out.
fn versions(
    site: &Site<'_>,
    record: &PatchRecord,
    locked: &PatchLock,
) -> Result<Option<[String; 2]>, NightError> {
    let (Some(evolved), Some(good)) = (&record.evolved, &locked.good) else { return Ok(None) };
    let odb = site.store.odb()?;
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| odb.has(id));
    let (Some(before), Some(after), Some(commit)) = (id(&good.before), id(&good.after), id(&evolved.commit))
    else {
        return Ok(None);
    };
    let commit = odb.commit(&commit)?;
    let Some(parent) = commit.parents.first() else { return Ok(None) };
    let pairs = [(before, after), (odb.commit(parent)?.tree, commit.tree)];
    let plain = |diff: &Vec<u8>| {
        let lines = diff.lines_with_terminator().filter(|l| !l.starts_with(b"index "));
        let line = |l: &[u8]| match l.strip_prefix(b"@@ ") {
            Some(_) => "@@\n".to_owned(),
            None => l.to_str_lossy().into_owned(),
        };
        lines.map(line).collect::<String>()
    };
    let diffs: Vec<String> = site.store.diffs(&pairs, 1)?.iter().map(plain).collect();
    Ok(<[String; 2]>::try_from(diffs).ok())
}

fn blocks(manifest: &Manifest, name: &str) -> Vec<String> {
    let mut missing = BTreeSet::from([name.to_owned()]);
    let mut found = Vec::new();
    // A patch only needs earlier ones, so one pass meets them all.
    for patch in &manifest.patches {
        if patch.needs.iter().any(|need| missing.contains(need)) {
            missing.insert(patch.name.clone());
            found.push(patch.name.clone());
        }
    }
    found
}

fn roots(manifest: &Manifest, record: &PatchRecord) -> Vec<PatchRecord> {
    let mut wanted: BTreeSet<&str> = record.needs.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for patch in manifest.patches.iter().rev().filter(|p| p.name != record.name) {
        if wanted.contains(patch.name.as_str()) {
            if patch.needs.is_empty() {
                found.push(patch.clone());
            }
            wanted.extend(patch.needs.iter().map(String::as_str));
        }
    }
    found.reverse();
    found
}

/// The conflicts of a patch with the stack as it is now.
fn conflicts(
    site: &Site<'_>,
    lock: &ProjectLock,
    record: &PatchRecord,
    locked: &PatchLock,
) -> Result<(Vec<ExplainedConflict>, Vec<String>), NightError> {
    let odb = site.store.odb()?;
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| odb.has(id));
    let own = locked.good.as_ref().and_then(|good| Some((id(&good.before)?, id(&good.after)?)));
    let below = lock.patches.iter().take_while(|p| p.name != locked.name);
    let below = below.filter_map(|p| p.tree.as_deref()).last().and_then(id);
    let base = id(&lock.base);
    let stack = match (below, base) {
        (Some(tree), _) => Some(tree),
        (None, Some(base)) => Some(odb.commit(&base)?.tree),
        (None, None) => None,
    };
    let plain = |c: &ConflictRecord| ExplainedConflict {
        path: c.path.clone(),
        from: c.from.clone(),
        kind: c.kind,
        regions: Vec::new(),
    };
    let (Some((before, after)), Some(stack)) = (own, stack) else {
        return Ok((record.conflicts.iter().map(plain).collect(), Vec::new()));
    };
    let mut all = Vec::new();
    let scratch = Scratch::over(&odb);
    let Attempt { conflicts, messages, .. } = attempt(&scratch, &before, &stack, &after)?;
    let by_patch = |path: &BString| conflicts.iter().any(|c| c.path == *path && c.sides.theirs.is_some());
    let told = messages.iter().filter_map(|message| in_words(message, &by_patch)).collect();
    for Conflict { path, from, kind, sides } in conflicts {
        let mut found = Vec::new();
        if matches!(kind, ConflictKind::Content | ConflictKind::AddAdd) {
            let (base, ours, theirs) =
                (text(&odb, sides.base)?, text(&odb, sides.ours)?, text(&odb, sides.theirs)?);
            found = regions(&base, &ours, &theirs);
        }
        let from = from.as_ref().map(ToString::to_string);
        all.push(ExplainedConflict { path: path.to_string(), from, kind, regions: found });
    }
    Ok((all, told))
}

/// What git says of several paths at once, in words; nothing where the paths' own lines say it.
fn in_words(message: &Message, by_patch: &dyn Fn(&BString) -> bool) -> Option<String> {
    use MessageKind as M;
    let (first, rest) = message.paths.split_first()?;
    let others = rest.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (one, other) = if by_patch(first) { ("the patch", "trunk") } else { ("trunk", "the patch") };
    Some(match message.kind {
        M::RenameRename => {
            format!("{first} was moved by trunk to {}, and by the patch to {}", rest.first()?, rest.get(1)?)
        }
        M::RenameDelete => format!("{others} was moved by {one} to {first}, and deleted by {other}"),
        M::RenameCollides => format!("{others} was moved to {first}, where there is another file"),
        M::FileDirectory => format!("{others} is a folder on the other side: the file stands at {first}"),
        M::DistinctModes => format!("{first} is of another type on each side: see {others}"),
        M::DirectoryRenameSuggested => {
            format!("{others} is in a folder that {other} moved: it may belong at {first}")
        }
        M::DirectoryRenameInWay => {
            format!("{others} is in a folder that the other side moved, but something stands at {first}")
        }
        M::DirectoryRenameCollision => {
            format!("{others} are in folders that the other side moved, all of them to {first}")
        }
        M::DirectoryRenameSplit => format!("the files of {first} went to several folders, to none the most"),
        M::Contents | M::Binary | M::ModifyDelete | M::SubmoduleNotInitialized => return None,
    })
}

/// A side's text; nothing where it is not there or is no text.
fn text(odb: &Odb, side: Option<Entry>) -> Result<Vec<u8>, NightError> {
    let Some(entry) = side.filter(Entry::is_file) else { return Ok(Vec::new()) };
    let data = odb.blob(&entry.id)?;
    Ok(if content::is_binary(&data) { Vec::new() } else { data.to_vec() })
}
