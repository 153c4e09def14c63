//! The first patch or upstream commit with which a command fails, between two builds: points between them are made in
//! memory, and each is tried in a work tree of the store, as checks are.

use std::cell::RefCell;
use std::collections::HashMap;

use gix_hash::ObjectId;

use super::settle::Answers;
use super::stage::Target;
use super::{Events, NightError, Site};
use crate::bisect::{
    Bisected, Change, Changed, Found, Layer, Outcome, Patch, Point, Probe, Queues, Said, Upstream, first_bad,
};
use crate::build::manifest::{Manifest, PatchRecord};
use crate::check::{Cache, Ended, Ran};
use crate::store::{Odb, StoreError, WorkTree};
use crate::trunk::read_range;
use crate::workspace::Check;

/// The exit code with which a command says that it cannot tell (`git help bisect`, "Bisect run").
const SKIP: i32 = 125;
/// So many merges inside merges are looked into.
const DEPTH: usize = 8;

struct Bisect<'a> {
    site: &'a Site<'a>,
    odb: &'a Odb,
    answers: Answers<'a>,
    check: &'a Check,
    cache: Cache,
    events: &'a dyn Events,
    work: Option<WorkTree>,
    queues: Queues,
    /// Trunk, from the older build's commit to the newer one's.
    line: Vec<ObjectId>,
    ends: [&'a Target; 2],
    probes: Vec<Probe>,
    tried: HashMap<ObjectId, usize>,
    points: RefCell<HashMap<At, Point>>,
}

/// A point: a trunk commit by its place or itself, and how many changes of the queue are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    trunk: Trunk,
    changes: usize,
    /// How many patches of the queue; [`usize::MAX`] for all.
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trunk {
    Place(usize),
    Commit(ObjectId),
}

/// Seeks the first bad thing between two builds. The command is a check; it is run on each tree at most once, and with
/// `twice` a second time on the two that decide. None: the older build's trunk is no ancestor of the newer one's.
pub fn bisect(
    site: &Site<'_>,
    old: &Target,
    new: &Target,
    check: &Check,
    twice: bool,
    events: &dyn Events,
) -> Result<Option<Bisected>, NightError> {
    let odb = site.store.odb()?;
    let trunk = |m: &Manifest| {
        let missing = || NightError::NoCommit { rev: m.trunk.commit.clone() };
        ObjectId::from_hex(m.trunk.commit.as_bytes()).ok().filter(|id| odb.has(id)).ok_or_else(missing)
    };
    let (from, to) = (trunk(&old.manifest)?, trunk(&new.manifest)?);
    if !site.store.is_ancestor(&from, &to)? {
        return Ok(None);
    }
    let range = read_range(&site.store, &odb, &from, &to)?;
    let mut line = vec![from];
    line.extend(range.first_parent.iter().map(|n| range.commits[*n].id));
    let queues = Queues::of(&layers(&odb, &old.manifest)?, &layers(&odb, &new.manifest)?);
    let cache = Cache::at(&site.folder.join("checks"));
    let answers = Answers::of(site);
    let mut bisect = Bisect {
        site,
        odb: &odb,
        answers,
        check,
        cache,
        events,
        work: None,
        queues,
        line,
        ends: [old, new],
        probes: Vec::new(),
        tried: HashMap::new(),
        points: RefCell::default(),
    };
    let found = bisect.run(twice);
    if let Some(work) = bisect.work.take() {
        work.remove(&site.store)?;
    }
    found.map(Some)
}

/// The stack of a build.
fn layers(odb: &Odb, manifest: &Manifest) -> Result<Vec<Layer>, StoreError> {
    let mut layers = Vec::new();
    for p in &manifest.patches {
        let Some(commit) = p.commit.as_ref().and_then(|c| ObjectId::from_hex(c.as_bytes()).ok()) else {
            continue;
        };
        let made = odb.commit(&commit)?;
        let Some(parent) = made.parents.first() else { continue };
        let trees = (odb.commit(parent)?.tree, made.tree);
        layers.push(Layer { name: p.name.clone(), commit, change: p.patch_id.clone(), trees });
    }
    Ok(layers)
}

