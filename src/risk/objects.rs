//! Objects that go over the wire: is what they carry another, under the same version?
//!
//! Source: the documentation of oslo.versionedobjects. A class has a `VERSION`, a dictionary `fields`, and methods that
//! others call (`remotable`); whoever changes one of the latter two has to raise the first. Upstream's own tests see to
//! that; those of a local patch seldom do.

use std::collections::BTreeMap;

use super::rule::Analyse;
use super::script::Value;
use super::script::python::Module;
use super::trees::{Side, Trees};
use super::{Confidence, Finding, Severity};
use crate::store::ObjectError;

/// The version of a class that names none.
const FIRST: &str = "1.0";

/// What a class carries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Form {
    version: String,
    line: usize,
    /// Fields and remote methods, by name.
    parts: BTreeMap<String, String>,
}

/// A value as far as the wire sees it: how it is imported is the file's own affair.
fn shape(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(shape).collect::<Vec<_>>().join(", ");
    match value {
        Value::Call(call) => {
            let named = call.named.iter().map(|(name, value)| format!("{name}={}", shape(value)));
            let mut args: Vec<String> = call.args.iter().map(shape).chain(named).collect();
            args.sort();
            format!("{}({})", call.name(), args.join(", "))
        }
        Value::List(items) => format!("[{}]", list(items)),
        Value::Name(_) | Value::Attr(..) | Value::Function(_) => value.last().to_owned(),
        other => other.shown(),
    }
}

/// The classes of a text that have a version or are registered, with fields that are written down.
fn forms(text: &str) -> Option<BTreeMap<String, Form>> {
    let module = Module::parse(text)?;
    let mut out = BTreeMap::new();
    for class in module.members() {
        let Some(names) = module.class(&class.name) else { continue };
        let Some(Value::Dict(fields)) = names.get("fields") else { continue };
        let version = names.get("VERSION").and_then(Value::as_str).map(str::to_owned);
        let registered = class.decorators.iter().any(|d| d.contains("regist"));
        let Some(version) = version.or_else(|| registered.then(|| FIRST.to_owned())) else { continue };
        let mut parts: BTreeMap<String, String> =
            fields.iter().filter_map(|(k, v)| Some((k.as_str()?.to_owned(), shape(v)))).collect();
        let remote = class.methods.iter().filter(|m| m.decorators.iter().any(|d| d.contains("remotable")));
        parts.extend(remote.map(|m| (format!("{}()", m.name), m.parameters.clone())));
        out.insert(class.name, Form { version, line: class.line, parts });
    }
    Some(out)
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    for changed in trees.touched(&rule.files) {
        let texts = (trees.text_on(changed, Side::Old)?, trees.text_on(changed, Side::New)?);
        let (Some(old), Some(new)) = texts else { continue };
        let (Some(old), Some(new)) = (forms(&old), forms(&new)) else {
            let finding = Finding::new("unread", Severity::Warn, &rule.id, &changed.path);
            out.push(finding.saying("its objects could not be read"));
            continue;
        };
        for (class, was) in &old {
            let Some(is) = new.get(class).filter(|is| is.version == was.version) else { continue };
            let gone = was.parts.iter().filter(|(name, part)| is.parts.get(*name) != Some(part));
            let came = is.parts.keys().filter(|name| !was.parts.contains_key(*name));
            let mut names: Vec<&str> = gone.map(|(name, _)| name).chain(came).map(String::as_str).collect();
            if names.is_empty() {
                continue;
            }
            names.sort_unstable();
            let text = format!("{} changed, and the version is {} as before", names.join(", "), is.version);
            let finding = Finding::new("object.version.unmarked", Severity::Warn, &rule.id, &changed.path);
            let mut finding = finding.about(class).at(is.line).saying(text);
            // Two ways to write a field may be one on the wire.
            finding.confidence = Confidence::Medium;
            out.push(finding);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_the_wire_is_told_from_what_does_not() {
        let text = |field: &str, parameters: &str, inner: &str| {
            format!(
                "@base.NovaObjectRegistry.register\nclass A(Base):\n    VERSION = '1.1'\n    fields = {{\n        \
                 'a': {field},\n        'b': fields.StringField(nullable=True),\n    }}\n\n    @base.remotable\n    \
                 def save({parameters}):\n        {inner}\n"
            )
        };
        let form = |field, parameters, inner| {
            forms(&text(field, parameters, inner))
                .expect("it is Python")
                .remove("A")
                .expect("it is an object")
        };
        let base = form("fields.IntegerField()", "self", "pass");
        assert_eq!(base, form("obj_fields.IntegerField()", "self", "return 1"));
        assert_eq!(base, form("fields.IntegerField()", "\n        # itself\n        self", "pass"));
        assert_eq!(base.parts.len(), 3);
        assert_ne!(base, form("fields.IntegerField(nullable=True)", "self", "pass"));
        assert_ne!(base, form("fields.IntegerField()", "self, force", "pass"));
        assert!(forms("class A(Base):\n    fields = {'a': 1}\n").expect("it is Python").is_empty());
    }
}
