//! Mails, by a server of one's own.

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, Message, SmtpTransport, Transport};

use super::token::Token;
use super::webhook::secret;
use super::{ForgeError, PATIENCE};
use crate::workspace::Sink;

/// One mail to one address.
#[derive(Debug, Clone)]
pub struct Mail<'a> {
    /// From whom.
    pub from: &'a str,
    /// To whom.
    pub to: &'a str,
    /// Its subject.
    pub subject: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// So that no machine answers it (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

/// Sends a mail, if the sink allows its address. `login` is a user and the variable with the password.
pub fn mail(
    sink: &Sink,
    server: &str,
    login: Option<(&str, &str)>,
    mail: &Mail<'_>,
) -> Result<(), ForgeError> {
    if !sink.allows(mail.to) {
        return Err(ForgeError::NotAllowed { address: mail.to.to_owned() });
    }
    let (secure, rest) = match server.split_once("://") {
        Some((scheme, rest)) => (scheme == "smtps", rest),
        None => (true, server),
    };
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (rest, None),
    };
    let answer = |reason: String| ForgeError::Answer { host: host.to_owned(), reason };
    let person =
        |text: &str| text.parse::<Address>().map(Into::into).map_err(|e| answer(format!("{text}: {e}")));
    let message = Message::builder()
        .from(person(mail.from)?)
        .to(person(mail.to)?)
        .subject(mail.subject)
        .message_id(None)
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text.to_owned())
        .map_err(|e| answer(e.to_string()))?;
    let tls = || TlsParameters::new(host.to_owned()).map_err(|e| answer(e.to_string()));
    let local = matches!(host, "127.0.0.1" | "localhost");
    let (tls, usual) = match secure {
        true => (Tls::Wrapper(tls()?), 465),
        // Nobody listens on the way to this machine itself.
        false if local => (Tls::None, 25),
        false => (Tls::Required(tls()?), 587),
    };
    let mut transport = SmtpTransport::builder_dangerous(host).port(port.unwrap_or(usual)).tls(tls);
    if let Some((user, password_env)) = login {
        let password = secret(password_env, Token::password)?;
        transport = transport.credentials(Credentials::new(user.to_owned(), password.secret().to_owned()));
    }
    let transport = transport.timeout(Some(PATIENCE)).build();
    transport.send(&message).map(drop).map_err(|e| match e.status() {
        Some(code) => {
            let mut reason = e.to_string();
            if let Some(source) = std::error::Error::source(&e) {
                reason = source.to_string();
            }
            let status = code.to_string().parse().unwrap_or(0);
            ForgeError::Refused { host: host.to_owned(), status, reason }
        }
        None => {
            let mut last: &dyn std::error::Error = &e;
            while let Some(source) = last.source() {
                last = source;
            }
            ForgeError::Unreachable { host: host.to_owned(), reason: last.to_string() }
        }
    })
}
