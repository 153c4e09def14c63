//! Checks prove a build: what fails is traced to its patch or to upstream's commit, by the built binary.

use crate::support::lab::{Files, Lab, numbered};

/// A workspace with these patches, on each file's own line, and these checks.
fn lab(patches: &[(&str, &str, &str)], checks: &str) -> Lab {
    let texts: Vec<(String, String, String)> = patches
        .iter()
        .map(|(message, file, line)| {
            ((*message).to_owned(), (*file).to_owned(), numbered(file, &[(10, line)]))
        })
        .collect();
    let files: Vec<[(&str, Option<&str>); 1]> =
        texts.iter().map(|(_, file, text)| [(file.as_str(), Some(text.as_str()))]).collect();
    let patches: Vec<(&str, Files<'_>)> =
        texts.iter().zip(&files).map(|((message, ..), files)| (message.as_str(), &files[..])).collect();
    let lab = Lab::with_fork(&patches);
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let log = lab.path("runs");
    let checks = checks.replace("LOG", log.to_str().expect("a path"));
    lab.commit("ws", "checks", &[("carry.toml", Some(&format!("{config}\n{checks}")))]);
    lab
}

/// How often checks were really run.
fn runs(lab: &Lab) -> usize {
    std::fs::read_to_string(lab.path("runs")).map_or(0, |text| text.lines().count())
}

/// A check that fails where `bad` stands in `b`.
const NOT_BAD: &str =
    "[[project.p.check]]\nname = \"unit\"\nrun = [\"sh\", \"-c\", \"echo run >> LOG; ! grep -q bad b\"]\n";

#[test]
fn a_patch_that_breaks_a_check_is_left_out_with_what_needs_it() {
    let patches =
        [("one", "a", "ours"), ("two", "b", "bad"), ("three", "b", "bad and more"), ("four", "c", "ours")];
    let lab = lab(&patches, NOT_BAD);
    let night = &lab.json(3, &["nightly"])[0];
    let outcomes = Lab::outcomes(night);
    let words: Vec<&str> = outcomes.iter().map(|(_, o)| o.as_str()).collect();
    assert_eq!(words, ["clean", "broken", "blocked", "clean"]);
    assert_eq!(night["patches"][2]["needs"], serde_json::json!(["two"]));
    let note = night["patches"][1]["note"].as_str().expect("a note");
    assert!(note.contains("the check 'unit' fails with it"), "{note}");
    assert_eq!(lab.git("deploy.git", &["show", "deploy/p:b"]), numbered("b", &[]).trim_end());
    assert_eq!(lab.git("deploy.git", &["show", "deploy/p:c"]), numbered("c", &[(10, "ours")]).trim_end());
    let check = &night["manifest"]["checks"][0];
    assert_eq!((check["name"].as_str(), check["ended"].as_str()), (Some("unit"), Some("passed")));
    assert!(lab.carry_code(0, &["manifest", "verify"]).contains("is what its manifest says"));

    // People are told where its output is, and what to do.
    let text = lab.carry_code(3, &["nightly"]);
    assert!(text.contains("1 patch breaks a check") || text.contains("one patch breaks a check"), "{text}");
    assert!(text.contains("git carry edit two"), "{text}");

    // Nothing new: nothing is run, and nothing is published.
    let (before, deployed) = (runs(&lab), lab.deployed());
    assert_eq!(lab.json(3, &["nightly"])[0]["done"], "quiet");
    assert_eq!((runs(&lab), lab.deployed()), (before, deployed));

    // On another trunk commit it is tried again; mended, it comes back with what needs it.
    lab.commit("up", "upstream moves", &[("new", Some("x\n"))]);
    let night = &lab.json(3, &["nightly"])[0];
    assert_eq!(night["patches"][1]["outcome"], "broken");
    let patch = lab.path("ws/patches/p/two.patch");
    let text = std::fs::read_to_string(&patch).expect("a patch").replace("+bad", "+good");
    std::fs::remove_file(lab.path("ws/patches/p/three.patch")).expect("it is there");
    let series = std::fs::read_to_string(lab.path("ws/patches/p/series"))
        .expect("a series")
        .replace("three.patch\n", "");
    lab.commit("ws", "mend", &[("patches/p/two.patch", Some(&text)), ("patches/p/series", Some(&series))]);
    let night = &lab.json(0, &["nightly"])[0];
    assert!(Lab::outcomes(night).iter().all(|(_, o)| o == "clean"), "{night}");
}

#[test]
fn a_required_patch_that_breaks_a_check_stops_the_night() {
    let lab = lab(&[("one", "a", "ours"), ("two\n\nCarry-Required: yes", "b", "bad")], NOT_BAD);
    let text = lab.carry_code(4, &["nightly"]);
    assert!(text.contains("required check 'unit' fails, since patch 'two'"), "{text}");
    assert!(!lab.git_works("deploy.git", &["rev-parse", "--verify", "-q", "deploy/p"]));
}

#[test]
fn an_upstream_commit_that_breaks_a_check_is_named() {
    let lab = lab(&[("one", "a", "ours")], NOT_BAD);
    lab.carry_code(0, &["nightly"]);
    let deployed = lab.deployed();
    let mut culprit = String::new();
    for n in 1..=9 {
        let text = if n < 6 { numbered("b", &[(20, "fine")]) } else { numbered("b", &[(20, "bad")]) };
        let id =
            lab.commit("up", &format!("upstream {n}"), &[("b", Some(&text)), ("n", Some(&n.to_string()))]);
        if n == 6 {
            culprit = id;
        }
    }
    let before = runs(&lab);
    let night = &lab.json(4, &["nightly"])[0];
    let by = &night["manifest"]["checks"][0]["broken_by"];
    assert_eq!((by["commit"].as_str(), by["subject"].as_str()), (Some(culprit.as_str()), Some("upstream 6")));
    assert!(by["patch"].is_null());
    assert_eq!(lab.deployed(), deployed, "nothing goes out");
    // The build, the tip, the base of the night before, and halving: not every commit.
    assert!(runs(&lab) - before <= 7, "{}", runs(&lab) - before);
}

#[test]
fn each_patch_can_be_held_to_a_check_and_one_that_is_not_required_stops_nothing() {
    let checks = format!("{}on = \"each-patch\"\nrequired = false\n", NOT_BAD);
    let lab = lab(&[("one", "a", "ours"), ("two", "b", "bad"), ("three", "b", "good again")], &checks);
    let night = &lab.json(0, &["nightly"])[0];
    let check = &night["manifest"]["checks"][0];
    assert_eq!(
        (check["ended"].as_str(), check["broken_by"]["patch"].as_str()),
        (Some("failed"), Some("two"))
    );
    assert!(Lab::outcomes(night).iter().all(|(_, o)| o == "clean"));
    // The same by hand; what was run is remembered.
    let before = runs(&lab);
    let told = lab.json(0, &["check"]);
    assert_eq!(told["checks"], night["manifest"]["checks"]);
    assert_eq!(runs(&lab), before);
}

#[test]
fn each_stack_is_held_to_a_check_without_the_others() {
    // `b` is only good where `a` has what another patch brings in, and no file says so.
    let checks = "[[project.p.check]]\nname = \"unit\"\non = \"each-stack\"\nrequired = false\n\
        run = [\"sh\", \"-c\", \"echo run >> LOG; ! grep -q uses b || grep -q brings a\"]\n";
    let patches =
        [("brings", "a", "brings"), ("more", "b", "ours"), ("uses", "b", "uses"), ("else", "c", "ours")];
    let lab = lab(&patches, checks);
    let night = &lab.json(0, &["nightly"])[0];
    let check = &night["manifest"]["checks"][0];
    let by = |check: &serde_json::Value| {
        (check["ended"].as_str().map(str::to_owned), check["broken_by"]["patch"].as_str().map(str::to_owned))
    };
    assert_eq!(by(check), (Some("failed".to_owned()), Some("uses".to_owned())), "{check}");
    // The build itself is well, and by hand the same is told from what is remembered.
    let before = runs(&lab);
    assert_eq!(lab.json(0, &["check"])["checks"], night["manifest"]["checks"]);
    assert_eq!(runs(&lab), before);
    // Declared, both are one stack.
    let patch = lab.path("ws/patches/p/uses.patch");
    let text = std::fs::read_to_string(&patch).expect("a patch");
    let text = text.replacen("\n---\n", "\nDepends-On: brings\n\n---\n", 1);
    lab.commit("ws", "say so", &[("patches/p/uses.patch", Some(&text))]);
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!(by(&night["manifest"]["checks"][0]), (Some("passed".to_owned()), None), "{night}");
}

#[test]
#[cfg(unix)]
fn a_check_that_hangs_is_ended_with_its_children_and_gets_no_more_environment_than_it_was_given() {
    let checks = "[[project.p.check]]\nname = \"hangs\"\nrequired = false\ntimeout = \"1s\"\n\
        run = [\"sh\", \"-c\", \"sleep 300 & echo $! > LOG.pid; echo here; sleep 300\"]\n\
        [[project.p.check]]\nname = \"env\"\nrun = [\"sh\", \"-c\", \"env > LOG.env; pwd >> LOG.env\"]\nenv = [\"HOME\", \"CI=yes\"]\n";
    let lab = lab(&[("one", "a", "ours")], checks);
    let night = &lab.json(0, &["nightly"])[0];
    let check = &night["manifest"]["checks"][0];
    assert_eq!(
        (check["ended"].as_str(), check["said"].as_str()),
        (Some("timed-out"), Some("it took too long"))
    );
    let output = check["output"].as_str().expect("its output is kept");
    assert_eq!(std::fs::read_to_string(output).expect("a file"), "here\n");
    let id = std::fs::read_to_string(lab.path("runs.pid")).expect("a child ran");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    // Gone, or dead and not yet collected by whoever inherited it.
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");

    let env = std::fs::read_to_string(lab.path("runs.env")).expect("it ran");
    let mut names: Vec<&str> = env.lines().filter_map(|l| Some(l.split_once('=')?.0)).collect();
    names.retain(|n| !["PWD", "SHLVL", "_", "OLDPWD"].contains(n));
    names.sort_unstable();
    assert_eq!(names, ["CARRY_COMMIT", "CARRY_PROJECT", "CARRY_TREE", "CI", "HOME", "PATH"]);
    let place = env.lines().last().expect("a folder");
    assert!(place.contains("/.git/carry/work/p.check-") && !std::path::Path::new(place).exists(), "{place}");
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}

#[test]
fn a_check_that_cannot_be_started_or_is_written_wrong_is_told() {
    let lab = lab(&[("one", "a", "ours")], "[[project.p.check]]\nname = \"none\"\nrun = [\"./not-there\"]\n");
    let text = lab.carry_code(4, &["nightly"]);
    assert!(text.contains("required check 'none' fails: it could not be started"), "{text}");
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let wrong = config.replace("run = [\"./not-there\"]", "timeout = \"soon\"\non = \"moon\"");
    lab.commit("ws", "wrong", &[("carry.toml", Some(&wrong))]);
    let text = lab.carry_code(2, &["nightly"]);
    for part in ["'timeout' cannot be 'soon'", "'on' cannot be 'moon'", "'name' or 'run' is missing"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_setting_of_the_store_waits_for_whoever_holds_the_file() {
    let lab = lab(&[("one", "a", "ours")], "[[project.p.check]]\nname = \"unit\"\nrun = [\"true\"]\n");
    let lock = lab.path("ws/.git/carry/p.git/config.lock");
    std::fs::write(&lock, "").expect("held");
    let other = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(400));
        std::fs::remove_file(&lock).expect("given back");
    });
    lab.carry_code(0, &["nightly"]);
    other.join().expect("it ended");
    assert_eq!(lab.git("ws/.git/carry/p.git", &["config", "rerere.enabled"]), "false");
}

