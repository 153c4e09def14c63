//! What `docs/reliability.md` promises of remotes: those that refuse, lie, hang, break off or lose an answer leave the old build
//! or the new one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::faults::{lab, recovers, state, system, text, went_out_whole};
use crate::support::lab::{Lab, numbered};

/// A `git` on PATH before the real one, which runs these lines of shell first: `$real` is the real one.
fn with_git(lab: &Lab, lines: &str) -> Command {
    let folder = lab.path("fake");
    std::fs::create_dir_all(&folder).expect("a folder");
    let real = String::from_utf8_lossy(
        &Command::new("sh").args(["-c", "command -v git"]).output().expect("sh").stdout,
    )
    .trim()
    .to_owned();
    let script = format!("#!/bin/sh\nreal={real}\n{lines}\nexec \"$real\" \"$@\"\n");
    std::fs::write(folder.join("git"), script).expect("written");
    assert!(system("chmod", &["+x", folder.join("git").to_str().expect("a path")]));
    let mut command = lab.carry_command("ws", &["nightly"]);
    command.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").expect("a path")));
    command
}

#[test]
fn a_deploy_branch_that_moves_between_the_look_and_the_push_is_not_overwritten() {
    let lab = lab();
    let before = state(&lab);
    let foreign = lab.git("up", &["rev-parse", "main"]);
    lab.git("deploy.git", &["fetch", "-q", "../up", "main"]);
    let deploy = lab.path("deploy.git");
    let lines = format!(
        "case \" $* \" in *' push '*) \"$real\" --git-dir '{}' update-ref refs/heads/deploy/p {foreign};; esac",
        deploy.display()
    );
    let out = with_git(&lab, &lines).output().expect("it runs");
    assert_eq!(out.status.code(), Some(4), "{}", text(&out));
    assert!(text(&out).contains("stale info") || text(&out).contains("deploy/p"), "{}", text(&out));
    assert_eq!(lab.deployed(), foreign, "what somebody else put there stays");
    assert_eq!(lab.git("ws", &["rev-parse", "HEAD"]), before.1);
    lab.git("deploy.git", &["update-ref", "refs/heads/deploy/p", &before.0]);
    recovers(&lab, &before);
}

#[test]
fn a_refused_push_changes_nothing_and_says_what_the_server_said() {
    let lab = lab();
    let before = state(&lab);
    let hook = lab.path("deploy.git/hooks/update");
    // Of all refs of a build, only the branch is refused.
    let refuses = "#!/bin/sh\ncase $1 in refs/heads/*) echo 'a freeze until Monday' >&2; exit 1;; esac\n";
    std::fs::write(&hook, refuses).expect("written");
    assert!(system("chmod", &["+x", hook.to_str().expect("a path")]));
    let refs = lab.git("deploy.git", &["for-each-ref"]);
    let said = lab.carry_code(4, &["nightly"]);
    assert!(said.contains("hook declined") && said.contains("a freeze until Monday"), "{said}");
    assert_eq!(
        (state(&lab), lab.git("deploy.git", &["for-each-ref"])),
        (before.clone(), refs),
        "not one ref went"
    );
    std::fs::remove_file(&hook).expect("gone");
    recovers(&lab, &before);
}

#[test]
fn a_remote_that_lies_about_its_branch_is_not_believed() {
    let lab = lab();
    let before = state(&lab);
    let lines = "case \" $* \" in *' ls-remote '*deploy*) printf '%s\\trefs/heads/deploy/p\\n' 0123456789012345678901234567890123456789; exit 0;; esac";
    let out = with_git(&lab, lines).output().expect("it runs");
    assert!(matches!(out.status.code(), Some(1 | 4)), "{}", text(&out));
    assert!(text(&out).contains("error: "), "{}", text(&out));
    assert_eq!(state(&lab), before);
    recovers(&lab, &before);
}

#[test]
fn a_remote_that_hangs_is_given_up_after_its_time() {
    let lab = lab();
    let before = state(&lab);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        // It takes every connection, and never says a word.
        let mut open = Vec::new();
        for stream in listener.incoming().take(8).flatten() {
            open.push(stream);
        }
    });
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let hanging =
        config.replace("upstream = \"../up\"", &format!("upstream = \"git://127.0.0.1:{port}/up\""));
    assert_ne!(config, hanging);
    lab.commit("ws", "another upstream", &[("carry.toml", Some(&hanging))]);
    let before_hang = state(&lab);
    let out = lab.carry_command("ws", &["nightly"]).env("GIT_CARRY_SILENCE", "1").output().expect("it runs");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("said nothing for 1 seconds"), "{}", text(&out));
    assert_eq!(state(&lab), before_hang);
    lab.commit("ws", "the old one", &[("carry.toml", Some(&config))]);
    recovers(&lab, &before);
}

