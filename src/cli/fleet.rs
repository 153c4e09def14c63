//! `git carry fleet`: many projects on many machines, by any scheduler.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::document::{html_of, put};
use super::error::CliError;
use super::guarded;
use super::ui::{Ui, bare_table, clean, count, fitted, table};
use crate::fleet::{
    self, Ceiling, Fate, FleetError, Holder, How, LeftOut, Overview, Plan, Record, Shard, Standing, Told,
    Unit, Why, forms, units, worse,
};
use crate::night::gather::{Window, report};
use crate::night::{Events as _, NightError, Site, pending};
use crate::workspace::{Guard, Outcome, Project, Workspace, length};

/// So many reasons of a unit are told in its line.
const REASONS: usize = 2;

/// Spread the nights of many projects over many workers: any scheduler runs them, and all they know of each other is in git.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(PlanArgs),
    Run(RunArgs),
    Report(ReportArgs),
}

/// Show which units are due, the longest first, and spread them over shares.
///
/// A unit is a project, or projects whose patches depend on each other. One that has a result for the trunk, the queue and the
/// settings as they are now is not due.
#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// Into how many shares; without it, one, or as many as the form's engine takes.
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    shards: Option<usize>,
    /// The image that a Job of Kubernetes runs.
    #[arg(long, default_value = "git-carry")]
    image: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For the terminal.
    Table,
    /// One JSON document.
    Json,
    /// A matrix of GitHub Actions, at most 256 jobs.
    GithubMatrix,
    /// A child pipeline of GitLab CI, at most 200 jobs.
    Gitlab,
    /// An indexed Job of Kubernetes, at most 100,000 completions.
    K8s,
    /// The indexes of an array of Slurm, for sbatch --array; at most 1001.
    Slurm,
}

/// Be one worker: do the units of a share, each only if it is due and nobody else is at it.
///
/// The share is --shard or --unit, or what the engine's own variables say: SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX (with
/// --of), CI_NODE_INDEX, BUILDKITE_PARALLEL_JOB or CIRCLE_NODE_INDEX. Without any, it is all units, and workers side by
/// side take what is left.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The share, from 1: 3/12 is the third of twelve.
    #[arg(long, value_name = "I/N", conflicts_with_all = ["unit", "all"])]
    shard: Option<String>,
    /// Of how many shares the engine's index is one, where the engine does not say.
    #[arg(long, value_name = "N", env = "GIT_CARRY_SHARDS")]
    of: Option<usize>,
    /// Units by name or key, with commas between them.
    #[arg(long, value_name = "UNIT", value_delimiter = ',', conflicts_with = "all")]
    unit: Vec<String>,
    /// All units, whatever an engine's variables say.
    #[arg(long)]
    all: bool,
    /// For how long a unit is claimed: a worker that is killed holds it no longer than that.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    claim_for: String,
    /// Take a trunk that was force-pushed.
    #[arg(long)]
    accept_rewritten_trunk: bool,
    /// Keep one copy of each upstream in this folder, for all clones of this host.
    #[arg(long, value_name = "DIR", env = "GIT_CARRY_MIRRORS")]
    mirrors: Option<PathBuf>,
}

/// Tell how all units stand, from the remotes' refs alone; and bring what the nights left back to the workspace.
///
/// The exit code is the worst of all units: 1 if one has no result, or a worker is at it or was cut off.
#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// The form; without it, the one that the name of FILE asks for (.html, .json), else a table.
    #[arg(long, value_enum)]
    format: Option<ReportForm>,
    /// Write it to this file.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Commit to the workspace what the nights left on the queues' own branches.
    #[arg(long)]
    record: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReportForm {
    /// For the terminal.
    Table,
    /// One JSON document.
    Json,
    /// One page of all projects, as git carry report makes it.
    Html,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    match args.command {
        Command::Plan(args) => plan(ui, from, &args),
        Command::Run(args) => work(ui, from, &args),
        Command::Report(args) => gather(ui, from, &args),
    }
}

