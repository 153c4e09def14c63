//! Brings the trunk into the project's store by the `git` program.

use bstr::ByteSlice;
use gix_hash::ObjectId;

use crate::store::git::{GitError, without_secrets};
use crate::store::{RefUpdate, Repo, StoreError, listing, pack_refs};

/// The ref that holds the newest fetched trunk commit.
pub const TIP: &str = "refs/carry/trunk";
/// The ref that a fetch writes first: what it holds is looked at before the tip moves.
const INCOMING: &str = "refs/carry/incoming";

/// Why the trunk could not be brought in. The last good state stays in every case.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The upstream did not answer, or hung up.
    #[error("upstream '{address}' did not give its trunk: {source}")]
    Unreachable {
        /// The address, without secrets.
        address: String,
        /// What git said.
        source: GitError,
    },
    /// The upstream has no such branch (any more).
    #[error("upstream '{address}' has no branch '{branch}'")]
    NoBranch {
        /// The address, without secrets.
        address: String,
        /// The branch's full name.
        branch: String,
        /// The branches it has, the nearest names first.
        has: Vec<String>,
    },
    /// The upstream's objects have other ids than those of the store.
    #[error(
        "upstream '{address}' names its objects by {theirs}, and the store '{store}' has its own by {ours}"
    )]
    OtherIds {
        /// The address, without secrets.
        address: String,
        /// Its ids.
        theirs: gix_hash::Kind,
        /// The store.
        store: std::path::PathBuf,
        /// The store's ids.
        ours: gix_hash::Kind,
    },
    /// The trunk was force-pushed: the commit known before is no ancestor of the new one.
    #[error(
        "the trunk was rewritten: '{branch}' was at {old} and is now at {new}, which does not contain it"
    )]
    Rewritten {
        /// The branch's full name.
        branch: String,
        /// The commit known before.
        old: ObjectId,
        /// The commit it names now.
        new: ObjectId,
    },
    /// Nothing was ever fetched, and the network is not to be used.
    #[error("no trunk has been fetched yet, and '--offline' forbids it")]
    NeverFetched,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a fetch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// The trunk tip before, if one was known.
    pub old: Option<ObjectId>,
    /// The trunk tip now.
    pub tip: ObjectId,
}

/// The full name of a branch: `main` is `refs/heads/main`.
pub fn full_name(branch: &str) -> String {
    if branch.starts_with("refs/") { branch.to_owned() } else { format!("refs/heads/{branch}") }
}

/// The trunk tip known so far.
pub fn known(repo: &Repo) -> Result<Option<ObjectId>, StoreError> {
    repo.reference(TIP)
}

/// Where a branch (its full name) is at an address.
fn tip_at(repo: &Repo, address: &str, branch: &str) -> Result<ObjectId, FetchError> {
    let public = without_secrets(address);
    let list = |patterns: &[String]| {
        let listed = listing(repo.git(), address, patterns).output();
        listed.map_err(|source| FetchError::Unreachable { address: public.clone(), source })
    };
    let mut heads = Vec::new();
    // The others are asked for only to name those that may be meant.
    for patterns in [vec![branch.to_owned()], vec!["refs/heads/*".to_owned()]] {
        for line in list(&patterns)?.lines() {
            let Some((id, name)) = line.split_once_str("\t") else { continue };
            if name == branch.as_bytes()
                && let Ok(id) = ObjectId::from_hex(id)
            {
                return Ok(id);
            }
            heads.extend(name.strip_prefix(b"refs/heads/").map(|name| name.to_str_lossy().into_owned()));
        }
    }
    let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    heads.sort_by(|a, b| strsim::jaro(short, b).total_cmp(&strsim::jaro(short, a)));
    heads.dedup();
    heads.truncate(5);
    Err(FetchError::NoBranch { address: public, branch: branch.to_owned(), has: heads })
}

/// Fetches the branch's tip and history. `rewritten`: take a trunk that was force-pushed; `seen`: where the branch is, if
/// that was asked just now.
pub fn fetch(
    repo: &Repo,
    address: &str,
    branch: &str,
    rewritten: bool,
    seen: Option<ObjectId>,
    progress: &dyn Fn(&str),
) -> Result<Fetched, FetchError> {
    let branch = full_name(branch);
    let public = without_secrets(address);
    let old = known(repo)?;
    let there = match seen {
        Some(seen) => seen,
        None => tip_at(repo, address, &branch)?,
    };
    if old != Some(there) {
        let (theirs, ours) = (there.kind(), repo.suit(there.kind()).map_err(StoreError::from)?);
        if theirs != ours {
            let store = repo.path().to_owned();
            return Err(FetchError::OtherIds { address: public, theirs, store, ours });
        }
        repo.fetching(&[], address)
            .arg(format!("+{branch}:{INCOMING}"))
            .progress(progress)
            .output()
            .map_err(|source| FetchError::Unreachable { address: public, source })?;
        pack_refs(repo).map_err(StoreError::from)?;
    }
    let tip = match old {
        Some(old) if old == there => return Ok(Fetched { old: Some(old), tip: old }),
        // The branch may have moved once more between the two calls: what was fetched counts.
        _ => repo.reference(INCOMING)?.unwrap_or(there),
    };
    if let Some(old) = old
        && !rewritten
        && !repo.is_ancestor(&old, &tip)?
    {
        return Err(FetchError::Rewritten { branch, old, new: tip });
    }
    let text = |id: ObjectId| id.to_string();
    let update = RefUpdate { name: TIP.into(), old: old.map(text), new: Some(text(tip)) };
    repo.update(&[update], "carry: fetch the trunk")?;
    Ok(Fetched { old, tip })
}

/// Where upstream work that trunk has not taken in yet is kept: the ref's own name follows, without `refs/`.
const AHEAD: &str = "refs/carry/ahead/";

/// Fetches refs of the upstream, patterns (`refs/pull/*/head`) among them, beside the trunk. What was fetched for the
/// same refs before and is gone at the upstream goes.
pub fn fetch_refs(
    repo: &Repo,
    address: &str,
    refs: &[String],
    progress: &dyn Fn(&str),
) -> Result<(), FetchError> {
    let specs = refs.iter().map(|name| {
        let full = full_name(name);
        format!("+{full}:{AHEAD}{}", full.trim_start_matches("refs/"))
    });
    let address_public = without_secrets(address);
    repo.fetching(&["--prune", "--no-tags"], address)
        .args(specs)
        .progress(progress)
        .output()
        .map_err(|source| FetchError::Unreachable { address: address_public, source })?;
    Ok(())
}

/// What was fetched for these refs, under the names that they have at the upstream.
pub fn fetched_refs(repo: &Repo, refs: &[String]) -> Result<Vec<(String, ObjectId)>, StoreError> {
    let patterns: Vec<String> =
        refs.iter().map(|name| format!("{AHEAD}{}", full_name(name).trim_start_matches("refs/"))).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let found = repo.references(&patterns)?;
    let upstream = |name: &str| format!("refs/{}", name.strip_prefix(AHEAD).unwrap_or(name));
    Ok(found.into_iter().map(|(name, id)| (upstream(&name), id)).collect())
}
