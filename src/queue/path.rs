//! Paths in diffs: C quoting, `-p` levels, and what is refused.

use bstr::{BString, ByteSlice};
use gix_validate::path::component;

use super::error::Reason;
use crate::store::tree::MODE_LINK;

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

/// What git refuses with `core.protectHFS` and `core.protectNTFS`: a build is checked out on machines that nobody here
/// knows. What only Windows cannot have as a name (`aux.c`) may stand in a tree.
const GUARD: component::Options =
    component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };

/// The path, when a file may stand there in a tree: relative, inside it, and git's own folder on no system.
pub(super) fn checked(path: &[u8]) -> Result<BString, Reason> {
    checked_as(path, None)
}

/// The same, for what has this mode: a link may not stand for `.gitmodules`.
pub fn checked_as(path: &[u8], mode: Option<u32>) -> Result<BString, Reason> {
    let link = mode.is_some_and(|mode| mode & 0o170000 == MODE_LINK).then_some(component::Mode::Symlink);
    let good = |part: &[u8]| component(part.as_bstr(), link, GUARD).is_ok();
    // `git fsck` looks behind each backslash, too: elsewhere it parts folders.
    let behind = |part: &[u8]| {
        part.split(|byte| *byte == b'\\').all(|piece| matches!(piece, b"" | b"." | b"..") || good(piece))
    };
    let fits = !path.contains(&0) && path.split(|byte| *byte == b'/').all(|part| good(part) && behind(part));
    if fits { Ok(path.into()) } else { Err(Reason::BadPath(path.into())) }
}

/// The path of a diff's name at the strip level, checked.
pub(super) fn stripped(name: &[u8], strip: usize) -> Result<BString, Reason> {
    if name.first() == Some(&b'/') {
        return Err(Reason::BadPath(name.into()));
    }
    checked(strip_components(name, strip).ok_or_else(|| Reason::BadPath(name.into()))?)
}
