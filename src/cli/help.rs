//! The command line as people are told of it: examples for `--help`, manual pages, and completions that know the
//! workspace's patches, builds, stages and projects.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, ValueHint};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{EnvCompleter, Shells};

use super::Cli;
use super::error::CliError;
use super::ui::Ui;
use crate::night::{Site, manifest_ref};
use crate::queue::Patch;
use crate::workspace::{LATEST, Workspace};

/// The variable by which a shell asks for completions.
pub const COMPLETE: &str = "COMPLETE";
/// The program's name.
const NAME: &str = "git-carry";

/// Each command with examples: what it is for, and how it is written.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "init",
        &[(
            "a workspace that follows nova and pushes its builds",
            "git carry init --project nova --upstream https://opendev.org/openstack/nova --branch master --remote git@git.example.org:nova.git",
        )],
    ),
    (
        "import",
        &[
            (
                "a fork's branch, whose queue stands on a commit of upstream's",
                "git carry import --fork ../fork --tip refs/heads/ours --base v2.49.0",
            ),
            ("a job that runs the nights", "git carry init --schedule systemd"),
            ("one that spreads them over an array of Slurm", "git carry init --fleet --schedule slurm"),
            (
                "a Debian package's patches",
                "git carry import --patches ../glibc/debian/patches --base upstream/2.36",
            ),
        ],
    ),
    (
        "export",
        &[
            ("the queue as quilt reads it", "git carry export ../patches"),
            ("one patch with all that it needs", "git carry export --closure fix-quota-race ../to-send"),
        ],
    ),
    (
        "status",
        &[
            ("every patch, without the network", "git carry status"),
            ("for a program", "git carry status --json"),
        ],
    ),
    ("show", &[("one patch, with what happened to it", "git carry show fix-quota-race")]),
    (
        "rebase",
        &[
            ("what would come of the newest trunk", "git carry rebase --dry-run"),
            ("onto a release", "git carry rebase --onto v2.50.0"),
        ],
    ),
    (
        "nightly",
        &[
            ("what cron runs", "git carry nightly --quiet"),
            ("all projects, four at a time", "git carry nightly --all --jobs 4"),
            ("with the manifest for the pipeline", "git carry nightly --manifest build.json"),
        ],
    ),
    (
        "fleet",
        &[
            ("what is due, for a matrix of GitHub Actions", "git carry fleet plan --format github-matrix"),
            ("one of twelve workers", "git carry fleet run --shard 3/12"),
            ("all that is due and that no other worker is at", "git carry fleet run"),
            (
                "what came of it, brought back to the workspace",
                "git carry fleet report --record --to night.html",
            ),
        ],
    ),
    (
        "manifest",
        &[
            ("is the last build what it says?", "git carry manifest verify"),
            ("what differs between two cells", "git carry manifest diff cell-2 cell-1"),
            ("for a scanner", "git carry manifest export --format cyclonedx bom.json"),
        ],
    ),
    ("build", &[("the last build's tarball and bundle", "git carry build --to ../artifacts")]),
    ("check", &[("the last build's checks, two at a time", "git carry check --jobs 2")]),
    (
        "graph",
        &[
            ("all that a patch needs, and all that need it", "git carry graph fix-quota-race"),
            ("a picture", "git carry graph --format svg"),
        ],
    ),
    ("why", &[("why is it not in the build?", "git carry why fix-quota-race")]),
    (
        "candidates",
        &[
            ("what to send upstream first", "git carry candidates"),
            ("where a patch's points come from", "git carry candidates --explain fix-quota-race"),
        ],
    ),
    ("forecast", &[("what the open pull requests will break", "git carry forecast 'refs/pull/*/head'")]),
    (
        "risk",
        &[
            ("from the build before to the last", "git carry risk"),
            ("from what a cell runs to the newest trunk", "git carry risk cell-1 main"),
            ("of any repository", "git carry risk --repository ../nova 31.0.0 HEAD"),
        ],
    ),
    (
        "stage",
        &[
            ("what runs where", "git carry stage list"),
            ("may the last build come to production? (exit code 4: no)", "git carry stage check latest prod"),
            ("bring it there", "git carry stage promote latest prod --reason 'fixes the quota race'"),
        ],
    ),
    (
        "upstream",
        &[
            ("what would leave, and where to", "git carry upstream fix-quota-race"),
            ("send it", "git carry upstream fix-quota-race --send"),
            ("as mails in a folder", "git carry upstream fix-quota-race --to ../mails"),
            ("what became of all that was sent", "git carry upstream --status"),
        ],
    ),
    (
        "bisect",
        &[("what broke the tests between two builds", "git carry bisect preprod latest --run make test")],
    ),
    (
        "resolve",
        &[
            ("a work tree with the conflict in it", "git carry resolve fix-quota-race"),
            ("once it is mended, in that work tree", "git carry resolve --continue"),
        ],
    ),
    ("resolutions", &[("the answers that are recorded", "git carry resolutions")]),
    ("edit", &[("a work tree with the patch as its last commit", "git carry edit fix-quota-race")]),
    ("refresh", &[("take the edit in", "git carry refresh")]),
    (
        "add",
        &[
            ("a patch file", "git carry add ../0001-quota-fix-the-race.patch"),
            ("the last commit of a work tree", "git carry add HEAD --last"),
        ],
    ),
    ("drop", &[("it is not needed any more", "git carry drop fix-quota-race")]),
    ("move", &[("before another", "git carry move fix-quota-race --before add-quota-metrics")]),
    ("rename", &[("a better name", "git carry rename fix-quota-race quota-count-once")]),
    ("hold", &[("leave it out for now", "git carry hold fix-quota-race --reason 'waits for the driver'")]),
    ("unhold", &[("take it up again", "git carry unhold fix-quota-race")]),
    (
        "landed",
        &[
            ("what upstream may have, and what left the queue for it", "git carry landed"),
            ("a proposal beside the patch", "git carry landed show fix-quota-race"),
            ("upstream has it: it leaves the queue", "git carry landed confirm fix-quota-race"),
            ("it has not, and this commit is not proposed again", "git carry landed reject fix-quota-race"),
            ("upstream took it back: it is carried again", "git carry landed restore fix-quota-race"),
        ],
    ),
    (
        "prune",
        &[
            ("what would go?", "git carry prune --dry-run"),
            ("free the room at once", "git carry prune --now"),
        ],
    ),
    (
        "pause",
        &[("no nights during a freeze", "git carry pause nova --reason 'release freeze until Monday'")],
    ),
    ("resume", &[("go on", "git carry resume nova")]),
    (
        "report",
        &[
            ("what wants me this morning?", "git carry report"),
            ("a page for everyone, for the browser", "git carry report --to report.html"),
            ("what a week brought, for a chat", "git carry report --format md --since 7d"),
            ("what to send upstream, and what waits there", "git carry report upstreaming --format md"),
        ],
    ),
    ("log", &[("what was done to the queue", "git carry log")]),
    ("undo", &[("take the last change back", "git carry undo")]),
    (
        "notify",
        &[
            ("who would be told what", "git carry notify --dry-run"),
            ("does everyone hear it?", "git carry notify --test"),
            ("tell those who could not be told in the night", "git carry notify"),
        ],
    ),
    (
        "doctor",
        &[
            ("is all in place for tonight?", "git carry doctor"),
            ("without the network", "git carry doctor --offline"),
        ],
    ),
    ("demo", &[("look at an example", "git carry demo")]),
    (
        "man",
        &[
            ("one, as man reads it", "git carry man nightly"),
            ("install them all", "git carry man --to ~/.local/share/man/man1"),
        ],
    ),
    (
        "completions",
        &[("for bash", "git carry completions bash"), ("for fish", "git carry completions fish")],
    ),
];

