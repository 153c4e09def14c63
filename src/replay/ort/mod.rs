//! The whole three-way merge, with renames: what git's default merge (`ort`) gives for every input, clean or not.
//!
//! It answers only where the plain walk beside it (`super::walk`) does not. The steps, each a file: `collect` walks
//! the three trees and notes every path at which they differ; `pairs` finds each side's renames among what it took
//! away and brought (`similar` says how alike two files are); `folders` tells which folders were renamed as a whole
//! and where a file that the other side adds to such a folder belongs; `follow` brings the sides of a renamed file
//! together; `settle` decides every path and writes the trees. What git settles by chance of its own data structures
//! is settled alike (`order`).
//!
//! Source of the behaviour: git's `Documentation/technical/directory-rename-detection`, `git help merge-strategies`,
//! `git help merge-tree`, and git itself, by whose answers it is tested (`tests/ort.rs`). Where git mended its merge over
//! time (`*_MENDED`), the newest git is followed unless the store says otherwise. `merge.directoryRenames`,
//! `merge.renames` and `merge.renameLimit` have git's default values.

mod collect;
mod folders;
mod follow;
mod order;
mod pairs;
mod settle;
mod similar;

use bstr::{BStr, BString, ByteSlice};
use foldhash::HashMap;
use gix_hash::ObjectId;
use indexmap::IndexMap;

use super::content::{self, Content};
use super::{Conflict, ConflictKind, Message, MessageKind, Sides, attributes};
use crate::store::tree::{Entry, MODE_COMMIT};
use crate::store::{GitVersion, ObjectError, Objects};

/// The merge base's place among three stages.
const BASE: usize = 0;
/// Our side's place.
const OURS: usize = 1;
/// Their side's place.
const THEIRS: usize = 2;
/// Git's limit on renames in a merge (`git help config`, `merge.renameLimit`).
const RENAME_LIMIT: u64 = 7000;

/// Since which git a file that a renamed folder would take is kept away from a path that the base has, and a rename to
/// itself is none (its commits f6ecb603ff and 885ffe538b).
const SELF_RENAMES_MENDED: GitVersion = GitVersion::new(2, 51, 1);
/// Since which git a file that takes the place of an unchanged folder may still be a rename (979ee83e8a).
const FOLDER_TO_FILE_MENDED: GitVersion = GitVersion::new(2, 53, 0);
/// Since which git a rename that is known from the first round says nothing of a path that is settled (b2eec6663f).
const KNOWN_RENAMES_MENDED: GitVersion = GitVersion::new(2, 55, 0);

/// The bit of a stage in a mask.
const fn bit(stage: usize) -> u8 {
    1 << stage
}

/// What a merge of trees gives, whole.
#[derive(Debug, Default)]
pub(super) struct Whole {
    /// The merged tree; nothing is the empty one.
    pub tree: Option<ObjectId>,
    /// The paths that are not merged, sorted.
    pub conflicts: Vec<Conflict>,
    /// What git says about them.
    pub messages: Vec<Message>,
    /// The files whose contents were merged line by line, without a conflict.
    pub by_lines: Vec<BString>,
    /// The files that a command is to make anew.
    pub generated: Vec<BString>,
}

/// Names for the sides, as they stand in conflict marks and in the paths of files moved out of a folder's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Of the merge base.
    pub base: BString,
    /// Of our side.
    pub ours: BString,
    /// Of their side.
    pub theirs: BString,
}

impl Default for Names {
    fn default() -> Self {
        Self { base: "base".into(), ours: "HEAD".into(), theirs: "patch".into() }
    }
}

/// Merges. With `marked`, files that conflict stand in the tree with git's marks; without, as on our side.
pub(super) fn merge(
    objects: &dyn Objects,
    trees: Sides<ObjectId>,
    names: &Names,
    marked: bool,
) -> Result<Whole, ObjectError> {
    let mut merge = Merge {
        objects,
        as_of: objects.as_of(),
        root: trees.ours,
        names,
        marked,
        paths: Paths::default(),
        sides: Default::default(),
        messages: Vec::new(),
        by_lines: Vec::new(),
        generated: Vec::new(),
    };
    let roots = [Some(trees.base), Some(trees.ours), Some(trees.theirs)];
    let many = merge.collect(roots)?;
    if merge.renames(many)? {
        merge.start_again();
        merge.collect(roots)?;
        merge.renames(false)?;
    }
    merge.settle()
}

/// One merge: what is known so far.
struct Merge<'a> {
    objects: &'a dyn Objects,
    as_of: GitVersion,
    /// Our tree, whose `.gitattributes` count.
    root: ObjectId,
    names: &'a Names,
    marked: bool,
    paths: Paths,
    /// What our side and their side did.
    sides: [Side; 2],
    messages: Vec<Message>,
    by_lines: Vec<BString>,
    generated: Vec<BString>,
}

/// The paths that were met, in the order of the walk, of which there are thousands.
type Paths = IndexMap<BString, Path, foldhash::fast::RandomState>;

