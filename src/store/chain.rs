//! Commits of files on top of each other, by one call of git (`git help fast-import`), in a repository that is never
//! opened otherwise: its work tree, its index and its refs stay as they are.

use bstr::{BString, ByteSlice};

use super::drivers::quote;
use super::git::{Git, GitError};
use super::repo::object_format;

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

/// The ref that the call works on. It is gone before the call ends.
const REF: &str = "refs/git-carry/making";

/// Of so many objects git may keep a pack; of fewer each becomes a file, and is deflated for that.
const UNPACKED: usize = 90;
/// A commit has no more new folders than this, but for rare ones.
const DEEP: usize = 8;
/// A pack that is unpacked at once is not deflated first: with a file of half a megabyte that is half of the call's time.
const PASSING: [&str; 4] = ["-c", "fastimport.unpackLimit=100", "-c", "pack.compression=0"];

/// Makes `commits` on top of `head`, by `identity` (name and mail address), now.
pub fn chain(
    git: &Git,
    head: Option<&str>,
    identity: (&str, &str),
    commits: &[NewCommit<'_>],
) -> Result<Chain, GitError> {
    let mut kept: Vec<usize> = (0..commits.len()).collect();
    loop {
        let Imported { tree, made, written } = import(git, head, identity, commits, &kept)?;
        let mut before = tree.as_ref();
        let empty = made.iter().position(|(_, tree)| before.replace(tree) == Some(tree));
        if let Some(at) = empty {
            // What comes after it must stand on what comes before it.
            kept.remove(at);
            continue;
        }
        let mut written = written.into_iter();
        let mut blob = |bytes: &Option<&[u8]>| bytes.and_then(|_| written.next());
        let blobs = commits.iter().map(|c| c.files.iter().map(|(_, bytes)| blob(bytes)).collect()).collect();
        return Ok(Chain { commits: made.into_iter().map(|(id, _)| id).collect(), blobs });
    }
}

/// What one call made.
struct Imported {
    /// The tree of the commit that all stands on.
    tree: Option<String>,
    /// Each commit with its tree.
    made: Vec<(String, String)>,
    /// The blobs of the files of all commits, those that were left out too.
    written: Vec<String>,
}

fn import(
    git: &Git,
    head: Option<&str>,
    (name, mail): (&str, &str),
    commits: &[NewCommit<'_>],
    kept: &[usize],
) -> Result<Imported, GitError> {
    let contents: Vec<&[u8]> =
        commits.iter().flat_map(|c| &c.files).filter_map(|(_, bytes)| *bytes).collect();
    // As long as the ids there are.
    let null = match head {
        Some(head) => "0".repeat(head.len()),
        None => object_format(git)?.null().to_string(),
    };
    let mut stream = Vec::with_capacity(contents.iter().map(|c| c.len() + 64).sum());
    let mut put = |text: &str, bytes: &[u8]| {
        stream.extend_from_slice(text.as_bytes());
        stream.extend_from_slice(bytes);
    };
    for (n, content) in contents.iter().enumerate() {
        put(&format!("blob\nmark :{}\ndata {}\n", n + 1, content.len()), content);
        put(&format!("\nget-mark :{}\n", n + 1), b"");
    }
    if let Some(head) = head {
        put(&format!("ls {head} \"\"\n"), b"");
    }
    // What git forbids in a name or a mail address is left out.
    let plain = |text: &str| -> String { text.chars().filter(|c| !"<>\n\0".contains(*c)).collect() };
    let (name, mail) = (plain(name), plain(mail));
    let (mut parent, mut blob) = (head.map(str::to_owned), 0);
    for (at, commit) in commits.iter().enumerate() {
        let mut lines = String::new();
        for (path, bytes) in &commit.files {
            let path = quote(path.as_ref());
            blob += usize::from(bytes.is_some());
            match bytes {
                Some(_) => lines.push_str(&format!("M 100644 :{blob} {path}\n")),
                None => lines.push_str(&format!("D {path}\n")),
            }
        }
        if !kept.contains(&at) {
            continue;
        }
        let mark = contents.len() + 1 + at;
        let who = format!("commit {REF}\nmark :{mark}\ncommitter {name} <{mail}> now\n");
        put(&format!("{who}data {}\n", commit.message.len()), commit.message.as_bytes());
        let from = parent.map(|parent| format!("from {parent}\n")).unwrap_or_default();
        put(&format!("\n{from}{lines}\nget-mark :{mark}\nls :{mark} \"\"\n"), b"");
        parent = Some(format!(":{mark}"));
    }
    put(&format!("reset {REF}\nfrom {null}\n\ndone\n"), b"");
    let command = "fast-import";
    let config: &[&str] = if contents.len() + DEEP * kept.len() < UNPACKED { &PASSING } else { &[] };
    let call = git.call(config).args([command, "--quiet", "--done", "--date-format=now", "--force"]);
    let out = call.stdin(stream).output()?;
    let mut lines = out.lines();
    let mut next = || {
        let early = || GitError::Answer { command: command.into(), answer: "it ended early".into() };
        // A mark's id, or `<mode> tree <id>` and a tab.
        let line = lines.next().ok_or_else(early)?.split(|b| *b == b'\t').next().unwrap_or_default();
        Ok(line.rsplit(|b| *b == b' ').next().unwrap_or_default().to_str_lossy().into_owned())
    };
    let written = contents.iter().map(|_| next()).collect::<Result<Vec<_>, GitError>>()?;
    let tree = head.map(|_| next()).transpose()?;
    let made = kept.iter().map(|_| Ok((next()?, next()?))).collect::<Result<Vec<_>, GitError>>()?;
    Ok(Imported { tree, made, written })
}

#[cfg(test)]
mod tests {
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
        let made = chain(&git, None, ("N <N>", "n@example.org"), &[first]).expect("it is made");
        let head = made.commits[0].clone();
        let same = NewCommit { message: "same", files: vec![file("x", Some(b"x"))] };
        let last = NewCommit { message: "last", files: vec![file("x", None), file("y", Some(b"y"))] };
        let made = chain(&git, Some(&head), ("N", "n@example.org"), &[same, last]).expect("they are made");
        assert_eq!(made.commits.len(), 1);
        assert_eq!((made.blobs[0].len(), made.blobs[1].len(), made.blobs[1][0].as_ref()), (1, 2, None));
        let show = |what: &str| git.call(["log", "-1", &format!("--format={what}"), &made.commits[0]]).line();
        assert_eq!(show("%P %an <%ae> %s").expect("shown"), format!("{head} N <n@example.org> last"));
        let files = git.call(["ls-tree", "-r", "--name-only", &made.commits[0]]).line().expect("listed");
        assert_eq!(files, "\"a b/\\\"c\\n\"\ny");
        let refs = git.call(["for-each-ref"]).line().expect("listed");
        assert_eq!(refs, "");
    }
}
