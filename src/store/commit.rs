//! Commits as values, to and from git's raw format (`gitformat-commit`: header lines, a blank line, the message).

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

/// Who and when, as a commit's `author` and `committer` lines say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name.
    pub name: BString,
    /// The mail address.
    pub email: BString,
    /// Seconds since 1970 in UTC.
    pub seconds: i64,
    /// The zone's distance from UTC in minutes.
    pub offset_minutes: i32,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its tree.
    pub tree: ObjectId,
    /// Its parents, in order.
    pub parents: Vec<ObjectId>,
    /// Who wrote the change.
    pub author: Signature,
    /// Who made the commit.
    pub committer: Signature,
    /// The message, to the byte.
    pub message: BString,
}

impl Commit {
    /// Reads git's raw format. The error says what is missing.
    pub fn parse(raw: &[u8]) -> Result<Self, &'static str> {
        let (mut tree, mut parents, mut author, mut committer) = (None, Vec::new(), None, None);
        let mut rest = raw;
        loop {
            let (line, tail) = rest.split_once_str("\n").ok_or("no blank line after its header")?;
            rest = tail;
            if line.is_empty() {
                break;
            }
            if let Some(hex) = line.strip_prefix(b"tree ") {
                tree = ObjectId::from_hex(hex).ok();
            } else if let Some(hex) = line.strip_prefix(b"parent ") {
                parents.push(ObjectId::from_hex(hex).map_err(|_| "a parent that is no id")?);
            } else if let Some(who) = line.strip_prefix(b"author ") {
                author = Signature::parse(who);
            } else if let Some(who) = line.strip_prefix(b"committer ") {
                committer = Signature::parse(who);
            }
        }
        Ok(Self {
            tree: tree.ok_or("no tree")?,
            parents,
            author: author.ok_or("no author")?,
            committer: committer.ok_or("no committer")?,
            message: rest.into(),
        })
    }

    /// Writes git's raw format.
    pub fn raw(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ROOM + self.message.len());
        push(&mut out, format_args!("tree {}\n", self.tree));
        for parent in &self.parents {
            push(&mut out, format_args!("parent {parent}\n"));
        }
        for (role, who) in [("author", &self.author), ("committer", &self.committer)] {
            out.extend_from_slice(role.as_bytes());
            out.push(b' ');
            who.write(&mut out);
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(&self.message);
        out
    }

    /// The first line of the message, as text.
    pub fn subject(&self) -> String {
        self.message.trim_start().lines().next().unwrap_or_default().trim().to_str_lossy().into_owned()
    }
}

impl Signature {
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.find_byte(b'<')?;
        let close = line.rfind_byte(b'>')?;
        let email = line.get(open + 1..close)?;
        let mut words = line[close + 1..].fields();
        let seconds = words.next().and_then(|w| w.to_str().ok()).and_then(|w| w.parse().ok()).unwrap_or(0);
        let zone =
            words.next().and_then(|w| w.to_str().ok()).and_then(|w| w.parse::<i32>().ok()).unwrap_or(0);
        let offset_minutes = zone.signum() * (zone.abs() / 100 * 60 + zone.abs() % 100);
        Some(Self { name: line[..open].trim_end().into(), email: email.into(), seconds, offset_minutes })
    }

    /// `Name <mail> seconds zone`; bytes that git forbids in a name or a mail address are left out.
    fn write(&self, out: &mut Vec<u8>) {
        let allowed = |b: &u8| !matches!(b, b'<' | b'>' | b'\n' | 0);
        out.extend(self.name.trim().iter().copied().filter(allowed));
        out.extend_from_slice(b" <");
        out.extend(self.email.iter().copied().filter(allowed));
        let zone = self.offset_minutes.abs();
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        push(out, format_args!("> {} {sign}{:02}{:02}", self.seconds, zone / 60, zone % 60));
    }
}

/// What a commit has besides its message has room in so many bytes, most often.
const ROOM: usize = 320;

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // To write into memory does not fail.
    let _ = std::io::Write::write_fmt(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_survives_reading_and_writing() {
        let raw = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
            author \xc4\x90 X <a@b> 1700000000 -0330\ncommitter C <c@d> 1700000001 +0530\n\nsubject\n\n\xff body without end";
        let commit = Commit::parse(raw).expect("it is well formed");
        assert_eq!(commit.author.offset_minutes, -210);
        assert_eq!(commit.raw().as_bstr(), raw.as_bstr());
        assert_eq!(commit.subject(), "subject");
    }
}
