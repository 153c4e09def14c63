//! Is all in place for the next night? Each thing that is looked at, with what is wrong and what to do. Changes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::ByteSlice;
use gix_hash::ObjectId;
use jiff::Timestamp;
use serde::Serialize;

use super::beat::{Beat, last_beat, last_run};
use super::journal::pending;
use super::notify::Desk;
use super::sign::{signing_key, trust};
use super::{NightError, Site, publish};
use crate::notify::Ended;
use crate::risk::pack::Rules;
use crate::stage::gate::length;
use crate::store::git::{Git, GitError, without_secrets};
use crate::store::{GitVersion, StoreError, listing};
use crate::trunk;

/// The oldest git whose answers are relied on.
pub const OLDEST_GIT: GitVersion = GitVersion::new(2, 41, 0);
/// Less free disk than this is told.
const LEAST_FREE: u64 = 1 << 30;
/// A night that is older than this was left out.
const LATE: Duration = Duration::from_secs(36 * 3600);
/// Two clocks may differ by so much.
const APART: Duration = Duration::from_secs(600);
/// With more packs than this every look at an object is slow.
const PACKS: usize = 100;
/// How long a remote may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It is in place.
    Good,
    /// The night works, and somebody should look.
    Doubt,
    /// The night will fail, or what it leaves cannot be relied on.
    Bad,
}

/// A thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// The thing: `git`, `queue`, `upstream` …
    pub about: &'static str,
    /// How it is.
    pub health: Health,
    /// What was seen.
    pub seen: String,
    /// What to do, if anything is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Look {
    fn good(about: &'static str, seen: impl Into<String>) -> Self {
        Self { about, health: Health::Good, seen: seen.into(), remedy: None }
    }

    fn doubt(about: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { about, health: Health::Doubt, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    fn bad(about: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { about, health: Health::Bad, seen: seen.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at the machine: git, and the disk under `folder`.
pub fn of_machine(folder: &Path) -> Vec<Look> {
    vec![git(), disk(folder)]
}

fn git() -> Look {
    let said = Git::at(Path::new("/")).call(["version"]).line();
    let said = match said {
        Ok(said) => said,
        Err(e) => return Look::bad("git", e.to_string(), "install git, and put it on PATH"),
    };
    match GitVersion::parse(&said) {
        Some(version) if version >= OLDEST_GIT => Look::good("git", said),
        _ => Look::bad("git", format!("{said}, and 2.41 is the oldest that works"), "install a newer git"),
    }
}

#[cfg(unix)]
fn disk(folder: &Path) -> Look {
    // The folder is made by the first night; what is above it lies on the same disk.
    let there = folder.ancestors().find(|p| p.exists()).unwrap_or(folder);
    match rustix::fs::statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let seen = format!("{} MiB free for {}", free >> 20, folder.display());
            match free < LEAST_FREE {
                true => Look::doubt("disk", seen, "make room before the next night"),
                false => Look::good("disk", seen),
            }
        }
        Err(e) => Look::doubt("disk", format!("'{}': {e}", folder.display()), "look at the disk by hand"),
    }
}

#[cfg(not(unix))]
fn disk(folder: &Path) -> Look {
    Look::good("disk", format!("not looked at here: {}", folder.display()))
}

/// Looks at a project, with the moment `now`; `offline` asks no remote.
pub fn of_project(site: &Site<'_>, now: Timestamp, offline: bool) -> Vec<Look> {
    let mut all = vec![workspace(site), queue(site)];
    all.extend(store(site));
    all.push(clock(site, now));
    all.push(last_night(site, now));
    if !offline {
        all.push(upstream(site));
        all.extend(remote(site));
    }
    all.extend(signing(site));
    all.push(rules(site));
    all.extend(checks(site));
    all.extend(notify(site));
    all
}

fn workspace(site: &Site<'_>) -> Look {
    if pending(&site.folder, &site.project.name) {
        return Look::doubt(
            "workspace",
            "a run was cut off",
            "git carry nightly finishes it or sets it aside",
        );
    }
    match site.preflight() {
        Ok(()) => Look::good("workspace", site.workspace.root.display().to_string()),
        Err(NightError::Dirty { files }) => Look::bad(
            "workspace",
            format!("not committed: {}", files.join(", ")),
            "commit them, or take them away: the night does not run over them",
        ),
        Err(e) => Look::bad("workspace", e.to_string(), "end what is under way there"),
    }
}

fn queue(site: &Site<'_>) -> Look {
    match site.queue() {
        Ok(queue) => {
            let held = queue.patches.iter().filter(|p| p.hold.is_some()).count();
            Look::good("queue", format!("{} patches, {held} of them held", queue.patches.len()))
        }
        Err(NightError::Queue { faults, .. }) => {
            let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Look::bad("queue", all.join("; "), "mend the files, and commit them")
        }
        Err(e) => Look::bad("queue", e.to_string(), "mend the files, and commit them"),
    }
}

fn store(site: &Site<'_>) -> Vec<Look> {
    let path = site.store.path().display();
    let anew =
        "fetch it anew: git carry nightly; a lent clone (reference in carry.toml) must keep its objects";
    let missing = || -> Result<Vec<String>, NightError> {
        let odb = site.store.odb()?;
        let lock = site.workspace.lock.projects.get(&site.project.name);
        let wanted = lock.iter().flat_map(|l| [Some(&l.base), l.deploy.as_ref()]).flatten();
        let gone =
            |hex: &&String| ObjectId::from_hex(hex.as_bytes()).is_ok_and(|id| odb.commit(&id).is_err());
        Ok(wanted.filter(gone).map(|hex| hex.chars().take(12).collect()).collect())
    };
    let mut all = vec![match missing() {
        Ok(missing) if missing.is_empty() => Look::good("store", path.to_string()),
        Ok(missing) => Look::bad("store", format!("{path} lacks the commits {}", missing.join(", ")), anew),
        Err(e) => Look::bad("store", e.to_string(), anew),
    }];
    let packs = std::fs::read_dir(site.store.path().join("objects/pack"))
        .map_or(0, |dir| dir.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "pack")).count());
    if packs > PACKS {
        let remedy = format!("git --git-dir {path} maintenance run --task gc");
        all.push(Look::doubt("store", format!("{packs} packs, which makes every look-up slow"), remedy));
    }
    all
}

