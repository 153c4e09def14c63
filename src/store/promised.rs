//! Copies of an upstream without its old file contents (git's partial clones, `git help partial-clone`), and stores that
//! borrow from one: a blob that is not here is promised by the remote that the copy came from, and comes when it is read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::git::{Git, GitError};
use super::repo::{LENT, Repo, SILENCE};
use super::{ObjectError, StoreError};

/// The remote of a copy, by its name there.
pub const UPSTREAM: &str = "upstream";
/// Of a copy: it is the tool's own, so that what comes may be kept in it, for all that borrow from it.
const SHARED: &str = "carry.shared";
/// Of a store: the git directory of the copy that it borrows from.
const LENDER: &str = "carry.lender";
/// What a configuration says of promises.
const PROMISES: &str = r"^(remote\..*\.(url|promisor|partialclonefilter)|carry\.(shared|lender)|maintenance\.auto|http\.lowspeed.*)$";
/// So many blobs are asked for at once: a server holds no more than ten megabytes of a request (`http.maxRequestBuffer`).
const AT_ONCE: usize = 50_000;

/// Git fetches what is missing by itself: it is not to tidy up after that, nor to wait for a server that says nothing (in
/// seconds, [`SILENCE`]).
const BY_ITSELF: [(&str, &str); 3] =
    [("maintenance.auto", "false"), ("http.lowspeedlimit", "1"), ("http.lowspeedtime", "300")];

/// What a configuration says of promises, by key.
type Settings = Vec<(String, String)>;

impl Repo {
    /// Makes this a copy to which `address` promises what is left out of it.
    pub fn promise(&self, address: &str) -> Result<(), StoreError> {
        for (key, value) in [
            (format!("remote.{UPSTREAM}.url"), address),
            (format!("remote.{UPSTREAM}.promisor"), "true"),
            (format!("remote.{UPSTREAM}.partialclonefilter"), "blob:none"),
            (SHARED.to_owned(), "true"),
        ] {
            self.set(&key, value)?;
        }
        BY_ITSELF.iter().try_for_each(|(key, value)| self.set(key, value))
    }

    /// Makes a copy that has all an ordinary one.
    pub fn promise_nothing(&self) -> Result<(), StoreError> {
        for (key, _) in settings(self.git())? {
            self.git().call(["config", "--local", "--unset-all", &key]).answer()?;
        }
        let unwritten = |path: &Path, e: &std::io::Error| StoreError::Write {
            path: path.to_owned(),
            reason: e.to_string(),
        };
        for file in packs(&self.path().join("objects"), "promisor") {
            std::fs::remove_file(&file).map_err(|e| unwritten(&file, &e))?;
        }
        Ok(())
    }

    /// Is something left out of this copy?
    pub fn is_partial(&self) -> Result<bool, StoreError> {
        Ok(remote(&settings(self.git())?).is_some())
    }

    /// What came by a fetch of all there is, beside what was left out before: it is the remote's as well, by whose promise
    /// what it stands on is missing.
    pub fn promised_too(&self) -> Result<(), StoreError> {
        for pack in packs(&self.path().join("objects"), "pack") {
            let path = pack.with_extension("promisor");
            if !path.exists() {
                std::fs::write(&path, "")
                    .map_err(|e| StoreError::Write { path: path.clone(), reason: e.to_string() })?;
            }
        }
        Ok(())
    }

    /// The blobs of these commits' trees that are not here.
    pub fn lacking(&self, commits: &[ObjectId]) -> Result<Vec<ObjectId>, StoreError> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.git().call(["rev-list", "--objects", "--no-object-names", "--missing=print"]);
        let out = call.args(["--no-walk", "--stdin"]).stdin(lines(commits)).output()?;
        let missing = out.lines().filter_map(|line| ObjectId::from_hex(line.strip_prefix(b"?")?).ok());
        Ok(missing.collect())
    }

    /// Brings all that is lacking of these commits' trees, in one go.
    pub fn complete(&self, commits: &[ObjectId]) -> Result<(), StoreError> {
        let promised = Promised::of(self.path());
        if promised.is_partial() {
            promised.bring(&self.lacking(commits)?)?;
        }
        Ok(())
    }

    /// Takes over what a lender, whose objects are at `objects`, is promised: what is borrowed may lack what it stands on.
    pub(super) fn promised_as(&self, lender: &Path, objects: &Path) -> Result<(), StoreError> {
        if packs(objects, "promisor").next().is_none() {
            return Ok(());
        }
        let theirs = settings(&Git::at(lender))?;
        let Some(name) = remote(&theirs) else { return Ok(()) };
        let of_it = format!("remote.{name}.");
        let mut wanted: Settings =
            theirs.iter().filter(|(key, _)| key.starts_with(&of_it)).cloned().collect();
        wanted.extend(BY_ITSELF.map(|(key, value)| (key.to_owned(), value.to_owned())));
        if theirs.iter().any(|(key, value)| key == SHARED && value == "true")
            && let Some(folder) = objects.parent()
        {
            wanted.push((LENDER.to_owned(), folder.to_string_lossy().into_owned()));
        }
        let ours = settings(self.git())?;
        wanted.iter().filter(|pair| !ours.contains(pair)).try_for_each(|(key, value)| self.set(key, value))
    }

    fn set(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.git().call(["config", "--local", "--replace-all", key, value]).output()?;
        Ok(())
    }
}

