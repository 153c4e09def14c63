//! What a report says. Its JSON form is this, as it stands.

use serde::Serialize;

use crate::build::manifest::CheckRecord;
use crate::forecast::Outlook;
use crate::graph::Edge;
use crate::risk::Transition;
use crate::stage::{Contract, Skew};
pub use crate::workspace::{Culprit, Evolved};

use crate::workspace::Outcome;

/// The version of the JSON form. A reader accepts unknown keys of the version it knows.
pub const VERSION: u32 = 1;

/// A workspace, as it is now and as it came to be so.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this form.
    pub version: u32,
    /// The tool's version.
    pub tool: String,
    /// When it was made, in RFC 3339.
    pub made: String,
    /// The projects, by name.
    pub projects: Vec<Project>,
}

/// Is the newest trunk built, and may the build go out?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The last build may go out, and no run that is due would make another.
    Deployable,
    /// A run on the newest fetched trunk may publish a build, and none has.
    Behind,
    /// A run on the newest fetched trunk publishes nothing: a required patch or check is in the way.
    Refused,
    /// The last build may not go out.
    Forbidden,
    /// No build was made yet.
    NoBuild,
    /// The project cannot be read.
    Unreadable,
}

/// One project.
#[derive(Debug, Clone, Serialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// The address of the trunk, without secrets.
    pub upstream: String,
    /// The trunk branch.
    pub branch: String,
    /// Why no night touches it for now.
    pub paused: Option<String>,
    /// Is it well?
    pub state: State,
    /// Why not, or what a person should look at.
    pub reasons: Vec<String>,
    /// When the last run on this machine ended, in RFC 3339.
    pub last_run: Option<String>,
    /// If it ended without a build that it should have made: how, and why.
    pub last_trouble: Option<String>,
    /// Commits of the fetched trunk that are not in the build.
    pub behind: Option<usize>,
    /// The last build.
    pub build: Option<Build>,
    /// What wants a person, the most pressing first.
    pub wants: Vec<Want>,
    /// What changed since an earlier build; none if there is no earlier one.
    pub changes: Option<Changes>,
    /// The queue, in its order.
    pub patches: Vec<Patch>,
    /// Which patch needs which, those that are left out too.
    pub edges: Vec<Edge>,
    /// What the move from the build before to the last one asks.
    pub risk: Option<Transition>,
    /// What each stage runs.
    pub stages: Vec<Stage>,
    /// Groups whose stages run different builds.
    pub skew: Vec<Skew>,
    /// Migrations that may run now, by group or stage.
    pub free: Vec<(String, Vec<Contract>)>,
    /// Upstream work that will break patches once trunk takes it in.
    pub forecast: Vec<Outlook>,
    /// What upstream took of the queue, the newest first.
    pub landed: Vec<Landed>,
    /// How it went from build to build.
    pub trends: Trends,
}

/// A build.
#[derive(Debug, Clone, Serialize)]
pub struct Build {
    /// Its id.
    pub id: String,
    /// Its commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// The deploy branch.
    pub branch: String,
    /// The trunk commit that it stands on.
    pub trunk: String,
    /// `git describe` of it.
    pub describe: Option<String>,
    /// That commit's date, in RFC 3339.
    pub trunk_date: String,
    /// Upstream's commits since the build before.
    pub taken_in: usize,
    /// The key that signed its manifest.
    pub signed_by: Option<String>,
    /// The checks that were run on it.
    pub checks: Vec<CheckRecord>,
}

/// How pressing a want is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Press {
    /// Nothing goes out before.
    Stop,
    /// Something is missing in the build.
    Mend,
    /// Something should be looked at.
    Look,
}

/// Something that wants a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Want {
    /// How pressing it is.
    pub press: Press,
    /// The patch, if it is about one.
    pub patch: Option<String>,
    /// Who answers for the patch.
    pub owner: Option<String>,
    /// What it is.
    pub what: String,
    /// Why.
    pub why: String,
    /// The command to go on with.
    pub next: Option<String>,
}

/// What changed since an earlier build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// That build.
    pub build: String,
    /// The date of its trunk commit, in RFC 3339.
    pub date: String,
    /// Patches that have fallen out of the build since.
    pub new: Vec<Change>,
    /// Patches that were out of it then, and are.
    pub still: Vec<Change>,
    /// Patches that were out of it then, and are in it again.
    pub fixed: Vec<Change>,
    /// Patches that upstream has taken.
    pub landed: Vec<Change>,
    /// Patches that came into the queue.
    pub joined: Vec<String>,
    /// Patches that left it otherwise.
    pub left: Vec<String>,
}

/// One patch that fares otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub patch: String,
    /// What it was; none: not in the queue.
    pub was: Option<Outcome>,
    /// What it is.
    pub is: Option<Outcome>,
}

/// One patch.
#[derive(Debug, Clone, Serialize)]
pub struct Patch {
    /// Its name.
    pub name: String,
    /// The first line of its message.
    pub subject: String,
    /// Who answers for it: its `Carry-Owner`, or its author.
    pub owner: String,
    /// Its `Carry-Group`.
    pub group: Option<String>,
    /// What became of it; none: it was not replayed yet.
    pub outcome: Option<Outcome>,
    /// Has its file changed since the last replay?
    pub edited: bool,
    /// Is a build worth nothing without it?
    pub required: bool,
    /// Since when it fares so: the date of a trunk commit, in RFC 3339.
    pub since: Option<String>,
    /// Its author's date, in RFC 3339.
    pub written: String,
    /// Its commit in the build.
    pub commit: Option<String>,
    /// Lines that it adds, and lines that it takes away.
    pub lines: [usize; 2],
    /// The files that it touches.
    pub files: Vec<String>,
    /// Where it conflicts.
    pub conflicts: Vec<Conflict>,
    /// What is to be said of several paths at once.
    pub told: Vec<String>,
    /// The upstream commit that broke it.
    pub culprit: Option<Box<Culprit>>,
    /// Its revised version upstream.
    pub evolved: Option<Box<Evolved>>,
    /// The missing patches that it needs.
    pub needs: Vec<String>,
    /// The patches that are out because of it.
    pub blocks: Vec<String>,
    /// Lines that a merge lost, brought or doubled: `gone +x`, …
    pub loss: Vec<String>,
    /// What else is known of it.
    pub note: Option<String>,
    /// What its header says of upstream.
    pub upstream: Vec<String>,
    /// The command to go on with.
    pub next: Option<String>,
    /// What it has cost.
    pub cost: Cost,
}

