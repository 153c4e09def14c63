//! Migrations of alembic and of sqlalchemy-migrate: both call SQLAlchemy's words from an `upgrade` function.
//!
//! Source: alembic's operation reference, sqlalchemy-migrate's changeset documentation.

use super::super::script::python::Module;
use super::super::script::{Call, HOLE, Trace, Value};
use super::queries::{is_query, is_reader, is_session};
use super::{Action, Migration, Op, Phase, says_it_writes, sql};

/// Reads an alembic migration; nothing if the file is none.
pub fn alembic(text: &str) -> Option<Migration> {
    // An environment's plumbing has no revision, and is no migration.
    if !text.contains("revision") {
        return None;
    }
    let module = Module::parse(text)?;
    let globals = module.globals();
    let revision = globals.get("revision")?.as_str()?.to_owned();
    let down = globals.get("down_revision");
    let parents = down.map(|d| d.items()).unwrap_or_default();
    let parents: Vec<String> = parents.iter().filter_map(|p| p.as_str().map(str::to_owned)).collect();
    let baseline = down == Some(&Value::Nothing);
    let ops = module.call("upgrade").map(|trace| traced(&trace)).unwrap_or_default();
    Some(Migration { revision, parents, baseline, ops, assured: false })
}

/// Reads a sqlalchemy-migrate migration of this number.
pub fn numbered(text: &str, number: &str) -> Option<Migration> {
    let trace = Module::parse(text)?.call("upgrade")?;
    Some(Migration { revision: number.to_owned(), ops: traced(&trace), ..Migration::default() })
}

/// What the calls of an upgrade do.
fn traced(trace: &Trace) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let (mut unread, mut writer) = (None, None);
    for call in &trace.calls {
        match read(call) {
            Read::Ops(found) => {
                ops.extend(found.into_iter().filter(|op| op.op != Action::Other || op.detail.is_some()))
            }
            Read::Harmless => {}
            Read::Unread => {
                unread = unread.or(Some(call));
                writer = writer.or(Some(call).filter(|call| says_it_writes(call.name())));
            }
        }
    }
    // A branch for each dialect says the same twice.
    let mut seen = std::collections::HashSet::new();
    ops.retain(|op| seen.insert((op.op, op.table.clone(), op.object.clone(), op.detail.clone(), op.phase)));
    if trace.partial {
        ops.push(Op::new(Action::Other, None, None, 1).detail("a part could not be read"));
    }
    // It does more than is known here, or may refuse to go on.
    if !ops.is_empty() {
        ops.extend(trace.raises.first().map(|line| Op::new(Action::Refuse, None, None, *line)));
        ops.extend(writer.map(|call| {
            Op::new(Action::Other, None, None, call.line).detail(format!("{}(…)", call.callee.dotted()))
        }));
    }
    if ops.is_empty() && !trace.empty {
        if let Some(line) = trace.raises.first() {
            ops.push(Op::new(Action::Refuse, None, None, *line));
        } else {
            // It does something, and nothing here knows what.
            let call = unread.or(trace.calls.first());
            let what = call.map_or_else(|| HOLE.to_owned(), |call| format!("{}(…)", call.callee.dotted()));
            ops.push(Op::new(Action::Other, None, None, call.map_or(1, |c| c.line)).detail(what));
        }
    }
    ops
}

enum Read {
    Ops(Vec<Op>),
    /// It reads, or builds something for another call.
    Harmless,
    /// Not known.
    Unread,
}

fn one(op: Op) -> Read {
    Read::Ops(vec![op])
}

/// The name of a table: a text, or a `Table` with its name.
fn table_name(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Str(name) => Some(name.to_string()),
        Value::Call(call) if is_table(call) => call.args.first()?.as_str().map(str::to_owned),
        Value::Attr(of, name) if matches!(&**name, "name" | "__table__" | "__tablename__") => {
            table_name(Some(of))
        }
        _ => None,
    }
}

fn is_table(call: &Call) -> bool {
    matches!(call.name(), "Table" | "get_table" | "table")
}

/// The column that a value stands for: `table.c.name`, or a `Column` with its name. With its table, if that is known.
fn column(value: &Value) -> Option<(Option<String>, String)> {
    match value {
        Value::Attr(of, name) => match &**of {
            Value::Attr(table, c) if matches!(&**c, "c" | "columns") => {
                Some((table_name(Some(table)), name.to_string()))
            }
            _ => None,
        },
        Value::Call(call) if call.name() == "Column" => Some((None, call.args.first()?.as_str()?.to_owned())),
        Value::Str(name) => Some((None, name.to_string())),
        _ => None,
    }
}

