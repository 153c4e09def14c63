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
    lab.serve_deploy();
    lab.carry_code(0, &["nightly"]);

    // How long does a whole night take here?
    lab.commit("up", "moves", &[("b", Some(&numbered("b", &[(3, "theirs 0")])))]);
    let start = Instant::now();
    lab.carry_code(0, &["nightly"]);
    let whole = start.elapsed();

    let mut kept = [0, 0];
    for round in 1..=50u32 {
        let trunk =
            lab.commit("up", "moves", &[("b", Some(&numbered("b", &[(3, &format!("theirs {round}"))])))]);
        let old = state(&lab);
        // SIGKILL: it cannot clean up.
        let after = whole * round / 50 + Duration::from_micros(u64::from(round) * 37);
        let ended = lab.killed(&["--quiet", "nightly"], || std::thread::sleep(after), round % 4 == 0);

        let seen = lab.deployed();
        assert!(
            seen == old.0 || lab.git("deploy.git", &["rev-parse", &format!("{seen}~2")]) == trunk,
            "round {round}: {seen} is neither the old build nor the whole new one"
        );
        // Mostly trunk has gone on by the next run, so that what went out is not simply made once more.
        let goes_on = round % 3 != 0;
        if goes_on {
            lab.commit("up", "moves on", &[("c", Some(&numbered("c", &[(3, &format!("theirs {round}"))])))]);
        }

        // The next run finds an old or a new state, and ends with the new one.
        let out = lab.carry(&["--json", "nightly"]);
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "round {round}: {text}");
        let new = state(&lab);
        assert_ne!(new.0, old.0, "round {round}");
        // The same trunk and queue give the same build: what was seen after the kill is the old one or this one.
        assert!(goes_on || seen == old.0 || seen == new.0, "round {round}: {seen}");
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "", "round {round}");
        let lock = lab.git("ws", &["show", "HEAD:carry.lock"]);
        assert!(lock.contains(&new.0), "round {round}: the lock names what is deployed");
        // No build that went out is forgotten: the new one names it as the one before.
        let manifest = format!("refs/carry/manifest/p/{}", &new.0[..12]);
        let manifest = lab.git("deploy.git", &["cat-file", "blob", &manifest]);
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest");
        let before = if goes_on { &seen } else { &old.0 };
        assert_eq!(manifest["deploy"]["previous"], before.as_str(), "round {round}");
        lab.carry_code(0, &["manifest", "verify"]);
        kept[usize::from(ended)] += 1;
    }
    for repository in ["deploy.git", "ws", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
    assert!(kept[0] >= 25, "most runs must be killed while they work: {kept:?}");
}

#[test]
fn killed_at_many_moments_without_a_remote_it_is_the_old_state_or_the_new_one() {
    let (a, b) = (numbered("a", &[(10, "ours")]), numbered("b", &[(5, "ours")]));
    let lab = Lab::with_fork(&[("on a", &[("a", Some(&a))]), ("on b", &[("b", Some(&b))])]);
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let lines = toml.lines().filter(|line| !line.contains("../deploy.git"));
    let without: String = lines.map(|line| format!("{line}\n")).collect();
    assert_ne!(toml, without);
    lab.commit("ws", "no remote", &[("carry.toml", Some(&without))]);
    let built = || lab.git("ws/.git/carry/p.git", &["rev-parse", "refs/heads/deploy/p"]);
    let night = |n: u32| {
        lab.commit("up", "moves", &[("b", Some(&numbered("b", &[(3, &format!("theirs {n}"))])))]);
    };
    lab.carry_code(0, &["nightly"]);
    night(0);
    let start = Instant::now();
    lab.carry_code(0, &["nightly"]);
    let whole = start.elapsed();

    let mut killed = 0;
    // What is written comes at the end.
    for round in 1..=24u32 {
        night(round);
        let (old, after) =
            (built(), whole * (24 + round) / 48 + Duration::from_micros(u64::from(round) * 37));
        let ended = lab.killed(&["--quiet", "nightly"], || std::thread::sleep(after), round % 4 == 0);
        killed += u32::from(!ended);
        lab.carry_code(0, &["nightly"]);
        assert_ne!(built(), old, "round {round}");
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "", "round {round}");
        assert!(lab.git("ws", &["show", "HEAD:carry.lock"]).contains(&built()), "round {round}");
        lab.carry_code(0, &["manifest", "verify"]);
        assert_eq!(lab.json(0, &["nightly"])[0]["done"], "quiet", "round {round}");
    }
    for repository in ["ws", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
    assert!(killed >= 8, "most runs must be killed while they work: {killed}");
}
