//! A patch's header: author, date and message, to and from the text above the diff.
//!
//! The visible form is what `git format-patch` writes and `git am` reads. A commit whose author or message would not
//! survive it to the byte carries them once more in `X-Carry-…` mail headers, which count only as long as the
//! visible form says the same: an edit by hand wins.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bstr::{BStr, BString, ByteSlice};

/// A person, as git names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: BString,
    /// The mail address.
    pub email: BString,
}

/// A moment and the zone it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Seconds since 1970 in UTC.
    pub seconds: i64,
    /// The zone's distance from UTC in minutes.
    pub offset_minutes: i32,
}

/// What a patch says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who wrote the change.
    pub author: Identity,
    /// When.
    pub date: Date,
    /// The commit's message, to the byte.
    pub message: BString,
}

/// Mail header lines, unfolded: name and value.
pub(super) type Fields = Vec<(String, BString)>;

/// Splits lines `Name: value` with their continuations off the front of `text`; what follows the blank line is
/// returned as well. `None` if the first line is no field.
pub(super) fn fields(text: &[u8]) -> Option<(Fields, &[u8])> {
    let mut out: Fields = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find_byte(b'\n').map_or(rest.len(), |n| n + 1);
        let line = rest[..end].trim_end_with(|c| matches!(c, '\r' | '\n'));
        if line.is_empty() {
            rest = &rest[end..];
            break;
        }
        if let (true, Some((_, value))) = (line.starts_with(b" ") || line.starts_with(b"\t"), out.last_mut())
        {
            value.push(b'\n');
            value.extend_from_slice(line);
        } else if let Some((name, value)) = field(line) {
            out.push((name.to_owned(), value.into()));
        } else if out.is_empty() {
            return None;
        } else {
            // Free text right under the fields: they end here.
            break;
        }
        rest = &rest[end..];
    }
    (!out.is_empty()).then_some((out, rest))
}

/// `Name: value` of one line.
pub(super) fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.find_byte(b':')?;
    let name = line[..colon].to_str().ok()?;
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    good.then(|| (name, line[colon + 1..].trim_with(|c| matches!(c, ' ' | '\t'))))
}

/// The value of the field `name`, in whatever case.
pub(super) fn get<'f>(fields: &'f Fields, name: &str) -> Option<&'f BStr> {
    fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_bstr())
}

/// A folded value as one line: what a mail reader shows.
fn unfold(value: &[u8]) -> BString {
    let lines: Vec<&[u8]> = value.lines().map(|l| l.trim_with(|c| matches!(c, ' ' | '\t'))).collect();
    let joined = lines.join(&b' ');
    if joined.contains_str("=?") {
        let raw = [b"X: ".as_slice(), &value.lines().collect::<Vec<_>>().join("\r\n ".as_bytes()), b"\r\n"]
            .concat();
        if let Ok((header, _)) = mailparse::parse_header(&raw) {
            return header.get_value().into();
        }
    }
    joined.into()
}

/// `Name <mail>`, the name perhaps quoted.
pub(super) fn person(value: &[u8]) -> Identity {
    let value = unfold(value);
    let (name, email) = match (value.rfind_byte(b'<'), value.rfind_byte(b'>')) {
        (Some(open), Some(close)) if open < close => (value[..open].trim(), &value[open + 1..close]),
        _ if value.contains(&b'@') && !value.contains(&b' ') => (value.as_slice(), value.as_slice()),
        _ => (value.as_slice(), b"unknown@localhost".as_slice()),
    };
    let mut plain = Vec::with_capacity(name.len());
    if name.len() >= 2 && name.starts_with(b"\"") && name.ends_with(b"\"") {
        let mut bytes = name[1..name.len() - 1].iter();
        while let Some(byte) = bytes.next() {
            plain.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
        }
    } else {
        plain.extend_from_slice(name);
    }
    Identity { name: plain.into(), email: email.into() }
}

