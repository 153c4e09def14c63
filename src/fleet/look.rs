//! What stands at the remotes for a unit: where trunk is, where its queues are, who is at it and what came of it.

use std::collections::BTreeMap;

use bstr::ByteSlice;
use gix_hash::ObjectId;
use sha2::{Digest as _, Sha256};

use super::FleetError;
use super::queue::State;
use super::records::{claim_ref, queue_ref, results_of, set_ref};
use super::unit::Unit;
use crate::night::{NightError, Site};
use crate::store::Repo;
use crate::store::git::GitError;
use crate::trunk::full_name;
use crate::workspace::{CONFIG, Workspace};

/// A project of a unit.
#[derive(Debug, Clone)]
pub struct Member {
    /// Where trunk is.
    pub trunk: ObjectId,
    /// What its queue is.
    pub state: State,
    /// The digest of what the configuration says for it.
    pub settings: String,
}

/// What a night of one project starts from.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The project.
    pub project: &'a str,
    /// The trunk commit.
    pub trunk: ObjectId,
    /// The tree of the queue.
    pub tree: ObjectId,
    /// The digest of what the configuration says.
    pub settings: &'a str,
}

/// What stands for a unit.
#[derive(Debug, Clone)]
pub struct Look {
    /// Its projects, in the unit's order.
    pub members: Vec<Member>,
    /// The unit's key.
    pub key: String,
    /// What the unit's remote has for it.
    pub refs: UnitRefs,
}

/// The refs of a unit at its remote: the deploy remote of its first project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitRefs {
    /// The claim.
    pub claim: Option<ObjectId>,
    /// The results, by key.
    pub results: BTreeMap<String, ObjectId>,
    /// The tips of the queues' own branches, by project.
    pub queues: BTreeMap<String, ObjectId>,
    /// The manifests of the sets.
    pub sets: BTreeMap<String, ObjectId>,
}

/// The sites of a unit's projects.
pub fn sites<'w>(workspace: &'w Workspace, unit: &Unit) -> Result<Vec<Site<'w>>, FleetError> {
    let site = |name: &String| {
        let project = workspace.project(Some(name)).map_err(NightError::from)?;
        Ok(Site::open(workspace, project)?)
    };
    unit.projects.iter().map(site).collect()
}

