//! Refs moved where they lie (`gitrepository-layout(5)`), by git's own locks (gix-ref). What is unusual is left to git, which
//! also says what is wrong.

use bstr::ByteSlice;
use gix_hash::ObjectId;
use gix_lock::acquire::Fail;
use gix_object::{FindHeader as _, Kind};
use gix_ref::transaction::{Change, LogChange, PreviousValue, RefEdit, RefLog};
use gix_ref::{FullName, Target, file};

use super::{Plain, RefUpdate, Repo, StoreError, refs};

/// Git calls this program while it moves refs (`githooks(5)`).
const HOOK: &str = "reference-transaction";

/// Who the log says has moved a ref of the tool's own.
const TOOL: (&str, &str) = ("git-carry", "git-carry@localhost");

impl Plain {
    /// Moves refs, all or none, each only if it still has its old value. Returns whether that is done: if not, nothing has
    /// changed, and git is to do it.
    pub fn move_refs(&self, updates: &[RefUpdate], why: &str) -> Result<bool, StoreError> {
        let Some(objects) = self.objects() else { return Ok(false) };
        let edits = updates.iter().map(|update| self.edit(&objects, update, why));
        match edits.collect::<Option<Vec<_>>>() {
            Some(edits) => self.commit(edits, TOOL),
            None => Ok(false),
        }
    }

    /// Moves `HEAD`, and the branch that it stands for, from a commit to another, by `identity` (name and mail address). Returns
    /// whether that is done, as [`Plain::move_refs`] does.
    pub fn move_head(
        &self,
        [old, new]: [&str; 2],
        identity: (&str, &str),
        why: &str,
    ) -> Result<bool, StoreError> {
        // A link stands for another ref; it would be written over.
        if self.head().flatten().map(|id| id.to_string()).as_deref() != Some(old) {
            return Ok(false);
        }
        let update = RefUpdate { name: "HEAD".into(), old: Some(old.into()), new: Some(new.into()) };
        let kind = |id: ObjectId| Some(self.objects()?.try_header(&id).ok()??.kind);
        let is_there = ObjectId::from_hex(new.as_bytes()).ok().and_then(kind) == Some(Kind::Commit);
        match edit(&update, true, why).filter(|_| is_there) {
            Some(edit) => self.commit(vec![edit], identity),
            None => Ok(false),
        }
    }

    /// The edit of a ref, if it is as git would make it.
    fn edit(&self, objects: &gix_odb::Handle, update: &RefUpdate, why: &str) -> Option<RefEdit> {
        let new = ObjectId::from_hex(update.new.as_ref()?.as_bytes()).ok()?;
        let kind = objects.try_header(&new).ok()??.kind;
        if update.name.starts_with("refs/heads/") && kind != Kind::Commit {
            return None;
        }
        let head = std::fs::read_to_string(self.git_dir.join("HEAD")).ok()?;
        if head.trim_end().strip_prefix("ref: ") == Some(update.name.as_str()) {
            return None;
        }
        if self.common_dir.join(&update.name).is_symlink() {
            return None;
        }
        // A ref that stands for another has no id.
        let now = refs::exactly(&self.common_dir, &[&update.name])?.pop()?;
        if now.is_none() && !self.is_free(&update.name)? {
            return None;
        }
        edit(update, false, why)
    }

    /// Are there no refs below a name that is to come, nor at one of its folders?
    fn is_free(&self, name: &str) -> Option<bool> {
        let folders: Vec<&str> = name.match_indices('/').skip(1).map(|(at, _)| &name[..at]).collect();
        let above = refs::exactly(&self.common_dir, &folders)?;
        Some(above.iter().all(Option::is_none) && refs::under(&self.common_dir, &[name])?.is_empty())
    }

    fn objects(&self) -> Option<gix_odb::Handle> {
        gix_odb::at(self.common_dir.join("objects"), self.hash).ok()
    }

    fn commit(&self, edits: Vec<RefEdit>, (name, email): (&str, &str)) -> Result<bool, StoreError> {
        if self.is_heard(HOOK) {
            return Ok(false);
        }
        let (git_dir, common_dir) = (self.git_dir.clone(), self.common_dir.clone());
        let store = match git_dir == common_dir {
            true => file::Store::at(git_dir, self.hash),
            false => file::Store::for_linked_worktree(git_dir, common_dir, self.hash),
        };
        let now = jiff::ZonedDateTime::now();
        let time = format!("{} {}", now.timestamp().as_second(), now.strftime("%z"));
        let who = gix_actor::SignatureRef { name: name.into(), email: email.into(), time: &time };
        // Who holds a ref is waited for by git.
        let Ok(ready) = store.transaction().prepare(edits, Fail::Immediately, Fail::Immediately) else {
            return Ok(false);
        };
        let failed = |reason| StoreError::Write { path: self.common_dir.clone(), reason };
        ready.commit(who).map(|_| true).map_err(|e| failed(e.to_string()))
    }
}

