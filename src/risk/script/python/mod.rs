//! Python. Statements are walked in `statements.rs`, values worked out in `expressions.rs` and `values.rs`.

mod expressions;
mod statements;
mod values;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use tree_sitter::{Node, Parser, Tree};

use self::values::children;
use super::{Trace, Value};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::script::Call;

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