/// The command line with its examples, and with completions where a name of the workspace is asked for.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    for (name, examples) in EXAMPLES {
        let lines: Vec<String> =
            examples.iter().map(|(what, line)| format!("  {what}:\n    {line}")).collect();
        let text = format!("Examples:\n{}", lines.join("\n"));
        command = command.mut_subcommand(name, |sub| sub.after_long_help(text));
    }
    with_candidates(command)
}

fn with_candidates(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "patch" | "before" | "after" | "closure" => arg.add(ArgValueCandidates::new(patches)),
        "project" => arg.add(ArgValueCandidates::new(projects)),
        "build" | "manifest" | "from" | "good" | "bad" => arg.add(ArgValueCandidates::new(builds)),
        "stage" => arg.add(ArgValueCandidates::new(stages)),
        "directory" => arg.value_hint(ValueHint::DirPath),
        _ => arg,
    });
    command.mut_subcommands(with_candidates)
}

/// The workspace that the shell stands in; nothing is said where there is none.
fn workspace() -> Option<Workspace> {
    Workspace::find(&std::env::current_dir().ok()?).ok()
}

fn projects() -> Vec<CompletionCandidate> {
    let names = workspace().into_iter().flat_map(|w| w.config.projects.into_keys());
    names.map(CompletionCandidate::new).collect()
}

