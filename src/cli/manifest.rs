//! `git carry manifest`: what exactly is in a build; and whether that is true.

use std::io::Write;
use std::path::Path;

use super::error::CliError;
use super::ui::{BOLD, Ui, clean, cut, fitted, outcome, painted, short, table};
use crate::build::ManifestDiff;
use crate::build::manifest::Manifest;
use crate::build::signature::key_of;
use crate::night::{NightError, Site, recorded};
use crate::workspace::Workspace;

/// Show, verify or export a build's manifest.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The project, where the workspace holds many.
    #[arg(long, global = true)]
    project: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what is in a build.
    Show {
        /// The build; without it, the last one.
        build: Option<String>,
    },
    Verify(super::verify::Args),
    /// Compare two builds: upstream's commits, patches, and what the move asks; either may be the older one.
    Diff(super::compare::Args),
    Export(super::exports::Args),
    /// Print the JSON Schema of manifests.
    Schema {
        /// That of comparisons (`manifest diff --json`) instead.
        #[arg(long)]
        diff: bool,
    },
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    if let Action::Schema { diff } = args.action {
        let schema = if diff { ManifestDiff::schema()? } else { Manifest::schema()? };
        // A closed pipe is nobody's mistake.
        let _ = std::io::stdout().write_all(schema.as_bytes());
        return Ok(0);
    }
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    match args.action {
        Action::Schema { .. } => Ok(0),
        Action::Diff(args) => super::compare::run(ui, &site, &args),
        Action::Show { build } => {
            let build = recorded(&site, build.as_deref())?;
            if ui.json {
                ui.document(&build.manifest)?;
            } else {
                show(ui, &build.manifest, build.signature.as_deref());
            }
            Ok(0)
        }
        Action::Export(args) => super::exports::run(ui, &site, args),
        Action::Verify(args) => super::verify::run(ui, &site, args),
    }
}

/// The manifest in a file, or of a build of this project; without a name, of the last one.
pub fn named(site: &Site<'_>, name: Option<&str>) -> Result<Manifest, CliError> {
    let Some(path) = name.map(Path::new).filter(|path| path.is_file()) else {
        return Ok(recorded(site, name)?.manifest);
    };
    let text = std::fs::read(path).map_err(CliError::io(path))?;
    Manifest::parse(&text).map_err(|e| CliError::Usage {
        what: format!("'{}' is no manifest: {e}", path.display()),
        hint: Some("git carry manifest export writes one".into()),
    })
}

fn show(ui: &Ui, m: &Manifest, signature: Option<&[u8]>) {
    ui.line(&format!("{} build {}", painted(&m.project, BOLD), painted(&m.deploy.build, BOLD)));
    let describe = m.trunk.describe.as_deref().map(|d| format!(" ({})", clean(d))).unwrap_or_default();
    ui.line(&format!(
        "  trunk   {}{describe} of {}",
        short(&m.trunk.commit),
        m.trunk.date.get(..10).unwrap_or("-")
    ));
    ui.line(&format!(
        "  deploy  {} at {}, tree {}",
        clean(&m.deploy.branch),
        short(&m.deploy.commit),
        short(&m.deploy.tree)
    ));
    if let Some(previous) = &m.deploy.previous {
        ui.line(&format!("  before  {}", short(previous)));
    }
    let signed = match signature {
        // Whether it is worth anything is for `verify` to say.
        Some(signature) => {
            format!("by the key {}", key_of(signature).unwrap_or_else(|| "that cannot be read".into()))
        }
        None => "not signed".to_owned(),
    };
    ui.line(&format!("  signed  {signed}"));
    for artifact in &m.artifacts {
        ui.line(&format!("  {:7} {}", clean(&artifact.kind), super::build::line(artifact)));
    }
    let word = if m.verdict.publishable { "publishable" } else { "not publishable" };
    ui.line(&format!("  verdict {word}"));
    for reason in &m.verdict.reasons {
        ui.line(&format!("          {}", clean(reason)));
    }
    let mut rows = table(&["patch", "outcome", "commit", "subject"]);
    for p in &m.patches {
        let commit = p.commit.as_deref().map_or("-", short);
        rows.add_row([clean(&p.name), outcome(p.outcome), commit.to_owned(), cut(&clean(&p.subject), 60)]);
    }
    ui.line(&fitted(rows, &[3, 2]));
}
