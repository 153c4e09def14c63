//! The demo is the night's own code, and shows what README says it shows.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::git;

const CARRY: &str = env!("CARGO_BIN_EXE_git-carry");

fn words(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_demo_shows_every_outcome_stages_with_their_skew_and_what_readme_prints() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().join("the demo's");
    let out = Command::new(CARRY)
        .arg("demo")
        .arg(&place)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("the binary runs");
    let text = String::from_utf8(out.stdout).expect("text");
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let shown: BTreeSet<String> = words(&text).into_iter().collect();
    for outcome in ["clean", "refreshed", "resolved", "landed", "evolved", "conflict", "blocked", "held"] {
        assert!(shown.iter().any(|l| l.split(' ').nth(1) == Some(outcome)), "no patch is {outcome}:\n{text}");
    }
    for rung in ["patch-id", "declared", "reverse-applies", "change-id"] {
        assert!(text.contains(rung), "no patch landed by {rung}:\n{text}");
    }

    for told in [
        "one piece of upstream work will break patches once trunk takes it in:",
        "by the answer that Sam Petrov gave",
        "upstream has a revised version",
        "breaks 2 patches",
        // Three stages, two cells of one region.
        "may not come to 'cell-1'",
        "wait with migration c2 (cell): not before cell-2 has moved",
        "to one build:",
        "nothing older runs any more; these may run now: c2 (cell)",
        "2 commits taken in, by 2 authors",
        // One sent upstream, and landed.
        "ready to send; costs of",
        "weight in carry.toml",
        "nothing was sent",
        "upstream has it",
    ] {
        assert!(text.contains(told), "nothing says '{told}':\n{text}");
    }

    let refused = words(&text).into_iter().filter(|l| l == "(exit code 4)").count();
    assert_eq!(refused, 1, "one promotion is refused:\n{text}");

    // What it names to look at can be copied into a shell, wherever it is.
    let (_, around) = text.split_once("Look around:\n").expect("it names what to look at");
    let around: Vec<&str> = around.lines().take_while(|line| !line.is_empty()).collect();
    assert!(around.len() > 5, "{text}");
    let script =
        around.iter().map(|line| format!("set -- {line}; printf '%s\\n' \"$3\"\n")).collect::<String>();
    let taken = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let at = format!("{}\n", place.join("workspace").display());
    assert_eq!(String::from_utf8_lossy(&taken.stdout), at.repeat(around.len()), "{around:?}");

    let readme = include_str!("../README.md");
    let picture = readme.split("```").nth(1).expect("README shows a night");
    let lines: Vec<String> =
        words(picture).into_iter().filter(|l| !l.is_empty() && !l.contains('…')).collect();
    assert!(lines.len() > 5, "README shows a night");
    for line in lines {
        assert!(
            shown.iter().any(|l| l.starts_with(&line)),
            "README prints '{line}', the demo does not:\n{text}"
        );
    }

    // What it leaves behind is a workspace like any other.
    let workspace = place.join("workspace");
    let verify = Command::new(CARRY).arg("-C").arg(&workspace).args(["manifest", "verify"]).output();
    assert!(verify.expect("the binary runs").status.success());
    assert!(git(&workspace, &["status", "--porcelain"]).stdout.is_empty());
    assert!(git(&place.join("deploy.git"), &["fsck", "--strict"]).status.success());
    let again = Command::new(CARRY).arg("demo").arg(&place).output().expect("the binary runs");
    assert_eq!(again.status.code(), Some(2), "a folder that is not empty is left alone");
}
