//! A build as files: a tarball, a bundle, the manifest with its signature, and the digests of all of them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use gix_hash::ObjectId;
use sha2::{Digest as _, Sha256};

use super::manifest::ArtifactRecord;
use crate::store::{Repo, StoreError};
use crate::workspace::ArtifactKind;

/// The file with the digests of the others, as `sha256sum -c` reads it.
pub const SUMS: &str = "SHA256SUMS";

/// Why a file was not made, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Git did not make it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system did not write or read it.
    #[error("'{}': {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Of which build files are made.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The project.
    pub project: &'a str,
    /// The build's id.
    pub build: &'a str,
    /// The ref that keeps it.
    pub name: &'a str,
    /// Its commit.
    pub commit: ObjectId,
    /// The build before it: what a bundle leaves out. None: nothing is left out.
    pub previous: Option<ObjectId>,
}

impl Source<'_> {
    /// The name that its files begin with, and the folder in the tarball.
    pub fn stem(&self) -> String {
        format!("{}-{}", self.project, self.build)
    }

    /// The name of its file of a kind.
    pub fn file(&self, kind: ArtifactKind) -> String {
        let extension = match kind {
            ArtifactKind::Tarball => "tar",
            ArtifactKind::Bundle => "bundle",
        };
        format!("{}.{extension}", self.stem())
    }

    /// Writes its file of a kind to `to`. `scratch` is a folder for what is in between.
    pub fn write(
        &self,
        store: &Repo,
        kind: ArtifactKind,
        to: &Path,
        scratch: &Path,
    ) -> Result<(), StoreError> {
        match kind {
            ArtifactKind::Tarball => store.archive(&self.commit, &format!("{}/", self.stem()), to, scratch),
            ArtifactKind::Bundle => store.bundle(self.name, &self.commit, self.previous.as_ref(), to),
        }
    }
}

/// Makes files of a build in `folder`.
pub fn make(
    store: &Repo,
    source: &Source<'_>,
    kinds: &[ArtifactKind],
    folder: &Path,
    scratch: &Path,
) -> Result<Vec<ArtifactRecord>, ArtifactError> {
    let mut records = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let name = source.file(*kind);
        let path = folder.join(&name);
        source.write(store, *kind, &path, scratch)?;
        let (size, sha256) = weigh(&path)?;
        records.push(ArtifactRecord { kind: kind.word().to_owned(), name, size, sha256 });
    }
    Ok(records)
}

/// Puts the manifest, its signature and the digests of all files beside what [`make`] made. The digests come last: a
/// folder that has them is whole.
pub fn seal(
    folder: &Path,
    stem: &str,
    manifest: &[u8],
    signature: Option<&[u8]>,
) -> Result<(), ArtifactError> {
    let put = |name: &str, bytes: &[u8]| -> Result<(), ArtifactError> {
        let path = folder.join(name);
        let done = File::create(&path).and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()));
        done.map_err(io(&path))
    };
    put(&format!("{stem}.json"), manifest)?;
    if let Some(signature) = signature {
        put(&format!("{stem}.json.sig"), signature)?;
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        names.push(entry.map_err(io(folder))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut sums = String::new();
    for name in names.iter().filter(|n| *n != SUMS) {
        let path = folder.join(name);
        File::open(&path).and_then(|f| f.sync_all()).map_err(io(&path))?;
        sums.push_str(&format!("{}  {name}\n", weigh(&path)?.1));
    }
    put(SUMS, sums.as_bytes())
}

/// A file's size and SHA-256.
pub fn weigh(path: &Path) -> Result<(u64, String), ArtifactError> {
    let mut file = File::open(path).map_err(io(path))?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let n = file.read(&mut buffer).map_err(io(path))?;
        if n == 0 {
            let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((size, hex));
        }
        hash.update(&buffer[..n]);
        size += n as u64;
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| ArtifactError::Io { path, source }
}
