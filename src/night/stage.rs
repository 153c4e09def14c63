//! What stages ran and run: records in refs of the store, held to what the deploy remote has. The remote is the truth
//! where there is one: a record is pushed with an exact lease before the store has it, so whoever is cut off has changed
//! nothing, or everything.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bstr::{BStr, ByteSlice};
use gix_hash::ObjectId;
use jiff::Timestamp;

use super::journal::Push;
use super::publish::{build_ref, manifest_of, manifest_ref, recorded_manifest, remote_refs};
use super::sign::{signing_key, trust};
use super::writeback::build_id;
use super::{Events, NightError, Site, assess_move, patches_of, rules_for};
use crate::build::manifest::Manifest;
use crate::queue::digest;
use crate::risk::Transition;
use crate::stage::{Approval, Promotion};
use crate::store::git::{GitError, without_secrets};
use crate::store::tree::entry_at;
use crate::store::{Objects, Odb, RefUpdate, SILENCE, StoreError};
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
fn approval_refs(project: &str, build: &str, stage: &str) -> String {
    format!("refs/carry/approval/{project}/{build}/{stage}/")
}

/// The files in which records stand in their commits' trees.
const PROMOTION: &str = "promotion.json";
const APPROVAL: &str = "approval.json";

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

    /// Keeps a promotion: at the remote first, if there is one.
    pub fn keep(&self, promotion: &Promotion) -> Result<ObjectId, StageError> {
        let name = stage_ref(&promotion.project, &promotion.stage);
        let parent = self.kept(&promotion.stage).first().map(|k| k.id);
        let verb = match promotion.action {
            crate::stage::Action::Promote => "promote",
            crate::stage::Action::Rollback => "roll back to",
        };
        let mut message = format!("carry: {}: {verb} {}", promotion.stage, promotion.build);
        for (key, text) in [("", &promotion.reason), ("Override: ", &promotion.overridden)] {
            if let Some(text) = text {
                message.push_str(&format!("\n\n{key}{text}"));
            }
        }
        let text = serde_json::to_string_pretty(promotion)
            .map_err(|e| NightError::Format { what: "the promotion", reason: e.to_string() })?;
        let commit = self.commit(PROMOTION, &text, parent.as_ref(), &message, &promotion.who)?;
        let update = RefUpdate {
            name: name.clone(),
            old: parent.map(|id| id.to_string()),
            new: Some(commit.to_string()),
        };
        match self.put(&update, &promotion.build) {
            Err(StageError::Night(e)) => match self.overtaken(&promotion.stage, parent.as_ref())? {
                Some(faster) => Err(faster),
                None => Err(e.into()),
            },
            other => other.map(|()| commit),
        }
    }

    /// Keeps an approval.
    pub fn keep_approval(&self, approval: &Approval) -> Result<ObjectId, StageError> {
        let person = digest(approval.who[1].to_lowercase().as_bytes());
        let prefix = approval_refs(&approval.project, &approval.build, &approval.stage);
        let name = format!("{prefix}{}", &person[..12]);
        let text = serde_json::to_string_pretty(approval)
            .map_err(|e| NightError::Format { what: "the approval", reason: e.to_string() })?;
        let message = format!("carry: {}: approve {}", approval.stage, approval.build);
        let old = self.site.store.reference(&name)?;
        let commit = self.commit(APPROVAL, &text, old.as_ref(), &message, &approval.who)?;
        let old = old.map(|id| id.to_string());
        self.put(&RefUpdate { name, old, new: Some(commit.to_string()) }, &approval.build)?;
        Ok(commit)
    }

    /// Who is asking, as git knows it: name and mail address.
    pub fn who(&self) -> Result<[String; 2], StageError> {
        let answer = self.site.git.call(["var", "GIT_COMMITTER_IDENT"]).answer()?;
        let line = answer.stdout.to_str_lossy().trim().to_owned();
        let parts = line.split_once(" <").and_then(|(name, rest)| Some((name, rest.split_once('>')?.0)));
        match parts.filter(|_| answer.code == Some(0)) {
            Some((name, mail)) => Ok([name.to_owned(), mail.to_owned()]),
            None => {
                let said = answer.stderr.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("it says nothing");
                Err(StageError::NoIdentity { said: said.trim().to_owned() })
            }
        }
    }

    /// A commit whose tree is one file; signed if there is a key. Nothing refers to it yet.
    fn commit(
        &self,
        file: &str,
        text: &str,
        parent: Option<&ObjectId>,
        message: &str,
        who: &[String; 2],
    ) -> Result<ObjectId, StageError> {
        let store = &self.site.store;
        let blob = store.write_blob(format!("{text}\n").as_bytes())?;
        let tree = store.git().call(["mktree"]).stdin(format!("100644 blob {blob}\t{file}\n")).line()?;
        let mut call = match signing_key(self.site)? {
            None => store.git().call(["commit-tree", &tree, "-F", "-"]),
            Some(key) => {
                let key = format!("user.signingKey={}", key.display());
                store.git().call(["-c", "gpg.format=ssh", "-c", &key, "commit-tree", "-S", &tree, "-F", "-"])
            }
        };
        if let Some(parent) = parent {
            call = call.args(["-p", &parent.to_string()]);
        }
        // The moment is the clock's: nobody says by a variable when he promoted.
        let date = format!("{} +0000", self.now.as_second());
        for role in ["AUTHOR", "COMMITTER"] {
            call = call.env(&format!("GIT_{role}_NAME"), &who[0]);
            call = call.env(&format!("GIT_{role}_EMAIL"), &who[1]);
            call = call.env(&format!("GIT_{role}_DATE"), &date);
        }
        let made = call.stdin(format!("{message}\n")).line()?;
        let bad = || GitError::Answer { command: "commit-tree".into(), answer: made.clone() };
        Ok(ObjectId::from_hex(made.as_bytes()).map_err(|_| bad())?)
    }

    /// Moves a ref: at the remote with an exact lease, then here.
    fn put(&self, update: &RefUpdate, build: &str) -> Result<(), StageError> {
        if let Some(address) = self.site.deploy_address() {
            let remote = without_secrets(&address);
            if self.offline {
                return Err(StageError::Offline { remote });
            }
            let project = &self.site.project.name;
            let kept = [build_ref(project, build), manifest_ref(project, build)];
            let names = [&kept[..], std::slice::from_ref(&update.name)].concat();
            let there = remote_refs(self.site, &address, &names)?;
            if kept.iter().any(|name| !there.contains_key(name)) {
                return Err(StageError::NotPublished { build: build.to_owned(), remote });
            }
            // What was recorded before there was a remote goes along.
            let old = there.get(&update.name).and(update.old.clone());
            let push = Push { address, refs: vec![RefUpdate { old, ..update.clone() }] };
            push.push(&self.site.store)?;
        }
        self.site.store.update(std::slice::from_ref(update), "carry: stage")?;
        Ok(())
    }

    /// After a refusal: did somebody else move the stage from `expected`?
    fn overtaken(&self, stage: &str, expected: Option<&ObjectId>) -> Result<Option<StageError>, StageError> {
        if self.site.deploy_address().is_some() && !self.offline {
            fetch(self.site, true, &Silent)?;
        }
        let odb = self.site.store.odb()?;
        let past = read_past(self.site, &odb, stage)?;
        Ok(past.first().filter(|k| Some(&k.id) != expected).map(|k| StageError::Overtaken {
            stage: stage.to_owned(),
            by: format!("{} <{}>", k.record.who[0], k.record.who[1]),
            runs: k.record.build.clone(),
        }))
    }
}

