//! What comes from outside never makes a parser panic: arbitrary bytes, the demo's patches with damage, a patch without end.

use crate::support::lab::{Lab, numbered};
use bstr::ByteSlice;
use git_carry::build::manifest::Manifest;
use git_carry::queue::{
    Content, Patch, Series, import, parse_diff, patch_id, read_metadata, render, same_change,
};
use git_carry::store::Commit;
use git_carry::workspace::{Config, Lock};
use proptest::prelude::*;

/// The demo's patches: binary data, renames, modes, non-UTF-8 are among them.
fn patches() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/patches/cirrus");
    let files = std::fs::read_dir(folder).expect("the folder");
    let mut paths: Vec<_> = files.map(|f| f.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|p| std::fs::read(p).expect("a file")).collect()
}

/// One place of damage: where (in parts of the whole), how many bytes go, and what comes instead.
type Damage = (prop::sample::Index, usize, Vec<u8>);

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"@@ -1,99999999999999999999 +0 @@\n".to_vec()),
        Just(b"diff --git a/../x b/.git/config\n".to_vec()),
        Just(b"GIT binary patch\ndelta 3\n".to_vec()),
        Just(b"From: =?utf-8?q?=ZZ?=\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec((any::<prop::sample::Index>(), 0usize..40, piece), 0..5)
}

fn feed(bytes: &[u8]) {
    let _ = Patch::parse("x.patch", bytes.to_vec(), 1);
    let _ = parse_diff(b"x.patch", bytes, 1, 0);
    let _ = patch_id(bytes);
    let _ = read_metadata(bytes, &Vec::new());
    let _ = Series::parse("series", bytes);
    let _ = Commit::parse(bytes);
    let _ = import::mbox(bytes);
    let _ = Manifest::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Config::parse("carry.toml", text);
        let _ = Lock::parse("carry.lock", text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        feed(&bytes);
    }

    #[test]
    fn damaged_patches_are_read_or_refused(which in any::<prop::sample::Index>(), damage in damage()) {
        let all = patches();
        let mut bytes = which.get(&all).clone();
        for (at, gone, come) in damage {
            let at = at.index(bytes.len() + 1);
            let end = (at + gone).min(bytes.len());
            bytes.splice(at..end, come);
        }
        feed(&bytes);
    }
}

#[test]
fn a_patch_that_was_cut_off_before_its_diff_is_no_empty_one() {
    let lab = Lab::new();
    lab.commit("up", "base", &[("a", Some(&numbered("a", &[]))), ("b", Some(&numbered("b", &[])))]);
    lab.commit("up", "both", &[("a", Some(&numbered("a", &[(3, "x")]))), ("b", Some("short\n"))]);
    let whole = lab.git("up", &["format-patch", "--stdout", "-1"]);
    let (rule, diff) = (whole.find("---\n").expect("a rule"), whole.find("diff --git").expect("a diff"));
    let stat = &whole[rule + 4..diff];
    assert!(stat.lines().count() >= 3, "{stat}");
    let mut end = rule + 4;
    for line in stat.split_inclusive('\n') {
        end += line.len();
        let cut = Patch::parse("x.patch", whole.as_bytes()[..end].to_vec(), 1);
        let fault = cut.expect_err("a diffstat and no diff").to_string();
        assert!(fault.contains("the file was cut off"), "{fault}");
    }
    // One that is empty of itself is a patch: its message may be all that there is to say.
    lab.git("up", &["commit", "-q", "--allow-empty", "-m", "a note\n\nwith | 3 words"]);
    let empty = lab.git("up", &["format-patch", "--stdout", "--always", "-1"]);
    let empty = Patch::parse("x.patch", empty.into_bytes(), 1).expect("a patch");
    assert!(empty.changes().is_empty());
}

#[test]
fn a_binary_change_without_ids_is_the_same_as_itself() {
    let lab = Lab::new();
    lab.commit("up", "base", &[("a", Some("text\n"))]);
    lab.commit("up", "binary", &[("b", Some("\u{0}data")), ("c", Some("\u{0}other"))]);
    let whole = lab.git("up", &["format-patch", "--stdout", "--binary", "-1"]) + "\n";
    let bare: String = whole.split_inclusive('\n').filter(|line| !line.starts_with("index ")).collect();
    let [with, without] = [whole, bare]
        .map(|text| Patch::parse("x.patch", text.into_bytes(), 1).expect("a patch").changes().to_vec());
    assert!(with.iter().all(|c| c.new_id.is_some()) && without.iter().all(|c| c.new_id.is_none()));
    assert!(same_change(&without, &without) && same_change(&with, &without));
    assert!(!same_change(&without[..1], &without[1..]));
    let mut other = without.clone();
    other[0].content = without[1].content.clone();
    assert!(!same_change(&other, &without));
}

