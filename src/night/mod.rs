//! In: a workspace and a project of it. Out: one night: fetch, replay, write back, publish, and what to tell of it.
//! Never: the terminal; a change of anything but through one transaction.

pub mod absorb;
mod again;
mod artifacts;
pub mod beat;
mod before;
mod beside;
pub mod bisect;
mod broken;
mod builds;
pub mod candidates;
mod causes;
mod check;
mod commits;
mod compare;
mod depend;
pub mod doctor;
mod draft;
mod early;
mod early_edges;
mod edges;
pub mod edit;
mod end;
mod error;
mod evidence;
mod explain;
pub mod follow;
mod form;
pub mod gather;
mod given;
pub mod history;
mod hooks;
mod intake;
mod journal;
mod judge;
mod keep;
pub mod landed;
mod landing;
mod leave;
mod meanwhile;
pub mod noted;
pub mod notify;
mod outcome;
pub mod overview;
mod past;
pub mod policy;
pub mod promote;
mod prune;
mod publish;
mod queue_ahead;
mod recorded;
pub mod reports;
pub mod resolve;
mod revision;
mod risk;
pub mod save;
pub mod send;
pub mod sent;
mod settle;
mod sign;
mod site;
mod stacks;
pub mod stage;
mod tags;
mod take_in;
pub mod task;
pub mod together;
pub mod troubles;
mod turn;
pub mod upstream;
pub mod upstreaming;
mod verify;
mod wants;
mod workspace_move;
mod writeback;

use std::collections::BTreeMap;
use std::sync::Arc;

use gix_hash::ObjectId;

pub use artifacts::{Packed, folder as artifacts_folder, pack, prune};
pub use beside::{beside, each};
pub use builds::{Recorded, commit_named, recorded};
pub use check::{Proving, prove_build};
pub use commits::lock_file;
pub use compare::compare_builds;
pub use depend::{closure_files, look_ahead, queue_graph};
pub use draft::{Draft, fault};
pub use end::{begin, end, found};
pub use error::NightError;
pub use explain::{Explained, ExplainedConflict, explain};
pub use form::{Done, Events, Going, Left, Night, Options, Outlet, TrunkMove};
pub use journal::{Push, pending, recover};
pub use outcome::{Furthest, PatchReport, kind_in_words};
pub use prune::{How, Pruned, prune_history, tidy_workspace};
pub use publish::{
    base_ref, bring_in, build_ref, deploy_ref, manifest_ref, push_build, recorded_manifest, write,
};
pub use queue_ahead::QueueAhead;
pub use risk::{RiskError, assess_move, patches_of, rules_for};
pub use sign::{sign, signature_ref, signing_key, trust};
pub use site::{Site, clean_up, resolve_address};
pub use take_in::{TakeError, Taken, TakenFrom, take_in};
pub use verify::{Look, Proof, Question, Word, kept_patches, verify};
pub use writeback::FileChange;

use broken::{Agree, broken_at, plan_without, still_broken};
use early_edges::EarlyEdges;
use edges::InBuild;
use outcome::Plan;
use settle::Answers;
use together::Together;
use turn::Head;

use crate::build::manifest::Manifest;
use crate::build::signature::key_of;
use crate::forecast::{Effect, Outlook};
use crate::resolution::{RecordError, Resolution};
use crate::store::git::{GitError, without_secrets};
use crate::store::{StoreError, begin_in, drop_later, is_sound, listing};
use crate::trunk::{self, FetchError};
use crate::workspace::{Advance, Project, Workspace};

/// Runs one night on a project. The caller holds the workspace's guard.
pub fn run(
    workspace: &Workspace,
    project: &Project,
    options: &Options,
    events: &dyn Events,
) -> Result<Night, NightError> {
    let site = Site::open(workspace, project)?;
    run_at(&site, options, events).map_err(|e| by_damage(&site, e))
}

