//! The walk over three trees: every path at which they differ, and what each side took away and brought.
//!
//! A folder that one side left alone is put off: it can hold only what the other side brought, and that matters only
//! if a file is looked for. Whether a folder's whereabouts matter is carried down the walk in a mask: nothing, the side
//! that still has a folder which the other took away, or (`SOUGHT`) that this side added something to it.

use std::cmp::Ordering;

use bstr::{BStr, BString, ByteSlice};
use gix_hash::ObjectId;

use super::{
    BASE, FOLDER_TO_FILE_MENDED, Merge, OURS, Pair, PairKind, Path, Removed, Side, THEIRS, Why, bit, join,
};
use crate::store::ObjectError;
use crate::store::tree::{Entry, RawTree};

/// The mask where the whereabouts of the folder at hand matter.
const SOUGHT: u8 = 7;
/// A walk that came upon this many times more paths in folders put off is done again, once renames are known.
const MUCH_MORE: usize = 3;

type Stages = [Option<Entry>; 3];

impl Side {
    /// Notes what became of the files that were looked for, for a second round.
    pub(super) fn know_renames(&mut self) {
        for pair in &self.pairs {
            match (self.sources.get(&pair.from), pair.kind) {
                (Some(Why::NoMore), _) => {
                    self.irrelevant.insert(pair.from.clone());
                }
                (Some(_), PairKind::Deleted) => {
                    self.known.insert(pair.from.clone(), None);
                }
                (Some(_), PairKind::Renamed) => {
                    self.known.insert(pair.from.clone(), Some(pair.to.clone()));
                    self.known_targets.insert(pair.to.clone());
                }
                _ => {}
            }
        }
    }
}

