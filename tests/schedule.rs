//! Jobs that run the nights: each is what its own system takes, and the script that all of them call does a night.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::lab::{Lab, numbered};

fn lab() -> Lab {
    let a = numbered("a", &[(10, "ours")]);
    Lab::with_fork(&[("one", &[("a", Some(&a))])])
}

fn read(lab: &Lab, file: &str) -> String {
    std::fs::read_to_string(lab.path("ws").join(file)).expect("it is there")
}

/// A program of the validators (`tests/validators/requirements.txt`); where there are none the test says so and is
/// passed over, but not where tests must not be passed over.
fn validator(name: &str) -> Option<PathBuf> {
    let fixed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/validators");
    let folder = std::env::var_os("GIT_CARRY_VALIDATORS").map_or(fixed, PathBuf::from);
    let program = folder.join("bin").join(name);
    if program.exists() {
        return Some(program);
    }
    assert!(std::env::var_os("CI").is_none(), "no validators in {}", folder.display());
    eprintln!("passed over: no validators in {}", folder.display());
    None
}

/// Does the published schema of a CI system accept the file?
fn accepts(program: &Path, schema: &str, file: &Path) -> bool {
    let out = Command::new(program).args(["--builtin-schema", schema]).arg(file).output().expect("it runs");
    eprintln!("{}", String::from_utf8_lossy(&out.stdout));
    out.status.success()
}

#[test]
fn ci_jobs_are_what_their_systems_schemas_take() {
    let lab = lab();
    lab.carry_code(0, &["init", "--schedule", "github-actions"]);
    lab.carry_code(0, &["init", "--schedule", "gitlab-ci"]);
    lab.carry_code(0, &["init", "--schedule", "jenkins"]);
    assert!(lab.git("ws", &["status", "--porcelain"]).is_empty(), "all is committed");
    let Some(program) = validator("check-jsonschema") else { return };
    for (schema, file, key) in [
        ("vendor.github-workflows", ".github/workflows/git-carry.yml", "runs-on:"),
        ("vendor.gitlab-ci", ".gitlab-ci.yml", "  script:"),
    ] {
        assert!(accepts(&program, schema, &lab.path("ws").join(file)), "{file}");
        let wrong = lab.path("wrong.yml");
        std::fs::write(&wrong, read(&lab, file).replacen(key, "runs-onn:", 1)).expect("written");
        assert!(!accepts(&program, schema, &wrong), "{file} without {key}");
    }
}

#[test]
fn jobs_of_a_fleet_are_what_their_systems_take() {
    let (lab, alone) = (lab(), lab());
    for kind in ["slurm", "kubernetes"] {
        alone.carry_code(2, &["init", "--schedule", kind]);
    }
    alone.carry_code(2, &["init", "--fleet", "--schedule", "cron"]);
    for kind in ["slurm", "kubernetes", "github-actions", "gitlab-ci", "jenkins"] {
        lab.carry_code(0, &["init", "--fleet", "--schedule", kind]);
    }
    assert!(lab.git("ws", &["status", "--porcelain"]).is_empty(), "all is committed");
    for script in ["fleet.sh", "fleet-worker.sh", "fleet-gather.sh"] {
        let out =
            Command::new("sh").arg("-n").arg(lab.path("ws/schedule").join(script)).output().expect("sh runs");
        assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    }
    let written = |name: &str, args: &[&str]| {
        let text = lab.carry_code(0, &[&["--quiet", "fleet", "plan"], args].concat());
        std::fs::write(lab.path("ws").join(name), text).expect("written");
        name.to_owned()
    };
    let (pipeline, job) =
        (written("plan.yml", &["--format", "gitlab"]), written("job.json", &["--format", "k8s"]));
    let Some(program) = validator("check-jsonschema") else { return };
    for (schema, file, key) in [
        ("vendor.github-workflows", ".github/workflows/git-carry.yml", "runs-on:"),
        ("vendor.gitlab-ci", ".gitlab-ci.yml", "artifacts:"),
        ("vendor.gitlab-ci", "schedule/fleet-worker.yml", "script:"),
        ("vendor.gitlab-ci", &pipeline, "extends"),
    ] {
        assert!(accepts(&program, schema, &lab.path("ws").join(file)), "{file}");
        // What jobs only have in common is held to nothing there.
        if file.ends_with("fleet-worker.yml") {
            continue;
        }
        let wrong = lab.path("wrong.yml");
        let text = read(&lab, file).replace(key, &format!("un{key}"));
        std::fs::write(&wrong, text).expect("written");
        assert!(!accepts(&program, schema, &wrong), "{file} without {key}");
    }
    let Some(program) = validator("kubernetes-validate") else { return };
    let takes = |file: &Path| {
        let out = Command::new(&program).arg("--strict").arg(file).output().expect("it runs");
        eprintln!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        out.status.success()
    };
    for (file, key) in [("schedule/fleet-kubernetes.yml", "completions:"), (job.as_str(), "\"completions\"")]
    {
        assert!(takes(&lab.path("ws").join(file)), "{file}");
        let wrong = lab.path("wrong.yml");
        std::fs::write(&wrong, read(&lab, file).replacen(key, &key.replace('s', "z"), 1)).expect("written");
        assert!(!takes(&wrong), "{file} without {key}");
    }
}

