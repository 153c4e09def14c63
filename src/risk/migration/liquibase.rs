//! Change logs of Liquibase: XML, YAML, JSON and formatted SQL.
//!
//! Source: Liquibase's documentation of change types and of change sets. A change set is known by its id, its author and
//! its file; it is run once, wherever it stands, and its checksum is compared ever after. What it says about the way
//! back and about conditions is not read.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::super::rule::Analyse;
use super::super::trees::{Side, Trees};
use super::super::watch::line_of;
use super::super::{Finding, Severity};
use super::{Action, Created, Op, Phase, chain, sql};
use crate::store::ObjectError;

/// How deep a document is followed.
const DEEPEST: usize = 60;

/// A part of a change log, whatever its form: a name, plain values, and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    name: String,
    values: BTreeMap<String, String>,
    text: String,
    inner: Vec<Node>,
}

/// One change set.
#[derive(Debug, Clone)]
struct ChangeSet {
    id: String,
    line: usize,
    /// Is it run again when it changes, or always?
    again: bool,
    ops: Vec<Op>,
    /// What its checksum is of, more or less.
    essence: Vec<Node>,
}

impl Node {
    fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn is(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// The columns below it.
    fn columns(&self) -> Vec<&Node> {
        let mut out = Vec::new();
        for node in &self.inner {
            match node.name.as_str() {
                "column" => out.push(node),
                _ => out.extend(node.columns()),
            }
        }
        out
    }

    fn of_xml(node: roxmltree::Node<'_, '_>, depth: usize) -> Self {
        let inner = node.children().filter(|c| c.is_element() && depth < DEEPEST);
        Self {
            name: node.tag_name().name().to_owned(),
            values: node.attributes().map(|a| (a.name().to_owned(), a.value().to_owned())).collect(),
            text: node.children().filter_map(|c| c.text().filter(|_| c.is_text())).collect(),
            inner: inner.map(|c| Self::of_xml(c, depth + 1)).collect(),
        }
    }

    fn of_value(name: &str, value: &Value, depth: usize) -> Self {
        let mut node = Self { name: name.to_owned(), ..Self::default() };
        let plain = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            _ => None,
        };
        match value {
            _ if depth > DEEPEST => {}
            Value::Object(entries) => {
                for (key, value) in entries {
                    match plain(value) {
                        Some(text) => {
                            node.values.insert(key.clone(), text);
                        }
                        None => node.inner.push(Self::of_value(key, value, depth + 1)),
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    match item.as_object().filter(|o| o.len() == 1).and_then(|o| o.iter().next()) {
                        Some((key, value)) => node.inner.push(Self::of_value(key, value, depth + 1)),
                        None => node.inner.push(Self::of_value("", item, depth + 1)),
                    }
                }
            }
            other => node.text = plain(other).unwrap_or_default(),
        }
        node
    }
}

/// The change sets of a file, in order; nothing if it is no change log that can be read.
fn change_sets(path: &str, text: &str) -> Option<Vec<ChangeSet>> {
    if path.ends_with(".sql") {
        return Some(formatted(text));
    }
    let root = match path.ends_with(".xml") {
        true => Node::of_xml(roxmltree::Document::parse(text).ok()?.root_element(), 0),
        false => {
            let document: Value = serde_saphyr::from_str(text).ok()?;
            Node::of_value("databaseChangeLog", document.get("databaseChangeLog")?, 0)
        }
    };
    if root.name != "databaseChangeLog" {
        return None;
    }
    let sets = root.inner.iter().filter(|node| node.name == "changeSet");
    sets.map(|set| of_set(set, text)).collect()
}

/// Parts of a change set that do nothing on the way forward.
const SILENT: [&str; 6] = ["rollback", "preConditions", "comment", "comments", "validCheckSum", "modifySql"];

fn of_set(set: &Node, text: &str) -> Option<ChangeSet> {
    let (id, author) = (set.value("id")?, set.value("author").unwrap_or_default());
    let quoted = [format!("id=\"{id}\""), format!("id: {id}"), format!("\"{id}\""), id.to_owned()];
    let line = quoted.iter().find_map(|q| text.find(q.as_str())).map_or(1, |at| line_of(text, at));
    let mut changes: Vec<&Node> = Vec::new();
    for node in &set.inner {
        match node.name.as_str() {
            "changes" => changes.extend(&node.inner),
            name if SILENT.contains(&name) => {}
            _ => changes.push(node),
        }
    }
    Some(ChangeSet {
        id: format!("{id}::{author}"),
        line,
        again: set.is("runOnChange") || set.is("runAlways"),
        ops: changes.iter().flat_map(|change| of_change(change, line)).collect(),
        essence: changes.into_iter().cloned().collect(),
    })
}

/// `--changeset author:id attributes`, then SQL.
fn formatted(text: &str) -> Vec<ChangeSet> {
    let mut out: Vec<ChangeSet> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let bare = line.trim_start().trim_start_matches('-').trim_start();
        let head = bare
            .get(..9)
            .filter(|head| line.trim_start().starts_with("--") && head.eq_ignore_ascii_case("changeset"));
        if head.is_some() {
            let mut words = bare[9..].split_whitespace();
            let (author, id) = words.next().and_then(|w| w.split_once(':')).unwrap_or_default();
            let again = words.any(|w| matches!(w, "runOnChange:true" | "runAlways:true"));
            let id = format!("{id}::{author}");
            out.push(ChangeSet { id, line: at + 1, again, ops: Vec::new(), essence: vec![Node::default()] });
        } else if let Some(node) = out.last_mut().and_then(|set| set.essence.first_mut())
            && !line.trim_start().starts_with("--")
        {
            node.text.push_str(line);
            node.text.push('\n');
        }
    }
    for set in &mut out {
        let text = set.essence.first().map(|n| n.text.as_str()).unwrap_or_default();
        set.ops = sql::ops(text, set.line + 1);
    }
    out
}

