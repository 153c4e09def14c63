//! A report as one page: markup, style and script in one file, with nothing from elsewhere. It says all without its
//! script, which sorts and filters the queue and copies commands.

mod charts;
mod picture;
mod upstreaming;

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::model::{Build, Change, Cost, Culprit, Evolved, Patch, Press, Project, Report, State, Want};
use super::words;
use crate::forecast::Effect;
use crate::risk::{Finding, Severity};
use crate::workspace::Outcome;
use charts::Chart;
use picture::Graph;

pub use upstreaming::upstreaming;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// So many patches are named where the dearest ones are.
const DEAREST: usize = 12;
/// So many stacks are shown at once, or all that are in trouble.
const STACKS: usize = 12;
/// So many wants are shown at once; the rest unfolds.
const WANTS: usize = 5;

/// The report as a page.
pub fn html(report: &Report) -> Result<String, askama::Error> {
    let views: Vec<View<'_>> =
        report.projects.iter().enumerate().map(|(n, p)| View::of(p, n, &report.made)).collect();
    let script = format!("sha256-{}", STANDARD.encode(Sha256::digest(SCRIPT)));
    let title = match &report.projects[..] {
        [one] => one.name.clone(),
        all => words::count(all.len(), "project", "projects"),
    };
    let page = Page { report, views, title, style: STYLE, script: SCRIPT, script_hash: script };
    seen(&page)
}

/// What a page says. Whatever was said by others, nothing in it turns the text around or hides in it.
fn seen(page: &impl Template) -> Result<String, askama::Error> {
    let seen = |c: char| {
        if matches!(c, '\n' | '\t') { c.to_string() } else { words::clean(c.encode_utf8(&mut [0; 4])) }
    };
    Ok(page.render()?.chars().map(seen).collect())
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    report: &'a Report,
    views: Vec<View<'a>>,
    title: String,
    style: &'static str,
    script: &'static str,
    script_hash: String,
}

/// A project with what only the page needs.
struct View<'a> {
    p: &'a Project,
    n: usize,
    made: &'a str,
    graph: Graph,
    charts: Vec<Chart>,
}

/// One step of a project's bar of outcomes.
struct Share {
    class: &'static str,
    word: &'static str,
    count: usize,
    x: f64,
    width: f64,
}

impl<'a> View<'a> {
    fn of(p: &'a Project, n: usize, made: &'a str) -> Self {
        Self { p, n, made, graph: picture::graph(p, n), charts: charts::charts(p, made, n) }
    }

