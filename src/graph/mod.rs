//! In: the patches with their trees and what they declare. Out: which patch needs which, and why. Never: a guess.
//!
//! An edge is proved: the patch that needs another does not apply on its own base without it. Declared edges
//! (`Depends-On`, `Carry-Group`) stand beside the proved ones, as patches of one feature may share no file.

mod draw;
mod hints;
mod picture;

use std::collections::{BTreeMap, BTreeSet};

use bstr::BString;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::queue::{FileChange, Metadata, Patch};
use crate::replay::needs::{Known, needs};
use crate::replay::sequence::Step;
use crate::store::{ObjectError, Objects};
use crate::trunk::delta::Change;

pub use draw::{dot, mermaid};
pub use hints::Hint;
pub use picture::{Arrow, Shape, laid_out, svg};

/// Why a patch needs another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Reason {
    /// It does not apply without it; these are the files that both touch.
    Textual {
        /// The paths.
        files: Vec<String>,
    },
    /// It says so: `Depends-On` names it, by its name or its Change-Id.
    DependsOn,
    /// Both are of one `Carry-Group`.
    Group {
        /// The group.
        name: String,
    },
}

/// One edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The patch that needs another.
    pub patch: String,
    /// The one it needs.
    pub needs: String,
    /// Why.
    pub reason: Reason,
}

/// A patch as the graph sees it.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// Its trees.
    pub step: Step,
    /// What its header says.
    pub metadata: &'a Metadata,
    /// Its text, if it has one.
    pub text: Option<&'a Patch>,
    /// What differs between its trees, if that is known.
    pub differs: Option<&'a [Change]>,
}

/// What was proved of a patch before.
#[derive(Debug, Clone, Default)]
pub struct Proved<'a> {
    /// Its edges.
    pub edges: Vec<&'a Edge>,
    /// Are the files that it touches, and what the patches before it do to them, what they were?
    pub holds: bool,
}

impl Node<'_> {
    /// The paths that it touches, sorted, the old ones of moved files too: as its trees say, or else its text.
    fn paths(&self) -> Vec<&BString> {
        let paths: BTreeSet<&BString> = match self.differs {
            Some(differs) => differs.iter().map(|change| &change.path).collect(),
            None => self.text.iter().flat_map(|patch| &patch.paths).collect(),
        };
        paths.into_iter().collect()
    }
}

/// The patches of a queue, and which needs which. Edges that follow from others are left out, but for declared ones.
#[derive(Debug, Clone)]
pub struct Graph {
    graph: DiGraph<String, Reason>,
    nodes: BTreeMap<String, NodeIndex>,
    hints: Vec<Hint>,
}

impl Graph {
    /// Finds all edges. `nodes` are in the queue's order, each on the stack of those before it. `known` has the edges of
    /// patches that were proved before, and whether nothing has changed by which they were.
    pub fn of(
        objects: &dyn Objects,
        nodes: &[Node<'_>],
        known: &BTreeMap<&str, Proved<'_>>,
    ) -> Result<Self, ObjectError> {
        let mut graph = DiGraph::new();
        let indices: Vec<NodeIndex> = nodes.iter().map(|n| graph.add_node(n.step.name.clone())).collect();
        let steps: Vec<Step> = nodes.iter().map(|n| n.step.clone()).collect();
        let places: BTreeMap<&str, usize> =
            nodes.iter().enumerate().map(|(at, n)| (n.step.name.as_str(), at)).collect();
        let proved = |node: &Node<'_>| -> Option<Vec<usize>> {
            let proved = known.get(node.step.name.as_str())?;
            let needs = proved.edges.iter().map(|e| places.get(e.needs.as_str()).copied());
            let mut needs = needs.collect::<Option<Vec<usize>>>()?;
            needs.sort_unstable();
            Some(needs)
        };
        let paths: Vec<Vec<&BString>> = nodes.iter().map(Node::paths).collect();
        // Changes that name no path of a patch that has some say nothing: then all trees are read.
        let named = nodes.iter().zip(&paths).all(|(n, p)| n.step.before == n.step.after || !p.is_empty());
        let needs_of = nodes.iter().map(proved).collect();
        let holds = nodes.iter().map(|n| known.get(n.step.name.as_str()).is_some_and(|p| p.holds)).collect();
        let paths_of = if named { paths.clone() } else { Vec::new() };
        let changes = nodes.iter().map(|n| n.differs).collect();
        let known = Known { paths: paths_of, needs: needs_of, holds, changes };
        for (at, needed) in needs(objects, &steps, &known)?.into_iter().enumerate() {
            for need in needed {
                let files = paths[at].iter().filter(|path| paths[need].contains(path));
                let files = files.map(ToString::to_string).collect();
                graph.add_edge(indices[at], indices[need], Reason::Textual { files });
            }
        }
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate() {
            for wanted in &node.metadata.depends_on {
                let named = |n: &Node<'_>| n.step.name == *wanted || n.metadata.change_ids.contains(wanted);
                for (need, _) in nodes[..at].iter().enumerate().filter(|(_, n)| named(n)) {
                    graph.add_edge(indices[at], indices[need], Reason::DependsOn);
                }
            }
            // A group is a chain: its members go together, in the queue's order.
            if let Some(group) = node.metadata.group.as_deref()
                && let Some(before) = groups.insert(group, at)
            {
                graph.add_edge(indices[at], indices[before], Reason::Group { name: group.to_owned() });
            }
        }
        let nodes = indices.iter().map(|i| (graph[*i].clone(), *i)).collect();
        Ok(Self { graph, nodes, hints: Vec::new() })
    }

