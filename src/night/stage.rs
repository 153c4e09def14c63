//! What stages ran and run: records in refs of the store, held to what the deploy remote has. The remote is the truth
//! where there is one: a record is pushed with an exact lease before the store has it, so whoever is cut off has changed
//! nothing, or everything.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bstr::{BStr, ByteSlice};
use gix_hash::ObjectId;
use jiff::Timestamp;

use super::publish::{build_ref, manifest_of, recorded_manifest};
use super::sign::trust;
use super::{Events, NightError, Site, assess_move, patches_of, rules_for};
use crate::build::build_id;
use crate::build::manifest::Manifest;
use crate::risk::Transition;
use crate::stage::{Approval, Promotion};
use crate::store::git::{GitError, without_secrets};
use crate::store::tree::entry_at;
use crate::store::{Objects, Odb, StoreError};
use crate::workspace::{LATEST, Stage, nearest};

/// Why something of a stage could not be told or done; nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The project names no stages.
    #[error("'{project}' has no stages")]
    NoStages {
        /// The project.
        project: String,
    },
    /// There is no such stage.
    #[error("no stage is called '{name}'")]
    NoStage {
        /// What was asked for.
        name: String,
        /// Those that there are.
        has: Vec<String>,
        /// The nearest of them.
        nearest: Option<String>,
    },
    /// There is no such build.
    #[error("no build '{build}' of '{project}' is here")]
    NoBuild {
        /// What was asked for.
        build: String,
        /// The project.
        project: String,
        /// The nearest name of a stage, or `latest`.
        nearest: Option<String>,
    },
    /// Several builds begin alike.
    #[error("'{build}' is the beginning of {} builds", .all.len())]
    Ambiguous {
        /// What was asked for.
        build: String,
        /// The builds.
        all: Vec<String>,
    },
    /// The stage runs nothing, or ran nothing before.
    #[error("{what}")]
    Nothing {
        /// What there is not.
        what: String,
    },
    /// The build is not where pipelines fetch from.
    #[error("the build {build} is not at '{remote}'")]
    NotPublished {
        /// The build.
        build: String,
        /// The address, without secrets.
        remote: String,
    },
    /// Somebody else moved the stage first.
    #[error("'{stage}' was moved by {by} just now: it runs {runs}")]
    Overtaken {
        /// The stage.
        stage: String,
        /// Who was faster.
        by: String,
        /// The build that it runs now.
        runs: String,
    },
    /// Git does not know who is asking.
    #[error("git does not know who you are: {said}")]
    NoIdentity {
        /// What it said.
        said: String,
    },
    /// The remote cannot be asked.
    #[error("'{remote}' cannot be asked what stages run: {source}")]
    Unreachable {
        /// The address, without secrets.
        remote: String,
        /// What git said.
        source: GitError,
    },
    /// With a remote, a record is made there or not at all.
    #[error("a record has to reach '{remote}', and this run is offline")]
    Offline {
        /// The address, without secrets.
        remote: String,
    },
    /// A record is damaged.
    #[error("the record {commit} of '{name}' cannot be read: {reason}")]
    Record {
        /// The ref.
        name: String,
        /// The commit.
        commit: String,
        /// What is wrong.
        reason: String,
    },
    /// The rest.
    #[error(transparent)]
    Night(#[from] NightError),
}

macro_rules! by_night {
    ($($from:ty),*) => {$(
        impl From<$from> for StageError {
            fn from(e: $from) -> Self {
                Self::Night(e.into())
            }
        }
    )*};
}
by_night!(GitError, StoreError, crate::store::ObjectError, super::RiskError);

/// What the signature of a record is worth.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedBy {
    /// It is by one of the allowed signers.
    Allowed(String),
    /// It is signed, and by whom is not known.
    Somebody,
    /// It is not signed.
    Nobody,
    /// It does not fit the record.
    Bad,
}

/// A record with its commit.
#[derive(Debug, Clone)]
pub struct Kept<R> {
    /// The record's commit.
    pub id: ObjectId,
    /// What it says.
    pub record: R,
}

/// A build that can be named.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its id.
    pub build: String,
    /// Its commit.
    pub commit: ObjectId,
    /// Its manifest.
    pub manifest: Manifest,
}

