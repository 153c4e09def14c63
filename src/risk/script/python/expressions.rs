//! Expressions: what a value is, as far as it can be known, and which calls are met on the way.

use std::rc::Rc;

use tree_sitter::Node;

use super::values::{added, built_in, children, item, percent, shown, unescaped};
use super::{Env, Run};
use crate::risk::script::{Call, HOLE, Value};

impl<'m> Run<'m> {
    pub(super) fn eval(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        if !self.step() {
            return Value::Unknown;
        }
        self.depth += 1;
        let value = self.any(node, env);
        self.depth -= 1;
        value
    }

    pub(super) fn any(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        match node.kind() {
            "identifier" => {
                let name = self.name(node);
                match env.get(&name).or_else(|| self.globals.get(&name)) {
                    Some(value) => value.clone(),
                    None if self.functions.contains_key(&name) => Value::Function(name),
                    None => Value::Name(name),
                }
            }
            "string" => self.string(node, env),
            "concatenated_string" => {
                let parts: Vec<Value> = children(node).into_iter().map(|c| self.eval(c, env)).collect();
                Value::text(parts.iter().map(|p| p.as_str().unwrap_or(HOLE)).collect::<String>())
            }
            "integer" | "float" => Value::Num(self.name(node)),
            "unary_operator" => match node.named_child(0).map(|c| self.eval(c, env)) {
                Some(Value::Num(_)) => Value::Num(self.name(node)),
                _ => Value::Unknown,
            },
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "none" => Value::Nothing,
            "tuple" | "list" | "set" | "expression_list" => {
                let mut items = Vec::new();
                for child in children(node) {
                    if child.kind() == "list_splat" {
                        let inner = child.named_child(0).map(|c| self.eval(c, env));
                        items.extend(inner.map(|v| v.items()).unwrap_or_default());
                    } else {
                        items.push(self.eval(child, env));
                    }
                }
                Value::List(items.into())
            }
            "dictionary" => {
                let mut entries = Vec::new();
                for pair in children(node) {
                    if let (Some(key), Some(value)) =
                        (pair.child_by_field_name("key"), pair.child_by_field_name("value"))
                    {
                        entries.push((self.eval(key, env), self.eval(value, env)));
                    }
                }
                Value::Dict(entries.into())
            }
            "parenthesized_expression" | "keyword_separator" | "await" | "type" => {
                node.named_child(0).map_or(Value::Unknown, |c| self.eval(c, env))
            }
            "assignment" => {
                let value = node.child_by_field_name("right").map(|c| self.eval(c, env));
                if let (Some(left), Some(value)) = (node.child_by_field_name("left"), value) {
                    self.bind(left, value, env);
                }
                Value::Unknown
            }
            "augmented_assignment" => {
                let (Some(left), Some(right)) =
                    (node.child_by_field_name("left"), node.child_by_field_name("right"))
                else {
                    return Value::Unknown;
                };
                let (old, new) = (self.eval(left, env), self.eval(right, env));
                self.bind(left, added(&old, &new), env);
                Value::Unknown
            }
            "binary_operator" => self.binary(node, env),
            "conditional_expression" => {
                let mut values = children(node).into_iter().map(|c| self.eval(c, env)).collect::<Vec<_>>();
                if values.is_empty() { Value::Unknown } else { values.swap_remove(0) }
            }
            "list_comprehension" | "generator_expression" | "set_comprehension" => {
                self.comprehension(node, env)
            }
            "attribute" => {
                let of = node.child_by_field_name("object").map_or(Value::Unknown, |c| self.eval(c, env));
                match node.child_by_field_name("attribute") {
                    Some(name) => Value::Attr(of.into(), self.name(name)),
                    None => Value::Unknown,
                }
            }
            "subscript" => {
                let of = node.child_by_field_name("value").map_or(Value::Unknown, |c| self.eval(c, env));
                let key = node.child_by_field_name("subscript").map_or(Value::Unknown, |c| self.eval(c, env));
                item(&of, &key)
            }
            "call" => self.call(node, env),
            "lambda" => Value::Unknown,
            _ => {
                for child in children(node) {
                    self.eval(child, env);
                }
                Value::Unknown
            }
        }
    }

    pub(super) fn string(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        let mut text = String::new();
        for child in children(node) {
            match child.kind() {
                "string_content" => {
                    // Escapes are children of their own; the text between them is not.
                    let (mut from, end) = (child.start_byte(), child.end_byte());
                    for escape in children(child) {
                        text.push_str(&self.text[from..escape.start_byte()]);
                        text.push_str(unescaped(&self.text[escape.byte_range()]));
                        from = escape.end_byte();
                    }
                    text.push_str(&self.text[from..end]);
                }
                "interpolation" => {
                    let value = child.named_child(0).map(|c| self.eval(c, env));
                    text.push_str(&shown(value.as_ref()));
                }
                _ => {}
            }
        }
        Value::text(text)
    }

    pub(super) fn binary(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        let (Some(left), Some(right)) = (node.child_by_field_name("left"), node.child_by_field_name("right"))
        else {
            return Value::Unknown;
        };
        let (left, right) = (self.eval(left, env), self.eval(right, env));
        let sign = node.child_by_field_name("operator").map(|o| self.text[o.byte_range()].to_owned());
        match (sign.as_deref(), &left) {
            (Some("+"), _) => added(&left, &right),
            (Some("%"), Value::Str(format)) => percent(format, &right),
            _ => Value::Unknown,
        }
    }

