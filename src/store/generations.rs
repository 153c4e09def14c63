//! The corrected dates of commits, from git's graph of commits (`gitformat-commit-graph(5)`, chunks `GDA2` and `GDO2`): a commit's
//! is later than those of its parents, and mostly its own date. Going by them, a walk stays near what it looks for, where by the
//! length of the longest line (the older generation number) it may pass through all of a fork's former rebases.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// How much later than its own date each commit's corrected date is, by its place in the graph in the folder `info`, which has so
/// many commits. None where a file of it does not tell.
pub(super) fn later(info: &Path, commits: u32) -> Option<Vec<u64>> {
    let mut all = Vec::with_capacity(commits as usize);
    for path in files(info)? {
        of_file(&path, &mut all)?;
    }
    (all.len() == commits as usize).then_some(all)
}

/// The graph's files, the oldest first (`gitformat-commit-graph(5)`, "File layout").
fn files(info: &Path) -> Option<Vec<PathBuf>> {
    let whole = info.join("commit-graph");
    if whole.is_file() {
        return Some(vec![whole]);
    }
    let folder = info.join("commit-graphs");
    let chain = std::fs::read_to_string(folder.join("commit-graph-chain")).ok()?;
    Some(chain.lines().map(|hash| folder.join(format!("graph-{hash}.graph"))).collect())
}

/// A chunk's entry in the table of contents: its name, and where it begins.
const ENTRY: usize = 12;
const HEAD: usize = 8;
/// The rest of the number is the place of a large one in `GDO2`.
const LARGE: u32 = 1 << 31;

fn of_file(path: &Path, all: &mut Vec<u64>) -> Option<()> {
    let mut file = File::open(path).ok()?;
    let mut head = [0; HEAD];
    file.read_exact(&mut head).ok()?;
    // The name, the version, the kind of hash, how many chunks, how many files are under this one.
    let chunks = usize::from(*head.strip_prefix(b"CGPH\x01")?.get(1)?);
    let mut table = vec![0; (chunks + 1) * ENTRY];
    file.read_exact(&mut table).ok()?;
    let mut chunk = |name: &[u8]| -> Option<Vec<u8>> {
        let mut entries = table.chunks_exact(ENTRY);
        let begin = entries.find(|entry| entry.starts_with(name))?;
        let [begin, end] = [begin, entries.next()?].map(|entry| number(&entry[4..]));
        let size = usize::try_from(end?.checked_sub(begin?)?).ok()?;
        // What a damaged table says is not believed.
        if size as u64 > file.metadata().ok()?.len() {
            return None;
        }
        let mut data = vec![0; size];
        file.seek(SeekFrom::Start(begin?)).ok()?;
        file.read_exact(&mut data).ok()?;
        Some(data)
    };
    let offsets = chunk(b"GDA2")?;
    let large = chunk(b"GDO2").unwrap_or_default();
    for offset in offsets.chunks_exact(4) {
        let offset = u32::from_be_bytes(offset.try_into().ok()?);
        all.push(match offset & LARGE {
            0 => u64::from(offset),
            _ => number(large.chunks_exact(8).nth((offset ^ LARGE) as usize)?)?,
        });
    }
    Some(())
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
