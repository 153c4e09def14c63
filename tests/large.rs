//! Queues far longer than people keep: every patch is in the build, or told.

use std::fmt::Write as _;

use crate::support::lab::{Lab, numbered};

/// How many patches change each file, in lines that are not neighbours.
const EACH: usize = 9;

/// A file, each given patch of which changed a line of its own, and trunk perhaps one as well.
fn file(at: usize, files: usize, patches: &[usize], theirs: Option<usize>) -> (usize, String) {
    let ours = patches.iter().filter(|p| *p % files == at);
    let ours: Vec<(usize, String)> = ours.map(|p| (1 + 3 * (p / files), format!("ours {p}"))).collect();
    let ours = ours.iter().map(|(line, text)| (*line, text.as_str()));
    let all: Vec<(usize, &str)> = theirs.map(|line| (line, "theirs")).into_iter().chain(ours).collect();
    (at, numbered(&format!("f{at}"), &all))
}

/// A commit in a stream for `git fast-import`, with whole files.
fn commit(out: &mut String, branch: &str, mark: usize, from: Option<usize>, files: &[(usize, String)]) {
    let (subject, date) = (format!("change {mark}"), 1_790_000_000 + mark);
    let head =
        format!("commit refs/heads/{branch}\nmark :{mark}\ncommitter T <t@example.org> {date} +0000\n");
    write!(out, "{head}data {}\n{subject}\n", subject.len()).expect("it is text");
    if let Some(from) = from {
        writeln!(out, "from :{from}").expect("it is text");
    }
    for (at, text) in files {
        write!(out, "M 100644 inline d{}/f{at}\ndata {}\n{text}\n", at % 20, text.len()).expect("it is text");
    }
}

/// A queue of so many patches is taken in, built, and replayed on a trunk that breaks one of them.
fn carried(patches: usize) {
    let files = patches.div_ceil(EACH);
    let lab = Lab::new();
    let mut stream = String::new();
    let base: Vec<_> = (0..files).map(|at| file(at, files, &[], None)).collect();
    commit(&mut stream, "main", 1, None, &base);
    let all: Vec<usize> = (0..patches).collect();
    for patch in 0..patches {
        let changed = file(patch % files, files, &all[..=patch], None);
        commit(&mut stream, "fork", patch + 2, Some(patch + 1), &[changed]);
    }
    // Trunk changes the line of the patch 7, and one that no patch is near.
    let next = [file(7, files, &[], Some(1)), file(9, files, &[], Some(30))];
    commit(&mut stream, "next", patches + 2, Some(1), &next);
    // What must come of it.
    let but: Vec<usize> = all.iter().copied().filter(|p| *p != 7).collect();
    let theirs = |at: usize| next.iter().find(|(n, _)| *n == at).map(|(n, _)| if *n == 7 { 1 } else { 30 });
    let wanted: Vec<_> = (0..files).map(|at| file(at, files, &but, theirs(at))).collect();
    commit(&mut stream, "wanted", patches + 3, Some(1), &wanted);
    std::fs::write(lab.path("stream"), stream).expect("written");
    let read = std::fs::File::open(lab.path("stream")).expect("a file");
    let mut import = std::process::Command::new("git");
    import.args(["fast-import", "--quiet"]).current_dir(lab.path("up")).stdin(read);
    assert!(import.status().expect("git runs").success());

    let init =
        ["init", "--project", "p", "--upstream", "../up", "--branch", "main", "--remote", "../deploy.git"];
    lab.carry_code(0, &init);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    let series = lab.git("ws", &["show", "HEAD:patches/p/series"]);
    assert_eq!(series.lines().count(), patches);
    lab.carry_code(0, &["nightly"]);
    let tree = |at: &str, rev: &str| lab.git(at, &["rev-parse", &format!("{rev}^{{tree}}")]);
    assert_eq!(tree("deploy.git", "deploy/p"), tree("up", "fork"));

    let trunk = lab.git("up", &["rev-parse", "next"]);
    lab.git("up", &["update-ref", "refs/heads/main", &trunk]);
    let outcomes = Lab::outcomes(&lab.json(3, &["nightly"])[0]);
    let out: Vec<&str> =
        outcomes.iter().filter(|(_, outcome)| outcome == "conflict").map(|(name, _)| name.as_str()).collect();
    assert_eq!((outcomes.len(), &out[..]), (patches, &["change-9"][..]));
    assert_eq!(tree("deploy.git", "deploy/p"), tree("up", "wanted"));
    let count = lab.git("deploy.git", &["rev-list", "--count", "deploy/p", &format!("^{trunk}")]);
    assert_eq!(count, (patches - 1).to_string());
    for repository in ["deploy.git", "ws", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
}

#[test]
fn hundreds_of_patches_are_carried_to_the_last() {
    carried(400);
}

#[test]
#[ignore = "it takes minutes"]
fn five_thousand_patches_are_carried_to_the_last() {
    carried(5_000);
}
