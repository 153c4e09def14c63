//! Hints: a patch uses a name that another one brings in. Nothing is proved by it, and nothing is blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bstr::ByteSlice;
use regex::bytes::Regex;
use serde::Serialize;

use crate::queue::{Content, FileChange, LineKind};

/// A patch that uses names which an earlier one brings in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// The patch that uses them.
    pub patch: String,
    /// The one that brings them in.
    pub needs: String,
    /// The names, sorted.
    pub symbols: Vec<String>,
}

/// Where a name is brought in, in the languages that are common: a keyword before it, a C function's head, an option
/// that is registered under it.
const DEFINITIONS: &str = r#"(?x-u)
    ^\s*(?:(?:pub(?:\([a-z]+\))?|export|async|static|abstract|final|public|private|protected)\s+)*
        (?:def|class|fn|func|function|struct|enum|trait|interface|module|typedef|type|const|static|sub)\s+
        ([A-Za-z_][A-Za-z0-9_]{3,})
  | ^\s*\#\s*define\s+([A-Za-z_][A-Za-z0-9_]{3,})
  | ^(?:[A-Za-z_][A-Za-z0-9_]*[\s*]+)+([A-Za-z_][A-Za-z0-9_]{3,})\s*\([^;]*$
  | ^([A-Z][A-Z0-9_]{3,})\s*=
  | Opt\(\s*['"]([A-Za-z_][A-Za-z0-9_-]{3,})['"]
"#;

static DEFINITION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(DEFINITIONS).ok());
static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u)[A-Za-z_][A-Za-z0-9_]{3,}").ok());

/// The hints of a queue, in its order: each patch's name and changes. A name that several bring in says nothing.
pub fn hints(patches: &[(&str, &[FileChange])]) -> Vec<Hint> {
    let (Some(definition), Some(word)) = (&*DEFINITION, &*WORD) else { return Vec::new() };
    let lines = |changes: &'_ [FileChange], added: bool| {
        let hunks = changes.iter().filter_map(|c| match &c.content {
            Content::Text(hunks) => Some(hunks),
            _ => None,
        });
        let lines = hunks.flatten().flat_map(|h| &h.lines);
        let lines: Vec<Vec<u8>> = lines
            .filter(|l| (l.kind == LineKind::Add) == added)
            .map(|l| l.bytes.trim_end().to_vec())
            .collect();
        lines
    };
    let words = |lines: &[Vec<u8>]| -> BTreeSet<Vec<u8>> {
        lines.iter().flat_map(|l| word.find_iter(l)).map(|m| m.as_bytes().to_vec()).collect()
    };
    // Who brings a name in; none once two do.
    let mut brought: BTreeMap<Vec<u8>, Option<usize>> = BTreeMap::new();
    let mut used: Vec<BTreeSet<Vec<u8>>> = Vec::with_capacity(patches.len());
    for (at, (_, changes)) in patches.iter().enumerate() {
        let (added, other) = (lines(changes, true), lines(changes, false));
        let known = words(&other);
        let defined: BTreeSet<Vec<u8>> = added
            .iter()
            .filter_map(|l| definition.captures(l))
            .filter_map(|c| c.iter().skip(1).flatten().next().map(|m| m.as_bytes().to_vec()))
            .collect();
        for name in defined.into_iter().filter(|name| is_made_up(name) && !known.contains(name)) {
            brought.entry(name).and_modify(|who| *who = None).or_insert(Some(at));
        }
        used.push(words(&added));
    }
    let mut all = Vec::new();
    for (at, used) in used.iter().enumerate() {
        let mut by: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for name in used {
            if let Some(Some(from)) = brought.get(name)
                && *from < at
            {
                by.entry(*from).or_default().push(name.to_str_lossy().into_owned());
            }
        }
        for (from, symbols) in by {
            all.push(Hint { patch: patches[at].0.to_owned(), needs: patches[from].0.to_owned(), symbols });
        }
    }
    all
}

/// Is it a name that nobody writes by chance, as words of prose and of the language are?
fn is_made_up(name: &[u8]) -> bool {
    let inside = name.get(1..).unwrap_or_default();
    let (upper, lower) = (inside.iter().any(u8::is_ascii_uppercase), name.iter().any(u8::is_ascii_lowercase));
    inside.iter().any(|b| *b == b'_' || b.is_ascii_digit()) || upper && lower
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::parse_diff;

    fn adds(lines: &str) -> Vec<FileChange> {
        let n = lines.lines().count();
        let body: String = lines.lines().map(|l| format!("+{l}\n")).collect();
        parse_diff(b"x", format!("--- /dev/null\n+++ b/f\n@@ -0,0 +1,{n} @@\n{body}").as_bytes(), 1, 1)
            .expect("it is well formed")
    }

    #[test]
    fn a_name_that_one_brings_in_and_another_uses_is_a_hint() {
        let first = adds(
            "def weigh_disk(host):\n    return host\nclass Weigher:\nstatic int fill_cache(struct x *y)\n#define LIMIT_OF 3\n    cfg.IntOpt('disk_weight', default=1)",
        );
        let second = adds("x = weigh_disk(h)\nfill_cache(NULL);\nn = LIMIT_OF\ny = CONF.disk_weight");
        let third = adds("def weigh_disk(again):\n  pass");
        let all = hints(&[("a", &first), ("b", &second)]);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].patch.as_str(), all[0].needs.as_str()), ("b", "a"));
        assert_eq!(all[0].symbols, ["LIMIT_OF", "disk_weight", "fill_cache", "weigh_disk"]);
        let both = hints(&[("a", &first), ("c", &third), ("b", &second)]);
        assert!(both.iter().all(|h| !h.symbols.contains(&"weigh_disk".to_owned())), "{both:?}");
        assert_eq!(hints(&[("b", &second), ("a", &first)]), []);
    }
}
