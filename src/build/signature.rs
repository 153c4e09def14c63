//! Signatures by SSH keys, made and held against a file of allowed signers by `ssh-keygen -Y`, as git itself does.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

/// What a manifest's signature is for: one that was made for anything else is none.
pub const MANIFEST: &str = "git-carry-manifest";
/// What the signature in an envelope around a statement is for.
pub const STATEMENT: &str = "git-carry-statement";

/// How long `ssh-keygen` may take; longer where a person may have to type or touch something.
const LIMIT: Duration = Duration::from_secs(60);
const LIMIT_WITH_A_PERSON: Duration = Duration::from_secs(600);
/// How often it is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Why something could not be signed, or a signature not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no such program.
    #[error("the ssh-keygen program cannot be run: {0}")]
    Missing(std::io::Error),
    /// The key's file is not there.
    #[error("the signing key '{}' cannot be read: {source}", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key does not sign.
    #[error("the signing key '{}' does not sign: {said}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What `ssh-keygen` said.
        said: String,
    },
    /// It took too long.
    #[error("ssh-keygen did not end within {seconds} seconds")]
    Slow {
        /// How long was waited.
        seconds: u64,
    },
    /// A file beside the call cannot be written or read.
    #[error("'{}': {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Who may sign, and who may not any more: files as `ssh-keygen` reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The allowed signers; without the file nobody is known.
    pub allowed: Option<PathBuf>,
    /// The revoked keys.
    pub revoked: Option<PathBuf>,
    /// The moment for which it is asked, in RFC 3339; none: now.
    pub as_of: Option<jiff::Timestamp>,
}

/// What a signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is by one who may sign.
    Good {
        /// Who, as the allowed signers call him.
        signer: String,
        /// The key's fingerprint.
        key: String,
    },
    /// It is by this key, over these very bytes; whose key that is, is not known, as nobody is told to be allowed.
    Unknown {
        /// The key's fingerprint.
        key: String,
    },
    /// It is no signature at all.
    Damaged,
    /// It was made for something else.
    Namespace {
        /// For what.
        found: String,
    },
    /// It is over other bytes.
    Altered {
        /// The key that signed.
        key: String,
    },
    /// The key is not among the allowed ones.
    NotAllowed {
        /// The key's fingerprint.
        key: String,
    },
    /// The key is among the allowed ones, but not for this use, or not at this time.
    NotNow {
        /// The key's fingerprint.
        key: String,
    },
    /// The key is revoked.
    Revoked {
        /// The key's fingerprint.
        key: String,
    },
}

/// Signs `bytes` with the key in the file `key`: private, or public, then an agent has the other half. Returns the
/// armoured signature.
pub fn sign(key: &Path, namespace: &str, bytes: &[u8]) -> Result<Vec<u8>, SignatureError> {
    std::fs::metadata(key).map_err(|source| SignatureError::Key { path: key.to_owned(), source })?;
    let folder = tempfile::tempdir().map_err(io(Path::new("")))?;
    let file = folder.path().join("signed");
    std::fs::write(&file, bytes).map_err(io(&file))?;
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-n", namespace, "-f"]).arg(key).arg(&file);
    // A passphrase is asked for on a terminal, and nowhere else.
    let (stdin, limit) = if std::io::stdin().is_terminal() {
        (Stdio::inherit(), LIMIT_WITH_A_PERSON)
    } else {
        command.env("SSH_ASKPASS_REQUIRE", "never");
        (Stdio::null(), LIMIT)
    };
    let said = run(command, stdin, limit)?;
    let made = file.with_extension("sig");
    if !said.good || !made.is_file() {
        return Err(SignatureError::Refused { path: key.to_owned(), said: said.words });
    }
    std::fs::read(&made).map_err(io(&made))
}

