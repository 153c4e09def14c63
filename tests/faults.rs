//! What `docs/reliability.md` promises, under fault: the night changes nothing or everything, and the next one goes on.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::lab::{Lab, numbered};

/// A workspace after its first night, and upstream one commit further.
pub fn lab() -> Lab {
    let a = numbered("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[("one", &[("a", Some(&a))]), ("two", &[("new", Some("ours\n"))])]);
    lab.carry_code(0, &["nightly"]);
    lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs")])))]);
    lab
}

/// What the world can see: the remote's branch, and the workspace's own.
pub fn state(lab: &Lab) -> (String, String) {
    (lab.deployed(), lab.git("ws", &["rev-parse", "HEAD"]))
}

/// The next night does all that the last one could not, and everything is whole.
pub fn recovers(lab: &Lab, before: &(String, String)) {
    lab.carry_code(0, &["nightly"]);
    assert_ne!(state(lab).0, before.0, "the new trunk is out");
    lab.carry_code(0, &["manifest", "verify"]);
    assert_eq!(lab.git("ws", &["status", "--porcelain"]), "");
    for repository in ["deploy.git", "ws", "ws/.git/carry/p.git"] {
        lab.git(repository, &["fsck", "--strict", "--no-dangling"]);
    }
    assert_eq!(lab.json(0, &["nightly"])[0]["done"], "quiet");
}

/// After a night that broke off: what is out is the old build or a whole new one. The next night does not only make that
/// once more, as trunk goes on, and knows what it replaces.
pub fn went_out_whole(lab: &Lab, old: &str, what: &str) {
    let (seen, trunk) = (lab.deployed(), lab.git("up", &["rev-parse", "main"]));
    let whole = || lab.git("deploy.git", &["rev-parse", &format!("{seen}~2")]) == trunk;
    assert!(seen == old || whole(), "{what}: half a build went out");
    lab.commit("up", "goes on", &[("c", Some(&numbered("c", &[(3, what)])))]);
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!(night["manifest"]["deploy"]["previous"], seen.as_str(), "{what}");
}

pub fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

pub fn system(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|out| out.status.success())
}

/// A small file system of its own at a folder, for as long as this stands; none where it cannot be had.
pub struct Disk(std::path::PathBuf);

impl Disk {
    pub fn mount(at: &Path, mib: usize) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let place = at.to_str().expect("a path");
        let size = format!("size={mib}m");
        if system("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", place]) {
            return Some(Self(at.to_owned()));
        }
        // A container may forbid it.
        eprintln!("passed over: a small disk cannot be mounted");
        None
    }

    fn remount(&self, how: &str) {
        let place = self.0.to_str().expect("a path");
        assert!(system("mount", &["-o", &format!("remount,{how}"), place]), "remounted {how}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        system("umount", &["-l", self.0.to_str().unwrap_or_default()]);
    }
}

/// The workspace, moved to a disk of its own.
fn on_a_disk(lab: &Lab) -> Option<Disk> {
    std::fs::rename(lab.path("ws"), lab.path("elsewhere")).expect("moved");
    let disk = Disk::mount(&lab.path("ws"), 6)?;
    let from = format!("{}/.", lab.path("elsewhere").display());
    assert!(system("cp", &["-a", &from, lab.path("ws").to_str().expect("a path")]));
    Some(disk)
}

