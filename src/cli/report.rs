//! One night in the terminal.

use std::collections::BTreeMap;

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, clean, count, cut, fitted, name_of, outcome, painted, short, table};
use crate::build::manifest::PatchRecord;
use crate::forecast::Effect;
use crate::landed::{Evidence, Rung};
use crate::night::policy::Breach;
use crate::night::{Done, Night, PatchReport, kind_in_words};
use crate::replay::loss::Loss;
use crate::risk::Severity;
use crate::workspace::Outcome;

/// Stops that a night tells; `git carry risk` tells all.
const STOPS: usize = 5;

/// Prints a night, as text or JSON.
pub fn print(ui: &Ui, night: &Night) -> Result<(), CliError> {
    if ui.json {
        return Ok(ui.document(night)?);
    }
    ui.clear();
    let trunk = &night.trunk;
    let tip = match &trunk.describe {
        Some(name) => format!("{} ({})", short(&trunk.to), clean(name)),
        None => short(&trunk.to).to_owned(),
    };
    let totals = totals(&night.patches);
    if night.done == Done::Quiet {
        let build = night.manifest.as_ref().map_or("-", |m| m.deploy.build.as_str());
        ui.prose(&format!(
            "{}: nothing new; trunk at {tip}, build {build}; {totals}",
            painted(&night.project, BOLD)
        ));
        problems(ui, night);
        return Ok(());
    }
    ui.prose(&format!(
        "{}  trunk {tip}, {} further",
        painted(&night.project, BOLD),
        count(trunk.commits, "commit", "commits")
    ));
    ui.prose(&format!("{totals}\n"));
    let mut rows = table(&["patch", "outcome", "owner", "what"]);
    for p in night.patches.iter().filter(|p| p.outcome != Outcome::Clean || night.patches.len() <= 30) {
        rows.add_row([clean(&p.name), outcome(p.outcome), name_of(&p.owner), clean(&what(p))]);
    }
    if rows.row_count() > 0 {
        ui.line(&format!("{}\n", fitted(rows, &[2])));
    }
    if let Some(m) = &night.manifest {
        let place = match (&night.done, &night.remote) {
            (Done::Published, Some(remote)) => format!("pushed to {}", clean(remote)),
            (Done::Published, None) => "kept in the project's store; not pushed".to_owned(),
            (Done::DryRun, _) => "a dry run: nothing was changed".to_owned(),
            _ => "nothing was published, and nothing was changed".to_owned(),
        };
        ui.prose(&format!(
            "build {}  {}  tree {}",
            painted(&m.deploy.build, BOLD),
            m.deploy.branch,
            short(&m.deploy.tree)
        ));
        ui.prose(&format!("      {place}"));
        if !m.checks.is_empty() {
            super::check::show(ui, &m.checks);
        }
        if let Some(risk) = &m.risk {
            let restarts = match (risk.assessment.restarts.mapped, &risk.assessment.restarts.services[..]) {
                (false, _) => String::new(),
                (true, []) => "; nothing to restart".to_owned(),
                (true, [one]) if one == "*" => "; restart every service".to_owned(),
                (true, services) => format!("; restart {}", clean(&services.join(", "))),
            };
            ui.prose(&format!("risk  {}{restarts}", super::risk::counts(&risk.assessment)));
            let bad = risk.assessment.findings.iter().filter(|f| f.severity == Severity::Stop);
            for finding in bad.clone().take(STOPS) {
                let what = cut(&super::risk::words(finding), 90);
                ui.prose(&format!(
                    "      {} {}  {what}",
                    super::risk::severity(finding.severity),
                    clean(&finding.kind)
                ));
            }
            if risk.assessment.level > Severity::Info {
                ui.prose(&painted("      the whole, with a plan: git carry risk", DIM));
            }
        }
        if let Some(key) = &night.signed_by {
            ui.prose(&format!("      {} by the key {key}", painted("signed", DIM)));
        }
        if let Some(left) = &night.artifacts {
            ui.prose(&format!("      {} {}", painted("files in", DIM), left.folder.display()));
            super::build::pruned(ui, &left.pruned, false);
        }
        for commit in &night.workspace_commits {
            ui.prose(&format!("      {} {}", painted("workspace commit", DIM), short(commit)));
        }
    }
    problems(ui, night);
    Ok(())
}

