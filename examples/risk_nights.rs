//! Runs risk over the nights of a repository as its trunk lived them, and prints what each says and how long it took.
//!
//! `cargo run --release --example risk_nights -- REPOSITORY [--pack NAME] [--nights 50] [--skip 0] [--to COMMIT]
//! [--say]`: a night is all commits of the first-parent line with one committer day (UTC); the last 50 are taken, or
//! those before the last `--skip`. Each is assessed as `git carry risk` does it: with its origins, its plan, and a
//! store that is opened anew. `--say` prints the stops and warnings.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use git_carry::night::{assess_move, rules_for};
use git_carry::risk::{Severity, Transition};
use git_carry::store::{Odb, Repo};
use git_carry::workspace::RiskRules;
use gix_hash::ObjectId;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// What a night went from and to, when it was, and how many commits of the first-parent line it took in.
struct Night {
    day: i64,
    from: ObjectId,
    to: ObjectId,
    steps: usize,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut value = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.remove(at);
        (at < args.len()).then(|| args.remove(at))
    };
    let pack = value("--pack");
    let number = |text: Option<String>, usual: usize| text.map_or(usual, |t| t.parse().expect("a number"));
    let wanted = number(value("--nights"), 50);
    let skipped = number(value("--skip"), 0);
    let tip = value("--to").unwrap_or_else(|| "HEAD".to_owned());
    let say = args.iter().position(|a| a == "--say").map(|at| args.remove(at)).is_some();
    let [path] = &args[..] else { panic!("one repository is to be named, not {args:?}") };
    let repo = Repo::at(Path::new(path)).expect("a repository");
    let odb = repo.odb().expect("its objects");
    let tip = repo.commit_of(&tip).expect("git answers").expect("a commit");

    let nights = nights(&odb, tip, wanted + skipped);
    let nights = &nights[..nights.len().saturating_sub(skipped)];
    println!("| night | commits | level | stop | warn | info | unnamed | ms |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let (mut times, mut levels, mut kinds) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for night in nights {
        let started = Instant::now();
        let found = assess(&repo, pack.as_deref(), night);
        let took = started.elapsed().as_secs_f64() * 1000.0;
        let all = &found.assessment;
        let count = |severity| all.count(severity);
        let unnamed = all.findings.iter().filter(|f| f.origin.is_none()).count();
        println!(
            "| {} | {} | {} | {} | {} | {} | {unnamed} | {took:.0} |",
            date(night.day),
            night.steps,
            all.level.word(),
            count(Severity::Stop),
            count(Severity::Warn),
            count(Severity::Info),
        );
        if say {
            for f in all.findings.iter().filter(|f| f.severity >= Severity::Warn) {
                let (old, new) = (f.old.as_deref().unwrap_or("-"), f.new.as_deref().unwrap_or("-"));
                let phase = f.migration.as_ref().map_or(String::new(), |m| format!("{:?} ", m.phase));
                let text =
                    f.text.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
                let text: String = text.chars().take(140).collect();
                let by = f.origin.as_ref().map_or("-", |o| &o.commit[..12]);
                println!(
                    "    {} {} {phase}{} {old} -> {new} {}:{} [{by}] {text}",
                    f.severity.word(),
                    f.kind,
                    f.name,
                    f.path,
                    f.line.unwrap_or(0)
                );
            }
            println!("    restart {:?}, plan {:?}", all.restarts.services, found.plan.mode);
        }
        times.push(took);
        *levels.entry(all.level).or_insert(0) += 1;
        for f in &all.findings {
            *kinds.entry((f.severity, f.kind.clone())).or_insert(0) += 1;
        }
    }
    times.sort_by(f64::total_cmp);
    let (Some(most), Some(middle)) = (times.last(), times.get(times.len() / 2)) else {
        println!("\nno nights");
        return;
    };
    println!("\n{} nights, {middle:.0} ms in the middle, {most:.0} ms at most", times.len());
    for (level, count) in levels.iter().rev() {
        println!("{count:4} nights say {}", level.word());
    }
    for ((severity, kind), count) in kinds.iter().rev() {
        println!("{count:6} {} {kind}", severity.word());
    }
}

fn assess(repo: &Repo, pack: Option<&str>, night: &Night) -> Transition {
    let odb = repo.odb().expect("its objects");
    let tree = odb.commit(&night.to).expect("a commit").tree;
    let config = RiskRules { packs: pack.map(|p| vec![p.to_owned()]), rules: Vec::new() };
    let rules = rules_for(&odb, &tree, &config, Path::new(".")).expect("rules");
    assess_move(repo, &odb, &rules, [&night.from, &night.to], &BTreeMap::new())
        .expect("all objects are there")
}

/// The last nights of the first-parent line, the oldest first.
fn nights(odb: &Odb, tip: ObjectId, wanted: usize) -> Vec<Night> {
    let mut out: Vec<Night> = Vec::new();
    let mut at = tip;
    loop {
        let commit = odb.commit(&at).expect("a commit");
        let Some(parent) = commit.parents.first().copied() else { break };
        let day = commit.committer.seconds.div_euclid(DAY);
        let full = out.len() == wanted;
        match out.last_mut() {
            Some(night) if night.day == day => {
                night.from = parent;
                night.steps += 1;
            }
            _ if full => break,
            _ => out.push(Night { day, from: parent, to: at, steps: 1 }),
        }
        at = parent;
    }
    out.reverse();
    out
}

fn date(day: i64) -> String {
    jiff::Timestamp::from_second(day * DAY).map_or_else(|_| "?".to_owned(), |t| t.strftime("%F").to_string())
}
