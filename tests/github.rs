//! Patches become pull requests of a GitHub that holds every request against GitHub's own description.

use serde_json::Value;

use crate::support::github::{Github, TOKEN};
use crate::support::http;
use crate::support::lab::numbered;
use crate::upstream::{configure, lab, text};

#[test]
fn pull_requests_are_opened_updated_and_asked_about_and_the_token_is_seen_nowhere() {
    let lab = lab("");
    lab.git(".", &["clone", "-q", "--bare", "up", "me/thing.git"]);
    lab.git("me/thing.git", &["config", "http.receivepack", "true"]);
    let push = format!("{}/me/thing.git", http::serve(&lab.path(".")));
    let Some(github) = Github::start(&lab) else { return };
    let api = format!("http://127.0.0.1:{}", github.port);
    let forge = |allow: &str| {
        format!(
            "[project.p.forge]\nkind = \"github\"\napi = \"{api}\"\nrepository = \"up/thing\"\npush = \"{push}\"\n\
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

    configure(&lab, &forge(&format!("\"{push}\"")));
    let told = carry(4, Some(TOKEN), &send);
    assert!(told.contains(&format!("{api}/up/thing is not on the allow-list")), "{told}");
    configure(&lab, &forge(&format!("\"{push}\", \"{api}/up/thing\"")));
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