/// Holds a signature over `bytes` against those who may sign.
pub fn check(
    signature: &[u8],
    namespace: &str,
    bytes: &[u8],
    trust: &Trust,
) -> Result<Standing, SignatureError> {
    let Some(parts) = Parts::read(signature) else { return Ok(Standing::Damaged) };
    if parts.namespace != namespace.as_bytes() {
        return Ok(Standing::Namespace { found: String::from_utf8_lossy(&parts.namespace).into_owned() });
    }
    let key = fingerprint(&parts.key);
    let folder = tempfile::tempdir().map_err(io(Path::new("")))?;
    let [file, sig] = ["signed", "signed.sig"].map(|name| folder.path().join(name));
    std::fs::write(&file, bytes).map_err(io(&file))?;
    std::fs::write(&sig, signature).map_err(io(&sig))?;
    let ask = |what: &str, more: &dyn Fn(&mut Command)| -> Result<Said, SignatureError> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", what, "-s"]).arg(&sig);
        more(&mut command);
        if let Some(at) = trust.as_of {
            command.arg(format!("-Overify-time={}Z", at.strftime("%Y%m%d%H%M%S")));
        }
        let stdin = std::fs::File::open(&file).map_err(io(&file))?;
        run(command, stdin.into(), LIMIT)
    };
    let whole = ask("check-novalidate", &|c| {
        c.args(["-n", namespace]);
    })?;
    if !whole.good {
        return Ok(Standing::Altered { key });
    }
    let Some(allowed) = &trust.allowed else { return Ok(Standing::Unknown { key }) };
    let listed = std::fs::read_to_string(allowed).map_err(io(allowed))?;
    let names = ask("find-principals", &|c| {
        c.arg("-f").arg(allowed);
    })?;
    let mut passed = None;
    for name in names.out.lines().filter(|_| names.good) {
        let verified = |revoked: Option<&Path>| {
            ask("verify", &|c| {
                c.args(["-n", namespace, "-I", name, "-f"]).arg(allowed);
                if let Some(revoked) = revoked {
                    c.arg("-r").arg(revoked);
                }
            })
        };
        if verified(None)?.good {
            if let Some(revoked) = &trust.revoked {
                std::fs::metadata(revoked).map_err(io(revoked))?;
                if !verified(Some(revoked))?.good {
                    return Ok(Standing::Revoked { key });
                }
            }
            passed = Some(name.to_owned());
            break;
        }
    }
    let as_listed = STANDARD.encode(&parts.key);
    Ok(match passed {
        Some(signer) => Standing::Good { signer, key },
        None if listed.split_whitespace().any(|word| word == as_listed) => Standing::NotNow { key },
        None => Standing::NotAllowed { key },
    })
}

/// The fingerprint of the key that made a signature, as `ssh-keygen -l` shows it; none if it is no signature.
pub fn key_of(signature: &[u8]) -> Option<String> {
    Parts::read(signature).map(|parts| fingerprint(&parts.key))
}

fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

/// What stands in a signature (OpenSSH's `PROTOCOL.sshsig`).
struct Parts {
    key: Vec<u8>,
    namespace: Vec<u8>,
}

