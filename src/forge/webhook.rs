//! A JSON document goes to an address that is itself a secret, or with a token: webhooks of all kinds, and Matrix.

use serde_json::Value;

use super::token::Token;
use super::{ForgeError, agent};
use crate::workspace::{Sink, authority};

/// How much of an answer is read.
const MOST: u64 = 64 << 10;

/// Posts a document to the address that the variable `url_env` holds.
pub fn post(sink: &Sink, url_env: &str, token_env: Option<&str>, body: &Value) -> Result<(), ForgeError> {
    let url = variable(url_env)?;
    let token = token_env.map(variable).transpose()?;
    send(sink, &url, token.as_ref(), false, body)
}

/// Sends a message to a room of Matrix; `id` is the same for what is the same message, so that one that was sent twice
/// is there once ("Client-Server API", `PUT /rooms/{roomId}/send/{eventType}/{txnId}`).
pub fn matrix(
    sink: &Sink,
    (server, room): (&str, &str),
    token_env: &str,
    id: &str,
    body: &Value,
) -> Result<(), ForgeError> {
    let token = variable(token_env)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let room: String = room
        .bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    let url = format!("{server}/_matrix/client/v3/rooms/{room}/send/m.room.message/{id}");
    send(sink, &Token::of(&url).ok_or_else(|| malformed(server))?, Some(&token), true, body)
}

/// A secret of the environment, that can stand in a header or is an address.
fn variable(name: &str) -> Result<Token, ForgeError> {
    secret(name, Token::of)
}

/// A secret of the environment, as `read` takes it.
pub(super) fn secret(name: &str, read: fn(&str) -> Option<Token>) -> Result<Token, ForgeError> {
    let unset = || ForgeError::Unset { variable: name.to_owned() };
    read(&std::env::var(name).map_err(|_| unset())?).ok_or_else(unset)
}

fn malformed(host: &str) -> ForgeError {
    let reason = "the address must start with https://, and name a server and nobody".to_owned();
    ForgeError::Unreachable { host: host.to_owned(), reason }
}

/// Sends it to the address and nowhere else: no redirection is followed. No error holds more of the address than its
/// server.
fn send(sink: &Sink, url: &Token, token: Option<&Token>, put: bool, body: &Value) -> Result<(), ForgeError> {
    let address = url.secret();
    let server = authority(address);
    let name = server.rsplit_once(':').map_or(server, |(name, _)| name);
    let safe = address.starts_with("https://")
        || address.starts_with("http://") && matches!(name, "127.0.0.1" | "localhost");
    if !safe || server.is_empty() || server.contains('@') {
        // What stands before an `@` may be a password.
        return Err(malformed(if server.contains('@') { "the server" } else { server }));
    }
    if !sink.allows(server) {
        return Err(ForgeError::NotAllowed { address: server.to_owned() });
    }
    let host = server.to_owned();
    let hide = |text: String| {
        let path = address.split_once(server).map_or("", |(_, path)| path);
        let secrets = [address, path, token.map_or("", Token::secret)];
        secrets.iter().filter(|s| s.len() > 1).fold(text, |text, secret| text.replace(secret, "***"))
    };
    let agent = agent();
    let request = if put { agent.put(address) } else { agent.post(address) };
    let mut request = request.header("Content-Type", "application/json").header("Accept", "application/json");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {}", token.secret()));
    }
    let unreachable =
        |e: ureq::Error| ForgeError::Unreachable { host: host.clone(), reason: hide(e.to_string()) };
    let mut answer = request.send(body.to_string()).map_err(unreachable)?;
    let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (status, after) = (answer.status().as_u16(), header("retry-after"));
    match status {
        200..=299 => Ok(()),
        429 => Err(ForgeError::Limited { host, until: after.map(|s| format!("{s} seconds from now")) }),
        _ => {
            let said = answer.body_mut().with_config().limit(MOST).read_to_string().unwrap_or_default();
            let reason = said.lines().next().unwrap_or_default().chars().take(200).collect();
            Err(ForgeError::Refused { host, status, reason: hide(reason) })
        }
    }
}
