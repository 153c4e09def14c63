//! The trunk comes from where git can fetch it.

use crate::support::git;
use crate::support::lab::{Lab, numbered};

fn tip(night: &serde_json::Value) -> &str {
    night["trunk"]["to"].as_str().unwrap_or_default()
}

fn follow(lab: &Lab, address: &str) {
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let line = toml.lines().find(|l| l.starts_with("upstream")).expect("an upstream").to_owned();
    let toml = toml.replace(&line, &format!("upstream = \"{address}\""));
    std::fs::write(lab.path("ws/carry.toml"), toml).expect("written");
    lab.git("ws", &["commit", "-qam", "follow another address"]);
}

#[test]
fn a_path_a_file_address_and_a_bundle_give_the_trunk() {
    let one = numbered("a", &[(3, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    for n in 0..3 {
        let text = numbered("b", &[(3, &n.to_string())]);
        let commit = lab.commit("up", "trunk", &[("b", Some(&text))]);
        match n {
            0 => {}
            1 => follow(&lab, &format!("file://{}", lab.path("up").display())),
            _ => {
                lab.git("up", &["bundle", "create", "-q", "../trunk.bundle", "main"]);
                follow(&lab, "../trunk.bundle");
            }
        }
        assert_eq!(tip(&lab.json(0, &["nightly"])[0]), commit);
    }
    lab.commit("up", "not yet bundled", &[]);
    assert_eq!(lab.json(0, &["nightly"])[0]["done"], "quiet");
    std::fs::write(lab.path("trunk.bundle"), "garbage").expect("written");
    let deployed = lab.deployed();
    let said = lab.carry_code(1, &["nightly"]);
    assert!(said.contains("trunk.bundle"), "{said}");
    assert_eq!(lab.deployed(), deployed);
}

#[test]
fn a_lent_clone_spares_the_download() {
    let one = numbered("a", &[(3, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    std::fs::remove_dir_all(lab.path("ws/.git/carry")).expect("the store goes");
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let toml = toml.replacen("[project.p]", "[project.p]\nreference = \"../up\"", 1);
    std::fs::write(lab.path("ws/carry.toml"), toml).expect("written");
    lab.git("ws", &["commit", "-qam", "lend"]);
    lab.json(0, &["nightly"]);
    let own = lab.git("ws/.git/carry/p.git", &["count-objects", "-v"]);
    let base_is_lent = lab.git("ws/.git/carry/p.git", &["cat-file", "-t", "refs/carry/base/p"]);
    assert_eq!(base_is_lent, "commit");
    // The build's own few objects only: nothing of the trunk's was copied.
    let packed = own.lines().find_map(|l| l.strip_prefix("in-pack: ")).and_then(|n| n.parse::<u32>().ok());
    assert!(packed.expect("a count") < 6, "{own}");
}

#[test]
fn a_store_that_borrows_stays_whole_when_the_lender_writes_its_graph_of_commits_anew() {
    let one = numbered("a", &[(3, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    lab.git(".", &["clone", "-q", "--bare", "up", "lender.git"]);
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let toml = toml.replacen("[project.p]", "[project.p]\nreference = \"../lender.git\"", 1);
    std::fs::remove_dir_all(lab.path("ws/.git/carry")).expect("the store goes");
    std::fs::write(lab.path("ws/carry.toml"), toml).expect("written");
    lab.git("ws", &["commit", "-qam", "lend"]);
    lab.git("lender.git", &["commit-graph", "write", "--reachable", "--split"]);
    // What the lender does not have is downloaded, which is when git writes a graph.
    lab.commit("up", "trunk goes on", &[("c", Some("c\n"))]);
    lab.json(0, &["nightly"]);
    lab.git("lender.git", &["fetch", "-q", "../up", "+refs/heads/*:refs/heads/*"]);
    let anew = ["commit-graph", "write", "--reachable", "--split=replace", "--expire-time=now"];
    lab.git("lender.git", &anew);
    let store = lab.path("ws/.git/carry/p.git");
    let told = git(&store, &["fsck", "--strict", "--no-dangling"]);
    assert!(told.status.success(), "{told:?}");
    assert!(!String::from_utf8_lossy(&told.stderr).contains("commit-graph"), "{told:?}");
}

/// A forge has a ref for each change that was ever proposed: hundreds of thousands, of which a night wants none.
#[test]
fn of_the_upstream_s_refs_only_branches_and_tags_are_asked_for() {
    let one = numbered("a", &[(3, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    for n in 0..3 {
        lab.git("up", &["update-ref", &format!("refs/changes/0{n}/{n}/1"), "main"]);
    }
    let commit = lab.commit("up", "trunk", &[("b", Some(&numbered("b", &[(3, "theirs")])))]);
    let trace = lab.path("trace");
    let night = |args: &[&str]| {
        let mut command = lab.carry_command("ws", args);
        command.env("GIT_TRACE_PACKET", &trace).output().expect("it runs")
    };
    assert!(night(&["nightly"]).status.success());
    let said = std::fs::read_to_string(&trace).expect("it was traced");
    assert!(said.contains(&commit) && said.contains("refs/heads/main"), "{said}");
    assert!(!said.contains("refs/changes/"), "{said}");
    // Nor where the branch is gone, and others are named that may be meant.
    let toml = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    std::fs::write(lab.path("ws/carry.toml"), toml.replace("branch = \"main\"", "branch = \"mian\""))
        .expect("written");
    lab.git("ws", &["commit", "-qam", "a slip"]);
    let out = night(&["nightly"]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("it has: main"), "{told}");
    assert!(!std::fs::read_to_string(&trace).expect("it was traced").contains("refs/changes/"));
}