/// What a store's blobs that are not here are promised by, worked out when the first one is missed.
pub(super) struct Promised {
    store: PathBuf,
    sources: OnceLock<Vec<Source>>,
    /// Nobody promised these.
    unknown: Mutex<HashSet<ObjectId>>,
}

/// A repository into which blobs can be brought.
struct Source {
    git: Git,
    remote: String,
}

impl Promised {
    /// Of the bare repository at `store`.
    pub fn of(store: &Path) -> Self {
        Self { store: store.to_owned(), sources: OnceLock::new(), unknown: Mutex::default() }
    }

    /// May blobs be missing that are promised?
    pub fn is_partial(&self) -> bool {
        !self.sources().is_empty()
    }

    /// The copy that others borrow from as well comes first.
    fn sources(&self) -> &[Source] {
        self.sources.get_or_init(|| {
            let objects = self.store.join("objects");
            let lent = std::fs::read_to_string(self.store.join(LENT)).unwrap_or_default();
            let mut folders = std::iter::once(objects.as_path()).chain(lent.lines().map(Path::new));
            if !folders.any(|folder| packs(folder, "promisor").next().is_some()) {
                return Vec::new();
            }
            let git = Git::bare(&self.store);
            let settings = settings(&git).unwrap_or_default();
            let Some(remote) = remote(&settings).map(str::to_owned) else { return Vec::new() };
            let lender = settings.iter().find(|(key, _)| key == LENDER).map(|(_, at)| PathBuf::from(at));
            let lender = lender.filter(|at| at.is_dir());
            let lender = lender.map(|at| Source { git: Git::bare(&at), remote: remote.clone() });
            lender.into_iter().chain([Source { git, remote }]).collect()
        })
    }

    /// Brings those of these blobs that are promised. Fails if one of them cannot be had now.
    pub fn bring(&self, ids: &[ObjectId]) -> Result<(), GitError> {
        let ids: Vec<ObjectId> = {
            let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            ids.iter().filter(|id| !unknown.contains(*id)).copied().collect()
        };
        ids.chunks(AT_ONCE).try_for_each(|ids| self.bring_some(ids))
    }

    fn bring_some(&self, ids: &[ObjectId]) -> Result<(), GitError> {
        for source in self.sources() {
            match source.fetch(ids) {
                Ok(()) => return Ok(()),
                // One that hangs is not waited for once more.
                Err(e @ (GitError::Silent { .. } | GitError::Missing(_))) => return Err(e),
                Err(GitError::Failed { .. } | GitError::Answer { .. }) => {}
            }
        }
        // One blob that the remote does not have spoils the request for all. Git fetches each by itself when it is asked for
        // it, and fails at one that is promised: the others it calls missing.
        let Some(Source { git, .. }) = self.sources().last() else { return Ok(()) };
        let out = git.call(["cat-file", "--batch-check"]).stdin(lines(ids)).silence(SILENCE).output()?;
        let missing = out.lines().filter_map(|line| line.strip_suffix(b" missing"));
        let missing = missing.filter_map(|id| ObjectId::from_hex(id).ok());
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).extend(missing);
        Ok(())
    }
}

impl Source {
    /// In the way in which git itself does it (`promisor-remote.c`).
    fn fetch(&self, ids: &[ObjectId]) -> Result<(), GitError> {
        let call = self.git.call(["-c", "fetch.negotiationAlgorithm=noop", "-c", "maintenance.auto=false"]);
        let call = call.args(["-c", "fetch.writeCommitGraph=false", "fetch", "--quiet", "--no-tags"]);
        let call = call.args(["--no-write-fetch-head", "--no-recurse-submodules", "--filter=blob:none"]);
        call.args(["--stdin", &self.remote]).stdin(lines(ids)).silence(SILENCE).output()?;
        Ok(())
    }
}

/// Why a promised blob is not to be had.
pub(super) fn not_had(id: &ObjectId, why: &GitError) -> ObjectError {
    let reason = format!(
        "it was left out of the copy of its upstream that is borrowed here, and cannot be fetched now; the next run asks for \
         it again: {why}"
    );
    ObjectError { id: *id, reason }
}

/// The files of an ending in the folder of packs of `objects`.
pub(super) fn packs(objects: &Path, ending: &'static str) -> impl Iterator<Item = PathBuf> {
    let files =
        std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten().map(|file| file.path());
    files.filter(move |path| {
        path.extension().is_some_and(|e| e == ending)
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pack-"))
    })
}

fn lines(ids: &[ObjectId]) -> String {
    ids.iter().map(|id| format!("{id}\n")).collect()
}

/// What a repository's own configuration says of promises.
fn settings(git: &Git) -> Result<Settings, GitError> {
    let answer = git.call(["config", "--local", "--null", "--get-regexp", PROMISES]).answer()?;
    // A key, a line's end, its value.
    let pair = |text: &[u8]| {
        let (key, value) = text.split_once_str("\n")?;
        Some((key.to_str_lossy().into_owned(), value.to_str_lossy().into_owned()))
    };
    Ok(answer.stdout.split_str("\0").filter_map(pair).collect())
}

/// The remote that promises.
fn remote(settings: &Settings) -> Option<&str> {
    let promises = |(key, value): &&(String, String)| value == "true" && key.ends_with(".promisor");
    let (key, _) = settings.iter().find(promises)?;
    key.strip_prefix("remote.")?.strip_suffix(".promisor")
}
