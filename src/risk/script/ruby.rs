//! Ruby, as far as migrations need it.

use std::collections::HashMap;
use std::rc::Rc;

use tree_sitter::{Node, Parser, Tree};

use super::{Call, DEPTH, HOLE, ROUNDS, STEPS, Trace, Value};

/// A parsed file.
pub struct Script<'t> {
    text: &'t str,
    tree: Tree,
}

type Env = HashMap<Rc<str>, Value>;

struct Run<'m> {
    text: &'m str,
    methods: HashMap<Rc<str>, Node<'m>>,
    heredocs: HashMap<usize, Node<'m>>,
    globals: Env,
    trace: Trace,
    steps: usize,
    depth: usize,
}

impl<'t> Script<'t> {
    /// Parses; nothing if the parser gives up.
    pub fn parse(text: &'t str) -> Option<Self> {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_ruby::LANGUAGE.into()).ok()?;
        let tree = parser.parse(text, None)?;
        Some(Self { text, tree })
    }

    /// What happens when the first of these methods that its class has is called.
    pub fn call(&self, names: &[&str]) -> Option<Trace> {
        let mut run = Run {
            text: self.text,
            methods: HashMap::new(),
            heredocs: HashMap::new(),
            globals: Env::new(),
            trace: Trace::default(),
            steps: 0,
            depth: 0,
        };
        run.survey(self.tree.root_node());
        let method = names.iter().find_map(|name| run.methods.get(*name).copied())?;
        let body = method.child_by_field_name("body");
        run.trace.empty = body.is_none_or(|b| b.named_child_count() == 0);
        run.trace.partial = method.has_error();
        if let Some(body) = body {
            run.block(body, &mut Env::new());
        }
        Some(run.trace)
    }
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|c| c.kind() != "comment").collect()
}

impl<'m> Run<'m> {
    fn slice(&self, node: Node<'_>) -> &'m str {
        &self.text[node.byte_range()]
    }

    /// Finds methods, constants and texts that stand below the line in which they are used.
    fn survey(&mut self, root: Node<'m>) {
        let (mut begun, mut bodies, mut constants) = (Vec::new(), Vec::new(), Vec::new());
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            match node.kind() {
                "method" | "singleton_method" => {
                    if let Some(name) = node.child_by_field_name("name") {
                        let name = self.slice(name).into();
                        self.methods.entry(name).or_insert(node);
                    }
                }
                "heredoc_beginning" => begun.push(node),
                "heredoc_body" => bodies.push(node),
                "assignment" if node.child_by_field_name("left").is_some_and(|l| l.kind() == "constant") => {
                    constants.push(node);
                }
                _ => {}
            }
            open.extend(children(node).into_iter().rev());
        }
        begun.sort_by_key(|n| n.start_byte());
        bodies.sort_by_key(|n| n.start_byte());
        self.heredocs = begun.into_iter().map(|n| n.id()).zip(bodies).collect();
        constants.sort_by_key(|n| n.start_byte());
        for constant in constants {
            let (Some(left), Some(right)) =
                (constant.child_by_field_name("left"), constant.child_by_field_name("right"))
            else {
                continue;
            };
            let value = self.eval(right, &mut Env::new());
            self.globals.insert(self.slice(left).into(), value);
        }
        self.trace = Trace::default();
    }

    fn step(&mut self) -> bool {
        self.steps += 1;
        let may = self.steps < STEPS && self.depth < DEPTH;
        self.trace.partial |= !may;
        may
    }

