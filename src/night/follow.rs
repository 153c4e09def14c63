//! Upstream changes that have not merged yet, carried as patches: taken in at their newest revision, brought up to date
//! each night. They are fetched by git from the refs that the forges keep them at; the header of each patch says which
//! change it is of (`Forwarded`), and which revision of it this is (`Carry-Follows`). When upstream merges the change, the
//! patch leaves as any other that was sent there.

use std::collections::BTreeMap;

use gix_hash::ObjectId;
use serde::Serialize;

use super::draft::{Draft, fault};
use super::edit::{Place, go, patch_files};
use super::revision::{put, subject_of};
use super::task::TaskError;
use super::{Events, Night, NightError, Site, resolve_address};
use crate::forge;
use crate::fork::{self, Local};
use crate::queue::{Metadata, Patch, add_trailer, change_sum, set_trailer, without_trailers};
use crate::store::Odb;
use crate::store::git::without_secrets;
use crate::trunk;
use crate::workspace::{Forge, ForgeKind};

/// What has more commits than that is for another branch: GitHub itself lists no more of a pull request (docs.github.com,
/// "List commits on a pull request").
const MOST: usize = 250;

/// A change as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A pull request of GitHub.
    PullRequest(u64),
    /// A change of Gerrit: its number or its Change-Id.
    Change(String),
}

/// A change that was taken in at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// Where it is to be seen.
    pub url: String,
    /// The patches that it is carried as.
    pub patches: Vec<String>,
    /// The revision before; none: it is new here.
    pub from: Option<String>,
    /// The revision now.
    pub to: String,
    /// `git range-diff` of the two; none where the one before is not known here, or the change is new.
    pub range_diff: Option<String>,
    /// What a person should know.
    pub note: Option<String>,
}

/// A change that is carried: its patches, in the queue's order.
struct Carried {
    number: u64,
    url: String,
    patches: Vec<Patch>,
}

impl Carried {
    fn revision(&self) -> Option<&str> {
        self.patches.iter().find_map(|p| follows(&p.metadata)).map(|(revision, _)| revision)
    }

    /// The patches whose changes are not those that were taken in: somebody worked on them here.
    fn worked_on(&self) -> Vec<&str> {
        let other = |p: &&Patch| {
            let sum = follows(&p.metadata).map(|(_, sum)| sum);
            sum.is_some_and(|sum| sum != change_sum(p.changes()))
        };
        self.patches.iter().filter(other).map(Patch::name).collect()
    }
}

/// The revision that a patch was taken from, and the sum of what it changed then.
fn follows(metadata: &Metadata) -> Option<(&str, &str)> {
    metadata.follows.as_deref()?.split_once(' ')
}

/// Takes a change in, or brings it up to date. With `replace`, what was changed here goes.
pub fn pull_in(
    site: &Site<'_>,
    wanted: &Wanted,
    place: &Place,
    replace: bool,
    events: &dyn Events,
) -> Result<(Followed, Night), TaskError> {
    site.preflight()?;
    let forge = forge_for(site, wanted)?;
    let number = number(site, forge, wanted)?;
    let url = url(forge, number);
    let mut draft = Draft::of(site, "")?;
    let carried = carried(forge, &draft).into_iter().find(|c| c.number == number);
    let address = address(site, forge)?;
    events.step(&format!("looking for {url}"));
    let (name, head) = newest(site, forge, &address, &[number])?.remove(&number).ok_or_else(|| {
        let hint = format!("is the number right? It was looked for at {}", without_secrets(&address));
        TaskError::Pointless { patch: url.clone(), why: "is not there".into(), hint }
    })?;
    if let Some(carried) = &carried {
        let names: Vec<&str> = carried.patches.iter().map(Patch::name).collect();
        let pointless =
            |why: String, hint: &str| TaskError::Pointless { patch: url.clone(), why, hint: hint.to_owned() };
        if carried.revision() == Some(head.to_string().as_str()) && !replace {
            let why = format!("is carried at its newest revision already: {}", names.join(", "));
            return Err(pointless(why, "each night brings it up to date"));
        }
        let worked_on = carried.worked_on();
        if !worked_on.is_empty() && !replace {
            let why = format!("is carried, and was changed here: {}", worked_on.join(", "));
            return Err(pointless(why, "--replace takes the newest revision instead"));
        }
    }
    let change = Change { number, url: &url, name: &name, head };
    let line = match carried {
        Some(_) => 0,
        None => place.line(site, &draft.queue.patches)?,
    };
    let followed = take(site, &mut draft, &address, &change, carried, line, events)?;
    draft.message = format!("carry: {}: {}\n", site.project.name, sentence(&followed));
    let night = go(site, draft, events)?;
    Ok((followed, night))
}

