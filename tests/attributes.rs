//! How files are merged where `.gitattributes` or the workspace say so: held against `git rebase` in a work tree.

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

fn outcome(night: &Value, name: &str) -> String {
    let found = Lab::outcomes(night).into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("no patch {name}: {night}")).1
}

/// An upstream with these attribute files, a patch that changes `file`, and a trunk that changes the same line.
fn clash(attributes: &[(&str, &str)], file: &str) -> Lab {
    let lab = Lab::new();
    let base = numbered("f", &[]);
    let mut files: Vec<(&str, Option<&str>)> = attributes.iter().map(|(p, t)| (*p, Some(*t))).collect();
    files.push((file, Some(&base)));
    lab.commit("up", "base", &files);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.commit("up", "ours", &[(file, Some(&numbered("f", &[(5, "ours")])))]);
    lab.git("up", &["checkout", "-q", "main"]);
    lab.commit("up", "theirs", &[(file, Some(&numbered("f", &[(5, "theirs")])))]);
    lab.carry_code(0, &["init", "--project", "p", "--upstream", "../up", "--branch", "main"]);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main~1"]);
    lab
}

/// The tree of `git rebase` in a work tree; none where it stops.
fn rebased(lab: &Lab) -> Option<String> {
    lab.git(".", &["clone", "-q", "up", "work"]);
    lab.git("work", &["checkout", "-q", "-b", "fork", "origin/fork"]);
    let works = lab.git_works("work", &["rebase", "-q", "origin/main"]);
    works.then(|| lab.git("work", &["rev-parse", "HEAD^{tree}"]))
}

#[test]
fn attributes_say_how_a_file_is_merged() {
    for (attributes, file) in [
        (&[(".gitattributes", "*.txt merge=union\n")][..], "sub/f.txt"),
        (&[(".gitattributes", "*.txt -merge\n"), ("sub/.gitattributes", "f.txt merge=union\n")], "sub/f.txt"),
        (&[(".gitattributes", "/sub/f.txt merge=union\n")], "sub/f.txt"),
        (&[(".gitattributes", "sub/ merge=union\n")], "sub/f.txt"),
        (&[(".gitattributes", "[attr]log merge=union\nf.* log\n")], "f.txt"),
        (&[(".gitattributes", "*.txt merge=union\n"), ("sub/.gitattributes", "*.txt merge\n")], "sub/f.txt"),
        (&[(".gitattributes", "*.txt binary\n")], "f.txt"),
        (&[(".gitattributes", "*.txt merge=nobody\n")], "f.txt"),
    ] {
        let lab = clash(attributes, file);
        let theirs = rebased(&lab);
        let night = lab.json(if theirs.is_some() { 0 } else { 3 }, &["nightly"]);
        let ours = night[0]["manifest"]["deploy"]["tree"].as_str().map(str::to_owned);
        match theirs {
            Some(theirs) => assert_eq!(ours, Some(theirs), "{attributes:?}"),
            None => assert_eq!(outcome(&night[0], "ours"), "conflict", "{attributes:?}"),
        }
    }
    let lab = clash(&[(".gitattributes", "*.txt -merge\n")], "f.txt");
    let night = lab.json(3, &["nightly"]);
    assert_eq!(night[0]["patches"][0]["conflicts"][0]["kind"], "binary", "{night}");
}

#[test]
fn a_driver_of_the_user_s_is_run_as_git_runs_it() {
    let file = "sub/it's \"f\".txt";
    let lab = clash(&[(".gitattributes", "*.txt merge=mine\n")], file);
    // As `git merge-file --theirs`, and it writes the path that it was told.
    let command = "git merge-file --theirs %A %O %B && printf '%%s\\n' %P >> %A";
    lab.git(".", &["config", "--global", "merge.mine.driver", command]);
    let theirs = rebased(&lab).expect("the driver merges");
    let night = lab.json(0, &["nightly"]);
    assert_eq!(outcome(&night[0], "ours"), "refreshed");
    assert_eq!(night[0]["manifest"]["deploy"]["tree"], theirs);
    let text = lab.git("ws/.git/carry/p.git", &["show", &format!("refs/heads/deploy/p:{file}")]);
    assert!(text.contains("\nours\n") && text.ends_with(file), "{text}");

    // One that fails is a conflict, as for git.
    let lab = clash(&[(".gitattributes", "*.txt merge=mine\n")], file);
    lab.git(".", &["config", "--global", "merge.mine.driver", "exit 1"]);
    assert_eq!(rebased(&lab), None);
    for _ in 0..2 {
        assert_eq!(outcome(&lab.json(3, &["nightly"])[0], "ours"), "conflict");
    }
    // That it conflicted is not kept: the driver may be mended, and nothing else moves.
    assert!(!lab.path("ws").join(".git/carry/p.conflicts").exists());
    lab.git(".", &["config", "--global", "merge.mine.driver", command]);
    assert_eq!(outcome(&lab.json(0, &["nightly"])[0], "ours"), "refreshed");
}

#[test]
fn a_generated_file_is_made_anew_and_not_merged() {
    // The patch and trunk both change the generated file, in places that would even merge.
    let lab = Lab::new();
    let script = "tr a-z A-Z < source > made.gen\n";
    let source = |changes: &[(usize, &str)]| numbered("s", changes);
    let made = |changes: &[(usize, &str)]| numbered("s", changes).to_uppercase();
    let commit = |message: &str, changes: &[(usize, &str)]| {
        lab.commit("up", message, &[("source", Some(&source(changes))), ("made.gen", Some(&made(changes)))])
    };
    lab.commit("up", "script", &[("make.sh", Some(script))]);
    commit("base", &[]);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    commit("ours", &[(5, "ours")]);
    lab.git("up", &["checkout", "-q", "main"]);
    commit("theirs", &[(20, "theirs")]);
    // Trunk's generated file is stale in one place: what is merged keeps that, what is made anew does not.
    lab.commit("up", "by hand", &[("made.gen", Some(&made(&[(20, "theirs"), (28, "stale")])))]);
    lab.carry_code(0, &["init", "--project", "p", "--upstream", "../up", "--branch", "main"]);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main~2"]);
    let config = lab.path("ws/carry.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let with = |run: &str| format!("{text}\n[[project.p.regenerate]]\npaths = [\"*.gen\"]\nrun = {run}\n");
    std::fs::write(&config, with("[\"sh\", \"no-such.sh\"]")).expect("written");
    lab.git("ws", &["commit", "-qam", "generated"]);
    let night = lab.json(3, &["rebase", "--dry-run", "--onto", "main"]);
    assert_eq!(outcome(&night, "ours"), "conflict");
    let patch = &night["patches"][0];
    assert_eq!(patch["conflicts"][0]["kind"], "generated");
    assert!(patch["note"].as_str().is_some_and(|n| n.contains("'sh no-such.sh' ended with")), "{patch}");

    std::fs::write(&config, with("[\"sh\", \"make.sh\"]")).expect("written");
    lab.git("ws", &["commit", "-qam", "generated"]);
    let night = lab.json(0, &["nightly"]);
    assert_eq!(outcome(&night[0], "ours"), "refreshed");
    assert_eq!(night[0]["patches"][0]["note"], "made anew by: sh make.sh");
    let there =
        |path: &str| lab.git("ws/.git/carry/p.git", &["show", &format!("refs/heads/deploy/p:{path}")]);
    assert_eq!(there("made.gen"), there("source").to_uppercase());
    assert!(there("source").contains("ours") && there("source").contains("theirs"));
    assert_eq!(lab.git("ws/.git/carry/p.git", &["worktree", "list"]).lines().count(), 1);
}
