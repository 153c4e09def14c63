//! What a report says of a project: what stands, what wants a person, and how it came to be so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bstr::{BString, ByteSlice};
use jiff::{SignedDuration, Timestamp};
use similar::TextDiff;

use super::check;
use super::explain::{Explained, explain};
use super::overview::{Overview, overview};
use super::past::{self, Past};
use super::policy;
use super::stage::{StageError, Stages};
use super::wants::{next, wants};
use super::{
    Done, Events, Night, NightError, Options, PatchReport, Site, beat, kind_in_words, look_ahead,
    recorded_manifest,
};
use crate::build::manifest::{Manifest, PatchRecord};
use crate::build::signature::key_of;
use crate::check::Ended;
use crate::forecast::{Effect, Outlook};
use crate::graph::{Edge, Reason};
use crate::notify::Ended as NightEnded;
use crate::queue::{Content, LineKind, Metadata, Patch as Queued, Queue, SubjectTag};
use crate::replay::content;
use crate::replay::loss::Loss;
use crate::report::model::{
    Build, Conflict, Cost, Hot, Patch, Project as Told, Region, Stage as StageTold, State, Trends,
};
use crate::report::words::count;
use crate::store::git::without_secrets;
use crate::trunk;
use crate::workspace::{Outcome, PatchLock, Project, Required};

/// How far back a report looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// What changed is told since the last build on a trunk commit of this moment or before; none: since the build
    /// before the last one.
    pub since: Option<Timestamp>,
}

/// So many builds are looked at for trends.
const BUILDS: usize = 120;
/// So many files are named where upstream and the queue meet.
const HOTTEST: usize = 12;
/// So many lines of one side of a conflict are told.
const LINES: usize = 60;

/// What a report says of a project whose queue was `changed` last at this moment.
pub fn gather(
    site: Site<'_>,
    changed: Option<Timestamp>,
    window: Window,
    events: &dyn Events,
) -> Result<Told, NightError> {
    Gather { site, changed, events }.all(window)
}

/// A moment as reports write it.
pub fn to_the_second(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment).to_string()
}

struct Gather<'a> {
    site: Site<'a>,
    changed: Option<Timestamp>,
    events: &'a dyn Events,
}