fn of_change(change: &Node, line: usize) -> Vec<Op> {
    let table = change.value("tableName").or_else(|| change.value("baseTableName"));
    let column = change.value("columnName");
    let one = |action, object: Option<&str>| vec![Op::new(action, table, object, line)];
    let whole = |action, name: Option<&str>| vec![Op::new(action, None, name, line)];
    let raw = |phase: Phase| {
        let op = Op::new(Action::ExecuteSql, table, None, line).phase(phase);
        vec![op.detail(change.name.clone())]
    };
    match change.name.as_str() {
        "createTable" => whole(Action::CreateTable, table),
        "dropTable" => whole(Action::DropTable, table),
        "renameTable" => whole(Action::RenameTable, change.value("oldTableName")),
        "renameView" => whole(Action::RenameTable, change.value("oldViewName")),
        "addColumn" => change.columns().into_iter().map(|c| added(table, c, line)).collect(),
        "dropColumn" if column.is_some() => one(Action::DropColumn, column),
        "dropColumn" => {
            let names = change.columns();
            names.iter().map(|c| Op::new(Action::DropColumn, table, c.value("name"), line)).collect()
        }
        "mergeColumns" => one(Action::DropColumn, change.value("column1Name")),
        "renameColumn" => one(Action::RenameColumn, change.value("oldColumnName")),
        "modifyDataType" => one(Action::AlterType, column),
        "addNotNullConstraint" => one(Action::SetNotNull, column),
        "dropNotNullConstraint" => one(Action::DropNotNull, column),
        "addDefaultValue" => one(Action::SetDefault, column),
        "dropDefaultValue" => one(Action::DropDefault, column),
        "createIndex" => {
            let unique = change.is("unique");
            let action = if unique { Action::CreateUniqueIndex } else { Action::CreateIndex };
            one(action, change.value("indexName"))
        }
        "dropIndex" => one(Action::DropIndex, change.value("indexName")),
        "addUniqueConstraint" => one(Action::AddUnique, change.value("constraintName")),
        "addPrimaryKey" => one(Action::AddPrimaryKey, change.value("constraintName")),
        "addCheckConstraint" => one(Action::AddCheck, change.value("constraintName")),
        "addForeignKeyConstraint" => one(Action::AddFk, change.value("constraintName")),
        "dropUniqueConstraint"
        | "dropPrimaryKey"
        | "dropCheckConstraint"
        | "dropForeignKeyConstraint"
        | "dropAllForeignKeyConstraints" => one(Action::DropConstraint, change.value("constraintName")),
        "createView" => {
            let op = Op::new(Action::CreateView, None, change.value("viewName"), line);
            vec![if change.is("replaceIfExists") { op.phase(Phase::Lock) } else { op }]
        }
        "dropView" => whole(Action::DropView, change.value("viewName")),
        "insert" | "update" | "delete" | "loadData" | "loadUpdateData" => one(Action::Dml, None),
        "addLookupTable" => raw(Phase::Data),
        "addAutoIncrement" | "alterSequence" => raw(Phase::Lock),
        "createSequence" | "createProcedure" | "createFunction" | "createPackage" => raw(Phase::Expand),
        "dropSequence" | "renameSequence" | "dropProcedure" | "dropFunction" => raw(Phase::Contract),
        "sql" => {
            let text = change.value("sql").unwrap_or(&change.text);
            let nested = change.inner.iter().find(|n| n.name == "sql").map(|n| n.text.as_str());
            let ops = sql::ops(nested.unwrap_or(text), line);
            ops.into_iter().map(|op| Op { line, ..op }).collect()
        }
        "setTableRemarks" | "setColumnRemarks" | "tagDatabase" | "output" | "empty" => Vec::new(),
        name => vec![Op::new(Action::Other, table, None, line).detail(format!("{name}(…)"))],
    }
}

