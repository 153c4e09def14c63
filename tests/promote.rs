//! Promotions under fault, by the built binary: two people at once, a push whose answer is lost, kills, remotes that are away,
//! and records that are damaged.

use crate::stage::{CELLS, as_person, lab, next, refs, rewrite};
use serde_json::json;

#[test]
fn of_two_people_who_promote_at_once_one_wins_and_the_other_is_told() {
    let (lab, a) = lab(CELLS);
    let b = next(&lab, &[("new", "x\n")]);
    lab.git(".", &["clone", "-q", "ws", "ws2"]);
    // Both pushes wait for each other at the remote, before either is taken.
    let hook = lab.path("deploy.git/hooks/pre-receive");
    let here = lab.path("arrived");
    std::fs::create_dir(&here).expect("a folder");
    let text = format!(
        "#!/bin/sh\ntouch '{0}'/$$\nn=0\nwhile [ $(ls '{0}' | wc -l) -lt 2 ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done\n",
        here.display()
    );
    std::fs::write(&hook, text).expect("a hook");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    }
    let people = [("ws", "Ada", &a), ("ws2", "Bob", &b)];
    let outs: Vec<_> = std::thread::scope(|threads| {
        let run = |(at, name, build): (&'static str, &'static str, &String)| {
            let (lab, build) = (&lab, build.clone());
            threads.spawn(move || as_person(lab, at, name, &["stage", "promote", &build, "test"]))
        };
        people.map(run).into_iter().map(|t| t.join().expect("it ends")).collect()
    });
    std::fs::remove_file(&hook).expect("it was there");
    let codes: Vec<_> = outs.iter().map(|o| o.status.code()).collect();
    let text = |n: usize| String::from_utf8_lossy(&outs[n].stderr).into_owned();
    let winner = match codes[..] {
        [Some(0), Some(4)] => 0,
        [Some(4), Some(0)] => 1,
        _ => panic!("{codes:?}: {} {}", text(0), text(1)),
    };
    let loser = text(1 - winner);
    let (_, name, build) = people[winner];
    assert!(
        loser.contains(&format!(
            "'test' was moved by {name} <{}@example.org> just now: it runs {build}",
            name.to_lowercase()
        )),
        "{loser}"
    );
    assert!(loser.contains("nothing of yours was kept"), "{loser}");
    // One record, the same everywhere.
    let there = lab.git("deploy.git", &["log", "--format=%an", "refs/carry/stage/p/test"]);
    assert_eq!(there, name);
    let id = lab.git("deploy.git", &["rev-parse", "refs/carry/stage/p/test"]);
    for store in ["ws/.git/carry/p.git", "ws2/.git/carry/p.git"] {
        assert_eq!(lab.git(store, &["rev-parse", "refs/carry/stage/p/test"]), id);
    }
}

#[test]
#[cfg(unix)]
fn who_is_overtaken_just_before_the_push_is_told_and_moves_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let (lab, a) = lab(CELLS);
    let b = next(&lab, &[("new", "x\n")]);
    lab.git(".", &["clone", "-q", "ws", "ws2"]);
    assert!(as_person(&lab, "ws2", "Bob", &["stage", "promote", &a, "test"]).status.success());
    // Bob's record is there once more when Ada's push begins, and not before.
    let name = "refs/carry/stage/p/test";
    let his = lab.git("deploy.git", &["rev-parse", name]);
    lab.git("deploy.git", &["update-ref", "-d", name]);
    let folder = lab.path("bin");
    std::fs::create_dir(&folder).expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let shim = format!(
        "#!/bin/sh\nPATH='{path}'\nfor arg; do [ \"$arg\" = push ] && git --git-dir='{}' update-ref {name} {his}; done\nexec git \"$@\"\n",
        lab.path("deploy.git").display()
    );
    std::fs::write(folder.join("git"), shim).expect("a program");
    std::fs::set_permissions(folder.join("git"), std::fs::Permissions::from_mode(0o755)).expect("it may run");
    let mut ada = lab.carry_command("ws", &["stage", "promote", &b, "test"]);
    let out = ada.env("PATH", format!("{}:{path}", folder.display())).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(4), "{text}");
    assert!(
        text.contains(&format!("'test' was moved by Bob <bob@example.org> just now: it runs {a}")),
        "{text}"
    );
    assert_eq!(lab.git("deploy.git", &["rev-parse", name]), his);
    assert_eq!(lab.git("ws/.git/carry/p.git", &["rev-parse", name]), his);
}

