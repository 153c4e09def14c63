//! The workspace's part of a run's transaction: its files, its index, and last its branch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use super::turn::{head, still};
use super::{NightError, Site};
use crate::store::git::Git;
use crate::store::{FileStat, HALF, NewEntry, Plain, Waiting, begin_in};

/// So many files are written at once: it is the disk that takes the time until they are there for good.
const AT_ONCE: usize = 8;

/// The workspace's step from one commit to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceMove {
    /// The commit before; none on a branch without one.
    pub old: Option<String>,
    /// The commit after.
    pub new: String,
    /// The blob of each file that changes, from the workspace's root; none: it goes.
    pub files: BTreeMap<String, Option<String>>,
    /// The bytes of each file, in the run that made them; a later run asks git.
    #[serde(skip)]
    pub texts: BTreeMap<String, Vec<u8>>,
}

impl WorkspaceMove {
    /// The id of nothing, as long as those of the workspace.
    fn null(&self) -> String {
        "0".repeat(self.new.len())
    }

    /// The files of it that are neither what they were before nor what they are to be: somebody changed them since the run was
    /// cut off.
    pub(super) fn changed_since(&self, site: &Site<'_>) -> Result<Vec<String>, NightError> {
        let mut blobs: Vec<(&String, String)> = Vec::new();
        blobs.extend(self.files.iter().filter_map(|(file, blob)| Some((file, blob.clone()?))));
        if let Some(old) = &self.old {
            let call = site.git.call(["--literal-pathspecs", "ls-tree", "-r", "-z", old, "--"]);
            let listed = call.args(self.files.keys()).output()?;
            for line in listed.split(|b| *b == 0) {
                // `<mode> blob <id>`, a tab, and the path.
                let Some((head, path)) = line.split_once_str("\t") else { continue };
                let id = head.rsplit(|b| *b == b' ').next().unwrap_or_default().to_str_lossy().into_owned();
                let file = self.files.keys().find(|file| file.as_bytes() == path);
                blobs.extend(file.map(|file| (file, id)));
            }
        }
        let is_there = |file: &&String| !file.contains('\n') && site.workspace.root.join(file).is_file();
        let there: Vec<&String> = self.files.keys().filter(is_there).collect();
        let paths: String = there.iter().map(|file| format!("{file}\n")).collect();
        // As they are, and as the user's settings for line ends would have them committed.
        let ids = |how: &[&str]| -> Result<Vec<String>, NightError> {
            let call = site.git.call(["hash-object", "--stdin-paths"]).args(how);
            let said = call.stdin(paths.clone()).output()?;
            Ok(said.lines().map(|id| id.to_str_lossy().into_owned()).collect())
        };
        let (plain, filtered) = (ids(&["--no-filters"])?, ids(&[])?);
        let known = |file: &String, id: &String| blobs.iter().any(|(of, known)| *of == file && known == id);
        let is_changed =
            |(file, ids): &(&String, (&String, &String))| !known(file, ids.0) && !known(file, ids.1);
        let all = there.into_iter().zip(plain.iter().zip(&filtered));
        Ok(all.filter(is_changed).map(|(file, _)| file.clone()).collect())
    }

    /// Writes the files, the index, and last the branch. May be repeated.
    pub(super) fn make(&self, site: &Site<'_>) -> Result<(), NightError> {
        let _still = still();
        wait_for_index(&site.git_dir)?;
        // From before the files are written on: a commit of all that changed would take them in.
        let held = site.plain().and_then(Plain::hold_index);
        let by_git = if held.is_none() { Some(index_info(&site.git)?) } else { None };
        let written = self.write(site)?;
        let new = self.entries(site, written);
        if !held.zip(new).is_some_and(|(held, new)| held.set(&new)) {
            self.set_by(site, by_git.map_or_else(|| index_info(&site.git), Ok)?)?;
        }
        // In the run that made the commit, nothing came between.
        let there = if self.texts.is_empty() { head(&site.git)? } else { self.old.clone() };
        if there.as_ref() != Some(&self.new) {
            self.move_branch(site)?;
        }
        Ok(())
    }

