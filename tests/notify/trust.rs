//! Whom the program trusts: the authorities of the system, a house's own among them, as `SSL_CERT_FILE` adds one.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::listen::{Listener, Mails};
use super::{configure, day, lab, run};
use crate::support::lab::Lab;

/// A certificate for `localhost` that no authority signed, and a file with its key as well.
fn certificate(lab: &Lab) -> (PathBuf, PathBuf) {
    let both = lab.path("both.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
        ])
        .arg(&both)
        .arg("-out")
        .arg(lab.path("certificate.pem"))
        .stderr(Stdio::null())
        .status()
        .expect("openssl runs");
    assert!(made.success());
    let certificate = std::fs::read_to_string(lab.path("certificate.pem")).expect("a certificate");
    let key = std::fs::read_to_string(&both).expect("a key");
    std::fs::write(&both, key + &certificate).expect("written");
    (lab.path("certificate.pem"), both)
}

#[test]
fn a_mail_server_is_trusted_only_if_its_certificate_is() {
    let lab = lab();
    let (certificate, both) = certificate(&lab);
    let Some(server) = Mails::start(None, Some(&both)) else { return };
    configure(
        &lab,
        &format!(
            "[[notify]]\nname = \"mail\"\nkind = \"email\"\nserver = \"smtps://localhost:{}\"\nfrom = \"carry@example.org\"\n\
             to = [\"team@example.org\"]\nallow = [\"team@example.org\"]\n",
            server.port
        ),
    );
    let told = run(&lab, &day(1), &[], 1, &["notify", "--test"]);
    assert!(told.contains("localhost cannot be reached") && told.contains("certificate"), "{told}");
    assert!(server.took(0).is_empty());
    run(&lab, &day(1), &[("SSL_CERT_FILE", certificate.to_str().expect("a path"))], 0, &["notify", "--test"]);
    let mails = server.took(1);
    assert_eq!(mails[0]["subject"], "p: a test of git-carry");
    assert!(mails[0]["text"].as_str().expect("a text").contains("nothing is wrong"), "{mails:#?}");
}

#[test]
fn a_server_is_trusted_only_if_its_certificate_is_and_a_house_s_own_authority_can_be() {
    let lab = lab();
    let (certificate, both) = certificate(&lab);
    let chain = vec![CertificateDer::from_pem_file(&certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&both).expect("a key");
    let provider = rustls::crypto::ring::default_provider();
    let tls = ServerConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
    let tls = tls.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a server");
    let hook = Listener::behind(Some(tls));
    configure(
        &lab,
        &format!(
            "[[notify]]\nname = \"hook\"\nkind = \"webhook\"\nurl_env = \"HOOK_URL\"\nallow = [\"localhost:{}\"]\n",
            hook.port
        ),
    );
    let url = format!("https://localhost:{}/told", hook.port);
    let told = run(&lab, &day(1), &[("HOOK_URL", &url)], 1, &["notify", "--test"]);
    assert!(told.contains("localhost") && told.contains("certificate"), "{told}");
    assert!(hook.took().is_empty());
    let trusted = certificate.to_str().expect("a path");
    run(&lab, &day(1), &[("HOOK_URL", &url), ("SSL_CERT_FILE", trusted)], 0, &["notify", "--test"]);
    let requests = hook.took();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "POST /told HTTP/1.1");
}