/// The stages of a project with their pasts.
pub struct Stages<'a> {
    /// The project.
    pub site: &'a Site<'a>,
    /// The moment for which all is told.
    pub now: Timestamp,
    /// Is the past told from here alone?
    pub offline: bool,
    odb: Odb,
    past: BTreeMap<String, Vec<Kept<Promotion>>>,
    moves: RefCell<HashMap<(ObjectId, ObjectId), Rc<Transition>>>,
}

/// The ref with the promotions of a stage.
pub fn stage_ref(project: &str, stage: &str) -> String {
    format!("refs/carry/stage/{project}/{stage}")
}

/// Where the approvals of a build for a stage are, one ref a person.
pub(super) fn approval_refs(project: &str, build: &str, stage: &str) -> String {
    format!("refs/carry/approval/{project}/{build}/{stage}/")
}

/// The files in which records stand in their commits' trees.
pub(super) const PROMOTION: &str = "promotion.json";
pub(super) const APPROVAL: &str = "approval.json";

impl<'a> Stages<'a> {
    /// The stages as the remote has them. `must`: it is an error if the remote cannot be asked; else it is told.
    pub fn open(
        site: &'a Site<'a>,
        offline: bool,
        must: bool,
        events: &dyn Events,
    ) -> Result<Self, StageError> {
        if site.project.stages.is_empty() {
            return Err(StageError::NoStages { project: site.project.name.clone() });
        }
        let offline = site.deploy_address().is_some() && (offline || !fetch(site, must, events)?);
        Ok(Self { offline, ..Self::here(site)? })
    }

    /// The stages as they are known here, if there are any: for naming builds by them.
    pub fn here(site: &'a Site<'a>) -> Result<Self, StageError> {
        let odb = site.store.odb()?;
        let mut past = BTreeMap::new();
        for stage in &site.project.stages {
            past.insert(stage.name.clone(), read_past(site, &odb, &stage.name)?);
        }
        let moves = RefCell::default();
        Ok(Self { site, now: Timestamp::now(), offline: true, odb, past, moves })
    }

