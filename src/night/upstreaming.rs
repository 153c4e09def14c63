//! What the upstreaming report says of a project, gathered from its candidates, the lock, and the builds of the last quarter.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::candidates::{gathered, ranked_of};
use super::past::{self, Past};
use super::{Events, NightError, Site};
use crate::candidate::{Candidate, Obstacle};
use crate::report::upstreaming::{Row, Section, Upstreaming, VERSION, shares};
use crate::report::words::{count, day, days, quoted, short};
use crate::workspace::{Outcome, Rung};

/// Without a date it tells what landed in the last thirty days of trunk.
const RECENT: SignedDuration = SignedDuration::from_hours(30 * 24);

const QUARTER: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The report of one project. `since`: from when on what landed is told, by trunk's dates.
pub fn upstreaming(
    site: &Site<'_>,
    since: Option<Timestamp>,
    events: &dyn Events,
) -> Result<Upstreaming, NightError> {
    let ground = gathered(site, events)?;
    let end = ground.builds.last().and_then(|b| b.trunk.date.parse().ok()).unwrap_or_else(Timestamp::now);
    let since = since.unwrap_or_else(|| end.checked_sub(RECENT).unwrap_or(end));
    let median_days = carried_for(&ground.builds);
    let review_days = median(&super::sent::kept(site).reviews(end.checked_sub(QUARTER).unwrap_or(end)));
    let landed = landed(&ground.builds, since);
    let ranked = ranked_of(site, ground, events)?;
    let queue = site.queue()?;
    let lock = site.workspace.lock.projects.get(&site.project.name);

    let mut sections: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for c in &ranked.candidates {
        let f = &c.facts;
        let patch = queue.patches.iter().find(|p| p.name() == f.name);
        let row = |what: String, next: Option<String>| Row {
            patch: f.name.clone(),
            owner: f.owner.clone(),
            group: patch.and_then(|p| p.metadata.group.clone()),
            what,
            next,
        };
        let own = lock.iter().flat_map(|l| &l.patches).find(|p| p.name == f.name);
        let open = own.into_iter().flat_map(|p| &p.proposed).find(|p| p.decision.is_none());
        let mut put = |key, row| sections.entry(key).or_default().push(row);
        if let Some(proposal) = open {
            let e = &proposal.evidence;
            let how = match e.rung {
                Rung::Revised => "a revised version",
                Rung::Squashed => "it with other changes",
                Rung::Split => "a part of it",
                _ => "it",
            };
            let what = format!("upstream has {how}: {} {} ({})", short(&e.commit), e.subject, e.author);
            put("look-at", row(what, Some(format!("git carry landed show {}", quoted(&f.name)))));
        } else if let Some(says) = own_never(c) {
            put("stays", row(says, None));
        } else if let Some(sent) = &f.sent {
            put("waiting", row(format!("sent: {sent}"), None));
        } else if c.ready {
            let next = format!("git carry upstream {}", quoted(&f.name));
            put("ready", row(ready(c), Some(next)));
        }
        let alone = patch.is_some_and(|p| p.metadata.owner.is_none());
        if alone && (f.conflicts > 0 || !c.ready) && own_never(c).is_none() {
            let what = match f.obstacles.first() {
                Some(Obstacle::Out { outcome, .. }) => format!("{outcome}; no Carry-Owner in its header"),
                _ => "no Carry-Owner in its header".to_owned(),
            };
            put("unowned", row(what, None));
        }
    }
    for l in lock.iter().flat_map(|l| &l.landed) {
        let Some(by) = &l.reverted else { continue };
        let what = format!("upstream took it back: {} {}", short(&by.commit), by.subject);
        let next = Some(format!("git carry landed restore {}", quoted(&l.name)));
        let row = Row { patch: l.name.clone(), owner: by.author.clone(), what, next, ..Row::default() };
        sections.entry("look-at").or_default().push(row);
    }
    sections.insert("landed", landed);
    let titles = [
        ("ready", "Ready to send"),
        ("waiting", "Sent and waiting"),
        ("landed", "Landed"),
        ("look-at", "To be looked at"),
        ("stays", "Stays ours"),
        ("unowned", "Needs an owner"),
    ];
    let section = |(key, title)| Section { key, title, rows: sections.remove(key).unwrap_or_default() };
    let sections: Vec<Section> = titles.map(section).into();
    let now = Timestamp::now();
    Ok(Upstreaming {
        version: VERSION,
        project: site.project.name.clone(),
        made: Timestamp::from_second(now.as_second()).unwrap_or(now).to_string(),
        since: since.to_string(),
        carried: queue.patches.len(),
        median_days,
        review_days,
        by_owner: shares(&sections, |r| Some(r.owner.clone())),
        by_group: shares(&sections, |r| r.group.clone()),
        sections,
    })
}

/// What its own header says, if it says never.
fn own_never(c: &Candidate) -> Option<String> {
    c.facts.obstacles.iter().find_map(|o| match o {
        Obstacle::Never { patch, says } if *patch == c.facts.name => Some(says.clone()),
        _ => None,
    })
}

/// Why a ready patch is where it is.
fn ready(c: &Candidate) -> String {
    let mut said = vec![format!("{:.1} points", c.points)];
    let loudest = c.parts.iter().filter(|p| p.points > 0.0).max_by(|a, b| a.points.total_cmp(&b.points));
    said.extend(loudest.map(|p| match p.value.fract() == 0.0 {
        true => format!("{}: {:.0}", p.what, p.value),
        false => format!("{}: {:.1}", p.what, p.value),
    }));
    if !c.facts.closure.is_empty() {
        said.push(format!("with {}", count(c.facts.closure.len(), "other patch", "other patches")));
    }
    said.join(", ")
}

/// What landed with builds on trunk commits since then, the newest first.
fn landed(builds: &[Past], since: Timestamp) -> Vec<Row> {
    let young = |found: &str| found.parse::<Timestamp>().is_ok_and(|at| at >= since);
    let row = |l: crate::report::model::Landed| Row {
        what: format!(
            "{} as {} {} ({})",
            day(&l.found),
            l.commit.as_deref().map_or("-", short),
            l.subject,
            l.how
        ),
        patch: l.patch,
        owner: l.author,
        ..Row::default()
    };
    past::landed(builds).into_iter().filter(|l| young(&l.found)).map(row).collect()
}

/// For how many days those that landed had been in the queue, the median.
fn carried_for(builds: &[Past]) -> Option<f64> {
    let mut lengths = Vec::new();
    let mut met = HashSet::new();
    for build in builds {
        for patch in build.patches.iter().filter(|p| p.outcome == Outcome::Landed) {
            let first = builds.iter().find(|b| b.outcome(&patch.name).is_some());
            let first = first.filter(|b| b.deploy.build != build.deploy.build);
            if met.insert(patch.name.as_str())
                && let Some(length) = first.and_then(|b| days(&b.trunk.date, &build.trunk.date))
            {
                lengths.push(length.max(0.0));
            }
        }
    }
    lengths.sort_by(f64::total_cmp);
    median(&lengths)
}

/// The median of sorted numbers.
fn median(sorted: &[f64]) -> Option<f64> {
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[n / 2]),
        n => Some(f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])),
    }
}