/// Nobody listens.
struct Silent;

impl Events for Silent {
    fn step(&self, _: &str) {}
    fn git(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

/// Brings in what the remote has of stages, approvals and builds. Could it be asked?
fn fetch(site: &Site<'_>, must: bool, events: &dyn Events) -> Result<bool, StageError> {
    let Some(address) = site.deploy_address() else { return Ok(true) };
    let remote = without_secrets(&address);
    events.step(&format!("asking {remote} what stages run"));
    let project = &site.project.name;
    let kinds = ["stage", "approval", "build", "manifest", "signature"];
    let specs = kinds.map(|kind| format!("+refs/carry/{kind}/{project}/*:refs/carry/{kind}/{project}/*"));
    let progress = |line: &str| events.git(line);
    let call = site.store.git().call(["fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--"]);
    match call.arg(&address).args(specs).silence(SILENCE).progress(&progress).output() {
        Ok(_) => Ok(true),
        Err(source) if must => Err(StageError::Unreachable { remote, source }),
        Err(e) => {
            events
                .note(&format!("'{remote}' could not be asked, so this is what was known here before: {e}"));
            Ok(false)
        }
    }
}

fn read_past(site: &Site<'_>, odb: &Odb, stage: &str) -> Result<Vec<Kept<Promotion>>, StageError> {
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