/// The workspace for a command that leaves it as it is. Runs that were cut off are finished or set aside first.
fn beside(ui: &Ui, from: &Path, what: &str) -> Result<(Workspace, Guard), CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let folder = Site::folder_of(&workspace.root)?;
    if workspace.config.projects.values().any(|p| pending(&folder, &p.name)) {
        drop(guarded(ui, from, what)?);
    }
    let guard = Guard::beside(&folder, what)?;
    Ok((Workspace::load(&workspace.root).map_err(NightError::from)?, guard))
}

fn plan(ui: &Ui, from: &Path, args: &PlanArgs) -> Result<u8, CliError> {
    let (workspace, _guard) = beside(ui, from, "fleet plan")?;
    let ceiling = match args.format {
        Form::Table | Form::Json => Ceiling::None,
        Form::GithubMatrix => Ceiling::GithubMatrix,
        Form::Gitlab => Ceiling::Gitlab,
        Form::K8s => Ceiling::Kubernetes,
        Form::Slurm => Ceiling::Slurm,
    };
    ui.step("asking the remotes what is due");
    let plan = fleet::plan(&workspace, args.shards, ceiling);
    if let (Some(wanted), Some(most)) = (args.shards, ceiling.most())
        && wanted > most
    {
        ui.note(&format!("the engine takes {most} shares at most: {} are planned", plan.shards));
    }
    let code = plan.failed.iter().fold(0, |worst, (_, e)| worse(worst, e.exit_code()));
    for (unit, e) in &plan.failed {
        failed(ui, unit, e);
    }
    match args.format {
        Form::Table if !ui.json => show(ui, &plan),
        Form::Table | Form::Json => ui.document(&forms::document(&plan))?,
        // A line: it is put into a variable.
        Form::GithubMatrix => ui.line(&forms::github_matrix(&plan).to_string()),
        Form::Gitlab => ui.line(&format!("{:#}", forms::gitlab(&plan))),
        Form::K8s => ui.line(&format!("{:#}", forms::kubernetes(&plan, &args.image))),
        Form::Slurm => ui.line(&format!("0-{}", plan.shards - 1)),
    }
    Ok(code)
}

fn show(ui: &Ui, plan: &Plan) {
    if !plan.due.is_empty() {
        let mut rows = table(&["unit", "due", "last time", "share", "key"]);
        for due in &plan.due {
            let why = match due.why {
                Why::New => "no result yet",
                Why::Trunk => "trunk moved",
                Why::Queue => "queue or settings changed",
                Why::Failed => "the last attempt failed",
            };
            let seconds = due.seconds.map_or_else(|| "-".to_owned(), took);
            let share = format!("{}/{}", due.shard, plan.shards);
            rows.add_row([due.unit.clone(), why.into(), seconds, share, due.key[..12].to_owned()]);
        }
        ui.line(&fitted(rows, &[4, 3]));
    }
    for claim in &plan.claimed {
        ui.line(&format!("{}  {} is at it, until {}", claim.unit, clean(&claim.holder), claim.until));
    }
    left_out(ui, &plan.left_out);
    let due = count(plan.due.len(), "unit", "units");
    ui.line(&format!("{due} due, {} done, {} claimed", plan.done.len(), plan.claimed.len()));
    if !plan.due.is_empty() {
        ui.line("next  git carry fleet run, or as many of it as you like: git carry fleet run --shard 1/4 …");
    }
}

fn left_out(ui: &Ui, all: &[LeftOut]) {
    for LeftOut { project, why } in all {
        ui.aside(&format!("{project} is in no unit: {}", clean(why)));
    }
}

fn failed(ui: &Ui, unit: &str, e: &FleetError) {
    ui.error(&format!("{unit}: {}", clean(&e.to_string())));
    if let Some(hint) = hint(unit, e) {
        ui.error(&format!("  {hint}"));
    }
}

/// What to do next.
pub fn hint(unit: &str, e: &FleetError) -> Option<String> {
    match e {
        FleetError::Diverged { .. } => Some(
            "take the change back (git revert), bring in what nights left (git carry fleet report --record), and make it again"
                .into(),
        ),
        FleetError::Record { name, .. } => {
            Some(format!("look at it, and take it away if nobody needs it: git push REMOTE :{name}"))
        }
        FleetError::NoTrunk { .. } => Some("set 'branch' in carry.toml".into()),
        FleetError::Night(_) => Some(format!("to see all of it: git carry fleet run --unit {unit}")),
    }
}

