//! `git carry upstream`: a patch made ready for upstream, shown, and sent if that is asked for.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::guarded;
use super::ui::{BOLD, DIM, Ui, bare_table, clean, count, painted, short};
use crate::forge::ForgeError;
use crate::night::noted::write_down;
use crate::night::send::{
    Manner, SendError, Series, allowed, gerrit, github, mail, mail_folder, write_mails,
};
use crate::night::upstream::{Outgoing, UpstreamError, Wish, make_ready};
use crate::night::{NightError, Site};
use crate::workspace::ForgeKind;

/// Make a patch ready for upstream, and send it there.
///
/// The patch and all that it needs are put on the bare trunk tip, without what their messages say for us alone, and
/// shown. Nothing leaves without --send, and nothing goes where 'allow' in carry.toml does not let it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The patch's name.
    #[arg(required_unless_present = "status")]
    patch: Option<String>,
    /// Say what became of all that was sent, instead.
    #[arg(long, conflicts_with_all = ["patch", "send", "to"])]
    status: bool,
    /// With --status: what is known without asking the forge.
    #[arg(long, requires = "status")]
    offline: bool,
    /// The commit to put it on, instead of the trunk tip.
    #[arg(long, value_name = "COMMIT")]
    onto: Option<String>,
    /// Send it.
    #[arg(long)]
    send: bool,
    /// Add your Signed-off-by where it is missing.
    #[arg(long)]
    sign_off: bool,
    /// Although its header says that it is not for upstream.
    #[arg(long)]
    force: bool,
    /// GitHub: a new pull request is ready to be looked at, and no draft.
    #[arg(long)]
    no_draft: bool,
    /// GitHub: give an open pull request its title and text anew, from the patch's message.
    #[arg(long)]
    describe: bool,
    /// GitHub: replace the branch at the fork although it is at this commit, which was not pushed from here.
    #[arg(long, value_name = "COMMIT")]
    replace: Option<String>,
    /// Write it as mails into this folder, too; it must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: &Args) -> Result<u8, CliError> {
    match &args.patch {
        Some(patch) => send(ui, from, args, patch),
        None => super::sent::run(ui, from, args.project.as_deref(), args.offline),
    }
}

fn send(ui: &Ui, from: &Path, args: &Args, patch: &str) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "upstream")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    if args.send {
        site.preflight()?;
    }
    let queue = site.queue()?;
    let forge = project.forge.as_ref();
    let sign_off = args.sign_off || forge.is_some_and(|f| f.sign_off);
    let wish = Wish { onto: args.onto.as_deref(), sign_off, force: args.force };
    let outgoing = make_ready(&site, &queue, patch, wish, ui)?;
    let series = match mails(&site, forge.map(|f| f.kind), args, &outgoing)? {
        Some(folder) => Some(write_mails(&site, &outgoing, &folder)?),
        None => None,
    };
    let targets: Vec<(String, bool)> = forge
        .map(|f| f.targets().into_iter().map(|t| (t.clone(), f.allows(&t))).collect())
        .unwrap_or_default();
    if !ui.json {
        show(ui, &outgoing, forge.map(|f| f.kind), &targets, series.as_ref());
    }
    let (mut url, mut new, mut commits) = (None, false, Vec::new());
    if args.send {
        let forge = allowed(&site, &outgoing)?;
        let manner =
            Manner { no_draft: args.no_draft, describe: args.describe, replace: args.replace.as_deref() };
        let (notes, was_new) = match (forge.kind, &series) {
            (ForgeKind::Github, _) => github(&site, &outgoing, manner, ui)?,
            (ForgeKind::Gerrit, _) => gerrit(&site, &outgoing, ui)?,
            (ForgeKind::Mail, Some(series)) => mail(&site, &outgoing, series, ui)?,
            (ForgeKind::Mail, None) => {
                return Err(SendError::NoForge { project: project.name.clone() }.into());
            }
        };
        new = was_new;
        url = notes.last().map(|n| n.url.clone());
        let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        commits = write_down(&site, &queue, &notes, &today)?;
    }
    if ui.json {
        let targets: Vec<_> =
            targets.iter().map(|(t, may)| serde_json::json!({ "address": t, "allowed": may })).collect();
        let document = serde_json::json!({
            "version": 1, "project": project.name, "outgoing": outgoing, "targets": targets,
            "mails": series.as_ref().map(|s| &s.files), "command": series.as_ref().map(|s| &s.command),
            "sent": args.send, "new": new, "url": url, "workspace_commits": commits,
        });
        ui.document(&document)?;
        return Ok(0);
    }
    match url {
        Some(url) => {
            let word = match forge.map(|f| f.kind) {
                Some(ForgeKind::Github) if new => "opened",
                Some(ForgeKind::Gerrit) if !new => "there already",
                Some(ForgeKind::Github) => "updated",
                _ => "sent",
            };
            ui.line(&format!("{word}  {}", clean(&url)));
            if !commits.is_empty() {
                ui.line("next  git push the workspace: the patch's header says now where it was sent");
            }
        }
        None => next(ui, &outgoing, &targets, series.as_ref()),
    }
    Ok(0)
}

