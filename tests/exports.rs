//! A build in the forms that other people's tools read, held against their own readers
//! (`tests/validators/requirements.txt` says which, and how to get them). Each of them must also refuse what is wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::lab::{Lab, numbered};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The folder with the validators: a Python environment. Where there is none the test says so and is passed over,
/// but not where tests must not be passed over.
fn validators() -> Option<PathBuf> {
    let fixed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/validators");
    let folder = std::env::var_os("GIT_CARRY_VALIDATORS").map_or(fixed, PathBuf::from);
    if folder.join("bin/python").exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no validators in {}", folder.display());
    eprintln!("passed over: no validators in {} (see tests/validators/requirements.txt)", folder.display());
    None
}

/// What a validator says of a document: its output if it accepts it.
fn accepts(lab: &Lab, kind: &str, document: &Value) -> Result<Vec<u8>, String> {
    let python = validators().expect("it was asked for before").join("bin/python");
    let file = lab.path("document.json");
    std::fs::write(&file, document.to_string()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validators/validate.py");
    let out = Command::new(python).arg(script).arg(kind).arg(&file).output().expect("python runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    match out.status.code() {
        Some(0) => Ok(out.stdout),
        Some(1) if !said.contains("Traceback") => Err(said),
        code => panic!("the validator failed ({code:?}): {said}"),
    }
}

/// A queue with patches of each kind, three nights old, on an upstream with an address.
fn lab() -> Lab {
    let [a, b, c] = [("a", 3), ("b", 9), ("c", 20)].map(|(file, line)| numbered(file, &[(line, "ours")]));
    let d = "first\u{0}binary".to_owned();
    let picked = "fix-b\n\nOrigin: upstream, https://h/x\nBug: https://bugs.example.org/show?id=77\nCVE: CVE-2026-1 CVE-2026-2\n";
    let lab = Lab::with_fork(&[
        ("ours alone", &[("a", Some(&a))]),
        (picked, &[("b", Some(&b))]),
        ("made to fit\n\nUpstream-Status: Backport [x]\nBug: not an address\n", &[("c", Some(&c))]),
        ("with a file of bytes", &[("d", Some(&d))]),
    ]);
    let path = lab.path("ws/carry.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let address = format!("upstream = \"file://{}\"", lab.path("up").display());
    let text = text.replace("upstream = \"../up\"", &address);
    std::fs::write(&path, format!("{text}\n[project.p.artifacts]\nfolder = \"../out\"\n")).expect("written");
    lab.git("ws", &["commit", "-q", "-a", "-m", "configure"]);
    lab.carry_code(0, &["nightly"]);
    lab.commit("up", "theirs", &[("a", Some(&numbered("a", &[(3, "theirs")])))]);
    lab.carry_code(3, &["nightly"]);
    lab
}

fn export(lab: &Lab, format: &str) -> Value {
    lab.carry_code(0, &["manifest", "export", "--format", format, "../export.json"]);
    serde_json::from_slice(&std::fs::read(lab.path("export.json")).expect("a file")).expect("JSON")
}

#[test]
fn a_cyclonedx_export_holds_the_patches_and_is_accepted_where_a_mutant_is_not() {
    let lab = lab();
    let bom = export(&lab, "cyclonedx");
    let manifest = lab.json(0, &["manifest", "show"]);
    let component = &bom["metadata"]["component"];
    let pedigree = &component["pedigree"];
    let patches = pedigree["patches"].as_array().expect("patches");
    let kinds: Vec<&str> = patches.iter().filter_map(|p| p["type"].as_str()).collect();
    // The first one conflicts, and is in no build.
    assert_eq!(kinds, ["cherry-pick", "backport", "unofficial"]);
    for patch in patches {
        let text = patch["diff"]["text"]["content"].as_str().expect("text");
        let file = lab.path("ws/patches/p").join(patch["diff"]["url"].as_str().expect("a name"));
        assert_eq!(STANDARD.decode(text).expect("base64"), std::fs::read(file).expect("a patch"));
    }
    let resolves: Vec<&str> =
        patches[0]["resolves"].as_array().expect("issues").iter().filter_map(|i| i["id"].as_str()).collect();
    assert_eq!(resolves, ["CVE-2026-1", "CVE-2026-2", "77"]);
    let swhid = format!("swh:1:rev:{}", manifest["deploy"]["commit"].as_str().expect("a commit"));
    assert_eq!(component["swhid"][0], swhid.as_str());
    assert_eq!(component["hashes"][0]["content"], manifest["artifacts"][0]["sha256"]);
    let purl = pedigree["ancestors"][0]["purl"].as_str().expect("a purl");
    assert!(purl.contains(manifest["trunk"]["commit"].as_str().expect("a commit")), "{purl}");
    assert_eq!(bom, export(&lab, "cyclonedx"), "the same build gives the same document");

    if validators().is_none() {
        return;
    }
    accepts(&lab, "cyclonedx", &bom).unwrap_or_else(|e| panic!("{e}"));
    let at = "/metadata/component/pedigree/patches/0";
    let mutants = [
        (format!("{at}/type"), json!("local")),
        (format!("{at}/order"), json!(1)),
        (format!("{at}/diff/text/encoding"), json!("hex")),
        (format!("{at}/resolves/0/type"), json!("cve")),
        ("/serialNumber".into(), json!("urn:uuid:1")),
        ("/metadata/timestamp".into(), json!("yesterday")),
        ("/metadata/component/pedigree/commits/0/author/email".into(), json!("nobody")),
        ("/metadata/component/pedigree/ancestors/0/purl".into(), json!("generic/x")),
    ];
    for (place, value) in mutants {
        let refused = accepts(&lab, "cyclonedx", &mutant(&bom, &place, value));
        assert!(refused.is_err(), "{place} was not held against anything");
    }
}

/// The document with another value at a place, which may be new.
fn mutant(document: &Value, place: &str, value: Value) -> Value {
    let mut other = document.clone();
    let (above, key) = place.rsplit_once('/').expect("a place");
    match other.pointer_mut(above).expect("it is there") {
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        Value::Array(list) => list[key.parse::<usize>().expect("a number")] = value,
        _ => panic!("{above} holds nothing"),
    }
    other
}

#[test]
fn an_in_toto_export_names_what_was_made_of_what_and_is_accepted_where_a_mutant_is_not() {
    let lab = lab();
    let statement = export(&lab, "in-toto");
    assert!(!lab.path("export.json.dsse").exists(), "there is no key");
    let manifest = lab.json(0, &["manifest", "show"]);
    assert_eq!(statement["subject"][0]["digest"]["gitCommit"], manifest["deploy"]["commit"]);
    assert_eq!(statement["subject"][1]["digest"]["sha256"], manifest["artifacts"][0]["sha256"]);
    let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    assert_eq!(dependencies[0]["digest"]["gitCommit"], manifest["trunk"]["commit"]);
    assert_eq!(dependencies[1]["digest"]["sha256"], manifest["patches"][1]["digest"]);
    assert_eq!(dependencies.as_array().map(Vec::len), Some(4));

    let schema = include_str!("validators/slsa-provenance-v1.schema.json");
    let schema = serde_json::from_str(schema).expect("JSON");
    let ours = jsonschema::validator_for(&schema).expect("a schema");
    assert!(
        ours.is_valid(&statement),
        "{:?}",
        ours.iter_errors(&statement).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    let definition = "/predicate/buildDefinition";
    // Other people's reader does not mind the first four.
    let mutants = [
        ("/predicate/runDetails/builder".to_owned(), json!({})),
        (format!("{definition}/buildType"), json!("")),
        ("/subject/0/digest/gitCommit".into(), json!("main")),
        (format!("{definition}/resolvedDependencies/0"), json!({ "name": "trunk" })),
        ("/_type".into(), json!("https://in-toto.io/Statement/v0.1")),
        ("/subject".into(), json!([])),
        ("/subject/0/digest".into(), json!({})),
        ("/predicate/builder".into(), json!({ "id": "x:y" })),
        (format!("{definition}/resolvedDependencies/0/commit"), json!("x")),
    ];
    for (at, (place, value)) in mutants.iter().enumerate() {
        let wrong = mutant(&statement, place, value.clone());
        assert!(!ours.is_valid(&wrong), "{place}");
        if at > 3 && validators().is_some() {
            assert!(accepts(&lab, "in-toto", &wrong).is_err(), "{place} was not held against anything");
        }
    }
    if validators().is_some() {
        accepts(&lab, "in-toto", &statement).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn an_envelope_is_signed_over_what_another_reader_works_out() {
    let lab = lab();
    let keygen = |args: &[&str]| {
        let mut command = Command::new("ssh-keygen");
        command.args(args).current_dir(lab.path(".")).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(keygen(&["-q", "-t", "ed25519", "-N", "", "-f", "bot"]).status().expect("it runs").success());
    let public = std::fs::read_to_string(lab.path("bot.pub")).expect("a key");
    std::fs::write(lab.path("allowed"), format!("bot {public}")).expect("written");
    let mut command =
        lab.carry_command("ws", &["manifest", "export", "--format", "in-toto", "../export.json"]);
    let out = command.env("GIT_CARRY_SIGNING_KEY", lab.path("bot")).output().expect("the binary runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let read = |name: &str| std::fs::read(lab.path(name)).expect("a file");
    let envelope: Value = serde_json::from_slice(&read("export.json.dsse")).expect("JSON");
    assert_eq!(
        STANDARD.decode(envelope["payload"].as_str().expect("text")).expect("base64"),
        read("export.json")
    );
    let sig = envelope["signatures"][0]["sig"].as_str().expect("text");
    std::fs::write(lab.path("sig"), STANDARD.decode(sig).expect("base64")).expect("written");
    let good = |signed: &[u8]| {
        std::fs::write(lab.path("signed"), signed).expect("written");
        let args = ["-Y", "verify", "-f", "allowed", "-I", "bot", "-n", "git-carry-statement", "-s", "sig"];
        let file = std::fs::File::open(lab.path("signed")).expect("a file");
        keygen(&args).stdin(file).status().expect("it runs").success()
    };
    if validators().is_none() {
        return;
    }
    let signed = accepts(&lab, "dsse", &envelope).unwrap_or_else(|e| panic!("{e}"));
    assert!(good(&signed));
    let other = read("export.json").iter().map(|b| if *b == b'4' { b'5' } else { *b }).collect::<Vec<u8>>();
    let other = mutant(&envelope, "/payload", json!(STANDARD.encode(other)));
    assert!(
        !good(&accepts(&lab, "dsse", &other).unwrap_or_default()),
        "another payload is not what was signed"
    );
    assert!(accepts(&lab, "dsse", &mutant(&envelope, "/signatures", json!([{}]))).is_err());
}
