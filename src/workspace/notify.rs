//! `[[notify]]`: who is told what changed. It stands beside the projects, as a channel, a server or a list of people is
//! mostly a team's and not a queue's. No secret stands in it, and nothing is written to but what `allow` names.

use std::time::Duration;

use toml::Spanned;

use super::forge::{self, GITHUB};
use super::reader::{Reader, Table, nearest};

/// Someone, or something, that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// By which way.
    pub way: Way,
    /// Of which projects; none named: of all.
    pub projects: Vec<String>,
    /// After how long it is told again of what still is so.
    pub remind: Duration,
    /// What may be written to: a server (`host`, or `host:port`), a repository's page, a mail address, or `@domain` for
    /// all addresses there.
    pub allow: Vec<String>,
}

/// By which way someone is told. Variables are those of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A JSON document, posted.
    Webhook {
        /// The variable with the address.
        url_env: String,
        /// The variable with a token, sent as `Authorization: Bearer`.
        token_env: Option<String>,
    },
    /// A message in Slack's form, which others take as well.
    Slack {
        /// The variable with the address.
        url_env: String,
    },
    /// A message in a room of Matrix.
    Matrix {
        /// The server's address.
        server: String,
        /// The room's id.
        room: String,
        /// The variable with the token.
        token_env: String,
    },
    /// One issue a project, kept up to date.
    GithubIssue {
        /// Where.
        at: Repository,
        /// Its labels, when it is opened.
        labels: Vec<String>,
    },
    /// A status on the deploy commit.
    CommitStatus {
        /// Where.
        at: Repository,
    },
    /// Mails.
    Email {
        /// The server: `smtps://host`, or `smtp://host` (then the connection becomes a secure one by STARTTLS).
        server: String,
        /// As whom one logs in there; none: nobody does.
        user: Option<String>,
        /// The variable with the password.
        password_env: Option<String>,
        /// The sender.
        from: String,
        /// Who gets all.
        to: Vec<String>,
        /// Does each owner get what is theirs?
        owners: bool,
    },
}

/// A repository at GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The REST root.
    pub api: String,
    /// `owner/name`.
    pub name: String,
}

impl Repository {
    /// Its page, for people.
    pub fn page(&self) -> String {
        forge::page(&self.api, &self.name)
    }
}

/// The kinds as they are written.
const KINDS: [&str; 6] = ["webhook", "slack", "matrix", "github-issue", "commit-status", "email"];
/// After how long it is told again, if nothing is said.
const REMIND: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Way {
    /// Its kind, as it is written.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Matrix { .. } => "matrix",
            Self::GithubIssue { .. } => "github-issue",
            Self::CommitStatus { .. } => "commit-status",
            Self::Email { .. } => "email",
        }
    }
}

impl Sink {
    /// May this be written to: a server, a repository's page, a mail address?
    pub fn allows(&self, address: &str) -> bool {
        let same = |entry: &str| {
            let domain = address.rsplit_once('@').map(|(_, domain)| domain);
            match entry.strip_prefix('@') {
                Some(wanted) => domain.is_some_and(|domain| domain.eq_ignore_ascii_case(wanted)),
                None => entry.eq_ignore_ascii_case(address),
            }
        };
        self.allow.iter().any(|entry| same(entry))
    }

    /// Is it told of this project?
    pub fn is_for(&self, project: &str) -> bool {
        self.projects.is_empty() || self.projects.iter().any(|p| p == project)
    }
}

