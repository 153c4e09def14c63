//! The second half of the demo: builds go from stage to stage, and a migration that old code cannot live with waits
//! for the last cell. Every command is the real one.

use std::ffi::OsString;
use std::path::Path;

use super::super::error::CliError;
use super::super::ui::{BOLD, Ui, painted};
use super::{configure, git, one_night};

/// What stands in carry.toml for it.
const STAGES: &str = r#"
[project.cirrus.risk]
rules = ["risk.toml"]

[[project.cirrus.stage]]
name = "test"
hold_on = "never"

[[project.cirrus.stage]]
name = "cell-1"
after = "test"
group = "region"

[[project.cirrus.stage]]
name = "cell-2"
after = "test"
group = "region"
"#;
/// Which paths are which service's, where the databases are, which versions meet.
const RULES: &[u8] = include_bytes!("../../../fixtures/cirrus-risk.toml");
/// The night after which the cells differ.
const NIGHT: usize = 7;
const WHAT: &str = "upstream gives consoles sessions in place of tokens, and drops the tokens' table";

/// Shows it, after the last of the other nights.
pub fn show(ui: &Ui, root: &Path, upstream: &Path) -> Result<(), CliError> {
    let edit = |text: &str| format!("{}\n{STAGES}", text.trim_end());
    configure(ui, root, "three stages, and rules for risk", &edit, Some(("risk.toml", RULES)))?;
    git(root, &["config", "user.name", "Kim Laurent"])?;
    git(root, &["config", "user.email", "kim@ops.example.com"])?;

    heading(ui, "by day", "Kim takes the build to a test stage and to both cells of a region");
    for stage in ["test", "cell-1", "cell-2"] {
        command(ui, root, &["stage", "promote", "latest", stage]);
    }
    one_night(ui, root, upstream, NIGHT, WHAT)?;
    heading(ui, "by day", "the first cell");
    command(ui, root, &["stage", "promote", "latest", "test"]);
    command(ui, root, &["stage", "promote", "latest", "cell-1"]);
    let word = "the table goes when both cells have moved";
    let by_word = ["--override", word, "--gate", "risk"];
    command(ui, root, &[&["stage", "promote", "latest", "cell-1"], &by_word[..]].concat());
    command(ui, root, &["manifest", "diff", "cell-2", "cell-1"]);
    command(ui, root, &["stage", "list"]);
    heading(ui, "by day", "the last cell");
    command(ui, root, &[&["stage", "promote", "latest", "cell-2"], &by_word[..]].concat());
    command(ui, root, &["stage", "list"]);
    Ok(())
}

pub fn heading(ui: &Ui, when: &str, what: &str) {
    ui.line(&format!("{} {what}\n", painted(&format!("── {when} ──"), BOLD)));
}

/// Runs a command as it is printed; what it ends with is part of the show.
pub fn command(ui: &Ui, root: &Path, args: &[&str]) {
    let quoted = |arg: &&str| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() };
    let shown: Vec<String> = args.iter().map(quoted).collect();
    ui.line(&painted(&format!("$ git carry {}", shown.join(" ")), BOLD));
    let fixed = [OsString::from("git-carry"), OsString::from("-C"), root.into()];
    let code = super::super::run(fixed.into_iter().chain(args.iter().map(OsString::from)));
    if code != 0 {
        ui.line(&format!("(exit code {code})"));
    }
    ui.line("");
}
