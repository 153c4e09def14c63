//! `git carry manifest`: what exactly is in a build; and whether that is true.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::report::trimmed;
use super::ui::{BOLD, Ui, clean, cut, outcome, painted, short, table};
use crate::build::manifest::Manifest;
use crate::build::{ManifestDiff, verify};
use crate::night::{NightError, Site, manifest_ref, recorded_manifest};
use crate::queue::Patch;
use crate::store::Objects;
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
    /// Build the stack again from the manifest, the patches and the trunk, and compare.
    Verify {
        /// A manifest's file, or a build; without it, the last build.
        manifest: Option<String>,
    },
    /// Compare two builds: upstream's commits, patches, and what the move asks; either may be the older one.
    Diff(super::compare::Args),
    /// Write a build's manifest to a file.
    Export {
        /// The file; `-` is standard output.
        #[arg(value_name = "FILE")]
        to: PathBuf,
        /// The build; without it, the last one.
        #[arg(long)]
        build: Option<String>,
    },
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
            let manifest = find(&site, build.as_deref())?;
            if ui.json {
                ui.document(&manifest)?;
            } else {
                show(ui, &manifest);
            }
            Ok(0)
        }
        Action::Export { to, build } => {
            let text = find(&site, build.as_deref())?.render()?;
            if to == Path::new("-") {
                let _ = std::io::stdout().write_all(text.as_bytes());
            } else {
                std::fs::write(&to, text).map_err(CliError::io(&to))?;
                ui.line(&format!("manifest written to {}", to.display()));
            }
            Ok(0)
        }
        Action::Verify { manifest } => {
            let manifest = named(&site, manifest.as_deref())?;
            check(ui, &site, &manifest)
        }
    }
}

/// The manifest in a file, or of a build of this project; without a name, of the last one.
pub fn named(site: &Site<'_>, name: Option<&str>) -> Result<Manifest, CliError> {
    let Some(path) = name.map(Path::new).filter(|path| path.is_file()) else { return find(site, name) };
    let text = std::fs::read(path).map_err(CliError::io(path))?;
    Manifest::parse(&text).map_err(|e| CliError::Usage {
        what: format!("'{}' is no manifest: {e}", path.display()),
        hint: Some("git carry manifest export writes one".into()),
    })
}

/// The manifest of a build of this project, by its id or the first digits of it.
fn find(site: &Site<'_>, build: Option<&str>) -> Result<Manifest, CliError> {
    let missing =
        |what: String| CliError::Missing { what, hint: Some("git carry nightly makes builds".into()) };
    let project = &site.project.name;
    let Some(build) = build else {
        let lock = site.workspace.lock.projects.get(project);
        let found = lock.map(|l| recorded_manifest(site, l)).transpose()?.flatten();
        return found.ok_or_else(|| missing(format!("no build of '{project}' is recorded here")));
    };
    let refs = site.store.references(&[&manifest_ref(project, "")]).map_err(NightError::from)?;
    let wanted = build.get(..12).unwrap_or(build);
    let found =
        refs.into_iter().find(|(name, _)| name.rsplit('/').next().is_some_and(|b| b.starts_with(wanted)));
    let Some((_, blob)) = found.filter(|_| !wanted.is_empty()) else {
        return Err(missing(format!("no build '{}' of '{project}' is here", clean(build))));
    };
    let odb = site.store.odb().map_err(NightError::from)?;
    let text = odb.blob(&blob).map_err(NightError::from)?;
    Ok(Manifest::parse(&text)?)
}

fn show(ui: &Ui, m: &Manifest) {
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
    ui.line(&trimmed(&rows));
}

fn check(ui: &Ui, site: &Site<'_>, manifest: &Manifest) -> Result<u8, CliError> {
    let queue = site.queue()?;
    let at_hand = |file: &str, digest: &str| -> Option<Patch> {
        queue.patches.iter().find(|p| p.file == file && p.digest == digest).cloned()
    };
    let odb = site.store.odb().map_err(NightError::from)?;
    let verdict = verify(&odb, manifest, at_hand)?;
    let good = verdict.same_commit && verdict.same_tree;
    if ui.json {
        ui.document(&verdict)?;
    } else if good {
        ui.line(&format!(
            "build {} is what its manifest says: commit {} and tree {} were made again",
            manifest.deploy.build,
            short(&verdict.commit),
            short(&verdict.tree)
        ));
    } else {
        let word = |same: bool| if same { "the same" } else { "DIFFERENT" };
        ui.line(&format!("build {} is NOT what its manifest says", manifest.deploy.build));
        ui.line(&format!("  tree    {} made again: {}", short(&verdict.tree), word(verdict.same_tree)));
        ui.line(&format!("  commit  {} made again: {}", short(&verdict.commit), word(verdict.same_commit)));
    }
    Ok(if good { 0 } else { 4 })
}
