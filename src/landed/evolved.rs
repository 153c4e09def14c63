//! A patch that conflicts with its own better self: an upstream commit that is a revised version of it.

use std::collections::{BTreeSet, HashMap};

use bstr::{BStr, BString, ByteSlice};

use crate::queue::{Content, FileChange, LineKind, Patch, parse_diff};
use crate::store::{Odb, Repo, StoreError};
use crate::trunk::{Range, Upstream, delta};
use crate::workspace::Evolved;

/// In per cent: so many of both diffs' changed lines are the same in a revised version.
const ENOUGH: u8 = 60;
/// The same, where both have one subject.
const ENOUGH_BY_SUBJECT: u8 = 20;

/// For each patch the commit of the range that is likest to it, if one is a revised version of it.
pub fn evolved(
    repo: &Repo,
    odb: &Odb,
    patches: &[&Patch],
    range: &Range,
) -> Result<Vec<Option<Evolved>>, StoreError> {
    let mut best: Vec<Option<(u8, &Upstream)>> = vec![None; patches.len()];
    let paths_of = |patch: &Patch| -> BTreeSet<BString> {
        patch.changes.iter().flat_map(|c| [&c.old_path, &c.new_path]).flatten().cloned().collect()
    };
    let paths: Vec<BTreeSet<BString>> = patches.iter().map(|p| paths_of(p)).collect();
    let wanted: BTreeSet<BString> = paths.iter().flatten().cloned().collect();
    if wanted.is_empty() {
        return Ok(vec![None; patches.len()]);
    }
    let reverted = range.reverted();
    let (mut candidates, mut pairs) = (Vec::new(), Vec::new());
    for upstream in range.commits.iter().filter(|u| u.commit.parents.len() == 1) {
        let (before, after) = (upstream.before(odb)?, upstream.commit.tree);
        let touched = delta::touched(odb, &before, &after, &wanted)?;
        if !touched.is_empty() && !reverted.contains(&upstream.id) {
            candidates.push((upstream, touched));
            pairs.push((before, after));
        }
    }
    let ours: Vec<_> = patches.iter().map(|p| (changed(&p.changes), plain(&p.subject()))).collect();
    for ((upstream, touched), diff) in candidates.iter().zip(repo.diffs(&pairs, 1)?) {
        let Ok(changes) = parse_diff(b"upstream", &diff, 1, 1) else { continue };
        let theirs = changed(&changes);
        let title = plain(&upstream.commit.subject());
        for (at, (ours, subject)) in ours.iter().enumerate() {
            if !touched.iter().any(|path| paths[at].contains(path)) {
                continue;
            }
            let like = likeness(ours, &theirs);
            let same_subject = title == *subject && !subject.is_empty();
            let enough = like >= ENOUGH || same_subject && like >= ENOUGH_BY_SUBJECT;
            if enough && best[at].is_none_or(|(known, _)| like > known) {
                best[at] = Some((like, upstream));
            }
        }
    }
    let told = |(likeness, upstream): (u8, &Upstream)| {
        let author = &upstream.commit.author;
        Evolved {
            commit: upstream.id.to_string(),
            subject: upstream.commit.subject(),
            author: author.name.to_string(),
            date: jiff::Timestamp::from_second(author.seconds).unwrap_or_default().to_string(),
            likeness,
        }
    };
    Ok(best.into_iter().map(|found| found.map(told)).collect())
}

/// How often each line is added or removed; blank lines and those of brackets alone are left out.
fn changed(changes: &[FileChange]) -> HashMap<(LineKind, &BStr), u32> {
    let mut all = HashMap::new();
    for change in changes {
        let Content::Text(hunks) = &change.content else { continue };
        for line in hunks.iter().flat_map(|h| &h.lines).filter(|l| l.kind != LineKind::Context) {
            let text = line.bytes.trim().as_bstr();
            if text.iter().any(u8::is_ascii_alphanumeric) {
                *all.entry((line.kind, text)).or_insert(0) += 1;
            }
        }
    }
    all
}

/// What both have of what either has, in per cent. Something added must be the same: all that touch one line remove
/// the same.
fn likeness(a: &HashMap<(LineKind, &BStr), u32>, b: &HashMap<(LineKind, &BStr), u32>) -> u8 {
    let total = |m: &HashMap<_, u32>| m.values().sum::<u32>();
    let shared = |kind: Option<LineKind>| -> u32 {
        let lines = a.iter().filter(|((k, _), _)| kind.is_none_or(|kind| kind == *k));
        lines.map(|(line, n)| b.get(line).copied().unwrap_or(0).min(*n)).sum()
    };
    let adds = a.keys().any(|(kind, _)| *kind == LineKind::Add);
    let all = total(a) + total(b);
    if all == 0 || adds && shared(Some(LineKind::Add)) == 0 {
        return 0;
    }
    u8::try_from(200 * shared(None) / all).unwrap_or(100)
}

/// A subject without the marks that carrying puts before it.
fn plain(subject: &str) -> String {
    let mut text = subject.trim();
    loop {
        let before = text;
        if let Some(rest) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            text = rest.1.trim_start();
        }
        if let Some(rest) = text.strip_prefix("UPSTREAM:").and_then(|t| t.split_once(':')) {
            text = rest.1.trim_start();
        }
        if text == before {
            return text.trim_end_matches('.').to_lowercase();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(body: &str) -> Vec<FileChange> {
        let add = body.lines().filter(|l| !l.starts_with('-')).count();
        let remove = body.lines().filter(|l| !l.starts_with('+')).count();
        let diff = format!("--- a/f\n+++ b/f\n@@ -1,{remove} +1,{add} @@\n{body}");
        parse_diff(b"x", diff.as_bytes(), 1, 1).expect("it is well formed")
    }

    #[test]
    fn two_changes_of_one_line_are_not_alike_for_that() {
        let (a, b) = (changes("-x = 1\n+x = 2\n"), changes("-x = 1\n+x = 3\n"));
        assert_eq!(likeness(&changed(&a), &changed(&b)), 0);
        let (a, b) = (changes("-x\n+y\n+z\n"), changes("-x\n+y\n+zz\n"));
        assert_eq!(likeness(&changed(&a), &changed(&b)), 66);
        assert_eq!(likeness(&changed(&a), &changed(&a)), 100);
    }

    #[test]
    fn the_marks_of_carrying_are_no_part_of_a_subject() {
        assert_eq!(plain("UPSTREAM: <carry>: Fix it."), "fix it");
        assert_eq!(plain("[PATCH] UPSTREAM: 123: [x] Fix it"), "fix it");
    }
}
