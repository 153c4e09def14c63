//! Errors in words: what happened, to what, and what to do next; and the exit code.

use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::ui::{Ui, clean};
use crate::build::ExportError;
use crate::build::signature::SignatureError;
use crate::fork::ForkError;
use crate::night::send::SendError;
use crate::night::stage::StageError;
use crate::night::task::TaskError;
use crate::night::upstream::UpstreamError;
use crate::night::{NightError, TakeError};
use crate::report::words::quoted;
use crate::trunk::FetchError;
use crate::workspace::{ConfigError, GuardError, SIGNING_KEY, WorkspaceError, nearest};

/// Anything that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Night(#[from] NightError),
    #[error(transparent)]
    Take(#[from] TakeError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("the result cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the report cannot be written as a page: {0}")]
    Page(#[from] askama::Error),
    #[error("'{}': {source}", .path.display())]
    Io { path: std::path::PathBuf, source: std::io::Error },
    /// The run of a project, beside others, ended by a fault of the program.
    #[error("the run of '{project}' ended by a fault of git-carry itself")]
    Broke { project: String },
    /// A command was used in a way that cannot work.
    #[error("{what}")]
    Usage { what: String, hint: Option<String> },
    /// Something that was asked for is not there.
    #[error("{what}")]
    Missing { what: String, hint: Option<String> },
}

impl CliError {
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Nothing in the queue of a project has this name.
    pub fn no_patch<'p>(project: &str, name: &str, there: impl IntoIterator<Item = &'p str>) -> Self {
        let names: Vec<&str> = there.into_iter().collect();
        let meant = nearest(name, &names).map(|near| format!("did you mean '{near}'?"));
        Self::Missing {
            what: format!("no patch of '{project}' is called '{}'", clean(name)),
            hint: Some(meant.unwrap_or_else(|| "git carry status lists them".into())),
        }
    }

    /// Prints the error and returns the exit code.
    pub fn print(&self, ui: &Ui) -> u8 {
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        if ui.json {
            ui.error(&self.document().to_string());
            return self.code();
        }
        let (more, hint) = self.told();
        ui.error(&format!("{red}error:{red:#} {}", clean_lines(&self.to_string())));
        for line in more {
            ui.error(&format!("  {}", clean(&line)));
        }
        if let Some(hint) = hint {
            let bold = Style::new().bold();
            ui.error(&format!("{bold}hint:{bold:#} {}", clean_lines(&hint)));
        }
        self.code()
    }

    /// The error for programs.
    pub fn document(&self) -> serde_json::Value {
        let (more, hint) = self.told();
        serde_json::json!({ "error": self.to_string(), "details": more, "hint": hint, "exit_code": self.code() })
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Stage(StageError::Night(e)) => e.exit_code(),
            Self::Stage(e) => super::stage::code(e).unwrap_or(1),
            Self::Upstream(UpstreamError::Night(e)) | Self::Send(SendError::Night(e)) => e.exit_code(),
            Self::Upstream(UpstreamError::Task(_)) => 2,
            Self::Upstream(_) => 4,
            Self::Send(SendError::NoForge { .. }) => 2,
            Self::Send(_) => 4,
            Self::Night(e) | Self::Task(TaskError::Night(e)) => e.exit_code(),
            Self::Task(TaskError::NoPatch { .. } | TaskError::Which { .. }) => 2,
            Self::Take(TakeError::Night(e)) => e.exit_code(),
            Self::Take(
                TakeError::NotEmpty { .. }
                | TakeError::Fork(ForkError::NoMarker { .. } | ForkError::NotAncestor { .. }),
            ) => 2,
            _ => 1,
        }
    }

    fn told(&self) -> (Vec<String>, Option<String>) {
        let (more, hint) = self.told_of_its_kind();
        let by_system = of_the_system(&self.to_string());
        let hint = match (hint, by_system) {
            // What comes may have found no room here.
            (Some(hint), Some(by_system))
                if matches!(self, Self::Night(NightError::Fetch(FetchError::Unreachable { .. }))) =>
            {
                Some(format!("{by_system}\n{hint}"))
            }
            (hint, by_system) => hint.or(by_system),
        };
        (more, hint)
    }

    fn told_of_its_kind(&self) -> (Vec<String>, Option<String>) {
        match self {
            Self::Night(e) | Self::Take(TakeError::Night(e)) => night(e),
            Self::Stage(StageError::Night(e)) => night(e),
            Self::Stage(e) => super::stage::told(e),
            Self::Task(e) => task(e),
            Self::Upstream(UpstreamError::Night(e)) | Self::Send(SendError::Night(e)) => night(e),
            Self::Upstream(UpstreamError::Task(e)) => task(e),
            Self::Upstream(e) => (Vec::new(), super::upstream::hint(e)),
            Self::Send(e) => super::upstream::told(e),
            Self::Take(TakeError::NotEmpty { .. }) => {
                (Vec::new(), Some("take it in as another project: git carry init --project NAME …".into()))
            }
            Self::Take(TakeError::Fork(e)) => fork(e),
            Self::Guard(GuardError::Busy { .. }) => (Vec::new(), Some("wait for it, or end it".into())),
            Self::Export(ExportError::Patch { .. }) => (
                Vec::new(),
                Some("the workspace's history is cut short, perhaps: git fetch --unshallow".into()),
            ),
            Self::Broke { .. } => (
                Vec::new(),
                Some("please report this, with what stands above; the next run looks at what it left".into()),
            ),
            Self::Usage { hint, .. } | Self::Missing { hint, .. } => (Vec::new(), hint.clone()),
            _ => (Vec::new(), None),
        }
    }
}