/// Whether it is a damaged store by which a run failed: then that is what to mend.
fn by_damage(site: &Site<'_>, error: NightError) -> NightError {
    let asked = match &error {
        NightError::Store(_) | NightError::Fetch(FetchError::Store(_)) => true,
        // What the remote cannot unpack may have left here damaged.
        NightError::Push { source: GitError::Failed { .. }, .. } => true,
        // Upstream answers, and yet nothing comes of it. One that hung is not waited for once more.
        NightError::Fetch(FetchError::Unreachable { source: GitError::Failed { .. }, .. }) => {
            let address = site.upstream_address();
            // By another repository than the one that may be damaged.
            listing(&site.git, &address, &[trunk::full_name(&site.project.branch)]).output().is_ok()
        }
        _ => false,
    };
    if !asked {
        return error;
    }
    let object = match &error {
        NightError::Store(StoreError::Object(e))
        | NightError::Fetch(FetchError::Store(StoreError::Object(e))) => {
            // One that could not be made has no id, and one that the lock names wrongly never was there.
            Some(e.id).filter(|id| site.store.odb().is_ok_and(|odb| odb.has(id)))
        }
        _ => None,
    };
    let project = &site.project.name;
    let lock = site.workspace.lock.projects.get(project);
    let build = lock.and_then(|lock| lock.deploy.as_ref()).and_then(|id| id.get(..12));
    let read = [
        Some(trunk::TIP.to_owned()),
        Some(publish::base_ref(project)),
        build.map(|build| publish::build_ref(project, build)),
    ];
    if is_sound(&site.store, &read.into_iter().flatten().collect::<Vec<_>>(), object.as_slice()) {
        return error;
    }
    let (project, store) = (site.project.name.clone(), site.store.path().to_owned());
    NightError::Damaged { project, store, source: Box::new(error) }
}

fn run_at(site: &Site<'_>, options: &Options, events: &dyn Events) -> Result<Night, NightError> {
    let nightly = options.draft.is_none() && !options.offline && !options.dry_run && options.outlet.is_none();
    let before::Before { draft, replaces, tip, followed, dropped } = before::before(site, options, events)?;
    let with_draft = draft.map(|draft| Options {
        draft: Some(draft),
        replace_deploy: replaces.or(options.replace_deploy.clone()),
        ..options.clone()
    });
    let options = with_draft.as_ref().unwrap_or(options);
    if options.dry_run {
        return spend(site, options, None, events, &mut || Ok(()));
    }
    std::thread::scope(|threads| {
        let mut asked = Some(begin_in(threads, || ready_to_write(site, options)));
        let mut ready = || match asked.take() {
            Some(asked) => asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        };
        if !options.offline {
            ready()?;
        }
        let night = spend(site, options, tip, events, &mut ready);
        let mut night = night.map(|night| Night { followed, dropped, ..night });
        if let Ok(night) = &mut night
            && nightly
            && night.done != Done::Refused
        {
            // The night is done and out: what fails here is told, and tried again the next time.
            match noted::keep_current(site) {
                Ok(commits) => night.workspace_commits.extend(commits),
                Err(e) => events.note(&format!("what upstream has merged could not be written down: {e}")),
            }
        }
        // What is wrong with the workspace is to be mended first.
        ready().and(night)
    })
}

/// What must hold before a run writes.
fn ready_to_write(site: &Site<'_>, options: &Options) -> Result<(), NightError> {
    site.preflight_of(options.queue.as_deref().and_then(QueueAhead::unchanged))?;
    sign::signing_key(site)?;
    artifacts::settle(site)
}

