//! A report as Markdown, as forges and chats show it.

use std::fmt::Write as _;

use super::model::{Change, Conflict, Patch, Press, Project, Report, State};
use super::words::{self, clean, commit_link, count, day, in_days, person, short};
use crate::forecast::Effect;
use crate::risk::Severity;
use crate::workspace::Outcome;

/// The report as Markdown. Text from elsewhere marks nothing up, links nowhere and calls nobody.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail, so what `writeln!` returns is passed over here.
    if report.projects.len() > 1 {
        out.push_str("| project | state | wants you | patches |\n| --- | --- | --- | --- |\n");
        for p in &report.projects {
            let (name, state, wants) = (code(&p.name), words::state(p), p.wants.len());
            let _ = writeln!(out, "| {name} | {state} | {wants} | {} |", words::totals(p));
        }
        out.push('\n');
    }
    for project in &report.projects {
        one(&mut out, report, project);
    }
    let _ = writeln!(out, "Made by git-carry {} at {}.", report.tool, words::minute(&report.made));
    out
}

fn one(out: &mut String, report: &Report, p: &Project) {
    let _ = writeln!(out, "# {}: {}\n", plain(&p.name), words::state(p));
    if let Some(build) = &p.build {
        let signed = if build.signed_by.is_some() { ", signed" } else { "" };
        let _ = writeln!(out, "- build {}{signed}", plain(&words::build(build)));
    }
    if let Some(behind) = p.behind.filter(|n| *n > 0) {
        let _ = writeln!(out, "- {} of the fetched trunk not in it", count(behind, "commit", "commits"));
    }
    let _ = writeln!(out, "- last run {}", plain(&words::last_run(p, &report.made)));
    let _ = writeln!(out, "- {}", words::totals(p));
    // Of a build that may go out they say what wants a person, which comes next.
    for reason in p.reasons.iter().filter(|_| p.state != State::Deployable) {
        let _ = writeln!(out, "- {}", plain(reason));
    }
    wants(out, p);
    changes(out, p);
    let broken: Vec<&Patch> = p.patches.iter().filter(|x| x.outcome.is_some_and(Outcome::is_root)).collect();
    if !broken.is_empty() {
        out.push_str("\n## Conflicts\n");
        broken.iter().for_each(|patch| conflict(out, p, patch));
    }
    asked(out, p);
    queue(out, p);
    let trends = &p.trends;
    if let Some(median) = trends.median_days {
        let n = count(trends.mended.len(), "conflict", "conflicts");
        let _ = writeln!(out, "\n{n} ended within {} (median).", in_days(median));
    }
    out.push('\n');
}

fn wants(out: &mut String, p: &Project) {
    out.push_str("\n## What wants you\n\n");
    if p.wants.is_empty() {
        out.push_str("Nothing.\n");
    }
    for w in &p.wants {
        let mark = match w.press {
            Press::Stop => "**stop**",
            Press::Mend => "**mend**",
            Press::Look => "look",
        };
        let patch = w.patch.as_deref().map(|name| format!("{} ", code(name))).unwrap_or_default();
        let owner = w.owner.as_deref().map(|o| format!(" ({})", plain(person(o)))).unwrap_or_default();
        let _ = writeln!(out, "- {mark} {patch}{}{owner}", plain(&w.what));
        if !w.why.is_empty() {
            let _ = writeln!(out, "  <br>{}", plain(&w.why));
        }
        if let Some(next) = &w.next {
            let _ = writeln!(out, "  <br>{}", code(next));
        }
    }
}

fn changes(out: &mut String, p: &Project) {
    let Some(c) = &p.changes else { return };
    let _ = writeln!(out, "\n## Since build {} of trunk's {}\n", code(&c.build), day(&c.date));
    let mut none = true;
    let lists: [(&str, &[Change]); 4] =
        [("new", &c.new), ("still", &c.still), ("fixed", &c.fixed), ("landed", &c.landed)];
    for (word, list) in lists {
        for change in list {
            let _ = writeln!(out, "- {word}: {} ({})", code(&change.patch), words::change(change));
            none = false;
        }
    }
    for (word, list) in [("came", &c.joined), ("left", &c.left)] {
        for name in list {
            let _ = writeln!(out, "- {word}: {}", code(name));
            none = false;
        }
    }
    if none {
        out.push_str("Nothing.\n");
    }
}

