//! Servers that take what is told: JSON by HTTP, and mails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

/// A server that takes JSON, or answers with another status.
#[derive(Clone)]
pub struct Listener {
    pub port: u16,
    taken: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Mutex<String>>,
}

pub const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

impl Listener {
    pub fn start() -> Self {
        Self::behind(None)
    }

    /// One that speaks TLS, if it is given a certificate.
    pub fn behind(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let this = Self { port, taken: Arc::default(), answer: Arc::new(Mutex::new(FINE.into())) };
        let (shared, tls) = (this.clone(), tls.map(Arc::new));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                match &tls {
                    None => shared.take(stream),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls.clone()).expect("a connection");
                        shared.take(StreamOwned::new(connection, stream));
                    }
                }
            }
        });
        this
    }

    /// Takes one request, if one comes.
    fn take(&self, stream: impl Read + Write) {
        let mut lines = BufReader::new(stream);
        let (mut first, mut headers) = (String::new(), BTreeMap::new());
        if lines.read_line(&mut first).is_err() {
            return;
        }
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|n| n > 2) {
            let (name, value) = line.split_once(':').expect("a header");
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            line.clear();
        }
        let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        lines.read_exact(&mut body).expect("a body");
        let body = if length == 0 { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
        let request = Request { line: first.trim().to_owned(), headers, body };
        self.taken.lock().expect("ours").push(request);
        let answer = self.answer.lock().expect("ours").clone();
        let _ = lines.get_mut().write_all(answer.as_bytes());
        let _ = lines.get_mut().flush();
    }

    /// What came since it was asked last.
    pub fn took(&self) -> Vec<Request> {
        std::mem::take(&mut self.taken.lock().expect("ours"))
    }

    pub fn answer(&self, answer: &str) {
        *self.answer.lock().expect("ours") = answer.to_owned();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// A mail server of other people's (aiosmtpd, see `tests/validators/requirements.txt`), which prints each mail that it
/// takes as a line of JSON.
pub struct Mails {
    server: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    pub port: u16,
}

impl Mails {
    /// None where it is not installed; on a build server it must be. `tls` is a file with a key and a certificate.
    pub fn start(login: Option<(&str, &str)>, tls: Option<&Path>) -> Option<Self> {
        let fixed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/validators");
        let folder = std::env::var_os("GIT_CARRY_VALIDATORS").map_or(fixed, PathBuf::from);
        let python = folder.join("bin/python");
        let ask = Command::new(&python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        let there = ask.is_ok_and(|status| status.success());
        assert!(there || std::env::var_os("CI").is_none(), "no aiosmtpd in {}", folder.display());
        if !there {
            println!("passed over: no aiosmtpd in {}; see .ci/run", folder.display());
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validators/smtp.py"));
        command
            .arg(port.to_string())
            .args(login.map(|(user, word)| format!("{user}:{word}")).or(Some(String::new())));
        command.args(tls).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().expect("python runs");
        let mut out: BufReader<ChildStdout> = BufReader::new(server.stdout.take().expect("its output"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let shared = lines.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                shared.lock().expect("ours").push(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Some(Self { server, lines, port })
    }

    /// So many mails that came since it was asked last, by their receivers. It answers a mail only after it was printed,
    /// but the line has to come through the pipe.
    pub fn took(&self, count: usize) -> Vec<Value> {
        for _ in 0..250 {
            if self.lines.lock().expect("ours").len() >= count {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let mut all = std::mem::take(&mut *self.lines.lock().expect("ours"));
        all.sort_by_key(|mail| mail["to"].to_string());
        all
    }
}

impl Drop for Mails {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
