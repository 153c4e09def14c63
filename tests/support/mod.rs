//! Repositories for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use git_carry::store::tree::{Entry, edit, write_empty};
use git_carry::store::{GitVersion, Objects as _, Odb};
use gix_hash::ObjectId;

/// File names at the root, and what they hold.
pub type Snapshot = BTreeMap<String, String>;

/// Runs git in `dir`, away from the machine's own configuration.
pub fn git(dir: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .output()
        .expect("git runs")
}

/// The same, with something to read.
pub fn git_with_input(dir: &Path, args: &[&str], input: &[u8]) -> Output {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input).and_then(|()| file.rewind()).expect("it is written");
    Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .stdin(file)
        .output()
        .expect("git runs")
}

/// A new bare repository at `dir`, opened.
pub fn bare_store(dir: &Path) -> Odb {
    assert!(git(dir, &["init", "-q", "--bare", "."]).status.success());
    Odb::open(dir).expect("a bare store opens").as_git(gits_version())
}

/// The version of the git on this machine, to which the tests hold the merge.
pub fn gits_version() -> GitVersion {
    let out = git(Path::new("."), &["version"]);
    GitVersion::parse(&String::from_utf8_lossy(&out.stdout)).expect("git says its version")
}

/// The tree of a snapshot.
pub fn tree(objects: &Odb, snapshot: &Snapshot) -> ObjectId {
    deep_tree(objects, snapshot)
}

/// The tree of files by their paths.
pub fn deep_tree(objects: &Odb, files: &Snapshot) -> ObjectId {
    let blob = |text: &String| objects.put_blob(text.clone().into_bytes(), None).expect("a blob is kept");
    let edits: Vec<(&[u8], Option<Entry>)> =
        files.iter().map(|(p, t)| (p.as_bytes(), Some(Entry { mode: 0o100644, id: blob(t) }))).collect();
    let tree = edit(objects, None, &edits).expect("objects are kept");
    match tree.expect("no file is a folder") {
        Some(tree) => tree,
        None => write_empty(objects).expect("a tree is kept"),
    }
}

/// Says that it is over when it goes, also if the test fails: a thread that waits for that would hold it for ever.
pub struct Ends<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

pub mod github;
pub mod http;
pub mod lab;
