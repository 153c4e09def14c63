//! A report for a terminal: what stands, what wants a person, what changed; the rest in a line each.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::model::{Change, Press, Project, Report, State, Want};
use super::words::{self, clean, count, day, in_days, person};
use crate::forecast::Effect;
use crate::risk::Severity;
use crate::workspace::Outcome;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The report with colours, for whoever shows them; without them it says as much.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    if report.projects.len() > 1 {
        index(&mut out, report);
    }
    for project in &report.projects {
        one(&mut out, report, project);
    }
    out
}

fn painted(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(colour.into()))
}

fn of_state(state: State) -> Style {
    match state {
        State::Deployable => colour(AnsiColor::Green).bold(),
        State::Behind | State::NoBuild => colour(AnsiColor::Yellow).bold(),
        State::Refused | State::Forbidden | State::Unreadable => colour(AnsiColor::Red).bold(),
    }
}

// Writing to a string does not fail, so what `writeln!` returns is passed over here.

fn index(out: &mut String, report: &Report) {
    let width = report.projects.iter().map(|p| p.name.chars().count()).max().unwrap_or_default();
    for p in &report.projects {
        let state = painted(words::state(p), of_state(p.state));
        let wants = match p.wants.len() {
            0 => "nothing wants you".to_owned(),
            n => count(n, "thing wants you", "things want you"),
        };
        let _ = writeln!(out, "{:width$}  {state}; {wants}; {}", clean(&p.name), words::totals(p));
    }
    out.push('\n');
}

fn one(out: &mut String, report: &Report, p: &Project) {
    let state = painted(words::state(p), of_state(p.state));
    let _ = writeln!(out, "{}  {state}", painted(&clean(&p.name), BOLD));
    if let Some(build) = &p.build {
        let signed = if build.signed_by.is_some() { "; signed" } else { "" };
        let _ = writeln!(out, "  build {}{signed}", words::build(build));
    }
    if let Some(behind) = p.behind.filter(|n| *n > 0) {
        let behind = count(behind, "commit", "commits");
        let _ = writeln!(out, "  {behind} of the fetched trunk not in it");
    }
    let _ = writeln!(out, "  last run {}", words::last_run(p, &report.made));
    let _ = writeln!(out, "  {}", words::totals(p));
    if matches!(p.state, State::Refused | State::Forbidden | State::Unreadable) {
        for reason in &p.reasons {
            let _ = writeln!(out, "  {}", clean(reason));
        }
    }
    wants(out, &p.wants);
    changes(out, p);
    asked(out, p);
    let trends = &p.trends;
    if let Some(median) = trends.median_days {
        let n = count(trends.mended.len(), "conflict", "conflicts");
        let _ = writeln!(out, "\n{n} ended within {} (median)", in_days(median));
    }
    out.push('\n');
}

fn wants(out: &mut String, wants: &[Want]) {
    let _ = match wants.len() {
        0 => writeln!(out, "\nnothing wants you"),
        n => writeln!(out, "\n{}", painted(&count(n, "thing wants you", "things want you"), BOLD)),
    };
    for w in wants {
        let (mark, style) = match w.press {
            Press::Stop => ("stop", colour(AnsiColor::Red)),
            Press::Mend => ("mend", colour(AnsiColor::Yellow)),
            Press::Look => ("look", colour(AnsiColor::Cyan)),
        };
        let patch = w.patch.as_deref().map(|p| format!("{} ", clean(p))).unwrap_or_default();
        let owner = w.owner.as_deref().map(|o| painted(&format!("  {}", clean(person(o))), DIM));
        let _ = writeln!(
            out,
            "  {}  {}{}{}",
            painted(mark, style),
            painted(&patch, BOLD),
            clean(&w.what),
            owner.unwrap_or_default()
        );
        if !w.why.is_empty() {
            let _ = writeln!(out, "        {}", clean(&w.why));
        }
        if let Some(next) = &w.next {
            let _ = writeln!(out, "        {}", painted(&format!("$ {}", clean(next)), DIM));
        }
    }
}

fn changes(out: &mut String, p: &Project) {
    let Some(c) = &p.changes else { return };
    let against = format!("since build {} of trunk's {}", c.build, day(&c.date));
    let _ = writeln!(out, "\n{}", painted(&against, BOLD));
    let mut none = true;
    let lists: [(&str, AnsiColor, &[Change]); 4] = [
        ("new", AnsiColor::Red, &c.new),
        ("still", AnsiColor::Yellow, &c.still),
        ("fixed", AnsiColor::Green, &c.fixed),
        ("landed", AnsiColor::Magenta, &c.landed),
    ];
    for (word, ink, list) in lists {
        for change in list {
            let what = words::change(change);
            let word = painted(&format!("{word:6}"), colour(ink));
            let _ = writeln!(out, "  {word}  {}  {}", clean(&change.patch), painted(&what, DIM));
            none = false;
        }
    }
    for (word, list) in [("came", &c.joined), ("left", &c.left)] {
        for name in list {
            let _ = writeln!(out, "  {word:6}  {}", clean(name));
            none = false;
        }
    }
    if none {
        let _ = writeln!(out, "  nothing");
    }
}

/// What the build asks of those who deploy it, and what is coming.
fn asked(out: &mut String, p: &Project) {
    if let Some(risk) = &p.risk {
        let of = [Severity::Stop, Severity::Warn, Severity::Info];
        let parts = of.iter().filter(|s| risk.assessment.count(**s) > 0);
        let parts: Vec<String> =
            parts.map(|s| format!("{} {}", risk.assessment.count(*s), s.word())).collect();
        let told = if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") };
        let steps = match risk.plan.steps.len() {
            0 => String::new(),
            n => format!("; {} in the plan", count(n, "step", "steps")),
        };
        let _ = writeln!(out, "\n{}  {told}{steps}", painted("risk", BOLD));
        let _ = writeln!(out, "  {}", painted("$ git carry risk", DIM));
    }
    if !p.stages.is_empty() {
        let _ = writeln!(out, "\n{}", painted("stages", BOLD));
        let width = p.stages.iter().map(|s| s.name.chars().count()).max().unwrap_or_default();
        for s in &p.stages {
            let runs = s.runs.as_deref().unwrap_or("nothing yet");
            let next = match (&s.next, s.waits.first()) {
                (Some(next), None) => format!("; {next} may come"),
                (Some(next), Some(wait)) => format!("; {next} waits: {}", clean(wait)),
                (None, _) => String::new(),
            };
            let _ = writeln!(out, "  {:width$}  {runs}{next}", clean(&s.name));
        }
    }
    for outlook in &p.forecast {
        let Effect::Breaks { patches, blocked } = &outlook.effect else { continue };
        let blocked = match blocked.len() {
            0 => String::new(),
            n => format!(", and blocks {n} more"),
        };
        let _ = writeln!(
            out,
            "\n{}  {} will break {}{blocked}",
            painted("coming", BOLD),
            clean(&outlook.name),
            clean(&patches.join(", "))
        );
    }
    let held: Vec<&str> =
        p.patches.iter().filter(|x| x.outcome == Some(Outcome::Held)).map(|x| x.name.as_str()).collect();
    if !held.is_empty() {
        let _ = writeln!(out, "\n{}  {}", painted("held", BOLD), clean(&held.join(", ")));
    }
}