/// The folder of the mails, if there are to be some: emptied, or refused if it is somebody's.
fn mails(
    site: &Site<'_>,
    kind: Option<ForgeKind>,
    args: &Args,
    outgoing: &Outgoing,
) -> Result<Option<PathBuf>, CliError> {
    if let Some(to) = &args.to {
        if std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            let what = format!("'{}' is not empty", to.display());
            return Err(CliError::Usage { what, hint: Some("name a new folder".into()) });
        }
        return Ok(Some(to.clone()));
    }
    if kind != Some(ForgeKind::Mail) {
        return Ok(None);
    }
    let folder = mail_folder(site, &outgoing.patch);
    match std::fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(CliError::io(&folder)(e)),
        _ => Ok(Some(folder)),
    }
}

fn show(
    ui: &Ui,
    outgoing: &Outgoing,
    kind: Option<ForgeKind>,
    targets: &[(String, bool)],
    series: Option<&Series>,
) {
    let many = count(outgoing.commits.len(), "commit", "commits");
    ui.line(&format!("{}  {many} on {}", painted(&clean(&outgoing.patch), BOLD), short(&outgoing.onto)));
    let mut table = bare_table();
    for commit in &outgoing.commits {
        table.add_row([painted(short(&commit.commit), DIM), clean(&commit.subject), clean(&commit.author)]);
    }
    ui.line(&table.to_string());
    for commit in &outgoing.commits {
        for line in &commit.taken_out {
            ui.line(&format!("  taken out of {}: {}", clean(&commit.patch), clean(line)));
        }
        for line in &commit.put_in {
            ui.line(&format!("  put into {}: {}", clean(&commit.patch), clean(line)));
        }
    }
    if !outgoing.landed.is_empty() {
        ui.line(&format!("  upstream has already: {}", clean(&outgoing.landed.join(", "))));
    }
    for line in outgoing.stat.lines() {
        ui.line(&clean(line));
    }
    for finding in &outgoing.findings {
        let word = if finding.stops { "stop" } else { "note" };
        ui.line(&format!("{word}  {}", clean(&finding.what)));
    }
    let by = kind.map_or("none: carry.toml has no [project.X.forge]", ForgeKind::word);
    ui.line(&format!("goes by  {by}"));
    for (address, may) in targets {
        let may = if *may { "allowed" } else { "not on the allow-list" };
        ui.line(&format!("goes to  {}  ({may})", clean(address)));
    }
    ui.line(&format!("branch  {}", clean(&outgoing.branch)));
    for file in series.iter().flat_map(|s| &s.files) {
        ui.line(&format!("mail  {}", file.display()));
    }
}

