//! A patch made ready for upstream: it and all that it needs on the bare trunk tip, without what is ours alone.

use std::collections::BTreeMap;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;
use serde::Serialize;

use super::depend::{Stack, stack};
use super::task::{TaskError, find};
use super::{Events, NightError, Site};
use crate::build::{Layer, stack as commits};
use crate::graph::Graph;
use crate::queue::{Header, Patch, Queue, add_trailer, digest, read_metadata, without_trailers};
use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::store::RefUpdate;
use crate::store::git::{GitError, without_secrets};
use crate::trunk;
use crate::workspace::{Forge, ForgeKind, Identity, Project};

/// Why a patch cannot go upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Its header, or that of one that it needs, says that it is not for upstream.
    #[error("{}", never(.patch, .needed_by.as_deref(), .said))]
    Never {
        /// The patch.
        patch: String,
        /// The one that was asked for, if it is another.
        needed_by: Option<String>,
        /// What its header says.
        said: String,
    },
    /// It is not in the stack.
    #[error("'{patch}' is not in the stack")]
    Absent {
        /// The patch.
        patch: String,
    },
    /// It does not apply to the bare trunk tip.
    #[error("'{patch}' does not apply to {onto} without the rest of the queue: {}", .paths.join(", "))]
    Conflict {
        /// The patch of the closure.
        patch: String,
        /// The commit, by its first digits.
        onto: String,
        /// Where.
        paths: Vec<String>,
    },
    /// Upstream has all of it.
    #[error("nothing is left of '{patch}' on {onto}: upstream has it")]
    Nothing {
        /// The patch.
        patch: String,
        /// The commit, by its first digits.
        onto: String,
    },
    /// There is no such patch.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The store or the workspace failed.
    #[error(transparent)]
    Night(#[from] NightError),
}

fn never(patch: &str, needed_by: Option<&str>, said: &str) -> String {
    match needed_by {
        None => format!("the header of '{patch}' says that it is not for upstream: {said}"),
        Some(by) => format!("'{by}' needs '{patch}', whose header says that it is not for upstream: {said}"),
    }
}

/// One commit that would leave.
#[derive(Debug, Clone, Serialize)]
pub struct Leaving {
    /// The patch.
    pub patch: String,
    /// The commit.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// What follows it.
    #[serde(skip)]
    pub body: String,
    /// Its author.
    pub author: String,
    /// What was taken out of its message.
    pub taken_out: Vec<String>,
    /// What was put into it.
    pub put_in: Vec<String>,
    /// Gerrit's name of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_id: Option<String>,
}

/// Something to know before it leaves.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Must it not leave so?
    pub stops: bool,
    /// What, in words.
    pub what: String,
}

/// What would leave.
#[derive(Debug, Clone, Serialize)]
pub struct Outgoing {
    /// The patch that was asked for.
    pub patch: String,
    /// The commit under it.
    pub onto: String,
    /// The commits, in order; the last one is the patch's.
    pub commits: Vec<Leaving>,
    /// Patches that it needs and that upstream has already.
    pub landed: Vec<String>,
    /// The ref of the store that holds the branch.
    pub branch: String,
    /// `git diff --stat` of all of it.
    #[serde(skip)]
    pub stat: String,
    /// What is to be known.
    pub findings: Vec<Finding>,
    /// Who sends it.
    pub sender: Sender,
}

/// Who sends.
#[derive(Debug, Clone, Serialize)]
pub struct Sender {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl Outgoing {
    /// The last commit.
    pub fn tip(&self) -> &str {
        self.commits.last().map_or(self.onto.as_str(), |c| c.commit.as_str())
    }
}

/// How it is made ready.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The commit to put it on; none: the trunk tip, or the newest commit of the branch that patches are for.
    pub onto: Option<&'a str>,
    /// Is the sender's sign-off added where it is missing?
    pub sign_off: bool,
    /// Whatever its header says.
    pub force: bool,
}

/// The ref that holds a patch's branch.
pub fn branch_ref(project: &Project, patch: &str) -> String {
    format!("refs/carry/upstream/{}/{patch}", project.name)
}