#[test]
fn a_check_that_failed_by_chance_is_run_again_when_that_is_asked_for() {
    let checks = "[[project.p.check]]\nname = \"chance\"\n\
        run = [\"sh\", \"-c\", \"echo run >> LOG; ! grep -q ours a || test -e LOG.luck\"]\n";
    let lab = lab(&[("one", "a", "ours"), ("two", "b", "ours")], checks);
    let outcomes = |night: &serde_json::Value| -> Vec<String> {
        let patches = night["patches"].as_array().expect("a list");
        patches.iter().map(|p| p["outcome"].as_str().expect("a word").to_owned()).collect()
    };
    assert_eq!(outcomes(&lab.json(3, &["nightly"])[0]), ["broken", "clean"]);
    std::fs::write(lab.path("runs.luck"), "").expect("written");
    // On the same trunk it stays out, and no check is run for nothing.
    let before = runs(&lab);
    assert_eq!(outcomes(&lab.json(3, &["nightly"])[0]), ["broken", "clean"]);
    assert_eq!(runs(&lab), before);
    let night = &lab.json(0, &["nightly", "--again"])[0];
    assert_eq!((outcomes(night), &night["done"]), (vec!["clean".to_owned(); 2], &"published".into()));
    assert_eq!(runs(&lab), before + 1, "only what failed");

    // Of a build that is out the same is asked by itself.
    let (commit, luck) = (lab.deployed(), lab.path("runs.luck"));
    lab.carry_code(0, &["check", "--again", &commit]);
    assert_eq!(runs(&lab), before + 1, "it had passed");
    std::fs::remove_file(&luck).expect("gone");
    lab.commit("up", "on", &[("c", Some(&numbered("c", &[(3, "theirs")])))]);
    assert_eq!(outcomes(&lab.json(3, &["nightly"])[0]), ["broken", "clean"]);
    std::fs::write(&luck, "").expect("written");
    assert_eq!(lab.json(0, &["nightly", "--again"])[0]["done"], "published");
}

