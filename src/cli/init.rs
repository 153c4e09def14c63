//! `git carry init`: a workspace, or one more project in it.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::Ui;
use crate::night::{FileChange, NightError, Site, write};
use crate::store::git::Git;
use crate::workspace::{
    CONFIG, Config, Guard, LOCK, Lock, Workspace, WorkspaceError, add_project, carry_toml,
};

/// Make a workspace here, or add a project to the one that is here.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's name.
    #[arg(long)]
    pub project: String,
    /// Where the trunk comes from: anything that git fetch takes.
    #[arg(long, value_name = "ADDRESS")]
    pub upstream: String,
    /// The branch to follow.
    #[arg(long)]
    pub branch: String,
    /// Where the deploy branch is pushed to; without one it stays in the project's store.
    #[arg(long, value_name = "ADDRESS")]
    pub remote: Option<String>,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let root = make(from, &args)?;
    if ui.json {
        ui.document(&serde_json::json!({ "version": 1, "workspace": root, "project": args.project }))?;
        return Ok(0);
    }
    let settings = root.join(CONFIG);
    ui.line(&format!(
        "Project '{}' follows {}. Its settings: {}",
        args.project,
        args.branch,
        settings.display()
    ));
    ui.line("Next: take its queue in, for instance");
    ui.line("  git carry import --fork ADDRESS --tip BRANCH");
    ui.line("  git carry import --patches FOLDER");
    Ok(0)
}

/// Makes the workspace or adds the project, and commits that. Returns the workspace's root.
pub fn make(from: &Path, args: &Args) -> Result<PathBuf, CliError> {
    let root = match Workspace::find(from) {
        Ok(workspace) => workspace.root,
        Err(WorkspaceError::NotFound { .. }) => from.to_owned(),
        Err(e) => return Err(NightError::from(e).into()),
    };
    let path = root.join(CONFIG);
    let (remote, text) = (args.remote.as_deref(), std::fs::read_to_string(&path));
    let text = match text {
        Ok(text) => add_project(&text, &args.project, &args.upstream, &args.branch, remote),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Ok(carry_toml(&args.project, &args.upstream, &args.branch, remote))
        }
        Err(e) => return Err(CliError::io(&path)(e)),
    };
    let wrong = |e| NightError::from(WorkspaceError::Config(e));
    let text = text.map_err(wrong)?;
    let config = Config::parse(CONFIG, &text).map_err(wrong)?;

    if Site::folder_of(&root).is_err() {
        Git::at(&root).call(["init", "-q"]).output().map_err(NightError::from)?;
    }
    let _guard = Guard::acquire(&Site::folder_of(&root)?, "init")?;
    let lock_text = std::fs::read_to_string(root.join(LOCK)).unwrap_or_default();
    let lock = Lock::parse(LOCK, &lock_text).map_err(|e| NightError::from(WorkspaceError::from(e)))?;
    let workspace = Workspace { root: root.clone(), config, lock };
    let project = workspace.project(Some(&args.project)).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    site.preflight()?;
    let files = [
        (CONFIG.to_owned(), text),
        (format!("{}/series", project.patches), String::new()),
        // A patch is bytes: no line end of it is git's to change.
        (
            format!("{}/.gitattributes", project.patches),
            "*.patch -text\n*.diff -text\nseries -text\n".to_owned(),
        ),
    ];
    let files = files.map(|(path, text)| FileChange { path, bytes: Some(text.into_bytes()) });
    let message = format!("carry: {}: follow {}\n", project.name, args.branch);
    write(&site, Vec::new(), &[(message, files.to_vec())])?;
    Ok(root)
}
