//! A project's bare repository inside the workspace: refs, ranges and diffs, asked through the `git` program.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;
use gix_object::Kind;

use super::git::{Call, Git, GitError};
use super::{Drivers, Odb, StoreError, refs, walk};

/// How long a call that reaches the network may say nothing.
pub const SILENCE: Duration = Duration::from_secs(300);

/// The ids of a repository that nothing is known of yet.
const DEFAULT: gix_hash::Kind = gix_hash::Kind::Sha1;

/// Folders in `objects` of a repository without any: `info` and `pack`.
const EMPTY: usize = 2;

/// Where a repository says from which others it borrows objects (`git help repository-layout`).
pub(super) const LENT: &str = "objects/info/alternates";

/// A bare repository of the tool's own.
#[derive(Debug, Clone)]
pub struct Repo {
    path: PathBuf,
    git: Git,
    drivers: Option<Arc<Drivers>>,
}

/// The call that lists refs at an address. Patterns are looked at here alone (`builtin/ls-remote.c`), but where they name
/// branches alone, the server is asked for no others: a forge has a ref for each change that was ever proposed.
pub fn listing<'a>(git: &Git, address: &str, patterns: &[String]) -> Call<'a> {
    let branches = !patterns.is_empty() && patterns.iter().all(|p| p.starts_with("refs/heads/"));
    let call = git.call(["ls-remote", "--refs"]);
    let call = if branches { call.arg("--heads") } else { call };
    call.args(["--", address]).args(patterns).silence(SILENCE)
}

/// Which ids the objects of a repository have.
pub(super) fn object_format(git: &Git) -> Result<gix_hash::Kind, GitError> {
    let command = ["rev-parse", "--show-object-format"];
    let answer = git.call(command).line()?;
    answer.parse().map_err(|_| GitError::Answer { command: command.join(" "), answer })
}

/// The same of a repository whose git directory is known, without asking git (`git help config`, `extensions.objectFormat`).
pub(super) fn hash(path: &Path) -> gix_hash::Kind {
    let config = std::fs::read_to_string(path.join("config")).unwrap_or_default().to_lowercase();
    let format = config.lines().filter_map(|line| line.trim().strip_prefix("objectformat"));
    let mut format = format.filter_map(|rest| rest.trim_start().strip_prefix('='));
    format.next_back().and_then(|name| name.trim().parse().ok()).unwrap_or(DEFAULT)
}

/// One ref to move.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RefUpdate {
    /// Its full name.
    pub name: String,
    /// What it must be now; none: it must not exist. Held against git's own view when it is moved.
    pub old: Option<String>,
    /// What it becomes; none: it goes.
    pub new: Option<String>,
}

/// A commit of a range, with its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranged {
    /// The commit.
    pub id: ObjectId,
    /// Its parents.
    pub parents: Vec<ObjectId>,
}

impl Repo {
    /// Opens the bare repository at `path`, or makes it. `lent` is a local clone whose objects it may use, `like` an id of
    /// those that it is to hold, if one is known: [`Repo::suit`].
    pub fn open_or_create(path: &Path, lent: Option<&Path>, like: Option<&str>) -> Result<Self, StoreError> {
        let repo = Self { path: path.to_owned(), git: Git::bare(path), drivers: None };
        if !path.join("HEAD").exists() {
            let failed =
                |e: std::io::Error| StoreError::Write { path: path.to_owned(), reason: e.to_string() };
            std::fs::create_dir_all(path).map_err(failed)?;
            // The format is fixed here: what reads it must know it, whatever the user's defaults are.
            let hash = match lent {
                Some(lent) => object_format(&Git::at(lent))?,
                None => like.and_then(|id| gix_hash::Kind::from_hex_len(id.len())).unwrap_or(DEFAULT),
            };
            Git::at(path)
                .call(["init", "-q", "--bare", "--initial-branch=unused"])
                .arg(format!("--object-format={hash}"))
                // Neither samples of hooks nor somebody's own: nothing but the tool works here.
                .args(["--template=", "."])
                .env("GIT_DEFAULT_REF_FORMAT", "files")
                .output()?;
        }
        repo.lend(lent)?;
        Ok(repo)
    }

