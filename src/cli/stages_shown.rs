//! What `git carry stage` shows.

use anstyle::{AnsiColor, Style};
use comfy_table::ColumnConstraint;
use gix_hash::ObjectId;
use serde_json::{Value, json};

use super::error::CliError;
use super::risk::severity;
use super::stage::style;
use super::ui::{BOLD, DIM, Ui, clean, count, cut, fitted, name_of, painted, short, table};
use crate::night::overview::{Overview, Row};
use crate::night::promote::{Approved, Verdict};
use crate::night::stage::{SignedBy, Stages};
use crate::stage::gate::length;
use crate::stage::{Action, Contract, Gate, Skew};
use crate::workspace::Stage;

const YELLOW: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

/// How long ago a moment was.
fn ago(stages: &Stages<'_>, when: &str) -> String {
    let since = when.parse::<jiff::Timestamp>().ok();
    let time = since.and_then(|s| std::time::Duration::try_from(stages.now.duration_since(s)).ok());
    // The largest part is enough where many are compared.
    let text = time.map_or_else(|| "-".to_owned(), length);
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn revisions(all: &[Contract]) -> String {
    all.iter().map(|c| format!("{} ({})", clean(&c.revision), clean(&c.db))).collect::<Vec<_>>().join(", ")
}

/// All stages.
pub fn overview(ui: &Ui, stages: &Stages<'_>, all: &Overview) -> Result<u8, CliError> {
    if ui.json {
        let mut document = serde_json::to_value(all)?;
        document["version"] = 1.into();
        document["project"] = stages.site.project.name.clone().into();
        document["offline"] = stages.offline.into();
        ui.document(&document)?;
        return Ok(0);
    }
    let grouped = all.stages.iter().any(|r| r.group.is_some());
    let mut header = vec!["stage", "group", "runs", "since", "by", "behind", "next"];
    if !grouped {
        header.remove(1);
    }
    let mut rows = table(&header);
    for row in &all.stages {
        let mut cells = cells(stages, row);
        if !grouped {
            cells.remove(1);
        }
        rows.add_row(cells);
    }
    // Builds are not to be cut in two.
    for at in [header.len() - 5, header.len() - 1] {
        if let Some(column) = rows.column_mut(at) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    ui.line(&fitted(rows, &[]));
    ui.prose(&painted("behind: trunk commits that were fetched, and builds up to the last one", DIM));
    for row in &all.stages {
        let Some(runs) = &row.runs else { continue };
        let name = clean(&row.stage);
        if let Some(why) = &runs.overridden {
            ui.prose(&format!("{} {name} runs it by an override: {}", painted("!", YELLOW), clean(why)));
        }
        if stages.signers_are_known() && !matches!(runs.signed, SignedBy::Allowed(_)) {
            let told = format!("! the record of {name} is not signed by one who may");
            ui.prose(&painted(&told, style(false)));
        }
    }
    for row in &all.stages {
        let Some(next) = row.next.as_ref().filter(|n| !n.allowed) else { continue };
        for gate in &next.waits_for {
            let told = format!("{} waits with {}: {}: {}", row.stage, next.build, gate.name(), gate.why);
            ui.prose(&clean(&told));
        }
    }
    for row in all.stages.iter().filter(|r| r.next.as_ref().is_some_and(|n| n.allowed)) {
        let build = row.next.as_ref().map_or("", |n| n.build.as_str());
        ui.prose(&format!("\ngit carry stage promote {build} {}", clean(&row.stage)));
    }
    for skew in &all.skew {
        group(ui, skew);
    }
    for free in &all.free {
        ui.prose(&format!(
            "\n{}  since nothing older runs there, these migrations may run, if they have not: {}",
            painted(&clean(&free.place), BOLD),
            revisions(&free.migrations)
        ));
    }
    Ok(0)
}

fn cells(stages: &Stages<'_>, row: &Row) -> Vec<String> {
    let group = row.group.as_deref().map_or_else(|| painted("-", DIM), clean);
    let next = match &row.next {
        None => painted("-", DIM),
        Some(next) if next.allowed => painted(&next.build, style(true)),
        Some(next) => format!("{} {}", next.build, painted("waits", YELLOW)),
    };
    let Some(runs) = &row.runs else {
        let mut cells = vec![clean(&row.stage), group, painted("nothing", DIM)];
        cells.extend(["-"; 3].map(str::to_owned));
        cells.push(next);
        return cells;
    };
    let behind = |n: Option<usize>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let back = if runs.action == Action::Rollback { painted(" rolled back", YELLOW) } else { String::new() };
    vec![
        clean(&row.stage),
        group,
        format!("{}{back}", runs.build),
        ago(stages, &runs.since),
        cut(&name_of(&runs.by[0]), 14),
        format!("{}, {}", behind(runs.behind_trunk), behind(runs.behind_builds)),
        next,
    ]
}

/// What the stages of a group mean to each other.
fn group(ui: &Ui, skew: &Skew) {
    let live: Vec<String> =
        skew.live.iter().map(|l| format!("{} in {}", l.build, clean(&l.stages.join(", ")))).collect();
    ui.prose(&format!("\n{}  {}", painted(&clean(&skew.group), BOLD), live.join("; ")));
    for why in &skew.apart {
        ui.prose(&format!("  {}  {}", severity(crate::risk::Severity::Stop), clean(why)));
    }
    let mut rows = table(&["", "", ""]);
    rows.set_header(Vec::<String>::new());
    for m in &skew.meet {
        let what = format!("{} {} and {}", m.name, m.old, m.new);
        rows.add_row(["  meet".to_owned(), clean(&m.kind), clean(&what)]);
    }
    for w in &skew.waits {
        let what = format!("{} ({}) for {}", w.contract.revision, w.contract.db, w.on.join(", "));
        rows.add_row(["  wait".to_owned(), "migration".to_owned(), clean(&what)]);
    }
    if rows.row_count() > 0 {
        ui.line(&fitted(rows, &[]));
    }
    ui.prose(&format!("  {}", painted("to one build:", BOLD)));
    for (n, step) in skew.steps.iter().enumerate() {
        ui.prose(&format!("  {:>3}. {}", n + 1, clean(&step.what)));
        for command in &step.run {
            ui.line(&format!("       {}", painted(&format!("$ {}", clean(command)), DIM)));
        }
    }
}

fn gates(ui: &Ui, gates: &[Gate]) {
    let mut rows = table(&["gate", "", "why"]);
    for gate in gates {
        let word = match (gate.met, gate.overridden) {
            (true, _) => painted("met", style(true)),
            (false, true) => painted("overridden", YELLOW),
            (false, false) => painted("not met", style(false)),
        };
        rows.add_row([clean(&gate.name()), word, clean(&gate.why)]);
    }
    if !gates.is_empty() {
        ui.line(&fitted(rows, &[]));
    }
}

/// A verdict, and what came of it: the record that was made, and whether it was only tried. None: only asked.
pub fn verdict(
    ui: &Ui,
    stages: &Stages<'_>,
    v: &Verdict,
    done: Option<(Option<ObjectId>, bool)>,
) -> Result<(), CliError> {
    let (record, dry_run) = done.unwrap_or_default();
    if ui.json {
        let mut document = json!({
            "version": 1,
            "project": stages.site.project.name,
            "stage": v.stage,
            "action": v.action,
            "build": v.build,
            "commit": v.commit.to_string(),
            "before": v.runs.map(|id| id.to_string()),
            "allowed": v.already() || v.allowed(),
            "already": v.already(),
            "done": record.is_some(),
            "gates": v.gates,
            "risk": v.transition.as_deref(),
            "waits": v.waits,
            "frees": v.frees,
        });
        if let Some(id) = record {
            document["record"] = id.to_string().into();
        }
        ui.document(&document)?;
        return Ok(());
    }
    let (build, stage) = (v.build.as_str(), clean(&v.stage));
    if v.already() {
        ui.prose(&format!("'{stage}' runs {build} already: nothing to do"));
        return Ok(());
    }
    gates(ui, &v.gates);
    let from = v.runs.map(|id| format!(" (before: {})", short(&id.to_string()))).unwrap_or_default();
    let verb = match v.action {
        Action::Promote => "come to",
        Action::Rollback => "come back to",
    };
    match (&record, v.allowed()) {
        (Some(id), _) => {
            let text = format!("'{stage}' runs {build} from here on{from}");
            ui.prose(&format!("\n{}  record {}", painted(&text, style(true)), short(&id.to_string())));
        }
        (None, true) => {
            let tried = if dry_run { "; nothing was done" } else { "" };
            let text = format!("{build} may {verb} '{stage}'{from}{tried}");
            ui.prose(&format!("\n{}", painted(&text, style(true))));
        }
        (None, false) => {
            let text = format!("{build} may not {verb} '{stage}'{from}; nothing was changed");
            ui.prose(&format!("\n{}", painted(&text, style(false))));
        }
    }
    if let (Some(runs), Action::Promote) = (v.runs, v.action) {
        let runs = runs.to_string();
        ui.prose(&painted(&format!("what the move asks: git carry risk {} {build}", short(&runs)), DIM));
    }
    for wait in &v.waits {
        ui.prose(&format!(
            "{} {} ({}): not before {} {} moved",
            painted("wait with migration", YELLOW),
            clean(&wait.contract.revision),
            clean(&wait.contract.db),
            clean(&wait.on.join(", ")),
            if wait.on.len() == 1 { "has" } else { "have" },
        ));
    }
    if !v.frees.is_empty() {
        let when = if record.is_some() { "these may run now" } else { "these may run then" };
        ui.prose(&format!("nothing older runs any more; {when}: {}", revisions(&v.frees)));
    }
    if !v.allowed() {
        let hint = next_step(v);
        let bold = BOLD;
        ui.error(&format!("{bold}hint:{bold:#} {hint}"));
    }
    Ok(())
}

/// What to do about gates that are not met.
fn next_step(v: &Verdict) -> String {
    use crate::stage::GateKind as G;
    let open: Vec<G> = v.gates.iter().filter(|g| !g.open()).map(|g| g.gate).collect();
    let (build, stage) = (&v.build, clean(&v.stage));
    match open.first() {
        Some(G::Forward) => format!("git carry stage rollback {stage} --to {build}"),
        Some(G::Check) => format!("git carry check {build}"),
        Some(G::Approvals) => format!("git carry stage approve {build} {stage}"),
        _ if v.action == Action::Rollback => {
            format!("to do it all the same: git carry stage rollback {stage} --to {build} --override REASON")
        }
        _ => format!("to do it all the same: git carry stage promote {build} {stage} --override REASON"),
    }
}

/// What came of an approval.
pub fn approved(ui: &Ui, done: &Approved, stage: &Stage) -> Result<u8, CliError> {
    let a = &done.approval;
    if ui.json {
        let mut document = serde_json::to_value(a)?;
        document["already"] = done.already.into();
        document["counts"] = done.counts.into();
        document["needed"] = stage.approvals.into();
        ui.document(&document)?;
        return Ok(0);
    }
    let who = clean(&a.who[0]);
    let (build, name) = (&a.build, clean(&stage.name));
    if done.already {
        let day = a.when.get(..10).unwrap_or("-");
        ui.prose(&format!("{who} approved {build} for '{name}' on {day} already: nothing to do"));
    } else {
        ui.prose(&format!("{who} approves {build} for '{name}'"));
    }
    if !done.counts {
        ui.prose("it does not count, as it is not signed by one who may: carry.toml, [signing] key");
    } else if stage.approvals == 0 {
        ui.prose("the stage asks for no approvals");
    }
    Ok(0)
}

/// What a stage ran.
pub fn history(ui: &Ui, stages: &Stages<'_>, stage: &str, most: usize) -> Result<u8, CliError> {
    let all: Vec<_> = stages.kept(stage).iter().take(most).collect();
    let ids: Vec<ObjectId> = all.iter().map(|k| k.id).collect();
    let signatures = stages.signatures(&ids)?;
    if ui.json {
        let mut records = Vec::new();
        for kept in &all {
            let mut record = serde_json::to_value(&kept.record)?;
            record["record"] = kept.id.to_string().into();
            record["signed"] = serde_json::to_value(signatures.get(&kept.id))?;
            records.push(record);
        }
        let project = &stages.site.project.name;
        let document: Value = json!({ "version": 1, "project": project, "stage": stage, "records": records });
        ui.document(&document)?;
        return Ok(0);
    }
    if all.is_empty() {
        ui.prose(&format!("'{}' ran nothing yet", clean(stage)));
        return Ok(0);
    }
    for kept in all {
        let r = &kept.record;
        let verb = match r.action {
            Action::Promote => "promote",
            Action::Rollback => "roll back to",
        };
        let when = r.when.get(..16).unwrap_or(&r.when).replace('T', " ");
        let before = r.before.as_deref().map(|b| format!(" (before: {})", short(b))).unwrap_or_default();
        let risk = r.risk.map(|level| format!("  risk {}", severity(level))).unwrap_or_default();
        ui.prose(&format!(
            "{}  {verb} {}{before}  {}{risk}{}",
            clean(&when),
            painted(&clean(&r.build), BOLD),
            name_of(&r.who[0]),
            painted(&signature(signatures.get(&kept.id)), DIM),
        ));
        if let Some(reason) = &r.reason {
            ui.prose(&format!("    {}", clean(reason)));
        }
        if let Some(why) = &r.overridden {
            ui.prose(&format!("    {} {}", painted("override:", YELLOW), clean(why)));
            for gate in r.gates.iter().filter(|g| g.overridden) {
                ui.prose(&format!("      {}: {}", clean(&gate.name()), cut(&clean(&gate.why), 160)));
            }
        }
        for wait in &r.waits {
            let on = clean(&wait.on.join(", "));
            ui.prose(&format!("    {} waits for {on}", revisions(std::slice::from_ref(&wait.contract))));
        }
        if !r.frees.is_empty() {
            let many = count(r.frees.len(), "migration", "migrations");
            ui.prose(&format!("    {many} may run from here on: {}", revisions(&r.frees)));
        }
    }
    Ok(0)
}

fn signature(by: Option<&SignedBy>) -> String {
    match by {
        Some(SignedBy::Allowed(by)) => format!("  signed by {}", clean(by)),
        Some(SignedBy::Somebody) => "  signed".into(),
        Some(SignedBy::Bad) => "  BAD SIGNATURE".into(),
        Some(SignedBy::Nobody) | None => String::new(),
    }
}
