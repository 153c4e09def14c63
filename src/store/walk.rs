//! Walks of history by git's graph of commits alone, in this process. It has the parents of each commit that it has, and
//! theirs, so that what it can tell it tells as git would (`git help commit-graph`).

use std::collections::BinaryHeap;
use std::path::Path;

use gix_commitgraph::{Graph, Position};
use gix_hash::ObjectId;

use super::generations::later;
use super::repo::Ranged;

/// What is known of a commit on the way.
const SEEN: u8 = 1;
const IN_BASE: u8 = 2;

/// The commits of `tip` that are not in `base`, the newest first, as `git rev-list --topo-order` has them. None where the
/// graph of the repository at `path` does not have both, and where history is told otherwise than by its commits.
pub(super) fn range(path: &Path, base: &ObjectId, tip: &ObjectId) -> Option<Vec<Ranged>> {
    if ["shallow", "info/grafts", "refs/replace"].iter().any(|told| path.join(told).exists()) {
        return None;
    }
    let info = path.join("objects/info");
    let graph = Graph::at(&info, tip.kind(), None).ok()?;
    let (base, tip) = (graph.lookup(base)?, graph.lookup(tip)?);
    if graph.commit_at(tip).generation() == 0 {
        // Written by a git that knew of no generations.
        return None;
    }
    let known = painted(&graph, later(&info, graph.num_commits()), base, tip)?;
    let mut order = Vec::new();
    let own = |at: &Position| known.get(at.0 as usize) == Some(&SEEN);
    // How many commits of the range still have to come before one, as its children; what waits comes by the last one in.
    let mut children = vec![0_u32; known.len()];
    let mut open: Vec<Position> = Some(tip).filter(own).into_iter().collect();
    let mut met = open.clone();
    while let Some(at) = met.pop() {
        for parent in parents(&graph, at) {
            let parent = parent?;
            if own(&parent) {
                children[parent.0 as usize] += 1;
                if children[parent.0 as usize] == 1 {
                    met.push(parent);
                }
            }
        }
    }
    while let Some(at) = open.pop() {
        let parents: Vec<Position> = parents(&graph, at).collect::<Option<_>>()?;
        let id = |at: Position| graph.id_at(at).to_owned();
        order.push(Ranged { id: id(at), parents: parents.iter().copied().map(id).collect() });
        for parent in parents.into_iter().filter(own) {
            children[parent.0 as usize] -= 1;
            if children[parent.0 as usize] == 0 {
                open.push(parent);
            }
        }
    }
    Some(order)
}

/// Which commits are in `tip` ([`SEEN`]) and in `base` ([`IN_BASE`], too): all that are only in `tip`, and of the others so
/// many as it takes to know that. A commit's corrected date is later than its parents', and its generation higher, so that by the
/// order of one of them all children of a commit come before it. `later` has how much later the dates are than the commits' own.
fn painted(graph: &Graph, later: Option<Vec<u64>>, base: Position, tip: Position) -> Option<Vec<u8>> {
    let order = |at: Position| {
        let commit = graph.commit_at(at);
        match &later {
            Some(later) => commit.committer_timestamp().saturating_add(later[at.0 as usize]),
            None => u64::from(commit.generation()),
        }
    };
    let mut known = vec![0_u8; graph.num_commits() as usize];
    let mut queue = BinaryHeap::new();
    // So many in the queue are not known to be in `base`.
    let mut open = 0_usize;
    let mut meet = |at: Position, flags: u8, queue: &mut BinaryHeap<(u64, u32)>, open: &mut usize| {
        let flag = &mut known[at.0 as usize];
        let (was, is) = (*flag, *flag | flags);
        *flag = is;
        if was == 0 {
            queue.push((order(at), at.0));
            *open += usize::from(is == SEEN);
        } else if was == SEEN && is != SEEN {
            *open -= 1;
        }
        is
    };
    meet(tip, SEEN, &mut queue, &mut open);
    meet(base, SEEN | IN_BASE, &mut queue, &mut open);
    while open > 0 {
        let (_, at) = queue.pop()?;
        let at = Position(at);
        let flags = meet(at, SEEN, &mut queue, &mut open);
        open -= usize::from(flags == SEEN);
        for parent in parents(graph, at) {
            meet(parent?, flags, &mut queue, &mut open);
        }
    }
    Some(known)
}

