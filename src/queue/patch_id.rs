//! A diff's identity, as `git patch-id --stable` has it: line numbers and white space play no part, nor the order of
//! the files (`git help patch-id`).

use bstr::ByteSlice;
use gix_hash::ObjectId;

/// The patch-id of a diff in git's format (`diff --git` lines); none for one that changes nothing.
pub fn patch_id(diff: &[u8]) -> Option<ObjectId> {
    let mut sum = Sum { total: [0; 20], file: Vec::new() };
    let mut ids: [&[u8]; 2] = [b"", b""];
    let mut any = false;
    let mut state = State::Between;
    for line in diff.lines_with_terminator() {
        if line.starts_with(b"\\ ") && line.len() > 12 {
            continue;
        }
        if !any && !line.starts_with(b"diff ") {
            continue;
        }
        if let State::Between = state {
            state = State::Header;
        } else if matches!(state, State::Header) {
            if line.starts_with(b"GIT binary patch") || line.starts_with(b"Binary files") {
                sum.file.extend_from_slice(ids[0]);
                sum.file.extend_from_slice(ids[1]);
                sum.close();
                state = State::Binary;
                continue;
            } else if let Some(both) = line.strip_prefix(b"index ") {
                let both = both.fields().next().unwrap_or_default();
                let (old, new) = both.split_once_str("..").unwrap_or((both, b""));
                ids = [old, new];
                continue;
            } else if line.starts_with(b"--- ") {
                state = State::Hunk(1, 1);
            } else if !line.first().is_some_and(u8::is_ascii_alphabetic) {
                break;
            }
        }
        if let State::Binary = state {
            // git passes over the next file's first line here, and so must this.
            if line.starts_with(b"diff ") {
                state = State::Header;
            }
            continue;
        }
        if let State::Hunk(0, 0) = state {
            if line.starts_with(b"@@ -") {
                let (old, new) = hunk(line);
                state = State::Hunk(old, new);
                continue;
            }
            if !line.starts_with(b"diff ") {
                break;
            }
            sum.close();
            state = State::Header;
        }
        if let State::Hunk(old, new) = &mut state {
            let first = line.first();
            *old -= i64::from(matches!(first, Some(b'-' | b' ')));
            *new -= i64::from(matches!(first, Some(b'+' | b' ')));
        }
        let text = line.split(|b| *b == 0).next().unwrap_or_default();
        let before = sum.file.len();
        sum.file.extend(text.iter().filter(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')));
        any |= sum.file.len() > before;
    }
    sum.close();
    any.then(|| ObjectId::from_bytes_or_panic(&sum.total))
}

/// Where in a diff a line is.
enum State {
    /// Before the first file.
    Between,
    /// Above a file's first hunk.
    Header,
    /// In the data of a binary file.
    Binary,
    /// In a hunk: how many old and new lines are still to come.
    Hunk(i64, i64),
}

/// The sum over the files, as numbers of 20 bytes, the lowest byte first.
struct Sum {
    total: [u8; 20],
    file: Vec<u8>,
}

impl Sum {
    /// Adds the hash of the file at hand.
    fn close(&mut self) {
        let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
        hasher.update(&std::mem::take(&mut self.file));
        // It only fails on bytes made to collide, which are nobody's patch.
        let Ok(hash) = hasher.try_finalize() else { return };
        let mut carry = 0u16;
        for (total, byte) in self.total.iter_mut().zip(hash.as_slice()) {
            carry += u16::from(*total) + u16::from(*byte);
            *total = (carry & 0xff) as u8;
            carry >>= 8;
        }
    }
}

/// The lengths that a hunk's head names.
fn hunk(line: &[u8]) -> (i64, i64) {
    let mut words = line.fields().skip(1);
    let mut length = || {
        let word = words.next().unwrap_or_default();
        match word.split_once_str(",") {
            Some((_, n)) => n.to_str().ok().and_then(|n| n.parse().ok()).unwrap_or(0),
            None => 1,
        }
    };
    (length(), length())
}
