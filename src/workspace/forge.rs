//! `[project.X.forge]`: how patches go upstream, and what may be written to.

use toml::Spanned;

use super::reader::{Reader, Table};
use super::rules;

/// How upstream takes patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForgeKind {
    /// As pull requests from a fork.
    Github,
    /// As changes under review.
    Gerrit,
    /// As mail to a list.
    Mail,
}

impl ForgeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Github, Self::Gerrit, Self::Mail];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gerrit => "gerrit",
            Self::Mail => "mail",
        }
    }
}

/// How a project's patches go upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forge {
    /// How upstream takes them.
    pub kind: ForgeKind,
    /// The address of the interface: GitHub's REST root, or Gerrit's. Empty for mail.
    pub api: String,
    /// Upstream's repository as the forge calls it (GitHub: `owner/name`; Gerrit: the project). Empty for mail.
    pub repository: String,
    /// Where commits are pushed: the fork (GitHub), or Gerrit's git address. Empty for mail.
    pub push: String,
    /// Where changes that have not merged are fetched from; none: the followed upstream (GitHub), or `push` (Gerrit).
    pub fetch: Option<String>,
    /// Upstream's branch that patches are for; none: the one that is followed.
    pub branch: Option<String>,
    /// Labels of a new pull request.
    pub labels: Vec<String>,
    /// The topic of Gerrit's changes; none: the patch's name.
    pub topic: Option<String>,
    /// To whom mails go.
    pub to: Vec<String>,
    /// Who gets a copy.
    pub cc: Vec<String>,
    /// Where a mail is found by its id, as the beginning of an address: `https://lore.kernel.org/r/`.
    pub archive: Option<String>,
    /// Is the sender's own sign-off added where it is missing?
    pub sign_off: bool,
    /// The addresses that may be written to; one that ends in `/` allows all below it.
    pub allow: Vec<String>,
}

/// GitHub's own REST root.
pub const GITHUB: &str = "https://api.github.com";

impl Forge {
    /// May this address be written to?
    pub fn allows(&self, address: &str) -> bool {
        let below =
            |entry: &str| entry.ends_with('/') && address.starts_with(entry) && !address.contains("/..");
        self.allow.iter().any(|entry| entry == address || below(entry))
    }

    /// All that a patch's way upstream writes to, as the allow-list names it.
    pub fn targets(&self) -> Vec<String> {
        match self.kind {
            ForgeKind::Github => vec![self.push.clone(), self.page()],
            ForgeKind::Gerrit => vec![self.push.clone()],
            ForgeKind::Mail => self.to.iter().chain(&self.cc).cloned().collect(),
        }
    }

    /// The page of upstream's repository, for people.
    pub fn page(&self) -> String {
        page(&self.api, &self.repository)
    }

    /// The owner of the fork: the folder of its address that the repository lies in.
    pub fn fork_owner(&self) -> Option<&str> {
        owner(&self.push)
    }
}

/// The page of a repository whose REST root is `api`.
pub(super) fn page(api: &str, repository: &str) -> String {
    let root = match api {
        GITHUB => "https://github.com",
        // GitHub Enterprise Server has its REST root below the pages.
        other => other.strip_suffix("/api/v3").unwrap_or(other),
    };
    format!("{root}/{repository}")
}

fn owner(address: &str) -> Option<&str> {
    let (rest, name) = address.trim_end_matches('/').rsplit_once('/')?;
    let owner = rest.rsplit(['/', ':']).next()?;
    let good = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (good(owner) && good(name)).then_some(owner)
}

