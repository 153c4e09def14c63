//! `git carry report` by the built binary: what it says in each form, and the page in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::lab::{Lab, numbered};
use serde_json::Value;

/// A queue of which one patch conflicts, one is blocked by it, one lands, one is clean and one was made anew, after
/// three nights; in between, another conflict came and went.
fn lab() -> Lab {
    let a = numbered("a", &[(10, "ours")]);
    let more = numbered("a", &[(10, "ours"), (11, "more of ours")]);
    let b = numbered("b", &[(3, "ours")]);
    let low = numbered("b", &[(3, "ours"), (28, "ours as well")]);
    let lab = Lab::with_fork(&[
        ("quota: fix the race\n\nCarry-Owner: Kim <kim@ops.example.com>", &[("a", Some(&a))]),
        ("quota: count again\n\nCarry-Owner: Kim <kim@ops.example.com>", &[("a", Some(&more))]),
        ("api: a page size\n\nForwarded: https://review.example.org/7", &[("b", Some(&b))]),
        ("api: cap it\n\nCarry-Group: paging", &[("b", Some(&low))]),
        ("doc: a logo", &[("l", Some("l\n"))]),
        ("doc: a word", &[("c", Some(&numbered("c", &[(5, "a word")])))]),
    ]);
    lab.carry_code(0, &["nightly"]);
    lab.git("up", &["tag", "night-1"]);
    let theirs = numbered("a", &[(10, "theirs")]);
    let c = numbered("c", &[(5, "their word")]);
    at_day(&lab, 1, "quota: rewrite", &[("a", Some(&theirs)), ("c", Some(&c))]);
    lab.carry_code(3, &["nightly"]);
    // The second one gives way, and the logo is taken.
    at_day(&lab, 4, "Revert the word", &[("c", Some(&numbered("c", &[])))]);
    at_day(&lab, 5, "doc: a logo", &[("l", Some("l\n"))]);
    at_day(&lab, 6, "three lines more", &[("b", Some(&format!("1\n2\n3\n{}", numbered("b", &[]))))]);
    lab.carry_code(3, &["nightly"]);
    lab
}

/// A commit of upstream's, so many days after the others.
fn at_day(lab: &Lab, day: i64, message: &str, files: &[(&str, Option<&str>)]) {
    lab.commit("up", message, files);
    let date = format!("{} +0000", 1_790_000_000 + day * 86_400);
    let mut command = Command::new("git");
    command.current_dir(lab.path("up")).env("GIT_COMMITTER_DATE", &date).env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_COMMITTER_NAME", "Up").env("GIT_COMMITTER_EMAIL", "up@example.org");
    let amend = ["commit", "-q", "--amend", "--no-edit", "--date", &date];
    assert!(command.args(amend).status().expect("git runs").success());
}