#[test]
fn who_commits_while_a_check_runs_keeps_the_commit() {
    let commit = "[[project.p.check]]\nname = \"unit\"\nrun = [\"sh\", \"-c\", \"git -C 'WS' -c user.name=n -c user.email=n@e commit -q --allow-empty -m meanwhile\"]\n";
    let patches = [("one", "a", "ours")];
    let lab = lab(&patches, "");
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let commit = commit.replace("WS", lab.path("ws").to_str().expect("a path"));
    lab.commit("ws", "a check", &[("carry.toml", Some(&format!("{config}\n{commit}")))]);
    lab.carry_code(0, &["nightly"]);
    let subjects = lab.git("ws", &["log", "-3", "--format=%s"]);
    let subjects: Vec<&str> = subjects.lines().collect();
    assert!(subjects[0].starts_with("carry: p: replay"), "{subjects:?}");
    assert_eq!(subjects[1..], ["meanwhile", "a check"]);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}

/// A workspace whose next night writes the patch `one` anew, and whose check does this once, in it.
fn lab_with_an_interruption(does: &str) -> Lab {
    let lab = lab(&[("one", "a", "ours")], "");
    lab.carry_code(0, &["nightly"]);
    let ws = lab.path("ws").canonicalize().expect("a path");
    let (ws, flag) = (ws.to_str().expect("a path"), lab.path("done"));
    let once = format!("test -e '{0}' && exit 0; touch '{0}'; cd '{ws}'; {does}", flag.display());
    let check = format!("[[project.p.check]]\nname = \"unit\"\nrun = [\"sh\", \"-c\", \"{once}\"]\n");
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    lab.commit("ws", "a check", &[("carry.toml", Some(&format!("{config}\n{check}")))]);
    lab.commit("up", "beside it", &[("a", Some(&numbered("a", &[(8, "theirs")])))]);
    lab
}

