//! Reads tables of a TOML file key by key, and gathers every fault with its line.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::config::Fault;

/// Reads one table of the file, and keeps count of what it used.
pub(super) struct Reader<'a> {
    pub text: &'a str,
    pub faults: Vec<Fault>,
}

pub(super) type Table<'i> = DeTable<'i>;

impl Reader<'_> {
    pub fn fault(&mut self, at: usize, what: String, hint: Option<String>) {
        let line = self.text.get(..at).map_or(1, |head| head.matches('\n').count() + 1);
        self.faults.push(Fault { line, what, hint });
    }

    /// Refuses keys that are not among `known`.
    pub fn keys(&mut self, table: &Table<'_>, place: &str, known: &[&str]) {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let place = if place.is_empty() { String::new() } else { format!(" in [{place}]") };
                let hint = nearest(name, known).map(|k| format!("did you mean '{k}'?"));
                let hint = hint.or(Some(format!("the keys here are: {}", known.join(", "))));
                self.fault(key.span().start, format!("unknown key '{name}'{place}"), hint);
            }
        }
    }

    pub fn text(&mut self, table: &Table<'_>, key: &str) -> Option<Spanned<String>> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::String(s) => Some(Spanned::new(value.span(), s.to_string())),
            other => {
                let what = format!("'{key}' must be a text, and is {}", kind(other));
                self.fault(value.span().start, what, Some(format!("write: {key} = \"…\"")));
                None
            }
        }
    }

    pub fn table<'t, 'i>(&mut self, table: &'t Table<'i>, key: &str) -> Option<(&'t Table<'i>, usize)> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::Table(t) => Some((t, value.span().start)),
            other => {
                let what = format!("'{key}' must be a table, and is {}", kind(other));
                self.fault(value.span().start, what, Some(format!("write: [{key}]")));
                None
            }
        }
    }

    /// The tables of a list of tables, each with its place in the text. `place` is how one is written: `project.X.check`.
    pub fn tables<'t, 'i>(
        &mut self,
        table: &'t Table<'i>,
        key: &str,
        place: &str,
    ) -> Vec<(&'t Table<'i>, usize)> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let mut tables = Vec::new();
        let mut wrong = Some(value.span().start);
        if let DeValue::Array(items) = value.get_ref() {
            wrong = None;
            for item in items.iter() {
                match item.get_ref() {
                    DeValue::Table(table) => tables.push((table, item.span().start)),
                    _ => wrong = Some(item.span().start),
                }
            }
        }
        if let Some(at) = wrong {
            let hint = Some(format!("write: [[{place}]]"));
            self.fault(at, format!("'{key}' must be a list of tables"), hint);
        }
        tables
    }

    /// True or false; `default` where nothing is said.
    pub fn truth(&mut self, table: &Table<'_>, key: &str, default: bool) -> bool {
        match table.get(key).map(|v| (v.get_ref(), v.span().start)) {
            None => default,
            Some((DeValue::Boolean(truth), _)) => *truth,
            Some((_, at)) => {
                self.fault(at, format!("'{key}' must be true or false"), None);
                default
            }
        }
    }

    /// A whole number from 1.
    pub fn count(&mut self, table: &Table<'_>, key: &str) -> Option<usize> {
        let value = table.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(n) => n.as_str().parse().ok().filter(|n| *n > 0),
            _ => None,
        };
        if number.is_none() {
            self.fault(value.span().start, format!("'{key}' must be a whole number from 1"), None);
        }
        number
    }

    /// A length of time, longer than none: `30m`, `1h 30m`, `2d` is 48 hours.
    pub fn duration(&mut self, table: &Table<'_>, key: &str, default: Duration) -> Duration {
        let Some(text) = self.text(table, key) else { return default };
        length(text.get_ref()).unwrap_or_else(|| {
            let what = format!("'{key}' cannot be '{}'", text.get_ref());
            self.fault(text.span().start, what, Some(format!("write: {key} = \"30m\"")));
            default
        })
    }

    /// A list of texts.
    pub fn list(&mut self, table: &Table<'_>, key: &str) -> Vec<String> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let mut texts = Vec::new();
        let mut wrong = Some(value.span().start);
        if let DeValue::Array(items) = value.get_ref() {
            wrong = None;
            for item in items.iter() {
                match item.get_ref() {
                    DeValue::String(s) => texts.push(s.to_string()),
                    _ => wrong = Some(item.span().start),
                }
            }
        }
        if let Some(at) = wrong {
            let hint = Some(format!("write: {key} = [\"…\", \"…\"]"));
            self.fault(at, format!("'{key}' must be a list of texts"), hint);
        }
        texts
    }

    /// One of a few words; the first is the default.
    pub fn choice<T: Copy>(&mut self, table: &Table<'_>, key: &str, words: &[(&str, T)]) -> T {
        if let Some(value) = self.text(table, key) {
            if let Some((_, choice)) = words.iter().find(|(w, _)| w == value.get_ref()) {
                return *choice;
            }
            let names: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
            let what = format!("'{key}' cannot be '{}'", value.get_ref());
            self.fault(value.span().start, what, Some(format!("it is one of: {}", names.join(", "))));
        }
        words[0].1
    }

    /// A text that a rule accepts.
    pub fn checked(
        &mut self,
        table: &Table<'_>,
        key: &str,
        rule: fn(&str) -> Result<(), String>,
    ) -> Option<Spanned<String>> {
        let value = self.text(table, key)?;
        match rule(value.get_ref()) {
            Ok(()) => Some(value),
            Err(why) => {
                self.fault(
                    value.span().start,
                    format!("'{key}' cannot be '{}': {why}", value.get_ref()),
                    None,
                );
                None
            }
        }
    }
}

/// A length of time, longer than none. A day counts as 24 hours, so that it does not depend on the calendar.
pub fn length(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok().filter(|d| !d.is_zero())
}

/// The nearest of `known` to a mistyped name.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let scored = known.iter().map(|k| (strsim::jaro_winkler(name, k), *k));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
