//! Python.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use tree_sitter::{Node, Parser, Tree};

use super::{Call, DEPTH, HOLE, ROUNDS, STEPS, Trace, Value};

/// A parsed file.
pub struct Module<'t> {
    text: &'t str,
    tree: Tree,
}

type Env = HashMap<Rc<str>, Value>;

/// A class as its file shows it.
#[derive(Debug, Clone)]
pub struct Members {
    /// Its name.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// Its decorators, as they are written.
    pub decorators: Vec<String>,
    /// Its own methods.
    pub methods: Vec<Method>,
}

/// A method as its file shows it.
#[derive(Debug, Clone)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// Its decorators, as they are written.
    pub decorators: Vec<String>,
    /// Its parameters, as they are written.
    pub parameters: String,
}

/// A script that is being walked.
struct Run<'m> {
    text: &'m str,
    functions: HashMap<Rc<str>, Node<'m>>,
    globals: Env,
    trace: Trace,
    steps: usize,
    depth: usize,
    /// How many handlers of exceptions it is in.
    handling: usize,
}

impl<'t> Module<'t> {
    /// Parses; nothing if the parser gives up.
    pub fn parse(text: &'t str) -> Option<Self> {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_python::LANGUAGE.into()).ok()?;
        let tree = parser.parse(text, None)?;
        Some(Self { text, tree })
    }

    fn run(&self) -> Run<'_> {
        let mut run = Run {
            text: self.text,
            functions: HashMap::new(),
            globals: Env::new(),
            trace: Trace::default(),
            steps: 0,
            depth: 0,
            handling: 0,
        };
        let mut env = Env::new();
        run.block(self.tree.root_node(), &mut env);
        run.globals = env;
        run
    }

    /// The values of the names that the file itself defines at its top level.
    pub fn globals(&self) -> HashMap<Rc<str>, Value> {
        self.run().globals
    }

    /// All calls that the file makes when it is loaded, those of its class bodies as well.
    pub fn loading(&self) -> Trace {
        let mut run = self.run();
        for (_, body) in self.classes() {
            let mut env = run.globals.clone();
            run.block(body, &mut env);
        }
        std::mem::take(&mut run.trace)
    }

    /// All calls that the file makes when it is loaded, and those that each of its functions makes.
    pub fn everything(&self) -> Trace {
        let mut trace = self.loading();
        let mut run = self.run();
        let functions: Vec<Node<'_>> = run.functions.values().copied().collect();
        for function in functions {
            let Some(body) = function.child_by_field_name("body") else { continue };
            let mut env = Env::new();
            run.parameters(function, &[], &[], &mut env);
            run.block(body, &mut env);
        }
        trace.calls.append(&mut run.trace.calls);
        trace.partial |= run.trace.partial;
        trace
    }

    /// What happens when one of its functions is called; nothing if it has none of that name.
    pub fn call(&self, name: &str) -> Option<Trace> {
        let mut run = self.run();
        let function = *run.functions.get(name)?;
        run.trace = Trace { partial: function.has_error(), ..Trace::default() };
        let body = function.child_by_field_name("body")?;
        run.trace.empty = is_empty(body);
        let mut env = Env::new();
        run.parameters(function, &[], &[], &mut env);
        run.block(body, &mut env);
        Some(run.trace)
    }

    /// The values that a class gives its own names.
    pub fn class(&self, name: &str) -> Option<HashMap<Rc<str>, Value>> {
        let mut run = self.run();
        let (_, body) = self.classes().into_iter().find(|(n, _)| n == name)?;
        let mut env = run.globals.clone();
        run.block(body, &mut env);
        Some(env)
    }

    /// The classes of the file with their methods.
    pub fn members(&self) -> Vec<Members> {
        let text = |node: Node<'_>| self.text[node.byte_range()].to_owned();
        let decorators = |node: Node<'_>| -> Vec<String> {
            let Some(outer) = node.parent().filter(|p| p.kind() == "decorated_definition") else {
                return Vec::new();
            };
            children(outer).into_iter().filter(|c| c.kind() == "decorator").map(text).collect()
        };
        let method = |node: Node<'_>| {
            let definition = match node.kind() {
                "decorated_definition" => node.child_by_field_name("definition")?,
                _ => node,
            };
            let parameters = definition
                .child_by_field_name("parameters")
                .filter(|_| definition.kind() == "function_definition")?;
            Some(Method {
                name: text(definition.child_by_field_name("name")?),
                decorators: decorators(definition),
                parameters: children(parameters).into_iter().map(text).collect::<Vec<_>>().join(", "),
            })
        };
        let class = |(name, body): (String, Node<'_>)| {
            let definition = body.parent()?;
            Some(Members {
                name,
                line: definition.start_position().row + 1,
                decorators: decorators(definition),
                methods: children(body).into_iter().filter_map(method).collect(),
            })
        };
        self.classes().into_iter().filter_map(class).collect()
    }

    fn classes(&self) -> Vec<(String, Node<'_>)> {
        let root = self.tree.root_node();
        let mut cursor = root.walk();
        let mut out = Vec::new();
        for mut child in root.children(&mut cursor) {
            if child.kind() == "decorated_definition" {
                child = child.child_by_field_name("definition").unwrap_or(child);
            }
            if child.kind() == "class_definition"
                && let (Some(name), Some(body)) =
                    (child.child_by_field_name("name"), child.child_by_field_name("body"))
            {
                out.push((self.text[name.byte_range()].to_owned(), body));
            }
        }
        out
    }
}