/// The server of an address, with its port if one stands there: `https://host:8443/x` → `host:8443`.
pub fn authority(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// Reads all sinks; `projects` are those that they may name.
pub(super) fn read(r: &mut Reader<'_>, root: &Table<'_>, projects: &[&str]) -> Vec<Sink> {
    let mut all: Vec<Sink> = Vec::new();
    for (table, at) in r.tables(root, "notify", "notify") {
        let name = r.checked(table, "name", super::rules::project).map(Spanned::into_inner);
        let words = KINDS.map(|kind| (kind, kind));
        if name.is_none() || !table.contains_key("kind") {
            if !(table.contains_key("name") && table.contains_key("kind")) {
                let hint = Some(format!("write: name = \"team\" and kind = one of: {}", KINDS.join(", ")));
                r.fault(at, "'name' or 'kind' is missing in [[notify]]".into(), hint);
            }
            continue;
        }
        let kind = r.choice(table, "kind", &words);
        let own: &[&str] = match kind {
            "webhook" => &["url_env", "token_env"],
            "slack" => &["url_env"],
            "matrix" => &["server", "room", "token_env"],
            "github-issue" => &["api", "repository", "labels"],
            "commit-status" => &["api", "repository"],
            _ => &["server", "user", "password_env", "from", "to", "owners"],
        };
        r.keys(table, "notify", &[&["name", "kind", "projects", "remind", "allow"], own].concat());
        let faults = r.faults.len();
        let way = way(r, table, at, kind);
        let named = r.list(table, "projects");
        for wanted in named.iter().filter(|p| !projects.contains(&p.as_str())) {
            let hint = nearest(wanted, projects).map(|k| format!("did you mean '{k}'?"));
            r.fault(at, format!("'projects' names '{}', which is none", wanted.escape_debug()), hint);
        }
        let sink = Sink {
            name: name.unwrap_or_default(),
            way,
            projects: named,
            remind: r.duration(table, "remind", REMIND),
            allow: r.list(table, "allow"),
        };
        if all.iter().any(|s| s.name == sink.name) {
            r.fault(at, format!("two [[notify]] are called '{}'", sink.name), None);
        }
        if sink.allow.is_empty() && r.faults.len() == faults {
            let wanted = match &sink.way {
                Way::Webhook { .. } | Way::Slack { .. } => "the address's server".to_owned(),
                Way::Matrix { server, .. } => format!("\"{}\"", authority(server)),
                Way::GithubIssue { at, .. } | Way::CommitStatus { at } => format!("\"{}\"", at.page()),
                Way::Email { to, .. } => {
                    to.first().map_or("\"@example.org\"".into(), |to| format!("\"{to}\""))
                }
            };
            let what =
                format!("'allow' of [[notify]] '{}' names nothing, so nobody could be told", sink.name);
            r.fault(at, what, Some(format!("write: allow = […] with {wanted}")));
        }
        all.push(sink);
    }
    all
}

fn way(r: &mut Reader<'_>, table: &Table<'_>, at: usize, kind: &str) -> Way {
    match kind {
        "webhook" => Way::Webhook {
            url_env: variable(r, table, at, "url_env", true),
            token_env: maybe(r, table, at, "token_env"),
        },
        "slack" => Way::Slack { url_env: variable(r, table, at, "url_env", true) },
        "matrix" => {
            let server = r.checked(table, "server", forge::plain).map(Spanned::into_inner);
            let room = r.checked(table, "room", room).map(Spanned::into_inner);
            missing(
                r,
                table,
                at,
                &[("server", "\"https://matrix.example.org\""), ("room", "\"!id:example.org\"")],
            );
            Way::Matrix {
                server: server.unwrap_or_default().trim_end_matches('/').to_owned(),
                room: room.unwrap_or_default(),
                token_env: variable(r, table, at, "token_env", true),
            }
        }
        "github-issue" => Way::GithubIssue { at: repository(r, table, at), labels: r.list(table, "labels") },
        "commit-status" => Way::CommitStatus { at: repository(r, table, at) },
        _ => {
            let server = r.checked(table, "server", mail_server).map(Spanned::into_inner);
            missing(
                r,
                table,
                at,
                &[("server", "\"smtps://mail.example.org\""), ("from", "\"carry@example.org\"")],
            );
            let from = r.text(table, "from").map(Spanned::into_inner).unwrap_or_default();
            let to = r.list(table, "to");
            for person in to.iter().chain([&from]).filter(|p| !p.is_empty() && forge::mail(p).is_err()) {
                let what = format!("'{}' is not a mail address", person.escape_debug());
                r.fault(at, what, Some("write the address alone: team@example.org".into()));
            }
            let (user, password_env) =
                (r.text(table, "user").map(Spanned::into_inner), maybe(r, table, at, "password_env"));
            if user.is_some() != password_env.is_some() {
                let hint = Some("write: user = \"carry\" and password_env = \"SMTP_PASSWORD\"".into());
                r.fault(at, "'user' and 'password_env' go together".into(), hint);
            }
            let owners = r.truth(table, "owners", false);
            if to.is_empty() && !owners {
                let hint = Some("write: to = [\"team@example.org\"], or owners = true".into());
                r.fault(at, "nobody would get the mails".into(), hint);
            }
            Way::Email { server: server.unwrap_or_default(), user, password_env, from, to, owners }
        }
    }
}

fn missing(r: &mut Reader<'_>, table: &Table<'_>, at: usize, keys: &[(&str, &str)]) {
    for (key, example) in keys.iter().filter(|(key, _)| !table.contains_key(*key)) {
        let hint = Some(format!("write: {key} = {example}"));
        r.fault(at, format!("'{key}' is missing in [[notify]]"), hint);
    }
}

fn repository(r: &mut Reader<'_>, table: &Table<'_>, at: usize) -> Repository {
    let api = r.checked(table, "api", forge::plain).map(|v| v.into_inner().trim_end_matches('/').to_owned());
    let name = r.checked(table, "repository", forge::repository).map(Spanned::into_inner).unwrap_or_default();
    missing(r, table, at, &[("repository", "\"owner/name\"")]);
    if !name.is_empty() && name.matches('/').count() != 1 {
        let hint = Some("write: repository = \"owner/name\"".into());
        r.fault(at, "'repository' must be an owner and a name".into(), hint);
    }
    Repository { api: api.unwrap_or_else(|| GITHUB.into()), name }
}

fn maybe(r: &mut Reader<'_>, table: &Table<'_>, at: usize, key: &str) -> Option<String> {
    table.contains_key(key).then(|| variable(r, table, at, key, false))
}

/// The name of a variable. Whoever writes the secret itself is told so, without it.
fn variable(r: &mut Reader<'_>, table: &Table<'_>, at: usize, key: &str, needed: bool) -> String {
    let Some(name) = r.text(table, key).map(Spanned::into_inner) else {
        if needed && !table.contains_key(key) {
            let hint = Some(format!("write: {key} = \"CARRY_…\", the name of a variable of the environment"));
            r.fault(at, format!("'{key}' is missing in [[notify]]"), hint);
        }
        return String::new();
    };
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        let hint = "the secret itself does not belong into this file; whoever can read the file has it now"
            .to_owned();
        let at = table.get(key).map_or(at, |v| v.span().start);
        r.fault(at, format!("'{key}' must be the name of a variable of the environment"), Some(hint));
    }
    name
}

