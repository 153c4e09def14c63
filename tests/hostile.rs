//! Nothing that a patch, a commit or a server says is obeyed: paths, links, terminal escapes; nor a clock that jumps.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::lab::{Lab, numbered};
use git_carry::queue::Patch;

/// A patch that adds a file, or with mode 120000 a link to `content`. Git quotes its path as it has to.
fn adds(subject: &str, mode: &str, path: &str, content: &str) -> String {
    let quoted = |side: &str| {
        let mut out = format!("\"{side}/");
        for byte in path.bytes() {
            match byte {
                b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
                0x20..0x7f => out.push(char::from(byte)),
                _ => out.push_str(&format!("\\{byte:03o}")),
            }
        }
        out + "\""
    };
    let (old, new) = (quoted("a"), quoted("b"));
    format!(
        "From: A <a@b>\nSubject: {subject}\n\n---\n\ndiff --git {old} {new}\nnew file mode {mode}\n--- /dev/null\n+++ {new}\n\
         @@ -0,0 +1 @@\n+{content}\n\\ No newline at end of file\n"
    )
}

/// Does git take the path, as what has this mode, with all of its own guards up?
fn git_takes(lab: &Lab, mode: &str, blob: &str, path: &str) -> bool {
    let guards = ["-c", "core.protectNTFS=true", "-c", "core.protectHFS=true"];
    let info = format!("{mode},{blob},{path}");
    let taken =
        lab.git_works("up", &[&guards[..], &["update-index", "--add", "--cacheinfo", &info]].concat());
    lab.git("up", &["read-tree", "--empty"]);
    taken
}

