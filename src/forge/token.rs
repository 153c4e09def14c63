//! Tokens: from the environment, `gh`'s own store, or git's credential helpers. They are never printed and never kept.

use std::process::{Command, Stdio};

use super::host;
use crate::store::git::Git;

/// A secret. What is printed of it is nothing.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    /// The secret itself, for the header of a request and nothing else.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// A password, which may hold any letter; none if it is empty.
    pub(super) fn password(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\r', '\n']);
        (!text.is_empty() && !text.contains(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// A text as a secret; none if it is empty, or holds what no header can.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }
}

/// The token for a GitHub whose pages are at `page`. The variables are those of `gh help environment`: a token of
/// github.com's goes to github.com alone.
pub(super) fn github(page: &str, git: &Git) -> Option<Token> {
    let host = host(page);
    let names = match host {
        "github.com" => ["GH_TOKEN", "GITHUB_TOKEN"],
        _ => ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"],
    };
    let set = names.iter().find_map(|name| Token::of(&std::env::var(name).ok()?));
    set.or_else(|| from_gh(host)).or_else(|| credential(page, git).map(|(_, token)| token))
}

/// `gh auth token`, where gh is installed and knows the server.
fn from_gh(host: &str) -> Option<Token> {
    let mut call = Command::new("gh");
    call.args(["auth", "token", "--hostname", host]);
    let out = call.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Token::of(std::str::from_utf8(&out.stdout).ok().filter(|_| out.status.success())?)
}

/// A name and a password for an address, from git's credential helpers; nobody is asked.
pub(super) fn credential(address: &str, git: &Git) -> Option<(String, Token)> {
    let (protocol, rest) = address.split_once("://")?;
    let host = rest.split('/').next()?;
    let asked = format!("protocol={protocol}\nhost={host}\n\n");
    let call = git.call(["-c", "core.askPass=", "credential", "fill"]).stdin(asked);
    let call = call.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "").env("SSH_ASKPASS", "");
    let answer = call.answer().ok().filter(|a| a.code == Some(0))?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
    Some((value("username")?.to_owned(), Token::of(value("password")?)?))
}
