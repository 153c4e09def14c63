//! Objects and differences as a repository's packs store them: one of a chain of differences is made once, and what
//! changed between two trees is read without either.

use std::path::Path;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_pack::data::Entry;
use gix_pack::data::entry::Header;
use libdeflater::Decompressor;

use super::delta::{patched, patched_by_all};
use super::recent::Recent;

/// Longer chains of differences git does not make (`git help pack-objects`, `--depth`).
const CHAIN: usize = 4095;

/// A pack, and the number by which what is in it is kept.
struct Pack {
    number: usize,
    bundle: gix_pack::Bundle,
}

/// The packs of a repository, without those that are lent.
pub(super) struct Deltas {
    packs: Vec<Arc<Pack>>,
    hash: gix_hash::Kind,
    /// The fastest where the size is known, as it is here; a third of a replay of real patches is this.
    inflate: Decompressor,
    /// The pack in which the last object was: the next one is most likely there, too.
    last: usize,
    /// What was read last, on whatever thread.
    recent: Arc<Recent>,
}

impl Deltas {
    /// Those in the folder `objects`, with ids of the kind `hash`. A pack that cannot be opened is left out: nobody needs it
    /// here.
    pub fn of(objects: &Path, hash: gix_hash::Kind) -> Self {
        let files = std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
        let indexes =
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "idx"));
        let mut deltas = Self::with(Vec::new(), hash, Arc::default());
        indexes.for_each(|index| deltas.add(&index));
        deltas
    }

    /// A pack that has come, by its index.
    pub fn add(&mut self, index: &Path) {
        let bundle = gix_pack::Bundle::at(index, self.hash).ok();
        self.packs.extend(bundle.map(|bundle| Arc::new(Pack { number: self.recent.number(), bundle })));
    }

    /// The same packs, for another thread.
    pub fn again(&self) -> Self {
        Self::with(self.packs.clone(), self.hash, self.recent.clone())
    }

    fn with(packs: Vec<Arc<Pack>>, hash: gix_hash::Kind, recent: Arc<Recent>) -> Self {
        Self { packs, hash, inflate: Decompressor::new(), last: 0, recent }
    }

    /// The object `id`, if it is in one of the packs and stands there on nothing outside of it.
    pub fn whole(&mut self, id: &ObjectId) -> Option<(Kind, Arc<Vec<u8>>)> {
        let place = |n: usize| Some((n, offset_of(&self.packs.get(n)?.bundle, id)?));
        let (n, offset) = place(self.last).or_else(|| (0..self.packs.len()).find_map(place))?;
        self.last = n;
        let Pack { number, bundle } = &*self.packs[n];
        let pack = &bundle.pack;
        let (mut at, mut steps) = (offset, Vec::new());
        let (kind, mut data) = loop {
            if let Some(known) = self.recent.get((*number, at)) {
                break known;
            }
            // One that stands on another by its id could stand on itself, in a pack made for that.
            if steps.len() > CHAIN {
                return None;
            }
            let entry = pack.entry(at).ok()?;
            let bytes = inflated(&mut self.inflate, pack, &entry)?;
            match entry.header {
                Header::OfsDelta { base_distance } => {
                    steps.push((at, bytes));
                    at = entry.checked_base_pack_offset(base_distance)?;
                }
                // What a fetch left out, as it is here already, git puts at the end of the pack.
                Header::RefDelta { base_id } => {
                    steps.push((at, bytes));
                    at = offset_of(bundle, &base_id)?;
                }
                header => {
                    let whole = (header.as_kind()?, Arc::new(bytes));
                    self.recent.put((*number, at), &whole, at == offset);
                    break whole;
                }
            }
        };
        // A history's trees stand on each other, and are asked for one after the other; a file's versions are not.
        if kind == Kind::Blob {
            let chain: Vec<Vec<u8>> = steps.into_iter().rev().map(|(_, delta)| delta).collect();
            if !chain.is_empty() {
                data = Arc::new(patched_by_all(&data, &chain)?);
                self.recent.put((*number, offset), &(kind, data.clone()), true);
            }
            return Some((kind, data));
        }
        for (at, delta) in steps.into_iter().rev() {
            data = Arc::new(patched(&data, &delta)?);
            self.recent.put((*number, at), &(kind, data.clone()), at == offset);
        }
        Some((kind, data))
    }

    /// The difference that makes one of `old` and `new` of the other, if that is how it is stored; and whether it makes
    /// the old one of the new.
    pub fn between(&mut self, old: &ObjectId, new: &ObjectId) -> Option<(bool, Vec<u8>)> {
        self.packs.iter().find_map(|pack| {
            let bundle = &pack.bundle;
            let (new, old) = (offset_of(bundle, new)?, offset_of(bundle, old)?);
            // What an entry is a difference to stands before it.
            let (base, place) = (old.min(new), old.max(new));
            let entry = bundle.pack.entry(place).ok()?;
            let Header::OfsDelta { base_distance } = entry.header else { return None };
            if entry.checked_base_pack_offset(base_distance)? != base {
                return None;
            }
            Some((place == old, inflated(&mut self.inflate, &bundle.pack, &entry)?))
        })
    }
}

