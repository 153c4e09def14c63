//! Changes go to Gerrit: pushed to git's own server, which takes them as Gerrit does, and asked about by REST.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::hostile::assert_tame;
use crate::support::http;
use crate::support::lab::{Lab, numbered};
use crate::upstream::{configure, lab, text, untouched};

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

/// A bare repository on loopback, by git's own server, that takes pushes as Gerrit does.
fn gerrit_repository(lab: &Lab) -> String {
    lab.git(".", &["clone", "-q", "--bare", "up", "review.git"]);
    for (name, text) in [("pre-receive", TAKE), ("post-receive", FORGET)] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = lab.path(&format!("review.git/hooks/{name}"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("runnable");
    }
    lab.git("review.git", &["config", "http.receivepack", "true"]);
    format!("{}/review.git", http::serve(&lab.path(".")))
}

/// What the REST interface is to say of a change, and what it was asked.
#[derive(Default)]
struct Reviews {
    /// By Change-Id: more of the change than its number and revision.
    told: std::collections::BTreeMap<String, Value>,
    requests: Vec<String>,
    unchanged: usize,
    silent: bool,
    /// Said instead of all else, as it is.
    raw: Option<Vec<u8>>,
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
            if let Some(raw) = &told.raw {
                let _ = stream.write_all(raw);
                continue;
            }
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
                "created": "2020-01-01 00:00:00.000000000", "updated": "2020-01-02 03:04:05.000000000",
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
    let push = gerrit_repository(&lab);
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

    // What is no id goes into no header.
    let no_id = serde_json::json!({ "status": "MERGED", "current_revision": "x\nCarry-Required: yes" });
    reviews.lock().expect("ours").told = [(ids()[0].clone(), no_id)].into();
    lab.carry_code(0, &["nightly"]);
    let text_now = patch("Count-them-once");
    assert!(!text_now.contains("Applied-Upstream") && !text_now.contains("Carry-Required"), "{text_now}");
    reviews.lock().expect("ours").told.clear();

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
    assert_eq!(text(&state(0)["opened"]), "2020-01-01T00:00:00Z");
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
    // It is merged, and the followed trunk has it not: the header says so, once.
    assert!(patch("Count-them-once").contains(&format!("\nApplied-Upstream: commit:{merged}\n")));
    assert!(!patch("Gr-er-z-hlen").contains("Applied-Upstream"));
    lab.carry_code(0, &["nightly"]);
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    lab.carry_code(0, &["nightly"]);
    assert!(untouched(&lab, &head));
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
fn news_of_a_merge_that_come_late_are_news_all_the_same() {
    let lab = lab("");
    let push = gerrit_repository(&lab);
    let (api, reviews) = gerrit_rest(lab.path("review.git/changes"));
    configure(
        &lab,
        &format!(
            "[project.p.forge]\nkind = \"gerrit\"\napi = \"{api}\"\nrepository = \"group/name\"\npush = \"{push}\"\n\
             allow = [\"{push}\"]\n"
        ),
    );
    lab.carry_code(0, &["upstream", "Count-once", "--send"]);
    let taken = std::fs::read_to_string(lab.path("review.git/changes")).expect("changes");
    let id = taken.split(' ').next().expect("an id").to_owned();
    // It is merged in another form, with nothing that tells what it was, while the forge does not answer.
    reviews.lock().expect("ours").silent = true;
    let lines = numbered("a", &[(10, "another answer"), (11, "of three lines"), (25, "theirs")]);
    let merged = lab.commit("up", "quota: rework", &[("a", Some(&lines))]);
    let night = &lab.json(4, &["nightly"])[0];
    assert_eq!(text(&night["patches"][0]["outcome"]), "conflict", "{night}");
    let said = serde_json::json!({
        "status": "MERGED", "submitted": "2020-02-03 04:05:06.000000000", "current_revision": merged
    });
    let mut now = reviews.lock().expect("ours");
    (now.silent, now.told) = (false, [(id, said)].into());
    drop(now);
    let night = &lab.json(4, &["nightly"])[0];
    let first = &night["patches"][0];
    assert_eq!((text(&first["outcome"]), text(&first["evidence"]["commit"])), ("landed", merged.as_str()));
}

#[test]
fn whatever_a_forge_answers_fails_no_night_and_leads_nowhere() {
    let lab = lab("");
    let push = gerrit_repository(&lab);
    let (api, reviews) = gerrit_rest(lab.path("review.git/changes"));
    configure(
        &lab,
        &format!(
            "[project.p.forge]\nkind = \"gerrit\"\napi = \"{api}\"\nrepository = \"group/name\"\npush = \"{push}\"\n\
             allow = [\"{push}\"]\n"
        ),
    );
    lab.carry_code(0, &["upstream", "Gr-er-z-hlen", "--send"]);
    lab.carry_code(0, &["nightly"]);
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("it is asked, not waited for");
    let port = elsewhere.local_addr().expect("an address").port();
    let said = |body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}";
    let change =
        |more: &str| said(format!(")]}}'\n[[{{\"status\":\"NEW\",\"_number\":1,{more}}}],[]]").as_bytes());
    let answers: [(&str, Vec<u8>); 11] = [
        ("no JSON", said(b")]}'\nfine")),
        ("nothing", Vec::new()),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("a hundred thousand lists", said(&[b")]}'\n".to_vec(), vec![b'['; 100_000]].concat())),
        ("other answers than questions", said(b")]}'\n[[],[],[]]")),
        ("too long", said(&vec![b' '; (64 << 20) + 1])),
        ("cut short", said(b")]}'\n[[],[]]")[..60].to_vec()),
        ("no number", change("\"_number\":-1")),
        ("no date", change(&format!("\"created\":{0},\"updated\":{0}", serde_json::json!(evil)))),
        ("escapes", [b"HTTP/1.1 500 no\r\n\r\n", evil.as_bytes()].concat()),
        (
            "another server",
            format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n")
                .into_bytes(),
        ),
    ];
    let queue = || lab.git("ws", &["rev-parse", "HEAD:patches"]);
    let before = queue();
    for (round, (what, answer)) in answers.into_iter().enumerate() {
        reviews.lock().expect("ours").raw = Some(answer);
        let line = format!("theirs {round}");
        let tip = lab.commit("up", "on", &[("c", Some(&numbered("c", &[(1, &line)])))]);
        let mut night = lab.carry_command("ws", &["nightly"]);
        let out = night.env("CLICOLOR_FORCE", "1").output().expect("it runs");
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(0), "{what}: {text}");
        assert!(what == "no date" || text.contains("127.0.0.1"), "{what}: it is told: {text}");
        assert_tame(what, text.as_bytes());
        assert_eq!(lab.git("deploy.git", &["merge-base", "deploy/p", &tip]), tip, "{what}: the build is out");
        assert_eq!(queue(), before, "{what}");
        let told = lab.carry(&["upstream", "--status"]);
        assert_tame(what, &[told.stdout, told.stderr].concat());
    }
    assert!(elsewhere.accept().is_err(), "nobody came");
}
