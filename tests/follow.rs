//! Upstream changes that have not merged are carried: taken in, brought up to date, and gone once they are merged.

use serde_json::Value;

use crate::support::http;
use crate::support::lab::{Lab, numbered};
use crate::upstream::{configure, text};

const REF: &str = "refs/pull/7/head";

/// A workspace with one patch, whose upstream is served over HTTP and has a branch that is to be merged one day.
fn lab() -> (Lab, String) {
    let lab = Lab::with_fork(&[("Ours", &[("b", Some(&numbered("b", &[(5, "ours")])))])]);
    let served = http::serve(&lab.path("."));
    configure(&lab, &github(&served));
    lab.git("up", &["branch", "-q", "theirs", "main"]);
    (lab, served)
}

fn github(served: &str) -> String {
    format!(
        "[project.p.forge]\nkind = \"github\"\napi = \"https://github.invalid/api/v3\"\nrepository = \"up/thing\"\n\
         push = \"git@github.invalid:me/thing.git\"\nfetch = \"{served}/up/.git\"\n"
    )
}

/// Commits to the branch that is proposed, and shows it at the ref where the forge keeps it.
fn propose(lab: &Lab, at: &str, message: &str, files: &[(&str, Option<&str>)]) -> String {
    lab.git("up", &["checkout", "-q", "theirs"]);
    let id = lab.commit("up", message, files);
    lab.git("up", &["update-ref", at, &id]);
    lab.git("up", &["checkout", "-q", "main"]);
    id
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(text).collect()
}

fn read(lab: &Lab, file: &str) -> String {
    std::fs::read_to_string(lab.path(&format!("ws/patches/p/{file}"))).expect("a file")
}

fn deployed(lab: &Lab, path: &str) -> String {
    lab.git("deploy.git", &["cat-file", "blob", &format!("deploy/p:{path}")]) + "\n"
}

const PULL: &str = "https://github.invalid/up/thing/pull/7";

