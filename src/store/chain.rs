//! Commits of files on top of each other, in a repository that is never opened otherwise: git is asked for the folders that
//! change, and takes the new objects in by one call. Its work tree, its index and its refs stay as they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::BString;
use gix_hash::ObjectId;
use gix_hashtable::HashMap;
use gix_object::Kind;
use indexmap::IndexMap;

use super::git::Git;
use super::odb::object_id;
use super::repo::object_format;
use super::tip::{AS_THEY_ARE, READ, listed};
use super::tree::{Entry, edit};
use super::{Commit, ObjectError, Objects, Plain, Signature, StoreError, Tip, grow, loose, pack};

/// A commit to make.
#[derive(Debug)]
pub struct NewCommit<'a> {
    /// Its message.
    pub message: &'a str,
    /// The files that it changes, by their paths from the root: their bytes, or none for one that goes.
    pub files: Vec<(BString, Option<&'a [u8]>)>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The commits, oldest first. One that would change nothing is not made.
    pub commits: Vec<String>,
    /// The blob of each file of each commit; none for one that goes.
    pub blobs: Vec<Vec<Option<String>>>,
}

/// As many objects are kept as a pack; of fewer each becomes a file.
const UNPACKED: usize = 90;
/// The mode of a file.
const PLAIN: u32 = 0o100_644;
/// Takes in what [`chain`] makes, where that is little.
const UNPACK: [&str; 2] = ["unpack-objects", "-q"];
const INDEX: [&str; 2] = ["index-pack", "--stdin"];

/// Makes `commits` on top of `tip`, by `identity` (name and mail address), now. Where the repository is `plain`, few objects are
/// written here.
pub fn chain(
    (git, plain): (&Git, Option<&Plain>),
    tip: &Tip,
    (name, mail): (&str, &str),
    commits: &[NewCommit<'_>],
) -> Result<Chain, StoreError> {
    let hash = tip.commit.map_or_else(|| object_format(git), |id| Ok(id.kind()))?;
    let objects = Around { git, plain, hash, known: &tip.known, new: RefCell::default() };
    let now = jiff::ZonedDateTime::now();
    let who = Signature {
        name: name.into(),
        email: mail.into(),
        seconds: now.timestamp().as_second(),
        offset_minutes: now.offset().seconds() / 60,
    };
    let (mut parent, mut tree) = (tip.commit, None);
    if let Some(id) = parent {
        tree = Some(objects.commit(&id)?.tree);
    }
    let (mut made, mut blobs) = (Vec::new(), Vec::new());
    for commit in commits {
        let mut files: BTreeMap<&[u8], Option<Entry>> = BTreeMap::new();
        let mut written = Vec::with_capacity(commit.files.len());
        for (path, bytes) in &commit.files {
            let id = bytes.map(|bytes| objects.put(Kind::Blob, bytes.to_vec())).transpose()?;
            files.insert(path.as_ref(), id.map(|id| Entry { mode: PLAIN, id }));
            written.push(id.map(|id| id.to_string()));
        }
        blobs.push(written);
        let files: Vec<(&[u8], Option<Entry>)> = files.into_iter().collect();
        let after = edit(&objects, tree, &files)?.map_err(|path| StoreError::Clash { path })?;
        let after = after.map_or_else(|| objects.put_tree(Vec::new(), None), Ok)?;
        if parent.is_some() && tree == Some(after) {
            continue;
        }
        let raw = Commit {
            tree: after,
            parents: parent.into_iter().collect(),
            author: who.clone(),
            committer: who.clone(),
            message: commit.message.into(),
        };
        let id = objects.put(Kind::Commit, raw.raw())?;
        (parent, tree) = (Some(id), Some(after));
        made.push(id.to_string());
    }
    if !made.is_empty() {
        objects.hand_over()?;
    }
    Ok(Chain { commits: made, blobs })
}

/// Objects that are made, each after those that it names.
type New = IndexMap<ObjectId, (Kind, Arc<Vec<u8>>)>;

/// The folders around the files of a commit, and the objects that are made of them.
struct Around<'a> {
    git: &'a Git,
    plain: Option<&'a Plain>,
    hash: gix_hash::Kind,
    known: &'a HashMap<ObjectId, Arc<Vec<u8>>>,
    new: RefCell<New>,
}

