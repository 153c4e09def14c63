//! What the software stands on: requirements as they are written, and lock files as tools wrote them.

use std::collections::BTreeMap;

use super::rule::Analyse;
use super::trees::{Side, Trees};
use super::{Finding, Severity};
use crate::store::ObjectError;

/// A package in a file: the version or the range, and the line.
type Packages = BTreeMap<String, (String, usize)>;

/// A name as PEP 503 normalises it.
fn normal(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

/// `name[extra]>=1.0,!=1.1 ; marker  # comment` (PEP 508).
fn requirement_lines(text: &str) -> Packages {
    let mut out = Packages::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        let (what, marker) = line.split_once(';').unwrap_or((line, ""));
        let end = what.find(|c: char| "<>=!~[ @(".contains(c)).unwrap_or(what.len());
        let range: String = what[end..].chars().filter(|c| !c.is_whitespace()).collect();
        let range = range.split_once(']').map_or(range.as_str(), |(_, after)| after).to_owned();
        let mut name = normal(what[..end].trim());
        if !marker.trim().is_empty() {
            name = format!("{name}; {}", marker.trim());
        }
        out.insert(name, (range, at + 1));
    }
    out
}

/// Runs a rule on requirements.
pub fn requirements(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    run(trees, rule, out, |_, text| Some(requirement_lines(text)))
}

/// Runs a rule on lock files.
pub fn locks(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    run(trees, rule, out, |path, text| {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name {
            "Gemfile.lock" => Some(gems(text)),
            "yarn.lock" => Some(yarn(text)),
            "package-lock.json" | "Pipfile.lock" => json(name, text),
            "Cargo.lock" | "poetry.lock" | "uv.lock" => tables(text),
            _ if name.starts_with("requirements") => Some(requirement_lines(text)),
            _ => None,
        }
    })
}

fn run(
    trees: &Trees<'_>,
    rule: &Analyse,
    out: &mut Vec<Finding>,
    read: impl Fn(&str, &str) -> Option<Packages>,
) -> Result<(), ObjectError> {
    for changed in trees.touched(&rule.files) {
        let mut sides = [Packages::new(), Packages::new()];
        let mut unread = false;
        for (packages, side) in sides.iter_mut().zip([Side::Old, Side::New]) {
            let Some(text) = trees.text_on(changed, side)? else { continue };
            match read(&changed.path, &text) {
                Some(found) => *packages = found,
                None => unread = true,
            }
        }
        if unread {
            let finding = Finding::new("unread", Severity::Warn, &rule.id, &changed.path);
            out.push(finding.saying("its packages could not be read"));
            continue;
        }
        let [old, new] = sides;
        let finding = |kind: &str, name: &str, line: usize| {
            Finding::new(kind, Severity::Info, &rule.id, &changed.path).about(name).at(line)
        };
        for (name, (was, line)) in &old {
            match new.get(name) {
                None => out.push(finding("dep.removed", name, *line).gone().from_to(Some(was.clone()), None)),
                Some((is, line)) if is != was => {
                    let mut changed = finding("dep.changed", name, *line);
                    if is_version(was) && is_version(is) && major(was) != major(is) {
                        changed.text = Some("another major version".to_owned());
                    }
                    out.push(changed.from_to(Some(was.clone()), Some(is.clone())));
                }
                Some(_) => {}
            }
        }
        for (name, (is, line)) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            out.push(finding("dep.added", name, *line).from_to(None, Some(is.clone())));
        }
    }
    Ok(())
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

/// Four spaces, a name, its version in brackets: what Bundler resolved.
fn gems(text: &str) -> Packages {
    let mut out = Packages::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(rest) = line.strip_prefix("    ").filter(|rest| !rest.starts_with(' '))
            && let Some((name, version)) = rest.split_once(" (")
        {
            out.insert(name.to_owned(), (version.trim_end_matches(')').to_owned(), at + 1));
        }
    }
    out
}

/// `name@range:`, then `  version "1.2.3"`.
fn yarn(text: &str) -> Packages {
    let mut out = Packages::new();
    let mut name = None;
    for (at, line) in text.lines().enumerate() {
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            let first = line.trim_end_matches(':').split(", ").next().unwrap_or_default().trim_matches('"');
            name = first.rfind('@').filter(|at| *at > 0).map(|at| (first[..at].to_owned(), line));
        } else if let Some(version) = line.trim_start().strip_prefix("version")
            && let Some((name, _)) = name.take()
        {
            let version = version.trim_matches([' ', ':', '"']).to_owned();
            out.insert(name, (version, at + 1));
        }
    }
    out
}

fn json(file: &str, text: &str) -> Option<Packages> {
    let document: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut out = Packages::new();
    let mut take = |entries: Option<&serde_json::Value>, strip: &str| {
        for (name, entry) in entries.and_then(|e| e.as_object()).into_iter().flatten() {
            let name = name.rsplit(strip).next().unwrap_or(name);
            if let Some(version) = entry.get("version").and_then(|v| v.as_str()).filter(|_| !name.is_empty())
            {
                out.insert(name.to_owned(), (version.trim_start_matches("==").to_owned(), 1));
            }
        }
    };
    if file == "Pipfile.lock" {
        take(document.get("default"), "\0");
    } else if document.get("packages").is_some() {
        take(document.get("packages"), "node_modules/");
    } else {
        take(document.get("dependencies"), "\0");
    }
    Some(out)
}

/// `[[package]]` tables with a name and a version.
fn tables(text: &str) -> Option<Packages> {
    let document: toml::Table = toml::from_str(text).ok()?;
    let packages = document.get("package").and_then(|p| p.as_array());
    let mut out = Packages::new();
    for package in packages.into_iter().flatten() {
        let text = |key: &str| package.get(key).and_then(|v| v.as_str());
        if let (Some(name), Some(version)) = (text("name"), text("version")) {
            out.insert(name.to_owned(), (version.to_owned(), 1));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read_as_pip_reads_them() {
        let found = requirement_lines(
            "# a comment\nPbr>=5.8.0 # Apache-2.0\nos_brick[rbd]>=1,!=2 ;python_version<'3'\n-r more.txt\n",
        );
        let expected = [("os-brick; python_version<'3'", ">=1,!=2", 3), ("pbr", ">=5.8.0", 2)];
        let expected = expected.map(|(n, r, l)| (n.to_owned(), (r.to_owned(), l)));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lock_files_are_read() {
        assert_eq!(gems("GEM\n  specs:\n    rails (8.0.1)\n      rack (~> 3)\n")["rails"].0, "8.0.1");
        let yarn = yarn("\"@a/b@^1.0\", \"@a/b@^1.1\":\n  version \"1.2.0\"\n");
        assert_eq!(yarn["@a/b"], ("1.2.0".to_owned(), 2));
        let npm = json(
            "package-lock.json",
            r#"{"packages":{"":{"version":"0"},"node_modules/a/node_modules/b":{"version":"3.1"}}}"#,
        );
        assert_eq!(npm.expect("it is JSON")["b"].0, "3.1");
        assert_eq!(tables("[[package]]\nname = \"x\"\nversion = \"2\"\n").expect("it is TOML")["x"].0, "2");
    }
}