    /// A stage by its name.
    pub fn stage(&self, name: &str) -> Result<&'a Stage, StageError> {
        let all = &self.site.project.stages;
        all.iter().find(|s| s.name == name).ok_or_else(|| {
            let has: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
            StageError::NoStage {
                name: name.to_owned(),
                nearest: nearest(name, &has).map(str::to_owned),
                has: has.into_iter().map(str::to_owned).collect(),
            }
        })
    }

    /// The records of a stage, the newest first.
    pub fn kept(&self, stage: &str) -> &[Kept<Promotion>] {
        self.past.get(stage).map_or(&[], Vec::as_slice)
    }

    /// What they say.
    pub fn past(&self, stage: &str) -> Vec<Promotion> {
        self.kept(stage).iter().map(|k| k.record.clone()).collect()
    }

    /// What a stage runs.
    pub fn runs(&self, stage: &str) -> Option<ObjectId> {
        id(&self.kept(stage).first()?.record.commit)
    }

    /// The other stages of a stage's group.
    pub fn beside(&self, stage: &Stage) -> Vec<&'a Stage> {
        let all = self.site.project.stages.iter();
        all.filter(|s| s.name != stage.name && s.group.is_some() && s.group == stage.group).collect()
    }

    /// A build by its id's first digits, `latest`, or the stage that runs it.
    pub fn target(&self, named: &str) -> Result<Target, StageError> {
        let project = &self.site.project.name;
        let missing = || {
            let names: Vec<&str> = self.past.keys().map(String::as_str).chain([LATEST]).collect();
            let nearest = nearest(named, &names).map(str::to_owned);
            StageError::NoBuild { build: named.to_owned(), project: project.clone(), nearest }
        };
        if self.past.contains_key(named) {
            let what = format!("the stage '{named}' runs nothing yet");
            return self.build(&self.runs(named).ok_or(StageError::Nothing { what })?);
        }
        if named == LATEST {
            return self.latest()?.ok_or_else(missing);
        }
        let wanted = named.get(..12).unwrap_or(named).to_ascii_lowercase();
        if wanted.len() < 4 || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let prefix = build_ref(project, "");
        let refs = self.site.store.references(&[&prefix])?;
        let fit: Vec<&(String, ObjectId)> = refs
            .iter()
            .filter(|(name, id)| {
                name.strip_prefix(&prefix).is_some_and(|b| b.starts_with(&wanted))
                    && (named.len() <= 12 || id.to_string().starts_with(&named.to_ascii_lowercase()))
            })
            .collect();
        match fit[..] {
            [] => Err(missing()),
            [(_, id)] => self.build(id),
            _ => Err(StageError::Ambiguous {
                build: named.to_owned(),
                all: fit.iter().map(|(_, id)| build_id(id)).collect(),
            }),
        }
    }

    /// The last build that is recorded here.
    pub fn latest(&self) -> Result<Option<Target>, StageError> {
        let lock = self.site.workspace.lock.projects.get(&self.site.project.name);
        let manifest = lock.map(|l| recorded_manifest(self.site, l)).transpose()?.flatten();
        Ok(manifest.and_then(|manifest| {
            let commit = id(&manifest.deploy.commit)?;
            Some(Target { build: build_id(&commit), commit, manifest })
        }))
    }

    /// The build of a commit.
    pub fn build(&self, commit: &ObjectId) -> Result<Target, StageError> {
        let build = build_id(commit);
        let missing = || StageError::NoBuild {
            build: build.clone(),
            project: self.site.project.name.clone(),
            nearest: None,
        };
        let manifest =
            manifest_of(self.site, commit)?.filter(|_| self.odb.has(commit)).ok_or_else(missing)?;
        Ok(Target { build, commit: *commit, manifest })
    }

    /// Is the build `a` older than `b`? By their trunk commits; on one trunk commit, by which was made after which.
    pub fn older(&self, a: &Target, b: &Target) -> Result<bool, StageError> {
        let (ta, tb) = (&a.manifest.trunk, &b.manifest.trunk);
        if ta.commit != tb.commit {
            let (Some(ia), Some(ib)) = (id(&ta.commit), id(&tb.commit)) else { return Ok(ta.date < tb.date) };
            return Ok(match self.site.store.is_ancestor(&ia, &ib)? {
                true => true,
                false if self.site.store.is_ancestor(&ib, &ia)? => false,
                // Trunk was rewritten between them.
                false => ta.date < tb.date,
            });
        }
        let mut at = b.manifest.deploy.previous.as_deref().and_then(id);
        while let Some(commit) = at {
            if commit == a.commit {
                return Ok(true);
            }
            let manifest = manifest_of(self.site, &commit)?.filter(|m| m.trunk.commit == tb.commit);
            at = manifest.and_then(|m| id(m.deploy.previous.as_deref()?));
        }
        Ok(false)
    }

    /// What the move from one build to another asks.
    pub fn between(&self, old: &ObjectId, new: &ObjectId) -> Result<Rc<Transition>, StageError> {
        if let Some(known) = self.moves.borrow().get(&(*old, *new)) {
            return Ok(known.clone());
        }
        let mut patches = patches_of(self.site, old)?;
        patches.extend(patches_of(self.site, new)?);
        let tree = self.odb.commit(new)?.tree;
        let rules = rules_for(&self.odb, &tree, &self.site.project.risk, &self.site.workspace.root)?;
        let made = Rc::new(assess_move(&self.site.store, &self.odb, &rules, [old, new], &patches)?);
        self.moves.borrow_mut().insert((*old, *new), made.clone());
        Ok(made)
    }

    /// The approvals of a build for a stage.
    pub fn approvals(&self, build: &Target, stage: &str) -> Result<Vec<Kept<Approval>>, StageError> {
        let prefix = approval_refs(&self.site.project.name, &build.build, stage);
        let mut all = Vec::new();
        for (name, commit) in self.site.store.references(&[&prefix])? {
            let record: Approval = read(&self.odb, &name, &commit, APPROVAL)?;
            // What is kept of another build or stage says nothing here, wherever it was put.
            if id(&record.commit) == Some(build.commit) && record.stage == stage {
                all.push(Kept { id: commit, record });
            }
        }
        Ok(all)
    }

    /// Does the configuration say who may sign?
    pub fn signers_are_known(&self) -> bool {
        self.site.workspace.config.signing.allowed_signers.is_some()
    }

    /// What the signatures of commits are worth, each by its id.
    pub fn signatures(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, SignedBy>, StageError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let trust = trust(self.site);
        let allowed = &trust.allowed;
        let mut args = vec!["-c".to_owned(), "gpg.format=ssh".to_owned()];
        for (key, file) in [("allowedSignersFile", allowed), ("revocationFile", &trust.revoked)] {
            if let Some(file) = file {
                args.extend(["-c".to_owned(), format!("gpg.ssh.{key}={}", file.display())]);
            }
        }
        args.extend(["log", "--no-walk=unsorted", "--format=%H%x00%G?%x00%GS"].map(str::to_owned));
        let out =
            self.site.store.git().call(args).args(ids.iter().map(ToString::to_string)).arg("--").output()?;
        let line = |line: &[u8]| {
            let fields: Vec<&[u8]> = line.split_str("\0").collect();
            let [id, standing, signer] = fields[..] else { return None };
            // `git help log`, "%G?". Without allowed signers git cannot name anyone, and says that it cannot check.
            let by = match standing {
                b"G" if allowed.is_some() => SignedBy::Allowed(signer.to_str_lossy().into_owned()),
                b"G" | b"U" | b"E" => SignedBy::Somebody,
                b"N" => SignedBy::Nobody,
                _ => SignedBy::Bad,
            };
            Some((ObjectId::from_hex(id).ok()?, by))
        };
        Ok(out.lines().filter_map(line).collect())
    }
}

