//! Migrations of Django.
//!
//! Source: Django's documentation of migration operations. A field's change is told from what the field was before,
//! which an earlier migration of the app says; where only this file is at hand, what it might be is assumed.

use super::super::script::python::Module;
use super::super::script::{Call, Value};
use super::{Action, Migration, Op, Phase, sql};

/// Reads a migration; its identity is the app and the file's stem.
pub fn read(text: &str, path: &str) -> Option<Migration> {
    let module = Module::parse(text)?;
    let class = module.class("Migration")?;
    let Some(Value::List(operations)) = class.get("operations") else { return None };
    let revision = identity(path)?;
    let app = revision.split('/').next().unwrap_or_default().to_owned();
    let dependencies = class.get("dependencies").map(Value::items).unwrap_or_default();
    let parents = dependencies.iter().filter_map(|d| match d {
        Value::List(pair) => Some(format!("{}/{}", pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
        _ => None,
    });
    let parents: Vec<String> = parents.filter(|p| p.starts_with(&format!("{app}/"))).collect();
    let baseline = class.get("initial") == Some(&Value::Bool(true)) && parents.is_empty();
    let mut ops = Vec::new();
    for operation in operations.iter() {
        match operation {
            Value::Call(call) => ops.extend(of_call(call)),
            _ => ops.push(Op::new(Action::Other, None, None, 1).detail("an operation that is not known")),
        }
    }
    Some(Migration { revision, parents, baseline, ops, assured: false })
}

/// `app/0001_initial` from `…/app/migrations/0001_initial.py`.
pub fn identity(path: &str) -> Option<String> {
    let (folder, file) = path.rsplit_once('/')?;
    let app = folder.strip_suffix("/migrations")?.rsplit('/').next()?;
    Some(format!("{app}/{}", file.strip_suffix(".py")?))
}

fn of_call(call: &Call) -> Vec<Op> {
    let text = |at: usize, name: &str| call.text(at, name).map(str::to_lowercase);
    let model = text(0, "model_name");
    let name = text(1, "name");
    let (table, object, line) = (model.as_deref(), name.as_deref(), call.line);
    let one = |action| vec![Op::new(action, table, object, line)];
    let whole = |action, name: Option<String>| vec![Op::new(action, None, name.as_deref(), line)];
    match call.name() {
        "CreateModel" => whole(Action::CreateTable, text(0, "name")),
        "DeleteModel" => whole(Action::DropTable, text(0, "name")),
        "RenameModel" | "AlterModelTable" => {
            whole(Action::RenameTable, text(0, "old_name").or_else(|| text(0, "name")))
        }
        "AddField" => added(call, table, object),
        "RemoveField" => one(Action::DropColumn),
        "RenameField" => vec![Op::new(Action::RenameColumn, table, text(1, "old_name").as_deref(), line)],
        "AlterField" => altered(call, table, object),
        "AddIndex" => one(Action::CreateIndex),
        "AddIndexConcurrently" => one(Action::CreateIndex),
        "RemoveIndex" | "RemoveIndexConcurrently" => one(Action::DropIndex),
        "RenameIndex" => one(Action::RenameIndex),
        "AddConstraint" => {
            let constraint = call.arg(1, "constraint").and_then(Value::as_call).map(Call::name);
            one(if constraint == Some("CheckConstraint") { Action::AddCheck } else { Action::AddUnique })
        }
        "AddConstraintNotValid" => {
            one(Action::AddCheck).into_iter().map(|op| op.phase(Phase::Expand)).collect()
        }
        "ValidateConstraint" => one(Action::AddCheck).into_iter().map(|op| op.phase(Phase::Lock)).collect(),
        "RemoveConstraint" => one(Action::DropConstraint),
        "AlterUniqueTogether" => {
            // An empty set takes constraints away.
            let sets = call.arg(1, "unique_together").map(Value::items).unwrap_or_default();
            vec![Op::new(
                if sets.is_empty() { Action::DropConstraint } else { Action::AddUnique },
                text(0, "name").as_deref(),
                None,
                line,
            )]
        }
        "AlterIndexTogether" => vec![Op::new(Action::CreateIndex, text(0, "name").as_deref(), None, line)],
        "RunPython" => vec![
            Op::new(Action::Dml, None, None, line)
                .detail(call.args.first().map(Value::shown).unwrap_or_default()),
        ],
        "RunSQL" => ran(call),
        "SeparateDatabaseAndState" => {
            let inner = call.arg(0, "database_operations").map(Value::items).unwrap_or_default();
            inner.iter().filter_map(Value::as_call).flat_map(of_call).collect()
        }
        // The model's own words, and no SQL.
        "AlterModelOptions" | "AlterModelManagers" | "AlterModelTableComment" | "AlterOrderWithRespectTo" => {
            Vec::new()
        }
        name if name.ends_with("Extension") => {
            vec![Op::new(Action::ExecuteSql, None, None, line).phase(Phase::Expand).detail(name)]
        }
        name => vec![Op::new(Action::Other, None, None, line).detail(format!("{name}(…)"))],
    }
}

fn ran(call: &Call) -> Vec<Op> {
    let statements = call.arg(0, "sql").map(Value::items).unwrap_or_default();
    let mut ops = Vec::new();
    for statement in statements {
        match &statement {
            Value::Str(text) => {
                ops.extend(sql::ops(text, call.line).into_iter().map(|op| Op { line: call.line, ..op }))
            }
            _ if call.arg(0, "sql").is_some_and(|s| s.dotted().ends_with("noop")) => {}
            _ => ops.push(
                Op::new(Action::ExecuteSql, None, None, call.line).detail("a statement that is not known"),
            ),
        }
    }
    ops
}

/// Django takes its own default away again after it has filled the rows: old writers then fail on NOT NULL.
fn added(call: &Call, table: Option<&str>, object: Option<&str>) -> Vec<Op> {
    let field = call.arg(2, "field").and_then(Value::as_call);
    if field.is_some_and(|f| matches!(f.name(), "ManyToManyField" | "GenericRelation")) {
        return vec![Op::new(Action::CreateTable, None, object, call.line)];
    }
    let op = Op::new(Action::AddColumn, table, object, call.line);
    let free = field.is_some_and(|f| f.is_true("null") || f.named("db_default").is_some());
    match free {
        true => vec![op],
        false => vec![op.phase(Phase::Contract).detail("NOT NULL without a default in the database")],
    }
}

/// Without the field's earlier definition: what the new one could bring.
fn altered(call: &Call, table: Option<&str>, object: Option<&str>) -> Vec<Op> {
    let Some(field) = call.arg(2, "field").and_then(Value::as_call) else {
        return vec![Op::new(Action::Other, table, object, call.line).detail("a field that is not known")];
    };
    vec![Op::new(Action::AlterType, table, object, call.line).detail(definition(field))]
}

/// What of a field's definition reaches the database.
fn definition(field: &Call) -> String {
    let silent = [
        "choices",
        "help_text",
        "verbose_name",
        "default",
        "blank",
        "validators",
        "error_messages",
        "editable",
        "on_delete",
        "related_name",
        "related_query_name",
        "limit_choices_to",
        "serialize",
        "auto_now",
        "auto_now_add",
        "upload_to",
        "storage",
        "swappable",
        "unique_for_date",
    ];
    let mut said: Vec<String> = field.args.iter().map(Value::shown).collect();
    let named = field.named.iter().filter(|(name, _)| !silent.contains(&&**name));
    said.extend(named.map(|(name, value)| format!("{name}={}", value.shown())));
    said.sort();
    format!("{}({})", field.name(), said.join(", "))
}

/// The field's last definition in an earlier migration: `Some` of what reaches the database.
pub fn defined(text: &str, model: &str, name: &str) -> Option<String> {
    let module = Module::parse(text)?;
    let class = module.class("Migration")?;
    let Some(Value::List(operations)) = class.get("operations") else { return None };
    let mut found = None;
    for call in operations.iter().filter_map(Value::as_call) {
        let is = |at: usize, key: &str, wanted: &str| {
            call.text(at, key).is_some_and(|t| t.eq_ignore_ascii_case(wanted))
        };
        match call.name() {
            "AddField" | "AlterField" if is(0, "model_name", model) && is(1, "name", name) => {
                found = call.arg(2, "field").and_then(Value::as_call).map(definition).or(found);
            }
            "CreateModel" if is(0, "name", model) => {
                for field in call.arg(1, "fields").map(Value::items).unwrap_or_default() {
                    if let Value::List(pair) = field
                        && pair.first().and_then(Value::as_str).is_some_and(|n| n.eq_ignore_ascii_case(name))
                    {
                        found = pair.get(1).and_then(Value::as_call).map(definition).or(found);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// What a change from one definition to another is.
pub fn change(was: &str, is: &str) -> Option<(Action, Phase)> {
    let has = |text: &str, word: &str| text.contains(word);
    if was == is {
        return None;
    }
    if has(was, "null=True") && !has(is, "null=True") {
        return Some((Action::SetNotNull, Phase::Contract));
    }
    if (has(is, "unique=True") || has(is, "OneToOneField"))
        && !(has(was, "unique=True") || has(was, "OneToOneField"))
    {
        return Some((Action::AddUnique, Phase::Contract));
    }
    let without =
        |text: &str| text.replace(", null=True", "").replace("null=True, ", "").replace("null=True", "");
    if without(was) == without(is) {
        return Some((Action::DropNotNull, Phase::Lock));
    }
    Some((Action::AlterType, Phase::Lock))
}
