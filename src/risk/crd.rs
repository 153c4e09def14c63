//! Custom resource definitions of Kubernetes: may objects that are stored, and clients that talk to them, go on?
//!
//! Source: Kubernetes' documentation of versions in a CustomResourceDefinition and of its structural schemas: fields
//! that a schema does not know are pruned, a version that is not served is refused, and one that objects are stored in
//! must not go before they are stored in another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::rule::Analyse;
use super::trees::{Side, Trees};
use super::watch::line_of;
use super::{Confidence, Finding, Severity};
use crate::store::ObjectError;

/// How deep a schema is followed.
const DEEPEST: usize = 40;

/// A definition, and where it stands.
struct Definition {
    path: String,
    line: usize,
    scope: String,
    versions: BTreeMap<String, Version>,
}

/// One of its versions.
struct Version {
    served: bool,
    storage: bool,
    schema: Value,
}

/// The definitions of a text, by their names; nothing if it is not YAML.
fn definitions(path: &str, text: &str, out: &mut BTreeMap<String, Definition>) -> Option<()> {
    for document in serde_saphyr::from_multiple::<Value>(text).ok()? {
        let listed = document["items"].as_array().cloned().unwrap_or_else(|| vec![document]);
        for definition in listed.iter().filter(|d| d["kind"] == "CustomResourceDefinition") {
            let Some(name) = definition["metadata"]["name"].as_str() else { continue };
            let spec = &definition["spec"];
            // The first form had one schema for all versions, and one version alone.
            let shared = &spec["validation"]["openAPIV3Schema"];
            let mut versions = BTreeMap::new();
            for version in spec["versions"].as_array().into_iter().flatten() {
                let own = &version["schema"]["openAPIV3Schema"];
                let Some(name) = version["name"].as_str() else { continue };
                let is = |key: &str| version[key] == Value::Bool(true);
                let schema = if own.is_null() { shared.clone() } else { own.clone() };
                versions.insert(
                    name.to_owned(),
                    Version { served: is("served"), storage: is("storage"), schema },
                );
            }
            if let Some(only) = spec["version"].as_str().filter(|_| versions.is_empty()) {
                let version = Version { served: true, storage: true, schema: shared.clone() };
                versions.insert(only.to_owned(), version);
            }
            let line = text.find(name).map_or(1, |at| line_of(text, at));
            let scope = spec["scope"].as_str().unwrap_or_default().to_owned();
            out.insert(name.to_owned(), Definition { path: path.to_owned(), line, scope, versions });
        }
    }
    Some(())
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    let touched = trees.touched(&rule.files);
    if touched.is_empty() {
        return Ok(());
    }
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    let mut unread = BTreeSet::new();
    for changed in &touched {
        for (side, found) in [(Side::Old, &mut old), (Side::New, &mut new)] {
            if let Some(text) = trees.text_on(changed, side)?
                && definitions(&changed.path, &text, found).is_none()
            {
                unread.insert((&changed.path, changed.new.is_none()));
            }
        }
    }
    let sure = unread.is_empty();
    for (path, gone) in unread {
        let finding = Finding::new("unread", Severity::Warn, &rule.id, path);
        let finding = if gone { finding.gone() } else { finding };
        out.push(finding.saying("it is not plain YAML: its definitions were not read"));
    }
    let gone: Vec<&String> = old.keys().filter(|name| !new.contains_key(*name)).collect();
    if !gone.is_empty() {
        let mut elsewhere = BTreeMap::new();
        for (path, blob) in trees.files(&rule.files, Side::New)? {
            if let Some(text) = trees.text(&blob)? {
                definitions(&path, &text, &mut elsewhere);
            }
        }
        for name in gone.into_iter().filter(|name| !elsewhere.contains_key(*name)) {
            let was = &old[name];
            let finding =
                Finding::new("crd.removed", Severity::Stop, &rule.id, &was.path).about(name).at(was.line);
            let mut finding = finding.gone().saying("its objects go with it");
            // It may stand in a file that could not be read.
            if !sure {
                finding.confidence = Confidence::Low;
            }
            out.push(finding);
        }
    }
    for (name, is) in &new {
        let tell = |kind: &str, severity: Severity, what: &str| {
            let name = if what.is_empty() { name.clone() } else { format!("{name} {what}") };
            Finding::new(kind, severity, &rule.id, &is.path).about(name).at(is.line)
        };
        match old.get(name) {
            Some(was) => compare(was, is, &tell, out),
            None => out.push(tell("crd.added", Severity::Info, "")),
        }
    }
    Ok(())
}

