//! What a patch does, as a short sum that offsets, context and blob ids play no part in.

use super::change::{Content, FileChange, LineKind};
use super::patch::digest;

/// The sum of some changes, as 16 hexadecimal digits of a SHA-256: equal where `same_change` finds them the same (text),
/// or where binary data ends as the same blobs. It outlives a refresh, and does not outlive an edit.
pub fn change_sum(changes: &[FileChange]) -> String {
    let mut parts: Vec<Vec<u8>> = changes.iter().map(one).collect();
    parts.sort_unstable();
    digest(&parts.concat())[..16].to_owned()
}

fn one(change: &FileChange) -> Vec<u8> {
    let mut out = Vec::new();
    // Each part with its length before it: no two lists of parts give the same bytes.
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    put(format!("{:?}", change.kind).as_bytes());
    for path in [&change.old_path, &change.new_path] {
        put(path.as_ref().map_or(&[][..], |p| p));
    }
    let moved = change.old_mode.zip(change.new_mode).filter(|(old, new)| old != new);
    put(moved.map(|(old, new)| format!("{old:o} {new:o}")).unwrap_or_default().as_bytes());
    match &change.content {
        Content::Text(hunks) => {
            for line in hunks.iter().flat_map(|h| &h.lines).filter(|l| l.kind != LineKind::Context) {
                put(format!("{:?}", line.kind).as_bytes());
                put(&line.bytes);
            }
        }
        _ => put(change.new_id.map(|id| id.to_string()).unwrap_or_default().as_bytes()),
    }
    out
}
