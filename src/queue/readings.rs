//! What was read of patch files, kept in a file from run to run by the SHA-256 of their bytes: a patch file that did not
//! change is not taken apart again, and not even opened where it is known to be a certain blob ([`Unchanged`]). What is kept is
//! all but the diff, which few patches of a run are asked for.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bstr::{BString, ByteSlice};
use foldhash::HashMap;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::header::{Date, Header, Identity};
use super::metadata::Metadata;
use super::patch::Patch;
use super::text::Parts;
use crate::store::{Unchanged, keep, kept};

/// What reads a patch file. Read by another version of it the same text may say something else.
const READER: [&str; 11] = [
    include_str!("binary.rs"),
    include_str!("change.rs"),
    include_str!("diff.rs"),
    include_str!("header.rs"),
    include_str!("metadata.rs"),
    include_str!("patch.rs"),
    include_str!("patch_id.rs"),
    include_str!("path.rs"),
    include_str!("readings.rs"),
    include_str!("series.rs"),
    include_str!("text.rs"),
];

/// What such a file begins with: of another reader's nothing is taken.
fn heading() -> &'static [u8] {
    static HEADING: OnceLock<Vec<u8>> = OnceLock::new();
    HEADING.get_or_init(|| {
        let mut sum = crc32fast::Hasher::new();
        READER.iter().for_each(|source| sum.update(source.as_bytes()));
        format!("git-carry patches {} {:08x}\n", env!("CARGO_PKG_VERSION"), sum.finalize()).into_bytes()
    })
}

/// What was read before. The file is read when it is asked for first.
#[derive(Debug, Default)]
pub struct Readings {
    file: Option<PathBuf>,
    known: OnceLock<Known>,
}

/// The file's bytes, and where in them each text's reading is.
#[derive(Debug, Default)]
struct Known {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// By the text's SHA-256, and by its blob.
    by_sum: OnceLock<HashMap<Sum, usize>>,
    by_blob: OnceLock<HashMap<(ObjectId, u64), usize>>,
}

/// Where the reading of a text is.
#[derive(Debug)]
struct Place {
    sum: Sum,
    /// The blob that the text is where git converts nothing, and how long it is.
    blob: Option<(ObjectId, u64)>,
    at: Range<usize>,
}

/// A text's SHA-256.
type Sum = [u8; 32];

/// What was read of a patch file.
pub(super) struct Reading {
    pub file: String,
    pub strip: usize,
    pub header: Header,
    pub metadata: Arc<Metadata>,
    pub paths: Vec<BString>,
    pub omitted: Vec<BString>,
    /// Its patch-id, if that was asked for.
    pub patch_id: Option<Option<ObjectId>>,
    /// Where its parts are.
    pub parts: Parts,
}

/// The same as it is kept. `postcard` writes no field's name, and a patch has few of metadata's many: they are JSON.
#[derive(Serialize, Deserialize)]
struct Kept<S, T, P> {
    file: S,
    strip: usize,
    author: [T; 2],
    date: (i64, i32),
    message: T,
    metadata: String,
    paths: P,
    omitted: P,
    patch_id: Option<Option<ObjectId>>,
    parts: Parts,
}

impl Readings {
    /// Those that are kept in a file; it need not be there.
    pub fn at(file: PathBuf) -> Self {
        Self { file: Some(file), known: OnceLock::new() }
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| self.file.as_deref().and_then(read).unwrap_or_default())
    }

    /// The patch that these bytes are, if the very same were read before as this file with this strip level.
    pub(super) fn patch(&self, file: &str, strip: usize, bytes: Vec<u8>) -> Result<Patch, Vec<u8>> {
        let known = self.known();
        if known.places.is_empty() {
            return Err(bytes);
        }
        let sum: Sum = Sha256::digest(&bytes).into();
        let numbered = || known.places.iter().enumerate().map(|(n, place)| (place.sum, n)).collect();
        let place = known.by_sum.get_or_init(numbered).get(&sum);
        match place.and_then(|place| known.reading(*place, file, strip)) {
            Some(reading) => Ok(Patch::again(reading, faster_hex::hex_string(&sum), bytes)),
            None => Err(bytes),
        }
    }

    /// The same of a file that is unchanged, without a look at it.
    pub(super) fn unchanged(&self, file: &str, strip: usize, files: &Arc<Unchanged>) -> Option<Patch> {
        let (known, blob) = (self.known(), files.blob(file)?);
        let numbered =
            || known.places.iter().enumerate().filter_map(|(n, place)| Some((place.blob?, n))).collect();
        let place = *known.by_blob.get_or_init(numbered).get(&(blob.id, blob.len))?;
        let reading = known.reading(place, file, strip)?;
        Some(Patch::stored(reading, faster_hex::hex_string(&known.places.get(place)?.sum), files.clone()))
    }
}

