//! `git carry graph`: which patch needs which.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::CliError;
use super::ui::{BOLD, DIM, Ui, clean, count, painted};
use crate::graph::{Edge, Graph, Hint, Reason, dot, mermaid, svg};
use crate::night::{NightError, Site, queue_graph};
use crate::queue::Patch;
use crate::workspace::Workspace;

/// Show which patch needs which: proved edges, and those that patches declare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One patch: all that it needs, and all that need it.
    patch: Option<String>,
    /// How to draw it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The project, where the workspace holds many.
    #[arg(long)]
    project: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A tree for the terminal.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, for Markdown.
    Mermaid,
    /// A picture.
    Svg,
    /// One JSON document.
    Json,
}

pub fn run(ui: &Ui, from: &Path, args: Args) -> Result<u8, CliError> {
    let workspace = Workspace::find(from).map_err(NightError::from)?;
    let project = workspace.project(args.project.as_deref()).map_err(NightError::from)?;
    let site = Site::open(&workspace, project)?;
    let queue = site.queue()?;
    let (graph, absent) = queue_graph(&site, &queue)?;
    if let Some(patch) = &args.patch
        && !graph.patches().contains(&patch.as_str())
    {
        if !absent.contains(patch) {
            return Err(CliError::no_patch(&project.name, patch, queue.patches.iter().map(Patch::name)));
        }
        let what = format!("'{}' is not in the stack, so nothing is proved of it", clean(patch));
        return Err(CliError::Missing { what, hint: Some(format!("git carry why {}", clean(patch))) });
    }
    match args.format {
        Format::Dot => ui.line(dot(&graph).trim_end()),
        Format::Svg => ui.line(svg(&graph).trim_end()),
        Format::Mermaid => ui.line(mermaid(&graph).trim_end()),
        Format::Text if !ui.json => match &args.patch {
            Some(patch) => one(ui, &graph, patch),
            None => all(ui, &graph, &absent),
        },
        _ => json(ui, &project.name, &graph, &absent, args.patch.as_deref())?,
    }
    Ok(0)
}

fn json(
    ui: &Ui,
    project: &str,
    graph: &Graph,
    absent: &[String],
    only: Option<&str>,
) -> Result<(), CliError> {
    let shown = |name: &&str| only.is_none_or(|only| only == *name);
    let patches: Vec<serde_json::Value> = graph
        .patches()
        .into_iter()
        .filter(shown)
        .map(|name| {
            serde_json::json!({
                "name": name, "needs": graph.needs(name), "needed_by": graph.needed_by(name),
                "closure": graph.closure(name), "dependents": graph.dependents(name),
            })
        })
        .collect();
    let edges: Vec<Edge> =
        graph.edges().into_iter().filter(|e| shown(&e.patch.as_str()) || shown(&e.needs.as_str())).collect();
    let hints: Vec<&Hint> =
        graph.hints().iter().filter(|h| shown(&h.patch.as_str()) || shown(&h.needs.as_str())).collect();
    let ends = |of: fn(&Graph, &str) -> bool| -> Vec<&str> {
        graph.patches().into_iter().filter(|name| of(graph, name)).collect()
    };
    let document = serde_json::json!({
        "version": 1, "project": project, "patches": patches, "edges": edges, "stacks": graph.stacks(),
        "not_in_the_stack": absent, "hints": hints,
        "roots": ends(|g, name| g.needs(name).is_empty()), "leaves": ends(|g, name| g.needed_by(name).is_empty()),
    });
    Ok(ui.document(&document)?)
}

