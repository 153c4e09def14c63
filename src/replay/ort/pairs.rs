//! One side's renames: which of the files that it took away is which of those that it brought.
//!
//! First files with the same content, then those of the same name, then the most alike of what is left. Files whose
//! whereabouts do not matter are left out as soon as they can be.

use std::cmp::Reverse;

use bstr::{BStr, BString, ByteSlice};
use foldhash::{HashMap, HashMapExt as _};
use gix_hash::ObjectId;

use super::similar::{ENOUGH, ENOUGH_BY_NAME, Likeness, WHOLE};
use super::{Pair, PairKind, RENAME_LIMIT, Removed, Side, Why, file_name, join, order, parent};
use crate::store::tree::Entry;
use crate::store::{ObjectError, Objects};

/// No more files of one content than this are looked at for one that may be its source.
const SAME: usize = 100;
/// For each file that came, so many that may be its source are kept.
const CANDIDATES: usize = 4;
/// Stands for a folder that is not known yet.
const UNKNOWN: &str = "/";

/// How the search ended.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Was there anything to search?
    pub looked: bool,
    /// Were there too many files to compare them all?
    pub too_many: bool,
}

/// A file that was taken away, or one that came.
struct File {
    path: BString,
    entry: Entry,
    /// For one that went: is its whereabouts known? For one that came: where it came from.
    from: Option<usize>,
    used: bool,
}

struct Search<'a> {
    side: &'a mut Side,
    gone: Vec<File>,
    come: Vec<File>,
    /// The files that went and are still looked for.
    open: Vec<usize>,
}

/// How well a file that came fits one that went.
#[derive(Clone, Copy)]
struct Fit {
    come: usize,
    gone: usize,
    score: u64,
    same_name: bool,
}

/// Turns what one side took away and brought into renames, where they are.
pub(super) fn detect(objects: &dyn Objects, side: &mut Side) -> Result<Found, ObjectError> {
    let (known, irrelevant) = (&side.known, &side.irrelevant);
    side.sources.retain(|path, _| !known.contains_key(path) && !irrelevant.contains(path));
    if side.pairs.is_empty() || side.sources.is_empty() {
        return Ok(Found::default());
    }
    side.counts.clear();
    let files = |pick: &dyn Fn(&Pair) -> Option<Entry>| -> Vec<File> {
        let some = side.pairs.iter().filter_map(|pair| Some((pair, pick(pair)?)));
        let some = some.filter(|(_, entry)| !entry.id.is_empty_blob());
        some.map(|(pair, entry)| File { path: pair.from.clone(), entry, from: None, used: false }).collect()
    };
    let (gone, come) = (files(&|p| p.old), files(&|p| p.new));
    let mut found = Found { looked: true, too_many: false };
    if gone.is_empty() || come.is_empty() {
        return Ok(found);
    }
    let open = (0..gone.len()).collect();
    let mut search = Search { side, gone, come, open };
    search.same_content();
    search.close_found();
    search.count_folders();
    let mut likeness = Likeness::new(objects);
    search.same_name(&mut likeness)?;
    search.close_found();
    search.close_irrelevant();
    found.too_many = !search.most_alike(&mut likeness)?;
    search.forget_unknown();
    search.write();
    Ok(found)
}

