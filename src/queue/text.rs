//! A patch file, taken apart: where its message and its diff are, and what each says.

use bstr::{BString, ByteSlice};
use serde::{Deserialize, Serialize};

use super::change::{ChangeKind, Content, FileChange, Hunk, HunkLine, LineKind};
use super::diff::{parse_diff, starts_change};
use super::error::{QueueError, Reason};
use super::header::{self, Date, Fields, Header, Identity};
use super::metadata::{Metadata, read_metadata};
use super::series::stem;

/// A patch file, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// What it does to files; empty for a patch that is only a message.
    pub changes: Vec<FileChange>,
    /// The text with its transfer encoding undone, where the mail has one.
    pub decoded: Option<Vec<u8>>,
}

/// Where the parts of a patch file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    /// Has the mail a transfer encoding? The places are those in the text without it.
    pub is_encoded: bool,
    /// Where the part between message and diff starts: the `---` line, if there is one.
    pub message_end: usize,
    /// Where the diff starts.
    pub diff_start: usize,
    /// The diff's first line, from 1.
    pub first_line: usize,
}

/// Takes a patch file apart.
pub(super) fn read(
    file: &str,
    bytes: &[u8],
    strip: usize,
) -> Result<(Text, Parts, Header, Metadata), QueueError> {
    let fail = |line, reason| QueueError::new(file, line, reason);
    let decoded = decode(bytes).map_err(|r| fail(1, r))?;
    let text: &[u8] = decoded.as_deref().unwrap_or(bytes);
    let start = match text.find_byte(b'\n') {
        Some(n) if text.starts_with(b"From ") => n + 1,
        _ => 0,
    };
    let fields = header::fields(&text[start..]).filter(|(fields, _)| known(fields));
    let body_start = fields.as_ref().map_or(start, |(_, rest)| text.len() - rest.len());
    let message_end = body_start + message_end(&text[body_start..]);
    let body = &text[body_start..message_end];
    let header = match &fields {
        Some((fields, _)) if is_mail(fields) => header::from_mail(fields, body),
        Some((fields, _)) => from_tags(file, fields, body),
        None => from_text(file, body),
    };
    let diff_start = message_end + diff_offset(&text[message_end..]);
    let first_line = text[..diff_start].lines_with_terminator().count() + 1;
    let changes = parse_diff(file.as_bytes(), &text[diff_start..], first_line, strip)?;
    if changes.is_empty() && fields.is_none() {
        return Err(fail(1, Reason::Diff("the file has neither a mail's header nor a diff")));
    }
    if changes.is_empty() && text[message_end..diff_start].lines().any(is_of_diffstat) {
        return Err(fail(first_line, Reason::Diff("a diffstat and no diff: the file was cut off")));
    }
    if changes.is_empty() && is_cut(text, start, fields.as_ref().map(|(f, _)| f), body_start, message_end) {
        return Err(fail(first_line, Reason::CutOff));
    }
    let extra: Vec<(String, BString)> = fields.map(|(f, _)| f).unwrap_or_default();
    let metadata = read_metadata(&header.message, &extra);
    let parts = Parts { is_encoded: decoded.is_some(), message_end, diff_start, first_line };
    Ok((Text { changes, decoded }, parts, header, metadata))
}

impl Text {
    /// The same of a file whose parts are known. Nothing if they are not its own.
    pub(super) fn again(file: &str, bytes: &[u8], strip: usize, parts: &Parts) -> Option<Self> {
        let decoded = if parts.is_encoded { Some(decode(bytes).ok()??) } else { None };
        let diff = decoded.as_deref().unwrap_or(bytes).get(parts.diff_start..)?;
        let changes = parse_diff(file.as_bytes(), diff, parts.first_line, strip).ok()?;
        Some(Self { changes, decoded })
    }

    /// Each of these files would lose a line that no file has.
    pub(super) fn that_fits_nowhere(paths: &[BString]) -> Self {
        let line = HunkLine { kind: LineKind::Remove, bytes: "".into() };
        let (start, lines) = (usize::MAX, vec![line]);
        let hunk = Hunk { old_start: start, old_len: 1, new_start: start, new_len: 0, lines, line: 1 };
        let change = |path: &BString| FileChange {
            old_path: Some(path.clone()),
            new_path: Some(path.clone()),
            old_mode: None,
            new_mode: None,
            kind: ChangeKind::Modify,
            old_id: None,
            new_id: None,
            content: Content::Text(vec![hunk.clone()]),
            line: 1,
        };
        let changes = paths.iter().map(change).collect();
        Self { changes, decoded: None }
    }
}

/// Where the message ends, as `git mailinfo` sees it: at a `---` line, a diff, or an `Index:` line.
pub(super) fn message_end(text: &[u8]) -> usize {
    let mut at = 0;
    let mut lines = text.lines_with_terminator().peekable();
    while let Some(line) = lines.next() {
        let plain = line.trim_end();
        let rule = plain == b"---" || line.starts_with(b"diff -") || line.starts_with(b"Index: ");
        if rule || starts_change(line, lines.peek().copied()) {
            return at;
        }
        at += line.len();
    }
    at
}

/// Where the first change starts.
fn diff_offset(text: &[u8]) -> usize {
    let mut at = 0;
    let mut lines = text.lines_with_terminator().peekable();
    while let Some(line) = lines.next() {
        if starts_change(line, lines.peek().copied()) || line.starts_with(b"@@ -") {
            return at;
        }
        at += line.len();
    }
    at
}

