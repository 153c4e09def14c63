//! Who is told what changed, by the built binary, on servers that take what real ones take. Days go by in
//! `GIT_CARRY_NOW`.

mod fleet;
pub mod listen;
mod trust;

use std::process::Command;

use crate::support::github::{Github, TOKEN};
use crate::support::lab::{Lab, numbered};
use serde_json::{Value, json};

use listen::{FINE, Listener};

/// A workspace with two patches on two files, of which trunk has broken none yet.
pub fn lab() -> Lab {
    let a = numbered("a", &[(10, "ours")]);
    let b = numbered("b", &[(10, "ours")]);
    let lab = Lab::with_fork(&[
        ("fix a\n\nCarry-Owner: Kim <kim@example.org>", &[("a", Some(&a))]),
        ("fix b", &[("b", Some(&b))]),
    ]);
    lab.carry_code(0, &["nightly"]);
    lab
}

pub fn configure(lab: &Lab, tables: &str) {
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let config = config.split("# told\n").next().expect("a part").trim_end().to_owned();
    lab.commit("ws", "told", &[("carry.toml", Some(&format!("{config}\n\n# told\n{tables}")))]);
}

/// Day `n` of the test, at two at night.
pub fn day(n: u32) -> String {
    format!("2027-03-{n:02}T02:00:00Z")
}

/// Runs the binary on a day, with more of an environment.
pub fn run(lab: &Lab, now: &str, env: &[(&str, &str)], code: i32, args: &[&str]) -> String {
    let mut command = lab.carry_command("ws", args);
    command.env("GIT_CARRY_NOW", now).envs(env.iter().copied());
    let out = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let all = format!("{text}{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(code), "{args:?}: {all}");
    if args.contains(&"--json") { text } else { all }
}

/// Trunk breaks the patch on this file, or mends it again.
pub fn breaks(lab: &Lab, file: &str) -> String {
    let theirs = numbered(file, &[(10, "theirs")]);
    lab.commit("up", &format!("break {file}"), &[(file, Some(&theirs))])
}

pub fn mends(lab: &Lab, file: &str) {
    lab.commit("up", &format!("mend {file}"), &[(file, Some(&numbered(file, &[])))]);
}

pub fn patches(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|t| t["patch"].as_str()).collect()
}

fn webhook(port: u16) -> String {
    format!(
        "[[notify]]\nname = \"hook\"\nkind = \"webhook\"\nurl_env = \"HOOK_URL\"\ntoken_env = \"HOOK_TOKEN\"\n\
         allow = [\"127.0.0.1:{port}\"]\n"
    )
}

#[test]
fn new_is_told_once_a_quiet_night_tells_nothing_and_after_a_week_and_when_it_is_fixed_it_is_told_again() {
    let lab = lab();
    let hook = Listener::start();
    configure(&lab, &webhook(hook.port));
    let url = hook.url("/in/s3cret-path");
    let env = [("HOOK_URL", url.as_str()), ("HOOK_TOKEN", "s3cret-token")];
    let night = |n: u32, code: i32| run(&lab, &day(n), &env, code, &["nightly"]);
    night(1, 0);
    assert!(hook.took().is_empty(), "all is well, and nobody was told otherwise");

    let culprit = breaks(&lab, "a");
    let told = night(2, 3);
    assert!(told.contains("told  hook ($HOOK_URL): p: 1 new; one thing wants a person"), "{told}");
    let requests = hook.took();
    let [request] = &requests[..] else { panic!("{requests:#?}") };
    assert_eq!(request.line, "POST /in/s3cret-path HTTP/1.1");
    assert_eq!(request.headers["authorization"], "Bearer s3cret-token");
    assert_eq!(request.headers["content-type"], "application/json");
    let body = &request.body;
    let is = ["version", "project", "ended", "at", "subject"].map(|key| body[key].clone());
    assert_eq!(
        json!(is),
        json!([1, "p", "published", day(2), "p: 1 new; one thing wants a person"]),
        "{body:#}"
    );
    assert_eq!(body["commit"], json!(lab.deployed()));
    assert_eq!((patches(&body["new"]), patches(&body["open"])), (vec!["fix-a"], vec!["fix-a"]));
    let one = &body["new"][0];
    assert_eq!((&one["kind"], &one["culprit"]), (&json!("conflict"), &json!(culprit)));
    assert_eq!(one["next"], "git carry resolve fix-a");
    assert!(body["text"].as_str().expect("text").contains("fix-a conflicts with trunk (Kim)"), "{body:#}");

    // The same trouble, quiet or with other news of trunk's, is told no more.
    night(3, 3);
    lab.commit("up", "elsewhere", &[("c", Some(&numbered("c", &[(1, "theirs")])))]);
    night(4, 3);
    assert!(hook.took().is_empty());

    // Another one is, alone.
    breaks(&lab, "b");
    night(5, 3);
    let body = &hook.took()[0].body;
    assert_eq!((patches(&body["new"]), patches(&body["reminded"])), (vec!["fix-b"], vec![]));
    assert_eq!(patches(&body["open"]), ["fix-a", "fix-b"]);

    // A week after it was told.
    night(8, 3);
    assert!(hook.took().is_empty());
    night(9, 3);
    let body = &hook.took()[0].body;
    assert_eq!((patches(&body["new"]), patches(&body["reminded"])), (vec![], vec!["fix-a"]));
    night(10, 3);
    assert!(hook.took().is_empty());

    mends(&lab, "a");
    night(11, 3);
    let body = &hook.took()[0].body;
    assert_eq!((patches(&body["fixed"]), patches(&body["open"])), (vec!["fix-a"], vec!["fix-b"]));
    mends(&lab, "b");
    night(12, 0);
    let body = &hook.took()[0].body;
    assert_eq!(body["subject"], "p: 1 fixed; nothing wants a person");
    night(13, 0);
    assert!(hook.took().is_empty());
}