#[test]
fn a_unit_and_a_timer_are_what_systemd_takes() {
    let lab = lab();
    let text = lab.carry_code(0, &["init", "--schedule", "systemd"]);
    assert!(text.contains("schedule/git-carry.timer"), "{text}");
    let verify = |files: [&str; 2]| {
        let files = files.map(|f| lab.path("ws/schedule").join(f));
        let out = Command::new("systemd-analyze")
            .args(["verify", "--user"])
            .args(&files)
            .env("XDG_RUNTIME_DIR", lab.path("."))
            .output()
            .ok()?;
        Some((out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned()))
    };
    let Some((good, said)) = verify(["git-carry.service", "git-carry.timer"]) else {
        assert!(std::env::var_os("CI").is_none(), "no systemd-analyze");
        eprintln!("passed over: no systemd-analyze");
        return;
    };
    assert!(good && !said.contains("git-carry"), "{said}");
    let wrong =
        read(&lab, "schedule/git-carry.timer").replace("OnCalendar=*-*-* 02:17:00", "OnCalendar=every night");
    std::fs::write(lab.path("ws/schedule/git-carry.timer"), wrong).expect("written");
    let (_, said) = verify(["git-carry.service", "git-carry.timer"]).expect("it is there");
    assert!(said.contains("every night"), "{said}");
}

#[test]
fn the_script_does_a_night_with_everyone_s_queue_and_ends_as_the_night_does() {
    let lab = lab();
    lab.carry_code(0, &["init", "--schedule", "cron"]);
    let line = read(&lab, "schedule/git-carry.cron");
    let line = line.lines().find(|l| l.contains("nightly.sh")).expect("a line").to_owned();
    assert!(line.starts_with("17 2 * * * sh '"), "{line}");
    // Another machine's workspace is where the queue is mended.
    lab.git(".", &["init", "-q", "--bare", "-b", "main", "queue.git"]);
    let branch = lab.git("ws", &["symbolic-ref", "--short", "HEAD"]);
    lab.git("ws", &["push", "-q", "-u", "../queue.git", &branch]);
    lab.git("ws", &["remote", "add", "origin", "../queue.git"]);
    lab.git("ws", &["fetch", "-q", "origin"]);
    lab.git("ws", &["branch", "-q", &format!("--set-upstream-to=origin/{branch}")]);
    lab.git(".", &["clone", "-q", "-b", &branch, "queue.git", "other"]);
    let series = std::fs::read_to_string(lab.path("other/patches/p/series")).expect("a series");
    lab.commit("other", "say why", &[("patches/p/series", Some(&format!("# of our own\n{series}")))]);
    lab.git("other", &["push", "-q"]);

    let binary = Path::new(env!("CARGO_BIN_EXE_git-carry")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").expect("a path"));
    let command = line.strip_prefix("17 2 * * * ").expect("its time").to_owned();
    let run = || {
        let mut shell = lab.carry_command(".", &[]);
        let env: Vec<(std::ffi::OsString, std::ffi::OsString)> =
            shell.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
        shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir("/").env_clear().envs(env).env("PATH", &path);
        let out = shell.output().expect("sh runs");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, said) = run();
    assert_eq!(code, Some(0), "{said}");
    assert!(read(&lab, "patches/p/series").starts_with("# of our own"));
    let head = || lab.git("ws", &["rev-parse", "HEAD"]);
    assert_eq!(lab.git("queue.git", &["rev-parse", &branch]), head(), "everyone has what the night wrote");
    assert_eq!(lab.git("deploy.git", &["show", "deploy/p:a"]), numbered("a", &[(10, "ours")]).trim_end());
    // A conflict ends it with 3, and what it wrote goes out all the same.
    lab.commit("up", "theirs", &[("a", Some(&numbered("a", &[(10, "theirs")])))]);
    assert_eq!(run().0, Some(3));
    assert_eq!(lab.git("queue.git", &["rev-parse", &branch]), head());
}

#[test]
fn a_file_that_says_something_else_is_left_alone_and_the_same_job_may_be_written_again() {
    let lab = lab();
    std::fs::write(lab.path("ws/Jenkinsfile"), "ours\n").expect("written");
    let text = lab.carry_code(2, &["init", "--schedule", "jenkins"]);
    assert!(text.contains("is there and says something else"), "{text}");
    assert_eq!(read(&lab, "Jenkinsfile"), "ours\n");
    lab.carry_code(0, &["init", "--schedule", "gitlab-ci"]);
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    lab.carry_code(0, &["init", "--schedule", "gitlab-ci"]);
    assert_eq!(lab.git("ws", &["rev-parse", "HEAD"]), head);
    lab.carry_code(2, &["init"]);
    lab.carry_code(2, &["init", "--project", "q"]);
}
