//! Signatures of builds, by the built binary, held against `ssh-keygen`: what it accepts, what is wrong with one, and keys that
//! cannot sign.

use std::process::{Command, Stdio};

use crate::artifacts::{FILES, SIGNING, bad, build, configure, key, lab, looks, read, signed};
use crate::support::lab::Lab;

/// What `ssh-keygen -Y verify` says of a manifest and its signature beside it.
fn ssh_keygen_accepts(lab: &Lab, manifest: &str, namespace: &str) -> bool {
    let file = std::fs::File::open(lab.path(manifest)).expect("a manifest");
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-I", "bot@example.org", "-n", namespace, "-f"]).arg(lab.path("allowed"));
    command.arg("-s").arg(lab.path(&format!("{manifest}.sig"))).stdin(file).stdout(Stdio::null());
    command.stderr(Stdio::null()).status().expect("ssh-keygen runs").success()
}

#[test]
fn ssh_keygen_accepts_the_signature_of_a_manifest_wherever_it_is_kept() {
    let lab = signed(FILES);
    let told = lab.carry_code(0, &["nightly", "--manifest", "../night.json"]);
    assert!(told.contains("signed by the key SHA256:"), "{told}");
    let (id, folder) = build(&lab);
    assert!(ssh_keygen_accepts(&lab, "night.json", "git-carry-manifest"));
    assert!(!ssh_keygen_accepts(&lab, "night.json", "file"), "a signature is for one purpose");

    lab.carry_code(0, &["manifest", "export", "../exported.json"]);
    assert!(ssh_keygen_accepts(&lab, "exported.json", "git-carry-manifest"));
    assert_eq!(read(&lab.path("exported.json")), read(&lab.path("night.json")));
    assert_eq!(read(&folder.join(format!("p-{id}.json"))), read(&lab.path("night.json")));
    assert_eq!(read(&folder.join(format!("p-{id}.json.sig"))), read(&lab.path("night.json.sig")));

    // It went out with the manifest.
    for kind in ["manifest", "signature"] {
        let name = format!("refs/carry/{kind}/p/{id}");
        let [here, there] =
            ["ws/.git/carry/p.git", "deploy.git"].map(|at| lab.git(at, &["rev-parse", &name]));
        assert_eq!(here, there, "{kind}");
    }
    assert!(bad(&looks(&lab, 0, &[])).is_empty());
    assert!(lab.carry_code(0, &["manifest", "show"]).contains("signed  by the key SHA256:"));
}

#[test]
fn what_is_wrong_with_a_signature_is_said() {
    let lab = signed("");
    lab.carry_code(0, &["nightly", "--manifest", "../m.json"]);
    let public = std::fs::read_to_string(lab.path("allowed")).expect("a file");
    let says = |words: &str| {
        let text = lab.carry_code(4, &["manifest", "verify", "../m.json"]);
        assert!(
            text.contains("NOT what its manifest says") && text.contains(words),
            "'{words}' is not in:\n{text}"
        );
    };
    let other = key(&lab, "other");
    std::fs::write(lab.path("allowed"), format!("bot@example.org {other}\n")).expect("written");
    says("which is not among them");
    let key_alone = public.split_once(' ').expect("a line").1;
    let expired = format!("bot@example.org valid-before=\"20200101Z\" {key_alone}");
    std::fs::write(lab.path("allowed"), expired).expect("written");
    says("not at this time");
    lab.carry_code(0, &["manifest", "verify", "../m.json", "--as-of", "2019-01-01T00:00:00Z"]);
    std::fs::write(lab.path("allowed"), &public).expect("written");
    configure(&lab, "");
    let config = lab.path("ws/carry.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text.replace("\n[signing]\n", "\n[signing]\nrevoked = \"../revoked\"\n"))
        .expect("written");
    std::fs::write(lab.path("revoked"), key_alone).expect("written");
    says("which is revoked");
    std::fs::write(lab.path("revoked"), format!("{other}\n")).expect("written");
    lab.carry_code(0, &["manifest", "verify", "../m.json"]);

    let sign = |namespace: &str| {
        std::fs::remove_file(lab.path("m.json.sig")).expect("it was there");
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(lab.path("bot"))
            .arg(lab.path("m.json"));
        assert!(command.stderr(Stdio::null()).status().expect("ssh-keygen runs").success());
    };
    sign("file");
    says("it was made for 'file'");
    sign("git-carry-manifest");
    lab.carry_code(0, &["manifest", "verify", "../m.json"]);
    std::fs::remove_file(lab.path("m.json.sig")).expect("it was there");
    says("it is not signed");
    lab.carry_code(0, &["manifest", "verify", "../m.json", "--allow-unsigned"]);
}