impl Gather<'_> {
    fn all(&self, window: Window) -> Result<Told, NightError> {
        let (site, project) = (&self.site, self.site.project);
        let lock = site.workspace.lock.projects.get(&project.name);
        let queue = site.queue()?;
        let last = lock.map(|l| recorded_manifest(site, l)).transpose()?.flatten();
        let tip = trunk::known(&site.store)?;
        let mut told = Told::empty(&project.name);
        told.upstream = without_secrets(&project.upstream);
        told.branch.clone_from(&project.branch);
        told.paused.clone_from(&project.paused);
        let (last_run, beat) = (beat::ran(site, self.changed), beat::last_beat(&site.folder, &project.name));
        told.last_run = last_run.map(to_the_second);
        let stopped = beat.filter(|b| {
            matches!(b.ended, Some(NightEnded::Failed | NightEnded::Refused)) && Some(b.at) == last_run
        });
        told.last_trouble =
            stopped.map(|b| format!("{}: {}", b.ended.map_or("", NightEnded::word), b.reason));
        if let (Some(last), Some(tip)) = (&last, &tip) {
            let base = site.commit(&last.trunk.commit)?;
            told.behind = Some(if base == *tip { 0 } else { site.store.count(&base, tip)? });
        }
        let pending = match told.behind {
            Some(n) if n > 0 && project.paused.is_none() => Some(self.pending()?),
            _ => None,
        };
        self.state(&mut told, last.as_ref(), pending.as_ref());
        let locks: HashMap<&str, &PatchLock> =
            lock.iter().flat_map(|l| &l.patches).map(|p| (p.name.as_str(), p)).collect();
        let (mut builds, cut) = match last.as_ref().map(|m| site.commit(&m.deploy.commit)).transpose()? {
            Some(commit) => past::builds(site, &commit, BUILDS)?,
            None => (Vec::new(), false),
        };
        let before = match window.since {
            None => builds.len().checked_sub(2),
            Some(since) => {
                let is_old = |past: &Past| past.trunk.date.parse::<Timestamp>().is_ok_and(|at| at <= since);
                let at = builds.iter().rposition(is_old);
                at.or(Some(0)).filter(|at| at + 1 < builds.len())
            }
        };
        let is_cut = cut || window.since.is_some_and(|_| before.is_some_and(|at| at > 0));
        if let (Some(at), Some(last)) = (before, builds.last()) {
            told.changes = Some(past::changes(&builds[at], last));
            if window.since.is_some() {
                builds.drain(..at);
            }
        }
        let costs = past::costs(&builds);
        told.patches = self.patches(&queue, &locks, last.as_ref(), pending.as_ref(), &costs)?;
        if let Some(manifest) = &last {
            told.build = Some(self.build(manifest)?);
            told.edges = edges(manifest, &told.patches);
            told.risk.clone_from(&manifest.risk);
        }
        told.landed = past::landed(&builds);
        told.trends = self.trends(&builds, is_cut, &queue)?;
        if !project.stages.is_empty() {
            self.stages(&mut told)?;
        }
        if !project.forecast.is_empty() && lock.is_some() {
            match look_ahead(site, &project.forecast, true, self.events) {
                Ok(all) => told.forecast = all.into_iter().filter(breaks).collect(),
                Err(e) => self.events.note(&format!("nothing is known of what is coming: {e}")),
            }
        }
        let newest = pending.as_ref().and_then(|n| n.manifest.as_ref()).or(last.as_ref());
        let gone = lock.iter().flat_map(|l| &l.patches).filter(|p| p.outcome == Outcome::Landed);
        let gone: Vec<&str> = gone.map(|p| p.name.as_str()).collect();
        let breaches = policy::breaches(project, &queue, lock, &gone, policy::today());
        told.wants = wants(&told, newest, lock, &breaches);
        Ok(told)
    }

    /// What a run on the newest fetched trunk would do. No check is run for it: what the night's checks said of its
    /// tree is remembered.
    fn pending(&self) -> Result<Night, NightError> {
        let options = Options { offline: true, dry_run: true, ..Options::default() };
        let unchecked = Project { checks: Vec::new(), ..self.site.project.clone() };
        let mut night = super::run(self.site.workspace, &unchecked, &options, self.events)?;
        if let Some(manifest) = &mut night.manifest {
            manifest.checks = check::remembered(&self.site, &manifest.deploy.tree);
            for failed in manifest.checks.iter().filter(|c| c.required && c.ended != Ended::Passed) {
                manifest.verdict.publishable = false;
                let reason = format!("required check '{}' fails: {}", failed.name, failed.said);
                manifest.verdict.reasons.push(reason);
            }
        }
        Ok(night)
    }

    fn state(&self, told: &mut Told, last: Option<&Manifest>, pending: Option<&Night>) {
        let verdict = last.map(|m| &m.verdict);
        let tried = pending.filter(|n| n.done == Done::DryRun).and_then(|n| n.manifest.as_ref());
        (told.state, told.reasons) = match (verdict, tried.map(|m| &m.verdict)) {
            (None, _) => (State::NoBuild, Vec::new()),
            (Some(v), _) if !v.publishable => (State::Forbidden, v.reasons.clone()),
            (Some(_), Some(t)) if !t.publishable => (State::Refused, t.reasons.clone()),
            (Some(_), Some(t)) => (State::Behind, t.reasons.clone()),
            (Some(v), None) => (State::Deployable, v.reasons.clone()),
        };
    }

    fn build(&self, m: &Manifest) -> Result<Build, NightError> {
        let signature = super::recorded(&self.site, Some(&m.deploy.build))?.signature;
        Ok(Build {
            id: m.deploy.build.clone(),
            commit: m.deploy.commit.clone(),
            tree: m.deploy.tree.clone(),
            branch: m.deploy.branch.clone(),
            trunk: m.trunk.commit.clone(),
            describe: m.trunk.describe.clone(),
            trunk_date: m.trunk.date.clone(),
            taken_in: m.upstream.as_ref().map_or(0, |u| u.count),
            signed_by: signature.and_then(|s| key_of(&s)),
            checks: m.checks.clone(),
        })
    }

    fn patches(
        &self,
        queue: &Queue,
        locks: &HashMap<&str, &PatchLock>,
        last: Option<&Manifest>,
        pending: Option<&Night>,
        costs: &HashMap<String, Cost>,
    ) -> Result<Vec<Patch>, NightError> {
        let records: HashMap<&str, &PatchRecord> =
            last.iter().flat_map(|m| &m.patches).map(|p| (p.name.as_str(), p)).collect();
        let tried: HashMap<&str, &PatchReport> =
            pending.iter().flat_map(|n| &n.patches).map(|p| (p.name.as_str(), p)).collect();
        let mut all = Vec::with_capacity(queue.patches.len());
        for patch in &queue.patches {
            let mut told = self.patch(patch);
            told.cost = costs.get(patch.name()).cloned().unwrap_or_default();
            let locked = locks.get(patch.name()).copied();
            told.edited = locked.is_some_and(|l| l.digest != patch.digest);
            told.since = locked.map(|l| l.since_date.clone());
            told.outcome = if patch.hold.is_some() { Some(Outcome::Held) } else { locked.map(|l| l.outcome) };
            if let Some(record) = records.get(patch.name()) {
                told.commit.clone_from(&record.commit);
                self.of_record(&mut told, record)?;
            }
            // What the newest trunk makes of it is newer than what was recorded.
            if let Some(report) = tried.get(patch.name()).filter(|r| Some(r.outcome) != told.outcome) {
                of_report(&mut told, report);
            }
            told.next = next(&told);
            all.push(told);
        }
        note_blocks(&mut all);
        Ok(all)
    }

    fn patch(&self, patch: &Queued) -> Patch {
        let date = Timestamp::from_second(patch.header.date.seconds).unwrap_or_default();
        let paths: BTreeSet<String> = patch.paths.iter().map(ToString::to_string).collect();
        Patch {
            subject: patch.subject(),
            owner: patch.metadata.owner.clone().unwrap_or_else(|| patch.header.author.name.to_string()),
            group: patch.metadata.group.clone(),
            required: patch.metadata.required || self.site.project.policy.required == Required::All,
            written: date.to_string(),
            lines: lines_of(patch),
            files: paths.into_iter().collect(),
            note: patch.hold.clone().filter(|why| !why.is_empty()),
            upstream: said_of_upstream(&patch.metadata),
            ..Patch::plain(patch.name(), None)
        }
    }

    fn of_record(&self, told: &mut Patch, record: &PatchRecord) -> Result<(), NightError> {
        told.culprit.clone_from(&record.culprit);
        told.evolved.clone_from(&record.evolved);
        told.needs.clone_from(&record.needs);
        told.loss = record.loss.as_deref().map(losses).unwrap_or_default();
        if told.note.is_none() {
            told.note.clone_from(&record.note);
        }
        if record.outcome.is_root()
            && let Some(explained) = explain(&self.site, &record.name)?
        {
            told.told.clone_from(&explained.told);
            told.conflicts = conflicts(&explained);
        }
        Ok(())
    }

    fn trends(&self, builds: &[Past], cut: bool, queue: &Queue) -> Result<Trends, NightError> {
        let (mended, median_days) = past::mended(builds);
        let hottest = match (builds.first(), builds.last()) {
            (Some(first), Some(last)) => self.hottest(&first.trunk.commit, &last.trunk.commit, queue)?,
            _ => Vec::new(),
        };
        Ok(Trends { builds: past::points(&self.site, builds)?, cut, mended, median_days, hottest })
    }

    /// The files at which upstream and the queue meet most often.
    fn hottest(&self, from: &str, to: &str, queue: &Queue) -> Result<Vec<Hot>, NightError> {
        let mut touched: BTreeMap<BString, BTreeSet<&str>> = BTreeMap::new();
        for patch in &queue.patches {
            for path in &patch.paths {
                touched.entry(path.clone()).or_default().insert(patch.name());
            }
        }
        let (from, to) = (self.site.commit(from)?, self.site.commit(to)?);
        let churn = trunk::churn(&self.site.store, &self.site.store.odb()?, &from, &to)?;
        let hot = |(path, patches): (&BString, &BTreeSet<&str>)| {
            let commits = *churn.get(path)?;
            Some(Hot { path: path.to_str_lossy().into_owned(), commits, patches: patches.len() })
        };
        let mut all: Vec<Hot> = touched.iter().filter_map(hot).collect();
        all.sort_by(|a, b| (b.commits * b.patches).cmp(&(a.commits * a.patches)).then(a.path.cmp(&b.path)));
        all.truncate(HOTTEST);
        Ok(all)
    }

    fn stages(&self, told: &mut Told) -> Result<(), NightError> {
        let found = Stages::here(&self.site).and_then(|stages| overview(&stages));
        let Overview { stages, skew, free, .. } = match found {
            Ok(overview) => overview,
            Err(StageError::Night(e)) => return Err(e),
            Err(e) => {
                self.events.note(&format!("nothing is known of the stages: {e}"));
                return Ok(());
            }
        };
        told.skew = skew;
        told.free = free.into_iter().map(|f| (f.place, f.migrations)).collect();
        for row in stages {
            let (runs, next) = (row.runs.as_ref(), row.next.as_ref());
            told.stages.push(StageTold {
                name: row.stage.clone(),
                group: row.group.clone(),
                runs: runs.map(|r| r.build.clone()),
                since: runs.map(|r| r.since.clone()),
                by: runs.map(|r| r.by[0].clone()),
                behind_trunk: runs.and_then(|r| r.behind_trunk),
                behind_builds: runs.and_then(|r| r.behind_builds),
                overridden: runs.and_then(|r| r.overridden.clone()),
                next: next.map(|n| n.build.clone()),
                waits: next
                    .iter()
                    .flat_map(|n| &n.waits_for)
                    .map(|g| format!("{}: {}", g.name(), g.why))
                    .collect(),
            });
        }
        Ok(())
    }
}

