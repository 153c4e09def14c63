//! The `series` file in quilt's syntax: read liberally, edited without touching other lines.

use std::collections::HashSet;

use bstr::{BString, ByteSlice};

use super::error::{QueueError, Reason};

/// One patch that the series names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The patch file, relative to the folder of the series, with `/` between components.
    pub file: String,
    /// How many leading components its paths lose (`-pN`; 1 unless given).
    pub strip: usize,
    /// Why it is left out, when a `#hold` line names it (may be empty).
    pub hold: Option<String>,
}

impl Entry {
    /// The patch's name: the file's stem (`topic/fix-x.patch` is `fix-x`).
    pub fn name(&self) -> &str {
        stem(&self.file)
    }
}

/// The stem of a patch file: no folder, no `.patch` or `.diff`.
pub fn stem(file: &str) -> &str {
    let base = file.as_bytes().rfind_byte(b'/').map_or(file, |at| &file[at + 1..]);
    base.strip_suffix(".patch")
        .or_else(|| base.strip_suffix(".diff"))
        .filter(|s| !s.is_empty())
        .unwrap_or(base)
}

/// What one line of the series is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An empty line.
    Blank,
    /// A comment that is no `#hold` line.
    Comment,
    /// A patch, to apply or held.
    Entry(Entry),
}

/// A series file: its lines as read, and what each is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Series {
    bom: bool,
    lines: Vec<(Vec<u8>, Item)>,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl Series {
    /// Reads a series. `file` is what errors call it.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, QueueError> {
        let (bom, rest) = match bytes.strip_prefix(BOM) {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        let mut seen = HashSet::new();
        let mut lines = Vec::new();
        for (n, raw) in rest.lines_with_terminator().enumerate() {
            let item = parse_line(raw).map_err(|r| QueueError::new(file, n + 1, r))?;
            if let Item::Entry(e) = &item
                && !seen.insert(e.file.clone())
            {
                return Err(QueueError::new(file, n + 1, Reason::Duplicate(e.file.as_str().into())));
            }
            lines.push((raw.to_vec(), item));
        }
        Ok(Series { bom, lines })
    }

    /// The file's bytes: those that were read, but for edited lines.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = if self.bom { BOM.to_vec() } else { Vec::new() };
        for (raw, _) in &self.lines {
            out.extend_from_slice(raw);
        }
        out
    }

    /// All lines, in order.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.lines.iter().map(|(_, item)| item)
    }

    /// All patches, in order, held ones too.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.numbered().map(|(_, e)| e)
    }

    /// All patches with their line numbers (from 1).
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.lines.iter().enumerate().filter_map(|(n, (_, item))| match item {
            Item::Entry(e) => Some((n + 1, e)),
            _ => None,
        })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.numbered().find(|(_, e)| e.file == name || e.name() == name).map(|(n, _)| n - 1)
    }

    /// The entry of the patch `name` (its file or its stem).
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries().find(|e| e.file == name || e.name() == name)
    }

    /// Removes the line of the patch `name` (its file or its stem).
    pub fn remove(&mut self, name: &str) -> Result<Entry, QueueError> {
        let missing = || QueueError::new("series", 0, Reason::NotInSeries(name.into()));
        let at = self.position(name).ok_or_else(missing)?;
        match self.lines.remove(at).1 {
            Item::Entry(e) => Ok(e),
            _ => Err(missing()),
        }
    }

    /// Leaves the patch `name` out, or takes it up again (`None`); its place, its `-p` level and a comment behind it
    /// stay. The reason's line ends become blanks.
    pub fn set_hold(&mut self, name: &str, reason: Option<&str>) -> Result<(), QueueError> {
        let missing = || QueueError::new("series", 0, Reason::NotInSeries(name.into()));
        let at = self.position(name).ok_or_else(missing)?;
        let (raw, item) = &mut self.lines[at];
        let Item::Entry(entry) = item else { return Err(missing()) };
        let text = raw.trim_end();
        let eol = raw[text.len()..].to_vec();
        let comment = text.find(" #").map(|at| text[at..].to_vec()).unwrap_or_default();
        let level = if entry.strip == 1 { String::new() } else { format!(" -p{}", entry.strip) };
        let line = match reason {
            Some(reason) => {
                let reason: Vec<&str> = reason.split_whitespace().collect();
                format!("#hold {}{level} {}", entry.file, reason.join(" ")).trim_end().to_owned()
            }
            None => format!("{}{level}", entry.file),
        };
        let line = [line.as_bytes(), &comment].concat();
        *item = parse_line(&line).map_err(|r| QueueError::new("series", at + 1, r))?;
        *raw = [line, eol].concat();
        Ok(())
    }

    /// Puts the line of the patch `name` before the patch that is the `place`-th of the others; past them all, last.
    pub fn relocate(&mut self, name: &str, place: usize) -> Result<(), QueueError> {
        let missing = || QueueError::new("series", 0, Reason::NotInSeries(name.into()));
        let at = self.position(name).ok_or_else(missing)?;
        let before = self.entries().position(|e| e.file == name || e.name() == name);
        if before == Some(place) {
            return Ok(());
        }
        let mut line = self.lines.remove(at);
        let to = self.numbered().nth(place).map(|(n, _)| n - 1);
        let eol = self.line_end();
        match to {
            Some(to) => {
                if !line.0.ends_with(b"\n") {
                    line.0.extend_from_slice(eol);
                }
                self.lines.insert(to, line);
            }
            None => {
                self.close(eol);
                self.lines.push(line);
                self.close(eol);
            }
        }
        Ok(())
    }

    /// Gives the patch `name` another file; its place, level, hold and comment stay.
    pub fn rename(&mut self, name: &str, file: &str) -> Result<(), QueueError> {
        let bad = |r| QueueError::new("series", 0, r);
        check_name(file.as_bytes()).map_err(bad)?;
        let at = self.position(name).ok_or_else(|| bad(Reason::NotInSeries(name.into())))?;
        if self.entries().any(|e| e.file == file) {
            return Err(bad(Reason::Duplicate(file.into())));
        }
        let (raw, item) = &mut self.lines[at];
        let Item::Entry(entry) = item else { return Err(bad(Reason::NotInSeries(name.into()))) };
        *raw = raw.replacen(entry.file.as_bytes(), file.as_bytes(), 1);
        *item = parse_line(raw).map_err(bad)?;
        Ok(())
    }

    /// Adds the patch file `file` (relative, strip 1) as the `place`-th patch; past them all, as the last line.
    pub fn insert(&mut self, file: &str, place: usize) -> Result<(), QueueError> {
        let to = self.numbered().nth(place).map(|(n, _)| n - 1);
        self.append(file)?;
        // At the end it stands already.
        if let Some(to) = to
            && let Some(line) = self.lines.pop()
        {
            self.lines.insert(to, line);
        }
        Ok(())
    }

    fn line_end(&self) -> &'static [u8] {
        match self.lines.first() {
            Some((raw, _)) if raw.ends_with(b"\r\n") => b"\r\n",
            _ => b"\n",
        }
    }

    /// Ends the last line.
    fn close(&mut self, eol: &[u8]) {
        if let Some((raw, _)) = self.lines.last_mut()
            && !raw.ends_with(b"\n")
        {
            raw.extend_from_slice(eol);
        }
    }

    /// Adds the patch file `file` (relative, strip 1) as the last line, with the file's own line end.
    pub fn append(&mut self, file: &str) -> Result<(), QueueError> {
        let bad = |r| QueueError::new("series", 0, r);
        check_name(file.as_bytes()).map_err(bad)?;
        if self.entries().any(|e| e.file == file) {
            return Err(bad(Reason::Duplicate(file.into())));
        }
        let eol = self.line_end();
        self.close(eol);
        let entry = Entry { file: file.to_owned(), strip: 1, hold: None };
        self.lines.push(([file.as_bytes(), eol].concat(), Item::Entry(entry)));
        Ok(())
    }
}

