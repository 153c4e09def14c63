//! `carry.toml`: what to follow and how. Every fault is found, with its line and the nearest right key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::artifacts::{self, Artifacts};
use super::candidates::{self, Weights};
use super::checks::{self, Check};
use super::forge::{self, Forge};
use super::history::{self, Keep};
use super::hooks::{self, Hook};
use super::notify::{self, Sink};
use super::policy::{self, Policy};
use super::reader::{Reader, Table, kind};
use super::rules;
use super::sets::{self, Set};
use super::stages::{self, Stage};

/// A workspace's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who makes the stack's commits.
    pub identity: Identity,
    /// By which key what goes out is signed.
    pub signing: Signing,
    /// Who is told what changed.
    pub notify: Vec<Sink>,
    /// The projects, by name.
    pub projects: BTreeMap<String, Project>,
    /// Projects whose builds go out together.
    pub sets: Vec<Set>,
}

/// By which key what goes out is signed, as git itself signs with SSH keys (`gpg.format = ssh`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signing {
    /// The key's file, private or public (then an agent has the other half); a relative path starts at the workspace.
    /// [`SIGNING_KEY`](super::SIGNING_KEY) in the environment comes first. None: nothing is signed.
    pub key: Option<String>,
    /// Who may sign: a file as `ssh-keygen -Y verify` reads it ("ALLOWED SIGNERS"); a relative path starts at the
    /// workspace.
    pub allowed_signers: Option<String>,
    /// Which keys may not sign any more: a file of public keys, or a revocation list of `ssh-keygen -k`; a relative
    /// path starts at the workspace.
    pub revoked: Option<String>,
}

/// The committer of the stack's commits; the author is the patch's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

/// One queue on one trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Where the trunk comes from: anything that `git fetch` takes. A relative path starts at the workspace.
    pub upstream: String,
    /// The branch that is followed.
    pub branch: String,
    /// A local clone whose objects may be used, so that nothing is downloaded twice.
    pub reference: Option<PathBuf>,
    /// Why no night touches it for now; none: nights run.
    pub paused: Option<String>,
    /// The folder of the patches, from the workspace's root.
    pub patches: String,
    /// Where the build goes.
    pub deploy: Deploy,
    /// What is allowed.
    pub policy: Policy,
    /// How much of the past is kept.
    pub history: Keep,
    /// Files that are made by a command, and never merged.
    pub regenerate: Vec<Regenerate>,
    /// Upstream work that a night looks ahead to: refs of the upstream, patterns among them.
    pub forecast: Vec<String>,
    /// By which rules a move from build to build is looked at.
    pub risk: RiskRules,
    /// Commands that prove a build.
    pub checks: Vec<Check>,
    /// Commands that run when something happens.
    pub hooks: Vec<Hook>,
    /// Where builds go.
    pub stages: Vec<Stage>,
    /// What each night leaves as files; none: nothing.
    pub artifacts: Option<Artifacts>,
    /// What counts how much when patches are ranked for upstream.
    pub candidates: Weights,
    /// How patches go upstream; none: nothing can be sent.
    pub forge: Option<Forge>,
}

impl Project {
    /// The folder of the answers to conflicts, from the workspace's root.
    pub fn resolutions(&self) -> String {
        format!("resolutions/{}", self.name)
    }
}

/// By which rules a move from build to build is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RiskRules {
    /// Rule packs that ship with the program; none named: those that the tree's files ask for.
    pub packs: Option<Vec<String>>,
    /// The workspace's own packs, as files from its root.
    pub rules: Vec<String>,
}

/// Files that a command makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regenerate {
    /// Patterns of their paths.
    pub paths: Vec<String>,
    /// The command: a program and its arguments, never through a shell.
    pub run: Vec<String>,
}

/// Where the build goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// The deploy branch.
    pub branch: String,
    /// The repository it is pushed to; none: it stays in the project's store.
    pub remote: Option<String>,
    /// How its history goes on.
    pub history: History,
    /// Do commits that others push on top of the last build become patches? If not, nothing is published until someone
    /// looks at them.
    pub intake: bool,
}

