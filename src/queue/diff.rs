//! The diff part of a patch, git's or quilt's, as file changes.

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::binary::{BinaryPatch, decode_line, inflate};
use super::change::{ChangeKind, Content, FileChange, Hunk, HunkLine, LineKind};
use super::error::{QueueError, Reason};
use super::path;

/// Parses the diff part of a patch. `file` is what errors call the patch, `first_line` the number of
/// `diff`'s first line in it, `strip` the `-p` level. Text between changes is skipped, as `git apply` does.
pub fn parse_diff(
    file: &[u8],
    diff: &[u8],
    first_line: usize,
    strip: usize,
) -> Result<Vec<FileChange>, QueueError> {
    let lines: Vec<&[u8]> = diff.lines_with_terminator().collect();
    let mut parser = Parser { lines, at: 0, strip };
    parser.run().map_err(|reason| QueueError::new(file, first_line + parser.at, reason)).map(|mut changes| {
        for change in &mut changes {
            change.line += first_line;
            if let Content::Text(hunks) = &mut change.content {
                hunks.iter_mut().for_each(|h| h.line += first_line);
            }
        }
        changes
    })
}

/// Whether a change starts at the first of `lines`.
pub(super) fn starts_change(line: &[u8], next: Option<&[u8]>) -> bool {
    line.starts_with(b"diff --git ")
        || line.starts_with(b"--- ") && next.is_some_and(|n| n.starts_with(b"+++ "))
}

struct Parser<'a> {
    lines: Vec<&'a [u8]>,
    at: usize,
    strip: usize,
}