fn parse_line(raw: &[u8]) -> Result<Item, Reason> {
    let text = raw.trim_with(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
    if text.is_empty() {
        return Ok(Item::Blank);
    }
    let (text, held) = match text.strip_prefix(b"#hold") {
        Some(rest) if rest.first().is_some_and(|c| matches!(c, b' ' | b'\t')) => (rest, true),
        _ if text[0] == b'#' => return Ok(Item::Comment),
        _ => (text, false),
    };
    let mut words = text.split(|c| matches!(c, b' ' | b'\t')).filter(|w| !w.is_empty()).peekable();
    let Some(name) = words.next() else { return Ok(Item::Comment) };
    check_name(name)?;
    let file = name.to_str().map_err(|_| Reason::BadName(name.into()))?.to_owned();
    let mut strip = 1;
    while let Some(word) = words.peek().copied() {
        if word[0] == b'#' && !held || held && word[0] != b'-' {
            break;
        }
        words.next();
        let Some(mut number) = word.strip_prefix(b"-p") else {
            if held {
                // A reason may start with a dash of its own: `#hold x.patch - waits`.
                return Ok(hold_entry(file, strip, Some(word), words));
            }
            return Err(Reason::Option(word.into()));
        };
        if number.is_empty() {
            number = words.next().unwrap_or_default();
        }
        strip = number
            .to_str()
            .ok()
            .filter(|n| n.len() <= 3 && n.bytes().all(|c| c.is_ascii_digit()))
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| Reason::Option(BString::from([b"-p", number].concat())))?;
    }
    if held {
        return Ok(hold_entry(file, strip, None, words));
    }
    Ok(Item::Entry(Entry { file, strip, hold: None }))
}

fn hold_entry<'a>(
    file: String,
    strip: usize,
    first: Option<&'a [u8]>,
    rest: impl Iterator<Item = &'a [u8]>,
) -> Item {
    let mut words: Vec<&[u8]> = first.into_iter().filter(|w| *w != b"-").collect();
    words.extend(rest);
    let hold = Some(words.join(&b' ').to_str_lossy().into_owned());
    Item::Entry(Entry { file, strip, hold })
}

