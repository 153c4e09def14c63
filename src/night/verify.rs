//! Holds a build against what its manifest says: signature, patches, tree, commit, files. Each thing that was looked at
//! is told, with what was expected and what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use gix_hash::ObjectId;
use serde::Serialize;

use super::artifacts::folder;
use super::publish::{build_ref, manifest_ref};
use super::sign::trust;
use super::turn::head;
use super::{Events, NightError, Site};
use crate::build::artifact::{Source, weigh};
use crate::build::build_id;
use crate::build::manifest::{ArtifactRecord, Manifest};
use crate::build::signature::{MANIFEST, Standing, check};
use crate::build::{VerifyError, verify as build_again};
use crate::queue::{Patch, digest};
use crate::store::{Objects as _, StoreError};
use crate::workspace::ArtifactKind;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The manifest, to the byte.
    pub manifest: Vec<u8>,
    /// The signature that came with it.
    pub signature: Option<Vec<u8>>,
    /// Where its files are; none: where the configuration puts them, and they may be gone.
    pub artifacts: Option<PathBuf>,
    /// Is it fine that it is not signed, although the configuration says who may?
    pub allow_unsigned: bool,
    /// The moment at which the signer must have been allowed; none: now.
    pub as_of: Option<jiff::Timestamp>,
}

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It is what it should be.
    Good,
    /// It is not.
    Bad,
    /// It could not be looked at; that is no fault of the build.
    NotChecked,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// What: `form`, `manifest`, `signature`, `patch`, `trunk`, `tree`, `commit`, `tarball`, `bundle`.
    pub what: &'static str,
    /// Which one, where there are many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it ended.
    pub result: Word,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// All that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The version of this form.
    pub version: u32,
    /// The build, as the manifest calls it; empty if it says nothing.
    pub build: String,
    /// Is nothing bad?
    pub good: bool,
    /// What was looked at.
    pub looked_at: Vec<Look>,
}

struct Looks(Vec<Look>);

impl Looks {
    fn add(&mut self, what: &'static str, name: Option<&str>, result: Word, texts: [&str; 2]) {
        let [expected, found] = texts.map(str::to_owned);
        self.0.push(Look { what, name: name.map(str::to_owned), result, expected, found });
    }

    /// Two texts that should be the same.
    fn same(&mut self, what: &'static str, name: Option<&str>, texts: [&str; 2]) {
        let result = if texts[0] == texts[1] { Word::Good } else { Word::Bad };
        self.add(what, name, result, texts);
    }
}

/// Looks at everything that the manifest says of its build and that can be looked at here.
pub fn verify(site: &Site<'_>, question: &Question, events: &dyn Events) -> Result<Proof, NightError> {
    let mut looks = Looks(Vec::new());
    let manifest = Manifest::parse(&question.manifest);
    let sure = signature(site, question, &mut looks)?;
    let mut build = String::new();
    match &manifest {
        Ok(manifest) => {
            build.clone_from(&manifest.deploy.build);
            published(site, manifest, question, sure, &mut looks)?;
            events.step("building again");
            again(site, manifest, &mut looks)?;
            events.step("looking at the artifacts");
            files(site, manifest, question.artifacts.as_deref(), &mut looks)?;
        }
        Err(e) => looks.add("form", None, Word::Bad, ["a manifest", &e.to_string()]),
    }
    let good = looks.0.iter().all(|l| l.result != Word::Bad);
    Ok(Proof { version: 1, build, good, looked_at: looks.0 })
}