#[test]
#[cfg(unix)]
fn a_promotion_whose_answer_is_lost_is_known_for_one_s_own() {
    use std::os::unix::fs::PermissionsExt;
    let (lab, a) = lab(CELLS);
    let folder = lab.path("bin");
    std::fs::create_dir(&folder).expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    // The push arrives, and its answer does not.
    let shim = format!(
        "#!/bin/sh\nPATH='{path}'\nfor arg; do if [ \"$arg\" = push ]; then git \"$@\" >/dev/null 2>&1; echo 'fatal: hung up' >&2; exit 128; fi; done\nexec git \"$@\"\n"
    );
    std::fs::write(folder.join("git"), shim).expect("a program");
    std::fs::set_permissions(folder.join("git"), std::fs::Permissions::from_mode(0o755)).expect("it may run");
    let mut ada = lab.carry_command("ws", &["stage", "promote", &a, "test"]);
    let out = ada.env("PATH", format!("{}:{path}", folder.display())).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let name = "refs/carry/stage/p/test";
    assert_eq!(lab.git("deploy.git", &["rev-list", "--count", name]), "1");
    assert_eq!(
        lab.git("deploy.git", &["rev-parse", name]),
        lab.git("ws/.git/carry/p.git", &["rev-parse", name])
    );
}

#[test]
fn a_build_that_nobody_can_fetch_is_not_promoted() {
    let (lab, _) = lab(CELLS);
    lab.commit("up", "upstream moves", &[("new", Some("x\n"))]);
    let up = lab.path("up").display().to_string();
    lab.git("ws/.git/carry/p.git", &["fetch", "-q", &up, "+main:refs/carry/trunk"]);
    let made = lab.json(0, &["rebase", "--onto", "main"]);
    let id = made["manifest"]["deploy"]["build"].as_str().unwrap_or_else(|| panic!("{made}"));
    let text = lab.carry_code(4, &["stage", "promote", id, "test"]);
    assert!(text.contains(&format!("the build {id} is not at")), "{text}");
    assert_eq!(refs(&lab), "");
}

#[test]
fn what_others_promoted_is_seen_and_a_remote_that_does_not_answer_is_told() {
    let (lab, a) = lab(CELLS);
    lab.git(".", &["clone", "-q", "ws", "ws2"]);
    assert!(as_person(&lab, "ws2", "Bob", &["stage", "promote", "latest", "test"]).status.success());
    let list = lab.json(0, &["stage", "list"]);
    assert_eq!(
        (&list["stages"][0]["runs"]["build"], &list["stages"][0]["runs"]["by"][0]),
        (&json!(a), &json!("Bob"))
    );
    std::fs::rename(lab.path("deploy.git"), lab.path("away.git")).expect("moved");
    let text = lab.carry_code(0, &["stage", "list"]);
    assert!(text.contains("could not be asked") && text.contains(&a), "{text}");
    for action in [&["stage", "promote", "latest", "cell-1"][..], &["stage", "check", "latest", "cell-1"]] {
        let text = lab.carry_code(1, action);
        assert!(text.contains("cannot be asked what stages run"), "{text}");
    }
    let text = lab.carry_code(2, &["stage", "--offline", "promote", "test", "cell-1"]);
    assert!(text.contains("this run is offline"), "{text}");
}

#[test]
fn without_a_remote_stages_are_kept_in_the_store_and_go_along_once_there_is_one() {
    let (lab, _) = lab(CELLS);
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let without = config.replace("remote = \"../deploy.git\"", "");
    assert_ne!(config, without);
    lab.commit("ws", "no remote", &[("carry.toml", Some(&without))]);
    lab.carry_code(0, &["stage", "promote", "latest", "test", "--reason", "at home"]);
    assert_eq!(refs(&lab), "");
    lab.commit("ws", "a remote", &[("carry.toml", Some(&config))]);
    let b = next(&lab, &[("new", "x\n")]);
    lab.carry_code(0, &["stage", "promote", &b, "test"]);
    assert_eq!(lab.git("deploy.git", &["rev-list", "--count", "refs/carry/stage/p/test"]), "2");
}

