//! What a night found, as what wants a person; and who answers for it.

use bstr::BStr;
use gix_hash::ObjectId;
use jiff::Timestamp;

use super::{Done, Night, NightError, PatchReport, Site};
use crate::build::build_id;
use crate::check::Ended as CheckEnded;
use crate::notify::{CODEOWNERS, CodeOwners, Ended, Kind, Seen, Trouble, addresses};
use crate::queue::Queue;
use crate::report::words::{quoted, short};
use crate::store::tree::entry_at;
use crate::store::{ObjectError, Objects as _};
use crate::workspace::{Outcome, Workspace};

fn trouble(kind: Kind, patch: Option<&str>, what: &str) -> Trouble {
    Trouble {
        kind,
        patch: patch.map(str::to_owned),
        about: None,
        culprit: None,
        owner: None,
        mails: Vec::new(),
        what: what.to_owned(),
        why: String::new(),
        next: None,
    }
}

/// What stands deployed, as the lock says.
pub fn empty(workspace: &Workspace, project: &str, at: Timestamp, ended: Ended) -> Seen {
    let commit = workspace.lock.projects.get(project).and_then(|lock| lock.deploy.clone());
    let id = commit.as_deref().and_then(|hex| ObjectId::from_hex(hex.as_bytes()).ok());
    Seen {
        project: project.to_owned(),
        at,
        ended,
        build: id.map(|id| build_id(&id)),
        commit,
        complete: true,
        troubles: Vec::new(),
    }
}

/// What a night found. `workspace` is as the night left it.
pub fn of_night(workspace: &Workspace, night: &Night, at: Timestamp) -> Seen {
    let ended = match night.done {
        Done::Published => Ended::Published,
        Done::Quiet | Done::DryRun => Ended::Quiet,
        Done::Refused => Ended::Refused,
    };
    let mut seen = empty(workspace, &night.project, at, ended);
    let troubles = &mut seen.troubles;
    if ended == Ended::Refused {
        let reasons = night.manifest.as_ref().map(|m| m.verdict.reasons.join("; ")).unwrap_or_default();
        let next = Some(format!("git carry report --project {}", quoted(&night.project)));
        troubles.push(Trouble { why: reasons, next, ..trouble(Kind::Refused, None, "nothing is published") });
    }
    for patch in &night.patches {
        troubles.extend(of_patch(patch));
    }
    for gone in &night.undone {
        let Some(by) = &gone.reverted else { continue };
        let what = "was taken back by upstream";
        troubles.push(Trouble {
            culprit: Some(by.commit.clone()),
            why: format!("{} {} ({})", short(&by.commit), by.subject, by.author),
            next: Some(format!("git carry landed restore {}", quoted(&gone.name))),
            ..trouble(Kind::Undone, Some(&gone.name), what)
        });
    }
    let checks = night.manifest.iter().flat_map(|m| &m.checks);
    for check in checks.filter(|c| c.ended != CheckEnded::Passed) {
        troubles.push(Trouble {
            about: Some(check.name.clone()),
            culprit: check.broken_by.as_ref().map(|by| by.commit.clone()),
            why: check.said.clone(),
            ..trouble(Kind::Check, None, &format!("the check '{}' fails", check.name))
        });
    }
    seen
}

fn of_patch(patch: &PatchReport) -> Vec<Trouble> {
    let name = quoted(&patch.name);
    let told = |kind, what: &str, next: String| Trouble {
        owner: Some(patch.owner.clone()),
        why: patch.note.clone().unwrap_or_default(),
        next: Some(next),
        ..trouble(kind, Some(&patch.name), what)
    };
    let mut all = Vec::new();
    match patch.outcome {
        Outcome::Conflict => {
            let mut one = told(Kind::Conflict, "conflicts with trunk", format!("git carry resolve {name}"));
            if let Some(c) = &patch.culprit {
                one.culprit = Some(c.commit.clone());
                one.why = format!("{} {} ({})", short(&c.commit), c.subject, c.author);
            } else if one.why.is_empty() {
                let paths: Vec<&str> = patch.conflicts.iter().map(|c| c.path.as_str()).collect();
                one.why = paths.join(", ");
            }
            all.push(one);
        }
        Outcome::Evolved => {
            let what = "conflicts with its revised version";
            let mut one = told(Kind::Evolved, what, format!("git carry resolve {name}"));
            if let Some(e) = &patch.evolved {
                one.culprit = Some(e.commit.clone());
                one.why = format!("{} {} ({})", short(&e.commit), e.subject, e.author);
            }
            all.push(one);
        }
        Outcome::Blocked => {
            let mut one = told(Kind::Blocked, "is blocked", format!("git carry why {name}"));
            one.why = format!("it needs {}", patch.needs.join(", "));
            all.push(one);
        }
        Outcome::Broken => all.push(told(Kind::Broken, "breaks a check", format!("git carry edit {name}"))),
        _ => {}
    }
    // One that evolved is told as that.
    for open in patch.open().filter(|_| patch.outcome != Outcome::Evolved) {
        let e = &open.evidence;
        all.push(Trouble {
            culprit: Some(e.commit.clone()),
            why: format!("{} {} ({}): {}", short(&e.commit), e.subject, e.author, e.proof),
            ..told(Kind::Asked, "may be upstream already", format!("git carry landed show {name}"))
        });
    }
    all
}

