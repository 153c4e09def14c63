//! What statements of SQL do.

use sqlparser::ast::{
    AlterColumnOperation, AlterTableOperation, ColumnDef, ColumnOption, ObjectType, Statement,
    TableConstraint,
};
use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::super::script::HOLE;
use super::{Action, Op, Phase};

/// How deep a statement may nest.
const DEPTH: usize = 40;
/// Characters of a statement that are shown.
const SHOWN: usize = 120;

/// What a script does, statement by statement; its first line is `line`.
pub fn ops(text: &str, line: usize) -> Vec<Op> {
    let text = text.replace(HOLE, "hole_");
    let dialects: [&dyn Dialect; 4] =
        [&GenericDialect {}, &PostgreSqlDialect {}, &MySqlDialect {}, &SQLiteDialect {}];
    let readings = dialects.iter().filter_map(|dialect| reading(*dialect, &text, line));
    // The dialect in which most of it makes sense.
    readings.min_by_key(|(unread, _)| *unread).map_or_else(|| vec![unread(&text, line)], |(_, ops)| ops)
}

/// How many statements make no sense in a dialect, and what all do.
fn reading(dialect: &dyn Dialect, text: &str, line: usize) -> Option<(usize, Vec<Op>)> {
    let tokens = Tokenizer::new(dialect, text).tokenize_with_location().ok()?;
    let mut out = (0, Vec::new());
    for statement in tokens.split(|t| t.token == Token::SemiColon) {
        let is_blank = |t: &TokenWithSpan| matches!(t.token, Token::Whitespace(_) | Token::EOF);
        let Some(first) = statement.iter().find(|t| !is_blank(t)) else { continue };
        let at = line + usize::try_from(first.span.start.line).unwrap_or(1).saturating_sub(1);
        let words: String = statement.iter().map(|t| t.token.to_string()).collect();
        let parsed = Parser::new(dialect)
            .with_recursion_limit(DEPTH)
            .with_tokens_with_locations(statement.to_vec())
            .parse_statements();
        match parsed {
            Ok(statements) => {
                for statement in statements {
                    out.1.extend(statement_ops(&statement, at, &words));
                }
            }
            Err(_) => {
                out.0 += 1;
                out.1.push(unread(&words, at));
            }
        }
    }
    Some(out)
}

fn short(words: &str) -> String {
    let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}{HOLE}", &one_line[..at]),
        None => one_line,
    }
}

/// A statement that no dialect's parser takes: its first words tell a little.
fn unread(words: &str, line: usize) -> Op {
    let lower = short(words).to_lowercase();
    let starts = |start: &str| lower.starts_with(start);
    let rewrites = ["character set", "collate ", "engine=", "engine =", "row_format"];
    let worse = [" drop ", " not null", " unique", " primary ", " rename ", " change ", " check "];
    let phase = if starts("alter table")
        && !worse.iter().any(|words| lower.contains(words))
        && rewrites.iter().any(|words| lower.contains(words))
    {
        Phase::Lock
    } else if starts("update ") || starts("delete ") || starts("insert ") || starts("replace ") {
        Phase::Data
    } else if starts("drop ") || starts("rename ") || starts("truncate ") || lower.contains(" drop ") {
        Phase::Contract
    } else {
        Phase::Unknown
    };
    Op::new(Action::ExecuteSql, None, None, line).phase(phase).detail(short(words))
}

fn name(name: &sqlparser::ast::ObjectName) -> String {
    name.0
        .iter()
        .map(|part| part.as_ident().map_or_else(String::new, |i| i.value.clone()))
        .collect::<Vec<_>>()
        .join(".")
}