fn clock(site: &Site<'_>, now: Timestamp) -> Look {
    let newest = || -> Result<Option<i64>, StoreError> {
        let Some(tip) = trunk::known(&site.store)? else { return Ok(None) };
        Ok(Some(site.store.odb()?.commit(&tip)?.committer.seconds))
    };
    match newest() {
        Ok(Some(seconds)) if seconds > now.as_second() + i64::try_from(APART.as_secs()).unwrap_or(0) => {
            let ahead = u64::try_from(seconds - now.as_second()).unwrap_or(0);
            let seen =
                format!("the trunk tip is {} ahead of this machine", length(Duration::from_secs(ahead)));
            Look::doubt("clock", seen, "set this machine's clock; or upstream's committer has a wrong one")
        }
        Ok(_) => Look::good("clock", now.strftime("%Y-%m-%d %H:%M UTC").to_string()),
        Err(e) => Look::bad("clock", e.to_string(), "git carry nightly"),
    }
}

fn last_night(site: &Site<'_>, now: Timestamp) -> Look {
    if let Some(reason) = &site.project.paused {
        let remedy = format!("git carry resume {}", site.project.name);
        return Look::doubt("night", format!("paused: {reason}"), remedy);
    }
    match last_run(site) {
        Ok(at) => night_at(at, last_beat(&site.folder, &site.project.name), now),
        Err(e) => Look::bad("night", e.to_string(), "git carry log"),
    }
}

/// Is a night of that moment so long ago that one was left out?
pub fn is_late(at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).is_ok_and(|age| age > LATE)
}