/// A mail's date, or a plain day.
pub(super) fn date(value: &[u8]) -> Option<Date> {
    let text = unfold(value).to_str_lossy().into_owned();
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    if let Ok(zoned) = parser.parse_zoned_datetime(text.trim()) {
        let seconds = zoned.timestamp().as_second();
        return Some(Date { seconds, offset_minutes: zoned.offset().seconds() / 60 });
    }
    if let Ok(day) = text.trim().parse::<jiff::civil::Date>() {
        let zoned = day.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?;
        return Some(Date { seconds: zoned.timestamp().as_second(), offset_minutes: 0 });
    }
    mailparse::dateparse(text.trim()).ok().map(|seconds| Date { seconds, offset_minutes: 0 })
}

/// The header that a mail's fields and body say. `body` ends where the diff or its `---` line begins.
pub(super) fn from_mail(fields: &Fields, body: &[u8]) -> Header {
    let visible = visible(fields, body);
    hidden(fields).filter(|h| reread(h).is_some_and(|again| again == visible)).unwrap_or(visible)
}

/// What a reader of the mail sees.
fn visible(fields: &Fields, body: &[u8]) -> Header {
    let unknown = || Identity { name: "unknown".into(), email: "unknown@localhost".into() };
    let mut author = get(fields, "From").map_or_else(unknown, |v| person(v));
    let mut when = get(fields, "Date").and_then(|v| date(v));
    let mut subject = get(fields, "Subject").map(|v| strip_tag(unfold(v))).unwrap_or_default();
    let mut body = skip_blank_lines(body);
    // As `git mailinfo`: fields at the head of the body stand for the mail's own.
    if let Some((inner, rest)) = self::fields(body)
        && inner.iter().all(|(n, _)| ["from", "date", "subject"].contains(&n.to_ascii_lowercase().as_str()))
        && get(&inner, "From").is_some()
    {
        author = get(&inner, "From").map_or(author, |v| person(v));
        when = get(&inner, "Date").and_then(|v| date(v)).or(when);
        subject = get(&inner, "Subject").map(|v| unfold(v)).unwrap_or(subject);
        body = skip_blank_lines(rest);
    }
    let mut message: Vec<u8> = subject.into();
    message.push(b'\n');
    let body = body.trim_end();
    if !body.is_empty() {
        message.push(b'\n');
        for line in body.lines() {
            message.extend_from_slice(line);
            message.push(b'\n');
        }
    }
    Header { author, date: when.unwrap_or(Date { seconds: 0, offset_minutes: 0 }), message: message.into() }
}

fn skip_blank_lines(mut text: &[u8]) -> &[u8] {
    while let Some(end) = text.find_byte(b'\n').filter(|n| text[..*n].trim().is_empty()) {
        text = &text[end + 1..];
    }
    text
}

/// The subject without the `[PATCH …]` that format-patch puts before it; other tags are the message's own.
fn strip_tag(subject: BString) -> BString {
    let text = subject.trim();
    if text.starts_with(b"[PATCH")
        && let Some(end) = text.find_byte(b']')
    {
        return text[end + 1..].trim().into();
    }
    text.into()
}

/// What the `X-Carry-…` fields say.
fn hidden(fields: &Fields) -> Option<Header> {
    let bytes = |name: &str| {
        let text: Vec<u8> = get(fields, name)?.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        BASE64.decode(text).ok()
    };
    let message = bytes("X-Carry-Message")?;
    let author = bytes("X-Carry-Author")?;
    let mut parts = author.splitn(4, |b| *b == 0);
    let (name, email) = (parts.next()?, parts.next()?);
    let mut number = || parts.next().and_then(|b| b.to_str().ok()).and_then(|t| t.parse::<i64>().ok());
    let date = Date { seconds: number()?, offset_minutes: i32::try_from(number()?).ok()? };
    Some(Header {
        author: Identity { name: name.into(), email: email.into() },
        date,
        message: message.into(),
    })
}

/// The visible header that comes back when `header` is written and read.
fn reread(header: &Header) -> Option<Header> {
    let text = write_visible(header, &[]);
    let (fields, rest) = fields(text.find_byte(b'\n').map_or(&text[..], |n| &text[n + 1..]))?;
    let body = &rest[..super::text::message_end(rest)];
    Some(visible(&fields, body))
}

