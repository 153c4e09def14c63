//! What goes wrong with a unit is told as for one project: what, where, and what to do next.

use super::{clone, fleet, none};
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
