//! What is measured.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{CARRY, must, run};

/// What is measured: a fork's branch on a base, to be put on another commit of the upstream.
pub struct Work {
    pub name: String,
    pub upstream: PathBuf,
    pub fork: PathBuf,
    pub tip: String,
    pub base: Option<String>,
}

pub fn real(dir: &Path, words: &[&str]) -> Work {
    let [upstream, fork, tip, base, onto] = words else { panic!("UPSTREAM FORK TIP BASE ONTO") };
    // A copy that lends its objects, with the branch that git-carry follows at the commit to replay onto.
    let copy = dir.join("upstream.git");
    must(dir, "git", &["clone", "-q", "--bare", "--shared", upstream, "upstream.git"]);
    must(&copy, "git", &["update-ref", "refs/heads/bench", &format!("{onto}^{{commit}}")]);
    let base = (*base != "-").then(|| (*base).to_owned());
    Work {
        name: format!("{tip} on {onto}"),
        upstream: copy,
        fork: PathBuf::from(fork),
        tip: (*tip).to_owned(),
        base,
    }
}

/// Where the folders with files are.
#[derive(Clone, Copy)]
pub enum Shape {
    /// All in the root.
    Flat,
    /// Three levels down, as many on each level, as in a large project's tree.
    Nested,
}

/// So many patches of one to three files each, on so many files in a fourteenth of so many folders, and a trunk that
/// moves by so many commits.
pub fn generated(dir: &Path, shape: Shape, patches: usize, all: usize, commits: usize) -> Work {
    let repository = dir.join("upstream.git");
    must(dir, "git", &["init", "-q", "--bare", "upstream.git"]);
    let content = |file: usize, changes: &[(usize, String)]| -> String {
        let line = |n: usize| match changes.iter().find(|(at, _)| *at == n) {
            Some((_, text)) => format!("{text}\n"),
            None => format!("file {file} line {n}\n"),
        };
        (0..120).map(line).collect()
    };
    let folders = all.div_ceil(14);
    let wide = (1..).find(|wide| wide * wide * wide >= folders).expect("a number");
    let path = |file: usize| {
        let folder = file % folders;
        match shape {
            Shape::Flat => format!("d{folder}/f{file}"),
            Shape::Nested => {
                format!("a{}/b{}/c{}/f{file}", folder / wide / wide, folder / wide % wide, folder % wide)
            }
        }
    };
    // Written as it is made: what this process holds in memory counts as its children's, too.
    let file = dir.join("stream");
    let mut stream = BufWriter::new(File::create(&file).expect("a file"));
    let mut commit =
        |branch: &str, from: Option<&str>, n: usize, files: &mut dyn Iterator<Item = (usize, String)>| {
            let _ = write!(
                stream,
                "commit refs/heads/{branch}\nmark :{}\ncommitter bench <b@example.org> {} +0000\n",
                n + 1,
                1_700_000_000 + n
            );
            let _ = write!(stream, "data 10\n{:9}\n\n", n);
            if let Some(from) = from {
                let _ = writeln!(stream, "from {from}");
            }
            for (file, text) in files {
                let _ = write!(stream, "M 100644 inline {}\ndata {}\n{text}\n", path(file), text.len());
            }
        };
    commit("bench", None, 0, &mut (0..all).map(|f| (f, content(f, &[]))));
    let mut trunk: Vec<Vec<(usize, String)>> = vec![Vec::new(); all];
    let mut ours = trunk.clone();
    for n in 0..commits {
        let file = n * 31 % all;
        trunk[file].push((5 + n % 10, format!("trunk {n}")));
        commit("bench", None, n + 1, &mut std::iter::once((file, content(file, &trunk[file]))));
    }
    for n in 0..patches {
        let files: Vec<usize> = (0..1 + n % 3).map(|k| (n * 31 + k * 7) % all).collect();
        for file in &files {
            ours[*file].push((60 + (n * 7 + n / 40) % 40, format!("ours {n}")));
        }
        let mut files = files.into_iter().map(|f| (f, content(f, &ours[f])));
        commit("ours", (n == 0).then_some(":1"), 100_000 + n, &mut files);
    }
    drop(stream);
    let import = Command::new("git")
        .current_dir(&repository)
        .args(["fast-import", "--quiet"])
        .stdin(File::open(&file).expect("opened"))
        .status();
    assert!(import.expect("it runs").success());
    let base = must(&repository, "git", &["rev-parse", &format!("bench~{commits}")]);
    Work {
        name: format!(
            "{patches} generated patches, {all} files in {folders} folders{}, {commits} trunk commits",
            if let Shape::Flat = shape { " at the root" } else { ", nested" }
        ),
        upstream: repository.clone(),
        fork: repository,
        tip: "refs/heads/ours".into(),
        base: Some(base),
    }
}

fn workspace(dir: &Path, name: &str, work: &Work, fork: &Path, tip: &str, base: Option<&str>) -> PathBuf {
    let at = dir.join(name);
    std::fs::create_dir(&at).expect("a folder");
    let upstream = work.upstream.to_string_lossy();
    must(&at, CARRY, &["init", "--project", "p", "--upstream", &upstream, "--branch", "bench"]);
    let fork = fork.to_string_lossy();
    let mut args = vec!["import", "--fork", &fork, "--tip", tip];
    if let Some(base) = base {
        args.extend(["--base", base]);
    }
    must(&at, CARRY, &args);
    at
}

/// A workspace whose patches all apply on the base and on the commit to replay onto; and their stack on the base, as
/// the branch `measured` of the workspace's store.
pub fn linear(dir: &Path, work: &Work) -> PathBuf {
    let first = workspace(dir, "all", work, &work.fork, &work.tip, work.base.as_deref());
    let (_, night) = run(&first, CARRY, &["--json", "rebase", "--dry-run"]);
    let night: serde_json::Value = serde_json::from_str(&night).expect("a night");
    let base = night["trunk"]["from"].as_str().expect("a base").to_owned();
    let series = first.join("patches/p/series");
    let mut text = std::fs::read_to_string(&series).expect("a series");
    for patch in night["patches"].as_array().expect("patches") {
        if !["clean", "refreshed"].contains(&patch["outcome"].as_str().unwrap_or_default()) {
            let line = format!("{}.patch\n", patch["name"].as_str().unwrap_or_default());
            text = text.replacen(&line, &format!("#hold {line}"), 1);
        }
    }
    std::fs::write(&series, text).expect("written");
    run(&first, "git", &["commit", "-qam", "hold what does not apply"]);
    run(&first, CARRY, &["rebase", "--onto", &base]);
    let store = first.join(".git/carry/p.git");
    must(&store, "git", &["update-ref", "refs/heads/measured", "refs/heads/deploy/p"]);
    workspace(dir, "measured", work, &store, "refs/heads/measured", Some(&base));
    must(&store, "git", &["update-ref", "refs/heads/base", &base]);
    store
}
