//! Reads a migration by its tool's rules.

use super::super::rule::{Analyse, Analyser, Pattern};
use super::super::script::{HOLE, python};
use super::{Action, Migration, Op, django, rails, sql, sqlalchemy};

/// Reads the file at `path`; nothing if it is no migration.
pub fn migration(rule: &Analyse, path: &str, text: &str) -> Option<Migration> {
    let by_path = || identity(rule.identity.as_ref(), path);
    match rule.analyser {
        Analyser::Alembic => match sqlalchemy::alembic(text) {
            // It says that it is one, and cannot be read: that must not pass for nothing.
            None if text.contains("def upgrade(") && text.contains("revision") => {
                Some(unreadable(rule, path))
            }
            read => read,
        },
        Analyser::SqlalchemyMigrate => {
            let number = by_path()?;
            Some(sqlalchemy::numbered(text, &number).unwrap_or_else(|| unreadable(rule, path)))
        }
        Analyser::Rails => {
            let version = by_path()?;
            let read = rails::read(text, &version, rule.assured.as_deref());
            Some(read.unwrap_or_else(|| unreadable(rule, path)))
        }
        Analyser::Django => Some(django::read(text, path).unwrap_or_else(|| unreadable(rule, path))),
        Analyser::Sql => {
            Some(Migration { revision: by_path()?, ops: sql::ops(text, 1), ..Migration::default() })
        }
        _ => None,
    }
}

/// A migration of which nothing is known but that it is there.
pub fn unreadable(rule: &Analyse, path: &str) -> Migration {
    let op = Op::new(Action::Other, None, None, 1).detail(format!("it could not be read{HOLE}"));
    let revision = match rule.analyser {
        Analyser::Django => django::identity(path),
        _ => identity(rule.identity.as_ref(), path),
    };
    Migration { revision: revision.unwrap_or_else(|| path.to_owned()), ops: vec![op], ..Migration::default() }
}

/// A migration's identity, from its path.
fn identity(pattern: Option<&Pattern>, path: &str) -> Option<String> {
    let found = pattern?.0.captures(path)?;
    found.get(1).map(|m| m.as_str().to_owned())
}

/// A file's words as far as they matter to what it does.
pub fn essence(rule: &Analyse, text: &str) -> String {
    let python = matches!(rule.analyser, Analyser::Alembic | Analyser::SqlalchemyMigrate | Analyser::Django);
    let code = if python { python::code_of(text) } else { None };
    code.unwrap_or_else(|| {
        let comment = if rule.analyser == Analyser::Rails { "#" } else { "--" };
        let bare = text.lines().map(|line| if line.trim_start().starts_with(comment) { "" } else { line });
        bare.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    })
}

/// Compares two identities in the order of their tool: numbers as numbers.
pub fn order(a: &str, b: &str) -> std::cmp::Ordering {
    let parts = |text: &str| -> Vec<Result<u128, String>> {
        text.split(['.', '_', '/']).map(|p| p.parse::<u128>().map_err(|_| p.to_owned())).collect()
    };
    parts(a).cmp(&parts(b))
}
