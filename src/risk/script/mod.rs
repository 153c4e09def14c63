//! Runs migration scripts in the mind: what they would call, with which arguments, without running a line of them.
//!
//! A script is walked statement by statement. Names are bound to what is known of their values, loops over known lists
//! are unrolled, every branch is taken, functions of the same file are entered, and each call that is met is noted in
//! order. Nothing is executed, imported or looked up outside the text, and a limit on steps and depth holds for texts
//! that were made to be hard.

pub mod python;
pub mod ruby;

use std::rc::Rc;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text. Parts that are not known stand as [`HOLE`].
    Str(Rc<str>),
    /// A number, as written.
    Num(Rc<str>),
    /// True or false.
    Bool(bool),
    /// Nothing (`None`, `nil`).
    Nothing,
    /// A list, tuple or set.
    List(Rc<Vec<Value>>),
    /// A dictionary or hash.
    Dict(Rc<Vec<(Value, Value)>>),
    /// A name that is not defined in the file.
    Name(Rc<str>),
    /// A function of the file.
    Function(Rc<str>),
    /// A member of something.
    Attr(Rc<Value>, Rc<str>),
    /// What a call gives.
    Call(Rc<Call>),
    /// Not known.
    Unknown,
}

/// What stands in a text for a part that is not known.
pub const HOLE: &str = "\u{2026}";

/// One call that a script makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub callee: Value,
    /// By position.
    pub args: Vec<Value>,
    /// By name.
    pub named: Vec<(Rc<str>, Value)>,
    /// The line, from 1.
    pub line: usize,
}

/// What happens when a function runs.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The calls, in order; arguments before the call that takes them.
    pub calls: Vec<Rc<Call>>,
    /// Lines at which it may refuse to go on.
    pub raises: Vec<usize>,
    /// Does it do nothing at all?
    pub empty: bool,
    /// Was something left out: a limit was reached, or a part could not be parsed?
    pub partial: bool,
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The members of a list; a single value is a list of one.
    pub fn items(&self) -> Vec<Value> {
        match self {
            Self::List(items) => items.to_vec(),
            Self::Nothing => Vec::new(),
            other => vec![other.clone()],
        }
    }

    /// The call that gave it.
    pub fn as_call(&self) -> Option<&Call> {
        match self {
            Self::Call(call) => Some(call),
            _ => None,
        }
    }

    /// `a.b.c` for names and their members; what a call gives ends the chain: `….c`.
    pub fn dotted(&self) -> String {
        match self {
            Self::Name(name) | Self::Function(name) => name.to_string(),
            Self::Attr(of, name) => format!("{}.{name}", of.dotted()),
            _ => HOLE.to_owned(),
        }
    }

    /// The last part of its dotted name.
    pub fn last(&self) -> &str {
        match self {
            Self::Name(name) | Self::Function(name) | Self::Attr(_, name) => name,
            _ => "",
        }
    }

    /// As it could be written.
    pub fn shown(&self) -> String {
        let list = |items: &[Value]| items.iter().map(Value::shown).collect::<Vec<_>>().join(", ");
        match self {
            Self::Str(text) => format!("'{text}'"),
            Self::Num(text) => text.to_string(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Nothing => "None".to_owned(),
            Self::List(items) => format!("[{}]", list(items)),
            Self::Dict(entries) => {
                let pairs = entries.iter().map(|(k, v)| format!("{}: {}", k.shown(), v.shown()));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
            Self::Call(call) => format!("{}({})", call.callee.dotted(), list(&call.args)),
            Self::Unknown => HOLE.to_owned(),
            other => other.dotted(),
        }
    }

    /// What it is a member of.
    pub fn of(&self) -> Option<&Value> {
        match self {
            Self::Attr(of, _) => Some(of),
            _ => None,
        }
    }
}

impl Call {
    /// The called name without what it is a member of.
    pub fn name(&self) -> &str {
        self.callee.last()
    }

    /// An argument by its name.
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// An argument by its place, or by its name.
    pub fn arg(&self, at: usize, name: &str) -> Option<&Value> {
        self.args.get(at).or_else(|| self.named(name))
    }

    /// The same, as a text.
    pub fn text(&self, at: usize, name: &str) -> Option<&str> {
        self.arg(at, name).and_then(Value::as_str)
    }

    /// Is the argument of this name true?
    pub fn is_true(&self, name: &str) -> bool {
        self.named(name) == Some(&Value::Bool(true))
    }

    /// Is the argument of this name false?
    pub fn is_false(&self, name: &str) -> bool {
        self.named(name) == Some(&Value::Bool(false))
    }
}

/// Steps that one script may take.
const STEPS: usize = 200_000;
/// How deep expressions and calls may nest.
const DEPTH: usize = 120;
/// Rounds of one loop.
const ROUNDS: usize = 200;