/// Looks at the signature. Is the manifest by one who may sign?
fn signature(site: &Site<'_>, question: &Question, looks: &mut Looks) -> Result<bool, NightError> {
    let mut trust = trust(site);
    trust.as_of = question.as_of;
    let known = trust.allowed.as_ref().map(|file| file.display().to_string());
    let wanted = match &known {
        Some(file) => format!("one by a signer of {file}"),
        None => "none is asked for: no allowed_signers in carry.toml".to_owned(),
    };
    let mut told = |result, found: &str| looks.add("signature", None, result, [&wanted, found]);
    let Some(signature) = &question.signature else {
        let fine = known.is_none() || question.allow_unsigned;
        told(if fine { Word::NotChecked } else { Word::Bad }, "it is not signed");
        return Ok(false);
    };
    let standing = check(signature, MANIFEST, &question.manifest, &trust)?;
    let good = matches!(standing, Standing::Good { .. });
    match standing {
        Standing::Good { signer, key } => told(Word::Good, &format!("by {signer}, key {key}")),
        Standing::Unknown { key } => told(
            Word::NotChecked,
            &format!("by the key {key}, over these very bytes; whose that is, is not known here"),
        ),
        Standing::Damaged => told(Word::Bad, "it is no SSH signature"),
        Standing::Namespace { found } => {
            told(Word::Bad, &format!("it was made for '{}', not for '{MANIFEST}'", found.escape_debug()));
        }
        Standing::Altered { key } => {
            told(
                Word::Bad,
                &format!("it is over other bytes than these (key {key}): one of the two was altered"),
            );
        }
        Standing::NotAllowed { key } => {
            told(Word::Bad, &format!("by the key {key}, which is not among them"))
        }
        Standing::NotNow { key } => {
            told(
                Word::Bad,
                &format!("by the key {key}, which is among them, but not for this use or not at this time"),
            );
        }
        Standing::Revoked { key } => told(Word::Bad, &format!("by the key {key}, which is revoked")),
    }
    Ok(good)
}

/// Holds the manifest against the one that is recorded for its build, and against itself.
fn published(
    site: &Site<'_>,
    manifest: &Manifest,
    question: &Question,
    sure: bool,
    looks: &mut Looks,
) -> Result<(), NightError> {
    let (build, project) = (manifest.deploy.build.as_str(), &manifest.project);
    if *project != site.project.name {
        looks.same("project", None, [&site.project.name, project]);
    }
    if let Ok(id) = ObjectId::from_hex(manifest.deploy.commit.as_bytes())
        && build_id(&id) != build
    {
        looks.same("build", None, [&build_id(&id), build]);
    }
    let name = manifest_ref(&site.project.name, build);
    let known =
        if build.bytes().all(|b| b.is_ascii_hexdigit()) { site.store.reference(&name)? } else { None };
    let Some(id) = known else {
        let expected = format!("the one of {name}");
        looks.add("manifest", None, Word::NotChecked, [&expected, "no such build is recorded here"]);
        return Ok(());
    };
    let recorded = site.store.odb()?.blob(&id)?;
    let (expected, found) = (digest(&recorded), digest(&question.manifest));
    match (expected == found, sure) {
        // Two machines that publish the same build may each have a manifest of their own of it.
        (false, true) => {
            looks.add("manifest", None, Word::NotChecked, [&expected, &format!("{found}, which is signed")])
        }
        _ => looks.same("manifest", None, [&expected, &found]),
    }
    Ok(())
}