fn breaks(outlook: &Outlook) -> bool {
    matches!(outlook.effect, Effect::Breaks { .. })
}

/// The edges of the build, and those of patches that are not in it for want of another.
fn edges(manifest: &Manifest, patches: &[Patch]) -> Vec<Edge> {
    let mut edges = manifest.edges.clone();
    for patch in patches {
        for needs in &patch.needs {
            if !edges.iter().any(|e| e.patch == patch.name && e.needs == *needs) {
                let reason = Reason::Textual { files: Vec::new() };
                edges.push(Edge { patch: patch.name.clone(), needs: needs.clone(), reason });
            }
        }
    }
    edges
}

fn lines_of(patch: &Queued) -> [usize; 2] {
    let mut lines = [0, 0];
    for change in patch.changes() {
        let Content::Text(hunks) = &change.content else { continue };
        for line in hunks.iter().flat_map(|h| &h.lines) {
            match line.kind {
                LineKind::Add => lines[0] += 1,
                LineKind::Remove => lines[1] += 1,
                LineKind::Context => {}
            }
        }
    }
    lines
}

/// What the header says of upstream, in its own words.
fn said_of_upstream(metadata: &Metadata) -> Vec<String> {
    let fields = [
        ("Forwarded", &metadata.forwarded),
        ("Applied-Upstream", &metadata.applied_upstream),
        ("Upstream-Status", &metadata.upstream_status),
        ("Patch-mainline", &metadata.patch_mainline),
        ("Origin", &metadata.origin),
    ];
    let mut said: Vec<String> =
        fields.iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_ref()?))).collect();
    match &metadata.subject_tag {
        Some(SubjectTag::Carry) => said.push("UPSTREAM: <carry>".into()),
        Some(SubjectTag::Drop) => said.push("UPSTREAM: <drop>".into()),
        Some(SubjectTag::PullRequest(n)) => said.push(format!("UPSTREAM: {n}")),
        Some(SubjectTag::Other(text)) => said.push(format!("UPSTREAM: {text}")),
        None => {}
    }
    said
}

