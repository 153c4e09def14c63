//! Mails of what changed, on real mail servers: to whom they go, and where they do not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::notify::listen::Mails;
use crate::notify::{breaks, configure, day, lab, mends, run};
use crate::support::lab::numbered;
use serde_json::Value;

fn receivers(mails: &[Value]) -> Vec<&str> {
    mails.iter().filter_map(|m| m["to"][0].as_str()).collect()
}

#[test]
fn mails_go_to_the_team_and_to_each_owner_what_is_theirs_and_to_nobody_who_is_not_allowed() {
    let lab = lab();
    let Some(server) = Mails::start(Some(("carry", "s3cret-w\u{f6}rd")), None) else { return };
    let table = |server: &str| {
        format!(
            "[[notify]]\nname = \"mail\"\nkind = \"email\"\nserver = \"{server}\"\nuser = \"carry\"\n\
             password_env = \"SMTP_PASSWORD\"\nfrom = \"carry@example.org\"\nto = [\"team@example.net\"]\nowners = true\n\
             allow = [\"team@example.net\", \"@example.org\"]\n"
        )
    };
    // The first patch says whose it is, the second does not: then it is who upstream's file names.
    let rules = "* @upstream\nb lee@example.org max@elsewhere.example\n";
    lab.commit("up", "owners", &[(".github/CODEOWNERS", Some(rules))]);
    configure(&lab, &table(&format!("smtp://127.0.0.1:{}", server.port)));
    let wrong = [("SMTP_PASSWORD", "wr0ng")];
    run(&lab, &day(1), &wrong, 0, &["nightly"]);
    assert!(server.took(0).is_empty());
    let theirs = numbered("a", &[(10, "theirs")]);
    lab.commit("up", "Gr\u{f6}\u{df}er\n\nBcc: evil@example.org", &[("a", Some(&theirs))]);
    breaks(&lab, "b");
    let told = run(&lab, &day(2), &wrong, 3, &["nightly"]);
    assert!(told.contains("127.0.0.1 refused (535)") && !told.contains("wr0ng"), "{told}");
    let plan = run(&lab, &day(2), &[], 0, &["notify", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let planned = plan["projects"][0]["told"].as_array().expect("a list");
    let planned: Vec<(&str, bool)> =
        planned.iter().map(|d| (d["to"].as_str().expect("an address"), d["problem"].is_null())).collect();
    assert_eq!(
        planned,
        [
            ("team@example.net", true),
            ("kim@example.org", true),
            ("lee@example.org", true),
            ("max@elsewhere.example", false)
        ]
    );

    let env = [("SMTP_PASSWORD", "s3cret-w\u{f6}rd")];
    let told = run(&lab, &day(3), &env, 3, &["nightly"]);
    let mails = server.took(3);
    assert_eq!(receivers(&mails), ["kim@example.org", "lee@example.org", "team@example.net"], "{told}");
    assert!(
        mails.iter().all(|m| m["to"].as_array().map(Vec::len) == Some(1) && m["from"] == "carry@example.org")
    );
    assert!(mails.iter().all(|m| m["login"] == "carry"));
    let [kim, lee, team] = &mails[..] else { panic!("{mails:#?}") };
    assert_eq!(team["subject"], "p: 2 new; 2 things want a person");
    assert_eq!(kim["subject"], "p: 1 new; one thing wants a person");
    let text = |mail: &Value| mail["text"].as_str().expect("a text").to_owned();
    assert!(text(kim).contains("fix-a conflicts") && !text(kim).contains("fix-b"), "{}", text(kim));
    assert!(text(lee).contains("fix-b conflicts") && !text(lee).contains("fix-a"), "{}", text(lee));
    assert!(text(team).contains("Gr\u{f6}\u{df}er") && text(team).contains("fix-b"), "{}", text(team));
    for (name, value) in [("auto-submitted", "auto-generated"), ("to", "kim@example.org"), ("bcc", "null")] {
        assert_eq!(kim["headers"][name].as_str().unwrap_or("null"), value, "{kim:#}");
    }
    assert!(kim["headers"]["message-id"].as_str().is_some_and(|id| id.contains('@')), "{kim:#}");

    // Each hears of theirs alone that it is fixed, and nothing else.
    run(&lab, &day(4), &env, 3, &["nightly"]);
    assert!(server.took(0).is_empty());
    mends(&lab, "b");
    run(&lab, &day(5), &env, 3, &["nightly"]);
    let mails = server.took(2);
    assert_eq!(receivers(&mails), ["lee@example.org", "team@example.net"]);
    assert_eq!(mails[0]["subject"], "p: 1 fixed; nothing wants a person");
    assert_eq!(mails[1]["subject"], "p: 1 fixed; one thing wants a person");

    // A server that is away is tried once for all of them.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    configure(&lab, &table(&format!("smtp://127.0.0.1:{port}")));
    breaks(&lab, "b");
    let told = run(&lab, &day(6), &env, 3, &["nightly"]);
    assert!(told.contains("127.0.0.1 cannot be reached"), "{told}");
    configure(&lab, &table(&format!("smtp://127.0.0.1:{}", server.port)));
    let said = run(&lab, &day(7), &env, 3, &["nightly"]);
    assert_eq!(receivers(&server.took(2)), ["lee@example.org", "team@example.net"]);
    assert!(![told, said].concat().contains("s3cret"), "the password was shown");
    let kept = Command::new("grep").args(["-rl", "-e", "s3cret", "-e", "wr0ng"]).arg(lab.path("ws")).output();
    assert_eq!(String::from_utf8_lossy(&kept.expect("grep runs").stdout), "", "a password was kept");
}

#[test]
#[cfg(target_os = "linux")]
fn a_mail_server_elsewhere_that_offers_no_encryption_is_told_nothing() {
    let lab = lab();
    // On loopback, but not by the name under which nobody listens on the way.
    let listener = TcpListener::bind("127.0.0.2:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = said.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().expect("a stream"));
            let _ = stream.write_all(b"220 here\r\n");
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                heard.lock().expect("ours").push(line.trim_end().to_owned());
                let answer: &[u8] = match line.get(..4) {
                    Some("EHLO") => b"250-here\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000000\r\n",
                    Some("QUIT") => b"221 bye\r\n",
                    _ => b"250 fine\r\n",
                };
                let _ = stream.write_all(answer);
                line.clear();
            }
        }
    });
    configure(
        &lab,
        &format!(
            "[[notify]]\nname = \"mail\"\nkind = \"email\"\nserver = \"smtp://127.0.0.2:{port}\"\nuser = \"carry\"\n\
             password_env = \"SMTP_PASSWORD\"\nfrom = \"carry@example.org\"\nto = [\"team@example.org\"]\n\
             allow = [\"team@example.org\"]\n"
        ),
    );
    breaks(&lab, "a");
    let told = run(&lab, &day(1), &[("SMTP_PASSWORD", "s3cret")], 3, &["nightly"]);
    assert!(told.contains("'mail' was not told, and is the next night: 127.0.0.2"), "{told}");
    let said = said.lock().expect("ours");
    assert!(said.iter().any(|line| line.starts_with("EHLO")), "it was asked: {said:?}");
    let harmless = |line: &String| ["EHLO", "QUIT", "NOOP"].iter().any(|word| line.starts_with(word));
    assert!(said.iter().all(harmless), "{said:?}");
}
