//! The graph as a picture: every stack laid out from left to right, what stands alone listed below.

use std::fmt::Write as _;

use dagre::graph::GraphOptions;
use dagre::{EdgeLabel, LayoutOptions, NodeLabel, RankDir, layout};

use super::{Graph, Reason};

const ROW: f64 = 26.0;
/// The width of a letter, about, in the font that is asked for.
const LETTER: f64 = 7.3;
const MARGIN: f64 = 16.0;
/// No name is shown longer; the whole stands in its title.
const LONGEST: usize = 44;
/// How many columns those that stand alone are listed in.
const COLUMNS: usize = 3;

const STYLE: &str = "text{font:12px ui-monospace,monospace;fill:#1f2328}.n{fill:#f6f8fa;stroke:#818b98}\
.r{fill:#ddf4ff;stroke:#0969da}.e{fill:none;stroke:#59636e;marker-end:url(#a)}.d{stroke-dasharray:6 3}\
.h{stroke-dasharray:1 4;stroke:#9a6700}.s{fill:#59636e}.a{fill:#59636e}.b{fill:#ffffff}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#161b22;stroke:#6e7681}.r{fill:#0c2d4a;stroke:#4493f8}\
.e{stroke:#9198a1}.h{stroke:#d29922}.s,.a{fill:#9198a1}.b{fill:#0d1117}}";

/// One picture in SVG, for light and dark, without anything from elsewhere. Arrows lead from a patch to what it needs;
/// declared edges are dashed, hints dotted, and what needs nothing is coloured.
pub fn svg(graph: &Graph) -> String {
    let stacks = graph.stacks();
    let (mut body, mut top, mut width) = (String::new(), MARGIN, 640.0_f64);
    for stack in stacks.iter().filter(|s| s.len() > 1) {
        let (text, w, h) = one(graph, stack, top);
        body.push_str(&text);
        top += h + 2.0 * MARGIN;
        width = width.max(w + 2.0 * MARGIN);
    }
    let alone: Vec<&str> = stacks.iter().filter(|s| s.len() == 1).map(|s| s[0]).collect();
    if !alone.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(
            body,
            "<text class=\"s\" x=\"{MARGIN}\" y=\"{:.0}\">{} that stand alone</text>",
            top + 12.0,
            alone.len()
        );
        top += ROW;
        let column = LONGEST as f64 * LETTER + 2.0 * MARGIN;
        for (at, name) in alone.iter().enumerate() {
            let (x, y) = (MARGIN + (at % COLUMNS) as f64 * column, top + (at / COLUMNS) as f64 * ROW * 0.75);
            let _ = write!(
                body,
                "<text x=\"{x:.0}\" y=\"{:.0}\"><title>{}</title>{}</text>",
                y + 12.0,
                escaped(name),
                escaped(&cut(name))
            );
        }
        top += alone.len().div_ceil(COLUMNS) as f64 * ROW * 0.75 + MARGIN;
        width = width.max(alone.len().min(COLUMNS) as f64 * column);
    }
    let title = format!("{} patches, {} edges", graph.patches().len(), graph.edges().len());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width:.0}\" height=\"{top:.0}\" \
        viewBox=\"0 0 {width:.0} {top:.0}\"><title>Which patch needs which: {title}</title><style>{STYLE}</style>\
        <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
        orient=\"auto\"><path class=\"a\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\
        <rect class=\"b\" width=\"100%\" height=\"100%\"/>{body}</svg>\n"
    )
}

/// A box of a picture.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What edges call it.
    pub id: String,
    /// What stands in it.
    pub label: String,
    /// What it says on a closer look.
    pub title: String,
    /// The class of its rectangle.
    pub class: &'static str,
    /// Where it leads, within the page.
    pub href: Option<String>,
}

/// An arrow of a picture.
#[derive(Debug, Clone)]
pub struct Arrow {
    /// The box that needs another.
    pub from: String,
    /// The one it needs, which stands on the left.
    pub to: String,
    /// Its class.
    pub class: &'static str,
    /// What it says on a closer look.
    pub title: String,
}