/// What to do where the system did not let something be written: it says so in the same words whether this program asked it
/// or git did.
fn of_the_system(message: &str) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    // A server that lets nobody in says it like this: `Permission denied (publickey)`.
    let is_let_in =
        !message.contains("Permission denied (") || message.contains("Permission denied (os error");
    if says(&["No space left", "no space left", "Disk quota exceeded"]) {
        Some(
            "make room on that disk (df -h), and run again: what was begun is finished then, or made anew"
                .into(),
        )
    } else if says(&["couldn't write", "unable to write", "write error"]) {
        // Git does not say why.
        Some("look whether that disk is full (df -h), and run again: what was begun is finished then, or made anew".into())
    } else if says(&["Read-only file system"]) {
        Some("mount that disk so that it can be written, and run again; what only looks works: git carry status".into())
    } else if says(&["Permission denied", "insufficient permission"]) && is_let_in {
        Some("run it as the user to whom that belongs, or let this one write there; what only looks works: git carry status".into())
    } else {
        None
    }
}

/// A message may have lines of its own; within a line nothing is obeyed.
pub(super) fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n  ")
}

/// A path as a word of a command.
fn as_word(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// More of what happened in a run, and what to do next.
pub(super) fn night(e: &NightError) -> (Vec<String>, Option<String>) {
    let none = Vec::new;
    match e {
        NightError::Workspace(e) => workspace(e),
        NightError::NoRepository { root } => (none(), Some(format!("git init {}", as_word(root)))),
        NightError::Dirty { files } => {
            let some = files.iter().take(10).cloned().collect();
            (some, Some("commit them, or put them away with: git stash --include-untracked".into()))
        }
        NightError::Meanwhile { files } => {
            let some = files.iter().take(10).cloned().collect();
            (some, Some("commit what is not committed, and run again: the next run takes it in".into()))
        }
        NightError::Since { files } => {
            let some = files.iter().take(10).cloned().collect();
            let keep = "keep what was changed elsewhere, take it back with: git checkout HEAD -- FILE, and run again: that finishes the last run";
            (some, Some(keep.into()))
        }
        NightError::InProgress { operation } => {
            (none(), Some(format!("finish it, or end it with: git {operation} --abort")))
        }
        NightError::IndexLocked { lock } => {
            let hint = "let it end (an editor of `git commit` may be open), and run again: what this run has begun is \
                finished then. If no git is at work there:";
            (none(), Some(format!("{hint} rm {}", as_word(lock))))
        }
        NightError::Queue { folder, faults, .. } => {
            let lines = faults.iter().take(20).map(|f| format!("{folder}/{f}")).collect();
            (lines, Some("mend them, commit, and run again; nothing was changed".into()))
        }
        NightError::NoBase { .. } => {
            let hint = "fetch it once: run without --offline, from the upstream that has it; \
                if none has, take carry.lock from the last good commit: git log -- carry.lock";
            (none(), Some(hint.into()))
        }
        NightError::NoCommit { .. } => {
            (none(), Some("name a commit, or a tag that the trunk contains".into()))
        }
        NightError::Fetch(FetchError::Rewritten { .. }) => {
            (none(), Some("if upstream meant it: git carry nightly --accept-rewritten-trunk".into()))
        }
        NightError::Fetch(FetchError::NoBranch { has, .. }) => {
            let has = if has.is_empty() { none() } else { vec![format!("it has: {}", has.join(", "))] };
            (has, Some("set 'branch' in carry.toml; the last good state is untouched".into()))
        }
        NightError::Fetch(FetchError::OtherIds { .. }) => (
            none(),
            Some(
                "if upstream was made anew with other ids, take the patch files into a new project of it \
             (git carry import --patches); the last good state is untouched"
                    .into(),
            ),
        ),
        NightError::Fetch(FetchError::Unreachable { source, .. })
            if source.to_string().contains("promisor") =>
        {
            (
                none(),
                Some(
                    "it is a partial clone: follow the repository that it was cloned from, \
             or complete it there (git fetch --refetch --no-filter)"
                        .into(),
                ),
            )
        }
        NightError::Fetch(FetchError::Unreachable { .. }) => (
            none(),
            Some("try again later; without the network: --offline. The last good state is untouched".into()),
        ),
        NightError::Damaged { store, .. } => (
            none(),
            Some(format!(
                "nothing was changed. What it held comes again from upstream and the remote: put it away, and run again:\n\
                 mv {0} {0}.damaged, then git carry nightly",
                as_word(store)
            )),
        ),
        NightError::Journal { path, .. } => (
            none(),
            Some(format!(
                "nothing was changed. A run was cut off, and what it left cannot be told; the next one works all out anew:\n\
                 mv {0} {0}.damaged, then git carry nightly",
                as_word(path)
            )),
        ),
        NightError::Moved { found, .. } => {
            let hint = match found {
                Some(id) => format!(
                    "look at what was pushed there; pull the workspace if another machine published;\n\
                     bring in what a fleet published: git carry fleet report --record;\n\
                     to replace it all the same: git carry nightly --replace-deploy {id}"
                ),
                None => "run again".into(),
            };
            (none(), Some(hint))
        }
        NightError::NoRemote { project } => {
            (none(), Some(format!("name one: remote in [project.{project}.deploy] of carry.toml")))
        }
        NightError::NoBuild { several, .. } => {
            let hint = if several.is_empty() { "git carry nightly makes builds" } else { "name more digits" };
            (none(), Some(hint.into()))
        }
        NightError::Signature(SignatureError::Key { .. } | SignatureError::Refused { .. }) => (
            none(),
            Some(format!(
                "nothing was published; mend 'key' in [signing] of carry.toml, or {SIGNING_KEY} in the environment"
            )),
        ),
        NightError::Signature(SignatureError::Missing(_)) => {
            (none(), Some("install OpenSSH's ssh-keygen, 8.9 or newer".into()))
        }
        NightError::Push { .. } => {
            (none(), Some("nothing was published, and the workspace is as it was".into()))
        }
        NightError::Unanswered { source, .. } if source.to_string().contains("hash algorithm") => (
            none(),
            Some(
                "a deploy repository has the ids of its upstream: make it with git init --bare --object-format \
             as upstream has it (git rev-parse --show-object-format)"
                    .into(),
            ),
        ),
        NightError::Unanswered { .. } => {
            (none(), Some("the remote has nothing of it, and the workspace is as it was; run again".into()))
        }
        NightError::Command { .. } => {
            (none(), Some("a program of the tree itself is written with ./ before it".into()))
        }
        NightError::Hook { output, .. } => (
            none(),
            Some(format!(
                "nothing was published, and the workspace is as it was; what it said: {}",
                output.display()
            )),
        ),
        NightError::Unfinished { .. } => (none(), Some("run again when the remote answers".into())),
        NightError::RoundTrip { .. } => (none(), Some("please report this, with the patch file".into())),
        _ => (none(), None),
    }
}

fn task(e: &TaskError) -> (Vec<String>, Option<String>) {
    let none = Vec::new;
    match e {
        TaskError::NoPatch { nearest, .. } => {
            let hint = match nearest {
                Some(name) => format!("did you mean '{name}'?"),
                None => "git carry status lists them".into(),
            };
            (none(), Some(hint))
        }
        TaskError::Open { patch, .. } => {
            (none(), Some(format!("go on there; or end it: git carry resolve {patch} --abort")))
        }
        TaskError::NotOpen { .. } => {
            (none(), Some("begin with: git carry resolve PATCH, or git carry edit PATCH".into()))
        }
        TaskError::Which { open } => (none(), Some(format!("name one: {}", open.join(", ")))),
        TaskError::Pointless { hint, .. } => (none(), Some(hint.clone())),
        TaskError::Unfinished { left, place, .. } => {
            (left.clone(), Some(format!("mend them in {}, then run this again", place.display())))
        }
        TaskError::Changed { patch, place } => (
            none(),
            Some(format!(
                "the work is kept in {}; copy what you need of it, then begin anew:\n\
                 git carry resolve {patch} --abort; git carry resolve {patch}",
                place.display()
            )),
        ),
        TaskError::Night(e) => night(e),
    }
}

fn workspace(e: &WorkspaceError) -> (Vec<String>, Option<String>) {
    match e {
        WorkspaceError::NotFound { .. } => {
            (Vec::new(), Some("git carry init --project NAME --upstream ADDRESS --branch BRANCH".into()))
        }
        WorkspaceError::Config(ConfigError { faults, .. }) => {
            let hints: Vec<String> = faults
                .iter()
                .filter_map(|f| Some(format!("line {}: {}", f.line, f.hint.as_ref()?)))
                .collect();
            (Vec::new(), (!hints.is_empty()).then(|| hints.join("\n")))
        }
        WorkspaceError::Lock(_) => (
            Vec::new(),
            Some(
                "take the file from the last good commit: git log -- carry.lock tells which, \
                 and git checkout COMMIT -- carry.lock takes it"
                    .into(),
            ),
        ),
        WorkspaceError::NoProject { has, nearest, .. } => {
            let hint = match nearest {
                Some(name) => format!("did you mean '{name}'?"),
                None => format!("there are: {}", has.join(", ")),
            };
            (Vec::new(), Some(hint))
        }
        WorkspaceError::Which { has } => {
            (Vec::new(), Some(format!("name one with --project: {}", has.join(", "))))
        }
        WorkspaceError::Io { .. } => (Vec::new(), None),
    }
}

fn fork(e: &ForkError) -> (Vec<String>, Option<String>) {
    match e {
        ForkError::NoMarker { merge_base } => {
            let hint = match merge_base {
                Some(id) => format!(
                    "name it with --base; if the fork was never rebased, it is the merge base: --base {id}"
                ),
                None => "name the upstream commit under the queue with --base".into(),
            };
            (Vec::new(), Some(hint))
        }
        ForkError::NotAncestor { .. } => {
            (Vec::new(), Some("name the upstream commit that the fork stands on".into()))
        }
        ForkError::Lossy { .. } | ForkError::OtherTree { .. } => {
            (Vec::new(), Some("please report this, with the commit; nothing was changed".into()))
        }
        ForkError::Store(_) => (Vec::new(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_does_not_let_be_written_has_a_next_step_and_a_server_that_lets_nobody_in_has_not_that_one()
     {
        let denied = std::io::Error::from_raw_os_error(13);
        let hint = |message: &str| of_the_system(message).unwrap_or_default();
        let own = hint(&format!("'/ws/.git/carry/run.lock' cannot be locked: {denied}"));
        assert!(own.contains("as the user to whom that belongs"), "{own}");
        let gits = hint("fatal: Unable to create '/ws/.git/index.lock': Permission denied");
        assert_eq!(gits, own);
        assert_eq!(of_the_system("git@example.com: Permission denied (publickey)."), None);
        assert!(hint(&std::io::Error::from_raw_os_error(28).to_string()).starts_with("make room"));
        assert!(hint("fatal: couldn't write '/ws/refs/x.lock'").starts_with("look whether"));
        assert!(hint(&std::io::Error::from_raw_os_error(30).to_string()).starts_with("mount that disk"));
        assert_eq!(of_the_system("no patch of 'p' is called 'x'"), None);
    }
}
