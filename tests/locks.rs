//! What git leaves locked, and what somebody else has locked.

use crate::faults::{lab, recovers, state};
use crate::support::lab::{Lab, numbered};

#[test]
fn a_lock_that_a_killed_git_left_behind_stops_no_night() {
    let lab = lab();
    let before = state(&lab);
    let locks = [
        "carry/p.git/objects/info/commit-graphs/commit-graph-chain.lock",
        "carry/p.git/refs/carry/incoming.lock",
        "carry/p.git/refs/heads/deploy/p.lock",
        "carry/p.git/packed-refs.lock",
        "refs/heads/main.lock",
        "HEAD.lock",
    ]
    .map(|name| lab.path("ws/.git").join(name));
    for lock in &locks {
        std::fs::create_dir_all(lock.parent().expect("a folder")).expect("a folder");
        std::fs::write(lock, "").expect("written");
    }
    // No run was killed: somebody else holds them, and a night is nobody to take them away.
    let said = lab.carry_code(1, &["nightly"]);
    assert!(said.contains(".lock': File exists"), "{said}");
    assert!(locks[..4].iter().all(|lock| lock.exists()), "{said}");
    std::fs::write(lab.path("ws/.git/index.lock"), "").expect("written");
    let killed = "nightly, process 1 on old, since 2026-01-01T00:00:00Z\n";
    std::fs::write(lab.path("ws/.git/carry/run.lock"), killed).expect("written");
    // What it was writing is taken away as well, but nothing from the folders that people work in.
    let half =
        ["", "notify/", "forge/", "work/p/"].map(|at| lab.path(&format!("ws/.git/carry/{at}.carry-x1")));
    for file in &half {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, "half").expect("written");
    }
    // And what it showed to git, but not what another git is about to take in.
    let shown = ["tmp_objdir-carry-x1", "tmp_objdir-x1"]
        .map(|name| lab.path(&format!("ws/.git/carry/p.git/objects/{name}")));
    for folder in &shown {
        std::fs::create_dir_all(folder.join("pack")).expect("a folder");
        std::fs::write(folder.join("pack/pack-1.pack"), "half").expect("written");
    }
    // A run that cannot begin leaves that to the one after it.
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    std::fs::write(lab.path("ws/carry.toml"), format!("{config}\nno table\n")).expect("written");
    lab.carry_code(2, &["nightly"]);
    assert!(half[0].exists() && shown[0].exists());
    std::fs::write(lab.path("ws/carry.toml"), config).expect("written");
    recovers(&lab, &before);
    assert_eq!(half.map(|file| file.exists()), [false, false, false, true]);
    assert_eq!(shown.map(|folder| folder.exists()), [false, true]);
}

#[test]
fn an_index_that_a_person_holds_is_left_to_them_and_what_was_begun_is_finished_after() {
    let lab = lab();
    let before = state(&lab);
    let lock = lab.path("ws/.git/index.lock");
    let held = || std::fs::write(&lock, "held").expect("written");
    held();
    let said = lab.carry_code(2, &["nightly"]);
    assert!(said.contains("another git is at work in the workspace"), "{said}");
    assert_eq!(state(&lab), before);
    assert_eq!(std::fs::read_to_string(&lock).expect("it stays"), "held");
    // What to type is a command, wherever the workspace is.
    std::fs::rename(lab.path("ws"), lab.path("w s")).expect("moved");
    let out = lab.carry_command("w s", &["nightly"]).output().expect("it runs");
    std::fs::rename(lab.path("w s"), lab.path("ws")).expect("moved");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("rm '/") && said.contains("/w s/.git/index.lock'"), "{said}");
    std::fs::remove_file(&lock).expect("let go");

    // It may also be taken when the run is under way: the build is out then, and the next run writes it down.
    taken_before_it_publishes(&lab);
    let before = state(&lab);
    let said = lab.carry_code(2, &["nightly"]);
    assert!(said.contains("another git is at work in the workspace"), "{said}");
    let now = state(&lab);
    assert!(now.0 != before.0 && now.1 == before.1, "{before:?} {now:?}");
    assert!(lock.exists());
    std::fs::remove_file(&lock).expect("let go");
    let said = lab.carry_code(0, &["nightly"]);
    assert!(said.contains("it is finished now"), "{said}");
    assert_eq!(state(&lab).0, now.0);
    lab.carry_code(0, &["manifest", "verify"]);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}

/// A hook that takes the workspace's index.
fn taken_before_it_publishes(lab: &Lab) {
    let hook = format!("cp .git/HEAD '{}'", lab.path("ws/.git/index.lock").display());
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
    let with =
        format!("{toml}\n[[project.p.hook]]\non = \"before-publish\"\nrun = [\"sh\", \"-c\", {hook:?}]\n");
    std::fs::write(lab.path("ws/carry.toml"), with).expect("written");
    lab.git("ws", &["commit", "-qam", "a hook"]);
}

#[test]
fn what_somebody_changes_before_a_run_that_was_cut_off_is_finished_is_not_written_over() {
    for has_remote in [true, false] {
        let lab = lab();
        if !has_remote {
            let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there");
            let lines = toml.lines().filter(|line| !line.contains("../deploy.git"));
            let without: String = lines.map(|line| format!("{line}\n")).collect();
            assert_ne!(toml, without);
            lab.commit("ws", "no remote", &[("carry.toml", Some(&without))]);
        }
        taken_before_it_publishes(&lab);
        lab.carry_code(2, &["nightly"]);
        std::fs::remove_file(lab.path("ws/.git/index.lock")).expect("let go");

        let (lock, head) = (lab.path("ws/carry.lock"), lab.git("ws", &["rev-parse", "HEAD"]));
        let read = || std::fs::read_to_string(&lock).expect("it is there");
        let mine = format!("{}# mine\n", read());
        std::fs::write(&lock, &mine).expect("written");
        let said = lab.carry_code(2, &["nightly"]);
        assert!(said.contains("carry.lock") && said.contains("git checkout HEAD -- FILE"), "{said}");
        assert_eq!((read(), lab.git("ws", &["rev-parse", "HEAD"])), (mine, head.clone()));

        lab.git("ws", &["checkout", "HEAD", "--", "carry.lock"]);
        let said = lab.carry_code(0, &["nightly"]);
        assert!(said.contains("it is finished now"), "{said}");
        assert_ne!(lab.git("ws", &["rev-parse", "HEAD"]), head);
        let deploy = lab.git("ws/.git/carry/p.git", &["rev-parse", "refs/heads/deploy/p"]);
        assert!(lab.git("ws", &["show", "HEAD:carry.lock"]).contains(&deploy));
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    }
}

#[test]
fn a_rebase_that_finishes_a_run_reads_the_queue_as_that_run_left_it() {
    let lab = lab();
    lab.commit("up", "changes a line beside it", &[("a", Some(&numbered("a", &[(13, "theirs")])))]);
    taken_before_it_publishes(&lab);
    let patch = lab.path("ws/patches/p/one.patch");
    let read = || std::fs::read_to_string(&patch).expect("it is there");
    let before = read();
    lab.carry_code(2, &["nightly"]);
    std::fs::remove_file(lab.path("ws/.git/index.lock")).expect("let go");
    assert_eq!(read(), before);
    assert_eq!(lab.json(0, &["rebase"])["done"], "quiet");
    assert_ne!(read(), before);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
}
