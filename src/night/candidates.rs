//! What is known of each patch that may go upstream, gathered from the queue, the graph, the builds of the last
//! quarter, and upstream's own commits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bstr::BString;
use gix_hash::ObjectId;
use jiff::{SignedDuration, Timestamp};

use super::depend::{Stack, stack};
use super::past::{self, Past};
use super::{Events, NightError, Site, recorded_manifest};
use crate::build::manifest::Manifest;
use crate::candidate::{Candidate, Facts, Obstacle, Saving, is_test, rank, saving};
use crate::check::Ended;
use crate::graph::Graph;
use crate::queue::{Content, LineKind, Metadata, Patch, SubjectTag};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::{Odb, Repo, StoreError, begin_in, cores};
use crate::trunk;
use crate::workspace::{Outcome, PatchLock};

/// How far back costs are counted: a quarter.
const WINDOW: SignedDuration = SignedDuration::from_hours(91 * 24);
/// So many builds of it are looked at.
const BUILDS: usize = 500;
/// So many lines beside a change count as its own: what git takes for context.
const BESIDE: usize = 3;

/// The patches of a project, ranked.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Ranked {
    /// The trunk commit on which each closure was tried.
    pub trunk: String,
    /// From when on costs are counted, in RFC 3339.
    pub since: String,
    /// How many builds that are.
    pub builds: usize,
    /// The patches: those that are ready first.
    pub candidates: Vec<Candidate>,
    /// The few that remove most of the conflicts; none, where there were none to remove.
    pub saving: Option<Saving>,
}

/// What is known of the project's past.
pub(super) struct Ground {
    manifest: Option<Manifest>,
    /// The builds of the last quarter, the oldest first.
    pub builds: Vec<Past>,
    since: Timestamp,
}

/// Ranks the patches of the project.
pub fn ranked(site: &Site<'_>, events: &dyn Events) -> Result<Ranked, NightError> {
    ranked_of(site, gathered(site, events)?, events)
}

/// The last build, and those of the quarter before it.
pub(super) fn gathered(site: &Site<'_>, events: &dyn Events) -> Result<Ground, NightError> {
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let manifest = lock.map(|l| recorded_manifest(site, l)).transpose()?.flatten();
    events.step("reading the builds of the last quarter");
    let (builds, since) = window(site, manifest.as_ref())?;
    Ok(Ground { manifest, builds, since })
}