fn patches() -> Vec<CompletionCandidate> {
    let Some(workspace) = workspace() else { return Vec::new() };
    let mut all = Vec::new();
    for project in workspace.config.projects.values() {
        let Ok(queue) = Site::open(&workspace, project).and_then(|site| site.queue()) else { continue };
        let told = |p: &Patch| CompletionCandidate::new(p.name()).help(Some(p.subject().into()));
        all.extend(queue.patches.iter().map(told));
    }
    all
}

fn stages() -> Vec<CompletionCandidate> {
    let Some(workspace) = workspace() else { return Vec::new() };
    let all = workspace.config.projects.into_values().flat_map(|p| p.stages);
    all.map(|stage| CompletionCandidate::new(stage.name)).collect()
}

fn builds() -> Vec<CompletionCandidate> {
    let mut all = stages();
    let Some(workspace) = workspace() else { return all };
    all.push(CompletionCandidate::new(LATEST));
    for project in workspace.config.projects.values() {
        let refs = Site::open(&workspace, project)
            .and_then(|site| Ok(site.store.references(&[&manifest_ref(&project.name, "")])?));
        let names =
            refs.into_iter().flatten().filter_map(|(name, _)| name.rsplit('/').next().map(str::to_owned));
        all.extend(names.map(CompletionCandidate::new));
    }
    all
}

/// Answers a shell that asks for completions; false if none does.
pub fn completed() -> bool {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let here = std::env::current_dir().ok();
    let engine = clap_complete::CompleteEnv::with_factory(command).var(COMPLETE).bin(NAME);
    // An answer that cannot be given is no reason to disturb the line that is being typed.
    engine.try_complete(arguments, here.as_deref()).unwrap_or(true)
}

/// For `git carry …`: git's own completion of bash calls a function of this name; zsh and fish are told of the command.
const BASH: &str = r#"
_git_carry () {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do [[ ${COMP_WORDS[i]} == carry ]] && break; done
    COMP_WORDS=(git-carry "${COMP_WORDS[@]:i+1}")
    COMP_CWORD=$((COMP_CWORD - i))
    _clap_complete_git_carry git-carry "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
}
"#;
const ZSH: &str = "\nzstyle ':completion:*:*:git:*' user-commands carry:'carry a queue of local patches on an upstream trunk'\n_git-carry () { _clap_dynamic_completer_git_carry; }\n";
const FISH: &str = "\ncomplete --command git --condition '__fish_seen_subcommand_from carry' --no-files --arguments '(set -l words (commandline --current-process --tokenize --cut-at-cursor); set -l at (contains --index carry $words); COMPLETE=fish git-carry -- git-carry $words[(math $at + 1)..] (commandline --current-token))'\ncomplete --command git --condition '__fish_use_subcommand' --arguments carry --description 'carry a queue of local patches'\n";

