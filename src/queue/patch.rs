//! A patch file as a value, and back.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;
use sha2::{Digest, Sha256};

use super::change::{Content, FileChange};
use super::error::QueueError;
use super::header::{self, Header};
use super::metadata::Metadata;
use super::patch_id::patch_id;
use super::readings::Reading;
use super::series::stem;
use super::text::{Parts, Text, read};
use crate::store::{Unchanged, blob_id};

/// One local change: one commit's worth, one file.
///
/// What its diff says is read when it is asked for, where the same text was read before ([`super::Readings`]).
#[derive(Debug, Clone)]
pub struct Patch {
    /// The file, from the queue's folder, with `/` between components.
    pub file: String,
    /// How many leading components its paths lose (`-pN`).
    pub strip: usize,
    /// Why it is left out, by the series or a `Carry-Hold` trailer.
    pub hold: Option<String>,
    /// SHA-256 of the bytes, in hex.
    pub digest: String,
    /// Author, date and message.
    pub header: Header,
    /// What its header says in the field's own words.
    pub metadata: Arc<Metadata>,
    /// The paths that it touches, the old ones of moved files too.
    pub paths: Vec<BString>,
    /// The binary files that it names without holding their data: they are passed over.
    pub omitted: Vec<BString>,
    /// The file's bytes, where they were asked for.
    bytes: OnceLock<Vec<u8>>,
    /// Where else they are.
    stored: Option<Arc<Unchanged>>,
    patch_id: OnceLock<Option<ObjectId>>,
    parts: Parts,
    text: OnceLock<Text>,
}

/// A patch is what its file is.
impl PartialEq for Patch {
    fn eq(&self, other: &Self) -> bool {
        (&self.file, self.strip, &self.hold, &self.digest)
            == (&other.file, other.strip, &other.hold, &other.digest)
    }
}

impl Eq for Patch {}

impl Patch {
    /// Its name: the file's stem.
    pub fn name(&self) -> &str {
        stem(&self.file)
    }

