//! A repository kept small and quick, by git's own means: what lies about loose or in many packs becomes one, and what
//! nothing refers to any more goes after git's two weeks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::git::{Git, GitError};
use super::promised::{Promised, packs};
use super::{Repo, StoreError, refs};

/// So many loose objects are let lie. A workspace of many projects has a lock of some size in each of its commits, and only
/// packs hold the differences alone.
const LOOSE: &str = "gc.auto=1000";
/// So many packs, one of each night.
const PACKS: &str = "gc.autoPackLimit=20";
/// A pack of this size is left as it is: upstream's history is not packed again for our builds.
const LARGE: &str = "gc.bigPackThreshold=64m";

/// So many tags in files of their own are let lie.
const TAGS: usize = 50;

/// Puts refs into one file where a fetch brought many tags: whoever lists them opens a file each, and the objects that
/// they point to.
pub fn pack_refs(repo: &Repo) -> Result<(), GitError> {
    let loose = std::fs::read_dir(repo.path().join("refs/tags")).into_iter().flatten().take(TAGS + 1);
    if loose.count() > TAGS {
        repo.git().call(["pack-refs", "--all"]).output()?;
    }
    Ok(())
}

/// So many packs are joined, where others borrow.
const MANY: usize = 20;

/// Packs the repository if there is reason to. With `now`, packs it in any case, and lets go at once of what nothing refers
/// to: nobody else may be at work there. A user who said `gc.auto = 0` is not packed for.
pub fn tidy(git: &Git, now: bool) -> Result<(), GitError> {
    let foreground = ["-c", "gc.autoDetach=false"];
    if now {
        git.call(["reflog", "expire", "--expire-unreachable=now", "--all"]).output()?;
        git.call(foreground).args(["gc", "--quiet", "--prune=now"]).output()?;
        return Ok(());
    }
    let said = git.call(["config", "--get", "gc.auto"]).answer()?;
    if said.stdout.trim_ascii() == b"0" {
        return Ok(());
    }
    git.call(foreground).args(["-c", LOOSE, "-c", PACKS, "-c", LARGE, "gc", "--auto", "--quiet"]).output()?;
    Ok(())
}

/// Is all whole that a night reads: the refs and what they point at, the trees of those that `read` names, these `objects`,
/// and the graph of commits? For when something has failed. Older trees and what only history reaches are not looked at, so
/// that it takes as long as the trees are large, however much the repository holds.
pub fn is_sound(repo: &Repo, read: &[String], objects: &[ObjectId]) -> bool {
    // Where git cannot even be run, that is what is to be told.
    look(repo, read, objects).unwrap_or(true)
}

fn look(repo: &Repo, read: &[String], objects: &[ObjectId]) -> Result<bool, GitError> {
    let git = repo.git();
    let listed = git.call(["for-each-ref", "--format=%(objectname) %(refname)"]).answer()?;
    if listed.code != Some(0) || !graph_is_whole(repo.path()) {
        return Ok(false);
    }
    let refs: BTreeMap<&[u8], &[u8]> = listed
        .stdout
        .lines()
        .filter_map(|line| line.split_once_str(" "))
        .map(|(id, name)| (name, id))
        .collect();
    // Git leaves out what is no ref.
    if refs::files(repo.path()).iter().any(|name| !refs.contains_key(name.as_bytes())) {
        return Ok(false);
    }
    let roots: Vec<&[u8]> = read.iter().filter_map(|name| refs.get(name.as_bytes()).copied()).collect();
    let mut ids: Vec<u8> = refs.values().copied().collect::<Vec<_>>().join(&b'\n');
    ids.push(b'\n');
    ids.extend(objects.iter().flat_map(|id| format!("{id}\n").into_bytes()));
    if !roots.is_empty() {
        let mut call = git.call(["rev-list", "--objects", "--no-object-names", "--no-walk", "--stdin"]);
        if Promised::of(repo.path()).is_partial() {
            call = call.arg("--missing=print");
        }
        let trees = call.stdin([&roots.join(&b'\n')[..], b"\n"].concat()).answer()?;
        if trees.code != Some(0) {
            return Ok(false);
        }
        // What is promised comes when it is read.
        let here = trees.stdout.lines_with_terminator().filter(|line| !line.starts_with(b"?"));
        ids.extend(here.flatten());
    }
    if ids.trim().is_empty() {
        return Ok(true);
    }
    // What is missing is told and is no error here; what cannot be read is one below.
    let form = "--batch-check=%(objectname) %(objecttype)";
    let there = git.call(["cat-file", form, "--buffer"]).stdin(ids.clone()).answer()?;
    let kinds: [&[u8]; 4] = [b"commit", b"tree", b"blob", b"tag"];
    let is_there = |line: &[u8]| line.split_once_str(" ").is_some_and(|(_, kind)| kinds.contains(&kind));
    if there.code != Some(0) || !there.stdout.lines().all(is_there) {
        return Ok(false);
    }
    let Ok(nowhere) = std::fs::OpenOptions::new().write(true).open("/dev/null") else { return Ok(true) };
    let all = git.call(["cat-file", "--batch", "--buffer"]).stdin(ids).write_to(nowhere).answer()?;
    Ok(all.code == Some(0))
}

