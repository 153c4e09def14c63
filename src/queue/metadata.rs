//! What a patch's header says, in the field's own words: git trailers, DEP-3, Yocto, OpenShift, SUSE, Debian's gbp.

use std::sync::{Arc, LazyLock};

use bstr::{BString, ByteSlice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::header::{Fields, field};

/// OpenShift's subject tag (`UPSTREAM: <carry>: …`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectTag {
    /// Stays.
    Carry,
    /// Goes with the next rebase.
    Drop,
    /// Stays until this pull request of upstream's has merged.
    PullRequest(u64),
    /// Something else.
    Other(String),
}

/// What a patch's header says. Lists keep the header's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Metadata {
    /// `Change-Id` of the footer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub change_ids: Vec<String>,
    /// `(cherry picked from commit …)`, and SUSE's `Git-commit`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cherry_picked_from: Vec<String>,
    /// `Depends-On`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// `Signed-off-by`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signed_off_by: Vec<String>,
    /// `Fixes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
    /// DEP-3 `Bug` and `Bug-<Vendor>`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bugs: Vec<String>,
    /// Yocto's `CVE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// DEP-3 `Origin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// DEP-3 `Forwarded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<String>,
    /// DEP-3 `Applied-Upstream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_upstream: Option<String>,
    /// DEP-3 `Last-Update`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<String>,
    /// Yocto's `Upstream-Status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<String>,
    /// SUSE's `Patch-mainline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_mainline: Option<String>,
    /// OpenShift's subject tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_tag: Option<SubjectTag>,
    /// `Carry-Owner`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// `Carry-Reason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `Carry-Hold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// `Carry-Expires`: the last day on which it may be carried as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `Carry-Required`, unless it says no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// `Carry-Group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `Carry-Follows`: the revision of upstream's change that the patch was taken from, and the sum of what it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
}

/// Reads a message, and the fields above it where a header has some.
pub fn read_metadata(message: &[u8], fields: &Fields) -> Metadata {
    let mut out = Metadata { subject_tag: subject_tag(message), ..Metadata::default() };
    for (name, value) in fields {
        out.take(name, &one_line(value));
    }
    // The lines of the last paragraph are the footer's; most other tags are met in the body as well.
    let footer = footer_start(message);
    let mut at = 0;
    for line in message.lines_with_terminator() {
        let in_footer = footer.is_some_and(|start| at >= start);
        at += line.len();
        let line = line.trim_end();
        if let Some(id) = line.strip_prefix(b"(cherry picked from commit ").and_then(|r| r.strip_suffix(b")"))
        {
            out.cherry_picked_from.extend(commit_id(id));
        } else if let Some((name, value)) = field(line) {
            if name.eq_ignore_ascii_case("Change-Id") && !in_footer {
                continue;
            }
            out.take(name, &one_line(value));
        }
    }
    out
}

impl Metadata {
    /// That of a header that says none of it, as most do: one for all.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Metadata>> = LazyLock::new(Arc::default);
        NONE.clone()
    }

    /// Why the header says that the patch is not for upstream, in its own words; none: it does not say so.
    pub fn never(&self) -> Option<String> {
        let said = |name: &str, value: &Option<String>, words: &[&str]| {
            let value = value.as_ref()?;
            let word = value.split([' ', ',']).next().unwrap_or_default();
            words.iter().any(|w| w.eq_ignore_ascii_case(word)).then(|| format!("{name}: {value}"))
        };
        let tag = match self.subject_tag {
            Some(SubjectTag::Carry) => Some("UPSTREAM: <carry>".to_owned()),
            Some(SubjectTag::Drop) => Some("UPSTREAM: <drop>".to_owned()),
            _ => None,
        };
        said("Forwarded", &self.forwarded, &["not-needed"])
            .or_else(|| said("Upstream-Status", &self.upstream_status, &["Inappropriate", "Denied"]))
            .or_else(|| said("Patch-mainline", &self.patch_mainline, &["Never"]))
            .or(tag)
    }

    fn take(&mut self, name: &str, value: &str) {
        let value = value.to_owned();
        let empty = value.is_empty();
        let lower = name.to_ascii_lowercase();
        if lower == "cve" {
            // One line may name several.
            for id in value.split([' ', ',']).filter(|id| !id.is_empty()) {
                if !self.cves.iter().any(|c| c == id) {
                    self.cves.push(id.to_owned());
                }
            }
            return;
        }
        let list = match lower.as_str() {
            "change-id" => Some(&mut self.change_ids),
            "depends-on" => Some(&mut self.depends_on),
            "signed-off-by" => Some(&mut self.signed_off_by),
            "fixes" => Some(&mut self.fixes),
            "bug" => Some(&mut self.bugs),
            vendor if vendor.starts_with("bug-") => Some(&mut self.bugs),
            _ => None,
        };
        if let Some(list) = list {
            if !empty && !list.contains(&value) {
                list.push(value);
            }
            return;
        }
        let slot = match lower.as_str() {
            "origin" => &mut self.origin,
            "forwarded" => &mut self.forwarded,
            "applied-upstream" => &mut self.applied_upstream,
            "last-update" => &mut self.last_update,
            "upstream-status" => &mut self.upstream_status,
            "patch-mainline" => &mut self.patch_mainline,
            "carry-owner" => &mut self.owner,
            "carry-reason" => &mut self.reason,
            "carry-hold" => &mut self.hold,
            "carry-group" => &mut self.group,
            "carry-expires" => &mut self.expires,
            "carry-follows" => &mut self.follows,
            "carry-required" => {
                self.required = !matches!(value.to_ascii_lowercase().as_str(), "no" | "false");
                return;
            }
            "git-commit" => {
                self.cherry_picked_from.extend(commit_id(value.as_bytes()));
                return;
            }
            _ => return,
        };
        if !empty {
            *slot = Some(value);
        }
    }
}