/// How the deploy branch's history goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The stack on the trunk tip and nothing else, pushed with an exact lease.
    Rewrite,
    /// As `Rewrite`, behind a first commit that joins the previous deploy tip: every tip descends from the last.
    FastForward,
}

/// One fault in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in words: `unknown key 'upsteam'`.
    pub what: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .faults.iter().map(|f| format!("{}, line {}: {}", .file, f.line, f.what)).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// All that is wrong with it, by line.
    pub faults: Vec<Fault>,
}

impl Config {
    /// Reads a configuration. `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let mut r = Reader { text, faults: Vec::new() };
        let error = |faults: Vec<Fault>| ConfigError { file: file.to_owned(), faults };
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(e) => {
                r.fault(e.span().map_or(0, |s| s.start), e.message().to_owned(), None);
                return Err(error(r.faults));
            }
        };
        let root = root.get_ref();
        r.keys(root, "", &["version", "identity", "signing", "notify", "project", "set"]);
        match root.get("version").map(|v| (v.get_ref(), v.span().start)) {
            None => {
                r.fault(0, "'version' is missing".into(), Some("the first line is: version = 1".into()));
            }
            Some((DeValue::Integer(n), _)) if n.as_str() == "1" => {}
            Some((_, at)) => r.fault(at, "this tool reads version 1".into(), None),
        }
        let mut identity = Identity { name: "git-carry".into(), email: "git-carry@localhost".into() };
        if let Some((table, _)) = r.table(root, "identity") {
            r.keys(table, "identity", &["name", "email"]);
            for (key, slot) in [("name", &mut identity.name), ("email", &mut identity.email)] {
                if let Some(value) = r.checked(table, key, rules::identity) {
                    *slot = value.into_inner();
                }
            }
        }
        let mut signing = Signing::default();
        if let Some((table, _)) = r.table(root, "signing") {
            r.keys(table, "signing", &["key", "allowed_signers", "revoked"]);
            signing.key = r.text(table, "key").map(Spanned::into_inner);
            signing.allowed_signers = r.text(table, "allowed_signers").map(Spanned::into_inner);
            signing.revoked = r.text(table, "revoked").map(Spanned::into_inner);
        }
        let mut projects = BTreeMap::new();
        let mut places = Vec::new();
        match r.table(root, "project") {
            Some((table, _)) => {
                for (key, value) in table {
                    let name: &str = key.get_ref();
                    if let Err(why) = rules::project(name) {
                        r.fault(
                            key.span().start,
                            format!("a project cannot be called '{name}': {why}"),
                            None,
                        );
                    }
                    let DeValue::Table(table) = value.get_ref() else {
                        let what =
                            format!("'project.{name}' must be a table, and is {}", kind(value.get_ref()));
                        r.fault(value.span().start, what, Some(format!("write: [project.{name}]")));
                        continue;
                    };
                    if let Some(project) = read_project(&mut r, name, table, key.span().start) {
                        places.push((project.name.clone(), key.span().start));
                        projects.insert(name.to_owned(), project);
                    }
                }
            }
            None => {
                let hint = Some("add one with: git carry init --project NAME --upstream ADDRESS".into());
                r.fault(0, "no project is named".into(), hint);
            }
        }
        combinations(&mut r, &projects, &places);
        let names: Vec<&str> = projects.keys().map(String::as_str).collect();
        let notify = notify::read(&mut r, root, &names);
        let sets = sets::read(&mut r, root, &projects);
        if r.faults.is_empty() {
            return Ok(Self { identity, signing, notify, projects, sets });
        }
        r.faults.sort_by_key(|f| f.line);
        Err(error(r.faults))
    }
}

/// The keys of a project.
const PROJECT: [&str; 17] = [
    "upstream",
    "branch",
    "reference",
    "paused",
    "patches",
    "deploy",
    "policy",
    "history",
    "regenerate",
    "forecast",
    "risk",
    "check",
    "hook",
    "stage",
    "artifacts",
    "candidates",
    "forge",
];

