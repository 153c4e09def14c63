//! Repositories of other makes than the usual: each works, or is refused with what to do.

use crate::support::lab::{Lab, numbered};

/// A lab whose upstream is `up`, made by `git init` with more arguments; nothing if this git cannot.
fn lab(init: &[&str]) -> Option<Lab> {
    let lab = Lab::new();
    std::fs::remove_dir_all(lab.path("up")).expect("it goes");
    if !lab.git_works(".", &[&["init", "-q", "-b", "main"], init, &["up"]].concat()) {
        return None;
    }
    let base = numbered("a", &[]);
    lab.commit("up", "base", &[("a", Some(&base)), ("b", Some("b\n"))]);
    lab.git("up", &["branch", "base"]);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    let ours = numbered("a", &[(5, "ours")]);
    lab.commit("up", "ours", &[("a", Some(&ours))]);
    lab.git("up", &["checkout", "-q", "main"]);
    let trunk = numbered("a", &[(15, "trunk")]);
    lab.commit("up", "trunk", &[("a", Some(&trunk))]);
    Some(lab)
}

const INIT: [&str; 7] = ["init", "--project", "p", "--upstream", "../from", "--branch", "main"];

/// A night on the upstream `from` brings the one patch onto the trunk.
fn works(lab: &Lab) {
    lab.carry_code(0, &INIT);
    let base = lab.git("up", &["rev-parse", "base"]);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", &base]);
    let night = lab.json(0, &["nightly"]);
    assert_eq!(Lab::outcomes(&night[0]), [("ours".to_owned(), "clean".to_owned())]);
    let store = lab.path("ws/.git/carry/p.git");
    let text = lab.git(&store.to_string_lossy(), &["show", "refs/heads/deploy/p:a"]);
    assert!(text.contains("ours") && text.contains("trunk"), "{text}");
    lab.git(&store.to_string_lossy(), &["fsck", "--strict"]);
}

#[test]
fn a_repository_with_bitmaps_a_commit_graph_and_many_packs_works() {
    let lab = lab(&[]).expect("git makes it");
    lab.git("up", &["repack", "-adq", "--write-bitmap-index"]);
    lab.commit("up", "more", &[("b", Some("more\n"))]);
    lab.git("up", &["repack", "-dq"]);
    lab.git("up", &["multi-pack-index", "write"]);
    lab.git("up", &["commit-graph", "write", "--reachable", "--changed-paths"]);
    lab.git(".", &["clone", "-q", "--bare", "--shared", "up", "from"]);
    works(&lab);
}

#[test]
fn references_in_a_reftable_work() {
    let Some(lab) = lab(&["--ref-format=reftable"]) else { return };
    std::os::unix::fs::symlink("up", lab.path("from")).expect("linked");
    works(&lab);
}

#[test]
fn a_workspace_with_a_reftable_works() {
    let lab = lab(&[]).expect("git makes it");
    if !lab.git_works("ws", &["init", "-q", "-b", "main", "--ref-format=reftable"]) {
        return;
    }
    std::os::unix::fs::symlink("up", lab.path("from")).expect("linked");
    works(&lab);
}

#[test]
fn a_sha_256_repository_works() {
    let Some(lab) = lab(&["--object-format=sha256"]) else { return };
    std::os::unix::fs::symlink("up", lab.path("from")).expect("linked");
    works(&lab);
}

#[test]
fn an_upstream_made_anew_with_other_ids_is_refused_and_the_last_build_stays() {
    let (Some(lab), Some(other)) = (lab(&["--object-format=sha1"]), lab(&["--object-format=sha256"])) else {
        return;
    };
    std::os::unix::fs::symlink("up", lab.path("from")).expect("linked");
    works(&lab);
    let store = lab.path("ws/.git/carry/p.git").to_string_lossy().into_owned();
    let refs = lab.git(&store, &["for-each-ref"]);
    std::fs::remove_file(lab.path("from")).expect("it goes");
    std::os::unix::fs::symlink(other.path("up"), lab.path("from")).expect("linked");
    let told = lab.carry_code(1, &["nightly"]);
    assert!(told.contains("names its objects by sha256") && told.contains("import --patches"), "{told}");
    assert_eq!(lab.git(&store, &["for-each-ref"]), refs);
    lab.git(&store, &["fsck", "--strict"]);
}

#[test]
fn a_deploy_repository_with_other_ids_than_upstream_is_told() {
    let Some(lab) = lab(&["--object-format=sha256"]) else { return };
    std::os::unix::fs::symlink("up", lab.path("from")).expect("linked");
    lab.git(".", &["init", "-q", "--bare", "--object-format=sha1", "old.git"]);
    lab.carry_code(0, &[&INIT[..], &["--remote", "../old.git"]].concat());
    let told = lab.carry_code(4, &["nightly"]);
    assert!(told.contains("git init --bare --object-format"), "{told}");
}

#[test]
fn patches_of_a_sha_1_repository_are_carried_on_a_sha_256_upstream() {
    let (Some(lab), Some(other)) = (lab(&["--object-format=sha256"]), lab(&["--object-format=sha1"])) else {
        return;
    };
    std::os::unix::fs::symlink("up", lab.path("from")).expect("linked");
    let folder = lab.path("patches").to_string_lossy().into_owned();
    other.git("up", &["format-patch", "-q", "--full-index", "-o", &folder, "base..fork"]);
    lab.carry_code(0, &INIT);
    let base = lab.git("up", &["rev-parse", "base"]);
    lab.carry_code(0, &["import", "--patches", "../patches", "--base", &base]);
    let night = lab.json(0, &["nightly"]);
    assert_eq!(Lab::outcomes(&night[0])[0].1, "clean");
}

#[test]
fn a_shallow_repository_works() {
    let lab = lab(&[]).expect("git makes it");
    let url = format!("file://{}", lab.path("up").display());
    lab.git(".", &["clone", "-q", "--bare", "--depth=2", &url, "from"]);
    works(&lab);
}

#[test]
fn a_partial_clone_is_refused_with_what_to_do() {
    let lab = lab(&[]).expect("git makes it");
    lab.git("up", &["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", lab.path("up").display());
    lab.git(".", &["clone", "-q", "--bare", "--filter=blob:none", &url, "from"]);
    lab.carry_code(0, &INIT);
    let told = lab.carry_code(1, &["nightly"]);
    assert!(told.contains("it is a partial clone"), "{told}");
}
