//! Many projects in one workspace: side by side, each for itself, and patches that span them.

use std::time::{Duration, Instant};

use crate::support::lab::{Lab, numbered};

/// `count` projects `p0`, `p1` …, each with a branch of its own in `up` and one patch, `on-a`, with this message.
fn many(count: usize, message: impl Fn(usize) -> String) -> Lab {
    let lab = Lab::new();
    let base: Vec<(&str, String)> = ["a", "b", "c"].map(|n| (n, numbered(n, &[]))).to_vec();
    let files: Vec<(&str, Option<&str>)> = base.iter().map(|(n, t)| (*n, Some(t.as_str()))).collect();
    lab.commit("up", "base", &files);
    for n in 0..count {
        lab.git("up", &["branch", &format!("b{n}"), "main"]);
        lab.git("up", &["checkout", "-q", "-b", &format!("fork{n}"), "main"]);
        lab.commit("up", &message(n), &[("a", Some(&numbered("a", &[(10, &format!("ours {n}"))])))]);
        let (name, branch, tip) = (format!("p{n}"), format!("b{n}"), format!("refs/heads/fork{n}"));
        let init = ["init", "--project", &name, "--upstream", "../up", "--branch", &branch];
        lab.carry_code(0, &[&init[..], &["--remote", "../deploy.git"]].concat());
        let import = ["import", "--project", &name, "--fork", "../up", "--tip", &tip, "--base", &branch];
        lab.carry_code(0, &import);
    }
    lab
}

/// Upstream's branch `n` gets a line of its own.
fn moves(lab: &Lab, n: usize, line: usize, text: &str) {
    lab.git("up", &["checkout", "-q", &format!("b{n}")]);
    lab.commit("up", "upstream moves", &[("a", Some(&numbered("a", &[(line, text)])))]);
}

fn plain(_: usize) -> String {
    "on a".into()
}

/// The outcome of the only patch of each project.
fn outcomes(nights: &serde_json::Value) -> Vec<String> {
    let nights = nights.as_array().expect("a list");
    nights.iter().map(|n| n["patches"][0]["outcome"].as_str().unwrap_or("-").to_owned()).collect()
}

fn deployed(lab: &Lab, n: usize) -> String {
    lab.git("deploy.git", &["rev-parse", &format!("refs/heads/deploy/p{n}")])
}

fn all_is_whole(lab: &Lab, count: usize) {
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    let stores = (0..count).map(|n| format!("ws/.git/carry/p{n}.git"));
    for repository in ["deploy.git".to_owned(), "ws".to_owned()].into_iter().chain(stores) {
        lab.git(&repository, &["fsck", "--strict", "--no-dangling"]);
    }
}

