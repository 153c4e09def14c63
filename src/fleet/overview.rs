//! The fan-in: how each unit stands, from refs alone.

use super::FleetError;
use super::claim::{read, read_result};
use super::look::{bring, home, refs_of, sites};
use super::plan::{AT_ONCE, newest};
use super::queue::{State, with_states};
use super::records::{Claim, Record, worse};
use super::unit::{LeftOut, Unit, units};
use crate::night::{Events, Site, beat, bring_in, each};
use crate::workspace::Workspace;

/// How all units stand.
#[derive(Debug)]
pub struct Overview {
    /// Each unit, by name.
    pub units: Vec<Standing>,
    /// Projects that no worker takes.
    pub left_out: Vec<LeftOut>,
}

/// How a unit stands.
#[derive(Debug)]
pub struct Standing {
    /// Which.
    pub unit: Unit,
    /// Its newest result.
    pub record: Option<Record>,
    /// The claim, if one stands there.
    pub claim: Option<Claim>,
    /// Why nothing is known of it.
    pub error: Option<FleetError>,
}

impl Standing {
    /// The exit code that it asks for: that of its newest result, or of what came after that.
    pub fn exit_code(&self) -> u8 {
        if let Some(e) = &self.error {
            return e.exit_code();
        }
        let result = self.record.as_ref().map_or(1, |record| record.exit_code);
        match &self.claim {
            // A worker is at it, or was cut off, or gave up.
            Some(claim) => worse(result, claim.failed.as_ref().map_or(1, |failed| failed.exit_code)),
            None => result,
        }
    }

    /// In a word: what came of it, or what stands in the way.
    pub fn word(&self) -> &'static str {
        match (&self.error, &self.claim, &self.record) {
            (Some(_), ..) => "unreadable",
            (_, Some(claim), _) if claim.failed.is_some() => "failed",
            (_, Some(claim), _) if claim.until > beat::now() => "in progress",
            (_, Some(_), _) => "cut off",
            (_, None, Some(record)) => record.word(),
            (_, None, None) => "not done",
        }
    }
}

impl Overview {
    /// The worst of all.
    pub fn exit_code(&self) -> u8 {
        self.units.iter().fold(0, |worst, standing| worse(worst, standing.exit_code()))
    }
}

/// Asks the remotes how all units stand.
pub fn overview(workspace: &Workspace) -> Overview {
    let (units, left_out) = units(workspace);
    let stand = |unit: &Unit| {
        let mut standing = Standing { unit: unit.clone(), record: None, claim: None, error: None };
        match ask(workspace, unit) {
            Ok((record, claim)) => (standing.record, standing.claim) = (record, claim),
            Err(e) => standing.error = Some(e),
        }
        standing
    };
    Overview { units: each(&units, AT_ONCE, stand), left_out }
}

fn ask(workspace: &Workspace, unit: &Unit) -> Result<(Option<Record>, Option<Claim>), FleetError> {
    let sites = sites(workspace, unit)?;
    let Some(first) = sites.first() else { return Ok((None, None)) };
    let _guards = super::run::guards(&sites)?;
    let refs = refs_of(&sites, unit)?;
    bring(&sites, unit, &refs)?;
    let home = home(&sites)?;
    let claim = refs.claim.map(|id| read(first, &home, &unit.name, id)).transpose()?.flatten();
    Ok((newest(&refs.results, |key, id| read_result(first, &unit.name, key, id).ok()), claim))
}

/// The workspace with the queues as the nights of all units left them, and with their builds in the stores: what a report
/// is made from. Nothing of it is written to the workspace. What cannot be had of a unit is told, and stays as it is.
pub fn seen_from_refs(workspace: &Workspace, events: &dyn Events) -> Workspace {
    let mut out = workspace.clone();
    for unit in units(workspace).0 {
        match with_unit(workspace, &out, &unit, events) {
            Ok(with) => out = with,
            Err(e) => events.note(&format!("{}: {e}", unit.name)),
        }
    }
    out
}

fn with_unit(
    workspace: &Workspace,
    so_far: &Workspace,
    unit: &Unit,
    events: &dyn Events,
) -> Result<Workspace, FleetError> {
    let sites = sites(workspace, unit)?;
    let _guards = super::run::guards(&sites)?;
    let refs = refs_of(&sites, unit)?;
    bring(&sites, unit, &refs)?;
    let mut out = so_far.clone();
    for site in &sites {
        let state = State::of(site, refs.queues.get(&site.project.name).copied())?;
        bring_in(site, state.lock(site)?.as_ref(), events)?;
        let place = |project: &str| site.folder.join("fleet").join(project);
        let pair: [(&Site<'_>, &State); 1] = [(site, &state)];
        out = with_states(&out, &pair, place)?;
    }
    Ok(out)
}