impl Known {
    fn reading(&self, place: usize, file: &str, strip: usize) -> Option<Reading> {
        let reading = Reading::of_kept(self.bytes.get(self.places.get(place)?.at.clone())?)?;
        (reading.file == file && reading.strip == strip).then_some(reading)
    }
}

/// What such a file has of a text before all readings: its SHA-256, its blob, and how long its reading is.
type Row = (Sum, Option<(ObjectId, u64)>, usize);

fn read(file: &Path) -> Option<Known> {
    let bytes = kept(file, heading())?;
    let (index, all) = postcard::take_from_bytes::<Vec<Row>>(&bytes).ok()?;
    let mut at = bytes.len() - postcard::from_bytes::<&[u8]>(all).ok()?.len();
    let places = index.into_iter().map(|(sum, blob, len)| {
        at += len;
        Place { sum, blob, at: at - len..at }
    });
    let places = places.collect();
    Some(Known { bytes, places, ..Known::default() })
}

/// Keeps what was read of these patches in a file, in the place of all that it had. `hash` says which ids the repository has
/// that they are in.
pub fn keep_readings<'p>(
    file: &Path,
    patches: impl Iterator<Item = &'p Patch>,
    hash: Option<gix_hash::Kind>,
) -> std::io::Result<()> {
    let (mut index, mut all) = (Vec::new(), Vec::new());
    for patch in patches {
        let before = all.len();
        let Header { author, date, message } = &patch.header;
        let metadata = match patch.metadata == Metadata::none() {
            true => String::new(),
            false => serde_json::to_string(&patch.metadata)?,
        };
        let kept = Kept {
            file: &patch.file,
            strip: patch.strip,
            author: [&author.name, &author.email],
            date: (date.seconds, date.offset_minutes),
            message,
            metadata,
            paths: &patch.paths,
            omitted: &patch.omitted,
            patch_id: patch.known_id(),
            parts: patch.parts(),
        };
        all = postcard::to_extend(&kept, all).map_err(std::io::Error::other)?;
        let mut sum = Sum::default();
        faster_hex::hex_decode(patch.digest.as_bytes(), &mut sum).map_err(std::io::Error::other)?;
        let row: Row = (sum, hash.and_then(|hash| patch.blob(hash)), all.len() - before);
        index.push(row);
    }
    keep(file, heading(), &(index, all.as_bstr()))
}