#[test]
fn a_key_that_cannot_sign_stops_the_night_before_anything_is_published() {
    let lab = lab(&format!("{SIGNING}{FILES}"));
    let head = lab.git("ws", &["rev-parse", "HEAD"]);
    let text = lab.carry_code(1, &["nightly"]);
    assert!(text.contains("the signing key") && text.contains("GIT_CARRY_SIGNING_KEY"), "{text}");
    std::fs::write(lab.path("bot"), "no key\n").expect("written");
    let text = lab.carry_code(1, &["nightly"]);
    assert!(text.contains("does not sign"), "{text}");
    assert_eq!(lab.git("ws", &["rev-parse", "HEAD"]), head);
    assert_eq!(lab.git("deploy.git", &["for-each-ref"]), "");
    assert_eq!(lab.git("ws/.git/carry/p.git", &["for-each-ref", "refs/carry/manifest"]), "");

    // The environment comes first.
    key(&lab, "good");
    let mut command = lab.carry_command("ws", &["nightly"]);
    command.env("GIT_CARRY_SIGNING_KEY", lab.path("good"));
    assert!(command.output().expect("the binary runs").status.success());
    let left: Vec<_> = std::fs::read_dir(lab.path("out")).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "nothing half-done stays: {left:?}");
}

#[test]
fn without_a_key_a_build_is_unsigned_and_that_is_said() {
    let lab = lab("");
    lab.carry_code(0, &["nightly", "--manifest", "../m.json"]);
    assert!(!lab.path("m.json.sig").exists());
    assert!(lab.carry_code(0, &["manifest", "show"]).contains("signed  not signed"));
    let text = lab.carry_code(0, &["manifest", "verify", "../m.json"]);
    assert!(text.contains("not checked") && text.contains("it is not signed"), "{text}");
    // Even so, a byte that differs from what was published is found.
    let text = String::from_utf8(read(&lab.path("m.json"))).expect("text");
    std::fs::write(lab.path("m.json"), text.replace("first change", "first chance")).expect("written");
    assert_eq!(bad(&looks(&lab, 4, &["../m.json"])), ["manifest"]);
}

#[test]
fn a_signature_is_not_put_beside_another_machine_s_manifest_of_the_same_build() {
    let lab = lab("");
    // A relative address is another one in each clone, and the manifest tells it.
    let config = lab.path("ws/carry.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text.replace("\"../up\"", &format!("{:?}", lab.path("up")))).expect("written");
    lab.git("ws", &["commit", "-q", "-a", "-m", "address"]);
    for clone in ["same", "other"] {
        lab.git(".", &["clone", "-q", "ws", clone]);
    }
    key(&lab, "bot");
    lab.carry_code(0, &["nightly"]);
    let id = build(&lab).0;
    let signed_night = |at: &str| {
        let mut command = lab.carry_command(at, &["nightly"]);
        let out = command.env("GIT_CARRY_SIGNING_KEY", lab.path("bot")).output().expect("the binary runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    let there = || lab.git("deploy.git", &["for-each-ref", "--format=%(refname)", "refs/carry/signature"]);
    // Its manifest lists files, and so is not the one that is published.
    let config = lab.path("other/carry.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, format!("{text}\n{FILES}")).expect("written");
    lab.git("other", &["commit", "-q", "-a", "-m", "files"]);
    signed_night("other");
    assert_eq!(there(), "");
    // This one's manifest is, to the byte.
    signed_night("same");
    assert_eq!(there(), format!("refs/carry/signature/p/{id}"));
}
