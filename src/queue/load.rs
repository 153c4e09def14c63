//! A project's queue from its folder, with all that is wrong with it at once.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use foldhash::{HashSet, HashSetExt as _};
use rustix::fs::{Mode, OFlags};

use super::error::{QueueError, Reason};
use super::patch::Patch;
use super::readings::Readings;
use super::series::{Entry, Series, stem};
use crate::store::{Unchanged, begin_in, cores};

/// No patch is larger; a file that is would only fill the memory.
const LARGEST: u64 = 256 << 20;
/// So many patches are worth a thread.
const WORTH_A_THREAD: usize = 64;

/// The ordered patches of one project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    /// The `series` file.
    pub series: Series,
    /// The patches in its order, held ones too.
    pub patches: Vec<Patch>,
}

impl Queue {
    /// Reads the queue in `folder`. A folder that is not there, or is empty, is an empty queue. Patch files that are
    /// `known` are not taken apart again, and those that are `unchanged` besides not opened before their text is asked for.
    pub fn load(
        folder: &Path,
        known: &Readings,
        unchanged: Option<&Arc<Unchanged>>,
    ) -> Result<Self, Vec<QueueError>> {
        let mut listed = Vec::new();
        list(folder, "", &mut listed).map_err(|e| vec![e])?;
        let series = match read(&folder.join("series")) {
            Ok(bytes) => bytes,
            Err(_) if listed.is_empty() && !folder.join("series").exists() => Vec::new(),
            Err(why) => return Err(vec![QueueError::new("series", 0, Reason::Io(why))]),
        };
        let series = Series::parse("series", &series).map_err(|e| vec![e])?;
        let named: HashSet<&str> = series.entries().map(|entry| entry.file.as_str()).collect();
        listed.retain(|file| !named.contains(file.as_str()));
        listed.sort_unstable();
        let queue = Self::from_folder(series, folder, known, unchanged);
        if listed.is_empty() {
            return queue;
        }
        let mut faults = queue.err().unwrap_or_default();
        faults.extend(listed.iter().map(|file| QueueError::new(file.as_str(), 0, Reason::Unlisted)));
        Err(faults)
    }

