//! What a project's policy asks of its queue, and what becomes of a night when that is not kept.

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use crate::support::lab::{Lab, numbered};

/// Two patches: one says all that can be asked for, one nothing.
fn two() -> Lab {
    let (a, b) = (numbered("a", &[(10, "ours")]), numbered("b", &[(10, "ours")]));
    let lab = Lab::with_fork(&[
        ("good one\n\nCarry-Owner: Ann <ann@example.org>\nCarry-Reason: ours alone", &[("a", Some(&a))]),
        ("bare one", &[("b", Some(&b))]),
    ]);
    lab.carry_code(0, &["nightly"]);
    lab
}

/// Adds keys to the policy of the project.
fn policy(lab: &Lab, lines: &str) {
    edit(lab, "carry.toml", |text| {
        text.replace("[project.p.policy]", &format!("[project.p.policy]\n{lines}"))
    });
}

/// Changes a file of the workspace, and commits that.
fn edit(lab: &Lab, file: &str, change: impl Fn(String) -> String) {
    let path = lab.path("ws").join(file);
    let before = std::fs::read_to_string(&path).expect("it is there");
    let after = change(before.clone());
    assert_ne!(after, before, "{file}");
    std::fs::write(&path, after).expect("written");
    lab.git("ws", &["commit", "-qam", "by hand"]);
}

/// Adds a line to the footer of the patch `bare-one`.
fn footer(lab: &Lab, line: &str) {
    edit(lab, "patches/p/bare-one.patch", |text| text.replacen("\n---\n", &format!("\n\n{line}\n---\n"), 1));
}

/// A day from today on, in UTC.
fn day(from_now: i64) -> String {
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    today.checked_add(from_now.days()).expect("a date").to_string()
}

/// Rule and patch of each breach.
fn rules(told: &serde_json::Value) -> Vec<(String, String)> {
    let text = |v: &serde_json::Value| v.as_str().unwrap_or("-").to_owned();
    told["policy"].as_array().into_iter().flatten().map(|b| (text(&b["rule"]), text(&b["patch"]))).collect()
}

fn named(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn what_is_asked_of_patches_is_told_by_the_night_the_status_and_the_report() {
    let lab = two();
    policy(&lab, "require_owner = true\nrequire_reason = true\nmax_patches = 1");
    let all = named(&[("max-patches", "-"), ("require-owner", "bare-one"), ("require-reason", "bare-one")]);
    let night = &lab.json(3, &["nightly"])[0];
    assert_eq!((rules(night), &night["done"]), (all.clone(), &"quiet".into()));
    assert_eq!(rules(&lab.json(0, &["status"])[0]), all);
    let text = lab.carry_code(3, &["nightly"]);
    assert!(text.contains("policy: 3 rules are not kept:"), "{text}");
    assert!(text.contains("patch 'bare-one' names nobody who answers for it"), "{text}");
    assert!(
        text.contains("git carry edit bare-one, with a line in its message: Carry-Owner: NAME <MAIL>"),
        "{text}"
    );
    let report = lab.json(0, &["report"]);
    let wants = report["projects"][0]["wants"].as_array().expect("a list").clone();
    let of = |patch: &str| {
        wants.iter().filter(|w| w["patch"] == patch && w["what"] == "does not keep the policy").count()
    };
    assert_eq!((of("bare-one"), of("good-one")), (2, 0), "{wants:?}");
    // A night with news goes out all the same.
    lab.commit("up", "moves", &[("c", Some("c\n"))]);
    assert_eq!(lab.json(3, &["nightly"])[0]["done"], "published");
    footer(&lab, "Carry-Owner: Bob <bob@example.org>\nCarry-Reason: because");
    assert_eq!(rules(&lab.json(3, &["nightly"])[0]), named(&[("max-patches", "-")]));
    policy(&lab, "#one\n");
    edit(&lab, "carry.toml", |text| text.replace("max_patches = 1\n", "max_patches = 2\n"));
    assert_eq!(rules(&lab.json(0, &["nightly"])[0]), []);
}

#[test]
fn a_gate_lets_nothing_out_until_the_rule_is_kept_and_stops_no_remedy() {
    let lab = two();
    policy(&lab, "gate = true");
    footer(&lab, &format!("Carry-Expires: {}", day(-1)));
    lab.commit("up", "moves", &[("c", Some("c\n"))]);
    let before = (lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"]));
    let night = &lab.json(4, &["nightly"])[0];
    assert_eq!((rules(night), &night["done"]), (named(&[("expires", "bare-one")]), &"refused".into()));
    let reasons = night["manifest"]["verdict"]["reasons"].to_string();
    assert!(
        reasons.contains("policy: patch 'bare-one' expired on") && reasons.contains("one day ago"),
        "{reasons}"
    );
    assert_eq!((lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"])), before, "nothing was changed");
    // What a person does about it goes through, and then so does the night.
    lab.carry_code(0, &["drop", "bare-one", "--reason", "over"]);
    assert_eq!(lab.json(0, &["nightly"])[0]["done"], "published");
    assert_ne!(lab.deployed(), before.0);
}

#[test]
fn the_last_day_is_a_day_and_what_is_no_date_is_told() {
    let lab = two();
    footer(&lab, &format!("Carry-Expires: {}", day(0)));
    assert_eq!(rules(&lab.json(0, &["nightly"])[0]), []);
    edit(&lab, "patches/p/bare-one.patch", |text| text.replace(&day(0), "soon"));
    let night = &lab.json(3, &["nightly"])[0];
    assert_eq!(rules(night), named(&[("expires", "bare-one")]));
    assert!(night["policy"][0]["what"].as_str().expect("text").contains("is no date: 'soon'"), "{night}");
}

#[test]
fn a_hold_ages_from_the_day_on_which_a_run_met_it_and_not_by_trunk_s_dates() {
    let lab = two();
    policy(&lab, "max_hold_age = \"30d\"\ngate = true");
    lab.carry_code(0, &["hold", "bare-one", "--reason", "waits for the release"]);
    // Trunk's commits are of long ago or of times to come: the hold is of today.
    assert_eq!(rules(&lab.json(0, &["nightly"])[0]), []);
    let lock = lab.git("ws", &["show", "HEAD:carry.lock"]);
    assert!(lock.contains(&format!("held_since = \"{}\"", day(0))), "{lock}");
    edit(&lab, "carry.lock", |text| text.replace(&day(0), &day(-30)));
    assert_eq!(rules(&lab.json(0, &["nightly"])[0]), [], "thirty days are allowed");
    edit(&lab, "carry.lock", |text| text.replace(&day(-30), &day(-31)));
    let night = &lab.json(4, &["nightly"])[0];
    assert_eq!(rules(night), named(&[("max-hold-age", "bare-one")]));
    assert_eq!(night["policy"][0]["what"], "has been held for 31 days, and 30 are allowed");
    // A night with news keeps the day.
    edit(&lab, "carry.toml", |text| text.replace("gate = true", "gate = false"));
    lab.commit("up", "moves", &[("c", Some("c\n"))]);
    lab.carry_code(3, &["nightly"]);
    assert!(lab.git("ws", &["show", "HEAD:carry.lock"]).contains(&day(-31)));
    lab.carry_code(0, &["unhold", "bare-one"]);
    assert_eq!(rules(&lab.json(0, &["nightly"])[0]), []);
}
