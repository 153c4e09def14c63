//! What forges have answered, kept so that it can be told without the network, and asked again cheaply.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Sent, State};

/// The answers about one project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    /// The form's version.
    pub version: u32,
    /// When it was asked last, and answered.
    pub asked: Option<Timestamp>,
    /// What was sent, with what became of it.
    pub answers: Vec<(Sent, Option<State>)>,
    /// Answers that the server has given a mark (`ETag`), by their address: it says whether they still hold.
    pub marked: BTreeMap<String, Marked>,
}

/// An answer with its mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// The mark.
    pub mark: String,
    /// The answer.
    pub body: String,
}

impl Cache {
    /// Reads it. What cannot be read is as good as nothing: all of it can be asked for again.
    pub fn parse(bytes: &[u8]) -> Self {
        let read: Option<Self> = serde_json::from_slice(bytes).ok();
        read.filter(|c| c.version == 1).unwrap_or(Self { version: 1, ..Self::default() })
    }

    /// What is known of one that was sent.
    pub fn state(&self, sent: &Sent) -> Option<&State> {
        self.answers.iter().find(|(s, _)| s == sent).and_then(|(_, state)| state.as_ref())
    }
}