fn chomp(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a [u8]> {
        self.lines.get(self.at).copied()
    }

    fn run(&mut self) -> Result<Vec<FileChange>, Reason> {
        let mut changes = Vec::new();
        while let Some(line) = self.peek() {
            if line.starts_with(b"diff --git ") {
                changes.push(self.git_change()?);
            } else if starts_change(line, self.lines.get(self.at + 1).copied()) {
                changes.push(self.plain_change()?);
            } else if parse_range(line).is_some() {
                return Err(Reason::Diff("a hunk without a file header"));
            } else if line.starts_with(b"GIT binary patch") {
                return Err(Reason::Diff("binary data without a file header"));
            } else {
                self.at += 1;
            }
        }
        Ok(changes)
    }

    fn git_change(&mut self) -> Result<FileChange, Reason> {
        let start = self.at;
        let default = self.git_default_name(chomp(&self.lines[start][b"diff --git ".len()..]));
        self.at += 1;
        let mut c = FileChange {
            old_path: None,
            new_path: None,
            old_mode: None,
            new_mode: None,
            kind: ChangeKind::Modify,
            old_id: None,
            new_id: None,
            content: Content::Text(Vec::new()),
            line: start,
        };
        let moved = self.strip.saturating_sub(1);
        while let Some(raw) = self.peek() {
            let line = chomp(raw);
            let after = |prefix: &str| line.strip_prefix(prefix.as_bytes());
            if let Some(m) = after("old mode ") {
                c.old_mode = Some(mode(m)?);
            } else if let Some(m) = after("new mode ") {
                c.new_mode = Some(mode(m)?);
            } else if let Some(m) = after("deleted file mode ") {
                (c.kind, c.old_mode) = (ChangeKind::Delete, Some(mode(m)?));
            } else if let Some(m) = after("new file mode ") {
                (c.kind, c.new_mode) = (ChangeKind::Add, Some(mode(m)?));
            } else if let Some(n) = after("rename from ").or(after("rename old ")) {
                (c.kind, c.old_path) = (ChangeKind::Rename, Some(named(n, moved)?));
            } else if let Some(n) = after("rename to ").or(after("rename new ")) {
                (c.kind, c.new_path) = (ChangeKind::Rename, Some(named(n, moved)?));
            } else if let Some(n) = after("copy from ") {
                (c.kind, c.old_path) = (ChangeKind::Copy, Some(named(n, moved)?));
            } else if let Some(n) = after("copy to ") {
                (c.kind, c.new_path) = (ChangeKind::Copy, Some(named(n, moved)?));
            } else if let Some(ids) = after("index ") {
                let mut words = ids.splitn(2, |&b| b == b' ');
                let pair = words.next().unwrap_or_default();
                if let Some(dots) = pair.find(b"..") {
                    c.old_id = full_id(&pair[..dots]);
                    c.new_id = full_id(&pair[dots + 2..]);
                }
                if let Some(m) = words.next() {
                    let m = mode(m)?;
                    c.old_mode.get_or_insert(m);
                    if c.kind != ChangeKind::Delete {
                        c.new_mode.get_or_insert(m);
                    }
                }
            } else if let Some(n) = after("--- ") {
                let name = header_name(n)?;
                if name.as_deref() != Some(b"/dev/null") && c.old_path.is_none() {
                    c.old_path = name.map(|n| path::stripped(&n, self.strip)).transpose()?;
                } else if name.as_deref() == Some(b"/dev/null") && c.kind == ChangeKind::Modify {
                    c.kind = ChangeKind::Add;
                }
            } else if let Some(n) = after("+++ ") {
                let name = header_name(n)?;
                if name.as_deref() != Some(b"/dev/null") && c.new_path.is_none() {
                    c.new_path = name.map(|n| path::stripped(&n, self.strip)).transpose()?;
                } else if name.as_deref() == Some(b"/dev/null") && c.kind == ChangeKind::Modify {
                    c.kind = ChangeKind::Delete;
                }
                self.at += 1;
                c.content = Content::Text(self.hunks()?);
                break;
            } else if line == b"GIT binary patch" {
                self.at += 1;
                let forward = self.binary()?.ok_or(Reason::Binary("no data"))?;
                c.content = Content::Binary { forward, reverse: self.binary()? };
                break;
            } else if line.starts_with(b"Binary files ") && line.ends_with(b" differ") {
                self.at += 1;
                c.content = Content::BinaryOmitted;
                break;
            } else if !(line.starts_with(b"similarity index ") || line.starts_with(b"dissimilarity index ")) {
                break;
            }
            self.at += 1;
        }
        let fail = |at: &mut usize, reason| {
            *at = start;
            Err(reason)
        };
        let name = match default {
            Some(name) => match path::checked(&name) {
                Ok(name) => Some(name),
                Err(reason) => return fail(&mut self.at, reason),
            },
            None => None,
        };
        if c.kind != ChangeKind::Add && c.old_path.is_none() {
            c.old_path = name.clone().or_else(|| c.new_path.clone());
        }
        if c.kind != ChangeKind::Delete && c.new_path.is_none() {
            c.new_path = name.or_else(|| c.old_path.clone());
        }
        match c.kind {
            ChangeKind::Add => c.old_path = None,
            ChangeKind::Delete => c.new_path = None,
            ChangeKind::Modify if c.old_path != c.new_path => {
                return fail(&mut self.at, Reason::Diff("two names for one file, and no rename"));
            }
            _ => {}
        }
        if c.old_path.is_none() && c.new_path.is_none() {
            return fail(&mut self.at, Reason::Diff("the file's name is unclear"));
        }
        if let Some(Err(reason)) = c.new_path.as_ref().map(|path| path::checked_as(path, c.new_mode)) {
            return fail(&mut self.at, reason);
        }
        Ok(c)
    }

    /// The name that both sides of a `diff --git` line share after stripping.
    fn git_default_name(&self, text: &[u8]) -> Option<Vec<u8>> {
        let both = |a: &[u8], b: &[u8]| {
            let a = path::strip_components(a, self.strip)?;
            (path::strip_components(b, self.strip)? == a).then(|| a.to_vec())
        };
        if text.starts_with(b"\"") {
            let (a, rest) = path::unquote(text)?;
            let rest = rest.strip_prefix(b" ")?;
            return match path::unquote(rest) {
                Some((b, _)) => both(&a, &b),
                None => both(&a, rest),
            };
        }
        text.find_iter(b" ").find_map(|space| {
            let (a, b) = (&text[..space], &text[space + 1..]);
            match path::unquote(b) {
                Some((b, b"")) => both(a, &b),
                _ => both(a, b),
            }
        })
    }

    fn plain_change(&mut self) -> Result<FileChange, Reason> {
        let start = self.at;
        let old = plain_name(chomp(&self.lines[start][4..]))?;
        self.at += 1;
        let new = plain_name(chomp(&self.lines[self.at][4..]))?;
        self.at += 1;
        let hunks = self.hunks()?;
        self.at = if hunks.is_empty() { start } else { self.at };
        let (first, single) = match hunks.first() {
            Some(first) => (first, hunks.len() == 1),
            None => return Err(Reason::Diff("a file header without hunks")),
        };
        let kind = match (&old, &new) {
            (None, None) => return Err(Reason::Diff("no file on either side")),
            (None, _) => ChangeKind::Add,
            (_, None) => ChangeKind::Delete,
            _ if single && first.old_len == 0 && first.old_start == 0 => ChangeKind::Add,
            _ => ChangeKind::Modify,
        };
        let name = match (old, new) {
            // As git does: `x.orig` against `x` is `x`.
            (Some(a), Some(b)) => {
                if a.len() < b.len() {
                    a
                } else {
                    b
                }
            }
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => Vec::new(),
        };
        let name = path::stripped(&name, self.strip).inspect_err(|_| self.at = start)?;
        Ok(FileChange {
            old_path: (kind != ChangeKind::Add).then(|| name.clone()),
            new_path: (kind != ChangeKind::Delete).then_some(name),
            old_mode: None,
            new_mode: None,
            kind,
            old_id: None,
            new_id: None,
            content: Content::Text(hunks),
            line: start,
        })
    }

    fn hunks(&mut self) -> Result<Vec<Hunk>, Reason> {
        let mut hunks = Vec::new();
        while let Some(line) = self.peek().filter(|l| l.starts_with(b"@@ -")) {
            let (old_start, old_len, new_start, new_len) =
                parse_range(line).ok_or(Reason::Diff("a hunk's range cannot be read"))?;
            let mut hunk = Hunk { old_start, old_len, new_start, new_len, lines: Vec::new(), line: self.at };
            self.at += 1;
            let (mut old, mut new) = (old_len, new_len);
            loop {
                let Some(line) = self.peek() else {
                    if old == 0 && new == 0 {
                        break;
                    }
                    return Err(Reason::Diff("a hunk is cut short"));
                };
                if line.starts_with(b"\\ ") {
                    let last = hunk.lines.last_mut().ok_or(Reason::Diff("a stray '\\' line"))?;
                    if last.bytes.last() == Some(&b'\n') {
                        last.bytes.pop();
                    }
                    self.at += 1;
                    continue;
                }
                if old == 0 && new == 0 {
                    break;
                }
                let (kind, bytes) = match line.split_first() {
                    Some((b' ', rest)) => (LineKind::Context, rest),
                    Some((b'+', rest)) => (LineKind::Add, rest),
                    Some((b'-', rest)) => (LineKind::Remove, rest),
                    // A blank context line whose blank was trimmed.
                    _ if chomp(line).is_empty() => (LineKind::Context, line),
                    _ => return Err(Reason::Diff("a hunk has fewer lines than it says")),
                };
                let count = |side: &mut usize| match side.checked_sub(1) {
                    Some(left) => {
                        *side = left;
                        Ok(())
                    }
                    None => Err(Reason::Diff("a hunk has more lines than it says")),
                };
                if kind != LineKind::Add {
                    count(&mut old)?;
                }
                if kind != LineKind::Remove {
                    count(&mut new)?;
                }
                hunk.lines.push(HunkLine { kind, bytes: bytes.into() });
                self.at += 1;
            }
            hunks.push(hunk);
        }
        Ok(hunks)
    }

    fn binary(&mut self) -> Result<Option<BinaryPatch>, Reason> {
        let Some(line) = self.peek().map(chomp) else { return Ok(None) };
        let (literal, size) = match (line.strip_prefix(b"literal "), line.strip_prefix(b"delta ")) {
            (Some(size), _) => (true, size),
            (_, Some(size)) => (false, size),
            _ => return Ok(None),
        };
        let size = number(size).ok_or(Reason::Binary("the size cannot be read"))?;
        self.at += 1;
        let mut data = Vec::new();
        while let Some(line) = self.peek().map(chomp).filter(|l| !l.is_empty()) {
            decode_line(line, &mut data)?;
            self.at += 1;
        }
        self.at += usize::from(self.peek().is_some());
        let data = inflate(&data, size as u64)?;
        Ok(Some(if literal { BinaryPatch::Literal(data) } else { BinaryPatch::Delta(data) }))
    }
}