/// Builds again from trunk and patches, and compares.
fn again(site: &Site<'_>, manifest: &Manifest, looks: &mut Looks) -> Result<(), NightError> {
    let odb = site.store.odb()?;
    let kept = kept_patches(site, manifest)?;
    let mut lacking = false;
    for record in manifest.patches.iter().filter(|p| p.commit.is_some()) {
        let found = match kept.get(&record.file) {
            Some(patch) => patch.digest.as_str(),
            None => "neither the queue nor the workspace's history has it",
        };
        lacking |= found != record.digest;
        looks.same("patch", Some(&record.file), [&record.digest, found]);
    }
    let tree = manifest.deploy.tree.as_str();
    let commit = manifest.deploy.commit.as_str();
    let unbuilt = |looks: &mut Looks, result: Word, why: &str| {
        looks.add("tree", None, result, [tree, why]);
        looks.add("commit", None, result, [commit, why]);
    };
    if lacking {
        unbuilt(looks, Word::NotChecked, "it cannot be built again without all patches");
        return Ok(());
    }
    let at_hand = |file: &str, wanted: &str| kept.get(file).filter(|p| p.digest == wanted).cloned();
    match build_again(&odb, manifest, at_hand) {
        Ok(verdict) => {
            for (record, (_, commit, tree)) in
                manifest.patches.iter().filter(|p| p.commit.is_some()).zip(&verdict.layers)
            {
                let said = (
                    record.commit.as_deref().unwrap_or_default(),
                    record.tree.as_deref().unwrap_or_default(),
                );
                if said != (commit, tree) {
                    let texts = [
                        format!("commit {}, tree {}", said.0, said.1),
                        format!("commit {commit}, tree {tree}"),
                    ];
                    looks.same("patch", Some(&record.file), [&texts[0], &texts[1]]);
                }
            }
            looks.same("tree", None, [tree, &verdict.tree]);
            looks.same("commit", None, [commit, &verdict.commit]);
        }
        Err(VerifyError::Object(e)) => {
            looks.add(
                "trunk",
                None,
                Word::Bad,
                [&manifest.trunk.commit, &format!("the store lacks {}", e.id)],
            );
            unbuilt(looks, Word::NotChecked, "it cannot be built again without all objects");
        }
        Err(e) => unbuilt(looks, Word::Bad, &e.to_string()),
    }
    Ok(())
}

/// The manifest's patches, by their files: from the queue as it is, or from the workspace's history. One that only another
/// version of is there is that version.
pub fn kept_patches(site: &Site<'_>, manifest: &Manifest) -> Result<BTreeMap<String, Patch>, NightError> {
    let mut now: BTreeMap<String, Patch> = site
        .queue()
        .map(|q| q.patches.into_iter().map(|p| (p.file.clone(), p)).collect())
        .unwrap_or_default();
    let mut kept = BTreeMap::new();
    let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
    for record in manifest.patches.iter().filter(|p| p.commit.is_some()) {
        match now.remove(&record.file) {
            Some(patch) if patch.digest == record.digest => drop(kept.insert(record.file.clone(), patch)),
            other => {
                kept.extend(other.map(|patch| (record.file.clone(), patch)));
                wanted.insert(&record.file, &record.digest);
            }
        }
    }
    if wanted.is_empty() {
        return Ok(kept);
    }
    // Every version that the files of the folder ever had, on any branch.
    let call = site.git.call(["log", "-O/dev/null", "-m", "--format=", "--raw", "-z", "--no-abbrev"]);
    let call = call.args(["--no-renames", "--relative", "--all"]).args(head(&site.git)?);
    let out = call.args(["--", &site.project.patches]).output()?;
    let mut versions: BTreeSet<(String, String)> = BTreeSet::new();
    let fields: Vec<&[u8]> = out.split_str("\0").filter(|f| !f.is_empty()).collect();
    // `:<mode> <mode> <id> <id> <status>`, the path (`git help diff-tree`, "RAW OUTPUT FORMAT").
    for pair in fields.chunks(2) {
        let [said, path] = pair else { continue };
        let path = path.to_str_lossy();
        let Some(file) = path.strip_prefix(&site.project.patches).and_then(|p| p.strip_prefix('/')) else {
            continue;
        };
        let id = said.fields().nth(3).unwrap_or_default().to_str_lossy().into_owned();
        if wanted.contains_key(file) && !id.bytes().all(|b| b == b'0') {
            versions.insert((file.to_owned(), id));
        }
    }
    let versions: Vec<(String, String)> = versions.into_iter().collect();
    let ids: Vec<&str> = versions.iter().map(|(_, id)| id.as_str()).collect();
    for ((file, _), bytes) in versions.iter().zip(site.git.blobs(&ids)?) {
        if wanted.get(file.as_str()).is_some_and(|d| **d == digest(&bytes)) {
            let strip = kept.get(file).map_or(1, |p| p.strip);
            if let Ok(patch) = Patch::parse(file, bytes, strip) {
                kept.insert(file.clone(), patch);
            }
        }
    }
    Ok(kept)
}