fn read_project(r: &mut Reader<'_>, name: &str, table: &Table<'_>, at: usize) -> Option<Project> {
    let place = format!("project.{name}");
    r.keys(table, &place, &PROJECT);
    for key in ["upstream", "branch"] {
        if !table.contains_key(key) {
            let hint = if key == "upstream" { "\"https://…\"" } else { "\"main\"" };
            r.fault(at, format!("'{key}' is missing in [{place}]"), Some(format!("write: {key} = {hint}")));
        }
    }
    let upstream = r.checked(table, "upstream", rules::address);
    let branch = r.checked(table, "branch", rules::branch);
    let reference = r.text(table, "reference").map(|v| PathBuf::from(v.into_inner()));
    let paused = r.text(table, "paused").map(Spanned::into_inner).filter(|why| !why.trim().is_empty());
    let patches = match r.checked(table, "patches", rules::folder) {
        Some(folder) => folder.into_inner().trim_end_matches('/').to_owned(),
        None => format!("patches/{name}"),
    };
    let mut deploy =
        Deploy { branch: format!("deploy/{name}"), remote: None, history: History::Rewrite, intake: false };
    if let Some((table, _)) = r.table(table, "deploy") {
        r.keys(table, &format!("{place}.deploy"), &["branch", "remote", "history", "intake"]);
        if let Some(branch) = r.checked(table, "branch", rules::branch) {
            deploy.branch = branch.into_inner();
        }
        deploy.remote = r.checked(table, "remote", rules::address).map(Spanned::into_inner);
        let words = [("rewrite", History::Rewrite), ("fast-forward", History::FastForward)];
        deploy.history = r.choice(table, "history", &words);
        deploy.intake = r.choice(table, "intake", &[("refuse", false), ("take", true)]);
    }
    let policy = policy::read(r, &place, table);
    let history = history::read(r, &place, table);
    let regenerate = read_regenerate(r, &place, table);
    let forecast = r.list(table, "forecast");
    for name in &forecast {
        if name.starts_with('-') || name.contains([':', ' ', '^', '~']) || name.is_empty() {
            let what = format!("'{}' is not a ref of the upstream", name.escape_debug());
            r.fault(at, what, Some("for instance: forecast = [\"next\", \"refs/pull/*/head\"]".into()));
        }
    }
    let checks = checks::read(r, &place, table);
    let hooks = hooks::read(r, &place, table);
    let stages = stages::read(r, &place, table, &checks);
    let artifacts = artifacts::read(r, &place, table);
    let candidates = candidates::read(r, &place, table);
    let forge = forge::read(r, &place, table);
    let mut risk = RiskRules::default();
    if let Some((table, _)) = r.table(table, "risk") {
        r.keys(table, &format!("{place}.risk"), &["packs", "rules"]);
        risk.packs = table.contains_key("packs").then(|| r.list(table, "packs"));
        risk.rules = r.list(table, "rules");
    }
    Some(Project {
        name: name.to_owned(),
        upstream: upstream?.into_inner(),
        branch: branch?.into_inner(),
        reference,
        paused,
        patches,
        deploy,
        policy,
        history,
        regenerate,
        forecast,
        risk,
        checks,
        hooks,
        stages,
        artifacts,
        candidates,
        forge,
    })
}

