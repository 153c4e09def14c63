//! Options of oslo.config: which came, went, were renamed, have another default or another type.
//!
//! Source: oslo.config's documentation of `Opt`: `deprecated_name`, `deprecated_group` and `deprecated_opts` keep old
//! names working, `deprecated_for_removal` announces the end.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::Analyse;
use super::script::python::Module;
use super::script::{Call, Value};
use super::trees::{Side, Trees};
use super::{Confidence, Finding, Severity};
use crate::store::ObjectError;

/// An option as its definition tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opt {
    path: String,
    line: usize,
    /// `StrOpt`, `IntOpt` …
    kind: String,
    default: Option<String>,
    deprecated: bool,
    /// The old names that are still taken: group (if given) and name.
    aliases: BTreeSet<(Option<String>, String)>,
}

/// By file and name; the same name may stand for several groups in a file.
type Opts = BTreeMap<(String, String), Vec<Opt>>;

fn option(call: &Call, path: &str) -> Option<(String, Opt)> {
    let kind = call.name();
    if !kind.ends_with("Opt") || kind == "DeprecatedOpt" || kind == "SubCommandOpt" {
        return None;
    }
    let name = call.text(0, "name")?.to_owned();
    let text = |key: &str| call.named(key).and_then(Value::as_str).map(str::to_owned);
    let mut aliases = BTreeSet::new();
    let (old_name, old_group) = (text("deprecated_name"), text("deprecated_group"));
    if old_name.is_some() || old_group.is_some() {
        aliases.insert((old_group, old_name.unwrap_or_else(|| name.clone())));
    }
    for old in call.named("deprecated_opts").map(Value::items).unwrap_or_default() {
        if let Some(old) = old.as_call()
            && let Some(old_name) = old.text(0, "name")
        {
            let group = old.text(1, "group").map(str::to_owned);
            aliases.insert((group, old_name.to_owned()));
        }
    }
    let default = call.named("default").map(Value::shown);
    // White space says nothing.
    let default = default.map(|d| d.split_whitespace().collect::<Vec<_>>().join(" "));
    let opt = Opt {
        path: path.to_owned(),
        line: call.line,
        kind: kind.to_owned(),
        default,
        deprecated: call.is_true("deprecated_for_removal"),
        aliases,
    };
    Some((name, opt))
}

fn read(
    trees: &Trees<'_>,
    rule: &Analyse,
    side: Side,
    unread: &mut BTreeSet<String>,
) -> Result<Opts, ObjectError> {
    let mut out = Opts::new();
    for changed in trees.touched(&rule.files) {
        let Some(text) = trees.text_on(changed, side)? else { continue };
        let Some(module) = Module::parse(&text) else {
            unread.insert(changed.path.clone());
            continue;
        };
        let mut lines = BTreeSet::new();
        for call in module.everything().calls {
            if let Some((name, opt)) = option(&call, &changed.path)
                && lines.insert((call.line, name.clone()))
            {
                out.entry((changed.path.clone(), name)).or_default().push(opt);
            }
        }
    }
    Ok(out)
}

