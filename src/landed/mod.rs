//! In: the patches with their trees, and the trunk's range. Out: for each patch that upstream has, the commit and
//! the evidence. Only commits contained in the followed trunk are looked at; one file a rung of the ladder. Never: a change of
//! the queue.

mod declared;
mod edits;
mod emptied;
mod first;
mod fixes;
mod footers;
mod lines;
mod moved;
mod near;
mod patch_id;
mod reversed;
mod revised;
mod split;
mod squashed;
mod touches;
mod undone;

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use gix_hash::ObjectId;

use crate::queue::{Metadata, Patch};
use crate::store::{Odb, Repo, StoreError, on_all_cores};
use crate::trunk::{Range, Upstream, delta};
use crate::workspace::Bearing;

pub use crate::workspace::{Confidence, Evidence, Rung};
pub use emptied::emptied;
pub use fixes::fixes;
pub use undone::note_undone;

use moved::{Look, Moved};

/// A patch as this step sees it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// The trees before and after it.
    pub trees: (ObjectId, ObjectId),
    /// Its text, if it has one.
    pub text: Option<&'a Patch>,
    /// The paths that it touches.
    pub paths: BTreeSet<BString>,
    /// What its header says.
    pub metadata: &'a Metadata,
    /// The first line of its message.
    pub subject: String,
    /// Its author's mail address.
    pub mail: BString,
    /// The upstream commits that a person said do not have it.
    pub rejected: BTreeSet<String>,
    /// Where it was sent, and the commit by which upstream has it, if the forge says that it has.
    pub merged: Option<(String, String)>,
}

/// What was found of the patches, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Upstream has them: no one needs to be asked.
    pub settled: BTreeMap<String, Evidence>,
    /// Much speaks for it; a person decides.
    pub proposed: BTreeMap<String, Evidence>,
}

/// The patches that the range has, which starts at `base`. Their trees must be written.
///
/// The ladder is climbed down: a patch that a rung settles is not looked for by the next. What a person rejected is not
/// found again. Those that are settled are told after each rung, and once they are told they stay so.
pub fn find(
    repo: &Repo,
    odb: &Odb,
    patches: &[Candidate<'_>],
    base: &ObjectId,
    range: &Range,
    tell: &dyn Fn(&BTreeMap<String, Evidence>),
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let allowed = |patches: &[Candidate<'_>], found: BTreeMap<String, Evidence>| {
        let mut found = found;
        for patch in patches.iter().filter(|p| !p.rejected.is_empty()) {
            if found.get(patch.name).is_some_and(|e| patch.rejected.iter().any(|c| e.rests_on(c))) {
                found.remove(patch.name);
            }
        }
        found
    };
    found.settled = allowed(patches, declared::late(repo, odb, patches, base)?);
    let (Some(tip), false) = (range.first_parent.last(), patches.is_empty()) else {
        tell(&found.settled);
        return Ok(found);
    };
    let reverted = range.reverted();
    let standing = |u: &Upstream| !reverted.contains(&u.id);
    found.settled.retain(|_, e| !reverted.iter().any(|id| e.rests_on(&id.to_string())));
    found.settled.extend(allowed(patches, footers::find(patches, range, &standing)));
    found.settled.extend(allowed(patches, declared::find(patches, range, &standing)));
    tell(&found.settled);
    let open = |patch: &Candidate<'_>| !found.settled.contains_key(patch.name);
    let wanted = patches.iter().filter(|p| open(p)).flat_map(|p| p.paths.iter().cloned()).collect();
    let touches = touches::touches(odb, range, &wanted, &standing)?;
    let alike = patch_id::alike(odb, patches, &open, range, &touches)?;
    let same = patch_id::compare(repo, odb, patches, range, &alike)?;
    found.settled.extend(allowed(patches, same));
    tell(&found.settled);

    let moved = Moved::of(odb, range, &range.commits[*tip])?;
    let left: Vec<&Candidate<'_>> =
        patches.iter().filter(|patch| !found.settled.contains_key(patch.name)).collect();
    let mut open: Vec<&Candidate<'_>> = Vec::new();
    for (patch, look) in left.iter().zip(on_all_cores(odb, &left, &|odb, patch| moved.look(odb, patch))) {
        match look? {
            Look::Settled(evidence) => drop(found.settled.insert(patch.name.to_owned(), evidence)),
            Look::Open => open.push(patch),
            Look::Away => {}
        }
    }
    tell(&found.settled);
    let (near, own) = near::near(odb, &open, range, &touches)?;
    // A commit that has several patches is more than a version of one of them, and several commits that have nearly
    // all of a patch are more than a version that has some of it.
    let mut weak = revised::find(&open, &near, &own);
    for (at, evidence) in split::find(&near, &own) {
        if weak.get(&at).is_none_or(|known| known.likeness < Some(split::ENOUGH)) {
            weak.insert(at, evidence);
        }
    }
    for (at, (evidence, many)) in squashed::find(&open, &near, &own) {
        if many || !weak.contains_key(&at) {
            weak.insert(at, evidence);
        }
    }
    found.proposed.extend(weak.into_iter().map(|(at, evidence)| (open[at].name.to_owned(), evidence)));
    Ok(found)
}

/// The paths between two trees.
fn paths(odb: &Odb, trees: &(ObjectId, ObjectId)) -> Result<BTreeSet<BString>, StoreError> {
    Ok(delta::changes(odb, &trees.0, &trees.1)?.into_iter().map(|c| c.path).collect())
}

/// Evidence that an upstream commit gives.
fn told(rung: Rung, upstream: &Upstream, proof: String) -> Evidence {
    let author = &upstream.commit.author;
    let date = jiff::Timestamp::from_second(author.seconds).unwrap_or_default();
    Evidence {
        rung,
        confidence: rung.confidence(),
        commit: upstream.id.to_string(),
        with: Vec::new(),
        author: author.name.to_string(),
        date: date.to_string(),
        subject: upstream.commit.subject(),
        likeness: None,
        proof,
    }
}

/// An upstream commit that names another.
fn bearing(upstream: &Upstream, names: &str) -> Bearing {
    Bearing {
        commit: upstream.id.to_string(),
        subject: upstream.commit.subject(),
        author: upstream.commit.author.name.to_string(),
        names: names.to_owned(),
    }
}
