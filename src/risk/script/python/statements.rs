//! Statements: names are bound, loops over known lists gone through, every branch taken.

use std::rc::Rc;

use tree_sitter::Node;

use super::values::{children, descendants, is_statement};
use super::{Env, Run};
use crate::risk::script::{DEPTH, ROUNDS, STEPS, Value};

impl<'m> Run<'m> {
    pub(super) fn name(&self, node: Node<'_>) -> Rc<str> {
        self.text[node.byte_range()].into()
    }

    /// May it go on?
    pub(super) fn step(&mut self) -> bool {
        self.steps += 1;
        let may = self.steps < STEPS && self.depth < DEPTH;
        self.trace.partial |= !may;
        may
    }

    pub(super) fn block(&mut self, block: Node<'m>, env: &mut Env) -> Option<Value> {
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

    pub(super) fn field(&mut self, node: Node<'m>, field: &str, env: &mut Env) -> Option<Value> {
        let child = node.child_by_field_name(field)?;
        self.block(child, env)
    }

    /// Walks a statement; what it returns, if it does.
    pub(super) fn statement(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
        if !self.step() {
            return None;
        }
        self.depth += 1;
        let returned = self.any_statement(node, env);
        self.depth -= 1;
        returned
    }

    pub(super) fn any_statement(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
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
    pub(super) fn parts(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
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

    pub(super) fn with_item(&mut self, value: Node<'m>, env: &mut Env) {
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

    pub(super) fn for_loop(&mut self, node: Node<'m>, env: &mut Env) -> Option<Value> {
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
    pub(super) fn rounds(&mut self, over: &Value) -> Vec<Value> {
        let all: Vec<Value> = match over {
            Value::List(items) => items.to_vec(),
            Value::Dict(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
            _ => return vec![Value::Unknown],
        };
        self.trace.partial |= all.len() > ROUNDS;
        all.into_iter().take(ROUNDS).collect()
    }

    pub(super) fn bind(&mut self, left: Node<'m>, value: Value, env: &mut Env) {
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
}
