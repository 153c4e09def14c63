//! Decides every path, the deepest first, and writes the trees.

use std::cmp::Ordering;

use bstr::{BStr, BString, ByteSlice};
use foldhash::{HashMap, HashMapExt as _};

use super::{
    BASE, Conflict, ConflictKind, Merge, Message, MessageKind, OURS, Path, Sides, THEIRS, Whole, bit,
};
use super::{file_name, kind, parent};
use crate::store::ObjectError;
use crate::store::tree::{Entry, MODE_COMMIT, MODE_TREE, edit, write};

/// A name that git's tree has, and what is put there: nothing where it stays open and our side has nothing.
type Name = (BString, Option<Entry>);

/// What stands in each folder whose own turn has not come.
type Folders = HashMap<BString, Vec<Name>>;

impl Merge<'_> {
    /// Decides all that is noted.
    pub(super) fn settle(mut self) -> Result<Whole, ObjectError> {
        let mut order: Vec<BString> = self.paths.keys().cloned().collect();
        // What is in a folder comes right after it, and before it from the end. Nearly so they were met.
        order.sort_by(as_folders);
        let mut folders = Folders::new();
        let mut open: Vec<(BString, Path)> = Vec::new();
        for path in order.iter().rev() {
            let Some(info) = self.paths.get(path) else { continue };
            let inside = folders.remove(path);
            if inside.is_none() && info.clean {
                let stands = info.result.map(|_| (file_name(path.as_bstr()).to_owned(), info.result));
                folders.entry(parent(path.as_bstr()).to_owned()).or_default().extend(stands);
                continue;
            }
            let mut info = info.clone();
            let mut put = info.result;
            if let Some(inside) = inside {
                put = self.folder(&info, &inside)?;
                let there = !inside.is_empty() || (info.clean && info.result.is_some());
                let id = put.map_or(self.objects.hash().null(), |e| e.id);
                info.result = there.then_some(Entry { mode: MODE_TREE, id });
            }
            let inside = folders.entry(parent(path.as_bstr()).to_owned()).or_default();
            if info.clean {
                inside.extend(info.result.map(|_| (file_name(path.as_bstr()).to_owned(), put)));
                continue;
            }
            for (path, entry) in self.decide(path, info, put, &mut open)? {
                inside.push((file_name(path.as_bstr()).to_owned(), entry));
            }
        }
        let inside = folders.remove(b"".as_bstr()).unwrap_or_default();
        let entries = inside.iter().filter_map(|(name, entry)| Some((name.as_bstr(), (*entry)?))).collect();
        let tree = write(self.objects, entries, Some(&self.root))?;
        open.sort_by(|a, b| a.0.cmp(&b.0));
        let conflicts = conflicts(open, &self.messages);
        let Self { messages, by_lines, generated, .. } = self;
        Ok(Whole { tree, conflicts, messages, by_lines, generated })
    }

    /// The folder of these entries; nothing if there are none.
    fn folder(&self, info: &Path, inside: &[Name]) -> Result<Option<Entry>, ObjectError> {
        let like = info.stages[OURS].filter(Entry::is_tree).map(|e| e.id);
        let id = match info.result.filter(|entry| info.clean && entry.is_tree()) {
            // A rename of a folder moved a file into one that nobody changed.
            Some(whole) => {
                let mut edits: Vec<(&[u8], Option<Entry>)> =
                    inside.iter().map(|(name, entry)| (name.as_slice(), *entry)).collect();
                edits.sort_by(|a, b| a.0.cmp(b.0));
                edit(self.objects, Some(whole.id), &edits)?.unwrap_or(Some(whole.id))
            }
            None => {
                let entries =
                    inside.iter().filter_map(|(name, entry)| Some((name.as_bstr(), (*entry)?))).collect();
                write(self.objects, entries, like.as_ref())?
            }
        };
        Ok(id.map(|id| Entry { mode: MODE_TREE, id }))
    }

    /// Decides one path: what is to stand in its folder, under which path. What stays open is noted. `folder` is what
    /// is put for a folder there.
    fn decide(
        &mut self,
        path: &BString,
        mut info: Path,
        folder: Option<Entry>,
        open: &mut Vec<(BString, Path)>,
    ) -> Result<Vec<Name>, ObjectError> {
        let mut out = Vec::with_capacity(1);
        let noted = path;
        let mut path = path.clone();
        let mut moved_side = OURS;
        if info.folders != 0 {
            out.extend(info.result.map(|_| (path.clone(), folder)));
            if info.files == 0 {
                return Ok(out);
            }
        }
        if info.meets_folder {
            info.equal &= !info.folders;
            let has = info.files;
            for (at, stage) in info.stages.iter_mut().enumerate() {
                *stage = stage.filter(|_| has & bit(at) != 0);
            }
            if info.result.take().is_some() {
                if info.files == bit(BASE) {
                    return Ok(out);
                }
                // The folder stays, and the file moves out of its way.
                moved_side = if info.folders & bit(OURS) != 0 { THEIRS } else { OURS };
                let new = self.unique(path.as_bstr(), moved_side);
                self.paths.insert(new.clone(), info.clone());
                self.tell(MessageKind::FileDirectory, &[new.as_bstr(), path.as_bstr()]);
                path = new;
            } else {
                info.meets_folder = false;
            }
            info.folders = 0;
        }
        let doubt = info.meets_folder || info.path_in_doubt;
        let [base, ours, theirs] = info.stages;
        let both = ours.zip(theirs).filter(|_| info.files >= 6);
        if info.equal != 0 {
            info.result = match info.equal {
                3 => theirs,
                _ => ours,
            };
            info.clean = !doubt || info.result.is_none();
        } else if let Some((ours, theirs)) = both.filter(|(ours, theirs)| kind(ours) != kind(theirs)) {
            path = self.apart(&path, &mut info, [ours, theirs], open, &mut out);
        } else if both.is_some() {
            let from = info.from.clone();
            let names = [0, 1, 2].map(|at: usize| from[at].as_ref().unwrap_or(noted).as_bstr());
            let (merged, clean) = self.merge_file(path.as_bstr(), info.stages, names, 0)?;
            info.clean = clean && !doubt;
            info.result = Some(merged);
            if clean && info.meets_folder {
                info.files = bit(moved_side);
                info.stages[moved_side] = Some(merged);
            }
            if !clean {
                self.tell(MessageKind::Contents, &[path.as_bstr()]);
            }
        } else if info.files == 3 || info.files == 5 {
            let left = if info.files == 5 { theirs } else { ours };
            info.result = left;
            info.clean = false;
            let unchanged = base.map(|e| e.id) == left.map(|e| e.id);
            if !(info.path_in_doubt && unchanged) {
                self.tell(MessageKind::ModifyDelete, &[path.as_bstr()]);
            }
        } else if info.files == bit(BASE) {
            info.result = None;
            info.clean = !info.path_in_doubt;
        } else {
            info.result = if info.files == bit(THEIRS) { theirs } else { ours };
            info.clean = !doubt;
        }
        out.extend(info.result.map(|_| (path.clone(), self.stands(&info))));
        if !info.clean {
            open.push((path, info));
        }
        Ok(out)
    }

    /// What is put into the tree: where a path stays open and no marks are asked for, what our side has.
    fn stands(&self, info: &Path) -> Option<Entry> {
        if info.clean || self.marked {
            return info.result;
        }
        info.stages[OURS].filter(|_| info.files & bit(OURS) != 0)
    }

    /// Two things of different types at one path: each gets a path of its own. Returns the path of ours.
    fn apart(
        &mut self,
        path: &BString,
        info: &mut Path,
        [ours, theirs]: [Entry; 2],
        open: &mut Vec<(BString, Path)>,
        out: &mut Vec<Name>,
    ) -> BString {
        // A file moves; of a link and a submodule both do.
        let move_ours = ours.is_file() || !theirs.is_file();
        let move_theirs = !ours.is_file();
        let our_path = if move_ours { self.unique(path.as_bstr(), OURS) } else { path.clone() };
        let their_path = if move_theirs { self.unique(path.as_bstr(), THEIRS) } else { path.clone() };
        let mut told = vec![path.as_bstr()];
        told.extend(
            [(move_ours, &our_path), (move_theirs, &their_path)]
                .iter()
                .filter(|m| m.0)
                .map(|m| m.1.as_bstr()),
        );
        self.tell(MessageKind::DistinctModes, &told);
        let base = info.stages[BASE];
        info.clean = false;
        let part = |side: usize, entry: Entry| {
            let base = base.filter(|base| kind(base) == kind(&entry));
            let mut part = Path { result: Some(entry), ..info.clone() };
            part.stages = [base, None, None];
            part.stages[side] = Some(entry);
            part.files = bit(side) | base.map_or(0, |_| bit(BASE));
            part
        };
        let (our_part, their_part) = (part(OURS, ours), part(THEIRS, theirs));
        self.paths.insert(our_path.clone(), our_part.clone());
        self.paths.insert(their_path.clone(), their_part.clone());
        out.push((their_path.clone(), self.stands(&their_part)));
        open.push((their_path, their_part));
        *info = our_part;
        our_path
    }

    /// A free path for a side's file that has to move.
    fn unique(&self, path: &BStr, side: usize) -> BString {
        let name = if side == OURS { &self.names.ours } else { &self.names.theirs };
        let flat = name.replace("/", "_");
        let first = BString::from([path.as_bytes(), b"~", &flat].concat());
        let numbered = (0..).map(|n: u32| BString::from(format!("{first}_{n}")));
        let mut all = std::iter::once(first.clone()).chain(numbered);
        all.find(|path| !self.paths.contains_key(path)).unwrap_or(first)
    }
}