    /// Sets the alternates to the objects of `lent` alone.
    fn lend(&self, lent: Option<&Path>) -> Result<(), StoreError> {
        let file = self.path.join(LENT);
        let wanted = match lent {
            None => return Ok(()),
            Some(lent) => {
                let place = Git::at(lent).call(["rev-parse", "--git-path", "objects"]).line()?;
                let place = lent.join(place);
                let place = place.canonicalize().unwrap_or(place);
                self.promised_as(lent, &place)?;
                format!("{}\n", place.display())
            }
        };
        if std::fs::read_to_string(&file).is_ok_and(|now| now == wanted) {
            return Ok(());
        }
        std::fs::write(&file, wanted).map_err(|e| StoreError::Write { path: file, reason: e.to_string() })
    }

    /// A repository that somebody else keeps, to read from: a work tree or a git directory.
    pub fn at(path: &Path) -> Result<Self, StoreError> {
        let call = Git::at(path).call(["rev-parse", "--path-format=absolute", "--git-common-dir"]);
        let path = PathBuf::from(call.line()?);
        Ok(Self { git: Git::bare(&path), path, drivers: None })
    }

    /// The same, with drivers for merges.
    pub fn with_drivers(mut self, drivers: Drivers) -> Self {
        self.drivers = Some(Arc::new(drivers));
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls of git on it.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// A fetch from a repository at an address, with these options; the refspecs are to be given.
    ///
    /// The graph of commits is kept, as it makes every later walk short; a fetch only adds to it. A repository that borrows
    /// keeps none: git would build it on the lender's, which is gone when the lender writes its own anew. What comes stays a
    /// pack: as a file each, a year of small fetches would take a block of the disk for every object. No git is left at work
    /// in the repository when the fetch is over: [`super::tidy`] sees to its packs.
    pub fn fetching<'a>(&self, options: &[&str], address: &str) -> Call<'a> {
        let graph = format!("fetch.writeCommitGraph={}", !self.path.join(LENT).exists());
        self.git
            .call(["-c", &graph, "-c", "fetch.unpackLimit=1", "-c", "maintenance.auto=false"])
            .args(["fetch", "--progress", "--no-write-fetch-head", "--no-recurse-submodules"])
            .args(options)
            .args(["--", address])
            .silence(SILENCE)
    }

    /// Which ids its objects have. A new store suits what it is to hold: [`Repo::suit`].
    pub fn hash(&self) -> gix_hash::Kind {
        hash(&self.path)
    }

    /// Makes it hold ids of the kind `hash`, if it holds nothing yet. Returns the kind that it holds.
    pub fn suit(&self, hash: gix_hash::Kind) -> Result<gix_hash::Kind, GitError> {
        let now = self.hash();
        let is_empty = || {
            let objects = std::fs::read_dir(self.path.join("objects")).into_iter().flatten().flatten();
            let packs = std::fs::read_dir(self.path.join("objects/pack")).into_iter().flatten();
            objects.count() <= EMPTY && packs.count() == 0
        };
        if now == hash || self.path.join(LENT).exists() || !is_empty() {
            return Ok(now);
        }
        // The version first: a git that meets the other setting alone refuses the repository.
        for (key, value) in
            [("core.repositoryFormatVersion", "1"), ("extensions.objectFormat", &hash.to_string())]
        {
            self.git.call(["config", key, value]).output()?;
        }
        Ok(hash)
    }

    /// Its objects.
    pub fn odb(&self) -> Result<Odb, StoreError> {
        Ok(Odb::open(&self.path)?.with_drivers(self.drivers.clone()))
    }

    /// What the ref `name` (full) points at.
    pub fn reference(&self, name: &str) -> Result<Option<ObjectId>, StoreError> {
        Ok(self.exactly(&[name])?.into_iter().next().flatten())
    }

    /// What each of the refs `names` (full) points at. They are read where they lie, as the store's form is known; git is
    /// asked for what is stored in any other way.
    pub fn exactly(&self, names: &[&str]) -> Result<Vec<Option<ObjectId>>, StoreError> {
        if let Some(found) = refs::exactly(&self.path, names) {
            return Ok(found);
        }
        let found = self.listing_of(names)?;
        let of = |name: &&str| found.iter().find(|(n, _)| n == name).map(|(_, id)| *id);
        Ok(names.iter().map(of).collect())
    }

    /// All refs under `prefixes` (`refs/carry/`, or full names), sorted by name; found as [`Repo::exactly`] finds them.
    pub fn references(&self, prefixes: &[&str]) -> Result<Vec<(String, ObjectId)>, StoreError> {
        match refs::under(&self.path, prefixes) {
            Some(found) => Ok(found),
            None => self.listing_of(prefixes),
        }
    }

    fn listing_of(&self, patterns: &[&str]) -> Result<Vec<(String, ObjectId)>, StoreError> {
        let call = self.git.call(["for-each-ref", "--format=%(objectname) %(refname)", "--"]);
        let out = call.args(patterns).output()?;
        let line = |line: &[u8]| {
            let (id, name) = line.split_once_str(" ")?;
            Some((name.to_str().ok()?.to_owned(), ObjectId::from_hex(id).ok()?))
        };
        Ok(out.lines().filter_map(line).collect())
    }

    /// The commit that `rev` names, if it is here.
    pub fn commit_of(&self, rev: &str) -> Result<Option<ObjectId>, StoreError> {
        // A whole id is itself, whatever ref may be called like it (`git help revisions`).
        if let Ok(id) = ObjectId::from_hex(rev.as_bytes())
            && self.odb()?.commit(&id).is_ok()
        {
            return Ok(Some(id));
        }
        let spec = format!("{rev}^{{commit}}");
        let answer =
            self.git.call(["rev-parse", "--verify", "--quiet", "--end-of-options", &spec]).answer()?;
        Ok(ObjectId::from_hex(answer.stdout.trim()).ok().filter(|_| answer.code == Some(0)))
    }

    /// Is `older` an ancestor of `newer`, or the same?
    pub fn is_ancestor(&self, older: &ObjectId, newer: &ObjectId) -> Result<bool, StoreError> {
        let (older, newer) = (older.to_string(), newer.to_string());
        let answer = self.git.call(["merge-base", "--is-ancestor", &older, &newer]).answer()?;
        match answer.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            code => {
                let command = "merge-base --is-ancestor".to_owned();
                Err(GitError::Failed { command, code, stderr: answer.stderr }.into())
            }
        }
    }

