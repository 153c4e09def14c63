//! `git carry demo`: a few nights of an example, with the real code.

mod sending;
mod stages;

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, painted};
use super::{guarded, init, report, status};
use crate::night::resolve::{proceed, start};
use crate::night::{self, FileChange, NightError, Options, Site, TakenFrom, take_in, write};
use crate::queue::import::Import;
use crate::report::words::quoted;
use crate::store::git::Git;
use crate::workspace::{CONFIG, Workspace};

/// Show several nights of an example project in a fresh folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; it must be new or empty. Without it, a new one among the temporary files.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The example upstream's history: a stream for `git fast-import`, with a tag at each night's trunk tip.
const UPSTREAM: &[u8] = include_bytes!("../../../fixtures/cirrus.fi");
const SERIES: &[u8] = include_bytes!("../../../patches/cirrus/series");
/// The example queue.
const PATCHES: &[(&str, &[u8])] = &[
    (
        "Start-of-the-cirrus-carry-queue.patch",
        include_bytes!("../../../patches/cirrus/Start-of-the-cirrus-carry-queue.patch"),
    ),
    (
        "UPSTREAM-carry-name-the-operators-runbook.patch",
        include_bytes!("../../../patches/cirrus/UPSTREAM-carry-name-the-operators-runbook.patch"),
    ),
    (
        "api-cap-the-page-size-of-server-listings.patch",
        include_bytes!("../../../patches/cirrus/api-cap-the-page-size-of-server-listings.patch"),
    ),
    (
        "api-keep-v1-for-the-billing-system.patch",
        include_bytes!("../../../patches/cirrus/api-keep-v1-for-the-billing-system.patch"),
    ),
    (
        "compute-ask-again-for-a-lost-port.patch",
        include_bytes!("../../../patches/cirrus/compute-ask-again-for-a-lost-port.patch"),
    ),
    (
        "compute-console-tokens-do-not-outlive-the-limit.patch",
        include_bytes!("../../../patches/cirrus/compute-console-tokens-do-not-outlive-the-limit.patch"),
    ),
    (
        "conf-add-the-age-of-quota-counts.patch",
        include_bytes!("../../../patches/cirrus/conf-add-the-age-of-quota-counts.patch"),
    ),
    (
        "db-remember-the-cell-that-a-server-should-go-to.patch",
        include_bytes!("../../../patches/cirrus/db-remember-the-cell-that-a-server-should-go-to.patch"),
    ),
    (
        "doc-our-logo-on-the-front-page.patch",
        include_bytes!("../../../patches/cirrus/doc-our-logo-on-the-front-page.patch"),
    ),
    (
        "quota-fix-the-race-of-two-requests.patch",
        include_bytes!("../../../patches/cirrus/quota-fix-the-race-of-two-requests.patch"),
    ),
    ("rpc-add-rescue-as-2.4.patch", include_bytes!("../../../patches/cirrus/rpc-add-rescue-as-2.4.patch")),
    (
        "scheduler-do-not-favour-diskless-hosts.patch",
        include_bytes!("../../../patches/cirrus/scheduler-do-not-favour-diskless-hosts.patch"),
    ),
    (
        "scheduler-hosts-with-the-vendor-s-card.patch",
        include_bytes!("../../../patches/cirrus/scheduler-hosts-with-the-vendor-s-card.patch"),
    ),
    (
        "scheduler-make-the-disk-weight-configurable.patch",
        include_bytes!("../../../patches/cirrus/scheduler-make-the-disk-weight-configurable.patch"),
    ),
    (
        "scheduler-weigh-hosts-by-free-disk.patch",
        include_bytes!("../../../patches/cirrus/scheduler-weigh-hosts-by-free-disk.patch"),
    ),
    (
        "tools-drain-a-cell-before-its-upgrade.patch",
        include_bytes!("../../../patches/cirrus/tools-drain-a-cell-before-its-upgrade.patch"),
    ),
    (
        "utils-bear-a-dot-at-the-end-of-a-host-name.patch",
        include_bytes!("../../../patches/cirrus/utils-bear-a-dot-at-the-end-of-a-host-name.patch"),
    ),
];

/// What upstream did before each night.
const NIGHTS: [&str; 7] = [
    "the queue is new; upstream has not moved",
    "upstream takes our page size patch in a revised form, and words its RPC module anew",
    "upstream rewrites the weighers, and removes v1 of the API; an option is proposed there",
    "upstream puts v1 back, fixes the quota race as we did, and takes the option",
    "upstream merges the fix that we had backported, tidies the agent, and moves a file",
    "upstream has our drain script in a version of its own, and opens the 15 series",
    "upstream did nothing",
];

