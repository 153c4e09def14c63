//! Nodes of the syntax tree, and what Python's own operators and functions make of values.

use tree_sitter::Node;

use crate::risk::script::{HOLE, Value};

/// Is a node of this kind a statement, or holds statements?
pub(super) fn is_statement(kind: &str) -> bool {
    kind == "block" || ["_clause", "_statement", "_definition"].iter().any(|end| kind.ends_with(end))
}

pub(super) fn children<'m>(node: Node<'m>) -> Vec<Node<'m>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|c| c.kind() != "comment").collect()
}

/// The nodes of a kind that stand before a statement's body.
pub(super) fn descendants<'m>(node: Node<'m>, kind: &str) -> Vec<Node<'m>> {
    let mut out = Vec::new();
    for child in children(node) {
        if child.kind() == kind {
            out.push(child);
        } else if child.kind() == "with_clause" {
            out.extend(descendants(child, kind));
        }
    }
    out
}

pub(super) fn unescaped(escape: &str) -> &str {
    match escape {
        "\\n" => "\n",
        "\\t" => "\t",
        "\\'" => "'",
        "\\\"" => "\"",
        "\\\\" => "\\",
        "\\\n" => "",
        other => other,
    }
}

pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::Str(text) | Value::Num(text)) => text.to_string(),
        _ => HOLE.to_owned(),
    }
}

pub(super) fn added(left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::List(a), Value::List(b)) => {
            Value::List(a.iter().chain(b.iter()).cloned().collect::<Vec<_>>().into())
        }
        (Value::Str(_), _) | (_, Value::Str(_)) => {
            Value::text(format!("{}{}", shown(Some(left)), shown(Some(right))))
        }
        _ => Value::Unknown,
    }
}

/// `format % value`.
pub(super) fn percent(format: &str, value: &Value) -> Value {
    let mut values = match value {
        Value::List(items) => items.to_vec(),
        other => vec![other.clone()],
    }
    .into_iter();
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let part = if rest.starts_with('(') {
            let end = rest.find(')').unwrap_or(0);
            let key = rest.get(1..end).unwrap_or_default().to_owned();
            rest = rest.get(end + 1..).unwrap_or_default();
            Some(item(value, &Value::text(key)))
        } else {
            values.next()
        };
        text.push_str(&shown(part.as_ref()));
        let mut letters = rest.chars();
        letters.find(char::is_ascii_alphabetic);
        rest = letters.as_str();
    }
    text.push_str(rest);
    Value::text(text)
}

pub(super) fn item(of: &Value, key: &Value) -> Value {
    match (of, key) {
        (Value::Dict(entries), _) => {
            entries.iter().find(|(k, _)| k == key).map_or(Value::Unknown, |(_, v)| v.clone())
        }
        (Value::List(items), Value::Num(at)) => {
            at.parse::<usize>().ok().and_then(|at| items.get(at)).cloned().unwrap_or(Value::Unknown)
        }
        // `table.c['name']` is `table.c.name`.
        (of, Value::Str(name)) => Value::Attr(of.clone().into(), name.clone()),
        (of, _) => Value::Attr(of.clone().into(), HOLE.into()),
    }
}

/// What Python's own functions give, where that is known and changes nothing.
pub(super) fn built_in(callee: &Value, args: &[Value]) -> Option<Value> {
    match callee {
        Value::Name(name) => match (&**name, args) {
            ("list" | "tuple" | "set" | "sorted" | "reversed" | "frozenset", [Value::List(items)]) => {
                Some(Value::List(items.clone()))
            }
            ("getattr", [of, Value::Str(name), ..]) => Some(Value::Attr(of.clone().into(), name.clone())),
            ("getattr", [of, ..]) => Some(Value::Attr(of.clone().into(), HOLE.into())),
            ("enumerate", [Value::List(items)]) => {
                let pair = |(n, item): (usize, &Value)| {
                    Value::List(vec![Value::Num(n.to_string().into()), item.clone()].into())
                };
                Some(Value::List(items.iter().enumerate().map(pair).collect::<Vec<_>>().into()))
            }
            ("zip", [Value::List(a), Value::List(b)]) => {
                let pairs = a.iter().zip(b.iter());
                let pairs = pairs.map(|(a, b)| Value::List(vec![a.clone(), b.clone()].into()));
                Some(Value::List(pairs.collect::<Vec<_>>().into()))
            }
            ("str" | "_", [value @ Value::Str(_)]) => Some(value.clone()),
            (
                "len" | "isinstance" | "hasattr" | "range" | "set" | "dict" | "list" | "print" | "str"
                | "int",
                _,
            ) => Some(Value::Unknown),
            _ => None,
        },
        Value::Attr(of, name) => match (&**of, &**name, args) {
            (Value::Dict(entries), "items" | "iteritems", []) => {
                let pairs = entries.iter().map(|(k, v)| Value::List(vec![k.clone(), v.clone()].into()));
                Some(Value::List(pairs.collect::<Vec<_>>().into()))
            }
            (Value::Dict(entries), "keys", []) => {
                Some(Value::List(entries.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>().into()))
            }
            (Value::Dict(entries), "values", []) => {
                Some(Value::List(entries.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>().into()))
            }
            (Value::Str(text), "format", _) => {
                let mut out = String::new();
                let mut args = args.iter();
                let mut parts = text.split("{}").peekable();
                while let Some(part) = parts.next() {
                    out.push_str(part);
                    if parts.peek().is_some() {
                        out.push_str(&shown(args.next()));
                    }
                }
                Some(Value::text(out))
            }
            (Value::Str(by), "join", [Value::List(items)]) => {
                let texts: Vec<String> = items.iter().map(|i| shown(Some(i))).collect();
                Some(Value::text(texts.join(by)))
            }
            (Value::Str(text), "strip" | "lower" | "upper" | "replace" | "encode" | "decode", _) => {
                Some(Value::text(text.clone()))
            }
            (Value::List(_), _, _) | (Value::Dict(_), _, _) | (Value::Str(_), _, _) => Some(Value::Unknown),
            // A name for a constraint, as alembic's convention has it.
            (Value::Name(op), "f", [name]) if &**op == "op" => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}