fn room(id: &str) -> Result<(), String> {
    let good = id.starts_with('!') && id.chars().all(|c| c.is_ascii_graphic() && c != '/');
    if good { Ok(()) } else { Err("it is no room's id, as '!id:example.org' is".into()) }
}

/// `smtps://host[:port]`, or `smtp://host[:port]`.
fn mail_server(address: &str) -> Result<(), String> {
    let rest = address.strip_prefix("smtps://").or_else(|| address.strip_prefix("smtp://"));
    let rest = rest.ok_or("it must start with smtps:// or smtp://")?;
    let (host, port) = rest.split_once(':').unwrap_or((rest, "25"));
    if rest.contains('@') {
        return Err("'user' and 'password_env' say who logs in".into());
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if host.is_empty() || !host.chars().all(good) || port.parse::<u16>().is_err() {
        return Err("it must be a server, and its port if need be".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Config;

    fn read(table: &str) -> Result<Sink, Vec<String>> {
        let text = format!(
            "version = 1\n[[notify]]\nname = \"n\"\n{table}\n[project.p]\nupstream = \"x\"\nbranch = \"main\"\n"
        );
        let config = Config::parse("carry.toml", &text);
        let config = config.map_err(|e| e.faults.into_iter().map(|f| f.what).collect::<Vec<_>>())?;
        Ok(config.notify[0].clone())
    }

    #[test]
    fn each_kind_needs_its_own_keys() {
        let slack = read("kind = \"slack\"\nurl_env = \"SLACK\"\nallow = [\"hooks.slack.com\"]")
            .expect("it is right");
        assert_eq!((slack.remind, slack.is_for("p"), slack.way.word()), (REMIND, true, "slack"));
        assert_eq!(read("kind = \"slack\"").expect_err("no address"), ["'url_env' is missing in [[notify]]"]);
        assert_eq!(read("kind = \"matrix\"").expect_err("it lacks much").len(), 3);
        assert_eq!(read("kind = \"email\"").expect_err("it lacks much").len(), 3);
        assert_eq!(
            read("kind = \"github-issue\"\nrepository = \"o\"").expect_err("no name"),
            ["'repository' must be an owner and a name"]
        );
        let other = "kind = \"slack\"\nurl_env = \"S\"\nallow = [\"h\"]\nprojects = [\"q\"]";
        assert_eq!(read(other).expect_err("no such project"), ["'projects' names 'q', which is none"]);
        let none = read("kind = \"slack\"\nurl_env = \"S\"").expect_err("nothing is allowed");
        assert!(none[0].contains("nobody could be told"), "{none:?}");
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_shown() {
        for bad in [
            "kind = \"slack\"\nallow = [\"h\"]\nurl_env = \"https://hooks/s3cret\"",
            "kind = \"webhook\"\nallow = [\"h\"]\nurl_env = \"OK\"\ntoken_env = \"s3cret-value\"",
        ] {
            let told = read(bad).expect_err("it is no name").join("\n");
            assert!(told.contains("must be the name of a variable") && !told.contains("s3cret"), "{told}");
        }
        for bad in ["smtp://me:secret@h", "http://h", "smtps://h/x", "smtps://"] {
            let table = format!(
                "kind = \"email\"\nfrom = \"a@b\"\nto = [\"a@b\"]\nallow = [\"a@b\"]\nserver = \"{bad}\""
            );
            assert!(read(&table).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_an_address_or_a_whole_domain_is_allowed() {
        let text = "kind = \"slack\"\nurl_env = \"S\"\nallow = [\"hooks.example.org\", \"a@example.org\", \"@example.net\"]";
        let sink = read(text).expect("it is right");
        for (address, may) in [
            ("hooks.example.org", true),
            ("hooks.example.org:8443", false),
            ("evil.hooks.example.org", false),
            ("a@example.org", true),
            ("b@example.org", false),
            ("b@example.net", true),
            ("b@evil.example.net", false),
            ("example.net", false),
        ] {
            assert_eq!(sink.allows(address), may, "{address}");
        }
        assert_eq!(authority("https://h:8/x?y"), "h:8");
    }
}