#[test]
fn a_pull_request_is_carried_at_its_newest_revision_and_leaves_when_it_is_merged() {
    let (lab, _) = lab();
    let first =
        "Theirs\n\nWhat it is for.\n\nCarry-Required: yes\nUpstream-Status: Backport\nSigned-off-by: T <t@h>";
    let one = propose(&lab, REF, first, &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    let night = lab.json(0, &["add", "--pr", "7", "--first"]);
    let followed = &night["followed"][0];
    assert_eq!((text(&followed["url"]), text(&followed["to"])), (PULL, one.as_str()));
    assert_eq!(names(&followed["patches"]), ["Theirs"]);
    assert_eq!(read(&lab, "series"), "Theirs.patch\nOurs.patch\n");
    let patch = read(&lab, "Theirs.patch");
    assert!(patch.contains(&format!("\nForwarded: {PULL}\n")), "{patch}");
    assert!(patch.contains(&format!("\nCarry-Follows: {one} ")), "{patch}");
    assert!(patch.contains("\nSigned-off-by: T <t@h>\n"), "{patch}");
    assert!(
        !patch.contains("Carry-Required") && !patch.contains("Upstream-Status"),
        "what is ours to say: {patch}"
    );
    lab.carry_code(0, &["nightly"]);
    assert_eq!(deployed(&lab, "a"), numbered("a", &[(10, "theirs")]));

    // It is upstream's own: it is not sent there once more.
    let told = lab.carry_code(4, &["upstream", "Theirs"]);
    assert!(told.contains("not for upstream: Carry-Follows"), "{told}");
    let told = lab.carry_code(1, &["add", "--pr", "7"]);
    assert!(told.contains("newest revision already: Theirs"), "{told}");
    let told = lab.carry_code(1, &["add", "--pr", "8"]);
    assert!(told.contains("pull/8' is not there"), "{told}");

    // A night without news writes nothing; what is said of the patch here outlives a new revision.
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    lab.carry_code(0, &["nightly"]);
    assert_eq!(lab.git("ws", &["rev-parse", "HEAD"]), head);
    let owned = patch.replace("\nForwarded:", "\nCarry-Owner: O <o@example.org>\nForwarded:");
    lab.commit("ws", "an owner", &[("patches/p/Theirs.patch", Some(&owned))]);
    lab.git("up", &["checkout", "-q", "-B", "theirs", "main"]);
    let text_two = numbered("a", &[(10, "theirs"), (11, "and more")]);
    propose(&lab, REF, "Theirs, better\n\nWhat it is for.", &[("a", Some(&text_two))]);
    let two = propose(&lab, REF, "Tests of it", &[("t", Some("test\n"))]);
    let night = &lab.json(0, &["nightly"])[0];
    let followed = &night["followed"][0];
    assert_eq!((text(&followed["from"]), text(&followed["to"])), (one.as_str(), two.as_str()));
    assert_eq!(names(&followed["patches"]), ["Theirs-better", "Tests-of-it"]);
    assert_eq!(read(&lab, "series"), "Theirs-better.patch\nTests-of-it.patch\nOurs.patch\n");
    assert_eq!(deployed(&lab, "a"), text_two);
    assert_eq!(deployed(&lab, "t"), "test\n");
    // What is shown is git's own comparison of the two.
    let store = "ws/.git/carry/p.git";
    let range = |tip: &str| format!("main..{tip}");
    let (old, new) = (range(&one), range(&two));
    let by_git = ["range-diff", "--no-color", "--no-notes", "--creation-factor=90", &old, &new];
    assert_eq!(text(&followed["range_diff"]).trim_end(), lab.git("up", &by_git));
    let commit = lab.git("ws", &["log", "--format=%B", &format!("{head}..HEAD")]);
    assert!(commit.contains(&format!("follow {PULL} from {} to {}", &one[..12], &two[..12])), "{commit}");
    lab.git(store, &["fsck", "--strict", "--no-dangling"]);

    // As many patches as before, of which one has a new first line: it keeps its file, its line and its owner.
    let owned =
        read(&lab, "Theirs-better.patch").replace("\nForwarded:", "\nCarry-Owner: O <o@h>\nForwarded:");
    lab.commit("ws", "an owner", &[("patches/p/Theirs-better.patch", Some(&owned))]);
    lab.git("up", &["checkout", "-q", "-B", "theirs", "main"]);
    propose(&lab, REF, "Theirs, best\n\nWhat it is for.", &[("a", Some(&numbered("a", &[(10, "best")])))]);
    let three = propose(&lab, REF, "Tests of it", &[("t", Some("test\n"))]);
    let told = lab.carry_code(0, &["nightly"]);
    let new = format!("{PULL} has a new revision, {} after {}", &three[..12], &two[..12]);
    assert!(told.contains(&new) && told.contains("+theirs") | told.contains("best"), "{told}");
    assert_eq!(read(&lab, "series"), "Theirs-better.patch\nTests-of-it.patch\nOurs.patch\n");
    assert_eq!(deployed(&lab, "a"), numbered("a", &[(10, "best")]));

    // Upstream merges it: the patches land, and nothing is followed any more.
    lab.git("up", &["merge", "-q", "--no-ff", "--no-edit", "theirs"]);
    let night = &lab.json(0, &["nightly"])[0];
    let landed = Lab::outcomes(night);
    let landed: Vec<&str> = landed.iter().filter(|(_, o)| o == "landed").map(|(n, _)| n.as_str()).collect();
    assert_eq!(landed, ["Theirs-better", "Tests-of-it"]);
    assert_eq!(read(&lab, "series"), "Ours.patch\n");
}

#[test]
fn what_was_changed_here_is_not_lost_to_a_new_revision() {
    let (lab, _) = lab();
    propose(&lab, REF, "Theirs", &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    lab.carry_code(0, &["add", "--pr", "7"]);
    // A refresh is no change: trunk moves beside the lines.
    lab.commit("up", "near", &[("a", Some(&numbered("a", &[(8, "near"), (14, "near")])))]);
    lab.carry_code(0, &["nightly"]);
    lab.git("up", &["checkout", "-q", "-B", "theirs", "main"]);
    let two = numbered("a", &[(8, "near"), (10, "theirs, two"), (14, "near")]);
    propose(&lab, REF, "Theirs", &[("a", Some(&two))]);
    lab.carry_code(0, &["nightly"]);
    assert_eq!(deployed(&lab, "a"), two);
    // An edit is.
    let edited = read(&lab, "Theirs.patch").replace("+theirs, two", "+theirs, ours");
    lab.commit("ws", "by hand", &[("patches/p/Theirs.patch", Some(&edited))]);
    lab.git("up", &["checkout", "-q", "-B", "theirs", "main"]);
    let three = numbered("a", &[(8, "near"), (10, "theirs, three"), (14, "near")]);
    propose(&lab, REF, "Theirs", &[("a", Some(&three))]);
    let told = lab.carry_code(0, &["nightly"]);
    assert!(told.contains("was changed here") && told.contains("git carry add --pr 7 --replace"), "{told}");
    assert!(deployed(&lab, "a").contains("theirs, ours"));
    let told = lab.carry_code(1, &["add", "--pr", "7"]);
    assert!(told.contains("was changed here: Theirs"), "{told}");
    lab.carry_code(0, &["add", "--pr", "7", "--replace"]);
    assert!(read(&lab, "Theirs.patch").contains("+theirs, three"));
}

#[test]
fn a_change_with_merges_is_one_patch_and_one_that_cannot_be_asked_for_stays() {
    let (lab, served) = lab();
    propose(&lab, REF, "Theirs", &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    lab.commit("up", "trunk", &[("c", Some("trunk\n"))]);
    lab.git("up", &["checkout", "-q", "theirs"]);
    lab.git("up", &["merge", "-q", "--no-edit", "main"]);
    lab.git("up", &["checkout", "-q", "main"]);
    let two = numbered("a", &[(10, "theirs"), (20, "theirs")]);
    propose(&lab, REF, "More of it", &[("a", Some(&two))]);
    let night = lab.json(0, &["add", "--pr", "7"]);
    assert_eq!(names(&night["followed"][0]["patches"]), ["Theirs"]);
    assert!(text(&night["followed"][0]["note"]).contains("merges"), "{night}");
    let stat = lab.git("ws", &["apply", "--numstat", "patches/p/Theirs.patch"]);
    assert_eq!(stat, "2\t2\ta", "trunk's own is none of it");

    lab.git("up", &["update-ref", "-d", REF]);
    let told = lab.carry_code(0, &["nightly"]);
    assert!(told.contains("is not there any more; it stays as it is"), "{told}");
    configure(&lab, &github(&format!("{served}/nowhere")));
    let told = lab.carry_code(0, &["nightly"]);
    assert!(told.contains("could not be asked for, and stays as it is"), "{told}");
    assert_eq!(deployed(&lab, "a"), two);
}

#[test]
fn a_change_under_review_is_followed_from_patch_set_to_patch_set() {
    let (lab, served) = lab();
    configure(
        &lab,
        &format!(
            "[project.p.forge]\nkind = \"gerrit\"\napi = \"https://review.invalid\"\nrepository = \"group/thing\"\n\
             push = \"{served}/up/.git\"\n"
        ),
    );
    let message = "Theirs\n\nChange-Id: I0123456789012345678901234567890123456789";
    propose(&lab, "refs/changes/12/4012/9", message, &[("a", Some(&numbered("a", &[(10, "nine")])))]);
    lab.git("up", &["update-ref", "refs/changes/12/4012/meta", "main"]);
    lab.carry_code(0, &["add", "--change", "4012"]);
    let patch = read(&lab, "Theirs.patch");
    assert!(patch.contains("\nForwarded: https://review.invalid/c/group/thing/+/4012\n"), "{patch}");
    lab.git("up", &["checkout", "-q", "-B", "theirs", "main"]);
    let ten = numbered("a", &[(10, "ten")]);
    propose(&lab, "refs/changes/12/4012/10", message, &[("a", Some(&ten))]);
    // The REST interface cannot be reached: what is followed needs none.
    lab.carry_code(0, &["nightly"]);
    assert_eq!(deployed(&lab, "a"), ten);
    let told = lab.carry_code(1, &["add", "--pr", "7"]);
    assert!(told.contains("kind = \"github\""), "{told}");
}

#[test]
fn a_branch_that_is_called_like_a_pull_request_is_none() {
    let (lab, _) = lab();
    let theirs = propose(&lab, REF, "Theirs", &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    propose(&lab, &format!("refs/heads/{REF}"), "Evil", &[("a", Some(&numbered("a", &[(10, "evil")])))]);
    let night = lab.json(0, &["add", "--pr", "7"]);
    assert_eq!(text(&night["followed"][0]["to"]), theirs);
    lab.git("up", &["update-ref", "-d", REF]);
    let told = lab.carry_code(0, &["nightly"]);
    assert!(told.contains("is not there any more"), "{told}");
}

#[test]
fn a_change_for_another_branch_brings_nothing_of_that_branch() {
    let (lab, served) = lab();
    // The queue follows main; upstream works on `next`, which is far ahead.
    lab.git("up", &["checkout", "-q", "-b", "next"]);
    for n in 0..260 {
        lab.git(
            "up",
            &[
                "-c",
                "user.name=T",
                "-c",
                "user.email=t@h",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                &format!("{n}"),
            ],
        );
    }
    lab.commit("up", "ahead", &[("c", Some("next\n"))]);
    lab.git("up", &["branch", "-qf", "theirs", "next"]);
    lab.git("up", &["checkout", "-q", "main"]);
    propose(&lab, REF, "Theirs", &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    let told = lab.carry_code(1, &["add", "--pr", "7"]);
    assert!(told.contains("262 commits") && told.contains("'branch' in [project.X.forge]"), "{told}");
    configure(&lab, &(github(&served) + "branch = \"next\"\n"));
    let night = lab.json(0, &["add", "--pr", "7"]);
    assert_eq!(names(&night["followed"][0]["patches"]), ["Theirs"]);
    assert!(!read(&lab, "Theirs.patch").contains("next"));
}

#[test]
fn openshift_s_tags_say_what_goes_with_the_next_move_of_trunk() {
    let lab = Lab::with_fork(&[
        ("UPSTREAM: <carry>: Ours", &[("a", Some(&numbered("a", &[(10, "ours")])))]),
        ("UPSTREAM: <drop>: Generated", &[("gen", Some("gen\n"))]),
        ("No tag", &[("b", Some(&numbered("b", &[(10, "ours")])))]),
    ]);
    let policy = |tags: &str| {
        let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
        let config: String =
            config.lines().filter(|l| !l.starts_with("tags = ")).map(|l| format!("{l}\n")).collect();
        let tags = format!("[project.p.policy]\ntags = \"{tags}\"");
        lab.commit("ws", "policy", &[("carry.toml", Some(&config.replace("[project.p.policy]", &tags)))]);
    };
    let names = || -> Vec<String> {
        read(&lab, "series").lines().map(|l| l.trim_end_matches(".patch").to_owned()).collect()
    };
    lab.carry_code(0, &["nightly"]);
    let all = names();
    policy("soft");
    lab.carry_code(0, &["nightly"]);
    assert_eq!(names(), all, "trunk has not moved");
    lab.commit("up", "on", &[("c", Some("1\n"))]);
    let night = &lab.json(0, &["nightly"])[0];
    assert_eq!((text(&night["dropped"][0]["patch"]), names().len()), (all[1].as_str(), 2));
    assert!(!lab.git_works("deploy.git", &["cat-file", "-e", "deploy/p:gen"]));
    assert!(lab.git("ws", &["log", "-2", "--format=%B"]).contains(&format!("{}: UPSTREAM: <drop>", all[1])));
    policy("strict");
    lab.commit("up", "on", &[("c", Some("2\n"))]);
    let told = lab.carry_code(0, &["nightly"]);
    assert!(told.contains("No-tag: its first line has no UPSTREAM: tag"), "{told}");
    assert_eq!(names(), all[..1]);
    let file = format!("patches/p/{}.patch", all[0]);
    let patch = read(&lab, &format!("{}.patch", all[0])).replace("<carry>", "<cary>");
    lab.commit("ws", "a slip", &[(&file, Some(&patch))]);
    let told = lab.carry_code(2, &["nightly"]);
    assert!(told.contains("unknown tag '<cary>'") && told.contains(&file), "{told}");
}
