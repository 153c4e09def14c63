//! `git carry fleet plan`: what is due, in the form that an engine takes.

use std::path::Path;

use super::super::error::CliError;
use super::super::ui::{Ui, clean, count, fitted, table};
use super::{beside, failed, left_out, took};
use crate::fleet::{self, Ceiling, Plan, Why, forms, worse};
use crate::night::Events as _;

/// Show which units are due, the longest first, and spread them over shares.
///
/// A unit is a project, or projects whose patches depend on each other. One that has a result for the trunk, the queue and the
/// settings as they are now is not due.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// Into how many shares; without it, one, or as many as the form's engine takes.
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    shards: Option<usize>,
    /// Those of which nothing was published, too, though nothing has changed since.
    #[arg(long)]
    again: bool,
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

pub(super) fn plan(ui: &Ui, from: &Path, args: &PlanArgs) -> Result<u8, CliError> {
    let (workspace, _guard) = beside(ui, from, "fleet plan")?;
    let ceiling = match args.format {
        Form::Table | Form::Json => Ceiling::None,
        Form::GithubMatrix => Ceiling::GithubMatrix,
        Form::Gitlab => Ceiling::Gitlab,
        Form::K8s => Ceiling::Kubernetes,
        Form::Slurm => Ceiling::Slurm,
    };
    ui.step("asking the remotes what is due");
    let plan = fleet::plan(&workspace, args.shards, ceiling, args.again);
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
                Why::Refused => "nothing was published",
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