/// Reads a project's forge; without the table, nothing can be sent.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Option<Forge> {
    let (table, at) = r.table(table, "forge")?;
    let place = format!("{place}.forge");
    let words = ForgeKind::ALL.map(|kind| (kind.word(), kind));
    if !table.contains_key("kind") {
        let hint = Some("write: kind = \"github\", \"gerrit\" or \"mail\"".into());
        r.fault(at, format!("'kind' is missing in [{place}]"), hint);
        return None;
    }
    let kind = r.choice(table, "kind", &words);
    let keys: &'static [&'static str] = match kind {
        ForgeKind::Github => {
            &["kind", "api", "repository", "push", "fetch", "branch", "labels", "sign_off", "allow"]
        }
        ForgeKind::Gerrit => {
            &["kind", "api", "repository", "push", "fetch", "branch", "topic", "sign_off", "allow"]
        }
        ForgeKind::Mail => &["kind", "branch", "to", "cc", "archive", "sign_off", "allow"],
    };
    r.keys(table, &place, keys);
    let api = r.checked(table, "api", plain).map(|v| v.into_inner().trim_end_matches('/').to_owned());
    let repository = r.checked(table, "repository", repository);
    let push = r.checked(table, "push", rules::address).map(Spanned::into_inner);
    let forge = Forge {
        kind,
        api: api.unwrap_or_else(|| if kind == ForgeKind::Github { GITHUB.into() } else { String::new() }),
        repository: repository.map(Spanned::into_inner).unwrap_or_default(),
        push: push.unwrap_or_default(),
        fetch: r.checked(table, "fetch", rules::address).map(Spanned::into_inner),
        branch: r.checked(table, "branch", rules::branch).map(Spanned::into_inner),
        labels: r.list(table, "labels"),
        topic: r.checked(table, "topic", topic).map(Spanned::into_inner),
        to: r.list(table, "to"),
        cc: r.list(table, "cc"),
        archive: r.checked(table, "archive", plain).map(Spanned::into_inner),
        sign_off: r.truth(table, "sign_off", false),
        allow: r.list(table, "allow"),
    };
    let needed: &[(&str, &str)] = match kind {
        ForgeKind::Github => &[("repository", "\"owner/name\""), ("push", "\"git@github.com:me/name.git\"")],
        ForgeKind::Gerrit => &[
            ("api", "\"https://review.example.org\""),
            ("repository", "\"group/name\""),
            ("push", "\"ssh://me@review.example.org:29418/group/name\""),
        ],
        ForgeKind::Mail => &[("to", "[\"list@example.org\"]")],
    };
    for (key, example) in needed {
        if !table.contains_key(*key) {
            r.fault(
                at,
                format!("'{key}' is missing in [{place}]"),
                Some(format!("write: {key} = {example}")),
            );
        }
    }
    for (key, address) in [("push", Some(&forge.push)), ("fetch", forge.fetch.as_ref())] {
        let server = address.and_then(|a| a.split_once("://")?.1.split('/').next());
        if server.is_some_and(password) {
            let hint = "git's credential helpers give it: git help credentials".to_owned();
            r.fault(at, format!("a password does not belong into '{key}'"), Some(hint));
        }
    }
    if kind == ForgeKind::Github && !forge.push.is_empty() && forge.fork_owner().is_none() {
        let what = "'push' does not tell whose fork it is".to_owned();
        r.fault(at, what, Some("write: push = \"git@github.com:OWNER/NAME.git\"".into()));
    }
    if kind == ForgeKind::Github && !forge.repository.is_empty() && forge.repository.matches('/').count() != 1
    {
        let hint = Some("write: repository = \"owner/name\"".into());
        r.fault(at, "'repository' must be an owner and a name".into(), hint);
    }
    for person in forge.to.iter().chain(&forge.cc) {
        if mail(person).is_err() {
            let what = format!("'{}' is not a mail address", person.escape_debug());
            r.fault(at, what, Some("write the address alone: list@example.org".into()));
        }
    }
    Some(forge)
}

/// Does `user:password@host` hold a password?
fn password(authority: &str) -> bool {
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// An http address without a name, a password or a query in it.
pub(super) fn plain(address: &str) -> Result<(), String> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let rest = rest.ok_or("it must start with https://")?;
    let server = rest.split(['/', ':']).next().unwrap_or_default();
    if address.starts_with("http://") && !matches!(server, "127.0.0.1" | "localhost") {
        return Err("it must start with https://: tokens go there".into());
    }
    if rest.contains('@') {
        return Err("a name or a password does not belong into this file".into());
    }
    if rest.is_empty() || rest.contains(['?', '#', ' ']) || rest.chars().any(char::is_control) {
        return Err("it must be a plain address".into());
    }
    Ok(())
}