fn work(ui: &Ui, from: &Path, args: &RunArgs) -> Result<u8, CliError> {
    let claim_for = length(&args.claim_for).ok_or_else(|| CliError::Usage {
        what: format!("--claim-for: '{}' is no length of time", args.claim_for),
        hint: Some("git carry fleet run --claim-for 30m".into()),
    })?;
    let (workspace, _guard) = beside(ui, from, "fleet run")?;
    let (all, none) = units(&workspace);
    let holder = Holder::here(job().as_deref());
    let mine = chosen(ui, args, &workspace, &all, &holder)?;
    left_out(ui, &none);
    let mirrors = args.mirrors.as_deref().map(std::path::absolute).transpose();
    let mirrors = mirrors.map_err(CliError::io(&workspace.root))?;
    let how = How { holder, claim_for, accept_rewritten_trunk: args.accept_rewritten_trunk, mirrors };
    let (mut code, mut documents, mut rows) = (0, Vec::new(), table(&["unit", "", "took", ""]));
    for unit in &mine {
        let fate = fleet::run_unit(&workspace, unit, &how, ui);
        code = worse(code, fate_code(&fate));
        documents.push(fate_document(&unit.name, &fate));
        rows.add_row(fate_row(ui, &unit.name, &fate));
    }
    if ui.json {
        ui.document(&documents)?;
    } else if mine.is_empty() {
        ui.line("no unit is in this share");
    } else {
        ui.line(&fitted(rows, &[]));
    }
    Ok(code)
}

/// What an engine calls this job.
fn job() -> Option<String> {
    const JOBS: [(&str, &str); 5] = [
        ("SLURM_ARRAY_JOB_ID", "Slurm job"),
        ("GITHUB_RUN_ID", "GitHub run"),
        ("CI_JOB_ID", "GitLab job"),
        ("BUILD_TAG", "Jenkins"),
        ("BUILDKITE_JOB_ID", "Buildkite job"),
    ];
    let told = |(name, words): &(&str, &str)| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some(format!("{words} {value}"))
    };
    JOBS.iter().find_map(told)
}

/// The units that this worker is to do.
fn chosen(
    ui: &Ui,
    args: &RunArgs,
    workspace: &Workspace,
    all: &[Unit],
    holder: &Holder,
) -> Result<Vec<Unit>, CliError> {
    if !args.unit.is_empty() {
        return args.unit.iter().map(|name| named(workspace, all, name)).collect();
    }
    let shard = match &args.shard {
        Some(text) => Some(Shard::parse(text).ok_or_else(|| CliError::Usage {
            what: format!("--shard: '{text}' is no share"),
            hint: Some("the third of twelve is written 3/12".into()),
        })?),
        None if args.all => None,
        None => Shard::of_engine(&|name| std::env::var(name).ok(), args.of).transpose().map_err(|what| {
            CliError::Usage { what, hint: Some("say of how many: --of N, or GIT_CARRY_SHARDS=N".into()) }
        })?,
    };
    let Some(shard) = shard else {
        // Workers side by side do not all begin at the same end.
        let mut mine = all.to_vec();
        let turn = (0..all.len()).find(|n| Shard { index: *n, of: all.len() }.has(holder.words()));
        mine.rotate_left(turn.unwrap_or(0));
        return Ok(mine);
    };
    ui.aside(&format!("share {} of {}", shard.index + 1, shard.of));
    Ok(all.iter().filter(|unit| shard.has(&unit.name)).cloned().collect())
}

/// A key is asked for by so many digits at least.
const DIGITS: usize = 7;

