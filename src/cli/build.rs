//! `git carry build`: a build as files for those who deploy without git's own protocol; or its refs to the remote.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, DIM, Ui, clean, count, painted};
use crate::build::manifest::ArtifactRecord;
use crate::night::{Events as _, NightError, Site, artifacts_folder, pack, prune, push_build, recorded};
use crate::workspace::ArtifactKind;

/// Make a build's tarball and bundle, with its manifest, signature and checksums; or push its refs.
///
/// The tarball has the bytes of `git archive --format=tar --prefix=PROJECT-BUILD/ COMMIT`. The bundle is what a clone of
/// the build before lacks. The files stand in a folder PROJECT-BUILD, whole or not at all.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The build; without it, the last one.
    #[arg(value_name = "BUILD")]
    build: Option<String>,
    /// Put them in this folder, and take nothing away there; without it, where carry.toml says.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["push", "prune"])]
    to: Option<PathBuf>,
    /// Push the build's refs (commits, manifest, signature) to the deploy remote, and make no files.
    #[arg(long)]
    push: bool,
    /// Make nothing; only take away what is old, as 'keep' in carry.toml says.
    #[arg(long, conflicts_with_all = ["push", "build"])]
    prune: bool,
    /// Show what would be made and what would go.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask the remote what its stages run.
    #[arg(long)]
    offline: bool,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "build")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let wanted = project.artifacts.as_ref();
    let build = if args.prune { None } else { Some(recorded(&site, args.build.as_deref())?) };
    if let Some(build) = build.as_ref().filter(|_| args.push) {
        return push(ui, &site, build, args.dry_run);
    }
    let mut document = serde_json::json!({ "version": 1, "project": project.name, "dry_run": args.dry_run });
    if let Some(build) = build {
        let kinds = wanted.map_or(ArtifactKind::ALL.to_vec(), |a| a.kinds.clone());
        let to = args.to.clone().unwrap_or_else(|| artifacts_folder(&site));
        let id = &build.manifest.deploy.build;
        document["build"] = id.as_str().into();
        if args.dry_run {
            let kinds: Vec<&str> = kinds.iter().map(|k| k.word()).collect();
            ui.aside(&format!("build {id} would go to {}: {}", to.display(), kinds.join(", ")));
        } else {
            let packed = pack(&site, &build, &kinds, &to)?;
            document["folder"] = packed.folder.to_string_lossy().into();
            document["made"] = packed.made.into();
            document["artifacts"] = serde_json::to_value(&packed.records)?;
            document["not_as_listed"] = serde_json::to_value(&packed.other)?;
            if !ui.json {
                let word = if packed.made { "in" } else { "there already, in" };
                ui.line(&format!("build {} {word} {}", painted(id, BOLD), packed.folder.display()));
                packed.records.iter().for_each(|record| ui.line(&format!("  {}", line(record))));
                if build.signature.is_none() {
                    ui.line(&painted("  the manifest is not signed", DIM));
                }
            }
            for name in &packed.other {
                ui.note(&format!(
                    "{name} holds what the build's own one held, in other bytes than the manifest lists: \
                     it was made again by another git or from another store"
                ));
            }
        }
    }
    let keep = wanted.and_then(|a| a.keep).filter(|_| args.to.is_none());
    let gone = match keep {
        Some(keep) => prune(&site, &artifacts_folder(&site), keep, (args.dry_run, args.offline), ui)?,
        None => Vec::new(),
    };
    if args.prune && keep.is_none() && !ui.json {
        ui.line(&format!("all are kept: carry.toml has no 'keep' in [project.{}.artifacts]", project.name));
    }
    document["pruned"] = serde_json::to_value(&gone)?;
    if ui.json {
        ui.document(&document)?;
    } else {
        pruned(ui, &gone, args.dry_run);
        if args.prune && keep.is_some() && gone.is_empty() {
            ui.line("nothing is old enough to go");
        }
    }
    Ok(0)
}

/// Tells which builds' files went, or would go.
pub fn pruned(ui: &Ui, gone: &[String], dry_run: bool) {
    if !gone.is_empty() {
        let word = if dry_run { "would go" } else { "taken away" };
        let builds = count(gone.len(), "build", "builds");
        ui.line(&format!("      files of {builds} {word}: {}", gone.join(", ")));
    }
}

/// A file in one line.
pub fn line(record: &ArtifactRecord) -> String {
    let size = indicatif::HumanBytes(record.size);
    format!("{}  {size}  sha256 {}", clean(&record.name), clean(&record.sha256))
}

fn push(ui: &Ui, site: &Site<'_>, build: &crate::night::Recorded, dry_run: bool) -> Result<u8, CliError> {
    if site.project.deploy.remote.is_none() {
        return Err(CliError::Usage {
            what: format!("'{}' has no deploy remote", site.project.name),
            hint: Some(format!("carry.toml: remote = \"…\" in [project.{}.deploy]", site.project.name)),
        });
    }
    let refs = push_build(site, build, dry_run, ui)?;
    if ui.json {
        let document = serde_json::json!({
            "version": 1, "project": site.project.name, "build": build.manifest.deploy.build,
            "dry_run": dry_run, "pushed": refs,
        });
        ui.document(&document)?;
    } else if refs.is_empty() {
        ui.line(&format!("the remote has build {} already", build.manifest.deploy.build));
    } else {
        let word = if dry_run { "would be pushed" } else { "pushed" };
        refs.iter().for_each(|name| ui.line(&format!("{name} {word}")));
    }
    Ok(0)
}