/// Makes a patch ready: its closure, replayed in memory on the bare trunk tip; the branch is kept in the store.
pub fn make_ready(
    site: &Site<'_>,
    queue: &Queue,
    name: &str,
    wish: Wish<'_>,
    events: &dyn Events,
) -> Result<Outgoing, UpstreamError> {
    let name = find(site, &queue.patches, name)?.name();
    let Stack { odb, nodes, .. } = stack(site, queue)?;
    let graph = Graph::of(&odb, &nodes, &BTreeMap::new()).map_err(NightError::from)?;
    let closure = graph.closure(name);
    if closure.is_empty() {
        return Err(UpstreamError::Absent { patch: name.to_owned() });
    }
    let forge = site.project.forge.as_ref();
    let tip = onto(site, forge, wish.onto, events)?;
    let told = tip.to_hex_with_len(12).to_string();
    let trunk = odb.commit(&tip).map_err(NightError::from)?;
    let sender = sender(site)?;
    let mut tree = trunk.tree;
    let (mut made, mut landed): (Vec<(&Patch, Message, ObjectId)>, Vec<String>) = Default::default();
    for node in nodes.iter().filter(|n| closure.contains(&n.step.name.as_str())) {
        let step = &node.step;
        let patch = find(site, &queue.patches, &step.name)?;
        let theirs = || patch.metadata.follows.as_ref().map(|f| format!("Carry-Follows: {f}"));
        if let Some(said) = patch.metadata.never().or_else(theirs).filter(|_| !wish.force) {
            let needed_by = (patch.name() != name).then(|| name.to_owned());
            return Err(UpstreamError::Never { patch: patch.name().to_owned(), needed_by, said });
        }
        let merged = merge_trees(&odb, &step.before, &tree, &step.after).map_err(NightError::from)?;
        let next = match merged {
            Merged::Clean(next) => next,
            Merged::Conflicts(conflicts) => {
                let paths = conflicts.iter().map(|c| c.path.to_string()).collect();
                return Err(UpstreamError::Conflict { patch: step.name.clone(), onto: told, paths });
            }
        };
        if next == tree {
            landed.push(step.name.clone());
            continue;
        }
        tree = next;
        let message = leaving(site, forge, patch, wish.sign_off.then_some(&sender));
        made.push((patch, message, next));
    }
    if made.last().is_none_or(|(patch, ..)| patch.name() != name) {
        return Err(UpstreamError::Nothing { patch: name.to_owned(), onto: told });
    }
    let headers: Vec<Header> = made
        .iter()
        .map(|(patch, message, _)| Header { message: message.text.clone(), ..patch.header.clone() })
        .collect();
    let layers: Vec<Layer<'_>> =
        headers.iter().zip(&made).map(|(header, (.., tree))| Layer { header, tree: *tree }).collect();
    let identity = Identity { name: sender.name.clone(), email: sender.email.clone() };
    let (_, ids) =
        commits(&odb, &identity, &site.project.name, &tip, None, &layers).map_err(NightError::from)?;
    odb.flush().map_err(NightError::from)?;
    let last = ids.last().copied().unwrap_or(tip);
    let branch = branch_ref(site.project, name);
    let old = site.store.reference(&branch).map_err(NightError::from)?.map(|id| id.to_string());
    let new = Some(last.to_string());
    if old != new {
        let update = RefUpdate { name: branch.clone(), old, new };
        site.store.update(&[update], "carry: made ready for upstream").map_err(NightError::from)?;
    }
    let stat = site.store.told_diff(&tip, &last, &["-M", "--stat=80"]).map_err(NightError::from)?;
    let findings = findings(site, &tip, &last, &made)?;
    let commits = made.into_iter().zip(ids).zip(headers);
    let commits = commits.map(|(((patch, message, _), id), header)| told_of(patch, message, &id, &header));
    Ok(Outgoing {
        patch: name.to_owned(),
        onto: tip.to_string(),
        commits: commits.collect(),
        landed,
        branch,
        stat,
        findings,
        sender,
    })
}

fn told_of(patch: &Patch, message: Message, id: &ObjectId, header: &Header) -> Leaving {
    let (subject, body) = parts(&message.text);
    let author = format!("{} <{}>", header.author.name, header.author.email);
    let Message { taken_out, put_in, change_id, .. } = message;
    let (patch, commit) = (patch.name().to_owned(), id.to_string());
    Leaving { patch, commit, subject, body, author, taken_out, put_in, change_id }
}

