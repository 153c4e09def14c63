//! A message's trailers, changed: set, added, or taken out. All else of the message stays to the byte.

use bstr::{BString, ByteSlice};

use super::header::field;
use super::metadata::footer_start;

/// The message with the trailer `name: value` in its footer: in place of the one of that name, else as its last line.
pub fn set_trailer(message: &[u8], name: &str, value: &str) -> BString {
    put(message, name, value, true)
}

/// The message with one more trailer, unless it has this very one.
pub fn add_trailer(message: &[u8], name: &str, value: &str) -> BString {
    put(message, name, value, false)
}

fn put(message: &[u8], name: &str, value: &str, replace: bool) -> BString {
    let line = format!("{name}: {value}\n");
    let text = message.trim_end();
    let start = footer_start(text);
    let mut out = Vec::with_capacity(message.len() + line.len() + 2);
    let Some(start) = start else {
        out.extend_from_slice(text);
        out.extend_from_slice(b"\n\n");
        out.extend_from_slice(line.as_bytes());
        return out.into();
    };
    out.extend_from_slice(&text[..start]);
    let (mut done, mut inside) = (false, false);
    for row in text[start..].lines() {
        if inside && (row.starts_with(b" ") || row.starts_with(b"\t")) {
            continue;
        }
        inside = false;
        let here = field(row).filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match here {
            Some(_) if replace => {
                inside = true;
                if !done {
                    out.extend_from_slice(line.as_bytes());
                }
                done = true;
                continue;
            }
            Some((_, there)) if there == value.as_bytes() => done = true,
            _ => {}
        }
        out.extend_from_slice(row);
        out.push(b'\n');
    }
    if !done {
        out.extend_from_slice(line.as_bytes());
    }
    out.into()
}

/// The message without the lines `Name: value` whose name is `local`, with their continuations; and these lines. A
/// paragraph of which nothing is left goes with its blank line.
pub fn without_trailers(message: &[u8], local: impl Fn(&str) -> bool) -> (BString, Vec<String>) {
    let mut gone = Vec::new();
    let mut paragraphs: Vec<Vec<&[u8]>> = vec![Vec::new()];
    let mut inside = false;
    for (at, row) in message.lines_with_terminator().enumerate() {
        let plain = row.trim_end();
        if plain.is_empty() {
            inside = false;
            paragraphs.push(Vec::new());
            continue;
        }
        if inside && (row.starts_with(b" ") || row.starts_with(b"\t")) {
            continue;
        }
        inside = at > 0 && field(plain).is_some_and(|(name, _)| local(name));
        if inside {
            gone.push(plain.to_str_lossy().into_owned());
        } else if let Some(last) = paragraphs.last_mut() {
            last.push(row);
        }
    }
    if gone.is_empty() {
        return (message.into(), gone);
    }
    let kept: Vec<Vec<u8>> = paragraphs.iter().filter(|p| !p.is_empty()).map(|p| p.concat()).collect();
    (kept.join(&b'\n').into(), gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_is_replaced_in_its_place_or_ends_the_footer() {
        let set = |m: &str| set_trailer(m.as_bytes(), "Forwarded", "https://h/1").to_string();
        assert_eq!(set("s\n"), "s\n\nForwarded: https://h/1\n");
        assert_eq!(set("s\n\nwords\n"), "s\n\nwords\n\nForwarded: https://h/1\n");
        assert_eq!(
            set("s\n\nforwarded: no\n and more\nSigned-off-by: x\n"),
            "s\n\nForwarded: https://h/1\nSigned-off-by: x\n"
        );
        assert_eq!(set("s\n\nBug: b\n\n"), "s\n\nBug: b\nForwarded: https://h/1\n");
        assert_eq!(set(&set("s\n\nw\n")), set("s\n\nw\n"));
        let twice = add_trailer(&add_trailer(b"s\n", "Signed-off-by", "a"), "Signed-off-by", "b");
        assert_eq!(twice, "s\n\nSigned-off-by: a\nSigned-off-by: b\n");
        assert_eq!(add_trailer(&twice, "Signed-off-by", "a"), twice);
    }

    #[test]
    fn local_lines_go_with_their_continuations_and_their_paragraph() {
        let local = |name: &str| name.starts_with("Carry-") || name == "Forwarded";
        let strip = |m: &str| without_trailers(m.as_bytes(), local).0.to_string();
        assert_eq!(strip("Carry-x: a subject stays\n"), "Carry-x: a subject stays\n");
        assert_eq!(strip("s\n\nwords\n\nCarry-Owner: a\nForwarded: no\n more\n"), "s\n\nwords\n");
        assert_eq!(strip("s\n\nCarry-Owner: a\n\nSigned-off-by: b\n"), "s\n\nSigned-off-by: b\n");
        assert_eq!(strip("s\n\nw\nForwarded: no\nSigned-off-by: b\n"), "s\n\nw\nSigned-off-by: b\n");
        assert_eq!(strip("s\n\n\nno such line\n"), "s\n\n\nno such line\n");
        let (_, gone) = without_trailers(b"s\n\nCarry-Owner: a\n", local);
        assert_eq!(gone, ["Carry-Owner: a"]);
    }
}
