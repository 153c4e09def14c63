//! `git carry stage`: what runs where, and how far a build may go.

use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::error::CliError;
use super::stages_shown::{approved, history, overview, verdict};
use super::ui::Ui;
use crate::night::promote::{self, Word};
use crate::night::stage::{StageError, Stages};
use crate::night::{self, NightError, Site};
use crate::stage::GateKind;
use crate::workspace::Workspace;

/// What runs where, and how far a build may go. A build is named by the first digits of its id, `latest`, or a stage that runs it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The project, where the workspace holds many.
    #[arg(long, global = true)]
    project: Option<String>,
    /// Do not ask the remote; say what was known here.
    #[arg(long, global = true)]
    offline: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what each stage runs, what comes next, and what stages of a group mean to each other.
    List,
    /// Bring a build to a stage, if its gates are met.
    Promote {
        /// The build.
        build: String,
        /// The stage.
        stage: String,
        #[command(flatten)]
        word: WordArgs,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give your word for a build on a stage.
    Approve {
        /// The build.
        build: String,
        /// The stage.
        stage: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Say whether a build may come to a stage: exit code 0, or 4 if it may not.
    Check {
        /// The build.
        build: String,
        /// The stage.
        stage: String,
    },
    /// Take a stage back to what it ran before.
    Rollback {
        /// The stage.
        stage: String,
        /// Another build that ran there.
        #[arg(long, value_name = "BUILD")]
        to: Option<String>,
        #[command(flatten)]
        word: WordArgs,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what a stage ran, the newest first.
    Log {
        /// The stage.
        stage: String,
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 20)]
        count: usize,
    },
}

#[derive(Debug, clap::Args)]
struct WordArgs {
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do it although gates are not met; the reason is recorded, and shown ever after.
    #[arg(long = "override", value_name = "REASON")]
    overridden: Option<String>,
    /// With --override: pass this gate only.
    #[arg(long = "gate", value_name = "GATE", requires = "overridden", value_parser = gate)]
    gates: Vec<GateKind>,
}

fn gate(word: &str) -> Result<GateKind, String> {
    let all = GateKind::ALL;
    let names = || all.iter().map(|g| g.word()).collect::<Vec<_>>().join(", ");
    all.into_iter().find(|g| g.word() == word).ok_or_else(|| format!("the gates are: {}", names()))
}

impl WordArgs {
    fn word(self) -> Result<Word, CliError> {
        for text in [&self.reason, &self.overridden].into_iter().flatten() {
            if text.trim().is_empty() {
                let what = "a reason has to say something".to_owned();
                return Err(CliError::Usage { what, hint: None });
            }
        }
        Ok(Word { reason: self.reason, overridden: self.overridden, gates: self.gates })
    }
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    // What is only looked at is told as far as it is known.
    let must = !matches!(args.action, Action::List | Action::Log { .. });
    let stages = Stages::open(&site, args.offline, must, ui)?;
    match args.action {
        Action::List => overview(ui, &stages, &night::overview::overview(&stages)?),
        Action::Promote { build, stage, word, dry_run } => {
            let (word, stage) = (word.word()?, stages.stage(&stage)?);
            let judged = promote::judge(&stages, stage, &stages.target(&build)?)?;
            carry_out(ui, &stages, judged, &word, dry_run)
        }
        Action::Rollback { stage, to, word, dry_run } => {
            let (word, stage) = (word.word()?, stages.stage(&stage)?);
            let target = to.map(|build| stages.target(&build)).transpose()?;
            let judged = promote::judge_back(&stages, stage, target.as_ref())?;
            carry_out(ui, &stages, judged, &word, dry_run)
        }
        Action::Check { build, stage } => {
            let judged = promote::judge(&stages, stages.stage(&stage)?, &stages.target(&build)?)?;
            let code = if judged.allowed() { 0 } else { 4 };
            verdict(ui, &stages, &judged, None)?;
            Ok(code)
        }
        Action::Approve { build, stage, reason } => {
            let (stage, build) = (stages.stage(&stage)?, stages.target(&build)?);
            approved(ui, &promote::approve(&stages, stage, &build, reason)?, stage)
        }
        Action::Log { stage, count } => history(ui, &stages, &stages.stage(&stage)?.name, count),
    }
}

/// What was asked for, as far as the gates allow it.
fn carry_out(
    ui: &Ui,
    stages: &Stages<'_>,
    mut judged: promote::Verdict,
    word: &Word,
    dry_run: bool,
) -> Result<u8, CliError> {
    let made = match dry_run {
        true => {
            promote::try_out(&mut judged, word);
            None
        }
        false => promote::carry_out(stages, &mut judged, word)?,
    };
    let code = if judged.already() || judged.allowed() { 0 } else { 4 };
    verdict(ui, stages, &judged, Some((made, dry_run)))?;
    Ok(code)
}

/// The words of an error of stages, and what to do next.
pub fn told(e: &StageError) -> (Vec<String>, Option<String>) {
    let hint = |text: String| (Vec::new(), Some(text));
    match e {
        StageError::Night(_) => (Vec::new(), None),
        StageError::NoStages { project } => {
            hint(format!("carry.toml: [[project.{project}.stage]] with name"))
        }
        StageError::NoStage { nearest: Some(name), .. } => hint(format!("did you mean '{name}'?")),
        StageError::NoStage { has, .. } => hint(format!("there are: {}", has.join(", "))),
        StageError::NoBuild { nearest: Some(name), .. } => hint(format!("did you mean '{name}'?")),
        StageError::NoBuild { .. } => {
            hint("git carry stage list shows builds; git carry nightly makes them".into())
        }
        StageError::Ambiguous { all, .. } => hint(format!("more digits are needed: {}", all.join(", "))),
        StageError::Nothing { .. } => hint("git carry stage log STAGE shows what ran".into()),
        StageError::NotPublished { .. } => hint("git carry nightly publishes builds".into()),
        StageError::Overtaken { stage, .. } => {
            hint(format!("nothing of yours was kept; look again: git carry stage log {stage}"))
        }
        StageError::NoIdentity { .. } => {
            hint("git config user.name \"Your Name\"; git config user.email you@example.org".into())
        }
        StageError::Offline { .. } => hint("run again without --offline; nothing was changed".into()),
        StageError::Unreachable { .. } => hint(
            "try again later; nothing was changed. What was known here: git carry stage list --offline"
                .into(),
        ),
        StageError::Record { name, .. } => hint(format!("somebody else wrote it; look: git log -p {name}")),
    }
}

/// The exit code of an error of stages; none: that of the error below.
pub fn code(e: &StageError) -> Option<u8> {
    match e {
        StageError::Night(_) => None,
        StageError::NoStages { .. }
        | StageError::NoStage { .. }
        | StageError::NoBuild { .. }
        | StageError::Ambiguous { .. }
        | StageError::Nothing { .. }
        | StageError::NoIdentity { .. }
        | StageError::Offline { .. } => Some(2),
        StageError::NotPublished { .. } | StageError::Overtaken { .. } => Some(4),
        StageError::Unreachable { .. } | StageError::Record { .. } => Some(1),
    }
}

/// Green for what is met, red for what is not.
pub fn style(good: bool) -> Style {
    let colour = if good { AnsiColor::Green } else { AnsiColor::Red };
    Style::new().fg_color(Some(colour.into()))
}