/// A message's first paragraph as one line, and the rest.
fn parts(message: &[u8]) -> (String, String) {
    let text = message.trim().to_str_lossy().into_owned();
    let (subject, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    (subject.lines().map(str::trim).collect::<Vec<_>>().join(" "), body.trim().to_owned())
}

/// The commit that patches are put on.
fn onto(
    site: &Site<'_>,
    forge: Option<&Forge>,
    wanted: Option<&str>,
    events: &dyn Events,
) -> Result<ObjectId, NightError> {
    if let Some(rev) = wanted {
        return site.commit(rev);
    }
    let branch = forge.and_then(|f| f.branch.as_deref()).map(trunk::full_name);
    if let Some(branch) = branch.filter(|b| *b != trunk::full_name(&site.project.branch)) {
        let (address, refs) = (site.upstream_address(), [branch.clone()]);
        events.step(&format!("fetching {branch} from {}", without_secrets(&address)));
        trunk::fetch_refs(&site.store, &address, &refs, &|line| events.git(line))?;
        let found = trunk::fetched_refs(&site.store, &refs)?.into_iter().next();
        return found.map(|(_, id)| id).ok_or(NightError::NoCommit { rev: branch });
    }
    Ok(trunk::known(&site.store)?.ok_or(trunk::FetchError::NeverFetched)?)
}

/// Whom git takes the user for.
fn sender(site: &Site<'_>) -> Result<Sender, NightError> {
    let line = site.git.call(["var", "GIT_COMMITTER_IDENT"]).line()?;
    let parts = line.rsplit_once('>').and_then(|(person, _)| person.split_once('<'));
    let answer = || GitError::Answer { command: "var GIT_COMMITTER_IDENT".into(), answer: line.clone() };
    let (name, email) = parts.ok_or_else(answer)?;
    Ok(Sender { name: name.trim().to_owned(), email: email.trim().to_owned() })
}

/// A message as it leaves.
struct Message {
    text: BString,
    taken_out: Vec<String>,
    put_in: Vec<String>,
    change_id: Option<String>,
}

fn leaving(site: &Site<'_>, forge: Option<&Forge>, patch: &Patch, signer: Option<&Sender>) -> Message {
    let (mut text, mut taken_out) = without_trailers(&patch.header.message, is_local);
    let mut put_in = Vec::new();
    if patch.metadata.subject_tag.is_some()
        && let Some((tag, rest)) = text.strip_prefix(b"UPSTREAM: ").and_then(|t| t.split_once_str(":"))
    {
        taken_out.insert(0, format!("UPSTREAM: {}:", tag.to_str_lossy()));
        text = rest.trim_start().into();
    }
    let mut put = |text: &mut BString, name: &str, value: &str| {
        let anew = add_trailer(text, name, value);
        if anew != *text {
            put_in.push(format!("{name}: {value}"));
            *text = anew;
        }
    };
    let mut change_id = patch.metadata.change_ids.last().cloned();
    if forge.is_some_and(|f| f.kind == ForgeKind::Gerrit) {
        let id = change_id.unwrap_or_else(|| new_change_id(site.project, patch.name()));
        put(&mut text, "Change-Id", &id);
        change_id = Some(id);
    }
    if let Some(Sender { name, email }) = signer {
        put(&mut text, "Signed-off-by", &format!("{name} <{email}>"));
    }
    Message { text, taken_out, put_in, change_id }
}

/// The same for the same patch whenever it is asked for; once it was sent it stands in the patch's header.
fn new_change_id(project: &Project, patch: &str) -> String {
    let digest = digest(format!("change\0{}\0{}\0{patch}", project.upstream, project.name).as_bytes());
    format!("I{}", &digest[..40])
}

/// What a message says for us alone: our own trailers, and the bookkeeping of DEP-3, Yocto, SUSE and gbp.
fn is_local(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "forwarded",
        "applied-upstream",
        "last-update",
        "origin",
        "upstream-status",
        "patch-mainline",
        "git-commit",
        "git-repo",
        "gbp-pq",
        "gbp",
    ];
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || name.starts_with("carry-") || name.starts_with("bug-")
}

fn findings(
    site: &Site<'_>,
    onto: &ObjectId,
    tip: &ObjectId,
    made: &[(&Patch, Message, ObjectId)],
) -> Result<Vec<Finding>, NightError> {
    let mut all = Vec::new();
    let mut found = |stops: bool, what: String| all.push(Finding { stops, what });
    let whitespace = site.store.told_diff(onto, tip, &["--check"])?;
    for line in whitespace.lines().filter(|l| !l.starts_with(['+', '-'])).take(10) {
        found(line.ends_with("leftover conflict marker"), line.to_owned());
    }
    for (patch, message, _) in made {
        let (name, author) = (patch.name(), &patch.header.author);
        let read = read_metadata(&message.text, &Vec::new());
        if author.email == "unknown@localhost" || author.name.is_empty() {
            found(true, format!("'{name}' does not say who wrote it: put a From: line into {}", patch.file));
        }
        if read.signed_off_by.is_empty() {
            found(false, format!("'{name}' has no Signed-off-by; --sign-off adds yours"));
        }
        if !read.cherry_picked_from.is_empty() {
            found(false, format!("'{name}' says that it was cherry-picked"));
        }
        let (subject, body) = parts(&message.text);
        if subject.chars().count() > 72 {
            found(false, format!("the first line of '{name}' is longer than 72 characters"));
        }
        if body.lines().all(|line| line.is_empty() || is_trailer(line)) {
            found(false, format!("'{name}' does not say why"));
        }
    }
    Ok(all)
}

fn is_trailer(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(name, _)| !name.contains(' '))
}