fn statement_ops(statement: &Statement, line: usize, words: &str) -> Vec<Op> {
    let op = |action, table: Option<&str>, object: Option<&str>| Op::new(action, table, object, line);
    let raw = |phase| vec![op(Action::ExecuteSql, None, None).phase(phase).detail(short(words))];
    match statement {
        Statement::CreateTable(table) if table.query.is_some() => raw(Phase::Data),
        Statement::CreateTable(table) => vec![op(Action::CreateTable, None, Some(&name(&table.name)))],
        Statement::CreateView(view) => {
            let phase = if view.or_replace { Phase::Lock } else { Phase::Expand };
            vec![op(Action::CreateView, None, Some(&name(&view.name))).phase(phase)]
        }
        Statement::CreateIndex(index) => {
            let action = if index.unique { Action::CreateUniqueIndex } else { Action::CreateIndex };
            let object = index.name.as_ref().map(name);
            vec![op(action, Some(&name(&index.table_name)), object.as_deref())]
        }
        Statement::AlterTable(alter) => {
            let table = name(&alter.name);
            alter.operations.iter().flat_map(|o| alter_ops(o, &table, line, words)).collect()
        }
        Statement::Drop { object_type, names, table, .. } => {
            let table = table.as_ref().map(name);
            let drop = |object: String| match object_type {
                ObjectType::Table => op(Action::DropTable, None, Some(&object)),
                ObjectType::View | ObjectType::MaterializedView => op(Action::DropView, None, Some(&object)),
                ObjectType::Index => op(Action::DropIndex, table.as_deref(), Some(&object)),
                _ => op(Action::ExecuteSql, None, None).phase(Phase::Contract).detail(short(words)),
            };
            names.iter().map(name).map(drop).collect()
        }
        Statement::RenameTable(renames) => {
            renames.iter().map(|r| op(Action::RenameTable, None, Some(&name(&r.old_name)))).collect()
        }
        Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Copy { .. } => raw(Phase::Data),
        Statement::Truncate(_) => raw(Phase::Contract),
        Statement::CreateExtension(_)
        | Statement::CreateSchema { .. }
        | Statement::CreateSequence { .. }
        | Statement::CreateType { .. }
        | Statement::CreateFunction(_)
        | Statement::Grant(_) => raw(Phase::Expand),
        Statement::AlterType(_) => raw(Phase::Lock),
        Statement::Vacuum(_) | Statement::AlterIndex { .. } => raw(Phase::Lock),
        Statement::Set(_)
        | Statement::Comment { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Use(_) => raw(Phase::Noop),
        Statement::Query(query) => {
            // A function may do anything; a plain read does nothing.
            let words = query.to_string().to_lowercase();
            let reads = words.starts_with("select") && words.contains(" from ") && !words.contains(" into ");
            raw(if reads { Phase::Noop } else { Phase::Unknown })
        }
        _ => raw(Phase::Unknown),
    }
}

fn alter_ops(operation: &AlterTableOperation, table: &str, line: usize, words: &str) -> Vec<Op> {
    let op = |action, object: Option<&str>| Op::new(action, Some(table), object, line);
    let raw = |phase| op(Action::ExecuteSql, None).phase(phase).detail(short(words));
    match operation {
        AlterTableOperation::AddColumn { column_def, .. } => vec![added(column_def, table, line)],
        AlterTableOperation::DropColumn { column_names, .. } => {
            column_names.iter().map(|c| op(Action::DropColumn, Some(&c.value))).collect()
        }
        AlterTableOperation::RenameColumn { old_column_name, .. } => {
            vec![op(Action::RenameColumn, Some(&old_column_name.value))]
        }
        AlterTableOperation::RenameTable { .. } => {
            vec![Op::new(Action::RenameTable, None, Some(table), line)]
        }
        AlterTableOperation::RenameConstraint { .. } => vec![raw(Phase::Expand)],
        AlterTableOperation::ChangeColumn { old_name, new_name, options, .. } => {
            let mut ops = vec![altered(&old_name.value, options, table, line)];
            if old_name.value != new_name.value {
                ops.push(op(Action::RenameColumn, Some(&old_name.value)));
            }
            ops
        }
        AlterTableOperation::ModifyColumn { col_name, options, .. } => {
            vec![altered(&col_name.value, options, table, line)]
        }
        AlterTableOperation::AlterColumn { column_name, op: change } => {
            let action = match change {
                AlterColumnOperation::SetNotNull => Action::SetNotNull,
                AlterColumnOperation::DropNotNull => Action::DropNotNull,
                AlterColumnOperation::SetDefault { .. } => Action::SetDefault,
                AlterColumnOperation::DropDefault => Action::DropDefault,
                _ => Action::AlterType,
            };
            vec![op(action, Some(&column_name.value))]
        }
        AlterTableOperation::AddConstraint { constraint, not_valid } => {
            let (action, given) = match constraint {
                TableConstraint::Unique(c) => (Action::AddUnique, c.name.as_ref()),
                TableConstraint::PrimaryKey(c) => (Action::AddPrimaryKey, c.name.as_ref()),
                TableConstraint::ForeignKey(c) => (Action::AddFk, c.name.as_ref()),
                TableConstraint::Check(c) => (Action::AddCheck, c.name.as_ref()),
                TableConstraint::Index(c) => (Action::CreateIndex, c.name.as_ref()),
                _ => return vec![raw(Phase::Unknown)],
            };
            let op = op(action, given.map(|name| name.value.as_str()));
            // New rows are held to it at once, old ones are not looked at.
            vec![if *not_valid && action == Action::AddFk { op.phase(Phase::Expand) } else { op }]
        }
        AlterTableOperation::DropConstraint { name, .. }
        | AlterTableOperation::DropForeignKey { name, .. } => {
            vec![op(Action::DropConstraint, Some(&name.value))]
        }
        AlterTableOperation::DropPrimaryKey { .. } => vec![op(Action::DropConstraint, None)],
        AlterTableOperation::DropIndex { name } => vec![op(Action::DropIndex, Some(&name.value))],
        AlterTableOperation::ValidateConstraint { .. } => vec![raw(Phase::Lock)],
        _ => vec![raw(Phase::Unknown)],
    }
}

fn added(column: &ColumnDef, table: &str, line: usize) -> Op {
    let op = Op::new(Action::AddColumn, Some(table), Some(&column.name.value), line);
    let has = |wanted: fn(&ColumnOption) -> bool| column.options.iter().any(|o| wanted(&o.option));
    let not_null = has(|o| matches!(o, ColumnOption::NotNull | ColumnOption::PrimaryKey(_)));
    let filled = has(|o| {
        matches!(
            o,
            ColumnOption::Default(_) | ColumnOption::Generated { .. } | ColumnOption::DialectSpecific(_)
        )
    });
    if not_null && !filled { op.phase(Phase::Contract) } else { op }
}

/// `MODIFY` and `CHANGE` give a column's whole definition.
fn altered(column: &str, options: &[ColumnOption], table: &str, line: usize) -> Op {
    let not_null = options.iter().any(|o| matches!(o, ColumnOption::NotNull));
    let op = Op::new(Action::AlterType, Some(table), Some(column), line);
    if not_null { op.detail("NOT NULL is part of it").phase(Phase::Contract) } else { op }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        use Action::*;
        let cases: [(&str, Action, Phase); 22] = [
            ("ALTER TABLE t ADD COLUMN c int", AddColumn, Phase::Expand),
            ("ALTER TABLE t ADD COLUMN c int NOT NULL", AddColumn, Phase::Contract),
            ("ALTER TABLE t ADD c int NOT NULL DEFAULT 0", AddColumn, Phase::Expand),
            ("ALTER TABLE t DROP COLUMN c", DropColumn, Phase::Contract),
            ("ALTER TABLE `t` MODIFY `c` varchar(9)", AlterType, Phase::Lock),
            ("ALTER TABLE t ALTER COLUMN c SET NOT NULL", SetNotNull, Phase::Contract),
            ("ALTER TABLE t ADD CONSTRAINT u UNIQUE (a, b)", AddUnique, Phase::Contract),
            ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b)", AddFk, Phase::Lock),
            (
                "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (b) NOT VALID",
                AddFk,
                Phase::Expand,
            ),
            (
                "ALTER TABLE tags CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
                ExecuteSql,
                Phase::Lock,
            ),
            ("CREATE UNIQUE INDEX i ON t (a)", CreateUniqueIndex, Phase::Contract),
            ("CREATE INDEX CONCURRENTLY i ON t (a)", CreateIndex, Phase::Expand),
            ("CREATE TABLE t (id int PRIMARY KEY)", CreateTable, Phase::Expand),
            ("CREATE TABLE t AS SELECT * FROM u", ExecuteSql, Phase::Data),
            ("DROP TABLE IF EXISTS t", DropTable, Phase::Contract),
            ("UPDATE t SET a = 1 WHERE b IS NULL", ExecuteSql, Phase::Data),
            ("DELETE FROM t", ExecuteSql, Phase::Data),
            ("TRUNCATE TABLE t", ExecuteSql, Phase::Contract),
            ("ALTER TYPE mood ADD VALUE 'sad'", ExecuteSql, Phase::Lock),
            ("SELECT do_something()", ExecuteSql, Phase::Unknown),
            ("DO $$ BEGIN PERFORM 1; END $$", ExecuteSql, Phase::Unknown),
            ("SET statement_timeout = 0", ExecuteSql, Phase::Noop),
        ];
        for (text, action, phase) in cases {
            let found = ops(text, 1);
            assert_eq!(
                found.iter().map(|op| (op.op, op.phase)).collect::<Vec<_>>(),
                [(action, phase)],
                "{text}"
            );
        }
    }

    #[test]
    fn each_statement_has_its_line() {
        let found = ops("-- first\nALTER TABLE t ADD a int;\n\nDROP TABLE u;\n", 10);
        assert_eq!(found.iter().map(|op| op.line).collect::<Vec<_>>(), [11, 13]);
    }
}