impl Search<'_> {
    fn pair(&mut self, come: usize, gone: usize) {
        self.come[come].from = Some(gone);
        self.gone[gone].used = true;
    }

    /// Files of the same content, of the same name if there are several.
    fn same_content(&mut self) {
        let mut by_id: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for (at, file) in self.gone.iter().enumerate() {
            by_id.entry(file.entry.id).or_default().push(at);
        }
        for come in 0..self.come.len() {
            let new = &self.come[come];
            let Some(sources) = by_id.get(&new.entry.id) else { continue };
            let fits = |old: &File| {
                let files = old.entry.is_file() && new.entry.is_file();
                (files || old.entry.mode == new.entry.mode) && !old.used
            };
            let same = sources.iter().filter(|at| fits(&self.gone[**at])).take(SAME);
            let mut best = None;
            for at in same {
                if file_name(self.gone[*at].path.as_bstr()) == file_name(new.path.as_bstr()) {
                    best = Some(*at);
                    break;
                }
                best = best.or(Some(*at));
            }
            if let Some(gone) = best {
                self.pair(come, gone);
            }
        }
    }

    fn close_found(&mut self) {
        let gone = &self.gone;
        self.open.retain(|at| !gone[*at].used);
    }

    /// Counts which folders the files that were found went to.
    fn count_folders(&mut self) {
        for come in &self.come {
            if let Some(gone) = come.from {
                count(self.side, &self.gone[gone].path, &come.path);
            }
        }
        let known: Vec<_> = self.side.known.iter().map(|(f, t)| (f.clone(), t.clone())).collect();
        for (from, to) in known {
            if let Some(to) = to {
                count(self.side, &from, &to);
            }
        }
    }

    /// Files of one name; where a name stands in several folders, the folder that most files went to is tried.
    fn same_name(&mut self, likeness: &mut Likeness<'_>) -> Result<(), ObjectError> {
        let mut guesses: HashMap<BString, BString> = HashMap::new();
        for (folder, counts) in &self.side.counts {
            let mut best: Option<(&BString, usize)> = None;
            for (target, count) in counts.iter() {
                if best.is_none_or(|(_, most)| *count > most) {
                    best = Some((target, *count));
                }
            }
            if let Some((target, _)) = best {
                guesses.insert(folder.clone(), target.clone());
            }
        }
        let mut places: HashMap<&BStr, usize> = HashMap::new();
        // The one file of each name; nothing if there are several.
        let mut gone: HashMap<&BStr, Option<usize>> = HashMap::new();
        let mut come: HashMap<&BStr, Option<usize>> = HashMap::new();
        for at in &self.open {
            let name = file_name(self.gone[*at].path.as_bstr());
            gone.entry(name).and_modify(|one| *one = None).or_insert(Some(*at));
        }
        for (at, file) in self.come.iter().enumerate().filter(|(_, file)| file.from.is_none()) {
            let name = file_name(file.path.as_bstr());
            come.entry(name).and_modify(|one| *one = None).or_insert(Some(at));
            places.insert(file.path.as_bstr(), at);
        }
        let mut tries = Vec::new();
        for at in &self.open {
            let path = self.gone[*at].path.as_bstr();
            if !self.side.sources.contains_key(path.as_bytes().as_bstr()) {
                continue;
            }
            let name = file_name(path);
            let Some(target) = come.get(name) else { continue };
            let target = match (gone.get(name).copied().flatten(), target) {
                (Some(_), Some(target)) => Some(*target),
                _ => guesses.get(parent(path)).and_then(|folder| {
                    // At the root the name begins with a slash, and is nobody's.
                    let guess = BString::from([folder.as_slice(), b"/", name].concat());
                    places.get(guess.as_bstr()).copied()
                }),
            };
            tries.extend(target.map(|target| (*at, target)));
        }
        for (gone, come) in tries {
            if self.come[come].from.is_some() {
                continue;
            }
            let score = likeness.score(&self.gone[gone].entry, &self.come[come].entry, ENOUGH_BY_NAME)?;
            if score >= ENOUGH_BY_NAME {
                self.pair(come, gone);
                count(self.side, &self.gone[gone].path, &self.come[come].path);
            }
        }
        Ok(())
    }

    /// Leaves out the files whose whereabouts do not matter, or not any more.
    fn close_irrelevant(&mut self) {
        let (gone, side) = (&self.gone, &mut *self.side);
        self.open.retain(|at| side.sources.contains_key(&gone[*at].path));
        for at in &self.open {
            let mut folder = parent(gone[*at].path.as_bstr());
            while !folder.is_empty() && matters(side, folder) != Removed::Irrelevant {
                let counts = side.counts.entry(folder.to_owned()).or_default();
                *counts.entry(UNKNOWN.into(), || 0) += 1;
                folder = parent(folder);
            }
        }
        for (folder, counts) in &side.counts {
            if side.removed.get(folder) == Some(&Removed::ForSelf) && is_decided(counts) {
                side.removed.insert(folder.clone(), Removed::ForAncestor);
            }
        }
        self.open.retain(|at| {
            let path = &gone[*at].path;
            if side.sources.get(path) != Some(&Why::Location) {
                return true;
            }
            let mut folder = parent(path.as_bstr());
            loop {
                match matters(side, folder) {
                    Removed::ForSelf => return true,
                    Removed::Irrelevant => break,
                    Removed::ForAncestor => folder = parent(folder),
                }
            }
            side.sources.insert(path.clone(), Why::NoMore);
            false
        });
    }

    /// Of what is left, the most alike first. False if there is too much to compare.
    fn most_alike(&mut self, likeness: &mut Likeness<'_>) -> Result<bool, ObjectError> {
        let left: Vec<usize> = (0..self.come.len()).filter(|at| self.come[*at].from.is_none()).collect();
        if left.len() as u64 * self.open.len() as u64 > RENAME_LIMIT * RENAME_LIMIT {
            return Ok(false);
        }
        let mut fits: Vec<Fit> = Vec::new();
        for come in left {
            let mut best: Vec<Fit> = Vec::with_capacity(CANDIDATES);
            for gone in &self.open {
                let (old, new) = (&self.gone[*gone], &self.come[come]);
                let score = likeness.score(&old.entry, &new.entry, ENOUGH)?;
                let same_name = file_name(old.path.as_bstr()) == file_name(new.path.as_bstr());
                let fit = Fit { come, gone: *gone, score, same_name };
                if best.len() < CANDIDATES {
                    best.push(fit);
                    continue;
                }
                // The first of the worst gives way.
                let mut worst = 0;
                for at in 1..best.len() {
                    if better(&best[worst], &best[at]) {
                        worst = at;
                    }
                }
                if better(&fit, &best[worst]) {
                    best[worst] = fit;
                }
            }
            fits.extend(best);
        }
        fits.sort_by_key(|fit| Reverse((fit.score, fit.same_name)));
        debug_assert!(fits.iter().all(|fit| fit.score <= WHOLE));
        for fit in fits.iter().take_while(|fit| fit.score >= ENOUGH) {
            if self.come[fit.come].from.is_none() && !self.gone[fit.gone].used {
                self.pair(fit.come, fit.gone);
                count(self.side, &self.gone[fit.gone].path, &self.come[fit.come].path);
            }
        }
        Ok(true)
    }

    /// Leaves of the counts what tells of renamed folders.
    fn forget_unknown(&mut self) {
        let Side { counts, removed, .. } = &mut *self.side;
        counts.retain(|folder, _| removed.get(folder).is_some_and(|r| *r != Removed::Irrelevant));
        for targets in counts.values_mut() {
            targets.remove(UNKNOWN.into());
        }
    }

    /// Writes what was found into the side's pairs: a rename stands where its new file stood.
    fn write(self) {
        let Self { side, gone, come, .. } = self;
        let went: foldhash::HashSet<&BString> = gone.iter().filter(|f| f.used).map(|f| &f.path).collect();
        side.pairs.retain(|pair| pair.kind != PairKind::Deleted || !went.contains(&pair.from));
        let sources: HashMap<&BString, usize> =
            come.iter().filter_map(|file| Some((&file.path, file.from?))).collect();
        for pair in side.pairs.iter_mut().filter(|pair| pair.kind == PairKind::Added) {
            if let Some(source) = sources.get(&pair.to).map(|at| &gone[*at]) {
                (pair.from, pair.old) = (source.path.clone(), Some(source.entry));
                pair.kind = PairKind::Renamed;
            }
        }
    }
}