fn number(text: &[u8]) -> Option<usize> {
    let ok = !text.is_empty() && text.len() <= 12 && text.iter().all(u8::is_ascii_digit);
    if ok { text.to_str().ok()?.parse().ok() } else { None }
}

/// The four numbers of a `@@ -a,b +c,d @@` line.
fn parse_range(line: &[u8]) -> Option<(usize, usize, usize, usize)> {
    let rest = line.strip_prefix(b"@@ -")?;
    let ranges = &rest[..rest.find(b" @@")?];
    let plus = ranges.find(b" +")?;
    let pair = |text: &[u8]| match text.iter().position(|&c| c == b',') {
        Some(comma) => Some((number(&text[..comma])?, number(&text[comma + 1..])?)),
        None => Some((number(text)?, 1)),
    };
    let (a, b) = pair(&ranges[..plus])?;
    let (c, d) = pair(&ranges[plus + 2..])?;
    Some((a, b, c, d))
}

fn mode(text: &[u8]) -> Result<u32, Reason> {
    let text = text.trim();
    text.to_str()
        .ok()
        .filter(|t| t.len() <= 6 && t.bytes().all(|c| (b'0'..=b'7').contains(&c)))
        .and_then(|t| u32::from_str_radix(t, 8).ok())
        .ok_or(Reason::Diff("a mode cannot be read"))
}

