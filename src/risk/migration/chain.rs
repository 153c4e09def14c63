//! Migrations as a chain: what is new in it, and whether the databases will run all of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use gix_hash::ObjectId;

use super::super::rule::{Analyse, Analyser, Globs};
use super::super::trees::{Side, Trees};
use super::super::{Confidence, Finding, MigrationRecord, Severity};
use super::{Action, Created, Migration, Op, Phase, django, read};
use crate::store::ObjectError;

/// Operations that are named one by one.
const NAMED: usize = 3;

/// A migration in its file.
#[derive(Debug, Clone)]
struct Placed {
    path: String,
    text: Rc<str>,
    migration: Migration,
}

/// Migrations that were read already, by their rule, path and blob: each step of a range has most of them again.
#[derive(Debug, Default)]
pub struct Known(RefCell<HashMap<(String, String, ObjectId), Option<Migration>>>);

/// All migrations of one side, by identity.
type Chain = BTreeMap<String, Placed>;

/// The chains of both sides. A file that is the same on both is read once.
fn chains(
    trees: &Trees<'_>,
    rule: &Analyse,
    known: &Known,
    out: &mut Vec<Finding>,
) -> Result<[Chain; 2], ObjectError> {
    let mut known = known.0.borrow_mut();
    let mut chains = [Chain::new(), Chain::new()];
    for (chain, side) in chains.iter_mut().zip([Side::Old, Side::New]) {
        for (path, blob) in trees.files(&rule.files, side)? {
            // A binary or huge one may do anything.
            let Some(text) = trees.text(&blob)? else {
                let migration = read::unreadable(rule, &path);
                chain.insert(migration.revision.clone(), Placed { path, text: Rc::from(""), migration });
                continue;
            };
            // The path may be part of an identity.
            let key = (rule.id.clone(), path.clone(), blob);
            let migration = known.entry(key).or_insert_with(|| read::migration(rule, &path, &text)).clone();
            let Some(migration) = migration else { continue };
            let id = migration.revision.clone();
            let placed = Placed { path, text, migration };
            if let Some(first) = chain.get(&id)
                && side == Side::New
            {
                let finding = Finding::new("db.migration_duplicate", Severity::Stop, &rule.id, &placed.path);
                out.push(
                    finding
                        .about(&id)
                        .saying(format!("{} has the same identity: only one of them runs", first.path)),
                );
            }
            chain.entry(id).or_insert(placed);
        }
    }
    Ok(chains)
}

/// Runs one rule.
pub fn run(
    trees: &Trees<'_>,
    rule: &Analyse,
    known: &Known,
    out: &mut Vec<Finding>,
) -> Result<(), ObjectError> {
    let moved = trees.moved.iter().any(|m| rule.files.matches(&m.from) || rule.files.matches(&m.to));
    if trees.touched(&rule.files).is_empty() && !moved {
        return Ok(());
    }
    let mut found = Vec::new();
    let [old, new] = chains(trees, rule, known, &mut found)?;
    let duplicated: HashSet<String> = found.iter().map(|f| f.name.clone()).collect();
    // What was so before is nothing that the move brings.
    out.extend(
        found
            .into_iter()
            .filter(|f| !old.contains_key(&f.name) || trees.changed.iter().any(|c| c.path == f.path)),
    );
    if has_graph(rule) {
        compare(rule, &old, &new, &duplicated, out);
        return Ok(());
    }
    // Each folder of numbers counts by itself.
    let folders: BTreeSet<String> = old.keys().chain(new.keys()).map(|id| folder(id).to_owned()).collect();
    for one in folders {
        let part = |chain: &Chain| -> Chain {
            let own = chain.iter().filter(|(id, _)| folder(id) == one);
            own.map(|(id, placed)| (id.clone(), placed.clone())).collect()
        };
        compare(rule, &part(&old), &part(&new), &duplicated, out);
    }
    Ok(())
}

