//! Trunk and builds by way of ssh: a real `sshd` on loopback, with a key of its own and one for the user.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::faults::{lab, recovers, state, system};
use crate::support::lab::{Lab, numbered};

const SSHD: &str = "/usr/sbin/sshd";

/// It ends with the test.
struct Sshd {
    child: Child,
    /// What `ssh` is to be called with.
    ssh: String,
    port: u16,
    known: PathBuf,
    authorized: PathBuf,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// None where it is not installed; on a build server it must be there. The workspace's upstream and remote are behind it
    /// from then on.
    fn start(lab: &Lab) -> Option<Self> {
        let there = PathBuf::from(SSHD).is_file();
        assert!(there || std::env::var_os("CI").is_none(), "not installed: {SSHD}");
        if !there {
            println!("passed over: not installed: {SSHD}; see .ci/run");
            return None;
        }
        let place = |name: &str| lab.path(name);
        for key in ["host", "user", "other"] {
            let file = place(key);
            let file = file.to_str().expect("a path");
            assert!(system("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", file]), "a key");
        }
        let (known, authorized) = (place("known"), place("authorized"));
        std::fs::copy(place("user.pub"), &authorized).expect("a copy");
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nAuthorizedKeysFile {}\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n",
            place("host").display(),
            place("pid").display(),
            authorized.display()
        );
        std::fs::write(place("sshd_config"), config).expect("written");
        // Where it gives its rights up.
        let _ = std::fs::create_dir_all("/run/sshd");
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f", place("sshd_config").to_str().expect("a path")])
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let ssh = format!(
            "ssh -F /dev/null -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={}",
            place("user").display(),
            known.display()
        );
        let sshd = Self { child, ssh, port, known, authorized };
        sshd.is_known_by(lab, "host");
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "sshd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let me = Command::new("id").arg("-un").output().expect("a name").stdout;
        let me = String::from_utf8_lossy(&me).trim().to_owned();
        let url =
            format!("ssh://{me}@127.0.0.1:{port}{}", lab.path(".").canonicalize().expect("a path").display());
        let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
        let toml = toml
            .replace("../up", &format!("{url}/up"))
            .replace("../deploy.git", &format!("{url}/deploy.git"));
        assert!(
            toml.contains(&format!("\"{url}/up\"")) && toml.contains(&format!("\"{url}/deploy.git\"")),
            "{toml}"
        );
        lab.commit("ws", "by ssh", &[("carry.toml", Some(&toml))]);
        Some(sshd)
    }

    /// The user takes this for the server's key.
    fn is_known_by(&self, lab: &Lab, key: &str) {
        let public = std::fs::read_to_string(lab.path(&format!("{key}.pub"))).expect("a key");
        std::fs::write(&self.known, format!("[127.0.0.1]:{} {public}", self.port)).expect("written");
    }

    fn night(&self, lab: &Lab, env: &[(&str, &str)]) -> Output {
        let mut command = lab.carry_command("ws", &["nightly"]);
        command.env("GIT_SSH_COMMAND", &self.ssh).envs(env.iter().copied());
        command.output().expect("it runs")
    }

    /// Its processes stop, or go on.
    fn signal(&self, what: &str) {
        assert!(system("kill", &[what, &self.child.id().to_string()]));
    }
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn a_night_goes_by_ssh_and_a_server_that_is_not_the_known_one_gets_nothing() {
    let lab = lab();
    let Some(sshd) = Sshd::start(&lab) else { return };
    let before = state(&lab);
    // Another key than the known one: somebody else answers.
    sshd.is_known_by(&lab, "other");
    let out = sshd.night(&lab, &[]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("Host key verification failed"), "{}", text(&out));
    assert_eq!(state(&lab), before);
    sshd.is_known_by(&lab, "host");
    // A user who is not let in.
    let authorized = std::fs::read(&sshd.authorized).expect("it is there");
    std::fs::write(&sshd.authorized, "").expect("written");
    let out = sshd.night(&lab, &[]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("Permission denied"), "{}", text(&out));
    assert_eq!(state(&lab), before);
    std::fs::write(&sshd.authorized, authorized).expect("written");

    let out = sshd.night(&lab, &[]);
    assert!(out.status.success(), "{}", text(&out));
    let trunk = lab.git("up", &["rev-parse", "main"]);
    assert_eq!(lab.git("deploy.git", &["rev-parse", "deploy/p~2"]), trunk);
    assert_ne!(state(&lab), before);
}

#[test]
fn an_ssh_server_that_hangs_or_breaks_off_leaves_the_old_build_or_the_new_one() {
    let lab = lab();
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
    let Some(sshd) = Sshd::start(&lab) else { return };
    let before = state(&lab);
    sshd.signal("-STOP");
    let out = sshd.night(&lab, &[("GIT_CARRY_SILENCE", "2")]);
    sshd.signal("-CONT");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("said nothing for 2 seconds"), "{}", text(&out));
    assert_eq!(state(&lab), before);
    let left = Command::new("pgrep").args(["-f", lab.path("user").to_str().expect("a path")]).output();
    let left = left.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    assert_eq!(left, "", "no ssh is left behind");

    // The connection goes when all is done there and before that is said.
    let hook = lab.path("deploy.git/hooks/post-receive");
    let script = format!("#!/bin/sh\npkill -KILL -P {}\nsleep 1\n", sshd.child.id());
    std::fs::write(&hook, script).expect("written");
    assert!(system("chmod", &["+x", hook.to_str().expect("a path")]));
    let out = sshd.night(&lab, &[]);
    std::fs::remove_file(&hook).expect("it was there");
    assert!(out.status.success(), "{}", text(&out));
    let now = state(&lab);
    assert!(now.0 != before.0 && now.1 != before.1, "it was asked whether the build arrived: {}", text(&out));
    drop(sshd);
    // And by the old way it goes on.
    lab.commit("ws", "no more by ssh", &[("carry.toml", Some(&toml))]);
    lab.commit("up", "on", &[("c", Some(&numbered("c", &[(3, "theirs")])))]);
    recovers(&lab, &now);
}
