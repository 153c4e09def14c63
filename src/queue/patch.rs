//! A patch file as a value, and back.

use std::collections::BTreeSet;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;
use sha2::{Digest, Sha256};

use super::change::{Content, FileChange};
use super::diff::{parse_diff, starts_change};
use super::error::{QueueError, Reason};
use super::header::{self, Date, Fields, Header, Identity};
use super::metadata::{Metadata, read_metadata};
use super::patch_id::patch_id;
use super::series::stem;

/// One local change: one commit's worth, one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The file, from the queue's folder, with `/` between components.
    pub file: String,
    /// How many leading components its paths lose (`-pN`).
    pub strip: usize,
    /// Why it is left out, by the series or a `Carry-Hold` trailer.
    pub hold: Option<String>,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, in hex.
    pub digest: String,
    /// Author, date and message.
    pub header: Header,
    /// What it does to files; empty for a patch that is only a message.
    pub changes: Vec<FileChange>,
    /// What its header says in the field's own words.
    pub metadata: Metadata,
    /// The text with its transfer encoding undone, where the mail has one.
    decoded: Option<Vec<u8>>,
    /// Where the diff starts in the text.
    diff_start: usize,
    /// Where the part between message and diff starts: the `---` line, if there is one.
    message_end: usize,
}

impl Patch {
    /// Its name: the file's stem.
    pub fn name(&self) -> &str {
        stem(&self.file)
    }

    /// The first line of its message, as text.
    pub fn subject(&self) -> String {
        self.header.message.lines().next().unwrap_or_default().to_str_lossy().into_owned()
    }

    /// The binary files that it names without holding their data: they are passed over.
    pub fn omitted(&self) -> Vec<String> {
        let omitted = self.changes.iter().filter(|c| c.content == Content::BinaryOmitted);
        omitted.map(|c| c.path().to_string()).collect()
    }

    /// Its patch-id, if its diff is written as git writes it.
    pub fn patch_id(&self) -> Option<ObjectId> {
        let text: &[u8] = self.decoded.as_deref().unwrap_or(&self.bytes);
        let diff = &text[self.diff_start..];
        let files = diff.lines().filter(|l| l.starts_with(b"diff --git ")).count();
        (self.strip == 1 && files == self.changes.len()).then(|| patch_id(diff))?
    }

    /// Reads a patch file. `file` is its name in the queue, `strip` the `-p` level.
    pub fn parse(file: &str, bytes: Vec<u8>, strip: usize) -> Result<Self, QueueError> {
        let fail = |line, reason| QueueError::new(file, line, reason);
        let decoded = decode(&bytes).map_err(|r| fail(1, r))?;
        let text: &[u8] = decoded.as_deref().unwrap_or(&bytes);
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
        if changes.is_empty() && is_cut(text, start, fields.as_ref().map(|(f, _)| f), body_start, message_end)
        {
            return Err(fail(first_line, Reason::CutOff));
        }
        let extra: Vec<(String, BString)> = fields.map(|(f, _)| f).unwrap_or_default();
        let metadata = read_metadata(&header.message, &extra);
        let hold = metadata.hold.clone();
        let digest = digest(&bytes);
        let file = file.to_owned();
        Ok(Self {
            file,
            strip,
            hold,
            digest,
            header,
            changes,
            metadata,
            decoded,
            diff_start,
            message_end,
            bytes,
        })
    }

    /// The file's bytes with another diff (of strip level 1). What stands above stays to the byte; a stale
    /// diffstat between the `---` line and the diff, and a signature under it, go.
    pub fn with_diff(&self, diff: &[u8]) -> Vec<u8> {
        let text: &[u8] = self.decoded.as_deref().unwrap_or(&self.bytes);
        let mut out = text[..self.message_end].to_vec();
        let between = &text[self.message_end..self.diff_start];
        if between.starts_with(b"---") {
            out.extend_from_slice(b"---\n\n");
        } else {
            out.extend_from_slice(between);
        }
        out.extend_from_slice(diff);
        out
    }

    /// The file's bytes with another header; what stands between it and the diff, and the diff, stay to the byte.
    pub fn with_header(&self, header: &Header) -> Vec<u8> {
        let text: &[u8] = self.decoded.as_deref().unwrap_or(&self.bytes);
        let mut out = header::write(header);
        let rule = text[self.message_end..].lines().next().is_some_and(|line| line.trim_end() == b"---");
        if rule {
            out.truncate(out.len() - header::END.len());
            out.extend_from_slice(&text[self.message_end..]);
        } else {
            out.extend_from_slice(&text[self.diff_start..]);
        }
        out
    }
}