/// One night at a site. It calls `ready` before it changes anything.
fn spend(
    site: &Site<'_>,
    options: &Options,
    known: Option<ObjectId>,
    events: &dyn Events,
    ready: &mut dyn FnMut() -> Result<(), NightError>,
) -> Result<Night, NightError> {
    let (workspace, project) = (site.workspace, site.project);
    let draft = options.draft.as_ref();
    let lock = workspace.lock.projects.get(&project.name);
    let lock = draft.map_or(lock, |draft| draft.lock.as_ref());

    let address = site.upstream_address();
    let fetched = match known {
        Some(tip) => Some(tip),
        None if options.offline => trunk::known(&site.store)?,
        None => Some(before::fetch(site, options, events)?),
    };
    let mut tip = match &options.onto {
        Some(rev) => site.commit(rev)?,
        None => fetched.ok_or(trunk::FetchError::NeverFetched)?,
    };
    if !options.offline {
        publish::bring_in(site, lock, events)?;
    }

    still_wanted(site, options)?;
    events.step("replaying the queue");
    let (queue, answers) = match draft {
        Some(draft) => (Arc::new(draft.queue.clone()), answers(site, Some(draft), events)),
        None => (Arc::new(queue_ahead::queue(site, options)?), answers(site, None, events)),
    };
    let mut broken = if options.again { broken::Broken::new() } else { still_broken(lock, &queue) };
    let mut partners = BTreeMap::new();
    let whole = Plan { site, lock, queue: &queue, answers: &answers, is_built: true };
    let plan = |tip: &ObjectId, is_built| {
        let whole = Plan { is_built, ..whole };
        plan_without(&whole, tip, &broken_at(lock, tip, &broken), &BTreeMap::new())
    };
    let mut planned = plan(&tip, true)?;
    let furthest = match planned.furthest.take() {
        Some(bound) => Some(furthest(site, &|tip| plan(tip, false), bound, planned.commits)?),
        None => None,
    };
    if let (Some(to), None, Advance::FurthestClean) = (&furthest, &options.onto, project.policy.advance) {
        tip = site.commit(&to.commit)?;
        planned = plan(&tip, true)?;
    }
    let together = match &options.together {
        Some(together) => Arc::clone(together),
        None => Arc::new(Together::new(workspace, &[], 1)),
    };
    broken = broken_at(lock, &tip, &broken);
    let agree = Agree { plan: &whole, tip, together: &together, events };
    planned = agree.with_partners(planned, &broken, &mut partners)?;
    meanwhile::has_all(site, &queue)?;
    let trunk = TrunkMove {
        address: without_secrets(&address),
        branch: trunk::full_name(&project.branch),
        from: planned.base.map(|b| b.to_string()),
        to: tip.to_string(),
        commits: planned.commits,
        describe: planned.describe.clone(),
    };
    let mut night = Night {
        version: 1,
        project: project.name.clone(),
        done: Done::Quiet,
        trunk,
        furthest,
        patches: Vec::new(),
        undone: planned.landed.iter().filter(|l| l.reverted.is_some()).cloned().collect(),
        followed: Vec::new(),
        dropped: Vec::new(),
        policy: policy::of_run(site, &queue, lock, &planned.patches, options),
        forecast: Vec::new(),
        manifest: None,
        remote: project.deploy.remote.as_deref().filter(|_| !options.offline).map(without_secrets),
        workspace_commits: Vec::new(),
        artifacts: None,
        signed_by: None,
    };
    if let Some(lock) = lock.filter(|l| draft.is_none() && planned.is_quiet(l, &tip)) {
        let known = match planned.edges.as_ref().and_then(EarlyEdges::last) {
            Some(known) => known?.map(Arc::unwrap_or_clone),
            None => publish::recorded_manifest(site, lock)?,
        };
        night.patches = planned.reports();
        if known.is_some() && publish::in_place(site, lock, options)? {
            night.manifest = known;
            return Ok(night);
        }
    }

    ready()?;
    let mut head = Head::asked(site)?;
    events.step("making the deploy branch");
    let pushed = project.deploy.remote.is_none() || !options.offline;
    let proving = Proving { jobs: options.jobs, again: options.again, stop: options.stop.clone() };
    let (stacked, checks) = loop {
        still_wanted(site, options)?;
        let stacked = writeback::stacked(site, lock, &tip, &planned)?;
        let edges = || {
            let patches = &planned.queue.patches;
            edges::edges(&planned.odb, &InBuild::all(&planned.patches), patches, None)
        };
        let subject = check::Subject {
            tip,
            from: planned.base,
            stack: &stacked.patches,
            commit: stacked.commit,
            edges: &edges,
        };
        let proved = check::prove(site, &planned.odb, &subject, proving.clone(), events)?;
        // A patch that a check fails with is left out, if it may be, and what needs it with it.
        let may_go = |name: &str| planned.patches.iter().any(|p| p.report.name == name && !p.report.required);
        match proved.broken {
            Some((name, why)) if may_go(&name) && !broken.contains_key(&name) => {
                events.step(&format!("leaving {name} out: {why}"));
                broken.insert(name, why);
                planned = plan_without(&whole, &tip, &broken, &partners)?;
            }
            _ => {
                let before = partners.len();
                planned = agree.with_partners(planned, &broken, &mut partners)?;
                meanwhile::has_all(site, &queue)?;
                if partners.len() == before {
                    break (stacked, proved.records);
                }
            }
        }
    };
    still_wanted(site, options)?;
    let goes_out = pushed && !options.dry_run;
    let pack = match project.artifacts.as_ref().filter(|_| goes_out) {
        Some(wanted) => {
            events.step("making the artifacts");
            let previous = lock.and_then(|l| l.deploy.as_deref());
            let folder = artifacts::folder(site);
            Some(artifacts::Pack::make(site, &stacked.commit, previous, &wanted.kinds, &folder)?)
        }
        None => None,
    };
    if !checks.is_empty() || pack.is_some() {
        // That took its time: somebody may have committed.
        head = Head::asked(site)?;
    }
    let files = pack.as_ref().map_or_else(Vec::new, |pack| pack.records.clone());
    let written = draft.is_none() && options.outlet.is_none() && !options.dry_run;
    let fate = writeback::Fate { pushed, breaches: &night.policy, written, head };
    let proved = (stacked, checks, files);
    let (mut built, manifest) = writeback::build(site, lock, &tip, &night.trunk, planned, proved, fate)?;
    if let Some(draft) = draft {
        built.commits.insert(0, (draft.message.clone(), draft.files.clone()));
    }
    night.patches = std::mem::take(&mut built.reports);
    let manifest = night.manifest.insert(manifest);
    if options.dry_run {
        night.done = Done::DryRun;
    } else if manifest.verdict.publishable {
        if goes_out && let Err(e) = hooks::before_publish(site, manifest, &mut built.head, options) {
            pack.map_or(Ok(()), artifacts::Pack::discard)?;
            return Err(e);
        }
        let (signature, kept) = sign(site, manifest, goes_out)?;
        built.refs.push(kept);
        if let Some(pack) = &pack {
            pack.seal(&rendered(manifest)?, signature.as_deref())?;
        }
        night.signed_by = signature.and_then(|s| key_of(&s));
        night.done = Done::Published;
        let mut after = None;
        if let Some(outlet) = &options.outlet {
            let mut with_lock = workspace.clone();
            Arc::make_mut(&mut with_lock.lock).projects.insert(project.name.clone(), built.lock.clone());
            publish::put_out(site, lock, built, night.clone(), (outlet.as_ref(), options), events)?;
            after = Some(with_lock);
        } else {
            night.workspace_commits = publish::publish(site, lock, built, options, events)?;
        }
        if let Some(pack) = pack {
            let after = after.map_or_else(|| Workspace::load(&workspace.root), Ok)?;
            night.artifacts = Some(leave(&after, project, pack, options, events)?);
        }
    } else {
        pack.map_or(Ok(()), artifacts::Pack::discard)?;
        night.done = Done::Refused;
    }
    drop_later(queue);
    Ok(night)
}