#[test]
fn what_somebody_changes_while_a_check_runs_is_not_written_over() {
    let edit = "sed -i 's/^Subject: .*/& in better words/' patches/p/one.patch";
    let commit = format!("{edit}; git -c user.name=n -c user.email=n@e commit -qam meanwhile");
    for (does, is_committed) in [(edit, false), (commit.as_str(), true)] {
        let lab = lab_with_an_interruption(does);
        let (deployed, folder) = (lab.deployed(), "ws/patches/p/one.patch");
        let out = lab.carry(&["nightly"]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains("changed while it ran") && said.contains("patches/p/one.patch"), "{said}");
        assert!(said.contains("hint: commit what is not committed"), "{said}");
        assert_eq!(lab.deployed(), deployed, "nothing went out");
        let text = std::fs::read_to_string(lab.path(folder)).expect("a patch");
        assert!(text.contains("in better words"), "{text}");
        if !is_committed {
            lab.git("ws", &["commit", "-qam", "better words"]);
        }
        lab.carry_code(0, &["nightly"]);
        assert_ne!(lab.deployed(), deployed);
        let text = std::fs::read_to_string(lab.path(folder)).expect("a patch");
        assert!(text.contains("in better words"), "{text}");
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    }
}

#[test]
fn what_the_run_does_not_write_may_change_while_a_check_runs() {
    let lab = lab_with_an_interruption("echo note > notes; echo >> carry.toml");
    let deployed = lab.deployed();
    lab.carry_code(0, &["nightly"]);
    assert_ne!(lab.deployed(), deployed);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "M carry.toml\n?? notes");
}

#[test]
fn a_lock_that_comes_from_elsewhere_while_a_check_runs_is_not_written_over() {
    let lab = lab_with_an_interruption("sed -i '0,/^deploy = .*/s///' carry.lock");
    let deployed = lab.deployed();
    let out = lab.carry(&["nightly"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("carry.lock"), "{said}");
    assert_eq!(lab.deployed(), deployed);
}

#[test]
fn where_somebody_begins_a_bisection_while_a_check_runs_nothing_goes_out_before_its_end() {
    let lab = lab_with_an_interruption("git bisect start -q");
    let (deployed, head) = (lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"]));
    let out = lab.carry(&["nightly"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("a bisect is in progress"), "{said}");
    assert_eq!((lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"])), (deployed.clone(), head));
    lab.git("ws", &["bisect", "reset"]);
    lab.carry_code(0, &["nightly"]);
    assert_ne!(lab.deployed(), deployed);
}