/// The ranking, with what is known of the past.
pub(super) fn ranked_of(site: &Site<'_>, ground: Ground, events: &dyn Events) -> Result<Ranked, NightError> {
    let Ground { manifest, builds, since } = ground;
    let queue = site.queue()?;
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let tip = trunk::known(&site.store)?.ok_or(trunk::FetchError::NeverFetched)?;

    events.step("trying each patch on the bare trunk");
    let stack = stack(site, &queue)?;
    let graph = Graph::of(&stack.odb, &stack.nodes, &BTreeMap::new())?;
    let locks: HashMap<&str, &PatchLock> =
        lock.iter().flat_map(|l| &l.patches).map(|p| (p.name.as_str(), p)).collect();
    let patches: HashMap<&str, &Patch> = queue.patches.iter().map(|p| (p.name(), p)).collect();
    let failing = failing(manifest.as_ref());
    let bare = stack.odb.commit(&tip)?.tree;

    events.step("looking at what upstream changed beside them");
    let churn = churn(site, &queue.patches, manifest.as_ref(), since, &tip)?;
    let now = super::beat::now();
    let mut all = Vec::with_capacity(queue.patches.len());
    for patch in &queue.patches {
        let name = patch.name();
        let there = graph.patches().contains(&name);
        let needs: Vec<&str> = if there { graph.closure(name) } else { vec![name] };
        let members: Vec<&Patch> = needs.iter().filter_map(|n| patches.get(n).copied()).collect();
        let mut obstacles: Vec<Obstacle> = members.iter().filter_map(|p| never(p)).collect();
        let locked = locks.get(name).copied();
        if there {
            obstacles.extend(on_bare_trunk(&stack, &bare, &needs)?);
        } else {
            let held = patch.hold.as_ref().map(|_| Outcome::Held);
            let outcome = held.or(locked.map(|l| l.outcome));
            let outcome = outcome.map_or("not replayed yet", Outcome::word).to_owned();
            obstacles.push(Obstacle::Out { patch: name.to_owned(), outcome });
        }
        for member in &members {
            let fails = failing.iter().filter(|(patch, _)| *patch == member.name());
            obstacles.extend(fails.map(|(_, check)| Obstacle::Check { name: (*check).to_owned() }));
            let open = locks.get(member.name()).into_iter().flat_map(|l| &l.proposed);
            let open = open.filter(|p| p.decision.is_none());
            obstacles.extend(open.map(|p| Obstacle::Upstream { commit: p.evidence.commit.clone() }));
        }
        let tests = members.iter().flat_map(|p| paths(p)).map(ToString::to_string).filter(|p| is_test(p));
        let (conflicts, waiting, refreshed) = cost(&builds, name, now);
        all.push(Facts {
            name: name.to_owned(),
            subject: patch.subject(),
            owner: patch.metadata.owner.clone().unwrap_or_else(|| patch.header.author.name.to_string()),
            closure: needs.iter().filter(|n| **n != name).map(|n| (*n).to_owned()).collect(),
            obstacles,
            conflicts,
            waiting,
            refreshed,
            churn: churn.get(name).cloned().unwrap_or_default(),
            dependents: match there {
                true => graph.dependents(name).into_iter().map(str::to_owned).collect(),
                false => Vec::new(),
            },
            years: years(patch, now),
            lines: lines(patch),
            tests: tests.collect::<BTreeSet<String>>().into_iter().collect(),
            signed_off: !patch.metadata.signed_off_by.is_empty(),
            sent: sent(&patch.metadata),
        });
    }
    let candidates = rank(all, &site.project.candidates);
    let saving = saving(&candidates, &conflicts(&builds));
    let (since, builds) = (since.to_string(), builds.len());
    Ok(Ranked { trunk: tip.to_string(), since, builds, candidates, saving })
}

/// The builds of the last quarter up to the last one, the oldest first, and when that quarter began.
fn window(site: &Site<'_>, last: Option<&Manifest>) -> Result<(Vec<Past>, Timestamp), NightError> {
    let end = last.and_then(|m| m.trunk.date.parse().ok()).unwrap_or_else(super::beat::now);
    let since = end.checked_sub(WINDOW).unwrap_or(end);
    let Some(last) = last else { return Ok((Vec::new(), since)) };
    let (mut builds, _) = past::builds(site, &site.commit(&last.deploy.commit)?, BUILDS)?;
    builds.retain(|b| b.trunk.date.parse::<Timestamp>().is_ok_and(|date| date >= since));
    Ok((builds, since))
}

/// Root conflicts, days in conflict, and builds for which it was made anew.
fn cost(builds: &[Past], name: &str, now: Timestamp) -> (usize, f64, usize) {
    let (mut roots, mut days, mut refreshed) = (0, 0.0, 0);
    for (at, build) in builds.iter().enumerate() {
        match build.outcome(name) {
            Some(outcome) if outcome.is_root() => {
                roots += 1;
                // Until the next build, or today: a quarter has no more days than that.
                let from = build.trunk.date.parse::<Timestamp>().unwrap_or(now);
                let next = builds.get(at + 1).and_then(|b| b.trunk.date.parse().ok()).unwrap_or(now);
                days += (next.duration_since(from).as_secs_f64() / 86_400.0).max(0.0);
            }
            Some(Outcome::Refreshed | Outcome::Resolved) => refreshed += 1,
            _ => {}
        }
    }
    (roots, days.min(WINDOW.as_secs_f64() / 86_400.0), refreshed)
}

