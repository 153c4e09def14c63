//! The lock's text in pieces. A parser that is given all of it at once keeps a hundred bytes for each word of a thousand
//! patches until it has read the last; of some patches at a time it has no more than those.
//!
//! A piece ends before the header of a patch or of a project. Where that cut is wrong, as in a string of many lines, the
//! piece before it is no TOML; and where pieces do not say what the whole would, nothing is read of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::evidence::LandedLock;
use super::lockfile::{Lock, PatchLock, ProjectLock};

/// So many patches are read at once.
const AT_ONCE: usize = 64;

/// A piece that begins a project, or the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Beginning {
    version: Option<u32>,
    #[serde(default, rename = "project")]
    projects: BTreeMap<String, ProjectLock>,
}

/// A piece that begins with a patch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct More {
    #[serde(rename = "project")]
    projects: BTreeMap<String, Lists>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    #[serde(default, rename = "patch")]
    patches: Vec<PatchLock>,
    #[serde(default, rename = "landed")]
    landed: Vec<LandedLock>,
}

/// What the text says, if it can be read in pieces.
pub(super) fn parse(text: &str) -> Option<Lock> {
    let mut pieces = pieces(text).into_iter();
    let Beginning { version, mut projects } = toml::from_str(pieces.next()?).ok()?;
    for piece in pieces {
        if piece.starts_with("[[") {
            let More { projects: more } = toml::from_str(piece).ok()?;
            for (name, Lists { patches, landed }) in more {
                let project = projects.get_mut(&name)?;
                project.patches.extend(patches);
                project.landed.extend(landed);
            }
        } else {
            let Beginning { projects: more, .. } = toml::from_str(piece).ok()?;
            for (name, project) in more {
                // Twice is an error, and told by the whole.
                if projects.insert(name, project).is_some() {
                    return None;
                }
            }
        }
    }
    Some(Lock { version: version?, projects })
}

fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut from, mut at, mut patches) = (Vec::new(), 0, 0, 0);
    for line in text.split_inclusive('\n') {
        let begins_patch = line.starts_with("[[project.") && line.trim_end().ends_with(".patch]]");
        let begins_project = line.starts_with("[project.") && !line["[project.".len()..].contains('.');
        if begins_project && at > 0 && patches > 0 || begins_patch && patches == AT_ONCE {
            pieces.push(&text[from..at]);
            (from, patches) = (at, 0);
        }
        patches += usize::from(begins_patch);
        at += line.len();
    }
    pieces.push(&text[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::workspace::{Bearing, Culprit, Good, Outcome};

    fn patch(at: usize, seed: u64) -> PatchLock {
        let word = |n: u64| {
            format!(
                "{:x} é \"{}\"",
                seed.wrapping_mul(n + 1),
                ["[[project.p.patch]]", "a\nb", "\\"][n as usize % 3]
            )
        };
        let is = |n: u64| seed >> n & 1 == 1;
        PatchLock {
            name: format!("{at}-{}", word(0)),
            digest: word(1),
            tree: is(0).then(|| word(2)),
            outcome: if is(1) { Outcome::Clean } else { Outcome::Conflict },
            since: if is(2) { "old".into() } else { "new".into() },
            since_date: "2023".into(),
            held_since: is(3).then(|| word(3)),
            good: is(4).then(|| Good { base: word(4), before: word(5), after: word(6) }.into()),
            culprit: is(5).then(|| {
                let mended = (0..seed % 3).map(word).collect();
                let (commit, subject, author, mail) = (word(7), word(8), word(9), word(10));
                Culprit { commit, subject, author, mail, date: word(11), merge: None, mended }.into()
            }),
            evolved: None,
            proposed: Vec::new(),
            fixes: if is(6) {
                vec![Bearing { commit: word(12), subject: word(13), author: word(14), names: word(15) }]
            } else {
                Vec::new()
            },
        }
    }

    prop_compose! {
        fn lock()(projects in proptest::collection::vec((0usize..150, any::<u64>()), 1..4)) -> Lock {
            let mut lock = Lock::default();
            for (number, (count, seed)) in projects.into_iter().enumerate() {
                let seeds = (0..count).map(|at| seed.rotate_left(at as u32 % 64) ^ at as u64);
                let patches = seeds.enumerate().map(|(at, seed)| patch(at, seed)).collect();
                let base = format!("{seed}");
                lock.projects.insert(["a", "p", "q.r"][number].into(), ProjectLock { base, patches, ..ProjectLock::default() });
            }
            lock
        }
    }

    proptest! {
        // A case is some hundred patches.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pieces_say_what_the_whole_says(lock in lock()) {
            let text = lock.clone().render().expect("it can be written");
            let whole: Lock = toml::from_str(&text).expect("it is right");
            prop_assert_eq!(pieces(&text).concat(), text.clone());
            // A project whose name has a dot is read with the whole.
            let is_dotted = lock.projects.contains_key("q.r");
            prop_assert!(is_dotted || pieces(&text).len() >= lock.projects.values().map(|p| p.patches.len() / AT_ONCE).sum());
            match parse(&text) {
                Some(read) => prop_assert_eq!(read, whole),
                None => prop_assert!(is_dotted),
            }
        }

        #[test]
        fn of_damaged_pieces_nothing_is_read_but_what_the_whole_says(
            lock in lock(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4), 1..4),
        ) {
            let text = lock.render().expect("it can be written");
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            for (at, other, kind) in damage {
                let (at, other) = (at.index(lines.len()), other.index(lines.len()));
                match kind {
                    0 => drop(lines.remove(at)),
                    1 => lines.insert(other, lines[at]),
                    2 => lines.swap(at, other),
                    _ => lines.insert(at, "x = \"\"\"\n"),
                }
                if lines.is_empty() {
                    break;
                }
            }
            let text = lines.concat();
            if let Some(read) = parse(&text) {
                prop_assert_eq!(Some(read), toml::from_str::<Lock>(&text).ok());
            }
        }
    }

    #[test]
    fn a_project_that_is_there_twice_is_told_by_the_whole() {
        let patches = "\n[[project.p.patch]]\nname = \"n\"\ndigest = \"d\"\noutcome = \"clean\"\n".repeat(2);
        let project = format!("\n[project.p]\nbase = \"b\"\nsince = \"s\"\nsince_date = \"d\"\n{patches}");
        let once = format!("version = 2\n{project}");
        assert!(parse(&once).is_some());
        let twice = format!("{once}{project}");
        assert!(pieces(&twice).len() == 2 && parse(&twice).is_none());
        assert!(Lock::parse("carry.lock", &twice).is_err());
    }

    #[test]
    fn a_cut_in_a_string_of_many_lines_says_nothing_else() {
        let patches =
            |n: usize| "\n[[project.p.patch]]\nname = \"n\"\ndigest = \"d\"\noutcome = \"clean\"\n".repeat(n);
        let inner = patches(1).replace('"', "'");
        for count in [AT_ONCE - 1, AT_ONCE, AT_ONCE + 1] {
            let text = format!(
                "version = 2\n\n[project.p]\nbase = \"b\"\n{}since = \"\"\"{inner}\"\"\"\n{}",
                patches(count),
                patches(2)
            );
            let whole: Lock = toml::from_str(&text).expect("it is right");
            assert!(parse(&text).is_none_or(|read| read == whole), "{count}");
        }
    }
}