/// The night on which upstream work is proposed that will break a patch; the next one takes it in.
const PROPOSED: usize = 2;
/// The patch that it breaks, the file, and the lines that the answer has in place of the conflict.
const BREAKS: &str = "conf-add-the-age-of-quota-counts";
const FILE: &str = "cirrus/conf/options.py";
const ANSWER: [&str; 2] = [
    r#"    Option("servers", default=10, help="How many servers a project may have."),"#,
    r#"    Option("cache_seconds", default=30, help="How long a count may be old."),"#,
];

pub fn run(ui: &Ui, args: Args) -> Result<u8, CliError> {
    let dir = folder(args.dir)?;
    let make = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(&path).map_err(CliError::io(&path)).map(|()| path)
    };
    let (upstream, deploy, workspace) = (make("upstream.git")?, make("deploy.git")?, make("workspace")?);
    for path in [&upstream, &deploy] {
        git(path, &["init", "-q", "--bare", "--object-format=sha1", "--initial-branch=main", "."])?;
    }
    let import = Git::bare(&upstream).call(["fast-import", "--quiet", "--force"]).stdin(UPSTREAM);
    import.output().map_err(NightError::from)?;

    ui.line(&painted("git carry demo: nine nights of a small cloud's patch queue", BOLD));
    ui.line(&format!("{}\n", painted(&format!("in {}", dir.display()), DIM)));
    trunk_at(&upstream, 0)?;
    let settings = init::Follow {
        project: "cirrus",
        upstream: "../upstream.git",
        branch: "main",
        remote: Some("../deploy.git"),
    };
    init::make(&workspace, &settings)?;
    look_ahead_to(ui, &workspace, "proposed/*")?;
    take_in_queue(ui, &workspace)?;
    for (n, what) in NIGHTS.iter().enumerate() {
        one_night(ui, &workspace, &upstream, n, what)?;
        if n == PROPOSED {
            resolve_ahead(ui, &Workspace::load(&workspace).map_err(NightError::from)?)?;
        }
    }
    stages::show(ui, &workspace, &upstream)?;
    sending::show(ui, &workspace, &upstream)?;
    ui.line(&painted("── what is carried now ──", BOLD));
    status::run(ui, &workspace, status::Args { project: None })?;
    ui.line("\nLook around:");
    let at = quoted(&workspace.to_string_lossy());
    for command in [
        "why scheduler-weigh-hosts-by-free-disk",
        "why tools-drain-a-cell-before-its-upgrade",
        "resolve api-keep-v1-for-the-billing-system",
        "graph",
        "log",
        "manifest verify",
        "stage log cell-1",
        "report --to report.html",
        "report upstreaming",
        "nightly",
    ] {
        ui.line(&format!("  git-carry -C {at} {command}"));
    }
    ui.line(&format!("  git -C {at} log --stat"));
    Ok(0)
}

/// A night, as `git carry nightly` runs it.
fn one_night(ui: &Ui, root: &Path, upstream: &Path, n: usize, what: &str) -> Result<(), CliError> {
    trunk_at(upstream, n)?;
    ui.line(&format!("{} {what}\n", painted(&format!("── night {n} ──"), BOLD)));
    replay(ui, root)
}

/// The run of a night.
fn replay(ui: &Ui, root: &Path) -> Result<(), CliError> {
    let (workspace, _guard) = guarded(ui, root, "demo")?;
    let project = workspace.project(None).map_err(NightError::from)?;
    let mut night = night::run(&workspace, project, &Options::default(), ui)?;
    let workspace = Workspace::load(root).map_err(NightError::from)?;
    let project = workspace.project(None).map_err(NightError::from)?;
    night::note_forecast(&workspace, project, &mut night, false, ui)?;
    report::print(ui, &night)?;
    ui.line("");
    Ok(())
}

/// Names the upstream work that the nights look ahead to.
fn look_ahead_to(ui: &Ui, root: &Path, refs: &str) -> Result<(), CliError> {
    let edit = |text: &str| text.replace("#forecast = []", &format!("forecast = [{refs:?}]"));
    configure(ui, root, &format!("look ahead to {refs}"), &edit, None)
}

