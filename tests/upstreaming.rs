//! The report that feeds work upstream.

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

fn rows(project: &Value, key: &str) -> Vec<String> {
    let sections = project["sections"].as_array().expect("sections");
    let section = sections.iter().find(|s| s["key"] == key).unwrap_or_else(|| panic!("no {key}: {project}"));
    let rows = section["rows"].as_array().expect("rows");
    rows.iter().map(|r| r["patch"].as_str().expect("a name").to_owned()).collect()
}

fn lab() -> Lab {
    let ours = |name: &str| numbered(name, &[(5, "ours"), (6, "ours too"), (7, "and ours"), (8, "still")]);
    let lab = Lab::with_fork(&[
        ("ready\n\nCarry-Group: net", &[("a", Some(&numbered("a", &[(25, "<b>ours</b>")])))]),
        ("local\n\nForwarded: not-needed", &[("d", Some("d\n"))]),
        ("sent\n\nForwarded: https://example.org/pull/7", &[("e", Some("e\n"))]),
        ("revised", &[("b", Some(&ours("b")))]),
        ("lands", &[("c", Some(&numbered("c", &[(5, "lands")])))]),
    ]);
    lab.carry_code(0, &["nightly"]);
    lab.git("up", &["cherry-pick", "fork"]);
    let theirs = ours("b").replace("still\n", "quietly\n");
    lab.commit("up", "as <i>reviewed</i> | [x](y)", &[("b", Some(&theirs))]);
    lab.carry_code(3, &["nightly"]);
    lab
}

#[test]
fn every_patch_is_told_where_it_belongs_and_whose_it_is() {
    let lab = lab();
    let all = lab.json(0, &["report", "upstreaming"]);
    let project = &all[0];
    for (key, wanted) in [
        ("ready", "ready"),
        ("stays", "local"),
        ("waiting", "sent"),
        ("look-at", "revised"),
        ("landed", "lands"),
    ] {
        assert_eq!(rows(project, key), [wanted], "{key}: {project}");
    }
    assert_eq!(rows(project, "unowned"), ["revised"], "it wants someone, and names nobody");
    assert_eq!(project["by_group"][0]["name"], "net");
    // Nothing moved meanwhile, and only what landed since then is told.
    let later = lab.json(0, &["report", "upstreaming", "--since", "2100-01-01"]);
    assert!(rows(&later[0], "landed").is_empty());
}

#[test]
fn what_upstream_says_stays_text_in_every_form() {
    let lab = lab();
    let text = lab.carry_code(0, &["report", "upstreaming"]);
    assert!(text.contains("as <i>reviewed</i>") && text.contains("git carry landed show revised"), "{text}");
    let text = lab.carry_code(0, &["report", "upstreaming", "--format", "md"]);
    assert!(text.contains(r"as \<i\>reviewed\</i\> \| \[x\]"), "{text}");
    lab.carry_code(0, &["report", "upstreaming", "--to", "../up.html"]);
    let page = std::fs::read_to_string(lab.path("ws/../up.html")).expect("a page");
    assert!(page.contains("as &#60;i&#62;reviewed&#60;/i&#62;"), "{page}");
    assert!(!page.contains("<i>") && !page.contains("<script"), "{page}");
}