    /// Writes the files, and takes those away that go. What the system says of each that is there.
    fn write(&self, site: &Site<'_>) -> Result<Vec<Option<FileStat>>, NightError> {
        let asked = self.files.iter().filter(|(file, _)| !self.texts.contains_key(*file));
        let wanted: Vec<&str> = asked.filter_map(|(_, blob)| blob.as_deref()).collect();
        let mut blobs = site.git.blobs(&wanted)?.into_iter();
        let mut files = Vec::with_capacity(self.files.len());
        for (file, blob) in &self.files {
            let path = site.workspace.root.join(file);
            files.push(match (blob, self.texts.get(file)) {
                (Some(_), Some(text)) => Some((path, Cow::Borrowed(text))),
                (Some(_), None) => Some((path, Cow::Owned(blobs.next().unwrap_or_default()))),
                // It may be in the way of another.
                (None, _) => match std::fs::remove_file(&path) {
                    Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                        return Err(NightError::Io { path, source });
                    }
                    _ => None,
                },
            });
        }
        let write = |file: &Option<(PathBuf, Cow<'_, Vec<u8>>)>| {
            file.as_ref().map(|(path, text)| write_file(&site.folder, path, text)).transpose()
        };
        let write_share = |share: &[_]| share.iter().map(write).collect::<Result<Vec<_>, _>>();
        let share = files.len().div_ceil(AT_ONCE).max(1);
        std::thread::scope(|threads| {
            let shares: Vec<_> =
                files.chunks(share).map(|share| begin_in(threads, move || write_share(share))).collect();
            let mut written = Vec::with_capacity(files.len());
            for share in shares {
                written.extend(share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(written)
        })
    }

    /// The entries of the files, which were `written`; none if one has no id.
    fn entries(&self, site: &Site<'_>, written: Vec<Option<FileStat>>) -> Option<Vec<NewEntry>> {
        let entry = |((file, blob), written): ((&String, &Option<String>), Option<FileStat>)| {
            let file_of = |blob: &String| ObjectId::from_hex(blob.as_bytes()).ok().zip(written);
            let path = BString::from(format!("{}{file}", site.prefix));
            Some(match blob {
                Some(blob) => NewEntry { path, file: Some(file_of(blob)?) },
                None => NewEntry { path, file: None },
            })
        };
        self.files.iter().zip(written).map(entry).collect()
    }

    fn move_branch(&self, site: &Site<'_>) -> Result<(), NightError> {
        const WHY: &str = "carry: write back";
        let identity = &site.workspace.config.identity;
        if let (Some(plain), Some(old)) = (site.plain(), &self.old)
            && plain.move_head([old, &self.new], (&identity.name, &identity.email), WHY)?
        {
            return Ok(());
        }
        let null = self.null();
        let old = self.old.as_deref().unwrap_or(&null);
        let call = site.git.call(["update-ref", "-z", "--stdin", "-m", WHY]);
        call.stdin(format!("update HEAD\0{}\0{old}\0", self.new)).output()?;
        Ok(())
    }

    /// Has git set the entries, by a call that has begun, and holds the index since.
    fn set_by(&self, site: &Site<'_>, git: Waiting) -> Result<(), NightError> {
        let (mut info, mut there) = (String::new(), String::new());
        for (file, blob) in &self.files {
            let path = format!("{}{file}", site.prefix);
            match blob {
                Some(id) => {
                    info.push_str(&format!("100644 {id}\t{path}\0"));
                    there.push_str(&format!("{file}\0"));
                }
                None => info.push_str(&format!("0 {}\t{path}\0", self.null())),
            }
        }
        git.output(info)?;
        // What the index knows of these files' times, so that nobody need read them again.
        let call = site.git.call(["--literal-pathspecs", "add", "--refresh"]);
        call.args(["--pathspec-from-file=-", "--pathspec-file-nul"]).stdin(there).answer()?;
        Ok(())
    }
}

/// Begins the call by which git sets entries of the index.
fn index_info(git: &Git) -> Result<Waiting, NightError> {
    Ok(git.call(["update-index", "-z", "--index-info"]).begin()?)
}

/// Another git may hold the index for a moment. Who holds it for longer may be a person with an editor open, whose commit
/// must not be lost: what a killed run left is taken away when the next one takes over ([`super::clean_up`]).
pub fn wait_for_index(git_dir: &Path) -> Result<(), NightError> {
    let lock = git_dir.join(INDEX_LOCK);
    for _ in 0..30 {
        if !lock.exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(NightError::IndexLocked { lock })
}

/// By this file a git holds the index of a work tree (`git help gitrepository-layout`), in its git directory.
pub const INDEX_LOCK: &str = "index.lock";

/// Writes a file of the workspace whole or not at all, and only if its bytes differ. `half` is the tool's folder: a run that is
/// killed leaves nothing in the workspace.
fn write_file(half: &Path, path: &Path, bytes: &[u8]) -> Result<FileStat, NightError> {
    let io = |source| NightError::Io { path: path.to_owned(), source };
    if let Some(there) = as_it_is(path, bytes) {
        return Ok(there);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o644));
    }
    let mut put = |place: &Path| {
        let mut file = builder.prefix(HALF).tempfile_in(place)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all())?;
        FileStat::of(&file.persist(path)?)
    };
    match put(half) {
        // A linked work tree may lie on another disk than its git directory: then only its own folder will do.
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => put(folder).map_err(io),
        put => put.map_err(io),
    }
}

/// What the system says of a file that has these bytes.
fn as_it_is(path: &Path, bytes: &[u8]) -> Option<FileStat> {
    let mut file = File::open(path).ok()?;
    // Before it is read: a later change shows by it.
    let found = FileStat::of(&file).ok()?;
    let mut now = Vec::new();
    file.read_to_end(&mut now).ok()?;
    (now == bytes).then_some(found)
}