/// Ends a run that nobody wants any more.
fn still_wanted(site: &Site<'_>, options: &Options) -> Result<(), NightError> {
    match options.stop.is_raised() {
        true => Err(NightError::Stopped { project: site.project.name.clone() }),
        false => Ok(()),
    }
}

/// Puts a published build's files in their place, and takes old ones away. The workspace's lock has the new build.
fn leave(
    workspace: &Workspace,
    project: &Project,
    pack: artifacts::Pack,
    options: &Options,
    events: &dyn Events,
) -> Result<Left, NightError> {
    let site = Site::open(workspace, project)?;
    let folder = pack.put()?;
    let pruned = match project.artifacts.as_ref().and_then(|a| a.keep) {
        Some(keep) => {
            artifacts::prune(&site, &artifacts::folder(&site), keep, (false, options.offline), events)?
        }
        None => Vec::new(),
    };
    Ok(Left { folder, pruned })
}

/// A manifest's text.
fn rendered(manifest: &Manifest) -> Result<String, NightError> {
    manifest.render().map_err(|e| NightError::Format { what: "the manifest", reason: e.to_string() })
}

/// The answers that are recorded for a project, and what is wrong with those that cannot be read.
pub fn recorded_answers(site: &Site<'_>) -> (Vec<Resolution>, Vec<RecordError>) {
    let answers = Answers::of(site);
    (answers.recorded, answers.faults)
}

/// The recorded answers, with those of a draft. What cannot be read is told, and not used.
fn answers<'a>(site: &'a Site<'a>, draft: Option<&Draft>, events: &dyn Events) -> Answers<'a> {
    let mut answers = Answers::of(site);
    for fault in &answers.faults {
        events.note(&format!("the resolution {fault}; it is not used"));
    }
    answers.recorded.extend(draft.iter().flat_map(|d| d.resolutions.clone()));
    answers
}

/// Looks ahead to what the configuration names, after a run on `project`. What cannot be fetched is told, and fails
/// nothing.
pub fn note_forecast(
    workspace: &Workspace,
    project: &Project,
    night: &mut Night,
    offline: bool,
    events: &dyn Events,
) -> Result<(), NightError> {
    if project.forecast.is_empty() || !workspace.lock.projects.contains_key(&project.name) {
        return Ok(());
    }
    let site = Site::open(workspace, project)?;
    match look_ahead(&site, &project.forecast, offline, events) {
        Ok(all) => {
            let breaks = |o: &Outlook| matches!(o.effect, Effect::Breaks { .. });
            night.forecast = all.into_iter().filter(breaks).collect();
        }
        Err(e) => events.note(&format!("nothing is known of what is coming: {e}")),
    }
    Ok(())
}

/// How far trunk moves with the whole stack, at most to `bound`. What breaks there may have been hidden by what landed
/// later, so the queue is replayed until nothing falls out.
fn furthest(
    site: &Site<'_>,
    plan: &dyn Fn(&ObjectId) -> Result<outcome::Planned, NightError>,
    mut bound: Furthest,
    commits: usize,
) -> Result<Furthest, NightError> {
    while let Some(nearer) = plan(&site.commit(&bound.commit)?)?.furthest {
        bound = nearer;
    }
    Ok(Furthest { of: commits, ..bound })
}
