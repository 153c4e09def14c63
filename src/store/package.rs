//! A build's files as a tar archive, its commits as a bundle; neither depends on the user's configuration.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::{Repo, StoreError};

/// Settings by which two machines would name an object differently in a file that asks for it (`export-subst`).
const ARCHIVE: [&str; 3] = ["core.abbrev=12", "core.attributesFile=/dev/null", "attr.tree="];

/// What a bundle says of itself, in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleHead {
    /// The commits that whoever fetches from it must have.
    pub needs: Vec<ObjectId>,
    /// Its refs.
    pub refs: Vec<(String, ObjectId)>,
}

impl Repo {
    /// Writes the files of a commit as `git archive --format=tar` gives them, each below `prefix`. It is asked in a
    /// repository in `scratch` that has these objects and no refs, settings or attributes of its own, as of the
    /// commit's own time: so nothing but the commit and the prefix has a say.
    pub fn archive(
        &self,
        commit: &ObjectId,
        prefix: &str,
        to: &Path,
        scratch: &Path,
    ) -> Result<(), StoreError> {
        self.complete(&[*commit])?;
        let bare = Self::open_or_create(&scratch.join("archive.git"), Some(self.path()), None)?;
        let now = self.odb()?.commit(commit)?.committer.seconds;
        let file = File::create(to).map_err(|e| unwritten(to, &e))?;
        let mut call = bare.git().call(ARCHIVE.iter().flat_map(|pin| ["-c", pin]));
        // Dates as "3 days ago" (`%ar` in `export-subst`) are told from this day (git's `date.c`).
        call = call.alone().env("GIT_TEST_DATE_NOW", now.max(0).to_string());
        call = call.args(["archive", "--format=tar"]).arg(format!("--prefix={prefix}"));
        call.arg(commit.to_string()).write_to(file).output()?;
        Ok(())
    }

    /// Writes a bundle with the ref `name` at `commit`: all of it, or what a repository with the commit `previous`
    /// lacks. `git bundle create` would ask for the commits at which the two part, which others may have as well; this
    /// one asks for `previous` itself.
    pub fn bundle(
        &self,
        name: &str,
        commit: &ObjectId,
        previous: Option<&ObjectId>,
        to: &Path,
    ) -> Result<(), StoreError> {
        let ends: Vec<ObjectId> = previous.into_iter().chain([commit]).copied().collect();
        self.complete(&ends)?;
        // Header and pack (`git help gitformat-bundle`).
        let mut header = match self.hash() {
            gix_hash::Kind::Sha1 => PLAIN.to_owned(),
            other => format!("{EXTENDED}{FORMAT}{other}\n"),
        };
        let mut wanted = format!("{commit}\n");
        if let Some(previous) = previous {
            let subject: String =
                self.odb()?.commit(previous)?.subject().chars().filter(|c| !c.is_control()).collect();
            header.push_str(&format!("-{previous} {subject}\n"));
            wanted.push_str(&format!("^{previous}\n"));
        }
        header.push_str(&format!("{commit} {name}\n\n"));
        let mut file = File::create(to).map_err(|e| unwritten(to, &e))?;
        file.write_all(header.as_bytes()).map_err(|e| unwritten(to, &e))?;
        let call = self.git().call(["-c", "pack.threads=1", "pack-objects", "--quiet", "--revs", "--stdout"]);
        let call = call.args(["--thin", "--delta-base-offset", "--no-include-tag"]).alone();
        call.stdin(wanted).write_to(file).output()?;
        Ok(())
    }

    /// Reads a bundle whole, as who fetches from it does, in a repository in `scratch` that lends this one's objects.
    /// What it needs must be here; a byte of it that is wrong is an error.
    pub fn unbundle(&self, bundle: &Path, scratch: &Path) -> Result<BundleHead, StoreError> {
        let bare = Self::open_or_create(&scratch.join("bundle.git"), Some(self.path()), None)?;
        let head = bundle_head(bundle)?;
        // Git is called from another folder.
        let bundle = &std::path::absolute(bundle).unwrap_or_else(|_| bundle.to_owned());
        // Git wants what a bundle needs to be in some ref's history.
        for (n, need) in head.needs.iter().enumerate() {
            bare.git().call(["update-ref", &format!("refs/needs/{n}"), &need.to_string()]).output()?;
        }
        bare.git().call(["bundle", "verify", "--quiet"]).arg(bundle).alone().output()?;
        bare.git().call(["bundle", "unbundle"]).arg(bundle).alone().output()?;
        Ok(head)
    }
}

fn unwritten(path: &Path, e: &std::io::Error) -> StoreError {
    StoreError::Write { path: path.to_owned(), reason: e.to_string() }
}

/// The first line of a bundle of version 2 (`git help gitformat-bundle`), whose ids are SHA-1.
const PLAIN: &str = "# v2 git bundle\n";
/// The first line of version 3, and the capability by which it says which ids it has.
const EXTENDED: &str = "# v3 git bundle\n";
const FORMAT: &str = "@object-format=";

/// A header is no longer than this.
const HEADER: u64 = 1 << 20;

/// Reads the header of a bundle.
fn bundle_head(path: &Path) -> Result<BundleHead, StoreError> {
    let wrong = |reason: &str| StoreError::Open { path: path.to_owned(), reason: reason.to_owned() };
    let file = File::open(path).map_err(|e| wrong(&e.to_string()))?;
    let mut lines = BufReader::new(file.take(HEADER));
    let mut head = BundleHead { needs: Vec::new(), refs: Vec::new() };
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        lines.read_until(b'\n', line).map_err(|e| wrong(&e.to_string()))
    };
    next(&mut line)?;
    if line != PLAIN.as_bytes() && line != EXTENDED.as_bytes() {
        return Err(wrong("it is no git bundle of version 2 or 3"));
    }
    let id = |hex: &[u8]| ObjectId::from_hex(hex).map_err(|_| wrong("its header holds a line without an id"));
    while next(&mut line)? > 0 {
        let text = line.trim_end_with(|c| c == '\n');
        if text.is_empty() {
            return Ok(head);
        }
        if text.starts_with(FORMAT.as_bytes()) {
            continue;
        }
        // What else a version 3 may say leaves something out, and ours do not.
        if text.starts_with(b"@") {
            return Err(wrong("it is a bundle that leaves something out"));
        }
        match text.strip_prefix(b"-") {
            Some(need) => head.needs.push(id(need.split_str(" ").next().unwrap_or_default())?),
            None => {
                let (hex, name) = text.split_once_str(" ").ok_or_else(|| wrong("its header holds no ref"))?;
                head.refs.push((name.to_str_lossy().into_owned(), id(hex)?));
            }
        }
    }
    Err(wrong("its header has no end"))
}