/// What stands before a migration's number in its identity.
fn folder(id: &str) -> &str {
    id.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What the move from one chain to another is.
fn compare(rule: &Analyse, old: &Chain, new: &Chain, duplicated: &HashSet<String>, out: &mut Vec<Finding>) {
    let removed: Vec<&String> = old.keys().filter(|id| !new.contains_key(*id)).collect();
    let added = in_order(new, |id| !old.contains_key(id), rule);
    let base = squash(old, new, &removed, rule);
    changed(rule, old, new, base, out);
    let gone = in_order(old, |id| !new.contains_key(id), rule);
    // The way back over a squash: those that it made one are there again, and every database has run them.
    let back = base.is_none() && squash(new, old, &added, rule).is_some();
    if !back {
        new_ones(rule, old, new, &added, base, out);
    }
    if let (true, Some(first)) = (new.is_empty() && removed.len() > 1, gone.first()) {
        // Each by itself would say the same.
        let finding = Finding::new("db.chain_removed", Severity::Stop, &rule.id, &old[*first].path).gone();
        let text = format!(
            "all {} migrations are gone: databases must have run them to the last, {}",
            removed.len(),
            gone.last().map_or("", |id| id.as_str())
        );
        out.push(finding.about(database(rule)).saying(text));
    } else if let Some(base) = base {
        let finding = Finding::new("db.migrations_squashed", Severity::Warn, &rule.id, &base.path);
        let text = match &removed[..] {
            [one] => format!("{one} is part of it now: the database must have it before"),
            all => format!("{} migrations became one: the database must have them all before", all.len()),
        };
        out.push(finding.about(&base.migration.revision).saying(text));
    } else {
        passed(rule, old, &gone, out);
        for id in removed {
            let gone = &old[id];
            // A renamed one of the same content runs again, and is told as new.
            let finding = Finding::new("db.migration_removed", Severity::Stop, &rule.id, &gone.path).gone();
            let lasting = match gone.migration.phase() {
                Phase::Data => "; it rewrote rows: they stay as they are",
                _ => "",
            };
            let text = format!("the new code's tool does not know it, and databases have run it{lasting}");
            out.push(finding.about(id.as_str()).saying(text));
        }
    }
    heads(rule, old, new, out);
    late(rule, old, new, &added, duplicated, out);
}

/// Contracts that databases have run and that the new build does not know: code of that build is from before a point of
/// no return. What the same range made, it may take away; an index is a matter of speed.
fn passed(rule: &Analyse, old: &Chain, gone: &[&String], out: &mut Vec<Finding>) {
    let mut created = Created::default();
    for id in gone {
        let placed = &old[*id];
        if placed.migration.baseline && has_graph(rule) {
            continue;
        }
        let mut ops = placed.migration.ops.clone();
        if rule.analyser == Analyser::Django {
            altered_fields(&mut ops, id, old);
        }
        created.net(&mut ops);
        contract_passed(rule, id, &placed.path, &ops, out);
    }
}

/// Tells of a migration that is gone and was a contract, by what it did to things that others knew.
pub(super) fn contract_passed(rule: &Analyse, id: &str, path: &str, ops: &[Op], out: &mut Vec<Finding>) {
    let lost = ops.iter().filter(|op| op.phase == Phase::Contract && op.op != Action::DropIndex);
    let lost: Vec<&Op> = lost.collect();
    let Some(first) = lost.first() else { return };
    let words: Vec<String> = lost.iter().take(NAMED).map(|op| op.in_words()).collect();
    let more = if lost.len() > NAMED { format!(" and {} more", lost.len() - NAMED) } else { String::new() };
    let finding = Finding::new("db.contract_passed", Severity::Stop, &rule.id, path);
    let text = format!(
        "databases are past it, and code from before it may not run: {}{more}; going back needs what they were before",
        words.join(", ")
    );
    out.push(finding.about(id).at(first.line).gone().saying(text));
}

/// The wanted migrations, parents first; where the tool goes by numbers, by those.
fn in_order<'c>(chain: &'c Chain, wanted: impl Fn(&str) -> bool, rule: &Analyse) -> Vec<&'c String> {
    let mut ids: Vec<&String> = chain.keys().filter(|id| wanted(id)).collect();
    if has_graph(rule) {
        let mut out: Vec<&String> = Vec::new();
        let mut done: HashSet<&str> = HashSet::new();
        // Each round takes those whose wanted parents are all taken; a circle ends it.
        while !ids.is_empty() {
            let ready = |id: &&String| {
                let parents = &chain[*id].migration.parents;
                parents.iter().all(|p| done.contains(p.as_str()) || !chain.contains_key(p) || !wanted(p))
            };
            let (mut now, later): (Vec<_>, Vec<_>) = ids.into_iter().partition(ready);
            if now.is_empty() {
                out.extend(later);
                break;
            }
            now.sort();
            done.extend(now.iter().map(|id| id.as_str()));
            out.extend(now);
            ids = later;
        }
        return out;
    }
    ids.sort_by(|a, b| read::order(a, b));
    ids
}

fn has_graph(rule: &Analyse) -> bool {
    matches!(rule.analyser, Analyser::Alembic | Analyser::Django)
}