fn check_name(name: &[u8]) -> Result<(), Reason> {
    let bad = name.first().is_none_or(|c| matches!(c, b'-' | b'#' | b'/'))
        || name.iter().any(|&c| c < 0x21 || c == 0x7f || c == b'\\')
        || name.to_str().is_err()
        || name.split(|&c| c == b'/').any(|part| matches!(part, b"" | b"." | b".."));
    if bad { Err(Reason::BadName(name.into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_held_and_taken_up_again_without_a_trace() {
        let text = b"# ours\r\na.patch\r\nsub/b.diff -p0 # why\r\n";
        let mut series = Series::parse("series", text).expect("it is well formed");
        series.set_hold("b", Some("waits\nfor  x")).expect("it is there");
        let held = b"# ours\r\na.patch\r\n#hold sub/b.diff -p0 waits for x # why\r\n";
        assert_eq!(series.to_bytes().as_bstr(), held.as_bstr());
        let again = Series::parse("series", &series.to_bytes()).expect("it is well formed");
        assert_eq!(again, series);
        assert_eq!(series.get("b").map(|e| (e.strip, e.hold.is_some())), Some((0, true)));
        series.set_hold("b", None).expect("it is there");
        assert_eq!(series.to_bytes().as_bstr(), text.as_bstr());
        series.set_hold("a", Some("")).expect("it is there");
        assert!(series.to_bytes().starts_with(b"# ours\r\n#hold a.patch\r\n"));
        assert!(series.set_hold("nobody", None).is_err());
    }
    use proptest::prelude::*;

    fn series(text: &str) -> Result<Series, QueueError> {
        Series::parse("series", text.as_bytes())
    }

    #[test]
    fn every_form_of_line_is_read_and_kept() {
        let text = "\u{feff}# top\r\n\r\na.patch\r\n  topic/b.diff -p0 # why\r\nc.patch -p 2\r\n#hold d.patch waits for CI\r\n#holder\r\nlast.patch";
        let s = series(text).expect("a series");
        assert_eq!(s.to_bytes(), text.as_bytes());
        let all: Vec<_> = s.entries().map(|e| (e.name(), e.strip, e.hold.as_deref())).collect();
        assert_eq!(
            all,
            [
                ("a", 1, None),
                ("b", 0, None),
                ("c", 2, None),
                ("d", 1, Some("waits for CI")),
                ("last", 1, None)
            ]
        );
    }

    #[test]
    fn bad_names_and_options_are_errors_with_their_line() {
        for bad in [
            "/a.patch",
            "../a.patch",
            "x/../a.patch",
            "a\u{1}.patch",
            "a.patch -R",
            "a.patch -F0",
            "a.patch -px",
            "a.patch junk",
            "ok\nok",
        ] {
            let err = series(&format!("# one\n{bad}\n")).unwrap_err();
            assert_eq!(err.line, if bad == "ok\nok" { 3 } else { 2 }, "{bad}");
        }
    }

    #[test]
    fn a_patch_is_moved_renamed_and_put_in_between() {
        let mut s = series("# top\na.patch\nb.patch -p0 # why\n#hold c.patch waits").expect("a series");
        s.relocate("c", 0).expect("it is done");
        assert_eq!(s.to_bytes(), b"# top\n#hold c.patch waits\na.patch\nb.patch -p0 # why\n");
        s.relocate("c", 2).expect("it is done");
        assert_eq!(s.to_bytes(), b"# top\na.patch\nb.patch -p0 # why\n#hold c.patch waits\n");
        s.rename("b", "x/bb.patch").expect("it is done");
        s.insert("n.patch", 1).expect("it is done");
        let text = b"# top\na.patch\nn.patch\nx/bb.patch -p0 # why\n#hold c.patch waits\n";
        assert_eq!(s.to_bytes(), text);
        assert_eq!(Series::parse("series", text).expect("a series"), s);
        s.insert("z.patch", 4).expect("it is done");
        assert_eq!(s.to_bytes(), [&text[..], b"z.patch\n"].concat());
        s.remove("z").expect("it is done");
        assert!(s.rename("a", "n.patch").is_err());
        assert!(s.rename("a", "../n.patch").is_err());
        assert!(s.relocate("z", 0).is_err());
    }

    #[test]
    fn editing_touches_one_line() {
        let mut s = series("a.patch\r\n# c\r\nb.patch").expect("a series");
        s.append("x/c.patch").expect("it is done");
        s.remove("a").expect("it is done");
        assert!(s.remove("a").is_err());
        assert!(s.append("b.patch").is_err());
        assert_eq!(s.to_bytes(), b"# c\r\nb.patch\r\nx/c.patch\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(s) = Series::parse("series", &bytes) {
                prop_assert_eq!(s.to_bytes(), bytes);
            }
        }
        #[test]
        fn series_like_text_round_trips(text in "(#? ?[a-c/.]{1,5}( -p ?[0-9])?\r?\n){0,5}") {
            if let Ok(s) = series(&text) {
                prop_assert_eq!(s.to_bytes(), text.as_bytes());
            }
        }
    }
}