    /// The best common ancestor of two commits.
    pub fn merge_base(&self, a: &ObjectId, b: &ObjectId) -> Result<Option<ObjectId>, StoreError> {
        let answer = self.git.call(["merge-base", &a.to_string(), &b.to_string()]).answer()?;
        Ok(answer.stdout.lines().next().and_then(|l| ObjectId::from_hex(l.trim()).ok()))
    }

    /// The commits of `tip` that are not in `base`, parents first.
    pub fn range(&self, base: Option<&ObjectId>, tip: &ObjectId) -> Result<Vec<Ranged>, StoreError> {
        if let Some(mut known) = base.and_then(|base| walk::range(&self.path, base, tip)) {
            known.reverse();
            return Ok(known);
        }
        let mut call = self.git.call(["rev-list", "--topo-order", "--reverse", "--parents"]);
        call = call.arg(tip.to_string());
        if let Some(base) = base {
            call = call.arg(format!("^{base}"));
        }
        let out = call.arg("--").output()?;
        let bad = || GitError::Answer { command: "rev-list".into(), answer: "a line without ids".into() };
        out.lines()
            .map(|line| {
                let ids: Option<Vec<ObjectId>> = line.fields().map(|w| ObjectId::from_hex(w).ok()).collect();
                let mut ids = ids.ok_or_else(bad)?.into_iter();
                Ok(Ranged { id: ids.next().ok_or_else(bad)?, parents: ids.collect() })
            })
            .collect()
    }

    /// The refs of a repository at an address that these patterns name, as `git ls-remote` takes them: a pattern matches the
    /// end of a name as well, so that who must have one ref and no other looks at the name once more. A store that holds
    /// nothing yet is made to suit what is found, as it is to hold objects from there.
    pub fn listed(&self, address: &str, patterns: &[String]) -> Result<Vec<(String, ObjectId)>, GitError> {
        let call = listing(&self.git, address, patterns);
        let line = |l: &[u8]| {
            let (id, name) = l.split_once_str("\t")?;
            Some((name.to_str().ok()?.to_owned(), ObjectId::from_hex(id).ok()?))
        };
        let found: Vec<(String, ObjectId)> = call.output()?.lines().filter_map(line).collect();
        if let Some((_, id)) = found.first() {
            self.suit(id.kind())?;
        }
        Ok(found)
    }

    /// How many commits `tip` has that `base` has not.
    pub fn count(&self, base: &ObjectId, tip: &ObjectId) -> Result<usize, StoreError> {
        let out =
            self.git.call(["rev-list", "--count", &tip.to_string(), &format!("^{base}"), "--"]).line()?;
        Ok(out.parse().unwrap_or(0))
    }