/// How many root conflicts each patch had in the window, those that left the queue among them.
fn conflicts(builds: &[Past]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for patch in builds.iter().flat_map(|b| &b.patches).filter(|p| p.outcome.is_root()) {
        *counts.entry(patch.name.clone()).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// Does its header say that it is not for upstream?
fn never(patch: &Patch) -> Option<Obstacle> {
    let m = &patch.metadata;
    let word = |text: &Option<String>, words: &[&str]| {
        let text = text.as_deref()?;
        let begins = |w: &&str| text.get(..w.len()).is_some_and(|head| head.eq_ignore_ascii_case(w));
        words.iter().any(begins).then(|| text.to_owned())
    };
    let says = word(&m.forwarded, &["not-needed"]).map(|t| format!("Forwarded: {t}"));
    let status =
        || word(&m.upstream_status, &["Inappropriate", "Denied"]).map(|t| format!("Upstream-Status: {t}"));
    let mainline = || word(&m.patch_mainline, &["Never"]).map(|t| format!("Patch-mainline: {t}"));
    let tag = || match m.subject_tag {
        Some(SubjectTag::Carry) => Some("UPSTREAM: <carry>".to_owned()),
        Some(SubjectTag::Drop) => Some("UPSTREAM: <drop>".to_owned()),
        _ => None,
    };
    let says = says.or_else(status).or_else(mainline).or_else(tag)?;
    Some(Obstacle::Never { patch: patch.name().to_owned(), says })
}

/// What its header says of where it was sent.
fn sent(m: &Metadata) -> Option<String> {
    let forwarded = m.forwarded.as_deref().filter(|f| !matches!(*f, "no" | "not-needed") && !f.is_empty());
    let status = m.upstream_status.as_deref().filter(|s| s.starts_with("Submitted"));
    let request = match m.subject_tag {
        Some(SubjectTag::PullRequest(n)) => Some(format!("pull request {n}")),
        _ => None,
    };
    forwarded.or(status).map(str::to_owned).or(request)
}

/// Does the closure apply on the bare trunk, patch by patch?
fn on_bare_trunk(
    stack: &Stack<'_>,
    bare: &ObjectId,
    closure: &[&str],
) -> Result<Option<Obstacle>, NightError> {
    let mut tree = *bare;
    for node in stack.nodes.iter().filter(|n| closure.contains(&n.step.name.as_str())) {
        let step = &node.step;
        match merge_trees(&stack.odb, &step.before, &tree, &step.after)? {
            Merged::Clean(next) => tree = next,
            Merged::Conflicts(conflicts) => {
                let paths = conflicts.iter().map(|c| c.path.to_string()).collect();
                return Ok(Some(Obstacle::Conflicts { patch: step.name.clone(), paths }));
            }
        }
    }
    Ok(None)
}

/// Patches with which a check of the last build failed, and the check.
fn failing(manifest: Option<&Manifest>) -> Vec<(&str, &str)> {
    let failed = manifest.iter().flat_map(|m| &m.checks).filter(|c| c.ended != Ended::Passed);
    failed.filter_map(|c| Some((c.broken_by.as_ref()?.patch.as_deref()?, c.name.as_str()))).collect()
}

fn paths(patch: &Patch) -> impl Iterator<Item = &BString> {
    patch.paths.iter()
}

fn lines(patch: &Patch) -> usize {
    let hunks = patch.changes().iter().filter_map(|c| match &c.content {
        Content::Text(hunks) => Some(hunks),
        _ => None,
    });
    hunks.flatten().flat_map(|h| &h.lines).filter(|l| l.kind != LineKind::Context).count()
}

fn years(patch: &Patch, now: Timestamp) -> f64 {
    let written = Timestamp::from_second(patch.header.date.seconds).unwrap_or(now);
    (now.duration_since(written).as_hours().max(0) as f64 / (24.0 * 365.25) * 100.0).round() / 100.0
}

/// For each patch of the last build the upstream commits since then that changed the lines that it touches, or that
/// stand beside them.
fn churn(
    site: &Site<'_>,
    patches: &[Patch],
    manifest: Option<&Manifest>,
    since: Timestamp,
    tip: &ObjectId,
) -> Result<HashMap<String, Vec<String>>, NightError> {
    let Some(manifest) = manifest else { return Ok(HashMap::new()) };
    let odb = site.store.odb()?;
    let Some(from) = before(&odb, tip, since)? else { return Ok(HashMap::new()) };
    let touched = trunk::churn(&site.store, &odb, &from, tip)?;
    let commits: HashMap<&str, ObjectId> = manifest
        .patches
        .iter()
        .filter_map(|p| Some((p.name.as_str(), ObjectId::from_hex(p.commit.as_deref()?.as_bytes()).ok()?)))
        .collect();
    let own: BTreeSet<ObjectId> = commits.values().copied().collect();
    let mut asked = Vec::new();
    for patch in patches {
        let Some(commit) = commits.get(patch.name()).filter(|id| odb.has(id)) else { continue };
        let Some(parent) = odb.commit(commit)?.parents.first().copied() else { continue };
        for change in patch.changes() {
            let Some(path) = change.old_path.as_ref().filter(|p| touched.contains_key(*p)) else { continue };
            let Content::Text(hunks) = &change.content else { continue };
            for hunk in hunks {
                // A patch has as many lines of context as its author's git gave it; three count.
                let edge = |n: usize| n.saturating_sub(BESIDE);
                let kinds: Vec<LineKind> = hunk.lines.iter().map(|l| l.kind).collect();
                let ahead = kinds.iter().take_while(|k| **k == LineKind::Context).count();
                let behind = kinds.iter().rev().take_while(|k| **k == LineKind::Context).count();
                let old = kinds.iter().filter(|k| **k != LineKind::Add).count();
                let first = (hunk.old_start + edge(ahead)).max(1);
                let last = (hunk.old_start + old).saturating_sub(1 + edge(behind));
                if last >= first {
                    asked.push((patch.name(), parent, path, first, last));
                }
            }
        }
    }
    let blamed = blame_all(&site.store, &from, &asked)?;
    let mut found: HashMap<String, BTreeSet<(std::cmp::Reverse<i64>, String)>> = HashMap::new();
    for (name, ids) in blamed {
        for id in ids.into_iter().filter(|id| !own.contains(id)) {
            let when = odb.commit(&id)?.committer.seconds;
            found.entry(name.to_owned()).or_default().insert((std::cmp::Reverse(when), id.to_string()));
        }
    }
    Ok(found.into_iter().map(|(name, ids)| (name, ids.into_iter().map(|(_, id)| id).collect())).collect())
}

/// The lines of a file, as git's blame is asked about them: whose patch, from where, which.
type Asked<'a> = (&'a str, ObjectId, &'a BString, usize, usize);

/// Asks git whose the lines are, on all cores.
fn blame_all<'a>(
    store: &Repo,
    from: &ObjectId,
    asked: &[Asked<'a>],
) -> Result<Vec<(&'a str, Vec<ObjectId>)>, StoreError> {
    let share = asked.len().div_ceil(cores()).max(1);
    let one = |(name, commit, path, first, last): &Asked<'a>| {
        Ok((*name, store.blame(from, commit, path, *first, *last)?))
    };
    std::thread::scope(|threads| {
        let parts: Vec<_> = asked
            .chunks(share)
            .map(|part| {
                begin_in(threads, move || part.iter().map(one).collect::<Result<Vec<_>, StoreError>>())
            })
            .collect();
        let mut all = Vec::with_capacity(asked.len());
        for part in parts {
            all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

/// The last commit on the first-parent line of `tip` that is older than `since`; none where history is younger.
fn before(odb: &Odb, tip: &ObjectId, since: Timestamp) -> Result<Option<ObjectId>, StoreError> {
    let mut at = *tip;
    loop {
        let commit = odb.commit(&at)?;
        if commit.committer.seconds < since.as_second() {
            return Ok(Some(at));
        }
        match commit.parents.first() {
            // A shallow clone ends here.
            Some(parent) if odb.has(parent) => at = *parent,
            _ => return Ok(None),
        }
    }
}