/// Brings the changes that the queue carries up to date, in a draft; none, if none moved. What cannot be reached, or was
/// worked on here, stays as it is and is told.
pub(super) fn follow(
    site: &Site<'_>,
    draft: Option<Draft>,
    events: &dyn Events,
) -> Result<(Option<Draft>, Vec<Followed>), NightError> {
    let unmoved = |draft| Ok((draft, Vec::new()));
    let followed_at = |f: &&Forge| matches!(f.kind, ForgeKind::Github | ForgeKind::Gerrit);
    let Some(forge) = site.project.forge.as_ref().filter(followed_at) else { return unmoved(draft) };
    let mut now = match &draft {
        Some(draft) => draft.clone(),
        None => Draft::of(site, "")?,
    };
    let all = carried(forge, &now);
    if all.is_empty() {
        return unmoved(draft);
    }
    events.step("asking for new revisions of what is followed");
    let numbers: Vec<u64> = all.iter().map(|c| c.number).collect();
    let asked = address(site, forge).map_err(told).and_then(|address| {
        let found = newest(site, forge, &address, &numbers).map_err(told)?;
        Ok((address, found))
    });
    let (address, found) = match asked {
        Ok(asked) => asked,
        Err(why) => {
            events.note(&format!("what is followed could not be asked for, and stays as it is: {why}"));
            return unmoved(draft);
        }
    };
    let mut moved = Vec::new();
    for carried in all {
        let Some((name, head)) = found.get(&carried.number) else {
            events.note(&format!("{} is not there any more; it stays as it is", carried.url));
            continue;
        };
        if carried.revision() == Some(head.to_string().as_str()) {
            continue;
        }
        let worked_on = carried.worked_on();
        if !worked_on.is_empty() {
            events.note(&format!(
                "{} has a new revision, and {} was changed here: git carry add {} --replace takes the new one instead",
                carried.url,
                worked_on.join(", "),
                option(forge, carried.number)
            ));
            continue;
        }
        let url = carried.url.clone();
        let change = Change { number: carried.number, url: &url, name, head: *head };
        // What goes wrong with one change is no reason to leave the others behind.
        let mut next = now.clone();
        match take(site, &mut next, &address, &change, Some(carried), 0, events) {
            Ok(followed) => {
                now = next;
                moved.push(followed);
            }
            Err(e) => events.note(&format!("{url} stays as it is: {}", told(e))),
        }
    }
    if moved.is_empty() {
        return unmoved(draft);
    }
    let all: Vec<String> = moved.iter().map(sentence).collect();
    let told = match all.as_slice() {
        [one] => format!("{one}\n"),
        many => format!("follow {} changes\n\n{}\n", many.len(), many.join("\n")),
    };
    now.message = match &draft {
        Some(before) => format!("{}\n{told}", before.message),
        None => format!("carry: {}: {told}", site.project.name),
    };
    Ok((Some(now), moved))
}

fn told(e: TaskError) -> String {
    e.to_string()
}

fn sentence(followed: &Followed) -> String {
    let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
    let names = followed.patches.join(", ");
    match &followed.from {
        Some(from) => {
            format!("follow {} from {} to {}: {names}", followed.url, short(from), short(&followed.to))
        }
        None => format!("add {names} of {} at {}", followed.url, short(&followed.to)),
    }
}

fn forge_for<'s>(site: &'s Site<'_>, wanted: &Wanted) -> Result<&'s Forge, TaskError> {
    let (patch, kind, word) = match wanted {
        Wanted::PullRequest(n) => (format!("--pr {n}"), ForgeKind::Github, "github"),
        Wanted::Change(id) => (format!("--change {id}"), ForgeKind::Gerrit, "gerrit"),
    };
    site.project.forge.as_ref().filter(|f| f.kind == kind).ok_or_else(|| TaskError::Pointless {
        patch,
        why: "asks for a change of a forge that carry.toml does not name".into(),
        hint: format!("add [project.{}.forge] with kind = \"{word}\" to it", site.project.name),
    })
}

/// The option of `git carry add` that names a change.
fn option(forge: &Forge, number: u64) -> String {
    let word = if forge.kind == ForgeKind::Github { "--pr" } else { "--change" };
    format!("{word} {number}")
}

fn url(forge: &Forge, number: u64) -> String {
    match forge.kind {
        ForgeKind::Github => format!("{}/pull/{number}", forge.page()),
        _ => format!("{}/c/{}/+/{number}", forge.api, forge.repository),
    }
}

