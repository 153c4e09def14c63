//! What goes wrong with a unit is told as for one project: what, where, and what to do next.

use super::{clone, fleet, is_whole, none, run};
use crate::support::lab::Lab;

fn told(lab: &Lab, code: i32) -> String {
    let out = lab.carry_command("w", &["fleet", "run", "--all"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(code), "{said}");
    let rows = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(!rows.contains('\u{fffd}') && rows.contains("failed"), "{rows}");
    said
}

#[test]
fn a_mangled_patch_is_told_by_its_line_and_a_remote_that_is_gone_in_git_s_own_lines() {
    let lab = fleet(1, none);
    clone(&lab, "w");
    let mangled = "Subject: x\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,9 +1 @@\n-a\n";
    lab.commit("w", "mangle", &[("patches/p0/on-a.patch", Some(mangled))]);
    let said = told(&lab, 2);
    assert!(said.contains("patches/p0/on-a.patch, line 8: malformed diff"), "{said}");
    assert!(said.contains("hint: mend them, commit, and run again"), "{said}");

    lab.git("w", &["revert", "--no-edit", "HEAD"]);
    std::fs::rename(lab.path("deploy0.git"), lab.path("gone.git")).expect("it goes");
    let said = told(&lab, 1);
    assert!(!said.contains('\u{fffd}') && said.contains("fatal:"), "{said}");
    assert!(said.contains("hint: when that is mended: git carry fleet run --unit p0"), "{said}");
}

#[test]
fn what_nothing_was_published_of_is_tried_again_when_that_is_asked_for() {
    let check = |lab: &Lab| {
        let sign = lab.path("broken");
        std::fs::write(&sign, "").expect("written");
        format!(
            "[[project.p0.check]]\nname = \"t\"\nrun = [\"test\", \"!\", \"-e\", \"{}\"]\n",
            sign.display()
        )
    };
    let lab = fleet(2, check);
    let required = "[project.p0.policy]\nrequired = \"all\"\n";
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("it is there") + required;
    lab.commit("ws", "all are required", &[("carry.toml", Some(&toml))]);
    lab.git("ws", &["push", "-q", "origin", "main"]);
    clone(&lab, "w");
    assert_eq!(run(&lab, "w", &["--all"], &[]).1, 4);
    let due =
        |args: &[&str]| lab.json(0, &[&["fleet", "plan", "--format", "json"], args].concat())["due"].clone();
    assert_eq!(due(&[]), serde_json::json!([]));
    let again = due(&["--again"]);
    assert_eq!(
        (again[0]["unit"].as_str(), again[0]["why"].as_str()),
        (Some("p0"), Some("refused")),
        "{again}"
    );
    assert_eq!(again.as_array().map(Vec::len), Some(1), "what was published is not due: {again}");
    // It still fails, and is tried once by each who asks.
    assert_eq!(run(&lab, "w", &["--all", "--again"], &[]).0["p0"], "done");
    std::fs::remove_file(lab.path("broken")).expect("mended");
    assert_eq!(run(&lab, "w", &["--all"], &[]).0["p0"], "already");
    let (fates, code) = run(&lab, "w", &["--all", "--again"], &[]);
    assert_eq!((fates["p0"].as_str(), fates["p1"].as_str(), code), ("done", "already", 0));
    is_whole(&lab, 0);
    assert_eq!(run(&lab, "w", &["--all", "--again"], &[]).0["p0"], "already");
}