    /// The graph with hints: names that one patch brings in and another uses. What is proved or declared needs none.
    pub fn with_hints(mut self, nodes: &[Node<'_>]) -> Self {
        let named: Vec<(&str, &[FileChange])> =
            nodes.iter().map(|n| (n.step.name.as_str(), n.text.map_or(&[][..], Patch::changes))).collect();
        let mut hints = hints::hints(&named);
        hints.retain(|h| !self.closure(&h.patch).contains(&h.needs.as_str()));
        self.hints = hints;
        self
    }

    /// All patches, in the queue's order.
    pub fn patches(&self) -> Vec<&str> {
        self.graph.node_weights().map(String::as_str).collect()
    }

    /// All edges, by the queue's order.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges: Vec<_> = self.graph.raw_edges().iter().collect();
        edges.sort_by_key(|e| (e.source(), e.target()));
        let name = |i: NodeIndex| self.graph[i].clone();
        let edge = |e: &petgraph::graph::Edge<Reason>| Edge {
            patch: name(e.source()),
            needs: name(e.target()),
            reason: e.weight.clone(),
        };
        edges.into_iter().map(edge).collect()
    }

    /// Names that one patch brings in and another uses, where no edge says so already. They prove nothing.
    pub fn hints(&self) -> &[Hint] {
        &self.hints
    }

    /// What a patch needs itself, in the queue's order.
    pub fn needs(&self, patch: &str) -> Vec<&str> {
        self.neighbours(patch, Direction::Outgoing)
    }

    /// Who needs a patch itself, in the queue's order.
    pub fn needed_by(&self, patch: &str) -> Vec<&str> {
        self.neighbours(patch, Direction::Incoming)
    }

    fn neighbours(&self, patch: &str, direction: Direction) -> Vec<&str> {
        let Some(at) = self.nodes.get(patch) else { return Vec::new() };
        let found: BTreeSet<NodeIndex> = self.graph.neighbors_directed(*at, direction).collect();
        found.into_iter().map(|i| self.graph[i].as_str()).collect()
    }

    /// A patch with all that it needs, near and far, in the queue's order.
    pub fn closure(&self, patch: &str) -> Vec<&str> {
        let Some(at) = self.nodes.get(patch) else { return Vec::new() };
        let mut search = Dfs::new(&self.graph, *at);
        let mut found = BTreeSet::new();
        while let Some(i) = search.next(&self.graph) {
            found.insert(i);
        }
        found.into_iter().map(|i| self.graph[i].as_str()).collect()
    }

    /// All that need a patch, near and far, in the queue's order.
    pub fn dependents(&self, patch: &str) -> Vec<&str> {
        let Some(at) = self.nodes.get(patch) else { return Vec::new() };
        let reversed = Reversed(&self.graph);
        let mut search = Dfs::new(&reversed, *at);
        let mut found = BTreeSet::new();
        while let Some(i) = search.next(&reversed) {
            found.insert(i);
        }
        found.remove(at);
        found.into_iter().map(|i| self.graph[i].as_str()).collect()
    }

    /// The patches that hang together, in the queue's order; a patch that stands alone is a stack of one.
    pub fn stacks(&self) -> Vec<Vec<&str>> {
        let patches = self.patches();
        let found = stacks(&patches, &self.edges());
        found.into_iter().map(|stack| stack.into_iter().map(|at| patches[at]).collect()).collect()
    }
}

/// The places of the patches that hang together by these edges, each stack in the queue's order; a patch that stands
/// alone is a stack of one.
pub fn stacks(patches: &[&str], edges: &[Edge]) -> Vec<Vec<usize>> {
    let places: BTreeMap<&str, usize> = patches.iter().enumerate().map(|(at, name)| (*name, at)).collect();
    let mut sets = petgraph::unionfind::UnionFind::new(patches.len());
    for edge in edges {
        if let (Some(a), Some(b)) = (places.get(edge.patch.as_str()), places.get(edge.needs.as_str())) {
            sets.union(*a, *b);
        }
    }
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut of_set: BTreeMap<usize, usize> = BTreeMap::new();
    for at in 0..patches.len() {
        let stack = *of_set.entry(sets.find(at)).or_insert_with(|| {
            found.push(Vec::new());
            found.len() - 1
        });
        found[stack].push(at);
    }
    found
}
