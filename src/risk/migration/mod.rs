//! Migrations of a database: what they do, how they hang together, and what that asks of a move.
//!
//! A migration is told by its identity in its own tool (a revision, a number, a version), never by its path. What it
//! does is read from its forward part alone, operation by operation, and each operation has a phase; the worst one is
//! the migration's. A part that cannot be read is `unknown`, never nothing.

pub mod chain;
pub mod django;
pub mod liquibase;
mod queries;
pub mod rails;
pub mod read;
pub mod sql;
pub mod sqlalchemy;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an operation asks of code that still runs, from the least to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing happens in the database.
    Noop,
    /// Old code keeps working.
    Expand,
    /// Old code keeps working, but a table may be locked or rewritten.
    Lock,
    /// Rows are rewritten by the migration itself.
    Data,
    /// What it does could not be read.
    Unknown,
    /// It refuses to run until something else was done.
    Check,
    /// Old code may fail, objects or rows vanish, or existing rows get a new constraint.
    Contract,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are those of SQL")]
pub enum Action {
    CreateTable,
    DropTable,
    RenameTable,
    AddColumn,
    DropColumn,
    RenameColumn,
    AlterType,
    SetNotNull,
    DropNotNull,
    SetDefault,
    DropDefault,
    CreateIndex,
    CreateUniqueIndex,
    DropIndex,
    RenameIndex,
    AddUnique,
    AddPrimaryKey,
    AddCheck,
    AddFk,
    DropConstraint,
    CreateView,
    DropView,
    /// Rows are written through the tool's own functions.
    Dml,
    /// A statement of SQL that is none of the others.
    ExecuteSql,
    /// It raises an error.
    Refuse,
    /// Something that is not known.
    Other,
}

/// One operation of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Op {
    /// What it does.
    pub op: Action,
    /// On which table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub table: Option<String>,
    /// To what: a column, an index, a constraint; for a table, the table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<String>,
    /// What that asks.
    pub phase: Phase,
    /// The line, from 1.
    pub line: usize,
    /// What else there is to say: the statement, the call.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}

impl Op {
    /// An operation with the phase that its action usually has.
    pub fn new(op: Action, table: Option<&str>, object: Option<&str>, line: usize) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { op, table: owned(table), object: owned(object), phase: op.phase(), line, detail: None }
    }

    /// The same with another phase.
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// The same with something to say.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// In words: `drop column subnets.in_use`.
    pub fn in_words(&self) -> String {
        let action = serde_json::to_value(self.op).ok();
        let action = action.as_ref().and_then(|v| v.as_str()).unwrap_or("other").replace('_', " ");
        match (&self.table, &self.object) {
            (Some(table), Some(object)) => format!("{action} {table}.{object}"),
            (Some(one), None) | (None, Some(one)) => format!("{action} {one}"),
            (None, None) => match &self.detail {
                Some(detail) => format!("{action}: {detail}"),
                None => action,
            },
        }
    }
}

impl Action {
    /// The phase that it usually has.
    pub fn phase(self) -> Phase {
        use Action::*;
        match self {
            CreateTable | AddColumn | SetDefault | CreateIndex | CreateView | RenameIndex => Phase::Expand,
            AlterType | DropNotNull | AddFk => Phase::Lock,
            Dml => Phase::Data,
            ExecuteSql | Other => Phase::Unknown,
            Refuse => Phase::Check,
            DropTable | RenameTable | DropColumn | RenameColumn | SetNotNull | DropDefault
            | CreateUniqueIndex | DropIndex | AddUnique | AddPrimaryKey | AddCheck | DropConstraint
            | DropView => Phase::Contract,
        }
    }
}

/// Does a function that is not known say by its name that it writes? Beside operations that are known, such a one must
/// not pass for nothing; most others only look.
fn says_it_writes(name: &str) -> bool {
    let verbs = [
        "add", "alter", "backfill", "change", "convert", "copy", "create", "delete", "drop", "execute",
        "fill", "fix", "insert", "migrate", "modify", "move", "populate", "purge", "remove", "rename", "run",
        "set", "sync", "truncate", "update", "upgrade", "wipe",
    ];
    let mut words = name.trim_start_matches('_').split('_');
    // `set` and `add` alone are what lists and objects have.
    name.contains('_') && words.next().is_some_and(|verb| verbs.contains(&verb)) || name == "execute"
}

/// One migration, as its file tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migration {
    /// Its identity in its tool.
    pub revision: String,
    /// What it stands on; empty for a first one.
    pub parents: Vec<String>,
    /// Is it the first one, with the whole schema in it?
    pub baseline: bool,
    /// What it does, in order.
    pub ops: Vec<Op>,
    /// Does its text say, in an accepted form, that somebody looked at it?
    pub assured: bool,
}

impl Migration {
    /// The worst phase.
    pub fn phase(&self) -> Phase {
        self.ops.iter().map(|op| op.phase).max().unwrap_or(Phase::Noop)
    }
}

/// What a range of migrations has created so far: to drop or to constrain that is no loss to anybody.
#[derive(Debug, Default)]
pub struct Created {
    tables: BTreeSet<String>,
    columns: BTreeSet<(String, String)>,
}

impl Created {
    /// Takes in the operations of the next migration; what they do to things that the range itself created is expand.
    pub fn net(&mut self, ops: &mut [Op]) {
        for op in ops {
            let table = op.table.clone().or_else(|| match op.op {
                Action::CreateTable | Action::DropTable | Action::RenameTable => op.object.clone(),
                _ => None,
            });
            let Some(table) = table else { continue };
            let column = op.object.clone().map(|object| (table.clone(), object));
            match op.op {
                Action::CreateTable => {
                    self.tables.insert(table);
                    continue;
                }
                Action::DropTable if self.tables.remove(&table) => op.phase = Phase::Noop,
                Action::DropColumn if column.as_ref().is_some_and(|c| self.columns.remove(c)) => {
                    op.phase = Phase::Noop;
                }
                _ if self.tables.contains(&table) => op.phase = op.phase.min(Phase::Expand),
                Action::AddColumn => {
                    self.columns.extend(column);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_that_something_is_written() {
        assert!(["drop_old_rows", "_migrate_all", "execute"].iter().all(|name| says_it_writes(name)));
        assert!(
            ["should_run", "replace", "with_variant", "false", "add"]
                .iter()
                .all(|name| !says_it_writes(name))
        );
    }

    #[test]
    fn what_a_range_made_itself_may_go_again() {
        let create = Op::new(Action::CreateTable, None, Some("t"), 1);
        let unique = Op::new(Action::AddUnique, Some("t"), Some("u"), 2);
        let drop = Op::new(Action::DropTable, None, Some("t"), 3);
        let mut created = Created::default();
        let mut first = [create.clone(), unique];
        created.net(&mut first);
        assert_eq!(first.map(|op| op.phase), [Phase::Expand; 2]);
        let mut second = [drop.clone(), create];
        created.net(&mut second);
        assert_eq!(second.map(|op| op.phase), [Phase::Noop, Phase::Expand]);
        let mut alone = [drop];
        Created::default().net(&mut alone);
        assert_eq!(alone[0].phase, Phase::Contract);
    }
}
