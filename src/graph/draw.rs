//! The graph in the languages of drawing programs. What comes from a patch is quoted: a name is data.

use std::fmt::Write as _;

use super::{Graph, Reason};

/// Graphviz's language: an arrow goes from a patch to what it needs; declared edges are dashed.
pub fn dot(graph: &Graph) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out =
        String::from("digraph queue {\n  rankdir=BT;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    // Writing to a string does not fail.
    for patch in graph.patches() {
        let _ = writeln!(out, "  {};", quoted(patch));
    }
    for edge in graph.edges() {
        let (style, label) = match &edge.reason {
            Reason::Textual { files } => ("solid", files.join("\\n")),
            Reason::DependsOn => ("dashed", "Depends-On".to_owned()),
            Reason::Group { name } => ("dashed", format!("group {name}")),
        };
        let label = label.replace('"', "\\\"");
        let (patch, needs) = (quoted(&edge.patch), quoted(&edge.needs));
        let _ = writeln!(out, "  {patch} -> {needs} [style={style}, tooltip=\"{label}\"];");
    }
    for hint in graph.hints() {
        let (patch, needs) = (quoted(&hint.patch), quoted(&hint.needs));
        let _ = writeln!(out, "  {patch} -> {needs} [style=dotted, constraint=false, tooltip=\"a hint\"];");
    }
    out.push_str("}\n");
    out
}

/// Mermaid's language, as GitHub and GitLab draw it in Markdown.
pub fn mermaid(graph: &Graph) -> String {
    let patches = graph.patches();
    let place = |name: &str| patches.iter().position(|p| *p == name).unwrap_or_default();
    let escaped = |name: &str| name.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let mut out = String::from("flowchart BT\n");
    for (at, patch) in patches.iter().enumerate() {
        let _ = writeln!(out, "  p{at}[\"{}\"]", escaped(patch));
    }
    for edge in graph.edges() {
        let arrow = if matches!(edge.reason, Reason::Textual { .. }) { "-->" } else { "-.->" };
        let _ = writeln!(out, "  p{} {arrow} p{}", place(&edge.patch), place(&edge.needs));
    }
    out
}