/// The first migration that many old ones became: a new one, or the last of them with the whole schema in it.
fn squash<'c>(old: &Chain, new: &'c Chain, removed: &[&String], rule: &Analyse) -> Option<&'c Placed> {
    if removed.is_empty() || (removed.len() < 2 && has_graph(rule)) {
        return None;
    }
    if !has_graph(rule) {
        // It takes the place of all that went: it is the lowest there is now.
        let (id, base) = new.iter().min_by(|a, b| read::order(a.0, b.0))?;
        let is_base = match old.get(id) {
            // It was there, and has another text now: with all in it that came before.
            Some(was) => was.text != base.text && removed.iter().all(|gone| read::order(gone, id).is_lt()),
            // One by itself may be the same under another number.
            None => removed.len() > 1,
        };
        return is_base.then_some(base);
    }
    // Django has a chain for each app, and a new app has a first one as well.
    let part =
        |id: &str| (rule.analyser == Analyser::Django).then(|| id.split('/').next().map(str::to_owned));
    let is_base = |(id, placed): &(&String, &Placed)| {
        placed.migration.baseline
            && old.get(*id).is_none_or(|was| !was.migration.baseline)
            && removed.iter().all(|gone| part(gone) == part(id))
    };
    new.iter().find(is_base).map(|(_, placed)| placed)
}

fn declared(rule: &Analyse, path: &str) -> Option<String> {
    let matches = |glob: &String| Globs::try_from(vec![glob.clone()]).is_ok_and(|g| g.matches(path));
    rule.declared.iter().find(|(_, glob)| matches(glob)).map(|(phase, _)| phase.clone())
}

fn database(rule: &Analyse) -> String {
    rule.db.clone().unwrap_or_else(|| "main".to_owned())
}

fn new_ones(
    rule: &Analyse,
    old: &Chain,
    new: &Chain,
    added: &[&String],
    base: Option<&Placed>,
    out: &mut Vec<Finding>,
) {
    let mut created = Created::default();
    for (place, id) in added.iter().enumerate() {
        let placed = &new[*id];
        let migration = &placed.migration;
        let is_base = base.is_some_and(|base| base.migration.revision == **id);
        let first = (migration.baseline && has_graph(rule)) || is_base;
        // Where it takes the place of others, or of another tool, databases have what it makes. That of a new app of
        // Django's, or beside others, is run.
        let runs = !is_base && (rule.analyser == Analyser::Django || !old.is_empty());
        if first && !runs {
            let finding = Finding::new("db.migration_baseline", Severity::Info, &rule.id, &placed.path);
            let text = if old.is_empty() { "the first of a new chain" } else { "a first one beside others" };
            out.push(finding.about(id.as_str()).at(1).saying(text));
            continue;
        }
        let mut ops = migration.ops.clone();
        if rule.analyser == Analyser::Django {
            altered_fields(&mut ops, id, new);
        }
        created.net(&mut ops);
        let phase = ops.iter().map(|op| op.phase).max().unwrap_or(Phase::Noop);
        let kind = if first && phase <= Phase::Expand { "db.migration_baseline" } else { "db.migration" };
        let mut finding = told(rule, kind, id, &placed.path, place, ops);
        if migration.assured {
            finding.confidence = Confidence::Medium;
        }
        out.push(finding);
    }
}

/// A migration that is to run, with what it does.
pub(super) fn told(rule: &Analyse, kind: &str, id: &str, path: &str, place: usize, ops: Vec<Op>) -> Finding {
    let phase = ops.iter().map(|op| op.phase).max().unwrap_or(Phase::Noop);
    let word = serde_json::to_value(phase).ok();
    let word = word.as_ref().and_then(|w| w.as_str()).unwrap_or("unknown");
    let mut finding = Finding::new(kind, Severity::Stop, &rule.id, path).about(id);
    finding.line = ops.iter().find(|op| op.phase == phase).map(|op| op.line).or(Some(1));
    let declared = declared(rule, path);
    if declared.as_deref() == Some("expand") && phase > Phase::Data {
        finding.text = Some(format!("its folder says expand, and what it does is {word}"));
    }
    let apply = rule.apply.get(word).or_else(|| rule.apply.get("expand"));
    finding.migration = Some(MigrationRecord {
        db: database(rule),
        scope: rule.scope,
        revision: id.to_owned(),
        place,
        phase,
        declared,
        ops,
        branches: rule.branches,
        apply: apply.map(|command| command.replace("{to}", id)),
    });
    finding
}

