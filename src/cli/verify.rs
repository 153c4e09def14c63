//! `git carry manifest verify`: is a build what its manifest says, and if not, which part of it is not?

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};

use super::error::CliError;
use super::ui::{DIM, Ui, clean, count, painted};
use crate::night::{Look, Proof, Question, Site, Word, recorded, verify};

/// Build the stack again from the manifest, the patches and the trunk, and compare; look at signature and artifacts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A manifest's file (its signature is FILE.sig beside it), or a build; without it, the last build.
    manifest: Option<String>,
    /// Where the build's files are: its own folder, or the one that holds it. Then they must be there.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// A manifest without a signature is fine, although carry.toml names allowed signers.
    #[arg(long)]
    allow_unsigned: bool,
    /// The moment at which the signer must have been allowed, for instance 2026-03-01T00:00:00Z; without it, now.
    #[arg(long, value_name = "TIME")]
    as_of: Option<jiff::Timestamp>,
}

pub fn run(ui: &Ui, site: &Site<'_>, args: Args) -> Result<u8, CliError> {
    let mut question = Question {
        artifacts: args.artifacts,
        allow_unsigned: args.allow_unsigned,
        as_of: args.as_of,
        ..Question::default()
    };
    match args.manifest.as_deref() {
        Some(name) if Path::new(name).is_file() => {
            let path = Path::new(name);
            let beside = beside(path, "sig");
            question.manifest = std::fs::read(path).map_err(CliError::io(path))?;
            if beside.exists() {
                question.signature = Some(std::fs::read(&beside).map_err(CliError::io(&beside))?);
            }
        }
        build => {
            let build = recorded(site, build)?;
            (question.manifest, question.signature) = (build.bytes, build.signature);
        }
    }
    let proof = verify(site, &question, ui)?;
    if ui.json {
        ui.document(&proof)?;
    } else {
        show(ui, &proof);
    }
    Ok(if proof.good { 0 } else { 4 })
}

/// The file called as another one, with an ending more.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn show(ui: &Ui, proof: &Proof) {
    let build = clean(&proof.build);
    ui.line(&match (proof.good, build.is_empty()) {
        (true, _) => format!("build {build} is what its manifest says"),
        (false, false) => format!("build {build} is NOT what its manifest says"),
        (false, true) => "this is NOT a manifest".to_owned(),
    });
    // Of many patches, only those that are wrong are of interest.
    let good_patch = |l: &&Look| l.what == "patch" && l.result == Word::Good;
    let patches = proof.looked_at.iter().filter(good_patch).count();
    let mut told = false;
    for look in &proof.looked_at {
        if good_patch(&look) {
            if !std::mem::replace(&mut told, true) {
                let text = format!("{}, each with its digest", count(patches, "file", "files"));
                line(ui, Word::Good, "patches", &text);
            }
            continue;
        }
        let name = look.name.as_deref().map(|name| format!("{}: ", clean(name))).unwrap_or_default();
        match look.result {
            Word::Good => line(ui, Word::Good, look.what, &format!("{name}{}", clean(&look.found))),
            Word::NotChecked => {
                line(ui, Word::NotChecked, look.what, &format!("{name}{}", clean(&look.found)))
            }
            Word::Bad => {
                line(ui, Word::Bad, look.what, &format!("{name}expected {}", clean(&look.expected)));
                ui.line(&format!("{:25}found    {}", "", clean(&look.found)));
            }
        }
    }
}

fn line(ui: &Ui, word: Word, what: &str, text: &str) {
    let (said, style) = match word {
        Word::Good => ("good", Style::new().fg_color(Some(AnsiColor::Green.into()))),
        Word::Bad => ("BAD", Style::new().bold().fg_color(Some(AnsiColor::Red.into()))),
        Word::NotChecked => ("not checked", DIM),
    };
    ui.line(&format!("  {}  {what:9} {text}", painted(&format!("{said:11}"), style)));
}
