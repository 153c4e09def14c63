//! A build as an in-toto Statement v1 with SLSA provenance v1, and as a DSSE envelope around it
//! (<https://github.com/in-toto/attestation>, <https://slsa.dev/spec/v1.1/provenance>). No clock: the same manifest gives
//! the same bytes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::manifest::Manifest;
use super::signature::key_of;

/// What an envelope holds.
const PAYLOAD: &str = "application/vnd.in-toto+json";
/// How a build is made: each patch applied in order on the trunk commit.
const BUILD_TYPE: &str = "urn:git-carry:replay:v1";
/// Who makes it.
const BUILDER: &str = "urn:git-carry:builder";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Resource>,
    predicate_type: &'static str,
    predicate: Provenance,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provenance {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: &'static str,
    external_parameters: Parameters,
    resolved_dependencies: Vec<Resource>,
}

#[derive(Serialize)]
struct Parameters {
    project: String,
    upstream: String,
    branch: String,
    history: String,
    committer: String,
    patches: Vec<String>,
}

#[derive(Serialize)]
struct RunDetails {
    builder: Builder,
    metadata: RunMetadata,
    byproducts: Vec<Resource>,
}

#[derive(Serialize)]
struct Builder {
    id: &'static str,
    version: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunMetadata {
    invocation_id: String,
}

/// The statement, as JSON text: the deploy commit and the build's files were made of this trunk commit and these
/// patches. `digest` is the SHA-256 of the manifest.
pub fn statement(manifest: &Manifest, digest: &str) -> Result<String, serde_json::Error> {
    let deploy = &manifest.deploy;
    let commit = Resource {
        name: Some(deploy.branch.clone()),
        digest: [("gitCommit", deploy.commit.clone()), ("gitTree", deploy.tree.clone())].into(),
        ..Resource::default()
    };
    let file = |name: &str, sha256: &str| Resource {
        name: Some(name.to_owned()),
        digest: [("sha256", sha256.to_owned())].into(),
        ..Resource::default()
    };
    let files = manifest.artifacts.iter().map(|a| file(&a.name, &a.sha256));
    let trunk = &manifest.trunk;
    let mut dependencies = vec![Resource {
        name: Some("trunk".into()),
        uri: trunk.address.contains("://").then(|| format!("git+{}@{}", trunk.address, trunk.branch)),
        digest: [("gitCommit", trunk.commit.clone())].into(),
        ..Resource::default()
    }];
    if let Some(previous) = deploy.previous.as_ref().filter(|_| deploy.history == "fast-forward") {
        dependencies.push(Resource {
            name: Some("previous build".into()),
            digest: [("gitCommit", previous.clone())].into(),
            ..Resource::default()
        });
    }
    let stack = || manifest.patches.iter().filter_map(|p| Some((p, p.commit.as_ref()?)));
    dependencies.extend(stack().map(|(p, commit)| Resource {
        media_type: Some("text/x-patch"),
        annotations: [("commit", commit.clone()), ("outcome", p.outcome.word().to_owned())].into(),
        ..file(&p.file, &p.digest)
    }));
    let [name, email] = &deploy.committer;
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: [commit].into_iter().chain(files).collect(),
        predicate_type: "https://slsa.dev/provenance/v1",
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                external_parameters: Parameters {
                    project: manifest.project.clone(),
                    upstream: trunk.address.clone(),
                    branch: trunk.branch.clone(),
                    history: deploy.history.clone(),
                    committer: format!("{name} <{email}>"),
                    patches: stack().map(|(p, _)| p.file.clone()).collect(),
                },
                resolved_dependencies: dependencies,
            },
            run_details: RunDetails {
                builder: Builder {
                    id: BUILDER,
                    version: [(manifest.tool.name.clone(), manifest.tool.version.clone())].into(),
                },
                metadata: RunMetadata { invocation_id: format!("{}-{}", manifest.project, deploy.build) },
                byproducts: vec![file(&format!("{}-{}.json", manifest.project, deploy.build), digest)],
            },
        },
    };
    Ok(serde_json::to_string_pretty(&statement)? + "\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: &'static str,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize)]
struct Signature {
    keyid: String,
    sig: String,
}

/// The bytes that an envelope's signature is over (DSSE's "PAE").
pub fn to_sign(statement: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), statement.len()).into_bytes();
    bytes.extend_from_slice(statement);
    bytes
}

/// The DSSE envelope of a statement. `signature` is an armoured SSH signature over [`to_sign`].
pub fn envelope(statement: &[u8], signature: &[u8]) -> Result<String, serde_json::Error> {
    let signature =
        Signature { keyid: key_of(signature).unwrap_or_default(), sig: STANDARD.encode(signature) };
    let envelope =
        Envelope { payload_type: PAYLOAD, payload: STANDARD.encode(statement), signatures: vec![signature] };
    Ok(serde_json::to_string_pretty(&envelope)? + "\n")
}