impl Around<'_> {
    fn put(&self, kind: Kind, data: Vec<u8>) -> Result<ObjectId, ObjectError> {
        let id = object_id(self.hash, kind, &data)?;
        self.new.borrow_mut().entry(id).or_insert_with(|| (kind, data.into()));
        Ok(id)
    }

    fn read(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        if let Some((_, data)) = self.new.borrow().get(id) {
            return Ok(data.clone());
        }
        if let Some(data) = self.known.get(id) {
            return Ok(data.clone());
        }
        let failed = |reason: String| ObjectError { id: *id, reason };
        let (name, value) = AS_THEY_ARE;
        let said = self.git.call(READ).env(name, value).stdin(format!("{id}\0")).output();
        let said = said.map_err(|e| failed(e.to_string()))?;
        let read = listed(&said).into_iter().next().flatten().filter(|(there, ..)| there == id);
        Ok(Arc::new(read.ok_or_else(|| failed("the workspace has it not".into()))?.2.to_vec()))
    }

    fn commit(&self, id: &ObjectId) -> Result<Commit, ObjectError> {
        Commit::parse(&self.read(id)?).map_err(|reason| ObjectError { id: *id, reason: reason.into() })
    }

    /// Leaves all that is new in the repository.
    fn hand_over(self) -> Result<(), StoreError> {
        let new = self.new.into_inner();
        let is_kept = new.len() >= UNPACKED;
        if let Some(plain) = self.plain.filter(|plain| !is_kept && plain.hash == self.hash) {
            let objects = plain.common_dir.join("objects");
            for (id, (kind, data)) in &new {
                // As git does: on the disk for good when the system sees to it (`git help config`, `core.fsync`).
                loose::put(&objects, id, *kind, data, false)?;
            }
            return Ok(());
        }
        let items = new.iter().map(|(id, (kind, data))| {
            let body = pack::Body::Whole(data);
            pack::Item { id: *id, kind: *kind, body }
        });
        let items: Vec<pack::Item<'_>> = items.collect();
        let failed = |e: std::io::Error| ObjectError { id: self.hash.null(), reason: e.to_string() };
        let pack = pack::stream(&items, is_kept).map_err(failed)?;
        self.git.call(if is_kept { INDEX } else { UNPACK }).stdin(pack).output()?;
        Ok(())
    }
}