#[test]
fn a_full_disk_at_any_step_is_told_and_loses_nothing() {
    let lab = lab();
    let Some(_disk) = on_a_disk(&lab) else { return };
    let filler = lab.path("ws/.git/filler");
    let mut failed = 0;
    let mut at_once = 0;
    for room in [0usize, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 160] {
        let before = state(&lab);
        // All but `room` KiB.
        let mut file = std::fs::File::create(&filler).expect("a file");
        let block = [7u8; 1024];
        while file.write_all(&block).is_ok() {}
        let size = file.metadata().expect("its size").len();
        file.set_len(size.saturating_sub(room as u64 * 1024)).expect("cut");
        drop(file);
        let out = lab.carry(&["nightly"]);
        let said = text(&out);
        match out.status.code() {
            Some(0) => at_once += 1,
            Some(code) => {
                failed += 1;
                assert!(matches!(code, 1 | 4), "{room} KiB: {code}: {said}");
                assert!(said.contains("error: ") && !said.contains("panicked"), "{room} KiB: {said}");
                let full = [
                    "No space left",
                    "no space left",
                    "write error",
                    "unable to write",
                    "unable to create",
                    "couldn't write",
                ];
                assert!(full.iter().any(|words| said.contains(words)), "{room} KiB: {said}");
                assert!(said.contains("hint: "), "{room} KiB: {said}");
                assert!(
                    said.contains("df -h") || !full[..2].iter().any(|words| said.contains(words)),
                    "{said}"
                );
            }
            None => panic!("{room} KiB: ended by a signal: {said}"),
        }
        std::fs::remove_file(&filler).expect("room again");
        if out.status.code() == Some(0) {
            assert_ne!(state(&lab).0, before.0);
        } else {
            went_out_whole(&lab, &before.0, &format!("{room} KiB"));
        }
        assert_eq!(lab.git("ws", &["status", "--porcelain"]), "", "{room} KiB");
        lab.carry_code(0, &["manifest", "verify"]);
        lab.git("ws", &["fsck", "--strict", "--no-dangling"]);
        lab.git("deploy.git", &["fsck", "--strict", "--no-dangling"]);
        lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, &format!("theirs {room}"))])))]);
    }
    assert!(failed >= 5 && at_once >= 1, "{failed} nights failed, {at_once} had room");
}