/// `14 patches: 11 clean, 1 conflict, …`.
pub fn totals(patches: &[PatchReport]) -> String {
    let count_of = |o: Outcome| patches.iter().filter(|p| p.outcome == o).count();
    let parts: Vec<String> = Outcome::ALL
        .iter()
        .filter(|o| count_of(**o) > 0)
        .map(|o| format!("{} {}", count_of(*o), outcome(*o)))
        .collect();
    let all = count(patches.len(), "patch", "patches");
    if parts.is_empty() { all } else { format!("{all}: {}", parts.join(", ")) }
}

/// What happened to a patch, in one line.
pub fn what(p: &PatchReport) -> String {
    match p.outcome {
        Outcome::Landed => match &p.evidence {
            Some(e) => evidence_in_words(e),
            None => p.note.clone().unwrap_or_default(),
        },
        Outcome::Resolved => match &p.resolution {
            Some(r) => {
                let who = r.by.split('<').next().unwrap_or_default().trim();
                let day = r.recorded.get(..10).unwrap_or("-");
                format!("by the answer that {who} gave on {day}: {}", r.paths.join(", "))
            }
            None => p.note.clone().unwrap_or_default(),
        },
        Outcome::Evolved => match &p.evolved {
            Some(e) => format!(
                "upstream has a revised version: {} {} ({}, {} % alike)",
                short(&e.commit),
                cut(&e.subject, 50),
                e.author,
                e.likeness
            ),
            None => p.note.clone().unwrap_or_default(),
        },
        Outcome::Conflict | Outcome::Blocked => {
            let mut parts = Vec::new();
            if !p.needs.is_empty() {
                let more = p.needs.len().saturating_sub(3);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                parts.push(format!("needs {}{more}", p.needs[..p.needs.len().min(3)].join(", ")));
            } else {
                parts.extend(
                    p.conflicts.iter().take(3).map(|c| format!("{}: {}", c.path, kind_in_words(c.kind))),
                );
                if p.conflicts.len() > 3 {
                    parts.push(format!("and {} more", p.conflicts.len() - 3));
                }
            }
            parts.extend(p.note.clone());
            parts.join("; ")
        }
        _ => p.note.clone().unwrap_or_else(|| cut(&p.subject, 60)),
    }
}

/// How it is known that upstream has a patch, in one line.
pub fn evidence_in_words(e: &Evidence) -> String {
    let (subject, how) = (cut(&e.subject, 50), e.rung.word());
    format!("upstream has it: {} {subject} ({}, {how})", short(&e.commit), e.author)
}

/// What speaks for an upstream commit that may have a patch, in one line.
pub fn proposal_in_words(e: &Evidence) -> String {
    let what = match e.rung {
        Rung::Revised => "is a revised version of it",
        Rung::Squashed => "has it with other changes",
        Rung::Split => "has it together with others",
        _ => "has it",
    };
    let alike = e.likeness.map(|n| format!(", {n} % alike")).unwrap_or_default();
    format!("{} {} ({}) {what}{alike}", short(&e.commit), cut(&e.subject, 50), e.author)
}

/// What a build's manifest says of a patch, as a report.
pub fn record_report(record: &PatchRecord) -> PatchReport {
    PatchReport {
        name: record.name.clone(),
        subject: record.subject.clone(),
        owner: String::new(),
        outcome: record.outcome,
        before: None,
        required: record.metadata.required,
        evidence: record.evidence.clone(),
        conflicts: record.conflicts.clone(),
        culprit: record.culprit.clone(),
        evolved: record.evolved.clone(),
        proposed: Vec::new(),
        fixes: Vec::new(),
        resolution: record.resolution.clone(),
        needs: record.needs.clone(),
        loss: record.loss.clone(),
        note: record.note.clone(),
    }
}