fn named(workspace: &Workspace, all: &[Unit], name: &str) -> Result<Unit, CliError> {
    let of = |unit: &&Unit| unit.name == name || unit.projects.iter().any(|p| p == name);
    if let Some(unit) = all.iter().find(of) {
        return Ok(unit.clone());
    }
    if name.len() >= DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        let due = fleet::plan(workspace, None, Ceiling::None).due;
        let due = due.iter().find(|d| d.key.starts_with(name));
        if let Some(unit) = due.and_then(|d| all.iter().find(|u| u.name == d.unit)) {
            return Ok(unit.clone());
        }
        let hint =
            "its key changes with trunk and the queue: git carry fleet plan lists what is due".to_owned();
        return Err(CliError::Missing {
            what: format!("no unit of the key '{name}' is due"),
            hint: Some(hint),
        });
    }
    let known: Vec<&str> = all.iter().map(|u| u.name.as_str()).collect();
    let hint = match crate::workspace::nearest(name, &known) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "git carry fleet plan lists those that are due".into(),
    };
    Err(CliError::Missing { what: format!("there is no unit '{name}'"), hint: Some(hint) })
}

fn fate_code(fate: &Fate) -> u8 {
    match fate {
        Fate::Done(record) => record.exit_code,
        Fate::Failed(e) => e.exit_code(),
        Fate::Already(_) | Fate::Claimed(_) | Fate::Busy | Fate::Lost => 0,
    }
}

fn fate_row(ui: &Ui, unit: &str, fate: &Fate) -> [String; 4] {
    let row = |word: &str, took: String, more: String| [unit.to_owned(), word.to_owned(), took, more];
    match fate {
        Fate::Done(record) => row(word(record), took(record.seconds), told(&record.projects)),
        Fate::Already(record) => row("done already", String::new(), format!("by {}", clean(&record.holder))),
        Fate::Claimed(claim) => {
            row("claimed", String::new(), format!("by {}, until {}", clean(&claim.holder), claim.until))
        }
        Fate::Busy => row("claimed", String::new(), "others are at it".into()),
        Fate::Lost => row(
            "lost",
            String::new(),
            "the claim ran out and another worker took over: nothing of this run went out".into(),
        ),
        Fate::Failed(e) => {
            failed(ui, unit, e);
            row("failed", String::new(), clean(&e.to_string()))
        }
    }
}

fn fate_document(unit: &str, fate: &Fate) -> serde_json::Value {
    match fate {
        Fate::Done(record) => json!({ "version": 1, "unit": unit, "fate": "done", "result": record }),
        Fate::Already(record) => json!({ "version": 1, "unit": unit, "fate": "already", "result": record }),
        Fate::Claimed(claim) => json!({ "version": 1, "unit": unit, "fate": "claimed", "claim": claim }),
        Fate::Busy => json!({ "version": 1, "unit": unit, "fate": "busy" }),
        Fate::Lost => json!({ "version": 1, "unit": unit, "fate": "lost" }),
        Fate::Failed(e) => json!({
            "version": 1, "unit": unit, "fate": "failed", "error": e.to_string(), "exit_code": e.exit_code(),
        }),
    }
}

fn word(record: &Record) -> &'static str {
    let any = |word: &str| record.projects.iter().any(|p| p.done == word);
    match (any("refused") || any("held"), any("published")) {
        (true, _) => "refused",
        (false, true) => "published",
        (false, false) => "nothing new",
    }
}