fn report(lab: &Lab, args: &[&str]) -> String {
    let out = lab.carry(&[&["report"], args].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

fn json(lab: &Lab, args: &[&str]) -> Value {
    lab.json(0, &[&["report"], args].concat())["projects"][0].clone()
}

/// Names of a list of changes.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|c| c["patch"].as_str().expect("a name")).collect()
}

/// The text with what differs from run to run taken out.
fn steady(text: &str) -> String {
    let line = |line: &str| match line.split_once("last run ") {
        Some((head, _)) => format!("{head}last run …"),
        None if line.starts_with("Made by") => "Made by git-carry …".to_owned(),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn it_says_what_stands_what_wants_whom_and_what_changed() {
    let lab = lab();
    let p = json(&lab, &[]);
    assert_eq!(p["state"], "deployable");
    let manifest = lab.json(0, &["manifest", "show"]);
    assert_eq!(p["build"]["commit"].as_str(), Some(lab.deployed().as_str()));
    assert_eq!(p["build"]["id"], manifest["deploy"]["build"]);
    let c = &p["changes"];
    assert_eq!(names(&c["still"]), ["quota-fix-the-race", "quota-count-again"]);
    assert_eq!(names(&c["fixed"]), ["doc-a-word"]);
    assert_eq!(names(&c["landed"]), ["doc-a-logo"]);
    assert!(names(&c["new"]).is_empty());

    let wants = p["wants"].as_array().expect("wants");
    assert_eq!(wants.len(), 1, "{wants:?}");
    assert_eq!(wants[0]["next"], "git carry resolve quota-fix-the-race");
    assert_eq!(wants[0]["owner"], "Kim <kim@ops.example.com>");

    // What it says of each patch is what the other commands say.
    let root = &p["patches"][0];
    let why = lab.json(0, &["why", "quota-fix-the-race"]);
    assert_eq!(root["culprit"], why["patch"]["culprit"]);
    assert_eq!(root["blocks"], why["blocks"]);
    let region = &root["conflicts"][0]["regions"][0];
    assert_eq!(region["line"], why["conflicts"][0]["regions"][0]["line"]);
    assert!(region["trunk"].as_array().expect("lines").contains(&"+theirs".into()), "{region}");
    assert!(region["patch"].as_array().expect("lines").contains(&"+ours".into()), "{region}");
    // Without it, and the two that it misses, the diff of the build is what git counts.
    let trends = &p["trends"];
    let last = trends["builds"].as_array().and_then(|b| b.last()).expect("builds");
    let counted =
        lab.git("deploy.git", &["diff", "--shortstat", "--no-renames", &base(&lab), &lab.deployed()]);
    let told = format!(" {} insertions(+), {} deletions(-)", last["lines"][0], last["lines"][1]);
    assert!(counted.ends_with(&told), "{counted} is not {told}");
    assert_eq!((last["roots"].as_u64(), last["blocked"].as_u64()), (Some(1), Some(1)));
    // The word was out from trunk's first day to its sixth.
    assert_eq!(names(&trends["mended"]), ["doc-a-word"]);
    assert_eq!(trends["median_days"], 5.0);
    assert_eq!(root["cost"], serde_json::json!({ "builds": 3, "out": 2, "refreshed": 0, "resolved": 0 }));
    assert_eq!(names(&p["landed"]), ["doc-a-logo"]);
}

fn base(lab: &Lab) -> String {
    lab.git("up", &["rev-parse", "main"])
}

#[test]
fn the_hottest_files_are_those_that_git_s_log_names_most_often() {
    let lab = lab();
    let p = json(&lab, &[]);
    let hottest = p["trends"]["hottest"].as_array().expect("files");
    for hot in hottest {
        let path = hot["path"].as_str().expect("a path");
        let commits = lab.git("up", &["rev-list", "--count", "--no-merges", "night-1..main", "--", path]);
        assert_eq!(hot["commits"].to_string(), commits, "{path}");
    }
    let (a, c) = (&hottest[0], &hottest[1]);
    // Two patches touch a, and two commits c: as hot as each other.
    assert_eq!((a["path"].as_str(), a["patches"].as_u64()), (Some("a"), Some(2)));
    assert_eq!((c["path"].as_str(), c["commits"].as_u64()), (Some("b"), Some(1)));
}

#[test]
fn since_goes_back_to_the_last_build_of_then() {
    let lab = lab();
    let day = |text: &str| json(&lab, &["--since", text]);
    let first = day("2026-09-21");
    assert_eq!(names(&first["changes"]["new"]), ["quota-fix-the-race", "quota-count-again"]);
    assert!(names(&first["changes"]["fixed"]).is_empty(), "it was well then");
    assert_eq!(first["trends"]["builds"].as_array().map(Vec::len), Some(3));
    let second = day("2026-09-23");
    assert_eq!(names(&second["changes"]["fixed"]), ["doc-a-word"]);
    assert_eq!(second["trends"]["builds"].as_array().map(Vec::len), Some(2));
    // Before everything: the oldest build is what there is.
    assert_eq!(day("2020-01-01")["changes"]["build"], first["changes"]["build"]);
    let said = lab.carry_code(2, &["report", "--since", "yesterday"]);
    assert!(
        said.contains("'yesterday' is no date") && said.contains("hint: git carry report --since"),
        "{said}"
    );
}

#[test]
fn a_night_that_published_nothing_is_told_with_its_reason_and_nothing_is_changed() {
    let a = numbered("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[("quota: fix the race\n\nCarry-Required: yes", &[("a", Some(&a))])]);
    let nothing = json(&lab, &[]);
    assert_eq!((nothing["state"].as_str(), nothing["build"].is_null()), (Some("no-build"), true));
    lab.carry_code(0, &["nightly"]);
    let built = lab.deployed();
    assert_eq!(json(&lab, &[])["state"], "deployable");
    let culprit = lab.commit("up", "quota: rewrite", &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    lab.carry_code(4, &["nightly"]);
    let refs = |lab: &Lab| lab.git("ws", &["--git-dir=.git/carry/p.git", "for-each-ref"]);
    let before =
        (refs(&lab), lab.git("ws", &["status", "--porcelain"]), lab.git("ws", &["rev-parse", "HEAD"]));
    let p = json(&lab, &[]);
    assert_eq!(p["state"], "refused");
    assert_eq!(p["build"]["commit"].as_str(), Some(built.as_str()), "the last build is what runs");
    assert_eq!(p["reasons"][0], "required patch 'quota-fix-the-race' conflicts");
    assert_eq!(
        (p["wants"][0]["press"].as_str(), p["wants"][0]["patch"].as_str()),
        (Some("stop"), Some("quota-fix-the-race"))
    );
    assert_eq!(p["patches"][0]["culprit"]["commit"].as_str(), Some(culprit.as_str()));
    let after =
        (refs(&lab), lab.git("ws", &["status", "--porcelain"]), lab.git("ws", &["rev-parse", "HEAD"]));
    assert_eq!(before, after);
    assert!(report(&lab, &["--format", "html"]).contains("The last night published nothing"));
}

#[test]
fn a_check_that_forbade_the_build_is_told_and_not_run_again() {
    let lab = Lab::with_fork(&[("doc: a word", &[("c", Some(&numbered("c", &[(5, "a word")])))])]);
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let log = lab.path("runs");
    let check = format!(
        "[[project.p.check]]\nname = \"unit\"\nrun = [\"sh\", \"-c\", \"echo run >> {}; ! grep -q bad b\"]\n",
        log.display()
    );
    lab.commit("ws", "a check", &[("carry.toml", Some(&format!("{config}\n{check}")))]);
    lab.carry_code(0, &["nightly"]);
    lab.commit("up", "break it", &[("b", Some(&numbered("b", &[(9, "bad")])))]);
    lab.carry_code(4, &["nightly"]);
    let runs = || std::fs::read_to_string(&log).expect("it ran").lines().count();
    let before = runs();
    let p = json(&lab, &[]);
    assert_eq!((p["state"].as_str(), runs()), (Some("refused"), before));
    let wants = p["wants"].as_array().expect("wants");
    assert!(wants.iter().any(|w| w["press"] == "stop" && w["what"] == "the check 'unit' fails"), "{wants:?}");
    // Where nothing is remembered, nothing is said of it, and nothing is run.
    std::fs::remove_dir_all(lab.path("ws/.git/carry/checks")).expect("it was there");
    assert_eq!((json(&lab, &[])["state"].as_str(), runs()), (Some("behind"), before));
}

#[test]
fn text_and_markdown_read_as_they_should() {
    // The ids in it are SHA-1.
    if std::env::var_os("GIT_DEFAULT_HASH").is_some() {
        return;
    }
    let lab = lab();
    insta::assert_snapshot!("text", steady(&report(&lab, &[])));
    insta::assert_snapshot!("markdown", steady(&report(&lab, &["--format", "md"])));
}

#[test]
fn the_name_of_the_file_says_the_form() {
    let lab = lab();
    for (name, start) in [
        ("r.html", "<!doctype html>"),
        ("r.md", "# p: deployable"),
        ("r.json", "{"),
        ("r.txt", "p  deployable"),
        ("r", "p  deployable"),
    ] {
        let out = lab.carry_code(0, &["report", "--to", name]);
        assert!(out.contains(&format!("written to {name}")), "{out}");
        let text = std::fs::read_to_string(lab.path("ws").join(name)).expect("it is written");
        assert!(text.trim_start().starts_with(start), "{name}: {}", &text[..60]);
        assert!(!text.contains('\u{1b}'), "{name} has colours");
    }
    // The old file stays if the new one cannot be written, and what is no file is not replaced.
    let said = lab.carry_code(1, &["report", "--to", "nowhere/r.html"]);
    assert!(said.contains("nowhere/r.html"), "{said}");
    let out = lab.carry(&["report", "--format", "md", "--to", "/dev/stdout"]);
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("# p: deployable"));
}

/// A project that cannot be read beside one that can.
#[test]
fn one_project_s_trouble_is_told_and_stops_no_other() {
    let lab = lab();
    lab.carry_code(0, &["init", "--project", "bad", "--upstream", "../up", "--branch", "main"]);
    std::fs::create_dir_all(lab.path("ws/patches/bad")).expect("a folder");
    lab.commit("ws", "a series without its patch", &[("patches/bad/series", Some("gone.patch\n"))]);
    let all = lab.json(0, &["report"]);
    let states: Vec<(&str, &str)> = all["projects"]
        .as_array()
        .expect("projects")
        .iter()
        .map(|p| (p["name"].as_str().expect("a name"), p["state"].as_str().expect("a state")))
        .collect();
    assert_eq!(states, [("bad", "unreadable"), ("p", "deployable")]);
    let text = report(&lab, &[]);
    assert!(text.starts_with("bad  cannot be read; one thing wants you;"), "{text}");
    let page = report(&lab, &["--format", "html"]);
    assert!(page.contains("<h2 id=\"index\">Projects</h2>") && page.contains("href=\"#x1\""));
    assert_eq!(json(&lab, &["--project", "p"])["name"], "p");
}

/// Everything that others name, as hostile as git lets it be; one patch conflicts, so that all of it is told.
fn hostile() -> Lab {
    let a = numbered("a", &[(10, "</pre><script>alert(5)</script>")]);
    let evil = "quota: <script>alert(1)</script> \u{1b}[31m \u{202e} [x](javascript:alert(1)) @everyone | `\n\n\
        Carry-Owner: \"><img src=x onerror=alert(2)> <o@example.org>\nCarry-Group: '\"></select><b>\n\
        Forwarded: <svg onload=alert(3)>";
    let path = "<i>\"a";
    let lab = Lab::with_fork(&[
        (evil, &[("a", Some(&a)), (path, Some("x\n"))]),
        ("doc: fine", &[("b", Some(&numbered("b", &[(2, "ours")])))]),
    ]);
    let patches = lab.path("ws/patches/p");
    let series = std::fs::read_to_string(patches.join("series")).expect("a series");
    let first = series.lines().next().expect("a patch").to_owned();
    let name = "x\"'><b>&lt;.patch";
    std::fs::rename(patches.join(&first), patches.join(name)).expect("renamed");
    std::fs::write(patches.join("series"), series.replace(&first, name)).expect("written");
    lab.git("ws", &["add", "-A"]);
    lab.git("ws", &["commit", "-qm", "a name"]);
    lab.carry_code(0, &["nightly"]);
    let theirs = numbered("a", &[(10, "theirs <u>")]);
    let subject = "<script>alert(6)</script> \u{1b}]0;title\u{7} | [y](javascript:alert(1))";
    lab.commit("up", subject, &[("a", Some(&theirs)), (path, Some("y\n"))]);
    lab.git("up", &["tag", "v<script>1"]);
    lab.carry_code(3, &["nightly"]);
    lab
}

#[test]
fn hostile_names_stay_text_in_every_form() {
    let lab = hostile();
    let seen = |text: &str| !text.contains(['\u{1b}', '\u{7}', '\u{202e}']);
    let text = report(&lab, &[]);
    assert!(seen(&text) && text.contains("x\"'><b>&lt; conflicts with trunk"), "{text}");
    let quoted = r#"git carry resolve 'x"'\''><b>&lt;'"#;
    assert!(text.contains(quoted), "{text}");
    let markdown = report(&lab, &["--format", "md"]);
    assert!(seen(&markdown), "{markdown}");
    let outside_code: String = markdown.replace("\\`", "").split('`').step_by(2).collect();
    for (live, inert) in
        [("<script", "\\<script"), ("<svg", "\\<svg"), ("](java", "\\](java"), ("@every", "@<!-- -->every")]
    {
        let rest = outside_code.replace(inert, "");
        assert!(!rest.contains(live), "{live} is live in\n{markdown}");
    }
    let page = report(&lab, &["--format", "html"]);
    assert!(seen(&page));
    assert_eq!(page.matches("<script").count(), 1, "the page's own");
    assert!(!page.contains("<img") && !page.contains("<svg onload"));
}

/// Node's modules and a Chromium; where there are none the test says so and is passed over, but not where tests must
/// not be passed over.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = ["chromium", "chromium-browser", "google-chrome"];
    let programs = std::env::split_paths(&path).flat_map(|dir| named.map(|name| dir.join(name)));
    let chromium = programs.into_iter().find(|program| program.is_file());
    match chromium.filter(|_| folder.join("node_modules/playwright-core").is_dir()) {
        Some(chromium) => Some((folder, chromium)),
        None => {
            assert!(std::env::var_os("CI").is_none(), "no Chromium, or no modules in {}", folder.display());
            eprintln!("passed over: no Chromium, or no modules in {} (see tests/browser)", folder.display());
            None
        }
    }
}

#[test]
fn the_page_works_in_a_real_browser_and_passes_an_accessibility_checker() {
    let Some((folder, chromium)) = browser() else { return };
    let (plain, hostile) = (lab(), hostile());
    for lab in [&plain, &hostile] {
        lab.carry_code(0, &["report", "--to", "report.html"]);
        lab.carry_code(0, &["report", "upstreaming", "--to", "upstreaming.html"]);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/report.mjs");
    let out = Command::new("node")
        .arg(script)
        .args([&folder, &chromium])
        .args([plain.path("ws/report.html"), hostile.path("ws/report.html")])
        .args([plain.path("ws/upstreaming.html"), hostile.path("ws/upstreaming.html")])
        .output()
        .expect("node runs");
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("all is well"), "{said}");
}