/// One path at which the trees differ, or a folder on the way to one.
#[derive(Debug, Clone, Default)]
struct Path {
    /// What stands there: base, ours, theirs. Folders count.
    stages: [Option<Entry>; 3],
    /// Where each side's file stood, if elsewhere.
    from: [Option<BString>; 3],
    /// Which stages are files.
    files: u8,
    /// Which stages are folders.
    folders: u8,
    /// Which stages are equal: base and ours (3), base and theirs (5), ours and theirs (6), or none.
    equal: u8,
    /// Does a file meet a folder?
    meets_folder: bool,
    /// Is the path itself in doubt?
    path_in_doubt: bool,
    /// Is it settled?
    clean: bool,
    /// What is to stand there, once it is known.
    result: Option<Entry>,
}

/// What one side did, against the base.
#[derive(Debug, Default)]
struct Side {
    /// Files it took away or brought, and later its renames, in the order of the walk.
    pairs: Vec<Pair>,
    /// Files it took away whose whereabouts matter.
    sources: HashMap<BString, Why>,
    /// Folders it took away.
    removed: HashMap<BString, Removed>,
    /// For each folder it took away: how many files went from it to which.
    counts: HashMap<BString, order::Map<usize>>,
    /// The folders it renamed.
    folders: HashMap<BString, BString>,
    /// Folders that only this side changed: read only if a file may have been moved into them.
    put_off: order::Map<u8>,
    /// Folders that must be read, since a file was moved into them.
    targets: foldhash::HashSet<BString>,
    /// May folders be put off?
    may_put_off: bool,
    /// What became of a file, from the first of two rounds: moved, or (nothing) deleted.
    known: std::collections::BTreeMap<BString, Option<BString>>,
    /// Where files were moved to, from the first of two rounds.
    known_targets: foldhash::HashSet<BString>,
    /// Files whose whereabouts turned out not to matter, from the first of two rounds.
    irrelevant: foldhash::HashSet<BString>,
}

/// Why a file that is gone is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The other side changed it.
    Content,
    /// It may tell where its folder went.
    Location,
    /// It did, and others told enough.
    NoMore,
}

/// How much it matters where a folder went that one side took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    /// Not at all.
    Irrelevant,
    /// For a folder above it.
    ForAncestor,
    /// The other side added something right in it.
    ForSelf,
}

/// A file that one side took away, brought, or moved.
#[derive(Debug, Clone)]
struct Pair {
    from: BString,
    to: BString,
    old: Option<Entry>,
    new: Option<Entry>,
    kind: PairKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PairKind {
    Added,
    Deleted,
    Renamed,
}

/// The folder of a path; empty at the root.
fn parent(path: &BStr) -> &BStr {
    path.rfind_byte(b'/').map_or(b"".as_bstr(), |at| path[..at].as_bstr())
}

/// The last part of a path.
fn file_name(path: &BStr) -> &BStr {
    path.rfind_byte(b'/').map_or(path, |at| path[at + 1..].as_bstr())
}

/// A path inside a folder; the root's name is empty.
fn join(folder: &BStr, name: &BStr) -> BString {
    if folder.is_empty() { name.to_owned() } else { BString::from([folder, b"/".as_slice(), name].concat()) }
}

/// File, link, submodule or folder.
fn kind(entry: &Entry) -> u32 {
    entry.mode & 0o170000
}

impl Merge<'_> {
    /// Finds renames and brings the sides of each together. Says whether it is to be done again from the start, with
    /// what is known now: `many` says that the walk read many folders for nothing.
    fn renames(&mut self, many: bool) -> Result<bool, ObjectError> {
        let possible = |s: &Side| !s.known.is_empty() || (!s.pairs.is_empty() && !s.sources.is_empty());
        if !self.sides.iter().any(possible) {
            return Ok(false);
        }
        let (mut looked, mut too_many) = (false, false);
        for side in [OURS, THEIRS] {
            let found = pairs::detect(self.objects, &mut self.sides[side - 1])?;
            looked |= found.looked;
            too_many |= found.too_many;
        }
        if many && looked && !too_many {
            return Ok(true);
        }
        for side in &mut self.sides {
            for (from, to) in &side.known {
                if let Some(to) = to.as_ref().filter(|_| self.as_of >= KNOWN_RENAMES_MENDED)
                    && self.paths.get(to).is_none_or(|path| path.clean)
                {
                    continue;
                }
                let kind = if to.is_some() { PairKind::Renamed } else { PairKind::Deleted };
                let to = to.clone().unwrap_or_else(|| from.clone());
                side.pairs.push(Pair { from: from.clone(), to, old: None, new: None, kind });
            }
        }
        self.rename_folders();
        let renames = self.all_renames();
        self.follow(&renames)?;
        Ok(false)
    }

