//! Patches go upstream, by the built binary: what leaves is held against git, and goes nowhere that is not allowed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::support::github::{Github, Running, TOKEN};
use crate::support::lab::{Lab, numbered};
use serde_json::Value;

/// A workspace with three patches of which the second needs the first, and a trunk that has moved on; `forge` is
/// the project's table in carry.toml.
fn lab(forge: &str) -> Lab {
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

fn configure(lab: &Lab, forge: &str) {
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let config = config.split("[project.p.forge]").next().expect("a part").trim_end().to_owned();
    lab.commit("ws", "forge", &[("carry.toml", Some(&format!("{config}\n\n{forge}")))]);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Did nothing leave, and is the workspace as it was?
fn untouched(lab: &Lab, head: &str) -> bool {
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

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What Gerrit does with a push: changes are taken through refs that never exist, each commit needs a Change-Id, and a
/// push that brings nothing new is refused.
const TAKE: &str = "#!/bin/sh
while read old new ref; do
  case \"$ref\" in refs/for/main%topic=*) ;; *) echo \"prohibited: $ref\" >&2; exit 1;; esac
  fresh=no
  for commit in $(git rev-list --reverse $new --not main); do
    id=$(git log -1 --format='%(trailers:key=Change-Id,valueonly)' $commit | head -n 1)
    [ -n \"$id\" ] || { echo 'missing Change-Id in message footer' >&2; exit 1; }
    grep -q \" $commit \" changes 2>/dev/null || { fresh=yes; echo \"$id $commit $ref\" >> changes; }
  done
  [ $fresh = yes ] || { echo 'no new changes' >&2; exit 1; }
done
";
const FORGET: &str = "#!/bin/sh
while read old new ref; do git update-ref -d \"$ref\"; done
";

/// A bare repository on loopback, by git's own daemon, that takes pushes as Gerrit does.
fn gerrit_repository(lab: &Lab) -> (Running, String) {
    lab.git(".", &["clone", "-q", "--bare", "up", "review.git"]);
    for (name, text) in [("pre-receive", TAKE), ("post-receive", FORGET)] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = lab.path(&format!("review.git/hooks/{name}"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("runnable");
    }
    let port = free_port();
    let base = lab.path(".");
    // Not by `git daemon`: that would leave it running when it is ended itself.
    let mut daemon = std::process::Command::new(lab.path(&lab.git(".", &["--exec-path"])).join("git-daemon"));
    daemon.args(["--listen=127.0.0.1", &format!("--port={port}"), "--export-all"]);
    daemon.arg("--enable=receive-pack").arg(format!("--base-path={}", base.display()));
    daemon.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(std::process::Stdio::null());
    daemon.stderr(std::process::Stdio::null());
    let running = Running(daemon.spawn().expect("git daemon runs"));
    let address = format!("git://127.0.0.1:{port}/review.git");
    for _ in 0..200 {
        if lab.git_works(".", &["ls-remote", &address]) {
            return (running, address);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("git daemon does not answer");
}

/// What the REST interface is to say of a change, and what it was asked.
#[derive(Default)]
struct Reviews {
    /// By Change-Id: more of the change than its number and revision.
    told: std::collections::BTreeMap<String, Value>,
    requests: Vec<String>,
    unchanged: usize,
    silent: bool,
}

type Shared = std::sync::Arc<std::sync::Mutex<Reviews>>;

/// `/changes/` of Gerrit's REST interface over what the repository has taken.
fn gerrit_rest(changes: std::path::PathBuf) -> (String, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let shared = Shared::default();
    let told = shared.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (mut stream, mut lines) = (stream.try_clone().expect("a stream"), BufReader::new(stream));
            let mut head = Vec::new();
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 2) {
                head.push(line.trim().to_owned());
                line.clear();
            }
            let Some(request) = head.first().cloned() else { continue };
            let mut told = told.lock().expect("it is ours");
            told.requests.push(request.clone());
            let answer = if told.silent {
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n".to_owned()
            } else {
                let body = answer(&request, &changes, &told.told);
                let mark = format!("\"{}-{}\"", body.len(), body.bytes().map(u64::from).sum::<u64>());
                if head.iter().any(|h| h.to_ascii_lowercase() == format!("if-none-match: {mark}")) {
                    told.unchanged += 1;
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n".to_owned()
                } else {
                    let length = body.len();
                    format!("HTTP/1.1 200 OK\r\nETag: {mark}\r\nContent-Length: {length}\r\n\r\n{body}")
                }
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, shared)
}

fn answer(
    request: &str,
    changes: &std::path::Path,
    told: &std::collections::BTreeMap<String, Value>,
) -> String {
    let path = request.split(' ').nth(1).expect("a path");
    let (place, query) = path.split_once('?').expect("a query");
    assert_eq!(place, "/changes/");
    let taken = std::fs::read_to_string(changes).unwrap_or_default();
    let taken: Vec<Vec<&str>> = taken.lines().map(|l| l.split(' ').collect()).collect();
    let mut lists = Vec::new();
    for question in query.split('&').filter_map(|part| part.strip_prefix("q=")) {
        let id = question.strip_prefix("change:").and_then(|q| q.strip_suffix("+project:group%2Fname"));
        let id = id.unwrap_or_else(|| panic!("{question}"));
        let number = taken.iter().position(|t| t[0] == id);
        lists.push(Vec::from_iter(number.map(|n| {
            let newest = taken.iter().rfind(|t| t[0] == id).expect("it is there")[1];
            let mut change = serde_json::json!({
                "id": format!("group%2Fname~{}", n + 1), "project": "group/name", "branch": "main", "change_id": id,
                "_number": n + 1, "status": "NEW", "current_revision": newest, "owner": { "_account_id": 7 },
                "updated": "2020-01-02 03:04:05.000000000",
            });
            let more = told.get(id).and_then(Value::as_object).cloned().unwrap_or_default();
            change.as_object_mut().expect("an object").extend(more);
            change
        })));
    }
    let body =
        if lists.len() == 1 { serde_json::to_string(&lists[0]) } else { serde_json::to_string(&lists) };
    format!(")]}}'\n{}", body.expect("JSON"))
}

#[test]
fn changes_go_to_review_keep_their_ids_and_are_asked_about_each_night() {
    let lab = lab("");
    let (_daemon, push) = gerrit_repository(&lab);
    let (api, reviews) = gerrit_rest(lab.path("review.git/changes"));
    let forge = |allow: &str| {
        format!(
            "[project.p.forge]\nkind = \"gerrit\"\napi = \"{api}\"\nrepository = \"group/name\"\npush = \"{push}\"\n\
             allow = [{allow}]\n"
        )
    };
    configure(&lab, &forge(""));
    let told = lab.carry_code(4, &["upstream", "Gr-er-z-hlen", "--send"]);
    assert!(told.contains(&format!("{push} is not on the allow-list")), "{told}");
    assert!(!lab.path("review.git/changes").exists(), "nothing left");
    configure(&lab, &forge(&format!("\"{push}\"")));

    let sent = lab.json(0, &["upstream", "Gr-er-z-hlen", "--send"]);
    assert_eq!((&sent["new"], text(&sent["url"])), (&Value::Bool(true), &*format!("{api}/c/group/name/+/2")));
    let taken = || std::fs::read_to_string(lab.path("review.git/changes")).expect("changes");
    let ids =
        || -> Vec<String> { taken().lines().map(|l| l.split(' ').next().expect("an id").into()).collect() };
    assert_eq!(ids().len(), 2);
    assert!(taken().lines().all(|l| l.ends_with(" refs/for/main%topic=Gr-er-z-hlen")), "{}", taken());
    let patch = |name: &str| {
        std::fs::read_to_string(lab.path(&format!("ws/patches/p/{name}.patch"))).expect("a patch")
    };
    for (name, id, number) in [("Count-once", &ids()[0], 1), ("Gr-er-z-hlen", &ids()[1], 2)] {
        let patch = patch(name);
        assert!(patch.contains(&format!("\nChange-Id: {id}\n")), "{patch}");
        assert!(patch.contains(&format!("\nForwarded: {api}/c/group/name/+/{number}\n")), "{patch}");
    }

    // Sent again as it is, nothing is pushed and nothing is written.
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    assert_eq!(lab.json(0, &["upstream", "Gr-er-z-hlen", "--send"])["new"], false);
    assert!(untouched(&lab, &head));

    // On a newer trunk, under another name, the same two changes get new revisions.
    let id = lab.commit("up", "upstream moves on", &[("c", Some(&numbered("c", &[(1, "theirs")])))]);
    lab.git("review.git", &["fetch", "-q", "../up", "main:main"]);
    lab.carry_code(0, &["rename", "Count-once", "Count-them-once"]);
    lab.carry_code(0, &["nightly"]);
    let plan = lab.json(0, &["upstream", "Gr-er-z-hlen", "--send"]);
    assert_eq!((&plan["new"], text(&plan["outgoing"]["onto"])), (&Value::Bool(true), id.as_str()));
    assert_eq!(ids().len(), 4);
    assert_eq!(ids()[..2], ids()[2..]);

    // What became of them.
    let merged = taken().lines().nth(2).expect("a line").split(' ').nth(1).expect("a commit").to_owned();
    reviews.lock().expect("ours").told = [
        (
            ids()[0].clone(),
            serde_json::json!({ "status": "MERGED", "submitted": "2020-02-03 04:05:06.000000000" }),
        ),
        (
            ids()[1].clone(),
            serde_json::json!({
                "labels": {
                    "Code-Review": { "all": [{ "value": -1 }, { "value": 2 }] },
                    "Verified": { "all": [{ "value": 1 }], "approved": { "_account_id": 9 } },
                },
                "attention_set": {
                    "7": { "account": { "_account_id": 7 }, "last_update": "2020-03-04 00:00:00.000000000" }
                },
            }),
        ),
    ]
    .into();
    let status = lab.json(0, &["upstream", "--status"]);
    let state = |n: usize| &status["patches"][n]["state"];
    assert_eq!((text(&state(0)["phase"]), text(&state(0)["merge_commit"])), ("merged", merged.as_str()));
    assert_eq!(text(&state(0)["since"]), "2020-02-03T04:05:06Z");
    let second = ["phase", "review", "checks", "waits_on"].map(|key| text(&state(1)[key]));
    assert_eq!(second, ["open", "changes-requested", "passed", "us"]);
    assert!(status["patches"][1]["days"].as_i64().is_some_and(|days| days > 2000), "{status}");
    let table = lab.carry_code(0, &["upstream", "--status"]);
    assert!(table.contains("changes requested") && table.contains("is upstream as"), "{table}");
    assert_eq!(
        reviews.lock().expect("ours").unchanged,
        1,
        "the second time it was said that nothing has changed"
    );
    let asked = reviews.lock().expect("ours").requests.len();
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!(night["sent"]["patches"][1]["state"]["waits_on"], "us");
    assert_eq!(reviews.lock().expect("ours").requests.len(), asked + 1, "one call for all");

    // No answer: it is said, what was known is told, and the night is none the worse.
    reviews.lock().expect("ours").silent = true;
    let told = lab.carry_code(0, &["nightly"]);
    assert!(told.contains("takes no more requests for now"), "{told}");
    assert!(told.contains("sent  2 patches sent: 1 on us, 1 merged"), "{told}");
    lab.git("ws/.git/carry/p.git", &["rev-parse", "refs/carry/sent/p/Gr-er-z-hlen"]);
    let asked = reviews.lock().expect("ours").requests.len();
    let status = lab.json(0, &["upstream", "--status", "--offline"]);
    assert_eq!(status["patches"][0]["state"]["phase"], "merged");
    assert_eq!(reviews.lock().expect("ours").requests.len(), asked, "nobody was asked");

    // Once trunk has the commit that the forge says it was merged as, it has landed.
    lab.git("up", &["fetch", "-q", "../ws/.git/carry/p.git", "refs/carry/sent/p/Gr-er-z-hlen"]);
    lab.git("up", &["merge", "-q", "--no-edit", &merged]);
    let night = &lab.json(0, &["nightly"])[0];
    let landed = &night["patches"][0];
    assert_eq!((text(&landed["outcome"]), text(&landed["evidence"]["commit"])), ("landed", merged.as_str()));
    assert!(text(&landed["evidence"]["proof"]).contains("was merged as"), "{landed}");
}

#[test]
fn pull_requests_are_opened_updated_and_asked_about_and_the_token_is_seen_nowhere() {
    let lab = lab("");
    lab.git(".", &["clone", "-q", "--bare", "up", "me/thing.git"]);
    let Some(github) = Github::start(&lab) else { return };
    let api = format!("http://127.0.0.1:{}", github.port);
    let forge = |allow: &str| {
        format!(
            "[project.p.forge]\nkind = \"github\"\napi = \"{api}\"\nrepository = \"up/thing\"\npush = \"../me/thing.git\"\n\
             labels = [\"carried\"]\nallow = [{allow}]\n"
        )
    };
    let mut said = String::new();
    let mut carry = |code: i32, token: Option<&str>, args: &[&str]| -> String {
        let mut command = lab.carry_command("ws", args);
        if let Some(token) = token {
            command.env("GH_ENTERPRISE_TOKEN", token);
        }
        // A token of github.com's is nothing for another server.
        let out = command.env("GH_TOKEN", "of-another-server").output().expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let all = format!("{text}{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(code), "{args:?}: {all}");
        said.push_str(&all);
        if args.contains(&"--json") { text } else { all }
    };
    let send = ["upstream", "Gr-er-z-hlen", "--send"];
    let nothing = || github.control(&serde_json::json!({}))["pulls"].as_array().is_some_and(Vec::is_empty);
    let branches = || lab.git("me/thing.git", &["for-each-ref", "--format=%(refname)", "refs/heads/carry"]);

    configure(&lab, &forge("\"../me/thing.git\""));
    let told = carry(4, Some(TOKEN), &send);
    assert!(told.contains(&format!("{api}/up/thing is not on the allow-list")), "{told}");
    configure(&lab, &forge(&format!("\"../me/thing.git\", \"{api}/up/thing\"")));
    let told = carry(4, None, &send);
    assert!(told.contains("there is no token for") && told.contains("GH_ENTERPRISE_TOKEN"), "{told}");
    assert!(nothing() && branches().is_empty());

    // A wrong token is refused, and is not shown either.
    let told = carry(4, Some("wr0ng-t0ken"), &send);
    assert!(told.contains("refused (401): Bad credentials"), "{told}");
    assert!(!told.contains("wr0ng"), "{told}");

    let sent: Value =
        serde_json::from_str(&carry(0, Some(TOKEN), &[&send[..], &["--json"]].concat())).expect("JSON");
    let url = format!("{api}/up/thing/pull/1");
    assert_eq!((&sent["new"], text(&sent["url"])), (&Value::Bool(true), url.as_str()));
    let known = github.control(&serde_json::json!({}));
    let pull = &known["pulls"][0];
    assert_eq!(known["pulls"].as_array().map(Vec::len), Some(1));
    let is = ["title", "head", "base"].map(|key| text(&pull[key]));
    assert_eq!(is, ["Größer zählen", "carry/Gr-er-z-hlen", "main"]);
    assert_eq!(text(&pull["body"]), "Mehr davon.\n\nCommits, in order:\n- Count once\n- Größer zählen");
    assert_eq!((&pull["draft"], &pull["labels"]), (&Value::Bool(true), &serde_json::json!(["carried"])));
    let branch = |rev: &str| lab.git("me/thing.git", &["rev-parse", rev]);
    assert_eq!(branch("carry/Gr-er-z-hlen"), text(&sent["outgoing"]["commits"][1]["commit"]));

    // On a newer trunk the same pull request gets the new commits, and keeps what people made of its text.
    lab.commit("up", "upstream moves on", &[("c", Some(&numbered("c", &[(1, "theirs")])))]);
    carry(0, Some(TOKEN), &["nightly"]);
    let before = branch("carry/Gr-er-z-hlen");
    let told = carry(0, Some(TOKEN), &send);
    assert!(told.contains(&format!("updated  {url}")), "{told}");
    assert_ne!(branch("carry/Gr-er-z-hlen"), before);
    let rest = |word: &str| {
        let known = github.control(&serde_json::json!({}));
        let rest = known["log"]["rest"].as_array().expect("a list");
        rest.iter().filter(|r| text(r).starts_with(word)).count()
    };
    assert_eq!((rest("POST /repos/up/thing/pulls"), rest("PATCH")), (1, 0));
    carry(0, Some(TOKEN), &[&send[..], &["--describe"]].concat());
    assert_eq!(rest("PATCH"), 1);

    // Somebody pushed to the branch: it is theirs until somebody looks.
    lab.git("me/thing.git", &["update-ref", "refs/heads/carry/Gr-er-z-hlen", "main"]);
    let told = carry(4, Some(TOKEN), &send);
    assert!(told.contains("was moved by someone else") && told.contains("--replace"), "{told}");
    let theirs = branch("main");
    carry(0, Some(TOKEN), &[&send[..], &["--replace", &theirs]].concat());

    // What became of it; one that is not there is unknown, and one call asks for all.
    let merge = branch("main");
    let more = serde_json::json!({
        "reviewDecision": "CHANGES_REQUESTED", "checks": "SUCCESS",
        "reviews": [{ "state": "CHANGES_REQUESTED", "submittedAt": "2020-02-03T00:00:00Z" }],
    });
    github.control(&serde_json::json!({ "number": 1, "more": more }));
    let status = |args: &[&str]| -> Value { serde_json::from_str(args[0]).expect("JSON") };
    let first = status(&[&carry(0, Some(TOKEN), &["upstream", "--status", "--json"])]);
    let state = &first["patches"][1]["state"];
    // The patch that was taken along is under the same address.
    assert_eq!(first["patches"][0]["url"], first["patches"][1]["url"]);
    let is = ["phase", "review", "checks", "waits_on", "since"].map(|key| text(&state[key]));
    assert_eq!(is, ["draft", "changes-requested", "passed", "us", "2020-02-03T00:00:00Z"]);
    let more =
        serde_json::json!({ "isDraft": false, "reviewDecision": "REVIEW_REQUIRED", "asked": ["carol"] });
    github.control(&serde_json::json!({ "number": 1, "more": more }));
    let table = carry(0, Some(TOKEN), &["upstream", "--status"]);
    assert!(table.contains("carol"), "{table}");
    let more = serde_json::json!({
        "state": "MERGED", "isDraft": false, "mergedAt": "2020-05-06T00:00:00Z", "mergeCommit": { "oid": merge },
    });
    github.control(&serde_json::json!({ "number": 1, "more": more, "limit": true }));
    let told = carry(0, Some(TOKEN), &["nightly"]);
    assert!(told.contains("takes no more requests for now, until 2020-09-13T12:26:40Z"), "{told}");
    github.control(&serde_json::json!({ "limit": false }));
    let other = lab.path("ws/patches/p/Count-once.patch");
    let patch = std::fs::read_to_string(&other).expect("a patch").replace("pull/1\n", "pull/4000\n");
    lab.commit("ws", "another number", &[("patches/p/Count-once.patch", Some(&patch))]);
    let calls = || github.control(&serde_json::json!({}))["log"]["graphql"].as_u64();
    let before = calls();
    let last = status(&[&carry(0, Some(TOKEN), &["upstream", "--status", "--json"])]);
    assert_eq!(calls(), before.map(|n| n + 1));
    assert!(last["patches"][0]["state"].is_null(), "{last}");
    let state = &last["patches"][1]["state"];
    assert_eq!((text(&state["phase"]), text(&state["merge_commit"])), ("merged", merge.as_str()));

    // GitHub's own description and schema had nothing against any of it.
    assert_eq!(github.control(&serde_json::json!({}))["log"]["refused"], serde_json::json!([]));
    assert!(!said.contains(TOKEN), "the token was shown");
    let kept = std::process::Command::new("grep").args(["-rl", TOKEN]).arg(lab.path("ws")).output();
    assert_eq!(String::from_utf8_lossy(&kept.expect("grep runs").stdout), "", "the token was kept");
}
