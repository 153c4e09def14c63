//! Looks for the newest cherry-picks of a stable branch in its trunk, by their content alone, and holds what is found
//! against what their messages say.
//!
//! `cargo run --release --example landed_truth -- REPOSITORY [--trunk master] [--stable REF]… [--picks 50]
//! [--range 5000] [--say]`: a pick is a commit whose message has one `(cherry picked from commit …)` line that names a
//! commit of the last `--range` commits of the trunk. Its message is cut to its subject, so that no footer and no
//! Change-Id is known. Then the same picks are looked for in as many commits that end before the oldest of theirs:
//! whatever is found there is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use git_carry::landed::{Candidate, Evidence, emptied, find};
use git_carry::queue::{Metadata, read_metadata};
use git_carry::store::{Odb, Repo};
use git_carry::trunk::{Range, delta, read_range};
use gix_hash::ObjectId;

/// A commit of a stable branch, and the trunk's commit that it was picked from.
struct Pick {
    name: String,
    origin: String,
    trees: (ObjectId, ObjectId),
    subject: String,
    mail: bstr::BString,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut value = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.remove(at);
        (at < args.len()).then(|| args.remove(at))
    };
    let trunk = value("--trunk").unwrap_or_else(|| "master".to_owned());
    let mut stables: Vec<String> = std::iter::from_fn(|| value("--stable")).collect();
    let number = |text: Option<String>, usual: usize| text.map_or(usual, |t| t.parse().expect("a number"));
    let wanted = number(value("--picks"), 50);
    let length = number(value("--range"), 5000);
    let say = args.iter().position(|a| a == "--say").map(|at| args.remove(at)).is_some();
    let [path] = &args[..] else { panic!("one repository is to be named, not {args:?}") };
    let repo = Repo::at(Path::new(path)).expect("a repository");
    let odb = repo.odb().expect("its objects");
    let commit = |rev: &str| repo.commit_of(rev).expect("git answers").expect("a commit");
    let tip = commit(&trunk);
    if stables.is_empty() {
        let all = repo.references(&["refs/heads/stable/"]).expect("its branches");
        stables = all.into_iter().map(|(name, _)| name).collect();
    }

    let range = last(&repo, &odb, &tip, length);
    let ids: BTreeSet<String> = range.commits.iter().map(|u| u.id.to_string()).collect();
    let mut picks = Vec::new();
    for stable in stables.iter().rev() {
        if picks.len() < wanted {
            picks.extend(picks_of(&repo, &odb, &tip, &commit(stable), &ids, wanted - picks.len()));
        }
    }
    println!("{} picks of {}, {} commits of {trunk}", picks.len(), stables.join(", "), range.commits.len());
    let merges = merges(&range);
    hold(&repo, &odb, &picks, &range, &merges, say);

    let oldest = range
        .commits
        .iter()
        .find(|u| picks.iter().any(|p| ObjectId::from_hex(p.origin.as_bytes()).ok() == Some(u.id)));
    let Some(before) = oldest.and_then(|u| u.commit.parents.first()) else { return };
    let range = last(&repo, &odb, before, length);
    println!("\nthe same picks, {} commits that end before the first of their origins", range.commits.len());
    hold(&repo, &odb, &picks, &range, &BTreeMap::new(), say);
}

/// The last commits up to `tip`: those that a first parent so far back lacks.
fn last(repo: &Repo, odb: &Odb, tip: &ObjectId, length: usize) -> Range {
    let (mut base, mut step) = (*tip, length / 4);
    loop {
        for _ in 0..step.max(1) {
            base = *odb.commit(&base).expect("a commit").parents.first().expect("a parent");
        }
        let have = repo.count(&base, tip).expect("git counts");
        if have >= length {
            return read_range(repo, odb, &base, tip).expect("a range");
        }
        step = (length - have) / 4;
    }
}

/// For each commit that came by a merge of the range, that merge: both name the change.
fn merges(range: &Range) -> BTreeMap<String, String> {
    let on_line =
        range.first_parent.iter().map(|at| &range.commits[*at]).filter(|u| u.commit.parents.len() > 1);
    on_line.filter_map(|u| Some((u.commit.parents.get(1)?.to_string(), u.id.to_string()))).collect()
}

