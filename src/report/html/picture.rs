//! The graph as a page shows it: one picture a stack, in which patches that fare alike and hang together simply are
//! one box. What is in trouble, and what it hangs on, is always a box of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::graph::{Arrow, Reason, Shape, laid_out, stacks};
use crate::report::model::{Patch, Project};
use crate::report::words::count;
use crate::workspace::Outcome;

/// The graph of a project.
pub struct Graph {
    /// The stacks of more than one patch, those in trouble first.
    pub stacks: Vec<Stack>,
    /// The places of the patches that stand alone.
    pub alone: Vec<usize>,
    /// All patches, a small square each, stack by stack.
    pub map: String,
}

/// One stack.
pub struct Stack {
    /// Its patches' places, in the queue's order.
    pub patches: Vec<usize>,
    /// How many of them are left out of the build.
    pub out: usize,
    /// The picture.
    pub svg: String,
    /// Boxes in it that stand for several patches.
    pub collapsed: usize,
    /// Is it shown at once?
    pub open: bool,
}

/// Runs and fans of so many patches become one box.
const ALIKE: usize = 3;
/// A stack of no more patches is shown as it is.
const SMALL: usize = 12;
/// A picture with more boxes is only shown when it is asked for.
const LARGE: usize = 60;
/// The class by which a patch is coloured.
pub fn class(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "n-new",
        Some(Outcome::Clean) => "n-clean",
        Some(Outcome::Refreshed | Outcome::Resolved) => "n-made",
        Some(Outcome::Landed) => "n-landed",
        Some(Outcome::Evolved | Outcome::Conflict | Outcome::Broken) => "n-bad",
        Some(Outcome::Blocked) => "n-blocked",
        Some(Outcome::Held) => "n-held",
    }
}

/// The graph of the `n`th project of a page.
pub fn graph(project: &Project, n: usize) -> Graph {
    let patches = &project.patches;
    let names: Vec<&str> = patches.iter().map(|p| p.name.as_str()).collect();
    let (mut stacked, mut alone) = (Vec::new(), Vec::new());
    for stack in stacks(&names, &project.edges) {
        match stack[..] {
            [one] => alone.push(one),
            _ => stacked.push(stack),
        }
    }
    let out = |stack: &[usize]| stack.iter().filter(|at| is_out(&patches[**at])).count();
    // The largest trouble first, then the largest stack; else the queue's order.
    stacked.sort_by_key(|stack| std::cmp::Reverse((out(stack), stack.len())));
    let map = map(patches, &stacked, &alone, n);
    let few = patches.len() <= 2 * SMALL;
    let stack = |found: Vec<usize>| {
        let (svg, boxes, collapsed) = picture(project, &found, n);
        let out = out(&found);
        Stack { out, svg, collapsed, open: (few || out > 0) && boxes <= LARGE, patches: found }
    };
    Graph { stacks: stacked.into_iter().map(stack).collect(), alone, map }
}

fn is_out(patch: &Patch) -> bool {
    patch.outcome.is_some_and(|o| o.left_out() && o != Outcome::Held)
}

/// All patches as squares, each stack by itself.
fn map(patches: &[Patch], stacked: &[Vec<usize>], alone: &[usize], n: usize) -> String {
    let square = |place: &usize| {
        let patch = &patches[*place];
        let title = escaped(&format!("{}: {}", patch.name, patch.outcome.map_or("new", Outcome::word)));
        let class = class(patch.outcome);
        // There are rows and lists for the keyboard: a stop at each square would only be in the way.
        format!(
            "<a class=\"{class}\" href=\"#p{n}-{place}\" tabindex=\"-1\" title=\"{title}\" aria-label=\"{title}\"></a>"
        )
    };
    let group = |group: &[usize]| format!("<span>{}</span>", group.iter().map(square).collect::<String>());
    let groups = stacked.iter().map(Vec::as_slice).chain((!alone.is_empty()).then_some(alone));
    let label = format!("The queue, {}, stack by stack", count(patches.len(), "patch", "patches"));
    format!(
        "<div class=\"map\" role=\"group\" aria-label=\"{label}\">{}</div>",
        groups.map(group).collect::<String>()
    )
}

/// A box in the making: the patches in it, and what they need beside each other.
struct Group {
    patches: Vec<usize>,
    class: &'static str,
    /// May it be one with others?
    quiet: bool,
}

