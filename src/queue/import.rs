//! Patch folders and mailboxes of others, taken in without a changed byte.

use std::collections::BTreeSet;
use std::path::Path;

use bstr::ByteSlice;

use super::error::{QueueError, Reason};
use super::header;
use super::load::{list, read};
use super::patch::{Patch, file_name};
use super::series::Series;

/// A queue that came from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// The `series` file, to the byte where there was one.
    pub series: Vec<u8>,
    /// The patch files: name from the queue's folder, and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A quilt or Debian folder (with a `series`), or a folder of `git format-patch` files in the order of their names.
pub fn folder(path: &Path) -> Result<Import, Vec<QueueError>> {
    let fail = |e| vec![e];
    let candidates = [path.to_owned(), path.join("debian/patches"), path.join("patches")];
    let at = candidates.iter().find(|p| p.join("series").is_file());
    let mut import = Import::default();
    if let Some(at) = at {
        let bytes =
            read(&at.join("series")).map_err(|why| fail(QueueError::new("series", 0, Reason::Io(why))))?;
        let series = Series::parse("series", &bytes).map_err(fail)?;
        let mut faults = Vec::new();
        for entry in series.entries() {
            match read(&at.join(&entry.file)) {
                Ok(bytes) => import.files.push((entry.file.clone(), bytes)),
                Err(why) => faults.push(QueueError::new(entry.file.as_str(), 0, Reason::Io(why))),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut all = Vec::new();
        list(at, "", &mut all).map_err(fail)?;
        all.sort_unstable();
        for file in all.iter().filter(|f| !series.entries().any(|e| e.file == **f)) {
            import.notes.push(format!("'{file}' is not named by the series and stays behind"));
        }
        import.series = bytes;
        return Ok(import);
    }
    let mut all = Vec::new();
    list(path, "", &mut all).map_err(fail)?;
    all.sort_unstable();
    if all.is_empty() {
        return Err(fail(QueueError::new(".", 0, Reason::Io("no series and no *.patch file".into()))));
    }
    for file in all {
        let bytes = read(&path.join(&file))
            .map_err(|why| fail(QueueError::new(file.as_str(), 0, Reason::Io(why))))?;
        let base = file.rsplit('/').next().unwrap_or(&file);
        if base.starts_with("0000-")
            && Patch::parse(&file, bytes.clone(), 1).is_ok_and(|p| p.changes().is_empty())
        {
            import.notes.push(format!("'{file}' is a cover letter and stays behind"));
            continue;
        }
        import.series.extend_from_slice(format!("{file}\n").as_bytes());
        import.files.push((file, bytes));
    }
    Ok(import)
}

/// A mailbox: each mail a file named after its subject; their concatenation is the mailbox.
pub fn mbox(bytes: &[u8]) -> Result<Import, Vec<QueueError>> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in bytes.lines_with_terminator() {
        // As mailboxes are told apart: a "From " line and a mail's fields right under it.
        let fields = || header::fields(&bytes[at + line.len()..]);
        if line.starts_with(b"From ")
            && fields().is_some_and(|(f, _)| {
                header::get(&f, "From").is_some() && header::get(&f, "Subject").is_some()
            })
        {
            starts.push(at);
        }
        at += line.len();
    }
    if starts.first() != Some(&0) {
        return Err(vec![QueueError::new(
            "mbox",
            1,
            Reason::Mail("it does not start with a mail's 'From ' line"),
        )]);
    }
    starts.push(bytes.len());
    let mut import = Import::default();
    let mut taken = BTreeSet::new();
    for pair in starts.windows(2) {
        let mail = bytes[pair[0]..pair[1]].to_vec();
        let patch = Patch::parse("mbox", mail.clone(), 1).map_err(|e| vec![e])?;
        let name = file_name(&patch.subject(), &taken);
        taken.insert(name.clone());
        import.series.extend_from_slice(format!("{name}\n").as_bytes());
        import.files.push((name, mail));
    }
    Ok(import)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_split_and_its_parts_are_the_whole() {
        let mail = |n: u8| {
            format!(
                "From 0000 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH {n}/2] do it\n\nFrom here on text\n---\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n\n"
            )
        };
        let whole = format!("{}{}", mail(1), mail(2));
        let import = mbox(whole.as_bytes()).expect("two mails");
        let names: Vec<&str> = import.files.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["do-it.patch", "do-it-2.patch"]);
        let parts: Vec<&[u8]> = import.files.iter().map(|(_, b)| b.as_slice()).collect();
        assert_eq!(parts.concat(), whole.as_bytes());
        assert!(mbox(b"hello\n").is_err());
    }
}