fn added(table: Option<&str>, column: &Node, line: usize) -> Op {
    let op = Op::new(Action::AddColumn, table, column.value("name"), line);
    let constraints = column.inner.iter().find(|n| n.name == "constraints");
    let required = constraints.is_some_and(|c| c.value("nullable") == Some("false") || c.is("primaryKey"));
    let filled =
        column.is("autoIncrement") || column.values.keys().any(|key| key.starts_with("defaultValue"));
    match required && !filled {
        true => op.phase(Phase::Contract).detail("NOT NULL without a default in the database"),
        false => op,
    }
}

/// Runs one rule.
pub fn run(trees: &Trees<'_>, rule: &Analyse, out: &mut Vec<Finding>) -> Result<(), ObjectError> {
    let mut created = Created::default();
    let mut place = 0;
    for changed in trees.touched(&rule.files) {
        let mut sides = [Vec::new(), Vec::new()];
        let mut unread = false;
        for (sets, side) in sides.iter_mut().zip([Side::Old, Side::New]) {
            let Some(text) = trees.text_on(changed, side)? else { continue };
            // SQL without that first line belongs to another tool.
            match change_sets(&changed.path, &text) {
                Some(found) => *sets = found,
                None => unread = true,
            }
        }
        if unread {
            let finding = Finding::new("unread", Severity::Warn, &rule.id, &changed.path);
            let finding = if changed.new.is_none() { finding.gone() } else { finding };
            out.push(finding.saying("it is no change log that can be read"));
            continue;
        }
        let [old, new] = sides;
        let known: BTreeMap<&str, &ChangeSet> = old.iter().map(|set| (set.id.as_str(), set)).collect();
        let mut seen = HashSet::new();
        for set in &new {
            let tell = |kind: &str, severity| {
                Finding::new(kind, severity, &rule.id, &changed.path).about(&set.id).at(set.line)
            };
            if !seen.insert(set.id.as_str()) {
                let finding = tell("db.migration_duplicate", Severity::Stop);
                out.push(
                    finding.saying("another of this file has the same id and author: only one of them runs"),
                );
                continue;
            }
            match known.get(set.id.as_str()) {
                Some(was) if was.essence == set.essence => continue,
                Some(_) if !set.again => {
                    let severity = rule.rewritten.unwrap_or(Severity::Stop);
                    let finding = tell("db.migration_modified", severity);
                    out.push(finding.saying("databases that ran it keep what it did before"));
                    continue;
                }
                _ => {}
            }
            let mut ops = set.ops.clone();
            created.net(&mut ops);
            let (path, line) = (&changed.path, set.line);
            out.push(chain::told(rule, "db.migration", &set.id, path, place, ops).at(line));
            place += 1;
        }
        let mut made = Created::default();
        for set in old.iter().filter(|set| !seen.contains(set.id.as_str())) {
            let mut ops = set.ops.clone();
            made.net(&mut ops);
            chain::contract_passed(rule, &set.id, &changed.path, &ops, out);
            let finding =
                Finding::new("db.migration_removed", Severity::Stop, &rule.id, &changed.path).gone();
            let text = "databases have run it, and a new one never will";
            out.push(finding.about(&set.id).at(set.line).saying(text));
        }
    }
    for moved in trees.moved.iter().filter(|m| rule.files.matches(&m.from) || rule.files.matches(&m.to)) {
        let named = trees.text_at(&moved.to, Side::New)?.is_some_and(|text| text.contains("logicalFilePath"));
        if !named {
            let finding = Finding::new("db.migration_removed", Severity::Stop, &rule.id, &moved.to);
            let finding = finding.from_to(Some(moved.from.clone()), Some(moved.to.clone()));
            out.push(finding.saying("a change set is known by its file as well: all of these run again"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_say_the_same() {
        let xml = r#"<databaseChangeLog xmlns="x"><changeSet id="1" author="a">
            <addColumn tableName="t"><column name="c" type="int"><constraints nullable="false"/></column></addColumn>
            <sql>drop table u</sql><rollback><dropTable tableName="never"/></rollback>
            </changeSet></databaseChangeLog>"#;
        let yaml = "databaseChangeLog:\n- changeSet:\n    id: 1\n    author: a\n    changes:\n    - addColumn:\n        \
                    tableName: t\n        columns:\n        - column:\n            name: c\n            \
                    constraints:\n              nullable: false\n    - sql:\n        sql: drop table u\n    \
                    rollback:\n    - dropTable:\n        tableName: never\n";
        let sql = "--liquibase formatted sql\n--changeset a:1\nalter table t add column c int not null;\ndrop table u;\n\
                   --rollback drop table never;\n";
        let told = |path: &str, text: &str| {
            let sets = change_sets(path, text).expect("it is a change log");
            let ops: Vec<_> = sets[0].ops.iter().map(|op| (op.in_words(), op.phase)).collect();
            (sets[0].id.clone(), ops)
        };
        let expected = (
            "1::a".to_owned(),
            vec![
                ("add column t.c".to_owned(), Phase::Contract),
                ("drop table u".to_owned(), Phase::Contract),
            ],
        );
        assert_eq!(told("x.xml", xml), expected);
        assert_eq!(told("x.yaml", yaml), expected);
        assert_eq!(told("x.sql", sql), expected);
    }
}
