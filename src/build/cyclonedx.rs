//! A build as a CycloneDX 1.6 document: upstream as an ancestor, each patch of the stack with its text
//! (<https://cyclonedx.org/docs/1.6/json/>, `pedigree`). Only the keys that are used; no clock, no chance.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::manifest::{Manifest, PatchRecord};
use crate::queue::digest;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom {
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    bom_ref: Option<String>,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    swhid: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pedigree: Option<Pedigree>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Pedigree {
    ancestors: Vec<Component>,
    commits: Vec<Commit>,
    patches: Vec<Patch>,
}

#[derive(Serialize)]
struct Commit {
    uid: String,
    author: Person,
    committer: Person,
    message: String,
}

#[derive(Serialize)]
struct Person {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

#[derive(Serialize)]
struct Patch {
    #[serde(rename = "type")]
    kind: &'static str,
    diff: Diff,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolves: Vec<Issue>,
}

#[derive(Serialize)]
struct Diff {
    text: Attachment,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    content_type: &'static str,
    encoding: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Issue {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<String>,
}

#[derive(Serialize)]
struct Source {
    name: &'static str,
    url: String,
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A patch file that the manifest names is not there.
    #[error("patch '{name}' with the digest {digest} is not at hand")]
    Patch {
        /// Its name.
        name: String,
        /// Its SHA-256 in the manifest.
        digest: String,
    },
    /// It cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The document, as JSON text. `patch` gives the bytes of a patch file by its name and digest.
pub fn cyclonedx(
    manifest: &Manifest,
    patch: impl Fn(&str, &str) -> Option<Vec<u8>>,
) -> Result<String, ExportError> {
    let rendered = manifest.render()?;
    let stack = || manifest.patches.iter().filter_map(|p| Some((p, p.commit.as_deref()?)));
    let mut patches = Vec::new();
    for (record, _) in stack() {
        let Some(text) = patch(&record.file, &record.digest) else {
            let (name, digest) = (record.name.clone(), record.digest.clone());
            return Err(ExportError::Patch { name, digest });
        };
        patches.push(of_patch(record, &text));
    }
    let commits = stack().map(|(record, commit)| Commit {
        uid: commit.to_owned(),
        author: person(&record.author),
        committer: person(&manifest.deploy.committer),
        message: record.subject.clone(),
    });
    let commits = commits.collect();
    let trunk = &manifest.trunk;
    let base = trunk.describe.clone().unwrap_or_else(|| trunk.commit.chars().take(12).collect());
    let upstream = Component {
        kind: "application",
        bom_ref: None,
        name: upstream_name(manifest),
        version: base.clone(),
        hashes: Vec::new(),
        purl: Some(purl(&upstream_name(manifest), &trunk.address, &trunk.commit)),
        swhid: vec![format!("swh:1:rev:{}", trunk.commit)],
        pedigree: None,
        properties: vec![property("git-carry:branch", &trunk.branch)],
    };
    let tarball = manifest.artifacts.iter().find(|a| a.kind == "tarball");
    let component = Component {
        kind: "application",
        bom_ref: Some(format!("{}-{}", manifest.project, manifest.deploy.build)),
        name: manifest.project.clone(),
        version: format!("{base}+{}", manifest.deploy.build),
        hashes: tarball.map(|t| Hash { alg: "SHA-256", content: t.sha256.clone() }).into_iter().collect(),
        purl: None,
        swhid: vec![format!("swh:1:rev:{}", manifest.deploy.commit)],
        pedigree: Some(Pedigree { ancestors: vec![upstream], commits, patches }),
        properties: properties(manifest, &digest(rendered.as_bytes())),
    };
    let tool = Component {
        kind: "application",
        bom_ref: None,
        name: manifest.tool.name.clone(),
        version: manifest.tool.version.clone(),
        hashes: Vec::new(),
        purl: None,
        swhid: Vec::new(),
        pedigree: None,
        properties: Vec::new(),
    };
    let bom = Bom {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: format!("urn:uuid:{}", uuid(&digest(rendered.as_bytes()))),
        version: 1,
        metadata: Metadata {
            timestamp: trunk.date.clone(),
            tools: Tools { components: vec![tool] },
            component,
        },
    };
    Ok(serde_json::to_string_pretty(&bom)? + "\n")
}

/// What the form of a patch has no room for. The order of the patches is that of the list.
fn properties(manifest: &Manifest, digest: &str) -> Vec<Property> {
    let mut all = vec![
        property("git-carry:manifest:sha256", digest),
        property("git-carry:commit", &manifest.deploy.commit),
        property("git-carry:tree", &manifest.deploy.tree),
        property("git-carry:branch", &manifest.deploy.branch),
    ];
    for p in &manifest.patches {
        let id = p.patch_id.as_deref().unwrap_or("none");
        let value = format!("{}; sha256 {}; patch-id {id}", p.outcome.word(), p.digest);
        all.push(property(&format!("git-carry:patch:{}", p.name), &value));
    }
    all
}

fn property(name: &str, value: &str) -> Property {
    Property { name: name.to_owned(), value: value.to_owned() }
}

fn of_patch(record: &PatchRecord, text: &[u8]) -> Patch {
    let mut resolves = Vec::new();
    for id in &record.metadata.cves {
        let url = format!("https://nvd.nist.gov/vuln/detail/{id}");
        let source = is_address(&url).then_some(Source { name: "NVD", url });
        resolves.push(Issue { kind: "security", id: id.clone(), source, references: Vec::new() });
    }
    for bug in &record.metadata.bugs {
        let id = bug.trim_end_matches('/').rsplit(['/', '=', '#']).next().unwrap_or(bug).to_owned();
        let references = if is_address(bug) { vec![bug.clone()] } else { Vec::new() };
        resolves.push(Issue { kind: "defect", id, source: None, references });
    }
    Patch {
        kind: kind(record),
        diff: Diff {
            text: Attachment {
                content_type: "text/x-patch",
                encoding: "base64",
                content: STANDARD.encode(text),
            },
            url: encoded(&record.file, "/"),
        },
        resolves,
    }
}

/// Upstream's own change as it is, one that was made to fit, or ours: as the header tells.
fn kind(record: &PatchRecord) -> &'static str {
    let m = &record.metadata;
    let says = |field: &Option<String>, word: &str| {
        field.as_deref().is_some_and(|text| text.to_ascii_lowercase().starts_with(word))
    };
    if says(&m.origin, "backport") || says(&m.upstream_status, "backport") {
        "backport"
    } else if says(&m.origin, "upstream") || !m.cherry_picked_from.is_empty() {
        "cherry-pick"
    } else if m.applied_upstream.is_some() || says(&m.upstream_status, "accepted") {
        "backport"
    } else {
        "unofficial"
    }
}

fn person([name, email]: &[String; 2]) -> Person {
    let is_mail = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    let plain =
        email.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | '"'));
    Person { name: name.clone(), email: (is_mail && plain).then(|| email.clone()) }
}

fn is_address(text: &str) -> bool {
    let bad = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '{' | '}' | '|' | '\\' | '^' | '`')
    };
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(bad) && !rest.contains(['[', ']', '%'])
    })
}