impl Repo {
    /// Moves refs, all or none, each only if it still has its old value; `why` is what their log says.
    pub fn update(&self, updates: &[RefUpdate], why: &str) -> Result<(), StoreError> {
        let plain = Plain::of(self.path(), self.path(), self.path());
        if plain.map(|plain| plain.move_refs(updates, why)).transpose()?.unwrap_or(false) {
            return Ok(());
        }
        let mut input = Vec::from(*b"start\0");
        let null = self.hash().null().to_string();
        for u in updates {
            let old = u.old.as_deref().unwrap_or(&null);
            match &u.new {
                Some(new) => input.extend_from_slice(format!("update {}\0{new}\0{old}\0", u.name).as_bytes()),
                None => input.extend_from_slice(format!("delete {}\0{old}\0", u.name).as_bytes()),
            }
        }
        input.extend_from_slice(b"prepare\0commit\0");
        // Branches have a log; what never changes needs none, and there are many of those.
        let args = ["-c", "core.logAllRefUpdates=true", "update-ref", "--stdin", "-z", "-m", why];
        self.git().call(args).stdin(input).output()?;
        Ok(())
    }
}

fn edit(update: &RefUpdate, deref: bool, why: &str) -> Option<RefEdit> {
    let id = |hex: &String| ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| !id.is_null());
    let (old, new) = (update.old.as_ref(), id(update.new.as_ref()?)?);
    let expected = match old {
        Some(old) => PreviousValue::MustExistAndMatch(Target::Object(id(old)?)),
        None => PreviousValue::MustNotExist,
    };
    let log = LogChange { mode: RefLog::AndReference, force_create_reflog: false, message: why.into() };
    let name = FullName::try_from(update.name.as_bytes().as_bstr()).ok()?;
    Some(RefEdit { change: Change::Update { log, expected, new: Target::Object(new) }, name, deref })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::store::git::Git;

    struct Lab {
        dir: tempfile::TempDir,
        git: Git,
        commits: [String; 2],
    }

    impl Lab {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let git = Git::at(dir.path());
            git.call(["init", "-q", "--template=", "-b", "main", "."]).output().expect("a repository");
            let commit = |message: &str| {
                let call =
                    git.call(["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty"]);
                call.args(["-m", message]).output().expect("committed");
                git.call(["rev-parse", "HEAD"]).line().expect("an id")
            };
            let commits = ["one", "two"].map(commit);
            git.call(["branch", "other", &commits[0]]).output().expect("a branch");
            Self { dir, git, commits }
        }

        fn git_dir(&self) -> PathBuf {
            self.dir.path().join(".git")
        }

        fn plain(&self) -> Plain {
            Plain::by_itself(&self.git_dir(), &self.git_dir(), self.dir.path()).expect("it is plain")
        }

        fn told(&self, args: &[&str]) -> String {
            self.git.call(args).line().expect("git tells")
        }

        /// All refs, and what their logs say but for who and when.
        fn refs(&self) -> String {
            let mut all = self.told(&["for-each-ref"]);
            for log in ["HEAD", "refs/heads/main", "refs/heads/new", "refs/heads/other", "refs/carry/x"] {
                all += &format!("\n{log}: ");
                let text = std::fs::read_to_string(self.git_dir().join("logs").join(log)).unwrap_or_default();
                for line in text.lines() {
                    let ids: Vec<&str> = line.split(' ').take(2).collect();
                    all += &format!("{} {}\n", ids.join(" "), line.split_once('\t').expect("a reason").1);
                }
            }
            all
        }
    }

    fn to(name: &str, old: Option<&str>, new: Option<&str>) -> RefUpdate {
        RefUpdate { name: name.into(), old: old.map(Into::into), new: new.map(Into::into) }
    }

    #[test]
    fn refs_and_their_logs_are_as_git_moves_them() {
        let (ours, theirs) = (Lab::new(), Lab::new());
        let moves = |commits: &[String; 2]| {
            let [one, two] = commits.clone();
            vec![
                to("refs/carry/x", None, Some(&one)),
                to("refs/heads/new", None, Some(&two)),
                to("refs/heads/other", Some(&one), Some(&two)),
            ]
        };
        assert!(ours.plain().move_refs(&moves(&ours.commits), "why").expect("moved"));
        for update in moves(&theirs.commits) {
            let null = "0".repeat(theirs.commits[0].len());
            let old = update.old.unwrap_or(null);
            theirs.told(&["update-ref", "-m", "why", &update.name, &update.new.expect("a new value"), &old]);
        }
        let same = |lab: &Lab| {
            let [one, two] = &lab.commits;
            lab.refs().replace(one, "ONE").replace(two, "TWO")
        };
        assert_eq!(same(&ours), same(&theirs));
        let mode = |lab: &Lab| {
            use std::os::unix::fs::PermissionsExt;
            lab.git_dir().join("refs/carry/x").metadata().expect("it is there").permissions().mode()
        };
        assert_eq!(mode(&ours), mode(&theirs));
        ours.told(&["fsck", "--strict"]);
    }

    #[test]
    fn head_moves_with_its_branch_as_git_moves_them() {
        let (ours, theirs) = (Lab::new(), Lab::new());
        let back = |lab: &Lab| [lab.commits[1].clone(), lab.commits[0].clone()];
        let [old, new] = back(&ours);
        assert!(ours.plain().move_head([&old, &new], ("n", "n@x"), "why").expect("moved"));
        let [old, new] = back(&theirs);
        theirs.told(&["update-ref", "-m", "why", "HEAD", &new, &old]);
        let same = |lab: &Lab| lab.refs().replace(&lab.commits[0], "ONE").replace(&lab.commits[1], "TWO");
        assert_eq!(same(&ours), same(&theirs));
        assert_eq!(ours.told(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    }

    /// As `core.preferSymlinkRefs` has it (`git help config`).
    #[cfg(unix)]
    #[test]
    fn a_head_or_a_ref_that_is_a_link_is_left_to_git() {
        let lab = Lab::new();
        let [one, two] = lab.commits.clone();
        let head = lab.git_dir().join("HEAD");
        std::fs::remove_file(&head).expect("gone");
        std::os::unix::fs::symlink("refs/heads/main", &head).expect("a link");
        assert_eq!(lab.told(&["symbolic-ref", "HEAD"]), "refs/heads/main");
        let before = lab.refs();
        assert!(lab.plain().head().is_none());
        assert!(!lab.plain().move_head([&two, &one], ("n", "n@x"), "why").expect("nothing is wrong"));
        assert_eq!(lab.refs(), before);
        assert!(head.is_symlink());
        // And a branch that is one.
        std::fs::remove_file(&head).expect("gone");
        std::fs::write(&head, "ref: refs/heads/link\n").expect("written");
        let link = lab.git_dir().join("refs/heads/link");
        std::os::unix::fs::symlink("refs/heads/main", &link).expect("a link");
        let before = lab.refs();
        assert!(lab.plain().head().is_none());
        assert!(!lab.plain().move_head([&two, &one], ("n", "n@x"), "why").expect("nothing is wrong"));
        // To all but git there is nothing where it points.
        let other = to("refs/heads/link", None, Some(&one));
        std::fs::write(&head, "ref: refs/heads/main\n").expect("written");
        assert!(!lab.plain().move_refs(&[other], "why").expect("nothing is wrong"));
        std::fs::write(&head, "ref: refs/heads/link\n").expect("written");
        assert_eq!(lab.refs(), before);
        assert!(link.is_symlink());
    }

    #[test]
    fn what_git_would_refuse_or_hear_of_is_left_to_it_and_changes_nothing() {
        let lab = Lab::new();
        let [one, two] = lab.commits.clone();
        let tree = lab.told(&["rev-parse", "HEAD^{tree}"]);
        lab.told(&["update-ref", "refs/carry/there", &one]);
        lab.told(&["update-ref", "refs/packed/there/too", &one]);
        lab.told(&["pack-refs", "--all"]);
        lab.told(&["symbolic-ref", "refs/carry/other", "refs/heads/main"]);
        let nobody = "1".repeat(one.len());
        let before = lab.refs();
        let refused = [
            (
                "the branch of the work tree, whose log is that of `HEAD`, too",
                to("refs/heads/main", Some(&two), Some(&one)),
            ),
            ("another value", to("refs/heads/other", Some(&two), Some(&one))),
            ("it is there", to("refs/carry/there", None, Some(&two))),
            ("it is not there", to("refs/carry/gone", Some(&one), Some(&two))),
            ("no object", to("refs/carry/new", None, Some(&nobody))),
            ("no commit", to("refs/heads/new", None, Some(&tree))),
            ("below a ref", to("refs/carry/there/below", None, Some(&one))),
            ("above a ref", to("refs/packed/there", None, Some(&one))),
            ("it stands for another", to("refs/carry/other", Some(&two), Some(&one))),
            ("it goes", to("refs/carry/there", Some(&one), None)),
            ("no name", to("refs/carry/a..b", None, Some(&one))),
        ];
        for (what, update) in refused {
            // With one that could be moved, in the same transaction.
            let both = [to("refs/carry/good", None, Some(&one)), update];
            assert!(!lab.plain().move_refs(&both, "why").expect("nothing is wrong"), "{what}");
            assert_eq!(lab.refs(), before, "{what}");
        }
        assert!(!lab.plain().move_head([&one, &one], ("n", "n@x"), "why").expect("nothing is wrong"));
        let lock = lab.git_dir().join("refs/heads/main.lock");
        std::fs::create_dir_all(lock.parent().unwrap_or(Path::new("."))).expect("a folder");
        std::fs::write(&lock, "").expect("locked");
        assert!(!lab.plain().move_head([&two, &one], ("n", "n@x"), "why").expect("nothing is wrong"));
        std::fs::remove_file(lock).expect("gone");
        let hook = lab.git_dir().join("hooks").join(HOOK);
        std::fs::create_dir_all(hook.parent().unwrap_or(Path::new("."))).expect("a folder");
        std::fs::write(hook, "").expect("a hook");
        assert!(!lab.plain().move_head([&two, &one], ("n", "n@x"), "why").expect("nothing is wrong"));
        assert_eq!(lab.refs(), before);
    }
}