fn read_regenerate(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Vec<Regenerate> {
    let mut all = Vec::new();
    for (table, at) in r.tables(table, "regenerate", &format!("{place}.regenerate")) {
        r.keys(table, &format!("{place}.regenerate"), &["paths", "run"]);
        let (paths, run) = (r.list(table, "paths"), r.list(table, "run"));
        for path in &paths {
            if let Err(e) = globset::Glob::new(path) {
                r.fault(at, format!("'{path}' is not a pattern of paths: {e}"), None);
            }
        }
        if paths.is_empty() || run.is_empty() {
            let hint = Some("write: paths = [\"po/*.pot\"] and run = [\"make\", \"pot\"]".into());
            r.fault(at, format!("'paths' or 'run' is missing in [[{place}.regenerate]]"), hint);
        }
        all.push(Regenerate { paths, run });
    }
    all
}

/// What each project may say alone, but not beside another key or another project.
fn combinations(r: &mut Reader<'_>, projects: &BTreeMap<String, Project>, places: &[(String, usize)]) {
    let full = |branch: &str| {
        if branch.starts_with("refs/") { branch.to_owned() } else { format!("refs/heads/{branch}") }
    };
    for (n, (name, at)) in places.iter().enumerate() {
        let Some(project) = projects.get(name) else { continue };
        let deploy = full(&project.deploy.branch);
        if project.deploy.remote.as_deref() == Some(&project.upstream) && deploy == full(&project.branch) {
            let what = format!("project '{name}' would deploy onto the trunk that it follows");
            r.fault(*at, what, Some("name another branch or remote in its [deploy]".into()));
        }
        for (other, _) in &places[..n] {
            let Some(other) = projects.get(other) else { continue };
            let nested = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
            if nested(&project.patches, &other.patches) || nested(&other.patches, &project.patches) {
                let what =
                    format!("projects '{}' and '{name}' share the folder '{}'", other.name, project.patches);
                r.fault(*at, what, Some("give each project a folder of its own".into()));
            }
            let remote = &project.deploy.remote;
            if remote.is_some() && *remote == other.deploy.remote && deploy == full(&other.deploy.branch) {
                let what = format!("projects '{}' and '{name}' deploy to one branch", other.name);
                r.fault(*at, what, Some("give each project a deploy branch of its own".into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "version = 1\n[project.nova]\nupstream = \"https://example.org/nova\"\nbranch = \"main\"\n";

    fn faults(text: &str) -> Vec<(usize, String)> {
        let err = Config::parse("carry.toml", text).expect_err("it has faults");
        err.faults
            .into_iter()
            .map(|f| (f.line, format!("{}|{}", f.what, f.hint.unwrap_or_default())))
            .collect()
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = Config::parse("carry.toml", GOOD).expect("it is right");
        let nova = &config.projects["nova"];
        assert_eq!(nova.patches, "patches/nova");
        assert_eq!(nova.deploy.branch, "deploy/nova");
        assert_eq!(nova.deploy.history, History::Rewrite);
        assert_eq!(nova.policy.required, crate::workspace::Required::Marked);
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_right_one() {
        let found = faults(&GOOD.replace("upstream =", "upsteam ="));
        assert!(
            found.contains(&(3, "unknown key 'upsteam' in [project.nova]|did you mean 'upstream'?".into()))
        );
    }

    #[test]
    fn wrong_types_and_words_name_their_line() {
        let text = format!("{GOOD}[project.nova.deploy]\nhistory = \"merge\"\nbranch = 3\n");
        let found = faults(&text);
        assert_eq!(found[0].0, 6);
        assert_eq!(found[0].1, "'history' cannot be 'merge'|it is one of: rewrite, fast-forward");
        assert_eq!(found[1].0, 7);
        assert!(found[1].1.starts_with("'branch' must be a text, and is a number"));
    }

    #[test]
    fn impossible_combinations_are_refused() {
        let onto = format!(
            "{GOOD}[project.nova.deploy]\nremote = \"https://example.org/nova\"\nbranch = \"main\"\n"
        );
        assert!(faults(&onto)[0].1.contains("deploy onto the trunk"));
        let shared =
            format!("{GOOD}[project.b]\nupstream = \"x\"\nbranch = \"y\"\npatches = \"patches/nova/sub\"\n");
        assert!(faults(&shared)[0].1.contains("share the folder"));
        let remote = "version = 1\n[project.a]\nupstream = \"x\"\nbranch = \"y\"\n[project.a.deploy]\nremote = \"r\"\nbranch = \"d\"\n\
            [project.b]\nupstream = \"x\"\nbranch = \"y\"\n[project.b.deploy]\nremote = \"r\"\nbranch = \"refs/heads/d\"\n";
        assert!(faults(remote)[0].1.contains("deploy to one branch"));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(faults("")[0].1.contains("'version' is missing"));
        assert!(
            faults("version = 2\n[project.a]\nupstream='x'\nbranch='y'")[0].1.contains("reads version 1")
        );
        assert!(faults("version = 1\n[project.a]\n")[0].1.contains("'upstream' is missing"));
        assert_eq!(faults("version = 1\n[project.a\n")[0].0, 2);
    }
}