impl Reading {
    fn of_kept(bytes: &[u8]) -> Option<Self> {
        let kept: Kept<String, BString, Vec<BString>> = postcard::from_bytes(bytes).ok()?;
        let metadata = match kept.metadata.as_str() {
            "" => Metadata::none(),
            text => serde_json::from_str(text).ok()?,
        };
        let ([name, email], (seconds, offset_minutes)) = (kept.author, kept.date);
        let (author, date) = (Identity { name, email }, Date { seconds, offset_minutes });
        Some(Self {
            file: kept.file,
            strip: kept.strip,
            header: Header { author, date, message: kept.message },
            metadata,
            paths: kept.paths,
            omitted: kept.omitted,
            patch_id: kept.patch_id,
            parts: kept.parts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::patch_id;
    use crate::store::Plain;
    use crate::store::lab::Tree;

    const DIFF: &str = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";

    fn texts() -> Vec<(&'static str, usize, Vec<u8>)> {
        let of = |head: &str, diff: &str| [head, diff].concat().into_bytes();
        let mail = "From: Zo\u{eb} <z@x>\nDate: Tue, 14 Nov 2023 22:13:20 -0500\nSubject: [PATCH] UPSTREAM: 12: say\n\n\
                    more\n\nChange-Id: I123\nCarry-Hold: waits\nCarry-Group: g\nCarry-Required: yes\nFixes: 12\n---\n\n";
        let coded = "From: a <a@b>\nSubject: [PATCH] x\nContent-Transfer-Encoding: quoted-printable\n\nb=C3=B6dy\n---\n\n";
        let moved = "diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\n";
        let binary = "diff --git a/i.png b/i.png\nindex 1111111..2222222 100644\nBinary files a/i.png and b/i.png differ\n";
        vec![
            ("mail.patch", 1, of(mail, DIFF)),
            ("sub/coded.patch", 1, of(coded, DIFF)),
            ("bare.patch", 0, DIFF.replace("a/x", "x").replace("b/x", "x").into_bytes()),
            ("moved.patch", 1, of(mail, &[moved, binary].concat())),
            ("dep3.diff", 1, of("Description: fix\n long\nForwarded: no\nBug: u\nBug-X: v\n---\n", DIFF)),
            ("empty.patch", 1, of("From: a <a@b>\nSubject: [PATCH] start\n\n---\n\n", "")),
        ]
    }

    fn told(patch: &Patch) -> impl PartialEq + std::fmt::Debug {
        let Patch { file, strip, hold, digest, header, metadata, paths, omitted, .. } = patch.clone();
        let parts =
            (patch.changes().to_vec(), patch.patch_id(), patch.with_diff(b"d"), patch.with_header(&header));
        ((file, strip, hold, digest), (header, metadata, paths, omitted), parts)
    }

    #[test]
    fn what_was_read_is_as_if_it_were_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("p.patches");
        let parse = |(name, strip, text): &(&str, usize, Vec<u8>)| Patch::parse(name, text.clone(), *strip);
        let patches: Vec<Patch> = texts().iter().map(parse).collect::<Result<_, _>>().expect("all are right");
        // Some with their patch-id, some without.
        for patch in patches.iter().step_by(2) {
            assert_eq!(
                patch.patch_id(),
                (patch.strip == 1)
                    .then(|| patch_id(DIFF.as_bytes()))
                    .flatten()
                    .filter(|_| !patch.paths.is_empty())
            );
        }
        keep_readings(&file, patches.iter(), None).expect("written");
        let known = Readings::at(file);
        for (patch, (name, strip, text)) in patches.iter().zip(texts()) {
            let again = known.patch(name, strip, text.clone()).expect("it is known");
            assert!(again.known_id().is_some() == patch.known_id().is_some());
            assert_eq!(told(&again), told(patch), "{name}");
            assert_eq!(again, *patch);
            let not_same = [
                ("other.patch", strip, text.clone()),
                (name, strip + 1, text.clone()),
                (name, strip, [text.as_slice(), b"\n"].concat()),
            ];
            for (name, strip, text) in not_same {
                assert_eq!(known.patch(name, strip, text.clone()).expect_err("it is another"), text);
            }
        }
    }

    /// A work tree with these texts as its committed files, in `q`.
    fn committed(texts: &[(&'static str, usize, Vec<u8>)]) -> Tree {
        let tree = Tree::new(&["else"]);
        for (name, _, text) in texts {
            let path = tree.path("q").join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("written");
        }
        tree.git(&["add", "."]);
        tree.git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "two"]);
        tree.settled();
        tree
    }

    /// The first of the texts, committed, and the file in which its reading is kept.
    fn one_kept() -> (Tree, Plain, PathBuf) {
        let tree = committed(&texts()[..1]);
        let (name, strip, text) = texts().remove(0);
        let (plain, file) = (tree.plain().expect("it is plain"), tree.path(".git/p.patches"));
        let patch = Patch::parse(name, text, strip).expect("a patch");
        keep_readings(&file, std::iter::once(&patch), Some(plain.hash())).expect("written");
        (tree, plain, file)
    }

    #[test]
    fn a_file_that_is_unchanged_is_as_if_it_were_read_and_is_read_when_its_text_is_asked_for() {
        let texts = texts();
        let tree = committed(&texts);
        let plain = tree.plain().expect("it is plain");
        let parse = |(name, strip, text): &(&str, usize, Vec<u8>)| Patch::parse(name, text.clone(), *strip);
        let patches: Vec<Patch> = texts.iter().map(parse).collect::<Result<_, _>>().expect("all are right");
        let file = tree.path(".git/p.patches");
        let files = Arc::new(plain.unchanged("q").expect("it is known"));
        // Without ids none is known so.
        keep_readings(&file, patches.iter(), None).expect("written");
        assert_eq!(Readings::at(file.clone()).unchanged(texts[0].0, texts[0].1, &files), None);
        keep_readings(&file, patches.iter(), Some(plain.hash())).expect("written");
        let known = Readings::at(file.clone());
        let again: Vec<Patch> = texts
            .iter()
            .map(|(name, strip, _)| known.unchanged(name, *strip, &files).expect("it is known"))
            .collect();
        assert!(again.iter().all(|patch| !patch.is_read()), "none is read yet");
        for (name, strip, _) in &texts {
            assert_eq!(known.unchanged(name, strip + 1, &files), None);
        }
        // What is kept of them is the same, though nobody reads them.
        keep_readings(&tree.path("again"), again.iter(), Some(plain.hash())).expect("written");
        let kept = [file, tree.path("again")].map(|file| std::fs::read(file).expect("it is there"));
        assert_eq!(kept[0], kept[1]);
        assert!(again.iter().all(|patch| !patch.is_read()), "none is read yet");
        // One is changed meanwhile.
        tree.write(&format!("q/{}", texts[0].0), "something else\n");
        for (patch, again) in patches.iter().zip(&again) {
            assert_eq!((told(again), again.bytes()), (told(patch), patch.bytes()), "{}", patch.file);
            assert_eq!(again, patch);
        }
        assert_eq!(again[0].lost(), None);
        let files = Arc::new(plain.unchanged("q").expect("it is known"));
        assert_eq!(known.unchanged(texts[0].0, texts[0].1, &files), None, "it is not what it was");
    }

    #[test]
    fn a_file_that_git_converts_is_another_text_than_its_blob() {
        let (tree, plain, file) = one_kept();
        let (name, strip, _) = texts().remove(0);
        tree.write(".git/info/attributes", "*.patch text eol=crlf\n");
        let path = format!("q/{name}");
        std::fs::remove_file(tree.path(&path)).expect("gone");
        tree.git(&["checkout", "--", &path]);
        assert!(std::fs::read(tree.path(&path)).expect("it is there").contains(&b'\r'));
        tree.settled();
        let files = Arc::new(plain.unchanged("q").expect("it is known"));
        assert!(files.blob(name).is_some(), "to git it is unchanged");
        assert_eq!(Readings::at(file).unchanged(name, strip, &files), None);
    }

    /// Git has lost the blob, and the file is changed: the patch is told to be lost.
    #[test]
    fn a_text_that_is_nowhere_any_more_is_told() {
        let (tree, plain, file) = one_kept();
        let (name, strip, _) = texts().remove(0);
        let files = Arc::new(plain.unchanged("q").expect("it is known"));
        let again = Readings::at(file).unchanged(name, strip, &files).expect("it is known");
        let id = files.blob(name).expect("it is unchanged").id.to_string();
        std::fs::remove_file(tree.path(".git/objects").join(&id[..2]).join(&id[2..])).expect("it was there");
        std::fs::remove_file(tree.path(&format!("q/{name}"))).expect("it was there");
        assert_eq!(again.lost(), None);
        assert_eq!(again.changes()[0].path(), "x", "it must not be taken for one that changes nothing");
        assert_eq!(again.lost(), Some(name));
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("p.patches");
        let (name, strip, text) = texts().remove(0);
        let patch = Patch::parse(name, text.clone(), strip).expect("a patch");
        assert!(Readings::at(file.clone()).patch(name, strip, text.clone()).is_err());
        keep_readings(&file, std::iter::once(&patch), None).expect("written");
        let whole = std::fs::read(&file).expect("a file");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&file, bytes).expect("written");
            assert!(Readings::at(file.clone()).patch(name, strip, text.clone()).is_err(), "byte {at}");
        }
    }

    /// This cannot be, as only what was read is kept. Were it so, the patch must not be taken for one that changes nothing.
    #[test]
    fn a_text_that_cannot_be_read_again_fits_nowhere() {
        let patch = Patch::parse("x.patch", DIFF.into(), 1).expect("a patch");
        let parts = patch.parts();
        let Patch { file, strip, header, metadata, paths, omitted, digest, .. } = patch;
        let reading = Reading { file, strip, header, metadata, paths, omitted, patch_id: None, parts };
        let patch = Patch::again(reading, digest, b"no patch".to_vec());
        assert_eq!(patch.changes()[0].path(), "x");
        for content in [&b""[..], b"a\n", b"\n"] {
            assert!(crate::queue::apply(&patch.changes()[0], content).is_err());
        }
    }
}