#[test]
fn a_read_only_disk_is_told_and_what_only_looks_still_works() {
    let lab = lab();
    let Some(disk) = on_a_disk(&lab) else { return };
    let before = state(&lab);
    disk.remount("ro");
    let out = lab.carry(&["nightly"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("ead-only"), "{}", text(&out));
    assert!(text(&out).contains("hint: mount that disk"), "{}", text(&out));
    lab.carry_code(0, &["status"]);
    lab.carry_code(0, &["manifest", "show"]);
    assert_eq!(state(&lab), before);
    disk.remount("rw");
    recovers(&lab, &before);
}

#[test]
fn a_store_that_is_gone_is_made_anew_by_the_next_night() {
    let lab = lab();
    let before = state(&lab);
    std::fs::remove_dir_all(lab.path("ws/.git/carry")).expect("gone");
    recovers(&lab, &before);
}

#[test]
fn damage_in_the_store_the_lock_or_the_journal_is_told_with_what_to_do_and_nothing_goes_out() {
    // What is damaged, whether that is the store, and how it comes about.
    type Damage = (&'static str, bool, fn(&Lab));
    let damages: [Damage; 12] = [
        ("a pack", true, |lab| {
            for entry in
                std::fs::read_dir(lab.path("ws/.git/carry/p.git/objects/pack")).expect("a folder").flatten()
            {
                if entry.path().extension().is_some_and(|e| e == "pack") {
                    let mut bytes = std::fs::read(entry.path()).expect("a pack");
                    let middle = bytes.len() / 2;
                    bytes[middle..].iter_mut().for_each(|b| *b ^= 0x55);
                    system("chmod", &["u+w", entry.path().to_str().expect("a path")]);
                    std::fs::write(entry.path(), bytes).expect("written");
                }
            }
        }),
        ("a pack cut short", true, |lab| {
            for entry in
                std::fs::read_dir(lab.path("ws/.git/carry/p.git/objects/pack")).expect("a folder").flatten()
            {
                if entry.path().extension().is_some_and(|e| e == "pack") {
                    let bytes = std::fs::read(entry.path()).expect("a pack");
                    system("chmod", &["u+w", entry.path().to_str().expect("a path")]);
                    std::fs::write(entry.path(), &bytes[..bytes.len() / 3]).expect("written");
                }
            }
        }),
        ("the refs", true, |lab| {
            let refs = lab.path("ws/.git/carry/p.git/refs/carry");
            let file = refs.join("base/p");
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, "nonsense\n").expect("written");
        }),
        ("the lock", false, |lab| {
            std::fs::write(lab.path("ws/carry.lock"), "version = 1\n[project.p\n").expect("written");
            lab.git("ws", &["commit", "-qam", "a bad merge"]);
        }),
        ("the lock's base", false, |lab| {
            let lock = std::fs::read_to_string(lab.path("ws/carry.lock")).expect("a lock");
            let base = lock.lines().find(|l| l.starts_with("base = ")).expect("a base").to_owned();
            let other = format!("base = \"{}\"", "12".repeat(20));
            std::fs::write(lab.path("ws/carry.lock"), lock.replace(&base, &other)).expect("written");
            lab.git("ws", &["commit", "-qam", "a bad merge"]);
        }),
        ("the journal", false, |lab| {
            std::fs::write(lab.path("ws/.git/carry/p.journal"), "{\"project\": \"p\", ").expect("written");
        }),
        ("a ref that was a commit of its own", true, |lab| {
            lab.git("ws/.git/carry/p.git", &["pack-refs", "--all"]);
            let file = lab.path("ws/.git/carry/p.git/packed-refs");
            let refs = std::fs::read_to_string(&file).expect("refs");
            std::fs::write(file, refs.replace(&lab.deployed(), &"12".repeat(20))).expect("written");
        }),
        ("packed refs", true, |lab| {
            lab.git("ws/.git/carry/p.git", &["pack-refs", "--all"]);
            std::fs::write(lab.path("ws/.git/carry/p.git/packed-refs"), "nonsense\n").expect("written");
        }),
        ("loose objects", true, |lab| {
            // As an unpacked store has them.
            let store = lab.path("ws/.git/carry/p.git");
            let packs = store.join("packs");
            std::fs::rename(store.join("objects/pack"), &packs).expect("moved");
            std::fs::create_dir(store.join("objects/pack")).expect("a folder");
            for entry in std::fs::read_dir(&packs).expect("a folder").flatten() {
                if entry.path().extension().is_some_and(|e| e == "pack") {
                    let unpack = format!("git unpack-objects -q < '{}'", entry.path().display());
                    let made = Command::new("sh").args(["-c", &unpack]).current_dir(&store).status();
                    assert!(made.expect("git runs").success());
                }
            }
            std::fs::remove_dir_all(packs).expect("gone");
            for folder in std::fs::read_dir(store.join("objects")).expect("a folder").flatten() {
                if folder.file_name().len() != 2 {
                    continue;
                }
                for object in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
                    let bytes = std::fs::read(object.path()).expect("an object");
                    system("chmod", &["u+w", object.path().to_str().expect("a path")]);
                    std::fs::write(object.path(), &bytes[..bytes.len() / 2]).expect("written");
                }
            }
        }),
        ("a pack's index", true, |lab| {
            for entry in
                std::fs::read_dir(lab.path("ws/.git/carry/p.git/objects/pack")).expect("a folder").flatten()
            {
                if entry.path().extension().is_some_and(|e| e == "idx") {
                    system("chmod", &["u+w", entry.path().to_str().expect("a path")]);
                    std::fs::write(entry.path(), "nonsense").expect("written");
                }
            }
        }),
        ("one file of the trunk", true, |lab| {
            // As an object of its own, which is half there.
            let store = "ws/.git/carry/p.git";
            let id = lab.git(store, &["rev-parse", "refs/carry/trunk:a"]);
            let whole = lab.git(store, &["cat-file", "blob", &id]) + "\n";
            std::fs::write(lab.path("blob"), &whole).expect("written");
            let packs = lab.path(store).join("objects/pack");
            std::fs::rename(&packs, lab.path("packs")).expect("moved");
            std::fs::create_dir(&packs).expect("a folder");
            for entry in std::fs::read_dir(lab.path("packs")).expect("a folder").flatten() {
                if entry.path().extension().is_some_and(|e| e == "pack") {
                    let unpack = format!("git unpack-objects -q < '{}'", entry.path().display());
                    let made = Command::new("sh").args(["-c", &unpack]).current_dir(lab.path(store)).status();
                    assert!(made.expect("git runs").success());
                }
            }
            let object = lab.path(store).join("objects").join(&id[..2]).join(&id[2..]);
            let bytes = std::fs::read(&object).expect("an object");
            system("chmod", &["u+w", object.to_str().expect("a path")]);
            std::fs::write(object, &bytes[..bytes.len() / 2]).expect("written");
        }),
        ("the patches", false, |lab| {
            let patch = std::fs::read(lab.path("ws/patches/p/one.patch")).expect("a patch");
            std::fs::write(lab.path("ws/patches/p/one.patch"), &patch[..patch.len() - 40]).expect("written");
            lab.git("ws", &["commit", "-qam", "a bad merge"]);
        }),
    ];
    for (what, in_store, damage) in damages {
        let lab = lab();
        let before = state(&lab);
        damage(&lab);
        let out = lab.carry(&["nightly"]);
        let said = text(&out);
        assert!(matches!(out.status.code(), Some(1 | 2)), "{what}: {said}");
        assert!(said.contains("error: ") && said.contains("hint: "), "{what}: {said}");
        assert_eq!(lab.deployed(), before.0, "{what}");
        if in_store {
            // What to do is said, and it helps.
            let store = lab.path("ws/.git/carry/p.git").canonicalize().expect("a path");
            let (store, away) = (store.display().to_string(), format!("{}.damaged", store.display()));
            assert!(said.contains("the store of 'p' is damaged"), "{what}: {said}");
            assert!(said.contains(&format!("mv {store} {away}, then git carry nightly")), "{what}: {said}");
            std::fs::rename(store, away).expect("moved");
            recovers(&lab, &before);
        }
    }
}