/// Where in a pack an object lies.
fn offset_of(bundle: &gix_pack::Bundle, id: &ObjectId) -> Option<u64> {
    Some(bundle.index.pack_offset_at_index(bundle.index.lookup(id)?))
}

/// The bytes of an entry: the object, or the difference. What is behind it in the pack is not looked at.
fn inflated(inflate: &mut Decompressor, pack: &gix_pack::data::File, entry: &Entry) -> Option<Vec<u8>> {
    let size = usize::try_from(entry.decompressed_size).ok()?;
    let packed = pack.entry_slice(entry.data_offset..u64::try_from(pack.pack_end()).ok()?)?;
    // More than this deflate cannot do (`zlib.net/zlib_tech.html`): what claims it is broken.
    if size / 1032 > packed.len() {
        return None;
    }
    let mut bytes = vec![0; size];
    (inflate.zlib_decompress(packed, &mut bytes).ok()? == size).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Objects as _, Repo};

    /// What a fetch leaves out of a pack, as it is here already, git adds at the end, and what stands on it says so by its
    /// id (`git help index-pack`, `--fix-thin`).
    #[test]
    fn what_stands_on_another_by_its_id_is_made_as_well() {
        let dir = tempfile::tempdir().expect("a folder");
        let open =
            |name: &str| Repo::open_or_create(&dir.path().join(name), None, None).expect("a repository");
        let (there, here) = (open("there.git"), open("here.git"));
        let lines = |last: &str| (0..900).map(|n| format!("line {n}\n")).collect::<String>() + last;
        let (old, new) = (lines("old\n"), lines("new\n"));
        let commit = |from: &str, text: &str| {
            format!(
                "commit refs/heads/{from}\ncommitter a <a> 1 +0000\ndata 0\nM 100644 inline f\ndata {}\n{text}\n",
                text.len()
            )
        };
        let stream = [
            commit("one", &old),
            "reset refs/heads/two\nfrom refs/heads/one\n\n".into(),
            commit("two", &new),
        ];
        there.git().call(["fast-import", "--quiet"]).stdin(stream.concat()).output().expect("made");
        for branch in ["one", "two"] {
            let spec = format!("refs/heads/{branch}:refs/heads/{branch}");
            let fetch = ["-c", "fetch.unpackLimit=1", "fetch", "-q"];
            here.git().call(fetch).arg(there.path()).arg(spec).output().expect("fetched");
        }
        let id = here.git().call(["rev-parse", "two:f"]).line().expect("an id");
        let id = ObjectId::from_hex(id.as_bytes()).expect("an id");
        let odb = here.odb().expect("it opens");
        let mut deltas = Deltas::of(&here.path().join("objects"), odb.hash());
        let by_id = deltas.packs.iter().map(|pack| &pack.bundle).any(|bundle| {
            let entry = offset_of(bundle, &id).and_then(|at| bundle.pack.entry(at).ok());
            entry.is_some_and(|entry| matches!(entry.header, Header::RefDelta { .. }))
        });
        assert!(by_id, "git sent the file in another way");
        let (kind, data) = deltas.whole(&id).expect("it is made");
        assert_eq!((kind, data.as_slice()), (Kind::Blob, new.as_bytes()));
    }
}
