//! Records of stages are made: a commit that nothing refers to, then one push with an exact lease, then the store's ref.

use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::journal::Push;
use super::publish::{build_ref, manifest_ref, remote_refs};
use super::sign::signing_key;
use super::stage::{
    APPROVAL, Kept, PROMOTION, StageError, Stages, approval_refs, fetch, read_past, stage_ref,
};
use super::{Events, NightError};
use crate::queue::digest;
use crate::stage::{Approval, Promotion};
use crate::store::RefUpdate;
use crate::store::git::{GitError, without_secrets};

/// What the store's reflog says.
const WHY: &str = "carry: stage";

impl Stages<'_> {
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
            Err(StageError::Night(e)) => {
                match self.newest(&promotion.stage)?.filter(|k| Some(k.id) != parent) {
                    // Only the answer was lost.
                    Some(ours) if ours.id == commit => Ok(commit),
                    Some(faster) => Err(StageError::Overtaken {
                        stage: promotion.stage.clone(),
                        by: format!("{} <{}>", faster.record.who[0], faster.record.who[1]),
                        runs: faster.record.build,
                    }),
                    None => Err(e.into()),
                }
            }
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
            // It has happened. If somebody here fetched meanwhile, the store has it or more; else the next command does.
            let _ = self.site.store.update(std::slice::from_ref(update), WHY);
            return Ok(());
        }
        self.site.store.update(std::slice::from_ref(update), WHY)?;
        Ok(())
    }

    /// After a refusal: the newest record of a stage, as the remote has it.
    fn newest(&self, stage: &str) -> Result<Option<Kept<Promotion>>, StageError> {
        if self.site.deploy_address().is_some() && !self.offline {
            fetch(self.site, true, &Silent)?;
        }
        let odb = self.site.store.odb()?;
        Ok(read_past(self.site, &odb, stage)?.into_iter().next())
    }
}

/// Nobody listens.
struct Silent;

impl Events for Silent {
    fn step(&self, _: &str) {}
    fn git(&self, _: &str) {}
    fn note(&self, _: &str) {}
}