impl Parts {
    fn read(armoured: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(armoured).ok()?;
        let body = text.trim().strip_prefix("-----BEGIN SSH SIGNATURE-----")?;
        let body: String = body.strip_suffix("-----END SSH SIGNATURE-----")?.split_whitespace().collect();
        let blob = STANDARD.decode(body).ok()?;
        let mut rest = blob.strip_prefix(b"SSHSIG")?.strip_prefix(&[0, 0, 0, 1])?;
        let mut next = || {
            let (size, tail) = rest.split_first_chunk::<4>()?;
            let (field, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
            rest = tail;
            Some(field.to_vec())
        };
        Some(Self { key: next()?, namespace: next()? })
    }
}

/// What `ssh-keygen` said.
struct Said {
    good: bool,
    out: String,
    words: String,
}

fn run(mut command: Command, stdin: Stdio, limit: Duration) -> Result<Said, SignatureError> {
    let spool = || tempfile::tempfile().map_err(io(Path::new("")));
    let (mut out, mut err) = (spool()?, spool()?);
    let copy = |file: &std::fs::File| file.try_clone().map(Stdio::from).map_err(io(Path::new("")));
    command.env("LC_ALL", "C").stdin(stdin).stdout(copy(&out)?).stderr(copy(&err)?);
    let mut child = command.spawn().map_err(SignatureError::Missing)?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(SignatureError::Missing)? {
            break status;
        }
        if started.elapsed() > limit {
            // It may have ended by itself just now; either way it is gone.
            let _ = child.kill();
            let _ = child.wait();
            return Err(SignatureError::Slow { seconds: limit.as_secs() });
        }
        std::thread::sleep(TICK);
    };
    let read = |file: &mut std::fs::File| -> Result<String, SignatureError> {
        let mut bytes = Vec::new();
        std::io::Seek::rewind(file).and_then(|()| file.read_to_end(&mut bytes)).map_err(io(Path::new("")))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let (out, words) = (read(&mut out)?, read(&mut err)?);
    Ok(Said { good: status.success(), out, words })
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> SignatureError {
    let path = if path.as_os_str().is_empty() { std::env::temp_dir() } else { path.to_owned() };
    move |source| SignatureError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Keys {
        folder: tempfile::TempDir,
    }

    impl Keys {
        fn new(names: &[&str]) -> Self {
            let keys = Self { folder: tempfile::tempdir().expect("a folder") };
            for name in names {
                let mut command = Command::new("ssh-keygen");
                command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(keys.path(name));
                assert!(command.status().expect("ssh-keygen runs").success());
            }
            keys
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn public(&self, name: &str) -> String {
            let text = std::fs::read_to_string(self.path(&format!("{name}.pub"))).expect("a key");
            text.split(' ').take(2).collect::<Vec<_>>().join(" ")
        }

        fn allow(&self, lines: &str) -> Trust {
            std::fs::write(self.path("allowed"), lines).expect("written");
            Trust { allowed: Some(self.path("allowed")), ..Trust::default() }
        }
    }

    #[test]
    fn each_way_in_which_a_signature_is_worth_nothing_is_told_apart() {
        let keys = Keys::new(&["bot", "other"]);
        let sig = sign(&keys.path("bot"), MANIFEST, b"text").expect("it signs");
        let standing = |sig: &[u8], bytes: &[u8], trust: &Trust| {
            check(sig, MANIFEST, bytes, trust).expect("it is looked at")
        };
        let bot = keys.public("bot");
        let all = keys.allow(&format!("bot@x {bot}\n"));
        let Standing::Good { signer, key } = standing(&sig, b"text", &all) else { panic!("it is good") };
        assert_eq!(signer, "bot@x");
        let key = || key.clone();
        assert_eq!(standing(&sig, b"text", &Trust::default()), Standing::Unknown { key: key() });
        assert_eq!(standing(&sig, b"texu", &all), Standing::Altered { key: key() });
        assert_eq!(standing(b"nonsense", b"text", &all), Standing::Damaged);
        let elsewhere = sign(&keys.path("bot"), "file", b"text").expect("it signs");
        assert_eq!(standing(&elsewhere, b"text", &all), Standing::Namespace { found: "file".into() });

        std::fs::write(keys.path("revoked"), format!("{bot}\n")).expect("written");
        let revoked = Trust { revoked: Some(keys.path("revoked")), ..all.clone() };
        assert_eq!(standing(&sig, b"text", &revoked), Standing::Revoked { key: key() });

        let expired = keys.allow(&format!("bot@x valid-before=\"20200101Z\" {bot}\n"));
        assert_eq!(standing(&sig, b"text", &expired), Standing::NotNow { key: key() });
        let then = Trust { as_of: "2019-06-01T00:00:00Z".parse().ok(), ..expired };
        assert!(matches!(standing(&sig, b"text", &then), Standing::Good { .. }));
        let for_git = keys.allow(&format!("bot@x namespaces=\"git\" {bot}\n"));
        assert_eq!(standing(&sig, b"text", &for_git), Standing::NotNow { key: key() });
        let other = keys.allow(&format!("other@x {}\n", keys.public("other")));
        assert_eq!(standing(&sig, b"text", &other), Standing::NotAllowed { key: key() });
    }

    #[test]
    fn a_key_that_cannot_sign_says_so() {
        let keys = Keys::new(&["bot"]);
        let missing = sign(&keys.path("nobody"), MANIFEST, b"text").expect_err("it is not there");
        assert!(matches!(missing, SignatureError::Key { .. }), "{missing}");
        std::fs::write(keys.path("broken"), "no key\n").expect("written");
        let broken = sign(&keys.path("broken"), MANIFEST, b"text").expect_err("it is none");
        assert!(matches!(&broken, SignatureError::Refused { said, .. } if !said.is_empty()), "{broken}");
    }
}
