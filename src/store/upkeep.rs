//! A repository kept small and quick, by git's own means: what lies about loose or in many packs becomes one, and what
//! nothing refers to any more goes after git's two weeks.

use std::path::{Path, PathBuf};

use super::git::{Git, GitError};
use super::promised::packs;
use super::{Repo, StoreError};

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

/// Is every object whole that the refs reach, and every ref one? It reads all of them: for when something has failed.
pub fn is_sound(git: &Git) -> bool {
    let call = git.call(["fsck", "--no-dangling", "--no-progress"]);
    // Where git cannot even be run, that is what is to be told.
    call.answer().map_or(true, |answer| answer.code == Some(0))
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
