//! How files are merged where it is not left to lines: by a driver that the user's git configuration names, which git
//! itself runs; and the paths whose files a command makes anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bstr::{BStr, ByteSlice};
use globset::GlobSet;

use super::git::{Git, GitError};

/// What a driver gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driven {
    /// The merged bytes.
    Clean(Vec<u8>),
    /// It could not merge them.
    Conflict,
}

/// The drivers of a repository.
#[derive(Debug, Default)]
pub struct Drivers {
    /// Where git's configuration is read.
    place: PathBuf,
    /// The command of each driver, once one is asked for.
    commands: OnceLock<BTreeMap<String, String>>,
    /// Paths whose files are made anew and never merged.
    generated: GlobSet,
}

impl Drivers {
    /// Those that git knows in the folder `place`, and the paths that are generated.
    pub fn of(place: &Path, generated: GlobSet) -> Self {
        Self { place: place.to_owned(), commands: OnceLock::new(), generated }
    }

    /// Is the file at `path` made by a command?
    pub fn generated(&self, path: &BStr) -> bool {
        !self.generated.is_empty() && self.generated.is_match(path.to_path_lossy())
    }

    /// Was it asked what the user's git does?
    pub fn were_asked(&self) -> bool {
        self.commands.get().is_some()
    }

    /// Merges by the driver `name`; none if the user's git does not know it.
    pub fn merge(
        &self,
        name: &str,
        path: &BStr,
        base: &[u8],
        ours: &[u8],
        theirs: &[u8],
    ) -> Result<Option<Driven>, GitError> {
        let commands = self.commands.get_or_init(|| commands(&self.place));
        let Some(command) = commands.get(name) else { return Ok(None) };
        run(name, command, path, [base, ours, theirs]).map(Some)
    }
}

/// `merge.<name>.driver` of all drivers; none where git cannot be asked.
fn commands(place: &Path) -> BTreeMap<String, String> {
    let call = Git::at(place).call(["config", "--null", "--get-regexp", r"^merge\..*\.driver$"]);
    let out = call.answer().map(|a| a.stdout).unwrap_or_default();
    let one = |entry: &[u8]| {
        // `merge.<name>.driver`, a line's end, the value (`git help config`, `--null`).
        let (key, value) = entry.split_once_str("\n")?;
        let name = key.strip_prefix(b"merge.")?.strip_suffix(b".driver")?;
        Some((name.to_str().ok()?.to_owned(), value.to_str().ok()?.to_owned()))
    };
    out.split_str("\0").filter_map(one).collect()
}

/// Lets git merge one file by a driver, in a repository of its own: git fills in the command's words and quotes them.
fn run(name: &str, command: &str, path: &BStr, sides: [&[u8]; 3]) -> Result<Driven, GitError> {
    let dir = tempfile::tempdir().map_err(GitError::Missing)?;
    let git = Git::bare(dir.path());
    git.call(["init", "--quiet", "--bare"]).arg(dir.path()).output()?;
    // The folder comes from git's templates, which a user may have none of.
    let info = dir.path().join("info");
    std::fs::create_dir_all(&info)
        .and_then(|()| std::fs::write(info.join("attributes"), format!("* merge={name}\n")))
        .map_err(GitError::Missing)?;
    let mut stream = Vec::new();
    let quoted = quote(path);
    for (at, side) in sides.iter().enumerate() {
        let from = if at == 0 { "" } else { "from refs/heads/side0\n" };
        stream.extend_from_slice(
            format!("commit refs/heads/side{at}\ncommitter x <x> 0 +0000\ndata 0\n{from}M 100644 inline {quoted}\ndata {}\n", side.len())
                .as_bytes(),
        );
        stream.extend_from_slice(side);
        stream.push(b'\n');
    }
    git.call(["fast-import", "--quiet"]).stdin(stream).output()?;
    let setting = format!("merge.{name}.driver={command}");
    let call = git.call(["-c", &setting, "merge-tree", "--write-tree", "--no-messages"]);
    let answer = call.args(["refs/heads/side1", "refs/heads/side2"]).answer()?;
    let tree = answer.stdout.lines().next().unwrap_or_default().to_str_lossy().into_owned();
    match answer.code {
        Some(0) => {
            let spec = [tree.as_bytes(), b":", path.as_bytes()].concat();
            let spec = spec.to_os_str_lossy().into_owned();
            Ok(Driven::Clean(git.call(["cat-file", "blob"]).arg(spec).output()?))
        }
        Some(1) => Ok(Driven::Conflict),
        code => {
            let command = format!("merge-tree, with the merge driver '{name}'");
            Err(GitError::Failed { command, code, stderr: answer.stderr })
        }
    }
}

/// A path as `git fast-import` reads it.
pub(super) fn quote(path: &BStr) -> String {
    let mut out = String::from("\"");
    for byte in path.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..0x7f => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out.push('"');
    out
}