/// Files are never read: only their folders change.
impl Objects for Around<'_> {
    fn hash(&self) -> gix_hash::Kind {
        self.hash
    }

    fn tree(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        self.read(id)
    }

    fn blob(&self, id: &ObjectId) -> Result<Arc<Vec<u8>>, ObjectError> {
        self.read(id)
    }

    fn put_tree(&self, raw: Vec<u8>, _: Option<&ObjectId>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Tree, raw)
    }

    fn put_blob(&self, data: Vec<u8>, _: Option<&ObjectId>) -> Result<ObjectId, ObjectError> {
        self.put(Kind::Blob, data)
    }

    fn put_made(&self, id: ObjectId, data: Vec<u8>, _: Option<&ObjectId>) -> Result<(), ObjectError> {
        self.new.borrow_mut().entry(id).or_insert_with(|| (Kind::Blob, data.into()));
        Ok(())
    }

    fn has(&self, id: &ObjectId) -> bool {
        self.read(id).is_ok()
    }

    fn adopt(&self, _: grow::Trees, _: &mut [usize]) -> Result<(), ObjectError> {
        Err(ObjectError { id: self.hash.null(), reason: "no folder grows step by step here".into() })
    }

    fn mark(&self) -> usize {
        self.new.borrow().len()
    }

    fn write_out(&self) -> Result<(), ObjectError> {
        Err(ObjectError { id: self.hash.null(), reason: "git takes all in at once".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::AskedTip;
    use super::*;

    #[test]
    fn a_commit_that_changes_nothing_is_not_made_and_nothing_else_changes() {
        let dir = tempfile::tempdir().expect("a folder");
        let git = Git::at(dir.path());
        git.call(["init", "-q", "."]).output().expect("made");
        let file = |path: &str, bytes: Option<&'static [u8]>| (BString::from(path), bytes);
        let first = NewCommit {
            message: "first\n",
            files: vec![file("a b/\"c\n", Some(b"1\n")), file("x", Some(b"x"))],
        };
        let made =
            chain((&git, None), &Tip::default(), ("N <N>", "n@example.org"), &[first]).expect("it is made");
        let head = made.commits[0].clone();
        let tip = Tip::of(Some(&head)).expect("an id");
        let same = NewCommit { message: "same", files: vec![file("x", Some(b"x"))] };
        let last = NewCommit { message: "last", files: vec![file("x", None), file("y", Some(b"y"))] };
        let made = chain((&git, None), &tip, ("N", "n@example.org"), &[same, last]).expect("they are made");
        assert_eq!(made.commits.len(), 1);
        assert_eq!((made.blobs[0].len(), made.blobs[1].len(), made.blobs[1][0].as_ref()), (1, 2, None));
        let show = |what: &str| git.call(["log", "-1", &format!("--format={what}"), &made.commits[0]]).line();
        assert_eq!(show("%P %an <%ae> %s").expect("shown"), format!("{head} N <n@example.org> last"));
        let files = git.call(["ls-tree", "-r", "--name-only", &made.commits[0]]).line().expect("listed");
        assert_eq!(files, "\"a b/\\\"c\\n\"\ny");
        let refs = git.call(["for-each-ref"]).line().expect("listed");
        assert_eq!(refs, "");
    }

    #[test]
    fn few_objects_become_files_and_many_a_pack_in_folders_that_git_told_or_not() {
        take_in(false);
        take_in(true);
    }

    fn take_in(here: bool) {
        let dir = tempfile::tempdir().expect("a folder");
        let git = Git::at(dir.path());
        git.call(["init", "-q", "."]).output().expect("made");
        let git_dir = dir.path().join(".git");
        let plain = Plain::by_itself(&git_dir, &git_dir, dir.path()).filter(|_| here);
        assert_eq!(plain.is_some(), here);
        let plain = plain.as_ref();
        let path = |n: usize| BString::from(format!("a b/{}/{n}", n % 7));
        let texts: Vec<String> = (0..UNPACKED).map(|n| format!("{n}\n")).collect();
        let mut tip = Tip::default();
        for (count, packs) in [(5, 0), (UNPACKED, 1), (1, 1)] {
            let files = (0..count).map(|n| (path(n), Some(texts[n].as_bytes())));
            let last = (BString::from("x"), Some(texts[count % 7].as_bytes()));
            let new = [NewCommit { message: "m", files: files.chain([last]).collect() }];
            let made = chain((&git, plain), &tip, ("N", "n@example.org"), &new).expect("it is made");
            git.call(["update-ref", "HEAD", &made.commits[0]]).output().expect("moved");
            let kept = std::fs::read_dir(dir.path().join(".git/objects/pack")).expect("listed");
            let is_index = |name: &str| name.ends_with(".idx");
            let kept = kept.filter(|f| f.as_ref().is_ok_and(|f| is_index(&f.file_name().to_string_lossy())));
            assert_eq!(kept.count(), packs, "{count}");
            let folders = ["a b".into(), "no\nsuch".into(), "none".into()];
            tip = match plain {
                Some(plain) => plain.tip(&folders).expect("it is read"),
                None => Tip::asked(&git, &folders).and_then(AskedTip::answer).expect("git tells"),
            };
            assert_eq!(tip.commit().as_ref(), made.commits.last());
            // The commit, its root, and the one folder.
            assert_eq!(tip.known.len(), 3);
            git.call(["fsck", "--strict"]).output().expect("git finds nothing wrong");
        }
        let all = git.call(["ls-tree", "-r", "--name-only", "HEAD"]).line().expect("listed");
        assert_eq!(all.lines().count(), UNPACKED + 1);
        // What stands in for a folder is not what a commit is made of.
        let root = git.call(["rev-parse", "HEAD^{tree}"]).line().expect("told");
        let folder = git.call(["rev-parse", "HEAD:a b"]).line().expect("told");
        git.call(["replace", &root, &folder]).output().expect("replaced");
        for tip in [tip.clone(), Tip::of(tip.commit().as_deref()).expect("an id")] {
            let new = [NewCommit { message: "m", files: vec![("y".into(), Some(b"y"))] }];
            let made = chain((&git, plain), &tip, ("N", "n@example.org"), &new).expect("it is made");
            let names = git.call(["ls-tree", "--name-only", &made.commits[0]]).line().expect("listed");
            assert_eq!(names, "a b\nx\ny");
        }
        // Where a folder stands no file is put, and where a file stands no folder.
        for wrong in ["a b/0", "x/y"] {
            let new = [NewCommit { message: "m", files: vec![(wrong.into(), Some(b"1"))] }];
            let made = chain((&git, plain), &tip, ("N", "n@example.org"), &new);
            assert!(matches!(made, Err(StoreError::Clash { .. })), "{wrong}: {made:?}");
        }
    }
}