/// Is the first a better fit than the second?
fn better(a: &Fit, b: &Fit) -> bool {
    (a.score, a.same_name) > (b.score, b.same_name)
}

fn matters(side: &Side, folder: &BStr) -> Removed {
    side.removed.get(folder.as_bytes().as_bstr()).copied().unwrap_or(Removed::Irrelevant)
}

/// Can no more files change where most of a folder's went?
fn is_decided(counts: &order::Map<usize>) -> bool {
    let (mut first, mut second, mut unknown) = (0, 0, 0);
    for (target, count) in counts.iter() {
        if target == UNKNOWN {
            unknown = *count;
        } else if *count >= first {
            (first, second) = (*count, first);
        } else if *count >= second {
            second = *count;
        }
    }
    first > second + unknown
}

/// Counts a rename for its folder, and for those above as long as the parts below them stayed the same.
fn count(side: &mut Side, from: &BString, to: &BString) {
    let (mut old, mut new) = (from.as_bstr(), to.as_bstr());
    let mut first = true;
    loop {
        let (old_folder, new_folder) = (parent(old), parent(new));
        let Some(removed) = side.removed.get(old_folder.as_bytes().as_bstr()).copied() else { break };
        if !first && file_name(old) != file_name(new) {
            break;
        }
        if removed == Removed::ForSelf || first {
            let counts = side.counts.entry(old_folder.to_owned()).or_default();
            *counts.entry(new_folder, || 0) += 1;
        }
        if removed == Removed::Irrelevant || old_folder.is_empty() || new_folder.is_empty() {
            break;
        }
        (old, new, first) = (old_folder, new_folder, false);
    }
}

/// The path that a file has in another folder.
pub(super) fn moved(path: &BStr, folder: &BStr, to: &BStr) -> BString {
    let rest = path.get(folder.len() + 1..).unwrap_or_default();
    join(to, rest.as_bstr())
}
