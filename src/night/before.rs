//! What changes the queue before it is replayed, without anyone asking for it: commits that others pushed, new revisions
//! of what is followed, tags that have had their day. All of it is one draft.

use gix_hash::ObjectId;

use super::draft::Draft;
use super::follow::{Followed, follow};
use super::intake::intake;
use super::tags::{Dropped, drop_tagged};
use super::{Events, NightError, Options, Site};
use crate::store::git::without_secrets;
use crate::trunk;
use crate::workspace::Tags;

/// What came of it.
#[derive(Default)]
pub(super) struct Before {
    /// The queue as it is to be, if anything changes it.
    pub draft: Option<Draft>,
    /// The commit of the deploy branch that may be replaced: all of it is in the draft.
    pub replaces: Option<String>,
    /// The trunk tip, if it had to be known.
    pub tip: Option<ObjectId>,
    /// What was followed.
    pub followed: Vec<Followed>,
    /// What left for its tag.
    pub dropped: Vec<Dropped>,
}

/// Looks for all of it. Only a night does; a change that a person asks for goes out alone.
pub(super) fn before(site: &Site<'_>, options: &Options, events: &dyn Events) -> Result<Before, NightError> {
    let mut out = Before::default();
    if options.draft.is_some() || options.offline || options.dry_run {
        return Ok(out);
    }
    if site.project.deploy.intake
        && options.replace_deploy.is_none()
        && let Some(taken) = intake(site, events)?
    {
        (out.draft, out.replaces) = (Some(taken.draft), Some(taken.replaces));
    }
    (out.draft, out.followed) = follow(site, out.draft, events)?;
    if site.project.policy.tags != Tags::Ignore {
        let tip = fetch(site, options, events)?;
        (out.draft, out.dropped) = drop_tagged(site, out.draft, &tip, events)?;
        out.tip = Some(tip);
    }
    Ok(out)
}

/// Fetches the trunk. Returns its tip.
pub(super) fn fetch(site: &Site<'_>, options: &Options, events: &dyn Events) -> Result<ObjectId, NightError> {
    let (address, branch) = (site.upstream_address(), &site.project.branch);
    events.step(&format!("fetching {branch} from {}", without_secrets(&address)));
    let progress = |line: &str| events.git(line);
    let rewritten = options.accept_rewritten_trunk;
    Ok(trunk::fetch(&site.store, &address, branch, rewritten, options.trunk_seen, &progress)?.tip)
}
