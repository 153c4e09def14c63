//! Help as shells and manual readers get it, by the built binary.

use std::path::Path;
use std::process::Command;

use crate::support::lab::{Lab, numbered};

fn lab() -> Lab {
    let a = numbered("a", &[(10, "ours")]);
    let lab = Lab::with_fork(&[
        ("quota: fix the race", &[("a", Some(&a))]),
        ("doc: a logo", &[("l", Some("l\n"))]),
    ]);
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let stage = "[[project.p.stage]]\nname = \"preprod\"\n";
    lab.commit("ws", "stage", &[("carry.toml", Some(&format!("{config}\n{stage}")))]);
    lab
}

/// What bash would offer for a line, asked in the way that `function` is called by it.
fn offered(lab: &Lab, function: &str, words: &[&str]) -> Vec<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_git-carry")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").expect("a path"));
    let script = "source <(git-carry completions bash); COMP_TYPE=9; COMP_CWORD=$(($# - 2)); f=$1; shift; COMP_WORDS=(\"$@\"); \
        \"$f\" \"$1\" \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let out = Command::new("bash")
        .args(["-c", script, "bash", function])
        .args(words)
        .current_dir(lab.path("ws"))
        .env("PATH", path)
        .output()
        .expect("bash runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
}

#[test]
fn bash_completes_commands_patches_builds_and_stages_for_git_carry_in_both_spellings() {
    let lab = lab();
    let build =
        lab.json(0, &["nightly"])[0]["manifest"]["deploy"]["build"].as_str().expect("a build").to_owned();
    for (function, first) in
        [("_clap_complete_git_carry", &["git-carry"][..]), ("_git_carry", &["git", "carry"])]
    {
        let ask = |words: &[&str]| offered(&lab, function, &[first, words].concat());
        assert_eq!(ask(&["bis"]), ["bisect"], "{function}");
        assert_eq!(ask(&["why", "q"]), ["quota-fix-the-race"], "{function}");
        assert_eq!(
            ask(&["why", ""])[..2],
            ["quota-fix-the-race", "doc-a-logo"],
            "{function}: in the queue's order"
        );
        assert_eq!(ask(&["stage", "promote", &build[..4]]), [build.as_str()], "{function}");
        assert_eq!(ask(&["stage", "check", "latest", "pre"]), ["preprod"], "{function}");
        assert_eq!(ask(&["status", "--project", ""]), ["p"], "{function}");
    }
    // Outside a workspace nothing is offered, and nothing disturbs the line.
    let out = lab
        .carry_command("up", &["--", "git-carry", "why", ""])
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "2")
        .output();
    let out = out.expect("the binary runs");
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn every_command_has_a_manual_page_with_examples() {
    let lab = lab();
    lab.carry_code(0, &["man", "--to", "man"]);
    let pages: Vec<String> = std::fs::read_dir(lab.path("ws/man"))
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let help = lab.carry_code(0, &["--help"]);
    let commands = help.split("Commands:").nth(1).and_then(|t| t.split("\n\n").next()).expect("commands");
    let mut count = 1;
    for command in commands.lines().filter_map(|l| l.strip_prefix("  ")?.split_whitespace().next()) {
        if commands.contains(&format!("\n  {command} ")) && command != "help" && !command.starts_with('[') {
            let page = format!("git-carry-{command}.1");
            assert!(pages.contains(&page), "{page} of {pages:?}");
            let text = std::fs::read_to_string(lab.path("ws/man").join(&page)).expect("a page");
            assert!(text.contains("Examples:") && text.contains(&format!("git carry {command}")), "{text}");
            count += 1;
        }
    }
    assert!(count > 25 && pages.contains(&"git-carry.1".to_owned()), "{count}: {pages:?}");
    // No page names another that is not there.
    let named = regex::Regex::new(r"git\\-carry[a-z\\-]*\(1\)").expect("a pattern");
    let mut names = 0;
    for page in &pages {
        let text = std::fs::read_to_string(lab.path("ws/man").join(page)).expect("a page");
        for name in named.find_iter(&text).map(|m| m.as_str().replace("\\-", "-").replace("(1)", ".1")) {
            assert!(pages.contains(&name) || name.ends_with("-help.1"), "{page} names {name}");
            names += 1;
        }
    }
    assert!(names > 30, "{names}");
    let text = lab.carry_code(2, &["man", "nonsense"]);
    assert!(text.contains("there is no command 'nonsense'"), "{text}");
}
