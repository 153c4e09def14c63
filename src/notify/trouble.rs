//! What wants a person, and the fingerprint by which it is known again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No night ran for too long.
    Late,
    /// An error ended the night.
    Failed,
    /// Nothing was published: a required patch or check is in the way.
    Refused,
    /// A patch conflicts with trunk.
    Conflict,
    /// A patch conflicts with its own revised version.
    Evolved,
    /// A check fails with a patch.
    Broken,
    /// A check fails.
    Check,
    /// A patch needs one that is not in the build.
    Blocked,
    /// Upstream took back a patch that had landed.
    Undone,
    /// Upstream may have a patch, and a person decides.
    Asked,
}

impl Kind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Evolved => "evolved",
            Self::Broken => "broken",
            Self::Check => "check",
            Self::Blocked => "blocked",
            Self::Undone => "undone",
            Self::Asked => "asked",
        }
    }
}

/// Something that wants a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What kind it is.
    pub kind: Kind,
    /// The patch, if it is about one.
    pub patch: Option<String>,
    /// What else it is about: the check's name; what kind of error ended the night.
    pub about: Option<String>,
    /// The upstream commit that brought it.
    pub culprit: Option<String>,
    /// Who answers for the patch.
    pub owner: Option<String>,
    /// Their mail addresses, as far as they are known.
    #[serde(default)]
    pub mails: Vec<String>,
    /// What it is, in words.
    pub what: String,
    /// Why.
    pub why: String,
    /// The command to go on with.
    pub next: Option<String>,
}

impl Trouble {
    /// The same for what is the same trouble on another night: patch, what else it is about, culprit and kind. Who
    /// answers for it and how it is told play no part.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for part in
            [Some(self.kind.word()), self.patch.as_deref(), self.about.as_deref(), self.culprit.as_deref()]
        {
            // What is not there differs from what is empty.
            hash.update([u8::from(part.is_some())]);
            hash.update(part.unwrap_or_default().len().to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.finalize().iter().take(10).map(|b| format!("{b:02x}")).collect()
    }

    /// In one line: `fix-quota-race conflicts with trunk`.
    pub fn title(&self) -> String {
        match &self.patch {
            Some(patch) => format!("{patch} {}", self.what),
            None => self.what.clone(),
        }
    }
}

/// How a night ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// A build was published.
    Published,
    /// Nothing was new.
    Quiet,
    /// Nothing was published, as the verdict forbids it.
    Refused,
    /// An error ended it.
    Failed,
}

impl Ended {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Quiet => "quiet",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What the last night found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The project.
    pub project: String,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub ended: Ended,
    /// The build that is deployed.
    pub build: Option<String>,
    /// Its commit.
    pub commit: Option<String>,
    /// Was everything looked at? A night that an error ended says nothing of the patches.
    pub complete: bool,
    /// What wants a person.
    pub troubles: Vec<Trouble>,
}

#[cfg(test)]
pub(super) fn trouble(kind: Kind, patch: Option<&str>, culprit: Option<&str>) -> Trouble {
    Trouble {
        kind,
        patch: patch.map(str::to_owned),
        about: None,
        culprit: culprit.map(str::to_owned),
        owner: None,
        mails: Vec::new(),
        what: "conflicts with trunk".into(),
        why: String::new(),
        next: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_culprit_kind_or_patch_is_another_trouble_and_another_wording_is_not() {
        let one = trouble(Kind::Conflict, Some("a"), Some("c1"));
        let same = Trouble { why: "told otherwise".into(), owner: Some("kim".into()), ..one.clone() };
        assert_eq!(one.fingerprint(), same.fingerprint());
        for other in [
            trouble(Kind::Conflict, Some("b"), Some("c1")),
            trouble(Kind::Conflict, Some("a"), Some("c2")),
            trouble(Kind::Conflict, Some("a"), None),
            trouble(Kind::Blocked, Some("a"), Some("c1")),
            trouble(Kind::Conflict, Some("ac1"), Some("")),
        ] {
            assert_ne!(one.fingerprint(), other.fingerprint(), "{other:?}");
        }
    }
}