    /// Forgets all but what is known of renames.
    fn start_again(&mut self) {
        self.paths.clear();
        for side in &mut self.sides {
            side.know_renames();
            let counts = std::mem::take(&mut side.counts);
            let known = std::mem::take(&mut side.known);
            let known_targets = std::mem::take(&mut side.known_targets);
            let irrelevant = std::mem::take(&mut side.irrelevant);
            *side = Side { counts, known, known_targets, irrelevant, ..Side::default() };
        }
    }

    /// Merges the file of three stages that are of one kind, as it stands at `path`. Is it without a conflict?
    ///
    /// Marks are always made where `deeper` is not 0: such a result is itself a side of another merge.
    fn merge_file(
        &mut self,
        path: &BStr,
        stages: [Option<Entry>; 3],
        from: [&BStr; 3],
        deeper: usize,
    ) -> Result<(Entry, bool), ObjectError> {
        let [base, Some(ours), Some(theirs)] = stages else {
            // Renames that do not go together: git stops at an assertion. What is there stays, as a conflict.
            let missing = || {
                let reason = format!("a merge of '{path}' has no side");
                ObjectError { id: self.objects.hash().null(), reason }
            };
            let left = stages[OURS].or(stages[THEIRS]).or(stages[BASE]).ok_or_else(missing)?;
            return Ok((left, false));
        };
        let base_mode = base.map_or(0, |e| e.mode);
        let (mode, mut clean) = if ours.mode == theirs.mode || ours.mode == base_mode {
            (theirs.mode, true)
        } else {
            (ours.mode, theirs.mode == base_mode)
        };
        let base_id = base.map(|e| e.id);
        let id = if ours.id == theirs.id || base_id == Some(ours.id) {
            theirs.id
        } else if base_id == Some(theirs.id) {
            ours.id
        } else if ours.is_file() {
            let base = base.filter(|b| kind(b) == kind(&ours));
            let (id, merged) = self.merge_lines(path, base, ours, theirs, from, deeper)?;
            clean &= merged;
            id
        } else {
            if ours.mode == MODE_COMMIT {
                // The store has no submodule checked out.
                self.tell(MessageKind::SubmoduleNotInitialized, &[path]);
            }
            clean = false;
            ours.id
        };
        Ok((Entry { mode, id }, clean))
    }

    fn merge_lines(
        &mut self,
        path: &BStr,
        base: Option<Entry>,
        ours: Entry,
        theirs: Entry,
        from: [&BStr; 3],
        deeper: usize,
    ) -> Result<(ObjectId, bool), ObjectError> {
        if self.objects.drivers().is_some_and(|d| d.generated(path)) {
            self.generated.push(path.to_owned());
            return Ok((ours.id, true));
        }
        let driver = attributes::driver(self.objects, &self.root, path)?;
        let blob = |e: Entry| self.objects.blob(&e.id);
        let base = base.map(blob).transpose()?.unwrap_or_default();
        let (our_data, their_data) = (blob(ours)?, blob(theirs)?);
        match content::merge_by(self.objects, &driver, path, &base, &our_data, &their_data)? {
            Content::Clean(data) => {
                self.by_lines.push(path.to_owned());
                Ok((self.objects.put_blob(data, Some(&ours.id))?, true))
            }
            Content::Conflict if self.marked || deeper > 0 => {
                let same = from.iter().all(|f| *f == from[0]);
                let label = |name: &BString, path: &BStr| match same {
                    true => name.clone(),
                    false => BString::from([name.as_slice(), b":", path].concat()),
                };
                let labels = [
                    label(&self.names.base, from[BASE]),
                    label(&self.names.ours, from[OURS]),
                    label(&self.names.theirs, from[THEIRS]),
                ];
                let data = content::marked_by(&base, &our_data, &their_data, &labels, deeper, self.as_of);
                Ok((self.objects.put_blob(data, Some(&ours.id))?, false))
            }
            Content::Conflict => Ok((ours.id, false)),
            Content::Binary => {
                self.tell(MessageKind::Binary, &[path]);
                Ok((ours.id, false))
            }
        }
    }

    fn tell(&mut self, kind: MessageKind, paths: &[&BStr]) {
        self.messages.push(Message { kind, paths: paths.iter().map(|p| (*p).to_owned()).collect() });
    }
}

impl MessageKind {
    /// The kind of conflict that a path is in of which this is told.
    fn kind(self) -> ConflictKind {
        match self {
            MessageKind::Contents => ConflictKind::Content,
            MessageKind::Binary => ConflictKind::Binary,
            MessageKind::FileDirectory => ConflictKind::FileDirectory,
            MessageKind::DistinctModes => ConflictKind::Mode,
            MessageKind::ModifyDelete => ConflictKind::DeletedInTrunk,
            MessageKind::RenameRename | MessageKind::RenameCollides | MessageKind::RenameDelete => {
                ConflictKind::Rename
            }
            MessageKind::DirectoryRenameSuggested
            | MessageKind::DirectoryRenameInWay
            | MessageKind::DirectoryRenameCollision
            | MessageKind::DirectoryRenameSplit => ConflictKind::DirectoryRename,
            MessageKind::SubmoduleNotInitialized => ConflictKind::Submodule,
        }
    }
}