#[test]
fn every_test_that_the_page_on_reliability_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/reliability.md")).expect("the page");
    let named: Vec<(&str, &str)> =
        page.split('`').skip(1).step_by(2).filter_map(|n| n.split_once("::")).collect();
    assert!(named.len() > 20, "it names tests: {named:?}");
    for (file, test) in named {
        let text = std::fs::read_to_string(root.join(format!("tests/{file}.rs"))).unwrap_or_default();
        let before = text.split_once(&format!("fn {test}(")).map(|(before, _)| before.trim_end());
        let attributes = before.and_then(|b| b.rsplit_once("\n\n")).map_or("", |(_, last)| last);
        assert!(attributes.contains("#[test]"), "{file}::{test} is not there");
    }
}

#[test]
fn a_file_of_300_mb_that_no_patch_touches_is_carried_along_and_never_read() {
    use wait4::Wait4 as _;
    const SIZE: u64 = 300 << 20;
    let lab = Lab::with_fork(&[("one", &[("a", Some(&numbered("a", &[(10, "ours")])))])]);
    lab.carry_code(0, &["nightly"]);
    let old = lab.git("up", &["rev-parse", "main"]);
    let mut large = std::fs::File::create(lab.path("up/large")).expect("a file");
    large.set_len(SIZE).expect("it is long");
    lab.git("up", &["add", "large"]);
    lab.commit("up", "a large file", &[("b", Some(&numbered("b", &[(3, "theirs")])))]);
    lab.carry_code(0, &["nightly"]);
    std::io::Seek::seek(&mut large, std::io::SeekFrom::End(0)).expect("its end");
    std::io::Write::write_all(&mut large, b"and more").expect("written");
    drop(large);
    lab.git("up", &["add", "large"]);
    lab.commit("up", "a larger file", &[("b", Some(&numbered("b", &[(4, "theirs")])))]);
    lab.carry_code(0, &["nightly"]);
    let size = lab.git("deploy.git", &["cat-file", "-s", "deploy/p:large"]);
    assert_eq!(size.parse::<u64>().ok(), Some(SIZE + 8));
    // Where it is, and back over all of it: a process that had read one such file would be larger than it.
    for args in [&["rebase", "--dry-run"][..], &["rebase", "--dry-run", "--onto", &old]] {
        let mut run = lab.carry_command("ws", args);
        let run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let used = run.wait4().expect("it ends");
        assert!(used.status.success());
        assert!(used.rusage.maxrss < SIZE / 2, "{args:?}: {} bytes", used.rusage.maxrss);
    }
}
