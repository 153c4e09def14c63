//! Migrations of Rails (`ActiveRecord::Migration`): its `up`, or the forward part of its `change`.
//!
//! Source: Rails' guide to migrations; which operations are dangerous: the documentation of strong_migrations.

use super::super::script::ruby::Script;
use super::super::script::{Call, HOLE, Trace, Value};
use super::{Action, Migration, Op, Phase, says_it_writes, sql};

/// Reads the migration with this version. `assured` is the word by which its author says that it was looked at.
pub fn read(text: &str, version: &str, assured: Option<&str>) -> Option<Migration> {
    let trace = Script::parse(text)?.call(&["up", "change"])?;
    let assured = assured.is_some_and(|word| text.contains(word));
    Some(Migration { revision: version.to_owned(), ops: traced(&trace), assured, ..Migration::default() })
}

fn traced(trace: &Trace) -> Vec<Op> {
    let mut ops = Vec::new();
    let (mut unread, mut writer) = (None, None);
    for call in &trace.calls {
        match of_call(call) {
            Some(found) => ops.extend(found),
            None => {
                unread = unread.or(Some(call));
                writer = writer.or(Some(call).filter(|call| says_it_writes(call.name())));
            }
        }
    }
    // It does more than is known here.
    if let Some(call) = writer.filter(|_| !ops.is_empty()) {
        let what = format!("{}(…)", call.callee.dotted());
        ops.push(Op::new(Action::Other, None, None, call.line).detail(what));
    }
    if trace.partial {
        ops.push(Op::new(Action::Other, None, None, 1).detail("a part could not be read"));
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

/// A table by its name, or by its model.
fn table_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Str(name) => Some(name.to_string()),
        _ => None,
    }
}

/// What a call does; nothing known of it is `None`.
fn of_call(call: &Call) -> Option<Vec<Op>> {
    let name = call.name();
    match call.callee.of() {
        None => migration_call(call, name, table_of(call.args.first()), 1),
        Some(Value::Call(of)) if of.name() == "create_table" || of.name() == "create_join_table" => {
            Some(Vec::new())
        }
        Some(Value::Call(of)) if of.name() == "change_table" => {
            Some(table_call(call, name, table_of(of.args.first()).as_deref()))
        }
        Some(of) => model_call(call, name, of),
    }
}

/// `t.integer :name` and the like inside `change_table`.
fn table_call(call: &Call, name: &str, table: Option<&str>) -> Vec<Op> {
    let table = table.map(str::to_owned);
    let whole = match name {
        "remove" | "remove_columns" => "remove_columns",
        "rename" => "rename_column",
        "change" => "change_column",
        "change_default" => "change_column_default",
        "change_null" => "change_column_null",
        "index" => "add_index",
        "remove_index" => "remove_index",
        "references" | "belongs_to" => "add_reference",
        "remove_references" | "remove_belongs_to" => "remove_reference",
        "timestamps" => "add_timestamps",
        "remove_timestamps" => "remove_timestamps",
        "foreign_key" => "add_foreign_key",
        "remove_foreign_key" => "remove_foreign_key",
        "check_constraint" => "add_check_constraint",
        "column" => "add_column",
        // A type's name adds columns of it.
        _ => {
            let names = call.args.iter().filter_map(Value::as_str);
            return names.map(|column| added(call, table.as_deref(), Some(column))).collect();
        }
    };
    migration_call(call, whole, table, 0).unwrap_or_default()
}

fn added(call: &Call, table: Option<&str>, column: Option<&str>) -> Op {
    let op = Op::new(Action::AddColumn, table, column, call.line);
    let filled = call.named("default").is_some_and(|d| *d != Value::Nothing);
    match call.is_false("null") && !filled {
        true => op.phase(Phase::Contract).detail("NOT NULL without a default in the database"),
        false => op,
    }
}