fn one(ui: &Ui, graph: &Graph, patch: &str) {
    ui.prose(&painted(&clean(patch), BOLD));
    let reasons: BTreeMap<String, Vec<String>> = reasons(graph, patch);
    let list = |title: &str, near: &[&str], far: &[&str]| {
        ui.prose(&format!("\n{title}"));
        if far.is_empty() {
            ui.prose("  nothing");
        }
        for name in far {
            let why = match (near.contains(name), reasons.get(*name)) {
                (true, Some(why)) => why.join("; "),
                _ => "by way of another".to_owned(),
            };
            ui.prose(&format!("  {}  {}", clean(name), painted(&clean(&why), DIM)));
        }
    };
    let closure = graph.closure(patch);
    let below: Vec<&str> = closure.into_iter().filter(|n| *n != patch).collect();
    list("it needs", &graph.needs(patch), &below);
    list("it is needed by", &graph.needed_by(patch), &graph.dependents(patch));
    let near: Vec<&Hint> = graph.hints().iter().filter(|h| h.patch == patch || h.needs == patch).collect();
    if !near.is_empty() {
        ui.prose("\nhints: names that one brings in and the other uses; nothing is proved by them");
    }
    for hint in near {
        let names = painted(&clean(&hint.symbols.join(", ")), DIM);
        match hint.patch == patch {
            true => ui.prose(&format!("  uses of {}  {names}", clean(&hint.needs))),
            false => ui.prose(&format!("  used by {}  {names}", clean(&hint.patch))),
        }
    }
}

/// Why a patch and each of its neighbours hang together.
fn reasons(graph: &Graph, patch: &str) -> BTreeMap<String, Vec<String>> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for edge in graph.edges() {
        let other = match (edge.patch == patch, edge.needs == patch) {
            (true, _) => edge.needs,
            (_, true) => edge.patch,
            _ => continue,
        };
        reasons.entry(other).or_default().push(in_words(&edge.reason));
    }
    reasons
}

fn in_words(reason: &Reason) -> String {
    match reason {
        Reason::Textual { files } => files.join(", "),
        Reason::DependsOn => "Depends-On".into(),
        Reason::Group { name } => format!("group {name}"),
    }
}

/// The stacks as trees: a patch stands under the last one that it needs.
fn all(ui: &Ui, graph: &Graph, absent: &[String]) {
    let stacks = graph.stacks();
    for stack in stacks.iter().filter(|s| s.len() > 1) {
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut roots = Vec::new();
        for name in stack {
            match graph.needs(name).last() {
                Some(parent) => children.entry(parent).or_default().push(name),
                None => roots.push(*name),
            }
        }
        for root in roots {
            branch(ui, graph, &children, root, "", "");
        }
        ui.line("");
    }
    let alone = stacks.iter().filter(|s| s.len() == 1).count();
    let joined = stacks.len() - alone;
    ui.prose(&format!(
        "{}: {}, {} alone; {} proved or declared",
        count(graph.patches().len(), "patch", "patches"),
        count(joined, "stack", "stacks"),
        alone,
        count(graph.edges().len(), "edge", "edges"),
    ));
    if !graph.hints().is_empty() {
        let many = count(graph.hints().len(), "hint", "hints");
        ui.prose(&format!(
            "{many} of names that one patch brings in and another uses: git carry graph PATCH"
        ));
    }
    if !absent.is_empty() {
        ui.prose(&format!(
            "{} not in the stack, and not shown: {}",
            count(absent.len(), "patch is", "patches are"),
            clean(&absent.join(", "))
        ));
    }
}

fn branch(
    ui: &Ui,
    graph: &Graph,
    children: &BTreeMap<&str, Vec<&str>>,
    name: &str,
    head: &str,
    indent: &str,
) {
    let needs = graph.needs(name);
    let others = &needs[..needs.len().saturating_sub(1)];
    let also = match others {
        [] => String::new(),
        others => painted(&format!("  also needs {}", clean(&others.join(", "))), DIM),
    };
    let under = children.get(name).map(Vec::as_slice).unwrap_or_default();
    let hang = format!("{indent}{}    ", if under.is_empty() { " " } else { "│" });
    ui.hung(&format!("{head}{}{also}", clean(name)), &hang);
    for (at, child) in under.iter().enumerate() {
        let last = at + 1 == under.len();
        let (head, more) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(ui, graph, children, child, &format!("{indent}{head}"), &format!("{indent}{more}"));
    }
}