/// What wants a person, each with its next step.
fn problems(ui: &Ui, night: &Night) {
    let roots: Vec<&PatchReport> = night.patches.iter().filter(|p| p.outcome.is_root()).collect();
    if night.done == Done::Refused {
        ui.line("");
        for reason in night.manifest.iter().flat_map(|m| &m.verdict.reasons) {
            ui.prose(&format!("  {}", clean(reason)));
        }
    }
    super::followed::show(ui, &night.followed);
    if !night.dropped.is_empty() {
        ui.prose(&format!(
            "\n{} for want of a reason to stay:",
            count(night.dropped.len(), "patch left", "patches left")
        ));
    }
    for d in &night.dropped {
        ui.prose(&format!("  {}: {}", clean(&d.patch), clean(&d.why)));
    }
    policy(ui, &night.policy);
    losses(ui, night);
    if let Some(f) = &night.furthest {
        ui.prose(&format!(
            "\ntrunk can move {} of {} with every patch of the stack, to {}",
            f.commits,
            count(f.of, "commit", "commits"),
            short(&f.commit)
        ));
        match night.done {
            _ if night.trunk.to == f.commit => ui.prose("  it went no further: advance = \"furthest-clean\""),
            Done::DryRun if f.commits > 0 => {
                ui.prose(&format!("  git carry rebase --onto {}", short(&f.commit)))
            }
            _ => ui.prose("  to go no further on such a night: advance = \"furthest-clean\" in carry.toml"),
        }
    }
    coming(ui, night);
    upstream_may_have(ui, night);
    let broken: Vec<&PatchReport> = night.patches.iter().filter(|p| p.outcome == Outcome::Broken).collect();
    if !broken.is_empty() {
        ui.prose(&format!("\n{}:", count(broken.len(), "patch breaks a check", "patches break checks")));
    }
    for p in broken {
        ui.prose(&format!("  {}  {}", clean(&p.name), clean(p.note.as_deref().unwrap_or_default())));
        ui.prose(&format!("    git carry edit {}", clean(&p.name)));
    }
    if roots.is_empty() {
        return;
    }
    let victims = night.patches.iter().filter(|p| p.outcome == Outcome::Blocked).count();
    let blocked = match victims {
        0 => String::new(),
        n => format!(", and {} for want of them", count(n, "patch is blocked", "patches are blocked")),
    };
    ui.prose(&format!("\n{}{blocked}:", count(roots.len(), "patch wants a person", "patches want a person")));
    // One upstream commit often breaks many: they are shown together, the largest cluster first.
    let mut clusters: BTreeMap<Option<&str>, Vec<&PatchReport>> = BTreeMap::new();
    for p in roots {
        clusters.entry(p.culprit.as_ref().map(|c| c.commit.as_str())).or_default().push(p);
    }
    let mut clusters: Vec<Vec<&PatchReport>> = clusters.into_values().collect();
    clusters.sort_by_key(|c| (c[0].culprit.is_none(), std::cmp::Reverse(c.len())));
    for cluster in clusters {
        if let Some(c) = &cluster[0].culprit {
            let day = c.date.get(..10).unwrap_or("-");
            let who =
                format!("({}, {day}) breaks {}", clean(&c.author), count(cluster.len(), "patch", "patches"));
            ui.prose(&format!("  {} {} {who}", short(&c.commit), cut(&clean(&c.subject), 60)));
        } else {
            ui.prose("  no upstream commit found");
        }
        for p in cluster {
            let blocked = blocked_by(&night.patches, &p.name);
            let more = match blocked {
                0 => String::new(),
                n => format!("  (it blocks {})", count(n, "other", "others")),
            };
            ui.prose(&format!("    git carry why {}{more}", clean(&p.name)));
        }
    }
}

