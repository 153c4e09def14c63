//! A nightly that is killed anywhere leaves the old state or the new one, and the next nightly succeeds.

use std::time::{Duration, Instant};

use crate::support::lab::{Lab, numbered};

/// What the world can see: the remote's branch, and the workspace's branch with clean files.
fn state(lab: &Lab) -> (String, String) {
    (lab.deployed(), lab.git("ws", &["rev-parse", "HEAD^{tree}"]))
}

#[test]
fn killed_at_fifty_moments_it_is_the_old_state_or_the_new_one() {
    let (a, b) = (numbered("a", &[(10, "ours")]), numbered("b", &[(5, "ours")]));
    let lab = Lab::with_fork(&[("on a", &[("a", Some(&a))]), ("on b", &[("b", Some(&b))])]);
    lab.carry_code(0, &["nightly"]);

    // How long does a whole night take here?
    lab.commit("up", "moves", &[("b", Some(&numbered("b", &[(3, "theirs 0")])))]);
    let start = Instant::now();
    lab.carry_code(0, &["nightly"]);
    let whole = start.elapsed();

    let mut kept = [0, 0];
    for round in 1..=50u32 {
        lab.commit("up", "moves", &[("b", Some(&numbered("b", &[(3, &format!("theirs {round}"))])))]);
        let old = state(&lab);
        let mut child = lab.carry_command("ws", &["--quiet", "nightly"]).spawn().expect("it starts");
        std::thread::sleep(whole * round / 50 + Duration::from_micros(u64::from(round) * 37));
        let ended = child.try_wait().expect("asked").is_some();
        // SIGKILL: it cannot clean up.
        child.kill().expect("killed");
        child.wait().expect("waited");
        // A child of the killed run may still be at work.
        std::thread::sleep(Duration::from_millis(120));

        let seen = lab.deployed();

        // The next run finds an old or a new state, and ends with the new one.
        let out = lab.carry(&["--json", "nightly"]);
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "round {round}: {text}");
        let new = state(&lab);
        assert_ne!(new.0, old.0, "round {round}");
        // The same trunk and queue give the same build: what was seen after the kill is the old one or this one.
        assert!(seen == old.0 || seen == new.0, "round {round}: {seen}");
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "", "round {round}");
        let lock = lab.git("ws", &["show", "HEAD:carry.lock"]);
        assert!(lock.contains(&new.0), "round {round}: the lock names what is deployed");
        lab.carry_code(0, &["manifest", "verify"]);
        kept[usize::from(ended)] += 1;
    }
    for repository in ["deploy.git", "ws", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
    assert!(kept[0] >= 25, "most runs must be killed while they work: {kept:?}");
}
