//! Daily work on the queue: `edit`, `refresh`, `add`, `drop`, `move`, `rename`.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::{BOLD, Ui, clean, count, painted};
use super::{guarded, report};
use crate::night::absorb::absorb;
use crate::night::edit::{self, Place, Source};
use crate::night::follow::{self, Wanted};
use crate::night::task::{Doing, begin_stack, open_task};
use crate::night::{Night, NightError, Site, resolve};

/// Edit a patch in a work tree of its own: the stack below it, and the patch as the last commit.
///
/// Without a patch it is the whole stack, and `git carry refresh` gives each change to the patch that owns the lines.
#[derive(Debug, clap::Args)]
pub struct EditArgs {
    /// The patch's name; without it, the whole stack.
    patch: Option<String>,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Take an edit in: what the work tree holds becomes the patch, and what stands above is replayed.
///
/// A commit amended in the work tree gives the patch its message, too. In a work tree of the whole stack each `fixup!`
/// commit goes to the patch that it names, and every other change to the last patch that touched its lines.
#[derive(Debug, clap::Args)]
pub struct RefreshArgs {
    /// The patch's name; without it the one whose work tree this is, or the only one that is open.
    patch: Option<String>,
    /// In a work tree of the whole stack: the patch that takes what no patch owns.
    #[arg(long, value_name = "PATCH")]
    into: Option<String>,
    /// End without a trace instead.
    #[arg(long)]
    abort: bool,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Add patches to the queue: a patch file, a commit or range of any repository, or a change that upstream has not merged.
///
/// A pull request or a change under review is carried at its newest revision: each night brings it up to date and shows
/// what is new in it, and when upstream merges it, it leaves the queue.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true),
    after_long_help = "Examples:\n  git carry add ~/fix.patch\n  git carry add --from ~/src/nova my-branch --after fix-quota\n  \
    git carry add --from https://github.com/openstack/nova 5f3a9c0… \n  git carry add main~3..main\n  \
    git carry add --pr 1234\n  git carry add --change I8473b95934b5732ac55d26311a706c9c2bde9940"
)]
pub struct AddArgs {
    /// A patch file; or a revision, or a range `A..B`.
    #[arg(group = "source")]
    what: Option<String>,
    /// The repository of the revision; without it the project's own store is asked.
    #[arg(long, value_name = "REPOSITORY", requires = "what")]
    from: Option<String>,
    /// The patch's name, where only one is added.
    #[arg(long, requires = "what")]
    name: Option<String>,
    /// A pull request of upstream's on GitHub.
    #[arg(long, value_name = "NUMBER", group = "source")]
    pr: Option<u64>,
    /// A change of upstream's on Gerrit: its Change-Id or its number.
    #[arg(long, value_name = "CHANGE", group = "source")]
    change: Option<String>,
    /// Take the newest revision although the patches of the change were changed here: that goes.
    #[arg(long, conflicts_with = "what")]
    replace: bool,
    #[command(flatten)]
    place: Placing,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Take a patch out of the queue.
#[derive(Debug, clap::Args)]
pub struct DropArgs {
    /// The patch's name.
    patch: String,
    /// Why; it stands in the workspace's commit.
    #[arg(short, long, default_value = "")]
    reason: String,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Move a patch to another place in the queue.
#[derive(Debug, clap::Args)]
pub struct MoveArgs {
    /// The patch's name.
    patch: String,
    #[command(flatten)]
    place: Placing,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Give a patch another name; what was recorded of it stays.
#[derive(Debug, clap::Args)]
pub struct RenameArgs {
    /// The patch's name.
    patch: String,
    /// Its new name.
    new: String,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

/// Where a patch is to stand.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Placing {
    /// Before this patch.
    #[arg(long, value_name = "PATCH")]
    before: Option<String>,
    /// After this patch.
    #[arg(long, value_name = "PATCH")]
    after: Option<String>,
    /// First of all.
    #[arg(long)]
    first: bool,
    /// Last of all.
    #[arg(long)]
    last: bool,
}

impl Placing {
    fn place(self) -> Option<Place> {
        let Self { before, after, first, last } = self;
        before
            .map(Place::Before)
            .or(after.map(Place::After))
            .or(first.then_some(Place::First))
            .or(last.then_some(Place::Last))
    }
}

/// Opens the project, does the work, and prints what came of it.
pub fn with(
    ui: &Ui,
    from: &Path,
    project: Option<&str>,
    what: &str,
    work: impl FnOnce(&Site<'_>) -> Result<(String, Night), CliError>,
) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, what)?;
    let project = workspace.project(project).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let (told, night) = work(&site)?;
    if !ui.json {
        ui.clear();
        if !told.is_empty() {
            ui.line(&format!("{told}\n"));
        }
    }
    report::print(ui, &night)?;
    if !ui.json && !night.workspace_commits.is_empty() {
        ui.line("git carry undo takes it back");
    }
    Ok(night.exit_code())
}

pub fn edit(ui: &Ui, from: &Path, args: EditArgs) -> Result<u8, CliError> {
    let (workspace, _guard) = guarded(ui, from, "edit")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let Some(patch) = args.patch else {
        let open = begin_stack(&site)?;
        let place = open.work.path().display().to_string();
        if ui.json {
            ui.document(&serde_json::json!({ "version": 1, "project": project.name, "work_tree": place }))?;
            return Ok(0);
        }
        ui.line(&format!("work tree  {place}  (the whole stack)"));
        ui.line("next  change files there, commit with --fixup if you like, then in that folder: git carry refresh");
        return Ok(0);
    };
    let (open, ground) = edit::start(&site, &patch)?;
    let place = open.work.path().display().to_string();
    let name = ground.planned.report.name;
    if ui.json {
        ui.document(
            &serde_json::json!({ "version": 1, "project": project.name, "patch": name, "work_tree": place }),
        )?;
        return Ok(0);
    }
    ui.line(&format!("{} is the last commit in its work tree", painted(&clean(&name), BOLD)));
    ui.line(&format!("\nwork tree  {place}"));
    ui.line("next  change files there, amend the commit if you like, then in that folder: git carry refresh");
    Ok(0)
}

pub fn refresh(ui: &Ui, from: &Path, args: RefreshArgs) -> Result<u8, CliError> {
    let patch = args.patch.as_deref();
    if args.abort {
        let (workspace, _guard) = guarded(ui, from, "refresh")?;
        let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
        let open = resolve::abort(&Site::open(&workspace, project)?, patch, from)?;
        ui.line(&format!(
            "{} is as it was, and its work tree is gone",
            painted(&clean(&open.task.patch), BOLD)
        ));
        return Ok(0);
    }
    if let Some(code) = refresh_stack(ui, from, &args)? {
        return Ok(code);
    }
    with(ui, from, args.project.as_deref(), "refresh", |site| {
        let (name, night) = edit::refresh(site, patch, from, ui)?;
        Ok((format!("{} is what its work tree held", painted(&clean(&name), BOLD)), night))
    })
}

/// The same for the whole stack; none if it is a patch that is edited.
fn refresh_stack(ui: &Ui, from: &Path, args: &RefreshArgs) -> Result<Option<u8>, CliError> {
    if args.patch.is_some() {
        return Ok(None);
    }
    let (workspace, _guard) = guarded(ui, from, "refresh")?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let open = open_task(&site, None, from)?;
    if open.task.doing != Doing::Stack {
        return Ok(None);
    }
    let absorbed = absorb(&site, &open, args.into.as_deref(), ui)?;
    let code = absorbed.night.as_ref().map_or(1, Night::exit_code);
    let code = if absorbed.left.is_empty() { code } else { code.max(3) };
    if ui.json {
        let took: Vec<_> =
            absorbed.took.iter().map(|(n, h)| serde_json::json!({ "patch": n, "changes": h })).collect();
        ui.document(
            &serde_json::json!({ "version": 1, "project": project.name, "took": took, "left": absorbed.left,
            "night": absorbed.night }),
        )?;
        return Ok(Some(code));
    }
    ui.clear();
    for (name, hunks) in &absorbed.took {
        ui.line(&format!("{} took {}", painted(&clean(name), BOLD), count(*hunks, "change", "changes")));
    }
    for left in &absorbed.left {
        ui.line(&format!("left  {}", clean(left)));
    }
    match &absorbed.night {
        Some(night) => {
            ui.line("");
            report::print(ui, night)?;
            if !absorbed.left.is_empty() {
                let place = open.work.path().display();
                ui.line(&format!(
                    "\nwhat is left stands in {place}; git carry refresh --abort throws it away"
                ));
            }
        }
        None if absorbed.left.is_empty() => ui.line("nothing was changed there"),
        None => ui.line("no patch took anything; nothing was changed"),
    }
    Ok(Some(code))
}

pub fn add(ui: &Ui, from: &Path, args: AddArgs) -> Result<u8, CliError> {
    let place = args.place.place().unwrap_or(Place::Last);
    let wanted = args.pr.map(Wanted::PullRequest).or(args.change.map(Wanted::Change));
    if let Some(wanted) = wanted {
        return with(ui, from, args.project.as_deref(), "add", |site| {
            let (followed, mut night) = follow::pull_in(site, &wanted, &place, args.replace, ui)?;
            night.followed.push(followed);
            Ok((String::new(), night))
        });
    }
    let what = args.what.unwrap_or_default();
    let path = if Path::new(&what).is_absolute() { PathBuf::from(&what) } else { from.join(&what) };
    let source = if args.from.is_none() && path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Source::File { name, bytes: std::fs::read(&path).map_err(CliError::io(&path))? }
    } else {
        // A path of a repository is the user's, from where the user stands.
        let repository = args.from.map(|address| {
            let local = from.join(&address);
            if local.is_dir() { local.to_string_lossy().into_owned() } else { address }
        });
        Source::Commits { repository, revision: what }
    };
    with(ui, from, args.project.as_deref(), "add", |site| {
        let (names, night) = edit::add(site, source, &place, args.name.as_deref(), ui)?;
        Ok((format!("added {}", painted(&clean(&names.join(", ")), BOLD)), night))
    })
}

pub fn drop(ui: &Ui, from: &Path, args: DropArgs) -> Result<u8, CliError> {
    with(ui, from, args.project.as_deref(), "drop", |site| {
        let night = edit::drop(site, &args.patch, &args.reason, ui)?;
        Ok((format!("{} is out of the queue", painted(&clean(&args.patch), BOLD)), night))
    })
}

pub fn relocate(ui: &Ui, from: &Path, args: MoveArgs) -> Result<u8, CliError> {
    let Some(place) = args.place.place() else {
        let hint = Some("--before PATCH, --after PATCH, --first or --last".into());
        return Err(CliError::Usage { what: "say where it is to stand".into(), hint });
    };
    with(ui, from, args.project.as_deref(), "move", |site| {
        let night = edit::relocate(site, &args.patch, &place, ui)?;
        Ok((format!("{} is moved", painted(&clean(&args.patch), BOLD)), night))
    })
}

pub fn rename(ui: &Ui, from: &Path, args: RenameArgs) -> Result<u8, CliError> {
    with(ui, from, args.project.as_deref(), "rename", |site| {
        let night = edit::rename(site, &args.patch, &args.new, ui)?;
        Ok((format!("{} is called {} now", clean(&args.patch), painted(&clean(&args.new), BOLD)), night))
    })
}