/// `owner/name`, or a path of names.
pub(super) fn repository(name: &str) -> Result<(), String> {
    let good = |part: &str| {
        !part.is_empty()
            && !matches!(part, "." | "..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if name.split('/').all(good) { Ok(()) } else { Err("it is no name of a repository".into()) }
}

/// A topic is part of the ref that is pushed, where `,` parts options.
fn topic(name: &str) -> Result<(), String> {
    let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    if good { Ok(()) } else { Err("it takes letters, digits, '-', '_', '.' and '/'".into()) }
}

/// One mail address, of plain letters.
pub(super) fn mail(address: &str) -> Result<(), ()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.+=@".contains(c);
    let fine = address.matches('@').count() == 1
        && !address.starts_with(['-', '@'])
        && !address.ends_with('@')
        && address.chars().all(good);
    if fine { Ok(()) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Config;

    fn read(table: &str) -> Result<Forge, Vec<String>> {
        let text = format!(
            "version = 1\n[project.p]\nupstream = \"x\"\nbranch = \"main\"\n[project.p.forge]\n{table}"
        );
        let config = Config::parse("carry.toml", &text);
        let config = config.map_err(|e| e.faults.into_iter().map(|f| f.what).collect::<Vec<_>>())?;
        Ok(config.projects["p"].forge.clone().expect("it is there"))
    }

    #[test]
    fn each_kind_needs_its_own_keys() {
        let github = read("kind = \"github\"\nrepository = \"o/n\"\npush = \"git@github.com:me/n.git\"\n");
        let github = github.expect("it is right");
        assert_eq!((github.api.as_str(), github.fork_owner()), (GITHUB, Some("me")));
        assert_eq!(read("kind = \"mail\"\n"), Err(vec!["'to' is missing in [project.p.forge]".to_owned()]));
        let wrong = read("kind = \"mail\"\nto = [\"a@b\"]\npush = \"x\"\n").expect_err("no such key");
        assert_eq!(wrong, ["unknown key 'push' in [project.p.forge]"]);
        assert_eq!(read("kind = \"gerrit\"\n").expect_err("it lacks much").len(), 3);
    }

    #[test]
    fn what_could_hold_a_secret_or_lead_elsewhere_is_refused() {
        for bad in [
            "api = \"https://me:secret@h\"",
            "api = \"ftp://h\"",
            "api = \"http://h\"",
            "push = \"--upload-pack=x/y\"",
            "push = \"ext::sh/x\"",
            "push = \"https://me:secret@h/me/n\"",
            "fetch = \"https://me:secret@h/me/n\"",
            "repository = \"../x\"",
        ] {
            let key = bad.split(' ').next().expect("a key");
            let good = ["repository = \"o/n\"", "push = \"h:me/n\""];
            let rest: Vec<&str> = good.into_iter().filter(|g| !g.starts_with(key)).collect();
            assert!(read(&format!("kind = \"github\"\n{bad}\n{}\n", rest.join("\n"))).is_err(), "{bad}");
        }
        assert!(read("kind = \"mail\"\nto = [\"--smtp-server=x@y\"]\n").is_err());
    }

    #[test]
    fn an_address_is_allowed_as_it_stands_or_below_a_folder() {
        let text = "kind = \"mail\"\nto = [\"l@h\"]\nallow = [\"l@h\", \"https://h/a/\"]\n";
        let forge = read(text).expect("it is right");
        for (address, may) in [
            ("l@h", true),
            ("l@h2", false),
            ("https://h/a/b", true),
            ("https://h/ab", false),
            ("https://h/a/../b", false),
        ] {
            assert_eq!(forge.allows(address), may, "{address}");
        }
    }
}