type Tell<'t> = &'t dyn Fn(&str, Severity, &str) -> Finding;

fn compare(was: &Definition, is: &Definition, tell: Tell<'_>, out: &mut Vec<Finding>) {
    let words = |text: &str| Some(text.to_owned());
    if was.scope != is.scope {
        out.push(tell("crd.scope", Severity::Stop, "").from_to(words(&was.scope), words(&is.scope)));
    }
    for (name, old) in &was.versions {
        let Some(new) = is.versions.get(name) else {
            let finding = tell("crd.version_removed", Severity::Stop, name);
            let text = match old.storage {
                true => "objects are stored in it: they have to be stored in another before",
                false => "it goes only once status.storedVersions does not name it",
            };
            out.push(finding.saying(text));
            continue;
        };
        if old.served && !new.served {
            out.push(tell("crd.version_unserved", Severity::Stop, name).saying("clients of it are refused"));
        }
        schemas(&old.schema, &new.schema, name, 0, tell, out);
    }
    for name in is.versions.keys().filter(|name| !was.versions.contains_key(*name)) {
        out.push(tell("crd.version_added", Severity::Info, name));
    }
    let stored = |d: &Definition| d.versions.iter().find(|(_, v)| v.storage).map(|(name, _)| name.clone());
    let (old, new) = (stored(was), stored(is));
    if old != new {
        let finding = tell("crd.storage_changed", Severity::Warn, "").from_to(old, new);
        out.push(finding.saying("what is stored already has to be written once more"));
    }
}

/// What of a schema old objects or old clients may fail at.
fn schemas(old: &Value, new: &Value, at: &str, depth: usize, tell: Tell<'_>, out: &mut Vec<Finding>) {
    // Where one of them says nothing, nothing is narrower.
    if old == new || old.is_null() || new.is_null() || depth > DEEPEST {
        return;
    }
    let strings = |value: &Value| -> BTreeSet<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .collect()
    };
    let text = |value: &Value| {
        value.as_str().map(str::to_owned).or_else(|| (!value.is_null()).then(|| value.to_string()))
    };
    if old["type"] != new["type"] {
        out.push(tell("crd.field_type", Severity::Stop, at).from_to(text(&old["type"]), text(&new["type"])));
    }
    for required in strings(&new["required"]).difference(&strings(&old["required"])) {
        out.push(tell("crd.required_added", Severity::Stop, &format!("{at}.{required}")));
    }
    let values = (strings(&old["enum"]), strings(&new["enum"]));
    let narrowed = !new["enum"].is_null() && (old["enum"].is_null() || !values.0.is_subset(&values.1));
    if narrowed {
        out.push(
            tell("crd.values_narrowed", Severity::Stop, at).from_to(text(&old["enum"]), text(&new["enum"])),
        );
    }
    for limit in [
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "format",
        "x-kubernetes-validations",
    ] {
        if old[limit] != new[limit] && !new[limit].is_null() {
            let finding = tell("crd.limit_changed", Severity::Warn, &format!("{at} {limit}"));
            out.push(finding.from_to(text(&old[limit]), text(&new[limit])));
        }
    }
    let keeps = new["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true);
    for (name, was) in old["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        match &new["properties"][name.as_str()] {
            Value::Null if keeps => {}
            Value::Null => {
                let finding = tell("crd.field_removed", Severity::Stop, &path);
                out.push(finding.saying("its values are dropped when an object is written"));
            }
            is => schemas(was, is, &path, depth + 1, tell, out),
        }
    }
    for inner in ["items", "additionalProperties"] {
        schemas(&old[inner], &new[inner], &format!("{at}[]"), depth + 1, tell, out);
    }
}