/// One stack, from `top` on: its text, its width, its height.
fn one(graph: &Graph, stack: &[&str], top: f64) -> (String, f64, f64) {
    let shape = |name: &&str| Shape {
        id: (*name).to_owned(),
        label: (*name).to_owned(),
        title: (*name).to_owned(),
        class: if graph.needs(name).is_empty() { "r" } else { "n" },
        href: None,
    };
    let shapes: Vec<Shape> = stack.iter().map(shape).collect();
    let mut edges: Vec<(String, String, &'static str, String)> = Vec::new();
    let mut join = |patch: &str, needs: &str, class: &'static str, why: String| {
        if !edges.iter().any(|(p, n, _, _)| p == patch && n == needs) {
            edges.push((patch.to_owned(), needs.to_owned(), class, why));
        }
    };
    for edge in graph.edges().iter().filter(|e| stack.contains(&e.patch.as_str())) {
        let (class, why) = match &edge.reason {
            Reason::Textual { files } => ("e", files.join(", ")),
            Reason::DependsOn => ("e d", "Depends-On".to_owned()),
            Reason::Group { name } => ("e d", format!("group {name}")),
        };
        join(&edge.patch, &edge.needs, class, why);
    }
    for hint in graph.hints().iter().filter(|h| stack.contains(&h.patch.as_str())) {
        if stack.contains(&hint.needs.as_str()) {
            join(&hint.patch, &hint.needs, "e h", format!("a hint: {}", hint.symbols.join(", ")));
        }
    }
    let arrow = |(from, to, class, why): (String, String, &'static str, String)| {
        let title = format!("{from} needs {to}: {why}");
        Arrow { from, to, class, title }
    };
    let arrows: Vec<Arrow> = edges.into_iter().map(arrow).collect();
    laid_out(&shapes, &arrows, top)
}

/// Boxes and arrows laid out from left to right, from `top` on: SVG's elements, their width, their height.
pub fn laid_out(shapes: &[Shape], arrows: &[Arrow], top: f64) -> (String, f64, f64) {
    let options = GraphOptions { directed: true, multigraph: false, compound: false };
    let mut plan: dagre::graph::Graph<NodeLabel, EdgeLabel> = dagre::graph::Graph::with_options(options);
    for shape in shapes {
        let width = cut(&shape.label).chars().count() as f64 * LETTER + 16.0;
        let label = NodeLabel { width, height: ROW, ..NodeLabel::default() };
        plan.set_node(shape.id.as_str(), Some(label));
    }
    for arrow in arrows {
        // What is needed stands on the left.
        plan.set_edge(arrow.to.as_str(), arrow.from.as_str(), Some(EdgeLabel::default()), None);
    }
    let options = LayoutOptions {
        rankdir: RankDir::LR,
        nodesep: 8.0,
        ranksep: 48.0,
        edgesep: 6.0,
        ..LayoutOptions::default()
    };
    layout(&mut plan, Some(options));
    let (mut out, mut width, mut height) = (String::new(), 0.0_f64, 0.0_f64);
    for arrow in arrows {
        let Some(edge) = plan.edge(&arrow.to, &arrow.from, None) else { continue };
        let points = edge.points.iter().rev().map(|p| (p.x + MARGIN, p.y + top));
        let path: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = write!(
            out,
            "<path class=\"{}\" d=\"M{}\"><title>{}</title></path>",
            arrow.class,
            path.join("L"),
            escaped(&arrow.title)
        );
    }
    for shape in shapes {
        let Some((node, x, y)) = plan.node(&shape.id).and_then(|n| Some((n, n.x?, n.y?))) else { continue };
        let (left, upper) = (x - node.width / 2.0 + MARGIN, y - node.height / 2.0 + top);
        width = width.max(x + node.width / 2.0);
        height = height.max(y + node.height / 2.0);
        let (open, close) = match &shape.href {
            Some(href) => (format!("<a href=\"{}\">", escaped(href)), "</a>"),
            None => ("<g>".to_owned(), "</g>"),
        };
        let _ = write!(
            out,
            "{open}<title>{}</title><rect class=\"{}\" rx=\"5\" x=\"{left:.1}\" y=\"{upper:.1}\" width=\"{:.1}\" \
            height=\"{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>{close}",
            escaped(&shape.title),
            shape.class,
            node.width,
            node.height,
            left + 8.0,
            upper + 17.0,
            escaped(&cut(&shape.label))
        );
    }
    (out, width, height)
}

fn cut(name: &str) -> String {
    match name.chars().count() > LONGEST {
        true => name.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// Text as XML has it: a name is data.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no other control characters.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