/// Nothing has left: what comes next.
fn next(ui: &Ui, outgoing: &Outgoing, targets: &[(String, bool)], series: Option<&Series>) {
    ui.line(&painted("nothing was sent", DIM));
    let refused: Vec<String> =
        targets.iter().filter(|(_, may)| !may).map(|(t, _)| format!("\"{}\"", clean(t))).collect();
    let patch = clean(&outgoing.patch);
    if let Some(stop) = outgoing.findings.iter().find(|f| f.stops) {
        ui.line(&format!("next  mend it: {}", clean(&stop.what)));
    } else if !refused.is_empty() {
        ui.line(&format!("next  add to 'allow' in carry.toml: {}", refused.join(", ")));
    } else if let Some(series) = series.filter(|_| targets.is_empty()) {
        ui.line(&format!("next  git {}", clean(&shell_line(&series.command))));
    } else if targets.is_empty() {
        ui.line(
            "next  say in [project.X.forge] of carry.toml where it goes; or --to FOLDER makes mails of it",
        );
    } else {
        ui.line(&format!("next  git carry upstream {patch} --send"));
        if let Some(series) = series {
            ui.line(&format!("  or  git {}", clean(&shell_line(&series.command))));
        }
    }
}

/// Words as a shell takes them.
fn shell_line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=@+:".contains(c);
    let quoted = |w: &String| match !w.is_empty() && w.chars().all(plain) {
        true => w.clone(),
        false => format!("'{}'", w.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// What to do when a patch cannot be made ready.
pub fn hint(e: &UpstreamError) -> Option<String> {
    Some(match e {
        UpstreamError::Never { .. } => {
            "--force sends it all the same; or change its header: git carry edit".into()
        }
        UpstreamError::Absent { patch } => format!("git carry why {patch}"),
        UpstreamError::Conflict { .. } => {
            "git carry nightly brings the queue to the trunk tip; or put it on the recorded base with --onto"
                .into()
        }
        UpstreamError::Nothing { patch, .. } => {
            format!("git carry show {patch}; the next night finds it landed")
        }
        _ => return None,
    })
}

/// What stands against sending, and what to do about it.
pub fn told(e: &SendError) -> (Vec<String>, Option<String>) {
    let hint = match e {
        SendError::NoForge { project } => {
            format!(
                "write [project.{project}.forge] with kind = \"github\", \"gerrit\" or \"mail\" into carry.toml"
            )
        }
        SendError::NotAllowed { addresses, .. } => {
            let all: Vec<String> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
            format!("if patches may go there, add to 'allow' in [project.X.forge]: {}", all.join(", "))
        }
        SendError::Stopped { what, .. } => return (what.clone(), Some("mend it, then send it".into())),
        SendError::Recipients => {
            "take them out of git's settings, or send the mails that were written by yourself".into()
        }
        SendError::Mail { .. } => {
            "is git send-email installed, and sendemail.smtpServer set? git help send-email".into()
        }
        SendError::Moved { found, .. } => {
            format!("look at what was pushed there; to replace it all the same: --replace {found}")
        }
        SendError::Push { .. } => "nothing was written down; mend it and send it again".into(),
        SendError::Forge(e) => return (Vec::new(), Some(forge_hint(e))),
        SendError::Night(_) => return (Vec::new(), None),
    };
    (Vec::new(), Some(hint))
}

/// What to do when a forge gives no answer.
pub fn forge_hint(e: &ForgeError) -> String {
    match e {
        ForgeError::NoToken { host } if host == "github.com" => {
            "set GH_TOKEN or GITHUB_TOKEN; or: gh auth login; or give git a credential helper that knows it"
                .into()
        }
        ForgeError::NoToken { host } => format!(
            "set GH_ENTERPRISE_TOKEN; or: gh auth login --hostname {host}; or give git a credential helper that knows it"
        ),
        ForgeError::Unset { variable } => format!("set {variable} where this runs"),
        ForgeError::NotAllowed { address } => format!("add it to 'allow' in carry.toml: \"{address}\""),
        ForgeError::Limited { .. } | ForgeError::Unreachable { .. } => "try again later".into(),
        ForgeError::Refused { status: 401 | 403 | 404, .. } => {
            "may the token do this? it needs to write pull requests of upstream's repository".into()
        }
        ForgeError::Refused { .. } | ForgeError::Answer { .. } => {
            "look at 'api', 'repository' and 'push' in [project.X.forge] of carry.toml".into()
        }
    }
}