/// What is known of a night that an error ended.
pub fn of_error(workspace: &Workspace, project: &str, error: &NightError, at: Timestamp) -> Seen {
    let next = format!("git carry doctor --project {}", quoted(project));
    failed(workspace, project, (class(error), &error.to_string(), next), at)
}

/// That a night failed: what is to be mended in a word, why, and the command to go on with.
pub fn failed(
    workspace: &Workspace,
    project: &str,
    (about, why, next): (&str, &str, String),
    at: Timestamp,
) -> Seen {
    let mut seen = empty(workspace, project, at, Ended::Failed);
    seen.complete = false;
    seen.troubles.push(Trouble {
        about: Some(about.to_owned()),
        // What git said may have several lines.
        why: why.split_whitespace().collect::<Vec<_>>().join(" "),
        next: Some(next),
        ..trouble(Kind::Failed, None, "the night failed")
    });
    seen
}

/// What a night found whose build stays, as another project of its set has none.
pub fn stays(seen: Seen, why: &str) -> Seen {
    let refused = Trouble { why: why.to_owned(), ..trouble(Kind::Refused, None, "nothing is published") };
    let troubles = std::iter::once(refused).chain(seen.troubles).collect();
    Seen { ended: Ended::Refused, build: None, commit: None, troubles, ..seen }
}

/// That no night ran since this moment, or ever.
pub fn late(since: Option<Timestamp>, project: &str) -> Trouble {
    let since = since.map(|at| format!("the last one was on {}", at.strftime("%Y-%m-%d %H:%M UTC")));
    Trouble {
        why: since.unwrap_or_else(|| "there was none yet".into()),
        next: Some(format!("git carry nightly --project {}", quoted(project))),
        ..trouble(Kind::Late, None, "no night ran")
    }
}

/// Errors by what is to be mended, so that another wording is not another trouble.
pub fn class(error: &NightError) -> &'static str {
    match error {
        NightError::Dirty { .. } | NightError::InProgress { .. } | NightError::IndexLocked { .. } => {
            "workspace"
        }
        NightError::Queue { .. } => "queue",
        NightError::Fetch(_) => "upstream",
        NightError::Moved { .. } => "moved",
        NightError::Push { .. } | NightError::Unanswered { .. } | NightError::Unfinished { .. } => "push",
        NightError::Workspace(_) => "configuration",
        NightError::Signature(_) => "signing",
        NightError::Command { .. } => "command",
        NightError::Hook { .. } => "hook",
        NightError::Store(_)
        | NightError::Damaged { .. }
        | NightError::Io { .. }
        | NightError::NoBase { .. } => "store",
        _ => "other",
    }
}

/// Adds to each trouble of a patch the mail addresses of those who answer for it: by `Carry-Owner`, else by the
/// CODEOWNERS of the trunk commit `trunk`.
pub fn address(site: &Site<'_>, trunk: &str, queue: &Queue, seen: &mut Seen) -> Result<(), NightError> {
    if seen.troubles.iter().all(|t| t.patch.is_none()) {
        return Ok(());
    }
    let owners = code_owners(site, trunk)?;
    for trouble in &mut seen.troubles {
        let patch = queue.patches.iter().find(|p| trouble.patch.as_deref() == Some(p.name()));
        let Some(patch) = patch else { continue };
        trouble.mails = addresses(patch.metadata.owner.as_deref().unwrap_or_default());
        if trouble.mails.is_empty() && patch.metadata.owner.is_none() {
            let paths = patch.paths.iter();
            let all: Vec<String> = paths.flat_map(|path| owners.of(&path.to_string()).to_vec()).collect();
            trouble.mails = addresses(&all.join(","));
        }
    }
    Ok(())
}

fn code_owners(site: &Site<'_>, trunk: &str) -> Result<CodeOwners, NightError> {
    let odb = site.store.odb()?;
    let Ok(id) = ObjectId::from_hex(trunk.as_bytes()) else { return Ok(CodeOwners::default()) };
    let tree = odb.commit(&id)?.tree;
    let file = |path: &&str| -> Result<Option<CodeOwners>, ObjectError> {
        let entry = entry_at(&odb, &tree, BStr::new(path))?.filter(|e| e.is_file());
        entry.map(|e| Ok(CodeOwners::parse(&odb.blob(&e.id)?))).transpose()
    };
    Ok(CODEOWNERS.iter().find_map(|path| file(path).transpose()).transpose()?.unwrap_or_default())
}