/// Does this line count what a diff changes (`git help diff`, `--stat`)?
fn is_of_diffstat(line: &[u8]) -> bool {
    let counted = |(_, count): (&[u8], &[u8])| {
        let count = count.trim_start();
        count.starts_with(b"Bin") || count.first().is_some_and(u8::is_ascii_digit)
    };
    line.starts_with(b" ") && line.split_once_str(" | ").is_some_and(counted)
}

/// Was a mail without a diff cut off? Its fields begin at `start`, its body and what is under its message at the places that
/// are given. Git ends fields with an empty line, a message without a diff with a line end and, if not told otherwise, a
/// signature; what we write has a `---` line. What is no mail ends as it likes.
fn is_cut(text: &[u8], start: usize, fields: Option<&Fields>, body: usize, message_end: usize) -> bool {
    if start == 0 && !fields.is_some_and(is_mail) {
        return false;
    }
    let ours = text.starts_with(header::BEGIN);
    let ended = text[message_end..].starts_with(b"---")
        || text[body..].lines().any(|line| line.trim_end_with(|c| c == '\r') == b"-- ");
    let head = text[start..body].trim_end_with(|c| c == '\r' || c == '\n');
    let gap = text[start + head.len()..body].find_iter(b"\n").count();
    gap < 2 || (!ended && (ours || !text.ends_with(b"\n")))
}

/// Is this a header of ours or of the field's, and not a sentence with a colon?
fn known(fields: &Fields) -> bool {
    const NAMES: [&str; 8] =
        ["from", "subject", "date", "description", "author", "origin", "bug", "forwarded"];
    fields.iter().any(|(n, _)| NAMES.contains(&n.to_ascii_lowercase().as_str()))
}

fn is_mail(fields: &Fields) -> bool {
    header::get(fields, "From").is_some()
        && header::get(fields, "Subject").is_some()
        && header::get(fields, "Description").is_none()
        && header::get(fields, "Author").is_none()
}

/// A header in the form of DEP-3 alone (<https://dep-team.pages.debian.net/deps/dep3/>).
fn from_tags(file: &str, fields: &Fields, body: &[u8]) -> Header {
    let author = header::get(fields, "Author").or(header::get(fields, "From")).map(|v| header::person(v));
    let date =
        header::get(fields, "Date").or(header::get(fields, "Last-Update")).and_then(|v| header::date(v));
    let told = header::get(fields, "Description").or(header::get(fields, "Subject")).unwrap_or_default();
    let mut lines = told.lines().map(|l| l.strip_prefix(b" ").unwrap_or(l));
    let subject = lines.next().unwrap_or_default().trim();
    let subject = if subject.is_empty() { stem(file).as_bytes() } else { subject };
    let mut message = [subject, b"\n"].concat();
    let long: Vec<&[u8]> = lines.map(|l| if l == b"." { &b""[..] } else { l }).collect();
    let tags = fields
        .iter()
        .filter(|(n, _)| {
            !["description", "subject", "author", "from"].contains(&n.to_ascii_lowercase().as_str())
        })
        .map(|(n, v)| [n.as_bytes(), b": ", v].concat())
        .collect::<Vec<_>>();
    for part in [long.join(&b'\n').trim(), body.trim(), tags.join(&b'\n').as_slice()] {
        if !part.is_empty() {
            message.extend_from_slice(b"\n");
            message.extend_from_slice(part);
            message.extend_from_slice(b"\n");
        }
    }
    build(author, date, message)
}

/// Free text above a diff, as quilt writes it.
fn from_text(file: &str, body: &[u8]) -> Header {
    let body = body.trim();
    let text = if body.is_empty() { stem(file).as_bytes() } else { body };
    build(None, None, [text, b"\n"].concat())
}

fn build(author: Option<Identity>, date: Option<Date>, message: Vec<u8>) -> Header {
    Header {
        author: author
            .unwrap_or_else(|| Identity { name: "unknown".into(), email: "unknown@localhost".into() }),
        date: date.unwrap_or(Date { seconds: 0, offset_minutes: 0 }),
        message: message.into(),
    }
}

/// The text of a mail whose body has a transfer encoding; `None` if it has none.
fn decode(bytes: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
    let start = match bytes.find_byte(b'\n') {
        Some(n) if bytes.starts_with(b"From ") => n + 1,
        _ => 0,
    };
    let Some((fields, rest)) = header::fields(&bytes[start..]) else { return Ok(None) };
    let encoding = header::get(&fields, "Content-Transfer-Encoding").unwrap_or_default().to_ascii_lowercase();
    if !matches!(encoding.as_slice(), b"quoted-printable" | b"base64") {
        return Ok(None);
    }
    let mail =
        mailparse::parse_mail(&bytes[start..]).map_err(|_| Reason::Mail("its encoding cannot be undone"))?;
    let body = mail.get_body_raw().map_err(|_| Reason::Mail("its encoding cannot be undone"))?;
    let head = bytes[..bytes.len() - rest.len()].to_str_lossy();
    let mut text = String::new();
    for line in head.lines() {
        let encoded = line.to_ascii_lowercase().starts_with("content-transfer-encoding:");
        text.push_str(if encoded { "Content-Transfer-Encoding: 8bit" } else { line });
        text.push('\n');
    }
    let mut text = text.into_bytes();
    text.extend_from_slice(&body);
    Ok(Some(text))
}
