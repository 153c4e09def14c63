//! Who answers for a file: CODEOWNERS, whose patterns are those of `.gitignore` ("About code owners", docs.github.com);
//! and mail addresses out of what people write.

use bstr::BStr;
use gix_glob::Pattern;
use gix_glob::pattern::Case;
use gix_glob::wildmatch::Mode;

/// Where the file lies; the first that is there counts. The last place is GitLab's.
pub const CODEOWNERS: [&str; 4] =
    [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"];
/// A larger file is not read, as GitHub does not read it.
const LARGEST: usize = 3 << 20;

/// Who answers for which files.
#[derive(Debug, Clone, Default)]
pub struct CodeOwners {
    rules: Vec<(Pattern, Vec<String>)>,
}

impl CodeOwners {
    /// Reads a file. A line that is no rule is passed over, as the forges do.
    pub fn parse(text: &[u8]) -> Self {
        if text.len() > LARGEST {
            return Self::default();
        }
        let text = String::from_utf8_lossy(text);
        let mut rules = Vec::new();
        // GitLab's sections name owners for the rules below them that name none.
        let mut section: Vec<String> = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[').or_else(|| line.strip_prefix("^["))
                && let Some((_, owners)) = rest.split_once(']')
            {
                section = names(owners.split_whitespace());
                continue;
            }
            let mut words = words(line).into_iter();
            let Some(pattern) = words.next().and_then(|p| Pattern::from_bytes_without_negation(p.as_bytes()))
            else {
                continue;
            };
            let words: Vec<String> = words.collect();
            let own = names(words.iter().map(String::as_str));
            // A rule without owners takes its files from an earlier rule, unless its section names some.
            rules.push((pattern, if words.is_empty() { section.clone() } else { own }));
        }
        Self { rules }
    }

    /// Who answers for a path: the last rule that fits counts.
    pub fn of(&self, path: &str) -> &[String] {
        let rule = self.rules.iter().rev().find(|(pattern, _)| fits(pattern, path));
        rule.map(|(_, owners)| owners.as_slice()).unwrap_or_default()
    }
}

/// Does the pattern take the file, or a folder that it lies in?
fn fits(pattern: &Pattern, path: &str) -> bool {
    let matches = |part: &str, is_dir: bool| {
        let name = part.rfind('/').map(|at| at + 1);
        let part = BStr::new(part);
        pattern.matches_repo_relative_path(
            part,
            name,
            Some(is_dir),
            Case::Sensitive,
            Mode::NO_MATCH_SLASH_LITERAL,
        )
    };
    // `docs/*` means the files of that folder, and not those below (unlike in `.gitignore`).
    let flat = pattern.text.ends_with(b"/*");
    matches(path, false) || !flat && path.match_indices('/').any(|(at, _)| matches(&path[..at], true))
}

/// Words parted by blanks; a blank that is part of one has a backslash before it. A comment ends the line.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut chars) = (Vec::new(), String::new(), line.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&' ') => word.extend(chars.next()),
            '#' if word.is_empty() => break,
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn names<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words.take_while(|w| !w.starts_with('#')).filter(|w| w.contains('@')).map(str::to_owned).collect()
}

/// The mail addresses in what someone wrote: `Kim <kim@example.org>, team@example.org`. Names at a forge (`@kim`) are
/// none.
pub fn addresses(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in text.split([',', ';', '<', '>', ' ', '\t']) {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.+=@".contains(c);
        let is_one = part.matches('@').count() == 1 && part.chars().all(good);
        let both = part.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
        if is_one
            && both
            && !part.starts_with('-')
            && !all.iter().any(|known: &String| known.eq_ignore_ascii_case(part))
        {
            all.push(part.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_counts_as_the_forges_say() {
        // The examples of GitHub's documentation, and a section of GitLab's.
        let owners = CodeOwners::parse(
            b"# a comment\n*       @global1 @global2\n*.js    @js #inline\n*.go docs@example.com\n/build/logs/ @doctocat\n\
            docs/*  docs@example.com\napps/ @octocat\n/scripts/ @doctocat @octocat\n**/logs @logs\n/apps/github\n\
            with\\ blank.txt kim@example.com\n[Section][2] @sec\nlib/\nsrc/ @src\n",
        );
        for (path, wanted) in [
            ("x", &["@global1", "@global2"][..]),
            ("a/b.js", &["@js"]),
            ("a/b.go", &["docs@example.com"]),
            ("build/logs/x", &["@logs"]),
            ("a/build/logs", &["@logs"]),
            ("docs/getting-started.md", &["docs@example.com"]),
            ("docs/build-app/troubleshooting.md", &["@global1", "@global2"]),
            ("a/apps/x/y", &["@octocat"]),
            ("scripts/x", &["@doctocat", "@octocat"]),
            ("a/scripts/x", &["@global1", "@global2"]),
            ("apps/github/x", &[]),
            ("with blank.txt", &["kim@example.com"]),
            ("lib/x", &["@sec"]),
            ("src/x", &["@src"]),
        ] {
            assert_eq!(owners.of(path), wanted, "{path}");
        }
    }

    #[test]
    fn only_plain_addresses_are_taken_out_of_a_text() {
        assert_eq!(
            addresses("Kim <kim@example.org>, team@example.org"),
            ["kim@example.org", "team@example.org"]
        );
        assert_eq!(addresses("Kim Q <kim@example.org> <KIM@example.org>"), ["kim@example.org"]);
        for none in [
            "@kim",
            "kim",
            "a@b@c.d",
            "-x@example.org",
            "k\u{ef}m@example.org",
            "kim@host",
            "\"a b\"@x\r\nBcc: y",
        ] {
            assert_eq!(addresses(none), Vec::<String>::new(), "{none}");
        }
    }
}