#[test]
fn paths_are_refused_just_where_git_refuses_them() {
    let lab = Lab::new();
    std::fs::write(lab.path("up/x"), "x").expect("written");
    let blob = lab.git("up", &["hash-object", "-w", "x"]);
    let parts = [
        ".git",
        ".GIT",
        ".gIt",
        "git~1",
        "GIT~1",
        "git~2",
        "git~10",
        ".git ",
        ".git.",
        ".git. .",
        ".git:",
        ".git::$INDEX_ALLOCATION",
        "git~1:stream",
        "git~1 .",
        ".git:x",
        "x:stream",
        ".gitx",
        ".git~1",
        "xgit~1",
        ".gitmodules",
        ".gitmodules ",
        "gitmod~1",
        "GITMOD~4",
        "gitmod~5",
        "gi7eba~1",
        ".gitattributes",
        ".gitignore",
        "..",
        ".",
        "...",
        ".. ",
        "",
        " ",
        ".g\u{200c}it",
        "\u{200d}.git",
        ".git\u{feff}",
        ".G\u{206f}IT",
        ".gi\u{200b}t",
        ".gitm\u{200c}odules",
        "a\\b",
        ".git\\config",
        "aux",
        "con.c",
        "nul",
        "tab\there",
        "line\nend",
        "é",
        "\u{1b}[31m",
        "-x",
        "~",
        "x ",
        "x.",
    ];
    let (mut refused, mut taken) = (0, 0);
    for part in parts {
        for path in [part.to_owned(), format!("a/{part}"), format!("{part}/hooks/x"), format!("a/{part}/b")] {
            for mode in ["100644", "120000"] {
                // Of a folder's name, git looks only for `.gitmodules` itself; here its other forms are refused as well.
                if mode == "120000" && !path.ends_with(part) {
                    continue;
                }
                let git = git_takes(&lab, mode, &blob, &path);
                let patch = Patch::parse("x.patch", adds("x", mode, &path, "x").into_bytes(), 1);
                let ours =
                    patch.as_ref().is_ok_and(|p| p.changes().len() == 1 && *p.changes()[0].path() == *path);
                assert_eq!(ours, git, "{mode} {path:?}: {patch:?}");
                *(if git { &mut taken } else { &mut refused }) += 1;
            }
        }
    }
    for path in ["a//b", "../../x", "a/../../x", "x/"] {
        assert!(!git_takes(&lab, "100644", &blob, path), "{path}");
        assert!(Patch::parse("x.patch", adds("x", "100644", path, "x").into_bytes(), 1).is_err(), "{path}");
    }
    // What `update-index` takes and `fsck` finds: the server may refuse such a push, and Windows would obey it.
    for name in ["a\\.git", "a\\b\\GIT~1", "a\\.git\\config", "a\\..\\.git"] {
        let mut tree = format!("100644 {name}\0").into_bytes();
        tree.extend([1; 20]);
        std::fs::write(lab.path("tree"), tree).expect("written");
        assert!(!lab.git_works("up", &["hash-object", "-t", "tree", "../tree"]), "{name}");
        assert!(Patch::parse("x.patch", adds("x", "100644", name, "x").into_bytes(), 1).is_err(), "{name}");
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn a_patch_with_a_hostile_path_is_refused_by_every_way_in_and_changes_nothing() {
    let lab = Lab::with_fork(&[("one", &[("a", Some(&numbered("a", &[(10, "ours")])))])]);
    lab.carry_code(0, &["nightly"]);
    let state =
        || (lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"]), lab.git("ws", &["status", "--porcelain"]));
    let before = state();
    let renamed = |from: &str, to: &str| {
        format!(
            "From: A <a@b>\nSubject: evil\n\n---\n\ndiff --git a/{from} b/{to}\nsimilarity index 100%\nrename from {from}\nrename to {to}\n"
        )
    };
    let hostile = [
        ("../escaped", adds("evil", "100644", "../escaped", "x")),
        (".git/config", adds("evil", "100644", ".git/config", "x")),
        ("a/.GIT/hooks/x", adds("evil", "100755", "a/.GIT/hooks/x", "x")),
        ("git~1/config", adds("evil", "100644", "git~1/config", "x")),
        (".git::$INDEX_ALLOCATION/config", adds("evil", "100644", ".git::$INDEX_ALLOCATION/config", "x")),
        ("a/.git/hooks/x", renamed("a", "a/.git/hooks/x")),
        ("/etc/x", "--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+x\n".to_owned()),
    ];
    for (path, text) in hostile {
        let told = |said: &str| {
            assert!(
                said.contains(&format!("path '{path}' is refused")) && said.contains(", line "),
                "{path}: {said}"
            );
        };
        // By hand.
        let file = lab.path("evil.patch");
        std::fs::write(&file, &text).expect("written");
        let out = lab.carry(&["add", file.to_str().expect("a path")]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_ne!(out.status.code(), Some(0), "{path}");
        told(&said);
        assert_eq!(state(), before, "{path}");
        // In a folder of patches, and in a mailbox, into another project's empty queue.
        let other = lab.path("other");
        let _ = std::fs::remove_dir_all(&other);
        std::fs::create_dir_all(other.join("patches")).expect("a folder");
        std::fs::rename(&file, other.join("patches/0001-evil.patch")).expect("moved");
        let mbox = format!(
            "From 0000 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH] evil\n\n---\n{text}\n"
        );
        std::fs::write(other.join("mbox"), mbox).expect("written");
        std::fs::create_dir(other.join("ws")).expect("a folder");
        let ws = "other/ws";
        let run = |args: &[&str]| lab.carry_command(ws, args).output().expect("it runs");
        assert!(
            run(&["init", "--project", "p", "--upstream", "../../up", "--branch", "main"]).status.success()
        );
        let head = lab.git(ws, &["rev-parse", "HEAD"]);
        for args in [["import", "--patches", "../patches"], ["import", "--mbox", "../mbox"]] {
            let out = run(&args);
            assert_eq!(out.status.code(), Some(2), "{path} {args:?}");
            told(&String::from_utf8_lossy(&out.stderr));
            assert_eq!(
                (lab.git(ws, &["rev-parse", "HEAD"]), lab.git(ws, &["status", "--porcelain"])),
                (head.clone(), String::new())
            );
        }
        // By a commit in the workspace.
        let series = std::fs::read_to_string(lab.path("ws/patches/p/series")).expect("a series");
        let evil = [
            ("patches/p/evil.patch", Some(text.as_str())),
            ("patches/p/series", Some(&format!("{series}evil.patch\n"))),
        ];
        lab.commit("ws", "evil", &evil);
        let said = lab.carry_code(2, &["nightly"]);
        assert!(said.contains("evil.patch") && said.contains("hint: "), "{said}");
        told(&said);
        assert_eq!(lab.deployed(), before.0);
        lab.git("ws", &["reset", "-q", "--hard", &before.1]);
    }
    assert!(!lab.path("escaped").exists() && !lab.path("ws/escaped").exists());
}

/// All that is in a folder, with its bytes.
fn all(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => out.extend(all(&path)),
            path => out.push((path.clone(), std::fs::read(&path).expect("a file"))),
        }
    }
    out.sort();
    out
}

#[test]
fn nothing_is_written_through_a_link_that_a_patch_made() {
    let one = numbered("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&one))])]);
    std::fs::create_dir(lab.path("outside")).expect("a folder");
    std::fs::write(lab.path("outside/kept"), "kept\n").expect("written");
    let outside = lab.path("outside").to_str().expect("a path").to_owned();
    std::fs::write(lab.path("link.patch"), adds("a link", "120000", "link", &outside)).expect("written");
    std::fs::write(lab.path("beneath.patch"), adds("beneath it", "100644", "link/kept", "evil"))
        .expect("written");
    for file in ["../link.patch", "../beneath.patch"] {
        let out = lab.carry(&["add", file]);
        if !matches!(out.status.code(), Some(0 | 3)) {
            // Then it comes by a commit.
            let name = file.trim_start_matches("../");
            let series = std::fs::read_to_string(lab.path("ws/patches/p/series")).expect("a series");
            let text = std::fs::read_to_string(lab.path(name)).expect("a patch");
            let files = [
                (format!("patches/p/{name}"), text),
                ("patches/p/series".to_owned(), format!("{series}{name}\n")),
            ];
            let files: Vec<_> = files.iter().map(|(n, t)| (n.as_str(), Some(t.as_str()))).collect();
            lab.commit("ws", "by hand", &files);
        }
    }
    lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs")])))]);
    let night = &lab.json(3, &["nightly"])[0];
    let (last, outcome) = Lab::outcomes(night).pop().expect("three patches");
    assert!(last.contains("beneath") && outcome == "conflict", "{last}: {outcome}");
    assert_eq!(lab.git("deploy.git", &["cat-file", "blob", "deploy/p:link"]), outside);
    // A person who looks at it in a work tree is as safe.
    lab.carry(&["resolve", &last]);
    lab.carry(&["edit", "link"]);
    lab.carry(&["build"]);
    assert_eq!(all(&lab.path("outside")), [(lab.path("outside/kept"), b"kept\n".to_vec())]);
    lab.git("deploy.git", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_patch_file_that_is_a_link_is_never_written_through() {
    let lab = Lab::with_fork(&[("one", &[("a", Some(&numbered("a", &[(10, "ours")])))])]);
    lab.carry_code(0, &["nightly"]);
    let file = lab.path("ws/patches/p/one.patch");
    let patch = std::fs::read(&file).expect("a patch");
    std::fs::write(lab.path("outside.patch"), &patch).expect("written");
    std::fs::remove_file(&file).expect("gone");
    std::os::unix::fs::symlink(lab.path("outside.patch"), &file).expect("a link");
    lab.git("ws", &["commit", "-qam", "a link instead"]);
    // Trunk moves so that the patch's text has to be written anew.
    lab.commit("up", "near", &[("a", Some(&numbered("a", &[(8, "theirs")])))]);
    lab.carry(&["nightly"]);
    assert_eq!(std::fs::read(lab.path("outside.patch")).expect("it stands"), patch);
}

/// Panics if a terminal would obey anything in `text` but colours and lines.
pub fn assert_tame(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut rest = text.as_ref();
    while let Some(at) = rest
        .find(|c: char| c.is_control() && !matches!(c, '\n' | '\t') || ('\u{202a}'..='\u{202e}').contains(&c))
    {
        let after = &rest[at..];
        let colour = after.strip_prefix("\x1b[").and_then(|code| {
            let end = code.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
            code[end..].starts_with('m').then(|| &code[end + 1..])
        });
        let start = rest[..at].rfind('\n').map_or(0, |n| n + 1);
        rest = colour.unwrap_or_else(|| panic!("{what}: {:?}", &rest[start..rest.len().min(at + 60)]));
    }
}

#[test]
fn what_patches_commits_and_servers_say_is_never_obeyed_by_the_terminal() {
    const EVIL: &str = "\x1b]0;owned\x07\x1b[2J\u{9b}1A\u{202e}\x08\x7f";
    let lab = Lab::with_fork(&[
        (
            &format!("one {EVIL}\n\nbody {EVIL}\n\nCarry-Owner: {EVIL} <o@{EVIL}>\nCarry-Reason: {EVIL}"),
            &[("a", Some(&numbered("a", &[(10, "ours")])))],
        ),
        (&format!("two {EVIL}"), &[(&format!("name {EVIL}"), Some(&format!("text {EVIL}\n")))]),
    ]);
    let run = |code: i32, args: &[&str]| {
        // With colours, or all escapes, the hostile ones too, would be taken away on the way to a pipe.
        let mut command = lab.carry_command("ws", args);
        command.env("CLICOLOR_FORCE", "1").env("GIT_CARRY_COLUMNS", "120");
        let out = command.output().expect("it runs");
        assert_tame(&format!("{args:?}, output"), &out.stdout);
        assert_tame(&format!("{args:?}, errors"), &out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        [out.stdout, out.stderr].concat()
    };
    let series = std::fs::read_to_string(lab.path("ws/patches/p/series")).expect("a series");
    let names: Vec<&str> = series.lines().map(|l| l.trim_end_matches(".patch")).collect();
    run(0, &["nightly"]);
    let build = lab.deployed();
    // Trunk conflicts with the first, by a commit that is no better, and adds the second's file.
    let commit = format!("theirs {EVIL}");
    lab.git("up", &["config", "user.name", "x"]);
    lab.commit(
        "up",
        &commit,
        &[
            ("a", Some(&numbered("a", &[(10, &format!("theirs {EVIL}"))]))),
            (&format!("name {EVIL}"), Some("theirs\n")),
        ],
    );
    let said = run(3, &["nightly"]);
    let coloured = said.windows(2).any(|pair| pair == b"\x1b[");
    assert!(coloured, "nothing is taken away on the way: {}", String::from_utf8_lossy(&said));
    for name in &names {
        for args in [
            &["show", name][..],
            &["why", name],
            &["hold", name, "--reason", EVIL],
            &["unhold", name],
            &["resolve", name],
            &["resolve", name, "--abort"],
        ] {
            run(0, args);
        }
    }
    for args in [
        &["status"][..],
        &["graph"],
        &["log"],
        &["report"],
        &["report", "--format", "text"],
        &["report", "--format", "md"],
        &["report", "upstreaming", "--format", "text"],
        &["candidates"],
        &["forecast", "main"],
        &["risk"],
        &["manifest", "show"],
        &["manifest", "verify"],
        &["manifest", "diff", &build],
        &["doctor"],
        &["landed"],
        &["resolutions", "list"],
    ] {
        run(0, args);
    }
    // What a server says when it refuses, and a parser of what it was given.
    lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs")])))]);
    let hook = lab.path("deploy.git/hooks/update");
    std::fs::write(&hook, format!("#!/bin/sh\nprintf '%s\\n' '{EVIL} refused' >&2\nexit 1\n"))
        .expect("written");
    assert!(Command::new("chmod").arg("+x").arg(&hook).status().expect("chmod runs").success());
    let said = run(4, &["nightly"]);
    assert!(String::from_utf8_lossy(&said).contains("refused"), "{}", String::from_utf8_lossy(&said));
    std::fs::write(lab.path("ws/patches/p/series"), format!("../{EVIL}.patch\n")).expect("written");
    lab.git("ws", &["commit", "-qam", "evil"]);
    run(2, &["nightly"]);
    // In a configuration, by TOML's own escapes; and from the person at the keyboard.
    let escaped: String = EVIL.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    std::fs::write(lab.path("ws/carry.toml"), format!("[project.\"{escaped}\"]\n\"{escaped}\" = 1\n"))
        .expect("written");
    run(2, &["nightly"]);
    run(2, &["show", EVIL]);
    let odd = std::ffi::OsStr::from_bytes(b"--project=\x1b]0;x\x07\xff");
    let out = lab
        .carry_command("ws", &["show"])
        .arg("one")
        .arg(odd)
        .env("CLICOLOR_FORCE", "1")
        .output()
        .expect("it runs");
    assert_tame("an argument", &out.stderr);
}

#[test]
fn of_two_nights_at_once_one_works_and_the_other_leaves_it_alone() {
    let lab = Lab::with_fork(&[("one", &[("a", Some(&numbered("a", &[(10, "ours")])))])]);
    lab.carry_code(0, &["nightly"]);
    let mut met = 0;
    for round in 0..6 {
        if round == 5 {
            // However fast the nights are and busy the machine: this one is at work for as long as the others wait.
            let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
            let hook = "[[project.p.hook]]\non = \"before-publish\"\nrun = [\"sleep\", \"2\"]\n";
            lab.commit("ws", "slow", &[("carry.toml", Some(&format!("{config}\n{hook}")))]);
        }
        let text = numbered("b", &[(3, &format!("theirs {round}"))]);
        let trunk = lab.commit("up", "on", &[("b", Some(&text))]);
        let before = lab.deployed();
        let start = || {
            let mut command = lab.carry_command("ws", &["nightly"]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts")
        };
        let ends: Vec<_> =
            [start(), start(), start()].map(|run| run.wait_with_output().expect("it ends")).into();
        for out in &ends {
            let said = String::from_utf8_lossy(&out.stderr);
            match out.status.code() {
                Some(0) => {}
                Some(1) if said.contains("another run is at work here") => met += 1,
                code => panic!("{code:?}: {said}"),
            }
        }
        assert!(ends.iter().any(|out| out.status.code() == Some(0)), "one of them worked");
        assert_ne!(lab.deployed(), before);
        let builds = lab.git("deploy.git", &["rev-list", "--count", "deploy/p", &format!("^{trunk}")]);
        assert_eq!(builds.parse::<u32>().ok(), Some(1), "the queue is on trunk once");
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
        lab.carry_code(0, &["manifest", "verify"]);
    }
    assert!(met >= 1, "they met {met} times");
    lab.git("ws", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_clock_that_jumps_changes_no_build() {
    let lab = Lab::with_fork(&[("one", &[("a", Some(&numbered("a", &[(10, "ours")])))])]);
    lab.carry_code(0, &["nightly"]);
    // Trunk's own dates go back and forth, as far as git takes them.
    for (round, date) in
        ["4102444800 +0000", "86400 -1200", "1 +1400", "32503680000 +0000", "1790000000 +0000"]
            .iter()
            .enumerate()
    {
        std::fs::write(lab.path("up/b"), numbered("b", &[(3, &format!("theirs {round}"))])).expect("written");
        let mut commit = Command::new("git");
        commit.args(["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qam", "on"]);
        commit
            .current_dir(lab.path("up"))
            .env("GIT_COMMITTER_DATE", format!("@{date}"))
            .env("GIT_AUTHOR_DATE", format!("@{date}"));
        assert!(commit.status().expect("git runs").success());
        // And so do the times of all that the last run left.
        for entry in walk(&lab.path("ws")) {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs([4_102_444_800, 1][round % 2]);
            let file = std::fs::File::open(&entry).expect("a file");
            file.set_modified(time).expect("its time");
        }
        std::fs::write(
            lab.path("ws/.git/carry/run.lock"),
            "nightly, process 1 on old, since 2999-01-01T00:00:00Z\n",
        )
        .expect("written");
        let tip = lab.git("up", &["rev-parse", "main"]);
        let night = &lab.json(0, &["nightly"])[0];
        assert_eq!(night["trunk"]["to"], tip.as_str(), "{date}");
        assert_eq!(lab.git("deploy.git", &["rev-parse", "deploy/p~1"]), tip, "{date}");
        lab.carry_code(0, &["manifest", "verify"]);
        for args in
            [&["status"][..], &["log"], &["report", "--format", "text"], &["candidates"], &["why", "one"]]
        {
            lab.carry_code(0, args);
        }
        let doctor = lab.carry(&["doctor"]);
        assert!(
            matches!(doctor.status.code(), Some(0 | 1 | 3)),
            "{}",
            String::from_utf8_lossy(&doctor.stderr)
        );
        assert!(!String::from_utf8_lossy(&doctor.stderr).contains("panicked"));
    }
    lab.git("deploy.git", &["fsck", "--no-dangling"]);
}

/// All files under a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