#[test]
fn a_patch_that_was_cut_off_in_its_header_is_no_empty_one() {
    let lab = Lab::new();
    lab.commit("up", "a subject\n\nwith a body\n\nof two parts", &[("a", Some("a\n"))]);
    let whole = |text: &str| Patch::parse("x.patch", text.into(), 1).map(|patch| patch.changes().len());
    let cut = |text: &str, end: usize| match Patch::parse("x.patch", text.as_bytes()[..end].to_vec(), 1) {
        Ok(patch) => panic!("an empty patch: {:?}", patch.bytes().as_bstr()),
        Err(fault) => fault.to_string(),
    };
    let git = |args: &[&str]| {
        lab.git("up", &[&["format-patch", "--output=../mail", "-1"], args].concat());
        std::fs::read_to_string(lab.path("mail")).expect("a mail")
    };
    // One that git writes, cut anywhere in its header, or in a line of its message.
    let patch = git(&[]);
    let body = patch.find("\n\n").expect("a body") + 2;
    let rule = patch.find("---\n").expect("a rule");
    for end in (1..rule + 3).filter(|end| *end < body || patch.as_bytes()[end - 1] != b'\n') {
        cut(&patch, end);
    }
    // One that is written here, cut anywhere before its rule.
    let ours = Patch::parse("x.patch", patch.clone().into_bytes(), 1).expect("a patch");
    let ours = String::from_utf8(render(&ours.header, b"")).expect("text");
    assert_eq!(whole(&ours), Ok(0), "{ours}");
    let rule = ours.find("---\n").expect("a rule");
    for end in 1..rule {
        let fault = cut(&ours, end);
        assert!(end < 76 || fault.contains("the file was cut off"), "{end}: {fault}");
    }
    // What is empty of itself is one, in whatever form git writes it.
    for message in ["a note", "a note\n\nand more of it"] {
        lab.git("up", &["commit", "-q", "--allow-empty", "-m", message]);
        for form in [&[][..], &["--no-signature"], &["--zero-commit"], &["--attach"], &["--base=HEAD~1"]] {
            assert_eq!(whole(&git(&[&["--always"], form].concat())), Ok(0), "{form:?}");
        }
    }
    // So is a header of quilt's or Debian's alone, which has no end of its own.
    assert_eq!(whole("Description: none yet\n more\nForwarded: no"), Ok(0));
}

#[test]
fn a_patch_with_a_hundred_thousand_hunks_applies_as_git_applies_it() {
    const HUNKS: usize = 100_000;
    let text = |changed: bool| -> String {
        let word = |n: usize| if changed && n % 4 == 1 { "ours" } else { "line" };
        (0..4 * HUNKS).map(|n| format!("{} {n}\n", word(n))).collect()
    };
    let lab = Lab::new();
    lab.commit("up", "base", &[("big", Some(&text(false))), ("b", Some(&numbered("b", &[])))]);
    lab.git("up", &["checkout", "-q", "-b", "fork"]);
    lab.commit("up", "many", &[("big", Some(&text(true)))]);
    lab.git("up", &["format-patch", "-q", "-U1", "-o", "../series", "main"]);
    let tree = lab.git("up", &["rev-parse", "fork^{tree}"]);
    lab.git("up", &["checkout", "-q", "main"]);
    let bytes = std::fs::read(lab.path("series/0001-many.patch")).expect("a patch");
    let patch = Patch::parse("many.patch", bytes, 1).expect("it is right");
    let Content::Text(hunks) = &patch.changes()[0].content else { panic!("it is text") };
    assert_eq!(hunks.len(), HUNKS);
    lab.carry_code(
        0,
        &["init", "--project", "p", "--upstream", "../up", "--branch", "main", "--remote", "../deploy.git"],
    );
    let taken = lab.json(0, &["import", "--patches", "../series"]);
    assert_eq!(taken["tree"], tree.as_str());
    let tip = lab.commit("up", "on", &[("b", Some(&numbered("b", &[(3, "theirs")])))]);
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!(night["trunk"]["to"], tip.as_str());
    lab.git("up", &["cherry-pick", "fork"]);
    assert_eq!(
        lab.git("deploy.git", &["rev-parse", "deploy/p^{tree}"]),
        lab.git("up", &["rev-parse", "main^{tree}"])
    );
}