    pub(super) fn comprehension(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        let mut env = env.clone();
        let Some(body) = node.child_by_field_name("body") else { return Value::Unknown };
        let clauses = children(node).into_iter().filter(|c| c.kind() == "for_in_clause").collect::<Vec<_>>();
        let [clause] = clauses[..] else {
            self.eval(body, &mut env);
            return Value::Unknown;
        };
        let (Some(left), Some(right)) =
            (clause.child_by_field_name("left"), clause.child_by_field_name("right"))
        else {
            return Value::Unknown;
        };
        let over = self.eval(right, &mut env);
        let known = matches!(over, Value::List(_) | Value::Dict(_));
        let mut items = Vec::new();
        for value in self.rounds(&over) {
            self.bind(left, value, &mut env);
            items.push(self.eval(body, &mut env));
        }
        if known { Value::List(items.into()) } else { Value::Unknown }
    }

    pub(super) fn call(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        let callee = node.child_by_field_name("function").map_or(Value::Unknown, |c| self.eval(c, env));
        let (mut args, mut named) = (Vec::new(), Vec::new());
        let list = node.child_by_field_name("arguments");
        for arg in list.map(children).unwrap_or_default() {
            match arg.kind() {
                "keyword_argument" => {
                    if let (Some(name), Some(value)) =
                        (arg.child_by_field_name("name"), arg.child_by_field_name("value"))
                    {
                        named.push((self.name(name), self.eval(value, env)));
                    }
                }
                "list_splat" => {
                    let inner = arg.named_child(0).map(|c| self.eval(c, env));
                    match inner {
                        Some(Value::List(items)) => args.extend(items.iter().cloned()),
                        _ => args.push(Value::Unknown),
                    }
                }
                "dictionary_splat" => {
                    if let Some(Value::Dict(entries)) = arg.named_child(0).map(|c| self.eval(c, env)) {
                        named.extend(
                            entries.iter().filter_map(|(k, v)| Some((k.as_str()?.into(), v.clone()))),
                        );
                    }
                }
                "comment" => {}
                _ => args.push(self.eval(arg, env)),
            }
        }
        if let Value::Function(name) = &callee
            && let Some(function) = self.functions.get(name).copied()
        {
            let mut inner = Env::new();
            self.parameters(function, &args, &named, &mut inner);
            return self.field(function, "body", &mut inner).unwrap_or(Value::Unknown);
        }
        if let Value::Attr(of, method) = &callee
            && matches!(**of, Value::List(_) | Value::Dict(_))
        {
            self.mutated(node, of, method, &args, env);
        }
        if let Some(value) = built_in(&callee, &args) {
            return value;
        }
        let line = node.start_position().row + 1;
        let call = Rc::new(Call { callee, args, named, line });
        self.trace.calls.push(call.clone());
        Value::Call(call)
    }

    /// A list or dictionary that changes in place is something else from here on.
    pub(super) fn mutated(
        &mut self,
        node: Node<'m>,
        of: &Value,
        method: &str,
        args: &[Value],
        env: &mut Env,
    ) {
        let value = match (of, method, args) {
            (Value::List(items), "append" | "add", [one]) => {
                Value::List(items.iter().chain([one]).cloned().collect::<Vec<_>>().into())
            }
            (Value::List(_), "extend" | "update", [more @ Value::List(_)]) => added(of, more),
            (_, "items" | "iteritems" | "keys" | "values" | "get" | "copy" | "index" | "count", _) => return,
            _ => Value::Unknown,
        };
        let holder = node.child_by_field_name("function").and_then(|f| f.child_by_field_name("object"));
        if let Some(holder) = holder {
            self.rebind(holder, value, env);
        }
    }

    pub(super) fn rebind(&mut self, holder: Node<'m>, value: Value, env: &mut Env) {
        if holder.kind() == "identifier" {
            let name = self.name(holder);
            if !env.contains_key(&name) && self.globals.contains_key(&name) {
                self.globals.insert(name, value);
            } else {
                env.insert(name, value);
            }
        }
    }

    /// Binds a function's parameters.
    pub(super) fn parameters(
        &mut self,
        function: Node<'m>,
        args: &[Value],
        named: &[(Rc<str>, Value)],
        env: &mut Env,
    ) {
        let list = function.child_by_field_name("parameters");
        let mut args = args.iter();
        for parameter in list.map(children).unwrap_or_default() {
            let name = match parameter.kind() {
                "identifier" => Some(parameter),
                "default_parameter" | "typed_default_parameter" => parameter.child_by_field_name("name"),
                "typed_parameter" => parameter.named_child(0),
                _ => None,
            };
            let Some(name) = name else { continue };
            let name = self.name(name);
            let given = args.next().cloned();
            let given = given.or_else(|| named.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone()));
            let value = match (given, parameter.child_by_field_name("value")) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(default, &mut Env::new()),
                (None, None) => Value::Name(name.clone()),
            };
            env.insert(name, value);
        }
    }
}
