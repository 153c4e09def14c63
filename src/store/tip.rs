//! The commit that a work tree stands on, and the folders in it that are likely to change.

use std::sync::Arc;

use bstr::ByteSlice;
use gix_hash::ObjectId;
use gix_hashtable::HashMap;
use gix_object::Kind;

use super::git::{Git, GitError, Started, ended_well};
use super::tree::entry_at;
use super::{Commit, Objects as _, Odb, Plain, refs};

/// Objects are what their ids say, whatever stands in for them (`git help replace`).
pub(super) const AS_THEY_ARE: (&str, &str) = ("GIT_NO_REPLACE_OBJECTS", "1");
pub(super) const READ: [&str; 3] = ["cat-file", "--batch", "-z"];

/// A commit to stand on, and what is known of it.
#[derive(Debug, Clone, Default)]
pub struct Tip {
    pub(super) commit: Option<ObjectId>,
    pub(super) known: Arc<HashMap<ObjectId, Arc<Vec<u8>>>>,
}

/// Git is asked for a tip.
pub struct AskedTip(Started);

impl Tip {
    /// A commit of which nothing else is known; none: nothing to stand on.
    pub fn of(commit: Option<&str>) -> Result<Self, GitError> {
        let id = |hex: &str| {
            let broken = |_| GitError::Answer { command: "rev-parse".into(), answer: hex.to_owned() };
            ObjectId::from_hex(hex.as_bytes()).map_err(broken)
        };
        Ok(Self { commit: commit.map(id).transpose()?, known: Arc::default() })
    }

    /// Begins to ask git for `HEAD`, and for its root and the folders in it that are likely to change.
    pub fn asked(git: &Git, folders: &[String]) -> Result<AskedTip, GitError> {
        let mut names = String::from("HEAD^{commit}\0HEAD^{tree}\0");
        for folder in folders.iter().filter(|folder| !folder.contains('\n')) {
            names.push_str(&format!("HEAD:{folder}\0"));
        }
        let (name, value) = AS_THEY_ARE;
        Ok(AskedTip(git.call(READ).env(name, value).stdin(names).start()?))
    }

    /// The commit; none on a branch without one.
    pub fn commit(&self) -> Option<String> {
        self.commit.map(|id| id.to_string())
    }
}

impl Plain {
    /// The commit that `HEAD` is at, with its root and the folders in it that are likely to change; none: git is to be asked.
    pub fn tip(&self, folders: &[String]) -> Option<Tip> {
        let Some(commit) = self.head()? else { return Some(Tip::default()) };
        let odb = Odb::open(&self.common_dir).ok()?;
        let raw = odb.raw_commit(&commit).ok()?;
        let root = Commit::parse(&raw).ok()?.tree;
        let mut known = HashMap::from_iter([(commit, raw), (root, odb.tree(&root).ok()?)]);
        for folder in folders {
            match entry_at(&odb, &root, folder.as_str().into()).ok()? {
                Some(entry) if entry.is_tree() => drop(known.insert(entry.id, odb.tree(&entry.id).ok()?)),
                _ => {}
            }
        }
        Some(Tip { commit: Some(commit), known: Arc::new(known) })
    }

    /// What `HEAD` is at: nothing on a branch without a commit. None: git is to be asked.
    pub(super) fn head(&self) -> Option<Option<ObjectId>> {
        let place = self.git_dir.join("HEAD");
        if !place.symlink_metadata().ok()?.is_file() {
            return None;
        }
        let text = std::fs::read_to_string(place).ok()?;
        match text.strip_prefix("ref: ") {
            // Other refs may be a work tree's own (`git help worktree`, "REFS"), and a link stands for another.
            Some(name) if name.starts_with("refs/heads/") => {
                let name = name.trim_end();
                let is_link = self.common_dir.join(name).is_symlink();
                refs::exactly(&self.common_dir, &[name]).filter(|_| !is_link)?.pop()
            }
            Some(_) => None,
            None => ObjectId::from_hex(text.trim_end().as_bytes()).ok().map(Some),
        }
    }
}

impl AskedTip {
    /// What git says. `HEAD` may move meanwhile: what is known of another commit's folders does no harm.
    pub fn answer(self) -> Result<Tip, GitError> {
        let said = ended_well(READ.join(" "), self.0.answer()?)?;
        let (mut commit, mut known) = (None, HashMap::default());
        for (at, object) in listed(&said).into_iter().enumerate() {
            let Some((id, kind, data)) = object else { continue };
            if at == 0 {
                commit = Some(id);
            }
            if kind != Kind::Blob {
                known.insert(id, Arc::new(data.to_vec()));
            }
        }
        Ok(Tip { commit, known: Arc::new(known) })
    }
}

/// What `git cat-file --batch` tells: `<id> <kind> <size>`, the content and a line's end; none for what is not there.
pub(super) fn listed(mut said: &[u8]) -> Vec<Option<(ObjectId, Kind, &[u8])>> {
    let mut all = Vec::new();
    while let Some((head, rest)) = said.split_once_str("\n") {
        let words: Vec<&[u8]> = head.split(|b| *b == b' ').collect();
        let object = match words[..] {
            [id, kind, size] => {
                let size = size.to_str().ok().and_then(|size| size.parse::<usize>().ok());
                let id = ObjectId::from_hex(id).ok().zip(Kind::from_bytes(kind).ok());
                id.zip(size).and_then(|((id, kind), size)| Some((id, kind, rest.get(..size)?)))
            }
            _ => None,
        };
        said = object.map_or(rest, |(_, _, data)| rest.get(data.len() + 1..).unwrap_or_default());
        all.push(object);
    }
    all
}