/// How the last night was, if the last run was at this moment. On this machine it is known how it ended.
fn night_at(at: Option<Timestamp>, beat: Option<Beat>, now: Timestamp) -> Look {
    let Some(at) = at else { return Look::doubt("night", "there was none yet", "git carry nightly") };
    let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
    let beat = beat.filter(|beat| beat.at == at);
    let how = beat.as_ref().and_then(|beat| beat.ended).map_or("", Ended::word);
    let seen = format!("the last one was {} ago{}{how}", length(age), if how.is_empty() { "" } else { ": " });
    if is_late(at, now) {
        return Look::doubt("night", seen, "see that cron or CI still runs: git carry nightly");
    }
    match beat.filter(|beat| matches!(beat.ended, Some(Ended::Failed | Ended::Refused))) {
        Some(beat) => {
            Look::doubt("night", format!("{seen}: {}", beat.reason), "mend it, then: git carry nightly")
        }
        None => Look::good("night", seen),
    }
}

/// Who is told what changed, and could not be.
fn notify(site: &Site<'_>) -> Vec<Look> {
    let desk = match Desk::open(site.workspace, site.project) {
        Ok(desk) => desk,
        Err(e) => return vec![Look::bad("notify", e.to_string(), "mend [[notify]] in carry.toml")],
    };
    let mut all = Vec::new();
    for (sink, what) in desk.lacks() {
        let remedy =
            "set it where the night runs; 'allow' of [[notify]] in carry.toml names what may be written to";
        all.push(Look::doubt("notify", format!("'{sink}': {what}"), remedy));
    }
    for (sink, failed) in desk.problems() {
        let since = failed.since.strftime("%Y-%m-%d %H:%M UTC");
        let seen = format!("'{sink}' could not be told since {since}: {}", failed.reason);
        all.push(Look::doubt("notify", seen, "mend it, then: git carry notify"));
    }
    if all.is_empty() && desk.count() > 0 {
        all.push(Look::good("notify", format!("{} of them, each told all that is new", desk.count())));
    }
    all
}

/// What a remote has, within a time.
fn asked(site: &Site<'_>, address: &str, what: &[&str]) -> Result<Vec<u8>, GitError> {
    let names: Vec<String> = what.iter().map(ToString::to_string).collect();
    listing(site.store.git(), address, &names).silence(PATIENCE).output()
}

fn upstream(site: &Site<'_>) -> Look {
    let address = site.upstream_address();
    let branch = trunk::full_name(&site.project.branch);
    let public = without_secrets(&address);
    match asked(site, &address, &[&branch]) {
        Ok(said) if said.trim().is_empty() => {
            Look::bad("upstream", format!("{public} has no {branch}"), "set 'branch' in carry.toml")
        }
        Ok(_) => Look::good("upstream", format!("{public} has {branch}")),
        Err(e) => Look::bad(
            "upstream",
            e.to_string(),
            "see that this machine reaches it as git does: network, keys",
        ),
    }
}

fn remote(site: &Site<'_>) -> Option<Look> {
    let address = site.deploy_address()?;
    let public = without_secrets(&address);
    let branch = publish::deploy_ref(site.project);
    let there = match asked(site, &address, &[&branch]) {
        Ok(said) => said.fields().next().map(|id| id.to_str_lossy().into_owned()),
        Err(e) => {
            let remedy = "see that this machine reaches it as git does: network, keys";
            return Some(Look::bad("remote", e.to_string(), remedy));
        }
    };
    let lock = site.workspace.lock.projects.get(&site.project.name);
    let ours = lock.and_then(|l| l.deploy.clone());
    if there.is_some() && there != ours {
        let there: String = there.unwrap_or_default().chars().take(12).collect();
        return Some(Look::bad(
            "remote",
            format!("{branch} is at {there} there, which is not what was published from here"),
            "take the workspace's newest commits (git pull), or git carry nightly --replace-deploy COMMIT",
        ));
    }
    // A push that would change nothing is refused where nothing may be pushed at all.
    let Some(id) = there else {
        return Some(Look::good("remote", format!("{public}, nothing is there yet")));
    };
    let call = site.store.git().call(["push", "--dry-run", "--porcelain", "--no-verify", "--", &address]);
    let seen = format!("{public} has {branch}");
    Some(match call.arg(format!("{id}:{branch}")).silence(PATIENCE).output() {
        Ok(_) => Look::good("remote", format!("{seen}, and takes pushes")),
        Err(e) => Look::bad(
            "remote",
            format!("{seen}, and refuses a push: {e}"),
            "give this machine's key the right to push",
        ),
    })
}