/// What patches came to, and why a person should look.
fn told(projects: &[Told]) -> String {
    let patches = |word: &str| projects.iter().filter_map(|p| p.outcomes.get(word)).sum::<usize>();
    let counts = Outcome::ALL.iter().map(|o| (patches(o.word()), o.word())).filter(|(n, _)| *n > 0);
    let counts: Vec<String> = counts.map(|(n, word)| format!("{n} {word}")).collect();
    let mut reasons: Vec<String> = projects.iter().flat_map(|p| &p.reasons).map(|r| clean(r)).collect();
    // A line is a line: the report has them all.
    let more = reasons.len().saturating_sub(REASONS);
    reasons.truncate(REASONS);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    [counts.join(", "), reasons.join("; ")]
        .into_iter()
        .filter(|t| !t.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn took(seconds: f64) -> String {
    let length = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    match length.as_secs() {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min", length.as_secs() / 60),
        _ => format!("{} h {} min", length.as_secs() / 3600, length.as_secs() / 60 % 60),
    }
}

fn gather(ui: &Ui, from: &Path, args: &ReportArgs) -> Result<u8, CliError> {
    let by_name = || match args.to.as_deref()?.extension()?.to_str()? {
        "html" | "htm" => Some(ReportForm::Html),
        "json" => Some(ReportForm::Json),
        _ => None,
    };
    let fallback = if ui.json { ReportForm::Json } else { ReportForm::Table };
    let form = args.format.or_else(by_name).unwrap_or(fallback);
    let (workspace, _guard) = match args.record {
        true => guarded(ui, from, "fleet report")?,
        false => beside(ui, from, "fleet report")?,
    };
    ui.step("asking the remotes how all units stand");
    let all = fleet::overview(&workspace);
    let mut code = all.exit_code();
    let mut taken = Vec::new();
    if args.record {
        for unit in units(&workspace).0 {
            let now = Workspace::load(&workspace.root).map_err(NightError::from)?;
            match fleet::take_in(&now, &unit, ui) {
                Ok(more) => taken.extend(more),
                Err(e) => {
                    code = worse(code, e.exit_code());
                    failed(ui, &unit.name, &e);
                }
            }
        }
    }
    match form {
        ReportForm::Table => {
            let text = rows(&all);
            match &args.to {
                Some(path) => put(path, text.as_bytes())?,
                None => ui.line(text.trim_end()),
            }
            left_out(ui, &all.left_out);
        }
        ReportForm::Json => {
            let document = document(&all, &taken);
            match &args.to {
                Some(path) => put(path, format!("{document:#}\n").as_bytes())?,
                None => ui.document(&document)?,
            }
        }
        ReportForm::Html => {
            let now = Workspace::load(&workspace.root).map_err(NightError::from)?;
            let seen = fleet::seen_from_refs(&now, ui);
            let projects: Vec<&Project> = seen.config.projects.values().collect();
            let page = html_of(&report(&seen, &projects, Window::default(), ui))?;
            match &args.to {
                Some(path) => put(path, page.as_bytes())?,
                None => ui.line(page.trim_end()),
            }
        }
    }
    if let Some(path) = &args.to {
        ui.aside(&format!("written to {}", path.display()));
    }
    for one in &taken {
        ui.aside(&format!(
            "{}: {} in the workspace",
            one.project,
            count(one.commits.len(), "commit", "commits")
        ));
    }
    if !taken.is_empty() {
        ui.aside("next  push the workspace, so that everyone has what the nights left: git push");
    }
    Ok(code)
}

fn rows(all: &Overview) -> String {
    let mut rows = table(&["unit", "stands", "when", "took", ""]);
    for standing in &all.units {
        let record = standing.record.as_ref();
        let when = record.map_or_else(|| "-".to_owned(), |r| r.at.strftime("%Y-%m-%d %H:%M").to_string());
        let seconds = record.map_or_else(|| "-".to_owned(), |r| took(r.seconds));
        rows.add_row([standing.unit.name.clone(), standing.word().to_owned(), when, seconds, why(standing)]);
    }
    if all.units.is_empty() {
        rows = bare_table();
        rows.add_row(["no unit: no project deploys to a remote"]);
    }
    fitted(rows, &[]) + "\n"
}

fn why(standing: &Standing) -> String {
    match (&standing.error, &standing.claim, &standing.record) {
        (Some(e), ..) => clean(&e.to_string()),
        (_, Some(claim), _) => match &claim.failed {
            Some(failed) => clean(&failed.why),
            None => format!("{}, until {}", clean(&claim.holder), claim.until),
        },
        (_, None, Some(record)) => told(&record.projects),
        (_, None, None) => String::new(),
    }
}

fn document(all: &Overview, taken: &[fleet::TakenIn]) -> serde_json::Value {
    let unit = |s: &Standing| {
        json!({
            "unit": s.unit.name, "projects": s.unit.projects, "stands": s.word(), "exit_code": s.exit_code(),
            "result": s.record, "claim": s.claim, "error": s.error.as_ref().map(ToString::to_string),
        })
    };
    let left_out: Vec<_> =
        all.left_out.iter().map(|l| json!({ "project": l.project, "why": l.why })).collect();
    json!({
        "version": 1, "exit_code": all.exit_code(), "units": all.units.iter().map(unit).collect::<Vec<_>>(),
        "left_out": left_out, "recorded": taken,
    })
}