/// A new column: rows that are there already, and writers that do not know it, need a value.
fn added(table: Option<&str>, value: Option<&Value>, line: usize) -> Op {
    let call = value.and_then(Value::as_call);
    let name = value.and_then(column).map(|(_, name)| name);
    let op = Op::new(Action::AddColumn, table, name.as_deref(), line);
    let required = call.is_some_and(|c| c.is_false("nullable") || c.is_true("primary_key"));
    let filled = call.is_some_and(|c| {
        c.named("server_default").is_some_and(|v| *v != Value::Nothing)
            || c.args.iter().any(|a| a.as_call().is_some_and(|a| matches!(a.name(), "Computed" | "Identity")))
    });
    match required && !filled {
        true => op.phase(Phase::Contract).detail("NOT NULL without a default in the database"),
        false => op,
    }
}

/// What a column is altered to.
fn altered(table: Option<&str>, name: &str, call: &Call) -> Read {
    let op = |action| Op::new(action, table, Some(name), call.line);
    let mut ops = Vec::new();
    let rename = call.named("new_column_name").or_else(|| call.named("name"));
    if rename.is_some_and(|n| *n != Value::Nothing) {
        ops.push(op(Action::RenameColumn));
    }
    if call.named("type_").or_else(|| call.named("type")).is_some_and(|t| *t != Value::Nothing) {
        ops.push(op(Action::AlterType));
    }
    match call.named("nullable") {
        Some(Value::Bool(false)) if !call.is_false("existing_nullable") => ops.push(op(Action::SetNotNull)),
        Some(Value::Bool(true)) if !call.is_true("existing_nullable") => ops.push(op(Action::DropNotNull)),
        Some(Value::Bool(_)) | None => {}
        Some(_) => ops.push(op(Action::SetNotNull).detail("nullable is not known")),
    }
    match call.named("server_default") {
        Some(Value::Nothing) => ops.push(op(Action::DropDefault)),
        Some(Value::Bool(false)) | None => {}
        Some(_) => ops.push(op(Action::SetDefault)),
    }
    if ops.is_empty() {
        ops.push(op(Action::Other).phase(Phase::Noop).detail("nothing that the database sees"));
    }
    Read::Ops(ops)
}

fn read(call: &Call) -> Read {
    // A project's own helpers say alembic's words with a condition.
    let name = call.name();
    let bare = name.strip_suffix("_if_not_exists").or_else(|| name.strip_suffix("_if_exists"));
    if let Some(bare) = bare {
        let callee = Value::Attr(Value::Name("op".into()).into(), bare.into());
        return read(&Call { callee, ..call.clone() });
    }
    match name {
        "alter_enum_add_value" | "alter_enum" => {
            let object = call.args.get(1).and_then(column).map(|(_, name)| name);
            return one(Op::new(Action::AlterType, call.text(0, "table"), object.as_deref(), call.line));
        }
        "remove_foreign_keys" | "remove_fk_unique_constraints" | "remove_fks_from_table" => {
            return one(Op::new(Action::DropConstraint, call.text(0, "table"), None, call.line));
        }
        "create_foreign_keys" => return one(Op::new(Action::AddFk, call.text(0, "table"), None, call.line)),
        _ => {}
    }
    let Some(of) = call.callee.of() else { return plain(call) };
    // `with op.batch_alter_table(table) as batch`: the table stands there.
    if let Value::Call(batch) = of
        && batch.name() == "batch_alter_table"
    {
        return alembic_op(call, batch.text(0, "table_name").map(str::to_owned), 0);
    }
    if of.dotted() == "op" {
        let batch = |name: &str| {
            matches!(
                name,
                "create_table"
                    | "drop_table"
                    | "rename_table"
                    | "execute"
                    | "bulk_insert"
                    | "get_bind"
                    | "batch_alter_table"
            )
        };
        if batch(call.name()) {
            return alembic_op(call, None, 0);
        }
        // Of most operations the table is the first argument; of those that make or drop a named thing, the second.
        let named = matches!(
            call.name(),
            "create_index"
                | "drop_index"
                | "create_unique_constraint"
                | "create_primary_key"
                | "create_check_constraint"
                | "create_foreign_key"
                | "drop_constraint"
                | "create_exclude_constraint"
        );
        let table = if named {
            call.text(1, "table_name").or_else(|| call.text(1, "source_table"))
        } else {
            call.text(0, "table_name")
        };
        return alembic_op(call, table.map(str::to_owned), usize::from(!named));
    }
    changeset(call, of)
}

