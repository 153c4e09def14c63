//! `[project.X.policy]`: what is allowed.

use std::time::Duration;

use super::reader::{Reader, Table};

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Without which patches nothing is published.
    pub required: Required,
    /// What becomes of a landed patch.
    pub landed: Landed,
    /// How far a night goes.
    pub advance: Advance,
    /// What OpenShift's tags in first lines do.
    pub tags: Tags,
    /// How long a patch may be held.
    pub max_hold_age: Option<Duration>,
    /// Must each patch say who answers for it (`Carry-Owner`)?
    pub require_owner: bool,
    /// Must each patch say why it is carried (`Carry-Reason`), or why it is held?
    pub require_reason: bool,
    /// So many patches may the queue have.
    pub max_patches: Option<usize>,
    /// Is nothing published while one of these four, or the date of a `Carry-Expires`, is not kept?
    pub gate: bool,
}

/// What `UPSTREAM: <drop>:` and its like do when the queue moves to a newer trunk (OpenShift's rebasebot).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// Nothing.
    Ignore,
    /// `<drop>` goes; an unknown tag is an error.
    Soft,
    /// What has no tag goes as well.
    Strict,
}

/// How far a night goes along the trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// To its tip; patches that conflict there fall out of the stack.
    Tip,
    /// To the newest commit on which no patch of the stack falls out.
    FurthestClean,
}

/// Without which patches nothing is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// Those with a `Carry-Required` trailer.
    Marked,
    /// All of them.
    All,
}

/// What becomes of a landed patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// It leaves the queue.
    Drop,
    /// It stays in the queue, and out of the stack.
    Keep,
}

/// The table's keys.
const KEYS: [&str; 9] = [
    "required",
    "landed",
    "advance",
    "tags",
    "max_hold_age",
    "require_owner",
    "require_reason",
    "max_patches",
    "gate",
];

/// Reads a project's policy.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Policy {
    let mut policy = Policy {
        required: Required::Marked,
        landed: Landed::Drop,
        advance: Advance::Tip,
        tags: Tags::Ignore,
        max_hold_age: None,
        require_owner: false,
        require_reason: false,
        max_patches: None,
        gate: false,
    };
    let Some((table, _)) = r.table(table, "policy") else { return policy };
    r.keys(table, &format!("{place}.policy"), &KEYS);
    policy.required = r.choice(table, "required", &[("marked", Required::Marked), ("all", Required::All)]);
    policy.landed = r.choice(table, "landed", &[("drop", Landed::Drop), ("keep", Landed::Keep)]);
    let words = [("tip", Advance::Tip), ("furthest-clean", Advance::FurthestClean)];
    policy.advance = r.choice(table, "advance", &words);
    let words = [("ignore", Tags::Ignore), ("soft", Tags::Soft), ("strict", Tags::Strict)];
    policy.tags = r.choice(table, "tags", &words);
    if table.contains_key("max_hold_age") {
        policy.max_hold_age = Some(r.duration(table, "max_hold_age", Duration::MAX));
    }
    policy.require_owner = r.truth(table, "require_owner", false);
    policy.require_reason = r.truth(table, "require_reason", false);
    policy.max_patches = r.count(table, "max_patches");
    policy.gate = r.truth(table, "gate", false);
    policy
}
