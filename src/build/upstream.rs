//! What upstream did between two trunk commits, as a manifest says it.

use std::collections::BTreeMap;

use gix_hash::ObjectId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::trunk::Upstream;

/// So many commits are named at most, the newest; the counts are of all.
const NAMED: usize = 5_000;

/// The upstream commits of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamRange {
    /// The trunk commit before the range.
    pub from: String,
    /// Its last one.
    pub to: String,
    /// How many commits it has, merges too.
    pub count: usize,
    /// Its authors, those with the most commits first.
    pub authors: Vec<AuthorCount>,
    /// Its commits, the oldest first; of a range of more than 5,000 the newest.
    pub commits: Vec<UpstreamCommit>,
}

/// One upstream commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamCommit {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// Its author's name.
    pub author: String,
}

/// How much of a range is one author's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorCount {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// How many commits.
    pub commits: usize,
}

impl UpstreamRange {
    /// The range `from..to`, whose commits are given parents first.
    pub fn of(from: &ObjectId, to: &ObjectId, commits: &[Upstream]) -> Self {
        let mut authors: BTreeMap<(String, String), usize> = BTreeMap::new();
        for upstream in commits {
            let author = &upstream.commit.author;
            *authors.entry((author.name.to_string(), author.email.to_string())).or_default() += 1;
        }
        let mut authors: Vec<AuthorCount> = authors
            .into_iter()
            .map(|((name, email), commits)| AuthorCount { name, email, commits })
            .collect();
        authors.sort_by_key(|a| std::cmp::Reverse(a.commits));
        let named = commits[commits.len().saturating_sub(NAMED)..].iter().map(|upstream| UpstreamCommit {
            commit: upstream.id.to_string(),
            subject: upstream.commit.subject(),
            author: upstream.commit.author.name.to_string(),
        });
        Self {
            from: from.to_string(),
            to: to.to_string(),
            count: commits.len(),
            authors,
            commits: named.collect(),
        }
    }
}