#[test]
fn a_promotion_that_is_killed_is_whole_or_nothing_and_the_next_one_succeeds() {
    let (lab, a) = lab(CELLS);
    let b = next(&lab, &[("new", "x\n")]);
    lab.serve_deploy();
    lab.carry_code(0, &["stage", "promote", &a, "test"]);
    let start = std::time::Instant::now();
    lab.carry_code(0, &["stage", "promote", &b, "test"]);
    let whole = start.elapsed();
    let count = || lab.git("deploy.git", &["rev-list", "--count", "refs/carry/stage/p/test"]);
    for round in 1..=10_u32 {
        let (back, old) = (["stage", "rollback", "test", "--to"], count());
        let to = if round % 2 == 1 { &a } else { &b };
        let args: Vec<&str> = back.iter().copied().chain([to.as_str()]).collect();
        let wait = || std::thread::sleep(whole * round / 10);
        lab.killed(&[&["--quiet"], &args[..]].concat(), wait, round % 2 == 0);
        let seen: u32 = count().parse().expect("a number");
        let old: u32 = old.parse().expect("a number");
        assert!(seen == old || seen == old + 1, "round {round}: {old} became {seen}");
        lab.carry_code(0, &args);
        assert_eq!(count(), (old + 1).to_string(), "round {round}: done once");
    }
    // And for certain in the middle of the push, which the server then does not take.
    let (hook, seen) = (lab.path("deploy.git/hooks/pre-receive"), lab.path("seen"));
    let holds = format!("#!/bin/sh\ntouch '{}'\nsleep 1\nexit 1\n", seen.display());
    std::fs::write(&hook, holds).expect("a hook");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).expect("it may run");
    let (old, args) = (count(), ["--quiet", "stage", "rollback", "test", "--to", &a]);
    let in_the_push = || {
        while !seen.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    assert!(!lab.killed(&args, in_the_push, true), "it was at work");
    std::fs::remove_file(&hook).expect("it was there");
    assert_eq!(count(), old, "nothing arrived");
    lab.carry_code(0, &args);
    assert_eq!(count(), (old.parse::<u32>().expect("a number") + 1).to_string(), "done once");
    for repository in ["deploy.git", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
}

#[test]
fn a_graph_of_commits_that_is_locked_stops_no_promotion() {
    let (lab, a) = lab(CELLS);
    let locked = lab.path("ws/.git/carry/p.git/objects/info/commit-graphs/commit-graph-chain.lock");
    std::fs::create_dir_all(locked.parent().expect("a folder")).expect("made");
    std::fs::write(&locked, "").expect("a lock");
    lab.carry_code(0, &["stage", "promote", &a, "test"]);
    lab.carry_code(0, &["stage", "list"]);
    assert!(locked.exists(), "nobody's lock is taken away");
}

#[test]
fn a_damaged_record_is_told_and_nothing_is_guessed() {
    let (lab, _) = lab(CELLS);
    lab.carry_code(0, &["stage", "promote", "latest", "test"]);
    rewrite(&lab, "test", |record| *record = json!({ "build": "\u{1b}[31mx" }));
    let text = lab.carry_code(1, &["stage", "list"]);
    assert!(text.contains("cannot be read") && text.contains("refs/carry/stage/p/test"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_record_of_another_stage_says_nothing() {
    let (lab, _) = lab(CELLS);
    lab.carry_code(0, &["stage", "promote", "latest", "test"]);
    lab.git("deploy.git", &["update-ref", "refs/carry/stage/p/cell-1", "refs/carry/stage/p/test"]);
    let text = lab.carry_code(1, &["stage", "list"]);
    assert!(text.contains("of 'refs/carry/stage/p/cell-1' cannot be read: it is of 'test'"), "{text}");
}