/// The last part of upstream's address, or the project's name.
fn upstream_name(manifest: &Manifest) -> String {
    let address = manifest.trunk.address.trim_end_matches('/').trim_end_matches(".git");
    let last = address.rsplit(['/', ':']).next().unwrap_or_default();
    if last.is_empty() { manifest.project.clone() } else { last.to_owned() }
}

/// A package URL (<https://github.com/package-url/purl-spec>).
fn purl(name: &str, address: &str, commit: &str) -> String {
    let hub = address.trim_end_matches('/').trim_end_matches(".git").strip_prefix("https://github.com/");
    if let Some((owner, name)) =
        hub.and_then(|path| path.split_once('/')).filter(|(_, name)| !name.contains('/'))
    {
        let [owner, name] = [owner, name].map(|part| encoded(&part.to_ascii_lowercase(), ""));
        return format!("pkg:github/{owner}/{name}@{commit}");
    }
    let at = if address.contains("://") {
        format!("?vcs_url={}", encoded(&format!("git+{address}@{commit}"), "/:"))
    } else {
        String::new()
    };
    format!("pkg:generic/{}@{commit}{at}", encoded(name, ""))
}

/// Percent-encoded, but for what every address may hold and for `kept`.
fn encoded(text: &str, kept: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match char::from(byte) {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~') || kept.contains(c) => {
                out.push(c)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A UUID of version 8 (RFC 9562: "custom") from a digest in hex.
fn uuid(digest: &str) -> String {
    let hex: Vec<char> = digest.chars().take(32).collect();
    let part = |from: usize, to: usize| hex.iter().skip(from).take(to - from).collect::<String>();
    // Two bits of the variant stay fixed, so four digits are left for the first of the fourth group.
    let variant =
        hex.get(16).and_then(|c| c.to_digit(16)).map_or('8', |n| ['8', '9', 'a', 'b'][n as usize % 4]);
    format!("{}-{}-8{}-{variant}{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_package_urls() {
        let at = "0123456789012345678901234567890123456789";
        assert_eq!(
            purl("x", "https://github.com/OpenStack/Nova.git", at),
            format!("pkg:github/openstack/nova@{at}")
        );
        assert_eq!(
            purl("nova", "https://opendev.org/openstack/nova", at),
            format!("pkg:generic/nova@{at}?vcs_url=git%2Bhttps://opendev.org/openstack/nova%40{at}")
        );
        assert_eq!(purl("a b", "../a b", at), format!("pkg:generic/a%20b@{at}"));
    }

    #[test]
    fn a_digest_gives_a_uuid_of_version_8() {
        assert_eq!(uuid(&"0123456789abcdef".repeat(4)), "01234567-89ab-8def-8123-456789abcdef");
    }
}