/// An operation of alembic. `skip` arguments stand before those that the batch form has.
fn alembic_op(call: &Call, table: Option<String>, skip: usize) -> Read {
    let (table, line) = (table.as_deref(), call.line);
    let first = call.args.get(skip);
    let text = |at: usize, name: &str| call.text(at, name);
    match call.name() {
        "create_table" => one(Op::new(Action::CreateTable, None, text(0, "table_name"), line)),
        "drop_table" => one(Op::new(Action::DropTable, None, text(0, "table_name"), line)),
        "rename_table" => one(Op::new(Action::RenameTable, None, text(0, "old_table_name"), line)),
        "add_column" => one(added(table, first.or_else(|| call.named("column")), line)),
        "drop_column" => {
            let name = first.or_else(|| call.named("column_name")).and_then(Value::as_str);
            one(Op::new(Action::DropColumn, table, name, line))
        }
        "alter_column" => {
            let name = first.or_else(|| call.named("column_name")).and_then(Value::as_str);
            altered(table, name.unwrap_or(HOLE), call)
        }
        "create_index" => {
            let unique = call.is_true("unique");
            let action = if unique { Action::CreateUniqueIndex } else { Action::CreateIndex };
            one(Op::new(action, table, text(0, "index_name"), line))
        }
        "drop_index" => one(Op::new(Action::DropIndex, table, text(0, "index_name"), line)),
        "create_unique_constraint" => {
            one(Op::new(Action::AddUnique, table, text(0, "constraint_name"), line))
        }
        "create_primary_key" => one(Op::new(Action::AddPrimaryKey, table, text(0, "constraint_name"), line)),
        "create_check_constraint" | "create_exclude_constraint" => {
            one(Op::new(Action::AddCheck, table, text(0, "constraint_name"), line))
        }
        "create_foreign_key" => one(Op::new(Action::AddFk, table, text(0, "constraint_name"), line)),
        "drop_constraint" => one(Op::new(Action::DropConstraint, table, text(0, "constraint_name"), line)),
        "execute" => executed(call),
        "bulk_insert" => {
            let table = table_name(call.args.first());
            one(Op::new(Action::Dml, table.as_deref(), None, line))
        }
        "create_table_comment" | "drop_table_comment" => {
            one(Op::new(Action::Other, table, None, line).phase(Phase::Noop).detail("a comment"))
        }
        "get_bind" | "get_context" | "batch_alter_table" | "f" | "inline_literal" => Read::Harmless,
        other => one(Op::new(Action::Other, table, None, line).detail(format!("op.{other}(…)"))),
    }
}

/// `execute(…)`: of a text, of a statement that was built, or of something that is not known.
fn executed(call: &Call) -> Read {
    let text = |value: &Value| match value {
        Value::Str(text) => Some(text.to_string()),
        Value::Call(inner) if matches!(inner.name(), "text" | "DDL") => {
            inner.text(0, "text").map(str::to_owned)
        }
        _ => None,
    };
    let Some(what) = call.args.first() else { return Read::Harmless };
    if let Some(sql) = text(what) {
        // Nothing but a part that is not known.
        if sql.trim() == HOLE || sql.trim().is_empty() {
            return one(
                Op::new(Action::ExecuteSql, None, None, call.line).detail("a statement that is not known")
            );
        }
        let ops = sql::ops(&sql, call.line);
        return Read::Ops(ops.into_iter().map(|op| Op { line: call.line, ..op }).collect());
    }
    match written(what) {
        Some(Some(table)) => one(Op::new(Action::Dml, table.as_deref(), None, call.line)),
        Some(None) => Read::Harmless,
        None => {
            one(Op::new(Action::ExecuteSql, None, None, call.line).detail("a statement that is not known"))
        }
    }
}

/// Does a statement that was built write rows, and to which table? `Some(None)`: it only reads.
fn written(value: &Value) -> Option<Option<Option<String>>> {
    let mut at = value;
    loop {
        match at {
            Value::Call(call) => {
                match call.name() {
                    "insert" | "update" | "delete" => {
                        let table = call.callee.of().and_then(|of| table_name(Some(of)));
                        return Some(Some(table.or_else(|| table_name(call.args.first()))));
                    }
                    "select" | "count" => return Some(None),
                    _ => {}
                }
                at = &call.callee;
            }
            Value::Attr(of, _) => at = of,
            _ => return None,
        }
    }
}

/// A call by its own name alone.
fn plain(call: &Call) -> Read {
    match call.name() {
        "Table"
        | "Column"
        | "Index"
        | "UniqueConstraint"
        | "ForeignKey"
        | "ForeignKeyConstraint"
        | "PrimaryKeyConstraint"
        | "CheckConstraint"
        | "MetaData"
        | "String"
        | "Integer"
        | "Boolean"
        | "DateTime"
        | "Text"
        | "Enum"
        | "BigInteger"
        | "Float"
        | "inspect"
        | "select"
        | "and_"
        | "or_"
        | "text"
        | "LOG"
        | "func"
        | "getLogger" => Read::Harmless,
        _ => Read::Unread,
    }
}

