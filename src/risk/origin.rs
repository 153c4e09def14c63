//! Who brought a finding: the upstream commit, or the patch of the queue.
//!
//! Of the commits between two builds, those that touch a finding's file are tried, the newest first: the one whose own
//! move, from its parent to itself, shows the finding, brought it. A finding that no commit of the new build shows may
//! come from a patch that the old build had and the new one has not.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::migration::chain::Known;
use super::pack::Rules;
use super::trees::Trees;
use super::{Finding, Origin, Severity, findings};
use crate::store::{Odb, Repo, StoreError};
use crate::trunk::compare::Compare;
use crate::trunk::{Upstream, read_range};

/// Commits that are looked into for one finding.
const TRIED: usize = 40;

/// A commit that touches files of findings.
struct Candidate {
    id: ObjectId,
    before: ObjectId,
    after: ObjectId,
    paths: BTreeSet<String>,
}

/// Names the origins of findings of the move from the commit `old` to the commit `new`. `patch_of` names the patch
/// that a stack's commit is. A migration of the queue's own is always a stop, and so is a version that it bumps or an
/// object that it changes: upstream may number its next one alike.
pub fn attribute(
    repo: &Repo,
    odb: &Odb,
    rules: &Rules,
    [old, new]: [&ObjectId; 2],
    found: &mut [Finding],
    patch_of: &dyn Fn(&ObjectId) -> Option<String>,
) -> Result<(), StoreError> {
    let wanted = |findings: &[Finding]| -> BTreeSet<BString> {
        let open = findings.iter().filter(|f| f.origin.is_none());
        open.flat_map(|f| [Some(f.path.as_str()), f.old.as_deref().filter(|_| f.kind == "file.moved")])
            .flatten()
            .map(BString::from)
            .collect()
    };
    let read = Known::default();
    // Forward through what came, then backward through what went.
    for (from, to, dropped) in [(old, new, false), (new, old, true)] {
        let paths = wanted(found);
        if paths.is_empty() {
            break;
        }
        let candidates = candidates(repo, odb, from, to, &paths)?;
        let mut known: HashMap<ObjectId, Vec<Finding>> = HashMap::new();
        for finding in found.iter_mut().filter(|f| f.origin.is_none()) {
            let touching = candidates.iter().rev().filter(|c| c.paths.contains(&finding.path));
            for candidate in touching.take(TRIED) {
                let own = match known.entry(candidate.id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let (before, after) = match dropped {
                            false => (candidate.before, candidate.after),
                            true => (candidate.after, candidate.before),
                        };
                        new.insert(findings(&Trees::compare(odb, before, after)?, rules, &read)?)
                    }
                };
                let shows =
                    |f: &Finding| f.kind == finding.kind && f.path == finding.path && f.name == finding.name;
                if own.iter().any(shows) {
                    finding.origin = Some(origin(odb, &candidate.id, patch_of(&candidate.id), dropped)?);
                    break;
                }
            }
        }
    }
    for finding in found {
        let of_queue = finding.origin.as_ref().is_some_and(|o| o.patch.is_some() && !o.dropped);
        if of_queue && is_numbered_by_upstream(&finding.kind) {
            finding.severity = Severity::Stop;
        }
    }
    Ok(())
}

/// Does upstream give out the next number of this kind: migrations, and the versions that sides tell each other?
fn is_numbered_by_upstream(kind: &str) -> bool {
    kind.starts_with("db.migration")
        || ["service.", "rpc.", "object.", "api."].iter().any(|k| kind.starts_with(k))
}

/// What the messages of the commits say that `new` has and `old` has not. `brought` are these commits, where they are
/// known; else they are asked for.
pub fn messages(
    repo: &Repo,
    odb: &Odb,
    rules: &Rules,
    [old, new]: [&ObjectId; 2],
    brought: Option<Vec<Upstream>>,
    patch_of: &dyn Fn(&ObjectId) -> Option<String>,
) -> Result<Vec<Finding>, StoreError> {
    let mut out = Vec::new();
    if rules.commits.is_empty() || old == new {
        return Ok(out);
    }
    let brought = match brought {
        Some(brought) => brought,
        None => read_range(repo, odb, old, new)?.commits,
    };
    for upstream in &brought {
        let message = upstream.commit.message.to_str_lossy();
        for rule in &rules.commits {
            let Some(found) = rule.regex.0.find(&message) else { continue };
            let line = message[found.start()..].lines().next().unwrap_or_default();
            let severity = rules.severity_of(&rule.kind, rule.severity);
            let mut finding = Finding::new(&rule.kind, severity, &rule.id, "");
            finding.name = upstream.id.to_hex_with_len(12).to_string();
            finding.text = Some(line.to_owned());
            finding.origin = Some(origin(odb, &upstream.id, patch_of(&upstream.id), false)?);
            out.push(finding);
        }
    }
    out.retain(|f| f.severity > Severity::Off);
    Ok(out)
}

/// The commits of `to` that `from` has not and that touch one of the paths, parents first. A merge brings nothing of
/// its own here.
fn candidates(
    repo: &Repo,
    odb: &Odb,
    from: &ObjectId,
    to: &ObjectId,
    paths: &BTreeSet<BString>,
) -> Result<Vec<Candidate>, StoreError> {
    let (mut out, mut compared) = (Vec::new(), Compare::of(odb));
    // The newest first: git packs a tree as a difference to a newer one, which is at hand then.
    for ranged in repo.range(Some(from), to)?.into_iter().rev() {
        let [parent] = ranged.parents[..] else { continue };
        let (before, after) = (odb.commit(&parent)?.tree, odb.commit(&ranged.id)?.tree);
        let touched = compared.touched(&before, &after, paths)?.paths;
        if !touched.is_empty() {
            let paths = touched.iter().map(|p| p.to_string()).collect();
            out.push(Candidate { id: ranged.id, before, after, paths });
        }
    }
    out.reverse();
    Ok(out)
}

fn origin(odb: &Odb, id: &ObjectId, patch: Option<String>, dropped: bool) -> Result<Origin, StoreError> {
    let commit = odb.commit(id)?;
    Ok(Origin {
        commit: id.to_string(),
        subject: commit.subject(),
        author: [commit.author.name.to_string(), commit.author.email.to_string()],
        patch,
        dropped,
    })
}