#[test]
fn a_listener_that_cannot_be_told_fails_no_night_is_shown_and_is_told_the_next_time() {
    let lab = lab();
    let (hook, other) = (Listener::start(), Listener::start());
    let slack = format!(
        "[[notify]]\nname = \"team\"\nkind = \"slack\"\nurl_env = \"SLACK_URL\"\nallow = [\"127.0.0.1:{}\"]\n",
        other.port
    );
    configure(&lab, &format!("{}\n{slack}", webhook(hook.port)));
    let (url, slack) = (hook.url("/s3cret-hook"), other.url("/s3cret-slack"));
    let env = [("HOOK_URL", url.as_str()), ("HOOK_TOKEN", "s3cret-token"), ("SLACK_URL", slack.as_str())];
    let mut said = String::new();
    let mut carry = |n: u32, code: i32, args: &[&str]| -> String {
        let text = run(&lab, &day(n), &env, code, args);
        said.push_str(&text);
        text
    };
    carry(1, 0, &["nightly"]);
    breaks(&lab, "a");
    // It refuses, and says the secrets back.
    let echo = "/s3cret-hook s3cret-token is wrong";
    hook.answer(&format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{echo}", echo.len()));
    let told = carry(2, 3, &["nightly"]);
    assert!(told.contains("'hook' was not told, and is the next night: 127.0.0.1"), "{told}");
    assert!(told.contains("refused (403): *** *** is wrong") && told.contains("told  team"), "{told}");
    assert_eq!((hook.took().len(), other.took().len()), (1, 1));
    for (command, words) in [
        (&["status"][..], "'hook' is not told since 1 d ago: 127.0.0.1"),
        (&["doctor", "--offline"], "'hook' could not be told since 2027-03-02"),
        (&["notify", "--dry-run"], "would be told"),
    ] {
        let told = carry(3, 0, command);
        assert!(told.contains(words), "{command:?}: {told}");
    }
    assert!(hook.took().is_empty());

    // A redirection leads nowhere.
    for moved in ["307 Moved", "303 Look"] {
        let place = other.url("/x");
        hook.answer(&format!("HTTP/1.1 {moved}\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"));
        carry(3, 3, &["nightly"]);
        assert_eq!((hook.took().len(), other.took().len()), (1, 0), "{moved}");
    }

    // Then it is there again: what holds now is told, to it alone, without a night.
    hook.answer(FINE);
    let told = carry(4, 0, &["notify"]);
    assert!(told.contains("hook") && !told.contains("team"), "{told}");
    let requests = hook.took();
    assert_eq!((requests.len(), patches(&requests[0].body["new"])), (1, vec!["fix-a"]));
    assert!(!carry(4, 0, &["status"]).contains("is not told"));
    assert!(carry(4, 0, &["notify"]).contains("everyone was told all that is new"));

    // What came and went while it was away is nobody's news.
    hook.answer("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    breaks(&lab, "b");
    carry(5, 3, &["nightly"]);
    mends(&lab, "b");
    carry(6, 3, &["nightly"]);
    hook.answer(FINE);
    hook.took();
    carry(7, 3, &["nightly"]);
    assert!(hook.took().is_empty());
    assert!(!carry(7, 0, &["status"]).contains("is not told"));

    // Without its address in the environment, or with one on another server, nothing goes anywhere.
    let without = run(&lab, &day(8), &[], 0, &["status"]);
    assert!(!without.contains("not told"), "{without}");
    breaks(&lab, "b");
    let elsewhere = other.url("/s3cret-elsewhere");
    other.took();
    let told = run(&lab, &day(8), &[("HOOK_URL", &elsewhere), ("HOOK_TOKEN", "x")], 3, &["nightly"]);
    assert!(told.contains(&format!("127.0.0.1:{} is not on the allow-list", other.port)), "{told}");
    assert!(told.contains("SLACK_URL is not set in the environment"), "{told}");
    assert!(hook.took().is_empty() && other.took().is_empty());

    said.push_str(&told);
    assert!(!said.contains("s3cret"), "{said}");
    let kept = Command::new("grep").args(["-rl", "s3cret"]).arg(lab.path("ws")).output().expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "", "a secret was kept");
}

#[test]
fn a_refused_night_and_one_that_an_error_ended_are_told_too_and_leave_their_beat() {
    let lab = lab();
    let hook = Listener::start();
    configure(&lab, &webhook(hook.port));
    let url = hook.url("/");
    let env = [("HOOK_URL", url.as_str()), ("HOOK_TOKEN", "t")];
    let night = |n: u32, code: i32| run(&lab, &day(n), &env, code, &["nightly"]);
    breaks(&lab, "a");
    night(1, 3);
    hook.took();

    // Upstream is away: the patches are what they were, and nothing is fixed.
    std::fs::rename(lab.path("up"), lab.path("away")).expect("moved");
    night(2, 1);
    let body = &hook.took()[0].body;
    assert_eq!((&body["ended"], &body["new"][0]["kind"]), (&json!("failed"), &json!("failed")));
    assert_eq!((patches(&body["fixed"]), patches(&body["open"])), (vec![], vec!["fix-a"]));
    night(3, 1);
    assert!(hook.took().is_empty(), "the same error is told once");
    let told = run(&lab, &day(3), &[], 0, &["status"]);
    assert!(told.contains("last night 0 s ago, failed: "), "{told}");
    let told = run(&lab, &day(3), &env, 0, &["doctor", "--offline"]);
    assert!(told.contains("the last one was 0 s ago: failed"), "{told}");
    let told = run(&lab, &day(3), &[], 0, &["report"]);
    assert!(told.contains("failed: "), "{told}");
    std::fs::rename(lab.path("away"), lab.path("up")).expect("moved");
    night(4, 3);
    let body = &hook.took()[0].body;
    assert_eq!((&body["ended"], &body["fixed"][0]["kind"]), (&json!("quiet"), &json!("failed")));

    // Every patch is required: nothing goes out.
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let edited = config.replace("#required = \"marked\"", "required = \"all\"");
    lab.commit("ws", "all of them", &[("carry.toml", Some(&edited))]);
    breaks(&lab, "b");
    night(5, 4);
    let body = &hook.took()[0].body;
    assert_eq!(body["ended"], "refused");
    let kinds: Vec<&Value> = body["new"].as_array().expect("a list").iter().map(|t| &t["kind"]).collect();
    assert_eq!(kinds, ["refused", "conflict"], "{body:#}");
    assert!(body["new"][0]["why"].as_str().expect("why").contains("fix-b"), "{body:#}");

    // No night at all is another thing than a quiet one: whoever asks is told.
    run(&lab, &day(5), &env, 0, &["notify"]);
    assert!(hook.took().is_empty());
    run(&lab, &day(8), &env, 0, &["notify"]);
    let body = &hook.took()[0].body;
    assert_eq!(body["new"][0]["what"], "no night ran");
    let told = run(&lab, &day(8), &env, 0, &["doctor", "--offline"]);
    assert!(told.contains("see that cron or CI still runs"), "{told}");

    // A paused project tells nothing.
    run(&lab, &day(8), &[], 0, &["pause", "--reason", "freeze"]);
    run(&lab, &day(9), &env, 0, &["nightly"]);
    assert!(hook.took().is_empty());
}

#[test]
fn slack_and_matrix_get_messages_in_their_own_form_in_which_hostile_text_stays_text() {
    let lab = lab();
    let hook = Listener::start();
    let port = hook.port;
    configure(
        &lab,
        &format!(
            "[[notify]]\nname = \"team\"\nkind = \"slack\"\nurl_env = \"SLACK_URL\"\nallow = [\"127.0.0.1:{port}\"]\n\
             [[notify]]\nname = \"room\"\nkind = \"matrix\"\nserver = \"http://127.0.0.1:{port}\"\nroom = \"!a b:h\"\n\
             token_env = \"MATRIX_TOKEN\"\nallow = [\"127.0.0.1:{port}\"]\n"
        )
        .replace("!a b:h", "!ab:example.org"),
    );
    let url = hook.url("/services/T/B/x");
    let env = [("SLACK_URL", url.as_str()), ("MATRIX_TOKEN", "s3cret")];
    run(&lab, &day(1), &env, 0, &["nightly"]);
    let theirs = numbered("a", &[(10, "theirs")]);
    lab.commit("up", "<!channel> @room ``` <b>bold</b> \u{202e}\u{1b}[31m", &[("a", Some(&theirs))]);
    run(&lab, &day(2), &env, 3, &["nightly"]);
    let requests = hook.took();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let slack = &requests[0];
    assert_eq!(slack.line, "POST /services/T/B/x HTTP/1.1");
    let text = slack.body["text"].as_str().expect("a text");
    assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!") && !text.contains("@room"), "{text}");
    let blocks = slack.body["blocks"].as_array().expect("blocks");
    assert_eq!(blocks[0]["type"], "header");
    assert_eq!(blocks[0]["text"]["text"], "p: 1 new; one thing wants a person");
    assert!(blocks.iter().all(|b| b["text"]["type"] == "plain_text"), "{blocks:#?}");
    let matrix = &requests[1];
    let path =
        matrix.line.strip_prefix("PUT /_matrix/client/v3/rooms/%21ab%3Aexample.org/send/m.room.message/");
    assert!(path.is_some_and(|rest| rest.starts_with("git-carry-")), "{}", matrix.line);
    assert_eq!(matrix.headers["authorization"], "Bearer s3cret");
    let is = ["msgtype", "format", "m.mentions"].map(|key| matrix.body[key].clone());
    assert_eq!(json!(is), json!(["m.text", "org.matrix.custom.html", {}]));
    let html = matrix.body["formatted_body"].as_str().expect("html");
    assert!(html.contains("&lt;b&gt;bold") && !html.contains("<b>"), "{html}");
    for text in [text, html, matrix.body["body"].as_str().expect("a text")] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    }

    // A test says that it is one, and is not written down.
    let told = run(&lab, &day(3), &env, 0, &["notify", "--test"]);
    assert!(told.contains("team") && told.contains("room") && told.contains("told"), "{told}");
    let requests = hook.took();
    assert_eq!(requests.len(), 2);
    assert!(requests[0].body["text"].as_str().expect("a text").contains("p: a test of git-carry"));
    run(&lab, &day(3), &env, 3, &["nightly"]);
    assert!(hook.took().is_empty());
    // And fails where a night would not.
    hook.answer("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    run(&lab, &day(3), &env, 1, &["notify", "--test"]);
}

#[test]
fn one_issue_is_kept_up_to_date_and_the_deploy_commit_has_a_status() {
    // GitHub has SHA-1 repositories alone.
    if std::env::var_os("GIT_DEFAULT_HASH").is_some() {
        return;
    }
    let lab = lab();
    lab.git(".", &["clone", "-q", "--bare", "up", "me/thing.git"]);
    let Some(github) = Github::start(&lab) else { return };
    let api = format!("http://127.0.0.1:{}", github.port);
    let table = |kind: &str, more: &str, allow: &str| {
        format!(
            "[[notify]]\nname = \"{kind}\"\nkind = \"{kind}\"\napi = \"{api}\"\nrepository = \"up/thing\"\n{more}allow = [\"{allow}\"]\n"
        )
    };
    let page = format!("{api}/up/thing");
    let env = [("GH_ENTERPRISE_TOKEN", TOKEN)];
    let known = || github.control(&json!({}));
    let night = |n: u32, code: i32| {
        // The build is pushed to where the status goes.
        let told = run(&lab, &day(n), &env, code, &["nightly"]);
        lab.git(
            "me/thing.git",
            &["fetch", "-q", "../../deploy.git", "+refs/heads/deploy/p:refs/heads/deploy/p"],
        );
        told
    };

    // Nothing is written to a repository that is not allowed, nor without a token.
    configure(&lab, &table("github-issue", "", "https://github.com/up/thing"));
    breaks(&lab, "a");
    let told = night(1, 3);
    assert!(told.contains(&format!("{page} is not on the allow-list")), "{told}");
    configure(&lab, &table("github-issue", "labels = [\"carried\"]\n", &page));
    let told = run(&lab, &day(1), &[], 3, &["nightly"]);
    assert!(told.contains("there is no token for 127.0.0.1"), "{told}");
    assert_eq!(known()["issues"], json!([]));

    // A stranger's issue with our marker in it is not ours.
    let marker = "<!-- git-carry: the news of p -->";
    github.control(
        &json!({ "stranger": { "title": "x", "body": format!("{marker}\nmine"), "stranger": true } }),
    );
    let told = night(2, 3);
    assert!(told.contains(&format!("told  github-issue ({page}): p: 1 new")), "{told}");
    let issues = known()["issues"].clone();
    assert_eq!(issues.as_array().map(Vec::len), Some(2), "{:#}", known());
    let ours = |key: &str| known()["issues"][1][key].clone();
    assert_eq!(issues[0]["body"], json!(format!("{marker}\nmine")));
    assert_eq!(ours("title"), "git-carry: what wants a person in p");
    assert_eq!(
        (ours("labels"), ours("state"), ours("comments")),
        (json!(["carried"]), json!("open"), json!([]))
    );
    let body = ours("body").as_str().expect("a text").to_owned();
    assert!(body.starts_with(marker) && body.contains("- `fix-a` conflicts with trunk (Kim)"), "{body}");

    // A quiet night asks nothing of it.
    let calls = || known()["log"]["rest"].as_array().map(Vec::len);
    let before = calls();
    night(3, 3);
    assert_eq!(calls(), before);

    // Whoever lost what is known finds it again by its marker; another trouble is a comment, and people's title stays.
    std::fs::remove_file(lab.path("ws/.git/carry/notify/p.json")).expect("it was kept");
    breaks(&lab, "b");
    night(4, 3);
    assert_eq!(known()["issues"].as_array().map(Vec::len), Some(2));
    let comments = ours("comments");
    assert_eq!(comments.as_array().map(Vec::len), Some(1), "{comments:#}");
    assert!(ours("body").as_str().expect("a text").contains("`fix-b`"));

    // All is well: it is closed. And opened again.
    mends(&lab, "a");
    mends(&lab, "b");
    night(5, 0);
    assert_eq!(ours("state"), "closed");
    assert!(ours("comments")[1].as_str().expect("a text").contains("2 fixed"), "{:#}", ours("comments"));
    breaks(&lab, "a");
    night(6, 3);
    assert_eq!((ours("state"), ours("comments").as_array().map(Vec::len)), (json!("open"), Some(3)));

    // The commit's status: the build must be there.
    configure(&lab, &table("commit-status", "", &page));
    breaks(&lab, "b");
    let told = run(&lab, &day(7), &env, 3, &["nightly"]);
    assert!(
        told.contains("No commit found for SHA") && told.contains("is the deploy branch pushed to"),
        "{told}"
    );
    night(8, 3);
    night(8, 3);
    mends(&lab, "a");
    mends(&lab, "b");
    run(&lab, &day(9), &env, 0, &["nightly"]);
    night(10, 0);
    night(11, 0);
    let statuses = known()["statuses"].clone();
    let is = |n: usize| ["context", "state", "description"].map(|key| statuses[n][key].clone());
    assert_eq!(statuses.as_array().map(Vec::len), Some(2), "{statuses:#}");
    assert_eq!(json!(is(0)), json!(["git-carry/p", "failure", "2 things want a person: fix-a, fix-b"]));
    assert_eq!(
        json!(is(1)),
        json!(["git-carry/p", "success", "all patches are in, and nothing wants a person"])
    );
    assert_eq!(statuses[1]["sha"], json!(lab.deployed()));
    std::fs::rename(lab.path("up"), lab.path("away")).expect("moved");
    run(&lab, &day(12), &env, 1, &["nightly"]);
    assert_eq!(known()["statuses"][2]["state"], "error");
    // GitHub's description refused nothing, on either side.
    let refused = known()["log"]["refused"].clone();
    let refused = refused.as_array().expect("a list");
    assert!(refused.iter().all(|r| r.to_string().contains("No commit found for SHA")), "{refused:#?}");
    let kept = Command::new("grep").args(["-rl", TOKEN]).arg(lab.path("ws")).output().expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "", "a secret was kept");
}
