//! A patch-id is the one that `git patch-id --stable` gives.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::git;
use git_carry::queue::patch_id;
use proptest::prelude::*;

fn gits(dir: &Path, diff: &[u8]) -> Option<String> {
    let mut child = Command::new("git")
        .args(["patch-id", "--stable"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut pipe = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut pipe, diff).expect("git reads");
    drop(pipe);
    let out = child.wait_with_output().expect("git ends").stdout;
    let text = String::from_utf8(out).expect("ids");
    text.split_whitespace().next().map(str::to_owned)
}

/// A file: its lines (some with spaces and tabs), whether it ends in a newline, is executable, is binary.
type File = (Vec<u8>, bool, bool, bool);

fn file() -> impl Strategy<Value = Option<File>> {
    proptest::option::of((
        proptest::collection::vec(0u8..6, 0..30),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.1),
    ))
}

fn bytes((lines, newline, _, binary): &File) -> Vec<u8> {
    let words = ["a", "\tb  c", "", " }", "-- ", "d\r"];
    let mut out = Vec::new();
    if *binary {
        out.extend_from_slice(b"\0\x01");
    }
    for line in lines {
        out.extend_from_slice(words[usize::from(*line)].as_bytes());
        out.push(b'\n');
    }
    if !newline {
        out.pop();
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_patch_id_is_gits(before in prop::array::uniform4(file()), after in prop::array::uniform4(file())) {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(git(dir.path(), &["init", "-q", "--object-format=sha1"]).status.success());
        let names = ["a", "sub dir/b", "z\"q", "lib.c"];
        for side in [&before, &after] {
            for (name, file) in names.iter().zip(side) {
                let path = dir.path().join(name);
                match file {
                    Some(file) => {
                        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                        std::fs::write(&path, bytes(file)).expect("written");
                    }
                    None => drop(std::fs::remove_file(&path)),
                }
            }
            assert!(git(dir.path(), &["add", "-A"]).status.success());
            for (name, file) in names.iter().zip(side) {
                if let Some((_, _, executable, _)) = file {
                    let mode = if *executable { "--chmod=+x" } else { "--chmod=-x" };
                    git(dir.path(), &["update-index", mode, "--", name]);
                }
            }
            let who = ["-c", "user.name=a", "-c", "user.email=b"];
            let commit = ["commit", "-q", "--allow-empty", "-m", "m"];
            assert!(git(dir.path(), &[&who[..], &commit[..]].concat()).status.success());
        }
        for form in [&["--binary", "-M"][..], &["--no-renames"], &["--full-index", "-U1"]] {
            let diff = git(dir.path(), &[&["diff", "HEAD~"][..], form].concat()).stdout;
            let own = patch_id(&diff).map(|id| id.to_string());
            prop_assert_eq!(own, gits(dir.path(), &diff), "{}", String::from_utf8_lossy(&diff));
        }
    }
}