fn conflict(out: &mut String, p: &Project, patch: &Patch) {
    let _ = writeln!(out, "\n### {}\n\n{}\n", code(&patch.name), plain(&patch.subject));
    if let Some(c) = &patch.culprit {
        let id = match commit_link(&p.upstream, &c.commit) {
            Some(link) => format!("[{}]({link})", short(&c.commit)),
            None => code(short(&c.commit)),
        };
        let _ =
            writeln!(out, "Culprit: {id} {} ({}, {})\n", plain(&c.subject), plain(&c.author), day(&c.date));
    }
    if let Some(e) = &patch.evolved {
        let _ = writeln!(
            out,
            "Upstream has a revised version, {} % alike: {} {} ({})\n",
            e.likeness,
            code(short(&e.commit)),
            plain(&e.subject),
            plain(&e.author)
        );
    }
    for conflict in &patch.conflicts {
        regions(out, conflict);
    }
    if !patch.blocks.is_empty() {
        let names: Vec<String> = patch.blocks.iter().map(|n| code(n)).collect();
        let _ = writeln!(out, "It blocks {}.\n", names.join(", "));
    }
    if let Some(next) = &patch.next {
        let _ = writeln!(out, "Next: {}", code(next));
    }
}

fn regions(out: &mut String, conflict: &Conflict) {
    let _ = writeln!(out, "{}: {}\n", code(&conflict.path), conflict.kind);
    for region in &conflict.regions {
        let _ = writeln!(out, "Line {}, trunk and then the patch:\n", region.line);
        for side in [&region.trunk, &region.patch] {
            let lines: Vec<String> = side.iter().map(|l| clean(&l.replace('\t', "    "))).collect();
            let text = lines.join("\n");
            let fence = "`".repeat(longest_run(&text).max(2) + 1);
            let _ = writeln!(out, "{fence}diff\n{text}\n{fence}\n");
        }
    }
}

fn asked(out: &mut String, p: &Project) {
    if let Some(risk) = p.risk.as_ref().filter(|r| r.assessment.level > Severity::Off) {
        out.push_str("\n## Risk\n\n");
        for f in risk.assessment.findings.iter().filter(|f| f.severity >= Severity::Warn) {
            let place = if f.path.is_empty() { String::new() } else { format!(" ({})", code(&f.path)) };
            let _ =
                writeln!(out, "- {} {}: {}{place}", f.severity.word(), plain(&f.kind), plain(&f.in_words()));
        }
        let hidden = risk.assessment.count(Severity::Info);
        if hidden > 0 {
            let _ = writeln!(out, "- {hidden} more to know");
        }
        if !risk.plan.steps.is_empty() {
            out.push_str("\nThe steps:\n\n");
        }
        for (at, step) in risk.plan.steps.iter().enumerate() {
            let run: Vec<String> = step.run.iter().map(|c| format!("<br>{}", code(c))).collect();
            let _ = writeln!(out, "{}. {}{}", at + 1, plain(&step.what), run.concat());
        }
    }
    if !p.stages.is_empty() {
        out.push_str("\n## Stages\n\n| stage | runs | since | next |\n| --- | --- | --- | --- |\n");
        for s in &p.stages {
            let next = match (&s.next, &s.waits[..]) {
                (None, _) => String::new(),
                (Some(next), []) => format!("{} may come", code(next)),
                (Some(next), waits) => format!("{} waits: {}", code(next), plain(&waits.join("; "))),
            };
            let runs = s.runs.as_deref().map_or_else(|| "nothing".to_owned(), code);
            let since = s.since.as_deref().map_or("-", day);
            let _ = writeln!(out, "| {} | {runs} | {since} | {next} |", code(&s.name));
        }
    }
    if !p.forecast.is_empty() {
        out.push_str("\n## Coming\n\n");
    }
    for outlook in &p.forecast {
        let Effect::Breaks { patches, .. } = &outlook.effect else { continue };
        let names: Vec<String> = patches.iter().map(|n| code(n)).collect();
        let _ = writeln!(
            out,
            "- {} {} will break {}",
            code(&outlook.name),
            plain(&outlook.subject),
            names.join(", ")
        );
    }
}

fn queue(out: &mut String, p: &Project) {
    if p.patches.is_empty() {
        return;
    }
    out.push_str(
        "\n## Queue\n\n| patch | outcome | owner | since | subject |\n| --- | --- | --- | --- | --- |\n",
    );
    for patch in &p.patches {
        let outcome = patch.outcome.map_or("new", Outcome::word);
        let since = patch.since.as_deref().map_or("-", day);
        let (name, owner, subject) = (code(&patch.name), plain(person(&patch.owner)), plain(&patch.subject));
        let _ = writeln!(out, "| {name} | {outcome} | {owner} | {since} | {subject} |");
    }
}

/// Text that marks nothing up, also in a table's cell. A comment keeps forges from taking `@name` for a person of theirs.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&' | '!' => {
                out.push('\\');
                out.push(c);
            }
            '@' => out.push_str("@<!-- -->"),
            c => out.push(c),
        }
    }
    out
}

/// Text as code, also in a table's cell.
pub fn code(text: &str) -> String {
    let text = clean(text).replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    let blank = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{blank}{text}{blank}{fence}")
}

/// The most backticks in a row.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_marks_nothing_up() {
        assert_eq!(plain("a|b [x](y) <i> @kim"), r"a\|b \[x\](y) \<i\> @<!-- -->kim");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`x`"), "`` `x` ``");
    }
}