fn one_line(value: &[u8]) -> String {
    value.fields().map(|w| w.to_str_lossy()).collect::<Vec<_>>().join(" ")
}

fn commit_id(text: &[u8]) -> Option<String> {
    let hex = text.to_str().ok()?.trim();
    (matches!(hex.len(), 40 | 64) && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| hex.to_ascii_lowercase())
}

fn subject_tag(message: &[u8]) -> Option<SubjectTag> {
    let subject = message.lines().next()?.to_str().ok()?;
    let (tag, _) = subject.strip_prefix("UPSTREAM: ")?.split_once(':')?;
    Some(match tag.trim() {
        "<carry>" => SubjectTag::Carry,
        "<drop>" => SubjectTag::Drop,
        other => other.parse().map_or_else(|_| SubjectTag::Other(other.to_owned()), SubjectTag::PullRequest),
    })
}

/// Where the footer starts, by the rule of `git interpret-trailers`: the last paragraph (not the first), if all its
/// lines are trailers, or one is git's own and a quarter are trailers.
pub(super) fn footer_start(message: &[u8]) -> Option<usize> {
    let text = message.trim_end();
    let start = text.rfind("\n\n")? + 2;
    let (mut trailers, mut own, mut other) = (0, false, 0);
    for line in text[start..].lines() {
        let git = line.starts_with(b"Signed-off-by: ") || line.starts_with(b"(cherry picked from commit ");
        own |= git;
        if git || field(line).is_some() {
            trailers += 1;
        } else if !(line.starts_with(b" ") || line.starts_with(b"\t")) {
            other += 1;
        }
    }
    (trailers > 0 && (other == 0 || own && trailers * 3 >= other)).then_some(start)
}

/// Headers of a patch that stand above its message.
pub type HeaderFields = Vec<(String, BString)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialects_of_the_field_are_read() {
        let message = b"UPSTREAM: <carry>: keep it\n\nWhy.\nUpstream-Status: Pending\n\nChange-Id: I1\nDepends-On: I2\n\
            (cherry picked from commit 0123456789012345678901234567890123456789)\nCarry-Owner: A <a@b>\nCarry-Required: yes\nBug-Debian: https://b\nCVE: CVE-2026-1 CVE-2026-2\n";
        let m = read_metadata(message, &Vec::new());
        assert_eq!(m.subject_tag, Some(SubjectTag::Carry));
        assert_eq!((m.change_ids, m.depends_on), (vec!["I1".to_owned()], vec!["I2".to_owned()]));
        assert_eq!(m.cherry_picked_from.len(), 1);
        assert_eq!(m.cves, ["CVE-2026-1", "CVE-2026-2"]);
        assert_eq!(m.upstream_status.as_deref(), Some("Pending"));
        assert_eq!((m.owner.as_deref(), m.required, m.bugs.len()), (Some("A <a@b>"), true, 1));
        assert_eq!(subject_tag(b"UPSTREAM: 1234: x"), Some(SubjectTag::PullRequest(1234)));
    }

    #[test]
    fn a_header_that_says_never_is_heard() {
        let never = |m: &str| read_metadata(m.as_bytes(), &Vec::new()).never();
        for said in [
            "s\n\nForwarded: not-needed\n",
            "s\n\nUpstream-Status: Inappropriate [ours]\n",
            "s\n\nUpstream-Status: Denied\n",
            "s\n\nPatch-mainline: Never, ours\n",
            "UPSTREAM: <carry>: s\n",
            "UPSTREAM: <drop>: s\n",
        ] {
            assert!(never(said).is_some(), "{said}");
        }
        for not in ["s\n", "s\n\nForwarded: no\n", "UPSTREAM: 12: s\n", "s\n\nUpstream-Status: Pending\n"] {
            assert_eq!(never(not), None, "{not}");
        }
    }

    #[test]
    fn a_change_id_counts_in_the_footer_alone() {
        let read = |m: &[u8]| read_metadata(m, &Vec::new()).change_ids;
        assert!(read(b"s\n\nChange-Id: I1\n\nmore words\n").is_empty());
        assert!(read(b"Change-Id: I1\n").is_empty());
        assert_eq!(read(b"s\n\nfree words\nSigned-off-by: x\nChange-Id: I1\n"), ["I1"]);
        assert!(read(b"s\n\nfree words\nChange-Id: I1\n").is_empty());
    }
}