/// SHA-256 of a patch file, in hex.
pub fn digest(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A canonical patch file.
pub fn render(header: &Header, diff: &[u8]) -> Vec<u8> {
    let mut out = header::write(header);
    out.extend_from_slice(diff);
    out
}

/// A file name from a subject, as `git format-patch` makes it but without a number; unlike any in `taken`.
pub fn file_name(subject: &str, taken: &BTreeSet<String>) -> String {
    let mut name = String::new();
    for c in subject.chars() {
        if name.len() >= 52 {
            break;
        }
        if c.is_ascii_alphanumeric() || c == '_' || (c == '.' && !name.ends_with('.')) {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_matches(['-', '.']);
    let name = if name.is_empty() { "patch" } else { name };
    // Folders on many systems tell no upper from lower case.
    let is_taken = |name: &str| taken.iter().any(|t| t.eq_ignore_ascii_case(name));
    let first = format!("{name}.patch");
    if !is_taken(&first) {
        return first;
    }
    (2u32..).map(|n| format!("{name}-{n}.patch")).find(|n| !is_taken(n)).unwrap_or(first)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIFF: &[u8] = b"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";

    fn header(name: &[u8], message: &[u8]) -> Header {
        Header {
            author: Identity { name: name.into(), email: "a@b".into() },
            date: Date { seconds: 1_700_000_000, offset_minutes: 330 },
            message: message.into(),
        }
    }

    #[test]
    fn a_plain_message_needs_no_hidden_copy() {
        let h = header(b"Zo\xc3\xab Q. Public", b"subject here\n\nbody\n\nSigned-off-by: a <a@b>\n");
        let text = render(&h, DIFF);
        assert!(!text.contains_str("X-Carry"), "{}", text.as_bstr());
        let patch = Patch::parse("a.patch", text.clone(), 1).expect("it parses");
        assert_eq!(patch.header, h);
        assert_eq!(patch.with_diff(DIFF), text);
        assert_eq!(patch.changes.len(), 1);
    }

    #[test]
    fn an_edit_of_the_visible_subject_wins_over_the_hidden_copy() {
        let text = render(&header(b"A", b"two\nlines\n\nbody"), DIFF);
        assert!(text.contains_str("X-Carry-Message"));
        let edited = text.replace("[PATCH] two lines", "[PATCH] mine");
        let patch = Patch::parse("a.patch", edited, 1).expect("it parses");
        assert_eq!(patch.header.message, "mine\n\nbody\n");
    }

    #[test]
    fn the_forms_of_the_field_are_read() {
        let dep3 = [b"Description: fix it\n long\n .\n more\nAuthor: A B <a@b>\nForwarded: no\nLast-Update: 2024-02-03\n---\n", DIFF].concat();
        let patch = Patch::parse("fix.patch", dep3.clone(), 1).expect("DEP-3");
        assert_eq!(
            patch.header.message,
            "fix it\n\nlong\n\nmore\n\nForwarded: no\nLast-Update: 2024-02-03\n"
        );
        assert_eq!(patch.header.author.email, "a@b");
        assert_eq!(patch.header.date.seconds, 1_706_918_400);
        assert_eq!(patch.metadata.forwarded.as_deref(), Some("no"));
        assert_eq!(patch.with_diff(DIFF), dep3.replace("---\ndiff", "---\n\ndiff"));
        let bare = Patch::parse("topic/fix-x.patch", DIFF.to_vec(), 1).expect("a diff alone");
        assert_eq!((bare.name(), bare.header.message.as_slice()), ("fix-x", b"fix-x\n".as_slice()));
        let encoded = [b"From: =?UTF-8?q?Zo=C3=AB?= <z@x>\nSubject: [PATCH 1/2] [tag] =?UTF-8?q?f=C3=BCr?=\nDate: Tue, 14 Nov 2023 22:13:20 -0500\nContent-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=utf-8\n\nb=C3=B6dy\n---\n 1 file\n\n", DIFF].concat();
        let patch = Patch::parse("m.patch", encoded, 1).expect("a mail");
        assert_eq!(patch.header.message, "[tag] für\n\nbödy\n");
        assert_eq!(
            (patch.header.author.name.as_slice(), patch.header.date.offset_minutes),
            ("Zoë".as_bytes(), -300)
        );
    }

    #[test]
    fn a_file_without_header_and_diff_is_refused() {
        assert!(Patch::parse("x.patch", b"just words\n".to_vec(), 1).is_err());
        let empty = render(&header(b"A", b"Start of the queue\n"), b"");
        assert!(Patch::parse("x.patch", empty, 1).expect("an empty patch").changes.is_empty());
    }

    #[test]
    fn names_come_from_subjects_and_do_not_clash() {
        let taken = BTreeSet::from(["Fix-it.patch".to_owned()]);
        assert_eq!(file_name("fix: it!", &taken), "fix-it-2.patch");
        assert_eq!(file_name("../..", &BTreeSet::new()), "patch.patch");
    }

    proptest! {
        #[test]
        fn any_author_and_message_survive_to_the_byte(
            name in proptest::collection::vec(any::<u8>(), 0..12),
            message in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                "([ \\[\\]:a-zF\\n-]|---\n|diff --git a/x b/x\n|From: x\n|=\\?|\r){0,30}".prop_map(String::into_bytes),
            ],
            seconds in 0i64..4_000_000_000, offset_minutes in -720i32..840,
        ) {
            let name: Vec<u8> = name.into_iter().filter(|b| *b != 0).collect();
            let h = Header {
                author: Identity { name: name.into(), email: "a@b".into() },
                date: Date { seconds, offset_minutes },
                message: message.into(),
            };
            let patch = Patch::parse("x.patch", render(&h, DIFF), 1).expect("what is written is read");
            prop_assert_eq!(&patch.header, &h);
            prop_assert_eq!(patch.changes.len(), 1);
            prop_assert_eq!(patch.with_diff(DIFF), render(&h, DIFF));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Patch::parse("x.patch", bytes, 1);
        }
    }
}