impl Merge<'_> {
    /// Walks the trees. Did it read many folders only to look for renames, so that it is better done again?
    pub(super) fn collect(&mut self, roots: [Option<ObjectId>; 3]) -> Result<bool, ObjectError> {
        for side in &mut self.sides {
            side.may_put_off = true;
        }
        self.level("".into(), roots, 0)?;
        self.put_off_folders()
    }

    /// One folder.
    fn level(
        &mut self,
        folder: &BStr,
        trees: [Option<ObjectId>; 3],
        mut mask: u8,
    ) -> Result<(), ObjectError> {
        let read = |id: &Option<ObjectId>| RawTree::read(self.objects, id.as_ref());
        let trees = (read(&trees[BASE])?, read(&trees[OURS])?, read(&trees[THEIRS])?);
        let lists = [trees.0.entries()?, trees.1.entries()?, trees.2.entries()?];
        let names = by_name(lists);
        self.paths.reserve(names.len());
        if mask != 0 && mask != SOUGHT {
            for (_, stages) in &names {
                let (files, _) = masks(stages);
                if files != 0 && files == mask {
                    mask = SOUGHT;
                }
            }
        }
        for (name, stages) in names {
            self.name(folder, name, stages, &mut mask)?;
        }
        Ok(())
    }

    /// One name in a folder.
    fn name(&mut self, folder: &BStr, name: &BStr, stages: Stages, mask: &mut u8) -> Result<(), ObjectError> {
        let (files, folders) = masks(&stages);
        let mut equal = equal(&stages);
        let path = join(folder, name);
        let [_, ours, theirs] = stages;
        let settled = match equal {
            7 => Some(stages[BASE]),
            3 if files == 7 => Some(theirs),
            5 | 6 if files == 7 => Some(ours),
            _ => None,
        };
        if let Some(result) = settled {
            let path_info = Path { stages, files, folders, clean: true, result, ..Path::default() };
            self.paths.insert(path, path_info);
            return Ok(());
        }
        let above = *mask;
        self.note_renames(folder, &path, &stages, equal, mask);
        let mut put_off = None;
        if folders != 0 {
            let mut side = match equal {
                3 => Some(THEIRS),
                5 => Some(OURS),
                _ => None,
            };
            if files == 0 && (folders == bit(OURS) || folders == bit(THEIRS)) {
                equal = 7 - folders;
                side = Some(usize::from(folders / 2));
            }
            put_off = side.filter(|side| {
                let side = &self.sides[side - 1];
                *mask != SOUGHT && side.may_put_off && !side.targets.contains(&path)
            });
            if put_off.is_none() {
                equal &= files;
            }
        }
        let meets_folder = files != 0 && folders != 0;
        let info = Path { stages, files, folders, equal, meets_folder, ..Path::default() };
        self.paths.insert(path.clone(), info);
        if let Some(side) = put_off {
            *self.sides[side - 1].put_off.entry(path.as_bstr(), || 0) = *mask;
        } else if folders != 0 {
            self.level(path.as_bstr(), trees(&stages), *mask)?;
        }
        if folders != 0 {
            *mask = above;
        }
        Ok(())
    }

    /// Notes what a name tells of renames of files and folders.
    fn note_renames(&mut self, folder: &BStr, path: &BString, stages: &Stages, equal: u8, mask: &mut u8) {
        let (files, folders) = masks(stages);
        if *mask != SOUGHT && (folders == 3 || folders == 5) {
            *mask = folders & !bit(BASE);
        }
        if matches!(folders, 1 | 3 | 5) {
            let removed = if *mask == SOUGHT { Removed::ForAncestor } else { Removed::Irrelevant };
            for side in [OURS, THEIRS] {
                if folders & bit(side) == 0 {
                    self.sides[side - 1].removed.insert(path.clone(), removed);
                }
            }
        }
        if *mask == SOUGHT && (files == bit(OURS) || files == bit(THEIRS)) {
            let other = if files == bit(OURS) { THEIRS } else { OURS };
            self.sides[other - 1].removed.insert(folder.to_owned(), Removed::ForSelf);
        }
        if files == 0 || files == 7 {
            return;
        }
        for side in [OURS, THEIRS] {
            let in_base = files & bit(BASE) != 0;
            let here = files & bit(side) != 0;
            let known = &mut self.sides[side - 1];
            if in_base && !here {
                let content = equal & files == 0;
                if content {
                    known.irrelevant.remove(path);
                }
                if content || *mask == SOUGHT {
                    known.sources.insert(path.clone(), if content { Why::Content } else { Why::Location });
                }
                if known.known.contains_key(path) || known.irrelevant.contains(path) {
                    continue;
                }
            } else if in_base || !here || known.known_targets.contains(path) {
                continue;
            }
            let (old, new) = if in_base { (stages[BASE], None) } else { (None, stages[side]) };
            let kind = if in_base { PairKind::Deleted } else { PairKind::Added };
            known.pairs.push(Pair { from: path.clone(), to: path.clone(), old, new, kind });
        }
    }

    /// Settles the folders that were put off, or walks them if a file is looked for.
    fn put_off_folders(&mut self) -> Result<bool, ObjectError> {
        let before = self.paths.len();
        let mut after = 0;
        for at in [OURS, THEIRS] {
            let all_known = self.find_targets(at);
            let side = &mut self.sides[at - 1];
            side.may_put_off = all_known;
            let first = std::mem::take(&mut side.put_off);
            for (path, mask) in first.iter() {
                if all_known && !self.sides[at - 1].targets.contains(path) {
                    self.take_folder(path, at);
                    continue;
                }
                let Some(info) = self.paths.get_mut(path) else { continue };
                info.equal &= info.files;
                let trees = trees(&info.stages);
                self.level(path.as_bstr(), trees, *mask)?;
            }
            let more = std::mem::take(&mut self.sides[at - 1].put_off);
            for (path, _) in more.iter() {
                self.take_folder(path, at);
            }
            if !all_known || after > 0 {
                after = self.paths.len();
            }
        }
        Ok(before > 0 && after / before >= MUCH_MORE)
    }

    /// Notes the folders into which files that are looked for were moved; is it known of all of them?
    fn find_targets(&mut self, side: usize) -> bool {
        let side = &mut self.sides[side - 1];
        for source in side.sources.keys() {
            if side.irrelevant.contains(source) {
                continue;
            }
            let Some(known) = side.known.get(source) else { return false };
            let Some(target) = known.as_ref().filter(|target| !self.paths.contains_key(*target)) else {
                continue;
            };
            let mut folder = super::parent(target.as_bstr());
            while !folder.is_empty() && side.targets.insert(folder.to_owned()) {
                folder = super::parent(folder);
            }
        }
        true
    }

    /// A folder that only one side changed becomes what that side made of it.
    fn take_folder(&mut self, path: &BString, side: usize) {
        let mended = self.as_of >= FOLDER_TO_FILE_MENDED;
        if let Some(info) = self.paths.get_mut(path) {
            if mended {
                // What is equal on the other side is out of it. A file that is left may have been moved here.
                info.files &= !info.equal;
                info.folders &= !info.equal;
                info.clean = !info.meets_folder || info.folders != 0;
                info.meets_folder = false;
            } else {
                info.clean = true;
            }
            (info.equal, info.result) = (0, info.stages[side]);
        }
    }
}