/// A file's words as far as they change what it does: without comments and descriptions, commas and brackets that only
/// group, kinds of quotes, and imports in another order or of what is not used.
pub fn code_of(text: &str) -> Option<String> {
    let module = Module::parse(text)?;
    let (mut words, mut imports): (Vec<String>, Vec<Node<'_>>) = (Vec::new(), Vec::new());
    let mut open = vec![module.tree.root_node()];
    while let Some(node) = open.pop() {
        let is_text = node.kind() == "expression_statement"
            && node.named_child_count() == 1
            && node.named_child(0).is_some_and(|c| c.kind() == "string");
        match node.kind() {
            "comment" | "future_import_statement" => {}
            _ if is_text || only_groups(node) => {}
            "import_statement" | "import_from_statement" => imports.push(node),
            "string" => words.push(plain_quotes(&text[node.byte_range()])),
            _ if node.child_count() == 0 => words.push(text[node.byte_range()].to_owned()),
            _ => {
                let mut cursor = node.walk();
                let children: Vec<Node<'_>> = node.children(&mut cursor).collect();
                open.extend(children.into_iter().rev());
            }
        }
    }
    let used: HashSet<&str> = words.iter().map(String::as_str).collect();
    let mut taken = Vec::new();
    for import in imports {
        let from =
            import.child_by_field_name("module_name").map(|m| &text[m.byte_range()]).unwrap_or_default();
        let mut cursor = import.walk();
        for name in import.children_by_field_name("name", &mut cursor) {
            let whole = &text[name.byte_range()];
            // `import a.b` binds `a`, `import a.b as c` binds `c`.
            let bound = whole.rsplit(" as ").next().unwrap_or(whole);
            let bound = if from.is_empty() { bound.split('.').next().unwrap_or(bound) } else { bound };
            if used.contains(bound) {
                taken.push(format!("{from} {whole}"));
            }
        }
    }
    taken.sort();
    Some(format!("{}\n{}", taken.join("\n"), words.join(" ")))
}

/// Is it a comma at the end of a list, or a bracket around a whole value?
fn only_groups(node: Node<'_>) -> bool {
    let Some(parent) = node.parent() else { return false };
    match node.kind() {
        "," => {
            let ends = node.next_sibling().is_some_and(|next| matches!(next.kind(), ")" | "]" | "}"));
            ends && !(parent.kind() == "tuple" && parent.named_child_count() == 1)
        }
        "(" | ")" => {
            let whole =
                ["argument_list", "assignment", "keyword_argument", "return_statement", "list", "pair"];
            parent.kind() == "parenthesized_expression"
                && parent.parent().is_some_and(|outer| whole.contains(&outer.kind()))
        }
        _ => false,
    }
}

/// A text with the quotes that most have; one that has such quotes in it stays as it is.
fn plain_quotes(text: &str) -> String {
    let bare = text.trim_start_matches(['u', 'U']);
    let inner = bare.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).filter(|t| !t.starts_with('\''));
    match inner.filter(|inner| !inner.contains(['"', '\\'])) {
        Some(inner) => format!("\"{inner}\""),
        None => bare.to_owned(),
    }
}

