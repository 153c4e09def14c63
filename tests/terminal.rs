//! What the terminal shows, at several widths, plain and in colour, as it was looked at and found good. After a change:
//! look at `cargo insta review`, or run with `INSTA_UPDATE=always` and read the difference.

use std::path::Path;
use std::process::Command;

const CARRY: &str = env!("CARGO_BIN_EXE_git-carry");

const SHOWN: &[&[&str]] = &[
    &["status"],
    &["nightly", "--offline"],
    &["why", "scheduler-weigh-hosts-by-free-disk"],
    &["graph"],
    &["candidates"],
    &["stage", "list"],
    &["landed"],
];

fn run(at: &Path, args: &[&str], width: Option<u16>, colour: bool) -> String {
    let mut command = Command::new(CARRY);
    command.args(args).current_dir(at).env("GIT_CONFIG_GLOBAL", "/dev/null").env("COLUMNS", "40");
    // What counts days says the same on each of them.
    command.env("GIT_CARRY_NOW", "2026-11-25T12:00:00Z");
    command.envs(width.map(|w| ("GIT_CARRY_COLUMNS", w.to_string())));
    command.env(if colour { "CLICOLOR_FORCE" } else { "NO_COLOR" }, "1");
    let out = command.output().expect("it runs");
    let text = String::from_utf8(out.stdout).expect("text");
    format!("$ git carry {}\n{text}\n", args.join(" "))
}

#[test]
fn it_looks_as_it_should_on_narrow_and_wide_terminals_in_colour_and_without() {
    let dir = tempfile::tempdir().expect("a folder");
    let demo = dir.path().join("demo");
    let out = Command::new(CARRY)
        .args(["-q", "demo"])
        .arg(&demo)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ws = demo.join("workspace");
    run(&ws, &["nightly", "--offline"], None, false);
    let all = |width, colour| -> String {
        let all: String = SHOWN.iter().map(|args| run(&ws, args, width, colour)).collect();
        // The demo's builds came to their stages a moment ago.
        let moment = regex::Regex::new(r"\b\d+ s +").expect("a pattern");
        moment.replace_all(&all.replace(&*demo.to_string_lossy(), "DEMO"), "a moment ").into_owned()
    };
    for (name, width) in [("80", 80), ("120", 120), ("200", 200)] {
        insta::assert_snapshot!(name, all(Some(width), false));
    }
    let colour = all(Some(100), true);
    insta::assert_snapshot!("colour", colour.replace('\x1b', "␛"));
    // Colour is never alone: without it, nothing else is gone.
    let plain = anstream::adapter::strip_str(&colour).to_string();
    assert_eq!(plain, all(Some(100), false));
    // Into a pipe a table is whole, whatever its length.
    for args in [&["status"][..], &["candidates"], &["landed"]] {
        assert_eq!(run(&ws, args, None, false), run(&ws, args, Some(1000), false));
    }
}
