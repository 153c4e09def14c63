//! Copies of upstreams that the clones of a host borrow from.

use std::process::Child;

use crate::fleet::{clone, ended, fleet, is_whole, moves, none, run, start};
use crate::support::lab::Lab;

/// The server takes a second for each download, and leaves a file `collision` where one begins before another's end.
fn one_download_at_a_time(lab: &Lab) {
    use std::os::unix::fs::PermissionsExt;
    let script = lab.path("pack.sh");
    // Only of what comes from upstream.
    let text = format!(
        "#!/bin/sh\ncase \"$PWD\" in */up/.git) ;; *) exec \"$@\" ;; esac\n\
         here='{}'\ntouch \"$here/downloads\"\nmkdir \"$here/busy\" || touch \"$here/collision\"\nsleep 1\n\
         \"$@\"\ncode=$?\nrmdir \"$here/busy\"\nexit $code\n",
        lab.path(".").display()
    );
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    let hook = format!("[uploadpack]\n\tpackObjectsHook = {}\n", script.display());
    std::fs::write(lab.path("server.gitconfig"), hook).expect("written");
}

#[test]
fn clones_of_one_host_share_one_copy_of_each_upstream() {
    let lab = fleet(4, none);
    // What a store would have to download: a file of no use to anyone, that does not pack.
    let noise: String =
        (0..40_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for n in 0..4 {
        lab.git("up", &["checkout", "-q", &format!("b{n}")]);
        if n == 0 {
            lab.commit("up", "a large file", &[("large", Some(&noise))]);
        } else {
            lab.git("up", &["reset", "-q", "--hard", "b0"]);
        }
    }
    lab.git("up", &["checkout", "-q", "main"]);
    ["w1", "w2", "w3"].iter().for_each(|at| clone(&lab, at));
    one_download_at_a_time(&lab);
    let mirrors = lab.path("mirrors").to_string_lossy().into_owned();
    let begin = |at: &&str| start(&lab, at, &["--all", "--mirrors", &mirrors], &[]);
    let workers: Vec<Child> = ["w1", "w2"].iter().map(begin).collect();
    let ends: Vec<_> = workers.into_iter().map(ended).collect();
    (0..4).for_each(|n| is_whole(&lab, n));
    assert!(lab.path("downloads").exists() && !lab.path("collision").exists(), "{ends:?}");
    moves(&lab, 0, 20, "theirs");
    let (fates, code) = run(&lab, "w3", &["--all"], &[("GIT_CARRY_MIRRORS", &mirrors)]);
    assert_eq!((fates["p0"].as_str(), code), ("done", 0), "{ends:?}");
    is_whole(&lab, 0);
    let copies = std::fs::read_dir(lab.path("mirrors")).expect("a folder").count();
    assert_eq!(copies, 1, "one upstream");
    for at in ["w1", "w2", "w3"] {
        for n in 0..4 {
            let store = format!("{at}/.git/carry/p{n}.git");
            let counts = lab.git(&store, &["count-objects", "-v"]);
            let of = |key: &str| counts.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<u64>().ok());
            let kib = of("size-pack:").unwrap_or(0) + of("size:").unwrap_or(0);
            assert!(kib < 60, "{store} has what it could borrow: {counts}");
            lab.git(&store, &["fsck", "--strict", "--no-dangling"]);
        }
    }
}

#[test]
fn what_a_killed_worker_left_locked_in_a_copy_or_a_store_stops_no_other() {
    let lab = fleet(1, none);
    clone(&lab, "w1");
    let mirrors = lab.path("mirrors");
    let args = ["--all", "--mirrors", mirrors.to_str().expect("text")];
    assert_eq!(run(&lab, "w1", &args, &[]).1, 0);
    let copy = std::fs::read_dir(&mirrors).expect("a folder").flatten().next().expect("a copy").path();
    moves(&lab, 0, 20, "theirs");
    let store = lab.path("w1/.git/carry/p0.git");
    let locks = [copy.join("refs/heads/b0.lock"), store.join("refs/carry/incoming.lock")];
    for lock in &locks {
        std::fs::create_dir_all(lock.parent().expect("a folder")).expect("a folder");
        std::fs::write(lock, "").expect("written");
    }
    for place in [&copy, &store] {
        let killed = "fleet run, process 1 on old, since 2026-01-01T00:00:00Z\n";
        std::fs::write(place.join("run.lock"), killed).expect("written");
    }
    let (fates, code) = run(&lab, "w1", &args, &[]);
    assert_eq!((fates["p0"].as_str(), code), ("done", 0));
    assert!(locks.iter().all(|lock| !lock.exists()));
    let mirrored = lab.git(copy.to_str().expect("text"), &["rev-parse", "refs/heads/b0"]);
    assert_eq!(mirrored, lab.git("up", &["rev-parse", "b0"]));
    is_whole(&lab, 0);
}