    fn state_class(&self) -> &'static str {
        match self.p.state {
            State::Deployable => "good",
            State::Behind | State::NoBuild => "doubt",
            State::Refused | State::Forbidden | State::Unreadable => "bad",
        }
    }

    fn state_mark(&self) -> &'static str {
        match self.state_class() {
            "good" => "\u{2713}",
            "doubt" => "!",
            _ => "\u{2715}",
        }
    }

    /// The answer to "may last night's build go out?", as a sentence.
    fn answer(&self) -> &'static str {
        match self.p.state {
            State::Deployable => "The last build is deployable",
            State::Behind => "The newest trunk is not built yet",
            State::Refused => "The last night published nothing",
            State::Forbidden => "The last build may not go out",
            State::NoBuild => "There is no build yet",
            State::Unreadable => "The project cannot be read",
        }
    }

    fn last_run(&self) -> String {
        words::last_run(self.p, self.made)
    }

    fn behind(&self) -> String {
        match self.p.behind.filter(|n| *n > 0) {
            Some(n) => format!(", {} behind", words::count(n, "commit", "commits")),
            None => String::new(),
        }
    }

    fn day<'t>(&self, moment: &'t Option<String>) -> &'t str {
        moment.as_deref().map_or("-", words::day)
    }

    /// The link to a patch's row.
    fn row(&self, name: &str) -> String {
        self.p.place(name).map(|at| format!("#p{}-{at}", self.n)).unwrap_or_default()
    }

    /// The stacks that are seen at once: all in trouble, and the largest.
    fn near_stacks(&self) -> &[picture::Stack] {
        &self.graph.stacks[..self.near()]
    }

    fn far_stacks(&self) -> &[picture::Stack] {
        &self.graph.stacks[self.near()..]
    }

    fn near(&self) -> usize {
        let out = self.graph.stacks.iter().filter(|s| s.out > 0).count();
        out.max(STACKS).min(self.graph.stacks.len())
    }

    fn name(&self, place: &usize) -> &'a str {
        self.p.patches.get(*place).map_or("", |p| &p.name)
    }

    fn first(&self, stack: &picture::Stack) -> &'a str {
        stack.patches.first().map_or("", |at| self.name(at))
    }

    fn link(&self, commit: &str) -> String {
        words::commit_link(&self.p.upstream, commit).unwrap_or_default()
    }

    fn shares(&self) -> Vec<Share> {
        let all = self.p.patches.len().max(1) as f64;
        let mut x = 0.0;
        let mut shares = Vec::new();
        for outcome in Outcome::ALL {
            let count = self.p.count(outcome);
            let width = count as f64 * 100.0 / all;
            if count > 0 {
                let class = picture::class(Some(outcome));
                shares.push(Share { class, word: outcome.word(), count, x, width });
                x += width;
            }
        }
        shares
    }

    fn first_wants(&self) -> &'a [Want] {
        &self.p.wants[..self.p.wants.len().min(WANTS)]
    }

    fn more_wants(&self) -> &'a [Want] {
        &self.p.wants[self.p.wants.len().min(WANTS)..]
    }

    fn roots(&self) -> Vec<&'a Patch> {
        self.p.patches.iter().filter(|p| is_told(&p.outcome)).collect()
    }

    fn blocked(&self) -> Vec<&'a Patch> {
        self.p.patches.iter().filter(|p| p.outcome == Some(Outcome::Blocked)).collect()
    }

    fn lossy(&self) -> Vec<&'a Patch> {
        self.p.patches.iter().filter(|p| !p.loss.is_empty()).collect()
    }

    fn outcomes(&self) -> Vec<&'static str> {
        let mut all: Vec<&str> =
            Outcome::ALL.iter().filter(|o| self.p.count(**o) > 0).map(|o| o.word()).collect();
        if self.p.patches.iter().any(|p| p.outcome.is_none()) {
            all.push("new");
        }
        all
    }

    fn owners(&self) -> BTreeSet<&'a str> {
        self.p.patches.iter().map(|p| words::person(&p.owner)).collect()
    }

    fn groups(&self) -> BTreeSet<&'a str> {
        self.p.patches.iter().filter_map(|p| p.group.as_deref()).collect()
    }

    fn age(&self, patch: &Patch) -> u64 {
        words::days(&patch.written, self.made).map_or(0, |days| days.max(0.0) as u64)
    }

    fn findings(&self, loud: bool) -> Vec<&'a Finding> {
        let all = self.p.risk.iter().flat_map(|r| &r.assessment.findings);
        all.filter(|f| (f.severity >= Severity::Warn) == loud).collect()
    }

    fn brought_by(&self, finding: &Finding) -> String {
        let Some(origin) = &finding.origin else { return "-".to_owned() };
        let gone = if origin.dropped { ", which is gone" } else { "" };
        match &origin.patch {
            Some(patch) => format!("patch {patch}{gone}"),
            None => format!("{} {}{gone}", words::short(&origin.commit), origin.author[0]),
        }
    }

    fn restarts(&self) -> String {
        let Some(risk) = &self.p.risk else { return String::new() };
        let restarts = &risk.assessment.restarts;
        let named: Vec<&str> = restarts.named.keys().map(String::as_str).collect();
        match &restarts.services[..] {
            [] => "nothing".to_owned(),
            [one] if one == "*" && named.is_empty() => "every service".to_owned(),
            [one] if one == "*" => format!("every service: {}", named.join(", ")),
            services => services.join(", "),
        }
    }

    fn is_point_of_no_return(&self, step: &str) -> bool {
        self.p.risk.as_ref().is_some_and(|r| r.plan.point_of_no_return.as_deref() == Some(step))
    }

    /// What forms of upstream's state the headers name, and how many patches each.
    fn upstream_states(&self) -> BTreeMap<&'a str, usize> {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for said in self.p.patches.iter().flat_map(|p| &p.upstream) {
            *states.entry(said.as_str()).or_default() += 1;
        }
        states
    }

    fn silent(&self) -> usize {
        self.p.patches.iter().filter(|p| p.upstream.is_empty()).count()
    }

    fn evolved(&self) -> Vec<(&'a Patch, &'a Evolved)> {
        self.p.patches.iter().filter_map(|p| Some((p, p.evolved.as_deref()?))).collect()
    }

    /// The patches that cost most: times out of a build, then times made anew.
    fn dearest(&self) -> Vec<&'a Patch> {
        let pain = |c: &Cost| (c.out, c.refreshed + c.resolved);
        let mut all: Vec<&Patch> = self.p.patches.iter().filter(|p| pain(&p.cost) > (0, 0)).collect();
        all.sort_by_key(|p| std::cmp::Reverse(pain(&p.cost)));
        all.truncate(DEAREST);
        all
    }
}

