//! Folders that were renamed as a whole, and what the other side added to them: git takes that for a conflict and
//! suggests where each file belongs (`merge.directoryRenames=conflict`, its default).

use std::collections::BTreeSet;

use bstr::{BStr, BString, ByteSlice};
use foldhash::{HashMap, HashMapExt as _};

use super::pairs::moved;
use super::{BASE, Merge, MessageKind, OURS, Pair, PairKind, Path, SELF_RENAMES_MENDED, THEIRS, bit, parent};

/// A rename, and the side that made it.
#[derive(Debug, Clone)]
pub(super) struct Rename {
    pub from: BString,
    pub to: BString,
    pub side: usize,
}

/// The files that a folder's rename would put at one path.
#[derive(Debug, Default)]
struct Collision {
    sources: BTreeSet<BString>,
    told: bool,
}

type Collisions = HashMap<BString, Collision>;
type Folders = HashMap<BString, BString>;

impl Merge<'_> {
    /// Each folder that a side took away was renamed to where most of its files went, unless both sides did so.
    pub(super) fn rename_folders(&mut self) {
        for side in 0..2 {
            let mut split = Vec::new();
            let mut renamed = Folders::new();
            for (folder, counts) in &self.sides[side].counts {
                let Some(most) = counts.iter().map(|(_, count)| *count).max().filter(|most| *most > 0) else {
                    continue;
                };
                let mut best = counts.iter().filter(|(_, count)| **count == most);
                match (best.next(), best.next()) {
                    (Some((target, _)), None) => {
                        renamed.insert(folder.clone(), target.clone());
                    }
                    _ => split.push(folder.clone()),
                }
            }
            split.sort();
            for folder in split {
                self.tell(MessageKind::DirectoryRenameSplit, &[folder.as_bstr()]);
            }
            self.sides[side].folders = renamed;
        }
        let [ours, theirs] = &mut self.sides;
        let both: Vec<BString> =
            ours.folders.keys().filter(|f| theirs.folders.contains_key(*f)).cloned().collect();
        for folder in both {
            ours.folders.remove(&folder);
            theirs.folders.remove(&folder);
        }
    }

    /// The renames of both sides, with what the renames of folders add to them, by their old paths.
    pub(super) fn all_renames(&mut self) -> Vec<Rename> {
        let folders = [OURS, THEIRS].map(|side| self.sides[side - 1].folders.clone());
        let mut collisions = [OURS, THEIRS].map(|side| {
            let other = &folders[2 - side];
            let mut all = Collisions::new();
            for pair in self.sides[side - 1].pairs.iter().filter(|p| p.kind != PairKind::Deleted) {
                if let Some((folder, to)) = renamed_above(pair.to.as_bstr(), other) {
                    let target = moved(pair.to.as_bstr(), folder, to);
                    all.entry(target).or_default().sources.insert(pair.to.clone());
                }
            }
            all
        });
        let mut all = Vec::new();
        for side in [OURS, THEIRS] {
            let pairs = std::mem::take(&mut self.sides[side - 1].pairs);
            for pair in pairs.into_iter().filter(|p| p.kind != PairKind::Deleted) {
                let target = self.belongs_to(&pair, side, &folders, &mut collisions);
                match target {
                    Some(target) if self.suggest(&pair, target.clone()) => {
                        all.push(Rename { from: pair.from, to: target, side });
                    }
                    _ if pair.kind == PairKind::Renamed => {
                        all.push(Rename { from: pair.from, to: pair.to, side });
                    }
                    _ => {}
                }
            }
        }
        all.sort_by(|a, b| a.from.cmp(&b.from));
        all
    }

    /// Where the rename of a folder by the other side puts a file that `side` brought.
    fn belongs_to(
        &mut self,
        pair: &Pair,
        side: usize,
        folders: &[Folders; 2],
        collisions: &mut [Collisions; 2],
    ) -> Option<BString> {
        let (other, own) = (&folders[2 - side], &folders[side - 1]);
        if other.is_empty() || collisions[2 - side].contains_key(&pair.to) {
            return None;
        }
        let (folder, to) = renamed_above(pair.to.as_bstr(), other)?;
        // A folder that this side renamed itself is no place to go to.
        if own.contains_key(to.as_bytes().as_bstr()) {
            return None;
        }
        let target = moved(pair.to.as_bstr(), folder, to);
        let collision = collisions[side - 1].get_mut(&target)?;
        if collision.told {
            return None;
        }
        let there = self.paths.get(&target);
        let in_base = |p: &Path| p.files & bit(BASE) != 0 && pair.from != target;
        let in_way = there.is_some_and(|p| {
            p.clean
                || (p.files | p.folders) & bit(side) != 0
                || (self.as_of >= SELF_RENAMES_MENDED && in_base(p))
        });
        if !in_way && collision.sources.len() == 1 {
            return Some(target);
        }
        collision.told = true;
        let mut paths: Vec<&BStr> = vec![target.as_bstr()];
        paths.extend(collision.sources.iter().map(|s| s.as_bstr()));
        let kind =
            if in_way { MessageKind::DirectoryRenameInWay } else { MessageKind::DirectoryRenameCollision };
        self.tell(kind, &paths);
        None
    }

    /// Moves a path to where its folder went, and marks it as in doubt.
    fn suggest(&mut self, pair: &Pair, target: BString) -> bool {
        let Some(info) = self.paths.get_mut(&pair.to).filter(|p| !p.clean) else { return false };
        let moving = if info.folders == 0 {
            self.paths.swap_remove(&pair.to)
        } else {
            // A folder stood there on one side: it stays, the file goes.
            let file =
                Path { folders: 0, stages: info.stages.map(|s| s.filter(|e| !e.is_tree())), ..info.clone() };
            info.files = 0;
            info.clean = true;
            info.result = None;
            info.stages = info.stages.map(|s| s.filter(|e| e.is_tree()));
            Some(file)
        };
        let Some(mut moving) = moving else { return false };
        let mut folder = parent(target.as_bstr());
        let mut missing = Vec::new();
        while !folder.is_empty() && !self.paths.contains_key(folder.as_bytes().as_bstr()) {
            missing.push(folder.to_owned());
            folder = parent(folder);
        }
        for folder in missing {
            self.paths.insert(folder, Path { folders: moving.files, ..Path::default() });
        }
        let at = usize::from(moving.files >> 1).clamp(BASE, THEIRS);
        for from in &mut moving.from {
            from.get_or_insert_with(|| pair.to.clone());
        }
        moving.path_in_doubt = true;
        match self.paths.get_mut(&target) {
            None => {
                self.paths.insert(target.clone(), moving);
            }
            Some(there) => {
                there.files |= moving.files;
                there.meets_folder |= there.folders != 0;
                there.from[at] = moving.from[at].take();
                there.stages[at] = moving.stages[at];
                there.path_in_doubt = true;
            }
        }
        self.tell(MessageKind::DirectoryRenameSuggested, &[target.as_bstr(), pair.to.as_bstr()]);
        true
    }
}

/// The nearest renamed folder above a path, and what it was renamed to.
fn renamed_above<'f>(path: &BStr, folders: &'f Folders) -> Option<(&'f BStr, &'f BStr)> {
    let mut folder = parent(path);
    while !folder.is_empty() {
        if let Some((from, to)) = folders.get_key_value(folder.as_bytes().as_bstr()) {
            return Some((from.as_bstr(), to.as_bstr()));
        }
        folder = parent(folder);
    }
    None
}