/// Does a file take its options from somewhere else now?
fn borrows(old: &str, new: &str) -> bool {
    let words = ["deepcopy(", "list_opts(", ".extend(", "copy.copy("];
    words.iter().any(|word| new.matches(word).count() > old.matches(word).count())
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    if trees.touched(&rule.files).is_empty() {
        return Ok(());
    }
    let mut unread = BTreeSet::new();
    let old = read(trees, rule, Side::Old, &mut unread)?;
    let new = read(trees, rule, Side::New, &mut unread)?;
    for path in unread {
        out.push(
            Finding::new("unread", Severity::Warn, &rule.id, &path).saying("its options could not be read"),
        );
    }
    let mut borrowing = BTreeSet::new();
    for changed in trees.touched(&rule.files) {
        if let (Some(a), Some(b)) = (trees.text_on(changed, Side::Old)?, trees.text_on(changed, Side::New)?)
            && borrows(&a, &b)
        {
            borrowing.insert(changed.path.as_str());
        }
    }
    let finding = |kind: &str, severity, name: &str, opt: &Opt| {
        Finding::new(kind, severity, &rule.id, &opt.path).about(name).at(opt.line)
    };
    let mut renamed = BTreeSet::new();
    for ((path, name), was) in &old {
        let is = new.get(&(path.clone(), name.clone())).map_or(&[][..], Vec::as_slice);
        for (was, is) in was.iter().zip(is) {
            compare(name, was, is, &finding, out);
        }
        let Some(gone) = was.get(is.len()) else { continue };
        // Defined in another file now.
        let came =
            |(p, n): &&(String, String)| n == name && p != path && !old.contains_key(&(p.clone(), n.clone()));
        if new.keys().any(|key| came(&key)) {
            continue;
        }
        let alias = |opt: &Opt| opt.aliases.iter().any(|(_, n)| n == name);
        let heir = new.iter().find(|((_, n), opts)| n != name && opts.iter().any(alias));
        if let Some(((heir_path, heir_name), opts)) = heir {
            renamed.insert((heir_path.clone(), heir_name.clone()));
            if let Some(opt) = opts.first() {
                let renamed = finding("config.renamed", Severity::Warn, name, opt);
                out.push(renamed.from_to(Some(name.clone()), Some(heir_name.clone())));
                // What else the old one was called.
                let lost: Vec<_> = gone.aliases.difference(&opt.aliases).collect();
                lost_aliases(heir_name, opt, &lost, &finding, out);
            }
            continue;
        }
        let mut removed = finding("config.removed", Severity::Warn, name, gone).gone();
        removed.text =
            Some(if gone.deprecated { "deprecated before" } else { "never deprecated" }.to_owned());
        if borrowing.contains(path.as_str()) {
            removed.confidence = Confidence::Low;
        }
        out.push(removed);
    }
    for (key, is) in new.iter().filter(|(key, _)| !renamed.contains(*key)) {
        let count = old.get(key).map_or(0, Vec::len);
        let moved =
            old.keys().any(|(p, n)| *n == key.1 && *p != key.0 && !new.contains_key(&(p.clone(), n.clone())));
        if let Some(opt) = is.get(count).filter(|_| !moved) {
            out.push(finding("config.added", Severity::Info, &key.1, opt));
        }
    }
    Ok(())
}

type Make<'f> = &'f dyn Fn(&str, Severity, &str, &Opt) -> Finding;

/// What changed in an option that stays.
fn compare(name: &str, was: &Opt, is: &Opt, finding: Make<'_>, out: &mut Vec<Finding>) {
    if was.default != is.default {
        let changed = finding("config.default", Severity::Warn, name, is);
        let shown = |d: &Option<String>| d.as_ref().map(|d| d.trim_matches('\'').to_owned());
        out.push(changed.from_to(shown(&was.default), shown(&is.default)));
    }
    if was.kind != is.kind {
        let changed = finding("config.type", Severity::Warn, name, is);
        out.push(changed.from_to(Some(was.kind.clone()), Some(is.kind.clone())));
    }
    if is.deprecated && !was.deprecated {
        out.push(finding("config.deprecated", Severity::Info, name, is));
    }
    let lost: Vec<_> = was.aliases.difference(&is.aliases).collect();
    lost_aliases(name, is, &lost, finding, out);
}

fn lost_aliases(
    name: &str,
    opt: &Opt,
    lost: &[&(Option<String>, String)],
    finding: Make<'_>,
    out: &mut Vec<Finding>,
) {
    for (group, alias) in lost {
        let old = group.as_ref().map_or_else(|| alias.clone(), |group| format!("[{group}] {alias}"));
        let removed = finding("config.alias_removed", Severity::Warn, name, opt);
        out.push(removed.from_to(Some(old), None));
    }
}
