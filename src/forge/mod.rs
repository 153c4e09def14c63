//! In: where a project's patches go, what was sent, and who is told what. Out: pull requests, what became of all that was
//! sent, and messages that went out.
//! The only module with network clients of its own (fetch and push are git's). Never: a git object, a patch, the terminal.

mod cache;
mod gerrit;
mod github;
mod issue;
mod mail;
mod state;
mod token;
mod webhook;

pub use cache::Cache;
pub use github::{Proposal, Proposed, propose, ready};
pub use issue::{Kept, Light, keep_issue, set_status};
pub use mail::{Mail, mail};
pub use state::{Change, Checks, Phase, Review, Sent, Side, State, sent};
pub use token::Token;
pub use webhook::{matrix, post};

use ureq::tls::{RootCerts, TlsConfig};

use crate::store::git::Git;
use crate::workspace::{Forge, ForgeKind};

/// How long a server may take to answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Why a forge gave no answer. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// There is no token for it.
    #[error("there is no token for {host}")]
    NoToken {
        /// The server.
        host: String,
    },
    /// The variable that is to hold its address, token or password is not set.
    #[error("{variable} is not set in the environment")]
    Unset {
        /// Its name.
        variable: String,
    },
    /// The address is not on the allow-list.
    #[error("{address} is not on the allow-list")]
    NotAllowed {
        /// The address, without secrets.
        address: String,
    },
    /// It cannot be reached, or did not answer in time.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The server.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// It wants fewer requests.
    #[error("{host} takes no more requests for now{}", .until.as_ref().map(|u| format!(", until {u}")).unwrap_or_default())]
    Limited {
        /// The server.
        host: String,
        /// Until when, as it says.
        until: Option<String>,
    },
    /// It refused.
    #[error("{host} refused ({status}): {reason}")]
    Refused {
        /// The server.
        host: String,
        /// The status code of HTTP.
        status: u16,
        /// What it said.
        reason: String,
    },
    /// It answered something that cannot be understood.
    #[error("{host} answered something unexpected: {reason}")]
    Answer {
        /// The server.
        host: String,
        /// What.
        reason: String,
    },
}

/// A client of HTTP that waits so long, takes any status, and goes nowhere that it was not sent: a redirection could lead
/// a secret elsewhere.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("git-carry/", env!("CARGO_PKG_VERSION")))
        // Who is trusted is what the system trusts, as for git: many a forge is known by a house's own authority alone.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .build()
        .into()
}

/// The server of an address.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Asks what became of what was sent, hundreds in one call. One state for each, none where the forge knows nothing of it;
/// of mails nothing can be asked. `git` is asked for credentials, `cache` holds what may be used again.
pub fn ask(
    forge: &Forge,
    git: &Git,
    sent: &[Sent],
    cache: &mut Cache,
) -> Result<Vec<Option<State>>, ForgeError> {
    match forge.kind {
        _ if sent.is_empty() => Ok(Vec::new()),
        ForgeKind::Github => github::ask(forge, git, sent),
        ForgeKind::Gerrit => gerrit::ask(forge, git, sent, cache),
        ForgeKind::Mail => Ok(vec![None; sent.len()]),
    }
}

/// The number of a change of Gerrit's, by its Change-Id.
pub fn number_of(forge: &Forge, git: &Git, id: &str) -> Result<Option<u64>, ForgeError> {
    gerrit::number_of(forge, git, id)
}