fn losses(loss: &Loss) -> Vec<String> {
    let of = |word: &'static str, lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| format!("{word} {line}")).collect()
    };
    [of("went", &loss.missing), of("came", &loss.extra), of("is there twice", &loss.doubled)].concat()
}

fn conflicts(explained: &Explained) -> Vec<Conflict> {
    let conflict = |c: &super::ExplainedConflict| Conflict {
        path: c.path.clone(),
        from: c.from.clone(),
        kind: kind_in_words(c.kind).to_owned(),
        regions: c.regions.iter().map(region).collect(),
    };
    explained.conflicts.iter().map(conflict).collect()
}

fn region(region: &content::Region) -> Region {
    Region {
        line: region.line,
        trunk: side(&region.base, &region.ours),
        patch: side(&region.base, &region.theirs),
    }
}

/// What a side made of the lines.
fn side(base: &[BString], side: &[BString]) -> Vec<String> {
    let lines =
        |all: &[BString]| all.iter().map(|l| l.trim_end().to_str_lossy().into_owned()).collect::<Vec<_>>();
    let (base, side) = (lines(base), lines(side));
    let base: Vec<&str> = base.iter().map(String::as_str).collect();
    let side: Vec<&str> = side.iter().map(String::as_str).collect();
    let diff = TextDiff::from_slices(&base, &side);
    let mut all: Vec<String> = diff.iter_all_changes().map(|c| format!("{}{}", c.tag(), c.value())).collect();
    if all.len() > LINES {
        let more = all.len() - LINES;
        all.truncate(LINES);
        all.push(format!(" … {}", count(more, "more line", "more lines")));
    }
    all
}