/// One stack's picture, how many boxes it has, and how many of them stand for several patches.
fn picture(project: &Project, stack: &[usize], n: usize) -> (String, usize, usize) {
    let patches = &project.patches;
    let places: HashMap<&str, usize> = stack.iter().map(|at| (patches[*at].name.as_str(), *at)).collect();
    let mut reasons: BTreeMap<(usize, usize), (&'static str, String)> = BTreeMap::new();
    for edge in &project.edges {
        let (Some(from), Some(to)) = (places.get(edge.patch.as_str()), places.get(edge.needs.as_str()))
        else {
            continue;
        };
        let (class, why) = match &edge.reason {
            Reason::Textual { files } => ("e", files.join(", ")),
            Reason::DependsOn => ("e d", "Depends-On".to_owned()),
            Reason::Group { name } => ("e d", format!("group {name}")),
        };
        reasons.entry((*from, *to)).or_insert((class, why));
    }
    let touches_trouble: BTreeSet<usize> = reasons
        .keys()
        .filter(|(from, to)| is_out(&patches[*from]) || is_out(&patches[*to]))
        .flat_map(|(from, to)| [*from, *to])
        .collect();
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for at in stack {
        let class = class(patches[*at].outcome);
        let quiet = matches!(class, "n-clean" | "n-made") && !touches_trouble.contains(at);
        groups.insert(*at, Group { patches: vec![*at], class, quiet });
    }
    let mut edges: BTreeSet<(usize, usize)> = reasons.keys().copied().collect();
    if stack.len() > SMALL {
        while fold_runs(&mut groups, &mut edges) || fold_fans(&mut groups, &mut edges) {}
    }
    let shape = |(id, group): (&usize, &Group)| {
        let first = &patches[group.patches[0]];
        let listed: Vec<&str> = group.patches.iter().map(|at| patches[*at].name.as_str()).collect();
        let (label, title) = match &listed[..] {
            [_] => {
                let word = first.outcome.map_or("new", Outcome::word);
                (first.name.clone(), format!("{}: {word}", first.name))
            }
            [_, rest @ ..] => (
                format!("{} patches: {} …", rest.len() + 1, short_of(&first.name)),
                listed.join("\n").replace('\n', ", "),
            ),
            [] => (String::new(), String::new()),
        };
        let href = Some(format!("#p{n}-{}", group.patches[0]));
        Shape { id: id.to_string(), label, title, class: group.class, href }
    };
    let shapes: Vec<Shape> = groups.iter().map(shape).collect();
    let arrow = |(from, to): &(usize, usize)| {
        let (class, why) = reasons.get(&(*from, *to)).cloned().unwrap_or(("e", String::new()));
        let (a, b) = (&patches[*from].name, &patches[*to].name);
        let title = if why.is_empty() { format!("{a} needs {b}") } else { format!("{a} needs {b}: {why}") };
        Arrow { from: from.to_string(), to: to.to_string(), class, title }
    };
    let arrows: Vec<Arrow> = edges.iter().map(arrow).collect();
    let (body, width, height) = laid_out(&shapes, &arrows, 8.0);
    let (width, height) = (width + 32.0, height + 16.0);
    let label = format!("A stack of {} patches: arrows lead from a patch to what it needs", stack.len());
    let svg = format!(
        "<svg class=\"stack\" role=\"group\" aria-label=\"{label}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
        width=\"{width:.0}\" height=\"{height:.0}\">{body}</svg>"
    );
    let collapsed = groups.values().filter(|g| g.patches.len() > 1).count();
    (svg, groups.len(), collapsed)
}

/// A name's beginning, for a box that stands for several.
fn short_of(name: &str) -> String {
    name.chars().take(24).collect()
}

/// The boxes that each box needs, and those that need it.
fn neighbours(edges: &BTreeSet<(usize, usize)>) -> (HashMap<usize, Vec<usize>>, HashMap<usize, Vec<usize>>) {
    let (mut needs, mut needed): (HashMap<usize, Vec<usize>>, HashMap<usize, Vec<usize>>) =
        Default::default();
    for (from, to) in edges {
        needs.entry(*from).or_default().push(*to);
        needed.entry(*to).or_default().push(*from);
    }
    (needs, needed)
}

/// Makes one box of each run in which every box needs the one before alone, and is needed by none but the next.
fn fold_runs(groups: &mut BTreeMap<usize, Group>, edges: &mut BTreeSet<(usize, usize)>) -> bool {
    let (needs, needed) = neighbours(edges);
    let follows = |at: usize| -> Option<usize> {
        let [next] = needed.get(&at).map_or(&[][..], Vec::as_slice) else { return None };
        let [_] = needs.get(next).map_or(&[][..], Vec::as_slice) else { return None };
        let alike = groups[next].quiet && groups[&at].quiet;
        alike.then_some(*next)
    };
    let mut runs = Vec::new();
    let followers: BTreeSet<usize> = groups.keys().filter_map(|at| follows(*at)).collect();
    for start in groups.keys().filter(|at| !followers.contains(at)) {
        let mut run = vec![*start];
        while let Some(next) = run.last().and_then(|at| follows(*at)) {
            run.push(next);
        }
        if run.len() >= ALIKE || run.len() > 1 && run.iter().any(|at| groups[at].patches.len() > 1) {
            runs.push(run);
        }
    }
    let changed = !runs.is_empty();
    runs.iter().for_each(|run| fold(groups, edges, run));
    changed
}

/// Makes one box of boxes that need the same, and that nothing needs.
fn fold_fans(groups: &mut BTreeMap<usize, Group>, edges: &mut BTreeSet<(usize, usize)>) -> bool {
    let (needs, needed) = neighbours(edges);
    let mut fans: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (at, _) in groups.iter().filter(|(at, g)| g.quiet && !needed.contains_key(at)) {
        if let Some(needs) = needs.get(at) {
            fans.entry(needs.clone()).or_default().push(*at);
        }
    }
    let fans: Vec<Vec<usize>> = fans.into_values().filter(|fan| fan.len() >= ALIKE).collect();
    fans.iter().for_each(|fan| fold(groups, edges, fan));
    !fans.is_empty()
}

/// Makes one box of several; it goes by the first one's place.
fn fold(groups: &mut BTreeMap<usize, Group>, edges: &mut BTreeSet<(usize, usize)>, all: &[usize]) {
    let Some((first, rest)) = all.split_first() else { return };
    let mut patches = Vec::new();
    for at in all {
        patches.extend(groups.get_mut(at).map(|g| std::mem::take(&mut g.patches)).unwrap_or_default());
    }
    patches.sort_unstable();
    for at in rest {
        groups.remove(at);
    }
    if let Some(group) = groups.get_mut(first) {
        group.patches = patches;
    }
    let one = |at: usize| if rest.contains(&at) { *first } else { at };
    *edges = edges.iter().map(|(a, b)| (one(*a), one(*b))).filter(|(a, b)| a != b).collect();
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Edge;

    fn project(patches: &[(&str, Outcome)], edges: &[(&str, &str)]) -> Project {
        let mut project = Project::empty("p");
        for (name, outcome) in patches {
            project.patches.push(Patch::plain(name, Some(*outcome)));
        }
        let edge = |(patch, needs): &(&str, &str)| Edge {
            patch: (*patch).to_owned(),
            needs: (*needs).to_owned(),
            reason: Reason::DependsOn,
        };
        project.edges = edges.iter().map(edge).collect();
        project
    }

    #[test]
    fn a_long_run_of_quiet_patches_is_one_box_and_trouble_stays_by_itself() {
        let names: Vec<String> = (0..20).map(|n| format!("patch-{n:02}")).collect();
        let outcome = |n: usize| if n == 19 { Outcome::Conflict } else { Outcome::Clean };
        let patches: Vec<(&str, Outcome)> =
            names.iter().enumerate().map(|(n, name)| (name.as_str(), outcome(n))).collect();
        let edges: Vec<(&str, &str)> = names.windows(2).map(|w| (w[1].as_str(), w[0].as_str())).collect();
        let found = graph(&project(&patches, &edges), 0);
        let [stack] = &found.stacks[..] else { panic!("one stack") };
        assert_eq!((stack.patches.len(), stack.out, stack.collapsed), (20, 1, 1));
        assert!(stack.svg.contains("18 patches: patch-00 …"), "{}", stack.svg);
        // The one in trouble, and the one that it hangs on.
        assert!(stack.svg.contains("#p0-18") && stack.svg.contains("#p0-19"));
    }

    #[test]
    fn what_needs_the_same_and_is_needed_by_none_is_one_box() {
        let names: Vec<String> = (0..15).map(|n| format!("patch-{n:02}")).collect();
        let patches: Vec<(&str, Outcome)> = names.iter().map(|n| (n.as_str(), Outcome::Clean)).collect();
        let edges: Vec<(&str, &str)> = names[1..].iter().map(|n| (n.as_str(), "patch-00")).collect();
        let found = graph(&project(&patches, &edges), 0);
        assert!(
            found.stacks[0].svg.contains("15 patches: patch-00 …")
                || found.stacks[0].svg.contains("14 patches")
        );
        assert!(found.alone.is_empty());
    }

    #[test]
    fn a_name_is_text_in_the_picture() {
        let evil = "\"><script>alert(1)</script>";
        let found = graph(&project(&[(evil, Outcome::Clean), ("b", Outcome::Clean)], &[("b", evil)]), 0);
        assert!(!found.stacks[0].svg.contains("<script") && !found.map.contains("<script"));
    }
}