/// The address of the unit's remote.
pub fn home(sites: &[Site<'_>]) -> Result<String, FleetError> {
    let first = sites.first();
    let address = first.and_then(Site::deploy_address);
    let project = || first.map_or_else(String::new, |site| site.project.name.clone());
    Ok(address.ok_or_else(|| NightError::NoRemote { project: project() })?)
}

/// Looks a unit up. What the stores lack of its queues is fetched.
pub fn look(sites: &[Site<'_>], unit: &Unit) -> Result<Look, FleetError> {
    let refs = refs_of(sites, unit)?;
    bring(sites, unit, &refs)?;
    let mut members = Vec::with_capacity(sites.len());
    for site in sites {
        // Trunk first: a new store has the ids that are found there, and a queue's tree is named by such.
        let trunk = trunk_of(site)?;
        let state = State::of(site, refs.queues.get(&site.project.name).copied())?;
        members.push(Member { trunk, state, settings: settings(site)? });
    }
    let key = key(sites.iter().zip(&members).map(|(site, m)| Start {
        project: &site.project.name,
        trunk: m.trunk,
        tree: m.state.tree,
        settings: &m.settings,
    }));
    Ok(Look { members, key, refs })
}

/// The refs of a unit at its remotes.
pub fn refs_of(sites: &[Site<'_>], unit: &Unit) -> Result<UnitRefs, FleetError> {
    let mut out = UnitRefs::default();
    let home = home(sites)?;
    let mut asked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let claim = claim_ref(&unit.name);
    let results = results_of(&unit.name);
    let mut names = vec![claim.clone(), format!("{results}*")];
    names.extend(unit.sets.iter().map(|set| set_ref(&set.name)));
    asked.insert(home.clone(), names);
    for site in sites {
        let address = site
            .deploy_address()
            .ok_or_else(|| NightError::NoRemote { project: site.project.name.clone() })?;
        asked.entry(address).or_default().push(queue_ref(&site.project.name));
    }
    for (address, names) in &asked {
        let theirs: Vec<_> = sites.iter().filter(|s| s.deploy_address().as_ref() == Some(address)).collect();
        let Some(site) = theirs.first() else { continue };
        let listed = site.store.listed(address, names)?;
        // Each of the others is to hold what comes from there, too.
        if let Some((_, id)) = listed.first() {
            theirs.iter().try_for_each(|site| site.store.suit(id.kind()).map(drop))?;
        }
        for (name, id) in listed {
            if let Some(key) = name.strip_prefix(&results) {
                out.results.insert(key.to_owned(), id);
            } else if name == claim {
                out.claim = Some(id);
            } else if let Some(site) = sites.iter().find(|s| name == queue_ref(&s.project.name)) {
                out.queues.insert(site.project.name.clone(), id);
            } else if let Some(set) = unit.sets.iter().find(|set| name == set_ref(&set.name)) {
                out.sets.insert(set.name.clone(), id);
            }
        }
    }
    Ok(out)
}

/// Fetches what the stores lack of the queues' branches and of the results.
pub fn bring(sites: &[Site<'_>], unit: &Unit, refs: &UnitRefs) -> Result<(), FleetError> {
    for (n, site) in sites.iter().enumerate() {
        let odb = site.store.odb()?;
        let name = queue_ref(&site.project.name);
        let mut specs = Vec::new();
        if let Some(tip) = refs.queues.get(&site.project.name)
            && (!odb.has(tip) || site.store.reference(&name)? != Some(*tip))
        {
            specs.push(name);
        }
        if n == 0 {
            let lacks = |id: &&ObjectId| !odb.has(id);
            if refs.results.values().any(|id| lacks(&id)) {
                specs.push(format!("{}*", results_of(&unit.name)));
            }
            let lacking = refs.sets.iter().filter(|(_, id)| lacks(id));
            specs.extend(lacking.map(|(name, _)| set_ref(name)));
        }
        let Some(address) = site.deploy_address() else { continue };
        fetch(&site.store, &address, &specs)?;
    }
    Ok(())
}

/// Fetches refs to the same names in a store. Patterns among them take away what is gone at the remote.
pub fn fetch(store: &Repo, address: &str, names: &[String]) -> Result<(), GitError> {
    if names.is_empty() {
        return Ok(());
    }
    let call = store.fetching(&["--prune", "--no-tags"], address);
    call.args(names.iter().map(|name| format!("+{name}:{name}"))).output()?;
    Ok(())
}

/// Where trunk is at the upstream.
fn trunk_of(site: &Site<'_>) -> Result<ObjectId, FleetError> {
    let branch = full_name(&site.project.branch);
    let listed = site.store.listed(&site.upstream_address(), std::slice::from_ref(&branch))?;
    let found = listed.into_iter().find(|(name, _)| *name == branch);
    let (_, id) = found
        .ok_or_else(|| FleetError::NoTrunk { project: site.project.name.clone(), branch: branch.clone() })?;
    Ok(id)
}

/// The key of a unit whose nights start from there, in the unit's order.
pub fn key<'a>(starts: impl Iterator<Item = Start<'a>>) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("git-carry {}\n", env!("CARGO_PKG_VERSION")));
    for Start { project, trunk, tree, settings } in starts {
        hash.update(format!("{project} {trunk} {tree} {settings}\n"));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of what the configuration says for a project, however it is written.
fn settings(site: &Site<'_>) -> Result<String, FleetError> {
    let root = &site.workspace.root;
    let read = |path: std::path::PathBuf| {
        std::fs::read(&path).map_err(|source| FleetError::Night(NightError::Io { path, source }))
    };
    let text = read(root.join(CONFIG))?;
    let all: serde_json::Value = toml::from_str(&text.to_str_lossy())
        .map_err(|e| NightError::Format { what: CONFIG, reason: e.message().to_owned() })?;
    let mut hash = Sha256::new();
    for value in [&all["identity"], &all["signing"], &all["project"][&site.project.name]] {
        canonical(value, &mut |piece| hash.update(piece));
    }
    for rules in &site.project.risk.rules {
        hash.update(read(root.join(rules))?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A value as bytes, its keys in order.
fn canonical(value: &serde_json::Value, put: &mut dyn FnMut(&[u8])) {
    match value {
        serde_json::Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            put(format!("{{{}", keys.len()).as_bytes());
            for key in keys {
                put(format!("{}:{key}", key.len()).as_bytes());
                canonical(&map[key], put);
            }
        }
        serde_json::Value::Array(list) => {
            put(format!("[{}", list.len()).as_bytes());
            list.iter().for_each(|item| canonical(item, put));
        }
        // A text's own quotes end it.
        other => put(format!("{other}\n").as_bytes()),
    }
}