/// The places of a commit's parents; none for one that a damaged graph names and has not. No room is asked for them: a fork may
/// stand on a hundred thousand commits.
fn parents(graph: &Graph, at: Position) -> impl Iterator<Item = Option<Position>> {
    let there = |parent: &Position| parent.0 < graph.num_commits();
    graph.commit_at(at).iter_parents().map(move |parent| parent.ok().filter(there))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::store::git::Git;

    /// For each commit how far back its parents are, and its time.
    type History = Vec<(Vec<usize>, u64)>;

    /// Some clocks are wrong by more than a graph's small numbers hold.
    fn histories() -> impl Strategy<Value = History> {
        let time = prop_oneof![9 => 0_u64..60, 1 => 2_200_000_000_u64..2_200_000_060];
        proptest::collection::vec((proptest::collection::vec(1_usize..9, 1..4), time), 2..40)
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Form {
        Dates,
        Generations,
        TwoFiles,
    }

    fn made(at: &Path, history: &[(Vec<usize>, u64)], form: Form) -> Vec<ObjectId> {
        let mut stream = String::new();
        for (n, (parents, time)) in history.iter().enumerate() {
            let _ = write!(stream, "commit refs/heads/c{n}\nmark :{}\ncommitter a <a> ", n + 1);
            let _ = write!(stream, "{} +0000\ndata 0\n", 1_700_000_000 + time);
            let mut known: Vec<usize> =
                parents.iter().filter(|back| **back <= n).map(|b| n + 1 - b).collect();
            known.dedup();
            for (at, parent) in known.iter().enumerate() {
                let _ = writeln!(stream, "{} :{parent}", if at == 0 { "from" } else { "merge" });
            }
            let _ = write!(stream, "M 100644 inline f\ndata 2\n{n:02}\n");
        }
        let git = Git::bare(at);
        git.call(["fast-import", "--quiet"]).stdin(stream).output().expect("a history");
        let id =
            |n| ObjectId::from_hex(git.call(["rev-parse", &format!("c{n}")]).line().ok()?.as_bytes()).ok();
        let ids: Vec<ObjectId> = (0..history.len()).map(|n| id(n).expect("a commit")).collect();
        let write = |version: &str, of: &[&str], ids: &[ObjectId]| {
            let version = format!("commitGraph.generationVersion={version}");
            let ids: String = ids.iter().map(|id| format!("{id}\n")).collect();
            let call = git.call(["-c", &version, "commit-graph", "write"]).args(of).stdin(ids);
            call.output().expect("a graph");
        };
        match form {
            Form::Dates => write("2", &["--reachable"], &[]),
            Form::Generations => write("1", &["--reachable"], &[]),
            Form::TwoFiles => {
                for ids in [&ids[..ids.len() / 2], &ids] {
                    write("2", &["--split=no-merge", "--stdin-commits"], ids);
                }
            }
        }
        ids
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn a_range_is_what_git_says_in_its_order(
            history in histories(),
            form in prop_oneof![Just(Form::Dates), Just(Form::Generations), Just(Form::TwoFiles)],
            ends in proptest::collection::vec(any::<(u8, u8)>(), 12),
        ) {
            let dir = tempfile::tempdir().expect("a folder");
            let init = Command::new("git").args(["init", "-q", "--bare"]).arg(dir.path()).status();
            prop_assert!(init.expect("it runs").success());
            let ids = made(dir.path(), &history, form);
            let (info, commits) = (dir.path().join("objects/info"), u32::try_from(ids.len()).expect("few"));
            prop_assert_eq!(later(&info, commits).is_some(), form != Form::Generations);
            for (base, tip) in ends {
                let (base, tip) = (ids[base as usize % ids.len()], ids[tip as usize % ids.len()]);
                let known = range(dir.path(), &base, &tip).expect("the graph has both");
                let line = |r: &Ranged| {
                    let ids = std::iter::once(&r.id).chain(&r.parents).map(ToString::to_string);
                    ids.collect::<Vec<_>>().join(" ")
                };
                let known: Vec<String> = known.iter().map(line).collect();
                let told = Git::bare(dir.path())
                    .call(["rev-list", "--topo-order", "--parents", &tip.to_string(), &format!("^{base}")])
                    .output()
                    .expect("it tells");
                let told: Vec<String> = String::from_utf8_lossy(&told).lines().map(str::to_owned).collect();
                prop_assert_eq!(known, told);
            }
        }
    }

    #[test]
    fn what_the_graph_does_not_have_is_not_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let git = Git::bare(dir.path());
        Git::at(dir.path()).call(["init", "-q", "--bare", "."]).output().expect("a repository");
        let ids = made(dir.path(), &[(vec![1], 0), (vec![1], 1)], Form::Dates);
        assert_eq!(range(dir.path(), &ids[0], &ids[1]).map(|range| range.len()), Some(1));
        let (tree, parent) = (format!("{}^{{tree}}", ids[1]), ids[1].to_string());
        let call = git.call(["-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "x"]);
        let more = call.args(["-p", &parent, &tree]).line().expect("a commit");
        let more = ObjectId::from_hex(more.as_bytes()).expect("an id");
        assert_eq!(range(dir.path(), &ids[0], &more), None);
        std::fs::write(dir.path().join("shallow"), format!("{}\n", ids[1])).expect("written");
        assert_eq!(range(dir.path(), &ids[0], &ids[1]), None);
    }
}
