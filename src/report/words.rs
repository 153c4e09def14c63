//! How values are said, whatever the form.

use std::time::Duration;

use jiff::Timestamp;

use super::model::{Build, Change, Project, State};
use crate::stage::gate::length;
use crate::store::git::without_secrets;
use crate::workspace::Outcome;

/// Text from a patch, a commit or a server, with nothing in it that a terminal would obey, or that is not seen.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that turn the direction of text, or are not seen at all.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The first twelve digits of an id.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The day of a moment in RFC 3339.
pub fn day(moment: &str) -> &str {
    moment.get(..10).unwrap_or("-")
}

/// A moment in RFC 3339, to the minute.
pub fn minute(moment: &str) -> String {
    moment.get(..16).map_or_else(|| "-".to_owned(), |text| format!("{} UTC", text.replace('T', " ")))
}

/// An owner without the mail address.
pub fn person(owner: &str) -> &str {
    let name = owner.split('<').next().unwrap_or_default().trim();
    if name.is_empty() { owner } else { name }
}

/// `one patch`, `3 patches`.
pub fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("one {one}") } else { format!("{n} {many}") }
}

/// How long before `now` a moment was: `3 h`; nothing if it cannot be read.
pub fn ago(moment: &str, now: &str) -> Option<String> {
    let (moment, now): (Timestamp, Timestamp) = (moment.parse().ok()?, now.parse().ok()?);
    let time = Duration::try_from(now.duration_since(moment)).unwrap_or_default();
    // The largest part is enough.
    Some(length(time).split(' ').take(2).collect::<Vec<_>>().join(" "))
}

/// The days from one moment to another; nothing if one cannot be read.
pub fn days(from: &str, to: &str) -> Option<f64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs_f64() / 86_400.0)
}

/// When the last run was, and what was wrong with it.
pub fn last_run(p: &Project, made: &str) -> String {
    let when = match p.last_run.as_deref().and_then(|at| ago(at, made)) {
        Some(time) => format!("{time} ago"),
        None if p.state == State::Unreadable => "-".to_owned(),
        None => "never".to_owned(),
    };
    match &p.last_trouble {
        Some(trouble) => format!("{when}, {}", clean(trouble)),
        None => when,
    }
}

/// A word of a command line as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Where a person can look at a commit, on forges whose addresses are known.
pub fn commit_link(upstream: &str, commit: &str) -> Option<String> {
    let address = without_secrets(upstream);
    let address = address.trim_end_matches('/').trim_end_matches(".git");
    let known =
        ["https://github.com/", "https://gitlab.com/", "https://opendev.org/", "https://codeberg.org/"];
    known.iter().any(|k| address.starts_with(k)).then(|| format!("{}/commit/{commit}", clean(address)))
}

/// A project's state in a few words.
pub fn state(project: &Project) -> &'static str {
    match project.state {
        State::Deployable => "deployable",
        State::Behind => "the newest trunk is not built yet",
        State::Refused => "nothing was published for the newest trunk",
        State::Forbidden => "the last build may not go out",
        State::NoBuild => "no build yet",
        State::Unreadable => "cannot be read",
    }
}

/// A build by its id and its trunk: `0123456789ab on v2.50.0-12-gabc of 2026-09-25`.
pub fn build(build: &Build) -> String {
    let trunk = build.describe.as_deref().unwrap_or_else(|| short(&build.trunk));
    format!("{} on {} of {}", build.id, clean(trunk), day(&build.trunk_date))
}

/// `14 patches: 11 clean, 1 conflict, …`.
pub fn totals(project: &Project) -> String {
    let all = count(project.patches.len(), "patch", "patches");
    let mut parts: Vec<String> = Outcome::ALL
        .iter()
        .filter(|o| project.count(**o) > 0)
        .map(|o| format!("{} {}", project.count(*o), o.word()))
        .collect();
    let new = project.patches.iter().filter(|p| p.outcome.is_none()).count();
    if new > 0 {
        parts.push(format!("{new} not replayed yet"));
    }
    if parts.is_empty() { all } else { format!("{all}: {}", parts.join(", ")) }
}

/// `conflict, was clean`.
pub fn change(change: &Change) -> String {
    let word = |o: Option<Outcome>| o.map_or("not in the queue", Outcome::word);
    match change.was == change.is {
        true => word(change.is).to_owned(),
        false => format!("{}, was {}", word(change.is), word(change.was)),
    }
}

/// A number of days, as people say it.
pub fn in_days(days: f64) -> String {
    match days {
        d if d < 0.05 => "at once".to_owned(),
        d if d < 10.0 => format!("{d:.1} d"),
        d => format!("{d:.0} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(clean("a\x1b[31mb\u{202e}c\r\n"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_word_of_a_command_stays_one_word() {
        assert_eq!(quoted("fix-quota_1.2"), "fix-quota_1.2");
        assert_eq!(quoted("a b'; rm -rf ~"), r"'a b'\''; rm -rf ~'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_commit_is_linked_where_its_forge_is_known() {
        let link = commit_link("https://github.com/a/b.git", "abc");
        assert_eq!(link.as_deref(), Some("https://github.com/a/b/commit/abc"));
        assert_eq!(commit_link("https://token@github.com/a/b.git", "abc"), None);
        assert_eq!(commit_link("https://example.org/a", "abc"), None);
        assert_eq!(commit_link("javascript:alert(1)", "abc"), None);
    }

    #[test]
    fn moments_are_told_from_each_other() {
        assert_eq!(ago("2026-09-25T00:00:00Z", "2026-09-25T03:10:00Z").as_deref(), Some("3 h"));
        assert_eq!(days("2026-09-25T00:00:00Z", "2026-09-27T12:00:00+00:00"), Some(2.5));
        assert_eq!(days("yesterday", "2026-09-27T12:00:00Z"), None);
    }
}
