//! Patches go upstream, by the built binary: what leaves is held against git, and goes nowhere that is not allowed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

/// A workspace with three patches of which the second needs the first, and a trunk that has moved on; `forge` is
/// the project's table in carry.toml.
pub fn lab(forge: &str) -> Lab {
    let a1 = numbered("a", &[(10, "ours")]);
    let a2 = numbered("a", &[(10, "ours"), (11, "ours, größer")]);
    let b = numbered("b", &[(5, "local")]);
    let lab = Lab::with_fork(&[
        (
            "Count once\n\nA quota was counted twice.\n\nCarry-Owner: A <a@example.org>\nForwarded: no\n\
             Last-Update: 2026-01-02\nSigned-off-by: A <a@example.org>",
            &[("a", Some(&a1))],
        ),
        ("UPSTREAM: <carry>: Only ours\n\nWhy.", &[("b", Some(&b))]),
        ("Größer zählen\n\nMehr davon.\n\nCarry-Required: yes", &[("a", Some(&a2)), ("new", Some("x\n"))]),
    ]);
    lab.commit("up", "upstream moves", &[("a", Some(&numbered("a", &[(25, "theirs")])))]);
    configure(&lab, forge);
    lab.carry_code(0, &["nightly"]);
    lab
}

pub fn configure(lab: &Lab, forge: &str) {
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let config = config.split("[project.p.forge]").next().expect("a part").trim_end().to_owned();
    lab.commit("ws", "forge", &[("carry.toml", Some(&format!("{config}\n\n{forge}")))]);
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Did nothing leave, and is the workspace as it was?
pub fn untouched(lab: &Lab, head: &str) -> bool {
    lab.git("ws", &["rev-parse", "HEAD"]) == head && lab.git("ws", &["status", "--porcelain"]).is_empty()
}

const MAIL: &str = "[project.p.forge]\nkind = \"mail\"\nto = [\"dev@lists.example.org\"]\n";

#[test]
fn a_closure_leaves_alone_on_the_bare_trunk_without_what_is_ours() {
    let lab = lab("");
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    let plan = lab.json(0, &["upstream", "Gr-er-z-hlen"]);
    let commits = plan["outgoing"]["commits"].as_array().expect("commits");
    let subjects: Vec<&str> = commits.iter().map(|c| text(&c["subject"])).collect();
    assert_eq!(subjects, ["Count once", "Größer zählen"], "the second patch is not needed");
    assert_eq!(plan["sent"], false);
    let store = "ws/.git/carry/p.git";
    let branch = text(&plan["outgoing"]["branch"]);
    let trunk = lab.git("up", &["rev-parse", "main"]);
    assert_eq!(lab.git(store, &["rev-parse", &format!("{branch}~2")]), trunk);
    assert_eq!(
        lab.git(store, &["log", "--reverse", "--format=%B%an <%ae>", &format!("{trunk}..{branch}")]),
        "Count once\n\nA quota was counted twice.\n\nSigned-off-by: A <a@example.org>\nTest Author <t@example.org>\n\
         Größer zählen\n\nMehr davon.\nTest Author <t@example.org>"
    );
    // git itself puts the two patches there with the same result.
    lab.git("up", &["checkout", "-q", "-b", "by-git", "main"]);
    lab.git("up", &["cherry-pick", "fork~2", "fork"]);
    let tree = |at: &str, rev: &str| lab.git(at, &["rev-parse", &format!("{rev}^{{tree}}")]);
    assert_eq!(tree(store, branch), tree("up", "by-git"));
    let taken: Vec<&str> = commits[0]["taken_out"].as_array().expect("a list").iter().map(text).collect();
    assert_eq!(taken, ["Carry-Owner: A <a@example.org>", "Forwarded: no", "Last-Update: 2026-01-02"]);
    // Asked again, it is the same commit.
    assert_eq!(
        lab.json(0, &["upstream", "Gr-er-z-hlen"])["outgoing"]["commits"],
        plan["outgoing"]["commits"]
    );
    assert!(untouched(&lab, &head));
    let told = lab.carry_code(0, &["upstream", "Gr-er-z-hlen"]);
    assert!(told.contains("taken out of Count-once: Carry-Owner"), "{told}");
    assert!(told.contains("2 files changed"), "{told}");
    assert!(told.contains("nothing was sent"), "{told}");
}

#[test]
fn what_its_header_keeps_back_does_not_leave() {
    let lab = lab(MAIL);
    let name = "UPSTREAM-carry-Only-ours";
    let told = lab.carry_code(4, &["upstream", name]);
    assert!(told.contains("not for upstream: UPSTREAM: <carry>"), "{told}");
    let plan = lab.json(0, &["upstream", name, "--force"]);
    assert_eq!(plan["outgoing"]["commits"][0]["subject"], "Only ours");
    lab.carry_code(2, &["upstream", "no-such-patch"]);
}

#[test]
fn a_patch_that_does_not_apply_there_or_that_upstream_has_is_told() {
    let lab = lab(MAIL);
    let there = |change: &[(usize, &str)]| {
        let id = lab.commit("up", "in the way", &[("a", Some(&numbered("a", change)))]);
        lab.git("ws/.git/carry/p.git", &["fetch", "-q", "../../../../up", "main"]);
        id
    };
    let onto = there(&[(10, "theirs"), (25, "theirs")]);
    let told = lab.carry_code(4, &["upstream", "Count-once", "--onto", &onto]);
    assert!(told.contains("does not apply to") && told.contains(": a\n"), "{told}");
    let onto = there(&[(10, "ours"), (25, "theirs")]);
    let told = lab.carry_code(4, &["upstream", "Count-once", "--onto", &onto]);
    assert!(told.contains("upstream has it"), "{told}");
    // What needs it goes without it.
    let plan = lab.json(0, &["upstream", "Gr-er-z-hlen", "--onto", &onto]);
    assert_eq!(plan["outgoing"]["landed"], serde_json::json!(["Count-once"]));
    assert_eq!(plan["outgoing"]["commits"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_series_is_taken_by_git_am_and_gives_the_same_tree() {
    let lab = lab(MAIL);
    let plan = lab.json(0, &["upstream", "Gr-er-z-hlen", "--to", "../mails", "--sign-off"]);
    let mails: Vec<&str> = plan["mails"].as_array().expect("files").iter().map(text).collect();
    assert_eq!(mails.len(), 3, "a letter and two patches");
    let letter = std::fs::read_to_string(mails[0]).expect("a letter");
    let trunk = lab.git("up", &["rev-parse", "main"]);
    assert!(letter.contains(&format!("base-commit: {trunk}")), "{letter}");
    assert!(letter.contains("To: dev@lists.example.org") && letter.contains("Mehr davon."), "{letter}");
    assert!(!letter.contains("***"), "{letter}");
    lab.git("up", &["checkout", "-q", "-b", "by-mail", "main"]);
    lab.git("up", &["am", "-q", mails[1], mails[2]]);
    let branch = text(&plan["outgoing"]["branch"]);
    let tree = |at: &str, rev: &str| lab.git(at, &["rev-parse", &format!("{rev}^{{tree}}")]);
    assert_eq!(tree("ws/.git/carry/p.git", branch), tree("up", "by-mail"));
    let message = lab.git("up", &["log", "-1", "--format=%B"]);
    assert_eq!(message, "Größer zählen\n\nMehr davon.\n\nSigned-off-by: Test Author <t@example.org>");
    // A folder that has something in it is somebody's.
    lab.carry_code(2, &["upstream", "Count-once", "--to", "../mails"]);
}

#[test]
fn nothing_is_sent_to_an_address_that_is_not_allowed() {
    let lab = lab(MAIL);
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    let told = lab.carry_code(4, &["upstream", "Count-once", "--send"]);
    assert!(told.contains("dev@lists.example.org is not on the allow-list of 'p'"), "{told}");
    assert!(told.contains("add to 'allow' in [project.X.forge]: \"dev@lists.example.org\""), "{told}");
    assert!(untouched(&lab, &head));
}

/// A mail server on loopback that takes everything; gives its port, and what it was told once it is asked to stop.
fn mail_server() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("a stream"));
            let _ = stream.write_all(b"220 here\r\n");
            let (mut line, mut data) = (String::new(), false);
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                let word = line.trim_end().to_owned();
                let _ = sender.send(word.clone());
                let answer: &[u8] = match word.as_str() {
                    "." if data => {
                        data = false;
                        b"250 taken\r\n"
                    }
                    _ if data => b"",
                    "DATA" => {
                        data = true;
                        b"354 go on\r\n"
                    }
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 fine\r\n",
                };
                let _ = stream.write_all(answer);
                line.clear();
            }
        }
    });
    (port, told)
}

