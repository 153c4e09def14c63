//! A git server on loopback: git's own `git http-backend`, behind a few lines of HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Serves the repositories below `root`, pushes too where they allow it; ends with the test. Returns its address.
pub fn serve(root: &Path) -> String {
    serve_watched(root).0
}

/// The same, with the number of requests that it is at work on.
pub fn serve_watched(root: &Path) -> (String, Arc<AtomicUsize>) {
    let busy: Arc<AtomicUsize> = Arc::default();
    let at_work = busy.clone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let root = root.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (root, at_work) = (root.clone(), at_work.clone());
            at_work.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = answer(stream, root);
                at_work.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, busy)
}

fn answer(mut stream: TcpStream, root: PathBuf) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? <= 2 {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let Some(request) = lines.first() else { return Ok(()) };
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |name: &str| {
        let found = lines.iter().filter_map(|l| l.split_once(": "));
        found.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned())
    };
    if header("Expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if header("Transfer-Encoding").is_some_and(|t| t == "chunked") {
        loop {
            let mut size = String::new();
            from.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            from.by_ref().take(size).read_to_end(&mut body)?;
            from.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = header("Content-Length").and_then(|l| l.parse().ok()) {
        from.by_ref().take(length).read_to_end(&mut body)?;
    }
    let mut backend = Command::new("git");
    backend.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A test may write the server's configuration.
    backend.env("GIT_CONFIG_GLOBAL", root.join("server.gitconfig"));
    backend.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "someone");
    backend.env("REMOTE_ADDR", "127.0.0.1");
    backend.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
    backend.env("CONTENT_LENGTH", body.len().to_string());
    for (name, key) in [
        ("Content-Type", "CONTENT_TYPE"),
        ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
        ("Git-Protocol", "GIT_PROTOCOL"),
    ] {
        if let Some(value) = header(name) {
            backend.env(key, value);
        }
    }
    let mut backend = backend.spawn()?;
    let mut input = backend.stdin.take().expect("a pipe");
    // Beside the reading: it may answer before it has read all.
    let feeding = std::thread::spawn(move || input.write_all(&body));
    let out = backend.wait_with_output()?.stdout;
    let _ = feeding.join();
    let end = out.windows(4).position(|w| w == b"\r\n\r\n").map_or(out.len(), |at| at + 4);
    let (head, rest) = out.split_at(end);
    let text = String::from_utf8_lossy(head);
    let status = text.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK");
    let others: Vec<&str> = text.lines().filter(|l| !l.is_empty() && !l.starts_with("Status: ")).collect();
    let length = rest.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
        others.join("\r\n")
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(rest)
}