#[test]
fn projects_side_by_side_are_one_transaction_each_and_none_undoes_another_s_part_of_the_lock() {
    let lab = many(6, plain);
    lab.carry_code(0, &["nightly", "--all"]);
    for round in 0..3 {
        (0..6).for_each(|n| moves(&lab, n, 20, &format!("theirs {round}")));
        let before = lab.git("ws", &["rev-parse", "HEAD"]);
        let nights = lab.json(0, &["nightly", "--all", "--jobs", "6"]);
        let names: Vec<&str> = nights
            .as_array()
            .expect("a list")
            .iter()
            .map(|n| n["project"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, ["p0", "p1", "p2", "p3", "p4", "p5"], "in the projects' order");
        let lock = lab.git("ws", &["show", "HEAD:carry.lock"]);
        for n in 0..6 {
            assert_eq!(nights[n]["manifest"]["deploy"]["commit"], deployed(&lab, n), "round {round}");
            assert!(lock.contains(&deployed(&lab, n)), "round {round}: the lock knows p{n}");
        }
        // Each run's commits hold its own files and the lock, and stand in one line.
        let commits = lab.git("ws", &["rev-list", "--reverse", &format!("{before}..HEAD")]);
        let mut seen: Vec<String> = Vec::new();
        for commit in commits.lines() {
            let subject = lab.git("ws", &["log", "-1", "--format=%s", commit]);
            let project = subject.trim_start_matches("carry: ").split(':').next().expect("a name").to_owned();
            let files = lab.git("ws", &["diff-tree", "-r", "--name-only", "--no-commit-id", commit]);
            let own = |f: &str| f == "carry.lock" || f.starts_with(&format!("patches/{project}/"));
            assert!(files.lines().all(own), "{subject}: {files}");
            if seen.last() != Some(&project) {
                seen.push(project);
            }
        }
        seen.sort();
        assert_eq!(seen, names, "each project's commits stand together");
    }
    all_is_whole(&lab, 6);
    let text = lab.carry_code(0, &["nightly"]);
    assert_eq!(text.matches(": nothing new; trunk at").count(), 6, "{text}");
    // The log of a project is its own.
    let log = lab.json(0, &["log", "--project", "p3"]);
    let subjects: Vec<&str> =
        log["log"].as_array().expect("a list").iter().map(|e| e["subject"].as_str().expect("text")).collect();
    assert!(subjects.iter().all(|s| s.starts_with("carry: p3: ")), "{subjects:?}");
    assert_eq!(subjects.iter().filter(|s| s.contains("replay")).count(), 4, "{subjects:?}");
}

#[test]
fn what_one_project_runs_into_stops_no_other_and_the_worst_is_the_exit_code() {
    let lab = many(4, |n| if n == 2 { "on a\n\nCarry-Required: yes".into() } else { plain(n) });
    lab.carry_code(0, &["nightly"]);
    let before: Vec<String> = (0..4).map(|n| deployed(&lab, n)).collect();
    (0..4).for_each(|n| moves(&lab, n, if n >= 2 { 10 } else { 20 }, "theirs"));
    lab.git("up", &["checkout", "-q", "main"]);
    // p0 loses its trunk, p2 a patch that it must have, p3 one that it need not have.
    lab.git("up", &["branch", "-m", "b0", "gone"]);
    let nights = lab.json(1, &["nightly", "--jobs", "3"]);
    let done: Vec<&str> = (0..4).map(|n| nights[n]["done"].as_str().expect("a word")).collect();
    assert_eq!(done, ["failed", "published", "refused", "published"], "{nights}");
    assert!(nights[0]["error"].as_str().expect("an error").contains("b0"), "{nights}");
    assert_eq!(nights[0]["exit_code"], 1);
    let moved: Vec<bool> = (0..4).map(|n| deployed(&lab, n) != before[n]).collect();
    assert_eq!(moved, [false, true, false, true]);
    all_is_whole(&lab, 4);
    // With people as readers: the whole at the end, a line a project.
    let text = lab.carry_code(1, &["nightly"]);
    let last: Vec<&str> =
        text.lines().filter(|l| l.trim_start().starts_with("p") && l.contains("failed")).collect();
    assert!(!last.is_empty(), "{text}");
    // Without the failed one, the worst is that nothing was published.
    lab.git("up", &["branch", "-m", "gone", "b0"]);
    lab.carry_code(4, &["nightly"]);
}

#[test]
fn patches_that_span_projects_are_left_out_together_and_come_back_together() {
    let spans = |n: usize| match n {
        0 => "on a\n\nDepends-On: p1/on-a".to_owned(),
        1 => "on a\n\nDepends-On: p2/on-a".to_owned(),
        _ => plain(n),
    };
    let lab = many(4, spans);
    let nights = lab.json(0, &["nightly", "--jobs", "1"]);
    assert_eq!(outcomes(&nights), ["clean"; 4]);
    // The end of the line falls out: the others go with it, and say for whom.
    moves(&lab, 2, 10, "theirs");
    let nights = lab.json(3, &["nightly", "--jobs", "2"]);
    assert_eq!(outcomes(&nights), ["blocked", "blocked", "conflict", "clean"], "{nights}");
    assert_eq!(nights[1]["patches"][0]["needs"], serde_json::json!(["p2/on-a"]));
    assert_eq!(nights[1]["patches"][0]["note"], "p2/on-a is left out: conflict");
    assert_eq!(nights[0]["patches"][0]["needs"], serde_json::json!(["p1/on-a"]));
    let holds = |n: usize| lab.git("deploy.git", &["show", &format!("deploy/p{n}:a")]).contains("ours");
    assert_eq!([0, 1, 2, 3].map(holds), [false, false, false, true]);
    // Still so: nothing new, and nothing is published again.
    let text = lab.carry_code(3, &["nightly"]);
    assert_eq!(text.matches("nothing new; trunk at").count(), 4, "{text}");
    // Alone none comes back, whatever its own trunk does.
    moves(&lab, 0, 20, "theirs");
    let nights = lab.json(3, &["nightly", "--project", "p0"]);
    assert_eq!(outcomes(&nights), ["blocked"]);
    // Upstream gives way: all three are back at once.
    moves(&lab, 2, 21, "theirs");
    let nights = lab.json(0, &["nightly", "--all"]);
    assert_eq!(outcomes(&nights), ["clean"; 4], "{nights}");
    assert_eq!([0, 1, 2, 3].map(holds), [true; 4]);
    // The one that names a partner takes that along as well.
    moves(&lab, 0, 10, "theirs");
    let nights = lab.json(3, &["nightly", "--all"]);
    assert_eq!(outcomes(&nights), ["conflict", "blocked", "blocked", "clean"], "{nights}");
    all_is_whole(&lab, 4);
}

#[test]
fn a_partner_that_a_check_breaks_is_a_partner_that_is_out() {
    let lab = many(2, |n| if n == 0 { "on a\n\nDepends-On: p1/on-a".into() } else { plain(n) });
    let path = lab.path("ws/carry.toml");
    let toml = std::fs::read_to_string(&path).expect("it is there");
    let check = "\n[[project.p1.check]]\nname = \"no\"\nrun = [\"sh\", \"-c\", \"! grep -q ours a\"]\n";
    std::fs::write(&path, toml + check).expect("written");
    lab.git("ws", &["commit", "-qam", "a check"]);
    let nights = lab.json(3, &["nightly"]);
    assert_eq!(outcomes(&nights), ["blocked", "broken"], "{nights}");
    assert_eq!(nights[0]["patches"][0]["note"], "p1/on-a is left out: broken");
}

#[test]
fn a_partner_that_fails_tonight_counts_as_it_was_left() {
    let lab = many(2, |n| if n == 0 { "on a\n\nDepends-On: p1/on-a".into() } else { plain(n) });
    // p1 has no night yet, and none today either.
    lab.git("up", &["branch", "-m", "b1", "gone"]);
    let nights = lab.json(1, &["nightly"]);
    assert_eq!(outcomes(&nights), ["blocked", "-"], "{nights}");
    lab.git("up", &["branch", "-m", "gone", "b1"]);
    assert_eq!(outcomes(&lab.json(0, &["nightly"])), ["clean", "clean"]);
    // From now on the last build of p1 has it, so p0 may go on.
    lab.git("up", &["branch", "-m", "b1", "gone"]);
    moves(&lab, 0, 20, "theirs");
    let nights = lab.json(1, &["nightly"]);
    assert_eq!(outcomes(&nights), ["clean", "-"], "{nights}");
}

#[test]
fn a_partner_that_upstream_has_holds_nobody() {
    let lab = many(2, |n| if n == 0 { "on a\n\nDepends-On: p1/on-a".into() } else { plain(n) });
    lab.carry_code(0, &["nightly"]);
    lab.git("up", &["checkout", "-q", "b1"]);
    lab.git("up", &["cherry-pick", "fork1"]);
    for _ in 0..2 {
        let nights = lab.json(0, &["nightly"]);
        assert_eq!(nights[0]["patches"][0]["outcome"], "clean", "{nights}");
        moves(&lab, 0, 20, "theirs");
    }
    assert!(!lab.path("ws/patches/p1/on-a.patch").exists());
}

#[test]
fn patches_that_depend_on_each_other_in_a_ring_are_told_and_fare_as_one() {
    let lab = many(2, |n| format!("on a\n\nDepends-On: p{}/on-a", 1 - n));
    let text = lab.carry_code(0, &["nightly"]);
    assert_eq!(text.matches("p0/on-a, p1/on-a depend on each other").count(), 1, "{text}");
    moves(&lab, 1, 10, "theirs");
    assert_eq!(outcomes(&lab.json(3, &["nightly"])), ["blocked", "conflict"]);
    moves(&lab, 1, 20, "theirs");
    assert_eq!(outcomes(&lab.json(0, &["nightly"])), ["clean", "clean"]);
}

#[test]
fn a_name_that_no_queue_has_leaves_the_patch_out_and_says_so() {
    let lab = many(2, |n| if n == 0 { "on a\n\nDepends-On: p1/on-z".into() } else { plain(n) });
    let nights = lab.json(3, &["nightly"]);
    assert_eq!(nights[0]["patches"][0]["note"], "p1/on-z is left out: the queue of p1 has no such patch");
}

/// Waits until a file is there.
fn wait_for(path: &std::path::Path) {
    let start = Instant::now();
    while !path.exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(path.exists(), "{}", path.display());
}

/// A night of p0 whose push the remote takes, and which is killed before it knows.
fn cut_off_after_its_push(lab: &Lab) {
    use std::os::unix::fs::PermissionsExt;
    let hook = lab.path("deploy.git/hooks/post-receive");
    let (seen, held) =
        (lab.path("seen"), format!("#!/bin/sh\ntouch '{}'\nsleep 3\n", lab.path("seen").display()));
    std::fs::write(&hook, held).expect("written");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    let mut child =
        lab.carry_command("ws", &["--quiet", "nightly", "--project", "p0"]).spawn().expect("it starts");
    wait_for(&seen);
    child.kill().expect("killed");
    child.wait().expect("waited");
    std::fs::remove_file(&hook).expect("it was there");
}

#[test]
fn a_run_that_was_cut_off_after_its_push_is_finished_though_the_store_is_lost() {
    let lab = many(1, plain);
    lab.carry_code(0, &["nightly"]);
    moves(&lab, 0, 20, "theirs");
    cut_off_after_its_push(&lab);
    let pushed = deployed(&lab, 0);
    std::fs::remove_dir_all(lab.path("ws/.git/carry/p0.git")).expect("gone");
    let out = lab.carry_code(0, &["nightly"]);
    assert!(out.contains("it is finished now"), "{out}");
    assert_eq!(deployed(&lab, 0), pushed);
    let lock = lab.git("ws", &["show", "HEAD:carry.lock"]);
    assert!(lock.contains(&pushed), "{lock}");
    all_is_whole(&lab, 1);
}

#[test]
fn a_run_that_was_cut_off_and_cannot_be_asked_about_waits_while_the_other_projects_go_on() {
    let lab = many(3, plain);
    lab.carry_code(0, &["nightly"]);
    // The remote takes the push of p0, and its hook keeps the run waiting, until that is killed.
    moves(&lab, 0, 20, "theirs");
    cut_off_after_its_push(&lab);
    let pushed = deployed(&lab, 0);
    // Whether it has happened cannot be asked: the remote is away for p0. The others have one of their own.
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
    lab.git(".", &["clone", "-q", "--bare", "deploy.git", "other.git"]);
    let (first, rest) = toml.split_once("[project.p1]").expect("it is there");
    std::fs::write(
        lab.path("ws/carry.toml"),
        format!("{first}[project.p1]{}", rest.replace("../deploy.git", "../other.git")),
    )
    .expect("written");
    lab.git("ws", &["commit", "-qam", "another remote"]);
    std::fs::rename(lab.path("deploy.git"), lab.path("away.git")).expect("moved");
    moves(&lab, 1, 20, "theirs");
    moves(&lab, 0, 21, "theirs");
    let nights = lab.json(1, &["nightly"]);
    let done: Vec<&str> = (0..3).map(|n| nights[n]["done"].as_str().expect("a word")).collect();
    assert_eq!(done, ["failed", "published", "quiet"], "{nights}");
    assert!(nights[0]["error"].as_str().expect("an error").contains("was cut off"), "{nights}");
    // The remote is back: the run is finished on top of what the others did, and the next one goes on from there.
    std::fs::rename(lab.path("away.git"), lab.path("deploy.git")).expect("moved");
    let text = lab.carry_code(0, &["nightly"]);
    assert!(text.contains("it is finished now"), "{text}");
    let line = lab.git("ws", &["log", "--format=%s"]);
    assert_eq!(line.lines().filter(|l| l.starts_with("carry: p0: replay")).count(), 3, "{line}");
    let lock = lab.git("ws", &["log", "-p", "--format=", "--", "carry.lock"]);
    assert!(lock.contains(&pushed), "the build that was pushed is recorded");
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}

#[test]
fn a_report_of_many_projects_looks_once_at_the_history_that_they_share() {
    let lab = many(4, plain);
    lab.carry_code(0, &["nightly", "--all"]);
    // Of three nights that moved but one project each, none leaves the last one's moment to another; of what people do, a
    // change of a queue is its own, and one of the lock is everybody's.
    let at = |day: usize| format!("2031-02-{day:02}T03:04:05+01:00");
    let commit = |day: usize, path: &str, subject: &str| {
        let file = lab.path("ws").join(path);
        let text = std::fs::read_to_string(&file).expect("a file");
        std::fs::write(&file, format!("{text}# {day}\n")).expect("written");
        lab.git("ws", &["commit", "-qam", subject, "--allow-empty-message", "--date", &at(day)]);
    };
    commit(1, "carry.lock", "by hand");
    commit(2, "carry.lock", "carry: p2: replay on something");
    commit(3, "patches/p3/series", "by hand as well");
    commit(4, "patches/p1/series", "");
    // More than is looked at first.
    (0..15).for_each(|n| commit(4, "carry.lock", &format!("carry: p0: replay {n}")));
    commit(5, "patches/p0/series", "carry: p0: at last");
    (0..4).for_each(|n| {
        std::fs::remove_file(lab.path("ws").join(format!(".git/carry/p{n}.night"))).expect("gone")
    });
    let events = lab.path("events");
    let told = lab
        .carry_command("ws", &["report", "--format", "json"])
        .env("GIT_TRACE2_EVENT", &events)
        .output()
        .expect("it runs");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("a report");
    let moment = |text: &str| text.parse::<jiff::Timestamp>().expect("a moment");
    let last: Vec<jiff::Timestamp> =
        (0..4).map(|n| moment(told["projects"][n]["last_run"].as_str().expect("a moment"))).collect();
    assert_eq!(last, [5, 4, 2, 3].map(|day| moment(&at(day))));
    for (n, last) in last.iter().enumerate() {
        let log = lab.json(0, &["log", "--project", &format!("p{n}")]);
        assert_eq!(moment(log["log"][0]["date"].as_str().expect("a date")), *last, "p{n}");
    }
    let events = std::fs::read_to_string(events).expect("what git did");
    let calls = events.lines().filter(|line| line.contains(r#""event":"start""#)).count();
    assert!(calls < 4, "{calls} calls of git:\n{events}");
}