/// A call on a table, a column, an index or a connection.
fn changeset(call: &Call, of: &Value) -> Read {
    let line = call.line;
    let root = of.as_call();
    let table = table_name(Some(of));
    match call.name() {
        "create" => match root.map(|r| (r, r.name())) {
            Some((r, name)) if is_table(r) && name == "Table" => {
                one(Op::new(Action::CreateTable, None, table.as_deref(), line))
            }
            Some((_, "Column")) => one(added(table_name(call.args.first()).as_deref(), Some(of), line)),
            Some((index, "Index")) => {
                let action =
                    if index.is_true("unique") { Action::CreateUniqueIndex } else { Action::CreateIndex };
                one(Op::new(action, index_table(index).as_deref(), index.text(0, "name"), line))
            }
            Some((c, "UniqueConstraint")) => one(constraint(Action::AddUnique, c, line)),
            Some((c, "ForeignKeyConstraint")) => one(constraint(Action::AddFk, c, line)),
            Some((c, "PrimaryKeyConstraint")) => one(constraint(Action::AddPrimaryKey, c, line)),
            Some((c, "CheckConstraint")) => one(constraint(Action::AddCheck, c, line)),
            Some((_, "Enum" | "ENUM")) => Read::Harmless,
            _ => Read::Unread,
        },
        "drop" => match (column(of), root.map(|r| (r, r.name()))) {
            (Some((table, name)), _) => one(Op::new(Action::DropColumn, table.as_deref(), Some(&name), line)),
            (_, Some((r, _))) if is_table(r) => one(Op::new(Action::DropTable, None, table.as_deref(), line)),
            (_, Some((index, "Index"))) => {
                one(Op::new(Action::DropIndex, index_table(index).as_deref(), index.text(0, "name"), line))
            }
            (_, Some((c, name))) if name.ends_with("Constraint") => {
                one(constraint(Action::DropConstraint, c, line))
            }
            (_, Some((_, "Enum" | "ENUM"))) => Read::Harmless,
            _ => one(Op::new(Action::Other, None, None, line)
                .phase(Phase::Contract)
                .detail("drop of something that is not known")),
        },
        "create_column" => one(added(table.as_deref(), call.args.first(), line)),
        "drop_column" => {
            let name = call.args.first().and_then(column).map(|(_, name)| name);
            one(Op::new(Action::DropColumn, table.as_deref(), name.as_deref(), line))
        }
        "alter" => match column(of) {
            Some((table, name)) => altered(table.as_deref(), &name, call),
            None => Read::Unread,
        },
        "rename" if root.is_some_and(is_table) => {
            one(Op::new(Action::RenameTable, None, table.as_deref(), line))
        }
        // `table.insert().execute(row)`, `connection.execute(…)`, `table.insert().execute()`
        "execute" if matches!(written(of), Some(Some(_))) => match written(of) {
            Some(Some(table)) => one(Op::new(Action::Dml, table.as_deref(), None, line)),
            _ => Read::Unread,
        },
        "execute" if !call.args.is_empty() => executed(call),
        "execute" => match written(of) {
            Some(Some(table)) => one(Op::new(Action::Dml, table.as_deref(), None, line)),
            Some(None) => Read::Harmless,
            None => Read::Unread,
        },
        "bulk_insert" => one(Op::new(Action::Dml, table_name(call.args.first()).as_deref(), None, line)),
        // Objects of a session are written by what is done to them.
        "add"
        | "add_all"
        | "merge"
        | "bulk_save_objects"
        | "bulk_update_mappings"
        | "bulk_insert_mappings"
        | "commit"
        | "flush"
            if of.dotted().to_lowercase().contains("session") || is_session(of) =>
        {
            one(Op::new(Action::Dml, None, None, line))
        }
        "update" | "delete" | "insert" if is_query(of) => one(Op::new(Action::Dml, None, None, line)),
        _ => match is_reader(call) {
            true => Read::Harmless,
            false => Read::Unread,
        },
    }
}

/// The table of an index: that of its first column.
fn index_table(index: &Call) -> Option<String> {
    index.args.iter().skip(1).find_map(column).and_then(|(table, _)| table)
}

fn constraint(action: Action, call: &Call, line: usize) -> Op {
    let table = table_name(call.named("table")).or_else(|| {
        let columns = call.args.iter().chain(call.named("columns"));
        columns.flat_map(Value::items).find_map(|c| column(&c).and_then(|(table, _)| table))
    });
    Op::new(action, table.as_deref(), call.named("name").and_then(Value::as_str), line)
}
