//! What one listener was told, and what that makes news.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::trouble::{Kind, Trouble};

/// Something that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What.
    pub trouble: Trouble,
    /// When it was told first.
    pub first: Timestamp,
    /// When it was told last.
    pub last: Timestamp,
}

/// A listener that could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// What was in the way the last time.
    pub reason: String,
}

/// What one listener was told, by fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// What stands open, as it was told.
    #[serde(default)]
    pub told: BTreeMap<String, Told>,
    /// If it could not be told the last time: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failure>,
    /// The number of the issue that is kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<u64>,
    /// The commit status that was set last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<[String; 3]>,
}

/// What there is to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct News {
    /// What was not there before.
    pub new: Vec<Trouble>,
    /// What still is so, and is told again as its time has come.
    pub reminded: Vec<Trouble>,
    /// What is so no more.
    pub fixed: Vec<Trouble>,
    /// All that stands open now, these among them.
    pub open: Vec<Trouble>,
    /// Is it a test, and nothing happened?
    pub test: bool,
}

impl News {
    /// Is there nothing to tell?
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.reminded.is_empty() && self.fixed.is_empty()
    }
}

impl Ledger {
    /// What is news in `seen`, for this listener. `elsewhere` are the fingerprints of all that stands open, whoever is
    /// told of it: what only changed hands is not fixed. Of a night that was not `complete` nothing is known but what it
    /// found.
    pub fn news(
        &self,
        seen: &[Trouble],
        elsewhere: &BTreeSet<String>,
        complete: bool,
        now: Timestamp,
        remind: Duration,
    ) -> News {
        let mut news = News::default();
        let mut met = BTreeSet::new();
        for trouble in seen {
            let fingerprint = trouble.fingerprint();
            match self.told.get(&fingerprint) {
                None if met.contains(&fingerprint) => continue,
                None => news.new.push(trouble.clone()),
                Some(told) => {
                    // Whichever way the clock jumped, what was told so far from now is told again.
                    let since = now.duration_since(told.last).unsigned_abs();
                    if since >= remind {
                        news.reminded.push(trouble.clone());
                    }
                }
            }
            news.open.push(trouble.clone());
            met.insert(fingerprint);
        }
        for (fingerprint, told) in self.told.iter().filter(|(f, _)| !met.contains(*f)) {
            // A night that runs is the end of one that did not, and each error is the end of the one before.
            let over = complete || matches!(told.trouble.kind, Kind::Late | Kind::Failed);
            if !over {
                news.open.push(told.trouble.clone());
            } else if !elsewhere.contains(fingerprint) {
                news.fixed.push(told.trouble.clone());
            }
        }
        news
    }

    /// Writes down that news were told.
    pub fn took(&mut self, news: &News, now: Timestamp) {
        let before = std::mem::take(&mut self.told);
        let again: BTreeSet<String> = news.reminded.iter().map(Trouble::fingerprint).collect();
        for trouble in &news.open {
            let fingerprint = trouble.fingerprint();
            let was = before.get(&fingerprint);
            let last = was.filter(|_| !again.contains(&fingerprint)).map_or(now, |was| was.last);
            let first = was.map_or(now, |was| was.first);
            self.told.insert(fingerprint, Told { trouble: trouble.clone(), first, last });
        }
        self.failed = None;
    }

    /// Writes down that it could not be told.
    pub fn missed(&mut self, reason: &str, now: Timestamp) {
        let was = self.failed.take();
        let (since, tries) = was.map_or((now, 0), |was| (was.since, was.tries));
        self.failed = Some(Failure { since, tries: tries.saturating_add(1), reason: reason.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::super::trouble::trouble;
    use std::slice::from_ref;

    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    fn day(n: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + n * 24 * 60 * 60).expect("a moment")
    }

    fn all(seen: &[Trouble]) -> BTreeSet<String> {
        seen.iter().map(Trouble::fingerprint).collect()
    }

    fn names(list: &[Trouble]) -> Vec<&str> {
        list.iter().filter_map(|t| t.patch.as_deref()).collect()
    }

    #[test]
    fn new_is_told_once_then_after_a_week_and_then_that_it_is_fixed() {
        let (a, b) =
            (trouble(Kind::Conflict, Some("a"), Some("1")), trouble(Kind::Conflict, Some("b"), Some("1")));
        let mut ledger = Ledger::default();
        let mut night = |n: i64, seen: &[&Trouble]| {
            let seen: Vec<Trouble> = seen.iter().map(|t| (*t).clone()).collect();
            let news = ledger.news(&seen, &all(&seen), true, day(n), WEEK);
            ledger.took(&news, day(n));
            news
        };
        assert_eq!(names(&night(0, &[&a, &a]).new), ["a"], "twice the same is told once");
        assert!(night(1, &[&a]).is_empty());
        assert_eq!(names(&night(6, &[&a, &b]).new), ["b"]);
        let news = night(7, &[&a, &b]);
        assert_eq!((names(&news.reminded), names(&news.open)), (vec!["a"], vec!["a", "b"]));
        assert!(night(8, &[&a, &b]).is_empty(), "told again, its week begins anew");
        assert_eq!(names(&night(9, &[&b]).fixed), ["a"]);
        assert!(night(9, &[&b]).is_empty());
        assert_eq!(names(&night(10, &[&a]).new), ["a"], "what comes back is new");
    }

    #[test]
    fn a_listener_that_was_not_reached_is_told_the_next_time_what_holds_then() {
        let b = trouble(Kind::Blocked, Some("b"), None);
        let mut ledger = Ledger::default();
        ledger.missed("no answer", day(0));
        ledger.missed("no answer still", day(1));
        let failed = ledger.failed.clone().expect("it is written down");
        assert_eq!((failed.tries, failed.since, failed.reason.as_str()), (2, day(0), "no answer still"));
        let seen = [b];
        let news = ledger.news(&seen, &all(&seen), true, day(2), WEEK);
        assert_eq!(
            (names(&news.new), names(&news.fixed)),
            (vec!["b"], vec![]),
            "what came and went is nobody's news"
        );
        ledger.took(&news, day(2));
        assert_eq!(ledger.failed, None);
    }

    #[test]
    fn a_night_that_an_error_ended_fixes_nothing_and_the_next_one_ends_its_error() {
        let a = trouble(Kind::Conflict, Some("a"), None);
        let error = trouble(Kind::Failed, None, None);
        let mut ledger = Ledger::default();
        ledger.took(&ledger.clone().news(from_ref(&a), &all(from_ref(&a)), true, day(0), WEEK), day(0));
        let news = ledger.news(from_ref(&error), &all(from_ref(&error)), false, day(1), WEEK);
        assert_eq!((news.new.len(), news.fixed.len(), news.open.len()), (1, 0, 2));
        ledger.took(&news, day(1));
        let news = ledger.news(from_ref(&a), &all(from_ref(&a)), true, day(2), WEEK);
        assert_eq!(news.fixed.iter().map(|t| t.kind).collect::<Vec<_>>(), [Kind::Failed]);
    }

    #[test]
    fn what_changes_hands_is_not_fixed() {
        let a = trouble(Kind::Conflict, Some("a"), None);
        let mut ledger = Ledger::default();
        ledger.took(&ledger.clone().news(from_ref(&a), &all(from_ref(&a)), true, day(0), WEEK), day(0));
        let news = ledger.news(&[], &all(from_ref(&a)), true, day(1), WEEK);
        assert!(news.is_empty() && news.open.is_empty());
    }
}