fn number(site: &Site<'_>, forge: &Forge, wanted: &Wanted) -> Result<u64, TaskError> {
    let id = match wanted {
        Wanted::PullRequest(number) => return Ok(*number),
        Wanted::Change(id) => id,
    };
    if let Ok(number) = id.parse() {
        return Ok(number);
    }
    let pointless =
        |why: String, hint: &str| TaskError::Pointless { patch: id.clone(), why, hint: hint.to_owned() };
    let found = forge::number_of(forge, &site.git, id)
        .map_err(|e| pointless(format!("cannot be looked up: {e}"), "its number needs no looking up"))?;
    found
        .ok_or_else(|| pointless(format!("is no change of {}", forge.repository), "is it of another branch?"))
}

/// Where changes are fetched from.
fn address(site: &Site<'_>, forge: &Forge) -> Result<String, TaskError> {
    let root = &site.workspace.root;
    Ok(match (&forge.fetch, forge.kind) {
        (Some(address), _) => resolve_address(root, address),
        (None, ForgeKind::Gerrit) => resolve_address(root, &forge.push),
        (None, _) => site.upstream_address(),
    })
}

/// The changes that a queue carries.
fn carried(forge: &Forge, draft: &Draft) -> Vec<Carried> {
    let mut out: Vec<Carried> = Vec::new();
    for entry in draft.queue.series.entries() {
        let Some(patch) = draft.queue.patches.iter().find(|p| p.file == entry.file) else { continue };
        if follows(&patch.metadata).is_none() {
            continue;
        }
        let Some(sent) = forge::sent(forge, patch.name(), &patch.metadata) else { continue };
        let digits = |url: &str| url.rsplit('/').next()?.parse().ok();
        let Some(number) = digits(&sent.url) else { continue };
        match out.iter_mut().find(|c| c.number == number) {
            Some(there) => there.patches.push(patch.clone()),
            None => out.push(Carried { number, url: sent.url, patches: vec![patch.clone()] }),
        }
    }
    out
}

/// The ref of each change's newest revision, and what it points at.
fn newest(
    site: &Site<'_>,
    forge: &Forge,
    address: &str,
    numbers: &[u64],
) -> Result<BTreeMap<u64, (String, ObjectId)>, TaskError> {
    // Gerrit's documentation, "refs/changes": the last two digits, the number, the patch set.
    let folder = |n: &u64| match forge.kind {
        ForgeKind::Github => format!("refs/pull/{n}/"),
        _ => format!("refs/changes/{:02}/{n}/", n % 100),
    };
    let last = if forge.kind == ForgeKind::Github { "head" } else { "*" };
    let patterns: Vec<String> = numbers.iter().map(|n| folder(n) + last).collect();
    let listed = site.store.listed(address, &patterns)?;
    let mut found = BTreeMap::new();
    for number in numbers {
        let folder = folder(number);
        // The whole name counts: anyone may call a branch `refs/pull/7/head`. Beside the patch sets stands `meta`.
        let set = |name: &str| match name.strip_prefix(&folder)? {
            "head" if forge.kind == ForgeKind::Github => Some(0),
            set if forge.kind == ForgeKind::Gerrit => set.parse::<u64>().ok(),
            _ => None,
        };
        let newest = listed.iter().filter_map(|(name, id)| Some((set(name)?, name, id))).max();
        found.extend(newest.map(|(_, name, id)| (*number, (name.clone(), *id))));
    }
    Ok(found)
}

/// A change at a revision.
struct Change<'c> {
    number: u64,
    url: &'c str,
    name: &'c str,
    head: ObjectId,
}

