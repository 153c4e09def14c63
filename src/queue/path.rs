//! Paths in diffs: C quoting, `-p` levels, and what is refused.

use bstr::BString;

use super::error::Reason;

/// Reads a C-quoted name at the start of `text` (which begins with `"`): the name, and what follows it.
pub(super) fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let (&c, tail) = rest.split_first()?;
        rest = tail;
        match c {
            b'"' => return Some((out, rest)),
            b'\\' => {
                let (&e, tail) = rest.split_first()?;
                rest = tail;
                out.push(match e {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'"' | b'\\' => e,
                    b'0'..=b'3' => {
                        let digits = rest.get(..2)?;
                        if !digits.iter().all(|d| (b'0'..=b'7').contains(d)) {
                            return None;
                        }
                        rest = &rest[2..];
                        (e - b'0') << 6 | (digits[0] - b'0') << 3 | (digits[1] - b'0')
                    }
                    _ => return None,
                });
            }
            _ => out.push(c),
        }
    }
}

/// `path` without its first `strip` components; `None` when it has no more than that.
pub(super) fn strip_components(path: &[u8], strip: usize) -> Option<&[u8]> {
    let mut rest = path;
    for _ in 0..strip {
        let slash = rest.iter().position(|&c| c == b'/')?;
        rest = &rest[slash + 1..];
        while let Some(tail) = rest.strip_prefix(b"/") {
            rest = tail;
        }
    }
    (!rest.is_empty()).then_some(rest)
}

/// The path, when it may stand in a tree: relative, inside it, and not git's own.
pub fn checked(path: &[u8]) -> Result<BString, Reason> {
    let bad = path.is_empty()
        || path.contains(&0)
        || path
            .split(|&c| c == b'/')
            .any(|part| matches!(part, b"" | b"." | b"..") || part.eq_ignore_ascii_case(b".git"));
    if bad { Err(Reason::BadPath(path.into())) } else { Ok(path.into()) }
}

/// The path of a diff's name at the strip level, checked.
pub(super) fn stripped(name: &[u8], strip: usize) -> Result<BString, Reason> {
    if name.first() == Some(&b'/') {
        return Err(Reason::BadPath(name.into()));
    }
    checked(strip_components(name, strip).ok_or_else(|| Reason::BadPath(name.into()))?)
}