/// What a run on the newest trunk makes of a patch.
fn of_report(told: &mut Patch, report: &PatchReport) {
    told.outcome = Some(report.outcome);
    told.since = None;
    told.told.clear();
    let conflict = |c: &crate::build::manifest::ConflictRecord| Conflict {
        path: c.path.clone(),
        from: c.from.clone(),
        kind: kind_in_words(c.kind).to_owned(),
        regions: Vec::new(),
    };
    told.conflicts = report.conflicts.iter().map(conflict).collect();
    told.culprit.clone_from(&report.culprit);
    told.evolved.clone_from(&report.evolved);
    told.needs.clone_from(&report.needs);
    told.note.clone_from(&report.note);
    told.loss = report.loss.as_deref().map(losses).unwrap_or_default();
}

/// Tells each patch which others are out because of it, near and far.
fn note_blocks(patches: &mut [Patch]) {
    let mut blocks: HashMap<String, Vec<String>> = HashMap::new();
    let mut above: HashMap<String, BTreeSet<String>> = HashMap::new();
    // A patch only needs earlier ones, so one pass meets them all.
    for patch in patches.iter() {
        let mut all: BTreeSet<String> = patch.needs.iter().cloned().collect();
        for need in &patch.needs {
            all.extend(above.get(need).into_iter().flatten().cloned());
        }
        for need in &all {
            blocks.entry(need.clone()).or_default().push(patch.name.clone());
        }
        above.insert(patch.name.clone(), all);
    }
    for patch in patches {
        patch.blocks = blocks.remove(&patch.name).unwrap_or_default();
    }
}

/// The moment that `--since` names: a date, a moment, or a length of time before now (`7d`, `36 hours`).
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return jiff::tz::TimeZone::UTC.to_timestamp(date.at(23, 59, 59, 0)).ok();
    }
    let span: jiff::Span = text.parse().ok()?;
    // A day has 24 hours here, and a month or a year no fixed length.
    let length: SignedDuration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Timestamp::now().checked_sub(length.abs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_moment_or_a_length_of_time() {
        assert_eq!(moment("2026-09-20").map(|m| m.to_string()).as_deref(), Some("2026-09-20T23:59:59Z"));
        assert_eq!(
            moment("2026-09-20T01:02:03Z").map(|m| m.to_string()).as_deref(),
            Some("2026-09-20T01:02:03Z")
        );
        let week = moment("7d").expect("a week");
        assert!(Timestamp::now().duration_since(week).as_hours() >= 7 * 24 - 1);
        assert!(moment("2w").is_some() && moment("36 hours").is_some());
        assert_eq!(moment("yesterday"), None);
        assert_eq!(moment(""), None);
    }
}
