//! `git carry fleet run`: one worker.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::error::CliError;
use super::super::ui::{Ui, clean, fitted, table};
use super::{beside, failed, in_short, left_out, told, took};
use crate::fleet::{self, Ceiling, Fate, Holder, How, Shard, Unit, units, worse};
use crate::night::beat;
use crate::workspace::{Workspace, length};

/// Be one worker: do the units of a share, each only if it is due and nobody else is at it.
///
/// The share is --shard or --unit, or what the engine's own variables say: SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX (with
/// --of), CI_NODE_INDEX, BUILDKITE_PARALLEL_JOB or CIRCLE_NODE_INDEX. Without any, it is all units, and workers side by
/// side take what is left.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
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
    /// Try again what nothing was published of, though nothing has changed since: a check may have failed by chance.
    #[arg(long)]
    again: bool,
    /// Keep one copy of each upstream in this folder, for all clones of this host.
    #[arg(long, value_name = "DIR", env = "GIT_CARRY_MIRRORS")]
    mirrors: Option<PathBuf>,
}

pub(super) fn work(ui: &Ui, from: &Path, args: &RunArgs) -> Result<u8, CliError> {
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
    let again = args.again.then(beat::now);
    let how = How { holder, claim_for, accept_rewritten_trunk: args.accept_rewritten_trunk, mirrors, again };
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
        let due = fleet::plan(workspace, None, Ceiling::None, true).due;
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
        Fate::Done(record) => row(record.word(), took(record.seconds), told(&record.projects)),
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
            row("failed", String::new(), in_short(&e.to_string()))
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