/// Edits carry.toml as a person would, and adds a file beside it.
fn configure(
    ui: &Ui,
    root: &Path,
    why: &str,
    edit: &dyn Fn(&str) -> String,
    beside: Option<(&str, &[u8])>,
) -> Result<(), CliError> {
    let (workspace, _guard) = guarded(ui, root, "demo")?;
    let site = Site::open(&workspace, workspace.project(None).map_err(NightError::from)?)?;
    let path = root.join(CONFIG);
    let text = std::fs::read_to_string(&path).map_err(CliError::io(&path))?;
    let mut files = vec![FileChange { path: CONFIG.into(), bytes: Some(edit(&text).into_bytes()) }];
    files.extend(beside.map(|(name, bytes)| FileChange { path: name.into(), bytes: Some(bytes.to_vec()) }));
    write(&site, Vec::new(), &[(format!("carry: {why}\n"), files)])?;
    Ok(())
}

/// As someone would who resolves the conflict with proposed work before trunk takes it in.
fn resolve_ahead(ui: &Ui, workspace: &Workspace) -> Result<(), CliError> {
    ui.line(&format!("{} Sam resolves that before trunk takes it in\n", painted("── by day ──", BOLD)));
    let site = Site::open(workspace, workspace.project(None).map_err(NightError::from)?)?;
    let ahead = site.store.references(&["refs/carry/ahead/"]).map_err(NightError::from)?;
    let Some((_, commit)) = ahead.first() else { return Ok(()) };
    let begun = start(&site, BREAKS, Some(&commit.to_string()), ui)?;
    let path = begun.open.work.path().join(FILE);
    let marked = std::fs::read_to_string(&path).map_err(CliError::io(&path))?;
    let (before, rest) = marked.split_once("<<<<<<<").unwrap_or((&marked, ""));
    let after = rest.split_once(">>>>>>>").and_then(|(_, tail)| tail.split_once('\n')).map_or("", |(_, t)| t);
    let answer = format!("{before}{}\n{after}", ANSWER.join("\n"));
    std::fs::write(&path, answer).map_err(CliError::io(&path))?;
    let by = "Sam Petrov <sam@ops.example.com>".to_owned();
    let done = proceed(&site, Some(BREAKS), &workspace.root, (by, "2026-09-24T15:00:00Z".into()), ui)?;
    if let Some(resolution) = &done.resolution {
        ui.line(&format!("git carry resolve {BREAKS} --onto {}", &commit.to_string()[..12]));
        ui.line(&format!("  the answer is recorded as {} in {}\n", resolution.id(), "resolutions/cirrus"));
    }
    Ok(())
}

fn folder(dir: Option<PathBuf>) -> Result<PathBuf, CliError> {
    let Some(dir) = dir else {
        let made = tempfile::Builder::new().prefix("git-carry-demo-").tempdir();
        return Ok(made.map_err(CliError::io(&std::env::temp_dir()))?.keep());
    };
    if std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let what = format!("'{}' is not empty", dir.display());
        return Err(CliError::Usage { what, hint: Some("name a new folder, or none".into()) });
    }
    std::fs::create_dir_all(&dir).map_err(CliError::io(&dir))?;
    dir.canonicalize().map_err(CliError::io(&dir))
}

fn git(at: &Path, args: &[&str]) -> Result<(), CliError> {
    Git::at(at).call(args).output().map_err(NightError::from)?;
    Ok(())
}

/// Moves the example upstream's trunk to a night's tip.
fn trunk_at(upstream: &Path, night: usize) -> Result<(), CliError> {
    let proposed = "refs/heads/proposed/shuffle-hosts";
    match night {
        PROPOSED => {
            let next = format!("refs/tags/night-{}^{{commit}}", night + 1);
            git(upstream, &["update-ref", proposed, &next])?;
        }
        _ => git(upstream, &["update-ref", "-d", proposed])?,
    }
    git(upstream, &["update-ref", "refs/heads/main", &format!("refs/tags/night-{night}^{{commit}}")])
}

fn take_in_queue(ui: &Ui, root: &Path) -> Result<(), CliError> {
    let (workspace, _guard) = guarded(ui, root, "demo")?;
    let project = workspace.project(None).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let files = PATCHES.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    let import = Import { series: SERIES.to_vec(), files, notes: Vec::new() };
    take_in(&site, TakenFrom::Files { import, base: None }, false, ui)?;
    Ok(())
}
