//! `git carry demo`: a few nights of an example, with the real code.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, painted};
use super::{guarded, init, report, status};
use crate::night::{self, NightError, Options, Site, TakenFrom, take_in};
use crate::queue::import::Import;
use crate::store::git::Git;

/// Show several nights of an example project in a fresh folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; it must be new or empty. Without it, a new one among the temporary files.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The example upstream's history: a stream for `git fast-import`, with a tag at each night's trunk tip.
const UPSTREAM: &[u8] = include_bytes!("../../fixtures/cirrus.fi");
const SERIES: &[u8] = include_bytes!("../../patches/cirrus/series");
/// The example queue.
const PATCHES: &[(&str, &[u8])] = &[
    (
        "Start-of-the-cirrus-carry-queue.patch",
        include_bytes!("../../patches/cirrus/Start-of-the-cirrus-carry-queue.patch"),
    ),
    (
        "UPSTREAM-carry-name-the-operators-runbook.patch",
        include_bytes!("../../patches/cirrus/UPSTREAM-carry-name-the-operators-runbook.patch"),
    ),
    (
        "api-cap-the-page-size-of-server-listings.patch",
        include_bytes!("../../patches/cirrus/api-cap-the-page-size-of-server-listings.patch"),
    ),
    (
        "api-keep-v1-for-the-billing-system.patch",
        include_bytes!("../../patches/cirrus/api-keep-v1-for-the-billing-system.patch"),
    ),
    (
        "compute-ask-again-for-a-lost-port.patch",
        include_bytes!("../../patches/cirrus/compute-ask-again-for-a-lost-port.patch"),
    ),
    (
        "compute-console-tokens-do-not-outlive-the-limit.patch",
        include_bytes!("../../patches/cirrus/compute-console-tokens-do-not-outlive-the-limit.patch"),
    ),
    (
        "conf-add-the-age-of-quota-counts.patch",
        include_bytes!("../../patches/cirrus/conf-add-the-age-of-quota-counts.patch"),
    ),
    (
        "db-remember-the-cell-that-a-server-should-go-to.patch",
        include_bytes!("../../patches/cirrus/db-remember-the-cell-that-a-server-should-go-to.patch"),
    ),
    (
        "doc-our-logo-on-the-front-page.patch",
        include_bytes!("../../patches/cirrus/doc-our-logo-on-the-front-page.patch"),
    ),
    (
        "quota-fix-the-race-of-two-requests.patch",
        include_bytes!("../../patches/cirrus/quota-fix-the-race-of-two-requests.patch"),
    ),
    ("rpc-add-rescue-as-2.4.patch", include_bytes!("../../patches/cirrus/rpc-add-rescue-as-2.4.patch")),
    (
        "scheduler-do-not-favour-diskless-hosts.patch",
        include_bytes!("../../patches/cirrus/scheduler-do-not-favour-diskless-hosts.patch"),
    ),
    (
        "scheduler-hosts-with-the-vendor-s-card.patch",
        include_bytes!("../../patches/cirrus/scheduler-hosts-with-the-vendor-s-card.patch"),
    ),
    (
        "scheduler-make-the-disk-weight-configurable.patch",
        include_bytes!("../../patches/cirrus/scheduler-make-the-disk-weight-configurable.patch"),
    ),
    (
        "scheduler-weigh-hosts-by-free-disk.patch",
        include_bytes!("../../patches/cirrus/scheduler-weigh-hosts-by-free-disk.patch"),
    ),
    (
        "tools-drain-a-cell-before-its-upgrade.patch",
        include_bytes!("../../patches/cirrus/tools-drain-a-cell-before-its-upgrade.patch"),
    ),
    (
        "utils-bear-a-dot-at-the-end-of-a-host-name.patch",
        include_bytes!("../../patches/cirrus/utils-bear-a-dot-at-the-end-of-a-host-name.patch"),
    ),
];

/// What upstream did before each night.
const NIGHTS: [&str; 6] = [
    "the queue is new; upstream has not moved",
    "upstream takes our page size patch in a revised form, and words its RPC module anew",
    "upstream rewrites the weighers, and removes v1 of the API",
    "upstream puts v1 back, fixes the quota race as we did, and adds an option",
    "upstream merges the fix that we had backported, tidies the agent, and moves a file",
    "upstream did nothing",
];

pub fn run(ui: &Ui, args: Args) -> Result<u8, CliError> {
    let dir = folder(args.dir)?;
    let make = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(&path).map_err(CliError::io(&path)).map(|()| path)
    };
    let (upstream, deploy, workspace) = (make("upstream.git")?, make("deploy.git")?, make("workspace")?);
    for path in [&upstream, &deploy] {
        git(path, &["init", "-q", "--bare", "--initial-branch=main", "."])?;
    }
    let import = Git::bare(&upstream).call(["fast-import", "--quiet", "--force"]).stdin(UPSTREAM);
    import.output().map_err(NightError::from)?;

    ui.line(&painted("git carry demo: six nights of a small cloud's patch queue", BOLD));
    ui.line(&format!("{}\n", painted(&format!("in {}", dir.display()), DIM)));
    trunk_at(&upstream, 0)?;
    let settings = init::Args {
        project: "cirrus".into(),
        upstream: "../upstream.git".into(),
        branch: "main".into(),
        remote: Some("../deploy.git".into()),
    };
    init::make(&workspace, &settings)?;
    take_in_queue(ui, &workspace)?;
    for (n, what) in NIGHTS.iter().enumerate() {
        trunk_at(&upstream, n)?;
        ui.line(&format!("{} {what}\n", painted(&format!("── night {n} ──"), BOLD)));
        let (workspace, _guard) = guarded(ui, &workspace, "demo")?;
        let project = workspace.project(None).map_err(NightError::from)?;
        let night = night::run(&workspace, project, &Options::default(), ui)?;
        report::print(ui, &night)?;
        ui.line("");
    }
    ui.line(&painted("── what is carried now ──", BOLD));
    status::run(ui, &workspace, status::Args { project: None })?;
    ui.line("\nLook around:");
    let at = workspace.display();
    for command in ["why scheduler-weigh-hosts-by-free-disk", "graph", "manifest verify", "nightly"] {
        ui.line(&format!("  git-carry -C {at} {command}"));
    }
    ui.line(&format!("  git -C {at} log --stat"));
    Ok(0)
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