/// Looks at the build's files.
fn files(
    site: &Site<'_>,
    manifest: &Manifest,
    named: Option<&Path>,
    looks: &mut Looks,
) -> Result<(), NightError> {
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok();
    let Some(commit) = id(&manifest.deploy.commit) else { return Ok(()) };
    let odb = site.store.odb()?;
    let name = build_ref(&site.project.name, &build_id(&commit));
    let build = build_id(&commit);
    let previous = manifest.deploy.previous.as_deref().and_then(id);
    let source = Source { project: &site.project.name, build: &build, name: &name, commit, previous };
    let folder = named.map_or_else(|| folder(site), Path::to_owned);
    let scratch = tempfile::Builder::new()
        .prefix("artifacts")
        .tempdir_in(&site.folder)
        .map_err(|source| NightError::Io { path: site.folder.clone(), source })?;
    for kind in ArtifactKind::ALL {
        let what = kind.word();
        let listed = manifest.artifacts.iter().find(|a| a.kind == what);
        let file = source.file(kind);
        // Names come from the manifest, and paths are made of them.
        if let Some(listed) = listed.filter(|l| l.name != file) {
            looks.same(what, Some(&listed.name), [&file, &listed.name]);
            continue;
        }
        let place =
            [folder.join(source.stem()).join(&file), folder.join(&file)].into_iter().find(|p| p.is_file());
        let mut good = true;
        match (&place, listed) {
            (Some(path), Some(listed)) => {
                let found = weigh(path)?;
                good = found == (listed.size, listed.sha256.clone());
                let word = if good { Word::Good } else { Word::Bad };
                looks.add(what, Some(&file), word, [&weight(listed), &in_words(&found)]);
            }
            (None, Some(listed)) => {
                let word = if named.is_some() { Word::Bad } else { Word::NotChecked };
                looks.add(
                    what,
                    Some(&file),
                    word,
                    [&weight(listed), &format!("it is not in {}", folder.display())],
                );
            }
            (_, None) => {}
        }
        match kind {
            // It can be made again to the byte, from nothing but the commit.
            ArtifactKind::Tarball if odb.has(&commit) && (listed.is_some() || place.is_some()) => {
                let again = scratch.path().join(&file);
                source.write(&site.store, kind, &again, scratch.path()).map_err(NightError::from)?;
                let made = weigh(&again)?;
                if let Some(listed) = listed {
                    let same = made == (listed.size, listed.sha256.clone());
                    let word = if same { Word::Good } else { Word::Bad };
                    looks.add(
                        what,
                        Some("made again from the commit"),
                        word,
                        [&weight(listed), &in_words(&made)],
                    );
                } else if let Some(path) = &place {
                    let found = weigh(path)?;
                    looks.same(what, Some(&file), [&in_words(&made), &in_words(&found)]);
                }
            }
            ArtifactKind::Bundle => {
                // Altered bytes are not handed to git.
                if let Some(path) = place.as_ref().filter(|_| good) {
                    bundle(site, &source, path, scratch.path(), looks);
                }
            }
            ArtifactKind::Tarball => {}
        }
    }
    Ok(())
}

/// Reads a bundle as who fetches from it does.
fn bundle(site: &Site<'_>, source: &Source<'_>, path: &Path, scratch: &Path, looks: &mut Looks) {
    let file = source.file(ArtifactKind::Bundle);
    let expected = format!("{} at {}, whole", source.name, source.commit);
    let found = match site.store.unbundle(path, scratch) {
        Ok(head) => {
            let refs: Vec<String> = head.refs.iter().map(|(name, id)| format!("{name} at {id}")).collect();
            format!("{}, whole", refs.join(", "))
        }
        Err(StoreError::Git(e)) => format!("git does not read it: {e}"),
        Err(e) => e.to_string(),
    };
    looks.same("bundle", Some(&file), [&expected, &found]);
}

fn weight(listed: &ArtifactRecord) -> String {
    in_words(&(listed.size, listed.sha256.clone()))
}

fn in_words((size, sha256): &(u64, String)) -> String {
    format!("{size} bytes, sha256 {sha256}")
}