/// Brings in what the remote has of stages, approvals and builds. Could it be asked?
pub(super) fn fetch(site: &Site<'_>, must: bool, events: &dyn Events) -> Result<bool, StageError> {
    let Some(address) = site.deploy_address() else { return Ok(true) };
    let remote = without_secrets(&address);
    events.step(&format!("asking {remote} what stages run"));
    let project = &site.project.name;
    let kinds = ["stage", "approval", "build", "manifest", "signature"];
    let specs = kinds.map(|kind| format!("+refs/carry/{kind}/{project}/*:refs/carry/{kind}/{project}/*"));
    let progress = |line: &str| events.git(line);
    // Records are few. The graph of commits would be locked for them, and stay so where this is killed.
    let options = ["--no-tags", "--no-write-commit-graph"];
    match site.store.fetching(&options, &address).args(specs).progress(&progress).output() {
        Ok(_) => Ok(true),
        Err(source) if must => Err(StageError::Unreachable { remote, source }),
        Err(e) => {
            events
                .note(&format!("'{remote}' could not be asked, so this is what was known here before: {e}"));
            Ok(false)
        }
    }
}

/// The records of a stage that are here, the newest first.
pub(super) fn read_past(site: &Site<'_>, odb: &Odb, stage: &str) -> Result<Vec<Kept<Promotion>>, StageError> {
    let name = stage_ref(&site.project.name, stage);
    let mut past = Vec::new();
    let mut at = site.store.reference(&name)?;
    while let Some(commit) = at {
        let record: Promotion = read(odb, &name, &commit, PROMOTION)?;
        // What is kept of another stage says nothing here, by whomever it is signed.
        if record.stage != stage || record.project != site.project.name {
            let reason = format!("it is of '{}'", record.stage);
            return Err(StageError::Record { name, commit: commit.to_hex_with_len(12).to_string(), reason });
        }
        past.push(Kept { id: commit, record });
        at = odb.commit(&commit)?.parents.first().copied();
    }
    Ok(past)
}

/// A record from its commit.
fn read<R: serde::de::DeserializeOwned>(
    odb: &Odb,
    name: &str,
    commit: &ObjectId,
    file: &str,
) -> Result<R, StageError> {
    let bad = |reason: String| StageError::Record {
        name: name.to_owned(),
        commit: commit.to_hex_with_len(12).to_string(),
        reason,
    };
    let tree = odb.commit(commit).map_err(|e| bad(e.to_string()))?.tree;
    let entry = entry_at(odb, &tree, BStr::new(file))?.ok_or_else(|| bad(format!("it has no {file}")))?;
    serde_json::from_slice(&odb.blob(&entry.id)?).map_err(|e| bad(e.to_string()))
}

/// The object that a text names.
pub(super) fn id(hex: &str) -> Option<ObjectId> {
    ObjectId::from_hex(hex.as_bytes()).ok()
}
