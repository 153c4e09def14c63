//! Claims: a ref that is made only if it is not there, and taken over only by who has seen the very one that stands there.

use gix_hash::ObjectId;

use super::FleetError;
use super::look::fetch;
use super::records::{Claim, Record, VERSION, claim_ref, result_ref};
use crate::night::{NightError, Push, Site};
use crate::store::{Objects as _, RefUpdate};

/// So often a claim is tried for that fails though nobody else has it: a server may be busy with another one's.
const TRIES: usize = 3;

/// Makes the claim, in the place of `old`. Returns its id; none if somebody else was faster.
pub fn take(
    site: &Site<'_>,
    address: &str,
    claim: &Claim,
    old: Option<ObjectId>,
) -> Result<Option<ObjectId>, FleetError> {
    let name = claim_ref(&claim.unit);
    let text = serde_json::to_vec_pretty(claim)
        .map_err(|e| NightError::Format { what: "the claim", reason: e.to_string() })?;
    let new = site.store.write_blob(&text)?;
    for tried in 1.. {
        let update =
            RefUpdate { name: name.clone(), old: old.map(|id| id.to_string()), new: Some(new.to_string()) };
        let push = Push { address: address.to_owned(), refs: vec![update] };
        let Err(refused) = push.push(&site.store) else { return Ok(Some(new)) };
        let there = there(site, address, &name)?;
        if there == Some(new) {
            return Ok(Some(new));
        }
        if there != old {
            return Ok(None);
        }
        if tried == TRIES {
            return Err(refused.into());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(None)
}

/// Gives a claim back, or, if an attempt failed, leaves what is to be known of it. A claim that is another's by now stays.
pub fn give_back(
    site: &Site<'_>,
    address: &str,
    unit: &str,
    ours: ObjectId,
    failed: Option<&Claim>,
) -> Result<(), FleetError> {
    let name = claim_ref(unit);
    let new = match failed {
        None => None,
        Some(claim) => {
            let text = serde_json::to_vec_pretty(claim)
                .map_err(|e| NightError::Format { what: "the claim", reason: e.to_string() })?;
            Some(site.store.write_blob(&text)?.to_string())
        }
    };
    let update = RefUpdate { name: name.clone(), old: Some(ours.to_string()), new };
    let push = Push { address: address.to_owned(), refs: vec![update] };
    match push.push(&site.store) {
        Err(_) if there(site, address, &name)? != Some(ours) => Ok(()),
        pushed => Ok(pushed?),
    }
}

/// What a ref of a remote is at.
pub fn there(site: &Site<'_>, address: &str, name: &str) -> Result<Option<ObjectId>, FleetError> {
    let listed = site.store.listed(address, &[name.to_owned()])?;
    Ok(listed.into_iter().find(|(n, _)| n == name).map(|(_, id)| id))
}

/// Reads the claim that stands at the remote; none if it has gone meanwhile, or another has come.
pub fn read(site: &Site<'_>, address: &str, unit: &str, id: ObjectId) -> Result<Option<Claim>, FleetError> {
    let name = claim_ref(unit);
    if !site.store.odb()?.has(&id) {
        let fetched = fetch(&site.store, address, std::slice::from_ref(&name));
        if let Err(e) = fetched {
            return if there(site, address, &name)? == Some(id) { Err(e.into()) } else { Ok(None) };
        }
    }
    let odb = site.store.odb()?;
    if !odb.has(&id) {
        return Ok(None);
    }
    let text = odb.blob(&id)?;
    let claim: Claim = serde_json::from_slice(&text)
        .map_err(|e| FleetError::Record { name: name.clone(), reason: e.to_string() })?;
    if claim.version != VERSION {
        return Err(FleetError::Record { name, reason: format!("its version is {}", claim.version) });
    }
    Ok(Some(claim))
}

/// Reads a result that the store has.
pub fn read_result(site: &Site<'_>, unit: &str, key: &str, id: ObjectId) -> Result<Record, FleetError> {
    let name = result_ref(unit, key);
    let text = site.store.odb()?.blob(&id)?;
    let record: Record = serde_json::from_slice(&text)
        .map_err(|e| FleetError::Record { name: name.clone(), reason: e.to_string() })?;
    if record.version != VERSION {
        return Err(FleetError::Record { name, reason: format!("its version is {}", record.version) });
    }
    Ok(record)
}