/// A call of the migration's own. `at` is the place of the first argument after the table.
fn migration_call(call: &Call, name: &str, table: Option<String>, at: usize) -> Option<Vec<Op>> {
    let (table, line) = (table.as_deref(), call.line);
    let object = call.args.get(at).and_then(Value::as_str);
    let one = |action, object: Option<&str>| Some(vec![Op::new(action, table, object, line)]);
    let whole = |action| Some(vec![Op::new(action, None, table, line)]);
    match name {
        "create_table" | "create_join_table" => match call.named("force") {
            None | Some(Value::Bool(false)) => whole(Action::CreateTable),
            Some(_) => Some(vec![
                Op::new(Action::DropTable, None, table, line),
                Op::new(Action::CreateTable, None, table, line),
            ]),
        },
        // Views of scenic: another text takes the old one's place.
        "create_view" => whole(Action::CreateView),
        "update_view" | "replace_view" => {
            let op = Op::new(Action::CreateView, None, table, line).phase(Phase::Lock);
            Some(vec![op.detail("it takes the place of another")])
        }
        "drop_view" => whole(Action::DropView),
        "create_virtual_table" => whole(Action::CreateTable),
        "drop_virtual_table" => whole(Action::DropTable),
        "drop_table" | "drop_join_table" => whole(Action::DropTable),
        "rename_table" => whole(Action::RenameTable),
        "add_column" => Some(vec![added(call, table, object)]),
        "add_columns" => {
            let names = call.args.iter().skip(at).filter_map(Value::as_str);
            Some(names.map(|column| added(call, table, Some(column))).collect())
        }
        "add_reference" | "add_belongs_to" => {
            Some(vec![added(call, table, object.map(|o| format!("{o}_id")).as_deref())])
        }
        "add_timestamps" => match call.named("null") {
            Some(Value::Bool(true)) => one(Action::AddColumn, Some("created_at")),
            _ if call.named("default").is_some() => one(Action::AddColumn, Some("created_at")),
            _ => {
                let op = Op::new(Action::AddColumn, table, Some("created_at"), line).phase(Phase::Contract);
                Some(vec![op.detail("NOT NULL without a default in the database")])
            }
        },
        "remove_column" => one(Action::DropColumn, object),
        "remove_columns" => {
            let names = call.args.iter().skip(at).filter_map(Value::as_str);
            Some(names.map(|column| Op::new(Action::DropColumn, table, Some(column), line)).collect())
        }
        "remove_reference" | "remove_belongs_to" => {
            one(Action::DropColumn, object.map(|o| format!("{o}_id")).as_deref())
        }
        "remove_timestamps" => one(Action::DropColumn, Some("created_at")),
        "rename_column" => one(Action::RenameColumn, object),
        "rename_index" => one(Action::RenameIndex, object),
        "change_column" => {
            let op = Op::new(Action::AlterType, table, object, line);
            Some(vec![match call.is_false("null") {
                true => op.phase(Phase::Contract).detail("NOT NULL is part of it"),
                false => op,
            }])
        }
        "change_column_null" => match call.args.get(at + 1) {
            Some(Value::Bool(true)) => one(Action::DropNotNull, object),
            _ => one(Action::SetNotNull, object),
        },
        "change_column_default" => {
            let to = call.named("to").or_else(|| call.args.get(at + 1));
            one(if to == Some(&Value::Nothing) { Action::DropDefault } else { Action::SetDefault }, object)
        }
        "change_column_comment" | "change_table_comment" => {
            Some(vec![Op::new(Action::Other, table, object, line).phase(Phase::Noop).detail("a comment")])
        }
        "add_index" => {
            let column = call.args.get(at).map(Value::items).unwrap_or_default();
            let column = column.first().and_then(Value::as_str);
            let named = call.named("name").and_then(Value::as_str);
            let action = if call.is_true("unique") { Action::CreateUniqueIndex } else { Action::CreateIndex };
            one(action, column.or(named))
        }
        "remove_index" => {
            one(Action::DropIndex, object.or_else(|| call.named("name").and_then(Value::as_str)))
        }
        "add_foreign_key" => {
            let op = Op::new(Action::AddFk, table, object, line);
            Some(vec![if call.is_false("validate") { op.phase(Phase::Expand) } else { op }])
        }
        "validate_foreign_key" | "validate_check_constraint" => {
            Some(vec![Op::new(Action::AddFk, table, object, line).detail("validates it")])
        }
        "remove_foreign_key" | "remove_check_constraint" | "remove_unique_constraint" => {
            one(Action::DropConstraint, object)
        }
        "add_check_constraint" => {
            let op = Op::new(Action::AddCheck, table, object, line);
            Some(vec![if call.is_false("validate") { op.phase(Phase::Expand) } else { op }])
        }
        "add_unique_constraint" => one(Action::AddUnique, object),
        "add_enum_value" | "rename_enum" | "rename_enum_value" => {
            Some(vec![Op::new(Action::AlterType, table, object, line)])
        }
        "create_enum" | "enable_extension" | "create_schema" => {
            Some(vec![Op::new(Action::ExecuteSql, None, table, line).phase(Phase::Expand).detail(name)])
        }
        "execute" | "exec_query" | "exec_update" | "exec_delete" | "exec_insert" | "update" | "delete" => {
            Some(executed(call))
        }
        "change_table"
        | "reversible"
        | "up_only"
        | "say"
        | "say_with_time"
        | "suppress_messages"
        | "safety_assured"
        | "transaction"
        | "puts"
        | "connection"
        | "table_exists?"
        | "column_exists?"
        | "index_exists?"
        | "disable_ddl_transaction!"
        | "foreign_key_exists?"
        | "reset_column_information"
        | "require"
        | "quote"
        | "index_name"
        | "print"
        | "p"
        | "quote_column_name"
        | "t"
        | "dir"
        | "ActiveRecord"
        | "Time" => Some(Vec::new()),
        _ => None,
    }
}

fn executed(call: &Call) -> Vec<Op> {
    match call.args.first().and_then(Value::as_str) {
        Some(text) if text.trim() != HOLE => {
            sql::ops(text, call.line).into_iter().map(|op| Op { line: call.line, ..op }).collect()
        }
        _ => vec![Op::new(Action::ExecuteSql, None, None, call.line).detail("a statement that is not known")],
    }
}