/// One path at which a patch conflicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// Where the file stood before.
    pub from: Option<String>,
    /// What kind of conflict it is, in words.
    pub kind: String,
    /// The lines at which both sides meet.
    pub regions: Vec<Region>,
}

/// Lines at which both sides meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Region {
    /// The first line in trunk's file, from 1.
    pub line: usize,
    /// What trunk made of the lines: ` line`, `-line`, `+line`.
    pub trunk: Vec<String>,
    /// What the patch makes of them.
    pub patch: Vec<String>,
}

/// What a patch has cost in the builds that are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Builds that had it in the queue.
    pub builds: usize,
    /// Builds that it was left out of, by its own conflict or for want of another.
    pub out: usize,
    /// Builds for which its text was made anew by a merge.
    pub refreshed: usize,
    /// Builds for which a recorded answer settled its conflict.
    pub resolved: usize,
}

/// What one stage runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: Option<String>,
    /// The build.
    pub runs: Option<String>,
    /// Since when, in RFC 3339.
    pub since: Option<String>,
    /// Who brought it.
    pub by: Option<String>,
    /// Trunk commits that it lacks.
    pub behind_trunk: Option<usize>,
    /// Builds that came after it.
    pub behind_builds: Option<usize>,
    /// Why it came although gates were not met.
    pub overridden: Option<String>,
    /// The build that comes next.
    pub next: Option<String>,
    /// The gates that it waits for; none: it may come.
    pub waits: Vec<String>,
}

/// A patch that upstream has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Landed {
    /// Its name.
    pub patch: String,
    /// The date of the trunk commit of the build that found it, in RFC 3339.
    pub found: String,
    /// The upstream commit.
    pub commit: Option<String>,
    /// Its subject.
    pub subject: String,
    /// Its author.
    pub author: String,
    /// How it is known.
    pub how: String,
}

/// How it went from build to build.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Trends {
    /// The builds, the oldest first.
    pub builds: Vec<Point>,
    /// Are there older ones that were not looked at?
    pub cut: bool,
    /// Conflicts that ended, the newest first.
    pub mended: Vec<Mended>,
    /// Half of them ended within so many days.
    pub median_days: Option<f64>,
    /// The files at which upstream and the queue meet most often.
    pub hottest: Vec<Hot>,
}

/// A build of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Its id.
    pub build: String,
    /// The date of its trunk commit, in RFC 3339.
    pub date: String,
    /// Patches in the queue, those that upstream has not counted.
    pub queue: usize,
    /// Patches in the build.
    pub carried: usize,
    /// Patches that conflict with trunk themselves.
    pub roots: usize,
    /// Patches that miss another, or break a check.
    pub blocked: usize,
    /// Lines that the build adds to trunk, and lines that it takes away.
    pub lines: [usize; 2],
}

/// A conflict that ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mended {
    /// The patch.
    pub patch: String,
    /// The date of the first trunk commit with it, in RFC 3339.
    pub from: String,
    /// The date of the first one without it.
    pub until: String,
    /// The days between.
    pub days: f64,
    /// What the patch was then; none: it had left the queue.
    pub became: Option<Outcome>,
}

/// A file at which upstream and the queue meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hot {
    /// Its path.
    pub path: String,
    /// Upstream commits that changed it, since the oldest build that is looked at.
    pub commits: usize,
    /// Patches of the queue that touch it.
    pub patches: usize,
}

impl Project {
    /// A project of which nothing is known yet.
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            upstream: String::new(),
            branch: String::new(),
            paused: None,
            state: State::NoBuild,
            reasons: Vec::new(),
            last_run: None,
            last_trouble: None,
            behind: None,
            build: None,
            wants: Vec::new(),
            changes: None,
            patches: Vec::new(),
            edges: Vec::new(),
            risk: None,
            stages: Vec::new(),
            skew: Vec::new(),
            free: Vec::new(),
            forecast: Vec::new(),
            landed: Vec::new(),
            trends: Trends::default(),
        }
    }

    /// The place of a patch in the queue.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.patches.iter().position(|p| p.name == name)
    }

    /// How many patches fare so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.patches.iter().filter(|p| p.outcome == Some(outcome)).count()
    }
}

impl Patch {
    /// A patch of which no more is known than its name and outcome.
    pub fn plain(name: &str, outcome: Option<Outcome>) -> Self {
        Self {
            name: name.to_owned(),
            subject: String::new(),
            owner: String::new(),
            group: None,
            outcome,
            edited: false,
            required: false,
            since: None,
            written: String::new(),
            commit: None,
            lines: [0, 0],
            files: Vec::new(),
            conflicts: Vec::new(),
            told: Vec::new(),
            culprit: None,
            evolved: None,
            needs: Vec::new(),
            blocks: Vec::new(),
            loss: Vec::new(),
            note: None,
            upstream: Vec::new(),
            next: None,
            cost: Cost::default(),
        }
    }
}
