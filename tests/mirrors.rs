//! Copies of upstreams that the clones of a host borrow from.

use std::process::Child;

use git_carry::store::{Repo, UPSTREAM, gather_packs};

use crate::fleet::{clone, deployed, ended, fleet, is_whole, moves, none, run, start};
use crate::support::lab::{Lab, numbered};

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

/// The server may leave file contents out, and breaks off where they are asked for while there is a file `broken`.
fn may_leave_out(lab: &Lab) {
    use std::os::unix::fs::PermissionsExt;
    let (script, here) = (lab.path("pack.sh"), lab.path("."));
    let text = format!(
        "#!/bin/sh\nin=$(cat)\nfirst=$(echo \"$in\" | grep -m1 -v '^-')\n\
         [ -e '{}/broken' ] && [ \"$(git cat-file -t \"$first\")\" = blob ] && exit 1\necho \"$in\" | \"$@\"\n",
        here.display()
    );
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    let rules = format!("[uploadpack]\n\tallowFilter = true\n\tpackObjectsHook = {}\n", script.display());
    std::fs::write(lab.path("server.gitconfig"), rules).expect("written");
}

/// The one mirror in a folder.
fn mirror(lab: &Lab, folder: &str) -> String {
    let copies = std::fs::read_dir(lab.path(folder)).expect("a folder").flatten();
    let copies: Vec<String> = copies.map(|copy| copy.path().to_string_lossy().into_owned()).collect();
    assert_eq!(copies.len(), 1, "one upstream");
    copies[0].clone()
}

/// How many objects a repository lacks of the history of some branches.
fn lacks(lab: &Lab, at: &str, branches: &str) -> usize {
    let listed = lab.git(at, &["rev-list", "--objects", branches, "--missing=print"]);
    listed.lines().filter(|line| line.starts_with('?')).count()
}

/// A fleet of one project, which has had its first night; since then upstream has had contents of many files that nothing has
/// any more, and has taken the patch in.
fn with_a_past(count: usize) -> Lab {
    let lab = fleet(count, none);
    clone(&lab, "first");
    assert_eq!(run(&lab, "first", &["--unit", "p0"], &[]).1, 0);
    lab.git("up", &["checkout", "-q", "b0"]);
    for n in 0..6 {
        let text: Vec<String> = (0..200).map(|line| format!("{n} {}", line * 7919 % 1009)).collect();
        let a = numbered("a", &[(30 - n, "theirs")]);
        lab.commit("up", "upstream moves", &[("c", Some(&text.join("\n"))), ("a", Some(&a))]);
    }
    lab.commit("up", "as it was", &[("a", Some(&numbered("a", &[])))]);
    lab.commit("up", "on a", &[("a", Some(&numbered("a", &[(10, "ours 0")])))]);
    lab.commit("up", "on from there", &[("a", Some(&numbered("a", &[(10, "ours 0"), (20, "later")])))]);
    lab.git("up", &["branch", "-f", "b1", "b0~2"]);
    lab.git("up", &["checkout", "-q", "main"]);
    lab
}

