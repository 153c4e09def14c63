//! Differences as a repository's packs store them: what changed between two trees is read there without either tree.

use std::path::Path;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_pack::data::entry::Header;

/// The packs of a repository, without those that are lent.
pub(super) struct Deltas {
    packs: Arc<Vec<gix_pack::Bundle>>,
    inflate: gix_zlib::Inflate,
}

impl Deltas {
    /// Those in the folder `objects`. A pack that cannot be opened is left out: nobody needs it here.
    pub fn of(objects: &Path) -> Self {
        let files = std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
        let indexes =
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "idx"));
        let open = |path| gix_pack::Bundle::at(path, gix_hash::Kind::Sha1).ok();
        let packs = Arc::new(indexes.filter_map(open).collect());
        Self { packs, inflate: gix_zlib::Inflate::default() }
    }

    /// The same packs, for another thread.
    pub fn again(&self) -> Self {
        Self { packs: self.packs.clone(), inflate: gix_zlib::Inflate::default() }
    }

    /// The difference that makes `new` of `old`, if `new` is stored as that.
    pub fn between(&mut self, old: &ObjectId, new: &ObjectId) -> Option<Vec<u8>> {
        self.packs.iter().find_map(|bundle| {
            let at = |id: &ObjectId| Some(bundle.index.pack_offset_at_index(bundle.index.lookup(id)?));
            let entry = bundle.pack.entry(at(new)?).ok()?;
            let Header::OfsDelta { base_distance } = entry.header else { return None };
            if entry.checked_base_pack_offset(base_distance)? != at(old)? {
                return None;
            }
            let mut delta = vec![0; usize::try_from(entry.decompressed_size).ok()?];
            bundle.pack.decompress_entry(&entry, &mut self.inflate, &mut delta).ok()?;
            Some(delta)
        })
    }
}