impl Bisect<'_> {
    fn run(&mut self, twice: bool) -> Result<Bisected, NightError> {
        let (n, m) = (self.line.len() - 1, self.queues.changes());
        let at = |trunk: usize, changes: usize| At { trunk: Trunk::Place(trunk), changes, most: usize::MAX };
        let (first, last) = (at(0, 0), at(n, m));
        let mut deciding = None;
        let outcome = match (self.said(first)?, self.said(last)?) {
            (Said::Bad, _) => Outcome::OldIsBad,
            (_, Said::Good) => Outcome::NewIsGood,
            (Said::Skip, _) => Outcome::Untold { at: self.name(first) },
            (_, Said::Skip) => Outcome::Untold { at: self.name(last) },
            (Said::Good, Said::Bad) => {
                // Is it trunk, with the older queue on it, or the queue? Where one corner cannot be told, the other may.
                let trunk_is_it = if n == 0 {
                    Some((false, 0))
                } else if m == 0 {
                    Some((true, 0))
                } else {
                    match self.said(at(n, 0))? {
                        Said::Bad => Some((true, 0)),
                        Said::Good => Some((false, n)),
                        Said::Skip => match self.said(at(0, m))? {
                            Said::Bad => Some((false, 0)),
                            Said::Good => Some((true, m)),
                            Said::Skip => None,
                        },
                    }
                };
                match trunk_is_it {
                    Some((true, changes)) => self.trunk(changes, &mut deciding)?,
                    Some((false, trunk)) => self.queue(trunk, &mut deciding)?,
                    None => Outcome::Untold { at: self.name(at(n, 0)) },
                }
            }
        };
        let mut flaky = None;
        let deciding = match deciding {
            None => None,
            Some(ends) => {
                if twice {
                    flaky = Some(self.again(ends)?);
                }
                Some([self.probe(ends[0])?, self.probe(ends[1])?])
            }
        };
        Ok(Bisected {
            trunk_commits: n,
            queue_changes: m,
            outcome,
            deciding,
            probes: std::mem::take(&mut self.probes),
            flaky,
        })
    }

    /// Halves along trunk, with so many changes of the queue made.
    fn trunk(&mut self, changes: usize, deciding: &mut Option<[At; 2]>) -> Result<Outcome, NightError> {
        let point = |trunk: Trunk| At { trunk, changes, most: usize::MAX };
        let found = first_bad(self.line.len() - 1, |t| self.said(point(Trunk::Place(t))))?;
        let mut commits: Vec<Upstream> = Vec::new();
        for place in found.good + 1..=found.bad {
            commits.push(self.upstream(self.line[place], None)?);
        }
        let (mut before, mut with) = (point(Trunk::Place(found.good)), point(Trunk::Place(found.bad)));
        if found.bad == found.good + 1 {
            // A merge brought commits of its own: one of them may be it.
            let merge = self.line[found.bad];
            if let Some((good, bad, inner)) = self.descend(merge, changes)? {
                (before, with) = (point(Trunk::Commit(good)), point(Trunk::Commit(bad)));
                commits = Vec::new();
                for id in inner {
                    commits.push(self.upstream(id, Some(merge))?);
                }
            }
        }
        *deciding = Some([before, with]);
        let (mut alone, mut patch, mut mended) = (None, None, false);
        match self.said(At { most: 0, ..with })? {
            Said::Bad => match self.said(At { most: 0, ..before })? {
                Said::Good => alone = Some(true),
                Said::Bad => (alone, mended) = (Some(false), true),
                Said::Skip => {}
            },
            Said::Skip => {}
            Said::Good => {
                alone = Some(false);
                let found = first_bad(self.queues.len(changes), |most| self.said(At { most, ..with }))?;
                // The last of those that cannot be told is the one with which it is known to be bad.
                patch = self.queues.patch(changes, found.bad - 1).map(|l| self.patch(&l.name, changes > 0));
            }
        }
        Ok(Outcome::Trunk { commits, alone, patch, mended, fallen: self.fallen(before, with)? })
    }

    /// Halves over the queue's changes, on the trunk commit at this place.
    fn queue(&mut self, trunk: usize, deciding: &mut Option<[At; 2]>) -> Result<Outcome, NightError> {
        let at = |trunk: usize, changes: usize| At { trunk: Trunk::Place(trunk), changes, most: usize::MAX };
        let found: Found = first_bad(self.queues.changes(), |q| self.said(at(trunk, q)))?;
        let mut changes = Vec::new();
        for place in found.good + 1..=found.bad {
            changes.extend(self.changed(place));
        }
        let (before, with) = (at(trunk, found.good), at(trunk, found.bad));
        *deciding = Some([before, with]);
        let last = self.line.len() - 1;
        let (mut alone, mut commits) = (None, Vec::new());
        if last > 0 {
            let other = if trunk == 0 { last } else { 0 };
            alone = match self.said(at(other, found.bad))? {
                Said::Bad => Some(true),
                Said::Skip => None,
                Said::Good => Some(false),
            };
            if alone == Some(false) && trunk == last {
                let along = first_bad(last, |t| self.said(at(t, found.bad)))?;
                for place in along.good + 1..=along.bad {
                    commits.push(self.upstream(self.line[place], None)?);
                }
            }
        }
        Ok(Outcome::Queue { changes, alone, commits, fallen: self.fallen(before, with)? })
    }

    /// The first bad commits that a merge brought: the last good one, the first bad one, and those that it may be. None
    /// where the merge itself is it, or is no merge of two.
    #[allow(clippy::type_complexity, reason = "three things, used once")]
    fn descend(
        &mut self,
        merge: ObjectId,
        changes: usize,
    ) -> Result<Option<(ObjectId, ObjectId, Vec<ObjectId>)>, NightError> {
        let mut found = None;
        let mut at = merge;
        for _ in 0..DEPTH {
            let parents = self.odb.commit(&at).map_err(StoreError::from)?.parents;
            let [first, second] = parents[..] else { break };
            let range = read_range(&self.site.store, self.odb, &first, &second)?;
            let mut side: Vec<ObjectId> = range.first_parent.iter().map(|n| range.commits[*n].id).collect();
            let Some(start) = side.first() else { break };
            let Some(base) = self.odb.commit(start).map_err(StoreError::from)?.parents.first().copied()
            else {
                break;
            };
            side.insert(0, base);
            let point = |id: ObjectId| At { trunk: Trunk::Commit(id), changes, most: usize::MAX };
            if self.said(point(second))? != Said::Bad || self.said(point(base))? != Said::Good {
                break;
            }
            let inner = first_bad(side.len() - 1, |n| self.said(point(side[n])))?;
            found = Some((side[inner.good], side[inner.bad], side[inner.good + 1..=inner.bad].to_vec()));
            if inner.bad != inner.good + 1 {
                break;
            }
            at = side[inner.bad];
        }
        Ok(found)
    }

    /// The tree of a point. It is made once.
    fn point(&self, at: At) -> Result<Point, NightError> {
        if let Some(known) = self.points.borrow().get(&at) {
            return Ok(known.clone());
        }
        let point = self.make(at)?;
        self.points.borrow_mut().insert(at, point.clone());
        Ok(point)
    }

    fn make(&self, at: At) -> Result<Point, NightError> {
        let last = self.line.len() - 1;
        let ends = [(0, 0, self.ends[0]), (last, self.queues.changes(), self.ends[1])];
        for (trunk, changes, target) in ends {
            let here = matches!(at.trunk, Trunk::Place(place) if place == trunk);
            if here && at.changes == changes && at.most == usize::MAX {
                let tree = self.odb.commit(&target.commit).map_err(StoreError::from)?.tree;
                return Ok(Point { tree, left_out: Vec::new() });
            }
        }
        let tree = self.odb.commit(&self.commit(at)).map_err(StoreError::from)?.tree;
        let newest = matches!(at.trunk, Trunk::Place(place) if place == last);
        Ok(self.queues.on(self.odb, &tree, at.changes, at.most, newest, &self.answers)?)
    }

    fn commit(&self, at: At) -> ObjectId {
        match at.trunk {
            Trunk::Commit(id) => id,
            Trunk::Place(place) => self.line[place],
        }
    }

    /// A point in words.
    fn name(&self, at: At) -> String {
        let trunk = self.commit(at).to_hex_with_len(12).to_string();
        let all = self.queues.changes();
        let queue = match at.changes {
            _ if at.most == 0 => return format!("trunk {trunk}, no patch"),
            _ if at.most != usize::MAX => format!("the first {} patches", at.most),
            0 => format!("the queue of {}", self.ends[0].build),
            n if n == all => format!("the queue of {}", self.ends[1].build),
            n => format!("the queue of {} and {n} of {all} changes", self.ends[0].build),
        };
        format!("trunk {trunk}, {queue}")
    }

    fn said(&mut self, at: At) -> Result<Said, NightError> {
        Ok(self.probe(at)?.said)
    }

    /// Tries a point, unless its tree was tried before.
    fn probe(&mut self, at: At) -> Result<Probe, NightError> {
        let Point { tree, left_out } = self.point(at)?;
        if let Some(known) = self.tried.get(&tree) {
            let (what, known) = (self.name(at), &self.probes[*known]);
            return Ok(Probe { what, left_out, ..known.clone() });
        }
        let what = self.name(at);
        let (ran, remembered) = match self.cache.get(self.check, &tree) {
            Some(ran) => (ran, true),
            None => {
                self.events.step(&format!("probe {}: {what}", self.probes.len() + 1));
                (self.try_out(&tree)?, false)
            }
        };
        let probe = Probe {
            what,
            tree: tree.to_string(),
            said: word(&ran),
            code: ran.code,
            last_line: ran.last_line.clone(),
            remembered,
            left_out,
            output: ran.output.to_string_lossy().into_owned(),
        };
        self.tried.insert(tree, self.probes.len());
        self.probes.push(probe.clone());
        Ok(probe)
    }

    /// Runs the command on a tree, in the work tree of this search.
    fn try_out(&mut self, tree: &ObjectId) -> Result<Ran, NightError> {
        self.odb.flush()?;
        let store = &self.site.store;
        let commit = store.tree_commit(tree)?;
        let place = self.site.folder.join("work").join(format!("{}.bisect", self.site.project.name));
        let work = match self.work.take() {
            Some(work) => {
                work.move_to(&commit)?;
                work
            }
            None => {
                // What a killed run left there is nobody's.
                WorkTree::at(&place).remove(store)?;
                WorkTree::add(store, &place, &commit)?
            }
        };
        let vars = [
            ("CARRY_PROJECT", self.site.project.name.clone()),
            ("CARRY_COMMIT", commit.to_string()),
            ("CARRY_TREE", tree.to_string()),
        ];
        let ran = self
            .cache
            .run(self.check, tree, work.path(), &vars)
            .map_err(|source| NightError::Io { path: place, source })?;
        self.work = Some(work);
        match ran.ended {
            Ended::NotStarted => {
                Err(NightError::Command { command: self.check.run.join(" "), reason: ran.last_line })
            }
            _ => Ok(ran),
        }
    }

    /// Runs the command again on deciding trees. Did it say something else of one?
    fn again(&mut self, ends: [At; 2]) -> Result<bool, NightError> {
        let mut flaky = false;
        for at in ends {
            let (before, what) = (self.probe(at)?, self.name(at));
            self.events.step(&format!("once more: {what}"));
            let tree = self.point(at)?.tree;
            flaky |= word(&self.try_out(&tree)?) != before.said;
        }
        Ok(flaky)
    }

    /// The patches that apply at one point, and at the next no more.
    fn fallen(&self, before: At, with: At) -> Result<Vec<String>, NightError> {
        let known = self.point(before)?.left_out;
        Ok(self.point(with)?.left_out.into_iter().filter(|name| !known.contains(name)).collect())
    }

    fn upstream(&self, id: ObjectId, merge: Option<ObjectId>) -> Result<Upstream, NightError> {
        let commit = self.odb.commit(&id).map_err(StoreError::from)?;
        let date = jiff::Timestamp::from_second(commit.author.seconds).unwrap_or_default();
        Ok(Upstream {
            commit: id.to_string(),
            subject: commit.subject(),
            author: [commit.author.name.to_string(), commit.author.email.to_string()],
            date: date.to_string(),
            merge: merge.filter(|merge| *merge != id).map(|id| id.to_string()),
        })
    }

    /// A patch as one of the builds has it.
    fn patch(&self, name: &str, newer: bool) -> Patch {
        let of = |target: &Target| -> Option<PatchRecord> {
            target.manifest.patches.iter().find(|p| p.name == name && p.commit.is_some()).cloned()
        };
        let [old, new] = self.ends;
        let (first, second) = if newer { (new, old) } else { (old, new) };
        let record = of(first).or_else(|| of(second));
        let text = |f: &dyn Fn(&PatchRecord) -> String| record.as_ref().map(f).unwrap_or_default();
        Patch {
            name: name.to_owned(),
            subject: text(&|p| p.subject.clone()),
            owner: text(&|p| p.metadata.owner.clone().unwrap_or_else(|| p.author[0].clone())),
            commit: text(&|p| p.commit.clone().unwrap_or_default()),
        }
    }

    fn changed(&self, at: usize) -> Option<Changed> {
        let (what, name, newer) = match self.queues.change(at)? {
            Change::Added(new) => ("added", &new.name, true),
            Change::Dropped(old) => ("dropped", &old.name, false),
            Change::Changed(_, new) => ("changed", &new.name, true),
        };
        Some(Changed { what, patch: self.patch(name, newer) })
    }
}

fn word(ran: &Ran) -> Said {
    match (ran.ended, ran.code) {
        (Ended::Passed, _) => Said::Good,
        (_, Some(SKIP)) => Said::Skip,
        _ => Said::Bad,
    }
}