/// A git server on loopback, for as long as this stands.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        // The daemon proper is a child of it, and of its group.
        system("kill", &["--", &format!("-{}", self.0.id())]);
        let _ = self.0.wait();
    }
}

#[test]
fn a_connection_that_breaks_in_a_push_leaves_the_old_build_or_the_new_one() {
    let lab = lab();
    let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let port = free();
    let base = format!("--base-path={}", lab.path(".").display());
    let daemon = Command::new("git")
        .args([
            "daemon",
            "--listen=127.0.0.1",
            &format!("--port={port}"),
            &base,
            "--export-all",
            "--enable=receive-pack",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("git daemon runs");
    let _server = Server(daemon);
    // Between the two stands one that lets so many bytes through to the server, and then breaks off.
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = listener.local_addr().expect("an address").port();
    let allowed = left.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let (mut from, mut to) =
                (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            let allowed = allowed.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 256];
                while let Ok(n @ 1..) = from.read(&mut buffer) {
                    let had = allowed.load(Ordering::SeqCst);
                    if had < n || to.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                    if had != usize::MAX {
                        allowed.fetch_sub(n, Ordering::SeqCst);
                    }
                }
                let _ = from.shutdown(std::net::Shutdown::Both);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            let (mut back, mut out) = (server, client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut out);
                let _ = out.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let far = config.replace("\"../deploy.git\"", &format!("\"git://127.0.0.1:{proxy}/deploy.git\""));
    assert_ne!(config, far);
    lab.commit("ws", "by way of the network", &[("carry.toml", Some(&far))]);
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut broke = 0;
    for bytes in [0, 40, 120, 200, 300, 450, 600, 800, 1_000, 1_300, 1_700, 2_200, 3_000, 4_000] {
        let old = lab.deployed();
        left.store(bytes, Ordering::SeqCst);
        let out = lab.carry(&["nightly"]);
        let code = out.status.code();
        assert!(matches!(code, Some(0 | 1 | 4)), "{bytes}: {}", text(&out));
        broke += usize::from(code != Some(0));
        left.store(usize::MAX, Ordering::SeqCst);
        went_out_whole(&lab, &old, &format!("{bytes} bytes"));
        lab.carry_code(0, &["manifest", "verify"]);
        lab.git("deploy.git", &["fsck", "--strict", "--no-dangling"]);
        lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, &format!("theirs {bytes}"))])))]);
    }
    assert!(broke >= 6, "{broke} pushes broke");
}

#[test]
fn a_push_whose_answer_is_lost_is_asked_about_and_never_forgotten() {
    let lab = lab();
    let lost = "case \" $* \" in *' push '*) \"$real\" \"$@\" >/dev/null 2>&1; FLAG; \
        echo 'fatal: the remote end hung up unexpectedly' >&2; exit 128;; esac";
    // The push arrives, and its answer does not: the remote is asked, and the night goes on.
    let before = state(&lab);
    let out = with_git(&lab, &lost.replace("FLAG", ":")).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert_ne!(state(&lab).0, before.0);
    lab.carry_code(0, &["manifest", "verify"]);
    assert_eq!(lab.json(0, &["nightly"])[0]["done"], "quiet");

    // Then the remote is away, and cannot be asked either.
    lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs"), (5, "more")])))]);
    let away = lab.path("away").display().to_string();
    let gone = format!(
        "case \" $* \" in *' ls-remote '*) if [ -e '{away}' ]; then echo 'fatal: no route to host' >&2; exit 128; fi;; esac\n{}",
        lost.replace("FLAG", &format!("touch '{away}'"))
    );
    let before = state(&lab);
    let out = with_git(&lab, &gone).output().expect("it runs");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("cannot be asked") && text(&out).contains("hint: "), "{}", text(&out));
    let pushed = state(&lab);
    assert_ne!(pushed.0, before.0, "it arrived");
    assert_eq!(pushed.1, before.1, "and nobody here knows yet");
    // It is there again, and trunk has gone on: what went out is not taken for somebody else's.
    lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs"), (5, "yet more")])))]);
    let said = lab.carry_code(0, &["nightly"]);
    assert!(said.contains("it is finished now"), "{said}");
    let lock = lab.git("ws", &["log", "-p", "--format=", "--", "carry.lock"]);
    assert!(lock.contains(&pushed.0), "the build that was pushed is recorded");
    lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs"), (5, "even more")])))]);
    recovers(&lab, &state(&lab));

    // What never arrived is told so, and nothing of it remains.
    lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs"), (5, "at last")])))]);
    let before = state(&lab);
    let out = with_git(&lab, &lost.replace("\"$real\" \"$@\" >/dev/null 2>&1", "true").replace("FLAG", ":"))
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(4), "{}", text(&out));
    assert!(text(&out).contains("did not say that it took the build"), "{}", text(&out));
    assert_eq!(state(&lab), before);
    recovers(&lab, &before);
}