fn picks_of(
    repo: &Repo,
    odb: &Odb,
    trunk: &ObjectId,
    stable: &ObjectId,
    known: &BTreeSet<String>,
    wanted: usize,
) -> Vec<Pick> {
    let fork = repo.merge_base(trunk, stable).expect("git answers").expect("a merge base");
    let mut picks = Vec::new();
    for ranged in repo.range(Some(&fork), stable).expect("a range").into_iter().rev() {
        let commit = odb.commit(&ranged.id).expect("a commit");
        let [parent] = commit.parents[..] else { continue };
        let metadata = read_metadata(&commit.message, &Vec::new());
        // A pick of a pick has a line for each; the first names the trunk's commit.
        let Some(origin) = metadata.cherry_picked_from.iter().find(|id| known.contains(*id)) else {
            continue;
        };
        let before = odb.commit(&parent).expect("a commit").tree;
        picks.push(Pick {
            name: ranged.id.to_string(),
            origin: origin.clone(),
            trees: (before, commit.tree),
            subject: commit.subject(),
            mail: commit.author.email.clone(),
        });
        if picks.len() == wanted {
            break;
        }
    }
    picks
}

fn hold(repo: &Repo, odb: &Odb, picks: &[Pick], range: &Range, merges: &BTreeMap<String, String>, say: bool) {
    let nothing = Metadata::default();

    let candidates: Vec<Candidate<'_>> = picks.iter().map(|p| candidate(odb, p, &nothing)).collect();
    let started = Instant::now();
    // No forge says anything here: the base plays no part.
    let found = find(repo, odb, &candidates, &range.commits[0].id, range, &|_| ()).expect("an answer");
    let took = started.elapsed();
    let started = Instant::now();
    let mut settled: BTreeMap<&str, Evidence> = BTreeMap::new();
    for pick in picks {
        let known = found.settled.get(&pick.name).cloned();
        let known = known.or_else(|| emptied(odb, &pick.trees, range).expect("an answer"));
        settled.extend(known.map(|e| (pick.name.as_str(), e)));
    }
    let emptied_took = started.elapsed();

    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut wrong, mut nothing, mut asked) = (0, 0, 0);
    for pick in picks {
        let dropped = settled.get(pick.name.as_str());
        let evidence = dropped.or_else(|| found.proposed.get(&pick.name));
        let right = |e: &Evidence| e.rests_on(&pick.origin) || merges.get(&pick.origin) == Some(&e.commit);
        let Some(evidence) = evidence else {
            nothing += 1;
            if say {
                println!(
                    "    not found       {} of {} {}",
                    short(&pick.name),
                    short(&pick.origin),
                    pick.subject
                );
            }
            continue;
        };
        let count = counts.entry(evidence.rung.word()).or_default();
        if right(evidence) {
            count.0 += 1;
        } else {
            count.1 += 1;
            wrong += usize::from(dropped.is_some());
        }
        asked += usize::from(dropped.is_none());
        if say && (dropped.is_none() || !right(evidence)) {
            let verdict = if right(evidence) { "right" } else { "WRONG" };
            println!(
                "    {:15} {verdict} {} of {} is {} {}: {}",
                evidence.rung.word(),
                short(&pick.name),
                short(&pick.origin),
                short(&evidence.commit),
                evidence.subject,
                evidence.proof
            );
        }
    }
    println!("| rung | right | wrong |\n| --- | --- | --- |");
    for (rung, (right, wrong)) in counts {
        println!("| {rung} | {right} | {wrong} |");
    }
    println!(
        "dropped by themselves {}, of them wrong {wrong}; asked {asked}; not found {nothing}",
        settled.len()
    );
    println!("the ladder {} ms, became-empty {} ms", took.as_millis(), emptied_took.as_millis());
}

fn candidate<'a>(odb: &Odb, pick: &'a Pick, metadata: &'a Metadata) -> Candidate<'a> {
    let changes = delta::changes(odb, &pick.trees.0, &pick.trees.1).expect("a difference");
    Candidate {
        name: &pick.name,
        trees: pick.trees,
        text: None,
        paths: changes.into_iter().map(|c| c.path).collect(),
        metadata,
        subject: pick.subject.clone(),
        mail: pick.mail.clone(),
        rejected: BTreeSet::new(),
        merged: None,
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