    /// The file's bytes. Nothing, if they could not be had any more ([`super::Queue::lost`]).
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get_or_init(|| {
            let stored = self.stored.as_ref();
            stored.and_then(|s| s.text(&self.file, |text| digest(text) == self.digest)).unwrap_or_default()
        })
    }

    /// Were its bytes asked for?
    #[cfg(test)]
    pub(super) fn is_read(&self) -> bool {
        self.bytes.get().is_some()
    }

    /// A file whose bytes were asked for and could not be had.
    pub(super) fn lost(&self) -> Option<&str> {
        self.stored.as_ref()?.lost()
    }

    /// The blob of its bytes and their length, in a repository of these ids.
    pub(super) fn blob(&self, hash: gix_hash::Kind) -> Option<(ObjectId, u64)> {
        let made = || Some((blob_id(hash, self.bytes())?, u64::try_from(self.bytes().len()).ok()?));
        let known = self.stored.as_ref().and_then(|stored| stored.blob(&self.file));
        known.map(|blob| (blob.id, blob.len)).or_else(made)
    }

    /// The first line of its message, as text.
    pub fn subject(&self) -> String {
        self.header.message.lines().next().unwrap_or_default().to_str_lossy().into_owned()
    }

    /// What is to be said of binary files that it names without holding their data.
    pub fn note_of_omitted(&self) -> Option<String> {
        let files: Vec<String> = self.omitted.iter().map(ToString::to_string).collect();
        let files = files.join(", ");
        (!files.is_empty()).then(|| format!("it holds no data for {files}: empty if new, else as before"))
    }

    /// What it does to files; empty for a patch that is only a message.
    pub fn changes(&self) -> &[FileChange] {
        &self.text().changes
    }

    /// Its patch-id, if its diff is written as git writes it.
    pub fn patch_id(&self) -> Option<ObjectId> {
        let told = || {
            let (_, _, diff) = self.divided();
            let files = diff.lines().filter(|l| l.starts_with(b"diff --git ")).count();
            (self.strip == 1 && files == self.changes().len()).then(|| patch_id(diff))?
        };
        *self.patch_id.get_or_init(told)
    }

    /// The same, if it was worked out already.
    pub(super) fn known_id(&self) -> Option<Option<ObjectId>> {
        self.patch_id.get().copied()
    }

    /// The text without transfer encoding: what is above the part between message and diff, that part, and the diff.
    fn divided(&self) -> (&[u8], &[u8], &[u8]) {
        let whole = match self.parts.is_encoded {
            true => self.text().decoded.as_deref().unwrap_or(self.bytes()),
            false => self.bytes(),
        };
        let (head, diff) = whole.split_at_checked(self.parts.diff_start).unwrap_or((whole, &[]));
        let (above, between) = head.split_at_checked(self.parts.message_end).unwrap_or((head, &[]));
        (above, between, diff)
    }

    fn text(&self) -> &Text {
        self.text.get_or_init(|| {
            // It was read before, or there would be no patch. Were it not so, it must change nothing.
            Text::again(&self.file, self.bytes(), self.strip, &self.parts)
                .filter(|text| text.changes.is_empty() == self.paths.is_empty())
                .unwrap_or_else(|| Text::that_fits_nowhere(&self.paths))
        })
    }

    /// Where its parts are.
    pub(super) fn parts(&self) -> Parts {
        self.parts
    }

    /// Reads a patch file. `file` is its name in the queue, `strip` the `-p` level.
    pub fn parse(file: &str, bytes: Vec<u8>, strip: usize) -> Result<Self, QueueError> {
        let (text, parts, header, metadata) = read(file, &bytes, strip)?;
        let mut paths: Vec<BString> = text.changes.iter().flat_map(FileChange::paths).cloned().collect();
        paths.dedup();
        let omitted = text.changes.iter().filter(|c| c.content == Content::BinaryOmitted);
        Ok(Self {
            file: file.to_owned(),
            strip,
            hold: metadata.hold.clone(),
            digest: digest(&bytes),
            header,
            metadata: metadata.into(),
            paths,
            omitted: omitted.map(|c| c.path().clone()).collect(),
            patch_id: OnceLock::new(),
            parts,
            text: text.into(),
            bytes: bytes.into(),
            stored: None,
        })
    }

    /// A patch whose text was read before, by what was read of it.
    pub(super) fn again(reading: Reading, digest: String, bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), ..Self::known(reading, digest, None) }
    }

    /// The same of a file that is unchanged: it is read when its text is asked for.
    pub(super) fn stored(reading: Reading, digest: String, files: Arc<Unchanged>) -> Self {
        Self::known(reading, digest, Some(files))
    }

    fn known(reading: Reading, digest: String, stored: Option<Arc<Unchanged>>) -> Self {
        let Reading { file, strip, header, metadata, paths, omitted, patch_id, parts } = reading;
        Self {
            hold: metadata.hold.clone(),
            patch_id: patch_id.map_or_else(OnceLock::new, OnceLock::from),
            parts,
            text: OnceLock::new(),
            bytes: OnceLock::new(),
            stored,
            file,
            strip,
            digest,
            header,
            metadata,
            paths,
            omitted,
        }
    }

    /// The file's bytes with another diff (of strip level 1). What stands above stays to the byte; a stale
    /// diffstat between the `---` line and the diff, and a signature under it, go.
    pub fn with_diff(&self, diff: &[u8]) -> Vec<u8> {
        let (above, between, _) = self.divided();
        let mut out = above.to_vec();
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
        let (_, between, diff) = self.divided();
        let mut out = header::write(header);
        if between.lines().next().is_some_and(|line| line.trim_end() == b"---") {
            out.truncate(out.len() - header::END.len());
            out.extend_from_slice(between);
        }
        out.extend_from_slice(diff);
        out
    }
}

/// SHA-256 of a patch file, in hex.
pub fn digest(bytes: &[u8]) -> String {
    faster_hex::hex_string(&Sha256::digest(bytes))
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

#[cfg(test)]
mod tests {
    use super::super::header::{Date, Identity};
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
        assert_eq!(patch.changes().len(), 1);
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
        assert!(Patch::parse("x.patch", empty, 1).expect("an empty patch").changes().is_empty());
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
            prop_assert_eq!(patch.changes().len(), 1);
            prop_assert_eq!(patch.with_diff(DIFF), render(&h, DIFF));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Patch::parse("x.patch", bytes, 1);
        }
    }
}
