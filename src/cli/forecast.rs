//! `git carry forecast`: which upstream work, once merged, breaks which patch.

use std::path::Path;

use super::error::CliError;
use super::ui::{BOLD, Ui, clean, count, cut, fitted, painted, short, table};
use crate::forecast::{Effect, Outlook};
use crate::night::{NightError, Site, look_ahead};
use crate::workspace::Workspace;

/// Look ahead: which upstream work that trunk has not taken in yet will break which patch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Refs of the upstream: a branch (`next`), a full name, or a pattern (`refs/pull/*/head`).
    #[arg(required = true, value_name = "REF")]
    refs: Vec<String>,
    /// Use what was fetched for these refs before.
    #[arg(long)]
    offline: bool,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let outlooks = look_ahead(&site, &args.refs, args.offline, ui)?;
    if ui.json {
        let document = serde_json::json!({ "version": 1, "project": project.name, "work": outlooks });
        ui.document(&document)?;
        return Ok(0);
    }
    let mut rows = table(&["upstream work", "author", "breaks", "subject"]);
    for o in &outlooks {
        if let Effect::Breaks { patches, blocked } = &o.effect {
            let more = match blocked.len() {
                0 => String::new(),
                n => format!(", and blocks {n} more"),
            };
            let name = o.name.strip_prefix("refs/heads/").unwrap_or(&o.name);
            let name = format!("{} {}", clean(name), short(&o.commit));
            let breaks = format!("{}{more}", clean(&patches.join(", ")));
            rows.add_row([name, cut(&clean(&o.author), 24), breaks, cut(&clean(&o.subject), 50)]);
        }
    }
    if rows.row_count() > 0 {
        ui.line(&format!("{}\n", fitted(rows, &[])));
    }
    let of = |wanted: fn(&Effect) -> bool| outlooks.iter().filter(|o: &&Outlook| wanted(&o.effect)).count();
    let breaking = of(|e| matches!(e, Effect::Breaks { .. }));
    ui.line(&format!(
        "{} looked at: {} would break patches, {} harmless, {} in trunk already, {} not to be merged with trunk as they are",
        painted(&count(outlooks.len(), "ref", "refs"), BOLD),
        breaking,
        of(|e| *e == Effect::Harmless),
        of(|e| *e == Effect::Landed),
        of(|e| *e == Effect::ConflictsWithTrunk),
    ));
    Ok(0)
}