/// Puts a revision into the draft, in the place of the one before or at a line.
fn take(
    site: &Site<'_>,
    draft: &mut Draft,
    address: &str,
    change: &Change<'_>,
    carried: Option<Carried>,
    line: usize,
    events: &dyn Events,
) -> Result<Followed, TaskError> {
    let folder = format!("refs/carry/follow/{}", site.project.name);
    let (here, trunk_here) = (format!("{folder}/{}", change.number), format!("{folder}/trunk"));
    events.step(&format!("fetching {} from {}", change.name, without_secrets(address)));
    // A change is what it brings to the branch that it is for, which need not be the one that is followed.
    let branch = site.project.forge.as_ref().and_then(|f| f.branch.as_deref());
    let branch = trunk::full_name(branch.unwrap_or(&site.project.branch));
    let call = site.store.fetching(&["--no-tags"], address);
    let call = call.arg(format!("+{}:{here}", change.name)).arg(format!("+{branch}:{trunk_here}"));
    let progress = |line: &str| events.git(line);
    call.progress(&progress).output()?;
    let no_commit = |rev: &str| NightError::NoCommit { rev: rev.to_owned() };
    let head = site.store.commit_of(&here)?.ok_or_else(|| no_commit(change.name))?;
    let trunk = site.store.commit_of(&trunk_here)?.ok_or_else(|| no_commit(&branch))?;
    let odb = site.store.odb()?;
    let (locals, note) = locals(site, &odb, change, &trunk, &head)?;
    let made = made(site, &odb, change, &locals, carried.as_ref())?;
    let (from, old) = match &carried {
        Some(carried) => (carried.revision().map(str::to_owned), &carried.patches[..]),
        None => (None, &[][..]),
    };
    let patches = put(site, draft, made, old, line)?;
    let known =
        from.as_deref().and_then(|hex| ObjectId::from_hex(hex.as_bytes()).ok()).filter(|id| odb.has(id));
    let range_diff = match known.and_then(|old| Some((old, site.store.merge_base(&trunk, &old).ok()??))) {
        Some((old, below)) => {
            let base = site.store.merge_base(&trunk, &head)?.unwrap_or(trunk);
            site.store.range_diff_of((&below, &old), (&base, &head))?
        }
        None => None,
    };
    let (url, to) = (change.url.to_owned(), head.to_string());
    Ok(Followed { url, patches, from, to, range_diff, note })
}

/// The commits of a change. With merges among them it is one patch: what the whole brings to the trunk.
fn locals(
    site: &Site<'_>,
    odb: &Odb,
    change: &Change<'_>,
    trunk: &ObjectId,
    head: &ObjectId,
) -> Result<(Vec<Local>, Option<String>), TaskError> {
    let pointless = |why: &str, hint: &str| TaskError::Pointless {
        patch: change.url.to_owned(),
        why: why.to_owned(),
        hint: hint.to_owned(),
    };
    let range = site.store.range(Some(trunk), head)?;
    if range.is_empty() {
        return Err(pointless("is in the trunk already", "the next night brings it in"));
    }
    if range.len() > MOST {
        let why = format!("has {} commits that its branch has not", range.len());
        let hint =
            "is it for another branch? 'branch' in [project.X.forge] names the one that changes are for";
        return Err(pointless(&why, hint));
    }
    if range.iter().all(|r| r.parents.len() == 1) {
        let ids: Vec<ObjectId> = range.iter().map(|r| r.id).collect();
        return Ok((super::edit::locals(odb, &ids)?, None));
    }
    let base = site.store.merge_base(trunk, head)?;
    let base =
        base.ok_or_else(|| pointless("has no commit in common with the trunk", "is it of another branch?"))?;
    let first = range.iter().find(|r| r.parents.len() == 1).unwrap_or(&range[0]);
    let header = fork::header(&odb.commit(&first.id)?);
    let (before, after) = (odb.commit(&base)?.tree, odb.commit(head)?.tree);
    let note = Some("it has merges in it, so it is carried as one patch".to_owned());
    Ok((vec![Local { commit: *head, header, before, after, note: None }], note))
}

/// The patch files of a change: what others write of ours (`Carry-…`) is taken out of their messages, and what was
/// said of its patches here stays.
fn made(
    site: &Site<'_>,
    odb: &Odb,
    change: &Change<'_>,
    locals: &[Local],
    carried: Option<&Carried>,
) -> Result<Vec<(String, Vec<u8>)>, TaskError> {
    let ours = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("carry-"));
    let status = |name: &str| name.eq_ignore_ascii_case("upstream-status");
    let mut out = locals.to_vec();
    let files = patch_files(site, odb, &out)?;
    for (local, (subject, bytes)) in out.iter_mut().zip(files) {
        let plain = Patch::parse("new.patch", bytes, 1).map_err(|f| fault(site, f))?;
        let (mut message, _) = without_trailers(&local.header.message, |name| ours(name) || status(name));
        message = set_trailer(&message, "Forwarded", change.url);
        let old = carried.and_then(|c| c.patches.iter().find(|p| subject_of(p) == subject));
        let old = old.or_else(|| carried.filter(|_| locals.len() == 1).and_then(|c| c.patches.first()));
        if let Some(old) = old {
            let (_, lines) = without_trailers(&old.header.message, ours);
            for (name, value) in lines.iter().filter_map(|l| l.split_once(':')) {
                message = add_trailer(&message, name, value.trim());
            }
        }
        let follows = format!("{} {}", change.head, change_sum(plain.changes()));
        local.header.message = set_trailer(&message, "Carry-Follows", &follows);
    }
    patch_files(site, odb, &out)
}
