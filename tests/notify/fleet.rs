//! The nights of a fleet: the fan-in tells, and workers do not.

use serde_json::{Value, json};

use super::listen::Listener;
use super::{patches, webhook};
use crate::fleet::{clone, fleet, moves, run};
use crate::support::lab::{Lab, numbered};

fn said(lab: &Lab, args: &[&str], url: &str, code: i32) -> [String; 2] {
    let mut command = lab.carry_command("ws", &[args, &["fleet", "report", "--record"]].concat());
    let out = command.env("HOOK_URL", url).env("HOOK_TOKEN", "s3cret-token").output().expect("it runs");
    let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(out.status.code(), Some(code), "{said:?}");
    said
}

fn gather(lab: &Lab, url: &str, code: i32) -> Value {
    let [text, _] = said(lab, &["--json"], url, code);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn who_gathers_a_fleet_tells_once_what_its_workers_found_and_a_listener_that_is_away_fails_nothing() {
    let hook = Listener::start();
    let lab = fleet(2, |_| webhook(hook.port));
    let url = hook.url("/in");
    clone(&lab, "w");
    let work = |code: i32| {
        lab.git("ws", &["push", "-q", "origin", "main"]);
        lab.git("w", &["pull", "-q", "--ff-only"]);
        assert_eq!(run(&lab, "w", &["--all"], &[("HOOK_URL", &url), ("HOOK_TOKEN", "s3cret-token")]).1, code);
        assert!(hook.took().is_empty(), "a worker tells nobody");
    };
    work(0);
    assert_eq!(gather(&lab, &url, 0)["told"], json!([]), "all is well");

    // Nobody listens there: it is a note, and told the next time.
    moves(&lab, 0, 10, "theirs");
    work(3);
    let [_, note] = said(&lab, &[], "http://127.0.0.1:1/in", 3);
    assert!(note.contains("'hook' was not told, and is the next time"), "{note}");
    let document = gather(&lab, &url, 3);
    assert_eq!(document["told"][0]["told"][0]["new"], 1, "{document}");
    let requests = hook.took();
    let [request] = &requests[..] else { panic!("{requests:#?}") };
    let body = &request.body;
    assert_eq!((&body["project"], patches(&body["new"])), (&json!("p0"), vec!["on-a"]));
    assert_eq!((&body["new"][0]["kind"], &body["ended"]), (&json!("conflict"), &json!("published")));
    let deployed = lab.git("deploy0.git", &["rev-parse", "deploy/p0"]);
    assert_eq!(body["commit"], deployed, "{body}");
    gather(&lab, &url, 3);
    assert!(hook.took().is_empty(), "it was told");

    // A look tells nobody, and a worker that fails is news as well.
    let mangled = "Subject: x\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,9 +1 @@\n-a\n";
    lab.commit("ws", "mangle", &[("patches/p1/on-a.patch", Some(mangled))]);
    work(2);
    let mut look = lab.carry_command("ws", &["fleet", "report"]);
    assert_eq!(look.env("HOOK_URL", &url).output().expect("it runs").status.code(), Some(2));
    assert!(hook.took().is_empty());
    gather(&lab, &url, 2);
    let body = &hook.took()[0].body;
    assert_eq!((&body["project"], &body["new"][0]["kind"]), (&json!("p1"), &json!("failed")), "{body}");
    assert_eq!(body["new"][0]["next"], "git carry fleet run --unit p1");

    // Both are mended.
    lab.git("ws", &["revert", "--no-edit", "HEAD"]);
    lab.git("up", &["checkout", "-q", "b0"]);
    lab.commit("up", "mend", &[("a", Some(&numbered("a", &[])))]);
    work(0);
    gather(&lab, &url, 0);
    let requests = hook.took();
    let fixed: Vec<_> = requests.iter().map(|r| (&r.body["project"], &r.body["fixed"][0]["kind"])).collect();
    assert_eq!(fixed, [(&json!("p0"), &json!("conflict")), (&json!("p1"), &json!("failed"))]);
}
