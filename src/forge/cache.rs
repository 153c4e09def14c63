//! What forges have answered, kept so that it can be told without the network, and asked again cheaply.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Phase, Sent, State};

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

    /// For how many days each change that was merged since then had been open, the shortest first.
    pub fn reviews(&self, since: Timestamp) -> Vec<f64> {
        let length = |state: &State| {
            let (opened, merged) =
                (state.opened?, state.since.filter(|m| state.phase == Phase::Merged && *m >= since)?);
            Some(merged.duration_since(opened).as_secs_f64().max(0.0) / (24.0 * 60.0 * 60.0))
        };
        let mut met = BTreeSet::new();
        // The patches of one change have one answer each.
        let once = self.answers.iter().filter_map(|(_, state)| state.as_ref()).filter(|s| met.insert(&s.url));
        let mut lengths: Vec<f64> = once.filter_map(length).collect();
        lengths.sort_by(f64::total_cmp);
        lengths
    }

    /// What is known of one that was sent.
    pub fn state(&self, sent: &Sent) -> Option<&State> {
        self.answers.iter().find(|(s, _)| s == sent).and_then(|(_, state)| state.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::{Change, Review};

    #[test]
    fn a_review_counts_once_from_its_opening_to_its_merge_if_that_is_young_enough() {
        let at = |day: &str| Some(format!("2026-{day}T00:00:00Z").parse().expect("a moment"));
        let answer = |patch: &str, n: u64, phase, opened, since| {
            let url = format!("https://h/{n}");
            let mut state = State::new(phase, Review::Approved, None, url.clone());
            (state.opened, state.since) = (opened, since);
            (Sent { patch: patch.into(), url, change: Change::PullRequest(n) }, Some(state))
        };
        let cache = Cache {
            answers: vec![
                answer("a", 1, Phase::Merged, at("03-01"), at("03-11")),
                answer("b", 1, Phase::Merged, at("03-01"), at("03-11")),
                answer("c", 2, Phase::Merged, at("03-09"), at("03-12")),
                answer("d", 3, Phase::Merged, at("01-01"), at("01-02")),
                answer("e", 4, Phase::Open, at("03-01"), at("03-11")),
                answer("f", 5, Phase::Merged, None, at("03-11")),
            ],
            ..Cache::default()
        };
        assert_eq!(cache.reviews(at("03-01").expect("one")), [3.0, 10.0]);
    }
}