/// Prints a shell's completions.
pub fn completions(ui: &Ui, shell: clap_complete::Shell) -> Result<u8, CliError> {
    let name = shell.to_string();
    let unknown = || CliError::Usage {
        what: format!("there are no completions for {name}"),
        hint: Some("there are some for bash, zsh and fish".into()),
    };
    let bridge = match shell {
        clap_complete::Shell::Bash => BASH,
        clap_complete::Shell::Zsh => ZSH,
        clap_complete::Shell::Fish => FISH,
        _ => return Err(unknown()),
    };
    let known = Shells::builtins();
    let completer: &dyn EnvCompleter = known.completer(&name).ok_or_else(unknown)?;
    let mut script = Vec::new();
    let place = PathBuf::from("completions");
    completer.write_registration(COMPLETE, NAME, NAME, NAME, &mut script).map_err(CliError::io(&place))?;
    ui.line(&format!("{}{bridge}", String::from_utf8_lossy(&script)));
    Ok(0)
}

/// Print a manual page (to read it: git carry man nightly | man -l -), or write them all to a folder.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The command; without it, the page of the whole.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write every page there, as `man` looks for them: git-carry.1, git-carry-nightly.1 …
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    to: Option<PathBuf>,
}

pub fn man(ui: &Ui, args: &ManArgs) -> Result<u8, CliError> {
    let mut command = command();
    command.build();
    let Some(dir) = &args.to else {
        let wanted = args.command.as_deref();
        let found = match wanted {
            None => Some(&command),
            Some(name) => command.find_subcommand(name),
        };
        let found = found.ok_or_else(|| CliError::Usage {
            what: format!("there is no command '{}'", wanted.unwrap_or_default()),
            hint: Some("git carry --help lists them".into()),
        })?;
        let (_, page) = page(found.clone())?;
        ui.line(String::from_utf8_lossy(&page).trim_end());
        return Ok(0);
    };
    std::fs::create_dir_all(dir).map_err(CliError::io(dir))?;
    let mut open = vec![command];
    let mut count = 0;
    // A command's page names those of its own commands.
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
        let (name, page) = page(command)?;
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(CliError::io(&path))?;
        count += 1;
    }
    ui.line(&format!("{count} manual pages written to {}", dir.display()));
    Ok(0)
}

/// The manual page of a command, and its name.
fn page(command: clap::Command) -> Result<(String, Vec<u8>), CliError> {
    // Once built, each command knows its name as a page's: git-carry-nightly.
    let name = command.get_display_name().unwrap_or(NAME).to_owned();
    let mut page = Vec::new();
    let place = PathBuf::from(format!("{name}.1"));
    clap_mangen::Man::new(command).render(&mut page).map_err(CliError::io(&place))?;
    Ok((name, page))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn every_command_has_examples_and_each_of_them_is_one() {
        for sub in Cli::command().get_subcommands() {
            let found = EXAMPLES.iter().find(|(name, _)| *name == sub.get_name());
            let (_, examples) = found.unwrap_or_else(|| panic!("{} has no example", sub.get_name()));
            for (_, line) in *examples {
                let words = shell_words(line.strip_prefix("git carry ").expect("it begins so"));
                let matches = command().try_get_matches_from([NAME.to_owned()].into_iter().chain(words));
                let matches = matches.unwrap_or_else(|e| panic!("{line}: {e}"));
                Cli::from_arg_matches(&matches).unwrap_or_else(|e| panic!("{line}: {e}"));
            }
        }
    }

    /// The words of a line as a shell sees them; quotes are single ones.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().expect("one").push(c),
            }
        }
        words
    }
}