/// What a field's change is depends on what the field was.
fn altered_fields(ops: &mut Vec<Op>, id: &str, chain: &Chain) {
    let app = id.split('/').next().unwrap_or_default();
    let earlier: Vec<&Placed> = chain
        .iter()
        .filter(|(other, _)| other.starts_with(&format!("{app}/")) && other.as_str() < id)
        .map(|(_, placed)| placed)
        .collect();
    ops.retain_mut(|op| {
        let (Action::AlterType, Some(table), Some(object), Some(is)) =
            (op.op, &op.table, &op.object, &op.detail)
        else {
            return true;
        };
        let was = earlier.iter().rev().find_map(|placed| django::defined(&placed.text, table, object));
        match was {
            Some(was) => match django::change(&was, is) {
                Some((action, phase)) => {
                    (op.op, op.phase) = (action, phase);
                    true
                }
                None => false,
            },
            // Nobody says what it was.
            None => {
                op.phase = Phase::Unknown;
                true
            }
        }
    });
}

/// Migrations that were out already and are another now.
fn changed(rule: &Analyse, old: &Chain, new: &Chain, base: Option<&Placed>, out: &mut Vec<Finding>) {
    for (id, was) in old {
        let Some(is) = new.get(id).filter(|is| is.text != was.text) else { continue };
        if base.is_some_and(|base| base.migration.revision == *id) {
            continue;
        }
        if has_graph(rule) && is.migration.parents != was.migration.parents {
            let finding = Finding::new("db.migration_repointed", Severity::Stop, &rule.id, &is.path);
            let list = |m: &Migration| Some(m.parents.join(", "));
            let finding = finding.about(id.as_str()).from_to(list(&was.migration), list(&is.migration));
            out.push(finding.saying("it stands on another one now: databases that ran it do not go back"));
        }
        let cosmetic = read::essence(rule, &was.text) == read::essence(rule, &is.text);
        let severity = if cosmetic { Severity::Info } else { rule.rewritten.unwrap_or(Severity::Warn) };
        let finding = Finding::new("db.migration_modified", severity, &rule.id, &is.path).about(id.as_str());
        let text = match cosmetic {
            true => "only its comments",
            false => "databases that ran it keep what it did before",
        };
        out.push(finding.saying(text));
    }
}

/// Ends of the graph: a database can only be brought to one.
fn heads(rule: &Analyse, old: &Chain, new: &Chain, out: &mut Vec<Finding>) {
    if !has_graph(rule) {
        return;
    }
    // Django has a graph for each app.
    let part = |id: &str| match rule.analyser {
        Analyser::Django => id.split('/').next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let ends = |chain: &Chain| {
        let parents: HashSet<&String> = chain.values().flat_map(|p| &p.migration.parents).collect();
        let mut ends: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for id in chain.keys().filter(|id| !parents.contains(id)) {
            ends.entry(part(id)).or_default().insert(id.clone());
        }
        ends
    };
    let (was, is) = (ends(old), ends(new));
    for (part, now) in is {
        let before = was.get(&part).map_or(1, BTreeSet::len).max(1);
        if now.len() > before
            && let Some(last) = now.iter().find(|id| !old.contains_key(*id))
        {
            let finding = Finding::new("db.heads", Severity::Stop, &rule.id, &new[last].path);
            let all: Vec<String> = now.iter().cloned().collect();
            let text = format!("{} ends, before {before}: {}", now.len(), all.join(", "));
            out.push(finding.about(last.as_str()).saying(text));
        }
    }
}

/// New migrations that come before what databases have run: tools leave them out without a word.
fn late(
    rule: &Analyse,
    old: &Chain,
    new: &Chain,
    added: &[&String],
    duplicated: &HashSet<String>,
    out: &mut Vec<Finding>,
) {
    let mut tell = |id: &str, after: &str| {
        let finding = Finding::new("db.migration_inserted", Severity::Stop, &rule.id, &new[id].path);
        out.push(finding.about(id).saying(format!(
            "it comes before {after}, which is out already: databases that are past it never run it"
        )));
    };
    if has_graph(rule) {
        // All that the old ones stand on, as the new files tell it.
        let mut below: HashMap<&str, &str> = HashMap::new();
        let mut open: Vec<(&str, &str)> =
            old.keys().filter(|id| new.contains_key(*id)).map(|id| (id.as_str(), id.as_str())).collect();
        while let Some((id, from)) = open.pop() {
            for parent in new.get(id).map_or(&[][..], |p| &p.migration.parents[..]) {
                if below.insert(parent, from).is_none() {
                    open.push((parent, from));
                }
            }
        }
        for id in added {
            if let Some(after) = below.get(id.as_str()).filter(|_| !new[*id].migration.baseline) {
                tell(id, after);
            }
        }
    } else if rule.skips_late {
        let Some(last) = old.keys().max_by(|a, b| read::order(a, b)) else { return };
        for id in added {
            if read::order(id, last).is_lt() && !duplicated.contains(*id) && old.len() > 1 {
                tell(id, last);
            }
        }
    }
}