/// Has a function's body nothing but its description, `pass` and `return`?
fn is_empty(body: Node<'_>) -> bool {
    let mut cursor = body.walk();
    body.named_children(&mut cursor).all(|child| match child.kind() {
        "pass_statement" | "comment" => true,
        "return_statement" => child.named_child_count() == 0,
        "expression_statement" => {
            child.named_child(0).is_some_and(|c| matches!(c.kind(), "string" | "ellipsis"))
        }
        _ => false,
    })
}

impl<'m> Run<'m> {
    fn name(&self, node: Node<'_>) -> Rc<str> {
        self.text[node.byte_range()].into()
    }

    /// May it go on?
    fn step(&mut self) -> bool {
        self.steps += 1;
        let may = self.steps < STEPS && self.depth < DEPTH;
        self.trace.partial |= !may;
        may
    }

    fn block(&mut self, block: Node<'m>, env: &mut Env) -> Option<Value> {
        let mut cursor = block.walk();
        let children: Vec<Node<'m>> = block.named_children(&mut cursor).collect();
        let mut returned = None;
        for child in children {
            if let Some(value) = self.statement(child, env) {
                returned = Some(value);
            }
        }
        returned
    }

    fn field(&mut self, node: Node<'m>, field: &str, env: &mut Env) -> Option<Value> {
        let child = node.child_by_field_name(field)?;
        self.block(child, env)
    }

    /// Walks a statement; what it returns, if it does.
    fn statement(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
        if !self.step() {
            return None;
        }
        self.depth += 1;
        let returned = self.any_statement(node, env);
        self.depth -= 1;
        returned
    }

    fn any_statement(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
        match node.kind() {
            "expression_statement" => {
                for child in children(node) {
                    self.eval(child, env);
                }
                None
            }
            "return_statement" => Some(node.named_child(0).map_or(Value::Nothing, |c| self.eval(c, env))),
            // What failed and is told on is no refusal.
            "raise_statement" if self.handling > 0 => None,
            "raise_statement" => {
                self.trace.raises.push(node.start_position().row + 1);
                None
            }
            "except_clause" | "except_group_clause" => {
                self.handling += 1;
                let returned = self.parts(node, env);
                self.handling -= 1;
                returned
            }
            "for_statement" => self.for_loop(node, env),
            "if_statement" | "while_statement" | "elif_clause" | "else_clause" | "try_statement"
            | "finally_clause" | "match_statement" | "case_clause" | "block" => self.parts(node, env),
            "with_statement" => {
                for item in descendants(node, "with_item") {
                    let Some(value) = item.child_by_field_name("value") else { continue };
                    self.with_item(value, env);
                }
                self.field(node, "body", env)
            }
            "decorated_definition" => {
                let definition = node.child_by_field_name("definition")?;
                self.statement(definition, env)
            }
            "function_definition" => {
                let name = self.name(node.child_by_field_name("name")?);
                self.functions.insert(name.clone(), node);
                env.remove(&name);
                None
            }
            "ERROR" => {
                self.trace.partial = true;
                None
            }
            _ => None,
        }
    }