/// The order of paths with a slash behind each.
fn as_folders(a: &BString, b: &BString) -> Ordering {
    let both = a.len().min(b.len());
    let then = |path: &BString| path.get(both).copied().unwrap_or(b'/');
    a[..both].cmp(&b[..both]).then_with(|| then(a).cmp(&then(b))).then_with(|| a.cmp(b))
}

/// The open paths as conflicts, each with its kind; and what is told of a path that has no sides.
fn conflicts(open: Vec<(BString, Path)>, messages: &[Message]) -> Vec<Conflict> {
    let mut told: HashMap<&BStr, &Message> = HashMap::new();
    for message in messages {
        for path in &message.paths {
            told.entry(path.as_bstr()).or_insert(message);
        }
    }
    let mut all: Vec<Conflict> = Vec::with_capacity(open.len());
    for (path, info) in open {
        let message = told.get(path.as_bstr()).copied();
        let stage = |at: usize| info.stages[at].filter(|_| info.files & bit(at) != 0);
        let sides = Sides { base: stage(BASE), ours: stage(OURS), theirs: stage(THEIRS) };
        let kind = message.map_or(ConflictKind::Content, |m| kind_of(m.kind, info.files, &sides));
        let other = info.from.into_iter().flatten().find(|from| *from != path);
        let from = other.or_else(|| message.and_then(|m| came_from(m, path.as_bstr())));
        all.push(Conflict { path, from, kind, sides });
    }
    for message in messages.iter().filter(|m| m.kind.is_enough()) {
        let Some(path) = message.paths.first().filter(|path| !all.iter().any(|c| c.path == **path)) else {
            continue;
        };
        let sides = Sides { base: None, ours: None, theirs: None };
        let from = message.paths.get(1).cloned();
        all.push(Conflict { path: path.clone(), from, kind: message.kind.kind(), sides });
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

fn kind_of(message: MessageKind, files: u8, sides: &Sides<Option<Entry>>) -> ConflictKind {
    let submodule = sides.ours.or(sides.theirs).is_some_and(|e| e.mode == MODE_COMMIT);
    let ids = sides.map(|side| side.map(|e| e.id));
    match message {
        MessageKind::Contents if submodule => ConflictKind::Submodule,
        MessageKind::Contents if files == 6 && ids.ours != ids.theirs => ConflictKind::AddAdd,
        MessageKind::Contents if ids.settled().is_some() => ConflictKind::Mode,
        MessageKind::ModifyDelete if files == 3 => ConflictKind::DeletedByPatch,
        other => other.kind(),
    }
}

/// Where a path's file stood before, as a message tells.
fn came_from(message: &Message, path: &BStr) -> Option<BString> {
    let at = match message.kind {
        MessageKind::RenameRename | MessageKind::DistinctModes => 0,
        _ => 1,
    };
    message.paths.get(at).filter(|from| *from != path).cloned()
}