/// Are the files of the graph of commits what they were when they were written?
fn graph_is_whole(path: &Path) -> bool {
    let info = path.join("objects/info");
    let chain = std::fs::read_dir(info.join("commit-graphs")).into_iter().flatten().flatten();
    let chain = chain.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|e| e == "graph"));
    let one = Some(info.join("commit-graph")).filter(|file| file.exists());
    chain
        .chain(one)
        .all(|file| gix_commitgraph::File::at(file).is_ok_and(|graph| graph.verify_checksum().is_ok()))
}

/// Joins the packs of a repository from which others borrow, when there are many: small ones into larger ones (each twice the
/// next), under one index. Nothing goes, as nobody knows what is borrowed.
pub fn gather_packs(repo: &Repo) -> Result<(), StoreError> {
    let packs: Vec<PathBuf> = packs(&repo.path().join("objects"), "pack").collect();
    if packs.len() < MANY {
        return Ok(());
    }
    if repo.is_partial()? {
        return gather_promised(repo, packs);
    }
    repo.git().call(["repack", "-q", "--geometric=2", "-d", "--write-midx"]).output()?;
    Ok(())
}

/// The same where something is left out: all but the largest become one. Git's own way would forget by whose promise.
fn gather_promised(repo: &Repo, mut packs: Vec<PathBuf>) -> Result<(), StoreError> {
    let failed =
        |path: &Path, e: &std::io::Error| StoreError::Write { path: path.to_owned(), reason: e.to_string() };
    packs.sort_by_key(|path| std::fs::metadata(path).map_or(0, |file| file.len()));
    packs.pop();
    let names: String =
        packs.iter().filter_map(|path| Some(format!("{}\n", path.file_name()?.to_str()?))).collect();
    let folder = repo.path().join("objects/pack");
    let call = repo.git().call(["pack-objects", "--quiet", "--stdin-packs", "--delta-base-offset"]);
    let name = call.arg(folder.join("pack")).env("GIT_NO_LAZY_FETCH", "1").stdin(names).line()?;
    let new = folder.join(format!("pack-{name}.pack"));
    if !new.is_file() || packs.contains(&new) {
        return Ok(());
    }
    let promised = new.with_extension("promisor");
    std::fs::write(&promised, "").map_err(|e| failed(&promised, &e))?;
    for pack in packs {
        // Without its index a pack is not looked at.
        for ending in ["idx", "pack", "rev", "promisor"] {
            let file = pack.with_extension(ending);
            match std::fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&file, &e)),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIP: &str = "refs/carry/trunk";

    /// A file's damage, and back.
    fn with_damage(file: &Path, look: impl FnOnce() -> bool) -> bool {
        let whole = std::fs::read(file).expect("a file");
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle..].iter_mut().for_each(|b| *b ^= 0x55);
        std::fs::remove_file(file).expect("gone");
        std::fs::write(file, bytes).expect("written");
        let seen = look();
        std::fs::write(file, whole).expect("written");
        seen
    }

    #[test]
    fn what_a_night_reads_is_looked_at_and_older_history_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::open_or_create(dir.path(), None, None).expect("a repository");
        let git = repo.git();
        let stream = "commit refs/carry/trunk\ncommitter a <a> 1 +0000\ndata 0\nM 100644 inline f\ndata 4\nold\n\n\
                      commit refs/carry/trunk\ncommitter a <a> 2 +0000\ndata 0\nM 100644 inline f\ndata 4\nnew\n\n";
        git.call(["-c", "fastimport.unpackLimit=100", "fast-import", "--quiet"])
            .stdin(stream)
            .output()
            .expect("made");
        git.call(["commit-graph", "write", "--reachable"]).output().expect("a graph");
        let id = |rev: &str| {
            let id = git.call(["rev-parse", rev]).line().expect("an id");
            ObjectId::from_hex(id.as_bytes()).expect("an id")
        };
        let (old, new) = (id("refs/carry/trunk~1:f"), id("refs/carry/trunk:f"));
        let file = |id: &ObjectId| {
            let id = id.to_string();
            dir.path().join("objects").join(&id[..2]).join(&id[2..])
        };
        let sound = |objects: &[ObjectId]| is_sound(&repo, &[TIP.to_owned()], objects);
        assert!(sound(&[]) && sound(&[old]));
        assert!(with_damage(&file(&old), || sound(&[])), "no night reads it");
        assert!(!with_damage(&file(&old), || sound(&[old])), "this one has");
        assert!(!with_damage(&file(&new), || sound(&[])), "a file of the trunk");
        assert!(with_damage(&file(&new), || is_sound(&repo, &[], &[])), "which nobody asked for");
        for rev in ["refs/carry/trunk", "refs/carry/trunk^{tree}"] {
            assert!(!with_damage(&file(&id(rev)), || sound(&[])), "{rev}");
        }
        assert!(!with_damage(&dir.path().join("objects/info/commit-graph"), || sound(&[])), "the graph");
        assert!(!with_damage(&dir.path().join(TIP), || sound(&[])), "a ref");
        std::fs::write(dir.path().join("refs/carry/gone"), format!("{}\n", "12".repeat(20)))
            .expect("written");
        assert!(!sound(&[]), "a ref of an object that is not there");
    }
}