fn full_id(hex: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(hex).ok()
}

fn named(text: &[u8], strip: usize) -> Result<BString, Reason> {
    match path::unquote(text) {
        Some((name, _)) => path::stripped(&name, strip),
        None => path::stripped(text, strip),
    }
}

/// The name on a git diff's `---` or `+++` line (a tab ends it, when it holds a blank).
fn header_name(text: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
    if text.starts_with(b"\"") {
        let (name, _) = path::unquote(text).ok_or(Reason::Diff("a name's quotes do not close"))?;
        return Ok(Some(name));
    }
    let end = text.iter().position(|&c| c == b'\t').unwrap_or(text.len());
    Ok(Some(text[..end].to_vec()))
}

/// The name on a plain diff's `---` or `+++` line; `None` when the line says that there is no file.
fn plain_name(text: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
    let Some(mut name) = header_name(text)? else { return Ok(None) };
    let mut stamp = text.iter().position(|&c| c == b'\t').map(|t| text[t + 1..].trim().to_vec());
    if stamp.is_none()
        && let Some((at, _)) =
            name.iter().enumerate().find(|(i, c)| **c == b' ' && looks_like_date(&name[i + 1..]))
    {
        stamp = Some(name[at + 1..].to_vec());
        name.truncate(name[..at].trim_end().len());
    }
    if name == b"/dev/null" || stamp.is_some_and(|s| is_epoch(&s)) {
        return Ok(None);
    }
    Ok(Some(name))
}

fn looks_like_date(text: &[u8]) -> bool {
    text.len() >= 16
        && text.iter().zip(b"dddd-dd-dd dd:dd").all(|(c, p)| match p {
            b'd' => c.is_ascii_digit(),
            p => c == p,
        })
}

/// Whether a timestamp is the epoch, in any zone.
fn is_epoch(stamp: &[u8]) -> bool {
    if !looks_like_date(stamp) || !(stamp.starts_with(b"1970-01-0") || stamp.starts_with(b"1969-12-31")) {
        return false;
    }
    let text = stamp.to_str_lossy();
    let mut words = text.split(' ').filter(|w| !w.is_empty());
    let (Some(day), Some(clock)) = (words.next(), words.next()) else { return false };
    let mut parts = clock.split(':').map(|p| p.parse::<f64>().unwrap_or(f64::NAN));
    let mut part = || parts.next().unwrap_or(0.0);
    let seconds = part() * 3600.0 + part() * 60.0 + part();
    let days = match day {
        "1969-12-31" => -86400.0,
        "1970-01-01" => 0.0,
        _ => return false,
    };
    let zone = words.next().unwrap_or("+0000").parse::<i32>().unwrap_or(0);
    let offset = f64::from(zone / 100 * 3600 + zone % 100 * 60);
    days + seconds - offset == 0.0
}