    /// The queue of a series and of whatever `read` gives for the files it names.
    pub fn from_files(
        series: &[u8],
        mut read: impl FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, Vec<QueueError>> {
        let series = Series::parse("series", series).map_err(|e| vec![e])?;
        let known = Readings::default();
        let patches: Vec<_> = series.entries().map(|entry| Some(patch(entry, &mut read, &known))).collect();
        Self::of(series, patches)
    }

    /// The same of the files in a folder, on all cores.
    fn from_folder(
        series: Series,
        folder: &Path,
        known: &Readings,
        unchanged: Option<&Arc<Unchanged>>,
    ) -> Result<Self, Vec<QueueError>> {
        let entries: Vec<&Entry> = series.entries().collect();
        // The way to it is gone once, and not for each file.
        let folder = File::open(folder).map_err(|e| e.to_string());
        let share = entries.len().div_ceil(cores()).max(WORTH_A_THREAD);
        // Each has its place from the start: a patch is large to be moved about.
        let mut patches: Vec<Option<Result<Patch, QueueError>>> = entries.iter().map(|_| None).collect();
        std::thread::scope(|threads| {
            let load = |entries: &[&Entry], places: &mut [Option<Result<Patch, QueueError>>]| {
                let mut read = |file: &str| match &folder {
                    Ok(folder) => read_in(folder, file),
                    Err(why) => Err(why.clone()),
                };
                for (entry, place) in entries.iter().zip(places) {
                    let unread = unchanged.and_then(|files| known.unchanged(&entry.file, entry.strip, files));
                    *place = Some(match unread {
                        Some(patch) => Ok(held(patch, entry)),
                        None => patch(entry, &mut read, known),
                    });
                }
            };
            let mut shares = entries.chunks(share).zip(patches.chunks_mut(share));
            let first = shares.next();
            for (entries, places) in shares {
                begin_in(threads, move || load(entries, places));
            }
            if let Some((entries, places)) = first {
                load(entries, places);
            }
        });
        Self::of(series, patches)
    }

    /// The queue of a series and what became of its files, in its order.
    fn of(series: Series, read: Vec<Option<Result<Patch, QueueError>>>) -> Result<Self, Vec<QueueError>> {
        let mut faults = Vec::new();
        let mut names: HashSet<String> = HashSet::with_capacity(read.len());
        for ((line, entry), patch) in series.numbered().zip(&read) {
            if !names.insert(entry.name().to_ascii_lowercase()) {
                faults.push(QueueError::new("series", line, Reason::Duplicate(entry.name().into())));
                continue;
            }
            if let Some(Err(fault)) = patch {
                faults.push(fault.clone());
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        // In the memory of what was read.
        let patches = read.into_iter().filter_map(|patch| patch?.ok()).collect();
        Ok(Self { series, patches })
    }

    /// A patch file whose text was asked for and could not be had any more: it changed since the queue was read, and git no
    /// longer has it as it was. What was worked out of the queue then holds no more.
    pub fn lost(&self) -> Option<&str> {
        // All that are unchanged are of one folder.
        self.patches.iter().find_map(Patch::lost)
    }

    /// The patch `name`.
    pub fn get(&self, name: &str) -> Option<&Patch> {
        self.patches.iter().find(|p| p.name() == stem(name))
    }
}

/// One patch of a series.
fn patch(
    entry: &Entry,
    read: &mut impl FnMut(&str) -> Result<Vec<u8>, String>,
    known: &Readings,
) -> Result<Patch, QueueError> {
    let bytes = read(&entry.file).map_err(|why| QueueError::new(entry.file.as_str(), 0, Reason::Io(why)))?;
    let patch = match known.patch(&entry.file, entry.strip, bytes) {
        Ok(patch) => patch,
        Err(bytes) => Patch::parse(&entry.file, bytes, entry.strip)?,
    };
    Ok(held(patch, entry))
}

/// The series has the first word of whether a patch is held.
fn held(mut patch: Patch, entry: &Entry) -> Patch {
    patch.hold = entry.hold.clone().or(patch.hold);
    patch
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_all(File::open(path).map_err(|e| e.to_string())?)
}

fn read_in(folder: &File, file: &str) -> Result<Vec<u8>, String> {
    let opened = rustix::fs::openat(folder, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    read_all(opened.map_err(|e| std::io::Error::from(e).to_string())?.into())
}

fn read_all(mut file: File) -> Result<Vec<u8>, String> {
    let io = |e: std::io::Error| e.to_string();
    let size = file.metadata().map_err(io)?.len();
    if size > LARGEST {
        return Err(format!("it has {size} bytes, more than a patch may have"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // By way of `take` the size is not asked for once more.
    file.by_ref().take(LARGEST).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// All patch files under `folder`, in no order, by their names from there. Links are not followed.
pub(super) fn list(folder: &Path, prefix: &str, out: &mut Vec<String>) -> Result<(), QueueError> {
    let io = |e: std::io::Error| {
        QueueError::new(if prefix.is_empty() { "." } else { prefix }, 0, Reason::Io(e.to_string()))
    };
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && prefix.is_empty() => return Ok(()),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() && !name.starts_with('.') {
            list(&entry.path(), &path, out)?;
        } else if name.ends_with(".patch") || name.ends_with(".diff") {
            out.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str =
        "From: A <a@b>\nSubject: x\n\n---\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        dir
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let dir = folder(&[
            ("series", "a.patch\nmissing.patch\nsub/A.patch\nbad.patch\n"),
            ("a.patch", PATCH),
            ("sub/A.patch", PATCH),
            ("bad.patch", "From: x\nSubject: y\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n-a\n"),
            ("sub/unlisted.patch", PATCH),
        ]);
        let faults: Vec<String> = Queue::load(dir.path(), &Readings::default(), None)
            .expect_err("four faults")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(faults.len(), 4, "{faults:#?}");
        assert!(faults[0].starts_with("missing.patch: cannot be read"));
        assert_eq!(faults[1], "series, line 3: 'A' is named twice");
        assert!(faults[2].starts_with("bad.patch, line "), "{}", faults[2]);
        assert_eq!(faults[3], "sub/unlisted.patch: the series does not name this file");
    }

    #[test]
    fn held_patches_are_loaded_and_say_why() {
        let dir = folder(&[("series", "#hold a.patch waits\n"), ("a.patch", PATCH)]);
        let queue = Queue::load(dir.path(), &Readings::default(), None).expect("it is right");
        assert_eq!(queue.patches[0].hold.as_deref(), Some("waits"));
    }

    #[test]
    fn an_empty_folder_is_an_empty_queue_and_patches_without_series_are_a_fault() {
        assert!(
            Queue::load(folder(&[]).path(), &Readings::default(), None).expect("empty").patches.is_empty()
        );
        assert!(Queue::load(folder(&[("a.patch", PATCH)]).path(), &Readings::default(), None).is_err());
    }
}
