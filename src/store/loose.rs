//! One object in a file of its own (`gitrepository-layout(5)`, `objects/[0-9a-f][0-9a-f]`), where a pack is not worth it.

use std::io::Write;
use std::path::Path;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::StoreError;
use super::odb::object_id;
use super::pack::compressor;

/// Writes an object to the folder `objects`, whose ids are of the kind `hash`, if it has no such file yet.
pub(super) fn write(
    objects: &Path,
    hash: gix_hash::Kind,
    kind: Kind,
    data: &[u8],
) -> Result<ObjectId, StoreError> {
    let id = object_id(hash, kind, data)?;
    put(objects, &id, kind, data, true)?;
    Ok(id)
}

/// The same of an object whose id is known; with `for_good` it is on the disk when this returns.
pub(super) fn put(
    objects: &Path,
    id: &ObjectId,
    kind: Kind,
    data: &[u8],
    for_good: bool,
) -> Result<(), StoreError> {
    let failed = |e: std::io::Error| StoreError::Write { path: objects.to_owned(), reason: e.to_string() };
    let hex = id.to_string();
    let folder = objects.join(&hex[..2]);
    let place = folder.join(&hex[2..]);
    if place.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o444));
    }
    // git's own housekeeping clears what a killed run leaves under this name.
    let mut file = builder.prefix("tmp_obj_").tempfile_in(&folder).map_err(failed)?;
    let whole = [format!("{kind} {}\0", data.len()).as_bytes(), data].concat();
    let mut deflate = compressor();
    let mut packed = vec![0; deflate.zlib_compress_bound(whole.len())];
    let len = deflate.zlib_compress(&whole, &mut packed).map_err(|e| failed(std::io::Error::other(e)))?;
    file.write_all(&packed[..len]).map_err(failed)?;
    if for_good {
        file.as_file().sync_data().map_err(failed)?;
    }
    file.persist(place).map_err(|e| failed(e.error))?;
    Ok(())
}