/// Is git send-email here? On a build server it must be.
fn can_mail(lab: &Lab) -> bool {
    let there = lab.git_works("up", &["send-email", "--dump-aliases"]);
    assert!(there || std::env::var_os("CI").is_none(), "git send-email is not installed");
    if !there {
        println!("passed over: git send-email is not installed");
    }
    there
}

#[test]
fn mails_go_to_those_who_are_allowed_and_to_nobody_else_and_the_header_says_so() {
    let (port, told) = mail_server();
    let lab = lab(&format!(
        "{MAIL}cc = [\"c@example.org\"]\nallow = [\"dev@lists.example.org\", \"c@example.org\"]\n"
    ));
    if !can_mail(&lab) {
        return;
    }
    for (name, value) in
        [("smtpServer", "127.0.0.1"), ("smtpServerPort", &port.to_string()), ("from", "t@example.org")]
    {
        lab.git("ws", &["config", "--global", &format!("sendemail.{name}"), value]);
    }
    // What the user has set for other lists counts for nothing here.
    lab.git("ws", &["config", "--global", "sendemail.to", "evil@example.org"]);
    let sent = lab.json(0, &["upstream", "Gr-er-z-hlen", "--send"]);
    assert_eq!(sent["sent"], true);
    let said: Vec<String> = told.try_iter().collect();
    let recipients: std::collections::BTreeSet<&str> =
        said.iter().filter_map(|l| l.strip_prefix("RCPT TO:")).map(str::trim).collect();
    assert_eq!(recipients.into_iter().collect::<Vec<_>>(), ["<c@example.org>", "<dev@lists.example.org>"]);
    assert_eq!(said.iter().filter(|l| *l == "DATA").count(), 3, "{said:#?}");
    let url = text(&sent["url"]);
    let id = url.strip_prefix("mid:").expect("a mail's id");
    assert!(said.iter().any(|l| l.contains(id)), "{id}: {said:#?}");
    let patch = |name: &str| {
        std::fs::read_to_string(lab.path(&format!("ws/patches/p/{name}.patch"))).expect("a patch")
    };
    assert!(
        patch("Gr-er-z-hlen").contains(&format!("\nForwarded: {url}\nLast-Update: ")),
        "{}",
        patch("Gr-er-z-hlen")
    );
    assert!(patch("Count-once").contains(&format!("\nForwarded: {url}\n")));
    assert!(lab.git("ws", &["log", "-1", "--format=%s"]).contains("Gr-er-z-hlen was sent upstream"));
    assert!(lab.git("ws", &["status", "--porcelain"]).is_empty());
    // The queue is what it was, but for what its headers say.
    let night = &lab.json(0, &["nightly"])[0];
    assert!(Lab::outcomes(night).iter().all(|(_, o)| o == "clean"), "{night}");

    // A command of the user's would name others: nothing goes.
    lab.git("ws", &["config", "--global", "sendemail.toCmd", "echo evil@example.org"]);
    let refused = lab.carry_code(4, &["upstream", "Gr-er-z-hlen", "--send"]);
    assert!(refused.contains("nobody has allowed"), "{refused}");
    assert_eq!(told.try_iter().count(), 0);
}