/// What upstream may have of the queue, what it took back, and what it mended.
fn upstream_may_have(ui: &Ui, night: &Night) {
    // A conflict with a revised version of the patch is told as a conflict.
    let open = night.patches.iter().filter(|p| p.outcome != Outcome::Evolved);
    let open: Vec<_> = open.filter_map(|p| p.open().next().map(|first| (p, first))).collect();
    if !open.is_empty() {
        ui.prose(&format!("\nupstream may have {}:", count(open.len(), "patch", "patches")));
        for (p, first) in &open {
            ui.prose(&format!("  {}: {}", clean(&p.name), clean(&proposal_in_words(&first.evidence))));
        }
        ui.prose(&format!("    git carry landed show {}", clean(&open[0].0.name)));
    }
    if !night.undone.is_empty() {
        let many = count(night.undone.len(), "patch that had landed", "patches that had landed");
        ui.prose(&format!("\nupstream took back {many}:"));
    }
    for l in &night.undone {
        let Some(by) = &l.reverted else { continue };
        let subject = cut(&clean(&by.subject), 60);
        ui.prose(&format!("  {}: {} {subject} ({})", clean(&l.name), short(&by.commit), clean(&by.author)));
        ui.prose(&format!("    git carry landed restore {}", clean(&l.name)));
    }
    for p in &night.patches {
        for fix in &p.fixes {
            let subject = cut(&clean(&fix.subject), 60);
            ui.prose(&format!(
                "\nupstream mends what {} came from: {} {subject} ({})",
                clean(&p.name),
                short(&fix.commit),
                clean(&fix.author)
            ));
        }
    }
}

/// What upstream works on, and will break.
fn coming(ui: &Ui, night: &Night) {
    if night.forecast.is_empty() {
        return;
    }
    let many = count(night.forecast.len(), "piece of upstream work", "pieces of upstream work");
    ui.prose(&format!("\n{many} will break patches once trunk takes it in:"));
    for o in &night.forecast {
        let Effect::Breaks { patches, blocked } = &o.effect else { continue };
        let name = clean(o.name.strip_prefix("refs/heads/").unwrap_or(&o.name));
        ui.prose(&format!("  {name} {} ({})", cut(&clean(&o.subject), 60), clean(&o.author)));
        let more = match blocked.len() {
            0 => String::new(),
            n => format!(", and blocks {n} more"),
        };
        ui.prose(&format!("    breaks {}{more}", clean(&patches.join(", "))));
        if let Some(first) = patches.first() {
            ui.prose(&format!("    git carry resolve {} --onto {}", clean(first), short(&o.commit)));
        }
    }
}

/// What of the policy is not kept, each with its next step.
pub fn policy(ui: &Ui, breaches: &[Breach]) {
    if breaches.is_empty() {
        return;
    }
    let stops = if breaches.iter().any(|b| b.gate) { "; nothing is published before" } else { "" };
    ui.prose(&format!(
        "\npolicy: {}{stops}:",
        count(breaches.len(), "rule is not kept", "rules are not kept")
    ));
    for breach in breaches {
        let owner =
            breach.owner.as_deref().map(|o| format!("  {}", painted(&name_of(o), DIM))).unwrap_or_default();
        ui.prose(&format!("  {}{owner}", clean(&breach.sentence())));
        ui.prose(&format!("    {}", clean(&breach.next)));
    }
}

/// Patches that apply, but do not say any more what they said.
fn losses(ui: &Ui, night: &Night) {
    let changed: Vec<&PatchReport> = night.patches.iter().filter(|p| p.loss.is_some()).collect();
    if changed.is_empty() {
        return;
    }
    let many = count(changed.len(), "patch applies, but is not", "patches apply, but are not");
    ui.prose(&format!("\n{many} what it was; look at what changed:"));
    for p in changed {
        ui.prose(&format!(
            "  {}: {}",
            clean(&p.name),
            p.loss.as_deref().map(loss_in_words).unwrap_or_default()
        ));
    }
}

/// What a loss is, counted.
fn loss_in_words(loss: &Loss) -> String {
    let lines = |n: usize| count(n, "line", "lines");
    let mut parts = Vec::new();
    if !loss.missing.is_empty() {
        parts.push(format!("{} of it went", lines(loss.missing.len())));
    }
    if !loss.extra.is_empty() {
        parts.push(format!("{} came", lines(loss.extra.len())));
    }
    if !loss.doubled.is_empty() {
        parts.push(format!("{} that it adds are in trunk's file already", lines(loss.doubled.len())));
    }
    parts.join(", ")
}

/// How many patches are blocked by one, near and far: a patch only needs earlier ones, so one pass meets them all.
fn blocked_by(patches: &[PatchReport], root: &str) -> usize {
    let mut missing = vec![root];
    for p in patches.iter().filter(|p| p.outcome == Outcome::Blocked) {
        if p.needs.iter().any(|need| missing.contains(&need.as_str())) {
            missing.push(&p.name);
        }
    }
    missing.len() - 1
}
