//! Who lets a build go further, by the built binary: approvals by several people, signed records, and stages that take no build
//! without a signature.

use crate::stage::{as_person, configure, lab, next, refs, rewrite, unmet};
use serde_json::{Value, json};

#[test]
fn as_many_people_as_the_stage_asks_for_have_to_approve() {
    let (lab, a) = lab("[[project.p.stage]]\nname = \"prod\"\napprovals = 2\n");
    let text = lab.carry_code(4, &["stage", "promote", "latest", "prod"]);
    assert!(text.contains("0 of 2") && text.contains(&format!("git carry stage approve {a} prod")), "{text}");
    let approve = ["stage", "approve", "latest", "prod", "--reason", "looked at it"];
    for _ in 0..2 {
        // The same person counts once.
        assert!(as_person(&lab, "ws", "Ada", &approve).status.success());
    }
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert_eq!(unmet(&told, "approvals").as_deref(), Some("1 of 2: Ada"));
    let out = as_person(&lab, "ws", "Ada", &["--json", "stage", "approve", "latest", "prod"]);
    let said: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&said["already"], &said["counts"]), (&json!(true), &json!(true)));
    assert!(as_person(&lab, "ws", "Bob", &approve).status.success());
    lab.json(0, &["stage", "promote", "latest", "prod"]);
    // One word under two names is one word.
    let approvals = lab.git("deploy.git", &["for-each-ref", "--format=%(refname)", "refs/carry/approval"]);
    let [first, second] = approvals.lines().collect::<Vec<_>>()[..] else { panic!("two: {approvals}") };
    let folder = first.rsplit_once('/').expect("a path").0;
    lab.git("deploy.git", &["update-ref", &format!("{folder}/ffffffffffff"), first]);
    lab.git("deploy.git", &["update-ref", second, first]);
    lab.git("ws/.git/carry/p.git", &["update-ref", "-d", second]);
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert!(unmet(&told, "approvals").expect("one person").starts_with("1 of 2"), "{told}");
    lab.git("deploy.git", &["update-ref", "-d", second]);
    lab.git("ws/.git/carry/p.git", &["update-ref", "-d", second]);
    for name in ["Ada", "Bob"] {
        assert!(as_person(&lab, "ws", name, &approve).status.success());
    }
    // They approved that build, and no other.
    next(&lab, &[("new", "x\n")]);
    assert_eq!(
        unmet(&lab.json(4, &["stage", "check", "latest", "prod"]), "approvals").as_deref(),
        Some("0 of 2")
    );
}

#[test]
fn a_record_is_signed_and_an_approval_that_is_not_does_not_count() {
    let (lab, _) = lab("");
    let keygen = |name: &str| {
        let out = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(lab.path(name))
            .output()
            .expect("ssh-keygen runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::read_to_string(lab.path(&format!("{name}.pub"))).expect("a key")
    };
    let (ada, _mallory) = (keygen("ada"), keygen("mallory"));
    let config = std::fs::read_to_string(lab.path("ws/carry.toml")).expect("a configuration");
    let signing = format!(
        "{config}\n[signing]\nallowed_signers = \"allowed\"\n[[project.p.stage]]\nname = \"prod\"\napprovals = 1\n"
    );
    let allowed = format!("ada@example.org namespaces=\"git\" {ada}");
    lab.commit("ws", "signers", &[("carry.toml", Some(&signing)), ("allowed", Some(&allowed))]);

    let approve = |key: Option<&str>| {
        let mut command = lab.carry_command("ws", &["--json", "stage", "approve", "latest", "prod"]);
        if let Some(key) = key {
            command.env("GIT_CARRY_SIGNING_KEY", lab.path(key));
        }
        let out = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&out.stderr);
        serde_json::from_slice::<Value>(&out.stdout).unwrap_or_else(|e| panic!("{e}: {text}"))
    };
    for key in [None, Some("mallory")] {
        assert_eq!(approve(key)["counts"], false);
        let told = lab.json(4, &["stage", "check", "latest", "prod"]);
        assert!(unmet(&told, "approvals").expect("not met").contains("not counted: Test Author"), "{told}");
    }
    assert_eq!(approve(Some("ada"))["counts"], true);
    let mut promote = lab.carry_command("ws", &["stage", "promote", "latest", "prod"]);
    let out = promote.env("GIT_CARRY_SIGNING_KEY", lab.path("ada")).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));

    let signers = format!("gpg.ssh.allowedSignersFile={}", lab.path("ws/allowed").display());
    let verify = ["-c", "gpg.format=ssh", "-c", &signers, "verify-commit", "refs/carry/stage/p/prod"];
    lab.git("deploy.git", &verify);
    let log = lab.carry_code(0, &["stage", "log", "prod"]);
    assert!(log.contains("signed by ada@example.org"), "{log}");
    // What somebody else puts there by hand is not taken for signed.
    rewrite(&lab, "prod", |record| record["reason"] = "forged".into());
    assert!(!lab.git_works("deploy.git", &verify));
    let list = lab.carry_code(0, &["stage", "list"]);
    assert!(list.contains("not signed by one who may"), "{list}");
    // A key that is not there is told, and changes nothing.
    next(&lab, &[("new", "x\n")]);
    let before = refs(&lab);
    let mut promote = lab.carry_command("ws", &["stage", "promote", "latest", "prod", "--override", "now"]);
    let out = promote.env("GIT_CARRY_SIGNING_KEY", lab.path("no-key")).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && text.contains("no-key' cannot be read"), "{text}");
    assert_eq!(refs(&lab), before);
}

#[test]
fn a_stage_that_asks_for_a_signature_takes_no_build_without_one_by_one_who_may() {
    let (lab, _) =
        lab("[[project.p.stage]]\nname = \"prod\"\nrequires = [\"signed\"]\nhold_on = \"never\"\n");
    let key = lab.path("key");
    let out = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "night", "-f"])
        .arg(&key)
        .output()
        .expect("ssh-keygen runs");
    assert!(out.status.success());
    let public = std::fs::read_to_string(lab.path("key.pub")).expect("a key");
    configure(&lab, &format!("[signing]\nkey = \"{}\"\nallowed_signers = \"allowed\"\n", key.display()));
    let signers = |line: &str| lab.commit("ws", "signers", &[("allowed", Some(line))]);
    signers(&format!("somebody@example.org namespaces=\"git\" {public}"));
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert_eq!(unmet(&told, "signed").as_deref(), Some("the build is not signed"));
    let build = next(&lab, &[("new", "x\n")]);
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert!(unmet(&told, "signed").expect("not for this").contains("who may not sign this"), "{told}");
    signers(&format!("night@example.org {public}"));
    let told = lab.json(0, &["stage", "check", "latest", "prod"]);
    let gate =
        told["gates"].as_array().expect("gates").iter().find(|g| g["gate"] == "signed").expect("asked");
    assert_eq!(gate["why"], "signed by night@example.org");

    // Another manifest under the same name is not what was signed.
    let name = format!("refs/carry/manifest/p/{build}");
    let text = lab.git("deploy.git", &["cat-file", "blob", &name]).replacen("\"clean\"", "\"landed\"", 1);
    let out = crate::support::git_with_input(
        &lab.path("deploy.git"),
        &["hash-object", "-w", "--stdin"],
        text.as_bytes(),
    );
    lab.git("deploy.git", &["update-ref", &name, String::from_utf8_lossy(&out.stdout).trim()]);
    let told = lab.json(4, &["stage", "check", "latest", "prod"]);
    assert!(unmet(&told, "signed").expect("altered").starts_with("it is not what SHA256:"), "{told}");
}
