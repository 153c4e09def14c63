//! `git carry manifest export`: a build's manifest as a file, in its own form or in one that other tools read.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::Ui;
use super::verify::beside;
use crate::build::cyclonedx;
use crate::build::signature::{STATEMENT, sign};
use crate::build::statement::{envelope, statement, to_sign};
use crate::night::{NightError, Site, kept_patches, recorded, signing_key};
use crate::queue::digest;

/// Write a build's manifest to a file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; `-` is standard output. A signed manifest's signature goes to FILE.sig, an envelope to FILE.dsse.
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// The build; without it, the last one.
    #[arg(long)]
    build: Option<String>,
    /// The form: the manifest itself, to the byte; CycloneDX 1.6 with the patches in its pedigree; or an in-toto statement
    /// with SLSA provenance, and with a signing key the same in a DSSE envelope.
    #[arg(long, value_enum, default_value_t = Format::Carry)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Carry,
    Cyclonedx,
    InToto,
}

pub fn run(ui: &Ui, site: &Site<'_>, args: Args) -> Result<u8, CliError> {
    let build = recorded(site, args.build.as_deref())?;
    let mut more: Option<Vec<u8>> = None;
    let text = match args.format {
        Format::Carry => {
            more = build.signature;
            build.bytes
        }
        Format::Cyclonedx => {
            let kept = kept_patches(site, &build.manifest)?;
            let patch = |file: &str, digest: &str| {
                kept.get(file).filter(|p| p.digest == digest).map(|p| p.bytes().to_vec())
            };
            cyclonedx(&build.manifest, patch)?.into_bytes()
        }
        Format::InToto => {
            let text = statement(&build.manifest, &digest(&build.bytes))?.into_bytes();
            if let Some(key) = signing_key(site)?.filter(|_| !is_stdout(&args.to)) {
                let signature = sign(&key, STATEMENT, &to_sign(&text)).map_err(NightError::from)?;
                more = Some(envelope(&text, &signature)?.into_bytes());
            }
            text
        }
    };
    if is_stdout(&args.to) {
        // A closed pipe is nobody's mistake.
        let _ = std::io::stdout().write_all(&text);
        return Ok(0);
    }
    std::fs::write(&args.to, text).map_err(CliError::io(&args.to))?;
    let ending = match args.format {
        Format::Carry => Some("sig"),
        Format::InToto => Some("dsse"),
        Format::Cyclonedx => None,
    };
    if let Some(ending) = ending {
        put_beside(&args.to, ending, more.as_deref())?;
    }
    let what = match args.format {
        Format::Carry => "manifest",
        Format::Cyclonedx => "CycloneDX document",
        Format::InToto => "in-toto statement",
    };
    let with = match (ending.filter(|_| more.is_some()), args.format) {
        (Some(ending), _) => format!(", and {}", beside(&args.to, ending).display()),
        (None, Format::Carry) => "; it is not signed".to_owned(),
        (None, _) => String::new(),
    };
    ui.line(&format!(
        "{what} of build {} written to {}{with}",
        build.manifest.deploy.build,
        args.to.display()
    ));
    Ok(0)
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes what goes with a file, called as it with an ending more; that of another build must not stay there.
pub fn put_beside(file: &Path, ending: &str, bytes: Option<&[u8]>) -> Result<(), CliError> {
    let path = beside(file, ending);
    let done = match bytes {
        Some(bytes) => std::fs::write(&path, bytes),
        None => std::fs::remove_file(&path),
    };
    match done {
        Err(e) if bytes.is_some() || e.kind() != std::io::ErrorKind::NotFound => Err(CliError::io(&path)(e)),
        _ => Ok(()),
    }
}
