//! A small GitHub behind GitHub's own description (`tests/forge/fake.mjs`).

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use super::lab::Lab;

/// A process that ends with the test.
pub struct Running(pub std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server; it ends with the test.
pub struct Github {
    process: Running,
    pub port: u16,
}

pub const TOKEN: &str = "s3cret-t0ken-for-the-test";

impl Github {
    /// None where its parts are not installed; on a build server they must be.
    pub fn start(lab: &Lab) -> Option<Self> {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = here.join("target/forge/node_modules");
        let there = modules.join("@octokit/openapi/generated/api.github.com.json").exists();
        assert!(there || std::env::var_os("CI").is_none(), "{} is not installed", modules.display());
        if !there {
            println!("passed over: no {}; see .ci/run", modules.display());
            return None;
        }
        let mut node = std::process::Command::new("node");
        node.arg(here.join("tests/forge/fake.mjs")).arg(modules);
        node.args([lab.path("."), lab.path("me/thing.git")]).arg(TOKEN);
        node.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut process = node.spawn().expect("node runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("a port");
        Some(Self { process: Running(process), port })
    }

    /// Tells it something, and gives what it knows.
    pub fn control(&self, told: &Value) -> Value {
        use std::io::Read as _;
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let body = told.to_string();
        let head = format!("POST /control HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).expect("it is told");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
    }
}

impl Drop for Github {
    fn drop(&mut self) {
        // It ends what it started once its input ends.
        drop(self.process.0.stdin.take());
        for _ in 0..100 {
            if self.process.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