    /// Walks the conditions and blocks of a statement.
    fn parts(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
        let mut returned = None;
        for child in children(node) {
            let value = match child.kind() {
                kind if is_statement(kind) => self.statement(child, env),
                _ => {
                    self.eval(child, env);
                    None
                }
            };
            returned = value.or(returned);
        }
        returned
    }

    fn with_item(&mut self, value: Node<'m>, env: &mut Env) {
        if value.kind() != "as_pattern" {
            self.eval(value, env);
            return;
        }
        let Some(of) = value.named_child(0) else { return };
        let entered = self.eval(of, env);
        if let Some(alias) = value.child_by_field_name("alias")
            && let Some(name) = alias.named_child(0)
        {
            self.bind(name, entered, env);
        }
    }

    fn for_loop(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
        let (left, right) = (node.child_by_field_name("left")?, node.child_by_field_name("right")?);
        let over = self.eval(right, env);
        let mut returned = None;
        for value in self.rounds(&over) {
            self.bind(left, value, env);
            returned = self.field(node, "body", env).or(returned);
        }
        let _ = self.field(node, "alternative", env);
        returned
    }

    /// What a loop's variable is in each round.
    fn rounds(&mut self, over: &Value) -> Vec<Value> {
        let all: Vec<Value> = match over {
            Value::List(items) => items.to_vec(),
            Value::Dict(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
            _ => return vec![Value::Unknown],
        };
        self.trace.partial |= all.len() > ROUNDS;
        all.into_iter().take(ROUNDS).collect()
    }

    fn bind(&mut self, left: Node<'m>, value: Value, env: &mut Env) {
        match left.kind() {
            "identifier" => {
                env.insert(self.name(left), value);
            }
            "pattern_list" | "tuple_pattern" | "list_pattern" => {
                let names = children(left);
                let parts = match &value {
                    Value::List(items) if items.len() == names.len() => items.to_vec(),
                    _ => vec![Value::Unknown; names.len()],
                };
                for (name, part) in names.into_iter().zip(parts) {
                    self.bind(name, part, env);
                }
            }
            "subscript" => {
                if let Some(holder) = left.child_by_field_name("value") {
                    self.rebind(holder, Value::Unknown, env);
                }
            }
            _ => {}
        }
    }

    fn eval(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        if !self.step() {
            return Value::Unknown;
        }
        self.depth += 1;
        let value = self.any(node, env);
        self.depth -= 1;
        value
    }

    fn any(&mut self, node: Node<'m>, env: &mut Env) -> Value {
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

    fn string(&mut self, node: Node<'m>, env: &mut Env) -> Value {
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

    fn binary(&mut self, node: Node<'m>, env: &mut Env) -> Value {
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

    fn comprehension(&mut self, node: Node<'m>, env: &mut Env) -> Value {
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

    fn call(&mut self, node: Node<'m>, env: &mut Env) -> Value {
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
    fn mutated(&mut self, node: Node<'m>, of: &Value, method: &str, args: &[Value], env: &mut Env) {
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

    fn rebind(&mut self, holder: Node<'m>, value: Value, env: &mut Env) {
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
    fn parameters(&mut self, function: Node<'m>, args: &[Value], named: &[(Rc<str>, Value)], env: &mut Env) {
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

/// Is a node of this kind a statement, or holds statements?
fn is_statement(kind: &str) -> bool {
    kind == "block" || ["_clause", "_statement", "_definition"].iter().any(|end| kind.ends_with(end))
}

fn children<'m>(node: Node<'m>) -> Vec<Node<'m>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|c| c.kind() != "comment").collect()
}

/// The nodes of a kind that stand before a statement's body.
fn descendants<'m>(node: Node<'m>, kind: &str) -> Vec<Node<'m>> {
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

fn unescaped(escape: &str) -> &str {
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

fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::Str(text) | Value::Num(text)) => text.to_string(),
        _ => HOLE.to_owned(),
    }
}

fn added(left: &Value, right: &Value) -> Value {
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
fn percent(format: &str, value: &Value) -> Value {
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

fn item(of: &Value, key: &Value) -> Value {
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
fn built_in(callee: &Value, args: &[Value]) -> Option<Value> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(text: &str) -> Vec<String> {
        let module = Module::parse(text).expect("it parses");
        let trace = module.call("upgrade").expect("there is an upgrade");
        let show = |c: &Rc<Call>| {
            let args: Vec<String> = c.args.iter().map(|a| a.as_str().unwrap_or("?").to_owned()).collect();
            format!("{}({}) {}", c.callee.dotted(), args.join(", "), c.line)
        };
        trace.calls.iter().map(show).collect()
    }

    #[test]
    fn loops_helpers_and_names_are_followed() {
        let text = "
NAMES = ('a', 'b')

def helper(table, name='x'):
    op.drop_column(table, name)

def upgrade():
    \"\"\"What it does.\"\"\"
    for prefix in ('', 'shadow_'):
        for name in NAMES:
            helper('%s%s' % (prefix, 't'), name)
    helper('only')
    with op.batch_alter_table('u') as batch:
        batch.drop_column(f'{NAMES[0]}_id')
    if context.is_offline():
        for name in ['offline']:
            op.drop_table(name)

def downgrade():
    op.create_table('never')
";
        assert_eq!(
            calls(text),
            [
                "op.drop_column(t, a) 5",
                "op.drop_column(t, b) 5",
                "op.drop_column(shadow_t, a) 5",
                "op.drop_column(shadow_t, b) 5",
                "op.drop_column(only, x) 5",
                "op.batch_alter_table(u) 13",
                "\u{2026}.drop_column(a_id) 14",
                "context.is_offline() 15",
                "op.drop_table(offline) 17",
            ]
        );
    }

    #[test]
    fn lists_that_grow_are_followed() {
        let text = "
ALL = []

def upgrade():
    for name in ('a', 'b'):
        ALL.append(name)
    found = {}
    found['x'] = 1
    for name in ALL:
        op.drop_table(name)
    for name in found:
        op.drop_table(name)
";
        assert_eq!(calls(text), ["op.drop_table(a) 10", "op.drop_table(b) 10", "op.drop_table(?) 12"]);
    }

    #[test]
    fn what_changes_nothing_is_no_code() {
        let code = |text: &str| code_of(text).expect("it is Python");
        let old = "\"\"\"Words\"\"\"\nfrom __future__ import annotations\nfrom b import op, unused\nimport a.x\n\n\
                   a.x.f('one', [1, 2])  # said\nop.g((1))\n";
        let new = "import a.x\nfrom b import op\na.x.f(\n    \"one\",\n    [1, 2,],\n)\nop.g(1)\n";
        assert_eq!(code(old), code(new));
        assert_ne!(code(old), code(&new.replace("one", "two")));
        assert_ne!(code(old), code(&new.replace("from b", "from c")));
        assert_ne!(code("x = (1 + 2) * 3"), code("x = 1 + (2 * 3)"));
        assert_ne!(code("x = [a, -b]"), code("x = [a - b]"));
        assert_ne!(code("x = (a,)"), code("x = (a)"));
    }

    #[test]
    fn deep_and_endless_texts_end() {
        let deep = format!("def upgrade():\n    x = {}1{}\n", "(".repeat(5000), ")".repeat(5000));
        assert!(Module::parse(&deep).and_then(|m| m.call("upgrade")).is_some_and(|t| t.partial));
        let endless = "def upgrade():\n    upgrade()\n    upgrade()\n";
        assert!(Module::parse(endless).and_then(|m| m.call("upgrade")).is_some_and(|t| t.partial));
    }
}
