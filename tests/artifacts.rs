//! What goes out of a night besides the deploy branch, by the built binary: signatures held against `ssh-keygen`,
//! tarballs against `git archive`, bundles against `git bundle`; and `manifest verify`, which must find one wrong byte.

use std::path::Path;
use std::process::Command;

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

/// A queue of three patches, and a workspace that says `more` in its carry.toml.
pub fn lab(more: &str) -> Lab {
    let [a, b, c] = [("a", 3), ("b", 9), ("c", 20)].map(|(file, line)| numbered(file, &[(line, "ours")]));
    let lab = Lab::with_fork(&[
        ("first change", &[("a", Some(&a))]),
        ("second change", &[("b", Some(&b))]),
        ("third change", &[("c", Some(&c))]),
    ]);
    configure(&lab, more);
    lab
}

pub fn configure(lab: &Lab, more: &str) {
    let path = lab.path("ws/carry.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, format!("{text}\n{more}")).expect("written");
    lab.git("ws", &["commit", "-q", "-a", "--allow-empty", "-m", "configure"]);
}

pub const FILES: &str = "[project.p.artifacts]\nfolder = \"../out\"\n";

pub const SIGNING: &str = "[signing]\nkey = \"~/bot\"\nallowed_signers = \"../allowed\"\n";
/// A key in the lab's home folder; its public half.
pub fn key(lab: &Lab, name: &str) -> String {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(lab.path(name));
    assert!(command.status().expect("ssh-keygen runs").success());
    let text = std::fs::read_to_string(lab.path(&format!("{name}.pub"))).expect("a key");
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A workspace whose builds are signed.
pub fn signed(more: &str) -> Lab {
    let lab = lab(&format!("{SIGNING}{more}"));
    let public = key(&lab, "bot");
    std::fs::write(lab.path("allowed"), format!("bot@example.org {public}\n")).expect("written");
    lab
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The looks of `manifest verify`, which ends with `code`: (what, result).
pub fn looks(lab: &Lab, code: i32, args: &[&str]) -> Vec<(String, String)> {
    let proof = lab.json(code, &[&["manifest", "verify"], args].concat());
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let all = proof["looked_at"].as_array().expect("looks");
    all.iter().map(|l| (text(&l["what"]), text(&l["result"]))).collect()
}

pub fn bad(looks: &[(String, String)]) -> Vec<&str> {
    looks.iter().filter(|(_, result)| result == "bad").map(|(what, _)| what.as_str()).collect()
}

/// The last build's id, and the folder of its files.
pub fn build(lab: &Lab) -> (String, std::path::PathBuf) {
    let manifest = lab.json(0, &["manifest", "show"]);
    let build = manifest["deploy"]["build"].as_str().expect("a build").to_owned();
    let folder = lab.path(&format!("out/p-{build}"));
    (build, folder)
}

pub fn flip(path: &Path, at: usize) {
    let mut bytes = read(path);
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn one_wrong_byte_anywhere_in_manifest_tarball_or_bundle_is_found() {
    let lab = signed(FILES);
    lab.carry_code(0, &["nightly", "--manifest", "../m.json"]);
    let (id, folder) = build(&lab);
    let names = looks(&lab, 0, &["--artifacts", "../out"]);
    for what in ["signature", "manifest", "patch", "tree", "commit", "tarball", "bundle"] {
        assert!(names.contains(&(what.into(), "good".into())), "{what}: {names:?}");
    }
    let whole = read(&lab.path("m.json"));
    let step = whole.len() / 23;
    for at in (0..whole.len()).step_by(step.max(1)) {
        flip(&lab.path("m.json"), at);
        let found = looks(&lab, 4, &["../m.json"]);
        assert!(bad(&found).contains(&"signature"), "byte {at}: {found:?}");
        std::fs::write(lab.path("m.json"), &whole).expect("written");
    }
    for (kind, ending) in [("tarball", "tar"), ("bundle", "bundle")] {
        let path = folder.join(format!("p-{id}.{ending}"));
        let whole = read(&path);
        for at in [0, 30, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            flip(&path, at);
            assert_eq!(bad(&looks(&lab, 4, &[])), [kind], "byte {at} of {ending}");
            std::fs::write(&path, &whole).expect("written");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        assert_eq!(bad(&looks(&lab, 4, &[])), [kind]);
        std::fs::remove_file(&path).expect("it was there");
        assert!(bad(&looks(&lab, 0, &[])).is_empty(), "pruned files are no fault");
        let given = folder.to_string_lossy().into_owned();
        assert_eq!(bad(&looks(&lab, 4, &["--artifacts", &given])), [kind]);
        std::fs::write(&path, &whole).expect("written");
    }
    assert!(bad(&looks(&lab, 0, &[])).is_empty());
    let sums = Command::new("sha256sum").args(["--quiet", "-c", "SHA256SUMS"]).current_dir(&folder).status();
    assert!(sums.expect("sha256sum runs").success());
}

/// A lab whose tree asks git archive for much that a configuration could change.
fn archive_lab(placeholders: &str) -> Lab {
    let lab = Lab::new();
    let subst = format!("$Format:{placeholders}$\n");
    let files: crate::support::lab::Files<'_> = &[
        (".gitattributes", Some("subst export-subst\n*.txt text\nhidden export-ignore\n*.bin filter=evil\n")),
        ("subst", Some(&subst)),
        ("lines.txt", Some("one\ntwo\n")),
        ("hidden", Some("no one sees it\n")),
        ("x.bin", Some("raw\n")),
        ("deep/er/script", Some("#!/bin/sh\n")),
        ("a", Some(&numbered("a", &[]))),
    ];
    lab.commit("up", "base", files);
    lab.git("up", &["update-index", "--chmod=+x", "deep/er/script"]);
    lab.git("up", &["commit", "-q", "-m", "it is a script"]);
    lab.git("up", &["checkout", "-q", "-f", "-b", "fork"]);
    lab.commit("up", "ours", &[("a", Some(&numbered("a", &[(3, "ours")])))]);
    lab.git("up", &["checkout", "-q", "main"]);
    let init =
        ["init", "--project", "p", "--upstream", "../up", "--branch", "main", "--remote", "../deploy.git"];
    lab.carry_code(0, &init);
    lab.carry_code(0, &["import", "--fork", "../up", "--tip", "refs/heads/fork", "--base", "main"]);
    configure(&lab, FILES);
    lab.carry_code(0, &["nightly"]);
    lab
}

#[test]
fn a_tarball_has_the_bytes_of_git_archive() {
    let lab = archive_lab("%H %h %an %ad %s");
    let (id, folder) = build(&lab);
    let tar = read(&folder.join(format!("p-{id}.tar")));
    lab.git(".", &["clone", "-q", "-b", "deploy/p", "deploy.git", "clone"]);
    for at in ["deploy.git", "clone"] {
        let to = lab.path("by-git.tar").to_string_lossy().into_owned();
        // The line that docs/files.md gives.
        let prefix = format!("--prefix=p-{id}/");
        lab.git(
            at,
            &["-c", "core.abbrev=12", "archive", "--format=tar", &prefix, "-o", &to, &lab.deployed()],
        );
        assert!(read(Path::new(&to)) == tar, "git archive in {at} gives other bytes");
    }
}

#[test]
fn a_tarball_is_the_same_on_two_clones_whatever_the_user_s_git_is_told() {
    let lab = archive_lab("%H %h %d %(describe) %ar %aN %N");
    let (id, folder) = build(&lab);
    let tar = read(&folder.join(format!("p-{id}.tar")));

    lab.git(".", &["clone", "-q", "ws", "ws2"]);
    let config = "[core]\n\tautocrlf = true\n\teol = crlf\n\tabbrev = 40\n\tbigFileThreshold = 1\n\tcompression = 9\n\
        [tar]\n\tumask = 0077\n[tar \"tar\"]\n\tcommand = cat\n[filter \"evil\"]\n\tsmudge = tr a-z A-Z\n\
        \trequired = true\n[user]\n\tname = Somebody\n\temail = s@example.org\n";
    std::fs::write(lab.path(".gitconfig"), config).expect("written");
    std::fs::create_dir_all(lab.path(".config/git")).expect("a folder");
    std::fs::write(lab.path(".config/git/attributes"), "a export-ignore\nlines.txt eol=crlf\n")
        .expect("written");
    lab.git("up", &["tag", "-a", "-m", "one", "v1", "main"]);
    let far = |args: &[&str]| {
        let mut command = lab.carry_command("ws2", args);
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "tar.umask")
            .env("GIT_CONFIG_VALUE_0", "user");
        let out = command.output().expect("the binary runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    far(&["nightly"]);
    lab.git("ws2/.git/carry/p.git", &["notes", "add", "-m", "a note", &lab.deployed()]);
    far(&["build", "--to", "../out2"]);
    let again = read(&lab.path(&format!("out2/p-{id}/p-{id}.tar")));
    assert!(again == tar, "the two clones differ");
    assert!(!tar.windows(14).any(|w| w == b"no one sees it"), "export-ignore of the tree itself counts");
}

#[test]
fn a_bundle_is_what_a_clone_of_the_build_before_lacks_and_no_other_takes_it() {
    let lab = lab(FILES);
    lab.carry_code(0, &["nightly"]);
    let (first, first_folder) = build(&lab);
    // The far cell starts from the first build's own, whole bundle.
    let whole = first_folder.join(format!("p-{first}.bundle")).to_string_lossy().into_owned();
    lab.git(".", &["init", "-q", "--bare", "cell.git"]);
    lab.git("cell.git", &["bundle", "verify", "--quiet", &whole]);
    lab.git("cell.git", &["fetch", "-q", &whole, "refs/carry/build/*:refs/carry/build/*"]);
    // A clone of trunk alone, where the two builds part.
    lab.git(".", &["clone", "-q", "--bare", "up", "trunk.git"]);

    lab.commit("up", "theirs", &[("d", Some("new\n"))]);
    lab.git("trunk.git", &["fetch", "-q", "origin", "main:main"]);
    lab.carry_code(0, &["nightly"]);
    let (second, folder) = build(&lab);
    assert_ne!(first, second);
    let bundle = folder.join(format!("p-{second}.bundle")).to_string_lossy().into_owned();
    assert!(lab.git_works("cell.git", &["bundle", "verify", "--quiet", &bundle]));
    assert!(
        !lab.git_works("trunk.git", &["bundle", "verify", "--quiet", &bundle]),
        "it lacks the first build"
    );
    lab.git("cell.git", &["fetch", "-q", &bundle, "refs/carry/build/*:refs/carry/build/*"]);
    let there = lab.git("cell.git", &["rev-parse", &format!("refs/carry/build/p/{second}")]);
    assert_eq!(there, lab.deployed());
    lab.git("cell.git", &["fsck", "--strict", "--full"]);
    let head = String::from_utf8_lossy(&read(Path::new(&bundle))).into_owned();
    let needs = lab.git("deploy.git", &["rev-parse", &format!("refs/carry/build/p/{first}")]);
    assert!(
        head.lines().find(|line| !line.starts_with(['#', '@'])) == Some(&format!("-{needs} third change")),
        "it asks for the build before"
    );
    let size = |path: &str| std::fs::metadata(path).expect("a bundle").len();
    assert!(size(&bundle) < size(&whole));
}

#[test]
fn old_files_go_by_age_but_never_the_newest_nor_one_that_a_stage_runs() {
    let lab = lab(&format!("{FILES}keep = 2\n"));
    let mut ids = Vec::new();
    for n in 0..5 {
        if n == 4 {
            // A stage runs the first build; another machine said so, at the remote.
            let promotion = format!("{{\"build\":\"{}\"}}", ids[0]);
            lab.git(".", &["init", "-q", "stages"]);
            lab.commit("stages", "promote", &[("promotion.json", Some(&promotion))]);
            lab.git("stages", &["push", "-q", "../deploy.git", "HEAD:refs/carry/stage/p/preprod"]);
            configure(&lab, "");
        }
        lab.commit("up", &format!("night {n}"), &[("d", Some(&format!("{n}\n")))]);
        if n == 2 {
            // Nothing may go while what a stage runs cannot be told.
            lab.git("ws/.git/carry/p.git", &["update-ref", "refs/carry/stage/p/odd", &lab.deployed()]);
        }
        let told = lab.json(0, &["nightly"])[0]["artifacts"].clone();
        ids.push(build(&lab).0);
        let there: Vec<bool> =
            ids.iter().map(|id| lab.path(&format!("out/p-{id}/SHA256SUMS")).is_file()).collect();
        match n {
            0 | 1 => assert!(there.iter().all(|t| *t)),
            2 => {
                assert_eq!(there, [true; 3], "what a stage runs is not known");
                lab.git("ws/.git/carry/p.git", &["update-ref", "-d", "refs/carry/stage/p/odd"]);
                // What would go is shown, and stays.
                let text = lab.carry_code(0, &["build", "--prune", "--dry-run"]);
                assert!(text.contains("would go") && text.contains(&ids[0]), "{text}");
                assert!(lab.path(&format!("out/p-{}", ids[0])).is_dir());
                lab.carry_code(0, &["build", &ids[0], "--to", "../kept"]);
            }
            3 => {
                assert_eq!(there, [false, false, true, true]);
                assert_eq!(told["pruned"], serde_json::json!([ids[1], ids[0]]));
                std::fs::rename(
                    lab.path(&format!("kept/p-{}", ids[0])),
                    lab.path(&format!("out/p-{}", ids[0])),
                )
                .expect("moved");
            }
            _ => assert_eq!(there, [true, false, false, true, true]),
        }
    }
    // A folder that no build of this project has is left alone.
    std::fs::create_dir_all(lab.path("out/p-0123456789ab")).expect("a folder");
    std::fs::write(lab.path("out/p-0123456789ab/SHA256SUMS"), "").expect("written");
    lab.carry_code(0, &["build", "--prune"]);
    assert!(lab.path("out/p-0123456789ab/SHA256SUMS").is_file());
}

#[test]
fn an_older_build_is_proved_although_its_patches_have_changed_since() {
    let lab = lab("");
    lab.carry_code(0, &["nightly"]);
    let first = build(&lab).0;
    // One patch is written anew, one goes.
    lab.commit("up", "near", &[("a", Some(&numbered("a", &[(1, "theirs")])))]);
    lab.carry_code(0, &["drop", "second-change", "--reason", "not needed"]);
    lab.carry_code(0, &["nightly"]);
    let now = lab.json(0, &["manifest", "show"]);
    assert_eq!(now["patches"].as_array().map(Vec::len), Some(2));
    let all = looks(&lab, 0, &[&first]);
    assert_eq!(all.iter().filter(|l| **l == ("patch".into(), "good".into())).count(), 3, "{all:?}");
    // Without the history that is not so, and it says which file is missing.
    let branch = lab.git("ws", &["branch", "--show-current"]);
    lab.git("ws", &["checkout", "-q", "--orphan", "alone"]);
    lab.git("ws", &["commit", "-q", "-m", "no history"]);
    lab.git("ws", &["branch", "-D", "-q", &branch]);
    let text = lab.carry_code(4, &["manifest", "verify", &first]);
    assert!(text.contains("second-change.patch: expected") && text.contains("neither the queue"), "{text}");
}

#[test]
fn what_a_killed_run_left_half_done_is_finished_if_its_build_is_published() {
    let lab = lab(FILES);
    lab.carry_code(0, &["nightly"]);
    let (id, folder) = build(&lab);
    let half = lab.path(&format!("out/.carry-p-{id}"));
    std::fs::rename(&folder, &half).expect("moved");
    let never = lab.path("out/.carry-p-0123456789ab");
    std::fs::create_dir_all(&never).expect("a folder");
    std::fs::write(never.join("SHA256SUMS"), "").expect("written");
    lab.carry_code(0, &["nightly"]);
    assert!(!half.exists() && !never.exists());
    assert!(bad(&looks(&lab, 0, &["--artifacts", "../out"])).is_empty());
}

#[test]
fn files_of_a_build_are_made_when_asked_for_and_its_refs_go_out_alone() {
    let lab = signed("");
    lab.carry_code(0, &["nightly"]);
    let id = build(&lab).0;
    let told = lab.json(0, &["build", "--to", "../out", "--dry-run"]);
    assert_eq!((told["build"].as_str(), lab.path("out").exists()), (Some(id.as_str()), false));
    let told = lab.json(0, &["build", &id[..6], "--to", "../out"]);
    assert_eq!(told["artifacts"].as_array().map(Vec::len), Some(2));
    let mut names: Vec<String> = std::fs::read_dir(lab.path(&format!("out/p-{id}")))
        .expect("a folder")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let wanted =
        ["SHA256SUMS", "p-ID.bundle", "p-ID.json", "p-ID.json.sig", "p-ID.tar"].map(|n| n.replace("ID", &id));
    assert_eq!(names, wanted);
    // The manifest is older than the files: they are held against the commit alone.
    let all = looks(&lab, 0, &["--artifacts", "../out"]);
    assert!(
        all.contains(&("tarball".into(), "good".into())) && all.contains(&("bundle".into(), "good".into()))
    );
    flip(&lab.path(&format!("out/p-{id}/p-{id}.tar")), 1500);
    flip(&lab.path(&format!("out/p-{id}/p-{id}.bundle")), 700);
    assert_eq!(bad(&looks(&lab, 4, &["--artifacts", "../out"])), ["tarball", "bundle"]);

    assert!(lab.carry_code(0, &["build", "--push"]).contains("has build"));
    for kind in ["build", "manifest", "signature"] {
        lab.git("deploy.git", &["update-ref", "-d", &format!("refs/carry/{kind}/p/{id}")]);
    }
    assert!(lab.carry_code(0, &["build", "--push", "--dry-run"]).contains("would be pushed"));
    assert_eq!(lab.git("deploy.git", &["for-each-ref", "refs/carry"]), "");
    lab.carry_code(0, &["build", "--push"]);
    assert_eq!(
        lab.git("deploy.git", &["for-each-ref", "--format=%(refname)", "refs/carry"]).lines().count(),
        3
    );
    assert!(lab.carry_code(1, &["build", "ffff"]).contains("no build 'ffff' of 'p' is here"));
}
