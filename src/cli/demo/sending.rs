//! The last part of the demo: what to send upstream first, one patch sent for review, and the night after upstream took
//! it. The review server is the git side of one: a branch under `refs/for/` of the example upstream.

use std::path::Path;

use super::super::error::CliError;
use super::super::ui::Ui;
use super::stages::{command, heading};
use super::{configure, git, replay};
use crate::night::NightError;
use crate::store::git::Git;

/// What stands in carry.toml for it. Nothing listens at the address: the interface tells what became of a change, and
/// the demo has only the repository.
const FORGE: &str = r#"
[project.cirrus.forge]
kind = "gerrit"
api = "http://127.0.0.1:9"
repository = "cirrus"
push = "../upstream.git"
allow = ["../upstream.git"]
"#;
/// The patch that is sent.
const SENT: &str = "utils-bear-a-dot-at-the-end-of-a-host-name";

/// Shows it, after all else.
pub fn show(ui: &Ui, root: &Path, upstream: &Path) -> Result<(), CliError> {
    heading(ui, "by day", "Sam looks at what to send upstream first");
    command(ui, root, &["candidates"]);
    command(ui, root, &["candidates", "--explain", SENT]);
    let edit = |text: &str| format!("{}\n{FORGE}", text.trim_end());
    configure(ui, root, "where patches are reviewed", &edit, None)?;
    heading(ui, "by day", "one of them goes out for review: first to look at, then in earnest");
    command(ui, root, &["upstream", SENT]);
    command(ui, root, &["upstream", SENT, "--send"]);

    // A reviewer takes it, as it is: a server would do the same with a button.
    let asked = Git::bare(upstream).call(["for-each-ref", "--format=%(objectname)", "refs/for/"]);
    let change = asked.line().map_err(NightError::from)?;
    git(upstream, &["update-ref", "refs/heads/main", &change])?;
    heading(ui, "night 8", "upstream takes the change, and it leaves the queue");
    replay(ui, root)?;
    command(ui, root, &["landed"]);
    Ok(())
}