    /// Walks the statements of a body; the value of the last.
    fn block(&mut self, body: Node<'m>, env: &mut Env) -> Value {
        let mut last = Value::Nothing;
        for child in children(body) {
            last = self.eval(child, env);
        }
        last
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
                let name: Rc<str> = self.slice(node).into();
                match env.get(&name) {
                    Some(value) => value.clone(),
                    None if self.methods.contains_key(&name) => self.enter(&name, &[]),
                    None => self.note(Value::Name(name), Vec::new(), Vec::new(), node),
                }
            }
            "constant" => {
                let name: Rc<str> = self.slice(node).into();
                self.globals.get(&name).cloned().unwrap_or(Value::Name(name))
            }
            "scope_resolution" => Value::Name(self.slice(node).into()),
            "simple_symbol" => Value::text(self.slice(node).trim_start_matches(':')),
            "hash_key_symbol" | "bare_string" | "bare_symbol" => Value::text(self.slice(node)),
            "string" | "delimited_symbol" | "chained_string" | "subshell" => {
                Value::text(self.content(node, env))
            }
            "heredoc_beginning" => match self.heredocs.get(&node.id()).copied() {
                Some(body) => Value::text(self.content(body, env)),
                None => Value::Unknown,
            },
            "integer" | "float" => Value::Num(self.slice(node).into()),
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "nil" => Value::Nothing,
            "array" | "string_array" | "symbol_array" => {
                Value::List(children(node).into_iter().map(|c| self.eval(c, env)).collect::<Vec<_>>().into())
            }
            "hash" => {
                let mut entries = Vec::new();
                for pair in children(node) {
                    entries.extend(self.pair(pair, env));
                }
                Value::Dict(entries.into())
            }
            "assignment" | "operator_assignment" => {
                let value = node.child_by_field_name("right").map(|c| self.eval(c, env));
                if let (Some(left), Some(value)) = (node.child_by_field_name("left"), value) {
                    env.insert(self.slice(left).into(), value.clone());
                    return value;
                }
                Value::Unknown
            }
            "call" => self.call(node, env),
            "lambda" | "class" | "module" | "method" | "singleton_method" => Value::Unknown,
            "ERROR" => {
                self.trace.partial = true;
                Value::Unknown
            }
            // Every branch is taken.
            _ => {
                self.block(node, env);
                Value::Unknown
            }
        }
    }

    fn content(&mut self, node: Node<'m>, env: &mut Env) -> String {
        let mut text = String::new();
        for child in children(node) {
            match child.kind() {
                "string_content" | "heredoc_content" => text.push_str(self.slice(child)),
                "escape_sequence" => text.push_str(match self.slice(child) {
                    "\\n" => "\n",
                    "\\t" => "\t",
                    other => other.trim_start_matches('\\'),
                }),
                "interpolation" => match child.named_child(0).map(|c| self.eval(c, env)) {
                    Some(Value::Str(part) | Value::Num(part)) => text.push_str(&part),
                    _ => text.push_str(HOLE),
                },
                "string" => text.push_str(&self.content(child, env)),
                _ => {}
            }
        }
        text
    }

    fn pair(&mut self, pair: Node<'m>, env: &mut Env) -> Option<(Value, Value)> {
        let key = self.eval(pair.child_by_field_name("key")?, env);
        let value = pair.child_by_field_name("value").map_or(Value::Unknown, |v| self.eval(v, env));
        Some((key, value))
    }

    fn note(
        &mut self,
        callee: Value,
        args: Vec<Value>,
        named: Vec<(Rc<str>, Value)>,
        node: Node<'_>,
    ) -> Value {
        let line = node.start_position().row + 1;
        if callee.last() == "raise" {
            self.trace.raises.push(line);
            return Value::Unknown;
        }
        let call = Rc::new(Call { callee, args, named, line });
        self.trace.calls.push(call.clone());
        Value::Call(call)
    }

    fn enter(&mut self, name: &str, args: &[Value]) -> Value {
        let Some(method) = self.methods.get(name).copied() else { return Value::Unknown };
        let mut inner = Env::new();
        let list = method.child_by_field_name("parameters");
        for (at, parameter) in list.map(children).unwrap_or_default().into_iter().enumerate() {
            let name = parameter.child_by_field_name("name").unwrap_or(parameter);
            inner.insert(self.slice(name).into(), args.get(at).cloned().unwrap_or(Value::Unknown));
        }
        match method.child_by_field_name("body") {
            Some(body) => self.block(body, &mut inner),
            None => Value::Nothing,
        }
    }

    fn call(&mut self, node: Node<'m>, env: &mut Env) -> Value {
        let of = node.child_by_field_name("receiver").map(|c| self.eval(c, env));
        let Some(name) = node.child_by_field_name("method") else { return Value::Unknown };
        let name: Rc<str> = self.slice(name).into();
        let (mut args, mut named) = (Vec::new(), Vec::new());
        for arg in node.child_by_field_name("arguments").map(children).unwrap_or_default() {
            match arg.kind() {
                "pair" => {
                    if let Some((key, value)) = self.pair(arg, env)
                        && let Some(key) = key.as_str()
                    {
                        named.push((key.into(), value));
                    }
                }
                "splat_argument" => {
                    let inner = arg.named_child(0).map(|c| self.eval(c, env));
                    match inner {
                        Some(Value::List(items)) => args.extend(items.iter().cloned()),
                        _ => args.push(Value::Unknown),
                    }
                }
                _ => args.push(self.eval(arg, env)),
            }
        }
        // A last hash in braces is options as well.
        if let Some(Value::Dict(entries)) = args.last() {
            named.extend(entries.iter().filter_map(|(k, v)| Some((k.as_str()?.into(), v.clone()))));
        }
        let block = node.child_by_field_name("block");
        if of.is_none() && self.methods.contains_key(&name) {
            return self.enter(&name, &args);
        }
        // Of what only runs on the way back nothing is run.
        if &*name == "down" && block.is_some() {
            return Value::Unknown;
        }
        let loops = matches!(&*name, "each" | "map" | "each_with_index" | "each_pair" | "flat_map");
        if loops && let Some(rounds) = of.as_ref().and_then(rounds) {
            self.trace.partial |= rounds.len() > ROUNDS;
            let mut results = Vec::new();
            for round in rounds.into_iter().take(ROUNDS) {
                results.push(self.run_block(block, &round, env));
            }
            return Value::List(results.into());
        }
        if let (Some(Value::Str(text)), "squish" | "strip" | "to_s" | "to_sym" | "freeze" | "strip_heredoc") =
            (&of, &*name)
        {
            return Value::Str(text.clone());
        }
        if let (Some(value @ (Value::List(_) | Value::Dict(_))), "freeze" | "to_a" | "uniq") = (&of, &*name) {
            return value.clone();
        }
        let callee = match of {
            Some(of) => Value::Attr(of.into(), name),
            None => Value::Name(name),
        };
        let value = self.note(callee, args, named, node);
        if block.is_some() {
            self.run_block(block, std::slice::from_ref(&value), env);
        }
        value
    }

    fn run_block(&mut self, block: Option<Node<'m>>, values: &[Value], env: &mut Env) -> Value {
        let Some(block) = block else { return Value::Unknown };
        let parameters = block.child_by_field_name("parameters").map(children).unwrap_or_default();
        let spread = match values {
            [Value::List(items)] if parameters.len() > 1 => items.to_vec(),
            other => other.to_vec(),
        };
        for (at, parameter) in parameters.into_iter().enumerate() {
            env.insert(self.slice(parameter).into(), spread.get(at).cloned().unwrap_or(Value::Unknown));
        }
        match block.child_by_field_name("body") {
            Some(body) => self.block(body, env),
            None => Value::Nothing,
        }
    }
}

/// What a loop's variables are in each round.
fn rounds(over: &Value) -> Option<Vec<Vec<Value>>> {
    match over {
        Value::List(items) => Some(items.iter().map(|item| vec![item.clone()]).collect()),
        Value::Dict(entries) => Some(entries.iter().map(|(k, v)| vec![k.clone(), v.clone()]).collect()),
        _ => None,
    }
}
