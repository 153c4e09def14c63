//! Halving, where some points cannot be told.

/// What a point says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// All is well there.
    Good,
    /// It is not.
    Bad,
    /// It cannot be told there.
    Skip,
}

/// Where it begins to be bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The last point that is known to be good: the number of those before it and itself.
    pub good: usize,
    /// The first that is known to be bad, from 1. Those between the two cannot be told.
    pub bad: usize,
}

/// Seeks the first bad one of the points 1 to `count`, where 0 is good and `count` is bad. `ask` says what a point is; a
/// point that cannot be told is asked once, and its neighbours are asked in its place, the nearest to the middle first.
pub fn first_bad<E>(count: usize, mut ask: impl FnMut(usize) -> Result<Said, E>) -> Result<Found, E> {
    let (mut good, mut bad) = (0, count);
    let mut skipped = std::collections::BTreeSet::new();
    loop {
        let middle = good + (bad - good) / 2;
        let open = (good + 1..bad).filter(|at| !skipped.contains(at));
        let Some(at) = open.min_by_key(|at| at.abs_diff(middle)) else { return Ok(Found { good, bad }) };
        match ask(at)? {
            Said::Good => good = at,
            Said::Bad => bad = at,
            Said::Skip => drop(skipped.insert(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_bad_one_is_found_or_lies_among_those_that_cannot_be_told(
            count in 1_usize..200,
            first in 1_usize..200,
            skips in proptest::collection::btree_set(1_usize..200, 0..20),
        ) {
            let first = first.min(count);
            let mut asked = std::collections::BTreeSet::new();
            let found = first_bad(count, |at| {
                prop_assert!(asked.insert(at), "{} is asked twice", at);
                prop_assert!(at > 0 && at < count);
                Ok(match at {
                    _ if skips.contains(&at) => Said::Skip,
                    _ if at >= first => Said::Bad,
                    _ => Said::Good,
                })
            })?;
            prop_assert!(found.good < first && first <= found.bad);
            prop_assert!((found.good + 1..found.bad).all(|at| skips.contains(&at)));
            if skips.is_empty() {
                prop_assert_eq!(found.bad, first);
                prop_assert!(asked.len() <= count.ilog2() as usize + 1);
            }
        }
    }
}