/// The folders among the stages.
fn trees(stages: &Stages) -> [Option<ObjectId>; 3] {
    stages.map(|stage| stage.filter(Entry::is_tree).map(|e| e.id))
}

/// Which stages are files, and which are folders.
fn masks(stages: &Stages) -> (u8, u8) {
    let (mut files, mut folders) = (0, 0);
    for (at, stage) in stages.iter().enumerate() {
        match stage {
            Some(entry) if entry.is_tree() => folders |= bit(at),
            Some(_) => files |= bit(at),
            None => {}
        }
    }
    (files, folders)
}

/// Which stages are there and equal.
fn equal(stages: &Stages) -> u8 {
    let same = |a: usize, b: usize| stages[a].is_some() && stages[a] == stages[b];
    match (same(BASE, OURS), same(BASE, THEIRS)) {
        (true, true) => 7,
        (true, false) => 3,
        (false, true) => 5,
        _ if same(OURS, THEIRS) => 6,
        _ => 0,
    }
}

/// The entries of three trees by name, as git's walk meets them: in git's order, but a name that one tree has as a
/// file and another as a folder comes once.
fn by_name(lists: [Vec<(&BStr, Entry)>; 3]) -> Vec<(&BStr, Stages)> {
    let mut out = Vec::with_capacity(lists.iter().map(Vec::len).max().unwrap_or(0));
    let mut lists = lists.map(|list| (0, list.into_iter().map(Some).collect::<Vec<_>>()));
    loop {
        for (at, list) in &mut lists {
            while matches!(list.get(*at), Some(None)) {
                *at += 1;
            }
        }
        // Most often all three go on with the same name.
        let [a, b, c] = &mut lists;
        if let (Some(Some(base)), Some(Some(ours)), Some(Some(theirs))) =
            (a.1.get(a.0), b.1.get(b.0), c.1.get(c.0))
            && base.0 == ours.0
            && base.0 == theirs.0
        {
            out.push((base.0, [Some(base.1), Some(ours.1), Some(theirs.1)]));
            [a, b, c].into_iter().for_each(|list| list.0 += 1);
            continue;
        }
        let heads = lists.iter().filter_map(|(at, list)| list.get(*at).copied().flatten());
        let Some(name) = heads.map(|(name, _)| name).min() else { return out };
        let stages = [0, 1, 2].map(|i| {
            let (at, list) = &mut lists[i];
            let place = list[*at..].iter().enumerate().find_map(|(n, entry)| {
                let entry = entry.as_ref()?;
                match entry.0.cmp(name) {
                    Ordering::Equal => Some(Some(n)),
                    // A folder of this name may stand behind files whose names go on from it.
                    _ if entry.0.starts_with(name) => None,
                    _ => Some(None),
                }
            });
            place.flatten().and_then(|n| list[*at + n].take()).map(|(_, entry)| entry)
        });
        out.push((name, stages));
    }
}