/// A call on a model, or on what one gave.
fn model_call(call: &Call, name: &str, of: &Value) -> Option<Vec<Op>> {
    if matches!(name, "execute" | "exec_query" | "exec_update") && !call.args.is_empty() {
        return Some(executed(call));
    }
    let writes = matches!(
        name,
        "update_all"
            | "delete_all"
            | "destroy_all"
            | "update"
            | "update!"
            | "update_column"
            | "update_columns"
            | "save"
            | "save!"
            | "create"
            | "create!"
            | "insert_all"
            | "insert_all!"
            | "upsert_all"
            | "destroy"
            | "destroy!"
            | "delete"
            | "increment!"
            | "decrement!"
            | "touch"
            | "update_attribute"
            | "toggle!"
            | "first_or_create"
            | "first_or_create!"
            | "find_or_create_by"
            | "find_or_create_by!"
            | "update_counters"
            | "reset_counters"
            | "insert"
            | "upsert"
            | "import"
    );
    if writes {
        return Some(vec![
            Op::new(Action::Dml, None, None, call.line).detail(format!("{}(…)", call.callee.dotted())),
        ]);
    }
    // Tables through a connection: the same words.
    if matches!(of.last(), "connection") || of.as_call().is_some_and(|c| c.name() == "connection") {
        return migration_call(call, name, table_of(call.args.first()), 1).or(Some(Vec::new()));
    }
    let reads = matches!(
        name,
        "up" | "where"
            | "find_each"
            | "find_in_batches"
            | "in_batches"
            | "all"
            | "each"
            | "map"
            | "pluck"
            | "first"
            | "last"
            | "count"
            | "table_name"
            | "reset_column_information"
            | "connection"
            | "find"
            | "find_by"
            | "order"
            | "limit"
            | "joins"
            | "includes"
            | "select"
            | "unscoped"
            | "current"
            | "now"
            | "new"
            | "to_s"
            | "to_i"
            | "quote"
            | "present?"
            | "blank?"
            | "nil?"
            | "any?"
            | "empty?"
            | "exists?"
            | "columns"
            | "not"
            | "left_outer_joins"
            | "group"
            | "distinct"
            | "ids"
            | "env"
            | "application"
            | "config"
            | "logger"
            | "info"
            | "each_with_index"
    );
    reads.then(Vec::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(body: &str) -> Vec<(Action, Option<String>, Option<String>, Phase)> {
        let text = format!("class A < ActiveRecord::Migration[7.1]\n{body}\nend\n");
        let found = read(&text, "1", None).expect("it has a forward part");
        found.ops.into_iter().map(|op| (op.op, op.table, op.object, op.phase)).collect()
    }

    fn names(
        action: Action,
        table: &str,
        object: &str,
        phase: Phase,
    ) -> (Action, Option<String>, Option<String>, Phase) {
        (action, Some(table.into()), Some(object.into()), phase)
    }

    #[test]
    fn the_way_back_is_not_read() {
        let found = ops("  def up
    change_column_null :messages, :author_user_id, true
    execute \"update messages set author_user_id = null\"
  end

  def down
    change_column_null :messages, :author_user_id, false
  end");
        assert_eq!(found[0], names(Action::DropNotNull, "messages", "author_user_id", Phase::Lock));
        assert_eq!((found.len(), found[1].0, found[1].3), (2, Action::ExecuteSql, Phase::Data));
    }

    #[test]
    fn blocks_loops_and_texts_below_are_followed() {
        let found = ops("  TABLES = %w[a b].freeze
  def change
    create_table :new do |t|
      t.string :name, null: false
    end
    change_table :old do |t|
      t.remove :gone
      t.boolean :come, null: false
    end
    TABLES.each { |name| rename_column name, :slug, :token }
    reversible do |dir|
      dir.up { execute <<~SQL }
        drop table x
      SQL
      dir.down { drop_table :never }
    end
  end");
        assert_eq!(
            found,
            [
                (Action::CreateTable, None, Some("new".into()), Phase::Expand),
                names(Action::DropColumn, "old", "gone", Phase::Contract),
                names(Action::AddColumn, "old", "come", Phase::Contract),
                names(Action::RenameColumn, "a", "slug", Phase::Contract),
                names(Action::RenameColumn, "b", "slug", Phase::Contract),
                (Action::DropTable, None, Some("x".into()), Phase::Contract),
            ]
        );
    }

    #[test]
    fn rows_that_a_model_writes_are_data_and_what_is_not_known_is_unknown() {
        assert_eq!(ops("  def up\n    User.where(a: 1).update_all(b: 2)\n  end")[0].3, Phase::Data);
        assert_eq!(ops("  def up\n    SomethingElse.run!\n  end")[0].3, Phase::Unknown);
        assert_eq!(ops("  def up\n  end").len(), 0);
    }
}