/// What begins a patch file that we write: the line of a mailbox, with no commit's id, as `git format-patch --zero-commit` has
/// it.
pub(super) const BEGIN: &[u8] = b"From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001";
/// What ends a header.
pub(super) const END: &[u8] = b"---\n\n";

/// The header's text, up to and with the `---` line and the blank line under it.
pub(super) fn write(header: &Header) -> Vec<u8> {
    if reread(header).as_ref() == Some(header) {
        return write_visible(header, &[]);
    }
    let mut author: Vec<u8> = Vec::new();
    author.extend_from_slice(&header.author.name);
    author.push(0);
    author.extend_from_slice(&header.author.email);
    author.extend_from_slice(format!("\0{}\0{}", header.date.seconds, header.date.offset_minutes).as_bytes());
    let mut extra = Vec::new();
    for (name, value) in [("X-Carry-Author", author.as_slice()), ("X-Carry-Message", &header.message)] {
        extra.extend_from_slice(format!("{name}:").as_bytes());
        for piece in BASE64.encode(value).as_bytes().chunks(72) {
            extra.push(b' ');
            extra.extend_from_slice(piece);
            extra.push(b'\n');
        }
        if value.is_empty() {
            extra.push(b'\n');
        }
    }
    write_visible(header, &extra)
}

fn write_visible(header: &Header, extra: &[u8]) -> Vec<u8> {
    let mut out = [BEGIN, b"\nFrom: "].concat();
    let name = one_line(&header.author.name);
    if name.iter().any(|c| b"()<>@,;:\\\".[]".contains(c)) {
        out.push(b'"');
        for byte in name.iter() {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(&name);
    }
    out.extend_from_slice(b" <");
    out.extend_from_slice(&one_line(&header.author.email));
    out.extend_from_slice(format!(">\nDate: {}\n", written_date(&header.date)).as_bytes());

    let message = skip_blank_lines(&header.message);
    let (subject, body) = match message.find("\n\n") {
        Some(at) => (&message[..at], &message[at + 2..]),
        None => (message, &b""[..]),
    };
    let mut line = Vec::from(*b"Subject: [PATCH]");
    for word in subject.split(|b| matches!(b, b' ' | b'\n' | b'\r')).filter(|w| !w.is_empty()) {
        if line.len() + 1 + word.len() > 78 {
            out.append(&mut line);
            out.push(b'\n');
        }
        line.push(b' ');
        line.extend_from_slice(word);
    }
    out.append(&mut line);
    out.push(b'\n');
    if !name.is_ascii() || !header.message.is_ascii() {
        out.extend_from_slice(b"MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n");
        out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\n");
    }
    out.extend_from_slice(extra);
    out.push(b'\n');
    let body = body.trim_end();
    if !body.is_empty() {
        for line in body.split(|b| *b == b'\n') {
            // A line that a reader would take for the message's end is set in; the hidden copy has it as it is.
            let ends = line.trim_end() == b"---"
                || [&b"diff -"[..], b"Index: ", b"--- ", b"@@ -"].iter().any(|start| line.starts_with(start));
            if ends {
                out.push(b' ');
            }
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    out.extend_from_slice(END);
    out
}

fn one_line(text: &[u8]) -> BString {
    text.iter().map(|b| if matches!(b, b'\n' | b'\r' | 0) { b' ' } else { *b }).collect::<Vec<u8>>().into()
}

/// As git prints a mail's date: `Tue, 24 Nov 2026 07:55:43 +0000`.
fn written_date(date: &Date) -> String {
    let offset = jiff::tz::Offset::from_seconds(date.offset_minutes.saturating_mul(60))
        .unwrap_or(jiff::tz::Offset::UTC);
    let moment = jiff::Timestamp::from_second(date.seconds).unwrap_or_default();
    moment.to_zoned_datetime(offset.to_time_zone()).strftime("%a, %-d %b %Y %H:%M:%S %z").to_string()
}