    /// `git describe` of a commit, where a tag reaches it.
    pub fn describe(&self, commit: &ObjectId) -> Option<String> {
        // Without a tag there is nothing to be said, and git need not be asked.
        if refs::under(&self.path, &["refs/tags/"]).is_some_and(|tags| tags.is_empty()) {
            return None;
        }
        let answer =
            self.git.call(["describe", "--tags", "--abbrev=12", &commit.to_string()]).answer().ok()?;
        let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        (answer.code == Some(0) && !text.is_empty()).then_some(text)
    }

    /// `git range-diff` of two commits, each against its first parent, without its heading; none where git sees no
    /// difference.
    pub fn range_diff(&self, old: &ObjectId, new: &ObjectId) -> Result<Option<String>, StoreError> {
        let range = |id: &ObjectId| format!("{id}^1..{id}");
        // Whatever differs, these two are the same patch: no other pair is to be found.
        let out = self.range_diffed("--creation-factor=999", &range(old), &range(new))?;
        let text = out.lines().skip(1).map(|l| l.strip_prefix(b"    ").unwrap_or(l).to_str_lossy());
        let text: Vec<_> = text.collect();
        Ok((!text.is_empty()).then(|| text.join("\n") + "\n"))
    }

    /// `git range-diff` of two branches, each a base and a tip; none where there is nothing to compare.
    pub fn range_diff_of(
        &self,
        (old_base, old): (&ObjectId, &ObjectId),
        (base, new): (&ObjectId, &ObjectId),
    ) -> Result<Option<String>, StoreError> {
        let factor = "--creation-factor=90";
        let out = self.range_diffed(factor, &format!("{old_base}..{old}"), &format!("{base}..{new}"))?;
        Ok((!out.is_empty()).then(|| out.to_str_lossy().into_owned()))
    }

    fn range_diffed(&self, factor: &str, old: &str, new: &str) -> Result<Vec<u8>, StoreError> {
        // The log that it calls takes no empty name for "no order" (our own setting), as diff does.
        let call = self.git.call(["-c", "diff.orderFile=/dev/null", "range-diff"]);
        Ok(call.args(["--no-color", "--no-notes", factor, old, new, "--"]).output()?)
    }

    /// The commits of `base..commit` that the lines `first` to `last` (from 1) of a file come from; others are left out.
    pub fn blame(
        &self,
        base: &ObjectId,
        commit: &ObjectId,
        path: &BString,
        first: usize,
        last: usize,
    ) -> Result<Vec<ObjectId>, StoreError> {
        let range = format!("{base}..{commit}");
        // A range that ends past the file's end is refused, one that is cut there is not.
        let lines = format!("-L{first},+{}", last + 1 - first);
        let call = self.git.call(["blame", "--porcelain", "-w", &lines, &range, "--"]);
        let answer = call.arg(path.to_os_str_lossy()).answer()?;
        if answer.code != Some(0) {
            // The line is past the end: nobody owns it.
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        // The details of a commit, that it is a boundary among them, stand at the first of its lines alone.
        let (mut at, mut boundaries) = (None, std::collections::BTreeSet::new());
        for line in answer.stdout.lines() {
            if line == b"boundary" {
                boundaries.extend(at);
            } else if line.starts_with(b"\t") {
                found.extend(at.take().filter(|id| !boundaries.contains(id)));
            } else if let Some(id) =
                line.find_byte(b' ').and_then(|end| ObjectId::from_hex(&line[..end]).ok())
            {
                at = Some(id);
            }
        }
        Ok(found)
    }

    /// A commit of the tree alone, for a work tree to check out; nothing refers to it.
    pub fn tree_commit(&self, tree: &ObjectId) -> Result<ObjectId, StoreError> {
        let mut call = self.git.call(["commit-tree", &tree.to_string(), "-m", "a tree to work in"]);
        for role in ["AUTHOR", "COMMITTER"] {
            call = call.env(&format!("GIT_{role}_NAME"), "git-carry");
            call = call.env(&format!("GIT_{role}_EMAIL"), "git-carry@localhost");
        }
        let id = call.line()?;
        let bad = || GitError::Answer { command: "commit-tree".into(), answer: id.clone() };
        Ok(ObjectId::from_hex(id.as_bytes()).map_err(|_| bad())?)
    }

    /// Writes `data` as a blob, for a ref to point at.
    pub fn write_blob(&self, data: &[u8]) -> Result<ObjectId, StoreError> {
        super::loose::write(&self.path.join("objects"), self.hash(), Kind::Blob, data)
    }
}