/// Is a patch that fares so told of at length?
fn is_told(outcome: &Option<Outcome>) -> bool {
    outcome.is_some_and(|o| o.is_root() || o == Outcome::Broken)
}

fn class(outcome: &Option<Outcome>) -> &'static str {
    picture::class(*outcome)
}

fn took_in(build: &Build) -> String {
    words::count(build.taken_in, "upstream commit", "upstream commits")
}

/// An outcome's word.
fn word(outcome: &Option<Outcome>) -> &'static str {
    outcome.map_or("new", Outcome::word)
}

/// A sign beside an outcome's word: a colour is never alone.
fn sign(outcome: &Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Clean) => "\u{2713}",
        Some(Outcome::Refreshed) => "\u{21bb}",
        Some(Outcome::Resolved) => "\u{2714}",
        Some(Outcome::Landed) => "\u{2191}",
        Some(Outcome::Evolved) => "\u{2248}",
        Some(Outcome::Conflict) => "\u{2715}",
        Some(Outcome::Blocked) => "\u{2298}",
        Some(Outcome::Broken) => "!",
        Some(Outcome::Held) => "\u{2013}",
        None => "+",
    }
}

/// A place for sorting: the worst first.
fn rank(outcome: &Option<Outcome>) -> usize {
    let place = outcome.and_then(|o| Outcome::ALL.iter().position(|other| *other == o));
    Outcome::ALL.len() - place.unwrap_or(0)
}

fn press(press: &Press) -> &'static str {
    match press {
        Press::Stop => "stop",
        Press::Mend => "mend",
        Press::Look => "look",
    }
}

fn side_class(line: &str) -> &'static str {
    match line.as_bytes().first() {
        Some(b'+') => "add",
        Some(b'-') => "del",
        _ => "ctx",
    }
}

fn spaces(line: &str) -> String {
    line.replace('\t', "    ")
}

/// The four lists of what changed, each with its word, its class and what to say of nothing.
fn lists(changes: &super::model::Changes) -> [(&'static str, &'static str, &[Change]); 4] {
    [
        ("new", "n-bad", &changes.new),
        ("still", "n-blocked", &changes.still),
        ("fixed", "n-clean", &changes.fixed),
        ("landed", "n-landed", &changes.landed),
    ]
}

/// What upstream work breaks, and in words what else it blocks.
fn breaks(effect: &Effect) -> (&[String], String) {
    match effect {
        Effect::Breaks { patches, blocked } if blocked.is_empty() => (patches, String::new()),
        Effect::Breaks { patches, blocked } => (patches, format!(", and blocks {} more", blocked.len())),
        _ => (&[], String::new()),
    }
}

fn culprit_day(culprit: &Culprit) -> &str {
    words::day(&culprit.date)
}