fn signing(site: &Site<'_>) -> Vec<Look> {
    let mut all = Vec::new();
    match signing_key(site) {
        Ok(Some(key)) => all.push(Look::good("signing", key.display().to_string())),
        Ok(None) => {}
        Err(e) => all.push(Look::bad("signing", e.to_string(), "set [signing] key or GIT_CARRY_SIGNING_KEY")),
    }
    let files = [trust(site).allowed, trust(site).revoked];
    for file in files.into_iter().flatten().filter(|file| !file.is_file()) {
        let seen = format!("'{}' is not there", file.display());
        all.push(Look::bad(
            "signing",
            seen,
            "set allowed_signers and revoked in [signing] to files that are",
        ));
    }
    all
}

fn rules(site: &Site<'_>) -> Look {
    let risk = &site.project.risk;
    let mut own = Vec::new();
    for file in &risk.rules {
        match std::fs::read_to_string(site.workspace.root.join(file)) {
            Ok(text) => own.push((file.clone(), text)),
            Err(e) => return Look::bad("risk", format!("'{file}': {e}"), "set 'rules' in carry.toml"),
        }
    }
    match Rules::load(&risk.packs.clone().unwrap_or_default(), &own) {
        Ok(rules) => {
            let names: Vec<&str> = rules.packs.iter().map(|p| p.name.as_str()).collect();
            let more = if risk.packs.is_none() { ", and what the files ask for" } else { "" };
            Look::good("risk", format!("rules: {}{more}", names.join(", ")))
        }
        Err(e) => Look::bad("risk", e.to_string(), "mend the rules; docs/risk.md tells their form"),
    }
}

fn checks(site: &Site<'_>) -> Vec<Look> {
    let mut all = Vec::new();
    for check in &site.project.checks {
        let program = check.run.first().map(String::as_str).unwrap_or_default();
        // One that stands in the tree is there or not by the build.
        if !program.contains('/') && on_path(program).is_none() {
            let seen = format!("the check '{}' runs '{program}', which is not on PATH", check.name);
            all.push(Look::bad("check", seen, "install it on the machine that runs the night"));
        }
        for name in check.env.iter().filter(|e| !e.contains('=') && std::env::var_os(e).is_none()) {
            let seen = format!("the check '{}' wants {name}, which is not set here", check.name);
            all.push(Look::doubt("check", seen, "set it where the night runs"));
        }
    }
    for hook in &site.project.hooks {
        let program = hook.run.first().map(String::as_str).unwrap_or_default();
        let own = program.contains('/').then(|| site.workspace.root.join(program));
        if !own.map_or_else(|| on_path(program).is_some(), |file| file.is_file()) {
            let seen = format!("the hook for {} runs '{program}', which is not there", hook.on.word());
            let remedy = "install it on the machine that runs the night";
            all.push(match hook.on.stops() {
                true => Look::bad("hook", seen, remedy),
                false => Look::doubt("hook", seen, remedy),
            });
        }
    }
    if all.is_empty() && !site.project.checks.is_empty() {
        all.push(Look::good(
            "check",
            format!("{} of them, each with its program", site.project.checks.len()),
        ));
    }
    all
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_that_did_not_run_is_told_from_one_with_nothing_to_say() {
        let now: Timestamp = "2026-11-25T06:00:00Z".parse().expect("a time");
        let at = |text: &str| night_at(text.parse().ok(), None, now);
        assert_eq!(at("2026-11-25T02:00:00Z").health, Health::Good);
        let late = at("2026-11-23T02:00:00Z");
        assert_eq!((late.health, late.seen.as_str()), (Health::Doubt, "the last one was 2 d 4 h ago"));
        assert_eq!(night_at(None, None, now).health, Health::Doubt);
        let failed = Beat { at: now, ended: Some(Ended::Failed), reason: "no network".into() };
        let failed = night_at(Some(now), Some(failed), now);
        assert_eq!(
            (failed.health, failed.seen.as_str()),
            (Health::Doubt, "the last one was 0 s ago: failed: no network")
        );
        // A clock that was set back makes no night late.
        assert_eq!(at("2026-11-26T02:00:00Z").health, Health::Good);
    }
}
