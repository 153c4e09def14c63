//! Which of SQLAlchemy's calls only look, and which objects queries are asked of.

use super::super::script::{Call, Value};

/// Is it a session, or made by one?
pub(super) fn is_session(of: &Value) -> bool {
    of.as_call().is_some_and(|c| c.name().to_lowercase().contains("session") || is_session(&c.callee))
}

/// Does a chain begin with `session.query(…)`?
pub(super) fn is_query(of: &Value) -> bool {
    let mut at = of;
    loop {
        match at {
            Value::Call(call) if call.name() == "query" => return true,
            Value::Call(call) => at = &call.callee,
            Value::Attr(of, _) => at = of,
            _ => return false,
        }
    }
}

/// Calls that look, and those that build what another call takes.
pub(super) fn is_reader(call: &Call) -> bool {
    let name = call.name();
    name.starts_with("get_")
        || name.starts_with("has_")
        || name.starts_with(|c: char| c.is_ascii_uppercase())
        || matches!(
            name,
            "execution_options"
                | "from_engine"
                | "inspect"
                | "reflect"
                | "select"
                | "where"
                | "values"
                | "fetchall"
                | "fetchone"
                | "scalar"
                | "first"
                | "all"
                | "filter"
                | "filter_by"
                | "query"
                | "join"
                | "outerjoin"
                | "insert"
                | "update"
                | "delete"
                | "copy"
                | "_copy"
                | "tometadata"
                | "append"
                | "append_column"
                | "append_constraint"
                | "extend"
                | "info"
                | "debug"
                | "warning"
                | "error"
                | "exception"
                | "is_offline"
                | "text"
                | "literal_column"
                | "begin"
                | "begin_nested"
                | "label"
                | "alias"
                | "distinct"
                | "limit"
                | "order_by"
                | "group_by"
                | "and_"
                | "or_"
                | "func"
                | "now"
                | "utcnow"
                | "count"
                | "table"
                | "column"
                | "values_callable"
                | "format"
                | "items"
                | "keys"
                | "is_"
                | "in_"
                | "notin_"
                | "close"
                | "dispose"
                | "create_engine"
                | "connect"
                | "bind"
                | "with_only_columns"
                | "select_from"
                | "subquery"
                | "as_scalar"
                | "scalar_subquery"
                | "correlate"
                | "drop_all_not"
        )
}
