//! A resolution as files: `resolutions/<project>/<patch>/<id>/record.toml`, and beside it each content as it is, so
//! that a review shows it.

use std::path::Path;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use super::{Answer, Change, Resolution, Standing};
use crate::queue::checked_path;
use crate::replay::{ConflictKind, Sides};
use crate::store::tree::Entry;

/// The record's file name.
pub const RECORD: &str = "record.toml";

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct RecordError {
    /// Its folder, from the folder of all.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    patch: String,
    recorded: String,
    by: String,
    trunk: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    conflict: Vec<ConflictForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<AlsoForm>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConflictForm {
    path: String,
    kind: ConflictKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ours: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    theirs: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlsoForm {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

const HEAD: &str = "# A conflict and its answer, by git carry resolve. The sides are mode and id in git's terms; each\n\
    # content lies beside this file. The answer is used for this very conflict and no other.\n";

/// Mode and id, as the file has them.
fn written(entry: Entry) -> String {
    format!("{:06o} {}", entry.mode, entry.id)
}

fn entry(text: &str) -> Result<Entry, String> {
    let bad = || format!("'{text}' is not a mode and an id");
    let (mode, id) = text.split_once(' ').ok_or_else(bad)?;
    let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| {
        matches!(mode, 0o100644 | 0o100755 | 0o120000 | 0o160000)
            // Old repositories hold other permissions.
            || mode & 0o170000 == 0o100000
            || *mode == 0o040000
    });
    let id = ObjectId::from_hex(id.as_bytes()).map_err(|_| bad())?;
    Ok(Entry { mode: mode.ok_or_else(bad)?, id })
}

fn side(text: &Option<String>) -> Result<Option<Entry>, String> {
    text.as_deref().map(entry).transpose()
}

impl Resolution {
    /// The files, from the folder of all resolutions of the project. The error says what cannot be written.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let folder = format!("{}/{}", self.patch, self.id());
        let mut files = Vec::new();
        let mut text = |path: &BString, result: &Standing| -> Result<_, String> {
            let name = path.to_str().map_err(|_| format!("'{path}' is not UTF-8"))?.to_owned();
            let content = result.content.as_ref().map(|bytes| {
                let plain = name.rsplit('/').next().unwrap_or("content");
                let number = files.len() + 1;
                let file = format!("{number}-{plain}");
                files.push((format!("{folder}/{file}"), bytes.clone()));
                file
            });
            Ok((name, result.entry.map(written), content))
        };
        let mut conflict = Vec::new();
        for Answer { path, kind, sides, result } in &self.conflicts {
            let (path, result, content) = text(path, result)?;
            let Sides { base, ours, theirs } = sides.map(|side| side.map(written));
            conflict.push(ConflictForm { path, kind: *kind, base, ours, theirs, result, content });
        }
        let mut also = Vec::new();
        for Change { path, merged, result } in &self.also {
            let (path, result, content) = text(path, result)?;
            also.push(AlsoForm { path, merged: merged.map(written), result, content });
        }
        let (patch, recorded, by) = (self.patch.clone(), self.recorded.clone(), self.by.clone());
        let (trunk, origin) = (self.trunk.clone(), self.origin.clone());
        let form = Form { version: 1, patch, recorded, by, trunk, origin, conflict, also };
        let form = toml::to_string(&form).map_err(|e| e.to_string())?;
        files.push((format!("{folder}/{RECORD}"), format!("{HEAD}{form}").into_bytes()));
        Ok(files)
    }

    /// Reads a record; `read` gives the contents beside it.
    pub fn parse(text: &str, read: impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Self, String> {
        let form: Form = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        if form.version != 1 {
            return Err(format!("it has version {}; this tool reads version 1", form.version));
        }
        let outcome = |result: &Option<String>, content: &Option<String>| -> Result<Standing, String> {
            let plain = |name: &&String| {
                !name.contains(['/', '\\', '\0']) && name.as_str() != "." && name.as_str() != ".."
            };
            let content = match content {
                Some(name) => Some(read(Some(name).filter(plain).ok_or("a content outside its folder")?)?),
                None => None,
            };
            let entry = side(result)?;
            if content.is_none() && entry.is_some_and(|e| e.mode != 0o160000) {
                return Err("a result without its content".into());
            }
            if let (Some(entry), Some(content)) = (&entry, &content) {
                let is = gix_object::compute_hash(entry.id.kind(), gix_object::Kind::Blob, content);
                if is.ok() != Some(entry.id) {
                    return Err("a content is not the one that it names".into());
                }
            }
            Ok(Standing { entry, content })
        };
        let path = |path: &str, result: &Standing| {
            checked_path(path.as_bytes(), result.entry.map(|e| e.mode)).map_err(|e| e.to_string())
        };
        let mut conflicts = Vec::new();
        for c in &form.conflict {
            let sides = Sides { base: side(&c.base)?, ours: side(&c.ours)?, theirs: side(&c.theirs)? };
            let result = outcome(&c.result, &c.content)?;
            conflicts.push(Answer { path: path(&c.path, &result)?, kind: c.kind, sides, result });
        }
        let mut also = Vec::new();
        for c in &form.also {
            let result = outcome(&c.result, &c.content)?;
            also.push(Change { path: path(&c.path, &result)?, merged: side(&c.merged)?, result });
        }
        let Form { patch, recorded, by, trunk, origin, .. } = form;
        Ok(Self { patch, recorded, by, trunk, origin, conflicts, also })
    }
}

/// All resolutions under the folder of a project, and what is wrong with those that cannot be read.
pub fn load(folder: &Path) -> (Vec<Resolution>, Vec<RecordError>) {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    let sorted = |folder: &Path| -> Vec<std::path::PathBuf> {
        let mut all: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        all.sort();
        all
    };
    for patch in sorted(folder).iter().filter(|p| p.is_dir()) {
        for place in sorted(patch).iter().filter(|p| p.is_dir()) {
            let told = place.strip_prefix(folder).unwrap_or(place).display().to_string();
            match read_one(place) {
                Ok(resolution) if told == format!("{}/{}", resolution.patch, resolution.id()) => {
                    found.push(resolution);
                }
                Ok(_) => {
                    faults.push(RecordError { place: told, what: "its sides are not its name's".into() })
                }
                Err(what) => faults.push(RecordError { place: told, what }),
            }
        }
    }
    (found, faults)
}

fn read_one(place: &Path) -> Result<Resolution, String> {
    let read = |name: &str| std::fs::read(place.join(name)).map_err(|e| format!("'{name}': {e}"));
    let text = String::from_utf8(read(RECORD)?).map_err(|_| "it is not UTF-8".to_owned())?;
    Resolution::parse(&text, read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some_entry() -> impl Strategy<Value = Option<Entry>> {
        let mode = prop_oneof![Just(0o100644u32), Just(0o100755), Just(0o120000)];
        proptest::option::of((mode, any::<[u8; 20]>()).prop_map(|(mode, id)| Entry { mode, id: id.into() }))
    }

    prop_compose! {
        fn answer()(path in "[a-z]{1,6}(/[a-z.é \"]{1,6}x)?", base in some_entry(), ours in some_entry(), theirs in some_entry(),
            entry in some_entry(), bytes in proptest::collection::vec(any::<u8>(), 0..20)) -> Answer {
            let blob = |bytes: &[u8]| gix_object::compute_hash(gix_hash::Kind::Sha1, gix_object::Kind::Blob, bytes);
            let entry = entry.map(|e| Entry { id: blob(&bytes).expect("an id"), ..e });
            let result = Standing { entry, content: entry.map(|_| bytes) };
            Answer { path: path.into(), kind: ConflictKind::Content, sides: Sides { base, ours, theirs }, result }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(conflicts in proptest::collection::vec(answer(), 1..4), by in "[ -~é]{0,12}") {
            let also = vec![Change { path: "also".into(), merged: None, result: Standing { entry: None, content: None } }];
            let resolution = Resolution { patch: "p".into(), recorded: "r".into(), by, trunk: "t".into(), origin: None,
                conflicts, also };
            let dir = tempfile::tempdir().expect("a folder");
            for (file, bytes) in resolution.files().expect("it can be written") {
                let path = dir.path().join(file);
                std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
                std::fs::write(path, bytes).expect("written");
            }
            let (found, faults) = load(dir.path());
            prop_assert_eq!(faults, vec![]);
            prop_assert_eq!(found, vec![resolution]);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(version = 1\n)?[ -~\n]{0,80}") {
            let _ = Resolution::parse(&text, |_| Ok(Vec::new()));
        }
    }

    #[test]
    fn what_leads_out_of_its_folder_is_refused() {
        let form = |path: &str, content: &str| {
            // The id of nothing.
            let id = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
            format!(
                "version = 1\npatch = \"p\"\nrecorded = \"\"\nby = \"\"\ntrunk = \"\"\n[[conflict]]\nkind = \"content\"\n\
                path = \"{path}\"\nresult = \"100644 {id}\"\ncontent = \"{content}\"\n"
            )
        };
        let parse = |text: &str| Resolution::parse(text, |_| Ok(Vec::new()));
        assert!(parse(&form("a/b", "1-b")).is_ok());
        for (path, content) in
            [("../b", "1-b"), (".git/config", "1"), ("/b", "1"), ("b", "../../carry.toml"), ("b", "..")]
        {
            assert!(parse(&form(path, content)).is_err(), "{path} {content}");
        }
    }
}
