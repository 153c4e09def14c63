//! Brings the sides of each renamed file together at its new path.

use bstr::ByteSlice;

use super::folders::Rename;
use super::{BASE, Merge, MessageKind, OURS, SELF_RENAMES_MENDED, THEIRS, bit};
use crate::store::ObjectError;
use crate::store::tree::Entry;

impl Merge<'_> {
    /// Follows the renames, which are sorted by their old paths.
    pub(super) fn follow(&mut self, renames: &[Rename]) -> Result<(), ObjectError> {
        let mut renames = renames.iter().peekable();
        while let Some(rename) = renames.next() {
            if rename.from == rename.to && self.as_of >= SELF_RENAMES_MENDED {
                continue;
            }
            // Where nobody else changed the file, its new path says it all.
            if self.paths.get(&rename.from).is_none_or(|old| old.clean) {
                continue;
            }
            match renames.next_if(|next| next.from == rename.from) {
                Some(theirs) => self.renamed_by_both(rename, theirs)?,
                None => self.renamed_by_one(rename)?,
            }
        }
        Ok(())
    }

    fn renamed_by_both(&mut self, ours: &Rename, theirs: &Rename) -> Result<(), ObjectError> {
        let path = &ours.from;
        let Some(base) = self.paths.get(path).and_then(|old| old.stages[BASE]) else { return Ok(()) };
        if ours.to == theirs.to {
            if let Some(new) = self.paths.get_mut(&ours.to) {
                new.stages[BASE] = Some(base);
                new.files |= bit(BASE);
            }
            self.is_gone(path);
            return Ok(());
        }
        let side = |path, at: usize| self.paths.get(path).and_then(|p| p.stages[at]);
        let (our_file, their_file) = (side(&ours.to, OURS), side(&theirs.to, THEIRS));
        let from = [path.as_bstr(), ours.to.as_bstr(), theirs.to.as_bstr()];
        let (merged, clean) = self.merge_file(path.as_bstr(), [Some(base), our_file, their_file], from, 1)?;
        // What cannot be merged is left as each side has it.
        let untouched = !clean && Some(merged) == our_file;
        for (to, at, file) in [(&ours.to, OURS, Some(merged)), (&theirs.to, THEIRS, their_file)] {
            if let Some(new) = self.paths.get_mut(to) {
                new.stages[at] = if untouched { file } else { Some(merged) };
                new.path_in_doubt = true;
            }
        }
        if let Some(old) = self.paths.get_mut(path) {
            old.path_in_doubt = true;
        }
        self.tell(MessageKind::RenameRename, &from);
        Ok(())
    }

    fn renamed_by_one(&mut self, rename: &Rename) -> Result<(), ObjectError> {
        let (from, to, side) = (&rename.from, &rename.to, rename.side);
        let other = if side == OURS { THEIRS } else { OURS };
        let Some(old) = self.paths.get(from) else { return Ok(()) };
        let Some(new) = self.paths.get(to).filter(|new| !new.clean) else { return Ok(()) };
        let deleted = old.files == bit(BASE);
        let is_file = |entry: Option<Entry>| entry.is_some_and(|e| e.is_file());
        let type_changed = !deleted && is_file(old.stages[other]) != is_file(new.stages[side]);
        // Of a file that became something else the other side's rename goes unseen: no third file is there then.
        let collides = new.files & bit(other) != 0 && !type_changed;
        let (base, changed) = (old.stages[BASE], old.stages[other]);
        if collides && !deleted {
            let mut stages = [base, changed, changed];
            let mut names = [from.as_bstr(); 3];
            (stages[side], names[side]) = (new.stages[side], to.as_bstr());
            let (merged, clean) = self.merge_file(from.as_bstr(), stages, names, 1)?;
            if let Some(new) = self.paths.get_mut(to) {
                new.stages[side] = Some(merged);
            }
            if !clean {
                self.tell(MessageKind::RenameCollides, &[to.as_bstr(), from.as_bstr()]);
            }
        } else {
            if let Some(new) = self.paths.get_mut(to) {
                new.path_in_doubt |= deleted;
                if !collides {
                    new.stages[BASE] = base;
                    new.files |= bit(BASE);
                    new.from[BASE] = Some(from.clone());
                    if !deleted && !type_changed {
                        new.stages[other] = changed;
                        new.files |= bit(other);
                        new.from[other] = Some(from.clone());
                    }
                }
            }
            if deleted {
                self.tell(MessageKind::RenameDelete, &[to.as_bstr(), from.as_bstr()]);
            }
        }
        if !type_changed {
            self.is_gone(from);
        } else if let Some(old) = self.paths.get_mut(from).filter(|_| !collides) {
            old.stages[BASE] = None;
            old.files &= !bit(BASE);
        }
        Ok(())
    }

    fn is_gone(&mut self, path: &bstr::BString) {
        if let Some(old) = self.paths.get_mut(path) {
            (old.clean, old.result) = (true, None);
        }
    }
}
