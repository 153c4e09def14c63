//! Files of the tool's folder that are written whole or not at all.

use std::fs::File;
use std::io::{Result, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// How a file's name begins while it is written. A run that is killed leaves it, and [`sweep`] takes it away.
pub const HALF: &str = ".carry-";

/// Writes these parts, one after the other, as a file. Its folder is made if need be.
pub fn write_whole(file: &Path, parts: &[&[u8]]) -> Result<()> {
    let half = half(file, parts)?;
    half.persist(file).map_err(|e| e.error)?;
    Ok(())
}

/// The same, for good: a power cut does not take it back.
pub fn write_for_good(file: &Path, bytes: &[u8]) -> Result<()> {
    let half = half(file, &[bytes])?;
    half.as_file().sync_all()?;
    half.persist(file).map_err(|e| e.error)?;
    // The folder's own entry must last as well, where the system lets us say so.
    let _ = File::open(folder(file)).and_then(|folder| folder.sync_all());
    Ok(())
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

fn half(file: &Path, parts: &[&[u8]]) -> Result<NamedTempFile> {
    std::fs::create_dir_all(folder(file))?;
    let mut half = tempfile::Builder::new().prefix(HALF).tempfile_in(folder(file))?;
    parts.iter().try_for_each(|part| half.write_all(part))?;
    Ok(half)
}

/// Takes away the files that killed runs did not finish in a folder.
pub fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(HALF) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
