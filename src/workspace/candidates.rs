//! `[project.X.candidates]`: what counts how much when patches are ranked for upstream.

use toml::de::DeValue;

use super::reader::{Reader, Table};

/// How many points each number of a patch gives. What carrying it costs adds, what sending it takes is taken off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// A build of the last quarter in which it was a root conflict.
    pub conflict: f64,
    /// A day of the last quarter on which it waited, in conflict, for a person.
    pub waiting: f64,
    /// A build for which it was made anew, by merge or by a recorded answer.
    pub refreshed: f64,
    /// An upstream commit of the last quarter that changed the very lines that it touches or stands beside.
    pub churn: f64,
    /// Another patch that needs it.
    pub dependent: f64,
    /// A year that it has been carried.
    pub year: f64,
    /// A hundred lines that it adds or takes away; more than a thousand count as that.
    pub hundred_lines: f64,
    /// Taken off: another patch that must be sent with it.
    pub closure: f64,
    /// Taken off, if no test comes with it.
    pub untested: f64,
    /// Taken off, if it is not signed off.
    pub unsigned: f64,
}

// None of them is ever "not a number".
impl Eq for Weights {}

impl Default for Weights {
    fn default() -> Self {
        Self {
            conflict: 3.0,
            waiting: 1.0,
            refreshed: 0.5,
            churn: 1.0,
            dependent: 2.0,
            year: 0.25,
            hundred_lines: 0.5,
            closure: 1.5,
            untested: 2.0,
            unsigned: 0.5,
        }
    }
}

impl Weights {
    /// Each by its key in `carry.toml`.
    pub fn named(&mut self) -> [(&'static str, &mut f64); 10] {
        [
            ("conflict", &mut self.conflict),
            ("waiting", &mut self.waiting),
            ("refreshed", &mut self.refreshed),
            ("churn", &mut self.churn),
            ("dependent", &mut self.dependent),
            ("year", &mut self.year),
            ("hundred_lines", &mut self.hundred_lines),
            ("closure", &mut self.closure),
            ("untested", &mut self.untested),
            ("unsigned", &mut self.unsigned),
        ]
    }
}

/// Reads a project's weights; what is not said is the default.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Weights {
    let mut weights = Weights::default();
    let Some((table, _)) = r.table(table, "candidates") else { return weights };
    let named = weights.named();
    let keys: Vec<&str> = named.iter().map(|(key, _)| *key).collect();
    r.keys(table, &format!("{place}.candidates"), &keys);
    for (key, weight) in named {
        let Some(value) = table.get(key) else { continue };
        let number: Option<f64> = match value.get_ref() {
            DeValue::Integer(n) => n.as_str().parse().ok(),
            DeValue::Float(n) => n.as_str().parse().ok(),
            _ => None,
        };
        match number.filter(|n| n.is_finite() && *n >= 0.0) {
            Some(number) => *weight = number,
            None => {
                let hint = Some("0 leaves it out of the ranking".into());
                r.fault(value.span().start, format!("'{key}' must be a number from 0"), hint);
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Config;

    fn read(table: &str) -> Result<Weights, Vec<String>> {
        let text = format!("version = 1\n[project.p]\nupstream = \"x\"\nbranch = \"main\"\n{table}");
        let config = Config::parse("carry.toml", &text);
        config.map(|c| c.projects["p"].candidates).map_err(|e| e.faults.into_iter().map(|f| f.what).collect())
    }

    #[test]
    fn what_is_said_replaces_the_default_and_the_rest_stays() {
        assert_eq!(read(""), Ok(Weights::default()));
        let said = read("[project.p.candidates]\nconflict = 10\nyear = 0.25\n");
        assert_eq!(said, Ok(Weights { conflict: 10.0, year: 0.25, ..Weights::default() }));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let told = read("[project.p.candidates]\nconflict = -1\nchurn = \"much\"\nyears = 2\n").unwrap_err();
        for what in ["unknown key 'years'", "'conflict' must be a number", "'churn' must be a number"] {
            assert!(told.iter().any(|t| t.contains(what)), "{what}: {told:?}");
        }
        assert_eq!(told.len(), 3);
    }
}
