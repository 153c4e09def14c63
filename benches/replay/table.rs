//! What was measured, in tables.

use serde_json::{Value, json};

use crate::{Measured, ROUNDS, Row};

/// What the programs needed for one work.
pub struct Table {
    pub name: String,
    pub patches: u64,
    /// `git carry rebase` first.
    pub rows: Vec<Row>,
}

impl Table {
    fn own(&self) -> &Measured {
        self.rows[0].result.as_ref().expect("git carry rebase works")
    }

    pub fn print(&self) {
        let own = self.own();
        println!(
            "{} ({} patches that apply; medians of up to {ROUNDS} whole processes)\n",
            self.name, self.patches
        );
        println!("| program | time | times git carry rebase | memory | same tree |");
        println!("| --- | --- | --- | --- | --- |");
        for Row { name, result } in &self.rows {
            let Some(measured) = result else {
                println!("| {name} | it failed | | | |");
                continue;
            };
            let (ms, ratio, mib) = (milliseconds(measured), ratio(measured, own), measured.memory >> 20);
            let word = if measured.tree == own.tree { "yes" } else { "no" };
            println!("| {name} | {ms:.0} ms | {ratio:.2} | {mib} MiB | {word} |");
        }
        println!();
    }

    /// For programs.
    pub fn document(&self) -> Value {
        let own = self.own();
        let told = |row: &Row| match &row.result {
            None => json!({ "program": row.name }),
            Some(measured) => json!({
                "program": row.name,
                "milliseconds": milliseconds(measured),
                "ratio": ratio(measured, own),
                "memory": measured.memory,
                "same_tree": measured.tree == own.tree,
            }),
        };
        let programs: Vec<Value> = self.rows.iter().map(told).collect();
        json!({ "work": self.name, "patches": self.patches, "programs": programs })
    }
}

/// All works in one table: how often `git carry rebase` goes into the time of each other program, and how long it takes
/// against the work before.
pub fn print_all(tables: &[Table]) {
    let names: Vec<&str> = tables[0].rows[1..].iter().map(|row| row.name.as_str()).collect();
    let same = |table: &Table| {
        let own = table.own();
        table.rows.iter().flat_map(|row| &row.result).all(|measured| measured.tree == own.tree)
    };
    println!(
        "| work | git carry rebase | memory | {} | same trees | times the work before |",
        names.join(" | ")
    );
    println!("| --- | --- | --- | {}--- | --- |", "--- | ".repeat(names.len()));
    let mut before: Option<&Measured> = None;
    for table in tables {
        let own = table.own();
        let others: Vec<String> = names
            .iter()
            .map(|name| {
                match table.rows.iter().find(|row| row.name == **name).and_then(|row| row.result.as_ref()) {
                    Some(measured) => format!("{:.1} ×", ratio(measured, own)),
                    None => String::new(),
                }
            })
            .collect();
        println!(
            "| {} | {:.0} ms | {} MiB | {} | {} | {} |",
            table.name,
            milliseconds(own),
            own.memory >> 20,
            others.join(" | "),
            if same(table) { "yes" } else { "no" },
            before.map(|before| format!("{:.2}", ratio(own, before))).unwrap_or_default(),
        );
        before = Some(own);
    }
}

fn milliseconds(measured: &Measured) -> f64 {
    measured.time.as_secs_f64() * 1000.0
}

fn ratio(measured: &Measured, own: &Measured) -> f64 {
    measured.time.as_secs_f64() / own.time.as_secs_f64()
}
