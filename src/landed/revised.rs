//! An upstream commit that is a revised version of a patch: most of the changed lines are the same, or fewer, and who
//! wrote it and its subject as well.

use std::collections::BTreeMap;

use super::lines::Lines;
use super::near::Near;
use super::{Candidate, Evidence, Rung, told};

/// In per cent: so many of both diffs' changed lines are the same in a revised version.
const ENOUGH: u8 = 60;
/// The same, where both have one subject.
const ENOUGH_BY_SUBJECT: u8 = 20;
/// The same, where both have one subject and one author.
const ENOUGH_BY_BOTH: u8 = 10;
/// So many changed lines must be the same where no subject speaks for it: a change of one line has many likes.
const LEAST: u32 = 3;

/// For each patch the commit that is likest to it, if one is a revised version of it.
pub(super) fn find(
    patches: &[&Candidate<'_>],
    near: &[Near<'_>],
    own: &[Lines],
) -> BTreeMap<usize, Evidence> {
    let mut best: BTreeMap<usize, (u8, Evidence)> = BTreeMap::new();
    let subjects: Vec<String> = patches.iter().map(|p| plain(&p.subject)).collect();
    for upstream in near {
        let title = plain(&upstream.upstream.commit.subject());
        for at in &upstream.patches {
            let like = own[*at].likeness(&upstream.lines);
            if like == 0 || best.get(at).is_some_and(|(known, _)| like <= *known) {
                continue;
            }
            let subject = !title.is_empty() && title == subjects[*at];
            let author = patches[*at].mail == upstream.upstream.commit.author.email;
            let shared = own[*at].shared(&upstream.lines);
            let enough = match (subject, author) {
                (true, true) => ENOUGH_BY_BOTH,
                (true, false) => ENOUGH_BY_SUBJECT,
                _ => ENOUGH,
            };
            if like < enough || !subject && shared < LEAST {
                continue;
            }
            let same = match (subject, author) {
                (true, true) => "; subject and author are the same",
                (true, false) => "; the subject is the same",
                (false, true) => "; the author is the same",
                (false, false) => "",
            };
            let (ours, theirs) = (own[*at].total(), upstream.lines.total());
            let proof =
                format!("{shared} changed lines are the same, of {ours} here and {theirs} there{same}");
            let mut evidence = told(Rung::Revised, upstream.upstream, proof);
            evidence.likeness = Some(like);
            best.insert(*at, (like, evidence));
        }
    }
    best.into_iter().map(|(at, (_, evidence))| (at, evidence)).collect()
}

/// A subject without the marks that carrying puts before it.
pub(super) fn plain(subject: &str) -> String {
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

    #[test]
    fn the_marks_of_carrying_are_no_part_of_a_subject() {
        assert_eq!(plain("UPSTREAM: <carry>: Fix it."), "fix it");
        assert_eq!(plain("[PATCH] UPSTREAM: 123: [x] Fix it"), "fix it");
    }
}
