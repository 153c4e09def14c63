//! What feeds work upstream: what can be sent, what waits, what landed, what stays; by owner and by group. Plain values
//! in, one document out, as the report's other forms.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::markdown::{code, plain};
use super::words::{clean, count, in_days, minute, person};

/// The JSON form's version.
pub const VERSION: u32 = 1;

/// One project's.
#[derive(Debug, Clone, Serialize)]
pub struct Upstreaming {
    /// The form's version.
    pub version: u32,
    /// The project.
    pub project: String,
    /// When it was made, in RFC 3339.
    pub made: String,
    /// From when on what landed is told, in RFC 3339.
    pub since: String,
    /// How many patches are carried.
    pub carried: usize,
    /// For how many days those that landed in the last quarter had been in the queue, the median; none: none landed, or
    /// no build had them before.
    pub median_days: Option<f64>,
    /// For how many days what upstream merged in the last quarter had been under review, the median, by the forge's own
    /// dates; none: nothing was, or no forge is asked.
    pub review_days: Option<f64>,
    /// What there is, in the order in which it is told.
    pub sections: Vec<Section>,
    /// Whose patches they are.
    pub by_owner: Vec<Share>,
    /// The groups that headers name (`Carry-Group`).
    pub by_group: Vec<Share>,
}

/// One kind of patches.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// Its key: `ready`, `waiting`, `landed`, `look-at`, `stays`, `unowned`.
    pub key: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Its patches, what matters most first.
    pub rows: Vec<Row>,
}

/// A patch in it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// Its name.
    pub patch: String,
    /// Whose it is.
    pub owner: String,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is to be said of it.
    pub what: String,
    /// The command with which a person goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An owner's or a group's patches, by section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The owner, or the group.
    pub name: String,
    /// How many are in each section, by its key.
    pub counts: BTreeMap<&'static str, usize>,
}

/// The sections' patches counted by what `of` says of each; the most first. Somebody with two mail addresses is one.
pub fn shares(sections: &[Section], of: impl Fn(&Row) -> Option<String>) -> Vec<Share> {
    let mut all: BTreeMap<String, Share> = BTreeMap::new();
    for section in sections {
        for name in section.rows.iter().filter_map(&of) {
            let share = all
                .entry(person(&name).to_owned())
                .or_insert_with(|| Share { name, counts: BTreeMap::default() });
            *share.counts.entry(section.key).or_default() += 1;
        }
    }
    let mut all: Vec<Share> = all.into_values().collect();
    all.sort_by_key(|s| std::cmp::Reverse(s.counts.values().sum::<usize>()));
    all
}

impl Upstreaming {
    /// The sections that have something.
    pub fn told(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|s| !s.rows.is_empty())
    }

    /// The first sentence.
    pub fn summary(&self) -> String {
        let of = |key: &str| self.sections.iter().find(|s| s.key == key).map_or(0, |s| s.rows.len());
        let median = match self.median_days {
            Some(days) => {
                format!("; what landed last quarter had been carried for {} (median)", in_days(days))
            }
            None => String::new(),
        };
        let review = match self.review_days {
            Some(days) => {
                format!(
                    "; what upstream merged last quarter had been under review for {} (median)",
                    in_days(days)
                )
            }
            None => String::new(),
        };
        format!(
            "{}: {} ready to send, {} sent and waiting, {} landed since {}, {} to be looked at{median}{review}.",
            count(self.carried, "patch is carried", "patches are carried"),
            of("ready"),
            of("waiting"),
            of("landed"),
            self.since.get(..10).unwrap_or("-"),
            of("look-at"),
        )
    }

    /// Both ways of sharing them out.
    pub fn by(&self) -> [(&'static str, &[Share]); 2] {
        [("owner", &self.by_owner), ("group", &self.by_group)]
    }

    /// A share's count in a section, as text.
    pub fn cell(share: &Share, section: &Section) -> String {
        share.counts.get(section.key).map_or_else(|| "-".to_owned(), ToString::to_string)
    }
}

// Writing to a string does not fail, so what `writeln!` returns is passed over here.

/// As Markdown. Text from elsewhere marks nothing up.
pub fn markdown(all: &[Upstreaming]) -> String {
    let mut out = String::new();
    for u in all {
        let _ = writeln!(out, "# {}: upstreaming\n\n{}", plain(&u.project), plain(&u.summary()));
        for section in u.told() {
            let _ = writeln!(out, "\n## {} ({})\n", section.title, section.rows.len());
            out.push_str("| patch | owner | what | next |\n| --- | --- | --- | --- |\n");
            for r in &section.rows {
                let next = r.next.as_deref().map(code).unwrap_or_default();
                let owner = plain(person(&r.owner));
                let _ = writeln!(out, "| {} | {owner} | {} | {next} |", code(&r.patch), plain(&r.what));
            }
        }
        for (what, shares) in u.by() {
            if shares.is_empty() {
                continue;
            }
            let heads: Vec<&str> = u.told().map(|s| s.title).collect();
            let _ = writeln!(out, "\n## By {what}\n\n| {what} | {} |", heads.join(" | "));
            let _ = writeln!(out, "| --- |{}", " ---: |".repeat(heads.len()));
            for share in shares {
                let cells: Vec<String> = u.told().map(|s| Upstreaming::cell(share, s)).collect();
                let _ = writeln!(out, "| {} | {} |", plain(person(&share.name)), cells.join(" | "));
            }
        }
        let _ = writeln!(out, "\nMade at {}.\n", minute(&u.made));
    }
    out
}

/// For a terminal.
pub fn text(all: &[Upstreaming]) -> String {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    for u in all {
        let _ = writeln!(out, "{bold}{}{bold:#}  {}", clean(&u.project), u.summary());
        for section in u.told() {
            let _ = writeln!(out, "\n{bold}{}{bold:#} ({})", section.title, section.rows.len());
            let width = section.rows.iter().map(|r| r.patch.chars().count()).max().unwrap_or_default();
            for r in &section.rows {
                let (patch, owner) = (clean(&r.patch), clean(person(&r.owner)));
                let _ = writeln!(out, "  {patch:width$}  {}  ({owner})", clean(&r.what));
            }
            if let Some(next) = section.rows.iter().find_map(|r| r.next.as_deref()) {
                let _ = writeln!(out, "  next  {}", clean(next));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_patches_they_are_is_counted_by_section_the_most_first() {
        let row = |owner: &str| Row { owner: owner.into(), ..Row::default() };
        let sections = [
            Section { key: "ready", title: "Ready", rows: vec![row("a"), row("b"), row("b")] },
            Section { key: "stays", title: "Stays", rows: vec![row("b <b@elsewhere.example>")] },
        ];
        let shares = shares(&sections, |r| Some(r.owner.clone()));
        let names: Vec<&str> = shares.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(shares[0].counts, BTreeMap::from([("ready", 2), ("stays", 1)]));
    }
}