#[test]
fn a_mirror_without_old_files_gives_the_night_that_a_whole_one_gives() {
    let lab = with_a_past(2);
    lab.git(".", &["clone", "-q", "--mirror", "deploy0.git", "before.git"]);
    let mut nights = Vec::new();
    for (name, filtered) in [("whole", false), ("partial", true)] {
        if filtered {
            may_leave_out(&lab);
        }
        let back = ["fetch", "-q", "--prune", "../before.git", "+refs/*:refs/*"];
        lab.git("deploy0.git", &back);
        clone(&lab, name);
        let (folder, at) = (format!("mirrors-{name}"), lab.path(name));
        let args = ["--unit", "p0", "--mirrors", &format!("../{folder}")];
        let out =
            lab.carry_command(name, &[&["fleet", "run"], &args[..]].concat()).output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{said}");
        assert_eq!(said.contains("its server leaves nothing out"), !filtered, "{said}");
        is_whole(&lab, 0);
        let commit = deployed(&lab, 0);
        let manifest = format!("refs/carry/manifest/p0/{}", &commit[..12]);
        let lock = lab.git("deploy0.git", &["show", "refs/carry/queue/p0:carry.lock"]);
        assert!(lock.contains("[[project.p0.landed]]"), "{lock}");
        nights.push((commit, lab.git("deploy0.git", &["cat-file", "blob", &manifest]), lock));
        let copy = mirror(&lab, &folder);
        let missing = lacks(&lab, &copy, "b0");
        assert_eq!(missing > 0, filtered, "{missing} are missing");
        let store = at.join(".git/carry/p0.git");
        for at in [&copy, &store.to_string_lossy().into_owned()] {
            lab.git(at, &["fsck", "--strict", "--no-dangling"]);
        }
        // What was read of old files came to the mirror, for all that borrow.
        let own = lab.git(&store.to_string_lossy(), &["cat-file", "--batch-check", "--batch-all-objects"]);
        assert!(own.lines().count() < 60, "{own}");
    }
    assert_eq!(nights[0], nights[1]);
    // A later night brings what is new as a whole, by a mirror that still lacks what is old.
    let copy = mirror(&lab, "mirrors-partial");
    let missing = lacks(&lab, &copy, "b0");
    moves(&lab, 0, 25, "once more");
    let args = ["--unit", "p0", "--mirrors", "../mirrors-partial"];
    assert_eq!(run(&lab, "partial", &args, &[]).0["p0"], "done");
    is_whole(&lab, 0);
    assert_eq!(lacks(&lab, &copy, "b0"), missing);
    // A deploy repository that has nothing yet is brought all there is.
    lab.git(&copy, &["fetch", "-q", "--filter=blob:none", "upstream", "+b1:b1"]);
    assert!(lacks(&lab, &copy, "b1") > 0);
    let args = ["--unit", "p1", "--mirrors", "../mirrors-partial"];
    assert_eq!(run(&lab, "partial", &args, &[]).0["p1"], "done");
    is_whole(&lab, 1);
    assert_eq!(lacks(&lab, &copy, "b1"), 0);
    lab.git(&copy, &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_connection_that_breaks_where_old_files_are_read_is_told_and_the_next_night_goes_through() {
    let lab = with_a_past(1);
    may_leave_out(&lab);
    clone(&lab, "w1");
    std::fs::write(lab.path("broken"), "").expect("written");
    let before = lab.git("deploy0.git", &["rev-parse", "deploy/p0"]);
    let args = ["fleet", "run", "--all", "--mirrors", "../mirrors"];
    let out = lab.carry_command("w1", &args).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("from promisor remote"), "{said}");
    assert!(!said.contains("damaged"), "{said}");
    assert_eq!(lab.git("deploy0.git", &["rev-parse", "deploy/p0"]), before);
    std::fs::remove_file(lab.path("broken")).expect("it goes");
    let (fates, code) = run(&lab, "w1", &["--all", "--mirrors", "../mirrors"], &[]);
    assert_eq!((fates["p0"].as_str(), code), ("done", 0));
    is_whole(&lab, 0);
    assert!(lacks(&lab, &mirror(&lab, "mirrors"), "b0") > 0);
}

#[test]
fn many_packs_of_a_copy_without_old_files_become_few_and_it_is_a_copy_without_old_files_still() {
    let lab = Lab::new();
    for n in 0..3 {
        lab.commit("up", "a past", &[("a", Some(&numbered("a", &[(n, "old")])))]);
    }
    let old = lab.git("up", &["rev-parse", "HEAD~1:a"]);
    lab.git("up", &["config", "uploadpack.allowFilter", "true"]);
    let copy = Repo::open_or_create(&lab.path("copy.git"), None, None).expect("a repository");
    copy.promise(&format!("file://{}", lab.path("up").display())).expect("it is promised");
    let fetch = |filter: &str| {
        let call = copy.fetching(&["--no-tags", filter], UPSTREAM).arg("+main:main");
        call.output().expect("it is fetched");
        copy.promised_too().expect("it is marked");
    };
    // By this it knows which ids it is to hold.
    copy.listed(UPSTREAM, &["refs/heads/main".to_owned()]).expect("it is listed");
    fetch("--filter=blob:none");
    for n in 0..20 {
        lab.commit("up", "on", &[("b", Some(&n.to_string()))]);
        fetch("--no-filter");
    }
    let missing = lacks(&lab, "copy.git", "main");
    assert!(missing > 0);
    let packs = |lab: &Lab| {
        let files = std::fs::read_dir(lab.path("copy.git/objects/pack")).expect("a folder").flatten();
        let files: Vec<_> = files.map(|f| f.path().extension().unwrap_or_default().to_owned()).collect();
        ["pack", "idx", "promisor"].map(|ending| files.iter().filter(|e| *e == ending).count())
    };
    assert_eq!(packs(&lab), [21, 21, 21]);
    gather_packs(&copy).expect("they are joined");
    assert_eq!(packs(&lab), [2, 2, 2]);
    assert_eq!(lacks(&lab, "copy.git", "main"), missing);
    lab.git("copy.git", &["fsck", "--strict"]);
    assert_eq!(lab.git("copy.git", &["cat-file", "-t", &old]), "blob");
}
